"""The contract of `solve`: arguments, statuses, history, warm starts, degenerate programs."""

import dataclasses
import functools
import importlib
import pickle

import numpy as np
import pytest
from grids import pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import (
    LOSSES,
    SERVED,
    SHAPES,
    assert_certified,
    draw_data,
    draw_program,
    programs,
    tiny,
)
from reference import solve_reference

from sklearn_convexnet import ConvexReLURegressor
from sklearn_convexnet.bounds.dual import certify
from sklearn_convexnet.core.losses import REGRESSION_LOSSES, get_loss
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import enumerate_gates
from sklearn_convexnet.program.units import Solution
from sklearn_convexnet.solvers import SOLVERS, BaseSolver, Result, solve

# the package holds a function of that name
solve_module = importlib.import_module("sklearn_convexnet.solvers.solve")


# ------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"solver": "newton"}, ["solver", "admm-cholesky", "'newton'"]),
        ({"solver": None}, ["solver", "admm-cholesky", "None"]),
        ({"tol": 0.0}, ["tol", "positive", "0.0"]),
        ({"tol": -1e-3}, ["tol", "positive", "-0.001"]),
        ({"tol": np.nan}, ["tol", "finite", "nan"]),
        ({"tol": np.inf}, ["tol", "finite", "inf"]),
        ({"tol": "1e-4"}, ["tol", "number", "'1e-4'"]),
        ({"tol": None}, ["tol", "number", "None"]),
        ({"max_iter": 0}, ["max_iter", "at least 1", "0"]),
        ({"max_iter": -3}, ["max_iter", "at least 1", "-3"]),
        ({"max_iter": 2.5}, ["max_iter", "integer", "2.5"]),
        ({"max_iter": np.nan}, ["max_iter", "integer", "nan"]),
        ({"max_iter": "many"}, ["max_iter", "integer", "'many'"]),
        ({"warm_start": 3}, ["warm_start", "Result", "3"]),
        ({"warm_start": True}, ["warm_start", "Result", "True"]),
    ],
)
def test_bad_argument(arguments, words):
    with pytest.raises(ValueError) as error:
        solve(draw_program(), **arguments)
    for word in words:
        assert word in str(error.value)


class Shy(BaseSolver):
    """Proves something of the zero network, for one loss."""

    name = "shy"

    def check_loss(self, loss):
        if loss.name != "huber":
            raise ValueError("shy needs loss='huber'.")

    def run(self, program, *, tol, max_iter, rng, start, record, workers):
        assert isinstance(program.rows, np.ndarray)
        zero = np.zeros(program.gates.shape)
        slopes = program.loss.derivative(np.zeros_like(program.y), program.y)
        certified, _ = certify(program, zero, zero, 0.0, slopes, tol=tol)
        record("shy", 1, certified)
        return certified, 1


def test_a_solver_of_ones_own():
    program = draw_program(loss="huber")
    result, optimum = solve(program, Shy()), solve(program)
    assert result.history[0]["phase"] == "shy"
    assert result.lower_bound <= optimum.upper_bound
    assert optimum.lower_bound <= result.upper_bound
    assert result.objective == pytest.approx(result.upper_bound)
    with pytest.raises(ValueError, match="shy needs"):
        solve(draw_program(loss="squared_error"), Shy())


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "squared_error"])
def test_closed_form_step_needs_the_squared_loss(loss):
    with pytest.raises(ValueError, match=f"admm-cholesky.*loss='squared_error'.*'{loss}'"):
        solve(draw_program(loss=loss), "admm-cholesky")


@pytest.mark.parametrize("loss", ["quantile", "hinge"])
def test_coordinate_descent_needs_a_smooth_loss(loss):
    with pytest.raises(ValueError, match=f"admm-rbcd.*Lipschitz.*'{loss}'"):
        solve(draw_program(loss=loss), "admm-rbcd")


@pytest.mark.parametrize("other", [{"n": 19}, {"d": 4}, {"n_patterns": 3}])
def test_warm_start_of_another_shape(other):
    result = solve(draw_program(**other))
    with pytest.raises(ValueError, match=r"warm_start.*blocks of shape \(4, 8\) and 20 rows"):
        solve(draw_program(), warm_start=result)


@pytest.mark.parametrize("solver", SOLVERS)
def test_integers_and_numpy_numbers_are_numbers(solver):
    result = solve(draw_program(alpha=0.1), solver, tol=np.float32(0.1), max_iter=np.int64(50))
    assert result.n_iter <= 50
    assert solve(draw_program(), solver, tol=1).status == "optimal"


# ------------------------------------------------------------------------------ results


@pytest.mark.parametrize("solver", SOLVERS)
def test_result_is_what_it_says(solver):
    program = draw_program(alpha=0.1, n_patterns=4)
    entries = []
    result = solve(program, solver, tol=1e-3, random_state=0, on_check=entries.append)
    assert_certified(program, result)
    assert result.history == entries
    assert result.bounds_of == ("scp" if solver == "scp" else "patterns")
    last = result.history[-1]
    for name in ("upper_bound", "lower_bound", "gap"):
        assert last[name] == getattr(result, name)
    width = result.upper_bound - result.lower_bound
    assert result.gap == pytest.approx(width / result.upper_bound, rel=1e-6)
    assert isinstance(result.solution, Solution)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.gap = 0.0
    copy = pickle.loads(pickle.dumps(result))
    assert isinstance(copy, Result) and copy.upper_bound == result.upper_bound


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_may_be_repeated(solver):
    program = draw_program()
    results = [solve(program, solver, max_iter=100, random_state=7) for _ in range(2)]
    first, second = results
    assert first.upper_bound == second.upper_bound and first.lower_bound == second.lower_bound
    assert first.n_iter == second.n_iter
    np.testing.assert_array_equal(first.network.hidden_weights, second.network.hidden_weights)
    # and a program is not changed by being solved
    other = solve(draw_program(), solver, max_iter=100, random_state=np.random.RandomState(7))
    assert other.upper_bound == first.upper_bound


def test_only_coordinate_descent_is_random():
    program = draw_program()
    for solver, same in (("admm", True), ("admm-cholesky", True), ("admm-rbcd", False)):
        bounds = {
            solve(program, solver, tol=1e-9, max_iter=30, random_state=seed).upper_bound
            for seed in range(3)
        }
        assert (len(bounds) == 1) == same


def test_the_state_of_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for solver in SOLVERS:
        solve(draw_program(), solver, max_iter=10)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@functools.cache
def optimum_of(loss):
    return solve(draw_program(1, n=15, loss=loss), tol=1e-8)


@pytest.mark.parametrize(
    ("solver", "loss", "max_iter"),
    pairwise(
        SOLVERS, LOSSES, [1, 2, 3, 50, 61], among=lambda solver, loss, _: (solver, loss) in SERVED
    ),
)
def test_bounds_after_few_iterations(solver, loss, max_iter):
    program = draw_program(1, n=15, loss=loss)
    result = solve(program, solver, tol=1e-9, max_iter=max_iter, random_state=0)
    assert_certified(program, result)
    assert result.n_iter <= max_iter
    assert result.status == "max_iter" or result.n_iter < max_iter
    if solver != "scp":
        optimum = optimum_of(loss)
        assert result.lower_bound <= optimum.upper_bound
        assert result.upper_bound >= optimum.lower_bound


@pytest.mark.parametrize("solver", ["admm-cholesky", "admm-rbcd", "admm"])
def test_bounds_of_a_history_tighten(solver, monkeypatch):
    monkeypatch.setattr(solve_module, "_polish_is_worth_it", lambda *_: False)
    program = draw_program(2, n_patterns=4, alpha=0.05)
    result = solve(program, solver, tol=1e-6, max_iter=500, random_state=0)
    history = result.history
    assert len(history) >= 3
    for before, after in zip(history[:-1], history[1:], strict=True):
        assert after["iteration"] > before["iteration"]
        assert after["time"] >= before["time"]
        assert after["upper_bound"] <= before["upper_bound"]
        assert after["lower_bound"] >= before["lower_bound"]
        assert after["gap"] <= before["gap"]


@settings(max_examples=12)
@given(program=programs(), tol=st.sampled_from([0.3, 1e-3, 1e-6]))
def test_a_looser_tolerance_is_met_too(program, tol):
    result = solve(program, tol=tol)
    assert_certified(program, result)
    assert result.status == "optimal" and result.gap <= tol


# ------------------------------------------------------------------------------ warm starts


@pytest.mark.parametrize("loss", ["squared_error", "quantile", "log_loss"])
@pytest.mark.parametrize("polished", [True, False])
def test_warm_start_from_the_solution(loss, polished, monkeypatch):
    if not polished:
        monkeypatch.setattr(solve_module, "_polish_is_worth_it", lambda *_: False)
    program = draw_program(4, loss=loss, alpha=0.03)
    tol = 1e-6 if polished else 1e-2
    cold = solve(program, tol=tol, max_iter=100_000)
    warm = solve(program, tol=tol, max_iter=100_000, warm_start=cold)
    assert cold.status == warm.status == "optimal"
    assert warm.n_iter <= 1.5 * cold.n_iter
    assert warm.upper_bound == pytest.approx(cold.upper_bound, rel=2 * tol)


@settings(max_examples=8)
@given(program=programs(), factor=st.sampled_from([0.3, 0.9, 1.1, 3.0]), seed=st.integers(0, 99))
def test_warm_start_from_a_neighbour_or_from_nonsense(program, factor, seed):
    cold = solve(program, tol=1e-7)
    neighbour = PatternProgram.from_data(
        program.rows[:, : program.rows.shape[1] - program.fit_intercept],
        program.y,
        program.patterns,
        loss=program.loss,
        alpha=factor * program.alpha,
        sample_weight=program.weights,
        fit_intercept=program.fit_intercept,
        gates=program.gates,
    )
    start = solve(neighbour, tol=1e-3)
    rng = np.random.RandomState(seed)
    v, w = 10.0 * rng.standard_normal((2, *program.gates.shape))
    nonsense = dataclasses.replace(
        start, solution=Solution(v, w, 5.0, rng.standard_normal(program.n_samples))
    )
    for warm_start in (start, nonsense):
        warm = solve(program, tol=1e-7, warm_start=warm_start)
        assert warm.status == "optimal"
        assert warm.upper_bound == pytest.approx(cold.upper_bound, rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_takes_a_warm_start(solver):
    program = draw_program(4, alpha=0.03)
    start = solve(program, tol=1e-3)
    result = solve(program, solver, tol=1e-3, max_iter=200, warm_start=start, random_state=0)
    assert_certified(program, result)


# ------------------------------------------------------------------------------ degenerate


@pytest.mark.parametrize(
    ("shape", "loss", "intercept"),
    pairwise(SHAPES, ["squared_error", "quantile", "log_loss", "squared_hinge"], [False, True]),
)
def test_degenerate_rows(shape, loss, intercept):
    X = np.asarray(SHAPES[shape])
    y = np.random.RandomState(1).standard_normal(len(X))
    if get_loss(loss).target == "sign":
        y = np.where(np.arange(len(X)) % 2 == 0, 1.0, -1.0)
    program = tiny(X, y, loss, fit_intercept=intercept)
    result = solve(program, tol=1e-8)
    assert_certified(program, result)
    assert result.status == "optimal"
    if len(X) > 1 and np.abs(X).max() < 100:
        # Clarabel gives up on badly scaled columns
        reference = solve_reference(program, result.upper_bound)
        assert result.upper_bound == pytest.approx(reference.value, rel=1e-6)
        assert result.lower_bound == pytest.approx(reference.value, rel=1e-6)


@pytest.mark.parametrize(
    ("solver", "shape", "intercept"),
    pairwise(["admm-cholesky", "admm-rbcd", "scp"], SHAPES, [False, True]),
)
def test_degenerate_rows_for_the_other_solvers(solver, shape, intercept):
    X = np.asarray(SHAPES[shape])
    y = np.random.RandomState(1).standard_normal(len(X))
    program = tiny(X, y, fit_intercept=intercept)
    result = solve(program, solver, tol=1e-2, max_iter=60, random_state=0)
    assert_certified(program, result)
    if solver != "scp":
        optimum = solve(program, tol=1e-4)
        assert result.lower_bound <= optimum.upper_bound * (1 + 1e-12)
        assert result.upper_bound >= optimum.lower_bound * (1 - 1e-12)


@pytest.mark.parametrize(("solver", "loss"), SERVED)
def test_a_perfect_constant(solver, loss):
    for constant in (1.0, -1.0):
        X = np.random.RandomState(0).standard_normal((7, 2))
        for target in (constant,) if get_loss(loss).target == "sign" else (0.1 * constant, 1e8):
            program = tiny(X, np.full(7, target), loss, fit_intercept=True)
            result = solve(program, solver, tol=1e-8)
            assert_certified(program, result)
            assert result.status == "optimal"
            assert result.network.n_neurons == 0
            # the constant itself is rounded
            off = program.loss.value(np.full(7, target * (1 + 1e-15)), program.y).max()
            assert result.objective <= max(off, 1e-30)
            assert np.sign(result.network(X)) == pytest.approx(np.sign(target))


@pytest.mark.parametrize(
    ("solver", "loss", "intercept", "size"),
    pairwise(
        SOLVERS,
        REGRESSION_LOSSES,
        [False, True],
        [0.0, 1e-200, 1e-300],
        among=lambda solver, loss, *_: (solver, loss) in SERVED,
    ),
)
def test_targets_that_are_zero_or_underflow(solver, loss, intercept, size):
    X = np.random.RandomState(0).standard_normal((7, 2))
    y = size * np.random.RandomState(1).standard_normal(7)
    program = tiny(X, y, loss, fit_intercept=intercept)
    result = solve(program, solver, tol=1e-6)
    assert_certified(program, result)
    assert result.status == "optimal"
    assert result.objective <= size


@pytest.mark.parametrize(
    ("loss", "intercept", "alpha"), pairwise(LOSSES, [False, True], [1e-6, 1e-16, 1e2, 1e300])
)
def test_extreme_alphas(loss, intercept, alpha):
    program = draw_program(9, n=10, d=2, loss=loss, alpha=alpha, intercept=intercept)
    result = solve(program, tol=1e-6)
    assert_certified(program, result)
    if alpha >= 1:
        assert result.status == "optimal" and result.network.n_neurons == 0
    if 1e-6 <= alpha <= 1e2:
        reference = solve_reference(program, result.upper_bound)
        assert result.upper_bound == pytest.approx(reference.value, rel=1e-5)
        assert result.lower_bound == pytest.approx(reference.value, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "intercept", "decades"), pairwise(LOSSES, [False, True], [7, 12, 300])
)
def test_extreme_weights(loss, intercept, decades):
    data = draw_data(3, n=15, d=2, n_patterns=6, loss=loss, intercept=intercept)
    data["sample_weight"] = 10.0 ** np.linspace(-decades, 0, 15)
    program = PatternProgram.from_data(**data, alpha=0.01)
    result = solve(program, tol=1e-6)
    assert_certified(program, result)
    assert result.status == "optimal"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e290])
def test_rows_of_extreme_size(solver, scale):
    data = draw_data(3, n=15, d=2, n_patterns=6, loss="squared_error", intercept=False)
    data["X"] = scale * data["X"]
    program = PatternProgram.from_data(**data, alpha=0.01)
    result = solve(program, solver, tol=1e-3, max_iter=200)
    assert_certified(program, result)


# ------------------------------------------------------------------------------ many patterns


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_more_patterns_than_admm_screens(loss, monkeypatch):
    monkeypatch.setattr(solve_module, "_MANY_PATTERNS", 300)
    data = draw_data(0, n=12, d=3, n_patterns=1, loss=loss, intercept=True)
    rows = np.concatenate([data["X"], np.ones((12, 1))], axis=1)
    gates = enumerate_gates(rows, max_patterns=5000)
    assert gates.shape[1] > solve_module._MANY_PATTERNS
    data |= {"gates": gates, "patterns": rows @ gates >= 0}
    program = PatternProgram.from_data(**data, alpha=0.02, exhaustive=True)
    result = solve(program, tol=1e-6)
    assert_certified(program, result)
    assert result.status == "optimal" and result.bounds_of == "global"
    some = np.random.RandomState(0).permutation(gates.shape[1])[:100]
    part = {**data, "gates": gates[:, some], "patterns": data["patterns"][:, some]}
    fewer = solve(PatternProgram.from_data(**part, alpha=0.02), tol=1e-6)
    assert result.lower_bound <= fewer.upper_bound
    # the neurons found are a certificate on their own patterns too
    warm = solve(program, tol=1e-6, warm_start=result)
    assert warm.status == "optimal"
    assert warm.upper_bound == pytest.approx(result.upper_bound, rel=2e-6)


def test_the_working_set_does_not_change_the_optimum(monkeypatch):
    program = draw_program(5, n=25, d=3, n_patterns=60, alpha=0.005)
    expected = solve(program, tol=1e-8)
    monkeypatch.setattr(solve_module, "_MANY_PATTERNS", 10)
    monkeypatch.setattr(
        solve_module, "_spread_blocks", lambda program: np.array([0, program.n_patterns])
    )
    result = solve(program, tol=1e-8)
    assert result.status == "optimal"
    assert result.upper_bound == pytest.approx(expected.upper_bound, rel=2e-8)


@pytest.mark.parametrize("solver", ["admm", "admm-cholesky", "admm-rbcd"])
def test_a_check_can_stop_the_solver(solver):
    program = draw_program(3, loss="squared_error", alpha=1e-3)
    checks = []

    def stop_at_the_second(entry):
        checks.append(entry)
        return len(checks) == 2

    result = solve(program, solver, tol=1e-14, random_state=0, on_check=stop_at_the_second)
    assert len(checks) == len(result.history) <= 2
    if len(checks) == 2:
        assert result.status == "stopped"
    # what it has is a network with valid bounds all the same
    assert result.lower_bound <= result.upper_bound
    assert result.objective <= result.upper_bound * (1 + 1e-9)


def test_a_fixed_layer_with_a_tiny_penalty():
    # directions of equal patterns have a neuron each, and bounds that are not those of patterns
    X, y = np.array([[1.0, 0.0], [1.0, 1.0], [2.0, 1.0]]), np.array([0.0, 1.0, 0.5])
    model = ConvexReLURegressor(alpha=1e-15, solver="scp", patterns="random", random_state=0)
    model.fit(X, y)
    assert 0 < model.lower_bound_ <= model.objective_
    assert model.dual_gap_ <= 0.05


@pytest.mark.parametrize("solver", ["admm", "admm-cholesky", "admm-rbcd", "scp"])
def test_a_check_knows_the_network_of_the_moment(solver):
    program, seen = draw_program(), []

    def on_check(entry):
        objective = program.network_objective(entry.network())
        seen.append((objective, entry["upper_bound"]))

    result = solve(program, solver, tol=1e-2, random_state=0, on_check=on_check)
    assert len(seen) == len(result.history)
    # the neurons of a network may be better than the program allows
    assert all(objective <= upper * (1 + 1e-9) for objective, upper in seen)
    assert result.objective <= seen[-1][0] * (1 + 1e-9)
