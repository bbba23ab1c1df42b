"""Linear relaxation: below the function, and exact where it is linear."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import draw_ball, draw_network, draw_queries

from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.program.relaxation import Queries
from sklearn_convexnet.robustness.model import Model
from sklearn_convexnet.robustness.queries import build_queries

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31 - 1)
norms = st.sampled_from([np.inf, 2, 1])
BOUNDS = [Queries.interval_bound, Queries.linear_bound]


def build(network, X, perturbation, directions):
    centres, radii = perturbation.balls(X)
    model = Model(network, None)
    return build_queries(model, perturbation, centres, radii, np.arange(len(X)), directions)


@quick
@given(seed=seeds, norm=norms, d=st.integers(1, 4), m=st.integers(0, 8))
def test_queries_are_the_network(seed, norm, d, m):
    rng = np.random.RandomState(seed)
    network, X = draw_network(rng, d, m, 3), rng.standard_normal((5, d))
    directions = rng.standard_normal((5, 3))
    perturbation = Perturbation(rng.uniform(0, 1, d), norm)
    queries = build(network, X, perturbation, directions)
    points = draw_ball(rng, (5, d), norm)
    values = queries.values(points, queries.activations(points))
    outputs = network(X + perturbation.epsilon * points)
    np.testing.assert_allclose(values, np.sum(directions * outputs, axis=1), atol=1e-12)
    # parts of queries are queries
    part = queries.take([3, 1])
    assert len(part) == 2
    np.testing.assert_array_equal(part.values(points[[3, 1]], part.activations(points[[3, 1]])),
                                  values[[3, 1]])  # fmt: skip


@quick
@given(seed=seeds, norm=norms, epsilon=st.sampled_from([0.0, 0.1, 0.5, 3.0]))
def test_bounds_hold_all_over_the_ball(seed, norm, epsilon):
    queries, rng = draw_queries(seed, norm=norm, n=1, epsilon=epsilon)
    points = draw_ball(rng, (400, 3), norm)
    many = queries.take(np.zeros(400, dtype=int))
    least = many.values(points, many.activations(points)).min()
    for bound in BOUNDS:
        assert bound(queries)[0][0] <= least
    if epsilon == 0:
        np.testing.assert_allclose(queries.linear_bound()[0], least, atol=1e-10)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_bounds_are_exact_where_no_neuron_changes_sign(norm):
    queries, _ = draw_queries(3, norm=norm, epsilon=1e-3)
    assert not queries.output.any()
    for bound in BOUNDS:
        bounds, gradients = bound(queries)
        np.testing.assert_array_equal(gradients, queries.linear)
        points = -1e-9 * gradients
        assert np.all(bounds <= queries.values(points, queries.activations(points)))
    np.testing.assert_allclose(queries.interval_bound()[0], queries.linear_bound()[0], rtol=1e-15)


@quick
@given(seed=seeds, norm=norms, ratio=st.sampled_from([1.0, 3.7]))
def test_a_linear_function_in_pairs_of_neurons_is_bounded_exactly(seed, norm, ratio):
    rng = np.random.RandomState(seed)
    u, b, X = rng.standard_normal((3, 2)), rng.standard_normal(2), rng.standard_normal((4, 3))
    network = TwoLayerReLU(
        np.concatenate([u, -ratio * u], axis=1),
        np.concatenate([b, -ratio * b]),
        np.array([[1.0], [-2.0], [-1.0 / ratio], [2.0 / ratio]]),
        np.zeros(1),
    )
    slope = u @ [1.0, -2.0]
    perturbation = Perturbation(1.0, norm)
    exact = (X @ u + b) @ [1.0, -2.0] - perturbation.reach(np.ones((4, 3)), slope[:, None])[:, 0]
    queries = build(network, X, perturbation, np.ones((4, 1)))
    assert np.abs(queries.output).max() < 1e-12
    for bound in BOUNDS:
        np.testing.assert_allclose(bound(queries)[0], exact, atol=1e-9)


def test_a_pair_keeps_what_it_does_not_share():
    # 3 (z)_+ + 1 (-z)_+ : nothing shared; 3 (z)_+ - 1 (-z)_+ = z + 2 (z)_+
    network = TwoLayerReLU(
        np.array([[1.0, -1.0]]), np.zeros(2), np.array([[3.0, 3.0], [1.0, -1.0]]), np.zeros(2)
    )
    queries = build(network, np.zeros((2, 1)), Perturbation(1.0), np.eye(2))
    np.testing.assert_array_equal(queries.output, [[3, 1], [2, 0]])
    np.testing.assert_array_equal(queries.linear, [[0], [1]])


def opposite_but_for(gap, bias=0.0):
    """(x_0 + g x_1)_+ - (-x_0 + g x_1)_+ + bias, a pair to 13 decimals."""
    weights = np.array([[1.0, -1.0], [0.5 * gap, 0.5 * gap]])
    return TwoLayerReLU(weights, np.zeros(2), np.array([[1.0], [-1.0]]), np.array([bias]))


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_neurons_are_no_pair_where_long_rows_tell_them_apart(norm):
    # both neurons are active: 2 x_0 - 0.1; as a pair, x_0 + 0.3
    network, X = opposite_but_for(8e-14, bias=-0.1), np.array([[0.0, 1e13]])
    queries = build(network, X, Perturbation([0.3, 0.0], norm), np.ones((1, 1)))
    for bound in BOUNDS:
        np.testing.assert_allclose(bound(queries)[0], -0.7, atol=1e-9)
        assert bound(queries)[0] <= -0.7


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_the_slack_covers_what_a_pair_is_not_opposite_by(norm):
    X, perturbation = np.array([[0.0, -1.0]]), Perturbation([0.3, 0.5], norm)
    exact = build(opposite_but_for(0.0), X, perturbation, np.ones((1, 1)))
    queries = build(opposite_but_for(8e-14), X, perturbation, np.ones((1, 1)))
    assert not queries.output.any()
    np.testing.assert_allclose(queries.slack - exact.slack, 1.5 * 8e-14, rtol=1e-3)
