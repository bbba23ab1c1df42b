r"""The Newton system of convex adversarial training.

It is block-diagonal but for the effective weights. With matrices :math:`Q_{v_i}, Q_{w_i}` of size d
and the curvature :math:`M_g` of the loss, of which the bounds on the reaches are eliminated, it
reduces to one in the d P differences :math:`v_i - w_i`, with the blocks

.. math:: \delta_{ij} (Q_{v_i}^{-1} + Q_{w_i}^{-1})^{-1} + \sum_g d_{ig} d_{jg} M_g .
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

# what is added to the matrices of the blocks, relative to their largest entry
_SOFT = 1e-13
_REFINEMENTS = 4


class Eliminated:
    """Matrices ``[[own, cross], [cross', corner]]`` whose second part is eliminated."""

    def __init__(self, own, cross, corner):
        self.own, self.cross, self.corner = own, cross, corner
        self.lift = np.linalg.solve(corner, np.swapaxes(cross, 1, 2))
        self.reduced = own - cross @ self.lift

    def multiply(self, first, second):
        """Both parts of the product."""
        return (
            np.einsum("bij,bj->bi", self.own, first) + np.einsum("bim,bm->bi", self.cross, second),
            np.einsum("bim,bi->bm", self.cross, first)
            + np.einsum("bmn,bn->bm", self.corner, second),
        )

    def reduce(self, second):
        """What the second right-hand side leaves in the first."""
        return -np.einsum("bmi,bm->bi", self.lift, second)

    def recover(self, first, second):
        """The second part of the solution, from the first and the second right-hand side."""
        alone = np.linalg.solve(self.corner, second[:, :, None])[:, :, 0]
        return alone - np.einsum("bmi,bi->bm", self.lift, first)


class NewtonSystem:
    """The system in the blocks, their reaches, the bias and the reaches of the groups."""

    def __init__(self, blocks, effective, gates, program, intercept):
        self.blocks, self.effective = blocks, effective
        self.gates, self.on_faces, self.intercept = gates, program.on_faces, intercept
        (B, d, _), P = blocks.own.shape, gates.shape[1]
        M = effective.reduced
        pairs = (gates[:, :, None] * gates[:, None, :]).reshape(len(gates), -1)
        coupling = (pairs.T @ M[:, :d, :d].reshape(len(M), -1)).reshape(P, P, d, d)
        if program.projections is not None:
            coupling = program.projections[:, None] @ coupling @ program.projections
        coupling = coupling.transpose(0, 2, 1, 3).reshape(P * d, P * d)
        K = np.empty((B * d + intercept, B * d + intercept))
        # v pulls one way, w the other
        K[: B * d, : B * d] = np.block([[coupling, -coupling], [-coupling, coupling]])
        for b, block in enumerate(blocks.reduced):
            K[b * d : b * d + d, b * d : b * d + d] += block
        if intercept:
            border = self.on_faces((gates.T @ M[:, :d, d]).T).T.ravel()
            K[-1, :-1] = K[:-1, -1] = np.concatenate([border, -border])
            K[-1, -1] = M[:, d, d].sum()
        squares = np.einsum("ii->i", K)
        if not (squares > 0.0).all():
            # rounding has left a matrix that has no factor
            raise np.linalg.LinAlgError("the Newton system is not positive definite")
        # each entry on its own scale
        self.entries = np.sqrt(squares)
        K /= self.entries
        K /= self.entries[:, None]
        K[np.diag_indices_from(K)] += _SOFT
        self.factor = cho_factor(K, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, gradient):
        """The direction x with ``H x = -gradient``."""
        direction = self._solve(gradient)
        # close to the boundary the eliminations lose digits: recover them
        for _ in range(_REFINEMENTS):
            product = self.multiply(direction)
            residual = [g + h for g, h in zip(gradient, product, strict=True)]
            more = self._solve(residual)
            direction = tuple(a + b for a, b in zip(direction, more, strict=True))
        return direction

    def _solve(self, gradient):
        slope, slope_T, slope_bias, slope_Tg = (-1.0 * part for part in gradient)
        d = slope.shape[1]
        pushed = self.effective.reduce(slope_Tg)
        through = self.on_faces((self.gates.T @ pushed[:, :d]).T).T
        slope = slope + self.blocks.reduce(slope_T) + np.concatenate([through, -through])
        right = slope.ravel()
        if self.intercept:
            right = np.append(right, slope_bias + pushed[:, d].sum())
        solution = cho_solve(self.factor, right / self.entries, check_finite=False) / self.entries
        moves = solution[: slope.size].reshape(slope.shape)
        bias = float(solution[-1]) if self.intercept else 0.0
        moves_T = self.blocks.recover(moves, slope_T)
        return moves, moves_T, bias, self.effective.recover(self._wide(moves, bias), slope_Tg)

    def _wide(self, moves, bias):
        v, w = np.split(moves, 2)
        change = self.gates @ self.on_faces((v - w).T).T
        return np.concatenate([change, np.full((len(change), 1), bias)], axis=1)

    def multiply(self, x):
        """The product ``H x``."""
        moves, moves_T, bias, moves_Tg = x
        first, second = self.blocks.multiply(moves, moves_T)
        wide, third = self.effective.multiply(self._wide(moves, bias), moves_Tg)
        pushed = self.on_faces((self.gates.T @ wide[:, :-1]).T).T
        return first + np.concatenate([pushed, -pushed]), second, float(wide[:, -1].sum()), third


def grams(left, weights, right):
    """The matrices ``left' diag(weights[:, b]) right``, shape (B, i, j)."""
    products = (left[:, :, None] * right[:, None, :]).reshape(len(left), -1)
    return (weights.T @ products).reshape(weights.shape[1], left.shape[1], right.shape[1])
