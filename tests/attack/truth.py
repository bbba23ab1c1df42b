"""The training problem anew, with nothing of the package: what its claims are held against.

Losses, objectives of networks, all activation patterns in rational arithmetic, the optimum by a
cone solver, and descents of wide networks. What counts in the end is the objective of a network
that somebody could train: no bound that is called proved may lie above it.
"""

import warnings
from fractions import Fraction
from itertools import combinations

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

REGRESSION = ("squared_error", "huber", "quantile")
CLASSIFICATION = ("log_loss", "hinge", "squared_hinge")
LOSSES = REGRESSION + CLASSIFICATION
DELTA, SHARE = 1.35, 0.5  # of the Huber and of the quantile loss, by default

# what a bound may exceed an objective by: rounding of the two, and nothing else
RELATIVE, ABSOLUTE = 1e-7, 1e-13


def losses(name, outputs, y):
    """Losses of outputs, elementwise."""
    r, m = outputs - y, outputs * y
    if name == "squared_error":
        return 0.5 * r**2
    if name == "huber":
        size = np.abs(r)
        return np.where(size <= DELTA, 0.5 * r**2, DELTA * size - 0.5 * DELTA**2)
    if name == "quantile":
        return np.maximum(-SHARE * r, (1.0 - SHARE) * r)
    if name == "log_loss":
        return np.logaddexp(0.0, -m)
    gap = np.maximum(1.0 - m, 0.0)
    return gap if name == "hinge" else 0.5 * gap**2


def network_objective(name, X, Y, weights, alpha, network):
    """Objective of a network (U, b, A, c), sums over outputs; neurons may serve several."""
    U, b, A, c = network
    outputs = np.maximum(X @ U + b, 0.0) @ A + c
    decay = 0.5 * ((U**2).sum() + (b**2).sum() + (A**2).sum())
    return float((weights @ losses(name, outputs, Y)).sum() + alpha * decay)


def exceeds(bound, name, X, Y, weights, alpha, network):
    """Whether a bound lies above the objective of a network by more than rounding."""
    constant = np.zeros((X.shape[1], 0)), np.zeros(0), np.zeros((0, Y.shape[1]))
    size = network_objective(name, X, Y, weights, alpha, (*constant, np.zeros(Y.shape[1])))
    reached = network_objective(name, X, Y, weights, alpha, network)
    return bound > reached * (1.0 + RELATIVE) + ABSOLUTE * size


# ------------------------------------------------------------------------------------------------
# All activation patterns


def all_patterns(rows):
    """Signs of ``rows @ u`` over all u that no row but zeros is orthogonal to, shape (n, P).

    In rational arithmetic: a cell of the arrangement of the hyperplanes has an edge on which r - 1
    independent rows vanish, and lies on one side of all others there; rows that vanish on the edge
    are an arrangement of smaller rank around it.
    """
    exact = [[Fraction(float(entry)) for entry in row] for row in rows]
    columns = _independent(list(zip(*exact, strict=True)))
    exact = [[row[j] for j in columns] for row in exact]
    signs = sorted(_cells(exact, len(columns)))
    return np.array(signs).T > 0


def _independent(vectors):
    """Indices of a largest set of independent vectors, greedily."""
    chosen, reduced = [], []
    for index, vector in enumerate(vectors):
        rest = list(vector)
        for pivot, other in reduced:
            factor = rest[pivot] / other[pivot]
            rest = [a - factor * b for a, b in zip(rest, other, strict=True)]
        pivot = next((k for k, entry in enumerate(rest) if entry != 0), None)
        if pivot is not None:
            chosen.append(index)
            reduced.append((pivot, rest))
    return chosen


def _cells(rows, rank):
    """The sign vectors; `rows` have as many columns as their rank."""
    if rank == 0:
        return {(0,) * len(rows)}
    if rank == 1:
        positive = tuple(_sign(row[0]) for row in rows)
        return {positive, tuple(-sign for sign in positive)}
    found = set()
    for chosen in combinations([row for row in rows if any(row)], rank - 1):
        edge = _orthogonal(chosen)
        if not any(edge):
            continue
        sides = [_sign(sum(a * b for a, b in zip(row, edge, strict=True))) for row in rows]
        around = [k for k, side in enumerate(sides) if side == 0]
        columns = _independent(list(zip(*[rows[k] for k in around], strict=True)))
        inner = _cells([[rows[k][j] for j in columns] for k in around], len(columns))
        for cell in inner:
            signs = list(sides)
            for k, sign in zip(around, cell, strict=True):
                signs[k] = sign
            found.add(tuple(signs))
            opposite = [-side for side in sides]
            for k, sign in zip(around, cell, strict=True):
                opposite[k] = sign
            found.add(tuple(opposite))
    return found


def _orthogonal(vectors):
    if len(vectors) == 1:
        ((a, b),) = vectors
        return -b, a
    (a, b, c), (d, e, f) = vectors
    return b * f - c * e, c * d - a * f, a * e - b * d


def _sign(number):
    return (number > 0) - (number < 0)


# ------------------------------------------------------------------------------------------------
# The optimum over patterns, by a cone solver


def cone_optimum(name, X, y, weights, alpha, patterns, *, intercept, radii=None):
    """The best network with these patterns, as found by Clarabel, and the solver's optimum.

    With `radii` the worst case over boxes around the rows, of neurons that switch in none.

    Returns
    -------
    network : tuple of ndarray
        (U, b, A, c), with real ReLUs.
    value : float
        What the solver says.
    """
    used = weights > 0
    X, y, weights, patterns = X[used], y[used], weights[used], patterns[used]
    n, P = patterns.shape
    ones = np.ones((n, int(intercept)))
    rows = np.hstack([X, ones])
    # everything of size one, or the solver is content too early
    scale = np.abs(rows).max() or 1.0
    rows = rows / scale
    unit, shift = 1.0, 0.0
    if name in REGRESSION:
        shift = float(weights @ y / weights.sum()) if intercept else 0.0
        unit = np.abs(y - shift).max() or 1.0
    y = (y - shift) / unit
    degree = 1 if name == "quantile" else 2
    size = alpha / scale * unit ** (1 - degree)
    V, W = cp.Variable((rows.shape[1], P)), cp.Variable((rows.shape[1], P))
    c = cp.Variable() if intercept else 0.0
    signs = np.where(patterns, 1.0, -1.0)
    outputs = cp.sum(cp.multiply(patterns.astype(float), rows @ (V - W)), axis=1) + c
    if radii is None:
        reach = [0.0, 0.0]
        value = _cone_losses(name, outputs, y, unit)
    else:
        spread = np.hstack([np.broadcast_to(radii, X.shape), 0.0 * ones]) / scale
        reach = [spread @ cp.abs(part) for part in (V, W)]
        slopes = patterns.astype(float) @ (V - W).T  # (n, d)
        falls = cp.sum(cp.multiply(spread, cp.abs(slopes)), axis=1)
        value = _cone_losses(name, cp.multiply(y, outputs) - falls, np.ones(n), 1.0)
    penalty = cp.sum(cp.norm(V, 2, axis=0)) + cp.sum(cp.norm(W, 2, axis=0))
    constant = float(weights @ losses(name, np.zeros(n), y)) or 1.0
    problem = cp.Problem(
        cp.Minimize((weights / constant) @ value + size / constant * penalty),
        [cp.multiply(signs, rows @ part) >= r for part, r in zip((V, W), reach, strict=True)],
    )
    options = {"tol_gap_abs": 1e-12, "tol_gap_rel": 1e-10, "tol_feas": 1e-11, "max_iter": 200}
    with warnings.catch_warnings():
        # as accurate as it gets: what counts is the network
        warnings.filterwarnings("ignore", "Solution may be inaccurate", UserWarning)
        problem.solve(solver=cp.CLARABEL, **options)
    blocks = np.hstack([V.value, W.value]) * unit / scale
    side = np.repeat([1.0, -1.0], P)
    norms = np.linalg.norm(blocks, axis=0)
    kept = norms > 1e-9 * norms.max()
    hidden = blocks[:, kept] / np.sqrt(norms[kept])
    U, b = (hidden[:-1], hidden[-1]) if intercept else (hidden, np.zeros(hidden.shape[1]))
    A = (side[kept] * np.sqrt(norms[kept]))[:, None]
    bias = np.array([unit * float(c.value) + shift if intercept else 0.0])
    return (U, b, A, bias), float(problem.value) * constant * unit**degree


def _cone_losses(name, outputs, y, unit):
    if name == "squared_error":
        return 0.5 * cp.square(outputs - y)
    if name == "huber":
        return 0.5 * cp.huber(outputs - y, DELTA / unit)
    if name == "quantile":
        return cp.maximum(-SHARE * (outputs - y), (1.0 - SHARE) * (outputs - y))
    margins = cp.multiply(y, outputs)
    if name == "log_loss":
        return cp.logistic(-margins)
    return cp.pos(1.0 - margins) if name == "hinge" else 0.5 * cp.square(cp.pos(1.0 - margins))


def stacked(networks):
    """One network of one-output networks, an output and neurons of their own each."""
    sizes = [network[0].shape[1] for network in networks]
    A = np.zeros((sum(sizes), len(networks)))
    for k, network in enumerate(networks):
        A[sum(sizes[:k]) : sum(sizes[: k + 1]), k] = network[2][:, 0]
    return (
        np.hstack([network[0] for network in networks]),
        np.concatenate([network[1] for network in networks]),
        A,
        np.concatenate([network[3] for network in networks]),
    )


# ------------------------------------------------------------------------------------------------
# Descents of wide networks


def wide_descent(name, X, Y, weights, alpha, *, intercept, neurons, rng, starts=1, iterations=400):
    """The best of some L-BFGS descents from random networks that may share all neurons.

    Kinks are rounded off over widths that shrink; the objective that counts has none of that.
    """
    used = weights > 0
    X, Y, weights = X[used], Y[used], weights[used]
    scale = np.sqrt((X**2).mean()) or 1.0  # U acts on X / scale, and decays as on X
    rows = X / scale
    best, least = None, np.inf
    for _ in range(starts):
        U = rng.standard_normal((X.shape[1], neurons)) / np.sqrt(X.shape[1])
        b = rng.standard_normal(neurons) * intercept
        A = rng.standard_normal((neurons, Y.shape[1])) / np.sqrt(neurons)
        c = (np.average(Y, axis=0, weights=weights)) * intercept
        point = np.concatenate([part.ravel() for part in (U, b, A, c)])
        for width in (0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4):
            shape = X.shape[1], neurons, Y.shape[1]
            problem = name, rows, Y, weights, alpha, scale, intercept, width, shape
            found = minimize(
                _smooth_objective,
                point,
                problem,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-13, "gtol": 1e-12},
            )
            point = found.x
        U, b, A, c = _parts(point, *shape)
        network = _balanced(U / scale, b, A, c)
        reached = network_objective(name, X, Y, weights, alpha, network)
        if reached < least:
            best, least = network, reached
    return best, least


def _parts(point, d, m, K):
    U, b, A, c = np.split(point, np.cumsum([d * m, m, m * K]))
    return U.reshape(d, m), b, A.reshape(m, K), c


def _balanced(U, b, A, c):
    """The same function with neurons of least decay."""
    inner, outer = np.sqrt((U**2).sum(0) + b**2), np.sqrt((A**2).sum(1))
    kept = (inner > 0) & (outer > 0)
    ratio = np.sqrt(outer[kept] / inner[kept])
    return U[:, kept] * ratio, b[kept] * ratio, A[kept] / ratio[:, None], c


def _smooth_objective(point, name, rows, Y, weights, alpha, scale, intercept, width, shape):
    U, b, A, c = _parts(point, *shape)
    hidden, active = _rounded(rows @ U + b, width)
    value, slopes = _smooth_losses(name, hidden @ A + c, Y, width)
    slopes = weights[:, None] * slopes
    back = active * (slopes @ A.T)
    # a weight on X / scale is that on X times scale
    decay = (U**2).sum() / scale**2 + (b**2).sum() + (A**2).sum()
    gradients = (
        rows.T @ back + alpha * U / scale**2,
        (back.sum(axis=0) + alpha * b) * intercept,
        hidden.T @ slopes + alpha * A,
        slopes.sum(axis=0) * intercept,
    )
    gradient = np.concatenate([part.ravel() for part in gradients])
    return float((weights @ value).sum() + 0.5 * alpha * decay), gradient


def _rounded(z, width):
    """Positive part with a parabola between -width and width, and its derivative."""
    slope = np.clip(0.5 + z / (2.0 * width), 0.0, 1.0)
    inside = np.abs(z) < width
    return np.where(inside, (z + width) ** 2 / (4.0 * width), np.maximum(z, 0.0)), slope


def _smooth_losses(name, outputs, Y, width):
    r, m = outputs - Y, outputs * Y
    if name == "squared_error":
        return 0.5 * r**2, r
    if name == "huber":
        return losses(name, outputs, Y), np.clip(r, -DELTA, DELTA)
    if name == "quantile":
        over, above = _rounded(r, width)
        return over - SHARE * r, above - SHARE
    if name == "log_loss":
        return np.logaddexp(0.0, -m), -Y * expit(-m)
    if name == "hinge":
        value, slope = _rounded(1.0 - m, width)
        return value, -Y * slope
    gap = np.maximum(1.0 - m, 0.0)
    return 0.5 * gap**2, -Y * gap
