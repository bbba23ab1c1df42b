"""
One network for all classes
===========================

With more than two classes a network has an output for each, and its neurons serve all of them.
Softmax makes probabilities of the outputs, and the certificate speaks of all two-layer ReLU
networks of any width.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_digits, load_iris
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier

# %%
# Regions and a proof
# -------------------
# Two features of iris, three species.

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X[:, 2:])
model = ConvexReLUClassifier(random_state=0).fit(X, y)
print(f"{model.n_neurons_} neurons, {model.n_outputs_} outputs, {model.out_activation_}")

_, ax = plt.subplots()
display = DecisionBoundaryDisplay.from_estimator(
    model, X, response_method="predict", alpha=0.3, ax=ax, grid_resolution=200
)
ax.scatter(X[:, 0], X[:, 1], c=display.multiclass_colors_[y], edgecolor="k", s=20)
ax.set(xlabel="petal length (standardised)", ylabel="petal width (standardised)")
plt.show()

# %%
# With so few features branch and bound encloses what a neuron could still gain, and proves the
# objective optimal within one per cent.

print(model.certificate(X, y, time_limit=30))

# %%
# Probabilities
# -------------
# Digits, ten classes. With ``hidden_layer="separate"`` every class has a network of its own against
# the rest, and the probabilities are theirs, normalised.

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X, y, train_size=400, stratify=y, random_state=0)
scale = StandardScaler().fit(X)
X, X_test = scale.transform(X), scale.transform(X_test)

_, ax = plt.subplots()
for hidden_layer in ("shared", "separate"):
    model = ConvexReLUClassifier(hidden_layer=hidden_layer, random_state=0).fit(X, y)
    probabilities = model.predict_proba(X_test)
    right = probabilities.argmax(axis=1) == y_test
    loss = log_loss(y_test, probabilities)
    print(f"{hidden_layer}: accuracy {right.mean():.3f}, log loss {loss:.3f}")
    CalibrationDisplay.from_predictions(
        right, np.clip(probabilities.max(axis=1), 0, 1), n_bins=5, strategy="quantile",
        name=hidden_layer, ax=ax,
    )  # fmt: skip
ax.set(xlabel="probability of the predicted class", ylabel="share of right predictions")
plt.show()
