"""Tables for robust training: two classes, and features that lie in [0, 1]."""

import datasets
import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler

BANKNOTE, DIGITS = "banknote-like", "digits 3v8"
TABLES = ("breast_cancer", BANKNOTE, "ionosphere", DIGITS, "phoneme", "banana")
MAX_ROWS = 1000


def split(table, seed):
    """Training and test rows, features in [0, 1] on the training rows, labels -1 and +1.

    `banknote-like` is synthetic, because no package has the table of banknotes: four features,
    classes of three clusters each that all but separate, though not linearly.
    """
    if table == BANKNOTE:
        X, y = make_classification(
            MAX_ROWS, 4, n_informative=4, n_redundant=0, n_clusters_per_class=3, class_sep=1.8,
            flip_y=0.0, random_state=3,
        )  # fmt: skip
    elif table == DIGITS:
        data = datasets.load("digits")
        chosen = np.isin(data.y, (3, 8))
        X, y = data.X[chosen] / 16.0, data.y[chosen] == 8
    else:
        data = datasets.load(table, MAX_ROWS)
        X, y = data.X, data.y == 1
    y = np.where(y, 1.0, -1.0)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    if table == DIGITS:  # grey levels, in [0, 1] already
        return X, y, X_test, y_test
    scaler = MinMaxScaler(clip=True).fit(X)
    return scaler.transform(X), y, scaler.transform(X_test), y_test
