"""What is proved holds in exact arithmetic, and for what ``predict`` returns, in spite of rounding.

Networks whose large terms cancel, against worst cases in rational arithmetic; and margins so small
that the dtype of the rows, the arithmetic of the estimator or its probabilities round them off.
"""

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from networks import Fitted
from sklearn.base import clone, is_classifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
)
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.robustness import (
    certified_accuracy,
    certified_radius,
    certify,
    robust_accuracy,
)

METHODS = ["interval", "crown", "auto", "exact"]
exactly = np.vectorize(Fraction, otypes=[object])
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")

# ------------------------------------------------------------------------------------------------
# Worst cases in rational arithmetic: a piecewise linear function is least at a vertex


def vertices(network, x, radius, norm):
    """Where lines of neurons and edges of a ball in one or two dimensions meet, in the ball."""
    weights, biases, x = exactly(network.hidden_weights), exactly(network.hidden_biases), exactly(x)
    lines = [(tuple(w), -b) for w, b in zip(weights.T, biases, strict=True)]
    if len(x) == 1:
        lines += [((Fraction(1),), x[0] + sign * radius) for sign in (-1, 1)]
        points = [np.array([c / w], dtype=object) for (w,), c in lines if w]
    else:
        if norm == 1:
            normals = [(Fraction(1), Fraction(1)), (Fraction(1), Fraction(-1))]
        else:
            normals = [(Fraction(1), Fraction(0)), (Fraction(0), Fraction(1))]
        lines += [(w, w @ x + s * radius) for w in map(np.array, normals) for s in (-1, 1)]
        points = []
        for ((a, b), e), ((c, d), f) in combinations(lines, 2):
            if a * d != b * c:
                points.append(np.array([e * d - b * f, a * f - e * c]) / (a * d - b * c))
    size = sum if norm == 1 else max
    return [point for point in points if size(abs(point - x)) <= radius]


def outputs_at(network, points):
    """Outputs of a network at rational points."""
    weights, biases, output, shift = map(
        exactly,
        (
            network.hidden_weights,
            network.hidden_biases,
            network.output_weights,
            network.output_biases,
        ),
    )
    return np.maximum(np.array(points) @ weights + biases, Fraction(0)) @ output + shift


def margins(outputs, label):
    """Margins of exact outputs."""
    if outputs.shape[1] == 1:
        return outputs[:, 0] * (2 * label - 1)
    return outputs[:, label] - np.delete(outputs, label, axis=1).max(axis=1)


def draw_cancelling(rng, d, n_outputs):
    """A network of nearly equal neurons with huge output weights of both signs, and a ball."""
    scale, m = 10.0 ** rng.uniform(6, 12), rng.randint(2, 5)
    x, radius = rng.uniform(-2, 2, d), rng.uniform(0, 1.5)
    near = 1.0 + 10.0 ** rng.uniform(-12, -1) * rng.standard_normal((d, m))
    weights = rng.uniform(0.5, 1.0, (d, 1)) * rng.choice([-1.0, 1.0], (d, 1)) * near
    kinks = x @ weights + radius * rng.uniform(-1, 1)
    biases = -kinks * (1.0 + 10.0 ** rng.uniform(-12, 0) * rng.standard_normal(m))
    output = 1.0 + 10.0 ** rng.uniform(-10, -6) * rng.standard_normal((m, n_outputs))
    output *= scale * np.where(np.arange(m) % 2, -1.0, 1.0)[:, None] * rng.choice([-1.0, 1.0])
    network = TwoLayerReLU(weights, biases, output, rng.standard_normal(n_outputs))
    return network, x, radius, scale


def attack_rounding(seed, d, n_classes, norm, methods, radii=()):
    """Certificates of a margin that is about as large as its rounding."""
    rng = np.random.RandomState(seed)
    network, x, radius, scale = draw_cancelling(rng, d, 1 if n_classes == 2 else n_classes)
    label = rng.randint(n_classes)
    ball = vertices(network, x, Fraction(radius), norm)
    least = margins(outputs_at(network, ball), label).min()
    wanted = scale * 10.0 ** rng.uniform(-19, -8) * rng.choice([-1.0, -1.0, 1.0])
    sign = -1.0 if n_classes == 2 and label == 0 else 1.0
    network.output_biases[0 if n_classes == 2 else label] += sign * (wanted - float(least))
    least = margins(outputs_at(network, ball), label).min()
    estimator = Fitted(network, np.arange(n_classes))
    inside = x + (1 - 1e-9) * (np.array(ball, dtype=float) - x)
    for method in methods:
        result = certify(
            estimator, [x], [label], radius, norm=norm, method=method, random_state=seed
        )
        assert Fraction(result.lower[0]) <= least, (seed, method)
        if result.status[0] == "certified":
            assert least > 0
            assert margins(network(inside), label).min() > 0
        if result.status[0] == "falsified":
            assert margins(network(result.adversarial), label)[0] <= 0
    for method in radii:
        (found,) = certified_radius(
            estimator, [x], [label], epsilon=radius, norm=norm, method=method, tol=1e-2
        )
        if found > 0:
            ball = vertices(network, x, Fraction(found) * Fraction(radius), norm)
            assert margins(outputs_at(network, ball), label).min() > 0, (seed, method)
    regressor = Fitted(TwoLayerReLU(*(vars(network)[name] for name in vars(network))))
    outputs = outputs_at(network, vertices(network, x, Fraction(radius), norm))
    for method in methods:
        result = certify(regressor, [x], None, radius, norm=norm, method=method)
        for end, worst in (
            (result.lower, outputs.min(axis=0)),
            (-result.upper, -outputs.max(axis=0)),
        ):
            assert all(map(Fraction.__le__, exactly(np.ravel(end)), worst)), (seed, method)
        assert np.all((network(inside) >= result.lower) & (network(inside) <= result.upper))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("d", "norm"), [(1, np.inf), (2, np.inf), (2, 1)])
def test_networks_that_cancel(d, norm, n_classes):
    for seed in range(2):
        attack_rounding(seed, d, n_classes, norm, METHODS, radii=["auto"] if seed < 1 else ())


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(("d", "norm"), [(1, np.inf), (2, np.inf), (2, 1)])
def test_many_networks_that_cancel(d, norm, n_classes):
    for seed in range(100, 250):
        attack_rounding(seed, d, n_classes, norm, METHODS, radii=METHODS if seed < 120 else ())


@pytest.mark.parametrize(
    ("hidden", "output", "bias", "x", "radius"),
    [
        (
            ([0.5264273099706147, 0.526427310548883], [-0.5226957027150323, -0.5226957010684323]),
            [524953849213.03094, -524953846892.9402],
            1165.7429414322733,
            1.600569722093494,
            0.8011731587965808,
        ),
        (
            (
                [-0.545272403169305, -0.5452723727211395],
                [-0.23309732443776957, -0.2330973114179047],
            ),
            [18626507951.829506, -18626501177.182735],
            0.06774120594929967,
            -0.2819656427584656,
            0.6993309143024582,
        ),
    ],
)
def test_what_a_solver_once_certified_up_to_its_tolerance(hidden, output, bias, x, radius):
    weights, biases = map(np.array, hidden)
    network = TwoLayerReLU(weights[None], biases, np.array(output)[:, None], np.array([bias]))
    ball = vertices(network, np.array([x]), Fraction(radius), np.inf)
    assert margins(outputs_at(network, ball), 1).min() < 0
    estimator = Fitted(network, [0, 1])
    for method in METHODS:
        assert certify(estimator, [[x]], [1], radius, method=method).status != "certified"
        found = certified_radius(estimator, [[x]], [1], epsilon=radius, method=method, tol=0.1)[0]
        ball = vertices(network, np.array([x]), Fraction(found) * Fraction(radius), np.inf)
        assert found == 0 or margins(outputs_at(network, ball), 1).min() > 0


# ------------------------------------------------------------------------------------------------
# What `predict` does: tiny margins in float32 and float64

CENTRE, EPSILON = np.array([0.25, -0.5]), 1e-3
TINY = [0.0, 1e-2, 1e-17, 1e-16, 1e-12, 3e-8, 1e-6]


def draw_data(n_classes, dtype):
    X = np.random.RandomState(0).uniform(-1, 1, (30, 2)).astype(dtype)
    return X, np.digitize(X[:, 0] + X[:, 1], [-0.3, 0.5][: n_classes - 1])


def shift(estimator, margin):
    """Make the margin of the last class over the first, and over others, about this at `CENTRE`."""
    perceptron = not hasattr(estimator, "network_")
    (hidden, output), (biases, last) = estimator.coefs_, estimator.intercepts_
    network = TwoLayerReLU(hidden, biases, output, np.zeros_like(last))
    outputs = network(CENTRE[None].astype(np.float64))[0]
    levels = np.ones(len(outputs))
    levels[-1] += margin
    last = (np.array([margin]) if len(outputs) == 1 else levels) - outputs
    if perceptron:
        estimator.intercepts_[1] = last.astype(estimator.intercepts_[1].dtype)
    else:
        estimator.network_ = TwoLayerReLU(hidden, biases, output, last)


def points_around(dtype, epsilon):
    """Corners and random points of the box, rounded to the dtype, as far as they stay in it."""
    rng = np.random.RandomState(1)
    directions = np.concatenate(
        [np.zeros((1, 2)), [*product([-1.0, 1.0], repeat=2)], rng.uniform(-1, 1, (20, 2))]
    )
    points = (CENTRE + epsilon * directions).astype(dtype)
    return points[(np.abs(points.astype(np.float64) - CENTRE) <= epsilon).all(axis=1)]


CLASSIFIERS = [
    (ConvexReLUClassifier(random_state=0), 2),
    (ConvexReLUClassifier(n_patterns=10, random_state=0), 3),
    (
        ConvexReLUClassifierCV(
            alphas=[0.1], cv=2, patterns="random", n_patterns=10, random_state=0
        ),
        3,
    ),
    (RobustConvexReLUClassifier(epsilon=0.1, random_state=0), 2),
    (GradientDescentReLUClassifier(n_neurons=8, n_steps=20, random_state=0), 2),
    (GradientDescentReLUClassifier(n_neurons=8, n_steps=20, random_state=0), 3),
    (MLPClassifier(8, max_iter=20, random_state=0), 2),
    (MLPClassifier(8, max_iter=20, random_state=0), 3),
]


@pytest.mark.parametrize(
    ("estimator", "n_classes", "dtype"),
    [
        # every one in the quick run in one dtype
        pytest.param(*case, dtype, marks=[pytest.mark.slow] if (k + wide) % 2 == 0 else [])
        for wide, dtype in enumerate([np.float32, np.float64])
        for k, case in enumerate(CLASSIFIERS)
    ],
)
def test_certified_is_predicted_at_tiny_margins(estimator, n_classes, dtype):
    estimator = clone(estimator).fit(*draw_data(n_classes, dtype))
    X, y = np.repeat(CENTRE[None], n_classes, axis=0).astype(dtype), np.arange(n_classes)
    certified = 0
    for k, margin in enumerate([*TINY, *(-margin for margin in TINY[1:])]):
        shift(estimator, margin)
        epsilon = (EPSILON, 0.0, 1e-6)[k % 3]
        result = certify(estimator, X, y, epsilon, random_state=0)
        reached = np.where(result.status == "certified", epsilon, -1.0)
        certified += np.sum(reached >= 0)
        if k % 4 == 0:
            radii = certified_radius(estimator, X, y, epsilon=EPSILON, tol=0.1)
            reached = np.maximum(reached, np.where(radii > 0, radii * EPSILON, -1.0))
            attacked = robust_accuracy(estimator, X, y, epsilon, attack="fgsm")
            assert certified_accuracy(estimator, X, y, epsilon) <= attacked
        for kind in (np.float32, np.float64):
            for label in y[reached >= 0]:
                assert np.all(estimator.predict(points_around(kind, reached[label])) == label)
        broken = result.status == "falsified"
        assert np.all(estimator.predict(result.adversarial)[broken] != y[broken])
    assert certified > 0


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("make", [ConvexReLUClassifier, GradientDescentReLUClassifier])
def test_predict_decides_before_rounding_to_float32(make, n_classes):
    estimator = make(random_state=0).fit(*draw_data(n_classes, np.float32))
    X = CENTRE[None]
    for margin in (3e-8, 1e-12):
        shift(estimator, margin)
        single = X.astype(np.float32)
        assert estimator.predict(single) == estimator.predict(X) == n_classes - 1
        assert estimator.decision_function(single).dtype == np.float32
        assert estimator.predict_proba(single).dtype == np.float32
        result = certified_accuracy(estimator, single, [n_classes - 1], 0.0)
        assert result <= estimator.score(single, [n_classes - 1]) == 1.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "estimator",
    [
        ConvexReLURegressor(output_range=None, random_state=0),
        # which lie on either side of the limits, and these between two numbers of float32
        ConvexReLURegressor(output_range=(-0.1, 0.1), random_state=0),
        MLPRegressor(hidden_layer_sizes=8, max_iter=20, random_state=0),
    ],
)
def test_bounds_on_outputs_hold_in_the_dtype_of_the_rows(estimator, dtype):
    X, y = draw_data(3, dtype)
    assert not is_classifier(estimator)
    estimator.fit(X, y.astype(dtype))
    centre = CENTRE[None].astype(dtype)
    for epsilon, method in product([0.0, 1e-6, EPSILON], METHODS):
        result = certify(estimator, centre, None, epsilon, method=method)
        moved = estimator.predict(points_around(dtype, epsilon)).astype(np.float64)
        assert np.all((moved >= result.lower) & (moved <= result.upper))
