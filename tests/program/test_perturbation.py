"""Perturbation sets: the balls of rows, and the worst case of linear functions over them."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.program.perturbation import Perturbation

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31 - 1)
norms = st.sampled_from([np.inf, 2, 1])


@quick
@given(seed=seeds, norm=norms, d=st.integers(1, 5))
def test_no_perturbation_reaches_further_and_one_reaches_as_far(seed, norm, d):
    rng = np.random.RandomState(seed)
    X, u = rng.standard_normal((3, d)), rng.standard_normal((d, 2))
    perturbation = Perturbation(rng.uniform(0, 1, d) * rng.randint(0, 2, d), norm)
    centres, radii = perturbation.balls(X)
    reach = perturbation.reach(radii, u)
    assert reach.shape == (3, 2)
    draws = rng.standard_normal((500, d))
    draws /= np.linalg.norm(draws, ord=norm, axis=1, keepdims=True)
    moved = (perturbation.epsilon * draws) @ u
    assert np.all(np.abs(moved) <= reach[0] * (1 + 1e-12) + 1e-15)
    # the dual norm is attained: at a corner, along the gradient, on an axis
    scaled = perturbation.epsilon * u[:, 0]
    if norm == np.inf:
        best = np.sign(scaled)
    elif norm == 2:
        best = scaled / max(np.linalg.norm(scaled), 1e-300)
    else:
        best = np.eye(d)[np.abs(scaled).argmax()] * np.sign(scaled[np.abs(scaled).argmax()])
    np.testing.assert_allclose(best @ scaled, reach[:, 0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_reach_is_that_of_the_optimisation_problem(norm):
    rng = np.random.RandomState(0)
    epsilon, x, u = np.array([0.5, 0.0, 2.0]), rng.standard_normal(3), rng.standard_normal(3)
    perturbation = Perturbation(epsilon, norm)
    eta = cp.Variable(3)
    value = cp.Problem(
        cp.Minimize((x + cp.multiply(epsilon, eta)) @ u), [cp.norm(eta, norm) <= 1]
    ).solve(solver="CLARABEL")
    centres, radii = perturbation.balls(x[None])
    worst = centres @ u - perturbation.reach(radii, u[:, None])[:, 0]
    np.testing.assert_allclose(worst, value, atol=1e-7)


@quick
@given(seed=seeds)
def test_box_is_the_ball_cut_by_the_valid_values(seed):
    rng = np.random.RandomState(seed)
    X, epsilon = rng.uniform(-0.5, 1.5, (4, 3)), np.array([0.3, 0.0, 0.6])
    low, high = np.array([0.0, 0.2, 0.0]), 1.0
    perturbation = Perturbation(epsilon, bounds=(low, high))
    centres, radii = perturbation.balls(X)
    valid = perturbation.nominal(X)
    np.testing.assert_array_equal(valid, np.clip(X, low, high))
    np.testing.assert_allclose(centres - radii, np.maximum(valid - epsilon, low), atol=1e-15)
    np.testing.assert_allclose(centres + radii, np.minimum(valid + epsilon, high), atol=1e-15)
    assert np.all(radii[:, 1] == 0)


def test_without_bounds_the_rows_are_the_centres():
    X = np.arange(6.0).reshape(3, 2)
    perturbation = Perturbation([1.0, 2.0])
    centres, radii = perturbation.balls(X)
    np.testing.assert_array_equal(centres, X)
    np.testing.assert_array_equal(radii, [[1, 2]] * 3)
    np.testing.assert_array_equal(perturbation.nominal(X), X)


@pytest.mark.parametrize("bounds", [None, (-0.5, 4.5)])
def test_scale_per_row(bounds):
    X, scale = np.arange(6.0).reshape(3, 2), np.array([0.0, 0.5, 2.0])
    centres, radii = Perturbation([1.0, 0.5], bounds=bounds).balls(X, scale)
    for k in range(3):
        alone = Perturbation(scale[k] * np.array([1.0, 0.5]), bounds=bounds).balls(X[k : k + 1])
        np.testing.assert_array_equal(centres[k], alone[0][0])
        np.testing.assert_array_equal(radii[k], alone[1][0])


def test_later_changes_of_arguments_do_not_matter():
    epsilon, low, X = np.array([0.1, 0.2]), np.zeros(2), np.full((1, 2), 0.5)
    perturbation = Perturbation(epsilon, bounds=(low, 1.0))
    before = perturbation.balls(X)
    epsilon[:], low[:] = 9.0, 0.5
    np.testing.assert_array_equal(perturbation.balls(X), before)
    np.testing.assert_array_equal(X, 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1,), "epsilon must be a finite number >= 0.*-0.1"),
        (([0.1, np.nan],), "epsilon must be"),
        ((np.inf,), "epsilon must be"),
        ((np.ones((2, 2)),), "epsilon must be"),
        (("wide",), "epsilon must be.*'wide'"),
        ((None,), "epsilon must be.*None"),
        ((np.array([0.1j, 0.2]),), "epsilon must be"),
        ((0.1, 3), "norm must be numpy.inf, 2 or 1, got 3"),
        ((0.1, "inf"), "norm must be"),
        ((0.1, True), "norm must be"),
        ((0.1, np.inf, (0, np.array([1 + 1j]))), r"bounds must be a pair"),
        ((0.1, np.inf, (1, 0)), r"bounds must be a pair \(low, high\).*\(1, 0\)"),
        ((0.1, np.inf, (0, np.nan)), "bounds must be"),
        ((0.1, np.inf, 1.0), "bounds must be"),
        ((0.1, np.inf, ("a", "b")), "bounds must be"),
        ((0.1, 2, (0, 1)), "bounds need norm=numpy.inf, got norm=2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Perturbation(*arguments)


def test_arguments_that_do_not_fit_the_features():
    X = np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"epsilon.*per feature \(3\), got shape \(2,\)"):
        Perturbation([0.1, 0.2]).balls(X)
    with pytest.raises(ValueError, match=r"bounds.*per feature \(3\), got shape \(2, 3\)"):
        Perturbation(0.1, bounds=(X, 1.0)).balls(X)
