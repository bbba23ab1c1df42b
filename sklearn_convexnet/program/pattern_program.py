"""The program over given patterns: a training problem, its patterns, and their cones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import numpy as np

from .._typing import (
    ArrayLike,
    BoolArray,
    ClassificationLoss,
    FloatArray,
    IntArray,
    RegressionLoss,
)
from ..core.losses import Loss
from ..core.network import TwoLayerReLU, column_norms
from ..core.rows import blocks, by_row, digest, row_maxima, times
from .cones import project_on_cone
from .patterns import activation_patterns, check_patterns, distinct_patterns, realizing_gates
from .problem import TrainingProblem, finite_array, unit_weights


@dataclass(frozen=True, eq=False)
class PatternProgram:
    r"""Convex program of a two-layer ReLU network over given activation patterns.

    With the rows :math:`x_k` of X (and a column of ones when there is an intercept), patterns
    :math:`D_i = \mathrm{diag}(d_{ik})`, weights :math:`\omega_k` that sum to one and a convex loss,

    .. math::

        \min_{v, w, c} \sum_k \omega_k \ell\Big(\sum_i d_{ik} x_k^\top (v_i - w_i) + c, y_k\Big)
            + \alpha \sum_i (\|v_i\|_2 + \|w_i\|_2)
        \quad \text{s.t.} \quad (2 D_i - I) X v_i \ge 0, \; (2 D_i - I) X w_i \ge 0 .

    Over all patterns this is the training problem of the network itself (Pilanci & Ergen,
    arXiv 2002.10553); over a sample of them an upper bound on it (Bai, Gautam & Sojoudi,
    arXiv 2201.01965). The loss is a weighted mean here: their :math:`\beta` is
    :math:`n \alpha` for uniform weights. `from_data` makes one.

    Attributes
    ----------
    problem : TrainingProblem
    patterns : ndarray of bool of shape (n_samples, n_patterns)
        The distinct patterns.
    gates : ndarray of shape (d, n_patterns)
        Directions that realise the patterns strictly.
    directions : ndarray of shape (d, n_directions)
        All gates that were given, the first layer of the solver "scp".
    kept : ndarray of int of shape (n_patterns,)
        Columns of the patterns that were given that these are.
    exhaustive : bool
        Whether the patterns are all patterns of the data.
    rows : ndarray or CSR array of shape (n_samples, d)
        What the hidden neurons see: X, with a column of ones when there is an intercept.
    y, weights : ndarray of shape (n_samples,)
    loss : Loss
    alpha : float
    fit_intercept : bool
    """

    problem: TrainingProblem
    patterns: BoolArray
    gates: FloatArray
    directions: FloatArray
    kept: np.ndarray
    exhaustive: bool = False

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        patterns: ArrayLike,
        *,
        loss: ClassificationLoss | RegressionLoss | Loss = "squared_error",
        alpha: float,
        sample_weight: ArrayLike | None = None,
        fit_intercept: bool = False,
        gates: ArrayLike | None = None,
        exhaustive: bool = False,
    ) -> PatternProgram:
        """The program of checked data, without the rows of weight zero.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data.
        y : array-like of shape (n_samples,)
            Targets; -1 or +1 for the losses of classification.
        patterns : array-like of bool of shape (n_samples, n_patterns)
            Activation patterns, a column each. Repeated columns are merged, empty ones (a neuron
            that is never active) left out.
        loss : str or Loss, default="squared_error"
            Name or instance of a loss.
        alpha : float
            Strength of the weight decay, > 0.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; normalised to sum to one. Rows of weight zero are dropped.
        fit_intercept : bool, default=False
            Whether neurons have a (penalised) bias and the output an unpenalised one.
        gates : array-like of shape (d, n_patterns), default=None
            Directions that realise the patterns strictly, ``patterns == (rows @ gates >= 0)``;
            found by linear programming when omitted. ``d = n_features + fit_intercept``. The solver
            "scp" has a neuron for each of them, those of equal patterns included.
        exhaustive : bool, default=False
            Whether the patterns are all patterns of the data, so that the optimum of the program is
            the global optimum of the network.

        Returns
        -------
        PatternProgram
            With the arrays `rows`, `y`, `weights` and `patterns` (the distinct ones), their `gates`
            and the columns of the argument `patterns` that were `kept`.

        Raises
        ------
        ValueError
            If a shape does not fit, a value is not finite, alpha is not positive, or a pattern is
            not realised strictly by any direction.
        """
        problem = TrainingProblem.of(
            X, y, loss=loss, alpha=alpha, sample_weight=sample_weight, fit_intercept=fit_intercept
        )
        n_samples = np.shape(y)[0]
        patterns = check_patterns(patterns, n_samples)
        used = unit_weights(sample_weight, n_samples) > 0
        return cls.of(problem, patterns[used], gates, exhaustive=exhaustive)

    @classmethod
    def of(
        cls,
        problem: TrainingProblem,
        patterns: BoolArray,
        gates: ArrayLike | None = None,
        *,
        exhaustive: bool = False,
    ) -> PatternProgram:
        """The program over the distinct patterns, with checked gates or those that it finds."""
        kept = distinct_columns(patterns)
        patterns = np.ascontiguousarray(patterns[:, kept])
        if gates is None:
            gates = directions = _found_gates(problem, patterns, kept)
        else:
            gates, directions = _checked_gates(problem.rows, patterns, kept, gates)
        return cls(problem, patterns, gates, directions, kept, bool(exhaustive))

    @classmethod
    def over(cls, problem: TrainingProblem, gates: FloatArray) -> PatternProgram:
        """The program over the patterns of strict gates."""
        return cls.of(problem, activation_patterns(problem.rows, gates), gates)

    def with_target(self, y: FloatArray, *, alpha: float | None = None) -> PatternProgram:
        """The program of another target, or penalty; they share all that is computed of rows."""
        alpha = self.alpha if alpha is None else float(alpha)
        return replace(self, problem=replace(self.problem, y=y, alpha=alpha))

    def with_gates(self, gates: FloatArray) -> PatternProgram:
        """The program over the patterns of other gates, strict ones, on the same data."""
        return PatternProgram.over(self.problem, gates)

    def dense(self) -> PatternProgram:
        """The same program with dense rows; a ValueError where they are too large for that."""
        return replace(self, problem=replace(self.problem, design=self.problem.design.dense()))

    def digest(self) -> bytes:
        """Digest of all that defines the program."""
        signs = None if self.monotone is None else self.monotone.tolist()
        defined = repr((self.loss, self.alpha, self.fit_intercept, signs)).encode()
        numbers = digest(self.rows, self.y, self.weights, self.patterns, self.directions)
        return hashlib.sha256(defined + numbers).digest()

    @cached_property
    def normalised(self) -> PatternProgram:
        """The same program over the `NormalisedProblem`, which knows the way back."""
        problem = self.problem.normalised
        coordinates = problem.design.coordinates
        return replace(
            self,
            problem=problem,
            gates=coordinates(self.gates),
            directions=coordinates(self.directions),
        )

    @property
    def rows(self) -> FloatArray:
        """What the hidden neurons see, with the constant column."""
        return self.problem.rows

    @property
    def y(self) -> FloatArray:
        """The targets."""
        return self.problem.y

    @property
    def weights(self) -> FloatArray:
        """Weights of the rows, of sum one."""
        return self.problem.weights

    @property
    def loss(self) -> Loss:
        """The loss."""
        # of outputs that share neurons it is one of their vector
        return cast(Loss, self.problem.loss)

    @property
    def alpha(self) -> float:
        """Strength of the weight decay."""
        return self.problem.alpha

    @property
    def fit_intercept(self) -> bool:
        """Whether neurons have a bias."""
        return self.problem.fit_intercept

    @property
    def monotone(self) -> IntArray | None:
        """Signs that neurons must not be against, a column of the rows each; None: any will do."""
        return self.problem.monotone

    @property
    def cone_rows(self) -> FloatArray:
        """The non-zero rows: those that bound the cones."""
        return self.problem.design.cone_rows

    @cached_property
    def cone_patterns(self) -> BoolArray:
        """The patterns on the non-zero rows."""
        visible = self.problem.design.visible
        return self.patterns if visible.all() else self.patterns[visible]

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.problem.n_samples

    @property
    def n_patterns(self) -> int:
        """Number of distinct patterns."""
        return self.patterns.shape[1]

    @property
    def n_directions(self) -> int:
        """Number of gates that were given, the first layer of the solver "scp"."""
        return self.directions.shape[1]

    def predictions(self, v: FloatArray, w: FloatArray, bias: float) -> FloatArray:
        """Outputs of the gated model, shape (n_samples,)."""
        used = np.flatnonzero(np.any((v != 0) | (w != 0), axis=0))
        effective = (v - w)[:, used]
        parts = [
            (self.patterns[part][:, used] * (block @ effective)).sum(axis=1)
            for part, block in blocks(self.rows)
        ]
        return np.concatenate(parts) + bias

    def objective(self, v: FloatArray, w: FloatArray, bias: float) -> float:
        """Value of the convex objective; meaningful where the cones hold."""
        outputs = self.predictions(v, w, bias)
        norms = column_norms(v).sum() + column_norms(w).sum()
        return float(self.weights @ self.loss.value(outputs, self.y) + self.alpha * norms)

    def violation(self, v: FloatArray, w: FloatArray) -> float:
        """Largest violation of a cone constraint, relative to the largest ``|X v|``."""
        signs = 2.0 * self.patterns - 1.0
        worst, largest = 0.0, 0.0
        for block in (v, w):
            values = times(self.rows, block)
            largest = max(largest, np.abs(values).max(initial=0.0))
            worst = max(worst, -(signs * values).min(initial=0.0))
        return worst / largest if largest > 0 else 0.0

    def feasible_point(self, v: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The nearest blocks in the cones, then moved inside by as much as rounding asks for."""
        return self._feasible_blocks(v), self._feasible_blocks(w)

    def _feasible_blocks(self, columns):
        columns = columns.copy()
        used = np.flatnonzero(np.any(columns != 0, axis=0))
        rows, lowest = self.cone_rows, np.zeros(used.size)
        for part, block in blocks(rows):
            slack = (2.0 * self.cone_patterns[part][:, used] - 1.0) * (block @ columns[:, used])
            lowest = np.minimum(lowest, slack.min(axis=0, initial=0.0))
        for i in used[lowest < 0]:
            columns[:, i] = self.nearest_in_cone(i, columns[:, i])
        return columns

    def nearest_in_cone(self, i: int, point: FloatArray) -> FloatArray:
        """The nearest point in the cone of pattern i, moved inside as `feasible_point` does."""
        constraints = by_row(np.multiply, self.cone_rows, 2.0 * self.cone_patterns[:, i] - 1.0)
        nearest, _ = project_on_cone(constraints, point)
        # the gate has positive slack everywhere: a step along it undoes rounding
        gate = self.gates[:, i]
        step = np.max(-times(constraints, nearest) / times(constraints, gate), initial=0.0)
        return nearest + (1 + 1e-12) * step * gate

    def network(self, v: FloatArray, w: FloatArray, bias: float) -> TwoLayerReLU:
        """The network of a point, see `TwoLayerReLU.from_blocks`."""
        return self.problem.network(v, w, bias)

    def network_objective(self, network: TwoLayerReLU) -> float:
        """Training objective of a network on the rows of the program."""
        return self.problem.network_objective(network)


def distinct_columns(patterns):
    """Columns of the distinct patterns; a ValueError where all are empty."""
    kept = distinct_patterns(patterns)
    if kept.size == 0:
        raise ValueError(
            "patterns must hold at least one pattern that is active on a row, got only empty "
            "columns."
        )
    return kept


def _found_gates(problem, patterns, kept):
    """Gates of the patterns, by linear programming."""
    gates, margins = realizing_gates(problem.rows, patterns)
    dead = np.flatnonzero(~(margins > 1e-9))
    if dead.size:
        where = "" if problem.fit_intercept else " through the origin"
        raise ValueError(
            f"patterns: {dead.size} of {len(kept)} columns (first: {kept[dead[:5]].tolist()}) are "
            f"not realised by any hyperplane{where}: no u has rows @ u > 0 exactly where the "
            "pattern is True. Remove them, or build patterns as rows @ gates >= 0."
        )
    return gates


def _checked_gates(rows, patterns, kept, gates):
    """Gates of the patterns, strict ones, and all directions given, of norm one."""
    directions = finite_array("gates", gates, 2)
    if directions.shape[0] != rows.shape[1] or directions.shape[1] <= kept.max():
        raise ValueError(
            f"gates must have shape ({rows.shape[1]}, n_patterns), got {directions.shape}."
        )
    gates = np.ascontiguousarray(directions[:, kept])
    for part, block in blocks(rows):
        margins = (2.0 * patterns[part] - 1.0) * (block @ gates)
        strict = margins > 1e-15 * (abs(block) @ np.abs(gates))
        if not strict[row_maxima(block) > 0].all():
            raise ValueError(
                "gates must realise the patterns strictly: patterns == (rows @ gates >= 0), "
                "with rows @ gates farther from zero than its rounding."
            )
    return gates, _unit_columns(directions)


def _unit_columns(vectors):
    vectors = vectors / np.abs(vectors).max(axis=0, initial=1e-300)
    norms = np.sqrt(np.sum(vectors**2, axis=0))
    return vectors / np.where(norms > 0, norms, 1.0)
