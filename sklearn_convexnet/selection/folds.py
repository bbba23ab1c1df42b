"""Which rows train a network and which judge it."""

import numpy as np

# folds where distinct rows are few and where they are not
_MANY_FOLDS, _FEW_ROWS, _FOLDS = 5, 300, 3
# beyond so many rows they are split once: at most so many train, and twice as many judge
_MOST_ROWS = 3000
# no folds are made of fewer rows
_LEAST_ROWS = 20


def splits(places, outputs, labels, rng):
    """Pairs of masks, the rows that train and those that judge; none where places are too few.

    Rows at one place, of equal features, stay together: a network that has seen one of them should
    not be judged by the other. Places are dealt out in the order of their targets, so that every
    part has its share of each class and of small and large numbers. Rows must be distinct and in an
    order of their own: then the same data, however they are given, are split in the same way.

    Parameters
    ----------
    places : ndarray of int of shape (n_samples,)
        Numbers from 0 on, equal for rows of equal features.
    outputs : ndarray of shape (n_samples, n_outputs)
        Targets.
    labels : bool
        Whether they are signs of classes: as many rows as there are folds must have each.
    rng : RandomState

    Returns
    -------
    list of (ndarray of bool, ndarray of bool)
    """
    _, first = np.unique(places, return_index=True)
    n = len(first)
    n_parts = _MANY_FOLDS if n <= _FEW_ROWS else _FOLDS
    if n < _LEAST_ROWS or (labels and _fewest(outputs) < n_parts):
        return []
    order = _order(outputs[first], labels, rng)
    if n > _MOST_ROWS:
        part = _parts(order, -(-n // (_MOST_ROWS // 2)), rng)[places]
        pairs = [(part < 2, (part >= 2) & (part < 6))]
    else:
        part = _parts(order, n_parts, rng)[places]
        pairs = [(part != k, part == k) for k in range(n_parts)]
    # nobody can judge a network that has not seen a class
    seen = not labels or all(_fewest(outputs[train]) for train, _ in pairs)
    return pairs if seen else []


def _fewest(outputs):
    """Rows of the sign that the fewest rows have, of all outputs."""
    positive = (outputs > 0).sum(axis=0)
    return np.minimum(positive, len(outputs) - positive).min()


def _order(outputs, labels, rng):
    """Rows by their targets, equal ones in a random order."""
    keys = outputs.T
    if labels:
        # in the order in which the classes appear, whatever they are called
        _, first, classes = np.unique(outputs, axis=0, return_index=True, return_inverse=True)
        keys = [first[classes.ravel()]]
    return np.lexsort((rng.uniform(size=len(outputs)), *keys))


def _parts(order, n_parts, rng):
    """The part of every row: of so many neighbours in the order one goes to each."""
    n = len(order)
    part = np.empty(n, dtype=int)
    part[order] = np.concatenate([rng.permutation(n_parts) for _ in range(-(-n // n_parts))])[:n]
    return part
