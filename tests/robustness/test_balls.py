"""Perturbed rows are in the set exactly, in spite of rounding."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import draw_ball

from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robustness.balls import realise

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31 - 1)
norms = st.sampled_from([np.inf, 2, 1])


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
    perturbation = Perturbation(epsilon, norm)
    points = perturbation.ball.project(3.0 * rng.standard_normal((20, 4)))
    rows = realise(points, X, perturbation)
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
