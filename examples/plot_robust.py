"""
Decisions that withstand perturbations
======================================

A network that is accurate on the data may change its mind when features are off by a little: a
reading that was rounded, a sensor that drifted, an adversary. `RobustConvexReLUClassifier` trains
on the worst that perturbations up to a radius can do, and `certify` proves what they cannot.
"""

# %%
# Two features in different units. The radius `epsilon` is in the units that the network sees: in a
# pipeline with a `StandardScaler`, in standard deviations.

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.collections import PatchCollection
from matplotlib.patches import Rectangle
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier, RobustConvexReLUClassifier
from sklearn_convexnet.plotting import RobustnessDisplay
from sklearn_convexnet.robustness import certify


def draw(n_samples, seed):
    """Two moons, in grams and in metres."""
    X, y = make_moons(n_samples, noise=0.15, random_state=seed)
    return X * [500.0, 0.02], y


X, y = draw(150, seed=0)
X_test, y_test = draw(300, seed=1)
epsilon = 0.3
networks = {
    "convex": ConvexReLUClassifier(random_state=0),
    "robust": RobustConvexReLUClassifier(epsilon=epsilon, random_state=0),
    "perceptron": MLPClassifier(learning_rate_init=0.01, max_iter=2000, random_state=0),
}
models = {
    name: make_pipeline(StandardScaler(), network).fit(X, y) for name, network in networks.items()
}
scaler = models["robust"][0]
grams, metres = epsilon * scaler.scale_
print(f"a radius of {epsilon} is {grams:.0f} g in one feature, {metres * 1e3:.1f} mm in the other")

# %%
# To certify a pipeline, certify its last step on what the steps before it make of the data. In
# these units the perturbed samples fill squares. The boundary of a network that does not know of
# them cuts through more of them than it must; where it does (orange), `certify` has found a
# perturbation that makes the decision wrong.

Z = scaler.transform(X)
first, second = np.linspace(-2.6, 2.6, 200), np.linspace(-2.8, 2.4, 200)
plane = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(1, 2, figsize=(8.5, 4.2), layout="constrained")
for ax, name in zip(axes, ["convex", "robust"], strict=True):
    network = models[name][-1]
    falsified = certify(network, Z, y, epsilon, random_state=0).status == "falsified"
    for chosen, color in ((~falsified, "0.6"), (falsified, "C1")):
        squares = [Rectangle(z - epsilon, 2 * epsilon, 2 * epsilon) for z in Z[chosen]]
        ax.add_collection(PatchCollection(squares, color=color, linewidth=0, alpha=0.2))
        edges = {"facecolor": "none", "edgecolor": color, "linewidth": 0.5}
        ax.add_collection(PatchCollection(squares, **edges))
    ax.scatter(*Z.T, c=y, cmap="Greys", vmin=-0.5, vmax=1.5, s=14, edgecolor="0.3", linewidth=0.5)
    height = network.decision_function(plane).reshape(200, 200)
    ax.contour(first, second, height, levels=[0.0], colors=["C0"], linewidths=2)
    ax.set(xticks=[], yticks=[], xlim=first[[0, -1]], ylim=second[[0, -1]], aspect="equal")
    ax.set_title(f"{name}: {np.sum(falsified)} of {len(y)} squares are not safe")
plt.show()

# %%
# Accuracy on new data, against the radius. No attack brings it below the solid line, and the dashed
# one is what attacks reach: where they meet, the accuracy in the worst case is known exactly. It is
# known for a perceptron of scikit-learn too.

for name, model in models.items():
    print(f"{name:<12}{model.score(X_test, y_test):.3f} without perturbations")

figure, ax = plt.subplots(figsize=(7, 4.2), layout="constrained")
Z_test = scaler.transform(X_test)
for name, model in models.items():
    RobustnessDisplay.from_estimator(
        model[-1],
        Z_test,
        y_test,
        epsilons=np.linspace(0, 0.4, 9),
        time_limit=2,
        random_state=0,
        name=name,
        ax=ax,
    )
ax.axvline(epsilon, color="0.6", linestyle=":", linewidth=1, label="radius of the training")
ax.set(xlabel="epsilon, in standard deviations of the features", ylim=(0.5, 1.02))
ax.legend(loc="lower left")
plt.show()

# %%
# The price of robustness is paid on the left, where nothing is perturbed. The radius is no
# parameter to tune for accuracy: it says what the decisions have to withstand.
