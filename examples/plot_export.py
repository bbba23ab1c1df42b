"""
A network for production
========================

A fitted network is four arrays. This page hands it to whatever runs it: a perceptron of
scikit-learn, an ONNX runtime, which takes its whole pipeline, two lines of NumPy with the scaler
folded in, or anything that reads JSON.
"""

# %%
# A classifier in a pipeline with a scaler.

import json

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier
from sklearn_convexnet.export import to_dict, to_mlp, to_onnx

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
pipeline = make_pipeline(StandardScaler(), ConvexReLUClassifier(random_state=0))
pipeline.fit(X_train, y_train)
scaler, model = pipeline[0], pipeline[-1]
Z_test = scaler.transform(X_test)
expected = model.predict_proba(Z_test)
print(f"test accuracy {pipeline.score(X_test, y_test):.3f} with {model.n_neurons_} neurons")

# %%
# A perceptron of scikit-learn
# ----------------------------
# Tools that know `MLPClassifier` know the network now: it predicts the same, and `partial_fit` goes
# on training it.

mlp = to_mlp(model)
outputs = {"MLPClassifier": mlp.predict_proba(Z_test)}
print(mlp)
print("the same labels:", bool((mlp.predict(Z_test) == model.predict(Z_test)).all()))

# %%
# An ONNX model
# -------------
# For other languages and for servers, in double or in single precision. It is one of the whole
# pipeline: its input are the features as they were measured.

import onnxruntime

for dtype in (np.float64, np.float32):
    onnx_model = to_onnx(pipeline, dtype=dtype)
    session = onnxruntime.InferenceSession(onnx_model.SerializeToString())
    labels, scores, probabilities = session.run(None, {"X": X_test.astype(dtype)})
    outputs[f"ONNX, {dtype.__name__}"] = probabilities
    print(
        f"{dtype.__name__}: {len(onnx_model.SerializeToString()) / 1024:.0f} KiB, "
        f"the same labels: {bool((labels == model.predict(Z_test)).all())}"
    )

# %%
# Arrays
# ------
# The arrays of `to_dict` go into a file with ``numpy.savez``, or as lists into a text.
# Whoever reads them needs two lines. With a `StandardScaler` in front, its means and scales can be
# folded into the first layer, so that the network takes features in the units of the data.

part = to_dict(model)
folded = dict(part)
folded["hidden_weights"] = part["hidden_weights"] / scaler.scale_[:, None]
folded["hidden_biases"] = part["hidden_biases"] - scaler.mean_ @ folded["hidden_weights"]
text = json.dumps({name: array.tolist() for name, array in part.items()})
read = {name: np.array(one) for name, one in json.loads(text).items()}


def predict_proba(arrays, X):
    """The network, wherever there are matrix products."""
    hidden = np.maximum(X @ arrays["hidden_weights"] + arrays["hidden_biases"], 0)
    scores = hidden @ arrays["output_weights"] + arrays["output_biases"]
    return 1 / (1 + np.exp(scores * [1, -1]))


outputs["JSON and NumPy"] = predict_proba(read, Z_test)
outputs["NumPy, scaler folded in"] = predict_proba(folded, X_test)

# %%
# How far are their probabilities from those of the estimator? What is left is the rounding of the
# arithmetic that each of them uses.

largest = [np.abs(output - expected).max() for output in outputs.values()]
places = range(len(outputs))
figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.axvspan(1e-6, 1e-4, color="0.93")
ax.annotate(
    "> 1e-6", (1e-5, 0.97), xycoords=("data", "axes fraction"), ha="center", va="top",
    color="0.4",
)  # fmt: skip
ax.hlines(places, 1e-18, np.maximum(largest, 1e-18), color="0.8")
ax.plot(np.maximum(largest, 1e-18), places, "o")
for place, difference in zip(places, largest, strict=True):
    ax.annotate(
        f"{difference:.0e}" if difference else "none",
        (max(difference, 1e-18), place),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
    )
ax.set_yticks(places, outputs)
ax.set(xscale="log", xlabel="largest difference of a probability on the test data")
ax.set(xlim=(1e-18, 1e-4), ylim=(-0.5, len(outputs) - 0.3))
plt.show()
