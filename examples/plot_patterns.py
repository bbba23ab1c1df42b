"""
Activation patterns, drawn and found
====================================

A ReLU neuron is active on one side of a hyperplane. Which samples lie on that side is its
*activation pattern*. As long as no pattern changes, a two-layer network is linear in its weights,
and training it is a convex problem; so the question is which patterns to take. This page draws
some, and compares patterns drawn at random with those that the fit finds by itself.
"""

# %%
# What a pattern is
# -----------------
# Three neurons see the same ten samples. The line is where the neuron switches on; the samples on
# the coloured side are those it is active on. The second line differs from the first, but no
# sample lies between them: both neurons have *one* pattern, share one block of variables in the
# convex program, and are told apart by it only through the values of these variables. The third
# line leaves other samples on its two sides: another pattern.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet.plotting import PatternDisplay

samples = np.random.RandomState(4).uniform(-1, 1, (10, 2))
neurons = [(1.0, 0.55, 0.1), (1.0, 0.35, 0.1), (0.3, 1.0, -0.08)]  # u_1, u_2, b

figure, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for ax, (*u, b) in zip(axes, neurons, strict=True):
    display = PatternDisplay(
        X=samples,
        hidden_weights=np.array(u)[:, None],
        hidden_biases=np.array([b]),
        strengths=np.ones(1),
    )
    active = display.patterns[:, 0]
    colors = {"color": np.where(active, "#0072b2", "white"), "edgecolor": "0.4", "s": 36}
    display.plot(ax, half_spaces=True, scatter_kwargs=colors, color="#0072b2")
    for k, place in enumerate(samples):
        ax.annotate(k, place, xytext=(4, 4), textcoords="offset points", size=8, color="0.4")
    ax.set_title("".join(str(int(on)) for on in active), family="monospace")
    ax.set(aspect="equal", xticks=[], yticks=[], xlim=(-1.2, 1.2), ylim=(-1.2, 1.2))
plt.show()

# %%
# Patterns drawn and patterns found
# ---------------------------------
# Now a real fit, on two interleaved moons. With ``patterns="random"`` the neurons are confined to
# the patterns of `n_patterns` random directions. The default, ``patterns="adaptive"``, starts from
# random directions too, but lets the neurons move and asks the dual variables for new ones. The
# lines are those on which neurons of the fitted network switch, drawn the stronger the more the
# neuron contributes.

from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from sklearn_convexnet import ConvexReLUClassifier

X, y = make_moons(n_samples=150, noise=0.2, random_state=0)
settings = {"alpha": 2e-3, "random_state": 0}
models = {
    "5 random patterns": ConvexReLUClassifier(patterns="random", n_patterns=5, **settings),
    "50 random patterns": ConvexReLUClassifier(patterns="random", n_patterns=50, **settings),
    "adaptive patterns": ConvexReLUClassifier(**settings),
}

figure, axes = plt.subplots(1, 3, figsize=(8, 3.2), layout="constrained", sharey=True)
for ax, (name, model) in zip(axes, models.items(), strict=True):
    model.fit(X, y)
    options = {"response_method": "predict_proba", "ax": ax, "eps": 0.4}
    DecisionBoundaryDisplay.from_estimator(
        model, X, cmap="RdBu_r", vmin=0, vmax=1, alpha=0.6, levels=20, **options
    )
    PatternDisplay.from_estimator(model, X, y, ax=ax, linewidth=0.9, scatter_kwargs={"s": 14})
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    ax.set_title(f"{name}\nobjective {model.objective_:.3f}, {model.n_neurons_} neurons")
plt.show()

# %%
# How many random patterns replace a choice?
# ------------------------------------------
# More random patterns allow a better network. Each dot is a fit with its own seed. The dashed line
# is the objective with adaptive patterns. In the grey band there is nothing: branch and bound has
# proved that no two-layer ReLU network, of any width, has an objective that low.

proof = models["adaptive patterns"].certificate(X, y, time_limit=20)
print(proof)

counts, seeds = [5, 10, 20, 50, 100, 200], range(5)
objectives = [
    [
        ConvexReLUClassifier(alpha=2e-3, patterns="random", n_patterns=count, random_state=seed)
        .fit(X, y)
        .objective_
        for seed in seeds
    ]
    for count in counts
]

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for seed in seeds:
    label = "random patterns, a dot per seed" if seed == 0 else None
    ax.plot(counts, [row[seed] for row in objectives], "o", color="C0", alpha=0.6, label=label)
ax.axhline(proof.objective, color="C1", linestyle="--", label="adaptive patterns")
ax.axhspan(0, proof.lower_bound, color="0.9", label="proved impossible")
ax.set(xscale="log", xlabel="number of random patterns", ylabel="objective")
ax.set_ylim(0.9 * proof.lower_bound, 1.02 * np.max(objectives))
ax.set_xticks(counts, counts)
ax.minorticks_off()
ax.legend()
plt.show()
