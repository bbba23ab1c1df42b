"""Sparse data: the same fits as of dense ones, in any format, and their limits."""

import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from grids import pairwise
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OneHotEncoder

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    alpha_max,
    convex_relu_path,
)
from sklearn_convexnet.core import rows
from sklearn_convexnet.program.problem import TrainingProblem

Regressor = partial(ConvexReLURegressor, n_patterns=12, random_state=0)
Classifier = partial(ConvexReLUClassifier, n_patterns=12, random_state=0)
NAMES = {Regressor: "regressor", Classifier: "classifier"}
BOTH = pytest.mark.parametrize("make", NAMES, ids=NAMES.get)
# where it does not matter what is fitted
SMALL = {"alpha": 0.1, "n_patterns": 4, "tol": 0.2, "patterns": "random", "solver": "scp"}
FORMATS = [
    getattr(scipy.sparse, f"{name}_{kind}")
    for name in ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    for kind in ("matrix", "array")
]


def data(make, n=40, d=5, seed=0):
    """Features, half of them zero, with an empty row and an empty column, and a target."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d)) * (rng.random_sample((n, d)) < 0.5)
    X[3], X[:, 2] = 0.0, 0.0
    score = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(n)
    return X, (score > 0.2).astype(int) if make is Classifier else score


def scores(model, X):
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


def assert_same_fit(one, other):
    """Equal to the last bit, which is how fits that amplify rounding agree to 1e-8."""
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(one.patterns_, other.patterns_)
    assert one.objective_ == other.objective_
    assert one.certificate_ == other.certificate_
    assert one.alpha_ == other.alpha_


HOW = {
    "adaptive": {},
    "random": {"patterns": "random", "tol": 1e-3},
    "all": {"patterns": "all"},
    "scp": {"patterns": "random", "solver": "scp"},
    "rbcd": {"patterns": "random", "solver": "admm-rbcd", "alpha": 0.05},
}


@pytest.mark.parametrize(
    ("make", "fit_intercept", "how"), pairwise(NAMES, [True, False], HOW), ids=NAMES.get
)
def test_sparse_and_dense_fits_agree(make, fit_intercept, how):
    options = HOW[how]
    X, y = data(make, n=10 if options.get("patterns") == "all" else 80, d=4)
    make = partial(make, fit_intercept=fit_intercept, **options)
    dense, sparse = make().fit(X, y), make().fit(scipy.sparse.csc_array(X), y)
    assert_same_fit(dense, sparse)
    np.testing.assert_array_equal(scores(sparse, scipy.sparse.coo_matrix(X)), scores(dense, X))
    for part in (X, scipy.sparse.csr_array(X)):
        # the certificate of the fit: the data are those of the fit
        assert sparse.certificate(part, y) is sparse.certificate_
        assert dense.certificate(part, y) is dense.certificate_
    assert sparse.score(scipy.sparse.csr_array(X), y) == dense.score(X, y)


@BOTH
def test_more_columns_than_rows(make):
    X, y = data(make, n=30, d=80)
    assert_same_fit(make().fit(X, y), make().fit(scipy.sparse.csr_matrix(X), y))


# of classifiers that have no certificate: options, and numbers of rows and columns
OTHERS = [
    (RobustConvexReLUClassifier(epsilon=[0.1, 0.2, 0.0, 0.3, 0.1], n_patterns=8), 60, 5),
    (RobustConvexReLUClassifier(norm=2, formulation="scp", n_patterns=8, tol=0.3), 60, 5),
    (RobustConvexReLUClassifier(epsilon=0.01, formulation="cone", n_patterns=8, tol=0.3), 30, 3),
    (GradientDescentReLUClassifier(n_steps=40, alpha=0.01, train_output=True), 60, 5),
    (GradientDescentReLUClassifier(n_steps=40, fit_intercept=False), 20, 30),
]


def assert_same_answers(sparse, dense, X, *, tol=0.0):
    """Of the networks of two fits, equal to the last bit, on both forms of the rows."""
    arrays = [model.coefs_ + model.intercepts_ for model in (sparse, dense)]
    for a, b in zip(*arrays, strict=True):
        np.testing.assert_array_equal(a, b)
    assert sparse.objective_ == dense.objective_
    for container in (scipy.sparse.csr_array, scipy.sparse.coo_matrix):
        for name in ("decision_function", "predict", "predict_proba"):
            answer = getattr(sparse, name)(container(X))
            np.testing.assert_allclose(answer, getattr(dense, name)(X), rtol=tol, atol=tol)


@pytest.mark.parametrize(("model", "n", "d"), OTHERS)
def test_other_classifiers(model, n, d):
    X, y = data(Classifier, n, d)
    # so that the parts of an entry sum up without rounding
    X, y = np.ldexp(np.round(16 * X), -4).astype(np.float32), y + (X[:, 1] > 1.0)
    weights, model = np.arange(n) % 3 + 1.0, clone(model).set_params(random_state=0)
    dense = clone(model).fit(X, y, weights)
    for container in (scipy.sparse.csr_matrix, scipy.sparse.csc_array, awkward):
        assert_same_answers(clone(model).fit(container(X), y, weights), dense, X)
    if hasattr(model, "partial_fit"):
        sparse, rest = scipy.sparse.csc_array(X), {"X_val": X[:7], "y_val": y[:7]}
        dense.partial_fit(X, y, **rest)
        again = clone(model).fit(sparse, y, weights)
        assert_same_answers(again.partial_fit(sparse, y, X_val=sparse[:7], y_val=y[:7]), dense, X)
        records = [
            [{key: value for key, value in entry.items() if key != "time"} for entry in history]
            for history in (again.history_, dense.history_)
        ]
        assert records[0] == records[1]
    else:
        assert clone(model).fit(scipy.sparse.csr_array(X), y).certified_accuracy_ == (
            clone(model).fit(X, y).certified_accuracy_
        )


@pytest.mark.parametrize(
    "model", [RobustConvexReLUClassifier(n_patterns=4, tol=0.3), GradientDescentReLUClassifier()]
)
def test_a_table_with_one_hot_columns(model):
    X, y = data(Classifier, 60)
    frame = pd.DataFrame({"x": X[:, 0], "place": np.array(list("abcdefgh"))[np.arange(60) % 8]})
    forms = [
        make_pipeline(
            make_column_transformer(
                (OneHotEncoder(sparse_output=sparse), ["place"]),
                remainder="passthrough",
                sparse_threshold=0.5,
            ),
            clone(model).set_params(random_state=0),
        ).fit(frame, y)
        for sparse in (True, False)
    ]
    assert scipy.sparse.issparse(forms[0][0].transform(frame))
    np.testing.assert_array_equal(forms[0].predict_proba(frame), forms[1].predict_proba(frame))


def test_robust_training_of_too_large_rows(monkeypatch):
    X, y = data(Classifier)
    model = RobustConvexReLUClassifier(n_patterns=2, tol=0.5, random_state=0).fit(X, y)
    monkeypatch.setattr(rows, "MOST_DENSE_ENTRIES", X.size - 1)
    sparse = scipy.sparse.csr_array(X)
    with pytest.raises(ValueError, match=r"perturbations needs dense rows.*\(40, 5\) is too"):
        clone(model).fit(sparse, y)
    np.testing.assert_array_equal(model.predict(sparse), model.predict(X))


@pytest.fixture(scope="module")
def dense_fit():
    X, y = data(Regressor)
    return X, y, Regressor(**SMALL).fit(X, y)


@pytest.mark.parametrize("container", FORMATS)
def test_every_format(container, dense_fit):
    X, y, dense = dense_fit
    sparse = container(X)
    model = Regressor(**SMALL).fit(sparse, y)
    assert_same_fit(model, dense)
    np.testing.assert_array_equal(model.predict(sparse), model.predict(X))


def awkward(X, dtype=np.int64):
    """CSR with unsorted, repeated, explicitly zero and wide-typed entries that is equal to X."""
    entries = []
    for k, j in zip(*np.nonzero(X), strict=True):
        entries += [(k, j, 0.75 * X[k, j]), (k, j, 0.25 * X[k, j])]
    entries += [(k, j, 0.0 * (-1) ** k) for k, j in zip(*np.nonzero(X == 0), strict=True)][::3]
    order = np.random.RandomState(0).permutation(len(entries))
    order = order[np.argsort(np.array(entries)[order, 0], kind="stable")]
    row, column, value = np.array(entries)[order].T
    indptr = np.searchsorted(row, np.arange(len(X) + 1)).astype(dtype)
    return scipy.sparse.csr_array((value, column.astype(dtype), indptr), shape=X.shape)


@pytest.mark.parametrize(
    ("make", "dtype"), [(Regressor, np.int32), (Classifier, np.int64)], ids=["32", "64"]
)
def test_explicit_zeros_and_repeated_entries(make, dtype):
    X, y = data(make)
    X = np.ldexp(np.round(16 * X), -4)  # so that the parts sum up without rounding
    sparse = awkward(X, dtype)
    sparse.indices, sparse.indptr = sparse.indices.astype(dtype), sparse.indptr.astype(dtype)
    np.testing.assert_array_equal(sparse.toarray(), X)
    assert sparse.nnz > 2 * np.count_nonzero(X)
    originals = [array.copy() for array in (sparse.data, sparse.indices, sparse.indptr)]
    for array in (sparse.data, sparse.indices, sparse.indptr):
        array.setflags(write=False)
    model = make(**SMALL).fit(sparse, y)
    assert_same_fit(model, make(**SMALL).fit(X, y))
    np.testing.assert_array_equal(scores(model, sparse), scores(model, X))
    assert model.certificate(sparse, y) is model.certificate_
    for array, original in zip(
        (sparse.data, sparse.indices, sparse.indptr), originals, strict=True
    ):
        np.testing.assert_array_equal(array, original)


@BOTH
def test_weights(make):
    X, y = data(make)
    weights = np.arange(40) % 4
    X[weights == 0] *= 1e6
    model = make().fit(scipy.sparse.csr_array(X), y, sample_weight=weights)
    assert_same_fit(model, make().fit(X, y, sample_weight=weights))
    repeated = np.random.RandomState(0).permutation(np.repeat(np.arange(40), weights))
    other = make().fit(scipy.sparse.csr_array(X)[repeated], y[repeated])
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])
    assert model.objective_ == other.objective_


@BOTH
def test_float32(make):
    X, y = data(make)
    X = X.astype(np.float32)
    sparse = scipy.sparse.csr_array(X)
    model = make().fit(sparse, y)
    assert_same_fit(model, make().fit(X, y))
    assert scores(model, sparse).dtype == np.float32


def test_classes_and_outputs():
    X, _ = data(Regressor)
    y = np.arange(40) % 3
    together = Classifier(**SMALL, n_jobs=2).fit(scipy.sparse.csr_array(X), y)
    assert_same = np.testing.assert_array_equal
    assert_same(together.coefs_[0], Classifier(**SMALL).fit(X, y).coefs_[0])
    proba = together.predict_proba(scipy.sparse.csr_array(X))
    assert_same(proba, together.predict_proba(X))
    targets = np.c_[X[:, 0], X[:, 1] ** 2]
    model = Regressor(**SMALL).fit(scipy.sparse.csr_array(X), targets)
    assert_same(model.predict(X), Regressor(**SMALL).fit(X, targets).predict(X))


def test_penalty_by_cross_validation():
    for make, base in ((ConvexReLURegressorCV, Regressor), (ConvexReLUClassifierCV, Classifier)):
        X, y = data(base)
        models = [
            make(alphas=2, cv=2, patterns="random", n_patterns=4, tol=0.2, random_state=0).fit(Z, y)
            for Z in (X, scipy.sparse.csc_matrix(X))
        ]
        assert_same_fit(*models)
        np.testing.assert_array_equal(models[0].scores_, models[1].scores_)


def test_path():
    X, y = data(Regressor)
    sparse = scipy.sparse.coo_array(X)
    assert alpha_max(sparse, y, random_state=0) == alpha_max(X, y, random_state=0)
    how = {"n_alphas": 2, "eps": 0.05, "n_patterns": 4, "random_state": 0}
    paths = [convex_relu_path(Z, y, **how) for Z in (X, sparse)]
    np.testing.assert_array_equal(paths[0].objectives, paths[1].objectives)


def test_pipelines():
    rng = np.random.RandomState(0)
    X = rng.choice(["red", "green", "blue", "grey"], size=(80, 3))
    y = (X[:, 0] == "red") ^ (X[:, 1] == "blue")
    model = make_pipeline(OneHotEncoder(), MaxAbsScaler(), Classifier(alpha=1e-3))
    assert cross_val_score(model, X, y, cv=2).mean() > 0.9
    texts = [
        " ".join(rng.choice(list("abcdefgh"), size=6)) + (" good" * (k % 2)) for k in range(40)
    ]
    vectors = TfidfVectorizer(token_pattern=r"\w")
    assert make_pipeline(vectors, Classifier()).fit(texts, np.arange(40) % 2).score(
        texts, np.arange(40) % 2
    ) > 0.9  # fmt: skip


# ------------------------------------------------------------------------------------------------
# Wide rows, which are not made dense


def wide_data(n=20, d=1200, density=0.02, seed=0):
    rng = np.random.RandomState(seed)
    X = scipy.sparse.random_array((n, d), density=density, format="csr", random_state=rng)
    w = rng.standard_normal((d, 2))
    return X, np.maximum(X @ w, 0.0) @ [1.0, -1.0] + 0.1 * rng.standard_normal(n)


@pytest.fixture
def never_dense(monkeypatch):
    """Limits that make small matrices large ones."""
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    monkeypatch.setattr(rows, "MOST_DENSE_ENTRIES", 0)
    original = scipy.sparse.csr_array.toarray

    def toarray(matrix):
        assert matrix.shape[1] < 1000
        return original(matrix)

    monkeypatch.setattr(scipy.sparse.csr_array, "toarray", toarray)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_wide_rows_stay_sparse(never_dense, fit_intercept):
    X, y = wide_data()
    full = X @ np.eye(X.shape[1])
    model = Regressor(alpha=0.01, tol=0.05, fit_intercept=fit_intercept).fit(X, y)
    assert model.dual_gap_ <= model.tol
    assert model.score(X, y) > 0.5
    # beyond the largest dense matrix another fit, of other sums, but one as good
    dense = Regressor(alpha=0.01, tol=0.05, fit_intercept=fit_intercept).fit(full, y)
    assert model.objective_ == pytest.approx(dense.objective_, rel=0.1)
    assert model.certificate_.detail["proved_lower_bound"] <= dense.objective_
    np.testing.assert_allclose(model.predict(X), model.predict(full), atol=1e-12)


@pytest.mark.parametrize(
    ("d", "density", "options"),
    [
        (1200, 0.02, {}),
        (1200, 0.2, {"fit_intercept": False}),
        (1200, 0.02, {"patterns": "random", "alpha": 1e-2}),
        # wide with the constant column only
        (1000, 0.2, {"alpha": 0.1}),
        (999, 0.02, {"alpha": 0.1}),
    ],
    ids=["adaptive", "no intercept", "random", "1000", "999"],
)
def test_wide_sparse_and_dense_fits_agree(monkeypatch, d, density, options):
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    X, y = wide_data(n=12, d=d, density=density)
    one, other = (Regressor(**{"tol": 0.1} | options).fit(form, y) for form in (X, X.toarray()))
    assert_same_fit(one, other)
    if not options:
        assert one.certificate(X, y + 1.0) == other.certificate(X.toarray(), y + 1.0)
        how = {"alphas": [3 * one.alpha_, one.alpha_], "n_patterns": 4, "random_state": 0}
        paths = [convex_relu_path(form, y, **how) for form in (X, X.toarray())]
        np.testing.assert_array_equal(paths[0].objectives, paths[1].objectives)


def test_a_gap_that_is_left_open_is_told(never_dense):
    X, y = wide_data()
    with pytest.warns(ConvergenceWarning, match="needs dense rows.*increase tol.*TruncatedSVD"):
        model = Regressor(alpha=0.01, tol=1e-9).fit(X, y)
    assert model.dual_gap_ > 1e-9


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({"patterns": "random"}, "the solver of the convex program"),
        ({"patterns": "all"}, "patterns='all'"),
        ({"patterns": np.ones((20, 1), dtype=bool)}, "the search for neurons of given patterns"),
        ({"solver": "admm-rbcd"}, "solver='admm-rbcd'"),
    ],
    ids=["random", "all", "given", "rbcd"],
)
def test_too_large_for_what_needs_dense_rows(never_dense, options, who):
    X, y = wide_data()
    with pytest.raises(ValueError, match=rf"{who} needs dense rows.*\(20, 120.\) is too large"):
        Regressor(alpha=1e-3, **options).fit(X, y)


def test_wide_rows_with_a_fixed_first_layer(never_dense):
    X, y = wide_data()
    model = Regressor(alpha=1e-3, patterns="random", solver="scp").fit(X, y)
    assert model.dual_gap_ <= 0.05


@pytest.mark.parametrize(("n", "d"), [(20, 1200), (60, 40)])
def test_gradient_descent_on_wide_rows(monkeypatch, n, d):
    X, y = wide_data(n, d, density=0.04)
    model = GradientDescentReLUClassifier(alpha=0.01, n_steps=50, learning_rate=0.5, random_state=0)
    validation = {"X_val": X[:7].toarray(), "y_val": y[:7] > 0}
    dense = clone(model).fit(X.toarray(), y > 0, **validation)
    monkeypatch.setattr(rows, "_FEW_COLUMNS", 30)
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    full = X.toarray()
    # predictions have the arithmetic of the form that the rows come in
    assert_same_answers(model.fit(X, y > 0), clone(model).fit(full, y > 0), full, tol=1e-12)
    np.testing.assert_allclose(model.decision_function(X), dense.decision_function(X), atol=1e-9)
    model.fit(X, y > 0, X_val=X[:7], y_val=y[:7] > 0)
    assert model.history_[-1]["val_loss"] == pytest.approx(dense.history_[-1]["val_loss"])
    # of wide rows the bound on the curvature may be larger
    model.set_params(learning_rate="auto").fit(X, y > 0)
    objectives = [entry["objective"] for entry in model.history_]
    assert np.all(np.diff(objectives) < 0)


def test_memory_is_that_of_the_entries():
    n, d = 4000, 4000  # 128 MB if dense
    rng = np.random.RandomState(0)
    row, column = np.repeat(np.arange(n), 20), rng.randint(d, size=20 * n)
    X = scipy.sparse.coo_array((rng.standard_normal(20 * n), (row, column)), shape=(n, d))
    tracemalloc.start()
    model = Regressor(n_patterns=2, alpha=0.1, tol=0.5).fit(X, rng.standard_normal(n))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(model.predict(X)).all()
    assert peak < 0.5 * 8 * n * d, peak


@pytest.mark.parametrize("targets", [1, 2])
def test_columns_without_entries_take_no_part(monkeypatch, targets):
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    X, y = wide_data(d=20, density=0.5)
    padded = (X.data, 70 * X.indices, X.indptr)
    padded = scipy.sparse.csr_array(padded, shape=(X.shape[0], 70 * 20))
    problem = TrainingProblem.of(padded, y, loss="squared_error", alpha=0.1)
    y = y if targets == 1 else np.c_[y, y**2]
    assert problem.normalised.rows.shape[1] == len(np.unique(X.indices))
    models = [Regressor(alpha=0.02, tol=1e-3).fit(Z, y) for Z in (X.toarray(), padded)]
    assert models[0].objective_ == pytest.approx(models[1].objective_, rel=2e-3)
    weights = models[1].coefs_[0]
    assert np.abs(np.delete(weights, 70 * np.unique(X.indices), axis=0)).max() < 1e-12
    bounds = [model.certificate_.detail["proved_lower_bound"] for model in models]
    assert max(bounds) <= min(model.objective_ for model in models)
    again = models[1].set_params(warm_start=True).fit(padded, y)
    assert again.objective_ == pytest.approx(models[0].objective_, rel=2e-3)
