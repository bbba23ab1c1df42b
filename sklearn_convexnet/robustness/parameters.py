"""The parameters that the public functions share, checked."""

import time
from numbers import Integral, Real

import numpy as np

from ..program.perturbation import Perturbation
from .model import Model

METHODS = ("auto", "exact", "crown", "interval")


def check_input(estimator, X, epsilon, norm, bounds):
    """The model, the rows and the perturbation behind parameters."""
    model, perturbation = Model.of(estimator), Perturbation(epsilon, norm, bounds)
    X = model.check_rows(X)
    perturbation.balls(X[:1])  # that epsilon and bounds fit the features
    return model, X, perturbation


def require_classifier(estimator, function):
    """Raise unless an estimator has classes."""
    if Model.of(estimator).classes is None:
        raise TypeError(f"{function} needs a classifier, got {type(estimator).__name__}.")


def check_choice(name, value, choices):
    """Raise unless a value is one of some words."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def check_number(name, value, *, above):
    """Raise unless a value is a finite number above another."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and above < value < np.inf):
        raise ValueError(f"{name} must be a finite number > {above:g}, got {value!r}.")


def check_count(name, value):
    """Raise unless a value is a positive integer."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")


def deadline_after(start, time_limit):
    """When the time is over, in the units of `time.perf_counter`."""
    if time_limit is None:
        return np.inf
    number = isinstance(time_limit, Real) and not isinstance(time_limit, bool)
    if not (number and 0 <= time_limit < np.inf):
        raise ValueError(f"time_limit must be None or a number >= 0, got {time_limit!r}.")
    return start + time_limit


def check_random_state(random_state):
    """The generator behind a parameter."""
    if isinstance(random_state, np.random.RandomState):
        return random_state
    seed = isinstance(random_state, Integral) and not isinstance(random_state, bool)
    if not (random_state is None or (seed and 0 <= random_state < 2**32)):
        raise ValueError(
            f"random_state must be None, an integer >= 0 or a RandomState, got {random_state!r}."
        )
    return np.random.RandomState(random_state)


def reporter(function, start):
    """What prints lines of progress with the seconds since the start."""

    def report(line):
        print(f"{function}: {time.perf_counter() - start:.1f} s, {line}", flush=True)

    return report
