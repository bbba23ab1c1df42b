r"""ADMM for the sampled convex program.

Copies make every term simple: :math:`\hat v = v` carries the norms (a group shrinkage),
:math:`s = (2D - 1) \circ (X v)` the cones (a positive part); the loss stays with the linear step.
The penalties of the splits are balanced separately, each on its own relative residuals.
"""

import numpy as np

from .linear_step import RELAXATION, penalty_factor


class ADMM:
    """Iterates of the method on a program in normalised units.

    Parameters
    ----------
    program : SampledProgram
    linear_step : KroneckerStep, CholeskyStep or CoordinateStep

    Attributes
    ----------
    copies : ndarray of shape (2, d, n_patterns)
        The sparse copies of v and w, outputs of the group shrinkage.
    n_iter : int
    """

    def __init__(self, program, linear_step):
        self.program, self.step = program, linear_step
        shape = (program.rows.shape[1], program.n_patterns)
        self.n_iter = 0
        self.signs = 2.0 * program.patterns - 1.0
        self.weighted_rows = program.weights[:, None] * program.rows
        self.copies = np.zeros((2, *shape))
        self.duals = np.zeros((2, *shape))
        # one array a side holds slack and multiplier: the positive part of m is the slack
        # copy, its negative part the scaled multiplier
        self.m = np.zeros((2, *program.patterns.shape))
        self.rho_blocks, self.rho_cones = self._first_penalties()
        self.next_balance = 10

    def _first_penalties(self):
        return 10.0 * self.program.alpha, 1.0

    def start(self, solution):
        """Start from a primal-dual point of the same program."""
        self.copies[0], self.copies[1] = solution.v, solution.w
        for side in (0, 1):
            slack = self.signs * (self.program.rows @ self.copies[side])
            self.m[side] = np.maximum(slack, 0.0)
        self.step.start(solution.v, solution.w, solution.bias, solution.slopes)

    def run(self, n_iter):
        """Do `n_iter` more iterations."""
        for _ in range(n_iter):
            self.n_iter += 1
            balancing = self.n_iter == self.next_balance
            blocks = self.step.solve(
                *(self.copies - self.duals), *self._pulled(), self.rho_blocks, self.rho_cones
            )
            residuals = self._update_copies(blocks, balancing)
            if balancing:
                self._balance(residuals)
                self.next_balance *= 2

    def _pulled(self):
        return [self.weighted_rows.T @ (self.signs * np.abs(m)) for m in self.m]

    def _update_copies(self, blocks, balancing):
        program = self.program
        pairs = []
        for side in (0, 1):
            block, copy, dual, m = blocks[side], self.copies[side], self.duals[side], self.m[side]
            point = RELAXATION * block + (1 - RELAXATION) * copy + dual
            norms = np.sqrt(np.einsum("ji,ji->i", point, point))
            threshold = program.alpha / self.rho_blocks
            shrink = np.maximum(1.0 - threshold / np.maximum(norms, 1e-300), 0.0)
            new_copy = shrink * point
            slack = program.rows @ block
            slack *= self.signs
            positive = np.maximum(m, 0.0)
            new_m = RELAXATION * slack + (1 - RELAXATION) * positive + np.minimum(m, 0.0)
            if balancing:
                new_positive = np.maximum(new_m, 0.0)
                pairs.append(
                    (
                        (block - new_copy, new_copy - copy, new_copy, point - new_copy),
                        (
                            slack - new_positive,
                            new_positive - positive,
                            new_positive,
                            np.minimum(new_m, 0.0),
                        ),
                    )
                )
            self.copies[side] = new_copy
            self.duals[side] = point - new_copy
            self.m[side] = new_m
        return pairs

    def _balance(self, pairs):
        """Rescale each penalty by the root of its relative primal over dual residual."""
        weights = self.program.weights[:, None]
        ratios = []
        for kind, metric in ((0, 1.0), (1, weights)):
            primal, dual, size, multiplier = (
                np.sqrt(sum(float(np.sum(metric * pair[kind][j] ** 2)) for pair in pairs))
                for j in range(4)
            )
            ratios.append(penalty_factor(primal / max(size, 1e-12), dual / max(multiplier, 1e-12)))
        self.rho_blocks *= ratios[0]
        self.duals /= ratios[0]
        self.rho_cones *= ratios[1]
        np.divide(self.m, ratios[1], out=self.m, where=self.m < 0)
        self.step.balance()

    def cone_multipliers(self):
        """Non-negative multipliers of the cones of all blocks, shape (n_cone_rows, 2 P)."""
        visible = self.program.geometry.visible
        scale = self.rho_cones * self.program.weights[visible, None]
        return scale * np.maximum(-np.concatenate(self.m[:, visible], axis=1), 0.0)
