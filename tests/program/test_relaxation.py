"""Certified margins: below every perturbed margin, and exact where one neuron is all there is."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.program import relaxation as module
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.program.relaxation import Relaxation

# norm, bounds
BALLS = [(np.inf, None), (np.inf, (-0.5, 1.0)), (2, None), (1, None)]
balls = pytest.mark.parametrize(("norm", "bounds"), BALLS)
seeds = st.integers(0, 10**6)


def draw_network(rng, d, m):
    return TwoLayerReLU(
        rng.standard_normal((d, m)),
        rng.standard_normal(m),
        rng.standard_normal((m, 1)),
        rng.standard_normal(1),
    )


def draw_rows(rng, n=6, d=3):
    return rng.standard_normal((n, d)), rng.choice([-1.0, 1.0], n)


def perturbed(rng, perturbation, X, count=300):
    """Points of the balls, corners and surfaces included; (count, n, d)."""
    centres, radii = perturbation.balls(X)
    eta = rng.standard_normal((count, *X.shape))
    if perturbation.norm == np.inf:
        eta = np.where(rng.uniform(size=(count, 1, 1)) < 0.5, np.sign(eta), np.tanh(eta))
    elif perturbation.norm == 2:
        eta /= np.linalg.norm(eta, axis=2, keepdims=True)
    else:
        eta = np.where(np.abs(eta) == np.abs(eta).max(axis=2, keepdims=True), np.sign(eta), 0.0)
    return centres + radii * eta


@balls
@given(seed=seeds)
@settings(max_examples=10)
def test_no_perturbation_gets_below_the_certified_margin(norm, bounds, seed):
    rng = np.random.RandomState(seed)
    X, y = draw_rows(rng)
    network = draw_network(rng, 3, rng.randint(1, 9))
    perturbation = Perturbation(rng.uniform(0, 1, 3) * rng.randint(0, 2, 3), norm, bounds)
    margins = Relaxation(X, y, perturbation, fit_intercept=True).margins(network)
    reached = [y * network(points)[:, 0] for points in perturbed(rng, perturbation, X)]
    assert np.all(margins <= np.min(reached, axis=0))


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
@given(seed=seeds)
@settings(max_examples=10)
def test_a_lone_neuron_is_exact(norm, seed):
    rng = np.random.RandomState(seed)
    X, y = draw_rows(rng)
    network = draw_network(rng, 3, 1)
    dual = {np.inf: 1, 2: 2, 1: np.inf}[norm]
    z = (X @ network.hidden_weights + network.hidden_biases)[:, 0]
    reach = 0.3 * np.linalg.norm(network.hidden_weights[:, 0], ord=dual)
    strengths = y * network.output_weights[0]
    ends = np.maximum(z - np.sign(strengths) * reach, 0.0)
    expected = strengths * ends + y * network.output_biases[0]
    margins = Relaxation(X, y, Perturbation(0.3, norm), fit_intercept=True).margins(network)
    np.testing.assert_allclose(margins, expected, atol=1e-9)


@balls
def test_neurons_that_do_not_change_sign_are_exact_together(norm, bounds):
    rng = np.random.RandomState(0)
    X, y = draw_rows(rng)
    network = draw_network(rng, 3, 6)
    network.hidden_biases[:] = np.where(np.arange(6) < 4, 50.0, -50.0)
    perturbation = Perturbation([0.3, 0.0, 0.1], norm, bounds)
    centres, radii = perturbation.balls(X)
    linear = (network.hidden_weights * (np.arange(6) < 4)) @ network.output_weights
    reach = perturbation.reach(radii, linear)[:, 0]
    margins = Relaxation(X, y, perturbation, fit_intercept=True).margins(network)
    np.testing.assert_allclose(margins, y * network(centres)[:, 0] - reach, rtol=1e-9)


def test_without_perturbation_the_margin_is_that_of_the_network():
    rng = np.random.RandomState(0)
    X, y = draw_rows(rng)
    network = draw_network(rng, 3, 9)
    relaxation = Relaxation(X, y, Perturbation(0.0), fit_intercept=True)
    np.testing.assert_allclose(relaxation.margins(network), y * network(X)[:, 0], rtol=1e-9)
    assert relaxation.still
    assert not Relaxation(X, y, Perturbation([0, 0, 0.1]), fit_intercept=True).still
    # rows outside the bounds move, if only to the bounds
    clipped = Relaxation(X, y, Perturbation(0.0, bounds=(-0.1, 0.1)), fit_intercept=True)
    assert not clipped.still
    expected = y * network(np.clip(X, -0.1, 0.1))[:, 0]
    np.testing.assert_allclose(clipped.margins(network), expected, rtol=1e-9)


def test_lines_are_needed_and_ends_are_needed():
    # neurons that share a worst case, and those whose worst cases exclude each other
    X, y = np.zeros((1, 1)), np.ones(1)
    relaxation = Relaxation(X, y, Perturbation(1.0), fit_intercept=True)
    canceling = TwoLayerReLU(
        np.array([[1.0, 1.0]]), np.full(2, 5.0), np.array([[1.0], [-1.0]]), [0]
    )
    np.testing.assert_allclose(relaxation.margins(canceling), 0.0, atol=1e-9)
    kinks = TwoLayerReLU(np.array([[1.0, -1.0]]), np.full(2, 0.0), np.array([[1.0], [1.0]]), [0])
    np.testing.assert_allclose(relaxation.margins(kinks), 0.0, atol=1e-9)


@given(seed=seeds)
@settings(max_examples=10)
def test_rounding_of_sums_that_cancel_is_allowed_for(seed):
    # the row is long and orthogonal to the neuron, so that z is all rounding
    rng = np.random.RandomState(seed)
    x, u = 1e6 + rng.standard_normal(4), rng.standard_normal(4)
    u -= (u @ x) / (x @ x) * x
    network = TwoLayerReLU(u[:, None], np.zeros(1), np.ones((1, 1)), np.array([-1e-12]))
    relaxation = Relaxation(x[None], np.ones(1), Perturbation(1e-13), fit_intercept=True)
    z = sum(Fraction(a) * Fraction(b) for a, b in zip(x, u, strict=True))
    reach = Fraction(1e-13) * sum(abs(Fraction(b)) for b in u)
    assert relaxation.margins(network)[0] <= max(z - reach, 0) - Fraction(1e-12)


def test_blocks_of_rows_do_not_matter(monkeypatch):
    rng = np.random.RandomState(0)
    X, y = draw_rows(rng, n=50)
    network = draw_network(rng, 3, 9)
    for bounds in (None, (-1, 1)):
        relaxation = Relaxation(X, y, Perturbation(0.2, bounds=bounds), fit_intercept=True)
        whole = relaxation.margins(network)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_BLOCK", 7)
            np.testing.assert_allclose(relaxation.margins(network), whole, rtol=1e-9)
