"""Networks that left the package predict what they did inside."""

import json

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    RobustConvexReLUClassifier,
)
from sklearn_convexnet.export import to_dict, to_mlp, to_onnx

rng = np.random.RandomState(0)
X = rng.standard_normal((25, 3))
Y = np.column_stack([np.abs(X[:, 0]), X[:, 1] - X[:, 2]])
LABELS = np.array(["a", "b", "c"])[np.digitize(Y[:, 0] + Y[:, 1], [0.0, 1.5])]
MODELS = {
    "regressor": (ConvexReLURegressor(alpha=0.02), Y[:, 0]),
    "outputs": (ConvexReLURegressor(alpha=0.02), Y),
    "no limits": (ConvexReLURegressor(alpha=0.02, output_range=None), Y),
    "one limit": (ConvexReLURegressor(alpha=0.02, output_range=([0.5, -1], [np.inf, 1])), Y),
    "constant": (ConvexReLURegressor(alpha=1e3), Y[:, 0]),
    "binary": (ConvexReLUClassifier(alpha=0.02), (Y[:, 0] > 0.7).astype(int)),
    "text": (ConvexReLUClassifier(alpha=0.02), np.where(Y[:, 1] > 0, "yes", "no")),
    "multiclass": (ConvexReLUClassifier(alpha=0.02), LABELS),
    "separate": (ConvexReLUClassifier(alpha=0.02, hidden_layer="separate"), LABELS),
    "two labels": (ConvexReLUClassifier(alpha=0.02), (Y > 0.5).astype(int)),
    "three labels": (
        ConvexReLUClassifier(alpha=0.02, loss="squared_hinge"),
        (np.c_[Y, -Y[:, 0]] > 0.5).astype(int),
    ),
    "hinge": (
        ConvexReLUClassifier(alpha=0.02, loss="hinge"),
        np.unique(LABELS, return_inverse=1)[1],
    ),
    "truth": (ConvexReLUClassifier(alpha=0.02, fit_intercept=False), Y[:, 0] > 0.7),
    "robust": (RobustConvexReLUClassifier(epsilon=0.1), LABELS),
    "cone": (RobustConvexReLUClassifier(epsilon=0.05, formulation="cone"), Y[:, 1] > 0),
    "regressor, chosen": (ConvexReLURegressorCV(alphas=[0.02], cv=2, patterns="random"), Y),
    "classifier, chosen": (
        ConvexReLUClassifierCV(alphas=[0.02], cv=2, patterns="random"),
        LABELS,
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def fitted(request):
    model, y = MODELS[request.param]
    return model.set_params(n_patterns=8, tol=0.2, random_state=0).fit(X, y), y


NEW = 3.0 * np.random.RandomState(1).standard_normal((200, 3))


def test_perceptron_predicts_the_same(fitted):
    model, _ = fitted
    mlp = to_mlp(model)
    if hasattr(model, "classes_"):
        np.testing.assert_array_equal(mlp.predict(NEW), model.predict(NEW))
    else:
        # without limits
        outputs = mlp.predict(NEW).reshape(len(NEW), -1)
        np.testing.assert_allclose(outputs, model.network_(NEW), rtol=0, atol=1e-12)
        predicted = np.clip(outputs, *model.output_range_)
        np.testing.assert_allclose(
            predicted, model.predict(NEW).reshape(predicted.shape), rtol=0, atol=1e-12
        )
    # of separate hidden layers the logistic functions are normalised
    same = hasattr(model, "predict_proba") and (
        model.outputs_2d_ or len(model.classes_) == 2 or model.out_activation_ == "softmax"
    )
    if same:
        np.testing.assert_allclose(mlp.predict_proba(NEW), model.predict_proba(NEW), atol=1e-12)
    assert mlp.n_features_in_ == NEW.shape[1]
    # a copy: training it leaves the estimator alone
    mlp.coefs_[1][:] = 0.0
    assert model.n_neurons_ == 0 or model.coefs_[1].any()


def test_perceptron_goes_on_training(fitted):
    model, y = fitted
    mlp = to_mlp(model).set_params(learning_rate_init=1e-6)
    before, weights = mlp.predict(X), mlp.coefs_[0].copy()
    # the first step gives the neuron of a constant network an effect, the second one moves it
    mlp.partial_fit(X, y).partial_fit(X, y)
    moved = np.abs(mlp.coefs_[0] - weights)
    assert 0 < moved.max() < 1e-4
    if not hasattr(model, "classes_"):
        np.testing.assert_allclose(mlp.predict(X), before, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_onnx_runtime_agrees(fitted, dtype):
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    model, _ = fitted
    session = onnxruntime.InferenceSession(to_onnx(model, dtype=dtype).SerializeToString())
    rows = NEW.astype(dtype)
    outputs = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"X": rows}), strict=True)
    )
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    if not hasattr(model, "classes_"):
        expected = model.predict(NEW).reshape(len(NEW), -1)
        np.testing.assert_allclose(outputs["variable"], expected, rtol=0, atol=tolerance)
        return
    scores = model.decision_function(NEW).reshape(len(NEW), -1)
    np.testing.assert_allclose(outputs["scores"], scores, rtol=0, atol=tolerance)
    np.testing.assert_array_equal(outputs["label"].astype(model.classes_.dtype), model.predict(NEW))
    assert ("probabilities" in outputs) == hasattr(model, "predict_proba")
    if "probabilities" in outputs:
        np.testing.assert_allclose(
            outputs["probabilities"], model.predict_proba(NEW), rtol=0, atol=tolerance
        )


def test_arrays_are_the_network(fitted, tmp_path):
    model, _ = fitted
    np.savez(tmp_path / "network.npz", **to_dict(model))
    read = json.loads(json.dumps({name: part.tolist() for name, part in to_dict(model).items()}))
    with np.load(tmp_path / "network.npz", allow_pickle=False) as stored:
        for parts in (stored, read):
            hidden = np.maximum(NEW @ parts["hidden_weights"] + parts["hidden_biases"], 0.0)
            outputs = hidden @ parts["output_weights"] + parts["output_biases"]
            expected = model.network_(NEW)
            # lists forget the number of outputs of no neurons
            np.testing.assert_allclose(
                outputs.reshape(expected.shape), expected, rtol=0, atol=1e-12
            )
            if hasattr(model, "classes_"):
                np.testing.assert_array_equal(parts["classes"], model.classes_)
            else:
                np.testing.assert_array_equal(parts["output_range"], model.output_range_)
    assert read["hidden_weights"] == model.coefs_[0].tolist()


@pytest.mark.parametrize("export", [to_mlp, to_onnx, to_dict])
def test_what_is_no_fitted_network_is_refused(export):
    if export is to_onnx:
        pytest.importorskip("onnx")
    with pytest.raises(NotFittedError):
        export(ConvexReLURegressor())
    for other in (LinearRegression().fit(X, Y), 3, ConvexReLURegressor):
        with pytest.raises(TypeError, match="must be a fitted convex ReLU network"):
            export(other)
    if export is to_onnx:
        # of pipelines, too
        return
    pipeline = make_pipeline(StandardScaler(), ConvexReLURegressor(0.1, n_patterns=5))
    search = GridSearchCV(pipeline, {}, cv=2, refit=False)
    search.best_estimator_ = pipeline
    for other, remedy in ((pipeline, "pass its last step"), (search, "pass its best_estimator_")):
        with pytest.raises(TypeError, match=remedy) as caught:
            export(other)
        assert "StandardScaler" not in str(caught.value)


def test_dtype_is_checked():
    pytest.importorskip("onnx")
    model, y = MODELS["regressor"]
    with pytest.raises(ValueError, match="dtype must be"):
        to_onnx(model.set_params(random_state=0).fit(X, y), dtype=np.int64)
