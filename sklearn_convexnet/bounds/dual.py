r"""Certified bounds of a program over patterns from any primal-dual point.

Upper: the convex objective at a point moved into the cones. Lower: for slopes p in the domain of
the conjugate (summing to zero in the weights when there is an intercept), the dual value

.. math:: -\sum_k \omega_k \ell^*(p_k / \kappa), \qquad
    \kappa = \max\Big(1, \tfrac1\alpha \max_i \|\Pi_{K_i}(\pm X^\top D_i \Omega p)\|\Big),

with :math:`\Pi_{K_i}` the projection on the cone of pattern i. The norms need not be exact:
:math:`\|\Pi(g)\| \le \|g + C^\top a\|` for any :math:`a \ge 0`.

A program that is split into shards gets the same bounds, pass by pass.

Projections on the cones of many patterns are done together: a pass over the rows finds, for every
point, the rows that it violates most; they join the rows that are known, and the point is
projected on the cone of these, until no row is violated.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..core.network import column_norms
from ..core.rows import CHUNK, by_row, transposed_times
from ..program.cones import non_negative_least_squares, project_on_cone
from ..program.shard import worst_rows
from ..program.units import Solution

# gap of the iterates as they are, in units of that asked for, from which projections are made
_WITHIN_REACH = 3.0
# rounds of a projection, after which the steps along the gates do the rest
_MOST_ROUNDS = 60
_EPS = np.finfo(np.float64).eps


def admissible_slopes(problem, slopes):
    """The nearest slopes that the dual admits, up to the scaling by kappa."""
    weights = problem.weights if problem.fit_intercept else None
    return problem.loss.admissible(slopes, problem.y, weights)


def dual_gradients(program, slopes, columns):
    """``X' D_i Omega p`` for the patterns `columns`, shape (d, n_columns)."""
    weighted = by_row(np.multiply, program.rows, program.weights * slopes)
    size = max(1, CHUNK // program.n_samples)
    parts = [
        transposed_times(weighted, program.patterns[:, columns[start : start + size]])
        for start in range(0, len(columns), size)
    ]
    return np.concatenate([np.zeros((program.rows.shape[1], 0)), *parts], axis=1)


def dual_norms(program, slopes, *, multipliers=None, exact_above, indices=None):
    r"""Upper bounds on the norms of the projected dual gradients.

    Parameters
    ----------
    program : PatternProgram
    slopes : ndarray of shape (n_samples,)
        Admissible slopes.
    multipliers : ndarray of shape (n_cone_rows, n_indices), default=None
        Non-negative multipliers of the cones, to tighten the bounds with.
    exact_above : float
        A norm whose cheap bound exceeds this value is computed exactly, or until it is proved
        to be at most this value.
    indices : ndarray of int of shape (n_indices,), default=None
        Blocks to look at: i for v_i, n_patterns + i for w_i. By default all of them.

    Returns
    -------
    ndarray of shape (n_indices,)
    """
    P = program.n_patterns
    indices = np.arange(2 * P) if indices is None else indices
    rows, cone_patterns = program.cone_rows, program.cone_patterns
    columns, side = indices % P, np.where(indices < P, -1.0, 1.0)
    points = side * dual_gradients(program, slopes, columns)
    norms = block_norms(points)
    if multipliers is not None:
        signs = 2.0 * cone_patterns[:, columns] - 1.0
        pulled = transposed_times(rows, signs * multipliers)
        norms = np.minimum(norms, block_norms(points + pulled))
    for k in np.flatnonzero(norms > exact_above):
        signs = 2.0 * cone_patterns[:, columns[k]] - 1.0
        constraints = by_row(np.multiply, rows, signs)
        projection, pulled = project_on_cone(constraints, points[:, k], stop_below=exact_above)
        # rows that are nearly opposite pull hard, and what is left of that is rounded
        rounding = _EPS * len(projection) * pulled.sum()
        norms[k] = min(norms[k], float(np.sqrt(projection @ projection)) + rounding)
    return norms


def dual_value(problem, slopes, largest_norm):
    """Dual value of slopes shrunk until the norm constraints hold, at least that of no slopes."""
    with np.errstate(over="ignore"):  # no bound but zero, then
        kappa = max(1.0, largest_norm / problem.alpha)
    return max(0.0, -float(problem.weights @ problem.loss.conjugate(slopes / kappa, problem.y)))


def dual_value_of_rows(rows, largest_norm):
    """`dual_value` of the slopes that rows have."""
    with np.errstate(over="ignore"):
        kappa = max(1.0, largest_norm / rows.problem.alpha)
    value, _ = rows.total("conjugate", kappa)
    return max(0.0, -value)


def less_rounding(value, size, n_terms):
    """A proved dual value: the negative sum of terms, less what rounding may have added.

    Parameters
    ----------
    value, size : float
        Sum of the terms, and a bound on what they are made of.
    n_terms : int

    Returns
    -------
    float
        At least 0, as every objective is.
    """
    return max(0.0, -float(value) - (n_terms + 16.0) * _EPS * float(size))


def resolution(problem):
    """What rounding makes of an objective that is zero: squares of rounded predictions."""
    scale = float(problem.weights @ problem.loss.value(np.zeros_like(problem.y), problem.y))
    return 1e-30 * scale


@dataclass(frozen=True)
class Certified:
    """A feasible primal-dual point, its bounds, and the resolution of the objective.

    Where both are the optimum, rounding decides which bound is larger: the lower one is not.
    """

    solution: Solution
    upper_bound: float
    lower_bound: float
    resolution: float

    def __post_init__(self):
        object.__setattr__(self, "lower_bound", min(self.lower_bound, self.upper_bound))

    @property
    def gap(self):
        """Relative duality gap."""
        return relative_gap(self.upper_bound, self.lower_bound, self.resolution)


def tighter(best, new):
    """The better feasible point with the better of the two lower bounds."""
    upper = new if new.upper_bound <= best.upper_bound else best
    lower = new if new.lower_bound >= best.lower_bound else best
    point = upper.solution
    solution = Solution(point.v, point.w, point.bias, lower.solution.slopes)
    return replace(upper, solution=solution, lower_bound=lower.lower_bound)


def certify(program, v, w, bias, slopes, *, tol, indices=None, multipliers=None):
    """Bounds from any point: project the blocks, scale the slopes.

    Returns
    -------
    certified : Certified
    norms : ndarray of shape (2 * n_patterns,)
        Dual norms of the blocks, see `dual_norms`.
    """
    v, w = program.feasible_point(v, w)
    slopes = admissible_slopes(program, slopes)
    exact_above = program.alpha * (1.0 + 0.1 * tol)
    norms = np.empty(2 * program.n_patterns)
    known = np.zeros(len(norms), dtype=bool)
    if indices is not None:
        norms[indices] = dual_norms(
            program, slopes, multipliers=multipliers, exact_above=exact_above, indices=indices
        )
        known[indices] = True
    others = np.flatnonzero(~known)
    norms[others] = dual_norms(program, slopes, exact_above=exact_above, indices=others)
    certified = Certified(
        Solution(v, w, bias, slopes),
        program.objective(v, w, bias),
        dual_value(program, slopes, norms.max()),
        resolution(program),
    )
    return certified, norms


def block_norms(blocks):
    """Norms of the columns of a matrix, or of each of several."""
    return np.sqrt(np.einsum("...ji,...ji->...i", blocks, blocks))


def certify_shards(admm, gates, *, reach, faces, tol, thorough):
    r"""Bounds from the iterates of ADMM: project the blocks, scale the slopes.

    Parameters
    ----------
    admm : ADMM
        The slopes of its shards are made admissible.
    gates : ndarray of shape (d, P)
        Of all patterns.
    reach : ndarray of shape (2, d, P)
        :math:`X^\top S_i a` for non-negative multipliers a, for v and for w.
    faces : dict
        For a side and a pattern, the rows that were tight at the last projection: the next begins
        with them.
    tol : float
        Relative gap that is asked for.
    thorough : bool
        Whether to project on the cones even if that will hardly bring the gap down to `tol`.

    Returns
    -------
    certified : Certified
        Of an infinite upper bound, at blocks of zeros, where projections were left undone.
    norms : ndarray of shape (2, P)
        Bounds on the dual norms.
    """
    shards, alpha, columns = admm.shards, admm.alpha, admm.columns
    blocks, bias = admm.copies, admm.step.bias
    balance_slopes(shards)
    gradients = shards.total("dual_gradients")
    points = np.stack([-gradients, gradients])
    norms = np.minimum(block_norms(points), block_norms(points + reach))
    lower = _dual_value(shards, norms, alpha)
    value = _value(shards, alpha, columns, blocks, bias)
    thorough = thorough or relative_gap(value, lower) <= _WITHIN_REACH * tol
    if thorough:
        exact_above = alpha * (1.0 + 0.1 * tol)
        sides, wrong = np.nonzero(norms > exact_above)
        projected, _ = project(shards, points[sides, :, wrong].T, wrong, stop_below=exact_above)
        norms[sides, wrong] = np.minimum(norms[sides, wrong], block_norms(projected))
        lower = _dual_value(shards, norms, alpha)
    everywhere, upper = np.zeros((2, *gates.shape)), np.inf
    if thorough:
        everywhere[:, :, columns] = feasible_blocks(shards, gates, columns, blocks, faces)
        upper = _value(shards, alpha, np.arange(gates.shape[1]), everywhere, bias)
    # what rounding makes of an objective that is zero
    resolution = 1e-30 * _value(shards, alpha, columns, np.zeros_like(blocks), 0.0)
    solution = Solution(*everywhere, bias, shards.slopes())
    return Certified(solution, upper, lower, resolution), norms


def _dual_value(shards, norms, alpha):
    """Dual value of the slopes, shrunk until no dual norm exceeds alpha."""
    value, _ = shards.total("conjugate", max(1.0, norms.max() / alpha))
    return max(0.0, -value)


def _value(shards, alpha, columns, blocks, bias):
    """The objective at blocks in the cones; elsewhere a number that tends to it."""
    used = np.flatnonzero(blocks.any(axis=(0, 1)))
    loss = shards.total("mean_loss", (blocks[0] - blocks[1])[:, used], columns[used], bias)
    return loss + alpha * sum(column_norms(side).sum() for side in blocks)


def balance_slopes(shards):
    """Clip the slopes to the domain of the conjugate; with an intercept, their sum is zero."""
    up, down = shards.total("slope_sums")
    if shards.intercept:
        target = min(up, down)
        shards.map("scale_slopes", target / up if up > 0 else 0.0, target / down if down else 0.0)


def feasible_blocks(shards, gates, columns, blocks, faces):
    """The nearest blocks in the cones, moved inside by as much as rounding asks for."""
    sides, used = np.nonzero(np.any(blocks != 0, axis=1))
    if used.size == 0:
        return blocks
    patterns = columns[used]
    keys = list(zip(sides.tolist(), patterns.tolist(), strict=True))
    tight = [faces.get(key) for key in keys]
    points, tight = project(shards, blocks[sides, :, used].T, patterns, tight=tight)
    faces.update(zip(keys, tight, strict=True))
    steps = np.max(shards.map("steps_inside", points, gates[:, patterns], patterns), axis=0)
    feasible = np.zeros_like(blocks)
    # a gate that touches a row helps no farther: zero is in every cone
    there = np.isfinite(steps)
    points = points + (1 + 1e-12) * np.where(there, steps, 0.0) * gates[:, patterns]
    feasible[sides, :, used] = np.where(there, points, 0.0).T
    return feasible


def project(shards, points, columns, *, tight=None, stop_below=0.0):
    """Project points on the cones of their patterns.

    Parameters
    ----------
    shards : Shards
    points : ndarray of shape (d, k)
    columns : ndarray of int of shape (k,)
        The patterns.
    tight : list of (ndarray of shape (m, d) or None), default=None
        For every point rows of its cone, times their signs, that may be tight at the projection.
    stop_below : float, default=0.0
        A norm that is as small as this need not be exact.

    Returns
    -------
    projected : ndarray of shape (d, k)
    tight : list of ndarray of shape (m, d)
        The rows that are.
    """
    d = len(points)
    sizes = block_norms(points)
    sizes = np.where(sizes > 0, sizes, 1.0)
    targets = points / sizes
    projected, nothing = targets.copy(), np.zeros((0, d))
    given = [None] * len(columns) if tight is None else tight
    tight = [nothing if rows is None else rows for rows in given]

    def on_face(k, rows):
        multipliers = non_negative_least_squares(-rows.T, targets[:, k])
        projected[:, k] = targets[:, k] + rows.T @ multipliers
        tight[k] = rows[multipliers > 0]

    for k, rows in enumerate(tight):
        if len(rows):
            on_face(k, rows)
    left = np.arange(len(columns))
    for _ in range(_MOST_ROUNDS):
        left = left[sizes[left] * block_norms(projected[:, left]) > stop_below]
        if left.size == 0:
            break
        found = shards.map("most_violated", projected[:, left], columns[left], 1e-14 * d, 2 * d)
        violated = []
        for k, *parts in zip(left, *found, strict=True):
            parts = [part for part in parts if part is not None]
            if parts:
                violated.append(k)
                _, rows = worst_rows(*zip(*parts, strict=True), 2 * d)
                on_face(k, np.concatenate([tight[k], rows]))
        left = np.array(violated, dtype=int)
    return sizes * projected, tight


def relative_gap(upper, lower, resolution=0.0):
    """Relative duality gap ``(upper - lower) / upper``.

    All losses are non-negative, so ``upper >= 0`` and the gap lies in [0, 1] as soon as
    ``lower >= 0``. A width of at most `resolution`, what rounding makes of a perfect fit, or of
    a subnormal number counts as zero.
    """
    width = max(upper - lower, 0.0)
    if width <= max(resolution, np.finfo(np.float64).tiny):
        return 0.0
    return float(width / upper)
