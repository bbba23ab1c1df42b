"""Nesterov-Todd scaling: the identities that define it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.solvers.second_order_cone import (
    Scaling,
    inner,
    product,
    quotient,
    step_to_boundary,
)

quick = settings(max_examples=25)
seeds = st.integers(0, 2**31 - 1)
# how close to the boundary, as a power of ten
depths = st.floats(-6.0, 1.0)
kinds = st.sampled_from(["any", "inward", "outward", "along", "zero"])


def interior(rng, depth, B=5, d=3):
    theta = rng.standard_normal((B, d)) * 10.0 ** rng.uniform(-2, 2, (B, 1))
    return np.linalg.norm(theta, axis=1) * (1.0 + 10.0**depth), theta


def vectors(rng, B=5, d=3):
    return rng.standard_normal(B), rng.standard_normal((B, d))


def stacked(x):
    return np.concatenate([x[0][:, None], x[1]], axis=1)


def close(a, b, tol=1e-9):
    a, b = (stacked(x) if isinstance(x, tuple) else np.asarray(x) for x in (a, b))
    size = max(np.abs(a).max(), np.abs(b).max())
    np.testing.assert_allclose(a, b, rtol=0, atol=tol * size)


def matrix_of(function, B=5, d=3):
    """The matrices of a linear map of vectors, shape (B, d + 1, d + 1)."""
    columns = []
    for j in range(d + 1):
        unit = np.zeros((B, d + 1))
        unit[:, j] = 1.0
        columns.append(stacked(function((unit[:, 0], unit[:, 1:]))))
    return np.stack(columns, axis=2)


@quick
@given(seed=seeds)
def test_product_is_the_jordan_product(seed):
    rng = np.random.RandomState(seed)
    a, b = vectors(rng), vectors(rng)
    x = product(a, b)
    for k in range(5):
        assert x[0][k] == pytest.approx(a[0][k] * b[0][k] + a[1][k] @ b[1][k])
        np.testing.assert_allclose(x[1][k], a[0][k] * b[1][k] + b[0][k] * a[1][k])
    close(product(b, a), x, 1e-14)
    # not associative, but a and a o a commute as operators (Jordan's identity)
    square = product(a, a)
    close(product(product(square, b), a), product(square, product(b, a)), 1e-12)


@quick
@given(seed=seeds, depth=depths)
def test_quotient_inverts_the_product(seed, depth):
    rng = np.random.RandomState(seed)
    a, b = interior(rng, depth), vectors(rng)
    b = b[0] * a[0], b[1] * a[0][:, None]
    close(quotient(a, product(a, b)), b, 1e-8)
    close(product(a, quotient(a, b)), b, 1e-8)


@quick
@given(seed=seeds, depths=st.tuples(depths, depths))
def test_the_scaled_point_is_the_same_from_both_sides(seed, depths):
    rng = np.random.RandomState(seed)
    x, z = interior(rng, depths[0]), interior(rng, depths[1])
    scaling = Scaling(x, z)
    close(scaling.apply(z), scaling.point)
    close(scaling.apply_inverse(x), scaling.point, 1e-7)
    # it is in the cone, and W keeps the complementarity x'z
    assert (scaling.point[0] >= np.linalg.norm(scaling.point[1], axis=1)).all()
    complementarity = x[0] * z[0] + inner(x[1], z[1])
    point = stacked(scaling.point)
    np.testing.assert_allclose(np.sum(point**2, axis=1), complementarity, rtol=1e-7)


@quick
@given(seed=seeds, depths=st.tuples(depths, depths))
def test_scaling_is_symmetric_invertible_and_keeps_the_cone(seed, depths):
    rng = np.random.RandomState(seed)
    scaling = Scaling(interior(rng, depths[0]), interior(rng, depths[1]))
    W, inverse = matrix_of(scaling.apply), matrix_of(scaling.apply_inverse)
    np.testing.assert_allclose(W, W.transpose(0, 2, 1), rtol=1e-12, atol=1e-14 * np.abs(W).max())
    sizes = np.abs(W).max(axis=(1, 2)) * np.abs(inverse).max(axis=(1, 2))
    identity = np.matmul(W, inverse) - np.eye(4)
    assert (np.abs(identity).max(axis=(1, 2)) <= 1e-13 * sizes).all()
    assert (np.linalg.eigvalsh(W) > -1e-14 * np.abs(W).max(axis=(1, 2))[:, None]).all()
    # W J W = eta^2 J with J = diag(1, -1, .., -1): an automorphism of the cone
    J = np.diag([1.0, -1.0, -1.0, -1.0])
    image = np.matmul(W, np.matmul(J, W)) / scaling.eta[:, None, None] ** 2
    entries = (np.abs(W).max(axis=(1, 2)) / scaling.eta) ** 2
    assert (np.abs(image - J).max(axis=(1, 2)) <= 1e-13 * entries).all()


@quick
@given(seed=seeds, depths=st.tuples(depths, depths))
def test_elimination_solves_the_scaled_equation(seed, depths):
    rng = np.random.RandomState(seed)
    scaling = Scaling(interior(rng, depths[0]), interior(rng, depths[1]))
    W, inverse = matrix_of(scaling.apply), matrix_of(scaling.apply_inverse)
    rhs = vectors(rng)
    offset, recover = scaling.eliminate(rhs)
    H = scaling.hessians()
    dtheta = rng.standard_normal((5, 3))
    dt, dzeta = recover(dtheta)
    dx = np.concatenate([dt[:, None], dtheta], axis=1)
    dz = np.concatenate([np.zeros((5, 1)), dzeta], axis=1)
    terms = [np.matmul(W, dz[:, :, None])[:, :, 0], np.matmul(inverse, dx[:, :, None])[:, :, 0]]
    error = np.abs(terms[0] + terms[1] - stacked(rhs)).max(axis=1)
    conditions = np.abs(W).max(axis=(1, 2)) * np.abs(inverse).max(axis=(1, 2))
    size = np.abs(stacked(rhs)).max() + sum(np.abs(term).max(axis=1) for term in terms)
    assert (error <= 1e-13 * conditions * size).all()
    # dzeta = offset - H dtheta
    other = offset - np.matmul(H, dtheta[:, :, None])[:, :, 0]
    scale = np.abs(offset).max(axis=1) + np.abs(H).max(axis=(1, 2)) * 5.0
    assert (np.abs(other - dzeta).max(axis=1) <= 1e-12 * conditions * scale).all()


@quick
@given(seed=seeds, depths=st.tuples(depths, depths))
def test_hessians_are_positive_definite_schur_complements(seed, depths):
    rng = np.random.RandomState(seed)
    scaling = Scaling(interior(rng, depths[0]), interior(rng, depths[1]))
    H = scaling.hessians()
    np.linalg.cholesky(H)
    np.testing.assert_allclose(H, H.transpose(0, 2, 1), rtol=1e-15)
    # H is the Schur complement of the corner of W^-2
    inverse = matrix_of(scaling.apply_inverse)
    squares = np.matmul(inverse, inverse)
    corner, edge = squares[:, 0, 0], squares[:, 0, 1:]
    schur = squares[:, 1:, 1:] - edge[:, :, None] * (edge / corner[:, None])[:, None, :]
    error = np.abs(H - schur).max(axis=(1, 2))
    assert (error <= 1e-12 * np.abs(squares).max(axis=(1, 2))).all()


@quick
@given(seed=seeds, depth=depths, kind=kinds)
def test_step_to_boundary_is_the_first_exit(seed, depth, kind):
    rng = np.random.RandomState(seed)
    x, dx = interior(rng, depth), vectors(rng)
    dx = dx[0] * x[0], dx[1] * x[0][:, None]
    if kind == "inward":
        dx = interior(rng, 0.0)
    elif kind == "outward":
        dx = -dx[0] - 3.0 * np.abs(dx[1]).sum(axis=1), dx[1]
    elif kind == "along":
        # on the boundary of the cone of directions: the quadratic is linear
        dx = -np.linalg.norm(dx[1], axis=1), dx[1]
    elif kind == "zero":
        dx = np.zeros(5), np.zeros((5, 3))
    step = step_to_boundary(x, dx)
    assert step > 0

    def depth_at(length):
        t, theta = x[0] + length * dx[0], x[1] + length * dx[1]
        return np.min((t - np.linalg.norm(theta, axis=1)) / x[0])

    for fraction in np.linspace(0.0, 0.999, 50):
        length = fraction * min(step, 1e3)
        assert depth_at(length) >= -1e-12 * (1.0 + length)
    if np.isfinite(step) and step < 1e6:
        assert depth_at(step * 1.01) < 1e-10 * (1.0 + step)
    if kind in ("inward", "zero"):
        assert step == np.inf
    if kind == "outward":
        assert step < np.inf


def test_no_step_to_boundary_is_lost_to_rounding():
    """Where x and dx are parallel the quadratic has one root, twice."""
    for t in np.linspace(0.1, 1.0, 100):
        x, dx = (np.array([t]), np.zeros((1, 2))), (np.array([-0.3 * t]), np.zeros((1, 2)))
        assert step_to_boundary(x, dx) == pytest.approx(1.0 / 0.3)
