"""
One objective, twenty seeds
===========================

A multi-layer perceptron depends on its random start: another seed, another network. How much of
that is the data's fault, and how much the optimiser's? Here both models minimise the same
objective, the mean logistic loss with weight decay, on the same data; only the way of training
differs.
"""

# %%
# scikit-learn's perceptron divides its penalty by the number of samples, which a factor undoes, and
# leaves the biases out of it. So that nothing depends on that, all networks are judged by the
# objective of the convex model, biases included.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier

from sklearn_convexnet import ConvexReLUClassifier, LogLoss, TwoLayerReLU

X, y = make_moons(n_samples=100, noise=0.25, random_state=1)
alpha, seeds = 2e-3, range(20)
weights = np.full(len(X), 1 / len(X))

convex = [ConvexReLUClassifier(alpha=alpha, random_state=seed).fit(X, y) for seed in seeds]
perceptrons = [
    MLPClassifier(
        (100,), alpha=alpha * len(X), learning_rate_init=0.01, max_iter=2000, random_state=seed
    ).fit(X, y)
    for seed in seeds
]


def objective(model):
    """The training objective of any network with one hidden layer."""
    (U, a), (b, c) = model.coefs_, model.intercepts_
    network = TwoLayerReLU(U, b, a, c)
    return network.objective(X, 2.0 * y - 1.0, loss=LogLoss(), alpha=alpha, weights=weights)


for name, models in (("convex", convex), ("perceptron", perceptrons)):
    values = [objective(model) for model in models]
    print(f"{name:<12}objective {min(values):.4f} to {max(values):.4f}")

# %%
# The decision boundaries of all twenty seeds, on top of each other. On the right the objectives,
# and the bound below which no two-layer ReLU network of any width can get, proved by branch and
# bound for the first of the convex networks.

proof = convex[0].certificate(X, y, time_limit=20)
print(proof)

figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), layout="constrained", width_ratios=[3, 3, 2])
first, second = np.linspace(-1.7, 2.7, 150), np.linspace(-1.5, 1.9, 150)
plane = np.stack(np.meshgrid(first, second), axis=-1)
panels = [("convex program", convex, "C0"), ("perceptron, Adam", perceptrons, "C1")]
for ax, (name, models, color) in zip(axes, panels, strict=False):
    ax.scatter(*X.T, c=y, cmap="Greys", vmin=-0.5, vmax=1.5, s=16, edgecolor="0.5", linewidth=0.5)
    for model in models:
        probability = model.predict_proba(plane.reshape(-1, 2))[:, 1].reshape(150, 150)
        ax.contour(first, second, probability, levels=[0.5], colors=[color], linewidths=0.8)
    ax.set(xticks=[], yticks=[], title=f"{name}, 20 seeds")
for k, (_, models, color) in enumerate(panels):
    spread = np.linspace(-0.15, 0.15, len(models))
    axes[2].plot(k + spread, [objective(model) for model in models], "o", color=color, markersize=4)
axes[2].axhline(proof.lower_bound, color="0.4", linestyle=":")
axes[2].annotate(
    "proved lower bound",
    (0.5, proof.lower_bound),
    xytext=(0, -12),
    textcoords="offset points",
    ha="center",
    color="0.4",
)
axes[2].margins(y=0.25)
axes[2].set(xticks=[0, 1], xticklabels=["convex", "perceptron"], xlim=(-0.5, 1.5))
axes[2].set_title("training objective")
plt.show()

# %%
# That the boundaries of the convex networks coincide is no accident of twenty seeds: the
# certificate says how much room there is for another one. A longer run, or another optimiser, would
# bring the perceptron closer; neither would say how close it is.
