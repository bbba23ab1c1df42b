r"""The n x n system through which the blocks of a Newton step see one another.

.. math:: \Big(\mathrm{diag}(\delta) + \sum_b M_b X Q_b^{-1} X^\top M_b\Big) q = r
"""

from functools import partial

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..core.parallel import ALONE
from ..core.rows import CHUNK

# rows of the matrix that a thread makes at a time
_STRETCH = 128


class Coupling:
    """The factorised system.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    masks : ndarray of shape (n, m)
    groups : ndarray of int of shape (B,)
        Mask of every block, one or two blocks a mask.
    roots : ndarray of shape (B, d, d)
        Matrices R_b with ``R_b' R_b = Q_b^{-1}``.
    diagonal : ndarray of shape (n,)
        Positive.
    workers : Workers, default=ALONE
    """

    def __init__(self, rows, masks, groups, roots, diagonal, workers=ALONE):
        self.roots = roots
        order = np.argsort(groups, kind="stable")
        groups, roots = groups[order], roots[order]
        second = np.flatnonzero(groups[1:] == groups[:-1]) + 1
        first = np.setdiff1d(np.arange(len(groups)), second)
        # the two blocks of a mask add up: R'R = R1'R1 + R2'R2
        pairs = np.concatenate([roots[second - 1], roots[second]], axis=1)
        roots[second - 1] = np.linalg.qr(pairs, mode="r")
        roots, masks = roots[first], masks.T[groups[first]]
        n, d = rows.shape
        K = np.zeros((n, n))  # of which the lower triangle is used
        # the long rows first, so that no thread is left with one in the end
        starts = range(0, n, _STRETCH)[::-1]
        size = max(1, CHUNK // (n * d))
        for start in range(0, len(roots), size):
            part = roots[start : start + size]
            Z = (part.reshape(-1, d) @ rows.T).reshape(len(part), d, n)
            Z *= masks[start : start + size, None, :]
            Z = Z.reshape(-1, n)
            workers.map(partial(_add_products, K, Z), starts)
        entries = np.einsum("kk->k", K)
        entries += diagonal
        # relative to each: rows of little weight have huge entries
        entries *= 1.0 + 4e-15
        self.factor = cho_factor(K, lower=True, overwrite_a=True, check_finite=False)

    def solve(self, r):
        """The solution q for a right-hand side r."""
        return cho_solve(self.factor, r, check_finite=False)

    def apply_inverse(self, blocks):
        """``Q_b^{-1}`` times every block, shape (B, d)."""
        inner = np.matmul(self.roots, blocks[:, :, None])
        return np.matmul(self.roots.transpose(0, 2, 1), inner)[:, :, 0]


def _add_products(K, Z, start):
    """Add the rows of ``Z' Z`` from `start` on, up to the diagonal."""
    stop = start + _STRETCH
    K[start:stop, :stop] += Z[:, start:stop].T @ Z[:, :stop]
