"""Every solver against Clarabel: bounds that enclose the optimum, and reach it."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import LOSSES, SMOOTH_LOSSES, VARIANTS, draw_program, programs
from reference import ACCURACY, solve_lasso, solve_reference

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.solvers import solve

# the package holds a function of that name
solve_module = importlib.import_module("sklearn_convexnet.solvers.solve")


def assert_encloses(result, reference):
    """The bounds enclose the reference optimum, as far as that is accurate."""
    value = reference.value
    assert result.lower_bound <= value * (1.0 + ACCURACY)
    assert result.upper_bound >= value * (1.0 - ACCURACY)
    assert result.lower_bound <= result.upper_bound * (1.0 + 1e-15)


def assert_solved(result, reference, tol):
    assert result.status == "optimal"
    assert result.gap <= tol
    assert_encloses(result, reference)
    assert result.upper_bound == pytest.approx(reference.value, rel=1e-6 + tol)
    assert result.lower_bound == pytest.approx(reference.value, rel=1e-6 + tol)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
@settings(max_examples=4)
@given(data=st.data())
def test_bounds_close_on_the_optimum_of_clarabel(loss, data):
    program = data.draw(programs(losses=[loss]))
    result = solve(program, tol=1e-8)
    assert_solved(result, solve_reference(program, result.upper_bound), 1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("solver", ["admm", "scp"])
@settings(max_examples=3)
@given(data=st.data())
def test_bounds_of_an_early_stop_are_bounds(loss, solver, data):
    program = data.draw(programs(losses=[loss]))
    # in the screening, or in the interior point method after it
    max_iter = data.draw(st.integers(1, 90 if solver == "admm" else 12))
    result = solve(program, solver, tol=1e-12, max_iter=max_iter)
    reference = solve_lasso if solver == "scp" else solve_reference
    assert np.isfinite([result.lower_bound, result.upper_bound, result.objective]).all()
    assert result.status in ("max_iter", "stalled", "optimal")
    assert_encloses(result, reference(program, result.upper_bound))


@pytest.mark.parametrize(
    ("solver", "loss"),
    [("admm-cholesky", "squared_error"), *(("admm-rbcd", loss) for loss in SMOOTH_LOSSES)],
)
@pytest.mark.parametrize("intercept", [False, True])
def test_solvers_of_the_paper_reach_the_optimum(solver, loss, intercept):
    program = draw_program(3, n=12, d=2, n_patterns=5, loss=loss, alpha=0.05, intercept=intercept)
    tol = 1e-3 if solver == "admm-rbcd" else 1e-6
    result = solve(program, solver, tol=tol, max_iter=20_000, random_state=0)
    assert_solved(result, solve_reference(program, result.upper_bound), tol)


@pytest.mark.parametrize("loss", LOSSES)
@settings(max_examples=2)
@given(data=st.data())
def test_admm_without_polish_reaches_the_optimum(loss, data):
    # what runs where an interior point would be too large
    program = data.draw(programs(losses=[loss], min_rows=5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(solve_module, "_polish_is_worth_it", lambda *_: False)
        result = solve(program, tol=1e-2, max_iter=30_000)
    assert all(entry["phase"] in ("admm", "constant") for entry in result.history)
    assert_solved(result, solve_reference(program, result.upper_bound), 1e-2)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
@settings(max_examples=3)
@given(data=st.data())
def test_scp_solves_the_lasso(loss, data):
    program = data.draw(programs(losses=[loss]))
    result = solve(program, "scp", tol=1e-8)
    assert result.bounds_of == "scp"
    assert_solved(result, solve_lasso(program, result.upper_bound), 1e-8)
    # its network is feasible for the program over the patterns of its neurons
    assert result.upper_bound >= solve(program, tol=1e-8).lower_bound * (1.0 - 1e-14)


@settings(max_examples=8)
@given(program=programs())
def test_the_network_is_at_least_as_good_as_the_upper_bound(program):
    result = solve(program, tol=1e-8)
    assert result.objective <= result.upper_bound * (1.0 + 1e-9)
    assert result.objective == program.network_objective(result.network)


@settings(max_examples=8)
@given(program=programs(), tol=st.sampled_from([0.5, 1e-2, 1e-4, 1e-6]))
def test_the_solution_is_feasible_and_worth_its_bounds(program, tol):
    result = solve(program, tol=tol)
    solution = result.solution
    values = np.abs(program.rows) @ np.abs(np.concatenate([solution.v, solution.w], axis=1))
    signs = 2.0 * np.concatenate([program.patterns] * 2, axis=1) - 1.0
    slack = signs * (program.rows @ np.concatenate([solution.v, solution.w], axis=1))
    # up to the rounding of these products themselves
    assert (slack >= -1e-14 * values).all()
    at_solution = program.objective(solution.v, solution.w, solution.bias)
    assert at_solution == pytest.approx(result.upper_bound, rel=1e-10)
    lo, hi = program.loss.conjugate_domain(program.y)
    assert (lo <= solution.slopes).all() and (solution.slopes <= hi).all()
    if program.fit_intercept:
        assert abs(program.weights @ solution.slopes) <= 1e-13 * np.abs(solution.slopes).max()


@pytest.mark.parametrize("loss", LOSSES)
def test_bounds_are_those_of_a_problem_that_shrinks_with_the_optimum(loss):
    """The optimum of a path of alphas: concave, increasing, between zero and the constant's."""
    programs = [draw_program(1, loss=loss, alpha=alpha) for alpha in np.geomspace(1e-3, 10, 5)]
    values = [solve(program, tol=1e-8).upper_bound for program in programs]
    alphas = [program.alpha for program in programs]
    assert (np.diff(values) >= -1e-7 * np.abs(values[1:])).all()
    slopes = np.diff(values) / np.diff(alphas)
    assert (np.diff(slopes) <= 1e-6 * slopes.max()).all()
    y, weights = programs[0].y, programs[0].weights
    grid = np.linspace(y.min(), y.max(), 2001)
    constants = [weights @ get_loss(loss).value(np.full_like(y, c), y) for c in grid]
    assert values[-1] <= min(constants) * (1 + 1e-8)
