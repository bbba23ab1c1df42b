"""Norms: the closed forms of their unit balls, against definitions, convex programs and slopes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.core.norms import NORMS

balls = pytest.mark.parametrize("ball", NORMS.values(), ids=NORMS)


@balls
@given(seed=st.integers(0, 2**31 - 1), d=st.integers(1, 5))
@settings(max_examples=10)
def test_steepest_attains_the_dual_norm(ball, seed, d):
    rng = np.random.RandomState(seed)
    gradients = rng.standard_normal((4, d)) * rng.randint(0, 2, (4, 1))
    points, falls = ball.steepest(gradients), ball.falls(gradients)
    assert np.all(ball.sizes(points) <= 1 + 1e-15)
    np.testing.assert_allclose(np.sum(points * gradients, axis=1), -falls, rtol=1e-12)
    np.testing.assert_allclose(falls, np.linalg.norm(gradients, ord=ball.dual, axis=1), rtol=1e-12)
    radii = rng.uniform(size=(3, d))
    pairs = [ball.falls(radius * gradients) for radius in radii]
    np.testing.assert_allclose(ball.reaches(radii, gradients.T), pairs, rtol=1e-12)


@balls
@pytest.mark.parametrize("radii", [[1.0, 1.0, 1.0], [0.5, 0.0, 2.0]])
def test_nearest_points_are_in_the_ball_and_no_other_is_nearer(ball, radii):
    rng, radii = np.random.RandomState(0), np.array(radii)
    points = np.concatenate([2.0 * rng.standard_normal((4, 3)), 0.1 * rng.standard_normal((2, 3))])
    nearest = np.array([ball.nearest(point, radii) for point in points])
    units = np.divide(nearest, radii, out=np.zeros((6, 3)), where=radii > 0)
    np.testing.assert_allclose(units * radii, nearest)
    assert np.all(ball.sizes(units) <= 1 + 1e-12)
    # the ball lies on the far side of the plane through a nearest point: what supports it is there
    away = points - nearest
    np.testing.assert_allclose(np.sum(away * nearest, axis=1), ball.falls(radii * away), atol=1e-10)
    if radii.all():
        np.testing.assert_allclose(ball.project(points), nearest, atol=1e-10)
        np.testing.assert_array_equal(ball.project(points)[4:], points[4:])


@balls
def test_random_points_fill_the_ball(ball):
    points = ball.draw((1000, 3), np.random.RandomState(0))
    sizes = np.linalg.norm(points, ord=ball.p, axis=1)
    assert sizes.max() <= 1 + 1e-15
    # the share of the volume within half the radius
    np.testing.assert_allclose(np.mean(sizes < 0.5), 0.125, atol=0.03)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=0.1)


@balls
@pytest.mark.parametrize("width", [0.3, 1e-3])
def test_smooth_falls_are_above_and_moves_are_their_slopes(ball, width):
    rng = np.random.RandomState(0)
    radii, vectors = np.array([[0.5, 0.0, 2.0]]), rng.standard_normal((6, 3))
    falls, moves = ball.smooth_falls(radii, vectors, width)
    exact = ball.falls(radii * vectors) * (1 - 1e-15)
    assert np.all(exact <= falls) and np.all(falls <= exact + width * radii.sum())
    assert np.all(np.abs(moves) <= radii)
    for step in 1e-6 * np.eye(3):
        up, down = (ball.smooth_falls(radii, vectors + s * step, width)[0] for s in (1, -1))
        np.testing.assert_allclose(moves @ step, (up - down) / 2, atol=1e-12)
    reaches, adjoint = ball.smooth_reaches(radii, vectors.T, width)
    np.testing.assert_allclose(reaches[0], falls)
    np.testing.assert_allclose(adjoint(np.ones((1, 6))), moves.T)


def assert_derivative(function, slopes, x, step=1e-6):
    """`slopes`, of shape (..., size of x), are those of a function of one row x."""
    moves = step * np.eye(len(x))
    numeric = [(function(x + h) - function(x - h)) / (2 * step) for h in moves]
    np.testing.assert_allclose(np.moveaxis(numeric, 0, -1), slopes, rtol=1e-6, atol=1e-6)


@balls
def test_barrier_has_its_hessian_and_ends_at_the_boundary(ball):
    point = ball.inside(1, 4)[0] * [1.0, 0.5, 1.0, 0.9] + [0.05, 0.02, 0.01, 0.03]
    inside, gradient, diagonal, outer, curvature = ball.barrier(point[None])
    assert inside.all()
    hessian = np.diag(diagonal[0]) + curvature[0] * np.outer(outer[0], outer[0])
    assert_derivative(lambda x: ball.barrier(x[None])[1][0], hessian, point)
    # a linear function is the same in coordinates, and no point outside is inside
    function = np.arange(1.0, len(ball.points(point[None])[0]) + 1)
    value = ball.coordinates(function) @ point
    assert value == pytest.approx(function @ ball.points(point[None])[0])
    far = point / (0.5 * ball.sizes(point[None]))
    assert not ball.barrier(far[None])[0].any()
