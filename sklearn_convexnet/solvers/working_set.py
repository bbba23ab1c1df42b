r"""High accuracy by an interior point on a working set of blocks.

Most blocks of a solution are zero. The interior-point method runs on the others; the dual
condition :math:`\|\Pi_{K_i}(\pm X^\top D_i \Omega p)\| \le \alpha` of the blocks left out, checked
by projection, tells which were left out wrongly. They join and the method runs again. When no
block violates its condition the bounds hold for the whole program.

`fewest_blocks` finds fewer neurons with the same predictions.

An optimal face holds networks of many sizes, and an interior point sits in its middle. Scaling the
blocks of a solution by factors :math:`\gamma_b \ge 0`,

.. math:: \min_{\gamma \ge 0} \sum_b \gamma_b \|\theta_b\| \quad \text{s.t.} \quad
    \sum_b \gamma_b \, \sigma_b D_b X \theta_b = \sum_b \sigma_b D_b X \theta_b ,

has a solution with at most n non-zero factors, a vertex of the linear program: same predictions, a
penalty that is no larger.
"""

import copy
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog

from ..bounds.dual import admissible_slopes, certify, dual_norms
from ..core.parallel import ALONE
from .base import pausing
from .interior import GatedBlocks, InteriorPoint

# accuracy of the first look at the blocks left out
_FIRST_LOOK = 1e-3
# share of the tolerance that the method is asked for, what is asked more of it as long as the
# certificate does not follow, and the least that rounding lets it tell
_AIM, _CLOSER, _CLOSEST = 0.3, 0.1, 1e-13
# cones, for each coordinate, among which the nearest is looked for
_NEIGHBOURS = 4
# blocks priced before asking whether enough violators were found
_PRICED_AT_ONCE = 100


class PausedPolish(NamedTuple):
    """A polish that ran out of iterations."""

    working: np.ndarray
    method: InteriorPoint
    aim: float


def gated_blocks(program, working):
    """The problem of the interior point over the blocks `working` (see `dual_norms`)."""
    P = program.n_patterns
    columns = working % P
    used, groups = np.unique(columns, return_inverse=True)
    return GatedBlocks(
        rows=program.rows,
        masks=program.patterns[:, used].astype(np.float64),
        groups=groups,
        signs=np.where(working < P, 1.0, -1.0),
        cone_rows=program.cone_rows,
        cone_signs=2.0 * program.cone_patterns[:, columns] - 1.0,
        y=program.y,
        weights=program.weights,
        loss=program.loss,
        alpha=program.alpha,
        intercept=program.fit_intercept,
    )


def polish(program, working, start, *, tol, max_iter, on_check, workers):
    """Solve a normalised program to high accuracy.

    Parameters
    ----------
    program : PatternProgram
    working : ndarray of int
        Blocks to start with.
    start : Solution or None
        A point to start near, of any blocks; not used where the zero network is better. Where it
        is of a polish of this program that ran out of iterations, that goes on.
    tol : float
    max_iter : int
        Bound on the iterations of the interior point, over all working sets.
    on_check : callable
        Called with (n_iter, Certified) after every certificate; returns whether to stop.
    workers : Workers

    Returns
    -------
    Certified
        The best point found.
    n_iter : int
    """
    used, best, stop, aim, method = 0, None, False, _AIM * tol, None
    working = np.unique(working)
    blocks, bias = np.zeros((2 * program.n_patterns, program.rows.shape[1])), 0.0
    if start is not None and _beats_nothing(program, start):
        blocks, bias = np.concatenate([start.v, start.w], axis=1).T.copy(), start.bias
    if start is not None and isinstance(start.paused, PausedPolish):
        working, method, smallest = start.paused
        aim, method = min(aim, smallest), copy.copy(method)
        method.workers, method.n_iter = workers, 0
    while True:
        if method is None:
            problem = gated_blocks(program, working)
            method = InteriorPoint(problem, blocks[working], bias, workers=workers)
        method.run(max(aim, _FIRST_LOOK), max_iter - used)
        outside = np.setdiff1d(np.arange(2 * program.n_patterns), working)
        missing = outside[:0]
        if used + method.n_iter < max_iter:
            missing = _violators(
                program, method, outside, slack=0.03, enough=max(_PRICED_AT_ONCE, working.size)
            )
        arrived = True
        while missing.size == 0 and arrived:
            arrived = method.run(aim, max_iter - used - method.n_iter) and aim > _CLOSEST
            certified, norms = _certify(program, method, working, tol)
            if best is None or certified.gap < best.gap:
                best = certified
            stop = on_check(used + method.n_iter, best)
            if stop or best.gap <= tol:
                break
            wrong = outside[norms[outside] > program.alpha * (1.0 + 0.2 * tol)]
            missing = wrong[np.argsort(-norms[wrong])]
            if missing.size == 0:
                # blocks next to a thin cone are far from all of its points
                aim *= _CLOSER
        used += method.n_iter
        reached = best is not None and best.gap <= tol
        if missing.size == 0 or used >= max_iter or reached or stop:
            break
        blocks[working], bias = method.theta, method.bias
        working, method = np.union1d(working, missing[: max(50, working.size)]), None
    if best is None:
        best, _ = _certify(program, method, working, tol)
        on_check(used, best)
    if used >= max_iter:
        method.workers = ALONE
        best = pausing(best, PausedPolish(working, method, aim))
    return best, used


def _beats_nothing(program, point):
    """Whether a point has a smaller objective than the zero network."""
    nothing = np.zeros_like(point.v)
    objective = program.objective(point.v, point.w, point.bias)
    return objective < program.objective(nothing, nothing, 0.0)


def _violators(program, method, outside, *, slack, enough):
    """Blocks left out that plainly violate the dual condition; stops when there are enough."""
    limit = program.alpha * (1.0 + slack)
    slopes = admissible_slopes(program, method.slopes)
    cheap = dual_norms(program, slopes, exact_above=np.inf, indices=outside)
    candidates = outside[np.argsort(-cheap)][: np.count_nonzero(cheap > limit)]
    found = [np.zeros(0, dtype=int)]
    for start in range(0, len(candidates), _PRICED_AT_ONCE):
        part = candidates[start : start + _PRICED_AT_ONCE]
        norms = dual_norms(program, slopes, exact_above=limit, indices=part)
        found.append(part[norms > limit])
        if sum(map(len, found)) >= enough:
            break
    return np.concatenate(found)


def _certify(program, method, working, tol):
    """Bounds at the interior point, its negligible blocks removed."""
    norms = np.sqrt(np.einsum("bj,bj->b", method.theta, method.theta))
    best = None
    # blocks on their way to zero never get there: drop as many as the objective allows
    for threshold in (1e-4, 1e-6, 1e-8, 0.0):
        kept = norms > threshold * norms.max()
        point = _feasible_point(program, working[kept], method.theta[kept])
        value = program.objective(*point, method.bias)
        if best is None or value < best[0] * (1.0 - 0.1 * tol):
            best = value, point, kept
    value, point, kept = best
    if np.count_nonzero(kept) > program.n_samples:
        problem, theta = method.problem, method.theta[kept]
        gates = problem.masks[:, problem.groups[kept]] * problem.signs[kept]
        factors = fewest_blocks(gates * (problem.rows @ theta.T), norms[kept])
        smaller = _feasible_point(program, working[kept], factors[:, None] * theta)
        if program.objective(*smaller, method.bias) <= value * (1.0 + 0.1 * tol):
            point, value = smaller, program.objective(*smaller, method.bias)
    if value > method.objective * (1.0 + 0.5 * tol):
        # the way into a thin cone is long, and that into its neighbour often short
        blocks = _nearest_cones(program, working[kept], method.theta[kept], far=0.1 * tol)
        other = _feasible_point(program, blocks, method.theta[kept])
        if program.objective(*other, method.bias) < value:
            point = other
    return certify(
        program,
        *point,
        method.bias,
        method.slopes,
        tol=tol,
        indices=working,
        multipliers=method.multipliers,
    )


def _feasible_point(program, blocks, theta):
    """The blocks, of one cone added, as a feasible (v, w) of the program."""
    P = program.n_patterns
    both = np.zeros((2 * P, program.rows.shape[1]))
    np.add.at(both, blocks, theta)
    return program.feasible_point(both[:P].T, both[P:].T)


def _nearest_cones(program, blocks, theta, far):
    """Blocks for the points; of those `far` from their cone, the nearest that they violate least.

    That is almost the same neuron: its outputs change by what it violates, and as far as it moves.
    """
    P, signs, blocks = program.n_patterns, 2.0 * program.cone_patterns - 1.0, blocks.copy()
    for b, point in enumerate(theta):
        way = np.linalg.norm(program.nearest_in_cone(blocks[b] % P, point) - point)
        if way <= far * np.linalg.norm(point):
            continue
        violations = np.max(-signs * (program.cone_rows @ point)[:, None], axis=0)
        nearby = np.argsort(violations, kind="stable")[: _NEIGHBOURS * len(point)]
        ways = [np.linalg.norm(program.nearest_in_cone(i, point) - point) for i in nearby]
        if min(ways) < way:
            blocks[b] += nearby[np.argmin(ways)] - blocks[b] % P
    return blocks


def fewest_blocks(contributions, norms):
    """Factors of the blocks at a vertex.

    Parameters
    ----------
    contributions : ndarray of shape (n, B)
        Predictions of every block alone.
    norms : ndarray of shape (B,)

    Returns
    -------
    ndarray of shape (B,)
        Factors; ones where the linear program was not solved.
    """
    outputs = contributions.sum(axis=1)
    size = np.abs(contributions).max()
    result = linprog(
        norms / norms.max(),
        A_eq=contributions / size,
        b_eq=outputs / size,
        bounds=(0, None),
        method="highs-ds",
    )
    return result.x if result.status == 0 else np.ones(len(norms))
