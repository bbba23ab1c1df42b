"""
The regularisation path
=======================

From the penalty above which the best network is a constant down to one that follows the noise:
`convex_relu_path` computes the networks of a decreasing sequence of penalties, each from the last.
"""

# %%
# One feature, so that the networks can be drawn. With one feature a two-layer ReLU network is a
# piecewise linear function with a kink for every neuron, and the penalty decides how many kinks it
# can afford.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet import alpha_max, convex_relu_path
from sklearn_convexnet.plotting import RegularizationPathDisplay

rng = np.random.RandomState(0)
X = rng.uniform(-1, 1, (60, 1))
X_new = np.linspace(-1, 1, 400)[:, None]


def truth(x):
    """What is to be learnt."""
    return np.sin(6 * x[:, 0]) * (1 + x[:, 0])


y = truth(X) + 0.4 * rng.standard_normal(len(X))
path = convex_relu_path(X, y, n_alphas=16, eps=1e-4, random_state=0)
print(f"the constant is optimal above alpha = {alpha_max(X, y, random_state=0):.3f}")

# %%
# On the left some networks of the path. On the right, for all of them, the number of kinks and the
# distance from the true function: the error falls as long as new kinks fit the function, and rises
# when they start to fit the noise.

colors = plt.colormaps["viridis"](np.linspace(0, 0.9, len(path.alphas)))
figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
left.scatter(X[:, 0], y, s=8, color="0.8")
left.plot(X_new, truth(X_new), color="0.3", linestyle=":", label="true function")
for k in (0, 2, 5, 9, 15):
    left.plot(X_new, path.networks[k](X_new), color=colors[k], label=f"{path.alphas[k]:.2g}")
left.set(xlabel="x", ylabel="y")
left.legend(title="alpha", ncols=2, fontsize="small", loc="upper left")
left.set_ylim(-2.6, 3.6)

errors = [np.sqrt(np.mean((net(X_new)[:, 0] - truth(X_new)) ** 2)) for net in path.networks]
right.plot(path.alphas, errors, color="0.6", zorder=1)
right.scatter(path.alphas, errors, color=colors, zorder=2)
for alpha, error, network in zip(path.alphas, errors, path.networks, strict=True):
    kinks = np.unique(np.round(network.hidden_biases / network.hidden_weights[0], 2)).size
    right.annotate(
        kinks, (alpha, error), xytext=(0, 7), textcoords="offset points", ha="center", size=8
    )
right.set(xscale="log", xlabel="alpha", ylabel="error to the true function", ylim=(0, None))
right.invert_xaxis()
right.set_title("numbers: kinks of the network", color="0.4")
plt.show()

# %%
# Every network comes with its training objective, and with the relative duality gap of the convex
# program over its patterns. The gaps are relative to the network's own objective, while the path
# stops at one that is small against that of the constant. A network may have several neurons at one
# kink, so that there are more of them than kinks.

figure, axes = plt.subplots(1, 3, figsize=(8.5, 3), layout="constrained")
for ax, what in zip(axes, ("objective", "neurons", "gap"), strict=True):
    RegularizationPathDisplay.from_path(path, y=what, ax=ax, markersize=4)
    ax.invert_xaxis()
plt.show()
