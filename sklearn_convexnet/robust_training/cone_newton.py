r"""The Newton system of convex adversarial training.

It is block-diagonal but for the effective weights. With matrices :math:`Q_{v_i}, Q_{w_i}` of size d
and the curvature :math:`M_g` of the loss, of which the bounds on the reaches are eliminated, it
reduces to one in the d P differences :math:`v_i - w_i`, with the blocks

.. math:: \delta_{ij} \big(Q_{v_i} - Q_{v_i} (Q_{v_i} + Q_{w_i})^{-1} Q_{v_i}\big)
    + \sum_g d_{ig} d_{jg} M_g .

The same holds with v and w exchanged, and the softer of both loses the fewest digits. The inverse
of :math:`Q_{v_i}^{-1} + Q_{w_i}^{-1}`, which it is, would lose all where cones are tight.
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

# what is added to the matrix of the differences, whose diagonal is one; steps of refinement
_SOFT, _REFINEMENTS = 1e-13, 4


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
        P, d = gates.shape[1], blocks.own.shape[1]
        Q_v, Q_w = blocks.reduced[:P], blocks.reduced[P:]
        self.soft_v = np.einsum("bii->b", Q_v) <= np.einsum("bii->b", Q_w)
        soft = np.where(self.soft_v[:, None, None], Q_v, Q_w)
        total = Q_v + Q_w
        # of the size of the rounding of a factorisation, which sees no scaling of the coordinates
        np.einsum("bii->bi", total)[...] *= 1.0 + 1e-14
        self.root = np.linalg.cholesky(total)
        self.half = np.linalg.solve(self.root, soft)
        parallel = soft - np.swapaxes(self.half, 1, 2) @ self.half
        M = effective.reduced
        pairs = (gates[:, :, None] * gates[:, None, :]).reshape(len(gates), -1)
        K = (pairs.T @ M[:, :d, :d].reshape(len(M), -1)).reshape(P, P, d, d)
        if program.projections is not None:
            K = program.projections[:, None] @ K @ program.projections
        index = np.arange(P)
        K[index, index] += parallel
        K = K.transpose(0, 2, 1, 3).reshape(P * d, P * d)
        if intercept:
            border = self.on_faces((gates.T @ M[:, :d, d]).T).T.reshape(-1, 1)
            K = np.block([[K, border], [border.T, M[:, d:, d:].sum(axis=0)]])
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
        P = len(self.root)
        soft_v, sign = self.soft_v[:, None], np.where(self.soft_v, 1.0, -1.0)[:, None]
        v, w = slope[:P], slope[P:]
        both = np.linalg.solve(self.root, (v + w)[:, :, None])[:, :, 0]
        right = sign * (np.where(soft_v, v, w) - np.einsum("bij,bi->bj", self.half, both))
        right = right.ravel()
        if self.intercept:
            right = np.append(right, slope_bias + pushed[:, d].sum())
        solution = cho_solve(self.factor, right / self.entries, check_finite=False) / self.entries
        z = solution[: P * d].reshape(P, d)
        bias = float(solution[-1]) if self.intercept else 0.0
        both = both - np.einsum("bij,bj->bi", self.half, sign * z)
        stiff = np.linalg.solve(np.swapaxes(self.root, 1, 2), both[:, :, None])[:, :, 0]
        soft = stiff + sign * z
        moves = np.concatenate([np.where(soft_v, soft, stiff), np.where(soft_v, stiff, soft)])
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
