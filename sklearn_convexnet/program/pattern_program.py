"""The program over given patterns: data, patterns, loss and penalty as one object.

`Geometry` is what the programs of one data set share, whatever their targets: rows, patterns and
spectra.
"""

from __future__ import annotations

import copy
from functools import cached_property
from numbers import Real

import numpy as np
from scipy.sparse import issparse

from .._typing import ArrayLike, BoolArray, ClassificationLoss, FloatArray, RegressionLoss
from ..core.losses import Loss, get_loss
from ..core.network import TwoLayerReLU, column_norms
from ..core.rows import (
    as_rows,
    blocks,
    by_row,
    dense,
    is_wide,
    moments,
    root_mean_square,
    row_maxima,
    times,
    with_constant,
)
from .cones import project_on_cone
from .patterns import activation_patterns, check_patterns, distinct_patterns, realizing_gates

# single precision resolves columns whose spread is at least the largest entries over this
_RESOLVED = 1e3


class SampledProgram:
    r"""Convex program of a two-layer ReLU network over given activation patterns.

    With the rows :math:`x_k` of `rows`, patterns :math:`D_i = \mathrm{diag}(d_{ik})`, weights
    :math:`\omega_k` that sum to one and a convex loss,

    .. math::

        \min_{v, w, c} \sum_k \omega_k \ell\Big(\sum_i d_{ik} x_k^\top (v_i - w_i) + c, y_k\Big)
            + \alpha \sum_i (\|v_i\|_2 + \|w_i\|_2)
        \quad \text{s.t.} \quad (2 D_i - I) X v_i \ge 0, \; (2 D_i - I) X w_i \ge 0 .

    Over all patterns this is the training problem of the network itself (Pilanci & Ergen,
    arXiv 2002.10553); over a sample of them an upper bound on it (Bai, Gautam & Sojoudi,
    arXiv 2201.01965). The loss is a weighted mean here: their :math:`\beta` is
    :math:`n \alpha` for uniform weights.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data.
    y : array-like of shape (n_samples,)
        Targets; -1 or +1 for the losses of classification.
    patterns : array-like of bool of shape (n_samples, n_patterns)
        Activation patterns, a column each. Repeated columns are merged, empty ones (a neuron
        that is never active) left out.
    loss : str or Loss, default="squared"
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

    Attributes
    ----------
    rows : ndarray or CSR array of shape (n_samples, d)
        What the hidden neurons see: X, with a column of ones when there is an intercept.
    patterns : ndarray of bool of shape (n_samples, n_patterns)
        The distinct patterns.
    kept : ndarray of int of shape (n_patterns,)
        Columns of the argument `patterns` that they are.
    gates : ndarray of shape (d, n_patterns)
    weights : ndarray of shape (n_samples,)

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, alpha is not positive, or a pattern is not
        realised strictly by any direction.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        patterns: ArrayLike,
        *,
        loss: ClassificationLoss | RegressionLoss | Loss = "squared",
        alpha: float,
        sample_weight: ArrayLike | None = None,
        fit_intercept: bool = False,
        gates: ArrayLike | None = None,
        exhaustive: bool = False,
    ) -> None:
        X, y, weights, self.loss = check_data(X, y, loss, alpha, sample_weight)
        patterns = check_patterns(patterns, X.shape[0])
        used = weights > 0
        rows = with_constant(X[used]) if fit_intercept else X[used]
        self.y = y[used]
        self.alpha = float(alpha)
        self.fit_intercept = bool(fit_intercept)
        self.exhaustive = bool(exhaustive)
        patterns = patterns[used]
        self.kept = distinct_patterns(patterns)
        if self.kept.size == 0:
            raise ValueError(
                "patterns must hold at least one pattern that is active on a row, got only empty "
                "columns."
            )
        patterns = np.ascontiguousarray(patterns[:, self.kept])
        strict, directions = self._strict_gates(gates, rows, patterns)
        self.geometry = Geometry(rows, weights[used], patterns, strict, directions)

    def _strict_gates(self, gates, rows, patterns):
        """Gates of the patterns, checked or found by linear programming, and all given ones."""
        if gates is None:
            gates, margins = realizing_gates(rows, patterns)
            dead = np.flatnonzero(~(margins > 1e-9))
            if dead.size:
                raise ValueError(
                    f"patterns: {dead.size} of {len(self.kept)} columns (first: "
                    f"{self.kept[dead[:5]].tolist()}) are not realised by any hyperplane"
                    f"{'' if self.fit_intercept else ' through the origin'}: no u has "
                    "rows @ u > 0 exactly where the pattern is True. Remove them, or build "
                    "patterns as rows @ gates >= 0."
                )
            return gates, gates
        directions = _finite_array("gates", gates, 2)
        if directions.shape[0] != rows.shape[1] or directions.shape[1] <= self.kept.max():
            raise ValueError(
                f"gates must have shape ({rows.shape[1]}, n_patterns), got {directions.shape}."
            )
        gates = np.ascontiguousarray(directions[:, self.kept])
        for part, block in blocks(rows):
            margins = (2.0 * patterns[part] - 1.0) * (block @ gates)
            strict = margins > 1e-15 * (abs(block) @ np.abs(gates))
            if not strict[row_maxima(block) > 0].all():
                raise ValueError(
                    "gates must realise the patterns strictly: patterns == (rows @ gates >= 0), "
                    "with rows @ gates farther from zero than its rounding."
                )
        return gates, _unit_columns(directions)

    def with_target(self, y: FloatArray, *, alpha: float | None = None) -> SampledProgram:
        """The program of another target, or penalty; they share all that is computed."""
        program = copy.copy(self)
        program.y = y
        program.alpha = self.alpha if alpha is None else float(alpha)
        return program

    def with_gates(self, gates: FloatArray) -> SampledProgram:
        """The program over the patterns of other gates, strict ones, on the same data."""
        return SampledProgram(
            self.rows[:, :-1] if self.fit_intercept else self.rows,
            self.y,
            activation_patterns(self.rows, gates),
            loss=self.loss,
            alpha=self.alpha,
            sample_weight=self.weights,
            fit_intercept=self.fit_intercept,
            gates=gates,
        )

    def dense(self) -> SampledProgram:
        """The same program with dense rows; a ValueError where they are too large for that."""
        program = copy.copy(self)
        program.geometry = self.geometry.dense()
        return program

    @property
    def rows(self) -> FloatArray:  # noqa: D102
        return self.geometry.rows

    @property
    def weights(self) -> FloatArray:  # noqa: D102
        return self.geometry.weights

    @property
    def patterns(self) -> BoolArray:  # noqa: D102
        return self.geometry.patterns

    @property
    def gates(self) -> FloatArray:  # noqa: D102
        return self.geometry.gates

    @property
    def cone_rows(self) -> FloatArray:
        """The non-zero rows: those that bound the cones."""
        return self.geometry.cone_rows

    @property
    def cone_patterns(self) -> BoolArray:
        """The patterns on the non-zero rows."""
        return self.geometry.cone_patterns

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    @property
    def n_patterns(self) -> int:
        """Number of distinct patterns."""
        return self.patterns.shape[1]

    @property
    def n_directions(self) -> int:
        """Number of gates that were given, the first layer of the solver "scp"."""
        return self.geometry.directions.shape[1]

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
        return TwoLayerReLU.from_blocks(v, w, bias, has_bias_column=self.fit_intercept)

    def network_objective(self, network: TwoLayerReLU) -> float:
        """Training objective of a network on the rows of the program."""
        X = self.rows[:, :-1] if self.fit_intercept else self.rows
        return network.objective(X, self.y, loss=self.loss, alpha=self.alpha, weights=self.weights)

    def normalised(self) -> tuple[SampledProgram, float, float, float]:
        """The same program in units where rows (and targets) are of size one.

        Returns
        -------
        program : SampledProgram
        row_scale, target_scale, objective_scale : float
            A point (v, w, bias) of the normalised program is
            ``target_scale / row_scale * v`` (and w) and ``target_scale * bias`` here, and
            objectives are multiplied by `objective_scale`.
        """
        row_scale = self.geometry.row_scale
        program = copy.copy(self)
        program.loss, program.alpha, target_scale, objective_scale = self.in_units(
            row_scale, root_mean_square(self.y, self.weights)
        )
        program.geometry = self.geometry.normalised
        program.y = self.y / target_scale
        return program, row_scale, target_scale, objective_scale

    def in_units(self, row_scale: float, target_scale: float) -> tuple[Loss, float, float, float]:
        """Loss and penalty when rows, and the targets of a regression, are divided by their sizes.

        Parameters
        ----------
        row_scale, target_scale : float
            The sizes.

        Returns
        -------
        loss : Loss
        alpha, target_scale, objective_scale : float
            `target_scale` is 1 where the targets keep their units.
        """
        degree = self.loss.degree
        # degree 0: a loss that cannot be rescaled; where losses would underflow, targets are zero
        if self.loss.target != "real" or degree == 0 or target_scale**degree < 1e-300:
            target_scale = 1.0
        alpha = self.alpha * target_scale ** (1.0 - degree) / row_scale
        return self.loss.scaled(target_scale), alpha, target_scale, target_scale**degree


def check_data(X, y, loss, alpha, sample_weight):
    """Validated data: float arrays X and y, weights that sum to one, and the loss."""
    X = _finite_array("X", X, 2)
    y = _finite_array("y", y, 1)
    if len(y) != X.shape[0]:
        raise ValueError(f"X and y must have as many rows: got {X.shape[0]} and {len(y)}.")
    if np.abs(y).max() > 1e150:
        raise ValueError(f"y must be at most 1e150 in size, got {np.abs(y).max()!r}.")
    if not (isinstance(alpha, Real) and np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be a positive finite number, got {alpha!r}.")
    loss = get_loss(loss)
    if loss.target == "sign" and not np.isin(y, (-1.0, 1.0)).all():
        raise ValueError(f"y must hold -1 and +1 only for loss={loss.name!r}.")
    # the conjugate at zero is the least loss, with the other sign
    if (loss.conjugate(np.zeros_like(y), y) > 1e-12).any():
        raise ValueError(f"loss must be non-negative, as the bounds assume; {loss.name!r} is not.")
    return X, y, _normalised_weights(sample_weight, len(y)), loss


def _finite_array(name, values, ndim):
    array = as_rows(values)
    if array.ndim != ndim:
        raise ValueError(f"{name} must be a {ndim}-D array, got shape {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    if not np.isfinite(array.data if issparse(array) else array).all():
        raise ValueError(f"{name} must hold finite numbers only, got NaN or infinity.")
    return array


def _unit_columns(vectors):
    vectors = vectors / np.abs(vectors).max(axis=0, initial=1e-300)
    norms = np.sqrt(np.sum(vectors**2, axis=0))
    return vectors / np.where(norms > 0, norms, 1.0)


def _normalised_weights(sample_weight, n_samples):
    if sample_weight is None:
        return np.full(n_samples, 1.0 / n_samples)
    weights = _finite_array("sample_weight", sample_weight, 1)
    if len(weights) != n_samples:
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weights.shape}.")
    if (weights < 0).any():
        raise ValueError(f"sample_weight must be non-negative, got {weights.min()!r}.")
    if not weights.any():
        raise ValueError("sample_weight must not be zero everywhere.")
    weights = weights / weights.max()
    return weights / weights.sum()


class Geometry:
    """Rows, weights and patterns, with what is computed from them alone.

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n, d)
    weights : ndarray of shape (n,)
        Positive, sum to one.
    patterns : ndarray of bool of shape (n, P)
    gates : ndarray of shape (d, P)
        Directions that realise the patterns strictly.
    directions : ndarray of shape (d, N)
        All directions that were given, those with equal patterns included.

    Attributes
    ----------
    basis : ndarray of shape (d, r) or None
        Orthonormal columns when the rows are coordinates in the span of longer rows.
    """

    def __init__(self, rows, weights, patterns, gates, directions):
        self.rows, self.weights, self.patterns, self.gates = rows, weights, patterns, gates
        self.directions = directions
        self.basis = None

    @cached_property
    def visible(self):
        """Rows that are not zero: a row of zeros has no side of a hyperplane."""
        return row_maxima(self.rows) > 0

    @cached_property
    def cone_rows(self):
        """The non-zero rows: those that bound the cones."""
        return self.rows if self.visible.all() else self.rows[self.visible]

    @cached_property
    def cone_patterns(self):
        """The patterns on the non-zero rows."""
        return self.patterns if self.visible.all() else self.patterns[self.visible]

    @cached_property
    def row_scale(self):
        """Weighted root mean square of the rows; 1 where its square underflows."""
        scale = root_mean_square(self.rows, self.weights)
        return scale if scale > 1e-150 else 1.0

    @cached_property
    def precision(self):
        """The dtype that is enough for a search: single, unless a column's spread is lost in it."""
        means, spreads = moments(self.rows, self.weights)
        sizes = np.maximum(np.abs(means), spreads)
        # of a column without spread, such as an intercept, the value counts
        told = np.where(spreads > 1e-12 * np.abs(means), spreads, np.abs(means))
        resolved = sizes.max() <= _RESOLVED * told[told > 0].min(initial=np.inf)
        return np.float32 if resolved else np.float64

    @cached_property
    def normalised(self):
        """The same geometry with rows of size one.

        In no more coordinates than there are rows, unless they are sparse and wide.
        """
        normalised = self._with_rows(by_row(np.divide, self.rows, self.row_scale))
        normalised.__dict__.pop("row_scale", None)
        n, d = self.rows.shape
        if d > n and not is_wide(self.rows):
            normalised.rows = dense(normalised.rows, "a program in the span of its rows")
            # optimal blocks lie in the span of the rows, and keep their norms there
            u, s, vt = np.linalg.svd(normalised.rows, full_matrices=False)
            rank = int(np.sum(s > s[0] * d * np.finfo(np.float64).eps))
            normalised.rows = np.ascontiguousarray(u[:, :rank] * s[:rank])
            # zeros, not what rounding makes of them: such a row bounds no cone
            normalised.rows[~self.visible] = 0.0
            normalised.basis = np.ascontiguousarray(vt[:rank].T)
            normalised.gates = normalised.basis.T @ self.gates
            normalised.directions = normalised.basis.T @ self.directions
        return normalised

    def dense(self):
        """The same geometry with dense rows; a ValueError where they are too large for that."""
        rows = dense(self.rows, "the solver of the convex program")
        return self if rows is self.rows else self._with_rows(rows)

    def _with_rows(self, rows):
        """A copy with other rows, without what is known of these."""
        other = copy.copy(self)
        for name in ("cone_rows", "normalised", "row_spectrum", "precision"):
            other.__dict__.pop(name, None)
        other.rows = rows
        return other

    @cached_property
    def row_spectrum(self):
        r"""Eigenvalues and -vectors of :math:`X^\top \Omega X`."""
        return np.linalg.eigh(self.rows.T @ (self.weights[:, None] * self.rows))

    @cached_property
    def gate_spectrum(self):
        r"""Eigenvalues and -vectors of :math:`D^\top \Omega D`."""
        gates = self.patterns.astype(np.float64)
        return np.linalg.eigh(gates.T @ (self.weights[:, None] * gates))
