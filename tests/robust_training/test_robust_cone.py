"""Convex adversarial training: against CVXPY, against perturbations, and what must hold."""

import cvxpy as cp
import numpy as np
import pytest
from grids import halved
from reference import minimise

from sklearn_convexnet import RobustConvexReLUClassifier
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robust_training import cone as robust_cone_module
from sklearn_convexnet.robust_training.cone import solve_robust_cone
from sklearn_convexnet.robust_training.cone_program import RobustProgram
from sklearn_convexnet.solvers import solve

PERTURBATIONS = {
    "inf": Perturbation(0.1),
    "2": Perturbation(0.15, 2),
    "1": Perturbation(0.2, 1),
    "inf, by feature": Perturbation([0.2, 0.0, 0.1]),
    "2, by feature": Perturbation([0.2, 0.1, 0.0], 2),
    "1, by feature": Perturbation([0.2, 0.0, 0.1], 1),
    "box": Perturbation(0.1, np.inf, (-1.0, 1.5)),
}
LOSSES = ["hinge", "log_loss", "squared_hinge", "squared_error"]


def data(loss, n=10, d=3, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    y = np.abs(X[:, 0]) - 0.8 + 0.3 * rng.standard_normal(n)
    return X, y if loss == "squared_error" else np.where(y > 0, 1.0, -1.0)


def fit(loss, perturbation, **arguments):
    X, y = data(loss)
    arguments = {"alpha": 0.02, "n_patterns": 5, "random_state": 0, **arguments}
    return solve_robust_cone(X, y, loss=loss, perturbation=perturbation, **arguments)


def dual_norms(rows, dual):
    return cp.norm(rows, "inf" if dual == np.inf else dual, axis=1)


def reference(program):
    """Optimum of a `RobustProgram`, from the formulas."""
    clean, radii, dual = program.clean, program.radii, program.perturbation.ball.dual
    X, D, y = clean.rows, clean.patterns, clean.y
    v, w, c = cp.Variable((X.shape[1], D.shape[1])), cp.Variable((X.shape[1], D.shape[1])), 0.0
    if clean.fit_intercept:
        c = cp.Variable()
    constraints = []
    for block in (v, w):
        for i in range(D.shape[1]):
            signs = np.where(D[:, i], 1.0, -1.0)
            # stated with few cones: Clarabel gives up on many
            reach = radii @ cp.abs(block[:, i])
            if dual != 1:
                p = "inf" if dual == np.inf else 2
                reach = cp.norm(cp.multiply(radii[0], block[:, i]), p)
            constraints.append(cp.multiply(signs, X @ block[:, i]) >= reach)
    G = D.astype(float) @ (v - w).T
    f = cp.sum(cp.multiply(X, G), axis=1) + c
    reach = dual_norms(cp.multiply(radii, G), dual)
    margin = cp.multiply(y, f) - reach
    losses = {
        "hinge": lambda: cp.pos(1.0 - margin),
        "log_loss": lambda: cp.logistic(-margin),
        "squared_hinge": lambda: 0.5 * cp.square(cp.pos(1.0 - margin)),
        "squared_error": lambda: 0.5 * cp.square(cp.abs(f - y) + reach),
    }[clean.loss.name]()
    norms = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
    return minimise(clean.weights @ losses + clean.alpha * norms, constraints, 1.0)


def assert_bounds(result, tol=1e-4):
    assert result.status == "optimal"
    assert result.gap <= tol
    assert result.program.violation(result.solution.v, result.solution.w) <= 1e-14
    # the neurons switch inside no ball: the loss of the program is that of the network
    assert result.objective == pytest.approx(result.upper_bound, rel=1e-8)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        *halved(("inf", "2", "1"), LOSSES),
        *((name, "hinge") for name in ("inf, by feature", "2, by feature", "1, by feature")),
        *(("box", loss) for loss in ("hinge", "squared_error")),
    ],
)
def test_reaches_the_optimum(name, loss):
    result = fit(loss, PERTURBATIONS[name])
    assert_bounds(result)
    optimum = reference(result.program)
    assert result.upper_bound == pytest.approx(optimum, rel=1e-4)
    assert result.lower_bound <= optimum * (1.0 + 1e-6)


def test_weights_and_no_intercept():
    weights = np.random.RandomState(1).randint(0, 4, 10)
    arguments = {"alpha": 0.05, "n_patterns": 4, "fit_intercept": False, "random_state": 0}
    X, y = data("hinge")
    perturbation = Perturbation(0.02)
    weighted = solve_robust_cone(X, y, weights, perturbation=perturbation, **arguments)
    assert_bounds(weighted)
    assert weighted.upper_bound == pytest.approx(reference(weighted.program), rel=1e-4)
    assert len(weighted.patterns) == np.count_nonzero(weights)
    repeated = solve_robust_cone(
        np.repeat(X, weights, axis=0),
        np.repeat(y, weights),
        perturbation=perturbation,
        patterns=np.repeat(weighted.patterns, weights[weights > 0], axis=0),
        **arguments,
    )
    assert repeated.upper_bound == pytest.approx(weighted.upper_bound, rel=2e-4)


def perturbed(rng, X, perturbation):
    """Rows on the boundary of their balls."""
    centres, radii = perturbation.balls(X)
    p = perturbation.norm
    if p == np.inf:
        return centres + radii * rng.choice([-1.0, 1.0], X.shape)
    noise = rng.standard_normal(X.shape)
    if p == 1:
        noise *= noise == np.max(np.abs(noise), axis=1, keepdims=True) * np.sign(noise)
    return centres + radii * noise / np.linalg.norm(noise, ord=p, axis=1, keepdims=True)


@pytest.mark.parametrize(("name", "loss"), halved([*PERTURBATIONS], ["hinge", "squared_error"]))
def test_no_perturbation_does_worse_and_one_does_as_bad(name, loss):
    perturbation = PERTURBATIONS[name]
    result = fit(loss, perturbation, tol=1e-2, n_patterns=2)
    X, y = data(loss)
    network, program = result.network, result.program
    solution = result.solution
    effective = program.effective_weights(solution.v, solution.w)
    bound = program.worst_case(effective, solution.bias)
    rng = np.random.RandomState(0)
    value = program.clean.loss.value
    for _ in range(100):
        assert (value(network(perturbed(rng, X, perturbation))[:, 0], y) <= bound + 1e-9).all()
    # the worst perturbation of a linear function, by hand
    centres, radii = perturbation.balls(X)
    slope = radii * effective[:, :-1]
    if perturbation.ball.dual == 1:
        units = np.sign(slope)
    elif perturbation.ball.dual == 2:
        units = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-300)
    else:
        largest = np.abs(slope).argmax(axis=1)[:, None]
        units = np.zeros_like(slope)
        np.put_along_axis(units, largest, np.sign(np.take_along_axis(slope, largest, 1)), 1)
    ends = [network(centres + side * radii * units)[:, 0] for side in (-1.0, 1.0)]
    attained = np.maximum(value(ends[0], y), value(ends[1], y))
    np.testing.assert_allclose(attained, bound, rtol=1e-8, atol=1e-10)


def test_without_perturbation_it_is_the_program_of_training():
    X, y = data("hinge")
    result = fit("hinge", Perturbation(0.0))
    # the labels are no pattern of these rows, all others live whatever the factor
    assert np.isin(result.factors, (0.0, np.inf)).all()
    patterns = result.patterns[:, result.living]
    plain = PatternProgram.from_data(X, y, patterns, loss="hinge", alpha=0.02, fit_intercept=True)
    assert result.upper_bound == pytest.approx(solve(plain).upper_bound, rel=2e-4)


def test_more_perturbation_never_lowers_the_optimum():
    patterns = fit("log_loss", Perturbation(0.0)).patterns
    bounds = [
        fit("log_loss", Perturbation(epsilon), patterns=patterns) for epsilon in (0.0, 0.05, 0.3)
    ]
    for less, more in zip(bounds[:-1], bounds[1:], strict=True):
        assert more.upper_bound >= less.lower_bound
        assert not (more.living & ~less.living).any()
    assert bounds[-1].lower_bound > bounds[0].upper_bound


def test_nothing_but_zero_is_feasible():
    X, y = data("hinge")
    result = fit("hinge", Perturbation(5.0), fit_intercept=False)
    assert result.program is None
    assert not result.living.any()
    assert result.network.n_neurons == 0
    assert (result.network(X) == 0).all()
    assert result.objective == result.upper_bound == pytest.approx(1.0)
    assert result.status == "optimal"
    # an intercept leaves the linear neuron alive, whatever the radius
    alive = fit("hinge", Perturbation(5.0))
    assert alive.program.clean.patterns.all()
    assert np.isinf(alive.factors[alive.living]).all()


def test_same_random_state_same_result():
    first, second = (fit("hinge", PERTURBATIONS["inf"]) for _ in range(2))
    assert first.upper_bound == second.upper_bound
    np.testing.assert_array_equal(first.patterns, second.patterns)


def test_moved_copies_of_the_rows_add_no_living_pattern_that_is_not_one_of_the_rows():
    result = fit("hinge", Perturbation(0.1), n_moved=3)
    assert result.patterns.shape[1] > fit("hinge", Perturbation(0.1)).patterns.shape[1]
    rows = result.program.clean.rows
    assert ((rows @ result.program.clean.gates >= 0) == result.patterns[:, result.living]).all()


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"perturbation": 0.1}, TypeError, "perturbation must be a Perturbation, got 0.1"),
        ({"loss": "huber"}, ValueError, "loss must be 'hinge'"),
        ({"loss": "no"}, ValueError, "loss must be one of"),
        ({"alpha": 0.0}, ValueError, "alpha must be a positive finite number, got 0.0"),
        ({"tol": -1.0}, ValueError, "tol must be"),
        ({"max_iter": 0}, ValueError, "max_iter must be"),
        ({"n_patterns": 0}, ValueError, "n_patterns must be an integer of at least 1, got 0"),
        ({"n_moved": -1}, ValueError, "n_moved must be an integer of at least 0, got -1"),
        ({"patterns": np.ones((3, 1))}, ValueError, "patterns has shape"),
        ({"perturbation": Perturbation([0.1, 0.1])}, ValueError, "epsilon must be a number or"),
    ],
)
def test_bad_input(changed, error, match):
    X, y = data("hinge")
    arguments = {"alpha": 0.1, "perturbation": Perturbation(0.1), **changed}
    with pytest.raises(error, match=match):
        solve_robust_cone(X, y, **arguments)


def test_programs_refuse_dead_patterns():
    X, y = data("hinge")
    patterns = (X[:, :1] + X[:, 1:2] > 0.1) & True
    with pytest.raises(ValueError, match="patterns: 1 of 1 columns"):
        RobustProgram.from_data(X, y, patterns, perturbation=Perturbation(3.0), alpha=0.1)


def test_the_patterns_that_bear_most_enter_a_large_program(monkeypatch):
    monkeypatch.setattr(robust_cone_module, "_MOST_UNKNOWNS", 100)
    rng = np.random.RandomState(0)
    X = rng.uniform(0.0, 1.0, (10, 19))
    y = np.where(X[:, 0] > 0.5, 1.0, -1.0)
    result = solve_robust_cone(
        X, y, alpha=0.05, perturbation=Perturbation(1e-3), n_patterns=6, tol=0.3, random_state=0
    )
    kept = result.program.n_patterns
    assert kept == 100 // 20 < result.living.sum()
    # the last of them bears more than any that was left out
    order = np.sort(result.factors[result.living])[::-1]
    keys = {column.tobytes() for column in result.program.clean.patterns.T}
    factors = [
        factor
        for column, factor in zip(result.patterns.T, result.factors, strict=True)
        if np.ascontiguousarray(column).tobytes() in keys
    ]
    assert min(factors) == order[kept - 1]
    # those that are given are all wanted
    given = result.patterns[:, result.living][:, : kept + 2]
    result = solve_robust_cone(
        X, y, alpha=0.05, perturbation=Perturbation(1e-3), patterns=given, tol=0.5
    )
    assert result.program.n_patterns == kept + 2


def test_rounding_that_leaves_no_newton_system_is_no_warning():
    """Equal columns and many thin cones: the diagonal of the system falls below zero."""
    column = [-1.6239632440812264, -3.235881076620946, -0.02218372836039608, 1.8779632950436473]
    model = RobustConvexReLUClassifier(
        alpha=0.001163816797903238,
        epsilon=0.1,
        formulation="cone",
        loss="squared_hinge",
        tol=1e-3,
        n_patterns=300,
        random_state=0,
    ).fit(np.repeat(column, 2).reshape(-1, 2), [-1, 1, -1, 1])
    assert 0 < model.lower_bound_ <= model.objective_ * (1 + 1e-9)
    assert model.dual_gap_ <= 1e-3
