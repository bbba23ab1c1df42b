"""The only module with private or version-dependent names of scikit-learn."""

from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval, Options, StrOptions, validate_params
from sklearn.utils.validation import _check_sample_weight, validate_data

__all__ = [
    "Interval",
    "Options",
    "StrOptions",
    "check_sample_weight",
    "fit_context",
    "validate_data",
    "validate_params",
]

fit_context = _fit_context


def check_sample_weight(sample_weight, X):
    """Sample weights as float64, non-negative and not all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights
