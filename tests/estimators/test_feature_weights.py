"""``feature_weights``: what they mean, who chooses them, and that all that is proved is theirs."""

from functools import partial

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.feature_selection import RFE, SelectFromModel

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    RobustConvexReLUClassifier,
    alpha_max,
    convex_relu_path,
)
from sklearn_convexnet.export import to_mlp
from sklearn_convexnet.robustness import certified_radius

RNG = np.random.RandomState(0)
X = RNG.standard_normal((40, 3))
Y = np.c_[np.abs(X[:, 0]), X[:, 1] - X[:, 2]]
LABELS = (X[:, 0] * X[:, 1] > 0) + 0
WEIGHTS = np.array([2.0, 0.5, 1.0])
Regressor = partial(ConvexReLURegressor, alpha=1e-2, random_state=0)
Classifier = partial(ConvexReLUClassifier, alpha=1e-2, random_state=0)
CHEAP = {"patterns": "random", "n_patterns": 8, "tol": 0.2}


def few_matter(n=200, d=20):
    """A product of two features, and others that say nothing."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X, X[:, 0] * (1.0 + X[:, 1])


CASES = {
    "one output": (Regressor(), Y[:, 0]),
    "two outputs": (Regressor(), Y),
    "quantile": (Regressor(loss="quantile"), Y[:, 1]),
    "random": (Regressor(**CHEAP), Y[:, 0]),
    "scp": (Regressor(solver="scp", **CHEAP), Y),
    "all": (Regressor(patterns="all", fit_intercept=False, tol=0.1), Y[:, 0]),
    "classes": (Classifier(), LABELS),
    "three classes": (Classifier(), LABELS + (X[:, 2] > 1)),
    "by formula": (Regressor(alpha="auto", patterns="random", n_patterns=2, tol=1e3), Y[:19, 0]),
}


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_columns(case, sparse):
    model, y = CASES[case]
    rows = X[: len(y)] * (np.abs(X[: len(y)]) > 0.3)
    make = csr_array if sparse else np.asarray
    weighted = clone(model).set_params(feature_weights=WEIGHTS).fit(make(rows), y)
    scaled = clone(model).set_params(feature_weights=None).fit(make(rows * WEIGHTS), y)
    for name in ("objective_", "lower_bound_", "dual_gap_", "alpha_", "certificate_"):
        assert getattr(weighted, name) == getattr(scaled, name), name
    np.testing.assert_allclose(weighted.network_(rows), scaled.network_(rows * WEIGHTS), atol=1e-12)
    np.testing.assert_array_equal(weighted.feature_weights_, WEIGHTS)
    np.testing.assert_array_equal(scaled.feature_weights_, np.ones(3))
    np.testing.assert_allclose(
        weighted.feature_importances_, scaled.feature_importances_, rtol=1e-9
    )


def test_the_objective_is_that_of_the_network_the_user_gets():
    model = Regressor(feature_weights=WEIGHTS).fit(X, Y[:, 0])
    hidden, outputs = model.coefs_
    decay = np.sum((hidden / WEIGHTS[:, None]) ** 2) + np.sum(model.intercepts_[0] ** 2)
    decay = 0.5 * (decay + np.sum(outputs**2))
    losses = 0.5 * (model.network_(X)[:, 0] - Y[:, 0]) ** 2
    assert model.objective_ == pytest.approx(losses.mean() + 1e-2 * decay, rel=1e-9)


def test_certificates_are_those_of_the_weighted_penalty():
    model = Regressor(feature_weights=WEIGHTS).fit(X, Y[:, 0])
    assert model.certificate(X, Y[:, 0]) is model.certificate_
    rows, y = X[:10, :2], Y[:10, 0]
    model = Regressor(feature_weights=[3.0, 0.2]).fit(rows, y)
    certificate = model.certificate(rows, y, time_limit=10, tol=0.02)
    assert certificate.gap <= 0.02
    # below any other network's, of which the descent of another seed finds the best
    other = model.set_params(random_state=1).fit(rows, y)
    assert certificate.lower_bound <= other.objective_ * (1 + 1e-12)
    # on other data the network is judged by the same penalty
    scaled = Regressor(feature_weights=None).fit(rows * [3.0, 0.2], y)
    new = X[10:20, :2]
    found = model.set_params(random_state=0).fit(rows, y).certificate(new, y)
    expected = scaled.certificate(new * [3.0, 0.2], y)
    assert found.objective == pytest.approx(expected.objective)


def test_a_weight_of_zero_leaves_a_feature_out():
    model = Regressor(feature_weights=[1.0, 0.0, 1.0]).fit(X, Y[:, 0])
    moved = X + [0.0, 10.0, 0.0]
    np.testing.assert_array_equal(model.predict(moved), model.predict(X))
    assert model.feature_importances_[1] == 0.0
    assert model.certificate(X[:5], Y[:5, 0]).objective > 0.0


def test_few_features_that_matter_are_found():
    X, y = few_matter()
    new, truth = few_matter(1000)
    new, truth = new[200:], truth[200:]
    plain = ConvexReLURegressor(feature_weights=None, random_state=0).fit(X, y)
    model = ConvexReLURegressor(random_state=0).fit(X, y)
    assert 1.0 - model.score(new, truth) < 0.5 * (1.0 - plain.score(new, truth))
    assert set(np.argsort(model.feature_weights_)[-2:]) == {0, 1}
    assert model.feature_importances_[:2].sum() > 0.95
    variances = X.var(axis=0)
    assert model.feature_weights_**2 @ variances == pytest.approx(variances.sum())
    again = ConvexReLURegressor(
        model.alpha_, feature_weights=model.feature_weights_, random_state=0
    ).fit(X, y)
    assert again.objective_ == model.objective_
    np.testing.assert_array_equal(again.predict(new), model.predict(new))


def test_what_makes_no_difference():
    X, y = few_matter(60, 12)
    rng = np.random.RandomState(1)
    order, weights = rng.permutation(60), rng.randint(1, 3, 60)
    model = ConvexReLURegressor(patterns="random", n_patterns=2, tol=1e3, random_state=0)
    found = model.fit(X, y, sample_weight=weights).feature_weights_
    assert (found != 1.0).any()
    X, y = np.repeat(X[order], weights[order], axis=0), np.repeat(y[order], weights[order])
    again = model.set_params(n_jobs=2).fit(np.c_[X, np.full((len(X), 20), 3.0)], y)
    np.testing.assert_allclose(again.feature_weights_[:12], found, rtol=1e-6)
    np.testing.assert_array_equal(again.feature_weights_[12:], np.ones(20))


def test_none_are_chosen_where_all_features_matter_or_the_penalty_is_given():
    X, y = few_matter(60, 12)
    given = ConvexReLURegressor(0.1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(given.feature_weights_, np.ones(12))
    linear = ConvexReLURegressor(patterns="random", n_patterns=2, tol=1e3, random_state=0)
    linear.fit(X, X.sum(axis=1))
    np.testing.assert_array_equal(linear.feature_weights_, np.ones(12))


def test_cross_validation_and_paths():
    weights = [1.0, 3.0, 0.5]
    how = {"alphas": 3, "eps": 0.1, "cv": 2, "random_state": 0}
    one = ConvexReLURegressorCV(feature_weights=weights, **how).fit(X, Y[:, 0])
    other = ConvexReLURegressorCV(**how).fit(X * weights, Y[:, 0])
    np.testing.assert_allclose(one.scores_, other.scores_, rtol=1e-9)
    assert one.objective_ == pytest.approx(other.objective_, rel=1e-9)
    paths = [
        convex_relu_path(X, Y[:, 0], feature_weights=weights, n_alphas=2, random_state=0),
        convex_relu_path(X * weights, Y[:, 0], n_alphas=2, random_state=0),
    ]
    np.testing.assert_allclose(paths[0].objectives, paths[1].objectives)
    np.testing.assert_allclose(paths[0].networks[1](X), paths[1].networks[1](X * weights))
    largest = alpha_max(X, Y[:, 0], feature_weights=weights, random_state=0)
    assert largest == alpha_max(X * weights, Y[:, 0], random_state=0)
    X_, y_ = few_matter(90, 12)
    chosen = ConvexReLURegressorCV(feature_weights="auto", **how).fit(X_, y_)
    assert np.argmax(chosen.feature_weights_) == 0


def test_a_warm_start_with_other_weights():
    model = Regressor(warm_start=True).fit(X, Y[:, 0])
    again = model.set_params(feature_weights=WEIGHTS).fit(X, Y[:, 0])
    fresh = Regressor(feature_weights=WEIGHTS).fit(X, Y[:, 0])
    assert again.objective_ == pytest.approx(fresh.objective_, rel=0.02)


def test_selection_of_features():
    X, y = few_matter(80, 8)
    model = ConvexReLURegressor(0.05, random_state=0)
    kept = SelectFromModel(model, max_features=2, threshold=-np.inf).fit(X, y).get_support()
    np.testing.assert_array_equal(np.flatnonzero(kept), [0, 1])
    kept = RFE(model, n_features_to_select=2, step=3).fit(X, y).support_
    np.testing.assert_array_equal(np.flatnonzero(kept), [0, 1])
    rows, labels = make_classification(60, 4, random_state=0)
    robust = RobustConvexReLUClassifier(alpha=0.01, tol=0.1, random_state=0).fit(rows, labels)
    assert robust.feature_importances_.sum() == pytest.approx(1.0)


def test_radii_and_exports_are_in_the_units_of_the_user():
    model = Classifier(feature_weights=[5.0, 0.1, 1.0]).fit(X, LABELS)
    np.testing.assert_allclose(to_mlp(model).predict_proba(X), model.predict_proba(X), atol=1e-9)
    scaled = Classifier(feature_weights=None).fit(X * [5.0, 0.1, 1.0], LABELS)
    mlp = to_mlp(scaled)
    mlp.coefs_[0] = mlp.coefs_[0] * np.array([[5.0], [0.1], [1.0]])
    found = certified_radius(model, X[:5], model.predict(X[:5]))
    np.testing.assert_allclose(found, certified_radius(mlp, X[:5], model.predict(X[:5])), atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [[1.0, 2.0], [[1.0, 2.0, 3.0]], [1.0, -1.0, 1.0], [np.nan, 1.0, 1.0], [np.inf, 1.0, 1.0],
     np.zeros(3), ["a", "b", "c"], [True, False, True], 2.0, "all"],
)  # fmt: skip
@pytest.mark.parametrize("model", [Regressor, Classifier, ConvexReLUClassifierCV])
def test_bad_weights(model, values):
    with pytest.raises(ValueError, match="feature_weights"):
        model(feature_weights=values).fit(X, LABELS)
