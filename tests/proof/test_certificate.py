"""Certificates: nothing is below a proved bound, and the sentences say what the numbers do."""

import dataclasses
import importlib
import pickle
import re
import tracemalloc
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import minimize, minimize_scalar
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import (
    Certificate,
    ConvexReLUClassifier,
    ConvexReLURegressor,
    Hinge,
    Huber,
    LogLoss,
    Quantile,
    SquaredError,
    SquaredHinge,
    TwoLayerReLU,
    solve,
)
from sklearn_convexnet.bounds.dual import dual_value
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import activation_patterns, enumerate_gates
from sklearn_convexnet.proof.certificate import (
    _affordable,
    bound_output,
    certify_network,
    pricing_bound,
)
from sklearn_convexnet.proof.pricing_tree import PricingBounds, pricing_maximum

LOSSES = [SquaredError(), Huber(0.5), Quantile(0.3), LogLoss(), Hinge(), SquaredHinge()]
Regressor = partial(ConvexReLURegressor, n_patterns=12, random_state=0)
Classifier = partial(ConvexReLUClassifier, n_patterns=12, random_state=0)
BOTH = pytest.mark.parametrize("make", [Regressor, Classifier], ids=["regressor", "classifier"])


def down(value, rounding=ROUND_FLOOR):
    """Six digits of a positive number, in a direction."""
    last = Decimal(value).adjusted() - 5
    return f"{float(Decimal(value).quantize(Decimal(1).scaleb(last), rounding)):.6g}"


def up(gap):
    """A gap in percent, in two digits that are not below it."""
    percent = Decimal(100.0 * gap)
    last = percent.adjusted() - 1
    return f"{float(percent.quantize(Decimal(1).scaleb(last), ROUND_CEILING)):.2g}"


def data(make, n=20, d=2, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    score = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(n)
    return X, (score > 0.5).astype(int) if make is Classifier else score


def random_network(rng, d, *, intercept):
    m = rng.randint(1, 6)
    sizes = rng.standard_normal(4) * 2
    biases = rng.standard_normal(m) * sizes[1] if intercept else np.zeros(m)
    return TwoLayerReLU(
        rng.standard_normal((d, m)) * sizes[0],
        biases,
        rng.standard_normal((m, 1)) * sizes[2],
        np.array([sizes[3] if intercept else 0.0]),
    )


@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from(LOSSES),
    intercept=st.booleans(),
    exhaustive=st.booleans(),
    alpha=st.floats(1e-3, 3),
)
# where the two signs of the neurons differ most in what they may gain
@example(seed=1, loss=get_loss("squared_error"), intercept=False, exhaustive=False, alpha=1.0)
@settings(max_examples=10)
def test_no_network_is_below_the_bound(seed, loss, intercept, exhaustive, alpha):
    rng = np.random.RandomState(seed)
    n, d = rng.randint(2, 9), rng.randint(1, 3)
    X = np.round(2 * rng.standard_normal((n, d))) if seed % 2 else rng.standard_normal((n, d))
    X[0] += X[0] == 0  # a row that is not zero
    y = rng.choice([-1.0, 1.0], n) if loss.target == "sign" else rng.standard_normal(n)
    weights = rng.uniform(0.1, 2, n)
    weights /= weights.sum()
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = enumerate_gates(rows, max_patterns=10_000)
    program = PatternProgram.from_data(
        X,
        y,
        activation_patterns(rows, gates),
        loss=loss,
        alpha=alpha,
        sample_weight=weights,
        fit_intercept=intercept,
        gates=gates,
        exhaustive=exhaustive,
    )

    def objective(network):
        return network.objective(X, y, loss=loss, alpha=alpha, weights=weights)

    networks = [random_network(rng, d, intercept=intercept) for _ in range(20)]
    networks.append(TwoLayerReLU(np.zeros((d, 0)), np.zeros(0), np.zeros((0, 1)), np.zeros(1)))
    # all patterns are there: no better network exists
    solved = solve(program, tol=1e-7)
    networks.append(solved.network)
    best = min(map(objective, networks))
    # from the best slopes, those of any network, and anything at all
    for slopes in (
        solved.solution.slopes,
        loss.derivative(networks[-1](X)[:, 0], y),
        loss.derivative(networks[0](X)[:, 0], y),
        10 * rng.standard_normal(n),
        np.zeros(n),
    ):
        # an objective out of the way: bounds never exceed it
        bounds = [bound_output(program, slopes)]
        for time_limit in (None, 0.05):
            certificate = certify_network([1e3 * best + 1.0], bounds, time_limit=time_limit)
            assert 0 <= certificate.detail["proved_lower_bound"] <= best * (1 + 1e-9)
    if not exhaustive:
        bounds = [bound_output(program, solved.solution.slopes)]
        certificate = certify_network([best], bounds, time_limit=2.0)
        assert certificate.kind == "exact"
        assert certificate.lower_bound >= (1 - 1e-2) * best - 1e-12


@given(
    rows=st.integers(1, 3).flatmap(
        lambda d: arrays(
            np.float64,
            st.tuples(st.integers(1, 7), st.just(d)),
            elements=st.floats(-1e3, 1e3, allow_subnormal=False),
        )
    ),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([1e-100, 1e-3, 1.0, 1e100]),
)
@settings(max_examples=25)
def test_pricing_bound_is_above_every_direction(rows, seed, scale):
    rng = np.random.RandomState(seed)
    multipliers = rng.standard_normal(len(rows))
    bound = pricing_bound(scale * rows, multipliers)
    directions = rng.standard_normal((rows.shape[1], 200))
    directions /= np.linalg.norm(directions, axis=0)
    gains = np.abs(multipliers @ np.maximum(scale * rows @ directions, 0))
    assert gains.max() <= bound * (1 + 1e-9)
    # the squares of tiny rows would be zero
    size = np.abs(rows).max() or 1.0
    norms = size * np.linalg.norm(rows / size) * np.linalg.norm(multipliers)
    assert bound <= scale * norms * 2 + 1e-300


def test_pricing_bound_of_one_row_is_above_what_it_is():
    for seed in range(200):
        row, multiplier = np.random.RandomState(seed).standard_normal(2)
        bound = pricing_bound(np.array([[row]]), np.array([multiplier]))
        assert Fraction(bound) >= abs(Fraction(row) * Fraction(multiplier))


# ------------------------------------------------------------------------------------------------
# Of an estimator


@BOTH
@pytest.mark.parametrize("patterns", ["adaptive", "random", "all"])
def test_numbers_of_the_training_certificate(make, patterns):
    X, y = data(make, n=20)
    model = make(patterns=patterns, alpha=0.05).fit(X, y)
    certificate = model.certificate_
    assert certificate.kind == ("exact" if patterns == "all" else "searched")
    assert certificate.objective == model.objective_
    assert 0 <= certificate.lower_bound <= model.objective_
    expected = (model.objective_ - certificate.lower_bound) / model.objective_
    assert certificate.gap == pytest.approx(expected)
    assert certificate.detail["program_gap"] == model.dual_gap_
    assert certificate.detail["program_lower_bound"] == model.lower_bound_
    assert certificate.detail["n_patterns"] == model.patterns_.shape[1]
    if patterns == "all":
        assert certificate.gap <= 0.1
    assert certificate.detail["proved_lower_bound"] <= certificate.detail["program_upper_bound"]


@BOTH
def test_certificate_on_the_training_data_is_that_of_the_fit(make):
    X, y = data(make)
    weights = np.linspace(0, 3, len(y))
    model = make().fit(X, y, sample_weight=weights)
    order = np.random.RandomState(0).permutation(len(y))
    assert model.certificate(X, y, sample_weight=weights) is model.certificate_
    again = model.certificate(X[order], y[order], sample_weight=4 * weights[order])
    assert again is model.certificate_
    assert model.certificate(X.tolist(), y.tolist(), sample_weight=weights) == again
    # other weights, another objective
    other = model.certificate(X, y)
    assert other.objective != model.objective_
    # what counts is the penalty of the fit, not a parameter set since
    model.set_params(alpha=10.0)
    assert model.certificate(X, y, sample_weight=weights) is model.certificate_


@pytest.mark.parametrize(
    ("make", "patterns", "fit_intercept"),
    [
        (Regressor, "random", True),
        (Regressor, "all", False),
        (Classifier, "random", False),
        (Classifier, "all", True),
    ],
)
def test_certificate_on_other_data_is_valid(make, patterns, fit_intercept):
    X, y = data(make, n=20)
    model = make(patterns=patterns, fit_intercept=fit_intercept, alpha=0.05).fit(X, y)
    for seed in (1, 2):
        Z, z = data(make, n=15, seed=seed)
        certificate = model.certificate(Z, z)
        # all patterns are priced, but the network is not optimal on other data
        assert certificate.kind == ("bound" if patterns == "all" else "searched")
        best = make(patterns="all", fit_intercept=fit_intercept, alpha=0.05).fit(Z, z).objective_
        assert 0 <= certificate.lower_bound <= best <= certificate.objective * 1.05
        assert certificate.lower_bound > 0 or patterns == "random"
        assert certificate.gap == pytest.approx(1 - certificate.lower_bound / certificate.objective)
        assert "program_gap" not in certificate.detail
    # where the neurons of the fit are all asleep there is still a bound
    assert model.certificate(-X, y).lower_bound >= 0
    assert model.certificate(X[:1], y[:1]).objective > 0


def test_a_network_with_biases_is_not_judged_by_those_without():
    X, y = data(Regressor)
    y += 3.0
    worse = Regressor(alpha=1.0).fit(X, -y)
    best = Regressor(alpha=1.0).fit(X, y).objective_
    without = Regressor(alpha=1.0, fit_intercept=False).fit(X, y)
    assert best < without.certificate(X, y).detail["proved_lower_bound"]
    assert worse.certificate(X, y).detail["proved_lower_bound"] <= best
    worse.set_params(fit_intercept=False)
    with pytest.raises(ValueError, match="fit_intercept was set to False after the fit"):
        worse.certificate(X, y)
    # those with biases are more
    assert without.set_params(fit_intercept=True).certificate(X, y).lower_bound <= best


def test_certificate_of_several_outputs():
    X, y = data(Regressor)
    Y = np.stack([y, X[:, 0] ** 2], axis=1)
    model = Regressor(patterns="random", tol=1e-4).fit(X, Y)
    parts = [Regressor(patterns="random", tol=1e-4).fit(X, column).certificate_ for column in Y.T]
    assert model.certificate_.objective == pytest.approx(sum(part.objective for part in parts))
    assert model.certificate_.lower_bound == pytest.approx(sum(p.lower_bound for p in parts))
    with pytest.raises(
        ValueError, match="y has 1 outputs, but ConvexReLURegressor was fitted .* 2"
    ):
        model.certificate(X, y)


def test_certificate_of_labels():
    X, y = data(Classifier)
    model = Classifier(class_weight={"yes": 5.0}).fit(X, np.array(["no", "yes"])[y])
    assert model.certificate(X, np.array(["no", "yes"])[y]) is model.certificate_
    # one class is enough for a certificate, and must not confuse the weights
    ones = model.certificate(X[y == 1], np.full(y.sum(), "yes"))
    assert ones.lower_bound == 0
    assert ones.objective > 0
    with pytest.raises(ValueError, match=r"y holds labels not seen in fit: \['maybe'\]"):
        model.certificate(X, np.array(["no", "maybe"])[y])
    balanced = Classifier(class_weight="balanced").fit(X, y)
    assert balanced.certificate(X, y) is balanced.certificate_
    assert balanced.certificate(X[y == 1], y[y == 1]).objective > 0


# enough for any machine: the tolerance ends these, not the time
ENOUGH = 100.0


@BOTH
def test_certificate_with_time_is_exact(make):
    X, y = data(make, n=25)
    model = make(patterns="adaptive", alpha=0.02).fit(X, y)
    certificate = model.certificate(X, y, time_limit=ENOUGH)
    assert certificate.kind == "exact"
    assert certificate.objective == pytest.approx(model.objective_, rel=1e-12)
    assert 0 <= certificate.gap <= 1e-2
    assert certificate.gap == pytest.approx(1 - certificate.lower_bound / certificate.objective)
    # no network is below, wherever its training began
    for seed in range(1, 3):
        other = make(patterns="adaptive", alpha=0.02, random_state=seed).fit(X, y)
        assert certificate.lower_bound <= other.objective_
    # what was searched is said as well, and is no lower
    detail = certificate.detail
    assert detail["proved_lower_bound"] == certificate.lower_bound
    assert detail["proved_lower_bound"] <= detail["searched_lower_bound"] <= certificate.objective
    assert detail["n_cones"] > 0 and "program_gap" not in detail
    assert detail["confidence"] == 0.99
    assert detail["share"] == pytest.approx(1 - 0.01 ** (1 / detail["n_starts"]))
    # tighter by far than without time
    assert certificate.lower_bound > model.certificate_.detail["proved_lower_bound"]
    assert f"within {up(certificate.gap)} %" in str(certificate)
    assert str(certificate).startswith("Proved: ")
    # what is wanted now is not what the fit knew
    model.set_params(patterns="all")
    assert model.certificate(X, y).kind == "searched"
    assert model.certificate(X, y, time_limit=ENOUGH).kind == "exact"
    # and it is the same for any way to the network
    assert model.certificate_.kind == "searched"


@BOTH
def test_certificate_without_the_time_for_it(make):
    X, y = data(make, n=25)
    model = make(patterns="adaptive", alpha=0.02).fit(X, y)
    best = min(
        make(patterns="adaptive", alpha=0.02, tol=1e-3, random_state=seed).fit(X, y).objective_
        for seed in range(2)
    )
    for time_limit in (0, 1e-9):
        certificate = model.certificate(X, y, time_limit=time_limit)
        assert certificate.kind == "bound"
        assert 0 < certificate.lower_bound <= min(best, model.objective_)
        assert certificate.lower_bound == certificate.detail["proved_lower_bound"]
        # no worse than the closed form
        closed = model.certificate_.detail["proved_lower_bound"]
        assert certificate.lower_bound >= closed * (1 - 1e-9)
        searched, proved, late = str(certificate).splitlines()
        assert searched.startswith("Searched: ") and proved.startswith("Proved: no two-layer")
        assert f"{down(certificate.lower_bound)}" in proved
        assert f"a gap of {up(certificate.gap)} %" in proved
        assert late.startswith("Out of time: ") and "2 features and a constant" in late
        assert f"{certificate.detail['n_cones']} cones" in late and "1 % was asked for" in late


@BOTH
def test_branch_and_bound_is_asked_for_what_the_tolerance_needs(make, monkeypatch):
    X, y = data(make, n=25)
    model = make(patterns="adaptive", alpha=0.02, tol=1e-3).fit(X, y)
    module = importlib.import_module("sklearn_convexnet.proof.certificate")
    honest, asked = module.pricing_maximum, []

    def pricing_maximum(rows, multipliers, *, stop_below, **how):
        asked.append(stop_below)
        return honest(rows, multipliers, stop_below=stop_below, **how)

    monkeypatch.setattr(module, "pricing_maximum", pricing_maximum)
    certificate = model.certificate(X, y, time_limit=ENOUGH)
    assert certificate.kind == "exact" and certificate.gap <= 1e-2
    assert len(asked) == 2 and asked[0] == asked[1]
    wide = certificate.detail["n_cones"]
    certificate = model.certificate(X, y, time_limit=ENOUGH, tol=1e-3)
    assert certificate.gap <= 1e-3
    assert asked[2] < asked[0] and certificate.detail["n_cones"] > wide


@given(seed=st.integers(0, 10**6), loss=st.sampled_from(LOSSES), share=st.floats(0.1, 1.2))
@settings(max_examples=10)
def test_affordable_pricing_value(seed, loss, share):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((8, 2))
    y = rng.choice([-1.0, 1.0], 8) if loss.target == "sign" else rng.standard_normal(8)
    gates = enumerate_gates(X, max_patterns=100)
    program = PatternProgram.from_data(X, y, activation_patterns(X, gates), loss=loss, alpha=0.05)
    slopes = loss.derivative(rng.standard_normal(8), y)
    value = dual_value(program, slopes, program.alpha)
    assume(value > 0.0)
    largest = _affordable(program, slopes, share * value)
    if share > 1.0:
        assert largest == program.alpha
    else:
        assert largest >= program.alpha
        # it proves as much, and no larger one does
        assert dual_value(program, slopes, largest) >= share * value
        assert dual_value(program, slopes, largest * (1 + 1e-6)) <= share * value * (1 + 1e-12)


def test_certificate_with_time_of_several_outputs():
    X, y = data(Regressor, n=15)
    Y = np.stack([y, X[:, 0] ** 2], axis=1)
    how = {"patterns": "adaptive", "alpha": 0.03, "hidden_layer": "separate"}
    model = Regressor(**how).fit(X, Y)
    certificate = model.certificate(X, Y, time_limit=ENOUGH)
    assert certificate.kind == "exact" and certificate.gap <= 1e-2
    alone = [
        Regressor(patterns="adaptive", alpha=0.03)
        .fit(X, column)
        .certificate(X, column, time_limit=ENOUGH)
        for column in Y.T
    ]
    assert {part.kind for part in alone} == {"exact"}
    assert certificate.objective == pytest.approx(sum(part.objective for part in alone))
    # each is proved to within its gap of the other
    assert certificate.lower_bound <= sum(part.objective for part in alone)
    assert sum(part.lower_bound for part in alone) <= certificate.objective
    assert certificate.detail["n_cones"] > 0
    again = Regressor(**how).fit(X, Y)
    none = again.certificate(X, Y, time_limit=0)
    assert none.kind == "bound" and none.lower_bound <= certificate.objective


@BOTH
def test_certificate_with_time_on_other_data(make):
    X, y = data(make, n=20)
    model = make(patterns="adaptive", alpha=0.05).fit(X, y)
    Z, z = data(make, n=15, seed=1)
    certificate = model.certificate(Z, z, time_limit=ENOUGH)
    best = make(patterns="all", alpha=0.05).fit(Z, z)
    assert certificate.kind == "exact"
    # the network is not optimal there; the bound on all networks is as tight as ever
    assert (1 - 1e-2) * best.lower_bound_ <= certificate.lower_bound <= best.objective_
    # that the optimum is known is said apart from the gap of the network
    detail = certificate.detail
    assert certificate.gap > 1e-2 and "out_of_time" not in detail
    assert certificate.lower_bound >= (1 - 1e-2) * detail["known_objective"]
    assert f"and at most {down(detail['known_objective'], ROUND_CEILING)}." in str(certificate)
    # over all patterns there is nothing to spend time on
    assert best.certificate(Z, z, time_limit=ENOUGH, tol=0.5).detail["n_cones"] == 0


@BOTH
def test_certificate_of_a_perfect_or_zero_network(make):
    X, y = data(make)
    model = make(alpha=1e6).fit(X, y)
    assert model.n_neurons_ == 0
    # with so much weight decay the constant is proved optimal among all networks
    assert model.certificate_.gap < 1e-9
    if make is Regressor:
        perfect = make().fit(X, np.full(len(y), 3.0))
        assert perfect.certificate_ == Certificate(
            "exact", 0.0, 0.0, 0.0, perfect.certificate_.detail
        )


@BOTH
def test_certificate_reads_as_sentences(make):
    X, y = data(make, n=15)
    exact = make(patterns="all").fit(X, y)
    text = str(exact.certificate_)
    assert text == (
        f"Solved: the convex program over all {exact.patterns_.shape[1]} activation patterns, to "
        f"a relative duality gap of {exact.dual_gap_:.1e}.\n"
        f"Proved: the objective {exact.objective_:.6g} is within "
        f"{up(exact.certificate_.gap)} % of the optimum over all two-layer ReLU networks of "
        "any width."
    )
    chosen = make().fit(X, y)
    detail = chosen.certificate_.detail
    solved, searched, proved = str(chosen.certificate_).splitlines()
    assert solved.startswith(
        f"Solved: the convex program over the chosen {chosen.patterns_.shape[1]}"
    )
    assert searched.startswith(f"Searched: the objective {chosen.objective_:.6g} is within ")
    assert f"{up(chosen.certificate_.gap)} % of the optimum" in searched
    assert "99 % confidence" in searched and f"{100 * detail['share']:.1f} %" in searched
    assert f"an objective below {down(detail['proved_lower_bound'])}" in proved
    # on other data nothing was solved
    assert str(chosen.certificate(-X, y)).startswith("Searched: ")


def test_certificate_is_a_plain_value():
    certificate = Certificate("bound", 2.0, 1.0, 0.5)
    assert pickle.loads(pickle.dumps(certificate)) == certificate
    assert certificate != Certificate("exact", 2.0, 1.0, 0.5)
    with pytest.raises(AttributeError):
        certificate.gap = 0.0
    assert "lower_bound=1.0" in repr(certificate)


@BOTH
def test_time_limits_are_positive_numbers(make):
    X, y = data(make)
    model = make(alpha=0.1).fit(X, y)
    for time_limit in ("1", [1.0], -1.0, np.nan, np.inf, True):
        with pytest.raises(ValueError, match="time_limit must be None or a number >= 0, got"):
            model.certificate(X, y, time_limit=time_limit)


@BOTH
def test_no_certificate_without_rows(make):
    X, y = data(make)
    model = make(fit_intercept=False).fit(X, y)
    with pytest.raises(ValueError, match="X must have a row that is not zero"):
        model.certificate(np.zeros_like(X), y)


def test_what_branch_and_bound_finds_the_search_knows(monkeypatch):
    """A searched bound above what is known to be wrong is no estimate."""
    X, y = data(Regressor, n=30)
    model = Regressor(patterns="random", n_patterns=3, alpha=0.02).fit(X, y)
    module = importlib.import_module("sklearn_convexnet.proof.certificate")
    # dual variables that plainly violate the condition, and a search that sees nothing
    honest = module.search_dual
    calls = []

    def search_dual(problem, slopes, rng, gates, *, extra=None, **how):
        calls.append(extra)
        dual = honest(problem, slopes, rng, gates, extra=extra, **how)
        return (
            dual if extra is not None else dataclasses.replace(dual, largest=0.0, lower_bound=1e9)
        )

    monkeypatch.setattr(module, "search_dual", search_dual)
    monkeypatch.setattr(module, "tighten", lambda problem, dual, *_, **how: (dual, np.inf))
    detail = model.certificate(X, y, time_limit=5.0).detail
    assert calls[-1] is not None
    # the proof is within its tolerance of the truth; the estimate is no more above it
    assert detail["searched_lower_bound"] <= detail["proved_lower_bound"] * (1 + 1e-2)


def test_confidence_covers_all_outputs():
    X, y = data(Regressor)
    one = Regressor().fit(X, y).certificate_.detail
    both = Regressor(hidden_layer="separate").fit(X, np.stack([y, y**2], axis=1))
    two = both.certificate_.detail
    missed = [(1.0 - detail["share"]) ** detail["n_starts"] for detail in (one, two)]
    # the chance that any of the outputs escapes its search is that of one
    assert missed[0] == pytest.approx(1.0 - one["confidence"])
    assert 2 * missed[1] == pytest.approx(1.0 - two["confidence"])


@BOTH
def test_tolerance_of_a_proof_is_checked(make):
    X, y = data(make, n=20)
    model = make(alpha=0.1).fit(X, y)
    for tol in (0.0, 1.0, -1e-3, np.nan, "0.01", True):
        with pytest.raises(ValueError, match="tol must be a number between 0 and 1"):
            model.certificate(X, y, time_limit=1.0, tol=tol)


@BOTH
def test_says_that_the_first_layer_was_fixed(make):
    X, y = data(make, n=20)
    for solver, patterns in (("scp", "random"), ("admm", "random")):
        certificate = make(solver=solver, patterns=patterns).fit(X, y).certificate_
        first = str(certificate).splitlines()[0]
        assert ("fixed directions" in first) == (solver == "scp")
        assert ("activation patterns" in first) == (solver == "admm")


def test_memory_for_the_pricing_bound_is_linear_in_the_features():
    rng = np.random.RandomState(0)
    wide, multipliers = rng.standard_normal((10, 4000)), rng.standard_normal(10)
    tracemalloc.start()
    bound = pricing_bound(wide, multipliers)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6  # a matrix of the features has 128 MB
    # the rows in coordinates of their span have the same bound
    _, coordinates = np.linalg.qr(wide.T)
    assert bound == pytest.approx(pricing_bound(coordinates.T, multipliers), rel=1e-9)


# ------------------------------------------------------------------------------------------------
# Several outputs: which networks a proof speaks of


def shared_network(X, Y, *, units, alpha, seed, loss):
    """A network whose outputs share their neurons, by long gradient descent; with biases."""
    rng = np.random.RandomState(seed)
    (n, d), K = X.shape, Y.shape[1]

    def parts(point):
        U, b, A, c = np.split(point, np.cumsum([d * units, units, units * K]))
        return U.reshape(d, units), b, A.reshape(units, K), c

    def objective(point):
        U, b, A, c = parts(point)
        active = X @ U + b
        hidden = np.maximum(active, 0.0)
        outputs = hidden @ A + c
        slopes = loss.derivative(outputs, Y) / n
        back = (slopes @ A.T) * (active > 0)
        gradient = [X.T @ back + alpha * U, back.sum(axis=0) + alpha * b]
        gradient += [hidden.T @ slopes + alpha * A, slopes.sum(axis=0)]
        decay = 0.5 * alpha * (np.sum(U**2) + np.sum(b**2) + np.sum(A**2))
        value = loss.value(outputs, Y).sum() / n + decay
        return value, np.concatenate([part.ravel() for part in gradient])

    start = rng.standard_normal((d + 1 + K) * units + K)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return TwoLayerReLU(*parts(found.x))


def uniform(n):
    return np.full(n, 1.0 / n)


def test_outputs_that_share_neurons_are_below_a_bound_on_those_that_do_not():
    """K equal targets are one target, larger by the root of K: their optimum is known."""
    X = np.linspace(-1, 1, 9)[:, None]
    for n_outputs in (2, 8):
        Y = np.abs(X) * np.ones((1, n_outputs))
        fit = ConvexReLURegressor(alpha=0.05, patterns="all", tol=1e-6, random_state=0).fit
        certificate = fit(X, Y).certificate_
        one = fit(X, np.sqrt(n_outputs) * Y[:, 0])
        # the same network, with its output in the direction of the targets
        net = one.network_
        turned = np.full((1, n_outputs), n_outputs**-0.5)
        shared = TwoLayerReLU(
            net.hidden_weights,
            net.hidden_biases,
            net.output_weights * turned,
            net.output_biases * turned[0],
        )
        value = shared.objective(X, Y, loss=SquaredError(), alpha=0.05, weights=uniform(9))
        assert value == pytest.approx(one.objective_, rel=1e-9)
        # what is proved for outputs apart says nothing of it
        assert value < 0.9 * certificate.lower_bound
        assert certificate.kind == "exact" and certificate.networks == "unshared"
        bound = certificate.detail["shared_lower_bound"]
        # with equal outputs no neuron gains less than is allowed for
        assert (1 - 1e-3) * one.lower_bound_ <= bound <= value
        assert value <= certificate.objective
        _, apart, among_all = str(certificate).splitlines()
        assert apart.endswith(
            " two-layer ReLU networks of any width whose outputs share no neuron."
        )
        assert among_all.startswith(
            "Proved: no two-layer ReLU network of any width, with shared neurons or without, has "
            f"an objective below {down(bound)} "
        )


@given(
    seed=st.integers(0, 10**6),
    loss=st.sampled_from(LOSSES),
    n_outputs=st.integers(2, 4),
    equal=st.booleans(),
    patterns=st.sampled_from(["all", "adaptive"]),
)
@settings(max_examples=6)
def test_no_network_with_shared_neurons_is_below_the_bound_on_all(
    seed, loss, n_outputs, equal, patterns
):
    rng = np.random.RandomState(seed)
    X, alpha = rng.standard_normal((8, 1)), 10 ** rng.uniform(-2.5, -0.5)
    score = np.abs(X) + 0.3 * X * rng.standard_normal((1, n_outputs))
    if equal:  # where sharing saves most
        score = np.repeat(score[:, :1], n_outputs, axis=1)
    if loss.target == "sign":
        Y = np.where(score > np.median(score), 1.0, -1.0)
        programs = [make_program(X, y, loss, alpha) for y in Y.T]
        solved = [solve(program, tol=1e-4) for program in programs]
        bounds = [
            bound_output(program, result.solution.slopes)
            for program, result in zip(programs, solved, strict=True)
        ]
        objectives = [result.objective for result in solved]
        certificate = certify_network(objectives, bounds)
    else:
        Y = score
        how = {"patterns": patterns, "hidden_layer": "separate"}
        model = Regressor(alpha=alpha, loss=loss, **how).fit(X, Y)
        certificate = model.certificate_
    assert certificate.networks == "unshared"
    bound = certificate.detail["shared_lower_bound"]
    assert bound <= certificate.detail["proved_lower_bound"]
    for units in (3, 12):
        found = shared_network(X, Y, units=units, alpha=alpha, seed=seed, loss=loss)
        value = found.objective(X, Y, loss=loss, alpha=alpha, weights=uniform(8))
        assert bound <= value * (1 + 1e-9)


def make_program(X, y, loss, alpha):
    gates = enumerate_gates(np.c_[X, np.ones(len(X))], max_patterns=1000)
    patterns = activation_patterns(np.c_[X, np.ones(len(X))], gates)
    return PatternProgram.from_data(
        X, y, patterns, loss=loss, alpha=alpha, fit_intercept=True, gates=gates, exhaustive=True
    )


def test_classes_are_certified_as_outputs_apart():
    X, y = load_iris(return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    how = {"alpha": 0.01, "hidden_layer": "separate", "random_state": 0}
    model = ConvexReLUClassifier(**how).fit(X, y)
    signs = np.where(y[:, None] == model.classes_, 1.0, -1.0)
    found = shared_network(X, signs, units=30, alpha=model.alpha_, seed=0, loss=LogLoss())
    value = found.objective(X, signs, loss=LogLoss(), alpha=model.alpha_, weights=uniform(150))
    certificate = model.certificate_
    # below what is searched, and later proved, for outputs that share no neuron
    assert value < 0.9 * certificate.lower_bound
    assert certificate.networks == "unshared"
    assert certificate.detail["shared_lower_bound"] <= value


def test_the_objective_of_a_fit_is_that_of_its_network():
    """Also with a penalty for every output, and however the penalty of a neuron is counted."""
    X, y = data(Regressor)
    Y = np.stack([y, 50 * X[:, 0] ** 2, -y], axis=1)
    model = Regressor(patterns="random").fit(X, Y)
    assert np.ptp(model.alpha_) > 0
    how = {"loss": SquaredError(), "weights": uniform(len(y))}
    value = model.network_.objective(X, Y, alpha=model.alpha_, **how)
    assert value == pytest.approx(model.objective_, rel=1e-12)
    # a neuron that two outputs share, at its least decay
    u, a = np.array([[3.0], [4.0]]), np.array([[2.0, 0.0, -1.0]])
    alphas = np.array([0.1, 0.7, 0.4])
    cost = 5.0 * np.hypot(0.1 * 2.0, 0.4 * 1.0)

    def decay(scale):
        net = TwoLayerReLU(u * scale, np.zeros(1), a / scale, np.zeros(3))
        return net.objective(0 * X, 0 * Y, alpha=alphas, **how)

    assert minimize_scalar(decay, bracket=(0.1, 1.0)).fun == pytest.approx(cost, rel=1e-9)
    # one penalty, given once or for every output
    net = TwoLayerReLU(u, np.zeros(1), a, np.zeros(3))
    same = [net.objective(X, Y, alpha=alpha, **how) for alpha in (0.3, np.full(3, 0.3))]
    assert same[0] == same[1]


# ------------------------------------------------------------------------------------------------
# With time


@BOTH
def test_more_time_proves_no_less(make):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 5))
    y = np.abs(X[:, 0]) + 0.5 * rng.standard_normal(40)
    y = (y > 0.7).astype(int) if make is Classifier else y
    model = make(patterns="adaptive", alpha=0.02).fit(X, y)
    bounds = [model.certificate_.detail["proved_lower_bound"]]
    for time_limit in (0.1, 0.05, 0.0):
        certificate = model.certificate(X, y, time_limit=time_limit)
        assert certificate.detail["proved_lower_bound"] >= bounds[-1]
        bounds.append(certificate.detail["proved_lower_bound"])
    # nor after a journey
    there = pickle.loads(pickle.dumps(model)).certificate(X, y, time_limit=0.0)
    assert there.detail["proved_lower_bound"] == bounds[-1]
    # but for another network, or other data, nothing is known
    assert model.certificate(X, y, sample_weight=np.arange(40), time_limit=0).lower_bound > 0
    again = make(patterns="adaptive", alpha=0.02).fit(X, y)
    assert again.certificate(X, y, time_limit=0).lower_bound <= bounds[-1]


def test_what_was_known_stays_known():
    X, y = data(Regressor, n=15)
    model = Regressor(patterns="random", n_patterns=2, alpha=0.05).fit(X, y)
    first = model.certificate(X, y, time_limit=ENOUGH)
    assert first.kind == "exact" and first.gap > 1e-2
    again = model.certificate(X, y, time_limit=0.0)
    known = again.detail["known_objective"]
    assert again.kind == "exact" and known == first.detail["known_objective"]
    assert first.lower_bound <= again.lower_bound <= known < model.objective_


@pytest.mark.parametrize(
    ("doublings", "finished", "outlook"),
    [
        ((0.0, np.nan), (True, False), "too short to tell"),
        ((np.nan, 9.0), (False, False), "too short to tell"),
        ((0.0, 0.0), (True, True), "too short to tell"),
        ((0.0, 1.5), (True, False), "4 times as much"),
    ],
)
def test_what_is_out_of_time_is_told(monkeypatch, doublings, finished, outlook):
    """Whichever of the two signs it is, or if it is the dual variables."""
    X, y = data(Regressor, n=15)
    model = Regressor(alpha=0.05).fit(X, y)
    told = zip(doublings, finished, strict=True)

    def pricing_maximum(rows, *arguments, **how):
        each, done = next(told)
        return PricingBounds(0.0, 1e3, np.zeros(rows.shape[1]), 9, done, each)

    module = importlib.import_module("sklearn_convexnet.proof.certificate")
    monkeypatch.setattr(module, "pricing_maximum", pricing_maximum)
    assert outlook in model.certificate(X, y, time_limit=0.0).detail["out_of_time"]


@given(value=st.floats(1e-12, 1e6), share=st.floats(0.0, 1.0))
@settings(max_examples=50)
def test_what_is_printed_is_proved(value, share):
    bound = share * value
    detail = {"proved_lower_bound": bound}
    text = str(Certificate("bound", value, bound, (value - bound) / value, detail))
    printed = re.search(r"below (\S+) \(.* a gap of (\S+) %\)", text)
    assert Decimal(printed[1]) <= Decimal(bound)
    assert Decimal(printed[2]) >= Decimal(100.0 * ((value - bound) / value))


def test_a_proof_out_of_reach_is_said_to_be():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((80, 12))
    y = rng.standard_normal(80)
    model = Regressor(patterns="random", alpha=0.1).fit(X, y)
    late = str(model.certificate(X, y, time_limit=0.2)).splitlines()[-1]
    assert late.startswith("Out of time: branch and bound") and "12 features and a constant" in late
    # wider than branch and bound can look at
    X = rng.standard_normal((80, 70))
    model = Regressor(patterns="random", alpha=0.1).fit(X, y)
    late = str(model.certificate(X, y, time_limit=0.0)).splitlines()[-1]
    assert "70 features and a constant" in late and "branch and bound was not tried" in late


def test_pace_of_branch_and_bound():
    rng = np.random.RandomState(0)
    rows, multipliers = rng.standard_normal((60, 4)), rng.standard_normal(60)
    done = pricing_maximum(rows, multipliers, tol=0.05)
    assert done.finished and done.doublings == 0.0
    none = pricing_maximum(rows, multipliers, tol=0.05, max_cones=1)
    assert not none.finished and np.isnan(none.doublings)
    rows = rng.standard_normal((60, 5))
    whole = pricing_maximum(rows, multipliers, tol=1e-2)
    half = pricing_maximum(rows, multipliers, tol=1e-2, max_cones=whole.n_cones // 2)
    assert whole.finished and not half.finished and 0.0 < half.doublings < np.inf


@BOTH
def test_kind_follows_the_gap(make):
    """A fit that stopped early is not called exact because it knows all patterns."""
    X, y = data(make, n=15)
    with pytest.warns(ConvergenceWarning, match="gap"):
        model = make(patterns="all", alpha=1e-3, solver="admm-rbcd", max_iter=3, tol=1e-3).fit(X, y)
    certificate = model.certificate_
    assert certificate.gap > 0.05 and certificate.kind == "bound"
    assert f"a gap of {up(certificate.gap)} %" in str(certificate)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:.*may have learned little")
@pytest.mark.parametrize("how", [{"hidden_layer": "shared"}, {}, {"patterns": "all"}])
def test_small_rows_next_to_a_large_one_keep_their_digits(how):
    # more columns than rows: the coordinates in their span lose what tells the small ones apart
    X, y = np.zeros((3, 2000)), np.array([[0.0, 0.0], [0.0, 0.0], [1.0, -1.0]])
    X[0, 0], X[1, 2], X[2, 1:3] = 1e10, 1.0, (1e-3, 1.0)
    y = y if "hidden_layer" in how else y[:, 0]
    model = ConvexReLURegressor(
        alpha=1e-9, fit_intercept=False, random_state=0, n_patterns=10, **how
    ).fit(X, y)
    # a neuron that sees column 1 only fits all rows
    perfect = model.alpha_ * 1e3 * np.linalg.norm(y[2])
    for found in (model.certificate_, model.certificate(X, y, time_limit=1.0)):
        assert found.detail["proved_lower_bound"] <= perfect
        assert found.kind == "searched" or found.lower_bound <= perfect
