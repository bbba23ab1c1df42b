"""Canonical rows: one order and one copy of every row, so that equal data give equal programs."""

import numpy as np
from scipy.sparse import issparse

# columns that are sorted by before all are
_FEW = 8


def canonical_rows(X, targets, weights):
    """Drop rows of weight zero, merge equal rows, sort.

    A program is then the same, to the last bit, for shuffled rows, and for a weight of two and a
    row that occurs twice.

    Parameters
    ----------
    X : ndarray or CSR array of shape (n_samples, n_features)
        See `rows.as_rows`.
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
    order, new = (_sparse_order if issparse(X) else _dense_order)(X[used], targets[used])
    # the largest first: a sum must not depend on the order of the rows
    group = np.cumsum(new) - 1
    by_weight = np.lexsort((-weights[used[order]], group))
    summed = np.add.reduceat(weights[used[order]][by_weight], np.flatnonzero(new))
    summed = summed / summed.max()
    return used[order[new]], summed / summed.sum()


def _dense_order(rows, targets):
    """Lexicographic order of the rows, and which of them, in that order, differ from the last."""
    # adding zero turns -0.0 into 0.0: equal numbers get equal bytes
    keys = np.concatenate([rows, targets], axis=1) + 0.0
    order, new = _sorted(keys[:, :_FEW])
    if keys.shape[1] > _FEW and not new.all():
        # only rows that agree in the first columns need the others, of which there may be many
        order, new = _sorted(keys)
    return order, new


def _sparse_order(rows, targets):
    """`_dense_order` of CSR rows with sorted entries and no zeros among them.

    Where two rows differ first, one has an entry that the other has not, or has further on: the
    earlier a negative entry, the smaller is its row, the earlier a positive one, the larger. The
    end of a row lies between them. Rows with equal entries so far look at the next.
    """
    positive = rows.data > 0
    keys = np.stack([positive, np.where(positive, -rows.indices, rows.indices), rows.data], axis=1)
    by_key, distinct = _sorted(keys)
    ranks = np.empty(len(by_key) + 1, dtype=np.int64)
    ranks[by_key] = 2 * np.cumsum(distinct)
    # that of the end of a row comes last
    ranks[-1] = ranks[:-1][~positive].max(initial=0) + 1
    n = rows.shape[0]
    order, new = np.arange(n), np.arange(n) == 0
    unsettled, place = order.copy(), 0
    while unsettled.size:
        entries = rows.indptr[order[unsettled]] + place
        ended = entries == rows.indptr[order[unsettled] + 1]
        found = _refine(order, new, unsettled, ranks[np.where(ended, -1, entries)][:, None])
        unsettled = unsettled[_tied(new)[unsettled] & (found[:, 0] != ranks[-1])]
        place += 1
    tied = np.flatnonzero(_tied(new))
    _refine(order, new, tied, targets[order[tied]] + 0.0)
    return order, new


def _refine(order, new, places, keys):
    """Sort whole groups of `order` by keys, in place; returns the keys in the new order."""
    within, first = _sorted(np.concatenate([np.cumsum(new)[places, None], keys], axis=1))
    order[places] = order[places][within]
    new[places] = first
    return keys[within]


def _tied(new):
    """Which places belong to a group of more than one."""
    return ~(new & np.append(new[1:], True))


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
