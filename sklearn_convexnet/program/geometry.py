"""What the programs of one data set share, whatever their targets: rows, patterns, spectra."""

import copy
from functools import cached_property

import numpy as np

from ..rows import by_row, dense, is_wide, moments, root_mean_square, row_maxima

# single precision resolves columns whose spread is at least the largest entries over this
_RESOLVED = 1e3


class Geometry:
    """Rows, weights and patterns, with what is computed from them alone.

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n, d)
    weights : ndarray of shape (n,)
        Positive, sum to one.
    patterns : ndarray of bool of shape (n, P)
    gates : ndarray of shape (d, P)
        Directions that realise the patterns strictly.
    directions : ndarray of shape (d, N)
        All directions that were given, those with equal patterns included.

    Attributes
    ----------
    basis : ndarray of shape (d, r) or None
        Orthonormal columns when the rows are coordinates in the span of longer rows.
    """

    def __init__(self, rows, weights, patterns, gates, directions):
        self.rows, self.weights, self.patterns, self.gates = rows, weights, patterns, gates
        self.directions = directions
        self.basis = None

    @cached_property
    def visible(self):
        """Rows that are not zero: a row of zeros has no side of a hyperplane."""
        return row_maxima(self.rows) > 0

    @cached_property
    def cone_rows(self):
        """The non-zero rows: those that bound the cones."""
        return self.rows if self.visible.all() else self.rows[self.visible]

    @cached_property
    def cone_patterns(self):
        """The patterns on the non-zero rows."""
        return self.patterns if self.visible.all() else self.patterns[self.visible]

    @cached_property
    def row_scale(self):
        """Weighted root mean square of the rows; 1 where its square underflows."""
        scale = root_mean_square(self.rows, self.weights)
        return scale if scale > 1e-150 else 1.0

    @cached_property
    def precision(self):
        """The dtype that is enough for a search: single, unless a column's spread is lost in it."""
        means, spreads = moments(self.rows, self.weights)
        sizes = np.maximum(np.abs(means), spreads)
        # of a column without spread, such as an intercept, the value counts
        told = np.where(spreads > 1e-12 * np.abs(means), spreads, np.abs(means))
        resolved = sizes.max() <= _RESOLVED * told[told > 0].min(initial=np.inf)
        return np.float32 if resolved else np.float64

    @cached_property
    def normalised(self):
        """The same geometry with rows of size one.

        In no more coordinates than there are rows, unless they are sparse and wide.
        """
        normalised = self._with_rows(by_row(np.divide, self.rows, self.row_scale))
        normalised.__dict__.pop("row_scale", None)
        n, d = self.rows.shape
        if d > n and not is_wide(self.rows):
            normalised.rows = dense(normalised.rows, "a program in the span of its rows")
            # optimal blocks lie in the span of the rows, and keep their norms there
            u, s, vt = np.linalg.svd(normalised.rows, full_matrices=False)
            rank = int(np.sum(s > s[0] * d * np.finfo(np.float64).eps))
            normalised.rows = np.ascontiguousarray(u[:, :rank] * s[:rank])
            # zeros, not what rounding makes of them: such a row bounds no cone
            normalised.rows[~self.visible] = 0.0
            normalised.basis = np.ascontiguousarray(vt[:rank].T)
            normalised.gates = normalised.basis.T @ self.gates
            normalised.directions = normalised.basis.T @ self.directions
        return normalised

    def dense(self):
        """The same geometry with dense rows; a ValueError where they are too large for that."""
        rows = dense(self.rows, "the solver of the convex program")
        return self if rows is self.rows else self._with_rows(rows)

    def _with_rows(self, rows):
        """A copy with other rows, without what is known of these."""
        other = copy.copy(self)
        for name in ("cone_rows", "normalised", "row_spectrum", "precision"):
            other.__dict__.pop(name, None)
        other.rows = rows
        return other

    @cached_property
    def row_spectrum(self):
        r"""Eigenvalues and -vectors of :math:`X^\top \Omega X`."""
        return np.linalg.eigh(self.rows.T @ (self.weights[:, None] * self.rows))

    @cached_property
    def gate_spectrum(self):
        r"""Eigenvalues and -vectors of :math:`D^\top \Omega D`."""
        gates = self.patterns.astype(np.float64)
        return np.linalg.eigh(gates.T @ (self.weights[:, None] * gates))
