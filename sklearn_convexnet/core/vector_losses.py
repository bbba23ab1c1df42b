r"""Losses of a network with several outputs: what one row costs, all its outputs together.

A vector loss maps predictions :math:`F \in R^K` and a target of K entries to one number. It has the
methods of a `Loss`, with values and conjugates of shape (n,), and derivatives of shape (n, K).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import softmax, xlog1py, xlogy

from .._typing import FloatArray
from .losses import LogLoss, Loss, SignedSlopes
from .parallel import Reductions, Whole

# Newton steps of the best constant, and their length below which they converge quadratically
_MOST_STEPS, _NEAR = 100, 1e-6
# the longest step, and the root of a curvature whose digits are lost
_LONGEST, _SMALLEST_ROOT = 100.0, 1e-140


@dataclass(frozen=True)
class SumOverOutputs:
    r"""The sum over the outputs of a loss of one prediction, :math:`\sum_c \ell(F_c, y_c)`.

    Parameters
    ----------
    loss : Loss
    """

    loss: Loss

    @property
    def name(self) -> str:
        """Of the loss of an output."""
        return self.loss.name

    @property
    def target(self) -> str:
        """What targets hold, "real" numbers or a "sign"."""
        return self.loss.target

    @property
    def curvature(self) -> float:
        """Supremum of the second derivatives."""
        return self.loss.curvature

    @property
    def degree(self) -> float:
        """Exponent of a change of units."""
        return self.loss.degree

    def value(self, f: FloatArray, y: FloatArray) -> FloatArray:
        """Loss of every row."""
        return self.loss.value(f, y).sum(axis=1)

    def derivative(self, f: FloatArray, y: FloatArray) -> FloatArray:
        """Derivatives in the predictions."""
        return self.loss.derivative(f, y)

    def value_and_derivative(self, f: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Both."""
        return self.value(f, y), self.derivative(f, y)

    def prox(self, f: FloatArray, y: FloatArray, step: float) -> FloatArray:
        """Proximal operator."""
        return self.loss.prox(f, y, step)

    def conjugate(self, p: FloatArray, y: FloatArray) -> FloatArray:
        """Conjugate of every row."""
        return self.loss.conjugate(p, y).sum(axis=1)

    def scaled(self, scale: float) -> SumOverOutputs:
        """The loss in other units."""
        return SumOverOutputs(self.loss.scaled(scale))

    def admissible(self, p: FloatArray, y: FloatArray, weights: FloatArray | None) -> FloatArray:
        """The nearest slopes in the domain of the conjugate; of weighted sum zero, if asked for."""
        columns = (
            self.loss.admissible(slopes, targets, weights)
            for slopes, targets in zip(p.T, y.T, strict=True)
        )
        return np.stack(list(columns), axis=1)

    def slopes(self, p: FloatArray, y: FloatArray, weights: FloatArray) -> SignedSlopes:
        """Slopes of some of the rows, see `Loss.slopes`."""
        return SignedSlopes(self.loss.admissible(p, y), weights)

    def balance_parts(self, parts: Reductions) -> None:
        """Make the sums of the slopes of all parts of the rows zero."""
        self.loss.balance_parts(parts)

    def constant(self, y: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The best constant, and slopes there of weighted sum zero, see `Loss.constant`."""
        constants, slopes = zip(*(self.loss.constant(part, weights) for part in y.T), strict=True)
        return np.array(constants), np.stack(slopes, axis=1)


@dataclass(frozen=True)
class MultinomialLogLoss:
    r"""Softmax cross-entropy, :math:`\log \sum_c e^{F_c} - F_y`: minus the log-likelihood.

    The target of a row is +1 for its class and -1 for the others. The slopes are those of
    probabilities, :math:`P = q - e_y` with q in the simplex; the conjugate is
    :math:`\sum_c q_c \log q_c` (Boyd & Vandenberghe, Convex Optimization, example 3.25).
    """

    name: ClassVar[str] = LogLoss.name
    target: ClassVar[str] = "sign"
    # of the Hessian diag(q) - q q'
    curvature: ClassVar[float] = 0.5
    degree: ClassVar[float] = 0.0

    def value(self, f: FloatArray, y: FloatArray) -> FloatArray:
        """Loss of every row."""
        return self.value_and_derivative(f, y)[0]

    def derivative(self, f: FloatArray, y: FloatArray) -> FloatArray:
        """Derivatives in the predictions; they sum to zero in every row."""
        return self.value_and_derivative(f, y)[1]

    def value_and_derivative(self, f: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Both, for little more than one of them."""
        own = y > 0
        # differences to the class of the row: what is small is not lost in what is large
        behind = f - (f * own).sum(axis=1, keepdims=True)
        largest = behind.max(axis=1, keepdims=True)
        others = np.exp(behind - largest)
        others[own] = 0.0
        rest, itself = others.sum(axis=1, keepdims=True), np.exp(-largest)
        others /= rest + itself
        others[own] = -others.sum(axis=1)
        # the largest is zero where it is the class itself
        return (largest + np.log1p(rest + np.expm1(-largest)))[:, 0], others

    def conjugate(self, p: FloatArray, y: FloatArray) -> FloatArray:
        """Conjugate of every row: infinite where an entry has the wrong sign, or is too large.

        The entry of the class is minus the sum of the others, whatever rounding made of it.
        """
        own = y > 0
        others = np.where(own, 0.0, p)
        total = others.sum(axis=1)
        inside = (others >= 0).all(axis=1) & (total <= 1.0 + p.shape[1] * np.finfo(float).eps)
        total = np.clip(total, 0.0, 1.0)
        values = xlogy(others.clip(0.0), others.clip(0.0)).sum(axis=1)
        return np.where(inside, values + xlog1py(1.0 - total, -total), np.inf)

    def scaled(self, scale: float) -> MultinomialLogLoss:
        """The loss itself: labels have no units."""
        if scale != 1:
            raise ValueError(f"scale must be 1 for the loss {self.name!r}; got {scale!r}.")
        return self

    def admissible(self, p: FloatArray, y: FloatArray, weights: FloatArray | None) -> FloatArray:
        """Slopes in the domain of the conjugate, of weighted sum zero for every class if asked for.

        To subtract their means would leave the domain: the predictions that they are the slopes at
        are moved by the best constant instead, and what that leaves is mended, see `balance_parts`.
        """
        slopes = self.slopes(p, y, weights)
        if weights is not None:
            self.balance_parts(Whole(slopes))
        return slopes.values

    def slopes(self, p: FloatArray, y: FloatArray, weights: FloatArray | None) -> SoftmaxSlopes:
        """Slopes of some of the rows, see `Loss.slopes`."""
        return SoftmaxSlopes(np.where(y > 0, 1.0 + p, p).clip(0.0), y, weights)

    def balance_parts(self, parts: Reductions) -> None:
        """Make the sums of the slopes of all parts of the rows zero.

        No constant moves probabilities of zero: of saturated rows the sums stay what they were.
        Mixed with a share t of equal probabilities, these have to be the frequencies less
        (1 - t) / t times the sums; t is the least with which none of them is negative.
        """
        frequencies = parts.total("frequencies")
        # a class that no row has: only probabilities of zero are of weighted sum zero
        parts.tell("keep", frequencies > 0)
        parts.tell("move", _best_shift(parts, len(frequencies)))
        total, sums, frequencies, size, n_rows = parts.total("sums")
        sums, frequencies = sums / total, frequencies / total
        if sums.max() <= n_rows * np.finfo(float).eps * size / total:
            return
        above = sums > 0
        totals = sums[above] + frequencies[above]
        # both with all their digits, of which their sum has too few
        share, rest = (sums[above] / totals).max(), (frequencies[above] / totals).min()
        parts.tell("mix", rest, (share * frequencies - rest * sums).clip(0.0))

    def constant(self, y: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The best constant, of mean zero, and the slopes there."""
        slopes = SoftmaxSlopes(np.full(y.shape, 1.0 / y.shape[1]), y, weights)
        slopes.keep(np.ones(y.shape[1], dtype=bool))
        shift = _best_shift(Whole(slopes), y.shape[1])
        slopes.move(shift)
        return shift - shift.mean(), slopes.values


class SoftmaxSlopes:
    """Slopes of some rows as probabilities, which are balanced with those of all others.

    Differences of what is all but equal are not taken: sums of slopes are as exact, relative to
    them, where probabilities are saturated.

    Parameters
    ----------
    q : ndarray of shape (n, n_outputs)
        Not negative; probabilities up to a factor for every row.
    y : ndarray of shape (n, n_outputs)
    weights : ndarray of shape (n,)

    Attributes
    ----------
    values : ndarray of shape (n, n_outputs)
        The slopes.
    """

    def __init__(self, q, y, weights):
        self.q, self.own, self.weights = q, y > 0, weights
        self.values = self._closed(self._normalised(q))

    def frequencies(self):
        """Weights of the classes."""
        return self.weights @ self.own

    def keep(self, present):
        """Give the other classes a probability of zero."""
        with np.errstate(divide="ignore"):
            self.logs = np.log(self._normalised(np.where(present, self.q, 0.0)))

    def sums_at(self, shift):
        """Weighted sums of the slopes of predictions moved by a constant, and their derivatives.

        Those off the diagonal, with the other sign.
        """
        moved = softmax(self.logs + shift, axis=1)
        products = (self.weights[:, None] * moved).T @ moved
        return self.weights @ self._closed(moved), products

    def move(self, shift):
        """Move the predictions by a constant."""
        self.values = self._closed(softmax(self.logs + shift, axis=1))

    def sums(self):
        """Of the weights, the slopes, the classes, the sizes of the slopes; and number of rows."""
        sizes = self.weights @ np.abs(self.values)
        return (
            self.weights.sum(), self.weights @ self.values, self.frequencies(), sizes.sum(),
            len(self.weights),
        )  # fmt: skip

    def mix(self, rest, shares):
        """Take that share of the slopes, and the others of equal probabilities in all rows."""
        others = self._closed(np.broadcast_to(shares, self.own.shape))
        self.values = rest * self.values + others

    def _normalised(self, q):
        """Rows of sum one; where all are zero, all of the class."""
        totals = q.sum(axis=1, keepdims=True)
        return np.where(totals > 0, q / np.where(totals > 0, totals, 1.0), self.own)

    def _closed(self, q):
        """Slopes of probabilities; that of the class is minus the sum of the others."""
        slopes = np.where(self.own, 0.0, q)
        return np.where(self.own, -slopes.sum(axis=1, keepdims=True), slopes)


def _best_shift(parts, n_outputs):
    """Newton's method for the constant that fits probabilities to the frequencies best."""
    shift = np.zeros(n_outputs)
    gradient, products = parts.total("sums_at", shift)
    for _ in range(_MOST_STEPS):
        # of rows of sum zero, as a common constant changes nothing
        hessian = -products
        np.fill_diagonal(hessian, 0.0)
        np.fill_diagonal(hessian, -hessian.sum(axis=1))
        # rare classes count as much as others, but for those that no constant moves
        roots = np.sqrt(np.diag(hessian))
        roots[roots < _SMALLEST_ROOT] = np.inf
        scaled = hessian / roots / roots[:, None]
        step = np.linalg.lstsq(scaled, gradient / roots, rcond=1e-12)[0] / roots
        step *= _LONGEST / max(_LONGEST, np.abs(step).max())
        found = parts.total("sums_at", shift - step)
        # half the way where that is too far: the objective grows there as it fell before
        while -found[0] @ step > 0.5 * (gradient @ step) and np.abs(step).max() > _NEAR:
            step = 0.5 * step
            found = parts.total("sums_at", shift - step)
        if np.abs(step).max() <= _NEAR and np.abs(found[0]).max() >= np.abs(gradient).max():
            # rounding is all that is left
            break
        shift, (gradient, products) = shift - step, found
    return shift


VectorLoss = SumOverOutputs | MultinomialLogLoss
