"""The optimality conditions at solutions, checked from the arrays alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import VARIANTS, programs
from reference import projected_gradients

from sklearn_convexnet.solvers import solve

TOL = 1e-8


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
@settings(max_examples=6)
@given(data=st.data())
def test_conditions_of_karush_kuhn_and_tucker(loss, data):
    program = data.draw(programs(losses=[loss]))
    result = solve(program, tol=TOL)
    solution, slopes, alpha = result.solution, result.solution.slopes, program.alpha
    blocks = np.stack([solution.v, solution.w])
    sizes = np.linalg.norm(blocks, axis=1)
    # a dual norm too large by a fraction costs that fraction of the penalty in the lower bound
    allowed = 1e-6 + 10.0 * TOL * result.upper_bound / max(alpha * sizes.sum(), 1e-300)

    # stationarity where the blocks are zero: the dual norms are at most alpha
    projections = projected_gradients(program, slopes)
    norms = np.linalg.norm(projections, axis=1)
    assert norms.max() <= alpha * (1.0 + allowed)

    # complementary slackness: all that a gap is made of is non-negative, hence small
    pulls = program.rows.T @ (program.patterns * (program.weights * slopes)[:, None])
    products = alpha * sizes - np.stack(
        [np.sum(-pulls * solution.v, axis=0), np.sum(pulls * solution.w, axis=0)]
    )
    outputs = program.predictions(solution.v, solution.w, solution.bias)
    fenchel = program.weights * (
        program.loss.value(outputs, program.y)
        + program.loss.conjugate(slopes, program.y)
        - slopes * outputs
    )
    small = 10.0 * (TOL + allowed) * result.upper_bound
    assert products.min() >= -small
    assert fenchel.min() >= -small
    assert products.max() <= small
    assert fenchel.max() <= small

    # where a block is not zero, the projected gradient points along it with norm alpha
    large = sizes > 1e-3 * sizes.max(initial=0.0)
    cosines = np.sum(projections * blocks, axis=1)[large] / (alpha * sizes[large])
    assert cosines == pytest.approx(1.0, abs=1e-3)


@settings(max_examples=12)
@given(program=programs(), seed=st.integers(0, 10**6))
def test_the_gap_is_the_sum_of_its_parts_at_any_point(program, seed):
    """Weak duality, from feasible points that have nothing to do with an optimum."""
    rng = np.random.RandomState(seed)
    shape = program.gates.shape
    v, w = program.feasible_point(rng.standard_normal(shape), rng.standard_normal(shape))
    bias = float(rng.standard_normal()) * program.fit_intercept
    slopes = program.loss.derivative(rng.standard_normal(program.n_samples), program.y)
    if program.fit_intercept:
        up, down = slopes > 0, slopes < 0
        total = np.array([program.weights[up] @ slopes[up], -program.weights[down] @ slopes[down]])
        if (total == 0).any():
            slopes = np.zeros_like(slopes)
        else:
            slopes = slopes * np.where(up, total.min() / total[0], total.min() / total[1])
    norms = np.linalg.norm(projected_gradients(program, slopes), axis=1)
    slopes = slopes / max(1.0, norms.max() / program.alpha)
    dual = -program.weights @ program.loss.conjugate(slopes, program.y)
    optimum = solve(program, tol=1e-6)
    assert dual <= optimum.upper_bound * (1.0 + 1e-12)
    assert program.objective(v, w, bias) >= optimum.lower_bound * (1.0 - 1e-12)
