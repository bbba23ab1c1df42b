"""Accuracy on perturbed inputs: what is proved, and what an attack leaves."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .._typing import ArrayLike, Limits, Method, Seed
from .attacks import fgsm, pgd
from .certify import MarginBounds, certify
from .parameters import check_choice, check_input, require_classifier


def certified_accuracy(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    norm: float = np.inf,
    bounds: Limits | None = None,
    method: Method = "auto",
    time_limit: float | None = None,
    random_state: Seed = None,
    verbose: bool = False,
) -> float:
    """Share of samples that are classified right whatever the perturbation.

    A proved lower bound on the accuracy under any attack; with ``method="auto"`` or "exact" and no
    time limit, that accuracy itself.

    Parameters
    ----------
    estimator : object
        A fitted classifier, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels.
    epsilon, norm, bounds, method : as of `certify`
        The perturbations, and how to certify.
    time_limit : float, default=None
        Seconds; samples that are open then count as not certified.
    random_state, verbose : as of `certify`
        For the starts of attacks, and whether to print progress.

    Returns
    -------
    float
        In [0, 1].

    See Also
    --------
    robust_accuracy : An upper bound on the same, from an attack.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.neural_network import MLPClassifier
    >>> from sklearn.preprocessing import minmax_scale
    >>> from sklearn_convexnet.robustness import certified_accuracy, robust_accuracy
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X = minmax_scale(X)
    >>> model = MLPClassifier(20, alpha=1.0, max_iter=500, random_state=0).fit(X, y)
    >>> certified = certified_accuracy(model, X, y, epsilon=0.02)
    >>> attacked = robust_accuracy(model, X, y, epsilon=0.02, random_state=0)
    >>> certified <= attacked <= model.score(X, y)
    True
    """
    require_classifier(estimator, "certified_accuracy")
    result = certify(
        estimator,
        X,
        y,
        epsilon,
        norm=norm,
        bounds=bounds,
        method=method,
        time_limit=time_limit,
        random_state=random_state,
        verbose=verbose,
    )
    assert isinstance(result, MarginBounds)  # it is a classifier
    return float(np.mean(result.status == "certified"))


def robust_accuracy(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    attack: Literal["pgd", "fgsm"] = "pgd",
    norm: float = np.inf,
    bounds: Limits | None = None,
    steps: int = 40,
    restarts: int = 5,
    random_state: Seed = None,
) -> float:
    """Accuracy under an attack: the share of samples that it cannot turn.

    An upper bound on the accuracy under all attacks, of which `certified_accuracy` is a lower one.

    Parameters
    ----------
    estimator : object
        A fitted classifier, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels.
    epsilon : as of `certify`
        Radius of the perturbations.
    attack : {"pgd", "fgsm"}, default="pgd"
        The attack.
    norm, bounds : as of `certify`
        Their norm, and valid values of the features.
    steps, restarts, random_state : as of `pgd`
        How long "pgd" tries.

    Returns
    -------
    float
        In [0, 1]. A sample counts if it is classified right as it is and when attacked.

    See Also
    --------
    certified_accuracy : A proved lower bound on the same.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import robust_accuracy
    >>> X = np.linspace(-1, 1, 20)[:, None]
    >>> y = X[:, 0] > 0
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> robust_accuracy(model, X, y, epsilon=0.3)
    0.7
    """
    require_classifier(estimator, "robust_accuracy")
    check_choice("attack", attack, ("pgd", "fgsm"))
    model, X, perturbation = check_input(estimator, X, epsilon, norm, bounds)
    options: dict[str, Any] = {"norm": norm, "bounds": bounds}
    if attack == "fgsm":
        perturbed = fgsm(estimator, X, y, epsilon, **options)
    else:
        options |= {"steps": steps, "restarts": restarts, "random_state": random_state}
        perturbed = pgd(estimator, X, y, epsilon, **options)
    labels = model.check_labels(y, X)
    robust = [model.predict(rows) == labels for rows in (perturbation.nominal(X), perturbed)]
    return float(np.mean(robust[0] & robust[1]))
