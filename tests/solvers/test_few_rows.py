"""Few rows, some nearly equal: the optimum is reached, over all patterns and adaptive ones."""

import numpy as np
import pytest
from problems import LOSSES
from reference import solve_reference

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import enumerate_gates, sample_gates
from sklearn_convexnet.solvers import solve, solve_adaptive

TOL = 0.05


def few_rows(seed, loss, *, n=None, d=2, near=None, alpha=None):
    """Arguments of a program: rows `near` one another, with targets that do not care."""
    rng = np.random.RandomState(seed)
    n = rng.randint(3, 9) if n is None else n
    X = np.round(3.0 * rng.standard_normal((n, d)), 2)
    near = 10.0 ** -rng.randint(3, 13) if near is None else near
    for _ in range(1 + n // 4):
        one, other = rng.choice(n, 2, replace=False)
        X[one] = X[other] + near * rng.standard_normal(d)
    y = rng.standard_normal(n)
    if get_loss(loss).target == "sign":
        y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return {
        "X": X,
        "y": y,
        "loss": loss,
        "alpha": 10.0 ** rng.uniform(-5, -1) if alpha is None else alpha,
        "sample_weight": 10.0 ** rng.uniform(0, rng.choice([0, 3]), n),
        "fit_intercept": True,
    }


def over_all_patterns(X, **arguments):
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    gates = enumerate_gates(rows, max_patterns=1000)
    return PatternProgram.from_data(
        X, patterns=rows @ gates >= 0, gates=gates, exhaustive=True, **arguments
    )


def over_a_sample(X, **arguments):
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    weights = arguments["sample_weight"] / arguments["sample_weight"].sum()
    rng = np.random.RandomState(0)
    gates = sample_gates(rows, weights, 100, rng, intercept=True)
    return PatternProgram.from_data(X, patterns=rows @ gates >= 0, gates=gates, **arguments)


@pytest.mark.parametrize(
    ("loss", "seed"),
    [
        # every loss and every seed in the quick run
        pytest.param(loss, seed, marks=[] if (j + k) % 3 == 0 else [pytest.mark.slow])
        for j, loss in enumerate(LOSSES)
        for k, seed in enumerate([20, 21, 30])
    ],
)
def test_thin_cones_do_not_stop_the_solver(loss, seed):
    # the interior point ends next to a cone between two rows, far from all points in it
    program = over_all_patterns(**few_rows(seed, loss))
    result = solve(program, tol=TOL)
    assert result.status == "optimal" and result.gap <= TOL
    assert result.objective <= result.upper_bound * (1.0 + 1e-9)


@pytest.mark.parametrize(
    ("near", "seed"),
    [
        pytest.param(near, seed, marks=[] if seed == k else [pytest.mark.slow])
        for k, near in enumerate([None, 1e-3, 1e-9])
        for seed in range(3)
    ],
)
def test_adaptive_patterns_are_not_blind_to_rows_close_together(near, seed):
    t = np.array([-2.82, -2.08, 1.67, 5.3, -3.36, -1.97, -2.0, -1.35])
    if near is not None:
        t = np.append(t, t[5] + near)
    y = np.array([1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0])[: len(t)]
    data = {"X": t[:, None], "y": y, "loss": "hinge", "alpha": 1.2e-4, "fit_intercept": True}
    data["sample_weight"] = np.ones(len(t))
    _, result = solve_adaptive(over_a_sample(**data), tol=TOL, random_state=seed)
    best = solve(over_all_patterns(**data), tol=1e-3)
    assert best.status == result.status == "optimal"
    assert best.lower_bound <= result.objective * (1.0 + 1e-9)
    assert result.objective <= best.upper_bound / (1.0 - TOL)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(50))
@pytest.mark.parametrize("loss", LOSSES)
def test_few_rows_against_clarabel(loss, seed):
    data = few_rows(seed, loss, d=1 + seed % 2)
    every = over_all_patterns(**data)
    result = solve(every, tol=TOL)
    assert result.status == "optimal"
    _, adaptive = solve_adaptive(over_a_sample(**data), tol=TOL, random_state=seed)
    assert adaptive.status == "optimal"
    # proved for every network
    assert result.lower_bound <= adaptive.objective * (1.0 + 1e-9)
    assert adaptive.objective <= result.upper_bound / (1.0 - TOL)
    if data["X"].shape[1] == 1:
        # thinner cones are beyond the reference
        optimum = solve_reference(every, result.upper_bound).value
        assert result.lower_bound <= optimum * (1.0 + 1e-6)
        assert result.upper_bound >= optimum * (1.0 - 1e-6)
