"""Folds of a cross-validation: the rows that train and those left out."""

import reprlib

import numpy as np


def check_folds(pairs, n_samples):
    """Index arrays (train, test) of every fold, from pairs of index arrays or of masks."""
    folds = []
    for k, pair in enumerate(pairs):
        try:
            train, test = pair
        except (TypeError, ValueError):
            raise ValueError(
                f"cv: fold {k} must be a pair (train, test) of index arrays, got "
                f"{reprlib.repr(pair)}."
            ) from None
        folds.append(
            tuple(
                _indices(rows, f"the {name} set of fold {k}", n_samples)
                for name, rows in (("train", train), ("test", test))
            )
        )
    if not folds:
        raise ValueError(
            "cv must give at least one pair (train, test) of index arrays, got none: it is empty, "
            "or a generator that was used before. A list of the pairs can be used again."
        )
    return folds


def _indices(rows, name, n_samples):
    try:
        indices = np.asarray(rows)
        # an empty list has no type of its own
        indices = np.arange(n_samples)[indices if indices.size else []]
        reason = "it is empty" if not indices.size else f"its shape is {indices.shape}"
    except (IndexError, ValueError) as error:
        indices, reason = None, str(error)
    if indices is None or indices.ndim != 1 or not indices.size:
        raise ValueError(
            f"cv: {name} must be a non-empty one-dimensional array of indices (or a mask) of the "
            f"{n_samples} samples, got {reprlib.repr(rows)}: {reason}."
        )
    return indices
