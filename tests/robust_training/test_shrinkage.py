"""Proximal steps of reaches and of worst-case losses: each a strongly convex minimum."""

import numpy as np
import pytest

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.robust_training.robust_admm import _project_on_epigraphs
from sklearn_convexnet.robust_training.shrinkage import Shrunk, WorstCaseProx

M, D = 40, 4
DUALS = [1, 2, np.inf]
LOSSES = ["squared_error", "hinge", "log_loss", "squared_hinge"]


def draw(seed, dual):
    """Points and radii; some features cannot be attacked, and some rows not at all."""
    rng = np.random.RandomState(seed)
    points = rng.standard_normal((M, D))
    radii = rng.uniform(0.1, 1.0, (M, D if dual == 1 else 1)) * (rng.rand(M, D) < 0.7)
    radii[:3] = 0.0
    return rng, points, radii


def reach(points, radii, dual):
    return np.linalg.norm(radii * points, ord=dual, axis=1)


def nearby(rng, points):
    """Other points, near and far."""
    for size in (1e-3, 1e-1, 1.0):
        for _ in range(20):
            yield points + size * rng.standard_normal(points.shape)


@pytest.mark.parametrize("dual", DUALS)
@pytest.mark.parametrize("amount", [0.05, 0.5, 10.0])
def test_shrunk_points_are_the_proximal_ones(dual, amount):
    rng, points, radii = draw(0, dual)
    amounts = np.full(M, amount)
    shrunk = Shrunk(points, amounts, radii, dual)
    np.testing.assert_allclose(shrunk.reach, reach(shrunk.points, radii, dual), atol=1e-14)

    def value(z):
        return amounts * reach(z, radii, dual) + 0.5 * np.sum((z - points) ** 2, axis=1)

    for other in nearby(rng, shrunk.points):
        distance = 0.5 * np.sum((other - shrunk.points) ** 2, axis=1)
        assert (value(other) >= value(shrunk.points) + distance - 1e-12).all()
    np.testing.assert_array_equal(shrunk.points[radii == 0], points[radii == 0])


@pytest.mark.parametrize("dual", DUALS)
def test_curvature_is_a_derivative(dual):
    rng, points, radii = draw(1, dual)
    moves, pace, step = rng.standard_normal((M, D)), 0.3, 1e-6

    def along(s):
        shrunk = Shrunk(points + s * moves, np.full(M, 0.4) + s * pace, radii, dual)
        return np.sum(moves * shrunk.points, axis=1) - pace * shrunk.reach

    curvature = Shrunk(points, np.full(M, 0.4), radii, dual).curvature(moves, pace)
    slopes = (along(step) - along(-step)) / (2 * step)
    np.testing.assert_allclose(curvature, slopes, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("dual", DUALS)
@pytest.mark.parametrize("name", LOSSES)
def test_worst_case_loss_has_its_proximal_point(name, dual, intercept):
    loss, rho = get_loss(name), 0.7
    rng, points, radii = draw(2, dual)
    rows, biases = rng.standard_normal((M, D)), intercept * rng.standard_normal(M)
    y = np.sign(rng.standard_normal(M)) if loss.target == "sign" else rng.standard_normal(M)
    prox = WorstCaseProx(loss, y, rows, radii, dual, intercept)

    def value(G, c):
        outputs, worst = np.sum(rows * G, axis=1) + c, reach(G, radii, dual)
        if loss.target == "sign":
            losses = loss.value(outputs - y * worst, y)
        else:
            losses = 0.5 * (np.abs(outputs - y) + worst) ** 2
        return losses + 0.5 * rho * (np.sum((G - points) ** 2, axis=1) + (c - biases) ** 2)

    # from nothing, then from the slopes of another problem
    prox(points[::-1].copy(), biases, 10.0)
    for _ in range(2):
        G, c = prox(points, biases, rho)
        assert intercept or not c.any()
        best = value(G, c)
        for other in nearby(rng, G):
            bias = c + intercept * rng.standard_normal(M)
            distance = np.sum((other - G) ** 2, axis=1) + (bias - c) ** 2
            assert (value(other, bias) >= best + 0.5 * rho * distance - 1e-8).all()


@pytest.mark.parametrize("dual", DUALS)
def test_projection_on_epigraphs(dual):
    rng, points, radii = draw(3, dual)
    bounds = rng.standard_normal(M)
    projected, level = _project_on_epigraphs(points, bounds, radii, dual)
    assert (reach(projected, radii, dual) <= level + 1e-10).all()
    inside = reach(points, radii, dual) <= bounds
    np.testing.assert_array_equal(projected[inside], points[inside])
    for other in nearby(rng, projected):
        top = reach(other, radii, dual) + rng.uniform(0.0, 1.0, M)
        moved = np.sum((points - projected) * (other - projected), axis=1)
        assert (moved + (bounds - level) * (top - level) <= 1e-9).all()
