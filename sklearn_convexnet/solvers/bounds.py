r"""Certified bounds of a sampled program from any primal-dual point.

Upper: the convex objective at a point moved into the cones. Lower: for slopes p in the domain of
the conjugate (summing to zero in the weights when there is an intercept), the dual value

.. math:: -\sum_k \omega_k \ell^*(p_k / \kappa), \qquad
    \kappa = \max\Big(1, \tfrac1\alpha \max_i \|\Pi_{K_i}(\pm X^\top D_i \Omega p)\|\Big),

with :math:`\Pi_{K_i}` the projection on the cone of pattern i. The norms need not be exact:
:math:`\|\Pi(g)\| \le \|g + C^\top a\|` for any :math:`a \ge 0`.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..program.cones import project_on_cone
from ..rows import by_row, transposed_times
from .coupling import CHUNK
from .interior import balance
from .result import Solution, relative_gap


def admissible_slopes(program, slopes):
    """The nearest slopes that the dual admits, up to the scaling by kappa."""
    lo, hi = program.loss.conjugate_domain(program.y)
    slopes = np.clip(slopes, lo, hi)
    return balance(slopes, program.weights) if program.fit_intercept else slopes


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
    program : SampledProgram
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
        projection, _ = project_on_cone(constraints, points[:, k], stop_below=exact_above)
        norms[k] = min(norms[k], float(np.sqrt(projection @ projection)))
    return norms


def dual_value(program, slopes, largest_norm):
    """Dual value of slopes shrunk until the norm constraints hold, at least that of no slopes."""
    with np.errstate(over="ignore"):  # no bound but zero, then
        kappa = max(1.0, largest_norm / program.alpha)
    return max(0.0, -float(program.weights @ program.loss.conjugate(slopes / kappa, program.y)))


def resolution(program):
    """What rounding makes of an objective that is zero: squares of rounded predictions."""
    scale = float(program.weights @ program.loss.value(np.zeros(program.n_samples), program.y))
    return 1e-30 * scale


@dataclass(frozen=True)
class Certified:
    """A feasible primal-dual point, its bounds, and the resolution of the objective."""

    solution: Solution
    upper_bound: float
    lower_bound: float
    resolution: float

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
