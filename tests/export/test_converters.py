"""Whole pipelines as ONNX: through `to_onnx`, and through skl2onnx itself."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)
from sklearn_convexnet.export import register_converters, to_onnx

onnxruntime = pytest.importorskip("onnxruntime")
skl2onnx = pytest.importorskip("skl2onnx")

FAST = {"alpha": 0.01, "patterns": "random", "n_patterns": 8, "tol": 0.3, "random_state": 0}
FOLDS = {"alphas": [0.01], "cv": 2, "patterns": "random", "n_patterns": 8, "random_state": 0}
AUTOENCODER = {"n_components": 6, "max_iter": 40, "random_state": 0}
X, KINDS = load_iris(return_X_y=True)
NUMBERS, DISEASE = load_diabetes(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "Virginica ♀"])[KINDS]
SHORT_LONG = np.c_[X[:, 2] < 2, X[:, 2] > 5, X[:, 3] > 2].astype(int)
CLASSIFIERS = {
    "logistic": (ConvexReLUClassifier(**FAST), KINDS > 0),
    "softmax": (ConvexReLUClassifier(alpha=0.01, tol=0.3, random_state=0), KINDS.astype(float)),
    "separate": (ConvexReLUClassifier(**FAST), NAMES),
    "hinge": (ConvexReLUClassifier(**FAST, loss="hinge"), NAMES[:100]),
    "hinges": (ConvexReLUClassifier(**FAST, loss="squared_hinge"), KINDS - 1),
    "labels": (ConvexReLUClassifier(**FAST), SHORT_LONG),
    "chosen": (ConvexReLUClassifierCV(**FOLDS), KINDS),
    "robust": (RobustConvexReLUClassifier(alpha=0.01, epsilon=0.05, random_state=0), KINDS > 1),
    "descent": (GradientDescentReLUClassifier(n_steps=50, n_neurons=20, random_state=0), KINDS > 1),
}
REGRESSORS = {
    "limited": (ConvexReLURegressor(**FAST, output_range=(100.0, 200.0)), DISEASE),
    "several": (ConvexReLURegressor(**FAST), np.c_[DISEASE, -DISEASE]),
    "chosen": (ConvexReLURegressorCV(**FOLDS), DISEASE),
    "one side": (
        make_pipeline(GatedSparseAutoencoder(**AUTOENCODER), ConvexReLURegressor(**FAST)),
        DISEASE,
    ),
    "two sides": (
        make_pipeline(
            SignAwareGatedSparseAutoencoder(**AUTOENCODER, tied=False), ConvexReLURegressor(**FAST)
        ),
        DISEASE,
    ),
}
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-4}


def run(model, features):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    inputs = session.get_inputs()
    if len(inputs) == 1:
        features = {inputs[0].name: features}
    return dict(zip(names, session.run(None, features), strict=True))


def options(model, **chosen):
    return {id(model): {"zipmap": False, **chosen}}


@pytest.fixture(scope="module", params=CLASSIFIERS)
def classifier(request):
    model, y = CLASSIFIERS[request.param]
    # what the first step drops is not among the features
    pipeline = make_pipeline(StandardScaler(), PCA(3), model)
    return pipeline.fit(X[: len(y)], y)


@pytest.fixture(scope="module", params=REGRESSORS)
def regressor(request):
    model, y = REGRESSORS[request.param]
    return make_pipeline(StandardScaler(), model).fit(NUMBERS, y)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_classifier_behind_steps(classifier, dtype):
    register_converters()
    rows, last = X.astype(dtype), classifier[-1]
    ours = run(to_onnx(classifier, dtype=dtype), rows)
    theirs = run(skl2onnx.to_onnx(classifier, rows[:1], options=options(last)), rows)
    assert [*theirs] == ["label", "probabilities"]
    scores = classifier.decision_function(X).reshape(len(X), -1)
    np.testing.assert_allclose(ours["scores"], scores, rtol=0, atol=TOLERANCE[dtype] * 10)
    for outputs in (ours, theirs):
        assert outputs["label"].dtype.kind in ("O" if last.classes_.dtype.kind == "U" else "i")
        np.testing.assert_array_equal(outputs["label"], classifier.predict(X))
    raw = run(skl2onnx.to_onnx(classifier, rows[:1], options=options(last, raw_scores=True)), rows)
    of_classes = np.c_[-scores, scores] if scores.shape[1] == 1 else scores
    np.testing.assert_allclose(raw["probabilities"], of_classes, atol=TOLERANCE[dtype] * 10)
    if not hasattr(last, "predict_proba"):
        assert "probabilities" not in ours
        np.testing.assert_array_equal(theirs["probabilities"], raw["probabilities"])
        return
    expected = classifier.predict_proba(X)
    for outputs in (ours, theirs):
        np.testing.assert_allclose(outputs["probabilities"], expected, atol=TOLERANCE[dtype])


def test_classifier_with_the_options_of_skl2onnx(classifier):
    register_converters()
    rows, last = X.astype(np.float32), classifier[-1]
    plain = run(skl2onnx.to_onnx(classifier, rows[:1], options=options(last)), rows)
    # a dictionary per row is what skl2onnx returns if not asked
    mapped = run(skl2onnx.to_onnx(classifier, rows[:1]), rows)
    columns = run(
        skl2onnx.to_onnx(classifier, rows[:1], options=options(last, zipmap="columns")), rows
    )
    for outputs in (mapped, columns):
        np.testing.assert_array_equal(outputs["output_label"], plain["label"])
    found = [[row[label] for label in last.classes_] for row in mapped["output_probability"]]
    np.testing.assert_array_equal(found, plain["probabilities"])
    found = np.stack([*columns.values()][1:], axis=1)
    np.testing.assert_array_equal(found, plain["probabilities"])
    if not last.outputs_2d_:
        places = run(skl2onnx.to_onnx(classifier, rows[:1], options=options(last, nocl=True)), rows)
        np.testing.assert_array_equal(last.classes_[places["label"]], classifier.predict(X))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_regressor_behind_steps(regressor, dtype):
    register_converters()
    rows = NUMBERS.astype(dtype)
    expected = regressor.predict(NUMBERS).reshape(len(rows), -1)
    for model in (to_onnx(regressor, dtype=dtype), skl2onnx.to_onnx(regressor, rows[:1])):
        outputs = run(model, rows)
        assert [*outputs] == ["variable"]
        np.testing.assert_allclose(outputs["variable"], expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("autoencoder", [GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder])
def test_codes(autoencoder):
    register_converters()
    model = autoencoder(**AUTOENCODER).fit(NUMBERS)
    codes = run(skl2onnx.to_onnx(model, NUMBERS[:1]), NUMBERS)["variable"]
    expected = model.transform(NUMBERS)
    assert 0 < np.count_nonzero(expected) < expected.size
    np.testing.assert_array_equal(codes == 0, expected == 0)
    np.testing.assert_allclose(codes, expected, rtol=0, atol=1e-12)


def passengers(n, random_state):
    rng = np.random.RandomState(random_state)
    table = pd.DataFrame(
        {
            "age": rng.uniform(1, 80, n).astype(np.float32),
            "fare": rng.lognormal(3, 1, n).astype(np.float32),
            "siblings": rng.randint(0, 4, n),
            "sex": rng.choice(["female", "male"], n),
            "port": rng.choice(["Cherbourg", "Queenstown", "Southampton"], n),
        }
    )
    chances = 2.0 * (table["sex"] == "female") + 0.02 * table["fare"] - 0.02 * table["age"]
    table.loc[::7, "age"] = np.nan
    return table, np.where(chances + rng.standard_normal(n) > 1, "survived", "died")


def test_columns_of_several_types():
    table, fate = passengers(150, 0)
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), ["age", "fare"]),
            ("counts", StandardScaler(), ["siblings"]),
            ("names", OneHotEncoder(), ["sex", "port"]),
        ]
    )
    pipeline = make_pipeline(columns, ConvexReLUClassifier(**FAST)).fit(table, fate)
    register_converters()
    model = skl2onnx.to_onnx(pipeline, table[:1], options=options(pipeline[-1]))
    new, _ = passengers(50, 1)
    texts = {"sex", "port"}
    features = {name: new[[name]].to_numpy(dtype=object if name in texts else None) for name in new}
    outputs = run(model, features)
    np.testing.assert_array_equal(outputs["label"], pipeline.predict(new))
    np.testing.assert_allclose(outputs["probabilities"], pipeline.predict_proba(new), atol=1e-5)


def test_inside_other_estimators():
    register_converters()
    rows = X.astype(np.float32)
    search = GridSearchCV(ConvexReLUClassifier(**FAST), {"alpha": [0.01, 0.1]}, cv=2).fit(X, KINDS)
    outputs = run(skl2onnx.to_onnx(search, rows[:1], options={"zipmap": False}), rows)
    np.testing.assert_allclose(outputs["probabilities"], search.predict_proba(X), atol=1e-5)
    stack = StackingRegressor([("network", ConvexReLURegressor(**FAST))], cv=2).fit(X, KINDS)
    outputs = run(skl2onnx.to_onnx(stack, rows[:1]), rows)
    np.testing.assert_allclose(outputs["variable"][:, 0], stack.predict(X), atol=1e-4)


def test_pipelines_of_one_step_in_pipelines_and_with_steps_that_do_nothing():
    expected = ConvexReLUClassifier(**FAST).fit(X, KINDS)
    alone = make_pipeline(None, ConvexReLUClassifier(**FAST)).fit(X, KINDS)
    np.testing.assert_array_equal(
        run(to_onnx(alone), X)["probabilities"], run(to_onnx(expected), X)["probabilities"]
    )
    inner = make_pipeline(PCA(2), ConvexReLUClassifier(**FAST))
    outer = make_pipeline(make_pipeline(StandardScaler()), "passthrough", inner).fit(X, KINDS)
    outputs = run(to_onnx(outer), X)
    np.testing.assert_allclose(outputs["probabilities"], outer.predict_proba(X), atol=1e-12)


def test_integers_are_features_in_single_precision():
    register_converters()
    rows = (10 * X).astype(np.int64)
    model = ConvexReLUClassifier(**FAST).fit(rows, KINDS)
    outputs = run(skl2onnx.to_onnx(model, rows[:1], options={"zipmap": False}), rows)
    assert outputs["probabilities"].dtype == np.float32
    np.testing.assert_allclose(outputs["probabilities"], model.predict_proba(rows), atol=1e-4)


@pytest.mark.parametrize("zipmap", [True, False])
def test_labels_beyond_64_bit_integers_are_refused(zipmap):
    register_converters()
    fit = ConvexReLUClassifier(**FAST).fit
    largest = np.array([1, 2**63 - 1], dtype=np.uint64)
    known = to_onnx(fit(X, largest[1 * (KINDS > 0)]))
    assert set(run(known, X)["label"]) == {1, 2**63 - 1}
    model = fit(X, (largest + np.uint64(1))[1 * (KINDS > 0)])
    with pytest.raises(ValueError, match="must be 64-bit integers .* got labels from 2 to 9223"):
        to_onnx(model)
    with pytest.raises(ValueError, match="must be 64-bit integers"):
        skl2onnx.to_onnx(model, X[:1], options=options(model, zipmap=zipmap))


def test_what_is_not_fitted_or_no_network_is_refused():
    register_converters()
    with pytest.raises(TypeError, match="must be a fitted convex ReLU network"):
        to_onnx(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, KINDS))
    for model in (ConvexReLURegressor(), GatedSparseAutoencoder()):
        with pytest.raises(NotFittedError):
            skl2onnx.to_onnx(model, X[:1])
    with pytest.raises(NotFittedError):
        skl2onnx.to_onnx(ConvexReLUClassifier(), X[:1], options={"zipmap": False})
    with pytest.raises(NotFittedError):
        to_onnx(make_pipeline(StandardScaler(), ConvexReLUClassifier()))


def test_skl2onnx_is_asked_for(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skl2onnx", None)
    with pytest.raises(ImportError, match=r"needs the package skl2onnx.*convexnet\[onnx\]"):
        register_converters()
