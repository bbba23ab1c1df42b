"""The network behind an estimator."""

import numpy as np
import pytest
from networks import Fitted, draw_network
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.robustness.model import Model

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def draw_data(n_classes=2, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((40, 3))
    return X, np.arange(40) % n_classes


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "estimator", [MLPClassifier(6, max_iter=20, random_state=0), ConvexReLUClassifier()]
)
def test_labels_are_those_of_the_estimator(estimator, n_classes):
    X, y = draw_data(n_classes)
    estimator.fit(X, np.array(["a", "b", "c"])[y])
    model = Model.of(estimator)
    np.testing.assert_array_equal(model.classes[model.predict(X)], estimator.predict(X))
    labels = model.check_labels(estimator.predict(X), X)
    outputs = model.network(X)
    margins = np.einsum("nco,no->nc", model.margin_directions(labels), outputs).min(axis=1)
    assert np.all(margins >= 0)
    if n_classes == 3:
        top = np.sort(outputs, axis=1)
        np.testing.assert_allclose(margins, top[:, -1] - top[:, -2])
    else:
        np.testing.assert_allclose(margins, np.abs(outputs[:, 0]))


@pytest.mark.parametrize(
    "estimator",
    [
        MLPRegressor(hidden_layer_sizes=6, max_iter=20, random_state=0),
        ConvexReLURegressor(),
        ConvexReLURegressor(output_range=None),
    ],
)
def test_outputs_are_those_of_the_regressor(estimator):
    X, _ = draw_data()
    for y in (X[:, 0], X[:, :2]):
        estimator.fit(X, y)
        model = Model.of(estimator)
        assert model.classes is None
        predicted = np.clip(model.network(X), *model.limits)
        np.testing.assert_allclose(predicted, estimator.predict(X).reshape(40, -1))


def test_float32_weights_become_float64():
    X, y = draw_data()
    model = Model.of(MLPClassifier(4, max_iter=5).fit(X.astype(np.float32), y))
    assert model.network.hidden_weights.dtype == np.float64


def test_opposite_neurons_are_found():
    u, v = np.array([0.3, -0.7]), np.array([1.1, 0.2])
    columns = np.array([u, v, -3.0 * u, [0.0, 0.0], -v, u]).T
    biases = np.array([0.5, 0.1, -1.5, 1.0, 0.2, 0.4])
    network = TwoLayerReLU(columns, biases, np.ones((6, 1)), np.zeros(1))
    first, second, ratios = Model(network, None).pairs
    # -v has another bias, and the last neuron has another bias than the first
    np.testing.assert_array_equal([first, second], [[0], [2]])
    np.testing.assert_allclose(ratios, 3.0)
    assert len(Model(draw_network(np.random.RandomState(0), m=0), None).pairs[0]) == 0


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("estimator", [MLPClassifier(4, max_iter=5), ConvexReLUClassifier()])
def test_columns_are_those_of_fit(estimator, library):
    DataFrame = pytest.importorskip(library).DataFrame
    X, y = draw_data()
    columns = dict(zip("abc", X.T, strict=True))
    estimator.fit(DataFrame(columns), y)
    if not hasattr(estimator, "feature_names_in_"):
        pytest.skip("this scikit-learn does not see the names of these columns")
    model = Model.of(estimator)
    np.testing.assert_array_equal(model.check_rows(DataFrame(columns)), X)
    np.testing.assert_array_equal(model.check_rows(X), X)
    for names, message in [
        ("bac", "got 'b' in place of 'a'"),
        ("ab", "got None in place of 'c'"),
        ("abcd", "got 'd' in place of None"),
    ]:
        other = DataFrame({name: columns.get(name, y) for name in names})
        with pytest.raises(ValueError, match=f"feature names of X should match .*{message}"):
            model.check_rows(other)
    # where fit saw no names, those of X say nothing
    unnamed = Model.of(estimator.fit(X, y))
    np.testing.assert_array_equal(unnamed.check_rows(DataFrame(columns)), X)


def test_columns_without_names():
    pandas = pytest.importorskip("pandas")
    X, y = draw_data()
    model = Model.of(ConvexReLUClassifier().fit(pandas.DataFrame(X, columns=list("abc")), y))
    np.testing.assert_array_equal(model.check_rows(pandas.DataFrame(X)), X)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (MLPClassifier(), ValueError, "MLPClassifier has neither network_ nor coefs_. Is it fit"),
        (ConvexReLUClassifier(), ValueError, "Is it fitted"),
        (ConvexReLUClassifier, TypeError, "must be a fitted instance, got the class"),
        (make_pipeline(MLPClassifier()), TypeError, "got Pipeline: transform X.*epsilon"),
        (3, TypeError, "must be a fitted network with one hidden layer, got 3"),
    ],
)
def test_what_is_no_fitted_network(estimator, error, message):
    with pytest.raises(error, match=message):
        Model.of(estimator)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (MLPClassifier((4, 3), max_iter=2), ValueError, "one hidden layer, got MLPClassifier with"),
        (MLPClassifier(4, activation="tanh", max_iter=2), ValueError, "activation='relu', got 'ta"),
        (
            GridSearchCV(MLPClassifier(4, max_iter=2), {"alpha": [1.0]}, cv=2),
            TypeError,
            "best_estimator_",
        ),
        (LogisticRegression(), ValueError, "LogisticRegression has neither network_"),
        (KMeans(2, n_init=1), ValueError, "KMeans has neither"),
    ],
)
def test_what_is_another_model(estimator, error, message):
    with pytest.raises(error, match=message):
        Model.of(estimator.fit(*draw_data()))


def test_many_labels_per_sample():
    X, y = draw_data()
    with pytest.raises(ValueError, match="one label per sample"):
        Model.of(MLPClassifier(4, max_iter=2).fit(X, np.c_[y, 1 - y]))


def test_outputs_that_are_transformed():
    X, y = draw_data()
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=2).fit(X, y)
    model.out_activation_ = "exp"
    with pytest.raises(ValueError, match="must not transform its outputs, got .*'exp'"):
        Model.of(model)


def test_outputs_that_are_not_those_of_classes():
    network = draw_network(np.random.RandomState(0), k=2)
    with pytest.raises(ValueError, match="2 for 3 classes"):
        Model.of(Fitted(network, [0, 1, 2]))
