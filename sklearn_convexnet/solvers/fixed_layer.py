r"""The sampled convex program: a random first layer and a lasso.

With unit directions :math:`u_1, \dots, u_N` the first layer is fixed,

.. math:: \min_{a, c} \sum_k \omega_k \ell\Big(\sum_i (x_k^\top u_i)_+ a_i + c, y_k\Big)
    + \alpha \|a\|_1

(Bai, Gautam & Sojoudi, arXiv 2201.01965). With blocks of one coordinate it is the problem of the
interior point, without cones.
"""

import numpy as np

from ..bounds.dual import Certified, admissible_slopes, dual_value, resolution
from ..core.rows import times
from ..program.units import Solution
from .base import BaseSolver
from .interior import GatedBlocks, InteriorPoint


class FixedLayer(BaseSolver):
    """The sampled convex program as a solver; all it multiplies by the rows are directions."""

    name = bounds_of = "scp"
    needs_dense_rows = False

    def run(self, program, *, tol, max_iter, rng, start, record, workers):  # noqa: D102
        certified, n_iter = _solve_scp(program, tol, max_iter, workers)
        record("interior", n_iter, certified)
        return certified, n_iter


def _solve_scp(program, tol, max_iter, workers):
    """Solve the sampled convex program over the given gates of a program, of norm one.

    Returns
    -------
    Certified
        Bounds of this program. The blocks :math:`v_i = a_i^+ u_i`, :math:`w_i = a_i^- u_i` lie in
        the cones of the patterns of u, so the point is feasible for the program over those
        patterns too.
    n_iter : int
    """
    directions = program.directions
    features = np.maximum(times(program.rows, directions), 0.0)
    n, N = features.shape
    method = InteriorPoint(
        GatedBlocks(
            rows=np.ones((n, 1)),
            masks=features,
            groups=np.arange(N),
            signs=np.ones(N),
            cone_rows=np.empty((0, 1)),
            cone_signs=np.empty((0, N)),
            y=program.y,
            weights=program.weights,
            loss=program.loss,
            alpha=program.alpha,
            intercept=program.fit_intercept,
        ),
        workers=workers,
    )
    method.run(0.3 * tol, max_iter)
    slopes = admissible_slopes(program, method.slopes)
    lower = dual_value(program, slopes, np.abs(features.T @ (program.weights * slopes)).max())
    certified = None
    size = np.abs(method.theta[:, 0])
    for threshold in (1e-4, 1e-6, 1e-8, 0.0):
        a = np.where(size > threshold * size.max(), method.theta[:, 0], 0.0)
        outputs = features @ a + method.bias
        upper = float(
            program.weights @ program.loss.value(outputs, program.y)
            + program.alpha * np.abs(a).sum()
        )
        if certified is None or upper < certified.upper_bound * (1.0 - 0.1 * tol):
            v, w = np.maximum(a, 0.0) * directions, np.maximum(-a, 0.0) * directions
            certified = Certified(
                Solution(v, w, method.bias, slopes), upper, lower, resolution(program)
            )
    return certified, method.n_iter
