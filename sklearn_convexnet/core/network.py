"""The two-layer ReLU network: what the user gets, and the objective it is judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from .._typing import FloatArray, HasValue
from .rows import blocks


@dataclass(frozen=True, eq=False)
class TwoLayerReLU:
    r"""One-hidden-layer ReLU network :math:`f(x) = (x U + b)_+ A + c`.

    Parameters
    ----------
    hidden_weights : ndarray of shape (n_features, n_neurons)
        Columns are the weights :math:`u_j`.
    hidden_biases : ndarray of shape (n_neurons,)
        Biases :math:`b_j` (zeros when the network was fitted without an intercept).
    output_weights : ndarray of shape (n_neurons, n_outputs)
        Rows are the output weights :math:`a_j`.
    output_biases : ndarray of shape (n_outputs,)
        Output bias :math:`c`; it is never penalised.
    """

    hidden_weights: FloatArray
    hidden_biases: FloatArray
    output_weights: FloatArray
    output_biases: FloatArray

    @classmethod
    def from_blocks(
        cls, v: FloatArray, w: FloatArray, bias: float, *, has_bias_column: bool
    ) -> Self:
        r"""Network of a solution of the convex program.

        A positive block :math:`v_i` becomes the neuron
        :math:`(u, a) = (v_i / \sqrt{\|v_i\|}, +\sqrt{\|v_i\|})`, a negative one
        :math:`(w_i / \sqrt{\|w_i\|}, -\sqrt{\|w_i\|})`; zero blocks are dropped
        (Bai, Gautam & Sojoudi, arXiv 2201.01965; Pilanci & Ergen, arXiv 2002.10553).

        Parameters
        ----------
        v, w : ndarray of shape (d, n_patterns)
            Solution of the convex program; the last row belongs to the constant column
            when `has_bias_column` is true.
        bias : float
            Output bias.
        has_bias_column : bool
            Whether the last coordinate of the blocks is a hidden bias.

        Returns
        -------
        TwoLayerReLU
            Network with one output.
        """
        blocks = np.concatenate([v, w], axis=1)
        signs = np.repeat([1.0, -1.0], [v.shape[1], w.shape[1]])
        norms = column_norms(blocks)
        kept = norms > 0
        roots = np.sqrt(norms[kept])
        hidden = blocks[:, kept] / roots
        if has_bias_column:
            weights, biases = hidden[:-1], hidden[-1]
        else:
            weights, biases = hidden, np.zeros(hidden.shape[1])
        return cls(
            np.ascontiguousarray(weights),
            np.ascontiguousarray(biases),
            (signs[kept] * roots)[:, None],
            np.array([float(bias)]),
        )

    @classmethod
    def stack(cls, networks: Sequence[TwoLayerReLU]) -> TwoLayerReLU:
        """Join one-output networks into one, an output each; a lone one is left as it is."""
        if len(networks) == 1:
            return networks[0]
        counts = [network.n_neurons for network in networks]
        output_weights = np.zeros((sum(counts), len(networks)))
        start = 0
        for k, (network, count) in enumerate(zip(networks, counts, strict=True)):
            output_weights[start : start + count, k] = network.output_weights[:, 0]
            start += count
        return cls(
            np.concatenate([network.hidden_weights for network in networks], axis=1),
            np.concatenate([network.hidden_biases for network in networks]),
            output_weights,
            np.concatenate([network.output_biases for network in networks]),
        )

    def split(self) -> list[TwoLayerReLU]:
        """One-output networks of the outputs, each with the neurons that it uses.

        Together they pay for a neuron as often as outputs share it.
        """
        parts = []
        for k in range(self.output_weights.shape[1]):
            used = self.output_weights[:, k] != 0
            parts.append(
                TwoLayerReLU(
                    self.hidden_weights[:, used],
                    self.hidden_biases[used],
                    self.output_weights[used, k : k + 1],
                    self.output_biases[k : k + 1],
                )
            )
        return parts

    def directions(self, with_biases: bool) -> FloatArray:
        """Hidden weights, with the biases as last row if asked for."""
        if not with_biases:
            return self.hidden_weights
        return np.concatenate([self.hidden_weights, self.hidden_biases[None]])

    def rescaled(self, factors: FloatArray) -> TwoLayerReLU:
        """The network of features f that sees ``factors[f]`` times each of them."""
        return replace(self, hidden_weights=self.hidden_weights * factors[:, None])

    @property
    def n_neurons(self) -> int:
        """Number of hidden neurons."""
        return self.hidden_weights.shape[1]

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return len(self.output_biases)

    def hidden_layer(self, X: FloatArray) -> FloatArray:
        """Hidden activations, shape (n_samples, n_neurons)."""
        activations = X @ self.hidden_weights
        activations += self.hidden_biases
        return np.maximum(activations, 0.0, out=activations)

    def __call__(self, X: FloatArray) -> FloatArray:
        """Outputs of the network, shape (n_samples, n_outputs)."""
        parts = [self.hidden_layer(block) @ self.output_weights for _, block in blocks(X)]
        return np.concatenate(parts) + self.output_biases

    def mean_squared_slopes(self, X: FloatArray, weights: FloatArray) -> FloatArray:
        r"""Means of :math:`\sum_c (\partial f_c / \partial x_f)^2` over rows.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        weights : ndarray of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        ndarray of shape (n_features,)
        """
        # how often neurons are active together
        together = np.zeros((self.n_neurons, self.n_neurons))
        for part, block in blocks(X):
            active = (self.hidden_layer(block) > 0).astype(np.float64)
            together += (weights[part] * active.T) @ active
        together *= self.output_weights @ self.output_weights.T
        slopes = np.sum(self.hidden_weights * (self.hidden_weights @ together), axis=1)
        return np.maximum(slopes, 0.0)

    def penalty(self) -> float:
        r"""Weight decay :math:`\frac12 \sum_j (\|(u_j, b_j)\|^2 + \|a_j\|^2)`."""
        return 0.5 * float(
            np.sum(self.hidden_weights**2)
            + np.sum(self.hidden_biases**2)
            + np.sum(self.output_weights**2)
        )

    def objective(
        self,
        X: FloatArray,
        y: FloatArray,
        *,
        loss: HasValue,
        alpha: float | FloatArray,
        weights: FloatArray,
    ) -> float:
        r"""Training objective :math:`\sum_k \omega_k \sum_c \ell(f_c(x_k), y_{kc}) + \alpha R`.

        With a penalty :math:`\alpha_c` for every output, the weight decay is
        :math:`\frac12 \sum_j (\bar\alpha_j \|(u_j, b_j)\|^2 + \sum_c \alpha_c a_{jc}^2)`.
        The penalty :math:`\bar\alpha_j` of a neuron is that of its output or, where outputs share
        it, their mean with weights :math:`\alpha_c a_{jc}^2`: rescaled to the least decay it costs
        :math:`\|(u_j, b_j)\| \, \|(\alpha_c a_{jc})_c\|_2`.

        Parameters
        ----------
        X : ndarray of shape (n_samples, n_features)
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        loss : Loss or VectorLoss
        alpha : float or ndarray of shape (n_outputs,)
        weights : ndarray of shape (n_samples,)
            Sample weights that sum to one.

        Returns
        -------
        float
            The value summed over the outputs, with :math:`R` of `penalty`.
        """
        outputs = self(X)
        losses = loss.value(outputs, y.reshape(outputs.shape))
        # of a vector loss all outputs of a row are one already
        losses = losses.reshape(len(losses), -1).sum(axis=1)
        return float(weights @ losses + self._decay(alpha))

    def _decay(self, alpha):
        if np.ptp(alpha) == 0:
            return np.max(alpha) * self.penalty()
        shares = alpha * self.output_weights**2
        used = shares.sum(axis=1)
        # a neuron that no output uses: none is to pay more for it than another
        means = np.where(used > 0, shares @ alpha, np.mean(alpha)) / np.where(used > 0, used, 1.0)
        squares = np.sum(self.hidden_weights**2, axis=0) + self.hidden_biases**2
        return 0.5 * (means @ squares + used.sum())


def column_norms(blocks):
    """Euclidean norms of the columns, safe against under- and overflow of the squares."""
    scale = np.abs(blocks).max(initial=0.0)
    if scale == 0.0:
        return np.zeros(blocks.shape[1])
    return scale * np.sqrt(np.sum((blocks / scale) ** 2, axis=0))
