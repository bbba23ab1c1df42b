"""Fits on Dask collections are those on arrays, whatever happens to the workers."""

import contextlib
import gc
import os
import signal
import time

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_friedman1, make_moons
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
)
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.distributed import Distributed
from sklearn_convexnet.distributed.shards import DaskShards

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")

# of distributed itself, while it starts and stops workers
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed"),
]


@pytest.fixture(scope="module")
def friedman():
    return make_friedman1(n_samples=80, n_features=5, noise=0.1, random_state=0)


def collections(*arrays, size=50):
    return [da.from_array(array, chunks=(size, *array.shape[1:])) for array in arrays]


def same_problem(model, other):
    """The optima of both fits lie between all of their bounds."""
    bounds = [one.certificate_.detail for one in (model, other)]
    upper = min(bound["program_upper_bound"] for bound in bounds)
    lower = max(bound["program_lower_bound"] for bound in bounds)
    return upper >= lower * (1.0 - 1e-9)


@pytest.mark.parametrize(
    ("loss", "fit_intercept", "tol"),
    [("squared_error", True, 1e-4), ("squared_error", False, 1e-2), ("huber", True, 1e-2)],
)
def test_objective_is_that_of_the_fit_on_arrays(client, friedman, loss, fit_intercept, tol):
    X, y = friedman
    options = {
        "alpha": 0.3, "loss": loss, "patterns": "random", "n_patterns": 4, "tol": tol,
        "fit_intercept": fit_intercept, "random_state": 0,
    }  # fmt: skip
    local = ConvexReLURegressor(**options).fit(X, y)
    remote = ConvexReLURegressor(**options).fit(*collections(X, y))
    assert remote.dual_gap_ <= tol
    assert remote.objective_ == pytest.approx(local.objective_, rel=tol)
    assert same_problem(local, remote)
    penalty, outputs = remote.network_.penalty(), remote.network_(X)[:, 0]
    losses = get_loss(remote.loss).value(outputs, y).mean()
    assert remote.objective_ == pytest.approx(losses + 0.3 * penalty, rel=1e-12)


@pytest.mark.parametrize("targets", [1, 2])
def test_feature_weights(client, friedman, targets):
    X, y = friedman
    y = np.c_[y, X[:, 0]] if targets == 2 else y
    weights = np.array([2.0, 0.5, 1.0, 0.1, 1.0])
    given = ConvexReLURegressor(0.3, feature_weights=weights, random_state=0)
    before = X.copy()
    model = given.fit(*collections(X, y))
    scaled = clone(given).set_params(feature_weights=None).fit(*collections(X * weights, y))
    assert model.objective_ == pytest.approx(scaled.objective_, rel=1e-9)
    np.testing.assert_allclose(model.predict(X), scaled.predict(X * weights), atol=1e-6)
    np.testing.assert_array_equal(model.feature_weights_, weights)
    np.testing.assert_array_equal(X, before)
    local = given.fit(X, y)
    assert model.objective_ == pytest.approx(local.objective_, rel=0.01)


def test_feature_weights_are_chosen_on_the_sample(client):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((120, 12))
    y = X[:, 0] * (1.0 + X[:, 1])
    model = ConvexReLURegressor(patterns="random", n_patterns=2, tol=1e3, random_state=0)
    remote = clone(model).fit(*collections(X, y))
    np.testing.assert_allclose(remote.feature_weights_, model.fit(X, y).feature_weights_)
    assert (remote.feature_weights_ != 1.0).any()


def test_adaptive_patterns_are_those_of_all_rows(client, friedman):
    X, y = friedman
    local = ConvexReLURegressor(alpha=0.1, random_state=0).fit(X, y)
    remote = ConvexReLURegressor(alpha=0.1, random_state=0).fit(*collections(X, y))
    assert remote.objective_ == pytest.approx(local.objective_, rel=1e-3)
    assert remote.dual_gap_ <= 0.05
    phases = [entry["phase"] for entry in remote.history_]
    assert set(phases) == {"descent", "certify"}
    iterations = [entry["iteration"] for entry in remote.history_]
    assert iterations == sorted(iterations) and iterations[-1] == remote.n_iter_
    assert remote.certificate_.kind == "bound"
    assert 0 < remote.certificate_.lower_bound <= remote.certificate_.objective
    assert "Proved" in str(remote.certificate_)
    # and what a user may ask of any fit
    assert remote.certificate(X, y).kind == "searched"
    assert remote.alpha_ == 0.1


def many_rows(kind, n=900, seed=0):
    """More rows than the samples of the tests, and an estimator for them."""
    X, y = make_friedman1(n, n_features=5, noise=1.0, random_state=seed)
    options = {"n_patterns": 8, "random_state": 0}
    if kind == "targets":
        return X, y, ConvexReLURegressor(alpha=0.05, **options)
    labels = y > (14.0 if kind == "classes" else 25.5)
    return X, labels, ConvexReLUClassifier(alpha=5e-3 if kind == "classes" else 1e-3, **options)


@pytest.mark.parametrize("kind", ["targets", "classes", "rare"])
def test_neurons_of_a_sample_descend_on_all_rows(client, monkeypatch, kind):
    X, y, model = many_rows(kind)
    local, sample = clone(model).fit(X, y), Distributed.sample

    def without_the_rare(data, seed):
        X, y, weights = sample(data, seed)
        kept = np.ones(len(y), dtype=bool) if kind != "rare" else y[:, 0] < 0
        return X[kept], y[kept], weights[kept]

    monkeypatch.setattr("sklearn_convexnet.distributed.fit.SAMPLE", 300)
    monkeypatch.setattr(Distributed, "sample", without_the_rare)
    remote = clone(model).fit(*collections(X, y, size=300))
    assert remote.objective_ <= local.objective_ * (1.0 + 3e-3)
    assert remote.dual_gap_ <= max(0.05, local.dual_gap_)
    # the network is certified as it is
    assert {entry["phase"] for entry in remote.history_} == {"descent", "certify"}
    if kind != "rare":
        # all the descents on an array are of all rows
        assert remote.n_iter_ < local.n_iter_


def test_what_is_not_reached_is_told_as_on_arrays(client):
    X, y, model = many_rows("targets", n=100)
    model.set_params(alpha=1e-4)
    # what nobody asked for no warning tells
    model.fit(*collections(X, y))
    assert model.dual_gap_ > 0.05
    checks = [entry["iteration"] for entry in model.history_ if entry["phase"] == "certify"]
    assert model.n_iter_ <= checks[0] + max(checks[0], 250) + 1
    for params in ({"tol": 1e-9, "max_iter": 200}, {"max_iter": 20}):
        with pytest.warns(ConvergenceWarning, match="increase max_iter or tol"):
            clone(model).set_params(**params).fit(*collections(X, y))


def test_a_fit_goes_on_whatever_is_lost(client, monkeypatch):
    X, y, model = many_rows("targets", n=100)
    model.set_params(tol=0.02)
    expected = clone(model).fit(X, y)
    lost, submit = set(), DaskShards._submit

    def losing(shards, k, method, arguments):
        name = arguments[1] if method == "call" else method
        if k == 1 and name not in lost:
            lost.add(name)
            return None
        return submit(shards, k, method, arguments)

    monkeypatch.setattr(DaskShards, "_submit", losing)
    monkeypatch.setattr("sklearn_convexnet.distributed.shards._MOST_LOSSES", 100)
    found = clone(model).fit(*collections(X, y))
    assert lost >= {"smooth_sums", "pattern_keys", "restore", "pull", "dual_gradients"}
    assert found.communication_["n_lost"] == len(lost)
    assert found.dual_gap_ <= 0.02
    assert found.objective_ == pytest.approx(expected.objective_, rel=1e-3)
    assert same_problem(found, expected)


@pytest.mark.parametrize("lost", [False, True])
def test_the_proof_is_one_whatever_happened_before(client, friedman, monkeypatch, lost):
    X, y = friedman
    # far from zero, slopes that do not sum to zero would prove what is not true
    y = y + 1000.0
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 4, "tol": 1e-2, "random_state": 0}
    optimum = ConvexReLURegressor(**options | {"patterns": "adaptive"}).fit(X, y).objective_
    proved = Distributed._proved

    def after_a_loss(data, alpha):
        if lost:
            # a shard made anew has the slopes of the zero network
            data.shards._replace([1])
        return proved(data, alpha)

    monkeypatch.setattr(Distributed, "_proved", after_a_loss)
    certificate = ConvexReLURegressor(**options).fit(*collections(X, y)).certificate_
    assert 0 < certificate.detail["proved_lower_bound"] <= optimum
    if not lost:
        # at the same slopes, of all rows, the bound of a fit on an array
        model = ConvexReLURegressor(**options).fit(X, y)
        expected = model.certificate_.detail["proved_lower_bound"]
        assert certificate.lower_bound == pytest.approx(expected, rel=0.05)


def test_automatic_penalty_is_that_of_all_rows(client, friedman, monkeypatch):
    X, y = friedman
    options = {"patterns": "random", "n_patterns": 2, "tol": 0.5, "random_state": 0}
    local = ConvexReLURegressor(**options).fit(X, y)
    remote = ConvexReLURegressor(**options)
    with monkeypatch.context() as context:
        context.setattr("sklearn_convexnet.distributed.fit.SAMPLE", 60)
        remote.fit(*collections(X, y))
    # the factor on the formula may be another one, the formula is nearly the same
    octaves = np.log2(remote.alpha_ / local.alpha_)
    assert abs(octaves) < 3 and abs(octaves - np.round(octaves)) < 0.3
    # rows that occur twice are one, as they are in an array
    for times in (1, 2):
        remote.fit(*collections(np.tile(X, (times, 1)), np.tile(y, times)))
        assert remote.alpha_ == pytest.approx(local.alpha_, rel=1e-12)


def test_a_block_without_weight(client, friedman):
    X, y = friedman
    weights = np.ones(len(y))
    weights[50:100] = 0.0
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 5, "random_state": 0}
    kept = ConvexReLURegressor(**options).fit(*collections(X[weights > 0], y[weights > 0]))
    model = ConvexReLURegressor(**options).fit(*collections(X, y, weights))
    assert model.objective_ == pytest.approx(kept.objective_, rel=1e-6)


def test_partitions_weights_and_repetitions_do_not_matter(client, friedman):
    X, y = friedman
    weights = np.random.RandomState(0).randint(0, 3, len(y))
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 3, "tol": 1e-4, "random_state": 0}
    one = ConvexReLURegressor(**options).fit(*collections(X, y, weights))
    repeated = np.repeat(np.arange(len(y)), weights)
    other = ConvexReLURegressor(**options).fit(*collections(X[repeated], y[repeated], size=17))
    assert other.objective_ == pytest.approx(one.objective_, rel=2e-4)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 1.0, 1: 3.0, 2: 0.5}])
def test_classes(client, class_weight):
    X, y = make_moons(100, noise=0.2, random_state=0)
    y = y + (X[:, 0] > 1.2)
    options = {
        "alpha": 0.02, "patterns": "random", "n_patterns": 4, "class_weight": class_weight,
        "random_state": 0, "tol": 0.1,
    }  # fmt: skip
    local = ConvexReLUClassifier(**options).fit(X, y)
    remote = ConvexReLUClassifier(**options).fit(*collections(X, y))
    assert remote.classes_.tolist() == [0, 1, 2]
    assert remote.objective_ == pytest.approx(local.objective_, rel=0.1)
    assert same_problem(local, remote)
    assert (remote.predict(X) == local.predict(X)).mean() > 0.9
    # of networks that share neurons less is proved than of those that do not
    certificate = remote.certificate_
    assert certificate.networks == "unshared"
    for name in ("n_patterns", "n_directions"):
        assert certificate.detail[name] == local.certificate_.detail[name]
    shared = certificate.detail["shared_lower_bound"]
    assert 0 < shared < certificate.detail["proved_lower_bound"] <= local.objective_
    assert shared <= local.certificate_.detail["shared_lower_bound"] * (1 + 0.05)


def test_many_classes_are_classes(client):
    labels = np.arange(60) % 30
    signs, weights = ConvexReLUClassifier()._on_dask(*collections(labels, np.ones(60), size=20))
    np.testing.assert_array_equal(signs.compute().argmax(axis=1), labels)
    assert signs.shape == (60, 30)
    assert (weights.compute() == 1.0).all()


def test_dataframes_have_names(client, friedman):
    pd = pytest.importorskip("pandas")
    X, y = friedman
    frame = pd.DataFrame(X, columns=list("abcde")).assign(target=y)
    frame = dd.from_pandas(frame, npartitions=3)
    model = ConvexReLURegressor(alpha=0.3, random_state=0)
    model.fit(frame[list("abcde")], frame["target"])
    assert model.feature_names_in_.tolist() == list("abcde")
    assert model.n_features_in_ == 5
    array = ConvexReLURegressor(alpha=0.3, random_state=0).fit(*collections(X, y, size=40))
    assert model.objective_ == pytest.approx(array.objective_, rel=1e-3)


@pytest.fixture(scope="module")
def named(friedman):
    """A table, and estimators fitted to it, of all kinds of answers."""
    pd = pytest.importorskip("pandas")
    X, y = friedman
    frame = pd.DataFrame(X, columns=list("abcde"))
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 2, "tol": 0.5, "random_state": 0}
    classifier, regressor = ConvexReLUClassifier(**options), ConvexReLURegressor(**options)
    labels = np.array(["low", "middle", "high"])[np.digitize(y, [12, 17])]
    models = [
        (classifier, y > 14),
        (clone(classifier), labels),
        (clone(classifier), np.stack([y > 14, X[:, 0] > 0.5], axis=1).astype(int)),
        (regressor, y),
        (clone(regressor), np.stack([y, -y], axis=1)),
        (RobustConvexReLUClassifier(alpha=0.3, epsilon=0.0, tol=0.5, random_state=0), labels),
        (GradientDescentReLUClassifier(n_steps=2, random_state=0), labels),
    ]
    return frame, [(model.fit(frame, target), target) for model, target in models]


def assert_equal(found, expected):
    """Labels are the same, numbers up to rounding."""
    if expected.dtype.kind == "f":
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, expected)


ANSWERS = "decision_function", "predict", "predict_proba", "predict_log_proba"


def test_answers_to_a_collection_are_collections(client, named):
    frame, models = named
    weights = np.arange(len(frame)) % 3
    tables = dd.from_pandas(frame, npartitions=3)
    # of partitions whose sizes nobody knows, and one is empty
    some = tables[tables["a"] > 0.5].repartition(npartitions=3)
    few = frame[frame["a"] > 0.5]
    single = frame.astype(np.float32)
    for model, target in models:
        for name in ANSWERS:
            if not hasattr(model, name):
                continue
            ask = getattr(model, name)
            for X, rows in [(tables, frame), (some, few), (tables.astype(np.float32), single)]:
                answer, expected = ask(X), ask(rows)
                assert isinstance(answer, da.Array)
                assert answer.dtype == expected.dtype and answer.ndim == expected.ndim
                found = answer.compute()
                assert type(found) is np.ndarray and found.dtype == expected.dtype
                assert_equal(found, expected)
        expected = model.score(frame, target, sample_weight=weights)
        score = model.score(tables, *collections(target, weights))
        assert isinstance(score, float) and score == pytest.approx(expected, rel=1e-9)
        assert model.score(some, target[frame["a"] > 0.5]) == pytest.approx(
            model.score(few, target[frame["a"] > 0.5]), rel=1e-9
        )


def test_an_empty_block_has_no_answers(client, named):
    frame, models = named
    rows = da.concatenate([da.zeros((0, 5)), da.from_array(frame.to_numpy(), chunks=(40, 2))])
    for model, _ in models:
        with pytest.warns(UserWarning, match="X does not have valid feature names") as caught:
            answer = model.predict(rows)
        with pytest.warns(UserWarning, match="X does not have valid feature names"):
            expected = model.predict(frame.to_numpy())
        # once, and blocks do not say it again
        assert len(caught) == 1
        assert_equal(answer, expected)


def test_names_of_a_collection_are_those_of_its_columns(client, named):
    frame, models = named
    for change in (
        lambda table: table[list("bacde")],
        lambda table: table.rename(columns={"a": "z"}),
        lambda table: table[list("abcd")],
    ):
        for model, target in models:
            for ask in (getattr(model, name) for name in ANSWERS if hasattr(model, name)):
                with pytest.raises(ValueError) as expected:
                    ask(change(frame))
                with pytest.raises(ValueError) as found:
                    ask(change(dd.from_pandas(frame, npartitions=3)))
                assert str(found.value) == str(expected.value)
            if hasattr(model, "certificate"):
                with pytest.raises(ValueError) as found:
                    model.certificate(change(dd.from_pandas(frame, npartitions=3)), target)
                assert str(found.value) == str(expected.value)


def test_a_loaded_collection_has_names(client, named):
    frame, models = named
    for model, target in models:
        again = clone(model).fit(dd.from_pandas(frame, npartitions=2), target)
        assert again.feature_names_in_.tolist() == list("abcde")
    coder = GatedSparseAutoencoder(n_components=3, max_iter=2, random_state=0)
    coder.fit(dd.from_pandas(frame, npartitions=2))
    assert coder.feature_names_in_.tolist() == list("abcde")
    with pytest.raises(ValueError, match="feature names should match"):
        coder.transform(dd.from_pandas(frame[list("bacde")], npartitions=2))


def test_what_has_no_answers(client, named):
    model = named[1][0][0]
    with pytest.raises(ValueError, match="X must be a 2-D array, got 1 dimensions"):
        model.predict(da.zeros(5, chunks=5))
    with pytest.raises(TypeError, match="X must be a Dask array or dataframe, got .*Delayed"):
        model.predict(dask.delayed(np.zeros)((3, 5)))
    with pytest.raises(NotFittedError):
        clone(model).predict(da.zeros((5, 5)))


def test_several_outputs_and_labels_that_are_strings(client, friedman):
    X, y = friedman
    targets = np.stack([y, -y], axis=1)
    model = ConvexReLURegressor(alpha=0.3, random_state=0, tol=0.1)
    model.fit(*collections(X, targets))
    assert model.predict(X).shape == (80, 2)
    labels = np.where(y > np.median(y), "high", "low")
    model = ConvexReLUClassifier(alpha=0.02, random_state=0, tol=0.1)
    model.fit(*collections(X, labels))
    assert model.score(X, labels) > 0.75


@pytest.mark.parametrize("limits", ["training", None, (0.0, [np.inf, 5.0])])
def test_predictions_are_limited_by_the_targets_of_all_blocks(client, friedman, limits):
    X, y = friedman
    targets, weights = np.stack([y, -y], axis=1), np.ones(len(y))
    # a block that has none, and the extremes of the last one are those of all
    weights[30:60], targets[30:60], targets[60], targets[70] = 0.0, 1e4, -1e3, 1e3
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 4, "tol": 0.5, "random_state": 0}
    model = ConvexReLURegressor(output_range=limits, **options)
    expected = model.fit(X, targets, sample_weight=weights).output_range_
    if limits == "training":
        assert expected.tolist() == [[-1e3, -1e3], [1e3, 1e3]]
    model.fit(*collections(X, targets, size=30), sample_weight=collections(weights, size=30)[0])
    np.testing.assert_array_equal(model.output_range_, expected)
    far = 100.0 * X
    np.testing.assert_array_equal(model.predict(far), np.clip(model.network_(far), *expected))
    (rows,) = collections(far)
    np.testing.assert_allclose(model.predict(rows), model.predict(far))
    with pytest.raises(ValueError, match=r"output_range must be .* shape \(2,\)"):
        model.set_params(output_range=(1.0, 0.0)).fit(*collections(X, targets))


def test_communication_is_reported_and_does_not_grow_with_the_rows(client, friedman):
    X, y = friedman
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 5, "max_iter": 60, "tol": 1e-12}
    sent = []
    for times in (1, 5):
        model = ConvexReLURegressor(**options, random_state=0)
        rows = np.tile(X, (times, 1)), np.tile(y, times)
        with pytest.warns(ConvergenceWarning, match="increase max_iter or tol"):
            model.fit(*collections(*rows, size=60 * times))
        sent.append(model.communication_)
    assert sent[0]["n_blocks"] == sent[1]["n_blocks"] == 2
    # the rows of the cones that are violated go along with a certificate
    assert sent[1]["sent"] == pytest.approx(sent[0]["sent"], rel=0.3)
    # attributes are those of the last fit
    assert not hasattr(model, "patterns_")
    assert not hasattr(model.set_params(tol=0.5).fit(X, y), "communication_")
    assert sent[0]["received"] < 60 * 20 * X.shape[1] * 5 * 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patterns": "all"}, "patterns must be 'adaptive' or 'random' for a fit on Dask"),
        ({"solver": "scp"}, "solver must be 'admm' for a fit on Dask"),
        ({"warm_start": True}, "warm_start must be False for a fit on Dask"),
        ({"monotonic_cst": [1]}, "monotonic_cst must be None for a fit on Dask"),
    ],
)
def test_what_is_not_offered_says_so(client, friedman, change, message):
    with pytest.raises(ValueError, match=message):
        ConvexReLURegressor(**change).fit(*collections(*friedman))


def test_bad_collections(client, friedman):
    X, y = friedman
    bad = X.copy()
    bad[70, 2] = np.nan
    model = ConvexReLURegressor(alpha=0.3, random_state=0)
    with pytest.raises(ValueError, match="X must hold finite numbers only"):
        model.fit(*collections(bad, y))
    with pytest.raises(ValueError, match="y must have as many rows as X: got 79 and 80"):
        model.fit(*collections(X, y[:-1]))
    with pytest.raises(ValueError, match="sample_weight must be non-negative, got -1"):
        model.fit(*collections(X, y, np.full(len(y), -1.0)))
    with pytest.raises(ValueError, match="sample_weight must hold finite numbers only"):
        model.fit(*collections(X, y, np.where(np.arange(len(y)) == 70, np.nan, 1.0)))
    with pytest.raises(ValueError, match="sample_weight must not be zero everywhere"):
        model.fit(*collections(X, y, np.zeros(len(y))))
    classifier, labels = ConvexReLUClassifier(alpha=0.3), y > 14
    with pytest.raises(ValueError, match="sample_weight must be non-negative, got -1"):
        classifier.fit(*collections(X, labels, np.full(len(y), -1.0)))
    with pytest.raises(ValueError, match="NaN"):
        classifier.fit(*collections(X, np.where(np.arange(len(y)) == 70, np.nan, labels)))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        classifier.fit(*collections(X, y))
    with pytest.raises(ValueError, match="class_weight must have labels of y as keys"):
        classifier.set_params(class_weight={7: 1.0}).fit(*collections(X, labels))
    with pytest.raises(ValueError, match="at least two classes"):
        ConvexReLUClassifier(alpha=0.3).fit(*collections(X, np.ones(len(y), dtype=int)))
    with pytest.raises(ValueError, match="sample_weight must be non-negative, got -1"):
        model.fit(*collections(X, y), -1.0)
    with pytest.raises(ValueError, match="sample_weight must be a 1-D or 2-D array, got 0 dim"):
        model.fit(*collections(X, y), np.array(2.0))
    assert not hasattr(model, "network_")
    # arrays beside a collection are cut as it is
    mixed = model.fit(collections(X)[0], y, np.ones(len(y)))
    assert mixed.objective_ == model.fit(*collections(X, y)).objective_


def test_weights_may_be_a_number_or_truth_values(client, friedman):
    X, y = collections(*friedman)
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 2, "tol": 0.5, "random_state": 0}
    model = ConvexReLURegressor(**options)
    expected = model.fit(X, y).objective_
    for weights in (2.0, np.float32(0.5), 3, True, da.ones(80, dtype=bool, chunks=50)):
        assert model.fit(X, y, weights).objective_ == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_blocks_are_refused(client, friedman, make):
    X, y = collections(*friedman)
    model = ConvexReLURegressor(alpha=0.3, random_state=0)
    with pytest.raises(TypeError, match="X must have dense arrays as blocks, got csr_"):
        model.fit(X.map_blocks(make), y)
    # of an unknown number of rows, too
    with pytest.raises(TypeError, match="X must have dense arrays as blocks, got csr_"):
        model.fit(X[y > 0].map_blocks(make), y[y > 0])


@pytest.mark.parametrize("dtype", [complex, str, object, "datetime64[s]"])
def test_what_is_no_real_number_is_refused(client, friedman, dtype):
    X, y = friedman
    model = ConvexReLURegressor(alpha=0.3, random_state=0)
    for position, name in enumerate(["X", "y", "sample_weight"]):
        arrays = [X, y, np.ones(len(y))]
        arrays[position] = arrays[position].round().astype(int).astype(dtype)
        with pytest.raises(ValueError, match=f"{name} must hold real numbers, got the dtype"):
            model.fit(*collections(*arrays))
    with pytest.raises(ValueError, match="y must hold real numbers, got the dtype"):
        model.fit(*collections(X), y.astype(int).astype(dtype))


def assert_actors_go(client):
    """Wait until there are none on the workers."""
    until = time.monotonic() + 300
    while n_actors(client) and time.monotonic() < until:
        time.sleep(0.05)
    assert n_actors(client) == 0


def n_actors(client):
    """Number of actors on the workers of a client."""
    return sum(client.run(lambda dask_worker: len(dask_worker.state.actors)).values())


@pytest.mark.parametrize("ending", ["good", "nan", "exploding", "interrupted"])
def test_no_actor_outlives_its_fit(client, friedman, monkeypatch, ending):
    X, y = friedman
    rows, targets = collections(np.where(X == X[70, 2], np.nan, X) if ending == "nan" else X, y)
    if ending == "exploding":
        rows = rows.map_blocks(explode, dtype=float, meta=np.empty((0, 0)))
    if ending == "interrupted":
        monkeypatch.setattr(Distributed, "_check", interrupt)
    # of other tests, which may have left theirs in circles
    gc.collect()
    assert_actors_go(client)
    model = ConvexReLURegressor(alpha=0.3, patterns="random", n_patterns=5, random_state=0)
    errors = {"nan": ValueError, "exploding": RuntimeError, "interrupted": KeyboardInterrupt}
    # holds the error with its traceback, as an interactive session does
    expected = pytest.raises(errors[ending]) if ending in errors else contextlib.nullcontext()
    with expected:
        model.fit(rows, targets)
    assert_actors_go(client)


def explode(block):
    """Fail for the last of the blocks."""
    if len(block) == 30:
        raise ArithmeticError
    return block


def interrupt(*args):
    raise KeyboardInterrupt


def test_columns_of_a_dataframe_are_real_numbers_each(client, friedman):
    pd = pytest.importorskip("pandas")
    X, y = friedman
    model = ConvexReLURegressor(alpha=0.3, patterns="random", n_patterns=5, random_state=0)
    # together they are an array of objects
    frame = pd.DataFrame(X, columns=list("abcde")).assign(b=X[:, 1] > 0.5, c=X[:, 2].round())
    frame["c"] = frame["c"].astype("Int64")
    whole = model.fit(frame.astype(float), y).objective_
    model.fit(dd.from_pandas(frame, npartitions=3), *collections(y))
    assert model.objective_ == pytest.approx(whole, rel=0.05)
    for column in (X[:, 3] + 0j, X[:, 3].astype(str), pd.Categorical(X[:, 3].round())):
        with pytest.raises(ValueError, match="X must hold real numbers, got the dtype"):
            model.fit(dd.from_pandas(frame.assign(d=column), npartitions=3), *collections(y))


def test_without_a_client(friedman):
    X, y = collections(*friedman)
    if distributed.client._get_global_client() is not None:
        pytest.skip("another test has a client")
    with pytest.raises(ValueError, match="make a client first"):
        ConvexReLURegressor().fit(X, y)


def test_grid_search_on_the_workers(client, friedman):
    joblib = pytest.importorskip("joblib")
    X, y = friedman
    model = ConvexReLURegressor(patterns="random", n_patterns=2, tol=0.5, random_state=0)
    search = GridSearchCV(model, {"alpha": [0.3, 1.0]}, cv=2)
    expected = search.fit(X, y).cv_results_["mean_test_score"]
    with joblib.parallel_config("dask"):
        found = search.fit(X, y).cv_results_["mean_test_score"]
    np.testing.assert_array_equal(found, expected)


# what follows a loss is seen in the quick tests below, with workers in threads
@pytest.mark.slow
@pytest.mark.parametrize("at_pass", [4, 60])
def test_a_worker_that_is_killed_is_survived(friedman, monkeypatch, at_pass):
    X, y = friedman
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 8, "tol": 1e-2, "random_state": 0}
    local = ConvexReLURegressor(**options).fit(X, y)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victims, passes = [], DaskShards._pass

        def killing(shards, *arguments):
            if shards.n_passes == at_pass and not victims:
                victims.extend(client.run(os.getpid).values())
                os.kill(victims[0], signal.SIGKILL)
            return passes(shards, *arguments)

        monkeypatch.setattr(DaskShards, "_pass", killing)
        model = ConvexReLURegressor(**options).fit(*collections(X, y))
    assert victims
    assert model.communication_["n_lost"] > 0
    assert model.dual_gap_ <= 1e-2
    assert same_problem(local, model)
    assert model.objective_ == pytest.approx(local.objective_, rel=2e-2)


def test_too_many_losses_end_the_fit(client, friedman, monkeypatch):
    X, y = friedman
    model = ConvexReLURegressor(alpha=0.3, patterns="random", n_patterns=5, random_state=0)
    monkeypatch.setattr("sklearn_convexnet.distributed.shards._MOST_LOSSES", 0)
    calls = []
    result = DaskShards._result

    def losing(shards, k, call):
        calls.append(call)
        return result(shards, k, None if len(calls) == 100 else call)

    monkeypatch.setattr(DaskShards, "_result", losing)
    with pytest.raises(RuntimeError, match="1 blocks of X were lost with their workers, on 1"):
        model.fit(*collections(X, y))
    assert not hasattr(model, "network_")


def test_a_call_that_never_ends_is_given_up_with_its_actor(client, friedman, monkeypatch):
    class Never:
        def result(self, timeout):
            waits.append(timeout)
            raise TimeoutError

    class Gone:
        status = "lost"

    X, y = friedman
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 5, "random_state": 0}
    expected = ConvexReLURegressor(**options).fit(*collections(X, y))
    waits, seen, submit = [], [], DaskShards._submit

    def silent(shards, k, *arguments):
        seen.append(k)
        if len(seen) != 100:
            return submit(shards, k, *arguments)
        shards._futures[k] = Gone()
        return Never()

    monkeypatch.setattr(DaskShards, "_submit", silent)
    model = ConvexReLURegressor(**options).fit(*collections(X, y))
    assert len(waits) == model.communication_["n_lost"] == 1
    assert model.dual_gap_ <= 0.05
    assert same_problem(expected, model)


def test_slow_workers_are_waited_for(client, friedman, monkeypatch):
    monkeypatch.setattr("sklearn_convexnet.distributed.shards._PATIENCE", 1e-4)
    X, y = friedman
    options = {"alpha": 0.3, "patterns": "random", "n_patterns": 5, "tol": 0.1, "random_state": 0}
    model = ConvexReLURegressor(**options).fit(*collections(X, y))
    assert model.communication_["n_lost"] == 0
    assert model.dual_gap_ <= 0.1
