r"""ADMM for the sampled convex program.

Copies make every term simple: :math:`\hat v = v` carries the norms (a group shrinkage),
:math:`s = (2D - 1) \circ (X v)` the cones (a positive part); the loss is split as well, or stays
with the linear step. The penalties of the splits are balanced separately, each on its own relative
residuals. What is kept for every row is with the shards.
"""

import numpy as np

from .linear_step import penalty_factor
from .row_steps import RELAXATION


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
        """Start from a primal-dual point of the same program."""
        self.copies[0], self.copies[1] = solution.v, solution.w
        self.step.start(solution.v, solution.w, solution.bias)
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
