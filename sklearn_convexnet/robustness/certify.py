"""Certificates: what is proved about the outputs for all perturbed inputs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._typing import Array, ArrayLike, FloatArray, Limits, Method, Seed
from .balls import realise
from .enclosure import Task, enclose
from .parameters import (
    METHODS,
    check_choice,
    check_input,
    check_random_state,
    deadline_after,
    reporter,
)


@dataclass(frozen=True, eq=False)
class MarginBounds:
    """What is known about the worst-case margins of a classifier.

    The margin of a sample is y f(x) with labels y = -1, +1 for two classes, and the output of
    its class minus the largest other one for more; negative: the prediction is wrong.

    Attributes
    ----------
    status : ndarray of str of shape (n_samples,)
        "certified": all perturbed inputs are classified right. "falsified": `adversarial` is
        not. "unknown": neither was shown, for lack of time or as rounding may turn the margin.
    lower : ndarray of shape (n_samples,)
        Proved lower bounds on the worst-case margins.
    upper : ndarray of shape (n_samples,)
        Margins of `adversarial` as the network computes them, hence upper bounds.
    adversarial : ndarray of shape (n_samples, n_features)
        The worst perturbed inputs enclosure.
    """

    status: Array
    lower: FloatArray
    upper: FloatArray
    adversarial: FloatArray


@dataclass(frozen=True, eq=False)
class OutputBounds:
    """What is known about the predictions of a regressor for perturbed inputs.

    With more than one output, arrays of shape (n_samples,) have shape (n_samples, n_outputs).

    Attributes
    ----------
    lower : ndarray of shape (n_samples,)
        Proved lower bounds on the predictions.
    upper : ndarray of shape (n_samples,)
        Proved upper bounds.
    lowest : ndarray of shape (n_samples, n_features)
        Perturbed inputs with the least output found; for several outputs, of shape (n_samples,
        n_outputs, n_features).
    highest : ndarray of shape (n_samples, n_features)
        Those with the greatest.
    """

    lower: FloatArray
    upper: FloatArray
    lowest: FloatArray
    highest: FloatArray


def certify(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike | None,
    epsilon: ArrayLike,
    *,
    norm: float = np.inf,
    bounds: Limits | None = None,
    method: Method = "auto",
    time_limit: float | None = None,
    random_state: Seed = None,
    verbose: bool = False,
) -> MarginBounds | OutputBounds:
    r"""Bound the worst that perturbed inputs can do to a network with one hidden layer.

    The inputs of a sample are :math:`x + \delta` with :math:`\|\delta\| \le \epsilon`, within
    `bounds`. For a classifier, its worst-case margin is enclosed,

    .. math:: \text{lower} \;\le\; \min_\delta\, \text{margin}(x + \delta, y)
        \;\le\; \text{upper},

    for a regressor the range of its predictions. What is proved holds for the network in exact
    arithmetic, and for what ``predict`` makes of the inputs: every bound allows for the rounding of
    both, relative to the summed magnitudes of what enters the outputs. Of a bound by HiGHS a
    tolerance is taken off; its search is trusted.

    Parameters
    ----------
    estimator : object
        A fitted classifier or regressor of this package, or an ``MLPClassifier`` or
        ``MLPRegressor`` of scikit-learn with one hidden layer and ``activation="relu"``. Of a
        pipeline, the last step: `X`, `epsilon` and `bounds` are in its units.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,) or None
        Their labels; not used for a regressor.
    epsilon : float or array-like of shape (n_features,)
        Radius; 0 for a feature that cannot be changed.
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations; with a radius per feature, in units of these.
    bounds : (low, high), default=None
        Valid values of the features, numbers or arrays of shape (n_features,), for ``norm=inf``.
        Inputs that lie outside are first moved to the nearest valid value.
    method : {"auto", "exact", "crown", "interval"}, default="auto"
        "interval": every neuron in the range of its values. "crown": that, or linear
        relaxation, whichever is better. "exact": the worst case itself, to about seven digits by
        branch and bound, or five by mixed-integer programs where that takes too long. "auto":
        whether the worst-case margin is positive, by the cheapest of these that tells; for a
        regressor, "exact".
    time_limit : float, default=None
        Seconds for all samples. What is open then is "unknown", with valid bounds.
    random_state : int, RandomState instance or None, default=None
        For the starts of attacks.
    verbose : bool, default=False
        Print progress.

    Returns
    -------
    MarginBounds or OutputBounds
        The latter for a regressor.

    See Also
    --------
    certified_accuracy : Share of samples that are certified.
    certified_radius : Largest radius for which a sample is.

    Notes
    -----
    Work grows exponentially with the number of neurons that may change sign and that lower the
    margin when they are active. With ``norm=2`` the last resort, mixed-integer programs, does not
    exist; give a `time_limit` there.
    Linear relaxation is that of [1]_, branch and bound with optimised slopes as in [2]_, the
    mixed-integer program as in [3]_, with a binary for half of the neurons only.

    References
    ----------
    .. [1] Zhang et al., Efficient neural network robustness certification with general activation
       functions, NeurIPS 2018.
    .. [2] Wang et al., Beta-CROWN, NeurIPS 2021.
    .. [3] Tjeng, Xiao & Tedrake, Evaluating robustness of neural networks with mixed integer
       programming, ICLR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import certify
    >>> rng = np.random.RandomState(0)
    >>> X = rng.uniform(-1, 1, (200, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "opposite")
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> result = certify(model, [[0.5, 0.5], [0.05, 0.5]], ["same", "same"], epsilon=0.1)
    >>> result.status.tolist()
    ['certified', 'falsified']
    >>> model.predict(result.adversarial[1:])
    array(['opposite'], dtype='<U8')
    """
    start = time.perf_counter()
    dtype = np.asarray(X).dtype
    model, X, perturbation = check_input(estimator, X, epsilon, norm, bounds)
    check_choice("method", method, METHODS)
    options: dict[str, Any] = {
        "deadline": deadline_after(start, time_limit),
        "rng": check_random_state(random_state),
        "report": reporter("certify", start) if verbose else None,
    }
    if model.classes is None:
        return _output_bounds(model, X, perturbation, method, options, dtype)
    labels = model.check_labels(y, X)
    task = Task(model, perturbation, X, model.margin_directions(labels))
    return _margin_bounds(task, labels, method, options)


def _margin_bounds(task, labels, method, options):
    enclosure = enclose(task, method, **options)
    adversarial = realise(enclosure.incumbents.points, task.X, task.perturbation)
    outputs = task.model.network(adversarial)
    upper = np.einsum("nco,no->nc", task.directions, outputs).min(axis=1)
    lower, wrong = np.minimum(enclosure.lower, upper), task.model.decide(outputs) != labels
    status = np.where(wrong, "falsified", np.where(lower > 0, "certified", "unknown"))
    return MarginBounds(status, lower, upper, adversarial)


def _output_bounds(model, X, perturbation, method, options, dtype):
    """Both ends of the range of every output, each a group of one query for every row."""
    n_outputs = len(model.network.output_biases)
    eye = np.eye(n_outputs)
    directions = np.stack([eye, -eye])  # (2, n_outputs, n_outputs)
    directions = np.repeat(directions.reshape(-1, n_outputs), len(X), axis=0)[:, None]
    rows = np.tile(X, (2 * n_outputs, 1))
    task = Task(model, perturbation, rows, directions)
    enclosure = enclose(task, "exact" if method == "auto" else method, **options)
    points = realise(enclosure.incumbents.points, rows, perturbation)
    reached = np.sum(directions[:, 0] * model.network(points), axis=1)
    ends = np.minimum(enclosure.lower, reached).reshape(2, n_outputs, len(X))
    # what `predict` does to the outputs keeps their order
    lower, upper = (np.clip(end.T, *model.limits) for end in (ends[0], -ends[1]))
    if dtype == np.float32:
        # of such rows it rounds them
        with np.errstate(over="ignore"):
            lower = np.minimum(lower, lower.astype(dtype))
            upper = np.maximum(upper, upper.astype(dtype))
    points = points.reshape(2, n_outputs, *X.shape)
    arrays = lower, upper, points[0].swapaxes(0, 1), points[1].swapaxes(0, 1)
    return OutputBounds(*(array[:, 0] if n_outputs == 1 else array for array in arrays))
