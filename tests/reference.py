"""The convex programs as CVXPY models, solved by Clarabel: what the solvers are compared with.

The models are written from the formulas; only the arrays of a program are read.
"""

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
from scipy.optimize import nnls

from sklearn_convexnet.core.vector_losses import SumOverOutputs

# Relative accuracy of a reference value, measured against tighter runs: no test may ask for more.
ACCURACY = 3e-7


@dataclass
class Reference:
    """Optimal value and a nearly feasible optimal point."""

    value: float
    outputs: np.ndarray
    blocks: tuple
    bias: float


def total_loss(loss, f, y, weights):
    """The weighted loss of predictions `f`, an affine CVXPY expression, and its constraints.

    Stated with the fewest cones: Clarabel gives up on some others.
    """
    roots = np.sqrt(weights)
    r = f - y
    excess = 1.0 - cp.multiply(y, f)
    extra = cp.Variable(len(y))
    squares = 0.5 * cp.sum_squares(cp.multiply(roots, extra))
    if loss.name == "squared_error":
        return squares, [extra == r]
    if loss.name == "absolute_error":
        return weights @ cp.abs(r), []
    if loss.name == "huber":
        # a part of the residual is charged quadratically, the rest linearly
        return squares + loss.delta * (weights @ cp.abs(r - extra)), []
    if loss.name == "quantile":
        return weights @ cp.maximum(-loss.quantile * r, (1.0 - loss.quantile) * r), []
    if loss.name == "log_loss":
        return weights @ cp.logistic(excess - 1.0), []
    if loss.name == "hinge":
        return weights @ cp.pos(excess), []
    if loss.name == "squared_hinge":
        return squares, [extra >= excess]
    raise AssertionError(f"no model of the loss {loss.name!r}")


def minimise(objective, constraints, scale):
    """Solve with the objective divided by `scale`, at the first tolerance that Clarabel reaches."""
    problem = cp.Problem(cp.Minimize(objective / scale), constraints)
    for tolerance in (1e-11, 1e-10, 1e-9, 1e-8):
        try:
            with warnings.catch_warnings():
                # "Solution may be inaccurate": the next tolerance has another try
                warnings.simplefilter("ignore", UserWarning)
                problem.solve(
                    solver=cp.CLARABEL,
                    tol_gap_abs=tolerance,
                    tol_gap_rel=tolerance,
                    tol_feas=tolerance,
                    # an "inaccurate" solution is one within these
                    reduced_tol_gap_abs=1e-8,
                    reduced_tol_gap_rel=1e-8,
                    reduced_tol_feas=1e-8,
                )
        except cp.SolverError:
            continue
        if problem.status in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
            return float(objective.value)
    raise AssertionError(f"Clarabel did not solve the reference problem: {problem.status}")


def solve_reference(program, scale=1.0, signs=None):
    """Optimum of a `PatternProgram`; `scale` is a guess of its value.

    With `signs` of the columns of its rows, over monotone networks.
    """
    X, D = program.rows, program.patterns
    shape = X.shape[1], D.shape[1]
    v, w, c = cp.Variable(shape), cp.Variable(shape), cp.Variable()
    sides = np.where(D, 1.0, -1.0)
    f = cp.sum(cp.multiply(D.astype(float), X @ (v - w)), axis=1)
    if program.fit_intercept:
        f = f + c
    norms = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
    loss, constraints = total_loss(program.loss, f, program.y, program.weights)
    constraints += [cp.multiply(sides, X @ v) >= 0, cp.multiply(sides, X @ w) >= 0]
    if signs is not None:
        wanted = np.repeat(signs[:, None], shape[1], axis=1)
        constraints += [cp.multiply(wanted, v) >= 0, cp.multiply(wanted, w) <= 0]
    value = minimise(loss + program.alpha * norms, constraints, scale)
    bias = float(c.value) if program.fit_intercept else 0.0
    return Reference(value, f.value, (v.value, w.value), bias)


def solve_lasso(program, scale=1.0):
    """Optimum of the sampled convex program: the unit gates as a fixed first layer."""
    features = np.maximum(program.rows @ program.gates, 0.0)
    features = features / np.linalg.norm(program.gates, axis=0)
    a, c = cp.Variable(features.shape[1]), cp.Variable()
    f = features @ a
    if program.fit_intercept:
        f = f + c
    loss, constraints = total_loss(program.loss, f, program.y, program.weights)
    value = minimise(loss + program.alpha * cp.norm1(a), constraints, scale)
    bias = float(c.value) if program.fit_intercept else 0.0
    return Reference(value, f.value, (a.value,), bias)


def projected_gradients(program, slopes):
    """Projections of -X'D Omega p (blocks v) and +X'D Omega p (blocks w) on the cones, by NNLS."""
    X, D = program.rows, program.patterns
    projections = np.zeros((2, *X.T.shape[:1], D.shape[1]))
    for i in range(D.shape[1]):
        C = (2.0 * D[:, i, None] - 1.0) * X
        pull = X.T @ (D[:, i] * program.weights * slopes)
        for side, point in enumerate((-pull, pull)):
            size = np.linalg.norm(point)
            if size > 0:
                # min over a >= 0 of |C'a + g|
                a, _ = nnls(C.T, -point / size)
                projections[side][:, i] = point + size * (C.T @ a)
    return projections


def solve_group_lasso(program, scale=1.0):
    """Optimum of the sampled convex program of several outputs that share the unit gates."""
    features = np.maximum(program.rows @ program.gates, 0.0)
    features = features / np.linalg.norm(program.gates, axis=0)
    y, weights, loss = program.y, program.weights, program.problem.loss
    a, c = cp.Variable((features.shape[1], y.shape[1])), cp.Variable(y.shape[1])
    f = features @ a
    if program.fit_intercept:
        f = f + np.ones((len(y), 1)) @ cp.reshape(c, (1, y.shape[1]), order="C")
    if isinstance(loss, SumOverOutputs):
        parts = [total_loss(loss.loss, f[:, k], y[:, k], weights) for k in range(y.shape[1])]
        total, constraints = sum(part for part, _ in parts), sum((more for _, more in parts), [])
    else:
        own = cp.sum(cp.multiply(np.where(y > 0, 1.0, 0.0), f), axis=1)
        total, constraints = weights @ (cp.log_sum_exp(f, axis=1) - own), []
    value = minimise(total + program.alpha * cp.sum(cp.norm(a, axis=1)), constraints, scale)
    return Reference(value, f.value, (a.value,), c.value if program.fit_intercept else 0.0)
