r"""Certified bounds of a program that is split into shards: the bounds of `bounds`, pass by pass.

Projections on the cones of many patterns are done together: a pass over the rows finds, for every
point, the rows that it violates most; they join the rows that are known, and the point is
projected on the cone of these, until no row is violated.
"""

import numpy as np

from ..network import column_norms
from ..program.cones import non_negative_least_squares
from .bounds import Certified, block_norms
from .result import Solution, relative_gap
from .shard import worst_rows

# gap of the iterates as they are, in units of that asked for, from which projections are made
_WITHIN_REACH = 3.0
# rounds of a projection, after which the steps along the gates do the rest
_MOST_ROUNDS = 60


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
    return max(0.0, -shards.total("conjugate", max(1.0, norms.max() / alpha)))


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
