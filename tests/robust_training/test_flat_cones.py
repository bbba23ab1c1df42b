"""Robust cones without interior are no cones of zero blocks: the bounds hold for what is in them.

The programs are written from the formulas, over all patterns that were tried, whatever became of
them.
"""

import warnings
from itertools import product

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sklearn_convexnet import Perturbation, RobustConvexReLUClassifier, solve_robust_cone

X = np.array([[0.0, 0.0], [1.0, 0.3], [-1.0, 0.2], [2.0, -1.0]])
Y = np.array([1.0, 1.0, -1.0, 1.0])
DUAL = {np.inf: 1, 2: 2, 1: np.inf}


def balls(X, perturbation, intercept):
    """Rows with the constant column, and their radii."""
    centres, radii = perturbation.balls(X)
    ones = np.ones((len(X), int(intercept)))
    return np.hstack([centres, ones]), np.hstack([radii, 0.0 * ones])


def reference(rows, radii, patterns, y, *, norm, alpha, intercept):
    """Optimum of the program of hinge over given patterns; None where Clarabel gives up."""
    dual = "inf" if norm == 1 else DUAL[norm]
    constraints = []
    blocks = [[cp.Variable(rows.shape[1]) for _ in range(patterns.shape[1])] for _ in range(2)]
    for side in blocks:
        for i, block in enumerate(side):
            for k, row in enumerate(rows):
                sign = 1.0 if patterns[k, i] else -1.0
                constraints.append(
                    sign * (row @ block) >= cp.norm(cp.multiply(radii[k], block), dual)
                )
    bias = cp.Variable() if intercept else 0.0
    losses = []
    for k, row in enumerate(rows):
        weight = sum(v - w for i, (v, w) in enumerate(zip(*blocks, strict=True)) if patterns[k, i])
        reach = cp.norm(cp.multiply(radii[k], weight), dual) if patterns[k].any() else 0.0
        value = row @ weight if patterns[k].any() else 0.0
        losses.append(cp.pos(1.0 - y[k] * (value + bias) + reach))
    norms = sum(cp.norm(block, 2) for side in blocks for block in side)
    problem = cp.Problem(cp.Minimize(sum(losses) / len(y) + alpha * norms), constraints)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            problem.solve(solver=cp.CLARABEL)
    except cp.SolverError:
        return None
    return problem.value if problem.status == cp.OPTIMAL else None


def best_of_small_integers(rows, radii, patterns, y, *, norm, alpha, intercept):
    """Optimum over the neurons with small integer weights whose patterns hold: a linear program.

    Worst cases of losses that are linear in the neurons are those of the sum of the reaches here,
    an upper bound.
    """
    losses, sizes = [], []
    for u in product((-2.0, -1.0, 0.0, 1.0, 2.0), repeat=rows.shape[1]):
        u = np.array(u)
        values = rows @ u
        reach = np.linalg.norm(radii * u, ord=DUAL[norm], axis=1)
        signs = np.where(patterns, 1.0, -1.0)
        for i in np.flatnonzero((signs * values[:, None] >= reach[:, None]).all(axis=0)):
            if u.any():
                active = patterns[:, i]
                for sign in (1.0, -1.0):
                    losses.append(active * (sign * y * values - reach))
                    sizes.append(np.linalg.norm(u))
    n, m = len(y), len(losses)
    gains = np.array(losses).reshape(m, n).T
    bias = y[:, None] if intercept else np.zeros((n, 1))
    # amounts of neurons, bias, losses
    matrix = np.hstack([-gains, -bias, -np.eye(n)])
    cost = np.concatenate([alpha * np.array(sizes), [0.0], np.full(n, 1.0 / n)])
    bounds = [(0, None)] * m + [(None, None)] + [(0, None)] * n
    return linprog(cost, A_ub=matrix, b_ub=-np.ones(n), bounds=bounds).fun


def check(X, y, perturbation, *, intercept, patterns=None, alpha=0.05):
    result = solve_robust_cone(
        X,
        y,
        loss="hinge",
        alpha=alpha,
        perturbation=perturbation,
        patterns=patterns,
        n_patterns=4,
        fit_intercept=intercept,
        tol=1e-3,
        max_iter=300,
        random_state=0,
    )
    rows, radii = balls(X, perturbation, intercept)
    program = {"norm": perturbation.norm, "alpha": alpha, "intercept": intercept}
    found = best_of_small_integers(rows, radii, result.patterns, y, **program)
    assert result.lower_bound <= found + 1e-8
    optimum = reference(rows, radii, result.patterns, y, **program)
    if optimum is not None:
        assert result.lower_bound <= optimum + 1e-6
        assert result.upper_bound >= optimum - 1e-6
    if result.program is not None:
        assert result.program.violation(result.solution.v, result.solution.w) <= 1e-12
    assert result.objective <= result.upper_bound + 1e-9
    return result, optimum


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_a_row_of_zeros_and_a_feature_that_nothing_moves(norm):
    result, optimum = check(X, Y, Perturbation([0.0, 0.1], norm), intercept=False, alpha=0.01)
    # the network relu(x_1) - relu(-x_1) is one of them
    assert result.upper_bound < 0.2703
    assert result.status == "optimal"
    assert result.upper_bound == pytest.approx(optimum, rel=2e-3)
    # a pattern of a face lives at any radius
    assert np.isinf(result.factors[result.living]).all()


def test_estimators_have_neurons_on_faces_and_say_what_was_tried():
    model = RobustConvexReLUClassifier(
        alpha=0.01,
        epsilon=[0.0, 0.1],
        formulation="cone",
        loss="hinge",
        fit_intercept=False,
        random_state=0,
    ).fit(X, Y)
    assert model.lower_bound_ < model.objective_ < 0.2703 * 1.01
    assert not model.coefs_[0][1].any()
    with pytest.warns(UserWarning, match="none of the .* patterns that were tried leaves room"):
        model.set_params(epsilon=0.1).fit(X, Y)


def test_balls_that_touch_the_boundary_of_their_cone():
    # valid values from zero on: whatever has non-negative weights is active, and no more than that
    rows = np.array([[0.0, 0.0], [1.0, 0.0], [2.0, 1.0], [0.0, 2.0]])
    y = np.array([-1.0, -1.0, 1.0, 1.0])
    perturbation = Perturbation(0.25, np.inf, (0.0, 3.0))
    result, _ = check(rows, y, perturbation, intercept=False, alpha=0.01)
    assert result.lower_bound < 0.9


@st.composite
def degenerate(draw):
    d = draw(st.integers(1, 3))
    n = draw(st.integers(2, 5))
    few = st.sampled_from([-1.0, 0.0, 0.0, 1.0, 2.0])
    X = np.array(draw(st.lists(st.tuples(*[few] * d), min_size=n, max_size=n)))
    if draw(st.booleans()):
        # repeated and opposite rows
        X[-1] = draw(st.sampled_from([-1.0, 1.0])) * X[0]
    y = np.array(draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=n, max_size=n)))
    radii = draw(st.tuples(*[st.sampled_from([0.0, 0.0, 0.25, 0.5, 1.0])] * d))
    norm = draw(st.sampled_from([np.inf, 2, 1]))
    bounds = None
    if norm == np.inf and draw(st.booleans()):
        bounds = (draw(st.sampled_from([-2.0, 0.0])), 2.0)
    patterns = None
    if draw(st.booleans()):
        bits = st.lists(st.booleans(), min_size=n, max_size=n)
        patterns = np.array(draw(st.lists(bits, min_size=1, max_size=3))).T
    return X, y, Perturbation(radii, norm, bounds), draw(st.booleans()), patterns


@pytest.mark.parametrize(
    "n_examples", [5, pytest.param(150, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_bounds_hold_on_degenerate_rows(n_examples):
    @settings(
        max_examples=n_examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(degenerate())
    def holds(problem):
        X, y, perturbation, intercept, patterns = problem
        note(f"{perturbation.epsilon}, {perturbation.norm}, {perturbation.bounds}")
        if patterns is not None and not patterns.any():
            return
        result, optimum = check(X, y, perturbation, intercept=intercept, patterns=patterns)
        touching = (result.factors > 1.0 - 2e-3) & ~result.living
        if optimum is not None and not touching.any():
            assert result.upper_bound <= optimum * (1.0 + 2e-3) + 1e-6

    holds()
