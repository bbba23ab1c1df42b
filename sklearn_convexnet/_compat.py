"""The only module with private or version-dependent names of scikit-learn."""

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
FIT_WRAPPERS = 1 + HAS_CALLBACKS


def fit_context(*, prefer_skip_nested_validation):
    """Decorate `fit`: validate the parameters, and end the callbacks whatever happens."""
    validated = _fit_context(prefer_skip_nested_validation=prefer_skip_nested_validation)
    return lambda fit: with_callbacks(validated(fit))


def check_sample_weight(sample_weight, X):
    """Sample weights as float64, non-negative and not all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
