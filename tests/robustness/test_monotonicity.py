"""Whether a network is monotone on a box: proofs that hold, counterexamples that are some."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from networks import Fitted, draw_classifier, draw_network
from sklearn.neural_network import MLPClassifier, MLPRegressor

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.robustness import certify_monotonic


def slopes(network, feature, points, sign):
    active = points @ network.hidden_weights + network.hidden_biases > 0
    return sign * active @ (network.hidden_weights[feature] * network.output_weights[:, 0])


def outputs(network, points):
    return network(np.asarray(points))[:, 0]


def check(network, feature, low, high, sign, result):
    """What holds of every answer, and what many points say."""
    d = len(network.hidden_weights)
    rng = np.random.RandomState(0)
    points = rng.uniform(low, high, (20_000, d))
    found = slopes(network, feature, points, sign).min()
    assert result.lower <= min(found, result.upper) + 1e-12
    first, second = result.points
    assert (result.points >= low).all() and (result.points <= high).all()
    np.testing.assert_array_equal(np.delete(first, feature), np.delete(second, feature))
    assert first[feature] < second[feature]
    fall = sign * (outputs(network, second[None]) - outputs(network, first[None]))[0]
    size = np.abs(network.hidden_weights[feature] * network.output_weights[:, 0]).sum()
    assert (result.status == "falsified") == (fall < 0 and result.upper < -1e-5 * size)
    if result.status == "certified":
        assert result.lower >= -1e-5 * size and found >= -1e-5 * size
    if fall < 0:
        # the mean slope between them
        assert result.upper <= fall / (second - first)[feature] + 1e-9
    return found


@given(
    seed=st.integers(0, 10_000),
    d=st.integers(1, 3),
    m=st.integers(0, 12),
    sign=st.sampled_from([1, -1]),
    flat=st.booleans(),
)
@example(seed=0, d=2, m=0, sign=1, flat=False)
@settings(max_examples=60)
def test_answers_hold(seed, d, m, sign, flat):
    rng = np.random.RandomState(seed)
    network, feature = draw_network(rng, d, m), rng.randint(d)
    # a leaning that makes some monotone
    network.hidden_weights[feature] += (
        sign * rng.uniform(0, 3) * np.sign(network.output_weights[:, 0])
    )
    low, high = -rng.uniform(0.1, 2, d), rng.uniform(0.1, 2, d)
    if flat and d > 1:
        # a feature that does not vary
        other = (feature + 1) % d
        high[other] = low[other]
    result = certify_monotonic(Fitted(network), feature, (low, high), monotonic_cst=sign)
    found = check(network, feature, low, high, sign, result)
    assert result.status != "unknown"
    # the least slope is told, and not only that it is negative
    size = np.abs(network.hidden_weights[feature] * network.output_weights[:, 0]).sum()
    if result.status == "falsified":
        assert result.upper <= found + 1e-12
        assert result.upper - result.lower <= 1e-5 * size


def test_both_statuses_occur():
    statuses = set()
    for seed in range(30):
        network = draw_network(np.random.RandomState(seed), 2, 3)
        result = certify_monotonic(Fitted(network), 0, (-1, 1))
        statuses.add(result.status)
    assert statuses == {"certified", "falsified"}


def test_borders_of_cells_are_no_counterexamples():
    # two neurons share a hyperplane: where one is active the other is
    weights, biases = np.array([[1.0, 1.0], [0.5, 0.5]]), np.array([0.1, 0.1])
    network = TwoLayerReLU(weights, biases, np.array([[1.0], [-0.9]]), np.zeros(1))
    result = certify_monotonic(Fitted(network), 0, (-1, 1))
    # on it, either may be taken for active, and the bound has to allow for that
    assert (result.status, result.upper >= 0.0) == ("unknown", True)
    assert -0.91 <= result.lower < -0.89
    wrong = TwoLayerReLU(weights, biases, np.array([[0.9], [-1.0]]), np.zeros(1))
    assert certify_monotonic(Fitted(wrong), 0, (-1, 1)).status == "falsified"


RNG = np.random.RandomState(0)
X = RNG.uniform(-1, 1, (80, 2))
Y = X[:, 0] - 0.8 * np.sin(4 * X[:, 0]) + X[:, 1] ** 2


@pytest.mark.parametrize("feature", [0, 1])
def test_networks_fitted_monotone_are_certified_everywhere(feature):
    cst = np.eye(2, dtype=int)[feature]
    model = ConvexReLURegressor(monotonic_cst=cst, alpha=1e-3, random_state=0).fit(X, Y)
    result = certify_monotonic(model, feature, (-1e3, 1e3))
    assert result.status == "certified"
    free = ConvexReLURegressor(alpha=1e-3, random_state=0).fit(X, Y)
    dips = certify_monotonic(free, feature, ([-1, -1], [1, 1]))
    assert dips.status == "falsified"
    assert np.diff(free.predict(dips.points))[0] < 0


def test_perceptrons_and_names():
    frame = pd.DataFrame(X, columns=["a", "b"])
    how = {"hidden_layer_sizes": (8,), "max_iter": 300, "solver": "lbfgs", "random_state": 0}
    regressor = MLPRegressor(**how).fit(frame, X[:, 0] + 0.1 * X[:, 1])
    result = certify_monotonic(regressor, "a", (-1, 1))
    assert result.status == "certified"
    assert certify_monotonic(regressor, "a", (-1, 1), monotonic_cst=-1).status == "falsified"
    classifier = MLPClassifier(**how).fit(frame, Y > 0.3)
    result = certify_monotonic(classifier, "b", (-1, 1))
    assert result.status == "falsified"
    assert (
        np.diff(classifier.predict_proba(pd.DataFrame(result.points, columns=["a", "b"]))[:, 1]) < 0
    )


def test_time_may_run_out():
    network = draw_network(np.random.RandomState(1), 8, 60)
    network.hidden_weights[0] += 2.0 * np.sign(network.output_weights[:, 0])
    result = certify_monotonic(Fitted(network), 0, (-1, 1), time_limit=0.0)
    check(network, 0, -np.ones(8), np.ones(8), 1, result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, (-1, 1)), r"feature must be .* \[0, 2\), got 2"),
        ((-1, (-1, 1)), "feature must be"),
        ((True, (-1, 1)), "feature must be"),
        (("z", (-1, 1)), "feature must be a name seen in fit, got 'z'"),
        ((0, (1, -1)), "bounds must be a pair"),
        ((0, (-1, np.inf)), "bounds must be finite"),
        ((0, ([-1, -1, -1], 1)), "bounds must be finite numbers or have one entry"),
        ((0, ([0.5, -1], [0.5, 1])), "bounds must leave feature 0 a range"),
        ((0, None), "bounds must be a pair"),
    ],
)
def test_arguments_are_checked(arguments, message):
    model = Fitted(draw_network(np.random.RandomState(0), 2, 3))
    with pytest.raises(ValueError, match=message):
        certify_monotonic(model, *arguments)


def test_other_arguments_are_checked():
    model = Fitted(draw_network(np.random.RandomState(0), 2, 3))
    for wrong in (0, 2, True, "up"):
        with pytest.raises(ValueError, match="monotonic_cst must be 1 or -1"):
            certify_monotonic(model, 0, (-1, 1), monotonic_cst=wrong)
    with pytest.raises(ValueError, match="time_limit"):
        certify_monotonic(model, 0, (-1, 1), time_limit=-1)
    with pytest.raises(ValueError, match="one output"):
        certify_monotonic(draw_classifier(np.random.RandomState(0), n_classes=3), 0, (-1, 1))
    with pytest.raises(ValueError, match="fitted"):
        certify_monotonic(ConvexReLUClassifier(), 0, (-1, 1))
