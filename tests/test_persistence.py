"""Fitted estimators on disk, and data on disk."""

import copy
import functools
import pickle
import subprocess
import sys
import warnings
from functools import partial

import joblib
import numpy as np
import pytest
from grids import halved
from sklearn.base import clone, is_classifier

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    GatedSparseAutoencoder,
    Huber,
    Quantile,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)

SMALL = {"alpha": 0.1, "n_patterns": 4, "tol": 0.2, "random_state": 0}
Regressor = partial(ConvexReLURegressor, **SMALL)
Classifier = partial(ConvexReLUClassifier, **SMALL)

MODELS = {
    "regressor": Regressor(),
    "huber": Regressor(loss=Huber(0.5), warm_start=True),
    "scp": Regressor(loss=Quantile(0.2), solver="scp", fit_intercept=False),
    "classifier": Classifier(),
    "hinge": Classifier(loss="hinge", class_weight="balanced"),
    "all": Classifier(patterns="all"),
    "robust": RobustConvexReLUClassifier(**SMALL),
    "chosen": ConvexReLUClassifierCV(
        alphas=[0.1], cv=2, patterns="random", n_patterns=4, tol=0.2, random_state=0
    ),
}


@functools.cache
def fit_of(name):
    return fit(MODELS[name])


@pytest.fixture(params=MODELS)
def fitted(request):
    return fit_of(request.param)


def fit(model):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((10, 2))
    y = np.abs(X[:, 0]) + X[:, 1]
    if is_classifier(model):
        y = np.array(["low", "high"])[(y > 1).astype(int)]
    return model.fit(X, y), X, y


def through_pickle(model, path):
    return [pickle.loads(pickle.dumps(model, protocol)) for protocol in (2, 5)]


def through_joblib(model, path):
    joblib.dump(model, path / "model.joblib", compress=3)
    joblib.dump(model, path / "plain.joblib")
    # memory-mapped arrays cannot be written to
    return [
        joblib.load(path / "model.joblib"),
        joblib.load(path / "plain.joblib", mmap_mode="r"),
    ]


def through_skops(model, path):
    skops = pytest.importorskip("skops.io")
    stored = skops.dumps(model)
    return [skops.loads(stored, trusted=skops.get_untrusted_types(data=stored))]


def through_copy(model, path):
    return [copy.deepcopy(model), copy.copy(model)]


@pytest.mark.parametrize(
    ("name", "through"),
    halved([*MODELS], [through_pickle, through_joblib, through_skops, through_copy]),
)
def test_copies_predict_the_same_and_can_be_fitted_again(name, through, tmp_path):
    model, X, y = fit_of(name)
    for other in through(model, tmp_path):
        assert set(vars(other)) == set(vars(model))
        np.testing.assert_array_equal(other.predict(X), model.predict(X))
        if hasattr(model, "classes_"):
            np.testing.assert_array_equal(other.decision_function(X), model.decision_function(X))
            assert hasattr(other, "predict_proba") == hasattr(model, "predict_proba")
        if hasattr(model, "certificate_"):
            assert other.certificate_ == model.certificate_
            assert other.certificate(X, y) == model.certificate_
            assert str(other.certificate(-X, y)) == str(model.certificate(-X, y))
    # the last, which shares most with the original: from scratch, or from the copied solution
    before = model.coefs_[0].copy()
    other.fit(X, y)
    assert other.objective_ == pytest.approx(model.objective_, rel=0.1)
    if not model.warm_start:
        if hasattr(model, "patterns_"):
            np.testing.assert_array_equal(other.patterns_, model.patterns_)
        assert other.objective_ == model.objective_
    np.testing.assert_array_equal(model.coefs_[0], before)


def test_fitted_in_another_process(tmp_path):
    model, X, y = fit(Regressor())
    joblib.dump((Regressor(), X, y), tmp_path / "in.joblib")
    code = (
        "import joblib\n"
        f"model, X, y = joblib.load({str(tmp_path / 'in.joblib')!r})\n"
        f"joblib.dump(model.fit(X, y), {str(tmp_path / 'out.joblib')!r})\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=120)
    other = joblib.load(tmp_path / "out.joblib")
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert other.certificate(X, y) == model.certificate_


def test_memory_mapped_data(fitted, tmp_path):
    model, X, y = fitted
    arrays = {"X": X, "weights": np.linspace(0, 1, len(y))}
    if not hasattr(model, "classes_"):
        arrays["y"] = y
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    mapped = {name: np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in arrays}
    other = copy.deepcopy(model)
    other.warm_start = False
    expected = other.fit(X, y, sample_weight=arrays["weights"]).objective_
    other.fit(mapped["X"], mapped.get("y", y), sample_weight=mapped["weights"])
    assert other.objective_ == expected
    assert not any(isinstance(value, np.memmap) for value in vars(other).values())
    np.testing.assert_array_equal(other.predict(mapped["X"]), other.predict(X))


@pytest.mark.parametrize("name", ["regressor", "scp", "hinge", "robust", "cone", "shared"])
def test_a_pickle_does_not_grow_with_the_rows_but_for_a_bit_a_pattern(name):
    model = {
        **MODELS,
        "cone": RobustConvexReLUClassifier(**SMALL, formulation="cone", epsilon=0.01),
        "shared": Classifier(),
    }[name]
    model, n_classes = clone(model), 3 if name == "shared" else 2
    sizes, bits = [], []
    for n in (50, 4000):
        X = np.random.RandomState(0).standard_normal((n, 3))
        y = np.digitize(X[:, 0], [0.0, 0.7][: n_classes - 1])
        with warnings.catch_warnings():
            # no neuron, or no tolerance
            warnings.simplefilter("ignore", UserWarning)
            model.fit(X, y)
        patterns = getattr(model, "patterns_", np.zeros((n, 0)))
        assert len(patterns) == n
        sizes.append(len(pickle.dumps(model)))
        bits.append(patterns.size / 8)
    # networks and histories differ
    assert sizes[1] - bits[1] < sizes[0] - bits[0] + 10_000


def test_a_pickle_of_another_version_warns(fitted):
    model, X, _ = fitted
    state = model.__getstate__()
    other = type(model).__new__(type(model))
    with pytest.warns(UserWarning, match="pickled by sklearn_convexnet 0.0.1"):
        other.__setstate__({**state, "_pickled_by": "0.0.1"})
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert "_pickled_by" in state and not hasattr(other, "_pickled_by")


@pytest.mark.parametrize("make", [GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder])
def test_a_pickle_of_an_autoencoder_knows_its_version(make):
    X = np.random.RandomState(0).standard_normal((30, 3))
    model = make(4, max_iter=5, random_state=0).fit(X)
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(model)).transform(X), model.transform(X)
    )
    with pytest.warns(UserWarning, match="pickled by sklearn_convexnet 0.0.1"):
        make().__setstate__({**model.__getstate__(), "_pickled_by": "0.0.1"})
