r"""Certified margins: lines in place of the neurons, and the worst case of their sum.

While a row moves in its ball, the pre-activation of a neuron stays in :math:`[z - h, z + h]`, with
h the reach of the neuron. There the ReLU lies above every line :math:`s\,z` of slope
:math:`s \in [0, 1]`, and below its chord. A neuron that helps the label of the row
(:math:`y_k a_j > 0`) is replaced by its lower line, one that hurts by the chord; a neuron that does
not change sign is a line itself. What is left is an affine function of the perturbation, and its
worst case is closed form:

.. math:: m_k = y_k \hat f(x_k) - \|r_k \circ G_k\|_*, \qquad G_k = \sum_j s_{kj}\, a_j u_j .

So :math:`m_k` is a lower bound of the margin :math:`y_k f(x)` over the whole ball (Wong & Kolter,
arXiv 1711.00851; Zhang et al., arXiv 1811.00866).
"""

import numpy as np

from .perturbation import dual_norms

# slopes of the lower lines: 1/2 + z / (2 share h), clipped to [0, 1]; the best of them counts
_LOWER_SHARES = (1.0, 0.5, 0.2, 0.05, 1e-9)
# rows at a time
_BLOCK = 1024


class Relaxation:
    """The balls around the rows of a problem of classification.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
        Labels -1 and +1.
    perturbation : Perturbation
    fit_intercept : bool
        Whether neurons see a constant column, which nothing moves, after the features.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        Centres of the balls, with the constant column.
    radii : ndarray of shape (1, d) or (n, d)
        One row where all balls are equal.
    """

    def __init__(self, X, y, perturbation, *, fit_intercept):
        centres, radii = perturbation.balls(X)
        if perturbation.bounds is None:
            radii = radii[:1]
        ones = np.ones((len(X), int(fit_intercept)))
        self.rows = np.ascontiguousarray(np.concatenate([centres, ones], axis=1))
        self.radii = np.concatenate([radii, np.zeros((len(radii), int(fit_intercept)))], axis=1)
        self.y, self.perturbation, self.fit_intercept = y, perturbation, fit_intercept
        self._given = X

    @property
    def still(self):
        """Whether nothing moves the rows, nor did bounds."""
        rows = self.rows[:, :-1] if self.fit_intercept else self.rows
        return not self.radii.any() and np.array_equal(rows, self._given)

    def margins(self, network):
        """Certified margins of a network: lower bounds of ``y * network`` over the balls.

        Parameters
        ----------
        network : TwoLayerReLU
            With one output.

        Returns
        -------
        ndarray of shape (n,)
        """
        hidden = network.hidden_weights
        if self.fit_intercept:
            hidden = np.concatenate([hidden, network.hidden_biases[None]])
        return self.margins_of(hidden, network.output_weights[:, 0], network.output_biases[0])

    def margins_of(self, directions, outputs, bias):
        """The same of neurons: hidden weights (d, m), output weights (m,) and output bias."""
        parts = [slice(start, start + _BLOCK) for start in range(0, len(self.rows), _BLOCK)]
        blocks = [self._block_margins(part, directions, outputs, bias) for part in parts]
        return np.concatenate(blocks)

    def _block_margins(self, part, directions, outputs, bias):
        radii = self.radii[part] if len(self.radii) > 1 else self.radii
        z = self.rows[part] @ directions
        h = np.broadcast_to(self.perturbation.reach(radii, directions), z.shape)
        strengths = self.y[part, None] * outputs
        hurts = strengths < 0
        # every neuron for itself at its worst
        ends = strengths * np.maximum(np.where(hurts, z + h, z - h), 0.0)
        best = ends.sum(axis=1)
        above, intercepts = chords(z, h)
        raised = (strengths * np.where(hurts, intercepts, 0.0)).sum(axis=1)
        for share in _LOWER_SHARES:
            slanted = strengths * np.where(hurts, above, line_slopes(z, share * h))
            falls = dual_norms(radii * (slanted @ directions.T), self.perturbation.dual)
            best = np.maximum(best, raised + (slanted * z).sum(axis=1) - falls)
        # z may cancel to less than its rounding, the sum of magnitudes does not
        summed = np.abs(self.rows[part]) @ np.abs(directions)
        sizes = (np.abs(strengths) * (summed + h)).sum(axis=1) + abs(bias)
        return best + self.y[part] * bias - rounding(6 * (sum(directions.shape) + 10)) * sizes


def rounding(n_terms, dtype=np.float64):
    r"""What many roundings one after the other do at most, relative to summed magnitudes.

    With the unit roundoff u, :math:`\gamma_n = n u / (1 - n u)` bounds the error of a sum of n
    terms, or of a product of n factors, in whatever order they are taken (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, §3.1). The bounds of a network with d
    inputs, H neurons and O outputs are sums of sums: pre-activations (d terms), their reaches (d),
    output weights (O), constants (H), lines and their gradients (H each), and dual norms of these
    (d), with less than ten roundings beside each. With those of ``predict``, no more than d + H + 2
    in an output, all these are fewer than 6 (d + H + O + 10).
    """
    error = 0.5 * np.finfo(dtype).eps * n_terms
    return error / (1.0 - error) if error < 1.0 else np.inf


def line_slopes(z, widths):
    """Slopes ``1/2 + z / (2 width)`` within [0, 1]: of the chord where the width is the reach."""
    scaled = np.divide(z, 2.0 * widths, out=np.sign(z), where=np.abs(z) < widths)
    return np.clip(0.5 + scaled, 0.0, 1.0)


def chords(z, reach):
    """Lines ``slope * z + intercept`` above the neurons on ``z ± reach``; tight at both ends."""
    slopes = line_slopes(z, reach)
    return slopes, slopes * np.maximum(reach - z, 0.0)
