r"""Rows of a normalised program, and all that a solver asks of them: sums and maxima over rows.

A program may be split by rows into shards, on one machine or on many. Nothing of the size of a row
travels: what goes out and comes back are blocks of d x P numbers. A pass goes through its rows in
parts that stay in the cache.
"""

import numpy as np

from ..rows import weighted_sum

# bytes of the temporaries of a part of the rows
_CACHED = 2**20


class Shard:
    """Some rows of a program.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    weights : ndarray of shape (n,)
        Positive; those of all shards sum to one.
    patterns : ndarray of bool of shape (n, P)
    loss : Loss

    Attributes
    ----------
    slopes : ndarray of shape (n,)
        Dual variables of the rows.
    """

    def __init__(self, rows, y, weights, patterns, loss):
        self.rows, self.y, self.weights, self.loss = rows, y, weights, loss
        self.patterns = patterns
        self.slopes = loss.derivative(np.zeros(len(y)), y)

    def parts(self, n_columns, itemsize=8):
        """Slices of rows whose product with `n_columns` columns stays in the cache."""
        step = max(64, _CACHED // (max(n_columns, 1) * itemsize))
        return [slice(start, start + step) for start in range(0, len(self.y), step)]

    def grams(self):
        r""":math:`X^\top \Omega X` and :math:`D^\top \Omega D`."""
        d, P = self.rows.shape[1], self.patterns.shape[1]
        row_gram, gate_gram = np.zeros((d, d)), np.zeros((P, P))
        for part in self.parts(d + P):
            weights = self.weights[part]
            rows, gates = self.rows[part], self.patterns[part].astype(np.float64)
            row_gram += weighted_sum(rows, weights, rows)
            gate_gram += weighted_sum(gates, weights, gates)
        return row_gram, gate_gram

    # ----------------------------------------------------------------------------- the dual

    def set_slopes(self, slopes):
        """Set the dual variables."""
        self.slopes = slopes

    def slope_sums(self):
        """Weighted sums of the positive and of the negative slopes, clipped to the domain."""
        self.slopes = np.clip(self.slopes, *self.loss.conjugate_domain(self.y))
        terms = self.weights * self.slopes
        return terms[terms > 0].sum(), -terms[terms < 0].sum()

    def scale_slopes(self, up, down):
        """Multiply the positive slopes by `up` and the negative ones by `down`."""
        self.slopes = self.slopes * np.where(self.slopes > 0, up, down)

    def dual_gradients(self):
        r""":math:`X^\top D_i \Omega p` for the slopes p, shape (d, P)."""
        total = np.zeros((self.rows.shape[1], self.patterns.shape[1]))
        terms = self.weights * self.slopes
        for part in self.parts(total.shape[1]):
            total += self.rows[part].T @ (terms[part, None] * self.patterns[part])
        return total

    def conjugate(self, kappa):
        r""":math:`\sum_k \omega_k \ell^*(p_k / \kappa)`."""
        return float(self.weights @ self.loss.conjugate(self.slopes / kappa, self.y))

    def pricing_sums(self):
        r"""What bounds :math:`\max_u |\lambda^\top (X u)_+|` for :math:`\lambda = \Omega p`.

        Returns
        -------
        tuple
            :math:`X^\top \lambda`, and :math:`\sum_k t_k` and :math:`X^\top \mathrm{diag}(t) X`
            for the positive parts t of :math:`\lambda` and of :math:`-\lambda`.
        """
        d = self.rows.shape[1]
        sums = [np.zeros(d), 0.0, np.zeros((d, d)), 0.0, np.zeros((d, d))]
        for part in self.parts(2 * d):
            rows, terms = self.rows[part], (self.weights * self.slopes)[part]
            sums[0] += rows.T @ terms
            for place, sign in ((1, 1.0), (3, -1.0)):
                positive = np.maximum(sign * terms, 0.0)
                sums[place] += positive.sum()
                sums[place + 1] += weighted_sum(rows, positive, rows)
        return tuple(sums)

    # ---------------------------------------------------------------------------- the cones

    def most_violated(self, points, columns, tolerance, most):
        """For every point, the rows of the cone of its pattern that it violates most.

        Parameters
        ----------
        points : ndarray of shape (d, k)
        columns : ndarray of int of shape (k,)
            Their patterns.
        tolerance : float
        most : int
            Number of rows wanted for a point.

        Returns
        -------
        list of (ndarray, ndarray) or None
            For every point the slacks, below `-tolerance`, and the rows times their signs.
        """
        found = []
        for k, slack in self._slacks(points, columns):
            if slack.min(initial=0.0) >= -tolerance:
                found.append(None)
                continue
            worst = np.flatnonzero(slack < -tolerance)
            if worst.size > most:
                worst = worst[np.argpartition(slack[worst], most)[:most]]
            signs = 2.0 * self.patterns[worst, columns[k]] - 1.0
            found.append((slack[worst], signs[:, None] * self.rows[worst]))
        return found

    def steps_inside(self, points, gates, columns):
        """How far along its gate every point has to go to be in the cone of its pattern.

        Infinitely far where the gate touches a row.
        """
        steps = np.zeros(len(columns))
        pairs = zip(self._slacks(points, columns), self._slacks(gates, columns), strict=True)
        for (k, slack), (_, room) in pairs:
            short = slack < 0
            if short.any():
                touched = room[short].min() <= 0
                steps[k] = np.inf if touched else np.max(-slack[short] / room[short])
        return steps

    def _slacks(self, points, columns):
        """Pairs of the place of a point and its slacks in the cone of its pattern."""
        step = max(1, 4 * _CACHED // (8 * max(len(self.y), 1)))
        for start in range(0, len(columns), step):
            some = columns[start : start + step]
            slack = np.asfortranarray(self.rows @ points[:, start : start + step])
            slack *= 2.0 * self.patterns[:, some] - 1.0
            yield from enumerate(slack.T, start)

    # ------------------------------------------------------------------------ the objective

    def mean_loss(self, blocks, columns, bias):
        """Weighted sum of the losses of the gated model with the given blocks."""
        total = 0.0
        for part in self.parts(len(columns)):
            outputs = self.rows[part] @ blocks
            outputs *= self.patterns[part][:, columns]
            outputs = outputs.sum(axis=1) + bias
            total += self.weights[part] @ self.loss.value(outputs, self.y[part])
        return float(total)


def worst_rows(values, constraints, most):
    """The most violated of rows that several passes found."""
    values, constraints = np.concatenate(values), np.concatenate(constraints)
    order = np.argsort(values, kind="stable")[:most]
    return values[order], constraints[order]
