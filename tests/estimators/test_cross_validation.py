"""The estimators that choose their penalty by cross-validation."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from joblib import parallel_backend
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, UndefinedMetricWarning
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    fbeta_score,
    get_scorer,
    get_scorer_names,
    make_scorer,
    max_error,
    mean_absolute_error,
)
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
    check_param_validation,
    parametrize_with_checks,
)

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    alpha_max,
)
from sklearn_convexnet.core.canonical import canonical_rows
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.program.problem import TrainingProblem
from sklearn_convexnet.selection.descents import descended_networks

SMALL = {"alphas": 2, "eps": 0.02, "cv": 2, "n_patterns": 8, "tol": 0.2, "random_state": 0}
# small programs, where it does not matter what is fitted; a single fold where not even that matters
FIXED = {"patterns": "random"}
CHECKED = {"cv": ShuffleSplit(1, random_state=0), "n_patterns": 4, "tol": 0.2, **FIXED}
Regressor = partial(ConvexReLURegressorCV, **SMALL)
Classifier = partial(ConvexReLUClassifierCV, **SMALL)
BOTH = pytest.mark.parametrize("make", [Regressor, Classifier], ids=["regressor", "classifier"])


# where not even the score matters
TINY = {"patterns": "random", "n_patterns": 4, "tol": 0.5}
HALVES = [(np.arange(24), np.arange(24, 45)), (np.arange(24, 45), np.arange(24))]


def data(make=Regressor, n=45, d=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(n)
    return X, y if make is Regressor else np.where(y > 0.5, "yes", "no")


def assert_same(one, other):
    assert one.alpha_ == other.alpha_
    np.testing.assert_array_equal(one.alphas_, other.alphas_)
    np.testing.assert_array_equal(one.scores_, other.scores_)
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)


# check_class_weight_classifiers: more iterations for class weights of a ratio of 1e7
@pytest.mark.filterwarnings("ignore:ConvexReLUClassifierCV stopped")
@parametrize_with_checks(
    [
        ConvexReLUClassifierCV(alphas=[0.1], max_iter=50, **CHECKED),
        ConvexReLURegressorCV(alphas=[0.01], **CHECKED),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ConvexReLUClassifierCV stopped")
@parametrize_with_checks([ConvexReLUClassifierCV(), ConvexReLURegressorCV()])
def test_sklearn_checks_with_default_parameters(estimator, check):
    check(estimator)


@pytest.mark.parametrize("cls", [ConvexReLUClassifierCV, ConvexReLURegressorCV])
@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_dataframe_column_names_consistency,
        check_inplace_ensure_writeable,
    ],
)
def test_sklearn_checks_that_check_estimator_leaves_out(cls, check):
    check(cls.__name__, cls(alphas=[0.1], **CHECKED))


# ------------------------------------------------------------------------------------------------
# What is chosen, and by which scores


@pytest.mark.parametrize(("make", "weighted"), [(Regressor, True), (Classifier, False)])
def test_scores_are_those_of_a_loop(make, weighted):
    X, y = data(make)
    weights = np.random.RandomState(0).randint(0, 4, len(y)) if weighted else None
    model = make(alphas=3, cv=2).fit(X, y, sample_weight=weights)
    loss = model.loss
    largest = alpha_max(X, y, loss=loss, sample_weight=weights, random_state=1)
    np.testing.assert_allclose(model.alphas_, np.geomspace(largest, 0.02 * largest, 3), rtol=1e-3)
    seed = np.random.RandomState(0).randint(2**31 - 1)
    splitter = KFold if make is Regressor else StratifiedKFold
    folds = splitter(2, shuffle=True, random_state=seed).split(X, y)
    seed = np.random.RandomState(seed).randint(2**31 - 1)
    signs = y if make is Regressor else np.where(y == "yes", 1.0, -1.0)
    for k, (train, test) in enumerate(folds):
        # nothing is certified on the folds
        w = weights[train] if weighted else np.ones(len(train))
        first, w = canonical_rows(X[train], signs[train][:, None], w)
        problem = TrainingProblem.of(
            X[train][first],
            signs[train][first],
            loss=loss,
            alpha=1.0,
            sample_weight=w,
            fit_intercept=True,
        )
        networks = descended_networks(problem, model.alphas_, seed)
        w = weights[test] if weighted else np.ones(len(test))
        for i, network in enumerate(networks):
            f = network(X[test])[:, 0]
            if make is Regressor:
                # limited by the targets that train
                f = np.clip(f, signs[train][first].min(), signs[train][first].max())
                expected = -np.average((f - y[test]) ** 2, weights=w)
                assert model.mse_path_[i, k] == -model.scores_[i, k]
            else:
                expected = -np.average(np.logaddexp(0, -signs[test] * f), weights=w)
            assert model.scores_[i, k] == pytest.approx(expected)
    means = model.scores_.mean(axis=1)
    assert model.best_score_ == means.max()
    assert model.alpha_ == model.alphas_[means.argmax()]


@BOTH
def test_network_is_that_of_the_base_estimator(make):
    X, y = data(make)
    model = make().fit(X, y)
    cls = ConvexReLURegressor if make is Regressor else ConvexReLUClassifier
    base = cls(alpha=model.alpha_, n_patterns=8, tol=0.2, random_state=0).fit(X, y)
    for a, b in zip(model.coefs_ + model.intercepts_, base.coefs_ + base.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.objective_ == base.objective_
    assert model.certificate(X, y) == model.certificate_ == base.certificate_
    np.testing.assert_array_equal(model.predict(X), base.predict(X))
    assert model.score(X, y) == base.score(X, y)
    if make is Classifier:
        np.testing.assert_array_equal(model.predict_proba(X), base.predict_proba(X))


def test_default_scores_of_other_losses():
    X, y = data()
    model = Regressor(loss="quantile", **FIXED).fit(X, y)
    assert not np.allclose(model.scores_, -model.mse_path_)
    X, y = data(Classifier)
    model = Classifier(loss="hinge", **FIXED).fit(X, y)
    assert ((0 <= model.scores_) & (model.scores_ <= 1)).all()
    np.testing.assert_array_equal(
        model.scores_, Classifier(loss="hinge", scoring="accuracy", **FIXED).fit(X, y).scores_
    )


def test_scoring():
    X, y = data()

    def scored(scoring):
        return Regressor(scoring=scoring, **FIXED).fit(X, y)

    model = scored("neg_mean_absolute_error")
    assert_same(model, scored(make_scorer(mean_absolute_error, greater_is_better=False)))
    assert model.alpha_ == model.alphas_[model.scores_.mean(axis=1).argmax()]
    # of equals the largest penalty; the scorer sees the penalty
    assert scored(lambda model, X, y: 1.0).alpha_ == model.alphas_[0]
    assert scored(lambda model, X, y: -model.alpha).alpha_ == model.alphas_[-1]
    with pytest.raises(ValueError, match="must return finite numbers"):
        scored(lambda model, X, y: np.nan)
    X, y = data(Classifier)
    one, other = (
        Classifier(scoring=scoring, **FIXED).fit(X, y) for scoring in (None, "neg_log_loss")
    )
    assert_same(one, other)


def test_a_test_set_may_lack_a_class():
    X, _ = data()
    y = np.arange(45) % 3
    folds = [(np.arange(30), np.arange(30, 45)[y[30:] < 2]), (np.arange(15, 45), np.arange(15))]
    model = Classifier(cv=folds, **FIXED).fit(X, y)
    assert model.scores_.shape == (2, 2)
    assert model.n_outputs_ == 3
    # rows without weight do not exist, nor do their classes
    weights = (y < 2).astype(float)
    few = Classifier(cv=folds, **FIXED).fit(X, y, sample_weight=weights)
    assert few.classes_.tolist() == [0, 1]


def test_several_outputs():
    X, y = data()
    model = Regressor(cv=3, **FIXED).fit(X, np.c_[y, X[:, 2]])
    assert model.mse_path_.shape == (2, 3)
    assert model.predict(X).shape == (45, 2)
    assert isinstance(model.alpha_, float)


@pytest.mark.parametrize("patterns", ["random", "all"])
def test_other_patterns(patterns):
    X, y = data(n=18, d=2)
    model = Regressor(patterns=patterns).fit(X, y)
    assert model.dual_gap_ <= model.tol
    assert model.mse_path_[0].mean() > model.mse_path_.mean(axis=1).min()
    assert (model.certificate_.kind == "exact") == (patterns == "all")


def test_class_weight():
    X, y = data(Classifier)
    model = Classifier(class_weight="balanced").fit(X, y)
    share = (y == "yes").mean()
    weights = np.where(y == "yes", 0.5 / share, 0.5 / (1 - share))
    largest = alpha_max(X, y, loss="log_loss", sample_weight=weights, random_state=0)
    assert model.alphas_[0] == pytest.approx(largest, rel=1e-3)
    # the scores are weighted too: a class that weighs nothing may be missed
    test = Classifier(class_weight={"no": 1e3, "yes": 1e-4}).fit(X, y)
    assert (test.predict(X) == "no").mean() > 0.9
    np.testing.assert_allclose(model.scores_[0], -np.log(2), rtol=0.1)


@pytest.mark.parametrize("scoring", [None, "accuracy"])
def test_a_class_without_weight_does_not_exist(scoring):
    X, y = data(Classifier)
    y[:3] = "nil"
    weights = {"no": 1, "yes": 1, "nil": 0}
    # the same folds: all three classes are in them
    folds = list(KFold(2, shuffle=True, random_state=0).split(X))
    make = partial(Classifier, scoring=scoring, cv=folds, **FIXED)
    model = make(class_weight=weights).fit(X, y)
    assert model.classes_.tolist() == ["no", "yes"]
    assert np.isfinite(model.scores_).all()
    sample_weight = (y != "nil").astype(float)
    other = make().fit(X, y, sample_weight=sample_weight)
    np.testing.assert_allclose(model.scores_, other.scores_, rtol=1e-10)


# ------------------------------------------------------------------------------------------------
# Conventions


@pytest.mark.parametrize(
    ("make", "backend"), [(Regressor, "loky"), (Classifier, "threading")], ids=["loky", "threads"]
)
def test_result_does_not_depend_on_n_jobs(make, backend):
    X, y = data(make)
    alone = make(**FIXED).fit(X, y)
    with parallel_backend(backend):
        assert_same(alone, clone(alone).set_params(n_jobs=2).fit(X, y))
    assert_same(alone, clone(alone).fit(X, y))


@BOTH
def test_weights_are_repetitions(make):
    X, y = data(make)
    counts = np.random.RandomState(1).randint(0, 3, len(y))
    groups = np.arange(len(y)) % 2
    rows = np.repeat(np.arange(len(y)), counts)

    def folds(groups):
        return [(np.flatnonzero(groups != k), np.flatnonzero(groups == k)) for k in range(2)]

    weighted = make(cv=folds(groups), **FIXED).fit(X, y, sample_weight=counts)
    repeated = make(cv=folds(groups[rows]), **FIXED).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-10)
    np.testing.assert_array_equal(weighted.coefs_[0], repeated.coefs_[0])


@BOTH
def test_in_a_pipeline_with_frames(make):
    X, y = data(make)
    X = pd.DataFrame(100 * X, columns=["a", "b", "c"])
    model = make_pipeline(StandardScaler(), make(**FIXED)).fit(X, y)
    assert model.score(X, y) > 0.6
    assert make(**FIXED).fit(X, y).feature_names_in_.tolist() == ["a", "b", "c"]
    if make is Classifier:
        assert accuracy_score(y, model.predict(X)) == model.score(X, y)


def test_given_alphas():
    X, y = data()
    model = Regressor(alphas=[0.01, 1.0, 0.1], **FIXED).fit(X, y)
    assert model.alphas_.tolist() == [1.0, 0.1, 0.01]
    assert model.alpha_ in model.alphas_
    assert Regressor(alphas=1, **FIXED).fit(X, y).mse_path_.shape == (1, 2)


def test_verbose_prints_the_scores(capsys):
    X, y = data()
    model = Regressor(verbose=True, **FIXED).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert sum("score" in line for line in lines) == 2
    assert len(lines) == 2 + 1 + len(model.history_)


def test_warning_of_the_last_fit():
    X, y = data()
    with pytest.warns(ConvergenceWarning, match="ConvexReLURegressorCV stopped") as caught:
        Regressor(max_iter=2).fit(X, y)
    assert [warning.filename for warning in caught] == [__file__]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alphas": [-1.0]}, "alphas must be positive"),
        ({"alphas": []}, "alphas must be a non-empty"),
        ({"alphas": 0}, "'alphas' parameter"),
        ({"eps": 2.0}, "'eps' parameter"),
        ({"scoring": "no such"}, "'scoring' parameter"),
        ({"patterns": [[True]]}, "'patterns' parameter"),
        ({"cv": 100}, "n_splits"),
    ],
)
@BOTH
def test_bad_parameters(make, params, message):
    X, y = data(make)
    with pytest.raises(ValueError, match=message):
        make(**params).fit(X, y)


def test_bad_folds():
    X, y = data()
    weights = np.r_[np.zeros(23), np.ones(22)]
    with pytest.raises(
        ValueError, match="cv: the test set of fold 0 has no sample of positive weight"
    ):
        Regressor(cv=KFold(2)).fit(X, y, sample_weight=weights)
    with pytest.raises(ValueError, match="at least two classes"):
        Classifier(cv=KFold(2)).fit(X, np.repeat([0, 1], [23, 22]))
    with pytest.raises(ValueError, match="loss must be a loss for"):
        Regressor(loss=get_loss("hinge")).fit(X, y)


def test_sorted_samples_are_shuffled():
    rng = np.random.RandomState(0)
    X = np.sort(rng.uniform(-3, 3, (60, 1)), axis=0)
    y = np.abs(X[:, 0])
    # the middle of the range tells nothing of its ends
    scores = [
        ConvexReLURegressorCV(alphas=[1e-2], cv=cv, random_state=0).fit(X, y).best_score_
        for cv in (3, KFold(3))
    ]
    assert scores[0] > 0.1 * scores[1]


# ------------------------------------------------------------------------------------------------
# Folds as scikit-learn takes them


@pytest.mark.parametrize("make_cv", [iter, lambda folds: (fold for fold in folds)])
@BOTH
def test_folds_of_a_generator(make, make_cv):
    X, y = data(make)
    expected = make(cv=HALVES, **TINY).fit(X, y)
    model = make(cv=make_cv(HALVES), n_jobs=2, **TINY)
    # asking for the routing uses nothing up
    model.get_metadata_routing()
    assert_same(expected, model.fit(X, y))
    with pytest.raises(ValueError, match="cv must give at least one pair .* used before"):
        model.fit(X, y)


def test_folds_of_masks_lists_and_negative_indices():
    X, y = data()
    first, second = (np.isin(np.arange(45), rows) for rows in HALVES[0])
    folds = [(first, second), (list(range(-21, 0)), pd.Index(range(24)))]
    assert_same(Regressor(cv=HALVES, **TINY).fit(X, y), Regressor(cv=folds, **TINY).fit(X, y))


ROWS = np.arange(20)


@pytest.mark.parametrize(
    ("cv", "message"),
    [
        ([], "cv must give at least one pair"),
        ([HALVES[0], 3], "cv: fold 1 must be a pair .* got 3"),
        ([(ROWS, ROWS, ROWS)], "cv: fold 0 must be a pair"),
        ([(ROWS, [])], "cv: the test set of fold 0 .*got .*: it is empty"),
        ([(np.zeros(45, bool), ROWS)], "cv: the train set of fold 0 .*: it is empty"),
        (
            [HALVES[0], (ROWS + 30, ROWS)],
            "cv: the train set of fold 1 .* 45 samples.* index 45 is out of",
        ),
        ([(ROWS, [-46])], "index -46 is out of bounds"),
        ([(ROWS, ROWS / 2)], "must be of integer"),
        ([(ROWS, ["a", "b"])], "must be of integer"),
        ([(ROWS, None)], "must be of integer"),
        ([(ROWS, 7)], r"got 7: its shape is \(\)"),
        ([(ROWS, ROWS[:, None])], r"its shape is \(20, 1\)"),
        ([(ROWS, [[1], [2, 3]])], "inhomogeneous"),
        ([(np.ones(3, bool), ROWS)], "boolean index did not match"),
    ],
)
@BOTH
def test_bad_pairs_of_folds(make, cv, message):
    X, y = data(make)
    with pytest.raises(ValueError, match=message):
        make(cv=cv, **TINY).fit(X, y)


# ------------------------------------------------------------------------------------------------
# Metadata


@BOTH
def test_groups_are_routed_to_the_splitter(make):
    X, y = data(make)
    groups = np.arange(45) // 5
    folds = list(GroupKFold(2).split(X, y, groups))
    expected = make(cv=folds, **TINY).fit(X, y)
    model = make(cv=GroupKFold(2), **TINY)
    with config_context(enable_metadata_routing=True):
        assert_same(expected, clone(model).fit(X, y, groups=groups))
        chain = make_pipeline(StandardScaler(with_mean=False, with_std=False), clone(model))
        assert_same(expected, chain.fit(X, y, groups=groups)[-1])
        # weights are for the fits and the default scores, whatever the splitter takes
        weights = np.arange(45) % 3
        assert_same(
            make(cv=folds, **TINY).fit(X, y, sample_weight=weights),
            clone(model).fit(X, y, sample_weight=weights, groups=groups),
        )
        with pytest.raises(TypeError, match="unexpected argument.*groups"):
            make(**TINY).fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="CV.fit is only supported if enable_metadata_routing"):
        model.fit(X, y, groups=groups)
    with pytest.raises(ValueError, match="'groups' parameter should not be None"):
        model.fit(X, y)


def test_metadata_are_routed_to_the_scorer():
    X, y = data()
    costs = np.arange(45.0)
    seen = []

    def cost(y_true, y_pred, sample_weight=None, costs=None):
        seen.append((sample_weight, costs))
        return np.sum(costs * np.abs(y_true - y_pred))

    scorer = make_scorer(cost, greater_is_better=False)
    with config_context(enable_metadata_routing=True):
        model = Regressor(cv=HALVES, scoring=scorer.set_score_request(costs=True), **TINY)
        # weights that the scorer does not request are for the fits alone
        model.fit(X, y, costs=costs, sample_weight=costs)
        assert all(weights is None for weights, _ in seen)
        np.testing.assert_array_equal(seen[0][1], costs[24:])
        scorer.set_score_request(costs=True, sample_weight=True)
        model.set_params(scoring=scorer).fit(X, y, costs=costs, sample_weight=costs)
        np.testing.assert_array_equal(seen[-1][0], costs[1:24])
        np.testing.assert_array_equal(seen[-1][1], costs[1:24])


def no_weights(model, X, y):
    return -np.abs(y - model.predict(X)).max()


@pytest.mark.parametrize("scoring", [no_weights, make_scorer(max_error, greater_is_better=False)])
def test_a_scorer_that_takes_no_weights(scoring):
    X, y = data()
    weights = np.arange(45) % 3 + 1.0
    # max_error has a name too
    named = Regressor(scoring="neg_max_error", **TINY)
    model = Regressor(scoring=scoring, **TINY)
    fits = []
    for estimator in (named, model):
        with pytest.warns(UserWarning, match="does not support sample_weight") as caught:
            fits.append(estimator.fit(X, y, sample_weight=weights))
        assert [warning.filename for warning in caught] == [__file__]
    assert_same(*fits)
    # no warning without weights, nor where they are taken
    model.fit(X, y)

    def weighed(model, X, y, **kwargs):
        return kwargs["sample_weight"].sum()

    scores = Regressor(scoring=weighed, cv=HALVES, **TINY).fit(X, y, sample_weight=weights).scores_
    np.testing.assert_array_equal(scores[0], [weights[24:].sum(), weights[:24].sum()])


# ------------------------------------------------------------------------------------------------
# Scorers that ask for the classes, the positive one, or probabilities

NAMES = [
    name
    for name in (
        "neg_brier_score",
        "d2_brier_score",
        "f1",
        "f1_macro",
        "precision",
        "roc_auc",
        "average_precision",
        "roc_auc_ovr",
        "neg_log_loss",
    )
    if name in get_scorer_names()
]


def classes_of(k):
    """Labels of k classes, and folds of which the first test set lacks the last class."""
    X, y = data()
    labels = np.array(["no", "yes", "zero"])[np.digitize(y, [0.5, 1.5][: k - 1])]
    train, test = HALVES[0]
    return X, labels, [(train, test[labels[test] != np.unique(labels)[-1]]), HALVES[1]]


# rare classes may never be predicted
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("scoring", NAMES)
def test_scorers_of_two_classes(scoring):
    X, y, _ = classes_of(2)
    # the second label is the positive class, whatever it is called
    expected, *others = (
        Classifier(scoring=scoring, cv=HALVES, **TINY)
        .fit(X, np.array(labels)[(y == "yes").astype(int)])
        .scores_
        for labels in [(0, 1), ("no", "yes"), (1, 2)]
    )
    for scores in others:
        np.testing.assert_array_equal(scores, expected)


@pytest.mark.filterwarnings("ignore:No positive class found")
@pytest.mark.filterwarnings("ignore:divide by zero")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scoring", NAMES)
def test_scorers_where_a_fold_lacks_a_class(scoring, k):
    X, y, folds = classes_of(k)
    model = Classifier(scoring=scoring, cv=folds, **TINY)
    undefined = {
        2: {"d2_brier_score", "roc_auc", "roc_auc_ovr"},
        3: {"f1", "precision", "roc_auc", "average_precision", "roc_auc_ovr"},
    }[k]
    # of several classes from scikit-learn 1.7 on
    if k == 3 and "d2_brier_score" not in NAMES:
        undefined.add("neg_brier_score")
    if scoring in undefined:
        with pytest.raises(ValueError, match=f"scoring='{scoring}'"):
            model.fit(X, y)
    else:
        assert np.isfinite(model.fit(X, y).scores_).all()


def test_undefined_scores_name_the_folds():
    X, y, folds = classes_of(2)
    with (
        pytest.warns(UndefinedMetricWarning),
        pytest.raises(ValueError, match=r"for 2 of 4 fits, on the folds \[0\]"),
    ):
        Classifier(scoring="roc_auc", cv=folds, **TINY).fit(X, y)


def test_positive_class_of_a_scorer():
    X, y, _ = classes_of(2)

    def scores(scoring, y=y):
        return Classifier(scoring=scoring, cv=HALVES, **TINY).fit(X, y).scores_

    def share(y_true, y_pred, pos_label="no"):
        return np.mean(y_true == pos_label)

    swapped = scores(make_scorer(f1_score, pos_label="no"))
    assert not np.allclose(swapped, scores("f1"))
    # neither what the scorer was made with, nor a default that names a class, is replaced
    np.testing.assert_array_equal(
        scores(make_scorer(share))[0], [np.mean(y[t] == "no") for _, t in HALVES]
    )
    macro = make_scorer(f1_score, average="macro")
    for labels in (y, classes_of(3)[1]):
        np.testing.assert_array_equal(scores(macro, labels), scores("f1_macro", labels))
    # the caller's scorer is as it was
    scorer = make_scorer(fbeta_score, beta=2.0)
    before = repr(scorer)
    scores(scorer)
    assert repr(scorer) == before


@pytest.mark.parametrize("scoring", ["f1", make_scorer(f1_score), get_scorer("precision")])
def test_scores_of_two_classes_for_more(scoring):
    X, y, _ = classes_of(3)
    with pytest.raises(ValueError, match=r"(?s)scoring=.*'zero'.*make_scorer\("):
        Classifier(scoring=scoring, cv=HALVES, **TINY).fit(X, y)


@pytest.mark.parametrize("scoring", ["neg_log_loss", "neg_brier_score", "roc_auc_ovr"])
def test_scores_of_probabilities_for_a_loss_without(scoring):
    X, y, _ = classes_of(2)
    with pytest.raises(ValueError, match=f"scoring='{scoring}' .*predict_proba"):
        Classifier(loss="hinge", scoring=scoring, cv=HALVES, **TINY).fit(X, y)


def test_errors_of_a_callable_are_its_own():
    X, y = data()

    def broken(model, X, y):
        raise AttributeError("mine")

    with pytest.raises(AttributeError, match="^mine$"):
        Regressor(scoring=broken, **TINY).fit(X, y)
