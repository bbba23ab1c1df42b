"""
Rare classes and class weights
==============================

When one class is rare, the mean loss is mostly that of the other one, and the network gives up
the rare class wherever the two overlap. Weights put that right, and they are exact here: a weight
of two is a sample that occurs twice.
"""

# %%
# One sample in twenty belongs to the rare class.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.metrics import precision_score, recall_score

from sklearn_convexnet import ConvexReLUClassifier


def draw(n_common, n_rare, seed):
    """Two overlapping moons, one of them thin."""
    return make_moons(n_samples=(n_common, n_rare), noise=0.3, random_state=seed)


X, y = draw(380, 20, seed=0)
X_test, y_test = draw(3800, 200, seed=1)

models = {
    "equal weights": ConvexReLUClassifier(random_state=0),
    'class_weight="balanced"': ConvexReLUClassifier(class_weight="balanced", random_state=0),
}

# %%
# The line is the decision boundary; the rare class is orange. With balanced weights both classes
# have the same say: more of the rare samples are found, for more false alarms.

figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), layout="constrained", sharey=True)
colors = np.array(["#0072b2", "#d55e00"])
for ax, (name, model) in zip(axes, models.items(), strict=True):
    model.fit(X, y)
    options = {"response_method": "predict_proba", "ax": ax, "eps": 0.4}
    DecisionBoundaryDisplay.from_estimator(
        model, X, cmap="Greys", vmin=0, vmax=2, levels=12, alpha=0.8, **options
    )
    DecisionBoundaryDisplay.from_estimator(
        model, X, plot_method="contour", levels=[0.5], colors=["0.2"], **options
    )
    for label, size in ((0, 8), (1, 28)):
        ax.scatter(*X[y == label].T, s=size, color=colors[label], edgecolor="white", linewidth=0.4)
    found = model.predict(X_test)
    scores = recall_score(y_test, found), precision_score(y_test, found)
    ax.set_title(f"{name}\nrare class: recall {scores[0]:.2f}, precision {scores[1]:.2f} (test)")
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
plt.show()

# %%
# Weights change the probabilities
# --------------------------------
# The weighted network believes in a world where both classes are equally frequent, and
# `predict_proba` says so. For the frequencies of the data, fit without weights and move the
# threshold instead.

for name, model in models.items():
    print(f"{name:<26}mean probability {model.predict_proba(X_test)[:, 1].mean():.3f}")
print(f"{'share in the test data':<43}{y_test.mean():.3f}")

# %%
# A weight is a repetition
# ------------------------
# The network fitted with weights is the one fitted on repeated samples.

weights = np.where(y == 1, 3, 1)
weighted = ConvexReLUClassifier(alpha=2e-3, random_state=0).fit(X, y, sample_weight=weights)
repeated = ConvexReLUClassifier(alpha=2e-3, random_state=0)
repeated.fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
outputs = [model.decision_function(X_test) for model in (weighted, repeated)]
print(f"largest difference of two predictions: {np.abs(outputs[0] - outputs[1]).max():.1e}")
figure, ax = plt.subplots(figsize=(4, 3.4), layout="constrained")
ax.plot(*outputs, ".", markersize=3)
ax.set(xlabel="fitted with weights", ylabel="fitted on repeated samples")
plt.show()
