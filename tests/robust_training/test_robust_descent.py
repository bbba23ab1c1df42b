"""Descent on certified margins: its objective, and what the network at its end is worth."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pytest
from grids import pairwise
from sklearn.datasets import load_digits

from sklearn_convexnet import TwoLayerReLU
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import sample_gates
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.program.relaxation import Relaxation
from sklearn_convexnet.robust_training import solve_relaxed
from sklearn_convexnet.robust_training.margin_descent import RelaxedObjective, _Stage
from sklearn_convexnet.solvers.descent import constant_network

BALLS = [(np.inf, None), (np.inf, (-1.0, 0.8)), (2, None), (1, None)]
balls = pytest.mark.parametrize(("norm", "bounds"), BALLS)


def draw_program(
    *, n=60, d=3, m=20, loss="log_loss", alpha=1e-3, intercept=True, seed=0, scale=1.0
):
    """Two classes with a band between them that is not straight, some labels flipped."""
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, (n, d))
    y = np.where(np.abs(X[:, 0]) + X[:, 1] > 0.4, 1.0, -1.0)
    y[: n // 20] *= -1
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = sample_gates(rows, np.full(n, 1 / n), m, rng, intercept=intercept)
    return PatternProgram.from_data(
        scale * X, y, rows @ gates >= 0, loss=loss, alpha=alpha,
        fit_intercept=intercept, gates=gates,
    )  # fmt: skip


def relaxation_of(program, perturbation):
    X = program.rows[:, :-1] if program.fit_intercept else program.rows
    return Relaxation(X, program.y, perturbation, fit_intercept=program.fit_intercept)


def certified_objective(program, perturbation, network):
    margins = relaxation_of(program, perturbation).margins(network)
    losses = program.loss.value(margins, np.ones_like(margins))
    return program.weights @ losses + program.alpha * network.penalty()


def solve(program, perturbation, **options):
    return solve_relaxed(program, perturbation, random_state=0, **options)


def test_a_warm_start_keeps_weak_neurons_if_they_matter():
    program, perturbation = draw_program(), Perturbation(0.05)
    first = solve(program, perturbation)
    network, many = first.network, 20_000
    weights = [network.hidden_weights, network.hidden_biases, network.output_weights.T]
    # a neuron in as many equal parts, each of next to no strength
    strength = np.linalg.norm(weights[0], axis=0) * np.abs(weights[2][0])
    counts = np.where(np.arange(len(strength)) == np.argsort(-strength)[1], many, 1)
    hidden, biases, outputs = (
        np.repeat(each, counts, axis=-1) / np.sqrt(np.repeat(counts, counts)) for each in weights
    )
    split = TwoLayerReLU(hidden, biases, outputs.T, network.output_biases)
    before = certified_objective(program, perturbation, split)
    assert before == pytest.approx(first.objective, rel=1e-6)
    start = replace(first, network=split)
    assert solve(program, perturbation, warm_start=start, max_iter=1).objective <= before * 1.00001


# ------------------------------------------------------------------------------------------------
# The objective of a stage


def objective_at(program, norm, bounds, stage, m=5, seed=0):
    perturbation = Perturbation([0.1, 0.3, 0.0], norm, bounds)
    relaxation = relaxation_of(program, perturbation)
    objective = RelaxedObjective(relaxation, program, program.alpha, stage, m)
    d = program.rows.shape[1]
    point = np.random.RandomState(seed).standard_normal(d * m + m + 1)
    if not program.fit_intercept:
        point[-1] = 0.0
    return objective, relaxation, point


@pytest.mark.parametrize(
    ("ball", "loss", "intercept"),
    pairwise(BALLS, ["log_loss", "hinge", "squared_hinge"], [True, False]),
    ids=str,
)
def test_gradient(ball, loss, intercept):
    norm, bounds = ball
    program = draw_program(n=20, loss=loss, intercept=intercept)
    stage = _Stage(chord=0.4, norm=0.02, kink=0.03)
    objective, _, point = objective_at(program, norm, bounds, stage)
    _, gradient = objective(point)
    free = len(point) - (not intercept)
    step = 1e-6 * np.eye(len(point))[:free]
    numeric = [(objective(point + e)[0] - objective(point - e)[0]) / 2e-6 for e in step]
    np.testing.assert_allclose(gradient[:free], numeric, atol=1e-7)
    assert intercept or gradient[-1] == 0.0


@balls
def test_full_chords_bound_the_certified_objective(norm, bounds):
    program = draw_program(n=30)
    for width in (0.1, 1e-4):
        for seed in range(5):
            stage = _Stage(chord=1.0, norm=width, kink=width)
            objective, relaxation, point = objective_at(program, norm, bounds, stage, seed=seed)
            directions, outputs, bias = objective.split(point)
            margins = relaxation.margins_of(directions, outputs, bias)
            certified = program.weights @ program.loss.value(margins, np.ones_like(margins))
            certified += 0.5 * program.alpha * (point[:-1] @ point[:-1])
            assert objective(point)[0] >= certified - 1e-12


def test_without_perturbation_it_is_the_objective_of_the_network():
    program = draw_program(n=30)
    relaxation = relaxation_of(program, Perturbation(0.0))
    point = np.random.RandomState(0).standard_normal(4 * 5 + 6)
    objective = RelaxedObjective(relaxation, program, program.alpha, _Stage(1.0, 1e-9, 1e-9), 5)
    directions, outputs, bias = objective.split(point)
    f = np.maximum(program.rows @ directions, 0.0) @ outputs + bias
    expected = program.weights @ program.loss.value(f, program.y)
    expected += 0.5 * program.alpha * (point[:-1] @ point[:-1])
    assert objective(point)[0] == pytest.approx(expected, rel=1e-6)


# ------------------------------------------------------------------------------------------------
# The network


@balls
def test_objective_is_the_certified_one_of_the_network(norm, bounds):
    program, perturbation = draw_program(), Perturbation(0.1, norm, bounds)
    result = solve(program, perturbation)
    expected = certified_objective(program, perturbation, result.network)
    assert result.objective == pytest.approx(expected, rel=1e-9)
    assert result.upper_bound == result.objective
    assert result.lower_bound == 0.0
    assert result.status == "converged"
    falling = [entry["upper_bound"] for entry in result.history]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] == result.objective


def robust_linear(program, epsilon):
    """Optimal loss of a linear classifier against perturbations in the supremum norm."""
    u, c = cp.Variable(program.rows.shape[1] - 1), cp.Variable()
    scores = program.rows[:, :-1] @ u + c
    margins = cp.multiply(program.y, scores) - epsilon * cp.norm1(u)
    problem = cp.Problem(cp.Minimize(program.weights @ cp.logistic(-margins)))
    return problem.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("epsilon", [0.02, 0.1, 0.2])
def test_network_is_more_robust_than_the_best_linear_classifier(epsilon):
    # at these radii nearly every neuron changes sign in some ball
    program = draw_program(n=150, alpha=1e-4, m=50)
    result = solve(program, Perturbation(epsilon), tol=1e-3)
    linear = robust_linear(program, epsilon)
    assert result.objective < linear
    if epsilon <= 0.1:
        assert result.objective < 0.8 * linear


def test_no_worse_than_the_constant_network():
    program = draw_program(alpha=10.0)
    result = solve(program, Perturbation(0.1))
    bias, _ = constant_network(program.y, program.weights, program.loss, fit_intercept=True)
    constant = program.weights @ program.loss.value(np.full_like(program.y, bias), program.y)
    assert result.objective == pytest.approx(constant, rel=1e-12)
    assert result.network.n_neurons == 0


def test_larger_balls_are_not_easier():
    program = draw_program(n=100, m=40)
    radii = [0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 1.0]
    optima = [solve(program, Perturbation(r), tol=1e-3).objective for r in radii]
    assert np.all(np.diff(optima) >= 0)
    assert optima[0] < optima[1] < optima[-2]
    # from large to small each network is where the next one starts
    result = None
    for radius in radii[::-1]:
        start = result
        result = solve(program, Perturbation(radius), warm_start=start)
        if start is not None:
            assert result.objective <= start.objective * (1 + 1e-12)
            assert result.history[0]["phase"] == "start"


def test_small_balls_hardly_matter():
    program = draw_program(n=100, m=40)
    still, moved = (solve(program, Perturbation(r), tol=1e-4).objective for r in (0.0, 1e-5))
    assert moved == pytest.approx(still, rel=0.05)


def test_features_that_nothing_moves_carry_the_decision():
    rng = np.random.RandomState(0)
    X = rng.uniform(-1, 1, (80, 2))
    y = np.sign(X.sum(axis=1))
    rows = np.c_[X, np.ones(80)]
    gates = sample_gates(rows, np.full(80, 1 / 80), 20, rng, intercept=True)
    program = PatternProgram.from_data(
        X, y, rows @ gates >= 0, loss="log_loss", alpha=1e-3, fit_intercept=True, gates=gates
    )
    network = solve(program, Perturbation([0.0, 1.0])).network
    slopes = network.hidden_weights @ network.output_weights[:, 0]
    assert abs(slopes[1]) < 0.1 * abs(slopes[0])


def test_units_of_the_features_do_not_matter():
    # powers of two: not even rounding differs
    options = {"intercept": False, "n": 40}
    one = solve(draw_program(**options), Perturbation(0.1))
    other = solve(draw_program(**options, scale=64.0, alpha=64e-3), Perturbation(6.4))
    assert other.objective == pytest.approx(one.objective, rel=1e-9)
    np.testing.assert_allclose(other.network(64 * np.eye(3)), one.network(np.eye(3)), rtol=1e-6)


def test_iterations_are_bounded():
    program = draw_program()
    for max_iter in (1, 70, 150):
        result = solve(program, Perturbation(0.1), max_iter=max_iter, tol=1e-12)
        assert result.n_iter <= max_iter
        assert result.status == "max_iter"


def test_same_seed_same_network():
    program = draw_program()
    one, same = (solve(program, Perturbation(0.1)) for _ in range(2))
    np.testing.assert_array_equal(one.network.hidden_weights, same.network.hidden_weights)
    other = solve_relaxed(program, Perturbation(0.1), random_state=1)
    assert other.objective != one.objective


def test_the_descent_goes_on_above_the_constant_that_it_is_nearing():
    digits = load_digits()
    chosen = np.flatnonzero(np.isin(digits.target, (3, 8)))[::3]
    X, y = digits.data[chosen] / 16.0, np.where(digits.target[chosen] == 8, 1.0, -1.0)
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    weights = np.full(len(X), 1.0 / len(X))
    rng = np.random.RandomState(0)
    gates = sample_gates(rows, weights, 100, rng, intercept=True)
    program = PatternProgram.from_data(
        X, y, rows @ gates >= 0, loss="log_loss", alpha=1e-3, fit_intercept=True, gates=gates
    )
    # all neurons have to turn before the certified loss is less than log 2
    result = solve_relaxed(program, Perturbation(0.2), random_state=0)
    values = [entry["upper_bound"] for entry in result.history]
    assert values[0] == values[2] == pytest.approx(np.log(2), rel=1e-2)
    assert result.objective < 0.95 * values[0] and result.network.n_neurons > 10
