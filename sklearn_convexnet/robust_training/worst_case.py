r"""The worst case of a loss over a ball, as a loss of two numbers.

On the ball of a row a linear function takes the values within its *reach* :math:`\tau` of its
output f. The largest loss is

.. math::

    \ell(f, \tau, y) = \phi\big(y f - \tau\big) \quad \text{(losses of the margin)}, \qquad
    \tfrac12 \big(|f - y| + \tau\big)^2 \quad \text{(squared loss)} ,

with slopes :math:`\pi = (p, e)` in both and the conjugates :math:`\ell^*(p, y)`, where
:math:`e = -y p`, and :math:`e^2 / 2 + p y`, where :math:`|p| \le e`.
"""

from dataclasses import dataclass

import numpy as np

from ..core.losses import Loss


@dataclass(frozen=True)
class WorstCaseLoss:
    """What the programs and their bounds ask about a loss, of its worst case.

    Parameters
    ----------
    loss : Loss
        Of the margin, or the squared loss.
    """

    loss: Loss

    def value(self, outputs, reach, y):
        """Largest loss of outputs that reach so far, an array like each of them."""
        if self.loss.target == "sign":
            return self.loss.value(outputs - y * reach, y)
        return self.loss.value(y + np.abs(outputs - y) + reach, y)

    def conjugate(self, slopes, y):
        """Conjugate at admissible slopes of shape (n, 2)."""
        p, e = slopes.T
        return self.loss.conjugate(p, y) if self.loss.target == "sign" else 0.5 * e**2 + p * y

    def admissible(self, slopes, y, weights=None):
        """Slopes in the domain of the conjugate, see `Loss.admissible`; those in reach follow."""
        given = slopes[:, 0]
        p = self.loss.admissible(given, y, weights)
        share = 0.0
        if self.loss.target == "real":
            share = np.divide(p, given, out=np.ones_like(p), where=given != 0)
        return np.stack([p, np.maximum(share * slopes[:, 1], np.abs(p))], axis=1)
