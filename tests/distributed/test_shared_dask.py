"""Outputs that share one hidden layer, on Dask collections: the network of the fit on arrays."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexnet.distributed import Distributed
from sklearn_convexnet.distributed.shards import DaskShards

da = pytest.importorskip("dask.array")
dd = pytest.importorskip("dask.dataframe")

# of distributed itself, while it starts and stops workers
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:distributed"),
]

rng = np.random.RandomState(0)
X = rng.standard_normal((120, 3))
TARGETS = np.c_[np.abs(X[:, 0]), X[:, 1] - X[:, 2], np.maximum(X @ [1.0, 1.0, 0.0], 0.0)]
TARGETS += 0.2 * rng.standard_normal(TARGETS.shape)
CLASSES = np.array(["c", "a", "b"])[np.argmax(TARGETS, axis=1)]
# so small that the targets need rounds of fixed layers
TOL = 0.005
Y = {"classes": CLASSES, "labels": (TARGETS > 0.5).astype(int), "targets": TARGETS[:, :2]}


def make(kind, **params):
    """An estimator of a kind of targets, small and quick."""
    params = {"alpha": 0.02, "n_patterns": 10, "random_state": 0, **params}
    return (ConvexReLURegressor if kind == "targets" else ConvexReLUClassifier)(**params)


def collections(*arrays, size=60):
    return [da.from_array(array, chunks=(size, *array.shape[1:])) for array in arrays]


@pytest.fixture(scope="module")
def remote(client):
    return {kind: make(kind, tol=TOL).fit(*collections(X, y)) for kind, y in Y.items()}


@pytest.mark.parametrize("kind", Y)
def test_one_layer_is_that_of_the_fit_on_arrays(remote, kind):
    local, model = make(kind, tol=TOL).fit(X, Y[kind]), remote[kind]
    assert model.objective_ == pytest.approx(local.objective_, rel=1e-3)
    assert 0 < model.lower_bound_ <= local.objective_ and model.dual_gap_ <= model.tol
    assert model.dual_gap_ == pytest.approx(1 - model.lower_bound_ / model.objective_)
    # a neuron serves several outputs, and the objective is that of all rows
    assert model.coefs_[1].shape == (model.n_neurons_, local.n_outputs_)
    assert ((model.coefs_[1] != 0).sum(axis=1) > 1).any()
    np.testing.assert_allclose(model.network_(X), local.network_(X), atol=0.1)
    again = model.certificate(X, Y[kind])
    assert again.objective == pytest.approx(model.objective_, rel=1e-12)
    assert again.networks == "all"
    # all that is said of a fit
    assert {entry["output"] for entry in model.history_} == {0}
    assert {entry["phase"] for entry in model.history_} >= {"descent", "search"}
    assert isinstance(model.alpha_, float)
    certificate, proved = model.certificate_, local.certificate_.detail["proved_lower_bound"]
    assert (certificate.kind, certificate.networks) == ("bound", "all")
    assert 0 < certificate.lower_bound <= local.objective_
    assert certificate.lower_bound == pytest.approx(proved, rel=0.01)
    assert "shared_lower_bound" not in certificate.detail
    assert "Proved: no two-layer ReLU network of any width has" in str(certificate)
    for name in ("out_activation_", "outputs_2d_", "classes_"):
        expected = getattr(local, name, None)
        np.testing.assert_array_equal(getattr(model, name, None), expected)
    if kind != "targets":
        assert (model.predict(X) == local.predict(X)).mean() > 0.98
        np.testing.assert_allclose(model.predict_proba(X), local.predict_proba(X), atol=0.02)


@pytest.mark.parametrize("kind, params", [("classes", {"loss": "hinge"}), ("targets", {})])
def test_a_loss_with_kinks_and_no_intercept(client, kind, params):
    params = {"fit_intercept": "loss" in params, "tol": 0.1, **params}
    local = make(kind, **params).fit(X, Y[kind])
    model = make(kind, **params).fit(*collections(X, Y[kind]))
    assert model.objective_ == pytest.approx(local.objective_, rel=1e-3)
    assert model.dual_gap_ <= 0.1 and model.certificate_.lower_bound <= local.objective_
    assert model.intercepts_[1].any() == params["fit_intercept"]


def test_blocks_weights_and_repetitions_do_not_matter(client):
    weights = np.random.RandomState(0).randint(0, 3, len(X))
    weights[40:80] = 0
    local = make("classes").fit(X, CLASSES, weights)
    repeated = np.random.RandomState(1).permutation(np.repeat(np.arange(len(X)), weights))
    one = make("classes").fit(*collections(X, CLASSES, weights, size=40))
    other = make("classes").fit(*collections(X[repeated], CLASSES[repeated], size=50))
    for model in (one, other):
        assert model.objective_ == pytest.approx(local.objective_, rel=1e-3)


def test_more_features_than_rows(client):
    wide = np.random.RandomState(0).standard_normal((20, 30))
    y = np.c_[wide[:, 0], np.abs(wide[:, 1])]
    local = make("targets", alpha="auto", tol=0.01).fit(wide, y)
    model = make("targets", alpha="auto", tol=0.01).fit(*collections(wide, y, size=10))
    assert model.alpha_ == pytest.approx(local.alpha_, rel=1e-12)
    assert model.objective_ == pytest.approx(local.objective_, rel=1e-3)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_sample_need_not_have_every_class(client, monkeypatch, kind):
    rare = np.arange(len(X)) % 40 == 7
    y = np.where(rare, "d", CLASSES) if kind == "classes" else np.c_[Y[kind], rare]
    local = make(kind).fit(X, y)
    sample = Distributed.sample

    def without_the_rare(data, seed):
        X, signs, weights = sample(data, seed)
        kept = (signs[:, 3] < 0) & (np.arange(len(X)) % 3 > 0)
        return X[kept], signs[kept], weights[kept]

    monkeypatch.setattr(Distributed, "sample", without_the_rare)
    model = make(kind).fit(*collections(X, y))
    assert model.n_outputs_ == 4
    assert model.objective_ == pytest.approx(local.objective_, rel=1e-3)
    assert model.dual_gap_ <= 0.05


def test_lost_shards_are_told_again_what_they_knew(client, monkeypatch, remote):
    lost, submit = set(), DaskShards._submit

    def losing(shards, k, method, arguments):
        name = arguments[1] if method == "call" else method
        if k == 1 and name not in lost:
            lost.add(name)
            return None
        return submit(shards, k, method, arguments)

    monkeypatch.setattr(DaskShards, "_submit", losing)
    model = make("targets", tol=TOL).fit(*collections(X, Y["targets"]))
    assert model.communication_["n_lost"] == len(lost)
    assert lost >= {"smooth_sums", "gains", "of_slopes", "move_slopes", "set_layer", "layer_gains"}
    # to the last bit
    expected = remote["targets"]
    np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
    assert model.certificate_.lower_bound == expected.certificate_.lower_bound


def test_communication_does_not_grow_with_the_rows(client):
    sent = []
    for times in (1, 5):
        model = make("classes", max_iter=40, tol=1e-12)
        rows = np.tile(X, (times, 1)), np.tile(CLASSES, times)
        with pytest.warns(ConvergenceWarning, match="increase max_iter or tol"):
            model.fit(*collections(*rows, size=60 * times))
        sent.append(model.communication_)
    assert sent[0]["n_blocks"] == sent[1]["n_blocks"] == 2
    for name in ("n_passes", "sent"):
        assert sent[1][name] == pytest.approx(sent[0][name], rel=0.3)
    assert 0 < sent[0]["received"] < 2 * sent[0]["sent"]


def test_where_a_shared_layer_is_not_defined(client):
    rows = collections(X, CLASSES)
    model = make("classes", patterns="random", hidden_layer="shared")
    with pytest.raises(ValueError, match="hidden_layer='shared' needs patterns='adaptive' for a"):
        model.fit(*rows)
    for params in ({"patterns": "random", "tol": 0.5}, {"hidden_layer": "separate", "tol": 0.5}):
        model = make("classes", **params).fit(*rows)
        assert model.certificate_.networks == "unshared"
        assert model.out_activation_ == "logistic"
    # one output has nobody to share with
    alone = make("targets", hidden_layer="shared").fit(*collections(X, TARGETS[:, 0]))
    assert "program_gap" in alone.certificate_.detail


def test_labels_of_a_dataframe_and_of_bad_values(client, remote):
    pd = pytest.importorskip("pandas")
    labels = Y["labels"]
    frame = dd.from_pandas(pd.DataFrame(np.c_[X, labels]), npartitions=2)
    model = make("labels").fit(frame[[0, 1, 2]], frame[[3, 4, 5]].astype(int))
    assert model.objective_ == pytest.approx(remote["labels"].objective_, rel=1e-3)
    model = make("labels")
    for y in (labels + labels[:, ::-1], X):
        with pytest.raises(ValueError, match="y must hold class labels, or 0 and 1 in a column"):
            model.fit(*collections(X, y))
    with pytest.raises(ValueError, match="NaN"):
        model.fit(*collections(X, np.where(X > 2.0, np.nan, labels)))
    with pytest.raises(ValueError, match="class_weight must be None for several labels"):
        model.set_params(class_weight="balanced").fit(*collections(X, labels))
    assert not hasattr(model, "network_")
