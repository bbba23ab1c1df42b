"""Geometry: what programs share, and its normalised form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sklearn_convexnet.core.rows import root_mean_square
from sklearn_convexnet.program.pattern_program import Geometry
from sklearn_convexnet.program.patterns import activation_patterns


def draw_geometry(n=7, d=3, P=4, seed=0, scale=1.0, zero_rows=()):
    rng = np.random.RandomState(seed)
    rows = scale * rng.standard_normal((n, d))
    rows[list(zero_rows)] = 0.0
    weights = rng.uniform(0.1, 1, n)
    gates = rng.standard_normal((d, P))
    return Geometry(rows, weights / weights.sum(), activation_patterns(rows, gates), gates, gates)


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 3)),
        elements=st.floats(-1e100, 1e100, allow_subnormal=False),
    ),
    st.integers(0, 99),
)
def test_root_mean_square(values, seed):
    weights = np.random.RandomState(seed).uniform(0.1, 1, len(values))
    weights /= weights.sum()
    result = root_mean_square(values, weights)
    assert result == pytest.approx(
        np.sqrt(weights @ np.mean(values**2, axis=1)), rel=1e-12, abs=1e-150
    )
    assert root_mean_square(values[:, 0], weights) == pytest.approx(
        np.sqrt(weights @ values[:, 0] ** 2), rel=1e-12, abs=1e-150
    )
    assert 0 <= result <= np.abs(values).max() * (1 + 1e-14)
    # one row of weight two is two rows
    twice = np.append(weights, weights[:1]) / (1 + weights[0])
    weights[0] *= 2
    assert root_mean_square(np.r_[values, values[:1]], twice) == pytest.approx(
        root_mean_square(values, weights / weights.sum()), rel=1e-12, abs=1e-150
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_root_mean_square_at_any_size(scale):
    values, weights = scale * np.array([[3.0, -4.0], [0.0, 0.0]]), np.array([0.5, 0.5])
    assert root_mean_square(values, weights) == pytest.approx(2.5 * scale)


def test_rows_of_zeros_bound_no_cone():
    geometry = draw_geometry(zero_rows=[1, 4])
    np.testing.assert_array_equal(np.flatnonzero(~geometry.visible), [1, 4])
    np.testing.assert_array_equal(geometry.cone_rows, geometry.rows[geometry.visible])
    np.testing.assert_array_equal(geometry.cone_patterns, geometry.patterns[geometry.visible])
    normalised = geometry.normalised
    np.testing.assert_array_equal(normalised.visible, geometry.visible)
    np.testing.assert_array_equal(normalised.cone_rows, normalised.rows[normalised.visible])
    # all visible: nothing is copied
    plain = draw_geometry()
    assert plain.cone_rows is plain.rows
    assert plain.cone_patterns is plain.patterns


@pytest.mark.parametrize(("n", "d"), [(7, 3), (3, 7), (4, 4)])
def test_spectra(n, d):
    geometry = draw_geometry(n, d)
    for (values, vectors), factor in (
        (geometry.row_spectrum, geometry.rows),
        (geometry.gate_spectrum, geometry.patterns.astype(float)),
    ):
        gram = factor.T @ np.diag(geometry.weights) @ factor
        np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, gram, atol=1e-12)
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(len(gram)), atol=1e-12)


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize(("n", "d"), [(7, 3), (1, 1), (4, 4)])
def test_normalised_rows_have_size_one(n, d, scale):
    geometry = draw_geometry(n, d, scale=scale)
    geometry.row_spectrum, geometry.cone_rows  # noqa: B018 - must not leak into the other
    normalised = geometry.normalised
    assert normalised.row_scale == pytest.approx(1)
    assert geometry.row_scale / scale == pytest.approx(1, abs=0.9)
    np.testing.assert_allclose(normalised.rows * geometry.row_scale, geometry.rows)
    assert normalised.basis is None
    assert normalised.patterns is geometry.patterns
    assert normalised.weights is geometry.weights
    values, _ = normalised.row_spectrum
    np.testing.assert_allclose(values * geometry.row_scale**2, geometry.row_spectrum[0], rtol=1e-9)
    np.testing.assert_array_equal(normalised.cone_rows, normalised.rows)
    # computed once, and its patterns are those of the gates
    assert geometry.normalised is normalised
    np.testing.assert_array_equal(
        activation_patterns(normalised.rows, normalised.gates), geometry.patterns
    )


@given(
    n=st.integers(1, 5), extra=st.integers(1, 6), rank=st.integers(1, 5), seed=st.integers(0, 999)
)
def test_wide_rows_are_given_coordinates_in_their_span(n, extra, rank, seed):
    d, rank = n + extra, min(n, rank)
    rng = np.random.RandomState(seed)
    rows = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    gates = rng.standard_normal((d, 4))
    weights = np.full(n, 1 / n)
    geometry = Geometry(rows, weights, activation_patterns(rows, gates), gates, gates)
    normalised = geometry.normalised
    basis = normalised.basis
    assert basis.shape == (d, rank)
    assert normalised.rows.shape == (n, rank)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(
        geometry.row_scale * normalised.rows @ basis.T, rows, atol=1e-10 * np.abs(rows).max()
    )
    # products, hence cones, and norms of blocks in the span are kept
    blocks = rng.standard_normal((rank, 2))
    np.testing.assert_allclose(
        rows @ (basis @ blocks), geometry.row_scale * normalised.rows @ blocks, atol=1e-9
    )
    np.testing.assert_allclose(
        np.linalg.norm(basis @ blocks, axis=0), np.linalg.norm(blocks, axis=0)
    )
    np.testing.assert_allclose(
        rows @ gates, geometry.row_scale * normalised.rows @ normalised.gates, atol=1e-9
    )
    np.testing.assert_array_equal(normalised.directions, normalised.gates)


@pytest.mark.parametrize("fill", [0.0, 1e-160, 1e-320])
def test_rows_too_small_to_square_keep_their_size(fill):
    gate = np.ones((2, 1))
    geometry = Geometry(np.full((3, 2), fill), np.full(3, 1 / 3), np.ones((3, 1), bool), gate, gate)
    assert geometry.row_scale == 1.0
    np.testing.assert_array_equal(geometry.normalised.rows, geometry.rows)


def test_rows_of_zeros_stay_zero_in_fewer_coordinates():
    normalised = draw_geometry(n=5, d=8, zero_rows=(0, 3)).normalised
    assert normalised.rows.shape[1] <= 5
    np.testing.assert_array_equal(normalised.rows[[0, 3]], 0.0)
    assert not normalised.visible[[0, 3]].any() and normalised.visible[[1, 2, 4]].all()


def test_single_precision_only_where_it_resolves_the_rows():
    rng = np.random.RandomState(0)
    rows = np.column_stack([rng.standard_normal((50, 2)), np.ones(50)])

    def precision(offset, factor=1.0):
        gates = np.eye(3)
        moved = [factor, 1.0, 1.0] * rows + [offset, 0.0, 0.0]
        patterns = activation_patterns(moved, gates)
        return Geometry(moved, np.full(50, 0.02), patterns, gates, gates).normalised.precision

    assert precision(0.0) == precision(100.0) == np.float32
    assert precision(1e5) == precision(-1e5) == np.float64
    assert precision(0.0, 0.1) == np.float32
    assert precision(0.0, 1e-5) == precision(0.0, 1e5) == np.float64
