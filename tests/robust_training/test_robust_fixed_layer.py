"""The sampled convex program on certified margins: against CVXPY, and its theorems."""

import cvxpy as cp
import numpy as np
import pytest
from grids import pairwise
from reference import minimise, total_loss
from test_robust_descent import BALLS, balls, certified_objective, draw_program

from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robust_training import solve_robust_scp
from sklearn_convexnet.robust_training.margin_fixed_layer import FixedLayer
from sklearn_convexnet.solvers import solve

RADII = [0.1, 0.2, 0.0]
LOSSES = ["log_loss", "hinge", "squared_hinge"]
losses = pytest.mark.parametrize("loss", LOSSES)


def reference(program, perturbation, directions):
    """Optimum of the program over directions of norm one, from the formulas, row by row."""
    X = program.rows[:, :-1] if program.fit_intercept else program.rows
    centres, radii = perturbation.balls(X)
    order = {np.inf: 1, 2: 2, 1: np.inf}[perturbation.norm]
    up, down = cp.Variable((2, directions.shape[1]), nonneg=True)
    bias = cp.Variable() if program.fit_intercept else 0.0
    margins = []
    for centre, radius, y in zip(centres, radii, program.y, strict=True):
        value, gradient = y * bias, 0.0
        for u, sign in ((up, 1.0), (down, -1.0)):
            features = directions[: len(centre)]
            z = centre @ features + (directions[-1] if program.fit_intercept else 0.0)
            h = np.linalg.norm(radius[:, None] * features, ord=order, axis=0)
            low, high = z - h, z + h
            if sign * y > 0:  # the side of the kink
                slope = (z > 0).astype(float)
                height = slope * z
            else:  # the chord
                low, high = np.maximum(low, 0.0), np.maximum(high, 0.0)
                slope = np.where(h > 0, (high - low) / np.where(h > 0, 2.0 * h, 1.0), z > 0)
                height = 0.5 * (high + low)
            value += y * sign * (height @ u)
            gradient += sign * (features * slope) @ u
        norm = cp.norm(cp.multiply(radius, gradient), "inf" if order == np.inf else order)
        margins.append(value - norm)
    m = cp.Variable(len(margins))
    ones = np.ones(len(margins))
    objective, constraints = total_loss(program.loss, m, ones, program.weights)
    constraints += [m <= cp.hstack(margins)]
    objective += program.alpha * (cp.sum(up) + cp.sum(down))
    return minimise(objective, constraints, 1.0)


@balls
@losses
def test_bounds_enclose_the_optimum_of_cvxpy(norm, bounds, loss):
    program = draw_program(n=10, m=5, loss=loss, alpha=5e-3, intercept=norm != 1)
    perturbation = Perturbation(RADII, norm, bounds)
    expected = reference(program, perturbation, FixedLayer(program, perturbation).directions)
    result = solve_robust_scp(program, perturbation, tol=1e-4)
    assert result.status == "optimal"
    assert result.bounds_of == "scp"
    assert result.lower_bound <= expected * (1 + 1e-6)
    assert result.upper_bound >= expected * (1 - 1e-6)
    assert result.upper_bound - result.lower_bound <= 1e-4 * result.upper_bound


@pytest.mark.parametrize(
    ("ball", "loss", "intercept"), pairwise(BALLS, LOSSES, [True, False]), ids=str
)
def test_objective_is_the_certified_one_of_the_network(ball, loss, intercept):
    norm, bounds = ball
    program = draw_program(n=40, m=10, loss=loss, intercept=intercept)
    perturbation = Perturbation(RADII, norm, bounds)
    result = solve_robust_scp(program, perturbation)
    expected = certified_objective(program, perturbation, result.network)
    assert result.objective == pytest.approx(expected, rel=1e-9)
    # the network may have better lines, and neurons that were joined
    assert result.objective <= result.upper_bound * (1 + 1e-9)


@balls
@losses
def test_gradient(norm, bounds, loss):
    layer = FixedLayer(draw_program(n=15, m=4, loss=loss), Perturbation(RADII, norm, bounds))
    point = np.random.RandomState(0).uniform(0, 1, len(layer.lower))
    _, gradient = layer.value_and_gradient(point, 0.02)
    steps = 1e-6 * np.eye(len(point))
    numeric = [
        layer.value_and_gradient(point + step, 0.02)[0]
        - layer.value_and_gradient(point - step, 0.02)[0]
        for step in steps
    ]
    np.testing.assert_allclose(gradient, np.array(numeric) / 2e-6, atol=1e-8)


@balls
def test_weak_duality_at_any_point(norm, bounds):
    layer = FixedLayer(draw_program(n=30, m=8), Perturbation(RADII, norm, bounds))
    rng = np.random.RandomState(0)
    lowest_upper, highest_lower = np.inf, 0.0
    for scale in (0.01, 0.1, 1.0):
        point = scale * rng.uniform(0, 1, len(layer.lower))
        slopes, moves = layer.dual_point(point, rng.uniform(0.001, 0.3))
        certified = layer.certified(point, slopes, moves)
        lowest_upper = min(lowest_upper, certified.upper_bound)
        highest_lower = max(highest_lower, certified.lower_bound)
    assert 0.0 < highest_lower <= lowest_upper


@balls
def test_moves_stay_in_the_balls(norm, bounds):
    layer = FixedLayer(draw_program(n=30, m=8), Perturbation(RADII, norm, bounds))
    point = np.random.RandomState(0).uniform(0, 1, len(layer.lower))
    for width in (0.3, 1e-2, 1e-5):
        _, moves = layer.dual_point(point, width)
        radii = np.broadcast_to(layer.radii, moves.shape)
        assert not moves[radii == 0].any()
        shares = np.divide(moves, radii, out=np.zeros_like(moves), where=radii > 0)
        assert np.linalg.norm(shares, ord=norm, axis=1).max() <= 1.0 + 1e-12


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_larger_balls_never_lower_the_optimum(norm):
    program = draw_program(n=40, m=20)
    before = 0.0
    for scale in (0.0, 0.02, 0.05, 0.1, 0.2, 0.5):
        result = solve_robust_scp(program, Perturbation(scale, norm), tol=1e-4)
        assert result.upper_bound >= before
        before = result.lower_bound


def test_without_perturbation_it_is_the_sampled_convex_program():
    program = draw_program(n=40, m=20, intercept=False)  # no linear functions beside it
    plain = solve(program, "scp", tol=1e-6)
    still = solve_robust_scp(program, Perturbation(0.0), tol=1e-4)
    assert still.upper_bound == pytest.approx(plain.upper_bound, rel=1e-4)


def test_linear_functions_join_as_one_neuron_of_each_sign():
    rng = np.random.RandomState(0)
    program = draw_program(n=40, m=3)
    program = program.with_target(np.where(program.rows[:, 0] > rng.uniform(-0.1, 0.1), 1.0, -1.0))
    result = solve_robust_scp(program, Perturbation(0.05))
    assert 1 <= result.network.n_neurons <= 3 + 2
    f = result.network(program.rows[:, :-1])[:, 0]
    assert np.mean(f * program.y > 0) > 0.9


def test_stops_when_asked_and_when_iterations_run_out():
    program, perturbation = draw_program(), Perturbation(0.1)
    stopped = solve_robust_scp(program, perturbation, tol=1e-6, on_check=lambda entry: True)
    assert (stopped.status, stopped.n_iter) == ("stopped", 1)
    short = solve_robust_scp(program, perturbation, tol=1e-9, max_iter=5)
    assert short.status == "max_iter"
    assert short.lower_bound <= short.upper_bound
    with pytest.raises(ValueError, match="tol must be"):
        solve_robust_scp(program, perturbation, tol=0.0)
