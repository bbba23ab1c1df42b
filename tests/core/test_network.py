"""The two-layer network: what blocks become, and the objective with real ReLUs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.program.pattern_program import PatternProgram

quick = settings(max_examples=20)
seeds = st.integers(0, 2**31 - 1)


def forward(network, x):
    """Output for one row, neuron by neuron."""
    total = network.output_biases.copy()
    for j in range(network.n_neurons):
        z = sum(x[i] * network.hidden_weights[i, j] for i in range(len(x)))
        total = total + max(z + network.hidden_biases[j], 0.0) * network.output_weights[j]
    return total


def random_network(rng, d, m, k=1):
    return TwoLayerReLU(
        rng.standard_normal((d, m)),
        rng.standard_normal(m),
        rng.standard_normal((m, k)),
        rng.standard_normal(k),
    )


def random_program(rng, *, loss, intercept, n=12, d=3, P=6):
    X = rng.standard_normal((n, d))
    y = rng.standard_normal(n)
    if get_loss(loss).target == "sign":
        y = np.sign(y)
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = rng.standard_normal((rows.shape[1], P))
    gates[:, 0] = rows.mean(axis=0)
    patterns = rows @ gates >= 0
    return PatternProgram.from_data(
        X,
        y,
        patterns,
        loss=loss,
        alpha=0.1,
        sample_weight=rng.uniform(0.1, 1, n),
        fit_intercept=intercept,
        gates=gates,
    )


@quick
@given(seed=seeds, d=st.integers(1, 4), m=st.integers(0, 5), k=st.integers(1, 3))
def test_outputs_are_sums_over_neurons(seed, d, m, k):
    rng = np.random.RandomState(seed)
    network, X = random_network(rng, d, m, k), rng.standard_normal((6, d))
    outputs = network(X)
    assert outputs.shape == (6, k) and network.n_neurons == m
    np.testing.assert_allclose(outputs, [forward(network, x) for x in X], rtol=1e-12, atol=1e-12)
    hidden = network.hidden_layer(X)
    assert hidden.shape == (6, m) and (hidden >= 0).all()
    # a function of the row alone, whatever the batch
    np.testing.assert_allclose(network(X[2:3])[0], outputs[2], rtol=1e-12, atol=1e-13)


@quick
@given(seed=seeds, loss=st.sampled_from(["squared_error", "huber", "log_loss", "hinge"]))
def test_objective_is_weighted_loss_plus_weight_decay(seed, loss):
    rng = np.random.RandomState(seed)
    network, X = random_network(rng, 2, 4), rng.standard_normal((9, 2))
    y = np.sign(rng.standard_normal(9)) if loss in ("log_loss", "hinge") else X.sum(axis=1)
    weights = rng.dirichlet(np.ones(9))
    expected = 0.0
    for x, target, weight in zip(X, y, weights, strict=True):
        expected += weight * get_loss(loss).value(forward(network, x), target)[0]
    for j in range(4):
        neuron = np.append(network.hidden_weights[:, j], network.hidden_biases[j])
        expected += 0.7 / 2 * (neuron @ neuron + network.output_weights[j, 0] ** 2)
    arguments = {"loss": get_loss(loss), "alpha": 0.7, "weights": weights}
    assert network.objective(X, y, **arguments) == pytest.approx(expected, rel=1e-12)
    assert network.objective(X, y[:, None], **arguments) == network.objective(X, y, **arguments)
    # the output bias is not penalised
    shifted = TwoLayerReLU(
        network.hidden_weights, network.hidden_biases, network.output_weights, np.array([9.0])
    )
    assert shifted.penalty() == network.penalty()


@quick
@given(
    seed=seeds,
    intercept=st.booleans(),
    loss=st.sampled_from(
        ["squared_error", "quantile", "log_loss", "hinge", "squared_hinge", "huber"]
    ),
)
def test_at_a_feasible_point_network_and_gated_model_agree(seed, intercept, loss):
    rng = np.random.RandomState(seed)
    program = random_program(rng, loss=loss, intercept=intercept)
    shape = program.gates.shape
    v, w = program.feasible_point(*rng.standard_normal((2, *shape)))
    # a pattern with one block only, as at an optimum
    v[:, ::2], w[:, 1::2] = 0.0, 0.0
    bias = 0.3 if intercept else 0.0
    network = program.network(v, w, bias)
    X = program.rows[:, : network.hidden_weights.shape[0]]
    outputs = program.predictions(v, w, bias)
    np.testing.assert_allclose(network(X)[:, 0], outputs, rtol=0, atol=1e-12)
    # the decay of a neuron is the norm of its block
    norms = np.linalg.norm(np.concatenate([v, w], axis=1), axis=0)
    assert network.penalty() == pytest.approx(norms.sum(), rel=1e-12)
    assert network.n_neurons == np.count_nonzero(norms)
    value = program.objective(v, w, bias)
    assert program.network_objective(network) == pytest.approx(value, rel=1e-10, abs=1e-12)


def test_neurons_of_blocks():
    v = np.array([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])
    w = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    network = TwoLayerReLU.from_blocks(v, w, 0.5, has_bias_column=True)
    size = np.sqrt(2.0)
    expected = [[3 / 5**0.5, 4 / 5**0.5], [0.0, size**-0.5]]
    np.testing.assert_allclose(network.hidden_weights.T, expected)
    np.testing.assert_allclose(network.hidden_biases, [0.0, -(size**-0.5)])
    np.testing.assert_allclose(network.output_weights, [[5**0.5], [-(size**0.5)]])
    np.testing.assert_array_equal(network.output_biases, [0.5])
    plain = TwoLayerReLU.from_blocks(v, w, 0.0, has_bias_column=False)
    assert plain.hidden_weights.shape == (3, 2)
    np.testing.assert_array_equal(plain.hidden_biases, [0.0, 0.0])
    # balanced: half the decay of a neuron is in either layer
    norms = np.sum(plain.hidden_weights**2, axis=0)
    np.testing.assert_allclose(norms, plain.output_weights[:, 0] ** 2)
    empty = TwoLayerReLU.from_blocks(0 * v, 0 * w, 2.0, has_bias_column=True)
    assert empty.n_neurons == 0
    np.testing.assert_array_equal(empty(np.ones((3, 2))), [[2.0]] * 3)
    assert empty.penalty() == 0.0


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e-20, 1e150, 1e300])
def test_blocks_of_extreme_size(scale):
    rng = np.random.RandomState(0)
    v, w = rng.standard_normal((2, 3, 4))
    network = TwoLayerReLU.from_blocks(v, w, 0.0, has_bias_column=False)
    scaled = TwoLayerReLU.from_blocks(scale * v, scale * w, 0.0, has_bias_column=False)
    assert scaled.n_neurons == 8
    X = rng.standard_normal((5, 3))
    np.testing.assert_allclose(scaled(X), scale * network(X), rtol=1e-10)
    np.testing.assert_allclose(scaled.penalty(), scale * network.penalty(), rtol=1e-10)


def test_stacked_networks_keep_to_themselves():
    rng = np.random.RandomState(0)
    networks = [random_network(rng, 3, m) for m in (2, 0, 4)]
    X = rng.standard_normal((7, 3))
    stacked = TwoLayerReLU.stack(networks)
    assert stacked.n_neurons == 6
    expected = np.concatenate([network(X) for network in networks], axis=1)
    np.testing.assert_allclose(stacked(X), expected, rtol=1e-14, atol=1e-14)
    penalties = sum(network.penalty() for network in networks)
    assert stacked.penalty() == pytest.approx(penalties, rel=1e-14)
    y, weights = rng.standard_normal((7, 3)), np.full(7, 1 / 7)
    arguments = {"loss": get_loss("squared_error"), "alpha": 0.2, "weights": weights}
    parts = [network.objective(X, y[:, k], **arguments) for k, network in enumerate(networks)]
    assert stacked.objective(X, y, **arguments) == pytest.approx(sum(parts), rel=1e-13)


def test_split_undoes_stack():
    rng = np.random.RandomState(0)
    networks = [random_network(rng, 3, m) for m in (2, 0, 4)]
    parts = TwoLayerReLU.stack(networks).split()
    assert len(parts) == 3
    for part, network in zip(parts, networks, strict=True):
        for name in ("hidden_weights", "hidden_biases", "output_weights", "output_biases"):
            np.testing.assert_array_equal(getattr(part, name), getattr(network, name))


@quick
@given(seed=seeds, d=st.integers(1, 4), m=st.integers(0, 6), k=st.integers(1, 3))
def test_split_networks_have_the_outputs_and_the_neurons_that_they_use(seed, d, m, k):
    rng = np.random.RandomState(seed)
    network = random_network(rng, d, m, k)
    # neurons shared, of one output, and of none
    network.output_weights[rng.rand(m, k) < 0.4] = 0.0
    X = rng.standard_normal((6, d))
    parts = network.split()
    assert len(parts) == k
    for j, part in enumerate(parts):
        np.testing.assert_allclose(part(X)[:, 0], network(X)[:, j], rtol=1e-12, atol=1e-12)
        assert part.output_weights.shape == (part.n_neurons, 1) and part.output_weights.all()
        assert part.n_neurons == np.count_nonzero(network.output_weights[:, j])
    joined = TwoLayerReLU.stack(parts)
    np.testing.assert_allclose(joined(X), network(X), rtol=1e-12, atol=1e-12)
    # neurons that are shared pay for each output
    uses = np.count_nonzero(network.output_weights, axis=1)
    hidden = np.sum(network.hidden_weights**2, axis=0) + network.hidden_biases**2
    surplus = 0.5 * np.sum(hidden * (uses - 1))
    assert joined.penalty() == pytest.approx(network.penalty() + surplus, rel=1e-12, abs=1e-14)


def test_arguments_are_left_alone():
    rng = np.random.RandomState(0)
    v, w = rng.standard_normal((2, 3, 4))
    X, kept = rng.standard_normal((5, 2)), v.copy()
    network = TwoLayerReLU.from_blocks(v, w, 0.1, has_bias_column=True)
    before = network.hidden_weights.copy()
    rows = X.copy()
    network(X)
    np.testing.assert_array_equal(v, kept)
    np.testing.assert_array_equal(X, rows)
    np.testing.assert_array_equal(network.hidden_weights, before)
