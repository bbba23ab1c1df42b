"""Metrics, on arrays of which the answer is known."""

import numpy as np
import pytest
from sklearn.metrics import r2_score

from sklearn_convexnet.autoencoder import (
    bipolar_fraction,
    dead_fraction,
    l0,
    r2,
    recovered_fraction,
    relative_reconstruction_bias,
)

CODES = np.array([[0.0, 2.0, -1.0, 0.0], [0.0, -2.0, -3.0, 0.0], [0.0, 1.0, 0.0, 0.0]])


def test_codes_of_either_sign_count():
    assert l0(CODES) == l0(np.abs(CODES)) == pytest.approx(5 / 3)
    assert dead_fraction(CODES) == 0.5
    assert bipolar_fraction(CODES) == 0.25
    assert bipolar_fraction(np.abs(CODES)) == 0.0
    assert bipolar_fraction(CODES, min_share=1 / 3) == 0.25
    assert bipolar_fraction(CODES, min_share=0.5) == 0.0
    assert bipolar_fraction(np.zeros((2, 3)), min_share=0) == 0.0


def test_r2_is_that_of_all_features_together():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((30, 4)) * [1, 2, 3, 4] + 10
    rebuilt = X + 0.3 * rng.standard_normal(X.shape)
    expected = r2_score(X, rebuilt, multioutput="variance_weighted")
    assert r2(X, rebuilt) == pytest.approx(expected)
    assert r2(X, X) == 1.0
    assert r2(X, np.tile(X.mean(axis=0), (30, 1))) == pytest.approx(0.0)
    ones = np.ones((3, 2))
    assert r2(ones, ones) == 1.0
    assert r2(ones, 2 * ones) == 0.0


def test_bias_is_the_factor_that_would_be_best_divided_by():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((50, 4))
    rebuilt = 0.8 * X + 0.1 * rng.standard_normal(X.shape)
    found = relative_reconstruction_bias(X, rebuilt)
    factors = np.linspace(0.5, 1.2, 7001)
    losses = [np.sum((rebuilt / factor - X) ** 2) for factor in factors]
    assert found == pytest.approx(factors[np.argmin(losses)], abs=1e-4)
    assert relative_reconstruction_bias(X, 0.5 * X) == pytest.approx(0.5)
    assert np.isnan(relative_reconstruction_bias(X, np.zeros_like(X)))


def test_recovered_directions_have_a_latent_each():
    axes = np.eye(3)
    both = np.concatenate([axes, -axes])
    assert recovered_fraction(axes, both) == 0.5
    assert recovered_fraction(5 * axes, both, signed=True) == 1.0
    assert recovered_fraction(both, both) == 1.0
    # one latent is not two
    assert recovered_fraction(np.repeat(axes[:1], 6, axis=0), both) == pytest.approx(1 / 6)
    assert recovered_fraction(-axes, axes) == 0.0
    tilted = np.array([[1.0, 0.5, 0.0]])
    assert recovered_fraction(tilted, axes, min_cosine=0.8) == pytest.approx(1 / 3)
    assert recovered_fraction(tilted, axes) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: l0([1.0, 2.0]), "codes must be a matrix"),
        (lambda: dead_fraction(np.empty((0, 3))), "codes must be a matrix with rows"),
        (lambda: l0([[np.nan]]), "codes must be finite"),
        (lambda: bipolar_fraction(CODES, min_share=-1), "min_share must be a number >= 0, got -1"),
        (lambda: bipolar_fraction(CODES, min_share=np.nan), "min_share must be"),
        (lambda: r2(np.ones((2, 3)), np.ones((2, 1))), r"shape \(2, 3\) of X, got \(2, 1\)"),
        (lambda: recovered_fraction(np.eye(3), np.eye(2)), "as many columns, got 3 and 2"),
        (lambda: recovered_fraction(np.zeros((1, 2)), np.eye(2)), "must not have rows of zeros"),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
