"""
Scores that never go the wrong way
==================================

More income must not lower a credit score. A network that is fitted to a few hundred loans may do so
all the same, because of some odd rows; nobody wants to explain that to an applicant.
``monotonic_cst`` rules it out.
"""

# %%
# A synthetic table of loans. Whether one is repaid depends on four numbers, each in one direction.
# But there is an odd group of applicants with a good income whose loans went wrong.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier
from sklearn_convexnet.robustness import certify_monotonic

NAMES = ["income", "debt", "late payments", "years employed"]


def draw(n, seed, odd=0.0):
    """Loans, and whether they were repaid; a share of them of an odd group."""
    rng = np.random.RandomState(seed)
    income, debt = rng.uniform(1.0, 8.0, n), rng.uniform(0.0, 1.0, n)
    late, years = rng.poisson(1.0, n), rng.exponential(5.0, n)
    score = 2.0 * np.log(income) - 2.0 * debt - 0.8 * late + 0.1 * years - 0.8
    score[(np.abs(income - 5.5) < 0.7) & (rng.uniform(size=n) < odd)] -= 4.0
    repaid = rng.uniform(size=n) < 1.0 / (1.0 + np.exp(-score))
    return pd.DataFrame(np.column_stack([income, debt, late, years]), columns=NAMES), repaid + 0


X, y = draw(600, seed=0, odd=0.9)
X_test, y_test = draw(5000, seed=1)

# %%
# The constraint is given by the names of the features: 1, the output may only increase; -1, only
# decrease. A scaler does not change directions, but forgets names unless it is asked for a frame.


def make(**how):
    """A scaler and a network."""
    model = make_pipeline(StandardScaler(), ConvexReLUClassifier(random_state=0, **how))
    return model.set_output(transform="pandas")


directions = {"income": 1, "debt": -1, "late payments": -1, "years employed": 1}
models = {"free": make().fit(X, y), "monotone": make(monotonic_cst=directions).fit(X, y)}
for name, model in models.items():
    loss = log_loss(y_test, model.predict_proba(X_test))
    print(f"{name:<10}test loss without the odd group {loss:.3f}")

# %%
# The probability of repayment along the income, of an otherwise typical applicant.

grid = pd.concat([X.median().to_frame().T] * 200, ignore_index=True)
grid["income"] = np.linspace(X["income"].min(), X["income"].max(), 200)
figure, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for name, model in models.items():
    ax.plot(grid["income"], model.predict_proba(grid)[:, 1], label=name)
ax.set(xlabel="income", ylabel="probability of repayment", title="An embarrassing dip, and none")
ax.legend()
plt.show()

# %%
# A proof for any network
# -----------------------
# The monotone network needs no proof: none of its neurons acts against the constraint. Whether the
# other one, or a perceptron of scikit-learn, goes the wrong way somewhere is found by branch and
# bound. The answer comes with two applicants who differ in their income alone.

for name, (scaler, network) in ((name, [*model]) for name, model in models.items()):
    low, high = scaler.transform(X).min(), scaler.transform(X).max()
    result = certify_monotonic(network, "income", (low, high))
    print(f"{name:<10}{result.status}, least slope {result.lower:.3f}")
    if result.status == "falsified":
        pair = pd.DataFrame(result.points, columns=NAMES)
        applicants = pd.DataFrame(scaler.inverse_transform(pair), columns=NAMES)
        applicants["repaid"] = network.predict_proba(pair)[:, 1]
        print(applicants.round(2).to_string(index=False))
