r"""descent of the network itself: L-BFGS on its training objective, the kinks smoothed.

The objective of the neurons :math:`(u_j, a_j)` and the output bias c,

.. math:: \sum_k \omega_k \ell\Big(\sum_j a_j \sigma_\tau(x_k^\top u_j) + c, y_k\Big)
    + \tfrac{\alpha}{2} \sum_j (\|u_j\|^2 + a_j^2),

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

# margins beyond which every loss of classification is zero to double precision
_LARGEST_MARGIN = 80.0

# neurons weaker than this share of the strongest are dropped
_NEGLIGIBLE = 1e-4
# relative decrease in an iteration at which L-BFGS gives up
_NO_PROGRESS = 1e-8
# numbers that L-BFGS may keep of its last steps; how many of these it keeps, at least and at most
_HISTORY, _STEPS_KEPT = 2**24, (5, 20)


def constant_network(y, weights, loss, *, fit_intercept):
    """Best bias of a network without neurons.

    Parameters
    ----------
    y, weights : ndarray of shape (n_samples,)
    loss : Loss
    fit_intercept : bool
        Without it the bias is zero.

    Returns
    -------
    bias : float
    slopes : ndarray of shape (n_samples,)
        Subgradients of the loss at the bias; their weighted sum is zero at an interior
        minimum. Where the loss has kinks they are chosen between the slopes on both sides.
    """
    if not fit_intercept:
        return 0.0, loss.derivative(np.zeros_like(y), y)
    if loss.target == "real":
        low, high = float(y.min()), float(y.max())
    else:
        low, high = -_LARGEST_MARGIN, _LARGEST_MARGIN
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if weights @ loss.derivative(np.full_like(y, middle), y) > 0:
            high = middle
        else:
            low = middle
    left = loss.derivative(np.full_like(y, low), y)
    right = loss.derivative(np.full_like(y, high), y)
    down, up = float(weights @ left), float(weights @ right)
    share = np.clip(-down / (up - down), 0.0, 1.0) if up > down else 0.5
    values = [weights @ loss.value(np.full_like(y, end), y) for end in (low, high)]
    return (low, high)[int(np.argmin(values))], (1.0 - share) * left + share * right


class Descent:
    """Neurons on their way down.

    Parameters
    ----------
    problem : TrainingProblem
        In normalised units.
    directions : ndarray of shape (d, m)
        Hidden weights.
    outputs : ndarray of shape (m,)
        Output weights.
    bias : float
        Output bias.
    workers : Workers, default=ALONE
        For the rows.

    Attributes
    ----------
    directions, outputs, bias
        The neurons now; balanced, ``norm(directions[:, j]) == abs(outputs[j])``, after `run`.
    n_iter : int
        Iterations so far.
    """

    def __init__(self, problem, directions, outputs, bias, workers=ALONE):
        self.problem = problem
        self.workers = workers
        self.directions, self.outputs, self.bias = directions, outputs, float(bias)
        self.n_iter = 0
        self.width = 0.0

    def run(self, width, max_iter, dtype=np.float64):
        """Descend with the kinks smoothed over `width`, then balance and prune the neurons.

        The activations are computed in precision `dtype`.
        """
        d, m = self.directions.shape
        self.width = width
        objective = _SmoothObjective(self.problem, width, m, dtype, self.workers)
        start = np.concatenate([self.directions.ravel(), self.outputs, [self.bias]])
        found = minimise(objective, start, max_iter)
        self.n_iter += int(found.nit)
        directions, outputs = found.x[: d * m].reshape(d, m), found.x[d * m : -1]
        self.directions, self.outputs = balanced(directions, outputs)
        self.bias = float(found.x[-1])

    def add(self, directions, signs):
        """Join new neurons, small enough not to disturb the others."""
        size = 0.1 * (np.median(np.abs(self.outputs)) if self.outputs.size else 1.0)
        self.directions = np.concatenate([self.directions, size * directions], axis=1)
        self.outputs = np.concatenate([self.outputs, size * signs])

    @property
    def predictions(self):
        """Outputs of the network, with real ReLUs."""
        parts = self._by_block(lambda part, z: np.maximum(z, 0.0) @ self.outputs)
        return np.concatenate(parts) + self.bias

    @property
    def slopes(self):
        """Slopes of the loss, or of the envelope of one with kinks."""
        return smooth_loss(self.problem.loss, self.predictions, self.problem.y, self.width)[1]

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


def balanced(directions, outputs, *, negligible=_NEGLIGIBLE):
    """The same neurons with ``norm(directions[:, j]) == abs(outputs[j])``, without weak ones."""
    norms = np.sqrt(np.einsum("ji,ji->i", directions, directions))
    strengths = norms * np.abs(outputs)
    kept = strengths > negligible * strengths.max(initial=0.0)
    sizes = np.sqrt(strengths[kept])
    return directions[:, kept] * (sizes / norms[kept]), np.sign(outputs[kept]) * sizes


class _SmoothObjective:
    """Value and gradient of the smoothed objective, in blocks of rows that stay in the cache."""

    def __init__(self, problem, width, m, dtype=np.float64, workers=ALONE):
        self.problem, self.width, self.m = problem, width, m
        self.workers = workers
        # a column for the half in the slope (z + width) / (2 width)
        self.rows = with_constant(problem.rows, dtype=dtype)
        self.stretches = stretches(self.rows)

    def __call__(self, point):
        problem, width, m = self.problem, self.width, self.m
        d = problem.rows.shape[1]
        directions, outputs = point[: d * m].reshape(d, m), point[d * m : -1]
        scaled = np.concatenate([directions / (2.0 * width), np.full((1, m), 0.5)])
        scaled = scaled.astype(self.rows.dtype)
        heights = (width * outputs).astype(self.rows.dtype)

        def of_stretch(stretch):
            return self._of_stretch(stretch, scaled, heights, point[-1])

        loss, by_direction, by_output, by_bias = self.workers.total(of_stretch, self.stretches)
        value = 0.5 * problem.alpha * (point[:-1] @ point[:-1]) + loss
        gradient = problem.alpha * point
        gradient[: d * m] += (by_direction * outputs).ravel()
        gradient[d * m : -1] += width * by_output
        gradient[-1] = by_bias if problem.fit_intercept else 0.0
        return value, gradient

    def _of_stretch(self, stretch, scaled, heights, bias):
        """Loss and its sums: of slopes with the rows, with the activations, and alone."""
        problem, (d, m) = self.problem, scaled.shape
        dtype = self.rows.dtype
        size = min(block_size(self.rows), stretch.stop - stretch.start)
        buffers = np.empty((2, size, m), dtype)
        ends = np.array([0.0, 1.0], dtype)
        loss, by_direction, by_output, by_bias = 0.0, np.zeros((d - 1, m)), np.zeros(m), 0.0
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
            losses, slopes = smooth_loss(problem.loss, f, problem.y[part], self.width)
            pull = weights * slopes
            loss += weights @ losses
            by_bias += pull.sum()
            pull = pull.astype(dtype)
            by_direction += weighted_sum(rows[:, :-1], pull, slope)
            by_output += pull @ hidden
        return loss, by_direction, by_output, by_bias


def smooth_loss(loss, f, y, width):
    """Values and slopes of a loss, or of the Moreau envelope of one with kinks."""
    if np.isfinite(loss.curvature):
        return loss.value(f, y), loss.derivative(f, y)
    near = loss.prox(f, y, width)
    slopes = (f - near) / width
    return loss.value(near, y) + 0.5 * width * slopes**2, slopes
