"""Short names for the types that recur in signatures; shapes and units are in the docstrings."""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Array",
    "ArrayLike",
    "BoolArray",
    "ClassificationLoss",
    "FloatArray",
    "HasValue",
    "HiddenLayer",
    "IntArray",
    "Limits",
    "Method",
    "OnCheck",
    "OutputRange",
    "Patterns",
    "RegressionLoss",
    "Seed",
    "Solver",
]

Array = NDArray[Any]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.integer[Any]]
# float64, and float32 where predictions follow the dtype of X
FloatArray = NDArray[np.floating[Any]]

Seed = int | np.random.RandomState | None
# valid values of the features: low, high
Limits = tuple[ArrayLike, ArrayLike]
# what predictions are limited to
OutputRange = Literal["training"] | Limits | None
# called with every entry of a history; a true value stops the solver
OnCheck = Callable[[dict[str, Any]], object]


class HasValue(Protocol):
    """A loss, as far as the objective of a network needs it."""

    def value(self, f: FloatArray, y: FloatArray) -> FloatArray:
        """Losses of predictions f against targets y, elementwise or for each row."""
        ...


# what a parameter may be called; tests/test_typing.py compares them with what is accepted
Patterns = Literal["adaptive", "random", "all"]
HiddenLayer = Literal["auto", "shared", "separate"]
Solver = Literal["admm", "admm-cholesky", "admm-rbcd", "scp"]
ClassificationLoss = Literal["log_loss", "hinge", "squared_hinge"]
RegressionLoss = Literal["squared_error", "absolute_error", "huber", "quantile"]
Method = Literal["auto", "exact", "crown", "interval"]
