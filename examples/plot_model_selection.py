"""
Choosing alpha: by default, by cross-validation, by grid search
===============================================================

The strength of the weight decay, `alpha`, is the one parameter that decides how flexible the
network is. There are three ways to choose it: leave it to ``alpha="auto"``, which compares ten
values on samples left out; cross-validate along the regularisation path; or put
the estimator into any of scikit-learn's searches.
"""

# %%
# The default and the path
# ------------------------
# `ConvexReLURegressorCV` fits, on every fold, the networks of a decreasing sequence of penalties,
# each from the last, and refits the best on all data. It goes into a pipeline like any estimator.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PowerTransformer, StandardScaler

from sklearn_convexnet import ConvexReLURegressor, ConvexReLURegressorCV
from sklearn_convexnet.plotting import RegularizationPathDisplay

X, y = load_diabetes(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)

by_default = make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0))
by_path = make_pipeline(
    StandardScaler(), ConvexReLURegressorCV(alphas=10, eps=1e-2, cv=3, random_state=0)
)
by_default.fit(X_train, y_train)
by_path.fit(X_train, y_train)

# %%
# The mean squared error of every fold, its mean, the spread of the folds, and the two choices. The
# curve is flat around its minimum: a factor of two in `alpha` hardly matters, a factor of ten does.

figure, ax = plt.subplots(figsize=(7, 3.8), layout="constrained")
RegularizationPathDisplay.from_estimator(by_path[-1], negate_score=True, name="path", ax=ax)
chosen = by_default[-1].alpha_
ax.axvline(chosen, color="C1", linestyle="--", label=f'alpha="auto": {chosen:.3g}')
ax.set_ylabel("Mean squared error")
ax.legend(loc="upper center", frameon=True, framealpha=1, edgecolor="white")
plt.show()

# %%
# A grid search
# -------------
# `GridSearchCV` fits every candidate from nothing, so a penalty costs more than on the path, but
# it can search any other step of the pipeline as well: here how the features are scaled. The
# penalties are multiples of the automatic one.

search = GridSearchCV(
    make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0)),
    {
        "convexreluregressor__alpha": chosen * np.array([0.5, 1, 2]),
        "standardscaler": [StandardScaler(), PowerTransformer()],
    },
    cv=3,
)
search.fit(X_train, y_train)

print(search.best_params_)
models = {'alpha="auto"': by_default, "ConvexReLURegressorCV": by_path, "GridSearchCV": search}
scores = {name: model.score(X_test, y_test) for name, model in models.items()}
figure, ax = plt.subplots(figsize=(7, 2), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), height=0.5)
ax.bar_label(bars, fmt="%.3f", padding=4)
ax.set(xlabel="R² on the test set", xlim=(0, 1.2 * max(scores.values())))
plt.show()
