"""Folds of a cross-validation: the rows that train and those left out, and scores on these."""

from __future__ import annotations

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import get_scorer

from .._compat import check_method_params, is_scorer, scorer_of_classes


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


@dataclass(frozen=True)
class FoldScorer:
    """What `scoring` gives to fitted estimators on the rows that a fold leaves out.

    `params` is passed to the scorer; of arrays with an entry per sample those of the rows.
    """

    scoring: str | Callable[..., float]
    params: dict[str, Any]

    def __call__(self, model, X, y, rows):
        scorer = get_scorer(self.scoring)
        params = check_method_params(X, self.params, rows)
        if not is_scorer(scorer):
            return scorer(model, X[rows], y[rows], **params)
        classes = getattr(model, "classes_", None)
        if classes is not None:
            scorer = scorer_of_classes(scorer, classes)
        try:
            return scorer(model, X[rows], y[rows], **params)
        except (AttributeError, ValueError) as error:
            message = f"scoring={self.scoring!r} has no score for the test set of a fold: {error}"
            if classes is not None:
                message += (
                    f"\nThat set has the classes {np.unique(y[rows]).tolist()}, of "
                    f"{classes.tolist()}. What a score should do with them is said by "
                    "make_scorer, as in make_scorer(f1_score, average='macro') or "
                    "make_scorer(f1_score, pos_label=...)."
                )
            raise ValueError(message) from error
