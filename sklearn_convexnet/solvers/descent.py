r"""Descent of the network itself: L-BFGS on its training objective, the kinks smoothed.

The objective of the neurons :math:`(u_j, a_j)` and the output biases c,

.. math:: \sum_k \omega_k \ell\Big(\sum_j \sigma_\tau(x_k^\top u_j) a_j + c, y_k\Big)
    + \tfrac{\alpha}{2} \sum_j (\|u_j\|^2 + \|a_j\|^2),

has kinks where a row lies on the hyperplane of a neuron, and minima like to sit on them: L-BFGS
creeps there. With the ReLU rounded off within :math:`\tau` of its kink,

.. math:: \sigma_\tau(z) = \tau m^2 + (z - \tau)_+, \qquad m = \sigma_\tau'(z)
    = \min\big(1, \max(0, \tfrac{z + \tau}{2 \tau})\big),

it does not, and the slopes of the loss at the smoothed minimum are dual variables nearly as good as
those of the convex program: shrinking :math:`\tau` brings both to the minimum. A loss with kinks is
replaced by its Moreau envelope.
"""

import numpy as np
from scipy.optimize import Bounds, minimize

from ..core.parallel import ALONE
from ..core.rows import block_size, blocks, multiply, stretches, weighted_sum, with_constant

# neurons weaker than this share of the strongest are dropped
_NEGLIGIBLE = 1e-4
# relative decrease in an iteration at which L-BFGS gives up
_NO_PROGRESS = 1e-8
# numbers that L-BFGS may keep of its last steps; how many of these it keeps, at least and at most
_HISTORY, _STEPS_KEPT = 2**24, (5, 20)


def constant_network(y, weights, loss, *, fit_intercept):
    """Best bias of a network without neurons, and slopes of the loss there, see `Loss.constant`.

    Without an intercept the bias is zero.
    """
    if fit_intercept:
        return loss.constant(y, weights)
    bias = np.zeros(y.shape[1:])[()]
    return bias, loss.derivative(np.zeros_like(y), y)


class Descent:
    """Neurons on their way down.

    Parameters
    ----------
    problem : TrainingProblem
        In normalised units.
    directions : ndarray of shape (d, m)
        Hidden weights.
    outputs : ndarray of shape (m,) or (m, n_outputs)
        Output weights.
    bias : float or ndarray of shape (n_outputs,)
        Output biases.
    workers : Workers, default=ALONE
        For the rows.

    Attributes
    ----------
    directions, outputs, bias
        The neurons now; balanced, ``norm(directions[:, j]) == norm(outputs[j])``, after `run`.
    n_iter : int
        Iterations so far.
    """

    def __init__(self, problem, directions, outputs, bias, workers=ALONE):
        self.problem = problem
        self.workers = workers
        self.directions, self.outputs, self.bias = directions, outputs, bias
        self.n_iter = 0
        self.loss_width = 0.0

    def run(self, width, max_iter, dtype=np.float64, loss_width=None):
        """Descend with the kinks smoothed over `width`, then balance and prune the neurons.

        Those of the loss over `loss_width`, if that is given. The activations are computed in
        precision `dtype`.
        """
        self.loss_width = width if loss_width is None else loss_width
        widths = width, self.loss_width
        parts = self.directions, self.outputs, np.asarray(self.bias)
        objective = SmoothObjective(self.problem, widths, parts, dtype, self.workers)
        start = np.concatenate([part.ravel() for part in parts])
        found = minimise(objective, start, max_iter)
        self.n_iter += int(found.nit)
        directions, outputs, bias = objective.parts(found.x)
        self.directions, self.outputs = balanced(directions, outputs)
        self.bias = bias[()]

    def add(self, directions, outputs):
        """Join new neurons, of unit norm, small enough not to disturb the others."""
        size = 0.1 * (np.median(amplitudes(self.outputs)) if self.outputs.size else 1.0)
        self.directions = np.concatenate([self.directions, size * directions], axis=1)
        self.outputs = np.concatenate([self.outputs, size * outputs])

    @property
    def predictions(self):
        """Outputs of the network, with real ReLUs."""
        parts = self._by_block(lambda part, z: np.maximum(z, 0.0) @ self.outputs)
        return np.concatenate(parts) + self.bias

    @property
    def slopes(self):
        """Slopes of the loss, or of the envelope of one with kinks."""
        return smooth_loss(self.problem.loss, self.predictions, self.problem.y, self.loss_width)[1]

    @property
    def objective(self):
        """Training objective, with real ReLUs."""
        problem = self.problem
        penalty = 0.5 * (np.sum(self.directions**2) + np.sum(self.outputs**2))
        losses = problem.loss.value(self.predictions, problem.y)
        return float(problem.weights @ losses + problem.alpha * penalty)

    @property
    def typical_activation(self):
        """Root mean square of the pre-activations; 1 where they vanish next to the rows."""
        weights = self.problem.weights
        squares = sum(self._by_block(lambda part, z: weights[part] @ z**2))
        size = float(np.sqrt(squares.mean())) if squares.size else 0.0
        return size if size > 1e-100 else 1.0

    def _by_block(self, call):
        """What `call` returns for the pre-activations of every block of rows."""
        rows = self.problem.rows

        def of_stretch(stretch):
            return [call(part, block @ self.directions) for part, block in blocks(rows, stretch)]

        return sum(self.workers.map(of_stretch, stretches(rows)), [])


def minimise(objective, start, max_iter, lower=None, progress=_NO_PROGRESS):
    """L-BFGS from a point, above `lower`; `objective` returns value and gradient.

    It gives up at a relative decrease of `progress`. An `OptimizeResult`.
    """
    # L-BFGS-B measures progress on the scale of one
    unit = max(objective(start)[0], np.finfo(float).tiny)

    def scaled(point):
        value, gradient = objective(point)
        return value / unit, gradient / unit

    return minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=None if lower is None else Bounds(lower, np.inf),
        options={
            "maxiter": max_iter,
            "maxfun": 2 * max_iter + 20,
            "maxcor": int(np.clip(_HISTORY // (2 * len(start)), *_STEPS_KEPT)),
            "ftol": progress,
            "gtol": 0.0,
        },
    )


def amplitudes(outputs):
    """Norms of the output weights of the neurons, one each or several."""
    return np.abs(outputs) if outputs.ndim == 1 else np.linalg.norm(outputs, axis=1)


def balanced(directions, outputs, *, negligible=_NEGLIGIBLE):
    """The same neurons with ``norm(directions[:, j]) == norm(outputs[j])``, without weak ones."""
    norms, sizes = np.sqrt(np.einsum("ji,ji->i", directions, directions)), amplitudes(outputs)
    strengths = norms * sizes
    kept = strengths > negligible * strengths.max(initial=0.0)
    roots = np.sqrt(strengths[kept])
    outputs = (outputs[kept].T / sizes[kept] * roots).T
    return directions[:, kept] * (roots / norms[kept]), outputs


class SmoothObjective:
    """Value and gradient of the smoothed objective, in blocks of rows that stay in the cache."""

    def __init__(self, problem, widths, parts, dtype=np.float64, workers=ALONE):
        self.problem, self.workers = problem, workers
        self.width, self.loss_width = widths
        self.shapes = [part.shape for part in parts]
        self.ends = np.cumsum([part.size for part in parts])[:-1]
        # a column for the half in the slope (z + width) / (2 width)
        self.rows = with_constant(problem.rows, dtype=dtype)
        self.stretches = stretches(self.rows)

    def parts(self, point):
        """Directions, output weights and biases of a point."""
        parts = zip(np.split(point, self.ends), self.shapes, strict=True)
        return [part.reshape(shape) for part, shape in parts]

    def __call__(self, point):
        problem, width = self.problem, self.width
        directions, outputs, bias = self.parts(point)
        scaled = np.concatenate([directions / (2.0 * width), np.full_like(directions[:1], 0.5)])
        scaled = scaled.astype(self.rows.dtype)
        heights = (width * outputs).astype(self.rows.dtype)

        def of_stretch(stretch):
            return self._of_stretch(stretch, scaled, heights, bias)

        loss, by_direction, by_output, by_bias = self.workers.total(of_stretch, self.stretches)
        penalised = point[: self.ends[-1]]
        value = 0.5 * problem.alpha * (penalised @ penalised) + loss
        gradient = problem.alpha * point
        of_directions, of_outputs, of_bias = self.parts(gradient)
        # of one output it is the same factor for all rows; of several it is in the sum
        of_directions += by_direction * outputs if outputs.ndim == 1 else by_direction / width
        of_outputs += width * by_output
        of_bias[...] = by_bias if problem.fit_intercept else 0.0
        return value, gradient

    def _of_stretch(self, stretch, scaled, heights, bias):
        """Loss and its sums: of slopes with the rows, with the activations, and alone."""
        problem, (d, m) = self.problem, scaled.shape
        dtype = self.rows.dtype
        size = min(block_size(self.rows), stretch.stop - stretch.start)
        buffers = np.empty((2, size, m), dtype)
        ends = np.array([0.0, 1.0], dtype)
        loss, by_direction, by_output = 0.0, np.zeros((d - 1, m)), np.zeros(heights.shape)
        by_bias = np.zeros(heights.shape[1:])
        for part, rows in blocks(self.rows, stretch):
            weights = problem.weights[part]
            hidden, slope = buffers[:, : len(weights)]
            multiply(rows, scaled, hidden)
            np.clip(hidden, *ends, out=slope)
            # the smoothed ReLU in units of the width: slope (2 hidden - slope)
            np.add(hidden, hidden, out=hidden)
            np.subtract(hidden, slope, out=hidden)
            np.multiply(hidden, slope, out=hidden)
            f = hidden @ heights + bias
            losses, slopes = smooth_loss(problem.loss, f, problem.y[part], self.loss_width)
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


def smooth_loss(loss, f, y, width):
    """Values and slopes of a loss, or of the Moreau envelope of one with kinks."""
    if np.isfinite(loss.curvature):
        return loss.value_and_derivative(f, y)
    near = loss.prox(f, y, width)
    slopes = (f - near) / width
    squares = (slopes**2).reshape(len(f), -1).sum(axis=1)
    return loss.value(near, y) + 0.5 * width * squares, slopes
