"""scikit-learn's conventions: its own checks, and what both estimators have in common."""

import os
import re
import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from grids import halved
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import get_scorer
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
    check_param_validation,
    parametrize_with_checks,
)
from sklearn.utils.fixes import parse_version

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)

Regressor = partial(ConvexReLURegressor, alpha=0.1, n_patterns=12, random_state=0)
Classifier = partial(ConvexReLUClassifier, alpha=0.1, n_patterns=12, random_state=0)
# with their default parameters in the slow tests
SMALL = [
    ConvexReLUClassifier(alpha=0.1, n_patterns=5, tol=0.2),
    ConvexReLURegressor(patterns="random", solver="scp", n_patterns=20, tol=0.2),
    GradientDescentReLUClassifier(n_neurons=20, n_steps=100),
    RobustConvexReLUClassifier(alpha=0.1, n_patterns=5, tol=0.2),
    GatedSparseAutoencoder(max_iter=20),
    SignAwareGatedSparseAutoencoder(max_iter=20),
]
KINKED = {"classifier": "hinge", "regressor": "absolute_error"}
NAMES = {Regressor: "regressor", Classifier: "classifier"}
BOTH = pytest.mark.parametrize("make", NAMES, ids=NAMES.get)
# where it does not matter what is fitted
QUICK = {"patterns": "random", "solver": "scp", "tol": 0.2}

# one convex program, whose solution moves with the data; adaptive patterns may jump
FIXED = {"patterns": "random", "alpha": 1e-2, "tol": 1e-4}
FRAMES = [
    pd.DataFrame,
    pytest.param(
        pl.DataFrame,
        marks=pytest.mark.skipif(
            parse_version(sklearn.__version__) < parse_version("1.8"),
            reason="older releases of scikit-learn do not know the newest polars",
        ),
    ),
]


def data(make, n=40, d=3, seed=0):
    """Features, and a target that both estimators accept but do not fit exactly."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    score = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(n)
    return X, (score > 0.5).astype(int) if make is Classifier else score


def scores(model, X):
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


def assert_same_network(one, other):
    """Equal to the last bit."""
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.objective_ == other.objective_
    assert one.certificate_ == other.certificate_


# ------------------------------------------------------------------------------------------------
# scikit-learn's checks


@parametrize_with_checks(SMALL)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks(
    [
        *(type(estimator)() for estimator in SMALL),
        ConvexReLUClassifier(loss="hinge", n_patterns=20),
        ConvexReLUClassifier(loss="squared_hinge", fit_intercept=False, n_patterns=20),
        ConvexReLUClassifier(solver="scp", class_weight="balanced"),
        ConvexReLURegressor(loss="huber", fit_intercept=False, n_patterns=20),
        ConvexReLURegressor(loss="quantile", solver="scp"),
        ConvexReLURegressor(alpha=1.0, warm_start=True, n_patterns=20),
        SignAwareGatedSparseAutoencoder(tied=False, auxiliary=False, max_iter=50),
        GradientDescentReLUClassifier(alpha=1e-3, train_output=True, class_weight="balanced"),
    ]
)
def test_sklearn_checks_with_other_parameters(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", SMALL)
@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_dataframe_column_names_consistency,
        check_inplace_ensure_writeable,
    ],
)
def test_sklearn_checks_that_check_estimator_leaves_out(estimator, check):
    check(type(estimator).__name__, estimator)


def test_array_api_check_is_not_skipped():
    assert os.environ["SCIPY_ARRAY_API"] == "1"
    if sklearn.__version__ < "1.8":
        pytest.importorskip("array_api_compat")
    # raises an error when SciPy was imported without it
    with sklearn.config_context(array_api_dispatch=True):
        pass


# ------------------------------------------------------------------------------------------------
# Weights


@BOTH
@given(
    counts=st.lists(st.integers(0, 3), min_size=20, max_size=20),
    seed=st.integers(0, 99),
)
@settings(max_examples=3)
def test_weighted_repeated_and_shuffled_rows_give_the_same_network(make, counts, seed):
    X, y = data(make, n=20)
    counts = np.array(counts)
    counts[[np.argmax(y), np.argmin(y)]] += 1  # two classes
    rows = np.random.RandomState(seed).permutation(np.repeat(np.arange(20), counts))
    make = partial(make, alpha="auto")
    weighted = make().fit(X, y, sample_weight=counts)
    repeated = make().fit(X[rows], y[rows])
    assert_same_network(weighted, repeated)
    # weights have no unit, and a few rows may come twice with half the weight
    few = rows[:5]
    rows = np.concatenate([rows, few])
    halves = np.where(np.arange(len(rows)) < len(rows) - len(few), 6.0, 3.0)
    halves[: len(few)] = 3.0
    assert_same_network(make().fit(X[rows], y[rows], sample_weight=halves), repeated)


@BOTH
def test_equal_rows_are_merged(make):
    X, y = data(make)
    X[:, 0] = np.round(X[:, 0])
    zeros = X[:, 0] == 0
    signed = X.copy()
    signed[zeros, 0] = -0.0
    assert zeros.sum() > 3
    assert_same_network(make().fit(X, y), make().fit(np.r_[X, signed], np.r_[y, y]))


@BOTH
def test_rows_without_weight_do_not_exist(make):
    X, y = data(make)
    weights = np.ones(len(y))
    weights[::3] = 0
    far = X.copy()
    far[::3] *= 1e6
    make = partial(make, alpha="auto")
    few = make().fit(X[weights > 0], y[weights > 0])
    assert_same_network(make().fit(far, y, sample_weight=weights), few)
    assert_same_network(make().fit(far, y, sample_weight=weights * 1e-300), few)
    assert_same_network(make().fit(far, y, sample_weight=np.where(weights, 1.0, 1e-60)), few)


# ------------------------------------------------------------------------------------------------
# Seeds


@BOTH
def test_same_seed_same_network(make):
    X, y = data(make)
    model = make().fit(X, y)
    assert_same_network(model, make().fit(X, y))
    assert_same_network(model, clone(model).fit(X, y))
    assert_same_network(model, make(random_state=np.random.RandomState(0)).fit(X, y))
    other = make(random_state=1).fit(X, y)
    assert other.objective_ != model.objective_


# ------------------------------------------------------------------------------------------------
# Data and its containers


@BOTH
def test_data_is_not_written_to(make):
    X, y = data(make)
    weights = np.linspace(1, 2, len(y))
    originals = X.copy(), y.copy(), weights.copy()
    for array in (X, y, weights):
        array.setflags(write=False)
    model = make(verbose=0).fit(X, y, sample_weight=weights)
    model.predict(X)
    model.certificate(X[::-1] + 1, y, sample_weight=weights)
    for array, original in zip((X, y, weights), originals, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(("make", "order"), halved([*NAMES], ["C", "F"]), ids=NAMES.get)
def test_float32_in_float32_out(make, order):
    X, y = data(make)
    X32 = np.asarray(X, dtype=np.float32, order=order)
    model, model32 = make(**FIXED).fit(X, y), make(**FIXED).fit(X32, y)
    assert scores(model, X).dtype == np.float64
    assert scores(model32, X32).dtype == np.float32
    assert scores(model32, X).dtype == np.float64
    np.testing.assert_allclose(scores(model32, X32), scores(model, X), atol=1e-3)
    assert model32.coefs_[0].dtype == np.float64
    # float64 rows that are equal to them, in any memory order
    for options in ({}, FIXED):
        model32, model = make(**options).fit(X32, y), make(**options).fit(X32.astype(float), y)
        assert_same_network(model32, model)


@BOTH
@pytest.mark.parametrize("frame", FRAMES, ids=["pandas", "polars"])
def test_feature_names(make, frame):
    X, y = data(make)
    columns = {"height": X[:, 0], "width": X[:, 1], "depth": X[:, 2]}
    model, plain = make(**QUICK).fit(frame(columns), y), make(**QUICK).fit(X, y)
    assert model.feature_names_in_.tolist() == list(columns)
    assert_same_network(model, plain)
    reordered = frame({name: columns[name] for name in ("width", "height", "depth")})
    with pytest.raises(ValueError, match="feature names"):
        model.predict(reordered)
    with pytest.raises(ValueError, match="feature names"):
        model.certificate(reordered, y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    np.testing.assert_array_equal(model.predict(frame(columns)), plain.predict(X))


@BOTH
def test_pandas_target_and_weights(make):
    X, y = data(make)
    weights = np.linspace(0.5, 2, len(y))
    index = np.arange(len(y))[::-1]
    model = make(**QUICK)
    model.fit(X, pd.Series(y, index=index), sample_weight=pd.Series(weights, index=index))
    assert_same_network(model, make(**QUICK).fit(X, y, sample_weight=weights))


# ------------------------------------------------------------------------------------------------
# Composition


@BOTH
def test_sample_weights_are_routed_through_a_grid_search(make):
    X, y = data(make)
    weights = np.where(np.arange(len(y)) % 4 == 0, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = make(**QUICK).set_fit_request(sample_weight=True)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=True), model)
        name = type(model).__name__.lower()
        scorer = get_scorer("r2" if make is Regressor else "accuracy")
        search = GridSearchCV(
            pipeline,
            {f"{name}__alpha": [1e-2, 1.0]},
            scoring=scorer.set_score_request(sample_weight=True),
            cv=GroupKFold(2),
        )
        search.fit(X, y, sample_weight=weights, groups=np.arange(len(y)) % 2)
    best = search.best_estimator_[-1]
    used = weights > 0
    expected = make(**search.best_estimator_[-1].get_params() | {"random_state": 0})
    Z = search.best_estimator_[0].transform(X)
    assert_same_network(best, expected.fit(Z[used], y[used]))


@BOTH
def test_grid_search_and_cross_validation(make):
    X, y = data(make, n=60)
    pipeline = make_pipeline(StandardScaler(), make(**QUICK))
    grid = {f"{pipeline.steps[-1][0]}__alpha": [1e-2, 10.0]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)
    assert list(search.best_params_.values()) == [1e-2]
    assert cross_val_score(search.best_estimator_, X, y, cv=2).mean() > 0.5


@BOTH
def test_clone_has_the_parameters_and_nothing_else(make):
    X, y = data(make)
    patterns = X @ np.random.RandomState(0).standard_normal((3, 5)) >= 0
    model = make(alpha=0.3, patterns=patterns, fit_intercept=False).fit(X, y)
    copy = clone(model)
    assert vars(copy).keys() == model.get_params().keys()
    assert_same_network(copy.fit(X, y), model)
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    with pytest.raises(NotFittedError):
        clone(model).certificate(X, y)


# ------------------------------------------------------------------------------------------------
# Warm start


@pytest.mark.parametrize(("make", "factor"), halved([*NAMES], [1.0, 1.1, 0.8]), ids=NAMES.get)
def test_warm_start_after_a_change_of_alpha(make, factor):
    X, y = data(make, n=80)
    model = make(**FIXED | {"alpha": 0.02}, warm_start=True).fit(X, y)
    n_iter = model.n_iter_
    model.set_params(alpha=0.02 * factor).fit(X, y)
    cold = make(**FIXED | {"alpha": 0.02 * factor}).fit(X, y)
    assert model.n_iter_ <= cold.n_iter_
    if factor == 1.0:
        assert model.n_iter_ < n_iter
    np.testing.assert_array_equal(model.patterns_, cold.patterns_)
    assert model.dual_gap_ <= 0.05
    # both enclose the optimum of one program
    assert model.lower_bound_ <= cold.lower_bound_ / (1 - 2 * 0.05)
    assert cold.lower_bound_ <= model.lower_bound_ / (1 - 2 * 0.05)


@pytest.mark.parametrize(
    ("make", "options"),
    halved(
        [*NAMES],
        [
            {},
            {"loss": KINKED},
            {"patterns": "random"},
            {"patterns": "random", "solver": "scp"},
            {"patterns": "random", "solver": "admm-rbcd", "tol": 0.2},
            {"solver": "scp"},
        ],
    )
    + [
        (Regressor, {"patterns": "random", "solver": "admm-cholesky"}),
        (Classifier, {"hidden_layer": "shared"}),
        (Classifier, {"hidden_layer": "shared", "patterns": "random", "solver": "scp"}),
        (RobustConvexReLUClassifier, {}),
    ],
)
def test_short_fits_in_a_row_go_on_like_a_long_one(make, options):
    X, y = data(Classifier if make is RobustConvexReLUClassifier else make, n=40)
    if "hidden_layer" in options:
        y = np.searchsorted(np.quantile(X[:, 0], [0.3, 0.7]), X[:, 0])
    if "loss" in options:
        options = {"loss": options["loss"][NAMES[make]]}
    options = {"alpha": 0.02, "n_patterns": 10, "random_state": 0, **options}
    whole = make(**options).fit(X, y)
    few = max(whole.n_iter_ // 20, 1)
    model = make(**options, warm_start=True, max_iter=few)
    objectives = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(min(whole.n_iter_, 20) + 5):
            objectives.append(model.fit(X, y).objective_)
            assert 1 <= model.n_iter_ <= few
    assert np.all(np.diff(objectives) <= 1e-12)
    # both end within the tolerance of an optimum
    assert objectives[-1] <= 1.05 * whole.objective_


@pytest.mark.parametrize(
    "model",
    [
        ConvexReLURegressor(0.1, n_patterns=5),
        ConvexReLURegressor(0.1, **QUICK, n_patterns=5),
        ConvexReLUClassifier(0.1, n_patterns=5, hidden_layer="separate"),
        ConvexReLUClassifier(0.1, n_patterns=5),
        RobustConvexReLUClassifier(0.1, n_patterns=5, tol=0.2),
        GradientDescentReLUClassifier(n_neurons=20, n_steps=100),
    ],
)
def test_loss_curve(model):
    X, y = data(Regressor)
    if hasattr(model, "class_weight"):
        y = np.digitize(y, [0, 1])
    curve = model.set_params(random_state=0).fit(X, y).loss_curve_
    outputs = {entry.get("output", 0) for entry in model.history_}
    counts = [sum(entry.get("output", 0) == k for entry in model.history_) for k in outputs]
    assert curve.shape == (max(counts),)
    assert np.all(np.diff(curve) <= 0) and np.isfinite(curve).all()
    # the least point of the convex program may be above its network
    assert model.objective_ <= curve[-1] * (1 + 1e-9)
    assert curve[-1] <= 1.1 * model.objective_


@BOTH
def test_warm_start_keeps_the_patterns_without_a_seed(make):
    X, y = data(make)
    model = make(**FIXED, random_state=None, warm_start=True).fit(X, y)
    patterns = model.patterns_
    np.testing.assert_array_equal(model.fit(X, y).patterns_, patterns)
    # the same neurons on other rows, and back
    few = model.fit(X[:20], y[:20]).patterns_
    assert all((patterns[:20].T == pattern).all(axis=1).any() for pattern in few.T)
    np.testing.assert_array_equal(model.fit(X, y).patterns_, patterns)
    cold = model.set_params(warm_start=False).fit(X, y).patterns_
    assert cold.shape != patterns.shape or (cold != patterns).any()


@pytest.mark.parametrize(
    ("make", "change"),
    halved(
        [*NAMES],
        [
            {"n_patterns": 20},
            {"n_patterns": 5},
            {"fit_intercept": False},
            {"loss": {"classifier": "hinge", "regressor": "huber"}},
            {"solver": "scp"},
            {"patterns": "all"},
        ],
    ),
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else NAMES[value],
)
def test_warm_start_after_a_change_of_parameters(make, change):
    X, y = data(make, n=8, d=2)
    if "loss" in change:
        change = {"loss": change["loss"]["classifier" if make is Classifier else "regressor"]}
    model = make(**FIXED, warm_start=True).fit(X, y)
    first = model.patterns_
    model.set_params(**change).fit(X, y)
    cold = make(**FIXED | change).fit(X, y)
    np.testing.assert_array_equal(model.patterns_, cold.patterns_)
    assert model.objective_ == pytest.approx(cold.objective_, rel=0.1)
    # and back
    back = model.set_params(**make(**FIXED).get_params()).fit(X, y)
    np.testing.assert_array_equal(back.patterns_, first)


@BOTH
def test_warm_start_on_other_data(make):
    X, y = data(make)
    model = make(warm_start=True).fit(X, y)
    for other in (data(make, n=25), data(make, n=30, d=5), data(make)):
        model.fit(*other)
        assert model.dual_gap_ <= 0.05
        assert model.predict(other[0]).shape == other[1].shape
    # as many inputs as before, but another of them is the constant
    model.fit(*data(make, n=30, d=3))
    for fit_intercept, d in ((False, 4), (True, 3)):
        model.set_params(fit_intercept=fit_intercept).fit(*data(make, d=d))
        assert model.dual_gap_ <= 0.05
    # more outputs, and one again
    y = np.arange(len(y)) % 3 if make is Classifier else np.c_[y, -y]
    assert model.fit(X, y).n_outputs_ > 1
    assert model.fit(*data(make)).n_outputs_ == 1


@BOTH
def test_warm_start_with_patterns_that_are_given_twice(make):
    X, y = data(make, n=8)
    gates = np.random.RandomState(0).standard_normal((4, 15))
    patterns = np.c_[X, np.ones(8)] @ gates >= 0
    model = make(warm_start=True, solver="scp", patterns=np.c_[patterns, patterns])
    objective = model.fit(X, y).objective_
    assert model.fit(X, y).objective_ == objective
    assert model.set_params(solver="admm").fit(X, y).dual_gap_ <= 0.05


@pytest.mark.parametrize(
    ("make", "options"), halved([*NAMES], [{}, {"patterns": "random"}, {"n_patterns": 1}])
)
def test_warm_start_on_data_that_have_moved_away(make, options):
    X, y = data(make)
    model = make(warm_start=True, **options).fit(X, y).fit(X + 1000.0, y)
    cold = make(**options).fit(X + 1000.0, y)
    if "patterns" in options:
        assert model.patterns_.shape == cold.patterns_.shape
    assert model.objective_ <= 1.05 * cold.objective_


# ------------------------------------------------------------------------------------------------
# What is printed, warned of and recorded


@BOTH
def test_verbose_prints_a_line_per_check(make, capsys):
    X, y = data(make)
    model = make().fit(X, y)
    assert capsys.readouterr().out == ""
    model = make(verbose=True).fit(X, y)
    header, *lines = capsys.readouterr().out.splitlines()
    for word in (type(model).__name__, "iteration", "upper", "lower", "gap", "time"):
        assert word in header
    assert len(lines) == len(model.history_) > 0
    for line, entry in zip(lines, model.history_, strict=True):
        assert len(line) == len(header)
        assert re.search(rf"\b{entry['iteration']}\b", line)
        assert entry["phase"] in line
        assert f"{entry['gap']:.1e}" in line


def test_verbose_names_the_outputs(capsys):
    X, y = data(Regressor)
    model = Regressor(verbose=1, hidden_layer="separate").fit(X, np.c_[y, -y])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(model.history_)
    for output in ("1/2", "2/2"):
        assert sum(output in line for line in lines) >= 2
    # those that share a hidden layer have one table
    model.set_params(hidden_layer="shared").fit(X, np.c_[y, -y])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(model.history_) and "1/" not in "".join(lines)


@BOTH
@pytest.mark.parametrize("solver", ["admm", "admm-rbcd", "scp"])
def test_convergence_warning_says_what_to_do(make, solver):
    X, y = data(make)
    with pytest.warns(ConvergenceWarning) as caught:
        model = make(max_iter=1, solver=solver).fit(X, y)
    (warning,) = caught
    message = str(warning.message)
    assert type(model).__name__ in message
    assert f"{model.dual_gap_:.1e}" in message
    assert "tol=5.0e-02" in message
    assert "max_iter" in message
    assert ("solver='admm'" in message) == (solver != "admm")
    # it points at the line of the user
    assert warning.filename == __file__
    assert model.n_iter_ == 1
    assert model.dual_gap_ > 0.05
    assert np.isfinite(scores(model, X)).all()


@BOTH
@pytest.mark.parametrize("hidden_layer, tol", [("separate", 1e-6), ("shared", 0.02)])
def test_history_and_bounds_agree(make, hidden_layer, tol):
    X, y = data(make)
    y = np.arange(len(y)) % 3 if make is Classifier else np.c_[y, 100 * y]
    # of constant networks, too: both bounds are the optimum, but for rounding
    alpha = "auto" if make is Regressor else 0.1
    model = make(alpha=alpha, tol=tol, hidden_layer=hidden_layer).fit(X, y)
    last = [
        [entry for entry in model.history_ if entry["output"] == k][-1]
        for k in range(1 if hidden_layer == "shared" else model.n_outputs_)
    ]
    assert model.dual_gap_ <= tol
    assert model.dual_gap_ == pytest.approx(max(entry["gap"] for entry in last), abs=1e-15)
    assert model.lower_bound_ == pytest.approx(sum(entry["lower_bound"] for entry in last))
    assert model.n_iter_ == max(entry["iteration"] for entry in last)
    assert model.lower_bound_ * (1 - 1e-9) <= sum(entry["upper_bound"] for entry in last)
    for entry in model.history_:
        assert entry["lower_bound"] <= entry["upper_bound"]
        assert entry["time"] >= 0
        # a network may be better than the program over patterns, never than what is proved for all
    assert model.certificate_.lower_bound <= model.objective_
    assert model.n_neurons_ == model.coefs_[0].shape[1] == model.network_.n_neurons
