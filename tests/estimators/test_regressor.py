"""ConvexReLURegressor: objective, predictions, losses, outputs, patterns."""

from dataclasses import dataclass
from functools import partial
from math import comb

import numpy as np
import pytest
from grids import pairwise
from scipy.optimize import minimize
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import make_scorer, mean_pinball_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline

from sklearn_convexnet import ConvexReLURegressor, Hinge, Huber, Quantile, SquaredError
from sklearn_convexnet.core.losses import REGRESSION_LOSSES, Loss

Regressor = partial(ConvexReLURegressor, n_patterns=12, random_state=0)
# one convex program, whose solution moves with the data; adaptive patterns may jump
FIXED = {"patterns": "random", "alpha": 1e-2, "tol": 1e-4}

# of residuals f - y, written from their definitions
LOSSES = {
    "squared_error": lambda r: r**2 / 2,
    "absolute_error": np.abs,
    "huber": lambda r: np.where(np.abs(r) <= 1.35, r**2 / 2, 1.35 * np.abs(r) - 1.35**2 / 2),
    "quantile": lambda r: np.abs(r) / 2,
    Huber(0.1): lambda r: np.where(np.abs(r) <= 0.1, r**2 / 2, 0.1 * np.abs(r) - 0.005),
    Quantile(0.8): lambda r: np.where(r < 0, -0.8 * r, 0.2 * r),
    SquaredError(): lambda r: r**2 / 2,
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 3))
    return X, np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(40)


def network_by_hand(model, X):
    (hidden, output), (biases, bias) = model.coefs_, model.intercepts_
    return np.maximum(X @ hidden + biases, 0) @ output + bias


def objective_by_hand(model, X, y, loss, weights):
    residuals = network_by_hand(model, X) - y.reshape(len(X), -1)
    (hidden, output), (biases, _) = model.coefs_, model.intercepts_
    decay = np.sum(hidden**2) + np.sum(biases**2) + np.sum(output**2)
    return weights @ loss(residuals).sum(axis=1) / weights.sum() + model.alpha / 2 * decay


def as_mlp(model):
    """The same network as an estimator of scikit-learn."""
    mlp = MLPRegressor((model.n_neurons_,), activation="relu")
    mlp.coefs_, mlp.intercepts_ = model.coefs_, model.intercepts_
    mlp.n_layers_, mlp.n_outputs_, mlp.out_activation_ = 3, model.n_outputs_, "identity"
    mlp.n_features_in_ = model.n_features_in_
    return mlp


@pytest.mark.parametrize(
    ("loss", "fit_intercept", "n_outputs", "weighted"),
    pairwise(LOSSES, [True, False], [1, 3], [True, False]),
)
def test_objective_and_predictions_are_those_of_the_network(
    data, loss, fit_intercept, n_outputs, weighted
):
    X, y = data
    if n_outputs > 1:
        y = np.stack([y, 10 * X[:, 2], np.exp(y)], axis=1)
    weights = np.linspace(0, 5, len(X)) if weighted else np.ones(len(X))
    how = {"fit_intercept": fit_intercept, "output_range": None, "tol": 0.2}
    model = Regressor(alpha=0.05, loss=loss, **how)
    model.fit(X, y, sample_weight=weights if weighted else None)
    assert model.dual_gap_ <= model.tol
    expected = objective_by_hand(model, X, y, LOSSES[loss], weights)
    assert model.objective_ == pytest.approx(expected, rel=1e-10)
    predictions = model.predict(X)
    assert predictions.shape == y.shape
    np.testing.assert_allclose(
        predictions.reshape(len(X), -1), network_by_hand(model, X), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(predictions, as_mlp(model).predict(X), rtol=1e-12, atol=1e-12)
    # in the layout of MLPRegressor, with as much weight before a neuron as behind it
    (hidden, output), (biases, bias) = model.coefs_, model.intercepts_
    assert hidden.shape == (3, model.n_neurons_)
    assert output.shape == (model.n_neurons_, n_outputs)
    assert biases.shape == (model.n_neurons_,)
    assert bias.shape == (n_outputs,)
    np.testing.assert_allclose(
        np.sum(hidden**2, axis=0) + biases**2, np.sum(output**2, axis=1), rtol=1e-9
    )
    assert fit_intercept or not (biases.any() or bias.any())


def test_objective_of_the_other_solvers(data):
    X, y = data
    optimum = Regressor(alpha=0.3, tol=1e-6).fit(X, y).objective_
    for solver in ("admm-cholesky", "admm-rbcd", "scp"):
        model = Regressor(alpha=0.3, solver=solver).fit(X, y)
        expected = objective_by_hand(model, X, y, LOSSES["squared_error"], np.ones(len(X)))
        assert model.objective_ == pytest.approx(expected, rel=1e-10)
        assert model.dual_gap_ <= 0.05
        if solver != "scp":
            # a network may be better than the patterns it was fitted with
            assert model.lower_bound_ <= optimum / (1 - 1e-6)
            assert model.objective_ <= optimum * 1.1
        else:
            # a fixed first layer; only its units are scaled
            assert model.objective_ > optimum


def test_several_outputs_equal_separate_fits(data):
    X, y = data
    Y = np.stack([y, X[:, 0] ** 2, np.full(len(X), 7.0)], axis=1)
    together = Regressor(**FIXED).fit(X, Y)
    separate = [Regressor(**FIXED).fit(X, column) for column in Y.T]
    for k, model in enumerate(separate):
        np.testing.assert_allclose(model.predict(X), together.predict(X)[:, k], atol=1e-8)
    assert together.objective_ == pytest.approx(sum(model.objective_ for model in separate))
    assert together.lower_bound_ == pytest.approx(sum(model.lower_bound_ for model in separate))
    assert together.dual_gap_ == pytest.approx(max(model.dual_gap_ for model in separate))
    assert together.n_neurons_ == sum(model.n_neurons_ for model in separate)
    assert together.certificate_.lower_bound == pytest.approx(
        sum(model.certificate_.lower_bound for model in separate)
    )
    # one output as a column keeps its shape
    column = Regressor(**FIXED).fit(X, Y[:, :1])
    assert column.predict(X).shape == (len(X), 1)
    np.testing.assert_allclose(column.predict(X)[:, 0], separate[0].predict(X), atol=1e-8)


def test_several_outputs_with_adaptive_patterns(data):
    X, y = data
    Y = np.stack([y, X[:, 0] ** 2], axis=1)
    together = Regressor(hidden_layer="separate").fit(X, Y)
    separate = [Regressor().fit(X, column) for column in Y.T]
    # rounding may lead to other patterns, as good as these
    objective = sum(model.objective_ for model in separate)
    assert together.objective_ == pytest.approx(objective, rel=1e-2)
    np.testing.assert_allclose(together.alpha_, [model.alpha_ for model in separate])
    # neurons that serve both cost less
    shared = Regressor(alpha=float(together.alpha_.max())).fit(X, Y)
    apart = Regressor(alpha=shared.alpha_, hidden_layer="separate").fit(X, Y)
    assert shared.objective_ < apart.objective_


def test_quantile_has_its_coverage():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (300, 1))
    y = X[:, 0] + (1 + X[:, 0]) * rng.standard_normal(300)
    for quantile in (0.1, 0.5, 0.9):
        model = Regressor(loss=Quantile(quantile), alpha=1e-3).fit(X, y)
        assert np.mean(y <= model.predict(X)) == pytest.approx(quantile, abs=0.03)


def test_huber_resists_an_outlier():
    X = np.linspace(-1, 1, 41)[:, None]
    y = 2 * X[:, 0]
    spoilt = np.where(np.arange(41) == 20, 1000.0, y)
    huber = Regressor(loss=Huber(0.1), alpha=1e-3, patterns="random").fit(X, spoilt)
    squared = Regressor(alpha=1e-3, patterns="random").fit(X, spoilt)
    others = np.arange(41) != 20
    assert np.abs(huber.predict(X) - y)[others].max() < 0.3
    assert np.abs(squared.predict(X) - y)[others].max() > 3


def test_loss_instances_equal_their_names(data):
    X, y = data
    for name, cls in REGRESSION_LOSSES.items():
        named, given = (
            Regressor(loss=loss, **FIXED | {"tol": 0.2}).fit(X, y) for loss in (name, cls())
        )
        assert named.objective_ == given.objective_


def test_twice_the_loss_with_twice_the_penalty_is_the_same_network(data):
    X, y = data
    median = Regressor(loss="quantile", **FIXED).fit(X, y)
    twice = Regressor(loss="absolute_error", **FIXED | {"alpha": 2 * FIXED["alpha"]}).fit(X, y)
    # two solutions to a tolerance
    assert twice.objective_ == pytest.approx(2 * median.objective_, rel=2 * FIXED["tol"])
    np.testing.assert_allclose(twice.predict(X), median.predict(X), atol=0.05)


def test_parameters_of_a_loss_are_parameters_of_the_estimator(data):
    X, y = data
    loss = Quantile(0.5)
    model = Regressor(loss=loss, **FIXED)
    assert model.get_params()["loss__quantile"] == 0.5
    copy = clone(model)
    assert model.set_params(loss__quantile=0.9) is model
    assert model.loss is loss and loss == Quantile(0.9) and copy.loss == Quantile(0.5)
    # an instance and its parameter at once, and a parameter that there is not
    assert model.set_params(loss=Huber(), loss__delta=2.0).loss == Huber(2.0)
    with pytest.raises(ValueError, match="'quantile'.*Huber"):
        model.set_params(loss__quantile=0.9)
    assert model._repr_html_() and repr(Regressor(loss=Huber(2.0))).count("Huber(delta=2.0)") == 1
    # through a pipeline and a search, whose models are equal to those of an instance
    grid = {"convexrelu__loss__quantile": [0.2, 0.8]}
    search = GridSearchCV(
        Pipeline([("convexrelu", copy)]),
        grid,
        scoring=make_scorer(mean_pinball_loss, alpha=0.8, greater_is_better=False),
        cv=3,
    ).fit(X, y)
    assert search.best_params_ == {"convexrelu__loss__quantile": 0.8}
    assert copy.loss == Quantile(0.5)
    expected = Regressor(loss=Quantile(0.8), **FIXED).fit(X, y)
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))


def test_setting_a_parameter_of_the_loss_leaves_what_was_fitted(data):
    X, y = data
    model = Regressor(loss=Huber(0.3), **FIXED).fit(X, y)
    before, objective = model.predict(X), model.certificate(X, y).objective
    model.set_params(loss__delta=3.0)
    np.testing.assert_array_equal(model.predict(X), before)
    # a statement about the data is about the loss that the estimator has
    assert model.certificate(X, y).objective > objective
    assert model.set_params(loss__delta=0.3).certificate(X, y).objective == objective


def test_loss_of_the_other_kind_is_refused(data):
    X, y = data
    with pytest.raises(ValueError, match=r"loss must be a loss for regression, got Hinge\(\)"):
        Regressor(loss=Hinge()).fit(X, y)
    with pytest.raises(ValueError, match="'loss' parameter .* 'hinge'"):
        Regressor(loss="hinge").fit(X, y)
    with pytest.raises(ValueError, match="'loss' parameter"):
        Regressor(loss=Huber).fit(X, y)


@pytest.mark.parametrize(
    ("solver", "loss"), [("admm-cholesky", "huber"), ("admm-rbcd", "quantile")]
)
def test_solver_that_cannot_serve_the_loss_says_so(data, solver, loss):
    # before anything is solved, also where the solver would have nothing to do
    for options in ({}, {"alpha": 100.0}, {"patterns": "adaptive", "max_iter": 1}):
        with pytest.raises(ValueError, match=rf"solver='{solver}'.*'{loss}'.*solver='admm'"):
            Regressor(solver=solver, loss=loss, **options).fit(*data)


def test_sparse_targets_are_refused(data):
    X, y = data
    with pytest.raises(TypeError, match="Sparse data was passed for y"):
        Regressor().fit(X, csr_array(y[:, None]))


@dataclass(frozen=True)
class PseudoHuber(Loss):
    """A loss that says nothing of how it scales."""

    name, target, curvature, _slopes = "pseudo-huber", "real", 1.0, (-1.0, 1.0)

    def _value(self, t):
        return np.sqrt(1.0 + t**2) - 1.0

    def _derivative(self, t):
        return t / np.sqrt(1.0 + t**2)

    def _prox(self, v, b, step):
        lo, hi = v - step, v + step
        for _ in range(80):
            z = 0.5 * (lo + hi)
            beyond = z - v + step * self._derivative(z - b) > 0
            lo, hi = np.where(beyond, lo, z), np.where(beyond, z, hi)
        return z

    def _conjugate(self, p):
        return 1.0 - np.sqrt(1.0 - p**2)

    def _conjugate_derivative(self, p):
        return p / np.sqrt(1.0 - p**2)

    def _conjugate_curvature(self, p):
        return (1.0 - p**2) ** -1.5


def test_a_loss_that_cannot_be_rescaled(data):
    X, y = data
    model = Regressor(loss=PseudoHuber(), alpha=0.05).fit(X, 3.0 * y)
    assert model.dual_gap_ <= 0.05
    assert model.score(X, 3.0 * y) > 0


def test_a_loss_that_may_be_negative_is_refused(data):
    @dataclass(frozen=True)
    class Shifted(SquaredError):
        def _value(self, t):
            return super()._value(t) - 1.0

        def _conjugate(self, p):
            return super()._conjugate(p) + 1.0

    with pytest.raises(ValueError, match="loss must be non-negative"):
        Regressor(loss=Shifted()).fit(*data)


# ------------------------------------------------------------------------------------------------
# Patterns


def train_mlp(X, y, *, alpha, n_neurons, rng, loss):
    """A network of the same objective by L-BFGS from a random start; its objective."""
    n, d = X.shape
    shapes = [(d, n_neurons), (n_neurons,), (n_neurons,), ()]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])

    def objective(point):
        hidden, biases, output, bias = (
            part.reshape(shape)
            for part, shape in zip(np.split(point, ends[:-1]), shapes, strict=True)
        )
        activations = X @ hidden + biases
        active = np.maximum(activations, 0)
        residuals = active @ output + bias - y
        slopes = residuals / n
        back = (activations > 0) * np.outer(slopes, output)
        gradient = np.concatenate(
            [
                (X.T @ back + alpha * hidden).ravel(),
                back.sum(axis=0) + alpha * biases,
                active.T @ slopes + alpha * output,
                [slopes.sum()],
            ]
        )
        decay = np.sum(hidden**2) + np.sum(biases**2) + np.sum(output**2)
        return np.mean(residuals**2) / 2 + alpha / 2 * decay, gradient

    start = rng.standard_normal(ends[-1]) * rng.choice([0.3, 1.0, 3.0])
    return minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000}).fun


def test_all_patterns_give_the_global_optimum():
    rng = np.random.RandomState(1)
    X = rng.standard_normal((12, 2))
    y = np.abs(X[:, 0]) * X[:, 1]
    model = ConvexReLURegressor(alpha=0.02, patterns="all", tol=1e-6).fit(X, y)
    assert model.certificate_.kind == "exact"
    assert model.certificate_.lower_bound == pytest.approx(model.lower_bound_, rel=1e-5)
    assert model.certificate_.gap <= 2e-6
    found = [
        train_mlp(X, y, alpha=0.02, n_neurons=12, rng=rng, loss="squared_error") for _ in range(10)
    ]
    assert min(found) >= model.certificate_.lower_bound
    # and not because the training is bad
    assert min(found) <= model.objective_ * 1.02
    # a sample of the patterns does no better
    found = Regressor(alpha=0.02).fit(X, y)
    assert found.certificate_.kind == "searched"
    assert found.objective_ >= model.certificate_.lower_bound
    assert found.patterns_.shape[1] < model.patterns_.shape[1]


def test_too_many_patterns_are_refused_with_their_number():
    X = np.random.RandomState(0).standard_normal((100, 5))
    # Cover's count for 100 hyperplanes in general position, the constant column included
    count = 2 * sum(comb(99, j) for j in range(6))
    with pytest.raises(ValueError, match=rf"patterns='all' would need up to {count} activation"):
        ConvexReLURegressor(patterns="all").fit(X, X[:, 0])


def test_given_patterns_are_those_used(data):
    X, y = data
    patterns = X @ np.random.RandomState(3).standard_normal((3, 6)) >= [0, 1, -1, 0.5, 0, 0]
    model = ConvexReLURegressor(patterns=patterns, alpha=0.05).fit(X, y)
    np.testing.assert_array_equal(model.patterns_, patterns)
    # numbers, a list, repeated and never active columns change nothing
    for same in (
        patterns.astype(int),
        patterns.tolist(),
        np.c_[patterns, patterns[:, 2]],
        np.c_[patterns, np.zeros(len(X), dtype=bool)],
    ):
        again = ConvexReLURegressor(patterns=same, alpha=0.05).fit(X, y)
        assert again.objective_ == model.objective_
        np.testing.assert_array_equal(again.patterns_, patterns)
    # shuffled with their rows, and with rows of weight zero whose pattern does not count
    order = np.random.RandomState(0).permutation(len(X))
    shuffled = ConvexReLURegressor(patterns=patterns[order], alpha=0.05).fit(X[order], y[order])
    assert shuffled.objective_ == model.objective_
    more = ConvexReLURegressor(patterns=np.r_[patterns, ~patterns[:9]], alpha=0.05)
    weights = np.repeat([1.0, 0.0], [len(X), 9])
    more.fit(np.r_[X, X[:9]], np.r_[y, y[:9]], sample_weight=weights)
    assert more.objective_ == model.objective_


def test_given_patterns_without_an_intercept(data):
    X, y = data
    patterns = X @ np.random.RandomState(3).standard_normal((3, 6)) >= 0
    with_empty = np.c_[np.zeros(len(X)), patterns]
    models = [
        ConvexReLURegressor(patterns=given, fit_intercept=False, alpha=0.05).fit(X, y)
        for given in (patterns, with_empty)
    ]
    assert models[0].objective_ == models[1].objective_


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (np.ones((3, 5), dtype=bool), r"patterns has shape \(3, 5\).*\(40, n_patterns\)"),
        (np.ones(40, dtype=bool), r"patterns has shape \(40,\)"),
        (np.ones((40, 0), dtype=bool), r"patterns has shape \(40, 0\)"),
        (np.full((40, 2), 0.5), "patterns of dtype float64 has values other than 0 and 1"),
        (np.full((40, 2), np.nan), "patterns of dtype float64"),
        (np.full((40, 2), "yes"), "patterns of dtype <U3"),
        (np.full((40, 2), None), "patterns of dtype object"),
        (np.zeros((40, 2), dtype=bool), "patterns must hold at least one pattern that is active"),
        (np.arange(80).reshape(40, 2) % 3 == 0, r"patterns: 2 of 2 columns.*no u has"),
        ("none", "'patterns' parameter"),
        (3, "'patterns' parameter"),
        (None, "'patterns' parameter"),
    ],
    ids=str,
)
def test_impossible_patterns_are_refused(data, patterns, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(patterns=patterns).fit(*data)


def test_a_proof_is_pursued_by_all_means_only_where_a_gap_is_asked_for():
    X, y = make_friedman1(400, n_features=5, noise=1.0, random_state=0)
    small = {"alpha": 1e-3}
    # an interior point of four hundred rows would cost many descents; no warning says so
    model = Regressor(**small).fit(X, y)
    assert model.dual_gap_ > 0.05
    phases = [entry["phase"] for entry in model.history_]
    assert "polish" not in phases
    first = phases.index("certify")
    found = model.history_[first]["iteration"]
    assert model.n_iter_ <= max(2 * found, found + 250)
    assert model.lower_bound_ <= model.objective_ == model.certificate_.objective
    assert str(model.certificate_).startswith("Left open: the convex program")
    with pytest.warns(ConvergenceWarning, match=r"above tol=5.0e-02: increase max_iter or tol"):
        Regressor(**small, tol=0.05, max_iter=found + 10).fit(X, y)
    # forty rows are proved on the way
    assert Regressor(alpha=1e-3).fit(X[:40], y[:40]).dual_gap_ <= 0.05
