"""The public functions: certificates, radii and attacks of fitted estimators."""

import time
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from ..program.perturbation import Perturbation
from .attacks import Margins, attack
from .balls import realise, steepest
from .enclosure import Enclosure, Task
from .model import Model

METHODS = ("auto", "exact", "crown", "interval")


@dataclass(frozen=True, eq=False)
class MarginBounds:
    """What is known about the worst-case margins of a classifier.

    The margin of a sample is y f(x) with labels y = -1, +1 for two classes, and the output of
    its class minus the largest other one for more; not positive: the prediction is wrong or a tie.

    Attributes
    ----------
    status : ndarray of str of shape (n_samples,)
        "certified": all perturbed inputs are classified right. "falsified": `adversarial` is
        not. "unknown": neither was shown.
    lower : ndarray of shape (n_samples,)
        Proved lower bounds on the worst-case margins.
    upper : ndarray of shape (n_samples,)
        Margins of `adversarial`, hence upper bounds.
    adversarial : ndarray of shape (n_samples, n_features)
        The worst perturbed inputs found.
    """

    status: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    adversarial: np.ndarray


@dataclass(frozen=True, eq=False)
class OutputBounds:
    """What is known about the outputs of a regressor for perturbed inputs.

    With more than one output, arrays of shape (n_samples,) have shape (n_samples, n_outputs).

    Attributes
    ----------
    lower : ndarray of shape (n_samples,)
        Proved lower bounds on the outputs.
    upper : ndarray of shape (n_samples,)
        Proved upper bounds.
    lowest : ndarray of shape (n_samples, n_features)
        Perturbed inputs with the least output found; for several outputs, of shape (n_samples,
        n_outputs, n_features).
    highest : ndarray of shape (n_samples, n_features)
        Those with the greatest.
    """

    lower: np.ndarray
    upper: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


def certify(
    estimator,
    X,
    y,
    epsilon,
    *,
    norm=np.inf,
    bounds=None,
    method="auto",
    time_limit=None,
    random_state=None,
    verbose=False,
):
    r"""Bound the worst that perturbed inputs can do to a network with one hidden layer.

    The inputs of a sample are :math:`x + \delta` with :math:`\|\delta\| \le \epsilon`, within
    `bounds`. For a classifier, its worst-case margin is enclosed,

    .. math:: \text{lower} \;\le\; \min_\delta\, \text{margin}(x + \delta, y)
        \;\le\; \text{upper},

    for a regressor the range of its outputs. Every bound is proved, in float64 arithmetic and with
    allowance for its rounding; where HiGHS decides, up to its tolerances.

    Parameters
    ----------
    estimator : object
        A fitted estimator of this package, or an ``MLPClassifier`` or ``MLPRegressor`` of
        scikit-learn with one hidden layer and ``activation="relu"``. Of a pipeline, the last step:
        `X`, `epsilon` and `bounds` are in its units.
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
        relaxation, whichever is better. "exact": the worst case itself, to about seven digits, by
        branch and bound and mixed-integer programs. "auto": whether the worst-case margin is
        positive, by the cheapest of these that tells; for a regressor, "exact".
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
    margin when they are active; up to some 40 of them are no obstacle. With ``norm=2`` the last
    resort, mixed-integer programs, does not exist; give a `time_limit` there.
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
    model, X, perturbation = _checked(estimator, X, epsilon, norm, bounds)
    _check_choice("method", method, METHODS)
    options = {
        "deadline": _deadline(start, time_limit),
        "rng": _random_state(random_state),
        "report": _reporter("certify", start) if verbose else None,
    }
    if model.classes is None:
        return _output_bounds(model, X, perturbation, method, options)
    task = Task(model, perturbation, X, model.margin_directions(model.check_labels(y, X)))
    return _margin_bounds(task, method, options)


def certified_accuracy(
    estimator,
    X,
    y,
    epsilon,
    *,
    norm=np.inf,
    bounds=None,
    method="auto",
    time_limit=None,
    random_state=None,
    verbose=False,
):
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
    epsilon : float or array-like of shape (n_features,)
        Radius; 0 for a feature that cannot be changed.
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations.
    bounds : (low, high), default=None
        Valid values of the features.
    method : {"auto", "exact", "crown", "interval"}, default="auto"
        See `certify`.
    time_limit : float, default=None
        Seconds; samples that are open then count as not certified.
    random_state : int, RandomState instance or None, default=None
        For the starts of attacks.
    verbose : bool, default=False
        Print progress.

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
    _require_classifier(estimator, "certified_accuracy")
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
    return float(np.mean(result.status == "certified"))


def certified_radius(
    estimator,
    X,
    y=None,
    *,
    epsilon=1.0,
    norm=np.inf,
    bounds=None,
    method="auto",
    max_radius=1.0,
    tol=1e-3,
    time_limit=None,
    random_state=None,
    verbose=False,
):
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
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations.
    bounds : (low, high), default=None
        Valid values of the features.
    method : {"auto", "exact", "crown", "interval"}, default="auto"
        See `certify`. "exact" finds the same as "auto", but slower.
    max_radius : float, default=1.0
        No larger radius is tried.
    tol : float, default=1e-3
        Width of the last bisection.
    time_limit : float, default=None
        Seconds for all samples; the radii found then are valid, but may be smaller.
    random_state : int, RandomState instance or None, default=None
        For the starts of attacks.
    verbose : bool, default=False
        Print progress.

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
    _require_classifier(estimator, "certified_radius")
    model, X, perturbation = _checked(estimator, X, epsilon, norm, bounds)
    _check_choice("method", method, METHODS)
    _check_number("max_radius", max_radius, above=0.0)
    _check_number("tol", tol, above=0.0)
    rng, deadline = _random_state(random_state), _deadline(start, time_limit)
    report = _reporter("certified_radius", start) if verbose else None
    nominal = perturbation.nominal(X)
    labels = model.predict(nominal) if y is None else model.check_labels(y, X)
    directions = model.margin_directions(labels)
    margins = Margins(model.network, nominal, np.zeros_like(X), directions)
    low = np.zeros(len(X))
    high = np.where(margins(np.zeros_like(X))[0] > 0, float(max_radius), 0.0)
    middle = high
    while (todo := np.flatnonzero(high - low > tol)).size:
        task = Task(model, perturbation, X[todo], directions[todo], middle[todo])
        found = Enclosure(task, method, deadline=deadline, rng=rng)
        certified = found.lower > 0
        low[todo] = np.where(certified, middle[todo], low[todo])
        high[todo] = np.where(certified, high[todo], middle[todo])
        middle = 0.5 * (low + high)
        if report is not None:
            report(f"{np.sum(high - low > tol)} open, radii within {np.max(high - low):.1e}")
        if time.perf_counter() >= deadline:
            break
    return low


def fgsm(estimator, X, y, epsilon, *, norm=np.inf, bounds=None):
    r"""Fast gradient attack: one step to the boundary of the ball.

    With ``norm=inf``, :math:`x - \epsilon\, \text{sign} \nabla_x \text{margin}(x, y)`; with other
    norms the steepest descent in these [1]_. For a regressor, the step up or down, whichever
    gives the larger error.

    Parameters
    ----------
    estimator : object
        A fitted estimator, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels or targets.
    epsilon : float or array-like of shape (n_features,)
        Radius; 0 for a feature that cannot be changed.
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations.
    bounds : (low, high), default=None
        Valid values of the features.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Perturbed inputs, in the ball exactly.

    See Also
    --------
    pgd : A stronger attack.

    References
    ----------
    .. [1] Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples, ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import fgsm
    >>> X = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, X[:, 0] > 0)
    >>> fgsm(model, [[-0.5], [0.5]], [False, True], epsilon=0.25)
    array([[-0.25],
           [ 0.25]])
    """
    model, X, perturbation = _checked(estimator, X, epsilon, norm, bounds)
    return _attacked(
        model, X, y, perturbation, lambda margins, starts: steepest(margins(starts)[1], norm)
    )


def pgd(
    estimator,
    X,
    y,
    epsilon,
    *,
    norm=np.inf,
    bounds=None,
    steps=40,
    restarts=5,
    random_state=None,
):
    """Projected gradient attack: many steps down the margin, from several starts.

    Steps of steepest descent in the norm, of decreasing length, each projected onto the ball [1]_.
    For a regressor, descents and ascents of its outputs, whichever gives the larger error.

    Parameters
    ----------
    estimator : object
        A fitted estimator, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels or targets.
    epsilon : float or array-like of shape (n_features,)
        Radius; 0 for a feature that cannot be changed.
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations.
    bounds : (low, high), default=None
        Valid values of the features.
    steps : int, default=40
        Steps of a descent.
    restarts : int, default=5
        Number of starts: the input itself, and random points of the ball.
    random_state : int, RandomState instance or None, default=None
        For the random points.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The worst perturbed inputs found, in the ball exactly.

    See Also
    --------
    certify : Whether there is anything worse.

    References
    ----------
    .. [1] Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import pgd
    >>> X = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, X[:, 0] > 0)
    >>> perturbed = pgd(model, [[-0.2], [0.2]], [False, True], epsilon=0.5, random_state=0)
    >>> model.predict(perturbed)
    array([ True, False])
    """
    model, X, perturbation = _checked(estimator, X, epsilon, norm, bounds)
    _check_count("steps", steps)
    _check_count("restarts", restarts)
    rng = _random_state(random_state)

    def descend(margins, starts):
        return attack(margins, starts, norm, steps=steps, restarts=restarts, rng=rng)[1]

    return _attacked(model, X, y, perturbation, descend)


def robust_accuracy(
    estimator,
    X,
    y,
    epsilon,
    *,
    attack="pgd",
    norm=np.inf,
    bounds=None,
    steps=40,
    restarts=5,
    random_state=None,
):
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
    epsilon : float or array-like of shape (n_features,)
        Radius; 0 for a feature that cannot be changed.
    attack : {"pgd", "fgsm"}, default="pgd"
        The attack.
    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations.
    bounds : (low, high), default=None
        Valid values of the features.
    steps : int, default=40
        Steps of "pgd".
    restarts : int, default=5
        Number of starts of "pgd".
    random_state : int, RandomState instance or None, default=None
        For the random starts.

    Returns
    -------
    float
        In [0, 1]. A sample counts if it has a positive margin as it is and when attacked.

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
    _require_classifier(estimator, "robust_accuracy")
    _check_choice("attack", attack, ("pgd", "fgsm"))
    model, X, perturbation = _checked(estimator, X, epsilon, norm, bounds)
    options = {"norm": norm, "bounds": bounds}
    if attack == "fgsm":
        perturbed = fgsm(estimator, X, y, epsilon, **options)
    else:
        options |= {"steps": steps, "restarts": restarts, "random_state": random_state}
        perturbed = pgd(estimator, X, y, epsilon, **options)
    directions = model.margin_directions(model.check_labels(y, X))
    robust = np.ones(len(X), dtype=bool)
    for rows in (perturbation.nominal(X), perturbed):
        margins = Margins(model.network, rows, np.zeros_like(rows), directions)
        robust &= margins(np.zeros_like(rows))[0] > 0
    return float(robust.mean())


# ------------------------------------------------------------------------------------------------
# Results


def _margin_bounds(task, method, options):
    found = Enclosure(task, method, **options)
    adversarial = realise(found.incumbents.points, task.X, task.perturbation)
    zeros = np.zeros_like(adversarial)
    upper, _ = Margins(task.model.network, adversarial, zeros, task.directions)(zeros)
    lower = np.minimum(found.lower, upper)
    status = np.where(upper <= 0, "falsified", np.where(lower > 0, "certified", "unknown"))
    return MarginBounds(status, lower, upper, adversarial)


def _output_bounds(model, X, perturbation, method, options):
    """Both ends of the range of every output, each a group of one query for every row."""
    n_outputs = len(model.network.output_biases)
    eye = np.eye(n_outputs)
    directions = np.stack([eye, -eye])  # (2, n_outputs, n_outputs)
    directions = np.repeat(directions.reshape(-1, n_outputs), len(X), axis=0)[:, None]
    rows = np.tile(X, (2 * n_outputs, 1))
    task = Task(model, perturbation, rows, directions)
    found = Enclosure(task, "exact" if method == "auto" else method, **options)
    points = realise(found.incumbents.points, rows, perturbation)
    reached = np.sum(directions[:, 0] * model.network(points), axis=1)
    ends = np.minimum(found.lower, reached).reshape(2, n_outputs, len(X))
    points = points.reshape(2, n_outputs, *X.shape)
    arrays = ends[0].T, -ends[1].T, points[0].swapaxes(0, 1), points[1].swapaxes(0, 1)
    return OutputBounds(*(array[:, 0] if n_outputs == 1 else array for array in arrays))


def _attacked(model, X, y, perturbation, attack):
    """What an attack, a function of margins and starts, makes of the rows."""
    centres, radii = perturbation.balls(X)
    moved = perturbation.nominal(X) - centres
    starts = np.divide(moved, radii, out=np.zeros(X.shape), where=radii > 0)

    def run(directions):
        margins = Margins(model.network, centres, radii, directions)
        return realise(attack(margins, starts), X, perturbation)

    if model.classes is not None:
        return run(model.margin_directions(model.check_labels(y, X)))
    n_outputs = len(model.network.output_biases)
    y = np.asarray(y, dtype=np.float64)
    if y.shape not in {(len(X), n_outputs), (len(X),) * (n_outputs == 1)}:
        raise ValueError(
            f"y must have a target for each of {len(X)} rows and {n_outputs} outputs, got shape "
            f"{y.shape}."
        )
    targets, eye = y.reshape(len(X), n_outputs), np.eye(n_outputs)
    found = np.stack(
        [run(np.broadcast_to(c, (len(X), 1, n_outputs))) for c in (*eye, *-eye)]
    )  # (2 n_outputs, n, d)
    errors = np.array([np.abs(model.network(rows) - targets).max(axis=1) for rows in found])
    return found[errors.argmax(axis=0), np.arange(len(X))]


# ------------------------------------------------------------------------------------------------
# Parameters


def _checked(estimator, X, epsilon, norm, bounds):
    model, perturbation = Model.of(estimator), Perturbation(epsilon, norm, bounds)
    X = model.check_rows(X)
    perturbation.balls(X[:1])  # that epsilon and bounds fit the features
    return model, X, perturbation


def _require_classifier(estimator, function):
    if Model.of(estimator).classes is None:
        raise TypeError(f"{function} needs a classifier, got {type(estimator).__name__}.")


def _check_choice(name, value, choices):
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")


def _check_number(name, value, *, above):
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not (number and above < value < np.inf):
        raise ValueError(f"{name} must be a finite number > {above:g}, got {value!r}.")


def _check_count(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer >= 1, got {value!r}.")


def _deadline(start, time_limit):
    if time_limit is None:
        return np.inf
    number = isinstance(time_limit, Real) and not isinstance(time_limit, bool)
    if not (number and 0 <= time_limit < np.inf):
        raise ValueError(f"time_limit must be None or a number >= 0, got {time_limit!r}.")
    return start + time_limit


def _random_state(random_state):
    if isinstance(random_state, np.random.RandomState):
        return random_state
    seed = isinstance(random_state, Integral) and not isinstance(random_state, bool)
    if not (random_state is None or (seed and 0 <= random_state < 2**32)):
        raise ValueError(
            f"random_state must be None, an integer >= 0 or a RandomState, got {random_state!r}."
        )
    return np.random.RandomState(random_state)


def _reporter(function, start):
    def report(line):
        print(f"{function}: {time.perf_counter() - start:.1f} s, {line}", flush=True)

    return report
