"""``output_range``: what limits the predictions of regressors, and what it leaves alone."""

import pickle
from functools import partial

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor, ConvexReLURegressorCV
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.selection.penalty import choose

FIXED = {"patterns": "random", "n_patterns": 8, "tol": 0.2, "random_state": 0}
Regressor = partial(ConvexReLURegressor, alpha=1e-3, **FIXED)

rng = np.random.RandomState(0)
X = rng.standard_normal((30, 3))
Y = np.column_stack([np.abs(X[:, 0]), X[:, 1] - X[:, 2]])
# much farther away than what was learned from
NEW = 5.0 * rng.standard_normal((100, 3))


def by_hand(model, X, low, high):
    outputs = np.minimum(np.maximum(model.network_(X), low), high)
    return outputs[:, 0] if model.predict(X).ndim == 1 else outputs


@pytest.mark.parametrize("y", [Y[:, 0], Y[:, :1], Y], ids=["one", "column", "two"])
@pytest.mark.parametrize("hidden", [{}, {"patterns": "adaptive"}], ids=["random", "adaptive"])
def test_predictions_stay_within_the_training_targets(y, hidden):
    model = Regressor(**hidden).fit(X, y)
    columns = y.reshape(len(y), -1)
    np.testing.assert_array_equal(model.output_range_, [columns.min(axis=0), columns.max(axis=0)])
    predicted, outputs = model.predict(NEW), model.network_(NEW)
    assert predicted.shape == (len(NEW), *y.shape[1:])
    np.testing.assert_array_equal(predicted, by_hand(model, NEW, *model.output_range_))
    inside = (outputs > model.output_range_[0]) & (outputs < model.output_range_[1])
    assert inside.any() and not inside.all()
    target = np.resize(y, predicted.shape)
    assert model.score(NEW, target) == r2_score(target, predicted)


def test_the_network_of_a_penalty_and_what_is_known_of_it_do_not_change():
    free, limited = (Regressor(output_range=limits).fit(X, Y) for limits in (None, (0.0, 0.1)))
    assert np.isinf(free.output_range_).all() and free.output_range_.shape == (2, 2)
    np.testing.assert_array_equal(free.predict(NEW), free.network_(NEW))
    assert limited.objective_ == free.objective_
    assert limited.lower_bound_ == free.lower_bound_
    assert limited.certificate_ == free.certificate_
    assert limited.certificate(X, Y) is limited.certificate_
    for one, other in zip(limited.coefs_, free.coefs_, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_without_weight_have_no_say():
    y, weights = Y[:, 0].copy(), np.ones(len(X))
    y[3], weights[3] = 100.0, 0.0
    model = Regressor().fit(X, y, weights)
    assert model.output_range_.ravel().tolist() == [Y[:, 0].min(), np.delete(y, 3).max()]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ((0, 1), [[0, 0], [1, 1]]),
        ([-np.inf, 0.5], [[-np.inf, -np.inf], [0.5, 0.5]]),
        ((0.2, [0.5, 3.0]), [[0.2, 0.2], [0.5, 3.0]]),
        (np.array([[0.0, -1.0], [0.5, np.inf]]), [[0.0, -1.0], [0.5, np.inf]]),
    ],
)
def test_a_range_that_is_given(limits, expected):
    before = np.array(limits, dtype=object)
    model = Regressor(output_range=limits).fit(X, Y)
    np.testing.assert_array_equal(model.output_range_, expected)
    assert model.output_range_.dtype == np.float64
    np.testing.assert_array_equal(model.predict(NEW), by_hand(model, NEW, *expected))
    # numbers of the caller stay theirs
    model.output_range_[:] = 7.0
    assert np.all(np.array(limits, dtype=object) == before)


@pytest.mark.parametrize(
    "limits",
    [
        (1.0, 1.0),
        (1.0, 0.0),
        (0.0, np.nan),
        (np.inf, np.inf),
        (0.0,),
        (),
        (0.0, 1.0, 2.0),
        ([0.0], [1.0]),
        ([0.0, 0.0, 0.0], 1.0),
        ([[0.0, 0.0]], 1.0),
        ([0.0, 2.0], [1.0, 1.0]),
        ("0", "1"),
        (0.0, None),
        (False, True),
        (0.0, 1j),
        (0.0, [1.0, [2.0]]),
        np.array(3.0),
    ],
)
@pytest.mark.parametrize("make", [Regressor, partial(ConvexReLURegressorCV, alphas=2, cv=2)])
def test_pairs_that_are_no_range_are_refused(make, limits):
    message = r"output_range must be 'training', None or a pair \(low, high\) .* \(2,\) .* got "
    with pytest.raises(ValueError, match=message) as caught:
        make(output_range=limits).fit(X, Y)
    assert repr(limits) in str(caught.value)


@pytest.mark.parametrize("limits", ["all", 3.0, True])
def test_other_values_are_refused(limits):
    with pytest.raises(ValueError, match=f"'output_range' parameter of .* Got {limits!r} instead"):
        Regressor(output_range=limits).fit(X, Y)


def test_a_fit_keeps_its_range():
    model = Regressor().fit(X, Y)
    predicted = model.predict(NEW)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(NEW), predicted)
    assert not hasattr(clone(model), "output_range_")
    model.set_params(output_range=None)
    np.testing.assert_array_equal(model.predict(NEW), predicted)
    assert np.isinf(model.fit(X, Y).output_range_).all()


def test_targets_that_are_all_the_same():
    model = ConvexReLURegressor(random_state=0).fit(X, np.full(len(X), 0.1))
    assert (model.predict(NEW) == 0.1).all()


def test_float32_rows():
    model = Regressor().fit(X.astype(np.float32), Y)
    predicted = model.predict(NEW.astype(np.float32))
    assert predicted.dtype == np.float32
    assert (predicted.max(axis=0) == model.output_range_[1].astype(np.float32)).all()


def test_classifiers_have_none():
    model = ConvexReLUClassifier(alpha=0.1, **FIXED).fit(X, Y[:, 0] > 0.5)
    assert not hasattr(model, "output_range") and not hasattr(model, "output_range_")


# ------------------------------------------------------------------------------------------------
# The choice of a penalty


@pytest.mark.parametrize("limits", ["training", (0.1, [0.5, 1.0]), None])
def test_a_fold_is_scored_within_the_range_of_its_own_targets(limits):
    seen = []

    def scoring(model, X, y, sample_weight):
        seen.append(model.output_range_)
        np.testing.assert_array_equal(model.predict(X), by_hand(model, X, *model.output_range_))
        return -np.abs(model.predict(X) - y).mean()

    weights = np.arange(len(X)) % 3
    model = ConvexReLURegressorCV(
        alphas=[1e-3], cv=KFold(3), scoring=scoring, output_range=limits, **FIXED
    ).fit(X, Y, weights)
    used = [train[weights[train] > 0] for train, _ in KFold(3).split(X)] + [weights > 0]
    for found, rows in zip([*seen, model.output_range_], used, strict=True):
        expected = [Y[rows].min(axis=0), Y[rows].max(axis=0)]
        if limits is None:
            expected = [[-np.inf] * 2, [np.inf] * 2]
        elif limits != "training":
            expected = [[0.1, 0.1], [0.5, 1.0]]
        np.testing.assert_array_equal(found, expected)


def heavy_tails():
    rng = np.random.RandomState(0)
    X = rng.standard_t(1, (30, 2))
    return X, np.clip(X[:, 0], -1, 1) + 0.1 * rng.standard_normal(30)


def test_the_penalty_is_judged_by_limited_predictions():
    X, y = heavy_tails()
    alphas = {
        limits: Regressor(alpha="auto", output_range=limits).fit(X, y).alpha_
        for limits in ("training", None, (-1e9, 1e9), (y.min(), y.max()))
    }
    assert alphas["training"] < alphas[None] == alphas[-1e9, 1e9]
    assert alphas["training"] == alphas[y.min(), y.max()]


def test_every_output_is_judged_within_its_own_limits():
    X, y = heavy_tails()
    targets, pairs = np.column_stack([y, -2.0 * y]), np.array([[-1.0, -1e9], [1.0, 1e9]])
    together, *alone = (
        Regressor(alpha="auto", hidden_layer="separate", output_range=limits).fit(X, y).alpha_
        for limits, y in [(pairs, targets), *zip(pairs.T, targets.T, strict=True)]
    )
    assert together[0] != together[1] / 2.0
    np.testing.assert_allclose(together, alone, rtol=1e-12)


def test_limits_are_those_of_the_rows_that_train():
    X, y = heavy_tails()
    seen = []

    def limits(outputs):
        seen.append(outputs)
        return np.array([[-1.0], [1.0]])

    how = {"limits": limits, "fit_intercept": True, "seed": 0}
    choose(X, [(get_loss("squared_error"), y)], np.full(30, 1 / 30), **how)
    # every row is left out of one of five folds
    assert [outputs.shape for outputs in seen] == [(24, 1)] * 5
    np.testing.assert_array_equal(np.sort(np.ravel(seen)), np.sort(np.tile(y, 4)))
