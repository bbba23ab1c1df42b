"""
Your own table, from file to production
=======================================

A bank keeps its loans in a file: numbers and categories, some of them missing, and whether the
loan was repaid. This page reads the file, fits a network behind the usual preprocessing, compares
it with boosted trees, asks which columns matter and what the certificate says, and stores the
whole pipeline in three formats.
"""

# %%
# The file
# --------
# It is made here, so that we know the truth: a loan is at risk when the monthly instalment
# exceeds a tenth of the income, more so for the young and for businesses, less so for owners of a
# home.

import tempfile
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import skl2onnx
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sklearn_convexnet import ConvexReLUClassifier
from sklearn_convexnet.export import register_converters
from sklearn_convexnet.plotting import NeuronDisplay


def write_loans(path, n=500):
    """Write a table of loans, with gaps, as comma-separated values."""
    rng = np.random.RandomState(0)
    age = rng.uniform(20, 70, n).round()
    income = np.exp(rng.normal(8, 0.5, n)).round(-1)
    loan = np.exp(rng.normal(9.4, 0.6, n)).round(-2)
    months = rng.choice([12, 24, 36, 48, 60], n)
    home = rng.choice(["owned", "rented", "family"], n, p=[0.4, 0.45, 0.15])
    purpose = rng.choice(["car", "education", "furniture", "business"], n)
    instalment = (100 * loan / months / income).round(1)  # in per cent of the income
    risk = 0.3 * np.maximum(instalment - 10, 0) + 0.12 * np.maximum(30 - age, 0) - 1.4
    risk += 1.2 * (purpose == "business") - 1.0 * (home == "owned")
    table = pd.DataFrame(
        {"age": age, "income": income, "loan": loan, "months": months, "instalment": instalment}
        | {"home": home, "purpose": purpose}
        | {"repaid": np.where(rng.uniform(size=n) > 1 / (1 + np.exp(-risk)), "yes", "no")}
    )
    table.loc[rng.uniform(size=n) < 0.1, "income"] = np.nan
    table.loc[rng.uniform(size=n) < 0.05, "age"] = np.nan
    table.loc[rng.uniform(size=n) < 0.05, "home"] = "?"
    table.to_csv(path, index=False)


folder = Path(tempfile.mkdtemp())
write_loans(folder / "loans.csv")
table = pd.read_csv(folder / "loans.csv")
print(table.head(4))
print(f"\n{len(table)} loans, {(table['repaid'] == 'yes').mean():.0%} repaid")
print(f"missing: {table['income'].isna().sum()} incomes, {table['age'].isna().sum()} ages")

# %%
# From columns to features
# ------------------------
# A network needs numbers, all of them, and on one scale. Missing numbers become the median of the
# column; a category becomes an indicator of each of its values, with "?" as one of them.

X, y = table.drop(columns="repaid"), table["repaid"]
X = X.astype(dict.fromkeys(X.select_dtypes("number"), float))
numbers, categories = [*X.select_dtypes("number")], ["home", "purpose"]


def features():
    """Preprocessing: it learns medians, scales and categories from the rows that train."""
    return make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories),
        verbose_feature_names_out=False,
    )


network = make_pipeline(features(), ConvexReLUClassifier(random_state=0))

# %%
# Is it any good?
# ---------------
# Boosted trees are the usual choice for tables. They take missing numbers and categories as they
# are. Both with default parameters, on the same folds.

trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
as_categories = X.astype(dict.fromkeys(categories, "category"))
scores = {
    name: cross_validate(
        model, data, y, cv=4, scoring={"log loss": "neg_log_loss", "accuracy": "accuracy"}
    )
    for name, model, data in (("network", network, X), ("boosted trees", trees, as_categories))
}
figure, axes = plt.subplots(1, 2, figsize=(8, 2.4), layout="constrained")
for ax, score, sign in zip(axes, ("log loss", "accuracy"), (-1, 1), strict=True):
    for place, (name, found) in enumerate(scores.items()):
        values = sign * found[f"test_{score}"]
        print(f"{score}, {name}: {values.mean():.2f}")
        ax.plot(values, np.full(4, place), "o", color="0.7")
        ax.plot(values.mean(), place, "D", markersize=9, color=f"C{place}")
    better = "lower" if sign < 0 else "higher"
    ax.set(xlabel=f"{score} ({better} is better)", yticks=[0, 1], ylim=(1.5, -0.5))
    ax.set_yticklabels(scores)
plt.show()

# %%
# The truth is a sum of half-spaces, which suits a network. On a table of yours the trees may win:
# that is why one compares.

# %%
# Which columns matter?
# ---------------------
# `feature_importances_` is of the network, a number for each feature that it sees.
# `permutation_importance` is of the pipeline, a number for each column of the file: how much the
# log loss on new loans rises when the column is shuffled.

X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
network.fit(X_train, y_train)
model, names = network[-1], network[0].get_feature_names_out()
shuffled = permutation_importance(
    network, X_test, y_test, scoring="neg_log_loss", n_repeats=10, random_state=0
)
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), layout="constrained")
for ax, importances, labels, title in (
    (axes[0], model.feature_importances_, names, "of the network: feature_importances_"),
    (axes[1], shuffled.importances_mean, X.columns, "of the file: permutation_importance"),
):
    order = importances.argsort()
    ax.barh(np.array(labels)[order], importances[order])
    ax.set_title(title)
plt.show()

# %%
# Both find the instalment. The neurons tell how it enters: blue numbers favour "no", red ones
# "yes". Neurons that point in nearly the same direction are added up.

Z_train = network[:-1].transform(X_train)
figure, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
NeuronDisplay.from_estimator(
    model, Z_train, merge_angle=30, feature_names=names, max_neurons=2, ax=ax
)
plt.show()

# %%
# What the certificate says
# -------------------------
# It is about training, not about new loans: could another network of this kind, with any number of
# neurons, have fitted the training data better under the same penalty?

print(model.certificate_)

# %%
# In plain words, "Solved" (or "Left open"): how far the fit was pursued. "Searched": how much
# better another network could be, if the search has missed nothing; an estimate. "Proved": a
# number that no network can beat. With so many features that number is far below, which says that
# little is proved and not that the network is bad.

# %%
# Into production
# ---------------
# The pipeline is stored as a whole, so that nobody has to repeat the preprocessing. joblib is the
# shortest; load only files that you trust. ONNX runs without Python: every column of the file is an
# input of its own.

joblib.dump(network, folder / "loans.joblib")
expected = network.predict_proba(X_test)
again = joblib.load(folder / "loans.joblib").predict_proba(X_test)
print("joblib: largest difference", np.abs(again - expected).max())

# %%
# skl2onnx knows the estimators of this package once `register_converters` was called. The runtime
# fills gaps in single precision only, so numbers go in like that.

import onnxruntime

register_converters()
single = X.astype(dict.fromkeys(numbers, np.float32))
graph = skl2onnx.to_onnx(network, single[:1], options={"zipmap": False})
session = onnxruntime.InferenceSession(graph.SerializeToString())
columns = {name: single.loc[X_test.index, [name]].to_numpy() for name in X}
onnx_labels, onnx_probabilities = session.run(None, columns)
print(f"ONNX: largest difference {np.abs(onnx_probabilities - expected).max():.0e}")
print("the same answers:", bool((onnx_labels == network.predict(X_test)).all()))

# %%
# skops, where it is installed, is the safer file: it lists the types that it holds before anything
# is loaded.

try:
    import skops.io
except ImportError:
    print("skops is not installed")
else:
    skops.io.dump(network, folder / "loans.skops")
    types = skops.io.get_untrusted_types(file=folder / "loans.skops")
    print(*types, sep="\n")
    again = skops.io.load(folder / "loans.skops", trusted=types).predict_proba(X_test)
    print("skops: largest difference", np.abs(again - expected).max())

# %%
# Is 70 % really 70 %? Before probabilities decide about money, look at new loans: of those with a
# predicted probability of so many per cent, how many were repaid?

from sklearn.calibration import CalibrationDisplay

CalibrationDisplay.from_predictions(
    y_test, expected[:, 1], n_bins=5, pos_label="yes", strategy="quantile", name="network"
)
plt.show()
