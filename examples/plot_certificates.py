r"""
Searched, bound, exact: three kinds of certificates
===================================================

The duality gap of a fit is about the patterns that the fit has found. Could a neuron with another
pattern do better? By duality that question has a picture. With the slopes :math:`p_k` of the loss
and :math:`\lambda_k = \omega_k p_k`, a network is optimal among *all* two-layer ReLU networks if
no direction u of unit length has

.. math:: h(u) = |\lambda^\top (X u)_+| > \alpha .
"""

# %%
# With two features and no biases a direction is an angle, and h a curve that can be looked at as a
# whole. Here it is for two networks: one that is confined to five random patterns, and one with
# adaptive patterns. The dots are the neurons.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet import ConvexReLUClassifier

rng = np.random.RandomState(3)
angle = rng.uniform(0, 2 * np.pi, 150)
X = np.stack([np.cos(angle), np.sin(angle)], axis=1) * rng.uniform(0.5, 1.5, (150, 1))
y = (np.sin(3 * angle) + 0.3 * rng.standard_normal(150) > 0).astype(int)
settings = {"alpha": 1e-3, "fit_intercept": False, "tol": 1e-6, "random_state": 0}


def pricing(model, angles):
    """The values of the dual condition, divided by alpha."""
    signs = 2 * y - 1
    slopes = -signs / (1 + np.exp(signs * model.decision_function(X)))
    directions = np.stack([np.cos(angles), np.sin(angles)])
    return slopes @ np.maximum(X @ directions, 0) / len(X) / model.alpha_


few = ConvexReLUClassifier(patterns="random", n_patterns=5, **settings).fit(X, y)
adaptive = ConvexReLUClassifier(**settings).fit(X, y)

angles = np.linspace(-np.pi, np.pi, 2000)
figure, axes = plt.subplots(2, 1, figsize=(8, 5), layout="constrained", sharex=True)
for ax, (name, model) in zip(
    axes, {"five random patterns": few, "adaptive patterns": adaptive}.items(), strict=True
):
    curve = pricing(model, angles)
    ax.axhspan(-1, 1, color="0.93")
    ax.plot(np.degrees(angles), curve)
    ax.fill_between(np.degrees(angles), np.clip(curve, -1, 1), curve, color="C1", alpha=0.6)
    neurons = np.arctan2(*model.network_.hidden_weights[::-1])
    ax.plot(np.degrees(neurons), pricing(model, neurons), "ko", markersize=5, label="neurons")
    ax.set(ylabel=r"$\lambda^\top (Xu)_+ \,/\, \alpha$")
    ax.set_title(f"{name}: objective {model.objective_:.4f}")
axes[0].legend()
axes[1].set(xlabel="direction u, degrees", xticks=np.arange(-180, 181, 60))
plt.show()

# %%
# In the upper panel the curve leaves the band: neurons with the directions in orange would lower
# the objective, but the five patterns do not allow them. In the lower one it stays inside
# and touches the border at the neurons: no direction is left that would help. We see that because
# we look at every angle; with more features nobody can, and how the maximum of h was established is
# what distinguishes the kinds of certificates.
#
# Three kinds
# -----------
# *Searched*: the certificate of every fit. Local ascents from random directions have found no
# higher point. Strong evidence, at any number of features, and no proof. It carries a proved bound
# in closed form as well, which is loose.

searched = adaptive.certificate_
print(searched)

# %%
# *Bound*: branch and bound was stopped before its end, here at once. What it says is proved, and
# may be far from the truth.

bound = adaptive.certificate(X, y, time_limit=0)
print(bound)

# %%
# *Exact*: branch and bound has enclosed the maximum of h over all directions. The same word is
# used when all patterns are in the program, as with ``patterns="all"``.

exact = adaptive.certificate(X, y, time_limit=20)
print(exact)
everything = ConvexReLUClassifier(patterns="all", **settings).fit(X, y)
print(everything.certificate_)

# %%
# All on one scale: the objective, and below it what each kind of certificate says no network can
# reach.

rows = [
    ("searched: estimate", searched, searched.lower_bound, "C0"),
    ("searched: proved part", searched, searched.detail["proved_lower_bound"], "C1"),
    ("bound", bound, bound.lower_bound, "C1"),
    ("exact: branch and bound", exact, exact.lower_bound, "C2"),
    ("exact: all patterns", everything.certificate_, everything.certificate_.lower_bound, "C2"),
]
figure, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
for k, (_, certificate, lower, color) in enumerate(rows):
    ax.plot(
        [lower, certificate.objective],
        [k, k],
        color=color,
        linewidth=7,
        alpha=0.5,
        solid_capstyle="butt",
    )
    ax.plot([lower, certificate.objective], [k, k], "|", color=color, markersize=14)
    gap = 100 * (certificate.objective - lower) / certificate.objective
    ax.annotate(
        f"gap {gap:.2g} %", (certificate.objective, k), xytext=(8, 0), textcoords="offset points",
        va="center",
    )  # fmt: skip
ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
ax.invert_yaxis()
ax.margins(x=0.15, y=0.15)
ax.set_xlabel("objective: the optimum of all two-layer ReLU networks lies in the bar")
plt.show()
