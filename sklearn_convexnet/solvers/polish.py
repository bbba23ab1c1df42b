r"""High accuracy by an interior point on a working set of blocks.

Most blocks of a solution are zero. The interior-point method runs on the others; the dual
condition :math:`\|\Pi_{K_i}(\pm X^\top D_i \Omega p)\| \le \alpha` of the blocks left out, checked
by projection, tells which were left out wrongly. They join and the method runs again. When no
block violates its condition the bounds hold for the whole program.
"""

import numpy as np

from .bounds import admissible_slopes, certify, dual_norms
from .interior import GatedBlocks, InteriorPoint

# accuracy of the first look at the blocks left out
_FIRST_LOOK = 1e-3


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


def polish(program, working, *, tol, max_iter, on_check):
    """Solve a normalised program to high accuracy.

    Parameters
    ----------
    program : SampledProgram
    working : ndarray of int
        Blocks to start with.
    tol : float
    max_iter : int
        Bound on the iterations of the interior point, over all working sets.
    on_check : callable
        Called with (n_iter, Certified) after every certificate.

    Returns
    -------
    Certified
        The best point found.
    n_iter : int
    """
    used, best = 0, None
    working = np.unique(working)
    while True:
        method = InteriorPoint(gated_blocks(program, working))
        method.run(max(0.3 * tol, _FIRST_LOOK), max_iter - used)
        outside = np.setdiff1d(np.arange(2 * program.n_patterns), working)
        missing = _violators(program, method, outside, slack=0.03)
        if missing.size == 0:
            method.run(0.3 * tol, max_iter - used - method.n_iter)
            certified, norms = _certify(program, method, working, tol)
            if best is None or certified.gap < best.gap:
                best = certified
            on_check(used + method.n_iter, best)
            wrong = outside[norms[outside] > program.alpha * (1.0 + 0.2 * tol)]
            missing = wrong[np.argsort(-norms[wrong])]
        used += method.n_iter
        if missing.size == 0 or used >= max_iter or (best is not None and best.gap <= tol):
            break
        working = np.union1d(working, missing[: max(50, working.size)])
    if best is None:
        best, _ = _certify(program, method, working, tol)
        on_check(used, best)
    return best, used


def _violators(program, method, outside, *, slack):
    """Blocks left out that plainly violate the dual condition, the worst first."""
    limit = program.alpha * (1.0 + slack)
    slopes = admissible_slopes(program, method.slopes)
    norms = dual_norms(program, slopes, exact_above=limit, indices=outside)
    violated = np.flatnonzero(norms > limit)
    return outside[violated[np.argsort(-norms[violated])]]


def _certify(program, method, working, tol):
    """Bounds at the interior point, its negligible blocks removed."""
    P = program.n_patterns
    norms = np.sqrt(np.einsum("bj,bj->b", method.theta, method.theta))
    certificate = None
    # blocks on their way to zero never get there: drop as many as the objective allows
    for threshold in (1e-4, 1e-6, 1e-8, 0.0):
        kept = norms > threshold * norms.max()
        both = np.zeros((2 * P, program.rows.shape[1]))
        both[working[kept]] = method.theta[kept]
        trial = program.feasible_point(both[:P].T, both[P:].T)
        value = program.objective(*trial, method.bias)
        if certificate is None or value < certificate[0] * (1.0 - 0.1 * tol):
            certificate = value, trial
    return certify(
        program,
        *certificate[1],
        method.bias,
        method.slopes,
        tol=tol,
        indices=working,
        multipliers=method.multipliers,
    )
