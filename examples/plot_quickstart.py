"""
Quick start: a convex ReLU network in a scikit-learn pipeline
=============================================================

Classification (breast cancer) and regression (diabetes) on real data: scale, fit, choose `alpha` by
cross-validation, compare with scikit-learn's multi-layer perceptron, and read the certificate. Then
networks that are proved to be as good as any of their kind, of any width.
"""

# %%
import time

import matplotlib.pyplot as plt
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
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
classifier = make_pipeline(StandardScaler(), ConvexReLUClassifier(random_state=0))
search = GridSearchCV(classifier, {"convexreluclassifier__alpha": [1e-3, 1e-2, 1e-1]}, cv=3)
mlp = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
rows = [
    ("breast cancer", "ConvexReLUClassifier", *timed_score(classifier, *split)),
    ("breast cancer", "ConvexReLUClassifier, alpha by CV", *timed_score(search, *split)),
    ("breast cancer", "MLPClassifier", *timed_score(mlp, *split)),
]

# %%
# Regression
# ----------

X, y = load_diabetes(return_X_y=True)
split = train_test_split(X, y, test_size=0.25, random_state=0)
regressor = make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0))
mlp = make_pipeline(StandardScaler(), MLPRegressor(max_iter=2000, random_state=0))
rows += [
    ("diabetes", "ConvexReLURegressor", *timed_score(regressor, *split)),
    ("diabetes", "MLPRegressor", *timed_score(mlp, *split)),
]

print(f"{'data':<15}{'model':<36}{'test score':>10}{'fit seconds':>13}")
for data, model, score, seconds in rows:
    print(f"{data:<15}{model:<36}{score:>10.3f}{seconds:>13.2f}")

# %%
# The certificates
# ----------------
# `certificate_` says in words what is known about the training objective: what was solved, what a
# search suggests about all networks, and what is proved about them.

for name, model in (("breast cancer", classifier[-1]), ("diabetes", regressor[-1])):
    print(f"\n{name}: {model.n_neurons_} neurons, alpha={model.alpha_:.3g}")
    print(model.certificate_)

# %%
# With few features, branch and bound turns the search into a proof. Iris has three species, and the
# network an output for each; its neurons serve all of them.

X, y = load_iris(return_X_y=True)
X = StandardScaler().fit_transform(X)
iris = ConvexReLUClassifier(random_state=0).fit(X, y)
print("\niris:")
print(iris.certificate(X, y, time_limit=30))

# %%
# The same for a regression on one feature, which can be drawn.

X, y = load_diabetes(return_X_y=True)
X = StandardScaler().fit_transform(X[:, [2]])
exact = ConvexReLURegressor(alpha=1.0, random_state=0).fit(X, y)
print("\ndiabetes, body mass index only:")
print(exact.certificate(X, y, time_limit=30))

order = X[:, 0].argsort()
plt.scatter(X[:, 0], y, s=12, color="0.6", label="data")
plt.plot(X[order, 0], exact.predict(X)[order], label="globally optimal ReLU network")
plt.xlabel("body mass index (standardised)")
plt.ylabel("disease progression")
plt.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
plt.show()
