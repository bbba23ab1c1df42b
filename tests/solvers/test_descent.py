"""The descent of a network: its smoothed objective, the slopes, and what a run may not break."""

import numpy as np
import pytest
from grids import pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import LOSSES, VARIANTS, draw_program
from scipy.optimize import minimize_scalar

from sklearn_convexnet.core.losses import Hinge, Huber, get_loss
from sklearn_convexnet.core.parallel import Workers
from sklearn_convexnet.core.rows import _BLOCK
from sklearn_convexnet.core.vector_losses import MultinomialLogLoss, SumOverOutputs
from sklearn_convexnet.program.neuron_shard import NeuronRows, smooth_loss
from sklearn_convexnet.program.problem import TrainingProblem
from sklearn_convexnet.solvers.descent import (
    Descent,
    SmoothObjective,
    balanced,
)

BLOCK = _BLOCK[1]
KINKED = [name for name in LOSSES if not np.isfinite(get_loss(name).curvature)]
seeds = st.integers(0, 10**6)


def smooth(problem, width, m, n_outputs=None):
    """The smoothed objective of m neurons, of one output or of several."""
    several = () if n_outputs is None else (n_outputs,)
    parts = np.zeros((problem.rows.shape[1], m)), np.zeros((m, *several)), np.zeros(several)
    return SmoothObjective(NeuronRows(problem), (width, width), parts)


def smoothed_relu(z, width):
    """Zero up to -width, z from width on, a parabola in between."""
    return np.where(z >= width, z, np.maximum(z + width, 0.0) ** 2 / (4.0 * width))


def envelope(loss, f, y, width):
    """Moreau envelope by a search on the line."""

    def near(t):
        return float(loss.value(t, y) + (t - f) ** 2 / (2.0 * width))

    ends = {"bounds": (f - 10 * width, f + 10 * width), "method": "bounded"}
    return minimize_scalar(near, **ends, options={"xatol": 1e-11}).fun


def smoothed_objective(program, directions, outputs, bias, width):
    """The formula, a neuron at a time."""
    loss, f = program.loss, np.full(program.n_samples, bias)
    for u, a in zip(directions.T, outputs, strict=True):
        f += a * smoothed_relu(program.rows @ u, width)
    if np.isfinite(loss.curvature):
        losses = loss.value(f, program.y)
    else:
        losses = [envelope(loss, *pair, width) for pair in zip(f, program.y, strict=True)]
    squares = np.sum(directions**2) + np.sum(outputs**2)
    return program.weights @ losses + program.alpha / 2 * squares


def draw_point(program, m, seed=0):
    rng = np.random.RandomState(seed)
    d = program.rows.shape[1]
    bias = rng.standard_normal() if program.fit_intercept else 0.0
    return rng.standard_normal((d, m)), rng.standard_normal(m), bias


def flat(directions, outputs, bias):
    return np.concatenate([directions.ravel(), outputs, [bias]])


def descent_of(program, m, seed=0):
    return Descent(NeuronRows(program), *draw_point(program, m, seed))


# ------------------------------------------------------------------------------ the objective


def test_smoothed_relu_is_between_the_relu_and_a_quarter_of_the_width_above():
    # one neuron that is z on the row z, the loss of which is its output squared
    program = draw_program(n=30, d=1, alpha=0.1, intercept=False)
    for width in (1e-3, 0.5, 3.0):
        values = smoothed_relu(program.rows[:, 0], width)
        excess = values - np.maximum(program.rows[:, 0], 0.0)
        assert excess.min() >= -1e-15 and excess.max() <= width / 4 * (1 + 1e-15)
        assert smoothed_relu(0.0, width) == pytest.approx(width / 4)
        value, _ = smooth(program, width, 1)(np.array([1.0, 1.0, 0.0]))
        expected = program.weights @ program.loss.value(values, program.y) + program.alpha
        assert value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "intercept", "width"), pairwise(VARIANTS, [False, True], [0.02, 1.0])
)
def test_smoothed_objective_from_the_formula(loss, intercept, width):
    program = draw_program(3, n=20, d=2, loss=loss, intercept=intercept, alpha=0.3)
    point = draw_point(program, 4)
    value, _ = smooth(program, width, 4)(flat(*point))
    assert value == pytest.approx(smoothed_objective(program, *point, width), rel=1e-9)


@pytest.mark.parametrize("n", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 100])
def test_blocks_of_rows_add_up(n):
    program = draw_program(4, n=n, d=2, alpha=0.3)
    point = draw_point(program, 3)
    value, _ = smooth(program, 0.2, 3)(flat(*point))
    assert value == pytest.approx(smoothed_objective(program, *point, 0.2), rel=1e-11)


@pytest.mark.parametrize("loss", [MultinomialLogLoss(), *map(SumOverOutputs, (Huber(), Hinge()))])
def test_gradient_of_several_outputs(loss):
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((30, 2)), np.where(np.eye(3)[np.arange(30) % 3] > 0, 1.0, -1.0)
    problem = TrainingProblem.of(X, y, loss=loss, alpha=0.1, fit_intercept=True)
    objective = smooth(problem, 0.3, 4, 3)
    point = rng.standard_normal(3 * 4 + 4 * 3 + 3)
    _, gradient = objective(point)
    steps = 1e-6 * np.eye(len(point))
    differences = [objective(point + step)[0] - objective(point - step)[0] for step in steps]
    np.testing.assert_allclose(np.array(differences) / 2e-6, gradient, rtol=1e-5, atol=1e-8)


def test_threads_do_not_change_a_bit():
    program = draw_program(4, n=7 * BLOCK + 100, d=3, alpha=0.1)
    found = []
    for n_threads in (1, 2, 3):
        with Workers(n_threads) as workers:
            descent = Descent(NeuronRows(program, workers), *draw_point(program, 5))
            first = [descent.objective, descent.typical_activation, descent.slopes]
            descent.run(0.1, 5, np.float32)
            found.append([*first, descent.directions, descent.outputs, descent.bias])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    assert first[1] == pytest.approx(
        np.sqrt(np.mean((program.rows @ draw_point(program, 5)[0]) ** 2)), rel=1e-2
    )


@pytest.mark.parametrize(
    ("loss", "intercept", "n"), pairwise(VARIANTS, [False, True], [20, BLOCK + 60])
)
def test_gradient_from_differences(loss, intercept, n):
    program = draw_program(5, n=n, d=2, loss=loss, intercept=intercept, alpha=0.3)
    objective = smooth(program, 0.3, 3)
    point = flat(*draw_point(program, 3))
    kept = point.copy()
    _, gradient = objective(point)
    np.testing.assert_array_equal(point, kept)
    step = 1e-6
    for k in range(len(point) - (not intercept)):
        around = [objective(point + side * step * np.eye(len(point))[k])[0] for side in (1, -1)]
        assert gradient[k] == pytest.approx((around[0] - around[1]) / (2 * step), abs=2e-6)
    if not intercept:
        assert gradient[-1] == 0.0


@settings(max_examples=15)
@given(seed=seeds, loss=st.sampled_from(KINKED), width=st.floats(1e-3, 3.0))
def test_envelope_of_a_loss_with_kinks(seed, loss, width):
    loss, rng = get_loss(loss), np.random.RandomState(seed)
    f, y = 3.0 * rng.standard_normal((2, 20))
    if loss.target == "sign":
        y = np.sign(y)
    values, slopes = smooth_loss(loss, f, y, width)
    expected = [envelope(loss, *pair, width) for pair in zip(f, y, strict=True)]
    # the search on the line is not exact at a kink
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-7 * (1 + 1 / width))
    # below the loss, by at most half the width times the square of the largest slope
    below = loss.value(f, y) - values
    assert below.min() >= -1e-12 and below.max() <= width / 2 + 1e-12
    # slopes that the dual admits
    low, high = loss.conjugate_domain(y)
    assert (slopes >= low - 1e-12).all() and (slopes <= high + 1e-12).all()
    up, down = (smooth_loss(loss, f + side * 1e-7 * width, y, width)[0] for side in (1, -1))
    np.testing.assert_allclose(slopes, (up - down) / (2e-7 * width), rtol=0, atol=1e-5 / width)


@pytest.mark.parametrize("loss", [name for name in LOSSES if name not in KINKED])
def test_losses_without_kinks_are_left_as_they_are(loss):
    program = draw_program(loss=loss)
    f = np.linspace(-2, 2, program.n_samples)
    values, slopes = smooth_loss(program.loss, f, program.y, 0.7)
    np.testing.assert_array_equal(values, program.loss.value(f, program.y))
    np.testing.assert_array_equal(slopes, program.loss.derivative(f, program.y))


# ------------------------------------------------------------------------------ the neurons


@settings(max_examples=12)
@given(seed=seeds, m=st.integers(1, 8), size=st.sampled_from([1e-6, 1.0, 1e6]))
def test_balancing_keeps_the_function(seed, m, size):
    program = draw_program(seed, n=12, d=2)
    directions, outputs, bias = draw_point(program, m, seed)
    outputs = np.where(np.abs(outputs) < 0.1, 0.1, outputs)
    directions[0] += 5.0  # none so weak as to be dropped
    descent = Descent(NeuronRows(program), size * directions, outputs / size, bias)
    predictions, objective = descent.predictions, descent.objective
    descent.directions, descent.outputs = balanced(descent.directions, descent.outputs)
    np.testing.assert_allclose(descent.predictions, predictions, rtol=1e-11, atol=1e-11)
    norms = np.linalg.norm(descent.directions, axis=0)
    np.testing.assert_allclose(norms, np.abs(descent.outputs), rtol=1e-12)
    assert descent.outputs.shape == (m,)
    np.testing.assert_array_equal(np.sign(descent.outputs), np.sign(outputs))
    assert descent.objective <= objective * (1 + 1e-12)


def test_weak_neurons_are_dropped_and_others_kept():
    program = draw_program(n=12, d=2)
    directions, outputs, bias = draw_point(program, 5)
    directions /= np.linalg.norm(directions, axis=0)
    outputs = np.array([2.0, 1e-5, -0.3, 0.0, -1e-3])
    directions[:, 2] *= 2.0
    descent = Descent(NeuronRows(program), directions, outputs, bias)
    predictions = descent.predictions
    descent.directions, descent.outputs = balanced(descent.directions, descent.outputs)
    np.testing.assert_allclose(descent.outputs, [2**0.5, -(0.6**0.5), -(1e-3**0.5)])
    largest = np.linalg.norm(program.rows, axis=1).max()
    np.testing.assert_allclose(descent.predictions, predictions, rtol=0, atol=1e-5 * largest)
    # nothing is left of neurons that are all zero
    silent = Descent(NeuronRows(program), directions, 0.0 * outputs, bias)
    silent.directions, silent.outputs = balanced(silent.directions, silent.outputs)
    assert silent.directions.shape == (3, 0) and silent.outputs.shape == (0,)
    np.testing.assert_allclose(silent.predictions, bias)
    assert silent.typical_activation > 0


def test_new_neurons_are_small():
    program = draw_program(n=12, d=2)
    descent = descent_of(program, 5)
    before, old = descent.predictions, descent.outputs
    unit = np.eye(3)[:, :2]
    descent.add(unit, np.array([1.0, -1.0]))
    size = 0.1 * np.median(np.abs(old))
    np.testing.assert_array_equal(descent.outputs, [*old, size, -size])
    np.testing.assert_array_equal(descent.directions[:, 5:], size * unit)
    hidden = np.maximum(program.rows[:, :2], 0.0)
    change = size**2 * (hidden[:, 0] - hidden[:, 1])
    np.testing.assert_allclose(descent.predictions, before + change, rtol=1e-12, atol=1e-12)
    first = Descent(NeuronRows(program), np.zeros((3, 0)), np.zeros(0), 0.0)
    first.add(unit, np.array([1.0, -1.0]))
    np.testing.assert_array_equal(first.outputs, [0.1, -0.1])


# ------------------------------------------------------------------------------ a run


@pytest.mark.parametrize("loss", VARIANTS, ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_a_run_never_ends_above_its_start(loss, intercept):
    program = draw_program(6, n=25, d=2, loss=loss, intercept=intercept).normalised
    descent = descent_of(program, 6)
    descent.directions, descent.outputs = balanced(descent.directions, descent.outputs)
    n_iter = 0
    for width in (0.3, 0.1, 0.01, 1e-4):
        for max_iter in (1, 7, 60):
            before = smooth(program, width, len(descent.outputs))(
                flat(descent.directions, descent.outputs, descent.bias)
            )[0]
            descent.run(width, max_iter)
            after = smooth(program, width, len(descent.outputs))(
                flat(descent.directions, descent.outputs, descent.bias)
            )[0]
            # balancing and pruning may cost a little of what the descent has gained
            assert after <= before * (1 + 1e-6)
            assert n_iter <= descent.n_iter <= n_iter + max_iter
            n_iter = descent.n_iter
            norms = np.linalg.norm(descent.directions, axis=0)
            np.testing.assert_allclose(norms, np.abs(descent.outputs), rtol=1e-12)
            if not intercept:
                assert descent.bias == 0.0
    # and it goes somewhere
    assert descent.objective < 0.9 * descent_of(program, 6).objective
    assert n_iter > 12


def test_a_long_run_ends_at_a_stationary_point():
    program = draw_program(7, n=25, d=2, alpha=0.05).normalised
    descent = descent_of(program, 5)
    sizes = []
    for _ in range(2):
        point = flat(descent.directions, descent.outputs, descent.bias)
        _, gradient = smooth(program, 0.1, len(descent.outputs))(point)
        sizes.append(np.linalg.norm(gradient))
        descent.run(0.1, 2000)
    assert sizes[1] <= 1e-3 * sizes[0]
    assert descent.n_iter < 2000


def test_a_run_leaves_its_arguments_alone():
    program = draw_program(7)
    point = draw_point(program, 4)
    kept = [np.copy(part) for part in point]
    descent = Descent(NeuronRows(program), *point)
    descent.run(0.1, 20)
    descent.add(np.eye(4)[:, :1], np.ones(1))
    for part, copy in zip(point, kept, strict=True):
        np.testing.assert_array_equal(part, copy)


def test_a_run_without_neurons_finds_the_bias():
    program = draw_program(7, loss="huber").normalised
    descent = Descent(NeuronRows(program), np.zeros((4, 0)), np.zeros(0), 0.0)
    descent.run(0.1, 100)
    slopes = program.loss.derivative(np.full(program.n_samples, descent.bias), program.y)
    assert abs(program.weights @ slopes) <= 1e-3
    assert descent.outputs.shape == (0,)


@pytest.mark.parametrize("loss", VARIANTS, ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_properties_are_those_of_the_network(loss, intercept):
    program = draw_program(8, n=20, d=2, loss=loss, intercept=intercept)
    normalised = program.problem.normalised
    units = normalised.units
    descent = descent_of(program.normalised, 4)
    descent.run(0.2, 5)
    network = normalised.user_network(descent.directions, descent.outputs, descent.bias)
    outputs = network(program.rows[:, :2])[:, 0]
    np.testing.assert_allclose(units.target * descent.predictions, outputs, rtol=1e-10)
    assert units.objective * descent.objective == pytest.approx(
        program.network_objective(network), rel=1e-10
    )
    expected = smooth_loss(normalised.loss, descent.predictions, normalised.y, 0.2)[1]
    np.testing.assert_array_equal(descent.slopes, expected)
    hidden = normalised.rows @ descent.directions
    mean = sum(w * (row**2).mean() for w, row in zip(program.weights, hidden, strict=True))
    assert descent.typical_activation == pytest.approx(np.sqrt(mean), rel=1e-12)


def test_single_precision_descends_as_far():
    program = draw_program(11, n=300, d=4).normalised
    reached = []
    for dtype in (np.float64, np.float32):
        descent = descent_of(program, 30)
        descent.run(0.1, 300, dtype)
        assert descent.directions.dtype == np.float64
        reached.append(descent.objective)
    assert reached[1] == pytest.approx(reached[0], rel=1e-2)
