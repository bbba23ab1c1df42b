"""
Quick start: a convex ReLU network in a scikit-learn pipeline
=============================================================

Classification (breast cancer) and regression (diabetes) on real data: scale, choose `alpha` by
cross-validation, compare with scikit-learn's multi-layer perceptron, and read the certificate.
"""

# %%
import time

import matplotlib.pyplot as plt
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor


def timed_score(model, X_train, X_test, y_train, y_test):
    """Fit; return the test score and the seconds of the fit."""
    start = time.perf_counter()
    model.fit(X_train, y_train)
    return model.score(X_test, y_test), time.perf_counter() - start


# %%
# Classification
# --------------
# The estimator goes into a pipeline and a grid search like any other.

X, y = load_breast_cancer(return_X_y=True)
split = train_test_split(X, y, test_size=0.25, stratify=y, random_state=0)
search = GridSearchCV(
    make_pipeline(StandardScaler(), ConvexReLUClassifier(n_patterns=50, random_state=0)),
    {"convexreluclassifier__alpha": [3e-3, 1e-2, 3e-2]},
    cv=3,
)
mlp = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
rows = [("breast cancer", "ConvexReLUClassifier, alpha by CV", *timed_score(search, *split))]
rows.append(("breast cancer", "MLPClassifier", *timed_score(mlp, *split)))
classifier = search.best_estimator_[-1]

# %%
# Regression
# ----------
# `alpha` weighs a penalty against the loss, so the units of the target matter: standardise it.

X, y = load_diabetes(return_X_y=True)
split = train_test_split(X, y, test_size=0.25, random_state=0)
search = GridSearchCV(
    TransformedTargetRegressor(
        make_pipeline(StandardScaler(), ConvexReLURegressor(n_patterns=50, random_state=0)),
        transformer=StandardScaler(),
    ),
    {"regressor__convexreluregressor__alpha": [1e-2, 3e-2, 1e-1]},
    cv=3,
)
mlp = TransformedTargetRegressor(
    make_pipeline(StandardScaler(), MLPRegressor(max_iter=2000, random_state=0)),
    transformer=StandardScaler(),
)
rows.append(("diabetes", "ConvexReLURegressor, alpha by CV", *timed_score(search, *split)))
rows.append(("diabetes", "MLPRegressor", *timed_score(mlp, *split)))
regressor = search.best_estimator_.regressor_[-1]

print(f"{'data':<15}{'model':<36}{'test score':>10}{'fit seconds':>13}")
for data, model, score, seconds in rows:
    print(f"{data:<15}{model:<36}{score:>10.3f}{seconds:>13.2f}")

# %%
# The certificates
# ----------------
# Solvers report a duality gap between a feasible network and a lower bound; `certificate_` says
# in words what it proves.

for name, model in (("breast cancer", classifier), ("diabetes", regressor)):
    print(f"\n{name}: {model.n_neurons_} neurons, alpha={model.alpha:g}")
    print(model.certificate_)

# %%
# With few features all activation patterns can be enumerated: then the network is proved to be the
# best of all two-layer ReLU networks, of any width.

X, y = load_diabetes(return_X_y=True, scaled=True)
X = StandardScaler().fit_transform(X[:60, [2]])
y = (y[:60] - y[:60].mean()) / y[:60].std()
exact = ConvexReLURegressor(alpha=1e-2, patterns="all").fit(X, y)
print("\ndiabetes, 60 patients, body mass index only:")
print(exact.certificate_)

# %%
order = X[:, 0].argsort()
plt.scatter(X[:, 0], y, s=12, color="0.6", label="data")
plt.plot(X[order, 0], exact.predict(X)[order], label="globally optimal ReLU network")
plt.xlabel("body mass index (standardised)")
plt.ylabel("disease progression (standardised)")
plt.legend()
plt.show()
