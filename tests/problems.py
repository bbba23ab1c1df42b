"""Small programs, at random, over all patterns and degenerate, and what holds of their results."""

import numpy as np
from hypothesis import note
from hypothesis import strategies as st

from sklearn_convexnet.core.losses import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    Huber,
    Quantile,
    get_loss,
)
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import enumerate_gates, sample_gates

# the absolute error is left out: twice the default of "quantile", as tests/core/test_losses.py says
LOSSES = [name for name in REGRESSION_LOSSES | CLASSIFICATION_LOSSES if name != "absolute_error"]
SMOOTH_LOSSES = [name for name in LOSSES if np.isfinite(get_loss(name).curvature)]
# what the solvers serve
SERVED = [
    *(("admm", name) for name in LOSSES),
    ("admm-cholesky", "squared_error"),
    *(("admm-rbcd", name) for name in SMOOTH_LOSSES),
    *(("scp", name) for name in LOSSES),
]
# the losses, also with parameters that are not the defaults
VARIANTS = [*LOSSES, Huber(delta=0.2), Quantile(quantile=0.8)]


def draw_data(seed, *, n, d, n_patterns, loss, intercept, spread=3.0, rounded=False):
    """Arguments of a program, gates included; `spread` is the log10 of the ratio of weights."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    if rounded:
        # coincidences: repeated rows, rows on the hyperplane of another, zeros
        X = np.round(X)
        X[0] = 1.0
    weights = 10.0 ** rng.uniform(0.0, spread, n)
    y = rng.standard_normal(n) + np.maximum(X @ rng.standard_normal(d), 0.0)
    if get_loss(loss).target == "sign":
        y = np.where(y > np.median(y), 1.0, -1.0)
        y[np.argmax(y)] = 1.0
        if n > 1:
            y[0] = -y[1:].max() if np.ptp(y[1:]) == 0 else y[0]
    elif n > 1:
        y[0] += 1.0
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = sample_gates(rows, weights / weights.sum(), n_patterns, rng, intercept=intercept)
    return {
        "X": X,
        "y": y,
        "patterns": rows @ gates >= 0,
        "loss": loss,
        "sample_weight": weights,
        "fit_intercept": intercept,
        "gates": gates,
    }


def draw_program(
    seed=0, *, n=20, d=3, n_patterns=8, loss="squared_error", alpha=0.01, intercept=True
):
    """One program of moderate size."""
    data = draw_data(seed, n=n, d=d, n_patterns=n_patterns, loss=loss, intercept=intercept)
    return PatternProgram.from_data(**data, alpha=alpha)


@st.composite
def datas(draw, losses=tuple(VARIANTS), min_rows=2, max_rows=15):
    """Arguments of `PatternProgram` but for alpha."""
    arguments = {
        "seed": draw(st.integers(0, 2**31 - 1)),
        "n": draw(st.integers(min_rows, max_rows)),
        "d": draw(st.integers(1, 4)),
        "n_patterns": draw(st.integers(1, 8)),
        "loss": draw(st.sampled_from(losses)),
        "intercept": draw(st.booleans()),
        "rounded": draw(st.booleans()),
    }
    note(f"draw_data(**{arguments})")
    return draw_data(**arguments)


alphas = st.floats(-4.0, 0.0).map(lambda exponent: 10.0**exponent)


@st.composite
def programs(draw, **kwargs):
    """Programs with weights of ratios up to 1e3 and alpha from 1e-4 to 1."""
    data, alpha = draw(datas(**kwargs)), draw(alphas)
    note(f"alpha={alpha!r}")
    return PatternProgram.from_data(**data, alpha=alpha)


def exhaustive_program(seed, *, loss, alpha, intercept, n=8, d=2):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    y = rng.standard_normal(n)
    if get_loss(loss).target == "sign":
        y = np.where(y > 0, 1.0, -1.0)
        y[0] = -y[1]
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = enumerate_gates(rows, max_patterns=10_000)
    return PatternProgram.from_data(
        X,
        y,
        rows @ gates >= 0,
        loss=loss,
        alpha=alpha,
        sample_weight=10.0 ** rng.uniform(0, 1, n),
        fit_intercept=intercept,
        gates=gates,
        exhaustive=True,
    )


def tiny(X, y, loss="squared_error", **arguments):
    X = np.asarray(X, dtype=float)
    intercept = arguments.get("fit_intercept", False)
    rows = np.concatenate([X, np.ones((len(X), int(intercept)))], axis=1)
    gates = enumerate_gates(rows, max_patterns=1000)
    arguments = {"alpha": 0.05, "gates": gates, **arguments}
    return PatternProgram.from_data(X, y, rows @ gates >= 0, loss=loss, **arguments)


rng = np.random.RandomState(0)
ONE_ROW = [[1.0, -2.0]]
ZERO_ROW = [[0.0, 0.0], [1.0, 2.0], [-1.0, 0.5], [0.0, 0.0], [2.0, -1.0]]
REPEATED = np.repeat(rng.standard_normal((3, 2)), 4, axis=0)
COLLINEAR = np.outer(rng.standard_normal(8), [1.0, 2.0, -1.0])
CONSTANT = np.concatenate([rng.standard_normal((8, 1)), np.full((8, 2), 3.0)], axis=1)
WIDE = rng.standard_normal((4, 9))
OPPOSITE = np.concatenate([np.eye(3), -np.eye(3)])
SHAPES = {
    "one row": ONE_ROW,
    "one feature": rng.standard_normal((6, 1)),
    "zero rows": ZERO_ROW,
    "repeated rows": REPEATED,
    "collinear columns": COLLINEAR,
    "constant columns": CONSTANT,
    "more columns than rows": WIDE,
    "opposite rows": OPPOSITE,
    "badly scaled columns": rng.standard_normal((7, 2)) * [1e3, 1.0],
}


def assert_certified(program, result):
    """What holds for every result, whatever its status."""
    assert result.status in ("optimal", "max_iter", "stalled")
    assert np.isfinite([result.objective, result.upper_bound, result.lower_bound, result.gap]).all()
    assert result.lower_bound <= result.upper_bound * (1.0 + 1e-14)
    assert 0.0 <= result.gap
    # a perfect fit is one up to the rounding of its predictions
    rounding = program.loss.value(program.y * (1.0 + 1e-15), program.y).max()
    rounding = rounding if program.loss.target == "real" else 0.0
    assert result.objective <= result.upper_bound * (1.0 + 1e-9) + rounding
    network = result.network
    assert np.isfinite(network(program.rows[:, : network.hidden_weights.shape[0]])).all()
    assert result.network.n_neurons <= 2 * len(program.directions.T)
    assert result.history
    assert result.history[-1]["iteration"] == result.n_iter
