"""Points of a problem, and the units in which rows and targets are of size one."""

from dataclasses import dataclass
from typing import Any

from .._typing import FloatArray


@dataclass(frozen=True)
class Solution:
    """Primal-dual point of a program over patterns: what another solve can start from.

    Attributes
    ----------
    v, w : ndarray of shape (d, n_patterns) or None
        Feasible point of the program; None where several outputs share the neurons.
    bias : float or ndarray of shape (n_outputs,)
        Output biases.
    slopes : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Dual variables, subgradients of the loss at the predictions; the multipliers of
        the predictions are ``-weights * slopes``.
    paused : object, default=None
        What a solver that ran out of iterations goes on from.
    """

    v: FloatArray | None
    w: FloatArray | None
    bias: float | FloatArray
    slopes: FloatArray
    paused: Any = None


@dataclass(frozen=True)
class Units:
    """What numbers of a normalised problem are multiplied by to be those of the user.

    Attributes
    ----------
    row, target, objective : float
        Of rows; of targets, predictions and output biases; of objectives.
    """

    row: float
    target: float
    objective: float

    @classmethod
    def of(cls, loss, row_size, target_size):
        """Units in which rows, and the targets where the loss can be rescaled, are of size one."""
        degree = loss.degree
        # degree 0: a loss that cannot be rescaled; where losses would underflow, targets are zero
        if loss.target != "real" or degree == 0 or target_size**degree < 1e-300:
            target_size = 1.0
        return cls(row_size, target_size, target_size**degree)

    @property
    def block(self):
        """Of the blocks of a point."""
        return self.target / self.row

    @property
    def slope(self):
        """Of the slopes of the loss."""
        return self.objective / self.target

    def normalised(self, loss, alpha):
        """Loss and penalty of the user in these units."""
        return loss.scaled(self.target), alpha * self.target ** (1.0 - loss.degree) / self.row
