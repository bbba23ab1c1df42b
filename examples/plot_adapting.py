"""
Patterns that adapt
===================

With adaptive patterns, the default, neurons do not stay where they were drawn: they descend to
where they are needed, those that are not needed vanish, and the dual variables call for new ones.
Here a fit is stopped again and again, to see where its neurons are.
"""

# %%
# A fit that may do few iterations only is the beginning of one that may do more: with one
# `random_state` both take the same steps. (It warns that it has not converged, which is what we
# want here.) The classes lie in opposite quarters of a disc, so that no line separates them.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.inspection import DecisionBoundaryDisplay

from sklearn_convexnet import ConvexReLUClassifier
from sklearn_convexnet.plotting import ConvergenceDisplay, PatternDisplay

rng = np.random.RandomState(0)
radius, angle = np.sqrt(rng.uniform(0.1, 1, 240)), rng.uniform(0, 2 * np.pi, 240)
X = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
y = (X[:, 0] * X[:, 1] + 0.08 * rng.standard_normal(240) > 0).astype(int)

stops = [1, 3, 6, 12, 30, 10_000]
models = []
for max_iter in stops:
    model = ConvexReLUClassifier(
        alpha=2e-3, n_patterns=30, tol=2e-4, max_iter=max_iter, random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        models.append(model.fit(X, y))

# %%
# The lines are those on which neurons switch, the stronger the more the neuron contributes. After
# one iteration thirty random neurons have weights that hardly differ. The descent turns and shifts
# them, the weight decay takes the strength from those that do not help, and in the end few of them
# bear the whole function.

figure, axes = plt.subplots(2, 3, figsize=(8.5, 6), layout="constrained", sharex=True, sharey=True)
for ax, model in zip(axes.flat, models, strict=True):
    DecisionBoundaryDisplay.from_estimator(
        model,
        X,
        response_method="predict_proba",
        cmap="RdBu_r",
        vmin=0,
        vmax=1,
        alpha=0.6,
        levels=20,
        eps=0.15,
        ax=ax,
    )
    PatternDisplay.from_estimator(model, X, y, ax=ax, linewidth=1.0, scatter_kwargs={"s": 10})
    ax.set(aspect="equal", xticks=[], yticks=[], xlabel="", ylabel="")
    done = f"{model.n_iter_} iterations" if model.n_iter_ > 1 else "1 iteration"
    ax.set_title(f"{done}\nobjective {model.objective_:.3f}")
plt.show()

# %%
# The history of the last fit. Every marker is a check; a lower bound appears when the descent is
# over and the patterns that it has found are certified, and again after every descent that sharpens
# the network because the gap is still above `tol`.

print(f"{models[-1].n_neurons_} neurons, gap {models[-1].dual_gap_:.1e}")
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ConvergenceDisplay.from_estimator(models[-1], ax=ax)
plt.show()
