"""The public functions: what they promise, of whom, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import Fitted, brute_minimum, draw_ball, draw_classifier, draw_network
from scipy.optimize import LinearConstraint, milp
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.robustness import (
    certified_accuracy,
    certified_radius,
    certify,
    fgsm,
    pgd,
    robust_accuracy,
)

NORMS = [np.inf, 2, 1]
METHODS = ["interval", "crown", "auto", "exact"]
quick = settings(max_examples=10)
seeds = st.integers(0, 2**31 - 1)
pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")


def draw_data(n_classes=2, n=60, d=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    return X, np.digitize(X[:, 0] * X[:, 1], [0.0, 0.5][: n_classes - 1])


def margins_of(estimator, X, y):
    """Margins from the network's outputs; y are indices of classes."""
    outputs = estimator.network_(X)
    if outputs.shape[1] == 1:
        return np.where(y == 1, 1.0, -1.0) * outputs[:, 0]
    rows = np.arange(len(X))
    own = outputs[rows, y]
    outputs[rows, y] = -np.inf
    return own - outputs.max(axis=1)


def big_m_minimum(network, direction, x, epsilon):
    """Least ``direction @ f`` over a box: the textbook program with a binary for every neuron."""
    d, m = network.hidden_weights.shape
    weights, W, b = (
        network.output_weights @ direction,
        network.hidden_weights,
        network.hidden_biases,
    )
    M = np.abs(x @ W + b) + epsilon @ np.abs(W) + 1.0
    eye, none = np.eye(m), np.zeros((m, m))
    rows = [  # variables: x, y = relu(z), s
        LinearConstraint(np.hstack([-W.T, eye, none]), b, np.inf),
        LinearConstraint(np.hstack([-W.T, eye, np.diag(M)]), -np.inf, b + M),
        LinearConstraint(np.hstack([none[:, :0], np.zeros((m, d)), eye, -np.diag(M)]), -np.inf, 0),
    ]
    result = milp(
        np.concatenate([np.zeros(d), weights, np.zeros(m)]),
        integrality=np.repeat([0, 1], [d + m, m]),
        bounds=(
            np.concatenate([x - epsilon, np.zeros(2 * m)]),
            np.concatenate([x + epsilon, np.full(m, np.inf), np.ones(m)]),
        ),
        constraints=rows,
        options={"mip_rel_gap": 0.0},
    )
    return result.fun + direction @ network.output_biases


# ------------------------------------------------------------------------------------------------
# Certificates


@quick
@given(seed=seeds, norm=st.sampled_from(NORMS), n_classes=st.sampled_from([2, 4]))
def test_certified_is_below_exact_is_below_attacked(seed, norm, n_classes):
    rng = np.random.RandomState(seed)
    estimator = draw_classifier(rng, 4, 20, n_classes)
    X, y = rng.standard_normal((15, 4)), rng.randint(n_classes, size=15)
    epsilon = rng.uniform(0, 0.6, 4) * rng.randint(0, 2, 4)
    interval, crown, auto, exact = (
        certify(estimator, X, y, epsilon, norm=norm, method=method, random_state=0)
        for method in METHODS
    )
    rounding = 1e-9
    assert np.all(interval.lower <= crown.lower)
    for result in (interval, crown, auto, exact):
        assert np.all(result.lower <= exact.upper + rounding)
        assert np.all(result.upper >= exact.lower - rounding)
        np.testing.assert_array_equal(result.upper, margins_of(estimator, result.adversarial, y))
        np.testing.assert_array_equal(result.status == "falsified", result.upper <= 0)
        np.testing.assert_array_equal(
            result.status == "certified", (result.lower > 0) & (result.upper > 0)
        )
        change = result.adversarial - X
        assert np.all(change[:, epsilon == 0] == 0)
        units = change[:, epsilon > 0] / epsilon[epsilon > 0]
        if units.size:
            assert np.linalg.norm(units, ord=norm, axis=1).max() <= 1 + 1e-15
    np.testing.assert_allclose(exact.lower, exact.upper, atol=1e-6)
    np.testing.assert_array_equal(auto.status, exact.status)
    for attacked in (
        fgsm(estimator, X, y, epsilon, norm=norm),
        pgd(estimator, X, y, epsilon, norm=norm, random_state=0),
    ):
        assert np.all(margins_of(estimator, attacked, y) >= exact.lower - rounding)
    accuracies = [
        certified_accuracy(estimator, X, y, epsilon, norm=norm, method=method)
        for method in METHODS
    ]  # fmt: skip
    accuracies += [
        robust_accuracy(estimator, X, y, epsilon, norm=norm, attack=attack, random_state=0)
        for attack in ("pgd", "fgsm")
    ]
    assert accuracies[2] == accuracies[3]
    accuracies.append(np.mean(margins_of(estimator, X, y) > 0))
    assert accuracies[0] <= accuracies[1] <= accuracies[2] <= min(accuracies[4:])
    assert max(accuracies[4:]) <= accuracies[-1]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_ten_thousand_perturbations_do_not_beat_a_certificate(norm, n_classes):
    rng = np.random.RandomState(7)
    estimator = draw_classifier(rng, 2, 30, n_classes)
    X, y = rng.standard_normal((8, 2)), rng.randint(n_classes, size=8)
    exact = certify(estimator, X, y, 0.5, norm=norm, method="exact")
    for k in range(8):
        moved = X[k] + 0.5 * draw_ball(rng, (10_000, 2), norm)
        least = margins_of(estimator, moved, np.full(10_000, y[k])).min()
        assert least >= exact.lower[k]
        # in the plane so many come close
        assert least <= exact.lower[k] + 0.5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_exact_is_the_mixed_integer_program(n_classes):
    rng = np.random.RandomState(3)
    estimator = draw_classifier(rng, 4, 12, n_classes)
    X, y, epsilon = rng.standard_normal((4, 4)), rng.randint(n_classes, size=4), np.full(4, 0.7)
    epsilon[1] = 0.0
    exact = certify(estimator, X, y, epsilon, method="exact")
    assert np.abs(exact.lower - exact.upper).max() <= 1e-7
    eye = np.eye(n_classes)
    for k in range(4):
        if n_classes == 2:
            directions = [np.array([2.0 * y[k] - 1.0])]
        else:
            directions = [eye[y[k]] - eye[j] for j in range(n_classes) if j != y[k]]
        least = min(big_m_minimum(estimator.network_, c, X[k], epsilon) for c in directions)
        np.testing.assert_allclose(exact.lower[k], least, atol=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_exact_is_brute_force(norm):
    rng = np.random.RandomState(4)
    estimator = draw_classifier(rng, 3, 5)
    X, epsilon = rng.standard_normal((2, 3)), np.array([0.5, 0.0, 1.0])
    exact = certify(estimator, X, [1, 0], epsilon, norm=norm, method="exact")
    for k, sign in enumerate([1.0, -1.0]):
        least = brute_minimum(estimator.network_, np.array([sign]), X[k], epsilon, norm)
        np.testing.assert_allclose(exact.lower[k], least, atol=1e-6)


@quick
@given(seed=seeds)
def test_bounds_cut_the_ball(seed):
    rng = np.random.RandomState(seed)
    estimator = draw_classifier(rng, 2, 15)
    X, y = rng.uniform(-0.3, 1.3, (3, 2)), rng.randint(2, size=3)
    bounds = (np.array([0.0, 0.2]), 1.0)
    boxed = certify(estimator, X, y, 0.4, bounds=bounds, method="exact")
    valid = np.clip(X, *bounds)
    low, high = np.maximum(valid - 0.4, bounds[0]), np.minimum(valid + 0.4, 1.0)
    assert np.all((boxed.adversarial >= low) & (boxed.adversarial <= high))
    assert np.all(boxed.lower >= certify(estimator, valid, y, 0.4, method="exact").lower - 1e-8)
    for k in range(3):
        # the same box without bounds
        radius = 0.5 * (high[k] - low[k])
        plain = certify(estimator, [low[k] + radius], y[[k]], radius, method="exact")
        np.testing.assert_allclose(boxed.lower[k], plain.lower[0], atol=1e-7)
    # the inputs themselves are among the perturbed ones, though not at the centres of the boxes
    cheap = certify(estimator, X, y, 0.4, bounds=bounds, method="interval")
    assert np.all(cheap.upper <= margins_of(estimator, valid, y) + 1e-9)
    attacked = pgd(estimator, X, y, 0.4, bounds=bounds, random_state=0)
    assert np.all((attacked >= low) & (attacked <= high))
    assert np.all(margins_of(estimator, attacked, y) >= boxed.lower - 1e-9)


def test_no_perturbation_is_the_margin_itself():
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 3, 10, 3)
    X, y = rng.standard_normal((20, 3)), rng.randint(3, size=20)
    for method in METHODS:
        result = certify(estimator, X, y, 0.0, method=method)
        np.testing.assert_array_equal(result.adversarial, X)
        np.testing.assert_allclose(result.lower, result.upper, atol=1e-9)


def test_the_hard_tail_goes_to_mixed_integer_programs(monkeypatch):
    from sklearn_convexnet.robustness import enclosure

    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 6, 25)
    X, y = rng.standard_normal((12, 6)), np.arange(12) % 2
    found = {method: certify(estimator, X, y, 0.5, method=method) for method in ("exact", "auto")}
    calls, original = [], enclosure.minimise_query

    def counted(*args, **kwargs):
        calls.append(kwargs["decide"])
        return original(*args, **kwargs)

    monkeypatch.setattr(enclosure, "NODES", 1)
    monkeypatch.setattr(enclosure, "minimise_query", counted)
    for method, result in found.items():
        tail = certify(estimator, X, y, 0.5, method=method)
        np.testing.assert_array_equal(tail.status, result.status)
        if method == "exact":
            # below by what the solver may be wrong by
            network = estimator.network_
            size = 0.5 * np.sum(np.abs(network.hidden_weights) @ np.abs(network.output_weights))
            assert np.all(tail.lower <= result.upper)
            assert np.all(tail.lower >= result.lower - 3e-6 * size)
            np.testing.assert_allclose(tail.upper, result.upper, atol=1e-6)
    assert True in calls and False in calls


def test_without_neurons_the_network_is_constant():
    estimator = Fitted(draw_network(np.random.RandomState(0), 2, 0), ["a", "b"])
    estimator.network_.output_biases[:] = 0.5
    result = certify(estimator, np.zeros((2, 2)), ["a", "b"], 1.0)
    assert result.status.tolist() == ["falsified", "certified"]
    np.testing.assert_allclose(result.lower, [-0.5, 0.5])
    np.testing.assert_array_equal(certified_radius(estimator, np.zeros((2, 2))), 1.0)


# ------------------------------------------------------------------------------------------------
# Estimators


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "estimator",
    [MLPClassifier(10, max_iter=50, random_state=0), ConvexReLUClassifier(random_state=0)],
)
def test_classifiers(estimator, n_classes):
    X, y = draw_data(n_classes)
    y = np.array(["x", "y", "z"])[y]
    estimator.fit(X, y)
    result = certify(estimator, X, y, 0.1)
    assert set(result.status) == {"certified", "falsified"}
    wrong = estimator.predict(result.adversarial) != y
    np.testing.assert_array_equal(wrong, result.status == "falsified")
    certified = certified_accuracy(estimator, X, y, 0.1)
    assert certified == np.mean(result.status == "certified")
    assert certified <= robust_accuracy(estimator, X, y, 0.1) <= estimator.score(X, y)
    attacked = pgd(estimator, X, y, 0.1, random_state=0)
    assert np.all(estimator.predict(attacked[~wrong]) == y[~wrong])


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize(
    "estimator",
    [
        MLPRegressor(hidden_layer_sizes=8, max_iter=50, random_state=0),
        ConvexReLURegressor(random_state=0),
        ConvexReLURegressor(output_range=(-0.3, 0.5), random_state=0),
    ],
)
def test_regressors(estimator, n_outputs):
    X, _ = draw_data(n=20)
    y = np.sin(2 * X[:, 0]) if n_outputs == 1 else np.sin(2 * X[:, :2])
    estimator.fit(X, y)
    shape = y.shape
    for method in METHODS:
        result = certify(estimator, X, None, 0.3, method=method)
        assert result.lower.shape == result.upper.shape == shape
        assert result.lowest.shape == result.highest.shape == (*shape, 3)
        assert np.abs(result.lowest.reshape(20, -1, 3) - X[:, None]).max() <= 0.3
        rng = np.random.RandomState(0)
        for _ in range(50):
            moved = estimator.predict(X + rng.uniform(-0.3, 0.3, X.shape))
            assert np.all((moved >= result.lower) & (moved <= result.upper))
        for k in range(n_outputs):
            for end, points in ((result.lower, result.lowest), (result.upper, result.highest)):
                reached = estimator.predict(points.reshape(20, -1, 3)[:, k]).reshape(20, -1)[:, k]
                gap = np.abs(end.reshape(20, -1)[:, k] - reached)
                assert np.all(gap <= (1e-6 if method in ("auto", "exact") else np.inf))
    before = np.abs(estimator.predict(X) - y).reshape(20, -1).max(axis=1)
    found = fgsm(estimator, X, y, 0.3), pgd(estimator, X, y, 0.3, restarts=20, random_state=0)
    errors = [np.abs(estimator.predict(rows) - y).reshape(20, -1).max(axis=1) for rows in found]
    worst = np.maximum(result.upper - y, y - result.lower).reshape(20, -1).max(axis=1)
    for error in errors:
        assert np.all(error <= worst + 1e-9)
    assert np.all(errors[1] >= before)
    np.testing.assert_allclose(errors[1], worst, rtol=0.2)
    for function in (certified_accuracy, robust_accuracy):
        with pytest.raises(TypeError, match=f"{function.__name__} needs a classifier"):
            function(estimator, X, y, 0.1)
    with pytest.raises(TypeError, match="certified_radius needs a classifier"):
        certified_radius(estimator, X)


@pytest.mark.parametrize("method", METHODS)
def test_neurons_that_are_almost_opposite_certify_nothing_false(method):
    # (x_0 + 0.4)_+ - (-x_0 + 0.4)_+ + 0.5 at this row: as of opposite neurons, x_0 + 0.9
    network = TwoLayerReLU(
        np.array([[1.0, -1.0], [4e-14, 4e-14]]), np.zeros(2), np.array([[1.0], [-1.0]]), [0.5]
    )
    estimator, X = Fitted(network, [0, 1]), np.array([[0.0, 1e13]])
    result = certify(estimator, X, [1], [0.3, 0.0], method=method, random_state=0)
    assert result.status == "falsified"
    np.testing.assert_allclose([result.lower, result.upper], -0.1, atol=1e-9)


# ------------------------------------------------------------------------------------------------
# Radii


@pytest.mark.parametrize("norm", NORMS)
def test_radius_of_a_linear_function_is_its_distance(norm):
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 3, 4)
    estimator.network_.hidden_biases[:] = 50.0  # no neuron changes sign
    X, epsilon = rng.standard_normal((6, 3)), np.array([1.0, 2.0, 0.0])
    slope = (estimator.network_.hidden_weights @ estimator.network_.output_weights)[:, 0]
    outputs = estimator.network_(X)[:, 0]
    estimator.network_.output_biases[:] -= np.median(outputs)
    dual = {np.inf: 1, 2: 2, 1: np.inf}[norm]
    exact = np.abs(estimator.network_(X)[:, 0]) / np.linalg.norm(epsilon * slope, ord=dual)
    radii = certified_radius(estimator, X, epsilon=epsilon, norm=norm, max_radius=2.0)
    np.testing.assert_allclose(radii, np.minimum(exact, 2.0), atol=1e-3)
    assert np.all(radii <= exact)


@pytest.mark.parametrize("method", METHODS)
def test_radii_are_certified_and_hardly_more_is(method):
    rng = np.random.RandomState(5)
    estimator = draw_classifier(rng, 3, 12, 3)
    X, y = rng.standard_normal((10, 3)), rng.randint(3, size=10)
    radii = certified_radius(estimator, X, y, method=method, tol=1e-2)
    for k in range(10):
        one, label = X[k : k + 1], y[k : k + 1]
        if radii[k] > 0:
            assert certify(estimator, one, label, radii[k], method=method).lower > 0
        elif margins_of(estimator, one, label)[0] <= 0:
            continue
        if radii[k] < 1 and method in ("auto", "exact"):
            result = certify(estimator, one, label, radii[k] + 0.011, method=method)
            assert result.status == "falsified"
    # labels by default are those predicted
    right = margins_of(estimator, X, y) > 0
    predicted = certified_radius(estimator, X, method=method, tol=1e-2)
    np.testing.assert_array_equal(predicted[right], radii[right])
    assert np.all(radii[~right] == 0) and np.any(predicted[~right] > 0)


def test_bisection_ends_at_neighbouring_floats(monkeypatch):
    from sklearn_convexnet.robustness import radius

    calls, original = [], radius.enclose

    def counted(*args, **kwargs):
        calls.append(args)
        assert len(calls) < 100
        return original(*args, **kwargs)

    monkeypatch.setattr(radius, "enclose", counted)
    estimator = draw_classifier(np.random.RandomState(0))
    X = np.random.RandomState(1).standard_normal((4, 3))
    wide, narrow = (certified_radius(estimator, X, method="crown", tol=t) for t in (1e-3, 1e-17))
    assert np.any((wide > 0) & (wide < 1))
    assert np.all((narrow >= wide) & (narrow <= wide + 1e-3))


# ------------------------------------------------------------------------------------------------
# Parameters


def test_time_limit_leaves_valid_bounds():
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 4, 30)
    X, y = rng.standard_normal((20, 4)), rng.randint(2, size=20)
    exact = certify(estimator, X, y, 0.5, method="exact")
    for method in ("auto", "exact"):
        stopped = certify(estimator, X, y, 0.5, method=method, time_limit=0)
        crown = certify(estimator, X, y, 0.5, method="crown")
        np.testing.assert_array_equal(stopped.status, crown.status)
        np.testing.assert_array_equal(stopped.lower, crown.lower)
        assert np.any(stopped.status == "unknown")
        assert np.all(stopped.lower <= exact.upper) and np.all(stopped.upper >= exact.lower)
    assert np.all(certified_radius(estimator, X, time_limit=0) <= certified_radius(estimator, X))


def test_same_seed_same_result_and_arguments_are_left_alone():
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 4, 30, 3)
    X, y, epsilon = rng.standard_normal((20, 4)), rng.randint(3, size=20), np.full(4, 0.4)
    kept = X.copy(), y.copy(), epsilon.copy()
    X.setflags(write=False)
    first, again = (certify(estimator, X, y, epsilon, random_state=3) for _ in range(2))
    for name in ("status", "lower", "upper", "adversarial"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    one, two = (pgd(estimator, X, y, epsilon, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    for before, after in zip(kept, (X, y, epsilon), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_units_of_inputs_and_outputs_do_not_matter(factor):
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 3, 20)
    X, y = rng.standard_normal((10, 3)), rng.randint(2, size=10)
    plain = certify(estimator, X, y, 0.4, method="exact")
    network = estimator.network_
    network.hidden_weights[:] /= factor
    network.output_weights[:] *= factor
    network.output_biases[:] *= factor
    other = certify(estimator, factor * X, y, 0.4 * factor, method="exact")
    np.testing.assert_array_equal(other.status, plain.status)
    np.testing.assert_allclose(other.lower, factor * plain.lower, rtol=1e-6)


def test_verbose_reports_progress(capsys):
    rng = np.random.RandomState(0)
    estimator = draw_classifier(rng, 4, 30)
    X, y = rng.standard_normal((20, 4)), rng.randint(2, size=20)
    certify(estimator, X, y, 0.5)
    assert capsys.readouterr().out == ""
    certify(estimator, X, y, 0.5, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("certify: ") and "linear relaxation" in lines[0]
    assert "0 of 20 open" in lines[-1]
    certified_radius(estimator, X, verbose=True)
    assert "certified_radius: " in capsys.readouterr().out


def test_data_frames_and_lists():
    pandas = pytest.importorskip("pandas")
    X, y = draw_data()
    model = ConvexReLUClassifier(random_state=0).fit(X, y)
    plain = certify(model, X, y, 0.1)
    frame = certify(model, pandas.DataFrame(X, columns=list("abc")), pandas.Series(y), [0.1] * 3)
    np.testing.assert_array_equal(plain.lower, frame.lower)
    np.testing.assert_array_equal(plain.lower, certify(model, X.tolist(), y.tolist(), 0.1).lower)


def test_columns_in_another_order():
    pandas = pytest.importorskip("pandas")
    X, y = draw_data()
    frame = pandas.DataFrame(X, columns=list("abc"))
    model = ConvexReLUClassifier(random_state=0).fit(frame, y)
    for function in (certify, certified_accuracy, robust_accuracy, pgd, fgsm):
        with pytest.raises(ValueError, match="feature names of X should match"):
            function(model, frame[["b", "a", "c"]], y, 0.1)
    with pytest.raises(ValueError, match="feature names of X should match"):
        certified_radius(model, frame[["b", "a", "c"]])


ESTIMATOR = draw_classifier(np.random.RandomState(0))
ROWS, LABELS = np.zeros((2, 3)), [0, 1]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"estimator": make_pipeline(MLPClassifier())}, TypeError, "Pipeline: transform X"),
        ({"estimator": MLPClassifier()}, ValueError, "Is it fitted"),
        ({"X": np.zeros(3)}, ValueError, r"X must have shape \(n_samples, 3\), got \(3,\)"),
        ({"X": np.zeros((2, 4))}, ValueError, r"got \(2, 4\)"),
        ({"X": np.zeros((0, 3)), "y": []}, ValueError, "at least one row"),
        ({"X": 1j + np.zeros((2, 3))}, ValueError, "Complex data not supported: X must be real"),
        ({"X": np.full((2, 3), "a")}, ValueError, "could not convert string to float"),
        ({"X": np.full((2, 3), np.nan)}, ValueError, "X must be finite"),
        ({"y": None}, ValueError, "y must be the labels"),
        ({"y": [0]}, ValueError, r"y must have shape \(2,\)"),
        ({"y": [0, 7]}, ValueError, r"labels not seen in fit: \[7\]"),
        ({"epsilon": -1.0}, ValueError, "epsilon must be"),
        ({"epsilon": [0.1, 0.1]}, ValueError, r"per feature \(3\), got shape \(2,\)"),
        ({"norm": 3}, ValueError, "norm must be"),
        ({"norm": 2, "bounds": (0, 1)}, ValueError, "bounds need norm"),
        ({"bounds": (1, 0)}, ValueError, "bounds must be"),
        ({"method": "magic"}, ValueError, "method must be one of auto, exact, .*'magic'"),
        ({"time_limit": -1}, ValueError, "time_limit must be None or a number >= 0, got -1"),
        ({"time_limit": True}, ValueError, "time_limit must be"),
        ({"random_state": "x"}, ValueError, "random_state must be"),
    ],
)
def test_bad_arguments_of_certify(changes, error, message):
    arguments = {"estimator": ESTIMATOR, "X": ROWS, "y": LABELS, "epsilon": 0.1} | changes
    with pytest.raises(error, match=message):
        certify(**arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (pgd, {"epsilon": 0.1, "steps": 0}, "steps must be an integer >= 1, got 0"),
        (pgd, {"epsilon": 0.1, "restarts": 1.5}, "restarts must be an integer >= 1, got 1.5"),
        (robust_accuracy, {"epsilon": 0.1, "attack": "cw"}, "attack must be one of pgd, fgsm"),
        (certified_radius, {"max_radius": 0}, "max_radius must be a finite number > 0, got 0"),
        (certified_radius, {"tol": np.inf}, "tol must be a finite number > 0, got inf"),
    ],
)
def test_bad_arguments_of_others(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(ESTIMATOR, ROWS, LABELS, **arguments)
    regressor = Fitted(draw_network(np.random.RandomState(0)))
    with pytest.raises(ValueError, match=r"2 rows and 1 outputs, got shape \(3,\)"):
        fgsm(regressor, ROWS, np.zeros(3), 0.1)
    with pytest.raises(ValueError, match="Complex data not supported: y must be real"):
        fgsm(regressor, ROWS, np.array([1j, 0]), 0.1)
