"""The only module with private or version-dependent names of scikit-learn."""

import functools

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params
from sklearn.utils.validation import _check_sample_weight, validate_data

try:  # scikit-learn 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAS_CALLBACKS = True
except ImportError:
    HAS_CALLBACKS = False

    class CallbackSupportMixin:
        """Nothing: this version of scikit-learn has no callbacks."""

    def with_callbacks(method):
        """The method as it is."""
        return method


__all__ = [
    "FIT_WRAPPERS",
    "HAS_CALLBACKS",
    "CallbackSupportMixin",
    "Interval",
    "Options",
    "StrOptions",
    "check_sample_weight",
    "fit_context",
    "validate_data",
    "validate_params",
]

# frames between a method `fit` and its caller
FIT_WRAPPERS = 2 + HAS_CALLBACKS


def fit_context(*, prefer_skip_nested_validation):
    """Decorate `fit`: validate the parameters, end the callbacks, and leave nothing half-done."""
    validated = _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)
    return lambda fit: _all_or_nothing(with_callbacks(validated(fit)))


def _all_or_nothing(fit):
    """Give the estimator the attributes back that it had, when an error or Ctrl-C ends its fit."""

    @functools.wraps(fit)
    def wrapper(estimator, *args, **kwargs):
        # a fit replaces attributes and changes none in place
        before = vars(estimator).copy()
        try:
            return fit(estimator, *args, **kwargs)
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(before)
            raise

    return wrapper


def check_sample_weight(sample_weight, X):
    """Sample weights as float64, non-negative and not all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
