"""Canonical rows: one order and one copy of every row, so that equal data give equal programs."""

import numpy as np

# columns that are sorted by before all are
_FEW = 8


def canonical_rows(X, targets, weights):
    """Drop rows of weight zero, merge equal rows, sort.

    A program is then the same, to the last bit, for shuffled rows, and for a weight of two and a
    row that occurs twice.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
    targets : ndarray of shape (n_samples, n_outputs)
    weights : ndarray of shape (n_samples,)
        Non-negative, not all zero.

    Returns
    -------
    first : ndarray of int of shape (n_rows,)
        A row of the data for every canonical row.
    weights : ndarray of shape (n_rows,)
        Summed weights of the merged rows; they sum to one.
    """
    weights = scaled_weights(weights)
    used = np.flatnonzero(weights)
    # adding zero turns -0.0 into 0.0: equal numbers get equal bytes
    keys = np.concatenate([X[used], targets[used]], axis=1) + 0.0
    order, new = _sorted(keys[:, :_FEW])
    if keys.shape[1] > _FEW and not new.all():
        # only rows that agree in the first columns need the others, of which there may be many
        order, new = _sorted(keys)
    # the largest first: a sum must not depend on the order of the rows
    group = np.cumsum(new) - 1
    by_weight = np.lexsort((-weights[used[order]], group))
    summed = np.add.reduceat(weights[used[order]][by_weight], np.flatnonzero(new))
    summed = summed / summed.max()
    return used[order[new]], summed / summed.sum()


def _sorted(keys):
    """Lexicographic order of the rows, and which of them, in that order, differ from the last."""
    order = np.lexsort(keys.T[::-1])
    ordered = keys[order]
    new = np.ones(len(keys), dtype=bool)
    new[1:] = np.any(ordered[1:] != ordered[:-1], axis=1)
    return order, new


def scaled_weights(weights):
    """Weights times a power of two, at most 1: they lose no digit, and their sums do not overflow.

    A weight below 1e-50 times the largest counts as zero: it changes no digit of a weighted sum,
    but its inverse could overflow.
    """
    scaled = np.ldexp(weights, -np.frexp(weights.max())[1])
    return np.where(scaled < 1e-50, 0.0, scaled)
