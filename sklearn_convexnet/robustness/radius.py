"""The largest radius for which a classification is certified."""

from __future__ import annotations

import time

import numpy as np

from .._typing import ArrayLike, FloatArray, Limits, Method, Seed
from .attacks import Margins
from .enclosure import Task, enclose
from .parameters import (
    METHODS,
    check_choice,
    check_input,
    check_number,
    check_random_state,
    deadline_after,
    reporter,
    require_classifier,
)


def certified_radius(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike | None = None,
    *,
    epsilon: ArrayLike = 1.0,
    norm: float = np.inf,
    bounds: Limits | None = None,
    method: Method = "auto",
    max_radius: float = 1.0,
    tol: float = 1e-3,
    time_limit: float | None = None,
    random_state: Seed = None,
    verbose: bool = False,
) -> FloatArray:
    """Largest radius, for each sample, for which its classification is certified.

    By bisection, for all samples at once.

    Parameters
    ----------
    estimator : object
        A fitted classifier, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,), default=None
        Their labels; those predicted by default.
    epsilon : float or array-like of shape (n_features,), default=1.0
        Unit of the radius, or units of each feature; 0 for one that cannot be changed.
    norm, bounds, method : as of `certify`
        The perturbations, and how to certify. "exact" finds the same as "auto", but slower.
    max_radius : float, default=1.0
        No larger radius is tried.
    tol : float, default=1e-3
        Width of the last bisection.
    time_limit : float, default=None
        Seconds for all samples; the radii found then are valid, but may be smaller.
    random_state, verbose : as of `certify`
        For the starts of attacks, and whether to print progress.

    Returns
    -------
    ndarray of shape (n_samples,)
        Radii r: perturbations up to ``r * epsilon`` are certified. Zero also for samples that are
        misclassified.

    See Also
    --------
    certify : Certificates for a given radius.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import certified_radius
    >>> X = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, X[:, 0] > 0.1)
    >>> radii = certified_radius(model, [[-0.5], [0.5]])
    >>> bool(np.all(np.abs(radii - [0.65, 0.35]) < 0.15))
    True
    """
    start = time.perf_counter()
    require_classifier(estimator, "certified_radius")
    model, X, perturbation = check_input(estimator, X, epsilon, norm, bounds)
    check_choice("method", method, METHODS)
    check_number("max_radius", max_radius, above=0.0)
    check_number("tol", tol, above=0.0)
    rng, deadline = check_random_state(random_state), deadline_after(start, time_limit)
    report = reporter("certified_radius", start) if verbose else None
    nominal = perturbation.nominal(X)
    labels = model.predict(nominal) if y is None else model.check_labels(y, X)
    directions = model.margin_directions(labels)
    margins = Margins(model.network, nominal, np.zeros_like(X), directions)
    low = np.zeros(len(X))
    high = np.where(margins(np.zeros_like(X))[0] > 0, float(max_radius), 0.0)
    middle = high

    def undecided():
        # there is nothing between neighbouring floats, however small tol is
        return np.flatnonzero(high - low > np.maximum(tol, np.spacing(high)))

    while (todo := undecided()).size:
        task = Task(model, perturbation, X[todo], directions[todo], middle[todo])
        enclosure = enclose(task, method, deadline=deadline, rng=rng)
        certified = enclosure.lower > 0
        low[todo] = np.where(certified, middle[todo], low[todo])
        high[todo] = np.where(certified, high[todo], middle[todo])
        middle = 0.5 * (low + high)
        if report is not None:
            report(f"{undecided().size} open, radii within {np.max(high - low):.1e}")
        if time.perf_counter() >= deadline:
            break
    return low
