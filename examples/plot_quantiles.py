"""
A band of quantiles
===================

A regression line says where the target is on average, not how far from it a single one may be.
Three networks with the quantile loss do: one below which 5 % of the targets lie, the median, and
one above which 5 % lie.
"""

# %%
# The noise grows with x, and is skewed: its band is neither of constant width nor symmetric.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet import ConvexReLURegressor, Quantile


def draw(n_samples, seed):
    """A wave with skewed noise that grows from left to right."""
    rng = np.random.RandomState(seed)
    x = rng.uniform(0, 1, n_samples)
    noise = rng.gamma(2.0, 0.25, n_samples)
    return x[:, None], np.sin(5 * x) + x * noise


X, y = draw(400, seed=0)
X_test, y_test = draw(10_000, seed=1)
quantiles = [0.05, 0.5, 0.95]
models = [
    ConvexReLURegressor(loss=Quantile(quantile), random_state=0).fit(X, y) for quantile in quantiles
]

# %%
# The pinball loss has a kink, which is no obstacle for a convex solver: the loss enters through
# its proximal operator and its conjugate, never through a learning rate.

x = np.linspace(0, 1, 300)[:, None]
low, middle, high = (model.predict(x) for model in models)
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.scatter(X[:, 0], y, s=10, color="0.7", label="samples")
ax.fill_between(x[:, 0], low, high, alpha=0.2, label="5 % to 95 %")
ax.plot(x[:, 0], middle, label="median")
ax.set(xlabel="x", ylabel="y")
ax.legend(loc="lower left")
plt.show()

# %%
# Does it hold? On new data the share of targets below each network should be its quantile.

shares = [np.mean(y_test <= model.predict(X_test)) for model in models]
for quantile, share in zip(quantiles, shares, strict=True):
    print(f"quantile {quantile:.2f}: {share:.3f} of the test data below")

# %%
# The three networks are fitted one by one, and nothing keeps them from crossing where there are
# few samples; check it where that matters.

print("the band crosses itself somewhere:", bool((np.diff([low, middle, high], axis=0) < 0).any()))

figure, ax = plt.subplots(figsize=(4, 3.4), layout="constrained")
ax.plot([0, 1], [0, 1], color="0.7", linestyle=":")
ax.plot(quantiles, shares, "o")
ax.set(xlabel="quantile", ylabel="share of new targets below")
plt.show()
