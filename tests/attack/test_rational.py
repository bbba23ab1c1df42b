"""Certificates of robustness against rational arithmetic, and against what `predict` does."""

import warnings
from copy import copy
from fractions import Fraction
from functools import cache, partial

import numpy as np
import pytest
from rationals import Ball, RationalNetwork, exact
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor, TwoLayerReLU
from sklearn_convexnet.robustness import certified_accuracy, certified_radius, certify

pytestmark = pytest.mark.slow

# turn up to attack in earnest: networks a test
N_NETWORKS = 120
METHODS = ("auto", "exact", "crown", "interval")
KINDS = ("ordinary", "cancelling", "nearly cancelling", "opposite", "far away", "wide range")


def draw_network(rng, kind, d, n_outputs):
    """Weights (U, b, A, c); those that cancel are 1e6 to 1e12 large."""
    m = rng.randint(2, 7)
    U, b = rng.standard_normal((d, m)), rng.standard_normal(m)
    A, c = rng.standard_normal((m, n_outputs)), rng.standard_normal(n_outputs)
    if kind == "wide range":
        U *= 10.0 ** rng.uniform(-6, 6, m)
        A *= 10.0 ** rng.uniform(-6, 6, (m, 1))
    elif kind != "ordinary":
        half = m // 2
        size = 10.0 ** rng.uniform(6, 12)
        tiny = 10.0 ** rng.uniform(-16, -12) if kind == "opposite" else 1.0 / size
        near = np.where(kind == "nearly cancelling" or rng.rand() < 0.5, tiny, 0.0)
        sign = -1.0 if kind == "opposite" else 1.0
        stretch = rng.choice([1.0, 2.0, 1.0 + 1e-9, 3.0])
        U[:, :half] = sign * stretch * U[:, half : 2 * half] * (1.0 + near * rng.randn(d, half))
        b[:half] = sign * stretch * b[half : 2 * half] * (1.0 + near * rng.randn(half))
        A[:half] *= size
        A[half : 2 * half] = -stretch * A[:half] + rng.standard_normal((half, n_outputs))
        if kind == "far away":
            shift = 10.0 ** rng.uniform(2, 6) * rng.standard_normal(d)
            b -= shift @ U
    return U, b, A, c


def draw_inputs(rng, kind, network, d):
    """A row near some kinks, and radii."""
    U, b = network[:2]
    x = rng.standard_normal(d)
    if kind == "far away" or rng.rand() < 0.5:
        # onto the kink of a neuron
        j = rng.randint(U.shape[1])
        x = x - U[:, j] * (U[:, j] @ x + b[j]) / (U[:, j] @ U[:, j])
    radii = rng.choice([1e-3, 0.03, 0.3, 1.0]) * rng.choice([1.0, 1.0, 0.7], d)
    return x, radii


def with_weights(kind, network, classes=None, dtype=np.float64):
    """An estimator with these weights: a network of the package, or one of scikit-learn."""
    U, b, A, c = (part.astype(dtype) for part in network)
    model = copy(fitted(kind, U.shape[0], classes or -A.shape[1], dtype))
    if kind == "package":
        model.network_ = TwoLayerReLU(U, b, A, c)
    model.coefs_, model.intercepts_ = [U, A], [b, c]
    return model


@cache
def fitted(kind, d, classes, dtype):
    """An estimator of so many classes, or of minus as many outputs, whose weights do not matter."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((12, d)).astype(dtype)
    if classes > 0:
        y, package, learn = np.arange(12) % classes, ConvexReLUClassifier, MLPClassifier
    else:
        y, learn = rng.standard_normal((12, -classes)), MLPRegressor
        # other weights have other outputs
        package = partial(ConvexReLURegressor, output_range=None)
        y = y[:, 0] if classes == -1 else y
    if kind == "package":
        return package(alpha=1.0, n_patterns=2, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return learn(hidden_layer_sizes=(2,), max_iter=1, random_state=0).fit(X, y)


def worst(network, ball, label):
    corners = network.corners(ball)
    return min(network.margin(corner, label) for corner in corners), corners


def nearby_inputs(corners, ball, dtype=np.float64):
    """Floats within the ball next to corners, so that `predict` can be asked."""
    points = np.array([[float(v) for v in corner] for corner in corners])
    middle = np.array([float(v) for v in ball.centre])
    # a little inwards, where rounding has led out of the ball
    points = np.concatenate([points, middle + (points - middle) * (1.0 - 1e-7), middle[None]])
    points = points.astype(dtype)
    return points[[ball.contains(exact(point)) for point in points]]


def tied_bias(rng, network, x, radii, norm, label):
    """The network with an output bias that leaves next to nothing of the worst-case margin."""
    U, b, A, c = network
    rational, ball = RationalNetwork(*network), Ball(x, exact(radii), norm)
    margin, _ = worst(rational, ball, label)
    k = label if len(c) > 1 else 0
    sign = 1 if len(c) > 1 or label else -1
    share = Fraction(float(rng.choice([0.0, 1e-16, 1e-12, 1e-9, -1e-15, -1e-12, -1e-8])))
    size = rational.magnitude(ball.centre) + abs(margin)
    shifted = rational.c[k] - sign * (margin + share * size)
    c = c.copy()
    c[k] = float(shifted)
    return U, b, A, c


def draw_classifier(seed, norm):
    rng = np.random.RandomState(seed)
    kind, d = KINDS[seed % 6], 1 + (seed // 6) % 2
    classes = 2 if seed % 4 else 3
    network = draw_network(rng, kind, d, 1 if classes == 2 else classes)
    x, radii = draw_inputs(rng, kind, network, d)
    label = int(rng.randint(classes))
    network = tied_bias(rng, network, x, radii, norm, label)
    return network, x, radii, label, classes, kind


@pytest.mark.parametrize("norm", [np.inf, 1])
@pytest.mark.parametrize("estimator", ["package", "scikit-learn"])
@pytest.mark.parametrize("block", range(6))
def test_certified_holds_in_rational_arithmetic(block, estimator, norm):
    found = []
    for seed in range(block, N_NETWORKS, 6):
        weights, x, radii, label, classes, kind = draw_classifier(seed, norm)
        model = with_weights(estimator, weights, classes)
        network, ball = RationalNetwork(*weights), Ball(x, exact(radii), norm)
        least, corners = worst(network, ball, label)
        inputs = nearby_inputs(corners, ball)
        right = (model.predict(inputs) == label).all()
        for method in METHODS:
            result = certify(
                model, x[None], [label], radii, norm=norm, method=method, random_state=0
            )
            claims = {
                "certified, and wrong": result.status[0] == "certified" and least <= 0,
                "certified, and predicted wrong": result.status[0] == "certified" and not right,
                "a lower bound too high": Fraction(float(result.lower[0])) > least,
                "falsified, and right": result.status[0] == "falsified"
                and network.margin(exact(result.adversarial[0]), label)
                > network.magnitude(ball.centre) / 10**10,
            }
            found += [
                (claim, seed, kind, method, float(least), float(result.lower[0]))
                for claim, false in claims.items()
                if false
            ]
    assert not found, found


@pytest.mark.parametrize("method", ["auto", "exact"])
@pytest.mark.parametrize("block", range(6))
def test_certified_radius_holds_in_rational_arithmetic(block, method):
    found = []
    for seed in range(block, N_NETWORKS, 6):
        weights, x, radii, label, classes, kind = draw_classifier(seed + 5000, np.inf)
        model = with_weights("package", weights, classes)
        # the worst-case margin is next to nothing at the middle of the bisection
        radius = certified_radius(
            model, x[None], [label], epsilon=radii, max_radius=2.0, tol=0.01, method=method,
            random_state=0,
        )[0]  # fmt: skip
        if radius == 0:
            continue
        ball = Ball(x, [Fraction(float(radius)) * r for r in exact(radii)], np.inf)
        least, corners = worst(RationalNetwork(*weights), ball, label)
        right = (model.predict(nearby_inputs(corners, ball)) == label).all()
        if least <= 0 or not right:
            found.append((seed, kind, radius, float(least), right))
    assert not found, found


@pytest.mark.parametrize("estimator", ["package", "scikit-learn"])
@pytest.mark.parametrize("block", range(6))
def test_ranges_of_outputs_enclose_them_in_rational_arithmetic(block, estimator):
    found = []
    for seed in range(block, N_NETWORKS, 6):
        rng = np.random.RandomState(seed + 9000)
        kind, d, n_outputs = KINDS[seed % 6], 1 + (seed // 6) % 2, 1 + seed % 2
        weights = draw_network(rng, kind, d, n_outputs)
        x, radii = draw_inputs(rng, kind, weights, d)
        model = with_weights(estimator, weights)
        network, ball = RationalNetwork(*weights), Ball(x, exact(radii), np.inf)
        corners = network.corners(ball)
        outputs = list(zip(*[network.outputs(corner) for corner in corners], strict=True))
        inputs = nearby_inputs(corners, ball)
        predicted = model.predict(inputs).reshape(len(inputs), -1)
        for method in METHODS[1:]:
            result = certify(model, x[None], None, radii, method=method, random_state=0)
            lower, upper = (np.reshape(end, -1) for end in (result.lower, result.upper))
            for k, values in enumerate(outputs):
                false = Fraction(float(lower[k])) > min(values)
                false |= Fraction(float(upper[k])) < max(values)
                beyond = predicted[:, k].min() < lower[k] or predicted[:, k].max() > upper[k]
                if false or beyond:
                    found.append((seed, kind, method, false, beyond))
    assert not found, found


# a perceptron of scikit-learn that was trained in float32 predicts in float32
@pytest.mark.parametrize(
    ("estimator", "precision"),
    [("package", "inputs"), ("scikit-learn", "inputs"), ("scikit-learn", "weights")],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_what_is_certified_is_predicted_in_single_precision(classes, estimator, precision):
    found = []
    for seed in range(N_NETWORKS):
        rng = np.random.RandomState(seed)
        weights = draw_network(rng, "ordinary", 1 + seed % 2, 1 if classes == 2 else classes)
        x, radii = draw_inputs(rng, "ordinary", weights, 1 + seed % 2)
        # small outputs, of which a sigmoid or a cast to float32 leaves nothing
        size = rng.choice([1.0, 1e-9, 1e-18, 1e-30])
        weights = [*weights[:2], size * weights[2], size * weights[3]]
        x, radii = x.astype(np.float32), radii * rng.choice([0.0, 1e-9, 1e-3])
        single = [part.astype(np.float32).astype(float) for part in weights]
        network = RationalNetwork(*single)
        label = int(np.argmax([network.margin(exact(x), k) for k in range(classes)]))
        # margins from the rounding of float64 to beyond that of float32
        margin = size * 10.0 ** rng.uniform(-14, -5)
        base, _ = worst(network, Ball(x, exact(radii), np.inf), label)
        k, sign = (label, 1) if classes > 2 else (0, 1 if label else -1)
        single[3][k] += sign * float(Fraction(margin) - base)
        dtype = np.float64
        if precision == "weights":
            dtype, single[3] = np.float32, single[3].astype(np.float32).astype(float)
        model = with_weights(estimator, single, classes, dtype)
        result = certify(model, x[None], [label], radii, random_state=0)
        proved = certified_accuracy(model, x[None], [label], radii, random_state=0)
        if proved > model.score(x[None], [label]):
            found.append((seed, "score", margin))
        if result.status[0] == "certified":
            ball = Ball(x, exact(radii), np.inf)
            network = RationalNetwork(*single)
            inputs = nearby_inputs(network.corners(ball), ball, np.float32)
            if len(inputs) and (model.predict(inputs) != label).any():
                found.append((seed, "predict", margin))
    assert not found, found
