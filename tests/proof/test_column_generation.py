"""Better dual variables: bounds that only rise, as far as asked for, and not for ever."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from grids import pairwise
from problems import draw_program, exhaustive_program

from sklearn_convexnet.bounds import search as dual_search
from sklearn_convexnet.bounds.dual import admissible_slopes, dual_norms, relative_gap
from sklearn_convexnet.bounds.search import search_dual
from sklearn_convexnet.proof import column_generation as module
from sklearn_convexnet.proof.column_generation import tighten
from sklearn_convexnet.solvers import solve, solve_adaptive

NAMES = ["squared_error", "huber", "log_loss", "hinge"]
LOSSES = pytest.mark.parametrize("loss", NAMES)
INTERCEPTS = pytest.mark.parametrize("intercept", [False, True])


@functools.cache
def problem(loss, intercept, seed=1):
    """A program over all patterns, its optimum, and one over a few of its patterns."""
    every = exhaustive_program(seed, loss=loss, alpha=0.02, intercept=intercept)
    best = solve(every, tol=1e-8)
    return every, best, every.with_gates(every.gates[:, ::9])


def tightened(program, dual, objective, *, tol=1e-3, deadline=np.inf):
    rng = np.random.RandomState(0)
    return tighten(program.problem, dual, objective, tol=tol, deadline=deadline, rng=rng)[0]


@LOSSES
@INTERCEPTS
def test_searched_bound_is_one_where_the_search_misses_nothing(loss, intercept):
    every, best, some = problem(loss, intercept)
    normalised = every.normalised
    rng = np.random.RandomState(0)
    start = solve(some, tol=1e-6).solution.slopes
    noise = rng.standard_normal(every.n_samples)
    exact = []
    for slopes in (start, best.solution.slopes, start + 0.1 * noise, noise, 0.0 * noise):
        dual = search_dual(some.problem, slopes, rng, some.gates, n_starts=50)
        assert dual.n_starts == 50
        # the slopes are normalised and admissible
        expected = admissible_slopes(normalised, slopes / every.problem.natural_units.slope)
        np.testing.assert_allclose(dual.slopes, expected, rtol=1e-12, atol=1e-14)
        largest = dual_norms(normalised, dual.slopes, exact_above=0.0).max()
        assert dual.largest <= largest * (1 + 1e-10)
        # by concavity, the bound is no farther off than the search
        missed = largest / dual.largest if largest > 0 else 1.0
        assert missed <= 1.1
        assert 0.0 <= dual.lower_bound <= best.upper_bound * missed * (1 + 1e-9)
        exact.append(missed <= 1 + 1e-9)
        # what it found is in the user's coordinates, behind the gates that were there
        np.testing.assert_array_equal(dual.directions[:, : some.n_patterns], some.gates)
    assert sum(exact) >= 2
    # the slopes of the optimum prove it
    dual = search_dual(some.problem, best.solution.slopes, rng, some.gates)
    assert dual.lower_bound == pytest.approx(best.lower_bound, rel=1e-3)


def test_single_precision_finds_as_much(monkeypatch):
    program = draw_program(0, n=300, d=6, alpha=0.01)
    slopes = program.loss.derivative(np.zeros(program.n_samples), program.y)
    found = []
    for many in (1, 10**9):
        monkeypatch.setattr(dual_search, "_MANY_ROWS", many)
        found.append(search_dual(program.problem, slopes, np.random.RandomState(0), program.gates))
    assert found[0].largest == pytest.approx(found[1].largest, rel=1e-4)
    assert found[0].largest != found[1].largest


def test_more_starts_find_no_less():
    program = draw_program(3, n=30, d=4)
    slopes = solve(program).solution.slopes
    known = search_dual(
        program.problem, slopes, np.random.RandomState(0), program.gates, n_starts=300
    )
    few = search_dual(program.problem, slopes, np.random.RandomState(1), program.gates, n_starts=1)
    assert few.largest <= known.largest and few.lower_bound >= known.lower_bound
    # what is known to be good is climbed from
    again = search_dual(
        program.problem,
        slopes,
        np.random.RandomState(1),
        program.gates,
        n_starts=1,
        extra=known.directions,
    )
    assert again.largest >= known.largest * (1 - 1e-9)


@pytest.mark.parametrize(("loss", "intercept", "seed"), pairwise(NAMES, [False, True], [1, 2]))
def test_tightening_reaches_the_tolerance(loss, intercept, seed):
    every, best, some = problem(loss, intercept, seed)
    slopes = every.loss.derivative(np.zeros(every.n_samples), every.y)
    dual = search_dual(some.problem, slopes, np.random.RandomState(0), some.gates)
    found = tightened(some, dual, best.upper_bound)
    assert relative_gap(best.upper_bound, found.lower_bound) <= 1e-3
    assert found.lower_bound >= dual.lower_bound
    # a bound, but for what the search has missed
    normalised = every.normalised
    largest = dual_norms(normalised, found.slopes, exact_above=0.0).max()
    missed = max(largest / normalised.alpha, 1.0)
    assert found.lower_bound <= best.upper_bound * missed
    # the network that adaptive patterns find is within reach, too
    _, result = solve_adaptive(some, tol=1e-2, random_state=0)
    assert found.lower_bound <= result.objective * missed * (1 + 1e-6)


def record_bounds(monkeypatch):
    """Lower bounds of the duals that a search has returned."""
    bounds = []

    def recorded(*args, **kwargs):
        dual = search_dual(*args, **kwargs)
        bounds.append(dual.lower_bound)
        return dual

    monkeypatch.setattr(module, "search_dual", recorded)
    return bounds


def test_the_best_bound_is_kept(monkeypatch):
    program = draw_program(3, n=40, d=4, n_patterns=3, alpha=0.005)
    bounds = record_bounds(monkeypatch)
    slopes = solve(program).solution.slopes
    start = search_dual(program.problem, slopes, np.random.RandomState(0), program.gates)
    # out of reach: all rounds are run
    found = tightened(program, start, 2.0 * solve(program).upper_bound, tol=1e-4)
    assert len(bounds) > 2
    assert found.lower_bound == max(start.lower_bound, *bounds)
    # nothing is done where nothing is asked for
    bounds.clear()
    assert tightened(program, found, found.lower_bound) is found
    assert bounds == []


@LOSSES
def test_it_ends_where_nothing_is_left_to_gain(loss, monkeypatch):
    """An objective out of reach costs no more rounds than the optimum of all networks."""
    every, best, some = problem(loss, True)
    bounds = record_bounds(monkeypatch)
    start = search_dual(some.problem, 0.0 * every.y, np.random.RandomState(0), some.gates)
    found = tightened(some, start, 3.0 * best.upper_bound, tol=1e-2)
    assert relative_gap(best.upper_bound, found.lower_bound) <= 1e-2
    assert 0 < len(bounds) <= 10


def test_useless_neurons_of_one_pattern_are_no_obstacle():
    """A first lasso whose optimum is the constant, with more neurons than patterns."""
    every = exhaustive_program(1, loss="squared_error", alpha=0.05, intercept=True)
    least = every.patterns.sum(axis=0).argmin()
    gate = every.gates[:, [least]]
    some = every.with_gates(np.concatenate([gate, gate, gate], axis=1))
    assert some.n_patterns == 1 and some.directions.shape[1] == 3
    constant = solve(some, "scp", tol=1e-4)
    assert constant.network.n_neurons == 0
    best = solve(every, tol=1e-6)
    assert best.network.n_neurons > 0
    dual = search_dual(some.problem, constant.solution.slopes, np.random.RandomState(0), some.gates)
    start = replace(dual, lower_bound=0.0, directions=some.directions)
    found = tightened(some, start, best.upper_bound)
    assert relative_gap(best.upper_bound, found.lower_bound) <= 1e-3


def test_a_start_that_is_better_than_all_rounds_is_kept(monkeypatch):
    every, best, some = problem("squared_error", True)
    dual = search_dual(some.problem, best.solution.slopes, np.random.RandomState(0), some.gates)
    record_bounds(monkeypatch)
    monkeypatch.setattr(dual_search, "dual_value_of_rows", lambda *_: 0.0)
    assert tightened(some, dual, best.upper_bound, tol=1e-12) is dual


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_no_program_is_solved_after_the_deadline(monkeypatch, rounds):
    program = draw_program(3, n=40, d=4, n_patterns=3, alpha=0.005)
    dual = search_dual(
        program.problem, solve(program).solution.slopes, np.random.RandomState(0), program.gates
    )
    now, solved = [0.0], []

    def solve_for_a_second(*args, **kwargs):
        now[0] += 1.0
        solved.append(args[0])
        return solve(*args, **kwargs)

    monkeypatch.setattr(module, "solve", solve_for_a_second)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    found = tightened(program, dual, 1e3, tol=1e-6, deadline=rounds - 0.5 if rounds else 0.0)
    assert len(solved) == rounds
    assert found.lower_bound >= dual.lower_bound
    if rounds == 0:
        assert found is dual


def test_gates_that_touch_rows_and_empty_patterns_are_no_obstacle():
    every, best, some = problem("squared_error", True)
    slopes = some.loss.derivative(np.zeros(some.n_samples), some.y)
    dual = search_dual(some.problem, slopes, np.random.RandomState(0), some.gates)
    row = every.rows[0]
    touching = np.array([row[1], -row[0], 0.0])  # the hyperplane through the first row
    everywhere_off = np.array([0.0, 0.0, -1.0])
    directions = np.column_stack([touching, everywhere_off, dual.directions])
    worse = replace(dual, directions=directions)
    found = tightened(some, worse, best.upper_bound)
    assert relative_gap(best.upper_bound, found.lower_bound) <= 1e-3
