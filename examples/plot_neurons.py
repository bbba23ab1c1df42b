"""
Reading a network: neurons as half-spaces
=========================================

A neuron adds a linear function on one side of a hyperplane and nothing on the other. That is how
many rules are made: so much for every degree below a comfortable temperature, so much above it.
Here such rules are hidden in data, and read off the neurons of a fitted network.
"""

# %%
# The demand for power of a building. It is heated when it is cold, the more so in the wind, and
# cooled when it is hot, the more so when the air is humid; in between it needs neither.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLURegressor

rng = np.random.RandomState(0)
names = ["temperature, °C", "wind, m/s", "humidity, %"]
X = np.stack([rng.uniform(-10, 35, 500), rng.uniform(0, 12, 500), rng.uniform(20, 90, 500)], axis=1)
temperature, wind, humidity = X.T
heating = np.maximum(12 - temperature + 0.8 * wind, 0)
cooling = np.maximum(temperature + 0.15 * humidity - 30, 0)
y = 20 + 1.0 * heating + 1.5 * cooling + rng.standard_normal(500)

scaler = StandardScaler().fit(X)
model = ConvexReLURegressor(random_state=0).fit(scaler.transform(X), y)
print(f"R² {model.score(scaler.transform(X), y):.3f} with {model.n_neurons_} neurons")

# %%
# From neurons to rules
# ---------------------
# Many neurons are nearly multiples of each other. Neurons of one sign whose directions differ by a
# few degrees are added up, and come back to the units of the data: in these, neuron j contributes
# :math:`a_j (u_j^\top x + b_j)_+`.

network = model.network_
size = np.linalg.norm([*network.hidden_weights, network.hidden_biases], axis=0)
direction = np.vstack([network.hidden_weights, network.hidden_biases]) / size
strength = size * network.output_weights[:, 0]
rules, left = [], np.argsort(-np.abs(strength))
while left.size:
    near = (direction[:, left[0]] @ direction[:, left] > 0.97) & (
        strength[left[0]] * strength[left] > 0
    )
    rules.append(direction[:, left[near]] @ strength[left[near]])
    left = left[~near]
rules.sort(key=np.linalg.norm, reverse=True)

sizes = [np.linalg.norm(rule) for rule in rules]
print("strengths of the rules:", *(f"{one:.1f}" for one in sizes[:6]), "...")
rows = []
for rule in rules[:2]:
    slopes = rule[:3] / scaler.scale_
    offset = rule[3] - slopes @ scaler.mean_
    rows.append((*slopes, offset))
    terms = " ".join(
        f"{slope:+.2f} {name.split(',')[0]}" for slope, name in zip(slopes, names, strict=True)
    )
    print(f"demand rises by ({terms} {offset:+.1f})+")

# %%
# Two rules stand out, and they are those hidden in the data. The lines are where they switch on,
# at the mean of the feature that is not shown; the dashed lines are the true ones.

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.6), layout="constrained")
truth = [(-1.0, 0.8, 0.0, 12.0), (1.5, 0.0, 0.225, -45.0)]
cold = int(rows[1][0] < 0)
for ax, title, rule, true, k in zip(
    axes, ("heating", "cooling"), (rows[cold], rows[1 - cold]), truth, (1, 2), strict=True
):
    image = ax.scatter(X[:, 0], X[:, k], c=y, s=12, cmap="viridis")
    first, second = np.meshgrid(
        np.linspace(-10, 35, 100), np.linspace(*np.sort(X[:, k])[[0, -1]], 100)
    )
    for (*slopes, offset), style in ((rule, "-"), (true, "--")):
        fixed = 3 - k
        values = (
            slopes[0] * first + slopes[k] * second + slopes[fixed] * X[:, fixed].mean() + offset
        )
        ax.contour(first, second, values, levels=[0], colors=["0.1"], linestyles=[style])
        if style == "-":
            ax.contourf(first, second, values, levels=[0, 1e9], colors=["#e07b39"], alpha=0.15)
    ax.set(xlabel=names[0], ylabel=names[k], title=f"{title}: on in the shaded half-space")
figure.colorbar(image, ax=axes, label="demand")
plt.show()

# %%
# The penalty shrinks the rules a little, as it shrinks all weights, and spreads what is left over
# small neurons. With correlated features or a target that is no sum of rules there is less to be
# read; the fit is an explanation of the data only as far as it is a good one.
