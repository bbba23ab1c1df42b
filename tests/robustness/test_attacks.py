"""Attacks in the units of the balls: gradients, descents, restarts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import draw_ball, draw_network
from scipy.optimize import approx_fprime

from sklearn_convexnet.core.norms import NORMS
from sklearn_convexnet.robustness.attacks import Margins, attack, descend

quick = settings(max_examples=10)
seeds = st.integers(0, 2**31 - 1)


def draw_margins(seed, n=10, d=3, m=8):
    rng = np.random.RandomState(seed)
    network = draw_network(rng, d, m, 3)
    directions = np.array([[[1.0, -1.0, 0.0], [1.0, 0.0, -1.0]]] * n)
    return Margins(network, rng.standard_normal((n, d)), rng.uniform(0, 1, (n, d)), directions), rng


@quick
@given(seed=seeds)
def test_margins_and_gradients(seed):
    margins, rng = draw_margins(seed)
    points = draw_ball(rng, (10, 3), np.inf)
    values, gradients = margins(points)
    outputs = margins.network(margins.centres + margins.radii * points)
    np.testing.assert_allclose(values, outputs[:, 0] - outputs[:, 1:].max(axis=1), atol=1e-12)
    for k in range(10):
        slope = approx_fprime(points[k], lambda point, k=k: margins.take([k])(point[None])[0][0])
        np.testing.assert_allclose(gradients[k], slope, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_descent_returns_the_best_point_it_saw(norm):
    margins, rng = draw_margins(0)
    starts = draw_ball(rng, (10, 3), norm)
    kept = starts.copy()
    best = margins(starts)[0]
    for steps in (1, 5, 40):
        values, points = descend(margins, starts, NORMS[norm], steps=steps)
        assert np.linalg.norm(points, ord=norm, axis=1).max() <= 1 + 1e-12
        np.testing.assert_allclose(values, margins(points)[0])
        assert np.all(values <= best)
    assert np.mean(values < best - 0.01) > 0.5
    np.testing.assert_array_equal(starts, kept)


@pytest.mark.parametrize("norm", NORMS)
def test_restarts_never_hurt_and_stop_in_time(norm):
    margins, _ = draw_margins(1, n=30, d=5, m=20)
    starts = np.zeros((30, 5))
    found = [
        attack(
            margins, starts, NORMS[norm], steps=10, restarts=k, rng=np.random.RandomState(0)
        )[0]
        for k in (1, 2, 10)
    ]  # fmt: skip
    assert np.all(found[0] >= found[1]) and np.all(found[1] >= found[2])
    assert np.any(found[0] > found[2] + 1e-3)
    stopped, points = attack(
        margins, starts, NORMS[norm], steps=10, restarts=10, rng=np.random.RandomState(0), stop=0.0
    )
    np.testing.assert_array_equal(stopped <= 0, found[2] <= 0)
    np.testing.assert_allclose(stopped, margins(points)[0])


@pytest.mark.parametrize("norm", NORMS)
def test_descent_finds_the_minimum_of_a_linear_function(norm):
    rng = np.random.RandomState(0)
    network = draw_network(rng, 4, 3)
    network.hidden_biases[:] = 100.0  # no neuron changes sign
    radii = np.array([[1.0, 0.5, 0.0, 2.0]])
    margins = Margins(network, np.zeros((1, 4)), radii, np.ones((1, 1, 1)))
    slope = radii[0] * (network.hidden_weights @ network.output_weights)[:, 0]
    dual = {np.inf: 1, 2: 2, 1: np.inf}[norm]
    values, _ = descend(margins, np.zeros((1, 4)), NORMS[norm], steps=40)
    exact = margins(np.zeros((1, 4)))[0] - np.linalg.norm(slope, ord=dual)
    np.testing.assert_allclose(values, exact, atol=1e-2)
