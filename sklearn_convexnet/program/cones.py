r"""Projections on the cones :math:`K_b = \{v : S_b X v \ge 0\}` of the convex program.

By Moreau's theorem the projection of g on a cone and the distance of g to the polar cone are
two sides of one problem:

.. math:: \Pi_b(g) = g + X^\top S_b a^*, \qquad
    a^* = \arg\min_{a \ge 0} \|g + X^\top S_b a\|_2 .

Every :math:`a \ge 0` proves the upper bound :math:`\|\Pi_b(g)\| \le \|g + X^\top S_b a\|`; this is
what makes the dual bounds of the package rigorous, whatever the accuracy of a solver.
"""

import numpy as np
from scipy.optimize import Bounds, lsq_linear, minimize, nnls

from ..core.rows import dense, is_wide, times, transposed_times


def project_on_cone(constraints, point, *, stop_below=0.0):
    """Project a point on the polyhedral cone ``{v : constraints @ v >= 0}``.

    Few rows are tight at a projection, so the least-squares problem is solved over violated rows
    and grown until no row is violated. With wide sparse rows it is approached only.

    Parameters
    ----------
    constraints : ndarray or CSR array of shape (n_rows, d)
        Rows of size about one.
    point : ndarray of shape (d,)
    stop_below : float, default=0.0
        Stop as soon as the norm of ``point + constraints.T @ multipliers`` is at most this:
        an upper bound on the norm of the projection may be all that is asked for.

    Returns
    -------
    projection : ndarray of shape (d,)
        ``point + constraints.T @ multipliers``.
    multipliers : ndarray of shape (n_rows,)
        Non-negative.
    """
    n_rows, d = constraints.shape
    multipliers = np.zeros(n_rows)
    size = float(np.sqrt(point @ point))
    if size == 0.0:
        return point.copy(), multipliers
    target = point / size
    if is_wide(constraints):
        projection, multipliers = _approach(constraints, target, stop_below / size)
        return size * projection, size * multipliers
    projection = target
    working = np.zeros(0, dtype=int)
    tolerance = 1e-14 * d
    # a row that leaves may come back, so the number of rounds has no simple bound
    for _ in range(10 + n_rows):
        if size * np.sqrt(projection @ projection) <= stop_below:
            break
        slack = times(constraints, projection)
        slack[working] = 0.0
        violated = np.flatnonzero(slack < -tolerance)
        if violated.size == 0:
            break
        worst = violated[np.argsort(slack[violated])[: 4 * d]]
        working = np.concatenate([working, worst])
        chosen = dense(constraints[working], "a projection on a cone")
        active = non_negative_least_squares(-chosen.T, target)
        multipliers[:] = 0.0
        multipliers[working] = active
        projection = target + chosen.T @ active
        working = working[active > 0]
    return size * projection, size * multipliers


def _approach(constraints, target, stop_below):
    """Nearly the projection of a unit vector, and its multipliers, by L-BFGS on these."""

    def half_square(multipliers):
        point = target + transposed_times(constraints, multipliers)
        return 0.5 * float(point @ point), times(constraints, point)

    def stop(intermediate_result):
        if intermediate_result.fun <= 0.5 * stop_below**2:
            raise StopIteration

    found = minimize(
        half_square,
        np.zeros(constraints.shape[0]),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(0.0, np.inf),
        callback=stop,
        options={"maxiter": 200, "ftol": 1e-10, "gtol": 1e-10},
    )
    multipliers = np.maximum(found.x, 0.0)
    return target + transposed_times(constraints, multipliers), multipliers


def non_negative_least_squares(matrix, target):
    """The multipliers a >= 0 that minimise ``norm(matrix @ a - target)``."""
    try:
        return nnls(matrix, target, maxiter=30 * matrix.shape[1])[0]
    except (RuntimeError, np.linalg.LinAlgError):
        # nnls of SciPy < 1.15 may cycle or meet a singular matrix; this one is slower
        bounded = lsq_linear(matrix, target, bounds=(0.0, np.inf), method="bvls", tol=1e-15)
        return np.maximum(bounded.x, 0.0)
