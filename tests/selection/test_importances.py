"""Importances of features to a network, and the weights that they ask for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.selection.feature_weights import feature_importances, spreads, weights_of


def network(d, n_neurons, n_outputs, rng):
    return TwoLayerReLU(
        rng.standard_normal((d, n_neurons)),
        rng.standard_normal(n_neurons),
        rng.standard_normal((n_neurons, n_outputs)),
        rng.standard_normal(n_outputs),
    )


@given(d=st.integers(1, 4), m=st.integers(0, 5), k=st.integers(1, 3), seed=st.integers(0, 99))
def test_slopes_are_those_of_finite_differences(d, m, k, seed):
    rng = np.random.RandomState(seed)
    f, X, weights = network(d, m, k, rng), rng.standard_normal((20, d)), rng.uniform(size=20)
    weights /= weights.sum()
    step = 1e-7
    slopes = [(f(X + step * e) - f(X - step * e)) / (2.0 * step) for e in np.eye(d)]
    expected = [weights @ np.sum(slope**2, axis=1) for slope in slopes]
    np.testing.assert_allclose(f.mean_squared_slopes(X, weights), expected, rtol=1e-4, atol=1e-9)
    # also of rows in blocks, and without their zeros
    again = f.mean_squared_slopes(csr_array(X), weights)
    np.testing.assert_allclose(again, f.mean_squared_slopes(X, weights))


def test_importances_of_a_linear_network_are_shares_of_the_variance():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((5000, 3)) * [1.0, 10.0, 1.0]
    slopes = np.array([2.0, -0.1, 0.0])
    # (z)_+ - (-z)_+ is z
    hidden = np.column_stack([slopes, -slopes])
    f = TwoLayerReLU(hidden, np.zeros(2), np.array([[1.0], [-1.0]]), np.zeros(1))
    found = feature_importances(f, X, np.full(5000, 1 / 5000))
    np.testing.assert_allclose(found, [0.8, 0.2, 0.0], atol=0.02)
    assert found.sum() == pytest.approx(1.0)


@given(seed=st.integers(0, 99))
def test_importances_do_not_depend_on_units(seed):
    rng = np.random.RandomState(seed)
    f, X, weights = network(4, 6, 2, rng), rng.standard_normal((30, 4)), np.full(30, 1 / 30)
    units = 10.0 ** rng.uniform(-3, 3, 4)
    found = feature_importances(f.rescaled(1.0 / units), X * units, weights)
    np.testing.assert_allclose(found, feature_importances(f, X, weights), rtol=1e-9)


def test_importances_of_a_constant():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((10, 3))
    assert not feature_importances(network(3, 0, 1, rng), X, np.full(10, 0.1)).any()
    np.testing.assert_array_equal(weights_of(np.zeros(3), np.ones(3)), np.ones(3))


@given(seed=st.integers(0, 99))
def test_weights_keep_the_size_of_the_rows_and_leave_no_feature_out(seed):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((50, 4)) * 10.0 ** rng.uniform(-2, 2, 4)
    weights, importances = np.full(50, 0.02), rng.uniform(size=4) ** 20
    sizes = spreads(X, weights)
    found = weights_of(importances / importances.sum(), sizes)
    squares = (found * sizes) ** 2
    assert squares.sum() == pytest.approx(np.sum(sizes**2))
    assert squares.min() >= 0.99e-5 * squares.max()
    # of those above the floor it is the importances that count
    large = importances > 1e-4 * importances.max()
    shares = squares[large] / importances[large]
    np.testing.assert_allclose(shares, shares[0])


def test_a_feature_without_spread_has_weight_one():
    found = weights_of(np.array([0.9, 0.1, 0.0]), np.array([1.0, 2.0, 0.0]))
    assert found[2] == 1.0 and np.isfinite(found).all()
