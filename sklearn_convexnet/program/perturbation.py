r"""Sets of perturbed inputs, and the worst that they can do to a linear function.

A row x may move to :math:`x + r \circ \eta`, :math:`\|\eta\|_p \le 1`, with radii r per feature
(and per row, where a box of valid values cuts the ball). The worst case of a linear function is
then closed form: :math:`\min_\eta\, (x + r \circ \eta)^\top u = x^\top u - \|r \circ u\|_*`, with
the dual norm.
"""

from __future__ import annotations

from numbers import Real

import numpy as np

from .._typing import ArrayLike, FloatArray, Limits
from ..core.norms import NORMS, Norm


class Perturbation:
    """What may be done to a row.

    Parameters
    ----------
    epsilon : float or array-like of shape (n_features,)
        Radius, >= 0; zero for a feature that cannot be changed.
    norm : {inf, 2, 1}, default=inf
        Norm p of the ball. With radii per feature: of the perturbation in units of them.
    bounds : (low, high), default=None
        Valid values of the features, numbers or arrays of shape (n_features,); only with
        ``norm=inf``. Rows that lie outside count as moved to the nearest valid value.
    """

    epsilon: FloatArray
    norm: float
    ball: Norm
    bounds: tuple[FloatArray, FloatArray] | None

    def __init__(
        self, epsilon: ArrayLike, norm: float = np.inf, bounds: Limits | None = None
    ) -> None:
        self.epsilon = _radii(epsilon)
        if isinstance(norm, bool) or not isinstance(norm, Real) or norm not in NORMS:
            raise ValueError(f"norm must be numpy.inf, 2 or 1, got {norm!r}.")
        self.norm = norm
        self.ball = NORMS[norm]
        self.bounds = None if bounds is None else _interval(bounds)
        if self.bounds is not None and norm != np.inf:
            raise ValueError(f"bounds need norm=numpy.inf, got norm={norm!r}.")

    def balls(
        self, X: FloatArray, scale: float | FloatArray = 1.0
    ) -> tuple[FloatArray, FloatArray]:
        """Centres and radii of the perturbed rows.

        Parameters
        ----------
        X : ndarray of shape (n, d)
        scale : float or ndarray of shape (n,), default=1.0
            Factors of epsilon, one for all rows or one for each.

        Returns
        -------
        centres : ndarray of shape (n, d)
        radii : ndarray of shape (n, d)
        """
        d = X.shape[1]
        if self.epsilon.ndim and self.epsilon.shape != (d,):
            raise ValueError(
                f"epsilon must be a number or have one entry per feature ({d}), got shape "
                f"{self.epsilon.shape}."
            )
        radii = np.broadcast_to(np.asarray(scale)[..., None] * self.epsilon, X.shape)
        if self.bounds is None:
            return X, radii
        low, high = self.bounds
        X = self.nominal(X)
        below, above = np.maximum(X - radii, low), np.minimum(X + radii, high)
        return 0.5 * (below + above), 0.5 * (above - below)

    def nominal(self, X: FloatArray) -> FloatArray:
        """The rows as they are without a perturbation: moved to the nearest valid values.

        Parameters
        ----------
        X : ndarray of shape (n, d)

        Returns
        -------
        ndarray of shape (n, d)
        """
        if self.bounds is None:
            return X
        for bound in self.bounds:
            if bound.ndim and bound.shape != X.shape[1:]:
                raise ValueError(
                    f"bounds must be numbers or have one entry per feature ({X.shape[1]}), got "
                    f"shape {bound.shape}."
                )
        return np.clip(X, *self.bounds)

    def reach(self, radii: FloatArray, directions: FloatArray) -> FloatArray:
        """How far the perturbations move linear functions, see `Norm.reaches`."""
        return self.ball.reaches(radii, directions)


def _real(values):
    """A copy in float64; a TypeError for complex numbers, of which NumPy would take a part."""
    if np.iscomplexobj(values):
        raise TypeError("complex numbers")
    return np.array(values, dtype=np.float64)


def _radii(epsilon):
    try:
        radii = _real(epsilon)
        valid = radii.ndim <= 1 and bool(np.all(np.isfinite(radii) & (radii >= 0)))
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(
            "epsilon must be a finite number >= 0, or an array of them per feature, got "
            f"{epsilon!r}."
        )
    return radii


def _interval(bounds):
    try:
        low, high = (_real(bound) for bound in bounds)
        ordered = bool(np.all(low <= high))
    except (TypeError, ValueError):
        ordered = False
    if not ordered:
        raise ValueError(f"bounds must be a pair (low, high) with low <= high, got {bounds!r}.")
    return low, high
