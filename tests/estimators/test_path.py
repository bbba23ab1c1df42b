"""The regularisation path, and the penalty it starts from."""

import functools

import numpy as np
import pytest
from grids import halved
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    Huber,
    RegularizationPath,
    TwoLayerReLU,
    alpha_max,
    convex_relu_path,
)

LOSSES = ["squared_error", "huber", "log_loss", "squared_hinge"]
OPTIONS = {"n_patterns": 10, "random_state": 0}
# three penalties that are cheap, where it does not matter which
SHORT = {"n_alphas": 3, "eps": 0.02, **OPTIONS}


def data(loss="squared_error", n=20, d=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(n)
    return X, y if loss in ("squared_error", "huber", "quantile") else np.where(
        y > 0.5, "yes", "no"
    )


def estimator(loss, **params):
    cls = ConvexReLURegressor if loss in ("squared_error", "huber") else ConvexReLUClassifier
    return cls(loss=loss, **OPTIONS | params)


# ------------------------------------------------------------------------------------------------
# The largest penalty


@pytest.mark.parametrize(("fit_intercept", "loss"), halved([True, False], LOSSES))
def test_no_neuron_above_alpha_max_and_some_below(loss, fit_intercept):
    X, y = data(loss)
    largest = alpha_max(X, y, loss=loss, fit_intercept=fit_intercept, random_state=0)
    params = {"loss": loss, "fit_intercept": fit_intercept, "tol": 1e-5}
    assert estimator(alpha=1.001 * largest, **params).fit(X, y).n_neurons_ == 0
    assert estimator(alpha=0.95 * largest, **params).fit(X, y).n_neurons_ > 0


def test_alpha_max_is_exact_where_all_patterns_price():
    X, y = data(n=12, d=2)
    largest = alpha_max(X, y, random_state=0)
    options = {"patterns": "all", "tol": 1e-8}
    assert ConvexReLURegressor(alpha=1.0001 * largest, **options).fit(X, y).n_neurons_ == 0
    assert ConvexReLURegressor(alpha=0.99 * largest, **options).fit(X, y).n_neurons_ > 0


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] if seed > 3 else []) for seed in range(8)]
)
def test_alpha_max_is_no_smaller_where_patterns_are_few(seed):
    """An ascent that ends beside the border of a cone may stop .3 % below the maximum."""
    rng = np.random.RandomState(seed)
    X, y = rng.standard_normal((5, 2)), rng.standard_normal(5)
    largest = alpha_max(X, y, random_state=0)
    options = {"patterns": "all", "tol": 1e-9}
    assert ConvexReLURegressor(alpha=largest * (1 + 1e-7), **options).fit(X, y).n_neurons_ == 0
    assert ConvexReLURegressor(alpha=largest * (1 - 1e-4), **options).fit(X, y).n_neurons_ > 0


def test_alpha_max_of_outputs_weights_and_units():
    X, y = data()
    one = alpha_max(X, y, random_state=0)
    three = np.c_[y, 2 * y, -y]
    separate = alpha_max(X, three, hidden_layer="separate", random_state=0)
    assert separate == pytest.approx(2 * one)
    # a neuron that serves all gains the norm of what it gains of each
    assert alpha_max(X, np.c_[y, y], random_state=0) == pytest.approx(np.sqrt(2) * one)
    assert 2 * one <= alpha_max(X, three, random_state=0) <= np.sqrt(6) * one * (1 + 1e-9)
    assert alpha_max(X, 1000 * y + 7, random_state=0) == pytest.approx(1000 * one)
    counts = np.arange(len(y)) % 3
    weighted = alpha_max(X, y, sample_weight=counts, random_state=0)
    repeated = alpha_max(X.repeat(counts, axis=0), y.repeat(counts), random_state=0)
    assert weighted == repeated != one


def test_alpha_max_of_a_constant_target_is_zero():
    X, _ = data()
    assert alpha_max(X, np.full(len(X), 3.0)) == 0.0
    path = convex_relu_path(X, np.full(len(X), 3.0), n_alphas=3)
    assert all(network.n_neurons == 0 for network in path.networks)


# ------------------------------------------------------------------------------------------------
# The path


@functools.cache
def short_path(loss):
    return convex_relu_path(*data(loss), loss=loss, **SHORT)


@pytest.mark.parametrize("loss", LOSSES)
def test_path_agrees_with_single_fits(loss):
    X, y = data(loss)
    path = short_path(loss)
    assert isinstance(path, RegularizationPath)
    assert path.alphas.shape == path.objectives.shape == path.dual_gaps.shape == (3,)
    assert path.n_iters.dtype.kind == "i"
    assert np.all(path.alphas[1:] < path.alphas[:-1])
    assert path.alphas[-1] == pytest.approx(0.02 * path.alphas[0])
    # the first is that of the constant network
    assert path.networks[0].n_neurons == 0
    scale = path.objectives[0]
    for alpha, network, objective in zip(path.alphas, path.networks, path.objectives, strict=True):
        model = estimator(loss, alpha=alpha).fit(X, y)
        assert isinstance(network, TwoLayerReLU)
        assert model.objective_ == pytest.approx(objective, abs=0.02 * scale)
        outputs = (
            model.predict(X) if loss in ("squared_error", "huber") else model.decision_function(X)
        )
        assert network(X).shape == (len(X), 1)
        if min(network.n_neurons, model.n_neurons_) > 0:
            assert np.corrcoef(network(X)[:, 0], outputs)[0, 1] > 0.95
    assert np.all(path.dual_gaps * path.objectives <= 0.01 * scale * (1 + 1e-9))


@pytest.mark.parametrize("patterns", ["random", "all"])
def test_path_on_given_patterns_is_that_of_single_fits(patterns):
    X, y = data(n=12, d=2)
    path = convex_relu_path(X, y, n_alphas=3, patterns=patterns, tol=1e-5, **OPTIONS)
    for alpha, objective in zip(path.alphas, path.objectives, strict=True):
        model = ConvexReLURegressor(alpha=alpha, patterns=patterns, tol=1e-5, **OPTIONS).fit(X, y)
        assert model.objective_ == pytest.approx(objective, abs=1e-4 * path.objectives[0])


@pytest.mark.parametrize("loss", [*LOSSES, "quantile", "hinge"])
def test_objective_falls_with_the_penalty(loss):
    path = short_path(loss)
    assert np.all(path.objectives[1:] <= path.objectives[:-1])
    assert path.networks[-1].n_neurons > 1


def test_several_outputs_share_the_penalties():
    X, y = data()
    both = convex_relu_path(X, np.c_[y, X[:, 2]], hidden_layer="separate", **SHORT)
    parts = [convex_relu_path(X, t, alphas=both.alphas, **OPTIONS) for t in (y, X[:, 2])]
    np.testing.assert_allclose(both.objectives, sum(part.objectives for part in parts), rtol=1e-12)
    assert both.networks[-1](X).shape == (len(X), 2)
    shared = convex_relu_path(X, np.c_[y, X[:, 2]], alphas=both.alphas, **OPTIONS)
    assert (shared.objectives <= both.objectives * (1 + 0.05)).all()
    assert shared.networks[-1](X).shape == (len(X), 2)
    classes = np.digitize(y, [-0.5, 1.0])
    path = convex_relu_path(X, classes, loss="log_loss", **SHORT)
    assert path.networks[-1](X).shape == (len(X), 3)


def test_given_alphas_are_sorted():
    X, y = data()
    path = convex_relu_path(X, y, alphas=[0.01, 1, 0.1], loss=Huber(2.0), **OPTIONS)
    assert path.alphas.tolist() == [1.0, 0.1, 0.01]


def test_weights_are_repetitions():
    X, y = data()
    counts = np.arange(len(y)) % 3
    weighted = convex_relu_path(X, y, sample_weight=counts, **SHORT)
    X, y = X.repeat(counts, axis=0), y.repeat(counts)
    repeated = convex_relu_path(X[::-1], y[::-1], **SHORT)
    np.testing.assert_array_equal(weighted.alphas, repeated.alphas)
    np.testing.assert_array_equal(weighted.objectives, repeated.objectives)


def test_same_seed_same_path():
    X, y = data()
    one, other = (convex_relu_path(X, y, **SHORT) for _ in range(2))
    np.testing.assert_array_equal(one.objectives, other.objectives)
    np.testing.assert_array_equal(one.networks[-1](X), other.networks[-1](X))


def test_warning_and_lines(capsys):
    X, y = data()
    with pytest.warns(ConvergenceWarning, match="of 3 fits of convex_relu_path") as caught:
        convex_relu_path(X, y, max_iter=1, tol=1e-9, verbose=True, **SHORT)
    assert caught[0].filename == __file__
    assert len(capsys.readouterr().out.splitlines()) == 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alphas": [0.1, 0.0]}, "alphas must be positive"),
        ({"alphas": [0.1, np.nan]}, "alphas must be positive"),
        ({"alphas": []}, "alphas must be a non-empty"),
        ({"alphas": [[0.1]]}, "alphas must be a non-empty"),
        ({"alphas": ["a"]}, "alphas must be a non-empty"),
        ({"n_alphas": 0}, "'n_alphas' parameter of convex_relu_path"),
        ({"eps": 1.0}, "'eps' parameter of convex_relu_path"),
        ({"patterns": "some"}, "'patterns' parameter"),
        ({"loss": "cubic"}, "'loss' parameter"),
        ({"tol": 0.0}, "'tol' parameter"),
        ({"loss": "log_loss", "y": np.zeros(50)}, "at least two classes"),
        ({"loss": "log_loss", "y": np.linspace(0, 1, 50)}, "Unknown label type"),
        ({"sample_weight": np.zeros(50)}, "at least one non-zero"),
        ({"X": np.full((50, 3), np.nan)}, "NaN"),
    ],
)
def test_bad_input(params, message):
    X, y = data(n=50)
    params = {"X": X, "y": y} | params
    with pytest.raises(ValueError, match=message):
        convex_relu_path(**params)
