"""Which patterns live, and up to which radius."""

import cvxpy as cp
import numpy as np
import pytest

from sklearn_convexnet.core.norms import NORMS, Linf
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robust_training.living import candidate_patterns, largest_factors, slacks

PERTURBATIONS = {
    "inf": Perturbation([0.1, 0.2, 0.05]),
    "2": Perturbation([0.1, 0.2, 0.05], 2),
    "1": Perturbation([0.1, 0.2, 0.05], 1),
    "box": Perturbation(0.1, np.inf, (-1.0, 1.0)),
}


def balls(X, perturbation, *, intercept):
    centres, radii = perturbation.balls(X)
    constant = np.ones((len(X), int(intercept)))
    return np.hstack([centres, constant]), np.hstack([radii, 0.0 * constant])


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("name", PERTURBATIONS)
def test_factors_are_the_largest(name, intercept):
    perturbation = PERTURBATIONS[name]
    rng = np.random.RandomState(0)
    X = rng.standard_normal((15, 3))
    rows, radii = balls(X, perturbation, intercept=intercept)
    patterns = rows @ rng.standard_normal((rows.shape[1], 4)) >= 0
    directions, factors = largest_factors(rows, radii, patterns, perturbation.ball)
    for i in np.flatnonzero(patterns.any(axis=0) & ~patterns.all(axis=0)):
        inside = slacks(rows, 0.999 * factors[i] * radii, patterns, directions, perturbation.ball)
        assert inside[:, i].min() > 0
        # a little more room, and no direction of unit size is left
        u, t = cp.Variable(rows.shape[1]), cp.Variable()
        signs = np.where(patterns[:, i], 1.0, -1.0)
        dual = "inf" if perturbation.norm == 1 else perturbation.ball.dual
        reach = cp.norm(cp.multiply(radii, np.ones((15, 1)) @ cp.reshape(u, (1, -1), "C")), dual, 1)
        constraints = [
            cp.multiply(signs, rows @ u) - 1.001 * factors[i] * reach >= t,
            cp.norm(u, "inf") <= 1,
        ]
        assert cp.Problem(cp.Maximize(t), constraints).solve(solver=cp.CLARABEL) < 1e-7


def test_an_immutable_feature_that_tells_the_sides_apart_never_dies():
    X = np.array([[1.0, 0.0], [2.0, 5.0], [-1.0, 3.0], [-2.0, -4.0]])
    rows, radii = balls(X, Perturbation([0.0, 10.0]), intercept=False)
    patterns = np.stack([X[:, 0] > 0, X[:, 1] > 0], axis=1)
    directions, factors = largest_factors(rows, radii, patterns, Linf())
    assert np.isinf(factors[0])
    assert directions[1, 0] == 0
    assert factors[1] < 1


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_without_perturbation_the_realisable_patterns_live(norm):
    X = np.array([[0.0], [1.0], [2.0]])
    rows, radii = balls(X, Perturbation([0.0]), intercept=True)
    patterns = np.array([[True, False], [False, False], [True, True]])
    _, factors = largest_factors(rows, radii, patterns, NORMS[norm])
    assert factors.tolist() == [0.0, np.inf]


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
@pytest.mark.parametrize("offset", [0.0, 1e2, 1e5])
def test_factors_far_from_the_origin(norm, offset):
    X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]) + offset
    rows, radii = balls(X, Perturbation(0.1), intercept=True)
    _, factors = largest_factors(rows, radii, X[:, :1] > offset, NORMS[norm])
    assert factors[0] == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_a_cone_on_a_face_lives(norm):
    # the first feature is never moved, the second one is
    X = np.array([[0.0, 0.0], [1.0, 0.3], [-1.0, 0.2], [2.0, -1.0]])
    rows, radii = balls(X, Perturbation([0.0, 0.1]), intercept=False)
    patterns = np.array([[1, 0], [1, 1], [0, 1], [1, 1]], dtype=bool)
    directions, factors = largest_factors(rows, radii, patterns, NORMS[norm])
    assert factors.tolist() == [np.inf, 0.0]
    np.testing.assert_allclose(directions[:, 0], [1.0, 0.0])


def test_unrealisable_patterns_are_dead():
    X = np.array([[0.0], [1.0], [2.0]])
    rows, radii = balls(X, Perturbation(0.1), intercept=True)
    patterns = np.array([[True, False], [False, False], [True, True]])
    for ball in NORMS.values():
        _, factors = largest_factors(rows, radii, patterns, ball)
        assert factors[0] == 0
        assert factors[1] == pytest.approx(5.0, rel=1e-6)


@pytest.mark.parametrize("intercept", [False, True])
def test_candidates_hold_the_linear_neuron_the_labels_and_wide_gaps(intercept):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((20, 2))
    X[:, 0] += np.where(np.arange(20) < 7, 4.0, -4.0)
    y = np.where(rng.standard_normal(20) > 0, 1.0, -1.0)
    rows, radii = balls(X, Perturbation(0.5), intercept=intercept)
    patterns = candidate_patterns(
        rows, radii, np.full(20, 0.05), y, 3, rng, ball=Linf(), intercept=intercept
    )
    found = {column.tobytes() for column in patterns.T}
    assert len(found) == patterns.shape[1]
    assert patterns.any(axis=0).all()
    for wanted in (np.ones(20, dtype=bool), y > 0, y < 0, np.arange(20) < 7):
        assert wanted.tobytes() in found


def test_a_least_squares_solver_that_gives_up_is_helped(monkeypatch):
    def gives_up(*arguments, **options):
        raise RuntimeError("Maximum number of iterations reached.")

    X = np.random.RandomState(0).standard_normal((12, 2))
    rows, radii = balls(X, Perturbation(0.05), intercept=True)
    patterns = rows @ np.random.RandomState(1).standard_normal((3, 6)) > 0
    _, expected = largest_factors(rows, radii, patterns, NORMS[2])
    monkeypatch.setattr("sklearn_convexnet.program.cones.nnls", gives_up)
    _, factors = largest_factors(rows, radii, patterns, NORMS[2])
    np.testing.assert_allclose(factors, expected, rtol=1e-6)
    assert (factors > 0).any()
