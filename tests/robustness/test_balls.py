"""The unit ball: dual norms, projections, and perturbed rows in spite of rounding."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import draw_ball

from sklearn_convexnet.program.perturbation import DUAL, Perturbation, dual_norms
from sklearn_convexnet.robustness.balls import (
    project,
    random_points,
    realise,
    steepest,
)

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31 - 1)
norms = st.sampled_from([np.inf, 2, 1])


@quick
@given(seed=seeds, norm=norms, d=st.integers(1, 5))
def test_steepest_attains_the_dual_norm(seed, norm, d):
    rng = np.random.RandomState(seed)
    gradients = rng.standard_normal((4, d)) * rng.randint(0, 2, (4, 1))
    points = steepest(gradients, norm)
    assert np.all(np.linalg.norm(points, ord=norm, axis=1) <= 1 + 1e-15)
    np.testing.assert_allclose(
        np.sum(points * gradients, axis=1), -dual_norms(gradients, DUAL[norm]), rtol=1e-12
    )


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_projection_is_nearest(norm):
    rng = np.random.RandomState(0)
    points = np.concatenate([2.0 * rng.standard_normal((4, 3)), 0.1 * rng.standard_normal((2, 3))])
    found = project(points, norm)
    for point, near in zip(points, found, strict=True):
        eta = cp.Variable(3)
        cp.Problem(cp.Minimize(cp.sum_squares(eta - point)), [cp.norm(eta, norm) <= 1]).solve(
            solver="CLARABEL"
        )
        np.testing.assert_allclose(near, eta.value, atol=1e-5)
    np.testing.assert_array_equal(found[4:], points[4:])


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_random_points_fill_the_ball(norm):
    points = random_points((1000, 3), norm, np.random.RandomState(0))
    sizes = np.linalg.norm(points, ord=norm, axis=1)
    assert sizes.max() <= 1 + 1e-15
    # the share of the volume within half the radius
    np.testing.assert_allclose(np.mean(sizes < 0.5), 0.125, atol=0.03)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=0.1)


@quick
@given(
    seed=seeds,
    norm=norms,
    offset=st.sampled_from([0.0, 1.0, 1e3, 1e9]),
    epsilon=st.sampled_from([0.1, 1e-9, 0.0]),
)
def test_realised_rows_are_inside_exactly(seed, norm, offset, epsilon):
    rng = np.random.RandomState(seed)
    X = offset + rng.standard_normal((20, 4))
    points = project(3.0 * rng.standard_normal((20, 4)), norm)
    rows = realise(points, X, Perturbation(epsilon, norm))
    assert np.all(np.linalg.norm(rows - X, ord=norm, axis=1) <= epsilon)
    np.testing.assert_allclose(rows, X + epsilon * points, rtol=1e-12, atol=1e-12 + 1e-13 * offset)


@quick
@given(seed=seeds)
def test_realised_rows_are_in_the_box_and_move_only_what_may_move(seed):
    rng = np.random.RandomState(seed)
    X, epsilon = rng.uniform(0, 1, (20, 3)), np.array([0.3, 0.0, 0.1])
    low, high = np.array([0.1, 0.0, 1 / 3]), 0.9
    rows = realise(draw_ball(rng, (20, 3), np.inf), X, Perturbation(epsilon, bounds=(low, high)))
    assert np.all((rows >= low) & (rows <= high))
    nominal = np.clip(X, low, high)
    assert np.all(np.abs(rows - nominal) <= epsilon)
    np.testing.assert_array_equal(rows[:, 1], nominal[:, 1])
