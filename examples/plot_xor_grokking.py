"""
Benign overfitting and grokking
===============================

A network can fit every training label, wrong ones included, and still be right about new data; and
it may learn the first long before the second. Xu, Wang, Frei, Vardi and Hu (`arXiv 2310.02541
<https://arxiv.org/abs/2310.02541>`_) prove both for gradient descent on two-layer ReLU networks, on
clusters whose labels are an exclusive or. Here is a small version of their experiment, and beside
it the network of least weight decay on the same data, the global optimum. Does it overfit
benignly, too?
"""

# %%
# Gradient descent
# ----------------
# Four clusters lie at :math:`\pm\mu_1`, with label 1, and at :math:`\pm\mu_2`, with label −1, in
# 10 000 dimensions: no linear function tells the labels apart. Five per cent of the 100 training
# labels are flipped, the test labels are clean. In so many dimensions all samples are nearly
# orthogonal, and *any* labels can be fitted, even by a linear function.
#
# The network starts at tiny hidden weights, and the output weights stay at
# :math:`\pm 1 / \sqrt{m}`. `X_val` and `y_val` are only looked at, for the history of the fit.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet import ConvexReLUClassifier, GradientDescentReLUClassifier, alpha_max
from sklearn_convexnet.datasets import make_xor_clusters

n_samples, n_features, strength = 100, 10_000, 2.5


def samples(seed, strength=strength):
    """Training data with flipped labels, and test data without."""
    signal = strength * np.sqrt(n_features / n_samples)
    train = make_xor_clusters(n_samples, n_features, signal=signal, random_state=seed)
    test = make_xor_clusters(200, n_features, signal=signal, flip_y=0, random_state=100 + seed)
    return *train, *test


def descend(data, seed, learning_rate, n_steps, n_neurons=200, record_at=None):
    """Gradient descent in the setting of the paper."""
    X, y, X_test, y_test = data
    return GradientDescentReLUClassifier(
        n_neurons=n_neurons,
        learning_rate=learning_rate,
        n_steps=n_steps,
        init_scale=1e-15,
        fit_intercept=False,
        record_at=record_at,
        random_state=200 + seed,
    ).fit(X, y, X_val=X_test, y_val=y_test)


TRAIN, TEST, DESCENT = "#0072b2", "#d55e00", "#009e73"
rates = {1e-12: 100, 1e-15: 500}
draws = [samples(seed) for seed in range(5)]
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")
for ax, (rate, n_steps) in zip(axes, rates.items(), strict=True):
    marks = np.unique(np.geomspace(1, n_steps + 1, 30).astype(int)) - 1
    histories = [
        descend(data, k, rate, n_steps, record_at=marks).history_ for k, data in enumerate(draws)
    ]
    for key, color, label in (
        ("accuracy", TRAIN, "training, flipped labels included"),
        ("val_accuracy", TEST, "new samples, clean labels"),
    ):
        curves = np.array([[entry[key] for entry in history] for history in histories])
        ax.plot(marks + 1, curves.T, color=color, linewidth=0.8, alpha=0.35)
        ax.plot(marks + 1, curves.mean(axis=0), color=color, linewidth=2.4, label=label)
    ax.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
    ax.set(xscale="log", xlabel="steps + 1", title=f"learning rate {rate:g}", ylim=(0.3, 1.03))
axes[0].set_ylabel("accuracy")
axes[0].legend(loc="lower right", fontsize="small")
plt.show()

# %%
# Thin lines are five draws of data and network, the thick ones their means. On the left one step
# fits all labels and is no better than a coin on new samples: *catastrophic* overfitting. A dozen
# steps later the training accuracy is what it was, and the network is nearly always right: *benign*
# overfitting. On the right steps are a thousand times shorter, and both are delayed, the second
# more than the first: *grokking*.
#
# What has happened shows in the plane of the clusters, through :math:`\mu_1` and :math:`\mu_2`.
# Colours are the sign and the size of the network's output there, black lines where it is zero.
# After one step the network is nearly linear; then neurons turn to the clusters. Rings mark flipped
# labels: they are fitted in the other 9998 dimensions.

X, y, X_test, y_test = draws[4]
clean = np.where(np.abs(X[:, 0]) > np.abs(X[:, 1]), 1, -1)
basis = np.linalg.qr(X.T)[0]
common = {"fit_intercept": False, "n_patterns": 20, "random_state": 0}
convex = ConvexReLUClassifier(alpha=0.1, **common).fit(X @ basis, y)
networks = {
    f"gradient descent, {n_steps} step{'s' * (n_steps > 1)}": descend(
        (X, y, X_test, y_test), 4, 1e-12, n_steps
    ).network_
    for n_steps in (1, 30)
}
networks[f"convex fit, {convex.n_neurons_} neurons"] = convex.network_

span = np.linspace(-60, 60, 301)
plane = np.stack(np.meshgrid(span, span), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, (title, network) in zip(axes, networks.items(), strict=True):
    weights = network.hidden_weights
    if len(weights) == n_samples:
        weights = basis @ weights  # back to all features
    values = np.maximum(plane @ weights[:2], 0) @ network.output_weights
    values = values.reshape(len(span), -1) / np.abs(values).max()
    ax.contourf(span, span, values, levels=np.linspace(-1, 1, 21), cmap="RdBu_r", alpha=0.55)
    ax.contour(span, span, values, levels=[0], colors="0.2", linewidths=1.5)
    for label, color in ((1, "#b2182b"), (-1, "#2166ac")):
        ax.scatter(*X[y == label, :2].T, s=14, color=color, edgecolor="white", linewidth=0.4)
    ax.scatter(*X[y != clean, :2].T, s=70, facecolor="none", edgecolor="0.1", linewidth=1.2)
    ax.set(title=title, xlabel="along µ₁", aspect="equal", xticks=[-50, 0, 50], yticks=[-50, 0, 50])
axes[0].set_ylabel("along µ₂")
plt.show()

# %%
# The global optimum
# ------------------
# `ConvexReLUClassifier` minimises the same loss plus weight decay, over the hidden and the output
# layer. Its optimal hidden weights lie in the span of the rows of X: a part orthogonal to all of
# them would be penalised and change no training output. In an orthonormal basis of that span all
# products and norms are the same, and so is the problem. Nothing is lost by going from 10 000
# coordinates to 100.
#
# In the figure above the optimum has a neuron for every cluster, and the same four neurons fit the
# flipped labels. Is that always so? The next figure has the answer over the penalty, in units of
# the smallest one at which the network is constant, and over the distance of the clusters from the
# origin, beside gradient descent after 100 steps.

shares = np.array([0.9, 0.8, 0.7, 0.5, 0.1, 1e-3])
by_alpha = np.empty((3, len(shares), 2))
gaps = []
for seed in range(3):
    X, y, X_test, y_test = draws[seed]
    basis = np.linalg.qr(X.T)[0]
    X, X_test = X @ basis, X_test @ basis
    largest = alpha_max(X, y, loss="log_loss", fit_intercept=False, random_state=0)
    for k, share in enumerate(shares):
        model = ConvexReLUClassifier(alpha=share * largest, **common).fit(X, y)
        by_alpha[seed, k] = model.score(X, y), model.score(X_test, y_test)
        gaps.append(model.dual_gap_)

strengths = np.array([1.0, 1.5, 2.0, 2.25, 2.5, 3.0])
by_strength, neurons = np.empty((3, len(strengths), 2)), np.empty((3, len(strengths)), dtype=int)
fitted = []
for seed in range(3):
    for k, one in enumerate(strengths):
        X, y, X_test, y_test = data = samples(seed, one)
        found = descend(data, seed, 1e-12, 100, n_neurons=100)
        basis = np.linalg.qr(X.T)[0]
        model = ConvexReLUClassifier(alpha=0.25, **common).fit(X @ basis, y)
        gaps.append(model.dual_gap_)
        fitted.append(model.score(X @ basis, y))
        neurons[seed, k] = model.n_neurons_
        by_strength[seed, k] = found.score(X_test, y_test), model.score(X_test @ basis, y_test)
for one, counts in zip(strengths, neurons.T, strict=True):
    print(f"distance {one:<5g} neurons of the convex fits {counts}")
print(f"their training accuracy: at least {min(fitted):.0%}")
print(f"largest duality gap over the patterns found: {max(gaps):.1%}")

figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.6), sharey=True, layout="constrained")


def draw(ax, x, curves, color, label, marker="o"):
    ax.plot(x, curves.T, linestyle="", marker=marker, markersize=4, color=color, alpha=0.35)
    ax.plot(x, curves.mean(axis=0), color=color, linewidth=2.4, label=label)


draw(left, shares, by_alpha[..., 0], TRAIN, "training, flipped labels included")
draw(left, shares, by_alpha[..., 1], TEST, "new samples, clean labels")
left.set(xscale="log", xlabel="alpha / alpha_max", ylabel="accuracy", ylim=(0.3, 1.03))
left.invert_xaxis()
left.set_title(f"convex fit, distance {strength:g} √(p/n)")
left.legend(loc="lower right", fontsize="small")
draw(right, strengths, by_strength[..., 1], TEST, "convex fit")
draw(right, strengths, by_strength[..., 0], DESCENT, "gradient descent, 100 steps", "s")
right.axvline(2, color="0.5", linestyle=":", linewidth=1.2)
right.text(2.04, 0.33, "four neurons become\ncheaper than two", color="0.4", fontsize="small")
right.set(xlabel="distance of the clusters, in √(p/n)", title="new samples, clean labels")
right.legend(loc="lower left", fontsize="small", handlelength=1.2, borderaxespad=0.1)
plt.show()

# %%
# **It depends on the clusters.** At the distance of the paper, :math:`2.5 \sqrt{p/n}` with p
# features and n samples, the optimum overfits benignly, whatever the penalty, as soon as it fits
# the labels. Nearer to the origin it still fits all of them, and is *catastrophic*, where gradient
# descent finds the clusters. So it is not the least weight decay that makes gradient descent
# generalise.
#
# A short calculation says where the optimum changes. Leave the flips aside, and give every sample
# the margin one. *Two neurons* can memorise, one for each class: its :math:`n/2` nearly orthogonal
# samples of squared length p take a norm of :math:`\sqrt{n/(2p)}`, and :math:`\pm\mu` is no help,
# because one neuron has to say the same on both sides. *Four neurons*, one for each cluster, have
# the help of :math:`\mu` on all of their :math:`n/4` samples. The sums of the norms, which are what
# the weight decay comes to, are
#
# .. math:: \sqrt{\frac{2n}{p}} \qquad \text{and} \qquad 2 \sqrt{\frac{n}{p + n \|\mu\|^2 / 4}},
#
# and the second is the smaller one when :math:`\|\mu\| > 2 \sqrt{p/n}`, the dotted line. Flipped
# labels cost the clusters more than the memory; they move the change to the right.
#
# What is proved about the convex fits is the gap printed above, for the activation patterns that
# they have found. That no other patterns do better is the result of a search, see
# :doc:`/user_guide/certificates`. The experiment of the paper at its full size is run by
# `benchmarks/xor_grokking.py`, and summed up in :doc:`/user_guide/gradient_descent`.
