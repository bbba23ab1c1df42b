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
from sklearn_convexnet.plotting import NeuronDisplay

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
# Neuron j adds :math:`a_j (u_j^\top x + b_j)_+`. Many neurons are nearly multiples of each other;
# those of one sign whose directions differ by a few degrees are added up here. A row has the slopes
# and the constant of what is added, in standard deviations of the features, and beside them how
# strong the neuron is and on what share of the samples it is active. Red numbers favour a higher
# demand.

display = NeuronDisplay.from_estimator(
    model,
    scaler.transform(X),
    merge_angle=14,
    feature_names=[name.split(",")[0] for name in names],
    max_neurons=6,
    ax=plt.subplots(figsize=(9, 3.4), layout="constrained")[1],
)
plt.show()

# %%
# Two rules stand out. Back in the units of the data they are

rows = []
for slopes, constant in zip(display.slopes[:2] / scaler.scale_, display.constants[:2], strict=True):
    offset = constant - slopes @ scaler.mean_
    rows.append((*slopes, offset))
    terms = " ".join(
        f"{slope:+.2f} {name.split(',')[0]}" for slope, name in zip(slopes, names, strict=True)
    )
    print(f"demand rises by ({terms} {offset:+.1f})+")

# %%
# and that is what is hidden in the data. The lines are where the rules switch on, at the mean of
# the feature that is not shown; the dashed lines are the true ones.

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
            ax.contourf(first, second, values, levels=[0, 1e9], colors=["#d55e00"], alpha=0.15)
    ax.set(xlabel=names[0], ylabel=names[k], title=f"{title}: on in the shaded half-space")
figure.colorbar(image, ax=axes, label="demand")
plt.show()

# %%
# The penalty shrinks the rules a little, as it shrinks all weights, and spreads what is left over
# small neurons. With correlated features or a target that is no sum of rules there is less to be
# read; the fit is an explanation of the data only as far as it is a good one.
