"""One network for several outputs: its optimum, the bound on it, and the group lasso."""

import functools

import numpy as np
import pytest
from grids import halved
from reference import solve_group_lasso
from scipy.optimize import minimize

from sklearn_convexnet.core.losses import (
    AbsoluteError,
    Hinge,
    Huber,
    LogLoss,
    Quantile,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexnet.core.vector_losses import MultinomialLogLoss, SumOverOutputs
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import enumerate_gates, sample_gates
from sklearn_convexnet.program.problem import TrainingProblem
from sklearn_convexnet.proof.certificate import bound_output
from sklearn_convexnet.solvers import solve, solve_adaptive

SCALARS = {
    "squared_error": SquaredError(),
    "huber": Huber(delta=0.4),
    "log_loss": LogLoss(),
    "squared_hinge": SquaredHinge(),
    "hinge": Hinge(),
    "absolute_error": AbsoluteError(),
    "quantile": Quantile(quantile=0.3),
}
LOSSES = {"softmax": MultinomialLogLoss()} | {
    name: SumOverOutputs(loss) for name, loss in SCALARS.items()
}
SMOOTH = ["softmax", "squared_error", "huber", "log_loss", "squared_hinge"]
TOL = 1e-2

each_loss = pytest.mark.parametrize("loss", LOSSES)


def draw(loss, seed=0, *, n=14, d=2, K=3, spread=1.0):
    """X, targets of a loss, of all classes where it has some, and weights."""
    rng = np.random.RandomState(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal((n, K))
    y += np.maximum(X @ rng.standard_normal((d, K)), 0.0)
    if loss == "softmax":
        labels = np.r_[np.arange(K), np.argmax(y, axis=1)][:n]
        y = np.where(labels[:, None] == np.arange(K), 1.0, -1.0)
    elif LOSSES[loss].target == "sign":
        y = np.where(y > np.median(y, axis=0), 1.0, -1.0)
    return X, y, 10.0 ** rng.uniform(0.0, spread, n)


def make(X, y, loss, *, alpha=0.02, weights=None, intercept=True, n_gates=15, seed=0):
    """A program over random gates."""
    loss = LOSSES[loss] if isinstance(loss, str) else loss
    problem = TrainingProblem.of(
        X, y, loss=loss, alpha=alpha, sample_weight=weights, fit_intercept=intercept
    )
    rng = np.random.RandomState(seed)
    how = {"intercept": intercept}
    return PatternProgram.over(
        problem, sample_gates(problem.rows, problem.weights, n_gates, rng, **how)
    )


def fit(*args, tol=TOL, **kwargs):
    return solve_adaptive(make(*args, **kwargs), tol=tol, random_state=0)[1]


@functools.cache
def fit_of_ten(loss, intercept):
    """The fit of ten rows, with weights that are integers."""
    X, y, weights = draw(loss, n=10)
    return fit(X, y, loss, weights=np.round(weights), intercept=intercept)


def objective(problem, U, A, c):
    """Of a network, and its gradient, from the formula."""
    z = problem.rows @ U
    hidden = np.maximum(z, 0.0)
    f = hidden @ A + c
    pull = problem.weights[:, None] * problem.loss.derivative(f, problem.y)
    decay = 0.5 * problem.alpha * ((U**2).sum() + (A**2).sum())
    value = problem.weights @ problem.loss.value(f, problem.y) + decay
    by_hidden = problem.rows.T @ ((pull @ A.T) * (z > 0)) + problem.alpha * U
    by_bias = pull.sum(axis=0) * problem.fit_intercept
    return value, (by_hidden, hidden.T @ pull + problem.alpha * A, by_bias)


def least_objective(problem, *, starts=4, neurons=10, max_iter=200, seed=0):
    """The best of L-BFGS from random networks."""
    rng = np.random.RandomState(seed)
    shapes = (problem.rows.shape[1], neurons), (neurons, problem.y.shape[1]), problem.y.shape[1:]
    ends = np.cumsum([np.prod(shape) for shape in shapes])

    def at(point):
        parts = np.split(point, ends[:-1])
        parts = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        value, gradient = objective(problem, *parts)
        return value, np.concatenate([part.ravel() for part in gradient])

    found = []
    for _ in range(starts):
        start = rng.standard_normal(ends[-1])
        start[ends[-2] :] = 0.0
        options = {"maxiter": max_iter}
        found.append(minimize(at, start, jac=True, method="L-BFGS-B", options=options).fun)
    return min(found)


def assert_sound(program, result, tol=TOL):
    """What holds for every result that has reached its tolerance."""
    network, problem = result.network, program.problem
    d = network.hidden_weights.shape[0]
    U = np.vstack([network.hidden_weights, network.hidden_biases])[: problem.rows.shape[1]]
    value, _ = objective(problem, U, network.output_weights, network.output_biases)
    assert result.objective == pytest.approx(value, rel=1e-10)
    assert d == problem.X.shape[1] and network.n_outputs == problem.y.shape[1]
    assert result.bounds_of == "searched"
    assert result.status == "optimal" and result.gap <= tol
    assert result.lower_bound <= result.objective == result.upper_bound
    assert result.gap == pytest.approx(1 - result.lower_bound / result.objective, abs=1e-12)
    assert np.isfinite(problem.loss.conjugate(result.solution.slopes, problem.y)).all()
    entries = result.history
    # the last says what is known at the end
    assert entries[-1]["lower_bound"] == pytest.approx(result.lower_bound, rel=1e-12)
    assert entries[-1]["gap"] == pytest.approx(result.gap, abs=1e-12)
    assert {entry["phase"] for entry in entries} <= {"descent", "search"}
    assert all(entry["lower_bound"] <= entry["upper_bound"] for entry in entries)


# ------------------------------------------------------------------------------------------------
# The optimum over all networks


@pytest.mark.parametrize(("intercept", "loss"), halved([False, True], SMOOTH))
def test_no_network_that_is_found_is_below_the_bounds(loss, intercept):
    X, y, weights = draw(loss, n=8, d=2, K=2 + intercept)
    program = make(X, y, loss, weights=weights, intercept=intercept)
    found, result = solve_adaptive(program, tol=TOL, random_state=0)
    assert_sound(program, result)
    least = min(least_objective(program.problem), result.objective)
    assert result.lower_bound <= least
    assert result.objective <= least * (1 + TOL)
    # proved, whatever the search has missed
    proof = bound_output(found, result.solution.slopes)
    assert 0 < proof.proved.lower_bound <= least


@pytest.mark.parametrize("loss", ["hinge", "absolute_error", "quantile"])
def test_losses_with_kinks(loss):
    X, y, weights = draw(loss, n=8, d=2, K=2)
    program = make(X, y, loss, weights=weights)
    found, result = solve_adaptive(program, tol=0.1, random_state=0)
    assert_sound(program, result, tol=0.1)
    least = min(least_objective(program.problem), result.objective)
    assert result.lower_bound <= least
    assert bound_output(found, result.solution.slopes).proved.lower_bound <= least
    # dual variables jump: what an earlier search has found counts, in the history too
    _, result = solve_adaptive(program, tol=1e-6, max_iter=800, random_state=0)
    known = [entry["lower_bound"] for entry in result.history if entry["phase"] == "search"]
    assert known == sorted(known)
    assert known[-1] == pytest.approx(result.lower_bound, rel=1e-12)


@pytest.mark.parametrize("kind", ["right", "wrong", "random", "one row"])
@pytest.mark.parametrize("loss", ["softmax", "log_loss", "squared_error"])
def test_what_is_proved_by_any_slopes_holds(loss, kind):
    """Saturated and useless slopes, rare classes: no constant network is below the bound."""
    X, y, _ = draw(loss, n=24, K=3)
    if loss == "softmax":
        y[:] = np.where(np.r_[np.zeros(22, int), 1, 2][:, None] == np.arange(3), 1.0, -1.0)
    for alpha in (0.01, 0.3):
        for size in (1.0, 1e4):
            program = make(X, y, loss, alpha=alpha, weights=np.r_[np.ones(22), 1e-2, 1e-5])
            problem, rng = program.problem, np.random.RandomState(0)
            f = size * {"right": y, "wrong": -y}.get(kind, rng.standard_normal(y.shape))
            if kind == "one row":
                f[1:] /= size
            constant, _ = problem.loss.constant(y, problem.weights)
            nothing = problem.weights @ problem.loss.value(constant + 0.0 * y, y)
            found = bound_output(program, problem.loss.derivative(f, y))
            assert found.proved.lower_bound <= nothing * (1 + 1e-12)
            assert found.dual.lower_bound <= nothing * (1 + 1e-12)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "hinge"])
def test_one_column_is_the_problem_of_one_output(loss):
    X, y, weights = draw(loss, n=10, K=1)
    rows = np.c_[X, np.ones(len(X))]
    gates = enumerate_gates(rows, max_patterns=1000)
    one = PatternProgram.from_data(
        X,
        y[:, 0],
        rows @ gates >= 0,
        loss=loss,
        alpha=0.02,
        sample_weight=weights,
        fit_intercept=True,
        gates=gates,
        exhaustive=True,
    )
    best = solve(one, tol=1e-6)
    result = fit(X, y, loss, weights=weights, tol=0.05)
    assert result.lower_bound <= best.upper_bound
    assert best.lower_bound <= result.objective * (1 + 1e-12)
    assert result.objective <= best.upper_bound * (1 + 0.05)


@pytest.mark.parametrize("loss", ["squared_error", "squared_hinge"])
@pytest.mark.parametrize("K", [2, 4])
def test_equal_targets_are_one_output_of_a_smaller_penalty(loss, K):
    """With all output weights equal a neuron costs sqrt(K) of one output, and gains K of it."""
    X, y, weights = draw(loss, K=1)
    shared = fit(X, np.repeat(y, K, axis=1), loss, alpha=0.05, weights=weights, tol=2e-3)
    alone = fit(X, y, loss, alpha=0.05 / np.sqrt(K), weights=weights, tol=2e-3)
    assert shared.objective == pytest.approx(K * alone.objective, rel=4e-3)
    assert shared.lower_bound <= K * alone.objective
    assert K * alone.lower_bound <= shared.objective


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_sharing_costs_no_more_than_separate_neurons(loss):
    X, y, weights = draw(loss, n=10, K=2)
    result = fit(X, y, loss, weights=weights)
    apart = sum(fit(X, column[:, None], loss, weights=weights).objective for column in y.T)
    assert result.objective <= apart * (1 + TOL)
    assert result.lower_bound <= apart


@pytest.mark.parametrize(
    "loss, change",
    [
        *(("softmax", change) for change in ("outputs", "rows", "X")),
        *(("squared_error", change) for change in ("outputs", "rows", "y", "rotation")),
    ],
)
def test_what_changes_nothing(loss, change):
    X, y, weights = draw(loss, n=10)
    weights, factor = np.round(weights), 1.0
    how = {"weights": weights, "intercept": change != "X"}
    result = fit_of_ten(loss, how["intercept"])
    if change == "outputs":
        other = fit(X, y[:, [2, 0, 1]], loss, **how)
    elif change == "rows":
        counts = weights.astype(int)
        other = fit(np.repeat(X, counts, axis=0), np.repeat(y, counts, axis=0), loss)
    elif change == "X":
        other = fit(1e3 * X, y, loss, alpha=20.0, **how)
    elif change == "y":
        factor = 1e12
        other = fit(X, 1e6 * y, loss, alpha=0.02 * 1e6, **how)
    else:
        Q, _ = np.linalg.qr(np.random.RandomState(1).standard_normal((3, 3)))
        other = fit(X, y @ Q, loss, **how)
    assert other.objective == pytest.approx(factor * result.objective, rel=TOL)
    assert other.lower_bound <= factor * result.objective
    assert factor * result.lower_bound <= other.objective


@each_loss
def test_a_constant_network_where_the_penalty_is_large(loss):
    X, y, weights = draw(loss)
    program = make(X, y, loss, alpha=50.0, weights=weights)
    tol = TOL if loss in SMOOTH else 0.6
    found, result = solve_adaptive(program, tol=tol, random_state=0)
    problem = program.problem
    assert result.network.n_neurons == 0
    constant, _ = problem.loss.constant(y, problem.weights)
    nothing = problem.weights @ problem.loss.value(constant + 0.0 * y, y)
    assert result.objective == pytest.approx(nothing, rel=1e-9)
    assert result.gap <= tol
    assert found.n_patterns == program.n_patterns


@pytest.mark.parametrize(("intercept", "loss"), halved([False, True], SMOOTH))
def test_columns_without_information(loss, intercept):
    X, y, _ = draw(loss)
    if loss == "softmax":
        X = np.c_[X, np.zeros(len(X)), np.full(len(X), 2.0)]
    else:
        # of a target, and of X
        y[:, 1] = y[0, 1]
        X = np.c_[X, np.zeros(len(X))]
    program = make(X, y, loss, intercept=intercept)
    assert_sound(program, solve_adaptive(program, tol=TOL, random_state=0)[1])


@each_loss
def test_two_samples(loss):
    X, y, _ = draw(loss, n=2, K=2)
    tol = TOL if loss in SMOOTH else 0.2
    program = make(X, y, loss, n_gates=4)
    result = solve_adaptive(program, tol=tol, random_state=0)[1]
    assert result.gap <= tol
    assert result.lower_bound <= least_objective(program.problem, starts=2, neurons=4)


@pytest.mark.parametrize("loss", ["softmax", "squared_error"])
def test_targets_that_a_constant_fits(loss):
    X, y, _ = draw(loss, n=6)
    y = np.where(np.arange(3) == 1, 1.0, -1.0) * np.ones_like(y)
    result = fit(X, y, loss, tol=0.05)
    assert 0 <= result.lower_bound <= result.objective <= 1e-6
    assert np.isfinite(result.gap)


def test_as_many_outputs_as_letters():
    X, y, _ = draw("softmax", n=40, d=3, K=26)
    program = make(X, y, "softmax", n_gates=20)
    assert_sound(program, solve_adaptive(program, tol=0.05, random_state=0)[1], tol=0.05)


def test_more_columns_than_rows():
    X, y, _ = draw("squared_error", n=5, d=12)
    program = make(X, y, "squared_error")
    assert_sound(program, solve_adaptive(program, tol=0.05, random_state=0)[1], tol=0.05)


@pytest.mark.parametrize("stop", [1, 2, 4, 6])
def test_on_check_stops_it(stop):
    X, y, weights = draw("softmax")
    seen = []

    def on_check(entry):
        seen.append(entry)
        return len(seen) >= stop

    program = make(X, y, "softmax", weights=weights)
    _, result = solve_adaptive(program, tol=1e-9, random_state=0, on_check=on_check)
    assert result.status == "stopped"
    # what was going on is finished, and said
    assert stop <= len(seen) <= stop + 2
    assert len(result.history) == len(seen)
    assert 0 <= result.lower_bound <= result.objective


def test_max_iter_is_a_bound():
    X, y, _ = draw("squared_error")
    result = solve_adaptive(make(X, y, "squared_error"), tol=1e-9, max_iter=30, random_state=0)[1]
    assert result.status == "max_iter" and result.n_iter <= 30 + 2
    assert 0 <= result.lower_bound <= result.objective


@pytest.mark.parametrize("loss", ["softmax", "squared_error"])
def test_the_same_bits_for_any_number_of_threads(loss, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    X, y, weights = draw(loss, n=300, d=3)
    results = []
    for n_threads in (1, 2, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(n_threads))
        with threadpoolctl.threadpool_limits(n_threads):
            results.append(fit(X, y, loss, weights=weights, tol=0.05))
    first = results[0]
    for other in results[1:]:
        np.testing.assert_array_equal(other.network.output_weights, first.network.output_weights)
        assert (other.objective, other.lower_bound) == (first.objective, first.lower_bound)


def test_a_warm_start_is_near():
    X, y, weights = draw("softmax")
    program = make(X, y, "softmax", weights=weights)
    _, first = solve_adaptive(program, tol=TOL, random_state=0)
    _, again = solve_adaptive(program, tol=TOL, random_state=0, warm_start=first)
    assert_sound(program, again)
    assert again.objective <= first.objective * (1 + TOL)
    assert again.n_iter < first.n_iter


# ------------------------------------------------------------------------------------------------
# The group lasso


@pytest.mark.parametrize(
    ("intercept", "loss"),
    halved([False, True], ["softmax", "squared_error", "huber", "log_loss"]),
)
def test_the_group_lasso_of_a_smooth_loss(loss, intercept):
    X, y, weights = draw(loss)
    program = make(X, y, loss, weights=weights, intercept=intercept)
    result = solve(program, "scp", tol=1e-4)
    best = solve_group_lasso(program, scale=result.upper_bound).value
    assert result.status == "optimal" and result.bounds_of == "scp"
    assert result.lower_bound <= best * (1 + 1e-6)
    assert best * (1 - 1e-6) <= result.upper_bound <= best * (1 + 1e-4)
    # neurons of equal pattern may be one; none costs more than in the lasso
    assert result.objective <= result.upper_bound * (1 + 1e-9)
    assert result.network.n_neurons <= program.n_patterns


@pytest.mark.parametrize("loss", ["hinge", "absolute_error"])
def test_the_group_lasso_of_a_loss_with_kinks(loss):
    X, y, weights = draw(loss)
    program = make(X, y, loss, weights=weights)
    result = solve(program, "scp", tol=0.05)
    best = solve_group_lasso(program, scale=result.upper_bound).value
    assert result.status == "optimal" and result.gap <= 0.05
    assert result.lower_bound <= best * (1 + 1e-6)
    assert best * (1 - 1e-6) <= result.upper_bound <= best * (1 + 0.05)


@pytest.mark.parametrize("loss", ["softmax", "squared_error"])
def test_the_group_lasso_of_a_large_penalty_is_a_constant(loss):
    X, y, _ = draw(loss)
    program = make(X, y, loss, alpha=50.0)
    result = solve(program, "scp", tol=1e-6)
    assert result.status == "optimal" and result.network.n_neurons == 0
    best = solve_group_lasso(program, scale=result.upper_bound).value
    assert result.upper_bound == pytest.approx(best, rel=1e-5)


def test_the_neurons_of_a_descent_as_a_fixed_layer():
    X, y, weights = draw("softmax")
    program = make(X, y, "softmax", weights=weights)
    _, free = solve_adaptive(program, tol=TOL, random_state=0)
    found, result = solve_adaptive(program, "scp", tol=TOL, random_state=0)
    assert result.bounds_of == "scp" and result.gap <= TOL
    assert result.objective <= free.objective * (1 + 1e-9)
    assert result.lower_bound <= result.upper_bound
    best = solve_group_lasso(found, scale=result.upper_bound).value
    assert result.lower_bound <= best * (1 + 1e-6)


def test_on_check_stops_the_group_lasso():
    X, y, _ = draw("softmax")
    seen = []

    def on_check(entry):
        seen.append(entry)
        return True

    result = solve(make(X, y, "softmax"), "scp", tol=1e-12, on_check=on_check)
    assert result.status == "stopped" and len(seen) == 1


@pytest.mark.parametrize("solver", ["admm", "admm-rbcd"])
def test_the_program_over_patterns_has_one_output(solver):
    X, y, _ = draw("squared_error")
    with pytest.raises(ValueError, match="solver must be 'scp' where outputs share"):
        solve(make(X, y, "squared_error"), solver)


def test_bad_targets_are_refused():
    X, y, _ = draw("softmax")
    with pytest.raises(ValueError, match="y must be a 2-D array"):
        make(X, y[:, 0], "softmax")
    with pytest.raises(ValueError, match="y must hold -1 and \\+1 only"):
        make(X, 2.0 * y, "softmax")
    with pytest.raises(ValueError, match="y must be a 1-D array"):
        make(X, y, SquaredError())


def test_two_classes_of_softmax_are_one_logistic_output():
    """With the outputs (-f/2, f/2) the neurons of f cost a share of 1 / sqrt(2)."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((60, 2))
    y = np.where(X[:, 0] * X[:, 1] + 0.3 * rng.standard_normal(60) > 0, 1.0, -1.0)
    alpha, gates = 0.01, rng.standard_normal((3, 30))
    logistic = TrainingProblem.of(X, y, loss="log_loss", alpha=alpha, fit_intercept=True)
    softmax = TrainingProblem.of(
        X,
        np.column_stack([-y, y]),
        loss=MultinomialLogLoss(),
        alpha=np.sqrt(2.0) * alpha,
        fit_intercept=True,
    )
    bounds = [
        solve_adaptive(PatternProgram.over(problem, gates), tol=1e-3, random_state=0)[1]
        for problem in (logistic, softmax)
    ]
    for one, other in (bounds, bounds[::-1]):
        assert one.lower_bound <= other.objective * (1 + 1e-9)
    assert bounds[1].objective == pytest.approx(bounds[0].objective, rel=3e-3)


@pytest.mark.parametrize("loss", [AbsoluteError(), Quantile(0.9), SquaredError()])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_constant_targets_are_fitted_by_a_constant(loss, target):
    """Without an error, nothing of a kink may be smoothed over: the width must not be zero."""
    rows = np.random.RandomState(0).standard_normal((20, 2))
    y, loss = np.full((20, 2), target), SumOverOutputs(loss)
    problem = TrainingProblem.of(rows, y, loss=loss, alpha=0.1, fit_intercept=True)
    gates = np.random.RandomState(1).standard_normal((3, 8))
    _, result = solve_adaptive(PatternProgram.over(problem, gates), random_state=0)
    assert result.status == "optimal" and result.network.n_neurons == 0
    assert result.objective == pytest.approx(0.0, abs=1e-12)


def test_the_history_of_a_fixed_layer_begins_with_the_descent():
    rows = np.random.RandomState(0).standard_normal((30, 2))
    y, loss = np.c_[np.abs(rows[:, 0]), rows[:, 1]], SumOverOutputs(SquaredError())
    problem = TrainingProblem.of(rows, y, loss=loss, alpha=0.01, fit_intercept=True)
    program = PatternProgram.over(problem, np.random.RandomState(1).standard_normal((3, 8)))
    seen = []
    found, result = solve_adaptive(program, "scp", random_state=0, on_check=seen.append)
    assert result.bounds_of == "scp" and result.history == seen
    iterations = [entry["iteration"] for entry in result.history]
    assert iterations == sorted(iterations) and iterations[-1] == result.n_iter
    # a fixed layer starts from nothing; its solution has no blocks that another could start from
    again = solve(found, "scp", warm_start=result)
    assert again.lower_bound <= result.upper_bound * (1 + 1e-9)
    alone = TrainingProblem.of(rows, y[:, 0], loss="squared_error", alpha=0.01, fit_intercept=True)
    with pytest.raises(ValueError, match="warm_start must come from a program with one output"):
        solve(PatternProgram.over(alone, program.gates), warm_start=result)
