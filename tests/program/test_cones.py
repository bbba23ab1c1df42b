"""Projection on polyhedral cones: against least squares, and by Moreau's theorem."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from sklearn_convexnet.program.cones import project_on_cone

seeds = st.integers(0, 2**31 - 1)


def by_bounded_least_squares(constraints, point):
    """The projection from its dual, by another algorithm than NNLS."""
    found = lsq_linear(
        constraints.T, -point, bounds=(0.0, np.inf), method="bvls", tol=1e-14, max_iter=500
    )
    return point + constraints.T @ found.x


@st.composite
def cones(draw, max_rows=40):
    """Constraints, often with repeated, opposite, parallel or zero rows, and a point."""
    rng = np.random.RandomState(draw(seeds))
    n, d = draw(st.integers(1, max_rows)), draw(st.integers(1, 6))
    constraints = rng.standard_normal((n, d))
    kind = draw(st.sampled_from(["cell", "any", "integers", "opposite", "half-space"]))
    if kind == "cell":
        # the cone of a pattern: it has an interior
        gate = rng.standard_normal(d)
        constraints *= np.where(constraints @ gate >= 0, 1.0, -1.0)[:, None]
    elif kind == "integers":
        constraints = np.round(constraints)
    elif kind == "opposite":
        constraints = np.concatenate([constraints, -constraints[: n // 2]])
    elif kind == "half-space":
        constraints = constraints[0] * rng.uniform(0.5, 2, (n, 1))
    return constraints, rng.standard_normal(d) * 10.0 ** draw(st.floats(-3, 3))


@settings(max_examples=60)
@given(cone=cones())
def test_projection_is_that_of_moreau(cone):
    constraints, point = cone
    projection, multipliers = project_on_cone(constraints, point)
    size = max(np.linalg.norm(point), 1e-300)
    assert (multipliers >= 0).all()
    np.testing.assert_allclose(
        projection, point + constraints.T @ multipliers, rtol=0, atol=1e-12 * size
    )
    # in the cone; the difference is in the polar cone and orthogonal to it
    assert (constraints @ projection).min() >= -1e-11 * size * max(1.0, np.abs(constraints).max())
    assert abs(projection @ (point - projection)) <= 1e-11 * size**2
    assert multipliers @ np.abs(constraints @ projection) <= 1e-10 * size**2
    np.testing.assert_allclose(
        projection, by_bounded_least_squares(constraints, point), rtol=0, atol=1e-7 * size
    )


@settings(max_examples=20)
@given(cone=cones(), seed=seeds)
def test_no_point_of_the_cone_is_nearer(cone, seed):
    constraints, point = cone
    rng = np.random.RandomState(seed)
    projection, _ = project_on_cone(constraints, point)
    distance = np.linalg.norm(point - projection)
    for _ in range(10):
        other, _ = project_on_cone(constraints, projection + rng.standard_normal(len(point)))
        assert np.linalg.norm(point - other) >= distance * (1 - 1e-9) - 1e-9


@settings(max_examples=20)
@given(cone=cones(), scale=st.sampled_from([1e-150, 1e-9, 3.0, 1e150]))
def test_projection_is_homogeneous_and_idempotent(cone, scale):
    constraints, point = cone
    projection, multipliers = project_on_cone(constraints, point)
    size = np.linalg.norm(point)
    other, more = project_on_cone(constraints, scale * point)
    np.testing.assert_allclose(other, scale * projection, rtol=0, atol=1e-9 * scale * size)
    again, _ = project_on_cone(constraints, projection)
    np.testing.assert_allclose(again, projection, rtol=0, atol=1e-9 * size)
    assert (more >= 0).all() and np.isfinite(more).all() and np.isfinite(multipliers).all()


@settings(max_examples=30)
@given(cone=cones(), fraction=st.floats(0.0, 1.5))
def test_stop_below_proves_a_bound(cone, fraction):
    constraints, point = cone
    exact, _ = project_on_cone(constraints, point)
    norm, size = np.linalg.norm(exact), np.linalg.norm(point)
    threshold = fraction * size
    early, multipliers = project_on_cone(constraints, point, stop_below=threshold)
    assert (multipliers >= 0).all()
    np.testing.assert_allclose(
        early, point + constraints.T @ multipliers, rtol=0, atol=1e-12 * size
    )
    # an upper bound, at most the threshold whenever that is possible
    assert np.linalg.norm(early) >= norm * (1 - 1e-9) - 1e-12 * size
    assert np.linalg.norm(early) <= max(threshold, norm * (1 + 1e-9)) + 1e-11 * size
    if threshold >= size * (1 + 1e-12):
        np.testing.assert_allclose(early, point, rtol=1e-15)
        assert not multipliers.any()


def test_points_that_need_no_projection():
    constraints = np.array([[1.0, 0.0], [0.0, 1.0]])
    for point in ([0.0, 0.0], [1.0, 2.0], [1.0, 0.0]):
        projection, multipliers = project_on_cone(constraints, np.array(point))
        np.testing.assert_array_equal(projection, point)
        assert not multipliers.any()


def test_no_constraints():
    projection, multipliers = project_on_cone(np.empty((0, 2)), np.array([1.0, -2.0]))
    np.testing.assert_array_equal(projection, [1.0, -2.0])
    assert multipliers.shape == (0,)


def test_a_point_of_the_polar_cone_goes_to_zero():
    constraints = np.array([[1.0, 0.0], [1.0, 1.0]])
    projection, multipliers = project_on_cone(constraints, np.array([-2.0, -1.0]))
    np.testing.assert_allclose(projection, 0.0, atol=1e-15)
    np.testing.assert_allclose(constraints.T @ multipliers, [2.0, 1.0], rtol=1e-14)


@pytest.mark.parametrize("width", [1e-2, 1e-6, 1e-9])
def test_thin_cones(width):
    # {|v_2| <= width v_1}
    constraints = np.array([[width, 1.0], [width, -1.0]]) / np.hypot(1.0, width)
    for point, expected in (([1.0, 5.0], 1), ([-1.0, 0.3], 0), ([1.0, 0.0], 1)):
        projection, multipliers = project_on_cone(constraints, np.array(point))
        # multipliers are of size 1 / width, and so is what rounding makes of them
        assert (constraints @ projection >= -1e-15 / width).all() and (multipliers >= 0).all()
        assert (np.linalg.norm(projection) > 0.1) == bool(expected)


@pytest.mark.slow
def test_many_rows():
    rng = np.random.RandomState(0)
    rows = rng.standard_normal((5000, 20))
    gate = rng.standard_normal(20)
    constraints = np.where(rows @ gate >= 0, 1.0, -1.0)[:, None] * rows
    for _ in range(20):
        point = rng.standard_normal(20)
        projection, multipliers = project_on_cone(constraints, point)
        assert (constraints @ projection).min() >= -1e-11
        assert abs(projection @ (point - projection)) <= 1e-11
        np.testing.assert_allclose(projection, point + constraints.T @ multipliers, atol=1e-11)
