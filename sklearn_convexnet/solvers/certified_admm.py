r"""ADMM on shards until its bounds meet, on the patterns that still matter.

Most blocks of a solution are zero. Patterns whose blocks are, and whose dual norms are below
:math:`\alpha`, leave the iterations; the certificates are about all patterns, and one that is no
longer below comes back.
"""

import numpy as np

from .admm import ADMM
from .bounds import tighter
from .linear_step import KroneckerStep, KroneckerSystem
from .shard_bounds import certify_shards
from .shards import ShardsLostError

# iterations before the first certificate, and between two of them as a share of those so far
_FIRST_CHECK, _NEXT_CHECK = 50, 1.5
# numbers n d P up to which every certificate is made in full
_CHEAP = 3e7
# patterns leave when at least this share of those that are left do
_WORTH_LEAVING = 0.1


def kronecker_admm(shards, alpha):
    r"""ADMM with the Kronecker step on all patterns, and the spectra of the shards.

    These are the spectrum of :math:`X^\top \Omega X`, and the matrix :math:`D^\top \Omega D`.
    """
    row_gram, gate_gram = shards.total("grams")
    spectra = np.linalg.eigh(row_gram), gate_gram
    system = KroneckerSystem(spectra[0], np.linalg.eigh(gate_gram))
    shape = len(row_gram), len(gate_gram)
    return ADMM(shards, KroneckerStep(system, shards.intercept), alpha, shape), spectra


def iterate(admm, gates, *, tol, max_iter, record, best, spectra=None):
    """Iterate until the relative gap is at most `tol`.

    Parameters
    ----------
    admm : ADMM
    gates : ndarray of shape (d, P)
        Of all patterns.
    tol : float
    max_iter : int
    record : callable
        Called with (phase, n_iter, Certified); returns whether to stop.
    best : Certified
        What is known before.
    spectra : tuple, default=None
        Those of `kronecker_admm`; without it no pattern leaves.

    Returns
    -------
    certified : Certified
        The best feasible point with the best lower bound.
    n_iter : int
    """
    shards, (d, P) = admm.shards, gates.shape
    reach, faces, lost = np.zeros((2, d, P)), {}, False
    thorough = shards.n_rows * d * P <= _CHEAP
    while True:
        check = max(_FIRST_CHECK, int(_NEXT_CHECK * admm.n_iter))
        try:
            if lost:
                admm.resume()
                lost = False
            admm.run(max(min(check, max_iter) - admm.n_iter, 0))
            admm.hand_over_slopes()
            pulled = shards.total("multipliers", admm.rho_cones)
            reach[:, :, admm.columns] = np.stack(np.split(pulled, 2, axis=1))
            out_of_time = admm.n_iter >= max_iter
            certified, norms = certify_shards(
                admm,
                gates,
                reach=reach,
                faces=faces,
                tol=tol,
                thorough=thorough or out_of_time,
            )
            best = tighter(best, certified)
            stop = record("admm", admm.n_iter, best)
            if stop or best.gap <= tol or out_of_time:
                return best, admm.n_iter
            if spectra is not None:
                _choose(admm, spectra, norms.max(axis=0) <= admm.alpha)
        except ShardsLostError:
            lost = True


def _choose(admm, spectra, below):
    """Let patterns leave and come back."""
    active, zero = admm.columns, np.ones(len(below), dtype=bool)
    zero[active] = ~admm.copies.any(axis=(0, 1))
    chosen = np.flatnonzero(~(zero & below))
    leaving = np.setdiff1d(active, chosen).size
    coming = np.setdiff1d(chosen, active).size
    if chosen.size == 0 or (coming == 0 and leaving < _WORTH_LEAVING * active.size):
        return
    places = np.full(len(below), -1)
    places[active] = np.arange(active.size)
    rows, gate_gram = spectra
    system = KroneckerSystem(rows, np.linalg.eigh(gate_gram[np.ix_(chosen, chosen)]))
    admm.keep(system, chosen, places[chosen])
