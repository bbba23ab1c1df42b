r"""Rows of a training problem, and all that neurons on their way ask of them: sums over rows.

The descent, the search for missing neurons and the group lasso of outputs that share a layer see
the rows through `NeuronRows`: in this process, or as shards on other machines. Nothing of the size
of a row travels: networks and directions go out, and sums over the rows come back. What is kept for
every row, the slopes and the activations of a fixed layer, stays where the row is.
"""

import hashlib

import numpy as np

from ..core.losses import SignedSlopes
from ..core.parallel import ALONE, Reductions, Whole
from ..core.rows import (
    block_size,
    blocks,
    multiply,
    stretches,
    times,
    weighted_sum,
    with_constant,
)


class Pricing:
    r"""What pricing asks of rows for multipliers :math:`\Lambda` of them.

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n, d)
    multipliers : ndarray of shape (n,) or (n, n_outputs)
    workers : Workers, default=ALONE
        For the rows.
    """

    def __init__(self, rows, multipliers, workers=ALONE):
        self.rows, self.multipliers, self.workers = rows, multipliers, workers
        self._cast = rows, multipliers

    def gains(self, points):
        r""":math:`\Lambda^\top (X u)_+` of several outputs, shape (k, n_outputs)."""
        rows, multipliers = self._of_precision(points.dtype)

        def of_stretch(stretch):
            return sum(
                np.maximum(block @ points, 0).T @ multipliers[part]
                for part, block in blocks(rows, stretch)
            )

        return self.workers.total(of_stretch, stretches(rows))

    def gradients(self, points, outputs):
        r""":math:`X^\top D \Lambda a` in the precision of the points, of one output without a."""
        rows, multipliers = self._of_precision(points.dtype)

        def of_stretch(stretch):
            total = np.zeros(points.shape, points.dtype)
            for part, block in blocks(rows, stretch):
                active = block @ points
                # a product with booleans would not be one of BLAS
                active[...] = active >= 0
                if multipliers.ndim == 1:
                    total += weighted_sum(block, multipliers[part], active)
                else:
                    active *= multipliers[part] @ outputs.T
                    total += block.T @ active
            return total

        return self.workers.total(of_stretch, stretches(rows))

    def _of_precision(self, dtype):
        if self._cast[0].dtype != dtype:
            self._cast = [each.astype(dtype, copy=False) for each in (self.rows, self.multipliers)]
        return self._cast


class NeuronShard:
    """Some rows of a training problem.

    Parameters
    ----------
    problem : TrainingProblem
        In normalised units; weights of all shards sum to one.
    workers : Workers, default=ALONE
        For the rows.
    """

    def __init__(self, problem, workers=ALONE):
        self.problem, self.workers = problem, workers
        self.slopes = self.features = self._pricing = None
        self._cast = None, None

    # ----------------------------------------------------------------------------- a network

    def predictions(self, directions, outputs, bias):
        """Outputs of a network."""
        parts = self._by_block(directions, lambda part, z: np.maximum(z, 0.0) @ outputs)
        return np.concatenate(parts) + bias

    def mean_loss(self, directions, outputs, bias):
        """Weighted sum of the losses of a network."""
        return self._mean_loss(self.predictions(directions, outputs, bias))

    def activation_squares(self, directions):
        """Weighted sums of the squares of the pre-activations."""
        weights = self.problem.weights
        return sum(self._by_block(directions, lambda part, z: weights[part] @ z**2))

    def pattern_keys(self, directions):
        """A key for the activation pattern of every neuron on these rows, equal for equal ones."""
        parts = self._by_block(directions, lambda part, z: np.packbits(z >= 0, axis=0))
        patterns = np.concatenate(parts).T
        return [hashlib.blake2b(pattern.tobytes(), digest_size=16).digest() for pattern in patterns]

    def _mean_loss(self, f):
        problem = self.problem
        return float(problem.weights @ problem.loss.value(f, problem.y))

    def _by_block(self, directions, call):
        """What `call` returns for the pre-activations of every block of rows."""
        rows = self.problem.rows

        def of_stretch(stretch):
            return [call(part, block @ directions) for part, block in blocks(rows, stretch)]

        return sum(self.workers.map(of_stretch, stretches(rows)), [])

    # ----------------------------------------------------------------------------- its descent

    def smooth_sums(self, widths, dtype, directions, outputs, bias):
        """Smoothed loss and its sums: of slopes with the rows, with the activations, and alone.

        In the units of `SmoothObjective`, with the kinks of ReLU and loss smoothed over `widths`.
        """
        width, loss_width = widths
        # a column for the half in the slope (z + width) / (2 width)
        if self._cast[0] != dtype:
            self._cast = dtype, with_constant(self.problem.rows, dtype=dtype)
        rows = self._cast[1]
        scaled = np.concatenate([directions / (2.0 * width), np.full_like(directions[:1], 0.5)])
        scaled, heights = scaled.astype(dtype), (width * outputs).astype(dtype)

        def of_stretch(stretch):
            return self._smooth_sums(rows, stretch, scaled, heights, bias, loss_width)

        return self.workers.total(of_stretch, stretches(rows))

    def _smooth_sums(self, all_rows, stretch, scaled, heights, bias, loss_width):
        problem, (d, m) = self.problem, scaled.shape
        dtype = all_rows.dtype
        size = min(block_size(all_rows), stretch.stop - stretch.start)
        buffers = np.empty((2, size, m), dtype)
        ends = np.array([0.0, 1.0], dtype)
        loss, by_direction, by_output = 0.0, np.zeros((d - 1, m)), np.zeros(heights.shape)
        by_bias = np.zeros(heights.shape[1:])
        for part, rows in blocks(all_rows, stretch):
            weights = problem.weights[part]
            hidden, slope = buffers[:, : len(weights)]
            multiply(rows, scaled, hidden)
            np.clip(hidden, *ends, out=slope)
            # the smoothed ReLU in units of the width: slope (2 hidden - slope)
            np.add(hidden, hidden, out=hidden)
            np.subtract(hidden, slope, out=hidden)
            np.multiply(hidden, slope, out=hidden)
            f = hidden @ heights + bias
            losses, slopes = smooth_loss(problem.loss, f, problem.y[part], loss_width)
            pull = (weights * slopes.T).T
            loss += weights @ losses
            by_bias += pull.sum(axis=0)
            pull = pull.astype(dtype)
            by_output += (pull.T @ hidden).T
            if pull.ndim == 1:
                by_direction += weighted_sum(rows[:, :-1], pull, slope)
            else:
                slope *= pull @ heights.T
                by_direction += rows[:, :-1].T @ slope
        return loss, by_direction, by_output, by_bias

    # ----------------------------------------------------------------------------- the dual

    def set_slopes(self, directions, outputs, bias, width):
        """Take the slopes of the loss at a network, its kinks smoothed, into the domain."""
        problem, f = self.problem, self.predictions(directions, outputs, bias)
        slopes = smooth_loss(problem.loss, f, problem.y, width)[1]
        self.slopes, self._pricing = problem.loss.slopes(slopes, problem.y, problem.weights), None

    def give_slopes(self, values):
        """Take these slopes, admissible ones."""
        self.slopes, self._pricing = SignedSlopes(values, self.problem.weights), None

    def of_slopes(self, method, *arguments):
        """What a method of the slopes returns."""
        return getattr(self.slopes, method)(*arguments)

    def move_slopes(self, method, *arguments):
        """Call a method that changes the slopes."""
        self.of_slopes(method, *arguments)
        self._pricing = None

    def gains(self, points):
        """See `Pricing`, for the multipliers of the slopes."""
        return self._priced.gains(points)

    def gradients(self, points, outputs):
        """See `Pricing`."""
        return self._priced.gradients(points, outputs)

    @property
    def _priced(self):
        if self._pricing is None:
            multipliers = -self.problem.multipliers(self.slopes.values)
            self._pricing = Pricing(self.problem.rows, multipliers, self.workers)
        return self._pricing

    def conjugate(self, kappa):
        r""":math:`\sum_k \omega_k \ell^*(P_k / \kappa)`, and the size of what is summed."""
        problem, slopes = self.problem, self.slopes.values / kappa
        values = problem.loss.conjugate(slopes, problem.y)
        sizes = np.abs(values) + 2.0 * _by_row(np.abs(slopes * problem.y))
        return float(problem.weights @ values), float(problem.weights @ sizes)

    def pricing_sums(self):
        r"""What bounds :math:`\max_u \|\Lambda^\top (X u)_+\|` of several outputs.

        Returns
        -------
        tuple
            :math:`X^\top \Lambda`, and :math:`\sum_k t_k` and :math:`X^\top \mathrm{diag}(t) X` for
            the norms t of the rows of :math:`\Lambda`.
        """
        multipliers = self._priced.multipliers
        sizes = np.linalg.norm(multipliers, axis=1)
        d = self.problem.rows.shape[1]
        linear, gram = np.zeros((d, multipliers.shape[1])), np.zeros((d, d))
        for part, block in blocks(self.problem.rows):
            linear += block.T @ multipliers[part]
            gram += weighted_sum(block, sizes[part], block)
        return linear, float(sizes.sum()), gram

    # ----------------------------------------------------------------------------- a fixed layer

    def set_layer(self, directions):
        """Keep the activations of directions; of none, to be rid of the last."""
        self.features = np.maximum(times(self.problem.rows, directions), 0.0)

    def layer_sums(self, outputs, bias, width):
        """Loss over the fixed layer, and its slopes with the activations and alone."""
        problem = self.problem

        def of_stretch(part):
            features = self.features[part]
            f = features @ outputs + bias
            losses, slopes = smooth_loss(problem.loss, f, problem.y[part], width)
            pull = problem.weights[part, None] * slopes
            return problem.weights[part] @ losses, features.T @ pull, pull.sum(axis=0)

        return self.workers.total(of_stretch, stretches(self.features))

    def layer_loss(self, outputs, bias):
        """Loss over the fixed layer."""
        return self._mean_loss(self.features @ outputs + bias)

    def layer_gains(self):
        """Products of the activations with the multipliers of the slopes."""
        return self.features.T @ self._priced.multipliers


class BaseNeuronRows(Reductions):
    """All rows of a problem; a subclass has `map`, `n_rows`, `slopes` and `objective`.

    Attributes
    ----------
    problem : TrainingProblem
        Where rows are elsewhere, one of the same loss, penalty and units on a sample of them.
    """

    def set_slopes(self, directions, outputs, bias, width):
        """Take the nearest admissible slopes to those at a network."""
        self.tell("set_slopes", directions, outputs, bias, width)
        if self.problem.fit_intercept:
            self.problem.loss.balance_parts(_SlopesOf(self))


class _SlopesOf(Reductions):
    """The slopes that the shards of rows keep."""

    def __init__(self, rows):
        self.rows = rows

    def map(self, method, *arguments):
        return self.rows.map("of_slopes", method, *arguments)

    def tell(self, method, *arguments):
        self.rows.tell("move_slopes", method, *arguments)


class NeuronRows(Whole, BaseNeuronRows):
    """All rows of a problem in this process.

    Parameters
    ----------
    problem : TrainingProblem
    workers : Workers, default=ALONE
        For the rows.
    """

    def __init__(self, problem, workers=ALONE):
        super().__init__(NeuronShard(problem, workers))
        self.problem, self.n_rows = problem, problem.n_samples

    def give_slopes(self, values):
        """Take these slopes, admissible ones."""
        self.tell("give_slopes", values)

    @property
    def slopes(self):
        """The slopes of all rows."""
        return self.part.slopes.values

    def objective(self, network):
        """Objective of a network of the user."""
        return self.problem.user.network_objective(network)


def smooth_loss(loss, f, y, width):
    """Values and slopes of a loss, or of the Moreau envelope of one with kinks (none: 0)."""
    if width == 0 or np.isfinite(loss.curvature):
        return loss.value_and_derivative(f, y)
    near = loss.prox(f, y, width)
    slopes = (f - near) / width
    return loss.value(near, y) + 0.5 * width * _by_row(slopes**2), slopes


def _by_row(values):
    """Sums of the entries of every row."""
    return values if values.ndim == 1 else values.sum(axis=1)
