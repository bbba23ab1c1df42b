r"""Full-batch gradient descent on a two-layer network, in the rows or in the features.

A gradient of the hidden weights is :math:`X^\top G` with one column of G per neuron, so they never
leave :math:`W_t = s_t W_0 + X^\top C_t` (without weight decay :math:`s_t = 1`). With more features
than rows the descent therefore moves C, and sees the network through
:math:`X W_t = s_t X W_0 + K C_t` with :math:`K = X X^\top`: a step costs :math:`n^2 m` instead of
:math:`2 n d m`, and the trajectory is the same.
"""

import numpy as np
from scipy.sparse import issparse

from ..core.rows import by_row, gram, is_wide, largest_singular_value, times, transposed_times

# entries of the hidden weights at a time where they are put together
_BLOCK = 4_000_000


class FeatureForm:
    """Hidden weights as they are.

    Parameters
    ----------
    rows : ndarray or CSR array of shape (n, d)
    start : ndarray of shape (d, m)
        Hidden weights at the start; overwritten.
    others : ndarray or CSR array of shape (n_others, d), default=None
        Rows that are looked at and not learnt from.
    """

    def __init__(self, rows, start, others=None):
        self._rows, self._weights, self._others = rows, start, others

    def activations(self):
        """Pre-activations of the rows, shape (n, m)."""
        return times(self._rows, self._weights)

    def activations_of_others(self):
        """Pre-activations of the other rows, shape (n_others, m)."""
        return times(self._others, self._weights)

    def step(self, decay, slopes):
        r"""Move to :math:`decay \, W - X^\top slopes`."""
        self._weights *= decay
        self._weights -= transposed_times(self._rows, slopes)

    def squared_norm(self):
        """Sum of the squared weights."""
        return float(np.vdot(self._weights, self._weights))

    def largest_curvature(self, weights):
        r"""Largest eigenvalue of :math:`X^\top \Omega X`."""
        return largest_singular_value(by_row(np.multiply, self._rows, np.sqrt(weights))) ** 2

    def collect(self):
        """The weights, shape (d, m)."""
        return self._weights


class RowForm:
    """Hidden weights as a multiple of the first ones plus a combination of the rows.

    Parameters and methods are those of `FeatureForm`, to which it is equal up to rounding.
    """

    def __init__(self, rows, start, others=None):
        if issparse(rows) and not is_wide(rows):
            rows = rows.toarray()
        self._rows, self._start = rows, start
        self._gram = gram(rows, rows)
        self._first = times(rows, start)
        self._first_norm = float(np.vdot(start, start))
        self._scale, self._coefficients = 1.0, np.zeros_like(self._first)
        if others is not None:
            self._first_of_others, self._others_gram = times(others, start), gram(others, rows)

    def activations(self):
        return self._scale * self._first + self._gram @ self._coefficients

    def activations_of_others(self):
        return self._scale * self._first_of_others + self._others_gram @ self._coefficients

    def step(self, decay, slopes):
        self._scale *= decay
        self._coefficients *= decay
        self._coefficients -= slopes

    def squared_norm(self):
        both = 2.0 * self._scale * self._first + self._gram @ self._coefficients
        return float(self._scale**2 * self._first_norm + np.vdot(self._coefficients, both))

    def largest_curvature(self, weights):
        roots = np.sqrt(weights)
        return float(np.linalg.eigvalsh(roots[:, None] * self._gram * roots)[-1])

    def collect(self):
        weights, block = self._start, max(1, _BLOCK // self._start.shape[1])
        weights *= self._scale
        columns = self._rows.T.tocsr() if issparse(self._rows) else self._rows.T
        for first in range(0, len(weights), block):
            part = slice(first, first + block)
            weights[part] += columns[part] @ self._coefficients
        return weights


class GradientDescent:
    r"""Gradient descent on a network with the hidden neurons of every output to itself.

    Minimises :math:`\sum_k \omega_k \ell(f(x_k), y_k) + \alpha \sum_j (\|u_j\|^2 + a_j^2) / 2` over
    the outputs together, in the hidden weights and, where they are trained, in the others.

    Parameters
    ----------
    hidden : FeatureForm or RowForm
        Hidden weights; a column per neuron, one output after the other.
    output_weights : ndarray of shape (n_outputs, n_neurons)
        Output weights of the neurons of every output.
    output_biases : ndarray of shape (n_outputs,)
    y : ndarray of shape (n, n_outputs)
    weights : ndarray of shape (n,)
        Sample weights that sum to one.
    loss : Loss
    alpha : float
        Weight decay, >= 0.
    learning_rate : float or None
        None: one over a bound on the curvature, see `curvature_bound`; needs a smooth loss.
    train_output : bool
        Whether the output weights are trained, too.
    train_bias : bool
        Whether the output biases are.
    """

    def __init__(
        self,
        hidden,
        output_weights,
        output_biases,
        y,
        weights,
        *,
        loss,
        alpha=0.0,
        learning_rate=None,
        train_output=False,
        train_bias=False,
    ):
        self.hidden = hidden
        self.output_weights, self.output_biases = output_weights.copy(), output_biases.copy()
        self.y, self.weights, self.loss, self.alpha = y, weights, loss, alpha
        self.learning_rate, self.train_output = learning_rate, train_output
        self.train_bias = train_bias
        if learning_rate is None:
            self._row_curvature = hidden.largest_curvature(weights)

    def forward(self):
        """Look at the rows: everything below is about the weights at the last call."""
        self._layer = self._by_output(self.hidden.activations())
        self._active = self._layer > 0.0
        np.maximum(self._layer, 0.0, out=self._layer)
        self.outputs = self._sum_up(self._layer)

    def outputs_of_others(self):
        """Outputs of the network on the other rows, shape (n_others, n_outputs)."""
        layer = self._by_output(self.hidden.activations_of_others())
        return self._sum_up(np.maximum(layer, 0.0, out=layer))

    def mean_loss(self):
        """Weighted mean of the losses, summed over the outputs."""
        return float(self.weights @ self.loss.value(self.outputs, self.y).sum(axis=1))

    def objective(self):
        """Mean loss plus weight decay."""
        squares = self.hidden.squared_norm() + np.sum(self.output_weights**2)
        return self.mean_loss() + 0.5 * self.alpha * float(squares)

    def curvature_bound(self, slopes):
        r"""Bound on the curvature of the objective in the present linear piece of the network.

        With :math:`\kappa` the curvature of the loss, :math:`\lambda` the largest eigenvalue of
        :math:`X^\top \Omega X` and h the hidden activations, the Hessian of an output is at most

        .. math:: \kappa \big(\lambda \|a\|^2 + \textstyle\sum_k \omega_k \|h_k\|^2 + 1\big)
            + \big(\lambda \sum_k \omega_k \ell_k'^2\big)^{1/2} + \alpha;

        the second and the fourth term belong to trained output weights, the one to a bias.
        """
        inside = self._row_curvature * np.sum(self.output_weights**2, axis=1) + self.train_bias
        bound = self.alpha
        if self.train_output:
            inside = inside + self.weights @ np.sum(self._layer**2, axis=2)
            # the slopes carry the weights
            squares = np.sum(slopes**2 / self.weights[:, None], axis=0)
            bound = bound + np.sqrt(self._row_curvature * squares)
        return float(np.max(self.loss.curvature * inside + bound))

    def step(self):
        """Take a step from where `forward` has looked."""
        slopes = self.weights[:, None] * self.loss.derivative(self.outputs, self.y)
        rate = self.learning_rate
        if rate is None:
            bound = self.curvature_bound(slopes)
            rate = 1.0 / bound if bound > 0 else 1.0  # zero: there is nothing to learn
        decay = 1.0 - rate * self.alpha
        signals = self._active * ((rate * slopes)[:, :, None] * self.output_weights)
        self.hidden.step(decay, signals.reshape(len(signals), -1))
        if self.train_output:
            gradient = np.einsum("nkm,nk->km", self._layer, slopes)
            self.output_weights *= decay
            self.output_weights -= rate * gradient
        if self.train_bias:
            self.output_biases -= rate * slopes.sum(axis=0)

    def _by_output(self, activations):
        return activations.reshape(len(activations), *self.output_weights.shape)

    def _sum_up(self, layer):
        return np.einsum("nkm,km->nk", layer, self.output_weights) + self.output_biases
