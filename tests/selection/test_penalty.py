"""``alpha="auto"``: what rows left out prefer, and what must make no difference."""

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_classification, make_friedman1
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexnet.core.canonical import canonical_rows
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.selection.formula import penalty_by_formula
from sklearn_convexnet.selection.penalty import FACTORS


def regression(n=60, noise=1.0):
    return make_friedman1(n, n_features=5, noise=noise, random_state=0)


def classes(n=60, n_classes=2):
    return make_classification(
        n, 5, n_informative=4, n_redundant=0, n_classes=n_classes, flip_y=0.2, random_state=0
    )


def formula(X, y, loss="squared_error"):
    y = y if loss == "squared_error" else np.where(y == y[0], 1.0, -1.0)
    return penalty_by_formula(X, y, np.ones(len(y)), get_loss(loss), True)


def test_the_penalty_is_a_factor_on_the_formula():
    X, y = regression()
    model = ConvexReLURegressor(random_state=0).fit(X, y)
    factor = model.alpha_ / formula(X, y)
    assert np.min(np.abs(np.log(factor / FACTORS))) < 1e-9
    again = ConvexReLURegressor(alpha=model.alpha_, random_state=0).fit(X, y)
    assert again.objective_ == model.objective_
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_noise_wants_more_of_it_and_signal_less():
    factors = [
        ConvexReLURegressor(random_state=0).fit(X, y).alpha_ / formula(X, y)
        for X, y in (regression(100, noise=0.0), regression(100, noise=10.0))
    ]
    assert factors[0] < 1.0 < factors[1]


@pytest.mark.parametrize("n_classes", [2, 3])
def test_noisy_classes_are_no_worse_than_a_line(n_classes):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((1150, 3))
    score = X[:, 0] + rng.logistic(size=len(X))
    y = np.digitize(score, [0.0] if n_classes == 2 else [-1.0, 1.0])
    X, X_test, y, y_test = train_test_split(X, y, train_size=150, random_state=0)
    model = ConvexReLUClassifier(random_state=0).fit(X, y)
    line = LogisticRegression().fit(X, y)
    losses = [log_loss(y_test, one.predict_proba(X_test)) for one in (model, line)]
    assert losses[0] <= 1.05 * losses[1]


def cases():
    # what is fitted in the end does not matter
    cheap = {"patterns": "random", "n_patterns": 2, "tol": 1e3, "random_state": 0}
    X, y = regression(30)
    yield ConvexReLURegressor(**cheap), X, np.c_[y, X[:, 0] ** 2]
    X, y = classes(30)
    yield ConvexReLUClassifier(loss="hinge", **cheap), X, y
    X, y = classes(40, 3)
    yield ConvexReLUClassifier(solver="scp", **cheap), X, y


@pytest.mark.parametrize("case", range(3))
def test_what_makes_no_difference(case):
    model, X, y = list(cases())[case]
    rng = np.random.RandomState(1)
    order, weights = rng.permutation(len(X)), rng.randint(1, 4, len(X))
    alpha = model.fit(X, y, sample_weight=weights).alpha_
    X, y = np.repeat(X[order], weights[order], axis=0), np.repeat(y[order], weights[order], axis=0)
    model.set_params(n_jobs=2).fit(np.c_[X, np.full((len(X), 100), 3.0)], y)
    np.testing.assert_allclose(model.alpha_, alpha, rtol=1e-12)


def test_names_of_classes_do_not_matter():
    X, y = classes(45, 3)
    model = ConvexReLUClassifier(random_state=0)
    renamed = np.array(["b", "c", "a"])[y]
    assert model.fit(X, y).alpha_ == pytest.approx(model.fit(X, renamed).alpha_, rel=1e-9)


def test_the_formula_decides_alone_where_folds_make_no_sense():
    X, y = regression(19)
    assert ConvexReLURegressor(random_state=0).fit(X, y).alpha_ == pytest.approx(formula(X, y))
    X, y = classes(40)
    y[4:] = y[0]
    y[:4] = 1 - y[0]
    expected = formula(X, y, "log_loss")
    assert ConvexReLUClassifier(random_state=0).fit(X, y).alpha_ == pytest.approx(expected)


def test_columns_without_information():
    X, y = regression(30)
    nothing = np.zeros_like(X)
    assert ConvexReLURegressor(random_state=0).fit(nothing, y).alpha_ == 1.0
    assert ConvexReLURegressor(random_state=0).fit(X, np.ones(30)).alpha_ == 1.0
    for fit_intercept in (True, False):
        one = penalty_by_formula(X, y, np.ones(30), get_loss("squared_error"), fit_intercept)
        padded = np.c_[X, nothing]
        other = penalty_by_formula(padded, y, np.ones(30), get_loss("squared_error"), fit_intercept)
        assert other == pytest.approx(one)


def test_few_places_with_many_rows_say_nothing():
    # a table of categories: a whole cell would be left out, with one of its two classes
    rng = np.random.RandomState(0)
    X = rng.randint(0, 2, (300, 4)).astype(float)
    y = (X[:, 0] + rng.uniform(size=300) > 0.8).astype(int)
    signs = 2.0 * y - 1.0
    first, weights = canonical_rows(X, signs[:, None], np.ones(len(y)))
    expected = penalty_by_formula(X[first], signs[first], weights, get_loss("log_loss"), True)
    for rows in (X, csr_array(X)):
        model = ConvexReLUClassifier(random_state=0).fit(rows, y)
        assert model.alpha_ == pytest.approx(expected)


def test_an_output_alone_is_treated_as_among_others():
    X, y = regression(40)
    Y = np.c_[y, X[:, 0] ** 2, -y]
    cheap = {"patterns": "random", "n_patterns": 2, "tol": 1e3, "random_state": 0}
    together = ConvexReLURegressor(hidden_layer="separate", **cheap).fit(X, Y).alpha_
    alone = ConvexReLURegressor(feature_weights=None, **cheap)
    alone = [alone.fit(X, column).alpha_ for column in Y.T]
    np.testing.assert_array_equal(together, alone)
