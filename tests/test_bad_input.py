"""Bad and extreme input: a clear error, or a finite fit; never NaN, a warning of NumPy, a hang."""

import re
import warnings
from functools import partial

import numpy as np
import pytest
import scipy.sparse
import sklearn
from grids import halved, pairwise
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    GatedSparseAutoencoder,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)

Regressor = partial(ConvexReLURegressor, alpha=1e-2, tol=1e-3, n_patterns=10, random_state=0)
Classifier = partial(ConvexReLUClassifier, alpha=1e-2, tol=1e-3, n_patterns=10, random_state=0)
NAMES = {Regressor: "regressor", Classifier: "classifier"}
BOTH = pytest.mark.parametrize("make", NAMES, ids=NAMES.get)
LOSSES = {
    Regressor: ["squared_error", "huber", "quantile"],
    Classifier: ["log_loss", "hinge", "squared_hinge"],
}
N = 8
# one convex program, whose solution moves with the data; adaptive patterns may jump
FIXED = {"patterns": "random", "tol": 1e-4}


def data(make, n=N, d=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    score = np.abs(X[:, 0]) - 2 * X[:, 1] + 0.1 * rng.standard_normal(n)
    return X, (score > 0.5).astype(int) if make is Classifier else score


def scores(model, X):
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


def constant_objective(model, y):
    """Objective of the best constant by a grid search, a little above the optimum."""
    weights = np.ones(len(y)) / len(y)
    if hasattr(model, "classes_"):
        targets = np.where(y == model.classes_[1], 1.0, -1.0)
        grid = np.linspace(-5, 5, 201)
        if model.class_weight == "balanced":
            weights = 0.5 / np.where(targets > 0, np.sum(targets > 0), np.sum(targets < 0))
    else:
        targets, grid = y, np.r_[y, np.mean(y)]
    if not model.fit_intercept:
        grid = [0.0]
    return min(weights @ model._loss().value(np.full(len(y), c), targets) for c in grid)


def check_fit(model, X, y, *, converged=None, **fit_params):
    """Fit, and check everything finite and no worse than a constant; returns the model."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **fit_params)
        outputs = scores(model, X)
        str(model.certificate_)
        if hasattr(model, "predict_proba"):
            assert np.isfinite(model.predict_proba(X)).all()
    # of units, see below
    caught = [warning for warning in caught if "learned little" not in str(warning.message)]
    assert {warning.category for warning in caught} <= {ConvergenceWarning}
    assert np.isfinite(outputs).all()
    for array in model.coefs_ + model.intercepts_:
        assert np.isfinite(array).all()
    assert 0 <= model.dual_gap_ <= 1
    assert bool(caught) == (model.dual_gap_ > model.tol)
    assert 0 <= model.lower_bound_ < np.inf
    assert 0 <= model.certificate_.lower_bound <= model.objective_ < np.inf
    if converged is not None:
        assert bool(caught) != converged
    if not fit_params and model.n_outputs_ == 1:
        assert model.objective_ <= constant_objective(model, y) * (1 + 2 * model.tol) + 1e-300
    return model


@pytest.fixture(scope="module")
def fitted():
    """A fit of each, for what is asked of a fitted estimator; nobody fits them again."""
    return {make: make(tol=0.2).fit(*data(make)) for make in NAMES}


# ------------------------------------------------------------------------------------------------
# Parameters


@BOTH
@pytest.mark.parametrize("name", ["alpha", "tol"])
@pytest.mark.parametrize("value", [-1.0, 0, -np.inf, np.inf, np.nan, "1", [0.1]])
def test_alpha_and_tol_must_be_positive_and_finite(make, name, value):
    got = re.escape(repr(value))
    with pytest.raises(ValueError, match=rf"'{name}' parameter of \w+ must be .*Got {got}"):
        make(**{name: value}).fit(*data(make))


@BOTH
@pytest.mark.parametrize("name", ["max_iter", "n_patterns"])
@pytest.mark.parametrize("value", [-1, 0, 1.5, np.nan, "1", None])
def test_counts_must_be_positive_integers(make, name, value):
    with pytest.raises(ValueError, match=rf"'{name}' parameter of \w+ must be .*Got {value!r}"):
        make(**{name: value}).fit(*data(make))


@BOTH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss", "mse"),
        ("loss", 2),
        ("solver", "adam"),
        ("solver", None),
        ("patterns", "some"),
        ("fit_intercept", "yes"),
        ("warm_start", 1),
        ("random_state", "seed"),
        ("random_state", -1),
        ("n_jobs", 1.5),
        ("verbose", -1),
    ],
)
def test_other_parameters_must_be_known(make, name, value):
    with pytest.raises(ValueError, match=rf"'{name}' parameter of \w+ must be .*Got {value!r}"):
        make(**{name: value}).fit(*data(make))


@pytest.mark.parametrize(
    ("make", "alpha", "loss"),
    pairwise(NAMES, [1e-300, 1e-12, 1e-5, 1e3, 1e300], [0, 1, 2]),
    ids=NAMES.get,
)
def test_any_alpha(make, alpha, loss):
    X, y = data(make)
    loss = LOSSES[make][loss]
    # below the resolution of rounding there may be a warning, but there is a fit; of the logistic
    # loss, which is never zero, it depends on the processor whether 1e-12 is below
    converged = True if alpha >= (1e-12 if loss != "log_loss" else 1e-5) else None
    model = check_fit(make(alpha=alpha, loss=loss), X, y, converged=converged)
    if alpha >= 1e-12:
        assert model.dual_gap_ <= 1e-2
    if alpha <= 1e-5:
        assert model.score(X, y) > 0.95
    if alpha >= 1e3:
        # the constant network
        assert model.n_neurons_ == 0
        assert np.ptp(scores(model, X)) == 0
        assert model.certificate_.gap < 1e-3
        assert model.objective_ == pytest.approx(constant_objective(model, y), rel=1e-2)


@pytest.mark.parametrize(
    ("make", "alpha", "n_patterns"),
    pairwise(NAMES, [1e-12, 1e-5, 1e-2, 1e3], [5, 100]),
    ids=NAMES.get,
)
def test_any_alpha_with_a_fixed_first_layer(make, alpha, n_patterns):
    X, y = data(make)
    model = make(alpha=alpha, solver="scp", n_patterns=n_patterns)
    check_fit(model, X, y, converged=True if alpha >= 1e-5 else None)


@BOTH
def test_tolerances_out_of_reach(make):
    X, y = data(make)
    with pytest.warns(ConvergenceWarning, match="rounding errors stopped the solver"):
        model = make(tol=1e-25).fit(X, y)
    assert model.dual_gap_ < 1e-6
    assert check_fit(make(tol=5.0), X, y).n_iter_ >= 1


# ------------------------------------------------------------------------------------------------
# Values and shapes of the data


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(make, value, fitted):
    X, y = data(make)
    bad = X.copy()
    bad[3, 1] = value
    with pytest.raises(ValueError, match="Input X contains (NaN|infinity)"):
        make().fit(bad, y)
    weights = np.ones(len(y))
    weights[3] = value
    with pytest.raises(ValueError, match="Input sample_weight contains (NaN|infinity)"):
        make().fit(X, y, sample_weight=weights)
    target = y.astype(float)
    target[3] = value
    with pytest.raises(ValueError, match="Input y contains (NaN|infinity)"):
        make().fit(X, target)
    with pytest.raises(ValueError, match="Input X contains (NaN|infinity)"):
        fitted[make].predict(bad)
    with pytest.raises(ValueError, match="Input X contains (NaN|infinity)"):
        fitted[make].certificate(bad, y)


@BOTH
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:, 0], y), "Expected 2D array, got 1D array"),
        (lambda X, y: (X[None], y), "Found array with dim 3"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (X[:0], y[:0]), "0 sample"),
        (lambda X, y: (X[:, :0], y), "0 feature"),
        (lambda X, y: (X, None), "requires y to be passed"),
        (lambda X, y: (X, y[:, None, None]), "dim 3|Unknown label type|1d array"),
        (lambda X, y: (X + 1j, y), "Complex data not supported"),
        (lambda X, y: (X.astype(str) + "x", y), "could not convert|Unable to convert"),
    ],
)
def test_impossible_shapes_and_types(make, change, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*change(*data(make)))


@BOTH
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(N), "Negative values in data passed to `sample_weight`"),
        (np.zeros(N), "at least one non-zero"),
        (np.ones(N - 1), rf"sample_weight.shape == \({N - 1},\), expected \({N},\)"),
        (np.ones((N, 1)), "Sample weights must be 1D"),
        (["heavy"] * N, "could not convert string"),
    ],
    ids=["negative", "zero", "short", "column", "text"],
)
def test_impossible_weights(make, weights, message):
    with pytest.raises(ValueError, match=message):
        make().fit(*data(make), sample_weight=weights)


@pytest.mark.parametrize(
    "model",
    [GatedSparseAutoencoder(max_iter=1), SignAwareGatedSparseAutoencoder(max_iter=1)],
    ids=lambda model: type(model).__name__,
)
def test_sparse_data_is_refused_where_it_is_not_understood(model):
    X, y = data(Classifier)
    model = clone(model).fit(X, y)
    for container in (scipy.sparse.csr_matrix, scipy.sparse.csc_array):
        for refusing in (lambda Z: model.transform(Z), lambda Z: clone(model).fit(Z, y)):
            with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is"):
                refusing(container(X))


@BOTH
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_sparse_data_that_are_not_finite_are_refused(make, value):
    X, y = data(make)
    X[3, 1] = value
    with pytest.raises(ValueError, match="contains NaN|contains infinity"):
        make().fit(scipy.sparse.csr_array(X), y)
    X[3, 1] = 1e151
    with pytest.raises(ValueError, match="X must not exceed 1e150"):
        make().fit(scipy.sparse.csr_array(X), y)


def test_continuous_labels_are_refused():
    X, y = data(Regressor)
    with pytest.raises(ValueError, match="Unknown label type"):
        Classifier().fit(X, y)


@pytest.mark.parametrize("label", [0, 1.0, "a", True])
def test_one_class_is_refused(label):
    X, _ = data(Regressor)
    y = np.full(N, label)
    with pytest.raises(ValueError, match="at least two classes of positive weight, got 1 class"):
        Classifier().fit(X, y)
    with pytest.raises(ValueError, match="got 1 class"):
        Classifier().fit(X[:1], y[:1])
    y = np.array(["a", "b"])[np.arange(N) % 2]
    with pytest.raises(ValueError, match=r"got 1 class: \['b'\]"):
        Classifier().fit(X, y, sample_weight=y == "b")


# ------------------------------------------------------------------------------------------------
# Units


@pytest.mark.parametrize(
    ("make", "fit_intercept", "scale"),
    pairwise(NAMES, [True, False], [1e-320, 1e-150, 1e-8]),
    ids=NAMES.get,
)
def test_tiny_features_give_a_constant(make, fit_intercept, scale):
    X, y = data(make, n=2 * N)
    model = check_fit(make(fit_intercept=fit_intercept), scale * X, y, converged=True)
    assert model.n_neurons_ == 0


@pytest.mark.parametrize(
    ("make", "fit_intercept", "scale"),
    pairwise(NAMES, [True, False], [1e4, 1e50, 1e149]),
    ids=NAMES.get,
)
def test_huge_features_are_fitted(make, fit_intercept, scale):
    X, y = data(make)
    # the penalty is all but gone, see test_any_alpha; so is, in the end, the constant column
    model = check_fit(
        make(fit_intercept=fit_intercept), scale * X, y, converged=True if scale <= 1e4 else None
    )
    assert model.score(scale * X, y) > 0.9 or (scale >= 1e50 and fit_intercept)


@BOTH
@pytest.mark.parametrize("scale", [1e150, 1e151, 1e300])
def test_features_too_large_to_square_are_refused(make, scale):
    X, y = data(make)
    with pytest.raises(ValueError, match=r"X must not exceed 1e150 in absolute value, got .*e\+"):
        make().fit(scale * X, y)


@pytest.mark.parametrize(("loss", "scale"), halved(LOSSES[Regressor], [1e-320, 1e-100, 1e-6]))
def test_tiny_targets(loss, scale):
    X, y = data(Regressor)
    model = check_fit(Regressor(loss=loss, tol=1e-4), X, scale * y, converged=True)
    # a quantile of a loss without a scale is fitted at any, the others are not worth a neuron
    if loss == "quantile" and scale > 1e-300:
        # most targets are met, up to the tolerance: not more than half are above, or below
        residuals = (scale * y - model.predict(X)) / scale
        assert np.mean(np.abs(residuals) < 1e-2) > 0.5
        assert np.mean(residuals < -1e-2) < 0.5
        assert np.mean(residuals > 1e-2) < 0.5
        assert model.n_neurons_ > 0
    else:
        assert model.n_neurons_ == 0


def test_targets_times_a_power_of_two():
    X, y = data(Regressor, n=6)
    model, other = (Regressor(loss="quantile", tol=0.1) for _ in range(2))
    model.fit(X, y)
    for scale in (2.0**-665, 2.0**490):
        # nothing is rounded on the way to the units of the solver, nor on the way back
        expected = pytest.approx(scale * model.objective_, rel=1e-14, abs=0)
        assert other.fit(X, scale * y).objective_ == expected
        np.testing.assert_allclose(other.predict(X), scale * model.predict(X), rtol=1e-12)


@pytest.mark.parametrize(("loss", "scale"), halved(LOSSES[Regressor], [1e6, 1e50, 1e149]))
def test_huge_targets(loss, scale):
    X, y = data(Regressor)
    model = check_fit(
        Regressor(loss=loss),
        X,
        scale * y,
        converged=True if scale <= 1e6 or loss == "quantile" else None,
    )
    # a Huber loss with its delta of 1.35 does not tell such errors from one another
    assert loss == "huber" or np.corrcoef(model.predict(X) / scale, y)[0, 1] > 0.9


@pytest.mark.parametrize("scale", [1e150, 1e200, 1e300])
def test_targets_too_large_to_square_are_refused(scale):
    X, y = data(Regressor)
    with pytest.raises(ValueError, match="y must not exceed 1e150 in absolute value, got"):
        Regressor().fit(X, scale * y)


@pytest.mark.parametrize("scale", [1e-10, 1e100])
def test_units_of_the_target_do_not_matter_when_alpha_follows(scale):
    X, y = data(Regressor)
    model = Regressor(**FIXED).fit(X, y)
    scaled = check_fit(
        Regressor(**FIXED | {"alpha": model.alpha * scale}), X, scale * y, converged=True
    )
    np.testing.assert_allclose(scaled.predict(X) / scale, model.predict(X), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(scaled.patterns_, model.patterns_)


@pytest.mark.parametrize("scale", [1e-100, 1e10])
@BOTH
def test_units_of_the_features_do_not_matter_when_alpha_follows(make, scale):
    X, y = data(make)
    model = make(**FIXED, fit_intercept=False).fit(X, y)
    scaled = check_fit(
        make(**FIXED | {"alpha": model.alpha * scale}, fit_intercept=False), scale * X, y
    )
    assert scaled.objective_ == pytest.approx(model.objective_, rel=0.1)
    np.testing.assert_array_equal(scaled.patterns_, model.patterns_)


@BOTH
def test_features_far_from_the_origin(make):
    X, y = data(make)
    y = X[:, 0] - X[:, 1] if make is Regressor else (X[:, 0] > X[:, 1]).astype(int)
    for alpha in (1e-6, 1e-2):
        for fit_intercept in (True, False):
            model = make(alpha=alpha, fit_intercept=fit_intercept)
            check_fit(model, 1e9 + 1e8 * X, y, converged=True if alpha == 1e-2 else None)
            assert model.score(1e9 + 1e8 * X, y) > 0.9
    assert check_fit(make(alpha=1e-3), 100 + X, y, converged=True).score(100 + X, y) > 0.9
    # too far for float64, but not worse than the best constant
    check_fit(make(), 1e6 + X, y)
    check_fit(make(), 1e9 + X, y)
    check_fit(make(), 1e15 + X, y)


@pytest.mark.parametrize(("make", "exponent"), halved([*NAMES], [5, 20, 148]), ids=NAMES.get)
def test_columns_of_different_units(make, exponent):
    X, y = data(make)
    units = [10.0**exponent, 10.0**-exponent, 1.0]
    check_fit(make(), units * X, y, converged=True if exponent <= 5 else None)


def messages_of(fit):
    """The warnings of a fit, one at most."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit()
    assert len(caught) <= 1
    return [(warning.category, str(warning.message)) for warning in caught]


SCP = {"patterns": "random", "solver": "scp", "alpha": 0.1, "tol": 0.2, "n_patterns": 5}


@pytest.mark.parametrize(
    "model",
    [
        ConvexReLUClassifier(**SCP, random_state=0),
        ConvexReLURegressor(**SCP, random_state=0),
        RobustConvexReLUClassifier(0.1, n_patterns=5, tol=0.5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_features_of_different_units_are_warned_of(model):
    X, y = data(Classifier, n=40)
    for units in ([1.0, 2e4, 1.0], [1e-4, 1.0, 1.0]):
        ((category, message),) = messages_of(lambda units=units: model.fit(units * X, y))
        assert category is UserWarning
        assert "differ by a factor of more than 1000" in message and "StandardScaler" in message
    ((_, message),) = messages_of(lambda: model.fit(X + 1e5, y))
    assert "more than 1000 times their range away from zero" in message
    constant = np.c_[X, np.full(40, 1e9), np.zeros(40)]
    rare = np.c_[X, np.eye(40)[:, :2], 0.01 * (np.arange(40) == 3) + 0.1]
    for usual in (30.0 * X, X * [1.0, 100.0, 1.0], X + 100.0, constant, rare):
        assert messages_of(lambda usual=usual: model.fit(usual, y)) == []


def test_units_are_those_of_the_features_and_not_of_their_weights():
    X, y = data(Classifier, n=40)
    units = np.array([1.0, 1e4, 1.0])
    for weights in (units, 1 / units, [1.0, 1.0, 0.0]):
        model = ConvexReLUClassifier(**SCP, feature_weights=weights)
        assert messages_of(lambda model=model: model.fit(X, y)) == []
    # weights that mend the units
    model = ConvexReLUClassifier(**SCP, feature_weights=1 / units)
    assert messages_of(lambda: model.fit(units * X, y)) == []
    model = ConvexReLUClassifier(**SCP, feature_weights=1 + units)
    ((_, message),) = messages_of(lambda: model.fit(units * X, y))
    assert "differ by a factor of more than 1000" in message


def test_sparse_features_of_any_units_are_not_warned_of():
    X, y = data(Classifier, n=40)
    sparse = scipy.sparse.csr_array(X * [1.0, 1e4, 1.0])
    assert messages_of(lambda: ConvexReLUClassifier(**SCP).fit(sparse, y)) == []


@pytest.mark.parametrize("patterns", ["adaptive", "random"])
def test_scale_is_named_where_it_keeps_a_solver_from_its_tolerance(patterns):
    X, y = data(Regressor, n=40)
    for options in ({}, {"max_iter": 5}):
        model = Regressor(patterns=patterns, **options)
        ((category, message),) = messages_of(lambda model=model: model.fit(X + 1e9, y))
        assert category is ConvergenceWarning
        assert "StandardScaler" in message and "max_iter or tol" not in message


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("make", [Regressor, RobustConvexReLUClassifier])
def test_values_that_scikit_learn_was_told_not_to_look_at(make, value):
    X, y = data(Classifier)
    X[2, 1] = value
    with (
        sklearn.config_context(assume_finite=True),
        pytest.raises(ValueError, match="X must hold finite numbers only, got NaN or infinity"),
    ):
        make().fit(X, y)


def test_probabilities_that_a_loss_lacks():
    model = ConvexReLUClassifier(loss="hinge", **SCP).fit(*data(Classifier))
    for method in ("predict_proba", "predict_log_proba"):
        assert not hasattr(model, method) and hasattr(ConvexReLUClassifier, method)
        with pytest.raises(AttributeError, match="with loss='log_loss' only, got loss='hinge'"):
            getattr(model, method)


@pytest.mark.parametrize(("make", "size"), halved([*NAMES], [1e3, 1e12, 1e100]), ids=NAMES.get)
def test_one_row_far_from_the_others(make, size):
    X, y = data(make)
    X[0] = size
    check_fit(make(), X, y, converged=True if size <= 1e3 else None)


@pytest.mark.parametrize("patterns", ["adaptive", "random"])
def test_targets_far_from_zero(patterns):
    X, y = data(Regressor)
    model = Regressor(patterns=patterns, tol=1e-4).fit(X, y)
    for shift in (1e3, 1e6):
        shifted = check_fit(Regressor(patterns=patterns, tol=1e-4), X, y + shift, converged=True)
        # another descent, that ends about as low
        rel = 1e-2 if patterns == "random" else 3e-2
        assert shifted.objective_ == pytest.approx(model.objective_, rel=rel)
        if patterns == "random":
            np.testing.assert_allclose(shifted.predict(X) - shift, model.predict(X), atol=1e-2)
    check_fit(Regressor(patterns=patterns), X, y + 1e9)
    check_fit(Regressor(patterns=patterns), X, y + 1e15)


@BOTH
def test_float32_at_the_ends_of_its_range(make):
    X, y = data(make)
    for scale in (1e-38, 1e37):
        check_fit(make(), (scale * X).astype(np.float32), y)


@BOTH
def test_predictions_that_overflow_are_refused(make):
    X, y = data(make)
    # slopes of some thousands
    model = make(alpha=1e-5).fit(1e-3 * X, y)
    assert np.isfinite(scores(model, 1e300 * X)).all()
    message = (
        r"outputs are not finite: X holds values too large for the dtype float64 \(.*1.0e\+306"
    )
    with pytest.raises(ValueError, match=message):
        scores(model, 1e306 * np.sign(X))
    if make is Regressor:
        with pytest.raises(ValueError, match="X must not exceed 1e150 in absolute value"):
            model.certificate(1e300 * X, y)
    assert np.isfinite(scores(model, 1e36 * X)).all()
    with pytest.raises(ValueError, match="X holds values too large for the dtype float32"):
        scores(model, (1e36 * X).astype(np.float32))


# ------------------------------------------------------------------------------------------------
# Few rows, many columns, no information


@pytest.mark.parametrize(
    ("make", "patterns", "n"), halved([*NAMES], ["random", "all"], [2, 3, 4]), ids=NAMES.get
)
def test_few_rows(make, patterns, n):
    X, y = data(make)
    y = y[:n] if make is Regressor else np.arange(n) % 2
    for fit_intercept in (True, False):
        model = make(patterns=patterns, fit_intercept=fit_intercept, alpha=1e-3)
        model = check_fit(model, X[:n], y, converged=True)
        # the exact patterns of few rows are found by chance too
        assert model.score(X[:n], y) > 0.95
        assert model.patterns_.shape[1] >= 2 * n - 1


def test_one_row():
    X, y = data(Regressor)
    for patterns in ("random", "all"):
        model = check_fit(Regressor(patterns=patterns), X[:1], y[:1], converged=True)
        assert model.predict(X[:1]) == pytest.approx(y[:1])
        model = Regressor(patterns=patterns, fit_intercept=False, alpha=1e-6)
        check_fit(model, X[:1], y[:1], converged=True)
        assert model.predict(X[:1]) == pytest.approx(y[:1], abs=1e-3)


@BOTH
def test_more_columns_than_rows(make):
    X, y = data(make, d=60)
    model = check_fit(make(alpha=1e-3), X, y, converged=True)
    assert model.score(X, y) > 0.99


@BOTH
def test_columns_without_information(make):
    X, y = data(make)
    plain = make(fit_intercept=False).fit(X, y)
    zero = check_fit(make(fit_intercept=False), np.c_[X, np.zeros(N)], y, converged=True)
    assert not zero.coefs_[0][3].any()
    assert zero.score(np.c_[X, np.zeros(N)], y) > 0.5
    for Z in (np.c_[X, np.full(N, 5.0)], np.tile(X, (1, 3))):
        assert check_fit(make(), Z, y, converged=True).score(Z, y) > 0.9
    assert plain.n_features_in_ == 3


@BOTH
@pytest.mark.parametrize("value", [0.0, 1.0, 7e5, -1e-5])
def test_constant_features_give_a_constant(make, value):
    X, y = np.full((N, 3), value), data(make)[1]
    model = check_fit(make(), X, y, converged=True)
    assert np.ptp(scores(model, X)) == 0
    if value:
        check_fit(make(fit_intercept=False), X, y, converged=True)
    else:
        with pytest.raises(ValueError, match="X must have a row that is not zero when fit_interc"):
            make(fit_intercept=False).fit(X, y)
    model = check_fit(make(patterns="all"), X, y, converged=True)
    assert model.certificate_.kind == "exact"


@pytest.mark.parametrize("loss", LOSSES[Regressor])
@pytest.mark.parametrize("value", [0.0, 3.0, -1e100])
def test_constant_target(loss, value):
    X, _ = data(Regressor)
    model = check_fit(Regressor(loss=loss), X, np.full(N, value), converged=True)
    np.testing.assert_allclose(model.predict(X), value)
    assert model.n_neurons_ == 0
    check_fit(Regressor(loss=loss, fit_intercept=False), X, np.zeros(N), converged=True)


@pytest.mark.parametrize(("make", "loss"), halved([*NAMES], [0, 1, 2]), ids=NAMES.get)
def test_equal_rows_with_different_targets(make, loss):
    X, y = data(make)
    other = -y if make is Regressor else 1 - y
    model = make(loss=LOSSES[make][loss], alpha=1e-4, tol=1e-4)
    check_fit(model, np.r_[X, X], np.r_[y, other], converged=True)
    # nothing can be learned from a contradiction
    assert model.n_neurons_ == 0
    partly = make(loss=LOSSES[make][loss], alpha=1e-4)
    check_fit(partly, np.r_[X, X[:4]], np.r_[y, other[:4]], converged=True)
    assert partly.score(X, y) > 0.5


# ------------------------------------------------------------------------------------------------
# Imbalance


@pytest.mark.parametrize("loss", LOSSES[Classifier])
def test_one_sample_of_a_class(loss):
    X, _ = data(Classifier, n=80)
    y = (np.arange(80) == np.argmax(X[:, 0])).astype(int)
    check_fit(Classifier(loss=loss), X, y, converged=True)
    model = check_fit(Classifier(loss=loss, class_weight="balanced"), X, y, converged=True)
    assert model.predict(X[y == 1]) == [1]


@pytest.mark.parametrize("loss", LOSSES[Classifier])
@pytest.mark.parametrize("ratio", [1e-20, 1e-7, 1e12])
def test_extreme_class_weights(loss, ratio):
    X, y = data(Classifier)
    model = Classifier(loss=loss, class_weight={0: 1.0, 1: ratio})
    check_fit(model, X, y, sample_weight=np.ones(N))
    assert (model.predict(X) == (1 if ratio > 1 else 0)).mean() > 0.9


@BOTH
@pytest.mark.parametrize("decades", [8, 40, 300])
def test_weights_of_very_different_size(make, decades):
    X, y = data(make)
    weights = 10.0 ** np.random.RandomState(0).uniform(-decades, 0, N)
    heavy = np.argsort(weights)[-5:]
    if make is Classifier:
        y = y.copy()
        y[heavy[:2]] = 1 - y[heavy[-1]]
        weights[heavy] = 1.0
    model = check_fit(make(alpha=1e-4), X, y, sample_weight=weights)
    assert model.dual_gap_ <= model.tol
    residuals = scores(model, X) - y if make is Regressor else 1.0 * (model.predict(X) != y)
    assert weights @ residuals**2 / weights.sum() < 0.1


@BOTH
def test_weights_at_the_ends_of_float64(make):
    X, y = data(make)
    expected = make().fit(X, y)
    for size in (5e-324, 1e308):
        model = check_fit(make(), X, y, sample_weight=np.full(N, size), converged=True)
        assert model.objective_ == expected.objective_
    if make is Classifier:
        for size in (5e-324, 1e308):
            model = make(class_weight="balanced")
            check_fit(model, X, y, sample_weight=np.full(N, size), converged=True)


# ------------------------------------------------------------------------------------------------
# A fit that fails


@BOTH
def test_failed_fit_leaves_the_last_one(make):
    X, y = data(make)
    model = make().fit(X, y)
    before, expected = dict(vars(model)), model.predict(X)
    one_class = np.zeros(N) if make is Classifier else np.full(N, 1e200)
    for attempt in (
        lambda: model.fit(X, one_class),
        lambda: model.fit(1e200 * X, y),
        lambda: model.fit(X, y, sample_weight=np.zeros(N)),
        lambda: model.fit(X, y, sample_weight=-np.ones(N)),
    ):
        with pytest.raises(ValueError):
            attempt()
        assert vars(model) == before
        np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(ValueError):
        model.set_params(patterns=np.ones((3, 1))).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected)


@BOTH
def test_warning_as_an_error_leaves_the_last_fit_alone(make):
    X, y = data(make)
    wide = np.stack([y, -y], axis=1) if make is Regressor else np.arange(N) % 3
    model = make().fit(X, y)
    expected = scores(model, X)
    before = dict(vars(model.set_params(max_iter=1)))
    with pytest.raises(ConvergenceWarning):
        model.fit(X, wide)
    assert vars(model) == before
    np.testing.assert_array_equal(scores(model, X), expected)


@BOTH
def test_failed_first_fit_is_no_fit(make):
    X, y = data(make)
    model = make()
    with pytest.raises(ValueError):
        model.fit(X, y, sample_weight=np.zeros(N))
    # scikit-learn sets these before anything can fail
    assert {name for name in vars(model) if name.endswith("_")} <= {"n_features_in_"}
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(X)


@BOTH
@pytest.mark.parametrize(
    "spoil",
    [
        lambda X: X,
        lambda X: 1e150 * X / np.abs(X).max(),
        lambda X: 1e-150 * X,
        lambda X: 1e9 + 1e8 * X,
        lambda X: np.concatenate([X, X], axis=1),
        lambda X: np.concatenate([X, np.ones((len(X), 2))], axis=1),
        lambda X: np.full_like(X, 7.0),
        lambda X: np.zeros_like(X),
        lambda X: X * [1e148, 1e-148, 1.0],
        lambda X: np.random.RandomState(0).standard_normal((len(X), 100)),
        lambda X: np.round(X),
    ],
)
def test_default_parameters_take_anything(make, spoil):
    X, y = data(make)
    check_fit(make(alpha="auto", tol=0.05), spoil(X), y)
