"""A path of decreasing penalties on rows that train, judged by rows that are left out."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import FloatArray, IntArray
from ..core.network import TwoLayerReLU
from ..core.parallel import serial_blas
from ..core.rows import by_column
from ..program.problem import Design, TrainingProblem
from .descents import descended_networks
from .feature_weights import feature_importances, spreads, weights_of
from .formula import penalty_by_formula

# a path ends where so many losses in a row exceed the least by so much
_PATIENCE, _WORSE = 2, 1.02


@dataclass(frozen=True, eq=False)
class Split:
    """A program, and which of its rows train and which judge.

    Attributes
    ----------
    rows : ndarray or CSR array of shape (n_samples, d)
        With a constant column where there is an intercept.
    y, weights : ndarray
        Of all rows; weights are positive.
    loss : Loss or VectorLoss
    train, test : ndarray of bool of shape (n_samples,)
    ends : ndarray of shape (2,) or (2, n_outputs)
        Limits of predictions.
    fit_intercept : bool
    seed : int
    monotone : ndarray of int of shape (d,) or None, default=None
        As in `TrainingProblem`.
    """

    rows: Any
    y: FloatArray
    weights: FloatArray
    loss: Any
    train: FloatArray
    test: FloatArray
    ends: FloatArray
    fit_intercept: bool
    seed: int
    monotone: IntArray | None = None

    @property
    def part(self):
        """Weights of the rows that train, of sum one."""
        return self.weights[self.train] / self.weights[self.train].sum()

    @property
    def test_weights(self):
        """Weights of the rows that judge."""
        return self.weights[self.test]

    def scales(self, importances):
        """What the columns of the rows are multiplied by."""
        if importances is None:
            return np.ones(self.rows.shape[1])
        sizes = spreads(self.rows[self.train], self.part, self.fit_intercept)
        if not self.fit_intercept:
            return weights_of(importances, sizes)
        return np.append(weights_of(importances, sizes[:-1]), 1.0)


@dataclass(frozen=True, eq=False)
class JudgedPath:
    """Losses and networks of penalties, as far as they were followed.

    Attributes
    ----------
    split : Split
    scales : ndarray of shape (d,)
        What the columns of the rows have been multiplied by.
    losses : ndarray of shape (n_factors, n_test)
        Of the rows that judge; infinite where the path has not been.
    networks : list of (TwoLayerReLU or None)
    """

    split: Split
    scales: FloatArray
    losses: FloatArray
    networks: list[TwoLayerReLU | None]

    def importances(self, chosen):
        """Of the features, to a network of the path."""
        split = self.split
        rows = by_column(np.multiply, split.rows[split.train], self.scales)
        X = rows[:, :-1] if split.fit_intercept else rows
        return feature_importances(self.networks[chosen], X, split.part, split.fit_intercept)


@serial_blas()
def judged_path(split, factors, importances=None, *, first=0, ends_below=1.0):
    """Follow the path of `factors` on the formula for the penalty.

    Parameters
    ----------
    split : Split
    factors : ndarray of shape (n_factors,)
        Decreasing.
    importances : ndarray of shape (n_features,), default=None
        Weights of the features are what these ask for. None: ones.
    first : int, default=0
        The first factor to look at.
    ends_below : float, default=1.0
        Factors below which the path may end where it gets worse.

    Returns
    -------
    JudgedPath
    """
    scales = split.scales(importances)
    train, test = (
        by_column(np.multiply, split.rows[rows], scales) for rows in (split.train, split.test)
    )
    problem = TrainingProblem(
        Design(train, split.part),
        split.y[split.train],
        split.loss,
        1.0,
        split.fit_intercept,
        monotone=split.monotone,
    )
    alpha = penalty_by_formula(problem.X, problem.y, split.part, split.loss, split.fit_intercept)
    X, y = test[:, :-1] if split.fit_intercept else test, split.y[split.test]
    losses, networks = np.full((len(factors), len(y)), np.inf), [None] * len(factors)
    means = []
    path = descended_networks(problem, alpha * factors[first:], split.seed)
    for k, network in enumerate(path, first):
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = np.clip(network(X), *split.ends)
            losses[k] = split.loss.value(outputs if y.ndim == 2 else outputs[:, 0], y)
        losses[k, np.isnan(losses[k])] = np.inf
        networks[k] = network
        means.append(np.average(losses[k], weights=split.test_weights))
        if factors[k] < ends_below and min(means[-_PATIENCE:]) > _WORSE * min(means):
            break
    return JudgedPath(split, scales, losses, networks)
