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

from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, minimize

from ..core.monotone import clipped, limits, signs_of_neurons
from ..program.neuron_shard import smooth_loss

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
    rows : NeuronRows
        Of a problem in normalised units.
    directions : ndarray of shape (d, m)
        Hidden weights.
    outputs : ndarray of shape (m,) or (m, n_outputs)
        Output weights.
    bias : float or ndarray of shape (n_outputs,)
        Output biases.

    Attributes
    ----------
    directions, outputs, bias
        The neurons now; balanced, ``norm(directions[:, j]) == norm(outputs[j])``, after `run`.
    n_iter : int
        Iterations so far.
    """

    def __init__(self, rows, directions, outputs, bias):
        self.rows = rows
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
        objective = SmoothObjective(self.rows, widths, parts, dtype)
        start = np.concatenate([part.ravel() for part in parts])
        # pricing finds the neurons of the other sign
        signs = signs_of_neurons(self.rows.problem.monotone, self.outputs)
        found = minimise(objective, start, max_iter, signs=signs)
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
    def network(self):
        """Directions, output weights and bias."""
        return self.directions, self.outputs, self.bias

    @property
    def predictions(self):
        """Outputs of the network, with real ReLUs."""
        return np.concatenate(self.rows.map("predictions", *self.network))

    @property
    def slopes(self):
        """Slopes of the loss, or of the envelope of one with kinks."""
        problem = self.rows.problem
        return smooth_loss(problem.loss, self.predictions, problem.y, self.loss_width)[1]

    @property
    def objective(self):
        """Training objective, with real ReLUs."""
        penalty = 0.5 * (np.sum(self.directions**2) + np.sum(self.outputs**2))
        losses = self.rows.total("mean_loss", *self.network)
        return float(losses + self.rows.problem.alpha * penalty)

    @property
    def typical_activation(self):
        """Root mean square of the pre-activations; 1 where they vanish next to the rows."""
        squares = self.rows.total("activation_squares", self.directions)
        size = float(np.sqrt(squares.mean())) if squares.size else 0.0
        return size if size > 1e-100 else 1.0


def minimise(objective, start, max_iter, lower=None, signs=None, progress=_NO_PROGRESS):
    """L-BFGS from a point, above `lower`; `objective` returns value and gradient.

    With `signs`, no entry of the point is against them, exactly. It gives up at a relative decrease
    of `progress`. An `OptimizeResult`.
    """
    upper = np.inf
    if signs is not None:
        (lower, upper), start = limits(signs), clipped(start, signs)
    # L-BFGS-B measures progress on the scale of one
    unit = max(objective(start)[0], np.finfo(float).tiny)

    def scaled(point):
        value, gradient = objective(point)
        return value / unit, gradient / unit

    found = minimize(
        scaled,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=None if lower is None else Bounds(lower, upper),
        options={
            "maxiter": max_iter,
            "maxfun": 2 * max_iter + 20,
            "maxcor": int(np.clip(_HISTORY // (2 * len(start)), *_STEPS_KEPT)),
            "ftol": progress,
            "gtol": 0.0,
        },
    )
    if signs is not None:
        found.x = clipped(found.x, signs)
    return found


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
    """Value and gradient of the smoothed objective.

    Parameters
    ----------
    rows : NeuronRows
    widths : (float, float)
        Of the kinks of ReLU and loss.
    parts : tuple of ndarray
        Directions, output weights and biases; their shapes count.
    dtype : dtype, default=numpy.float64
        Of the activations.
    """

    def __init__(self, rows, widths, parts, dtype=np.float64):
        self.rows, self.widths, self.dtype = rows, widths, dtype
        self.shapes = [part.shape for part in parts]
        ends = np.cumsum([0, *(part.size for part in parts)])
        self.slices = [slice(*pair) for pair in pairwise(ends)]

    def parts(self, point):
        """Directions, output weights and biases of a point."""
        parts = zip(self.slices, self.shapes, strict=True)
        return [point[part].reshape(shape) for part, shape in parts]

    def __call__(self, point):
        problem, (width, _) = self.rows.problem, self.widths
        parts = self.parts(point)
        outputs = parts[1]
        loss, by_direction, by_output, by_bias = self.rows.total(
            "smooth_sums", self.widths, self.dtype, *parts
        )
        penalised = point[: self.slices[-1].start]
        value = 0.5 * problem.alpha * (penalised @ penalised) + loss
        gradient = problem.alpha * point
        of_directions, of_outputs, of_bias = self.parts(gradient)
        # of one output it is the same factor for all rows; of several it is in the sum
        of_directions += by_direction * outputs if outputs.ndim == 1 else by_direction / width
        of_outputs += width * by_output
        of_bias[...] = by_bias if problem.fit_intercept else 0.0
        return value, gradient
