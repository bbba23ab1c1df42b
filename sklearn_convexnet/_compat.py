"""The only module with private or version-dependent names of scikit-learn."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any, TypeVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.utils import _param_validation
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.metadata_routing import _raise_for_params, _routing_enabled
from sklearn.utils.validation import (
    _check_method_params,
    _check_monotonic_cst,
    _check_sample_weight,
)
from sklearn.utils.validation import validate_data as _validate_data

from ._version import DOCUMENTATION_URL

try:  # scikit-learn 1.9
    from sklearn.callback import CallbackSupportMixin, with_callbacks

    HAS_CALLBACKS = True
except ImportError:
    HAS_CALLBACKS = False

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this version of scikit-learn has no callbacks."""

    def with_callbacks(method):
        """The method as it is."""
        return method


__all__ = [
    "FIT_WRAPPERS",
    "HAS_CALLBACKS",
    "CallbackSupportMixin",
    "DocumentationLinkMixin",
    "Interval",
    "Options",
    "StrOptions",
    "accepts_sample_weight",
    "available_if",
    "check_method_params",
    "check_monotonic_cst",
    "check_sample_weight",
    "fit_context",
    "is_scorer",
    "raise_for_params",
    "routing_enabled",
    "scorer_of_classes",
    "validate_data",
    "validate_params",
]

# scikit-learn has no types: these decorators keep those of what they decorate
_F = TypeVar("_F", bound=Callable[..., Any])
validate_params: Callable[..., Callable[[_F], _F]] = _param_validation.validate_params
check_method_params = _check_method_params
raise_for_params = _raise_for_params
routing_enabled = _routing_enabled


class DocumentationLinkMixin:
    """What an estimator needs before `BaseEstimator` for links and tooltips in its HTML form."""

    _doc_link_module = __name__.split(".")[0]
    # the pages that autosummary makes for the API reference
    _doc_link_template = f"{DOCUMENTATION_URL}/generated/{_doc_link_module}.{{estimator_name}}.html"


def available_if(check: Callable[[Any], Any]) -> Callable[[_F], _F]:
    """Hide a method of instances for which `check` raises an error, which is the AttributeError.

    That of scikit-learn replaces this error by one that does not say what to do.
    """
    return lambda method: _Available(method, check)  # type: ignore[return-value]


class _Available:
    def __init__(self, method, check):
        functools.update_wrapper(self, method)
        self.check = check

    def __get__(self, instance, owner=None):
        if instance is None:
            return self.__wrapped__
        try:
            self.check(instance)
        except ValueError as error:
            # a parameter that `fit` will refuse
            raise AttributeError(str(error)) from error
        return MethodType(self.__wrapped__, instance)


# frames between a method `fit` and its caller
FIT_WRAPPERS = 2 + HAS_CALLBACKS


def fit_context(*, prefer_skip_nested_validation: bool) -> Callable[[_F], _F]:
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


def validate_data(estimator, X, *args, **options):
    """That of scikit-learn, with the names of the columns of a Dask dataframe, which it loads."""
    if hasattr(X, "__dask_graph__"):
        X = X.compute()
    return _validate_data(estimator, X, *args, **options)


def check_sample_weight(sample_weight, X):
    """Sample weights as float64, non-negative and not all zero."""
    weights = _check_sample_weight(sample_weight, X, dtype="float64", ensure_non_negative=True)
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


def check_monotonic_cst(estimator, monotonic_cst):
    """The constraint of every feature, -1, 0 or 1, of an array or of a dict by name."""
    if not isinstance(monotonic_cst, dict) and np.ndim(monotonic_cst) != 1:
        raise ValueError(
            f"monotonic_cst must be a dict or of shape (n_features,), got {monotonic_cst!r}."
        )
    return _check_monotonic_cst(estimator, monotonic_cst).astype(int)


def is_scorer(scoring):
    """Whether a callable is a scorer of scikit-learn, such as `make_scorer` returns."""
    return hasattr(scoring, "_score_func")


def accepts_sample_weight(scorer):
    """Whether a scorer of scikit-learn, or another callable, takes weights."""
    parameters = _scorer_parameters(scorer)
    return "sample_weight" in parameters or any(
        parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
    )


def scorer_of_classes(scorer, classes):
    """A scorer that knows all classes where its function asks for them, as `labels`.

    The positive one of two, `pos_label`, is the second, as in `LogisticRegressionCV`. What the
    scorer was made with stays, and so does a default that names a class of its own.
    """
    parameters, given = _scorer_parameters(scorer), scorer._kwargs
    known, average = {}, given.get("average", "binary")
    if "labels" in parameters:
        known["labels"] = classes
    # 1 and None say no more than that nobody was asked
    if "pos_label" in parameters and parameters["pos_label"].default in (None, 1):
        binary = "average" in parameters and parameters["average"].default == "binary"
        if binary and average != "binary":
            # now of all classes, none of them the positive one
            known["pos_label"] = None
        elif len(classes) == 2:
            known["pos_label"] = classes[1]
    scorer = copy.copy(scorer)
    scorer._kwargs = {**known, **given}
    return scorer


def _scorer_parameters(scorer):
    return inspect.signature(getattr(scorer, "_score_func", scorer)).parameters
