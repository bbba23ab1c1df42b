"""
One latent for a direction and its opposite
===========================================

A sparse autoencoder writes a sample as a sum of few directions. With codes that are not negative,
"hot" and "cold" need a latent each. `SignAwareGatedSparseAutoencoder` has signed codes: one latent,
two sides.
"""

# %%
# Features that come in pairs of opposite directions. Of the 32 pairs one or two are active in a
# sample, each by one of its two features.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_convexnet import GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder
from sklearn_convexnet.autoencoder import dead_fraction, l0, recovered_fraction
from sklearn_convexnet.datasets import make_antipodal_features

n_pairs = 32
X, codes, directions = make_antipodal_features(
    12_000, 32, n_pairs=n_pairs, n_active=1.5, random_state=0
)
X, X_test = np.split(X.astype(np.float32), [10_000])
codes = codes[10_000:]

# %%
# The same training for three models: signed with a latent per pair, gated of the same width, and
# gated with a latent for every direction.

options = {"alpha": 0.3, "max_iter": 3000, "random_state": 0}
models = {
    "sign-aware, 32 latents": SignAwareGatedSparseAutoencoder(n_pairs, **options),
    "gated, 32 latents": GatedSparseAutoencoder(n_pairs, **options),
    "gated, 64 latents": GatedSparseAutoencoder(2 * n_pairs, **options),
}
for name, model in models.items():
    model.fit(X)
    found = model.transform(X_test)
    signed = name.startswith("sign")
    share = recovered_fraction(model.components_, directions, signed=signed)
    print(
        f"{name:<24}R² {model.score(X_test):.3f}   codes per sample {l0(found):4.1f}   "
        f"directions recovered {share:4.0%}   dead {dead_fraction(found):.0%}"
    )

# %%
# What the best latent of a pair answers, against the true code of the pair: positive when the one
# feature is active, negative when it is the other. The signed latent follows both; between its
# thresholds it is silent. A gated latent follows one of them. On the right, how close the closest
# latent comes to each of the 64 directions.

figure, axes = plt.subplots(
    1, 3, figsize=(10, 3.6), layout="constrained", width_ratios=[1, 1, 1.25]
)
truth = codes[:, :n_pairs] - codes[:, n_pairs:]
for ax, color, name in zip(
    axes, ["C0", "C1"], ["sign-aware, 32 latents", "gated, 64 latents"], strict=False
):
    model = models[name]
    cosines = directions[:n_pairs] @ model.components_.T
    if name.startswith("sign"):  # a latent may stand for a pair with either sign
        signs = np.sign(cosines)
        cosines = np.abs(cosines)
    else:
        signs = np.ones_like(cosines)
    pair, latent = np.unravel_index(cosines.argmax(), cosines.shape)
    answers = signs[pair, latent] * model.transform(X_test)[:, latent]
    ax.axhline(0, color="0.8", linewidth=1)
    ax.axvline(0, color="0.8", linewidth=1)
    ax.scatter(truth[:, pair], answers, s=9, color=color, alpha=0.5, linewidth=0)
    ax.set(xlabel="true code of the pair", xticks=[-1, 0, 1], xlim=(-1.7, 1.7), ylim=(-1.9, 1.9))
    ax.set_title(name, color=color)
axes[0].set_ylabel("code of its latent")
for color, (name, model) in zip(["C0", "C2", "C1"], models.items(), strict=True):
    cosines = directions @ model.components_.T
    best = (np.abs(cosines) if name.startswith("sign") else cosines).max(axis=1)
    axes[2].plot(np.arange(1, len(best) + 1), np.sort(best)[::-1], color=color, label=name)
axes[2].axhline(0.9, color="0.6", linestyle=":", linewidth=1)
axes[2].set(
    xlabel="true directions, best first", ylabel="cosine to the closest latent", ylim=(0, 1.03)
)
axes[2].set_title("directions recovered")
axes[2].legend(loc="lower left")
plt.show()

# %%
# What sparsity costs, as the penalty grows. The share of the variance that is reconstructed
# against the number of non-zero codes; up and to the left is better.

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
for color, (name, model) in zip(["C0", "C2", "C1"], models.items(), strict=True):
    points = []
    for alpha in (0.25, 0.4, 0.6):
        model.set_params(alpha=alpha, max_iter=1500).fit(X)
        points.append((l0(model.transform(X_test)), model.score(X_test)))
    ax.plot(*np.transpose(points), "o-", color=color, label=name)
ax.axvline(1.5, color="0.6", linestyle=":", linewidth=1, label="active features")
ax.set(xlabel="non-zero codes of a sample", ylabel="R²", xlim=(0, None))
ax.legend(loc="lower right")
plt.show()
