"""ConvexReLUClassifier: objective, scores, probabilities, labels and their weights."""

import functools
from functools import partial

import numpy as np
import pytest
from grids import pairwise
from scipy.special import expit
from sklearn.base import clone
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelBinarizer

from sklearn_convexnet import ConvexReLUClassifier, Hinge, LogLoss, SquaredError, SquaredHinge

Classifier = partial(ConvexReLUClassifier, n_patterns=12, random_state=0)

# one convex program, whose solution moves with the data; adaptive patterns may jump
FIXED = {"patterns": "random", "alpha": 1e-2, "tol": 1e-4}
# where it does not matter what is fitted
QUICK = {"patterns": "random", "solver": "scp", "tol": 0.2}
# of margins, written from their definitions
LOSSES = {
    "log_loss": lambda m: np.log1p(np.exp(-m)),
    "hinge": lambda m: np.maximum(0, 1 - m),
    "squared_hinge": lambda m: np.maximum(0, 1 - m) ** 2 / 2,
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((45, 3))
    score = np.abs(X[:, 0]) - X[:, 1] + 0.3 * rng.standard_normal(45)
    return X, (score > 0.5).astype(int)


def three_classes_data():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 3))
    return X, np.digitize(X[:, 0] + 0.5 * np.abs(X[:, 1]), [0, 1])


@pytest.fixture(scope="module")
def three_classes():
    return three_classes_data()


def scores_by_hand(model, X):
    (hidden, output), (biases, bias) = model.coefs_, model.intercepts_
    return np.maximum(X @ hidden + biases, 0) @ output + bias


def objective_by_hand(model, X, signs, loss, weights):
    (hidden, output), (biases, _) = model.coefs_, model.intercepts_
    decay = np.sum(hidden**2) + np.sum(biases**2) + np.sum(output**2)
    losses = loss(signs * scores_by_hand(model, X)).sum(axis=1)
    return weights @ losses / weights.sum() + model.alpha / 2 * decay


@pytest.mark.parametrize(
    ("loss", "fit_intercept", "n_classes", "weighted"),
    pairwise(LOSSES, [True, False], [2, 3], [True, False]),
)
def test_objective_and_scores_are_those_of_the_network(
    data, three_classes, loss, fit_intercept, n_classes, weighted
):
    X, y = data if n_classes == 2 else three_classes
    weights = np.linspace(0, 5, len(X)) if weighted else np.ones(len(X))
    how = {"fit_intercept": fit_intercept, "hidden_layer": "separate"}
    model = Classifier(alpha=0.02, loss=loss, tol=0.2, **how)
    model.fit(X, y, sample_weight=weights if weighted else None)
    assert model.dual_gap_ <= model.tol
    signs = 2.0 * (y[:, None] == [[1]] if n_classes == 2 else y[:, None] == np.arange(3)) - 1
    expected = objective_by_hand(model, X, signs, LOSSES[loss], weights)
    assert model.objective_ == pytest.approx(expected, rel=1e-10)
    scores, by_hand = model.decision_function(X), scores_by_hand(model, X)
    assert scores.shape == ((len(X),) if n_classes == 2 else (len(X), 3))
    np.testing.assert_allclose(scores.reshape(by_hand.shape), by_hand, rtol=1e-12, atol=1e-12)
    labels = (scores > 0).astype(int) if n_classes == 2 else scores.argmax(axis=1)
    np.testing.assert_array_equal(model.predict(X), labels)
    assert model.n_outputs_ == (1 if n_classes == 2 else 3)
    assert model.coefs_[1].shape == (model.n_neurons_, model.n_outputs_)
    assert model.intercepts_[1].shape == (model.n_outputs_,)


def test_mlp_with_the_weights_gives_the_same_probabilities(data):
    X, y = data
    y = np.array(["no", "yes"])[y]
    model = Classifier().fit(X, y)
    mlp = MLPClassifier((model.n_neurons_,), activation="relu")
    mlp.coefs_, mlp.intercepts_ = model.coefs_, model.intercepts_
    mlp.n_layers_, mlp.n_outputs_, mlp.out_activation_ = 3, 1, "logistic"
    mlp.classes_, mlp.n_features_in_ = model.classes_, 3
    mlp._label_binarizer = LabelBinarizer().fit(y)
    np.testing.assert_allclose(mlp.predict_proba(X), model.predict_proba(X), atol=1e-14)
    np.testing.assert_array_equal(mlp.predict(X), model.predict(X))


def test_loss_instances_equal_their_names(data):
    for instance in (LogLoss(), Hinge(), SquaredHinge()):
        named = Classifier(loss=instance.name, **QUICK).fit(*data)
        assert Classifier(loss=instance, **QUICK).fit(*data).objective_ == named.objective_


def test_loss_of_the_other_kind_is_refused(data):
    with pytest.raises(
        ValueError, match=r"loss must be a loss for classification, got SquaredError"
    ):
        Classifier(loss=SquaredError()).fit(*data)
    with pytest.raises(ValueError, match="'loss' parameter .* 'squared_error'"):
        Classifier(loss="squared_error").fit(*data)


# ------------------------------------------------------------------------------------------------
# Probabilities


@pytest.fixture(
    scope="module", params=[(2, "auto"), (3, "auto"), (3, "separate")], ids=["2", "3", "separate"]
)
def fitted(request, data, three_classes):
    """A fit, its rows, and how many classes in which layer it has."""
    n_classes, hidden_layer = request.param
    X, y = data if n_classes == 2 else three_classes
    return Classifier(hidden_layer=hidden_layer).fit(X, y), X, n_classes, hidden_layer


def test_probabilities(fitted):
    model, X, n_classes, hidden_layer = fitted
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (len(X), n_classes)
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))
    shared = n_classes == 3 and hidden_layer == "auto"
    expected = (np.exp if shared else expit)(model.decision_function(X))
    if n_classes == 2:
        expected = np.stack([1 - expected, expected], axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)


def test_probabilities_far_from_the_data(fitted):
    model, X, *_ = fitted
    for scale in (1e3, 1e6, 1e100, -1e3, -1e6, -1e100):
        far = scale * X
        scores, probabilities = model.decision_function(far), model.predict_proba(far)
        assert np.abs(scores).max() > abs(scale) / 10
        assert np.isfinite(probabilities).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-12)
        far32 = np.clip(far, -1e30, 1e30).astype(np.float32)
        assert np.isfinite(model.predict_proba(far32)).all()


def test_only_the_logistic_loss_has_probabilities(data):
    assert hasattr(Classifier(), "predict_proba")
    assert hasattr(Classifier(loss=LogLoss()), "predict_proba")
    for loss in ("hinge", "squared_hinge", Hinge()):
        model = Classifier(loss=loss, **QUICK)
        assert not hasattr(model, "predict_proba")
        with pytest.raises(AttributeError) as caught:
            model.fit(*data).predict_proba(data[0])
        assert "with loss='log_loss' only" in str(caught.value)
    # a constructor checks nothing
    assert not hasattr(Classifier(loss="hinges"), "predict_proba")


# ------------------------------------------------------------------------------------------------
# Labels


@functools.cache
def fit_to_ranks(ranks):
    """The fit to the places of labels in their order, of which few are different."""
    X, y = three_classes_data()
    return Classifier(**QUICK).fit(X, np.array(ranks)[y % len(ranks)])


@pytest.mark.parametrize(
    "labels",
    [
        ["no", "yes"],
        np.array(["no", "yes"], dtype=object),
        [False, True],
        [-1, 1],
        [0.0, 7.0],
        [2**40, 2**41],
        ["a", "b", "c"],
        [10, -10, 3],
    ],
    ids=str,
)
def test_labels_of_any_kind(three_classes, labels):
    X, y = three_classes
    labels = np.asarray(labels)
    codes = y % len(labels)
    ranks = np.argsort(np.argsort(labels))
    model = Classifier(**QUICK).fit(X, labels[codes])
    np.testing.assert_array_equal(model.classes_, np.sort(labels))
    assert model.classes_.dtype == labels.dtype
    assert set(model.predict(X)) <= set(labels)
    expected = fit_to_ranks(tuple(ranks))
    assert model.objective_ == expected.objective_
    np.testing.assert_array_equal(model.predict(X), model.classes_[expected.predict(X)])


def test_one_against_the_rest(three_classes):
    X, y = three_classes
    model = Classifier(**FIXED).fit(X, y)
    for k in range(3):
        alone = Classifier(**FIXED).fit(X, y == k)
        np.testing.assert_allclose(
            model.decision_function(X)[:, k], alone.decision_function(X), atol=1e-6
        )
    assert model.score(X, y) > 0.9


# ------------------------------------------------------------------------------------------------
# Weights of classes


def assert_same(one, other):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.objective_ == other.objective_


@pytest.mark.parametrize("weights", [{0: 3, 1: 1}, {0: 0.2, 1: 7.0}, {1: 1e7}, {0: 1e-7, 1: 1e7}])
def test_class_weight_equals_sample_weight(data, weights):
    X, y = data
    factors = np.where(y == 1, weights.get(1, 1), weights.get(0, 1))
    model = Classifier(class_weight=weights, tol=0.2).fit(X, y)
    assert_same(model, Classifier(tol=0.2).fit(X, y, sample_weight=factors))
    counts = np.arange(len(y)) % 3 + 1
    assert_same(
        clone(model).fit(X, y, sample_weight=counts),
        Classifier(tol=0.2).fit(X, y, sample_weight=factors * counts),
    )
    heavy = max((0, 1), key=lambda label: weights.get(label, 1))
    assert np.mean(model.predict(X)[y == heavy] == heavy) > 0.9


@pytest.mark.parametrize("n_classes", [2, 3])
def test_balanced_weights_give_every_class_the_same_total(data, three_classes, n_classes):
    X, y = data if n_classes == 2 else three_classes
    counts = np.arange(len(y)) % 4
    balanced = Classifier(class_weight="balanced", **FIXED)
    repeated = clone(balanced).fit(np.repeat(X, counts, axis=0), np.repeat(y, counts))
    weighted = clone(balanced).fit(X, y, sample_weight=counts)
    np.testing.assert_allclose(weighted.decision_function(X), repeated.decision_function(X))
    assert weighted.objective_ == pytest.approx(repeated.objective_, rel=1e-12)
    totals = np.bincount(y, weights=counts)
    by_hand = Classifier(**FIXED).fit(X, y, sample_weight=counts / totals[y])
    np.testing.assert_allclose(
        weighted.decision_function(X), by_hand.decision_function(X), rtol=1e-5, atol=1e-6
    )
    # the values themselves are scikit-learn's
    by_dict = dict(enumerate(len(y) / (n_classes * np.bincount(y))))
    assert clone(balanced).fit(X, y).objective_ == pytest.approx(
        Classifier(class_weight=by_dict, **FIXED).fit(X, y).objective_, rel=1e-12
    )


def test_class_of_no_weight_is_no_class(three_classes):
    X, y = three_classes
    few = Classifier(**QUICK).fit(X[y > 0], y[y > 0])
    assert few.classes_.tolist() == [1, 2]
    by_class = Classifier(class_weight={0: 0}, **QUICK).fit(X, y)
    by_sample = Classifier(**QUICK).fit(X, y, sample_weight=y > 0)
    for model in (by_class, by_sample):
        assert model.classes_.tolist() == [1, 2]
        assert_same(model, few)
    # their rows do not count in a certificate either
    assert by_class.certificate(X, y) == few.certificate_
    assert by_sample.certificate(X, y, sample_weight=y > 0) == few.certificate_
    balanced = Classifier(class_weight="balanced", **QUICK).fit(X, y, sample_weight=y > 0)
    assert balanced.certificate(X, y, sample_weight=y > 0) == balanced.certificate_


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf, "1", None])
def test_bad_class_weights_are_refused(data, bad):
    with pytest.raises(ValueError, match="class_weight must hold finite numbers >= 0, got {0: 1"):
        Classifier(class_weight={0: 1, 1: bad}).fit(*data)


def test_class_weights_of_unknown_classes(data):
    X, y = data
    for keys in (("no", "yes"), (0, 2), ("0", "1")):
        with pytest.raises(ValueError, match=r"class_weight must have labels of y as keys, got \["):
            Classifier(class_weight=dict.fromkeys(keys, 2)).fit(X, y)
    # but more keys than labels will do
    expected = Classifier(class_weight={0: 2}).fit(X, y).objective_
    assert Classifier(class_weight={0: 2, 1: 1, 7: 3}).fit(X, y).objective_ == expected
    digits = Classifier(class_weight={"0": 2}).fit(X, y.astype(str))
    assert digits.objective_ == expected
    with pytest.raises(ValueError, match="at least two classes of positive weight, got 1 class"):
        Classifier(class_weight={0: 0}).fit(X, y)
    with pytest.raises(ValueError, match="at least two classes of positive weight, got no class"):
        Classifier(class_weight={0: 0, 1: 0}).fit(X, y)
    with pytest.raises(ValueError, match="'class_weight' parameter"):
        Classifier(class_weight="even").fit(X, y)
