r"""ADMM for the sampled convex program.

Copies make every term simple: :math:`\hat v = v` carries the norms (a group shrinkage),
:math:`s = (2D - 1) \circ (X v)` the cones (a positive part); the loss is split as well, or stays
with the linear step. The penalties of the splits are balanced separately, each on its own relative
residuals. What is kept for every row is with the shards.

`iterate` runs ADMM on shards until its bounds meet, on the patterns that still matter.

Most blocks of a solution are zero. Patterns whose blocks are, and whose dual norms are below
:math:`\alpha`, leave the iterations; the certificates are about all patterns, and one that is no
longer below comes back.
"""

import numpy as np

from ..bounds.dual import certify_shards, tighter
from ..program.shard import RELAXATION, ShardsLostError
from .linear_step import KroneckerStep, KroneckerSystem, penalty_factor

# iterations before the first certificate, and between two of them as a share of those so far
_FIRST_CHECK, _NEXT_CHECK = 50, 1.5
# numbers n d P up to which every certificate is made in full
_CHEAP = 3e7
# patterns leave when at least this share of those that are left do
_WORTH_LEAVING = 0.1


class ADMM:
    """Iterates of the method on a program in normalised units.

    Parameters
    ----------
    shards : Shards
        Of `ADMMShard`.
    step : KroneckerStep, CholeskyStep or CoordinateStep
    alpha : float
    shape : tuple
        Number of coordinates and of patterns, (d, P).

    Attributes
    ----------
    copies : ndarray of shape (2, d, P)
        The sparse copies of v and w, outputs of the group shrinkage.
    columns : ndarray of int of shape (P,)
        Their patterns.
    n_iter : int
    """

    def __init__(self, shards, step, alpha, shape):
        self.shards, self.step, self.alpha = shards, step, alpha
        d, P = shape
        self.copies = np.zeros((2, d, P))
        self.duals = np.zeros((2, d, P))
        self.rho_blocks, self.rho_cones = 10.0 * alpha, 1.0
        self.pulled = np.zeros((d, 2 * P)), 0.0
        self.columns = np.arange(P)
        self.n_iter, self.next_balance = 0, 10

    def start(self, solution):
        """Start from a primal-dual point of the same program.

        Where its slopes are None they are those of the loss there.
        """
        self.copies[0], self.copies[1] = solution.v, solution.w
        self.step.start(solution.v, solution.w, solution.bias)
        if solution.slopes is None:
            self.shards.map("restore", self.columns, *self._point)
        else:
            slopes = self.shards.split(solution.slopes)
            self.shards.map_each("start", slopes, *self._point)
        self._pull()

    def resume(self):
        """Go on after a loss of shards: those that were made anew begin at the copies."""
        self.shards.restore(self.columns, *self._point)
        self._pull()

    @property
    def _point(self):
        bias, rho = self._loss_split
        return np.concatenate(self.copies, axis=1), bias, rho

    def run(self, n_iter):
        """Do `n_iter` more iterations."""
        for _ in range(n_iter):
            self.n_iter += 1
            targets = self.copies - self.duals
            blocks = np.stack(
                self.step.solve(*targets, *self.pulled, self.rho_blocks, self.rho_cones)
            )
            before = self.copies
            points = RELAXATION * blocks + (1 - RELAXATION) * before + self.duals
            norms = np.sqrt(np.einsum("sji,sji->si", points, points))
            shrink = 1.0 - self.alpha / self.rho_blocks / np.maximum(norms, 1e-300)
            self.copies = np.maximum(shrink, 0.0)[:, None] * points
            self.duals = points - self.copies
            rows = np.concatenate(blocks, axis=1), *self._loss_split
            if self.n_iter == self.next_balance:
                self._balance(blocks, before, *self.shards.total("advance_and_measure", *rows))
                self.next_balance *= 2
            else:
                self.pulled = self.shards.total("advance", *rows, self._ratio)

    def hand_over_slopes(self):
        """Give the shards the slopes of the loss where the linear step has them."""
        if not self.step.splits_loss:
            self.shards.map_each("set_slopes", self.shards.split(self.step.slopes))

    @property
    def _loss_split(self):
        """Over-relaxed output bias and penalty."""
        return (self.step.mean_bias, self.step.rho) if self.step.splits_loss else (0.0, 1.0)

    @property
    def _ratio(self):
        return self._loss_split[1] / self.rho_cones

    def _pull(self):
        self.pulled = self.shards.total("pull", self._ratio)

    def _balance(self, blocks, before, cones, loss):
        """Rescale each penalty by the root of its relative primal over dual residual."""
        norms = [blocks - self.copies, self.copies - before, self.copies, self.duals]
        of_blocks = _factor(*(np.sum(part**2) for part in norms))
        of_cones = _factor(*cones)
        of_loss = self.step.balance(loss) if self.step.splits_loss else 1.0
        self.rho_blocks *= of_blocks
        self.duals /= of_blocks
        self.rho_cones *= of_cones
        self.shards.map("rescale", of_cones, of_loss)
        self._pull()

    def keep(self, system, columns, old):
        """Go on with the patterns `columns`; `old` are their places so far, -1 for new ones."""
        self.columns = columns
        self.step.keep(system, old)
        d, P = self.copies.shape[1], len(columns)
        copies, duals = np.zeros((2, 2, d, P))
        copies[:, :, old >= 0] = self.copies[:, :, old[old >= 0]]
        duals[:, :, old >= 0] = self.duals[:, :, old[old >= 0]]
        self.copies, self.duals = copies, duals
        self.shards.map("keep", columns, old, self.step.mean)
        self._pull()


def _factor(primal, dual, size, multiplier):
    """What to multiply a penalty by; the arguments are squares."""
    primal, dual, size, multiplier = np.sqrt([primal, dual, size, multiplier])
    return penalty_factor(primal / max(size, 1e-12), dual / max(multiplier, 1e-12))


def kronecker_admm(shards, alpha):
    r"""ADMM with the Kronecker step on all patterns, and the spectra of the shards.

    These are the spectrum of :math:`X^\top \Omega X`, and the matrix :math:`D^\top \Omega D`.
    """
    row_gram, gate_gram = shards.total("grams")
    spectra = np.linalg.eigh(row_gram), gate_gram
    system = KroneckerSystem(spectra[0], np.linalg.eigh(gate_gram))
    shape = len(row_gram), len(gate_gram)
    return ADMM(shards, KroneckerStep(system, shards.intercept), alpha, shape), spectra


def iterate(admm, gates, *, tol, max_iter, record, best, spectra=None, begun=0, start=None):
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
    begun : int, default=0
        Iterations of earlier runs, which do not count.
    start : Solution, default=None
        To start from, and to certify before anything else.

    Returns
    -------
    certified : Certified
        The best feasible point with the best lower bound.
    n_iter : int
    """
    shards, (d, P) = admm.shards, gates.shape
    reach, faces, lost = np.zeros((2, d, P)), {}, False
    thorough = shards.n_rows * d * P <= _CHEAP
    check = max(_FIRST_CHECK, int(_NEXT_CHECK * admm.n_iter)) if start is None else 0
    while True:
        try:
            if start is not None:
                point, start = start, None
                admm.start(point)
            if lost:
                admm.resume()
                lost = False
            admm.run(max(min(check, begun + max_iter) - admm.n_iter, 0))
            admm.hand_over_slopes()
            pulled = shards.total("multipliers", admm.rho_cones)
            reach[:, :, admm.columns] = np.stack(np.split(pulled, 2, axis=1))
            out_of_time = admm.n_iter >= begun + max_iter
            certified, norms = certify_shards(
                admm,
                gates,
                reach=reach,
                faces=faces,
                tol=tol,
                thorough=thorough or out_of_time or admm.n_iter == 0,
            )
            best = tighter(best, certified)
            stop = record("admm", admm.n_iter - begun, best)
            if stop or best.gap <= tol or out_of_time:
                return best, admm.n_iter - begun
            check = max(_FIRST_CHECK, int(_NEXT_CHECK * admm.n_iter))
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
