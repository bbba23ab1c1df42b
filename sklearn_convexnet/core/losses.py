"""Convex losses: values, derivatives, proximal operators and conjugates.

Every method is elementwise, vectorised and broadcasting, works in float64 and leaves its
arguments alone.  Predictions up to 1e150 in absolute value neither overflow nor warn.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit, xlog1py, xlogy

from .._typing import ArrayLike, FloatArray
from .parallel import Reductions

# margins beyond which every loss of classification is zero to double precision
_LARGEST_MARGIN = 80.0


def _check_between_0_and(upper, name, value):
    """Return ``value`` as a float if it is a real number in (0, upper), else raise."""
    if isinstance(value, Real) and not isinstance(value, bool) and 0 < value < upper:
        return float(value)
    expected = "a finite number > 0" if upper == np.inf else f"a number in the open (0, {upper})"
    raise ValueError(f"{name} must be {expected}; got {value!r}.")


def balance(slopes, weights):
    """Shrink slopes of one sign until their weighted sum is zero: they stay in the domain."""
    return _shrunk(slopes, *_signed_sums(slopes, weights))


def _signed_sums(slopes, weights):
    """Weighted sums of the positive slopes and, without the sign, of the negative ones."""
    terms = weights * slopes
    return terms[terms > 0].sum(), -terms[terms < 0].sum()


def _shrunk(slopes, up, down):
    """Slopes of these sums, those of one sign shrunk to the other sum."""
    if up == 0.0 or down == 0.0:
        return np.zeros_like(slopes)
    target = min(up, down)
    return slopes * np.where(slopes > 0, target / up, target / down)


class SignedSlopes:
    """Slopes of some rows, which are balanced with those of all others.

    Parameters
    ----------
    values : ndarray of shape (n,) or (n, n_outputs)
        In the domain of the conjugate.
    weights : ndarray of shape (n,)
    """

    def __init__(self, values, weights):
        self.values, self.weights = values, weights

    def signed_sums(self):
        """For every output the sums of the positive and of the negative slopes."""
        return np.array([_signed_sums(column, self.weights) for column in self._columns])

    def shrink(self, sums):
        """Balance the slopes, where all rows have these sums."""
        pairs = zip(self._columns, sums, strict=True)
        columns = [_shrunk(column, *both) for column, both in pairs]
        self.values = np.stack(columns, axis=1).reshape(self.values.shape)

    @property
    def _columns(self):
        return np.atleast_2d(self.values.T)


class Loss(ABC):
    r"""Convex loss of a prediction ``f`` against a target ``y``, never negative.

    A loss is a closed convex function :math:`\psi \ge 0` of one variable, the *profile*, applied to
    a residual or to a margin:

    .. math::

        \ell(f, y) = \psi(f - y) \quad (\text{target "real"}), \qquad
        \ell(f, y) = \psi(y f - a) \quad (\text{target "sign"}, \; y \in \{-1, +1\}).

    Both read :math:`\psi(m f - b)` with :math:`m^2 = 1`, so this class turns the profile into
    the loss once and for all; a subclass only describes its profile.

    Attributes
    ----------
    name : str
        Key in the registry.
    target : {"real", "sign"}
        What ``y`` holds: real numbers, or labels -1 and +1 (not checked here).
    curvature : float
        Supremum of the second derivative in ``f``; ``np.inf`` when the loss has a kink.
    degree : float
        Exponent in the identity of :meth:`scaled`; 0 for a loss that cannot be rescaled.

    Notes
    -----
    To add a loss, write one subclass in this file (a frozen dataclass, for equality, hashing,
    pickling and repr, whose fields are its parameters) and add it to ``REGRESSION_LOSSES`` or
    ``CLASSIFICATION_LOSSES``:

    * set the attributes above, and ``_slopes``, the closure :math:`[lo, hi]` of the range of
      :math:`\psi'`, which is the domain of the conjugate;
    * a "sign" loss whose profile is centred elsewhere than at margin 1 sets ``_anchor``, the
      :math:`a` above;
    * implement the underscore methods, each a function of one variable; when the conjugate of
      the profile is :math:`0` or :math:`p^2 / 2` on an interval that contains 0, inherit from
      ``_LinearQuadratic``, which has them all;
    * override :meth:`scaled` when rescaling changes a parameter.

    A loss that is no function of a residual or margin overrides the public methods instead.
    """

    name: ClassVar[str]
    target: ClassVar[str]
    curvature: ClassVar[float]
    degree: ClassVar[float] = 0.0

    _slopes = (-np.inf, np.inf)
    _anchor = 1.0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the loss by their names, as those of an estimator of scikit-learn.

        Parameters
        ----------
        deep : bool, default=True
            Without effect: no parameter has parameters.

        Returns
        -------
        dict
        """
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **params: Any) -> Self:
        """Set parameters in place; an estimator calls it to set ``loss__delta``, for example.

        What was fitted or built with this loss before has a copy of its own, and stays.

        Parameters
        ----------
        **params : dict
            Parameters of the constructor; all stay as they are when one is not valid.

        Returns
        -------
        Loss
            This loss.
        """
        known = self.get_params()
        if unknown := sorted(params.keys() - known):
            raise ValueError(
                f"Invalid parameter {unknown[0]!r} for loss {self!r}. "
                f"Valid parameters are: {list(known)!r}."
            )
        vars(self).update(vars(type(self)(**known | params)))
        return self

    def value(self, f: ArrayLike, y: ArrayLike) -> FloatArray:
        """Loss of predictions ``f`` against targets ``y``.

        Parameters
        ----------
        f, y : array-like of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        m, b = self._frame(y)
        return self._value(m * np.asarray(f, dtype=float) - b)

    def derivative(self, f: ArrayLike, y: ArrayLike) -> FloatArray:
        """Derivative in ``f``, with the shapes of :meth:`value`; at a kink, the subgradient 0."""
        m, b = self._frame(y)
        return m * self._derivative(m * np.asarray(f, dtype=float) - b)

    def value_and_derivative(self, f: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """:meth:`value` and :meth:`derivative`."""
        return self.value(f, y), self.derivative(f, y)

    def prox(self, f: ArrayLike, y: ArrayLike, step: ArrayLike) -> FloatArray:
        r"""Proximal operator :math:`\arg\min_z \ell(z, y) + (z - f)^2 / (2\,step)`.

        Parameters
        ----------
        f, y : array-like of shape (n_samples,)
        step : float or array-like of shape (n_samples,)
            Step sizes, > 0.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        m, b = self._frame(y)
        return m * self._prox(m * np.asarray(f, dtype=float), b, np.asarray(step, dtype=float))

    def conjugate(self, p: ArrayLike, y: ArrayLike) -> FloatArray:
        r"""Conjugate :math:`\ell^*(p, y) = \sup_f \, p f - \ell(f, y)`.

        Parameters
        ----------
        p, y : array-like of shape (n_samples,)

        Returns
        -------
        ndarray of shape (n_samples,)
            ``np.inf`` where ``p`` is outside :meth:`conjugate_domain`, by however little.
        """
        m, b = self._frame(y)
        p = m * np.asarray(p, dtype=float)
        inside = np.clip(p, *self._slopes)
        # Written so that a NaN stays one.
        return np.where((p < inside) | (p > inside), np.inf, self._conjugate(inside) + b * inside)

    def conjugate_domain(self, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Ends ``(lo, hi)`` of the closed interval where the conjugate is finite.

        Parameters
        ----------
        y : array-like of shape (n_samples,)

        Returns
        -------
        lo, hi : ndarrays of shape (n_samples,)
            Possibly infinite.
        """
        m, _ = self._frame(y)
        lo, hi = self._slopes
        return np.where(m > 0, lo, -hi), np.where(m > 0, hi, -lo)

    def conjugate_derivative(self, p: ArrayLike, y: ArrayLike) -> FloatArray:
        """Derivative of the conjugate in ``p``, for ``p`` in the interior of its domain.

        It inverts :meth:`derivative`: the result is a prediction with (sub)derivative ``p``.
        """
        m, b = self._frame(y)
        return m * (self._conjugate_derivative(m * np.asarray(p, dtype=float)) + b)

    def conjugate_curvature(self, p: ArrayLike, y: ArrayLike) -> FloatArray:
        """Second derivative of the conjugate in ``p``, for ``p`` in the interior."""
        m, _ = self._frame(y)
        return self._conjugate_curvature(m * np.asarray(p, dtype=float))

    def admissible(
        self, p: FloatArray, y: FloatArray, weights: FloatArray | None = None
    ) -> FloatArray:
        """The nearest slopes in the domain of the conjugate.

        Parameters
        ----------
        p, y : ndarray of shape (n_samples,)
        weights : ndarray of shape (n_samples,), default=None
            With weights the slopes are shrunk until their weighted sum is zero as well, as the dual
            of a free output bias asks for.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        p = np.clip(p, *self.conjugate_domain(y))
        return p if weights is None else balance(p, weights)

    def slopes(self, p: FloatArray, y: FloatArray, weights: FloatArray) -> SignedSlopes:
        """Slopes of some of the rows in the domain; `balance_parts` makes the sum of all zero."""
        return SignedSlopes(self.admissible(p, y), weights)

    def balance_parts(self, parts: Reductions) -> None:
        """What `admissible` does with weights, for rows that are in parts."""
        parts.tell("shrink", parts.total("signed_sums"))

    def constant(self, y: FloatArray, weights: FloatArray) -> tuple[float, FloatArray]:
        """The best constant prediction.

        Parameters
        ----------
        y, weights : ndarray of shape (n_samples,)

        Returns
        -------
        constant : float
        slopes : ndarray of shape (n_samples,)
            Subgradients of the loss there; their weighted sum is zero at an interior minimum. Where
            the loss has kinks they are chosen between the slopes on both sides.
        """
        if self.target == "real":
            low, high = float(y.min()), float(y.max())
        else:
            low, high = -_LARGEST_MARGIN, _LARGEST_MARGIN
        for _ in range(200):
            middle = 0.5 * (low + high)
            if not low < middle < high:
                break
            if weights @ self.derivative(np.full_like(y, middle), y) > 0:
                high = middle
            else:
                low = middle
        left = self.derivative(np.full_like(y, low), y)
        right = self.derivative(np.full_like(y, high), y)
        down, up = float(weights @ left), float(weights @ right)
        share = np.clip(-down / (up - down), 0.0, 1.0) if up > down else 0.5
        values = [weights @ self.value(np.full_like(y, end), y) for end in (low, high)]
        return (low, high)[int(np.argmin(values))], (1.0 - share) * left + share * right

    def scaled(self, scale: float) -> Loss:
        r"""Loss that :math:`\ell` becomes when predictions and targets change units.

        With :math:`s` the scale, :math:`\ell(s f, s y) = s^{degree} \, \ell_s(f, y)` where
        :math:`\ell_s` is the loss returned.

        Parameters
        ----------
        scale : float
            Finite and > 0.  Labels have no units: a "sign" loss accepts 1 only.

        Returns
        -------
        Loss
        """
        scale = _check_between_0_and(np.inf, "scale", scale)
        if self.degree == 0 and scale != 1:
            raise ValueError(f"scale must be 1 for the loss {self.name!r}; got {scale!r}.")
        return self

    def _frame(self, y):
        """Arrays ``m, b`` shaped like ``y`` such that loss(f, y) = psi(m f - b)."""
        y = np.asarray(y, dtype=float)
        if self.target == "sign":
            return y, np.full_like(y, self._anchor)
        return np.ones_like(y), y

    @abstractmethod
    def _value(self, t):
        """psi(t)."""

    @abstractmethod
    def _derivative(self, t):
        """psi'(t), or 0 at a kink."""

    @abstractmethod
    def _prox(self, v, b, step):
        """argmin_z psi(z - b) + (z - v)^2 / (2 step).

        It takes ``v`` and ``b`` rather than ``v - b``, which would lose digits of the result.
        """

    @abstractmethod
    def _conjugate(self, p):
        """psi*(p) for p in the closed domain."""

    @abstractmethod
    def _conjugate_derivative(self, p):
        """psi*'(p) for p in the open domain."""

    @abstractmethod
    def _conjugate_curvature(self, p):
        """psi*''(p) for p in the open domain."""


class _LinearQuadratic(Loss):
    r"""Profiles :math:`\psi(t) = \max_{lo \le p \le hi} \, p t - c p^2 / 2`, lo <= 0 <= hi.

    With :math:`c = 1` (finite curvature) the slope is :math:`t` clipped to [lo, hi]; with
    :math:`c = 0` it is ``lo`` left of a kink at 0 and ``hi`` right of it.
    """

    @property
    def _c(self):
        return 1.0 if np.isfinite(self.curvature) else 0.0

    def _value(self, t):
        p = self._derivative(t)
        return p * (t - 0.5 * self._c * p)

    def _derivative(self, t):
        lo, hi = self._slopes
        if self._c:
            return np.clip(t, lo, hi)
        return np.where(t > 0, hi, np.where(t < 0, lo, 0.0))

    def _prox(self, v, b, step):
        # z = v - step * p with p a slope at z.  Unless p is at an end of [lo, hi], z solves
        # z = v - step * (z - b), a weighted mean, or is the kink.
        lo, hi = self._slopes
        z = (v + step * b) / (1.0 + step) if self._c else b
        return np.clip(z, v - step * hi, v - step * lo)

    def _conjugate(self, p):
        return 0.5 * self._c * p * p

    def _conjugate_derivative(self, p):
        return self._c * p

    def _conjugate_curvature(self, p):
        return np.full_like(p, self._c)


@dataclass(frozen=True)
class SquaredError(_LinearQuadratic):
    r"""Half the squared error, :math:`(f - y)^2 / 2`; conjugate :math:`p^2 / 2 + p y`."""

    name = "squared_error"
    target = "real"
    curvature = 1.0
    degree = 2.0


@dataclass(frozen=True)
class AbsoluteError(_LinearQuadratic):
    r"""Absolute error, :math:`|f - y|`; conjugate :math:`p y` on :math:`[-1, 1]`.

    A minimiser predicts medians. It is twice the pinball loss of the quantile 1/2.
    """

    name = "absolute_error"
    target = "real"
    curvature = np.inf
    degree = 1.0
    _slopes = (-1.0, 1.0)


@dataclass(frozen=True)
class Huber(_LinearQuadratic):
    r"""Huber loss, quadratic for small residuals and linear for large ones.

    With :math:`r = f - y`, it is :math:`r^2 / 2` if :math:`|r| \le \delta`, else
    :math:`\delta |r| - \delta^2 / 2`.
    The conjugate is :math:`p^2 / 2 + p y` on :math:`[-\delta, \delta]`.

    Parameters
    ----------
    delta : float, default=1.35
        Residual at which the loss turns from quadratic to linear; finite and > 0.
    """

    # not of the hash, which must not change with `set_params`
    delta: float = field(default=1.35, hash=False)

    name = "huber"
    target = "real"
    curvature = 1.0
    degree = 2.0

    def __post_init__(self):
        object.__setattr__(self, "delta", _check_between_0_and(np.inf, "delta", self.delta))

    @property
    def _slopes(self):
        return -self.delta, self.delta

    def scaled(self, scale: float) -> Huber:
        super().scaled(scale)
        return replace(self, delta=self.delta / scale)


@dataclass(frozen=True)
class Quantile(_LinearQuadratic):
    r"""Pinball loss, :math:`q \max(r, 0) + (1 - q) \max(-r, 0)` with :math:`r = y - f`.

    The conjugate is :math:`p y` on :math:`[-q, 1 - q]`.

    Parameters
    ----------
    quantile : float, default=0.5
        The :math:`q` above, in the open (0, 1): the quantile that a minimiser predicts. At 1/2 the
        loss is half the absolute error.
    """

    quantile: float = field(default=0.5, hash=False)

    name = "quantile"
    target = "real"
    curvature = np.inf
    degree = 1.0

    def __post_init__(self):
        object.__setattr__(self, "quantile", _check_between_0_and(1, "quantile", self.quantile))

    @property
    def _slopes(self):
        return -self.quantile, 1.0 - self.quantile


@dataclass(frozen=True)
class LogLoss(Loss):
    r"""Logistic loss, :math:`\log(1 + e^{-y f})`: minus the log-likelihood of the label.

    The probability of the label 1 is :math:`1 / (1 + e^{-f})`.
    The conjugate is :math:`q \log q + (1 - q) \log(1 - q)` with :math:`q = -p y \in [0, 1]`.
    """

    name = "log_loss"
    target = "sign"
    curvature = 0.25
    _slopes = (-1.0, 0.0)
    _anchor = 0.0

    def _value(self, t):
        return np.logaddexp(0.0, -t)

    def _derivative(self, t):
        return -expit(-t)

    def _prox(self, v, b, step):
        # Solve z = v + step * expit(-z).  The substitution z -> -z turns the equation into
        # itself with -(v + step) for v, so that w = |z| solves w = a + step * expit(-w) below;
        # its terms are never much larger than the digits of w they leave behind.
        v, step = np.broadcast_arrays(v - b, step)
        negative = v + 0.5 * step < 0
        a = np.where(negative, -(v + step), v)
        # Start from a lower bound.  As exp(-w) / 2 <= expit(-w) <= exp(-w), d = w - a satisfies
        # d exp(d) <= step exp(-a), hence d <= log(1 + step exp(-a)), and w >= log(step / 2d).
        log_step = np.log(step)
        d = np.maximum(np.logaddexp(0.0, log_step - a), np.finfo(float).tiny)
        w = np.maximum(np.maximum(0.0, a), log_step - np.log(2.0 * d))
        # w - a - step * expit(-w) is increasing and concave for w >= 0: from a lower bound,
        # Newton's iterates increase to the root, so that they need no bracket.  Six are
        # enough for steps from 1e-300 to 1e300; the cap only stops a NaN.  Convergence is
        # quadratic, so that the error left after a change of 1e-9 is below rounding.
        tolerance = 1e-9 * np.minimum(1.0, w + step)
        for _ in range(20):
            q = expit(-w)
            change = (a - w + step * q) / (1.0 + step * q * (1.0 - q))
            w = w + change
            if np.all(np.abs(change) <= tolerance):
                break
        return np.where(negative, -w, w) + b

    def _conjugate(self, p):
        return xlogy(-p, -p) + xlog1py(1.0 + p, p)

    def _conjugate_derivative(self, p):
        return np.log1p(p) - np.log(-p)

    def _conjugate_curvature(self, p):
        return -1.0 / (p * (1.0 + p))


@dataclass(frozen=True)
class Hinge(_LinearQuadratic):
    r"""Hinge loss, :math:`\max(0, 1 - y f)`; conjugate :math:`p y` on :math:`-1 \le p y \le 0`."""

    name = "hinge"
    target = "sign"
    curvature = np.inf
    _slopes = (-1.0, 0.0)


@dataclass(frozen=True)
class SquaredHinge(_LinearQuadratic):
    r"""Half the squared hinge loss, :math:`\max(0, 1 - y f)^2 / 2`.

    The linear models of scikit-learn have no half here.
    The conjugate is :math:`q^2 / 2 - q` with :math:`q = -p y \ge 0`.
    """

    name = "squared_hinge"
    target = "sign"
    curvature = 1.0
    _slopes = (-np.inf, 0.0)


REGRESSION_LOSSES = {cls.name: cls for cls in (SquaredError, AbsoluteError, Huber, Quantile)}
CLASSIFICATION_LOSSES = {cls.name: cls for cls in (LogLoss, Hinge, SquaredHinge)}


def get_loss(loss, **params):
    """Return the loss of a given name, or a copy of a :class:`Loss`.

    Parameters
    ----------
    loss : str or Loss
        Name in ``REGRESSION_LOSSES`` or ``CLASSIFICATION_LOSSES``, or an instance.
    **params
        Parameters of the constructor, with a name only.

    Returns
    -------
    Loss
    """
    if isinstance(loss, Loss):
        if params:
            raise ValueError(
                f"parameters must come with the name of a loss; got {loss!r}, {params}."
            )
        return copy(loss)
    known = REGRESSION_LOSSES | CLASSIFICATION_LOSSES
    if not isinstance(loss, str) or loss not in known:
        raise ValueError(f"loss must be one of {sorted(known)} or a Loss instance; got {loss!r}.")
    return known[loss](**params)
