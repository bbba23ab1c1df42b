"""Over all patterns the lower bound is one for every network, however trained."""

import numpy as np
import pytest
from grids import pairwise
from problems import exhaustive_program
from scipy.optimize import minimize

from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.solvers import solve


def local_minima(program, starts, width, seed=0):
    """Objectives of networks trained by L-BFGS on the non-convex objective."""
    rng = np.random.RandomState(seed)
    X, y, weights, loss = program.rows, program.y, program.weights, program.loss
    d = X.shape[1]

    def value_and_gradient(point):
        U, a = point[: d * width].reshape(d, width), point[d * width : -1]
        bias = point[-1] * program.fit_intercept
        hidden = X @ U
        active = hidden > 0
        outputs = np.maximum(hidden, 0.0) @ a + bias
        slopes = weights * loss.derivative(outputs, y)
        value = weights @ loss.value(outputs, y) + 0.5 * program.alpha * (point[:-1] @ point[:-1])
        gradient = program.alpha * point
        gradient[: d * width] += (X.T @ (active * np.outer(slopes, a))).ravel()
        gradient[d * width : -1] += np.maximum(hidden, 0.0).T @ slopes
        gradient[-1] = slopes.sum() * program.fit_intercept
        return value, gradient

    for _ in range(starts):
        start = rng.standard_normal(d * width + width + 1) * 10.0 ** rng.uniform(-1, 0.5)
        found = minimize(value_and_gradient, start, jac=True, method="L-BFGS-B").x
        U = found[: d * width].reshape(d, width)
        network = TwoLayerReLU(
            U[: d - program.fit_intercept],
            U[-1] if program.fit_intercept else np.zeros(width),
            found[d * width : -1, None],
            found[-1:] * program.fit_intercept,
        )
        yield program.network_objective(network)


@pytest.mark.parametrize(
    ("loss", "intercept", "alpha"),
    pairwise(
        ["squared_error", "huber", "log_loss", "squared_hinge", "hinge"],
        [False, True],
        [0.003, 0.1],
    ),
)
def test_no_trained_network_is_below_the_global_bound(loss, intercept, alpha):
    program = exhaustive_program(1, loss=loss, alpha=alpha, intercept=intercept)
    result = solve(program, tol=1e-8)
    assert result.bounds_of == "global" and result.status == "optimal"
    # the network can be no better than the bound, and reaches it
    assert result.lower_bound * (1 - 1e-12) <= result.objective
    assert result.objective <= result.upper_bound * (1 + 1e-9)
    trained = np.array(list(local_minima(program, starts=5, width=12)))
    assert trained.min() >= result.lower_bound * (1 - 1e-12)
    if loss != "hinge":
        # the bound is one worth having: some start comes near
        assert trained.min() <= result.objective * (1 + 1e-2)


@pytest.mark.parametrize("seed", range(4))
def test_an_optimum_needs_no_more_neurons_than_rows(seed):
    program = exhaustive_program(seed, loss="squared_error", alpha=0.01, intercept=True, n=12)
    result = solve(program, tol=1e-8)
    assert result.network.n_neurons <= program.n_samples


def test_patterns_that_were_left_out_show():
    program = exhaustive_program(1, loss="squared_error", alpha=0.003, intercept=True)
    some = PatternProgram.from_data(
        program.rows[:, :-1],
        program.y,
        program.patterns[:, ::7],
        alpha=program.alpha,
        sample_weight=program.weights,
        fit_intercept=True,
        gates=program.gates[:, ::7],
    )
    every, part = solve(program, tol=1e-8), solve(some, tol=1e-8)
    assert part.bounds_of == "patterns"
    assert part.lower_bound > every.upper_bound
    # a network may beat the program over patterns, never the global one
    assert part.objective >= every.lower_bound
