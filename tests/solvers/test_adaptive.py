"""Adaptive patterns: certified on what was found, and no worse than what was given."""

import functools
import importlib

import numpy as np
import pytest
from grids import pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    LOSSES,
    SERVED,
    SHAPES,
    SMOOTH_LOSSES,
    assert_certified,
    draw_program,
    exhaustive_program,
    programs,
    tiny,
)

from sklearn_convexnet.bounds.dual import admissible_slopes, dual_norms
from sklearn_convexnet.core.losses import REGRESSION_LOSSES, get_loss
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.solvers import solve, solve_adaptive
from sklearn_convexnet.solvers.descent import constant_network

TOL = 1e-2
module = importlib.import_module("sklearn_convexnet.solvers.neurons")


def assert_encloses(found, result):
    """The bounds enclose the optimum over the patterns found."""
    optimum = solve(found, tol=1e-7)
    assert result.lower_bound <= optimum.upper_bound * (1 + 1e-9)
    assert result.upper_bound >= optimum.lower_bound * (1 - 1e-9)


def assert_no_network_is_lost(result):
    """The network is at least as good as the best one of the descent."""
    seen = [e["upper_bound"] for e in result.history if e["phase"] == "descent"]
    assert (np.diff(seen) <= 0).all()
    assert result.objective <= min(seen, default=np.inf) * (1 + 1e-12)


# ------------------------------------------------------------------------------ bounds


@settings(max_examples=4)
@given(program=programs(), seed=st.integers(0, 10**6))
def test_result_is_certified_and_no_worse_than_the_sample(program, seed):
    found, result = solve_adaptive(program, tol=TOL, random_state=seed)
    assert_certified(found, result)
    assert result.status == "optimal" and result.gap <= TOL
    assert_encloses(found, result)
    assert_no_network_is_lost(result)
    objective = found.network_objective(result.network)
    assert result.objective == pytest.approx(objective, rel=1e-12)
    assert program.network_objective(result.network) == pytest.approx(objective, rel=1e-12)
    # the point behind the bounds is one of the program that is returned
    point = result.solution
    assert found.violation(point.v, point.w) <= 1e-12
    assert found.objective(point.v, point.w, point.bias) == pytest.approx(
        result.upper_bound, rel=1e-9
    )
    # the sample that the search started from is beaten or reached
    over_patterns = solve(program, tol=1e-7)
    assert result.objective <= over_patterns.upper_bound * (1 + TOL)
    # and more patterns never raise an optimum
    joined = found.with_gates(np.concatenate([program.gates, found.gates], axis=1))
    both = solve(joined, tol=1e-7)
    assert both.lower_bound <= over_patterns.upper_bound * (1 + 1e-9)
    assert both.lower_bound <= result.upper_bound * (1 + 1e-9)


@functools.cache
def global_problem(seed, loss, intercept):
    program = exhaustive_program(seed, loss=loss, alpha=0.01, intercept=intercept)
    best = solve(program, tol=1e-4)
    assert best.status == "optimal"
    # a few patterns to start from
    some = np.random.RandomState(seed).permutation(program.n_patterns)[:8]
    return program.with_gates(program.gates[:, some]), best


@pytest.mark.parametrize("seeds", [[1], pytest.param(range(4), marks=pytest.mark.slow)], ids=len)
@pytest.mark.parametrize("loss", LOSSES)
def test_against_the_global_optimum(loss, seeds):
    ratios = []
    for seed in seeds:
        for intercept in (False, True):
            start, best = global_problem(seed, loss, intercept)
            _, result = solve_adaptive(start, tol=TOL, random_state=0)
            assert result.objective >= best.lower_bound * (1 - 1e-9)
            assert result.upper_bound >= best.lower_bound * (1 - 1e-9)
            ratios.append(result.objective / best.upper_bound)
    # nearly always within two per cent of all networks, and mostly much nearer
    assert np.mean(np.array(ratios) <= 1.02) >= 3 / 4
    assert np.median(ratios) <= 1.01


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
@pytest.mark.parametrize("intercept", [False, True])
def test_sample_of_one_pattern_is_left_behind(loss, intercept):
    start, best = global_problem(1, loss, intercept)
    start = start.with_gates(start.gates[:, :1])
    poor = solve(start, tol=1e-3)
    assert poor.lower_bound > 1.05 * best.upper_bound
    _, result = solve_adaptive(start, tol=TOL, random_state=0)
    assert result.objective < 1.02 * best.upper_bound


# ------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "newton"}, "solver must be one of.*'newton'"),
        ({"tol": 0.0}, "tol must be a positive"),
        ({"tol": np.nan}, "tol must be a positive"),
        ({"max_iter": 0}, "max_iter must be an integer of at least 1"),
        ({"warm_start": True}, "warm_start must be a Result"),
    ],
)
def test_bad_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve_adaptive(draw_program(), **arguments)


def test_a_run_may_be_repeated():
    program = draw_program(2)
    patterns = program.patterns.copy()
    runs = [
        solve_adaptive(program, random_state=seed) for seed in (7, 7, np.random.RandomState(7), 8)
    ]
    for found, result in runs[1:3]:
        np.testing.assert_array_equal(found.gates, runs[0][0].gates)
        np.testing.assert_array_equal(
            result.network.hidden_weights, runs[0][1].network.hidden_weights
        )
        assert result.lower_bound == runs[0][1].lower_bound
        assert result.n_iter == runs[0][1].n_iter
    assert runs[3][1].objective != runs[0][1].objective
    # the program is the caller's
    np.testing.assert_array_equal(program.patterns, patterns)


def test_the_state_of_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for seed in (None, 0):
        solve_adaptive(draw_program(2), random_state=seed)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize(
    ("loss", "max_iter"),
    [*zip(LOSSES, [1, 5, 60] * 2, strict=True), ("squared_error", 300), ("hinge", 300)],
)
def test_bounds_after_few_iterations(loss, max_iter):
    found, result = solve_adaptive(
        draw_program(1, n=15, loss=loss), tol=1e-6, max_iter=max_iter, random_state=0
    )
    assert_certified(found, result)
    assert 1 <= result.n_iter <= max_iter
    assert result.status == "max_iter" or result.gap <= 1e-6
    assert_encloses(found, result)


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_history(loss):
    entries = []
    program = draw_program(1, loss=loss)
    found, result = solve_adaptive(program, tol=1e-5, random_state=0, on_check=entries.append)
    assert result.history == entries
    assert result.status == "optimal"
    phases = [entry["phase"] for entry in entries]
    assert phases[0] == "descent" and "certify" in phases and phases[-1] not in phases[:2]
    for before, after in zip(entries[:-1], entries[1:], strict=True):
        assert after["iteration"] >= before["iteration"]
        assert after["time"] >= before["time"]
    assert_no_network_is_lost(result)
    for entry in entries:
        assert np.isfinite([entry["upper_bound"], entry["lower_bound"], entry["gap"]]).all()
        # bounds of the program over the patterns found then, so of no use for the last one
        assert 0.0 <= entry["lower_bound"] <= entry["upper_bound"] * (1 + 1e-12)
    assert entries[-1]["gap"] == result.gap
    assert_certified(found, result)


@pytest.mark.parametrize("loss", SMOOTH_LOSSES)
def test_the_descent_reaches_a_loose_tolerance_by_itself(loss):
    program = draw_program(1, loss=loss)
    if program.loss.target == "real":
        # neurons of both signs
        x = np.abs(program.rows)
        program = program.with_target(x[:, 0] - x[:, 1])
    found, result = solve_adaptive(program, tol=0.05, random_state=0)
    assert result.status == "optimal"
    assert {entry["phase"] for entry in result.history} == {"descent", "certify"}
    assert (result.network.output_weights > 0).any() and (result.network.output_weights < 0).any()
    assert_certified(found, result)


def test_a_descent_that_goes_up_is_undone(monkeypatch):
    # a wide smoothing after a narrow one
    monkeypatch.setattr(module, "_DESCENT", ((0.01, 300), (10.0, 300)))
    monkeypatch.setattr(module, "STARTS", 0)
    _, result = solve_adaptive(draw_program(1), tol=0.05, random_state=0)
    assert result.history[1]["upper_bound"] == result.history[0]["upper_bound"]
    assert_no_network_is_lost(result)


# ------------------------------------------------------------------------------ solvers


@pytest.mark.parametrize(("solver", "loss"), [pair for pair in SERVED if pair[0] != "admm"])
def test_other_solvers_on_the_patterns_found(solver, loss):
    program = draw_program(2, n=15, loss=loss, alpha=0.05)
    found, result = solve_adaptive(program, solver, tol=TOL, random_state=0)
    assert_certified(found, result)
    assert result.status == "optimal"
    assert result.bounds_of == ("scp" if solver == "scp" else "patterns")
    phase = "interior" if solver == "scp" else "admm"
    solved = [entry["phase"] for entry in result.history if entry["phase"] != "combined"]
    assert solved[-1] == phase
    assert result.history[-1]["gap"] == result.gap
    if solver != "scp":
        assert_encloses(found, result)
    assert_no_network_is_lost(result)


# ------------------------------------------------------------------------------ warm starts


@pytest.mark.parametrize(
    ("loss", "factor"),
    [("squared_error", 0.3), ("log_loss", 1.0), ("quantile", 1.0), ("squared_error", 3.0)],
)
def test_warm_start_from_another_penalty(loss, factor):
    program = draw_program(4, n=25, d=2, loss=loss, alpha=0.02)
    _, start = solve_adaptive(
        program.with_target(program.y, alpha=factor * program.alpha), tol=1e-3, random_state=0
    )
    _, cold = solve_adaptive(program, tol=1e-3, random_state=0)
    found, warm = solve_adaptive(program, tol=1e-3, random_state=0, warm_start=start)
    assert_certified(found, warm)
    assert warm.status == "optimal"
    assert warm.objective == pytest.approx(cold.objective, rel=TOL)
    if factor == 1.0:
        assert warm.objective <= start.objective * (1 + 1e-3)
        assert warm.n_iter <= 1.5 * cold.n_iter


def test_warm_start_from_other_rows_and_patterns():
    program = draw_program(4, n=25, d=2, alpha=0.02)
    _, cold = solve_adaptive(program, random_state=0)
    for n, n_patterns, alpha in ((40, 3, 0.02), (10, 8, 0.001), (25, 8, 1e6)):
        other = draw_program(5, n=n, d=2, n_patterns=n_patterns, alpha=alpha)
        _, start = solve_adaptive(other, random_state=0)
        # the last one has no neurons at all
        assert (start.network.n_neurons == 0) == (alpha == 1e6)
        found, warm = solve_adaptive(program, random_state=0, warm_start=start)
        assert_certified(found, warm)
        assert warm.objective <= cold.objective * 1.02


# ------------------------------------------------------------------------------ degenerate


@pytest.mark.parametrize(
    ("loss", "intercept"),
    [("squared_error", True), ("huber", False), ("log_loss", True), ("squared_hinge", False)],
)
def test_penalties_about_the_largest_price(loss, intercept):
    program = exhaustive_program(2, loss=loss, alpha=1.0, intercept=intercept)
    bias, slopes = constant_network(
        program.y, program.weights, program.loss, fit_intercept=intercept
    )
    constant = program.weights @ program.loss.value(np.full(program.n_samples, bias), program.y)
    largest = dual_norms(program, admissible_slopes(program, slopes), exact_above=0.0).max()
    start = program.with_gates(program.gates[:, ::5])
    above = start.with_target(start.y, alpha=1.001 * largest)
    found, result = solve_adaptive(above, tol=1e-3, random_state=0)
    assert_certified(found, result)
    assert result.status == "optimal" and result.network.n_neurons == 0
    assert result.objective == pytest.approx(constant, rel=1e-9)
    below = start.with_target(start.y, alpha=0.8 * largest)
    _, result = solve_adaptive(below, tol=1e-3, random_state=0)
    assert result.network.n_neurons > 0 and result.objective < constant


DEGENERATE = {
    **SHAPES,
    "duplicated columns": np.repeat(np.random.RandomState(3).standard_normal((8, 2)), 2, axis=1),
}


@pytest.mark.parametrize(
    ("shape", "loss", "intercept"),
    pairwise(DEGENERATE, ["squared_error", "quantile", "log_loss"], [False, True]),
)
def test_degenerate_rows(shape, loss, intercept):
    X = np.asarray(DEGENERATE[shape])
    y = np.random.RandomState(1).standard_normal(len(X))
    if get_loss(loss).target == "sign":
        y = np.where(np.arange(len(X)) % 2 == 0, 1.0, -1.0)
    # over all patterns
    program = tiny(X, y, loss, fit_intercept=intercept)
    found, result = solve_adaptive(program, tol=TOL, random_state=0)
    assert_certified(found, result)
    assert result.status == "optimal"
    best = solve(program, tol=1e-4)
    assert result.objective >= best.lower_bound * (1 - 1e-9)
    assert result.objective <= 1.02 * best.upper_bound


@pytest.mark.parametrize("loss", LOSSES)
def test_a_perfect_constant(loss):
    X = np.random.RandomState(0).standard_normal((7, 2))
    for target in (1.0, -1.0) if get_loss(loss).target == "sign" else (0.1, -1e8):
        program = tiny(X, np.full(7, target), loss, fit_intercept=True)
        found, result = solve_adaptive(program, tol=1e-6, random_state=0)
        assert_certified(found, result)
        assert result.status == "optimal" and result.network.n_neurons == 0
        assert np.sign(result.network(X)) == pytest.approx(np.sign(target))


@pytest.mark.parametrize("loss", REGRESSION_LOSSES)
@pytest.mark.parametrize("size", [0.0, 1e-300, 1e8])
def test_targets_of_any_size(loss, size):
    rng = np.random.RandomState(0)
    program = tiny(rng.standard_normal((7, 2)), size * rng.standard_normal(7), loss)
    found, result = solve_adaptive(program, tol=TOL, random_state=0)
    assert_certified(found, result)
    assert result.status == "optimal"
    if size < 1:
        assert result.objective <= size


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_of_the_rows_do_not_matter(scale):
    program = draw_program(2, n=15, d=2, intercept=False, alpha=0.01)
    scaled = PatternProgram.from_data(
        scale * program.rows,
        program.y,
        program.patterns,
        sample_weight=program.weights,
        alpha=scale * program.alpha,
        gates=program.gates,
    )
    expected, result = (
        solve_adaptive(one, tol=1e-4, random_state=0)[1] for one in (program, scaled)
    )
    assert result.objective == pytest.approx(expected.objective, rel=1e-3)


def test_a_perfect_fit_costs_its_penalty():
    # y is one neuron of the data: as alpha falls, so does the objective, in proportion
    rng = np.random.RandomState(0)
    X = rng.standard_normal((12, 2))
    y = np.maximum(X @ [0.6, -0.8], 0.0)
    for alpha in (1e-3, 1e-6):
        program = tiny(X, y, alpha=alpha)
        start = program.with_gates(program.gates[:, ::6])
        found, result = solve_adaptive(start, tol=TOL, random_state=0)
        assert_certified(found, result)
        assert result.objective <= 1.02 * alpha


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_check_can_stop_the_search(after):
    program = draw_program(5, n=40, d=3, alpha=1e-3)
    checks = []

    def stop(entry):
        checks.append(entry)
        return len(checks) >= after

    _, result = solve_adaptive(program, tol=1e-12, random_state=0, on_check=stop)
    # the network is certified as it is
    assert [entry["phase"] for entry in checks] == ["descent"] * after + ["certify"]
    assert result.status == "stopped"
    assert result.lower_bound <= result.objective <= result.upper_bound * (1 + 1e-9)
    assert result.objective == pytest.approx(checks[-1]["upper_bound"], rel=0.05)
