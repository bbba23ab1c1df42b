r"""The training problem: data, loss and penalty as one object, and its normalised form.

With the rows :math:`x_k`, weights :math:`\omega_k` that sum to one, a convex loss and a penalty
:math:`\alpha`, over the neurons :math:`(u_j, a_j)` and the output bias c,

.. math:: \min_{u, a, c} \sum_k \omega_k \ell\Big(\sum_j (x_k^\top u_j)_+ a_j + c, y_k\Big)
    + \tfrac{\alpha}{2} \sum_j (\|u_j\|^2 + \|a_j\|^2) .

With one output a and c are numbers and the loss is a `Loss`; with K outputs, which share the
neurons, they are vectors and the loss is a `VectorLoss`.

Descent, pricing and the certificate over all networks ask for no more than this. It is solved in
units where rows and targets are of size one: this is the one place that knows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from typing import cast

import numpy as np
from scipy.sparse import csr_array, issparse

from .._typing import ArrayLike, ClassificationLoss, FloatArray, IntArray, RegressionLoss
from ..core.losses import Loss, get_loss
from ..core.network import TwoLayerReLU, column_norms
from ..core.rows import (
    as_rows,
    by_row,
    dense,
    is_wide,
    moments,
    root_mean_square,
    row_maxima,
    with_constant,
)
from ..core.vector_losses import VectorLoss
from .units import Solution, Units

# single precision resolves columns whose spread is at least the largest entries over this
_RESOLVED = 1e3
# columns with entries are few where there are as many times more without
_FEW_OF = 4


@dataclass(frozen=True, eq=False)
class Design:
    """Rows and their weights, with what is computed from them alone.

    Attributes
    ----------
    rows : ndarray or CSR array of shape (n_samples, d)
        What the hidden neurons see: X, with a column of ones when there is an intercept.
    weights : ndarray of shape (n_samples,)
        Positive, sum to one.
    basis : ndarray or CSR array of shape (d, r) or None
        Orthonormal columns when the rows are coordinates in the span of longer rows.
    """

    rows: FloatArray
    weights: FloatArray
    basis: FloatArray | None = None

    @cached_property
    def visible(self):
        """Rows that are not zero: a row of zeros has no side of a hyperplane."""
        return row_maxima(self.rows) > 0

    @cached_property
    def cone_rows(self):
        """The non-zero rows: those that bound the cones."""
        return self.rows if self.visible.all() else self.rows[self.visible]

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
        spans = np.where(spreads > 1e-12 * np.abs(means), spreads, np.abs(means))
        resolved = sizes.max() <= _RESOLVED * spans[spans > 0].min(initial=np.inf)
        return np.float32 if resolved else np.float64

    @cached_property
    def scaled(self):
        """The rows divided by their size."""
        return Design(self._scaled_rows(), self.weights)

    def _scaled_rows(self):
        return by_row(np.divide, self.rows, self.row_scale)

    @cached_property
    def normalised(self):
        """The scaled rows, in no more coordinates than there are rows.

        Unless they are sparse and wide: then without columns that have no entry, if most have none.
        """
        n, d = self.rows.shape
        if is_wide(self.rows):
            return self._without_empty_columns()
        if d <= n:
            return self.scaled
        rows = dense(self._scaled_rows(), "a program in the span of its rows")
        # optimal blocks lie in the span of the rows, and keep their norms there
        u, s, vt = np.linalg.svd(rows, full_matrices=False)
        rank = int(np.sum(s > s[0] * d * np.finfo(np.float64).eps))
        rows = np.ascontiguousarray(u[:, :rank] * s[:rank])
        # zeros, not what rounding makes of them: such a row bounds no cone
        rows[~self.visible] = 0.0
        return Design(rows, self.weights, np.ascontiguousarray(vt[:rank].T))

    def _without_empty_columns(self):
        """The scaled rows in the coordinates that any of them has, where these are few."""
        d = self.rows.shape[1]
        kept = np.unique(self.rows.indices)
        if kept.size == 0 or _FEW_OF * kept.size > d:
            return self.scaled
        ones = np.ones(kept.size), (kept, np.arange(kept.size))
        basis = csr_array(ones, shape=(d, kept.size))
        return Design(self._scaled_rows()[:, kept], self.weights, basis)

    def dense(self):
        """The same with dense rows; a ValueError where they are too large for that."""
        rows = dense(self.rows, "the solver of the convex program")
        return self if rows is self.rows else Design(rows, self.weights, self.basis)

    def coordinates(self, directions):
        """Directions of the longer rows in the coordinates of these."""
        return directions if self.basis is None else self.basis.T @ directions

    def directions(self, coordinates):
        """Directions among the longer rows with these coordinates."""
        return coordinates if self.basis is None else self.basis @ coordinates


@dataclass(frozen=True, eq=False)
class TrainingProblem:
    """Rows, targets, loss and penalty of the training of one output, or of several that share.

    Attributes
    ----------
    design : Design
        The rows and their weights, which problems of other targets share.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets; -1 or +1 for the losses of classification.
    loss : Loss or VectorLoss
    alpha : float
        Strength of the weight decay, > 0.
    fit_intercept : bool
        Whether the last column of the rows is constant, and the output has a bias.
    monotone : ndarray of int of shape (d,) or None, default=None
        The signs that the product of hidden and output weight of every neuron must not be against,
        for every column of the rows; 0: any will do. Only with one output.
    """

    design: Design
    y: FloatArray
    loss: Loss | VectorLoss
    alpha: float
    fit_intercept: bool
    monotone: IntArray | None = field(default=None, kw_only=True)

    @classmethod
    def of(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        *,
        loss: ClassificationLoss | RegressionLoss | Loss | VectorLoss,
        alpha: float,
        sample_weight: ArrayLike | None = None,
        fit_intercept: bool = False,
    ) -> TrainingProblem:
        """The problem of checked data, without the rows of weight zero."""
        X, y, weights, loss = check_data(X, y, loss, alpha, sample_weight)
        used = weights > 0
        rows = with_constant(X[used]) if fit_intercept else X[used]
        return cls(Design(rows, weights[used]), y[used], loss, float(alpha), bool(fit_intercept))

    @property
    def rows(self) -> FloatArray:
        """What the hidden neurons see, with the constant column."""
        return self.design.rows

    @property
    def weights(self) -> FloatArray:
        """Weights of the rows, of sum one."""
        return self.design.weights

    @property
    def X(self) -> FloatArray:
        """The rows without the constant column."""
        return self.rows[:, :-1] if self.fit_intercept else self.rows

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return self.rows.shape[0]

    @property
    def is_shared(self) -> bool:
        """Whether the neurons have several outputs, or one in a column of targets."""
        return self.y.ndim == 2

    def multipliers(self, slopes: FloatArray) -> FloatArray:
        """The slopes times the weights of the rows."""
        return (self.weights * slopes.T).T

    def network(self, v: FloatArray, w: FloatArray, bias: float) -> TwoLayerReLU:
        """The network of a point, see `TwoLayerReLU.from_blocks`."""
        return TwoLayerReLU.from_blocks(v, w, bias, has_bias_column=self.fit_intercept)

    def network_objective(self, network: TwoLayerReLU) -> float:
        """Training objective of a network on the rows of the problem."""
        return network.objective(
            self.X, self.y, loss=self.loss, alpha=self.alpha, weights=self.weights
        )

    @cached_property
    def natural_units(self) -> Units:
        """The units in which rows and targets are of size one."""
        target_size = root_mean_square(self.y, self.weights)
        return Units.of(self.loss, self.design.row_scale, target_size)

    @cached_property
    def normalised(self) -> NormalisedProblem:
        """The problem in its natural units, in coordinates of the span of its rows.

        In there weights of features have no signs: of a monotone problem it is `scaled`.
        """
        if self.monotone is not None:
            return self.scaled
        return self._in_natural_units(self.design.normalised)

    @cached_property
    def scaled(self) -> NormalisedProblem:
        """The problem in its natural units, in the coordinates that it has."""
        return self._in_natural_units(self.design.scaled)

    def _in_natural_units(self, design):
        units = self.natural_units
        loss, alpha = units.normalised(self.loss, self.alpha)
        y = self.y / units.target
        return NormalisedProblem(
            design, y, loss, alpha, self.fit_intercept, monotone=self.monotone, user=self
        )


@dataclass(frozen=True, eq=False)
class NormalisedProblem(TrainingProblem):
    """A problem with rows and targets of size one, and the way back to the user's.

    Attributes
    ----------
    user : TrainingProblem
        The problem in the user's units.
    """

    user: TrainingProblem

    @property
    def units(self) -> Units:
        """What its numbers are multiplied by to be the user's."""
        return self.user.natural_units

    def to_user(self, point: Solution) -> Solution:
        """A point in the user's units."""
        directions, units = self.design.directions, self.units
        v, w = (units.block * directions(block) for block in (point.v, point.w))
        # rounding of the product must not leave the domain of the conjugate
        domain = cast(Loss, self.user.loss).conjugate_domain(self.user.y)
        slopes = np.clip(units.slope * point.slopes, *domain)
        return Solution(v, w, units.target * point.bias, slopes)

    def from_user(self, point: Solution) -> Solution:
        """A point of the user in normalised units."""
        coordinates, units = self.design.coordinates, self.units
        v, w = (coordinates(block / units.block) for block in (point.v, point.w))
        return Solution(v, w, point.bias / units.target, point.slopes / units.slope)

    def neurons(self, network: TwoLayerReLU) -> tuple[FloatArray, FloatArray, float | FloatArray]:
        """Balanced hidden directions, output weights and output bias of a user's network."""
        hidden = self.design.coordinates(network.directions(self.fit_intercept))
        outputs = network.output_weights
        norms, sizes = column_norms(hidden), column_norms(outputs.T)
        kept = (norms > 0) & (sizes > 0)
        hidden, outputs, norms, sizes = hidden[:, kept], outputs[kept], norms[kept], sizes[kept]
        roots = np.sqrt(norms * sizes / self.units.block)
        outputs, bias = (
            outputs * (roots / sizes)[:, None],
            network.output_biases / self.units.target,
        )
        if not self.is_shared:
            outputs, bias = outputs[:, 0], bias[0]
        return hidden * (roots / norms), outputs, bias

    def user_network(
        self, directions: FloatArray, outputs: FloatArray, bias: float
    ) -> TwoLayerReLU:
        """The user's network of normalised neurons."""
        directions = self.design.directions(directions)
        if self.is_shared:
            root = np.sqrt(self.units.block)
            hidden, biases = root * directions, np.zeros(directions.shape[1])
            if self.fit_intercept:
                hidden, biases = np.ascontiguousarray(hidden[:-1]), hidden[-1].copy()
            return TwoLayerReLU(
                hidden, biases, root * outputs, np.asarray(self.units.target * bias)
            )
        strengths = self.units.block * np.abs(outputs)
        v = directions * np.where(outputs > 0, strengths, 0.0)
        w = directions * np.where(outputs < 0, strengths, 0.0)
        return self.network(v, w, self.units.target * bias)


def check_data(X, y, loss, alpha, sample_weight):
    """Validated data: float arrays X and y, weights that sum to one, and the loss."""
    X = finite_array("X", X, 2)
    shared = isinstance(loss, VectorLoss)
    y = finite_array("y", y, 2 if shared else 1)
    if len(y) != X.shape[0]:
        raise ValueError(f"X and y must have as many rows: got {X.shape[0]} and {len(y)}.")
    if np.abs(y).max() > 1e150:
        raise ValueError(f"y must be at most 1e150 in size, got {np.abs(y).max()!r}.")
    if not (isinstance(alpha, Real) and np.isfinite(alpha) and alpha > 0):
        raise ValueError(f"alpha must be a positive finite number, got {alpha!r}.")
    loss = loss if shared else get_loss(loss)
    if loss.target == "sign" and not np.isin(y, (-1.0, 1.0)).all():
        raise ValueError(f"y must hold -1 and +1 only for loss={loss.name!r}.")
    # the conjugate at zero is the least loss, with the other sign
    if (loss.conjugate(np.zeros_like(y), y) > 1e-12).any():
        raise ValueError(f"loss must be non-negative, as the bounds assume; {loss.name!r} is not.")
    return X, y, unit_weights(sample_weight, len(y)), loss


def finite_array(name, values, ndim):
    """Values as a float array; a ValueError that names them where they are none."""
    array = as_rows(values)
    if array.ndim != ndim:
        raise ValueError(f"{name} must be a {ndim}-D array, got shape {array.shape}.")
    if 0 in array.shape:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    if not np.isfinite(array.data if issparse(array) else array).all():
        raise ValueError(f"{name} must hold finite numbers only, got NaN or infinity.")
    return array


def unit_weights(sample_weight, n_samples):
    """Checked weights that sum to one."""
    if sample_weight is None:
        return np.full(n_samples, 1.0 / n_samples)
    weights = finite_array("sample_weight", sample_weight, 1)
    if len(weights) != n_samples:
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weights.shape}.")
    if (weights < 0).any():
        raise ValueError(f"sample_weight must be non-negative, got {weights.min()!r}.")
    if not weights.any():
        raise ValueError("sample_weight must not be zero everywhere.")
    weights = weights / weights.max()
    return weights / weights.sum()
