r"""The regularisation path: one problem for a decreasing sequence of penalties.

At `alpha_max` the constant network is optimal. From there on every fit starts from the network of
the last, larger penalty, which is nearly right already.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, check_X_y
from sklearn.utils.multiclass import check_classification_targets

from .._compat import Interval, StrOptions, check_sample_weight, validate_params
from .._typing import (
    ArrayLike,
    ClassificationLoss,
    FloatArray,
    HiddenLayer,
    IntArray,
    Patterns,
    RegressionLoss,
    Seed,
)
from ..bounds.dual import admissible_slopes, dual_norms
from ..bounds.pricing import price
from ..core.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, Loss, get_loss
from ..core.network import TwoLayerReLU
from ..core.parallel import serial_blas
from ..program.patterns import draw_gates, few_gates
from ..selection.descents import descended_networks
from ..solvers import solve, solve_adaptive
from ..solvers.descent import constant_network
from ._base import BaseConvexReLU
from ._fit import canonical_problem, draw_seed, prepare
from ._options import FitOptions
from .classifier import class_signs

# random directions to climb from in search of the largest alpha
_STARTS = 200
# and, with every path, to see where it leaves the constant
_FEW_STARTS = 50
# steps of an ascent: few go on for longer, and gain little by it
_STEPS = 100
# patterns that are enumerated instead: an ascent may end beside a maximum at the border of a cone
_FEW_PATTERNS = 2000
# in normalised units an alpha_max below this is rounding
_NOTHING = 1e-12
# no relative gap above this counts as a solution
_LARGEST_GAP = 0.5

_COMMON = {
    "X": ["array-like", "sparse matrix"],
    "y": ["array-like"],
    "loss": [StrOptions(set(REGRESSION_LOSSES | CLASSIFICATION_LOSSES)), Loss],
    "sample_weight": ["array-like", None],
    "hidden_layer": BaseConvexReLU._parameter_constraints["hidden_layer"],
    "feature_weights": ["array-like", None],
    "fit_intercept": ["boolean"],
    "random_state": ["random_state"],
}


@dataclass(frozen=True, eq=False)
class RegularizationPath:
    """Networks for a decreasing sequence of penalties; made by `convex_relu_path`.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        Penalties, the largest first.
    networks : list of TwoLayerReLU
        The network of every penalty.
    objectives : ndarray of shape (n_alphas,)
        Training objectives of the networks, summed over the outputs.
    dual_gaps : ndarray of shape (n_alphas,)
        Relative duality gaps of the convex programs over the patterns of the networks; the
        largest of the outputs. Of outputs that share a hidden layer: searched, over all networks.
    n_iters : ndarray of int of shape (n_alphas,)
        Iterations for every penalty; the largest of the outputs.
    """

    alphas: FloatArray
    networks: list[TwoLayerReLU]
    objectives: FloatArray
    dual_gaps: FloatArray
    n_iters: IntArray


@validate_params(_COMMON, prefer_skip_nested_validation=True)
def alpha_max(
    X: ArrayLike,
    y: ArrayLike,
    *,
    loss: ClassificationLoss | RegressionLoss | Loss = "squared_error",
    sample_weight: ArrayLike | None = None,
    hidden_layer: HiddenLayer = "auto",
    feature_weights: ArrayLike | None = None,
    fit_intercept: bool = True,
    random_state: Seed = None,
) -> float:
    r"""Return the smallest penalty at which the constant network is optimal.

    For the slopes p of the loss at the best constant and :math:`\lambda = \omega \circ p`, this is
    :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+|`, X with a column of ones when there is an
    intercept. Where there are no more than 2000 activation patterns, as for some ten rows of three
    features, all are looked at. To find the maximum is hard in general: **the value returned is the
    best that a search has found**, by local ascents from many random directions, and is not proved
    to be the largest. With a loss that has kinks the slopes are not unique, and a smaller penalty
    than with those chosen may do.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, or class labels for a loss of classification. More than two classes have an output
        each. Of outputs with separate hidden layers the value is the largest.
    loss : str or Loss instance, default="squared_error"
        A loss of `ConvexReLURegressor` or `ConvexReLUClassifier`.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Whether outputs share their neurons, as in the estimators.
    feature_weights : array-like of shape (n_features,), default=None
        Weights of the features, as in the estimators. None: ones.
    fit_intercept : bool, default=True
        Whether neurons have biases and the output a free one.
    random_state : int, RandomState instance or None, default=None
        Seed of the directions that the search starts from.

    Returns
    -------
    float
        The penalty; 0.0 when no neuron can lower the loss, as for a constant target.

    See Also
    --------
    convex_relu_path : Networks for a sequence of penalties below this one.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import ConvexReLURegressor, alpha_max
    >>> X, y = make_friedman1(n_samples=50, random_state=0)
    >>> largest = alpha_max(X, y, random_state=0)
    >>> ConvexReLURegressor(alpha=1.01 * largest, random_state=0).fit(X, y).n_neurons_
    0
    >>> ConvexReLURegressor(alpha=0.9 * largest, random_state=0).fit(X, y).n_neurons_ > 0
    True
    """
    X, targets, weights, loss = _validate(X, y, loss, sample_weight)
    options = FitOptions(
        loss=loss,
        alpha=1.0,
        n_patterns=1,
        hidden_layer=hidden_layer,
        exclusive=loss.target == "sign",
        feature_weights=feature_weights,
        fit_intercept=fit_intercept,
    )
    rng = check_random_state(random_state)
    seed = draw_seed(rng)
    programs = prepare(canonical_problem(X, targets, weights, options), rng).programs
    return max(largest_alpha(program, seed) for program in programs)


@validate_params(
    {
        **_COMMON,
        "alphas": ["array-like", None],
        "n_alphas": [Interval(Integral, 1, None, closed="left")],
        "eps": [Interval(Real, 0, 1, closed="neither")],
        "patterns": [StrOptions({"adaptive", "random", "all"})],
        **{
            name: BaseConvexReLU._parameter_constraints[name]
            for name in ("n_patterns", "tol", "max_iter", "verbose")
        },
    },
    prefer_skip_nested_validation=True,
)
def convex_relu_path(
    X: ArrayLike,
    y: ArrayLike,
    *,
    alphas: ArrayLike | None = None,
    n_alphas: int = 30,
    eps: float = 1e-3,
    loss: ClassificationLoss | RegressionLoss | Loss = "squared_error",
    patterns: Patterns = "adaptive",
    n_patterns: int = 100,
    hidden_layer: HiddenLayer = "auto",
    tol: float = 5e-2,
    max_iter: int = 10_000,
    feature_weights: ArrayLike | None = None,
    fit_intercept: bool = True,
    sample_weight: ArrayLike | None = None,
    random_state: Seed = None,
    verbose: bool | int = False,
) -> RegularizationPath:
    """Compute networks for a decreasing sequence of penalties.

    Every fit starts from the network of the last penalty.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Data.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Targets, or class labels for a loss of classification; more than two classes have an
        output each.
    alphas : array-like of shape (n_alphas,), default=None
        Penalties, > 0, in any order. By default `n_alphas` of them, evenly spaced in their
        logarithm from `alpha_max` down to `eps` times that.
    n_alphas : int, default=30
        Number of penalties when `alphas` is None.
    eps : float, default=1e-3
        Length of the path, the smallest penalty over the largest, when `alphas` is None.
    loss : str or Loss instance, default="squared_error"
        A loss of `ConvexReLURegressor` or `ConvexReLUClassifier`.
    patterns : {"adaptive", "random", "all"}, default="adaptive"
        Activation patterns that the neurons may have, as in the estimators.
    n_patterns : int, default=100
        Number of random patterns; with "adaptive" those to start from, where no larger penalty
        has left a network to start from.
    hidden_layer : {"auto", "shared", "separate"}, default="auto"
        Whether outputs share their neurons, as in the estimators.
    tol : float, default=0.05
        Duality gap to reach, relative to the objective of the constant network as in
        `sklearn.linear_model.lasso_path`, but at most half of the network's own objective. The
        `tol` of the estimators is relative to the network's own objective, which is stricter for
        small penalties.
    max_iter : int, default=10000
        Bound on the iterations for one penalty.
    feature_weights : array-like of shape (n_features,), default=None
        Weights of the features, as in the estimators. None: ones.
    fit_intercept : bool, default=True
        Whether neurons have biases and the output a free one.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the samples.
    random_state : int, RandomState instance or None, default=None
        Seed of the random patterns and searches.
    verbose : bool or int, default=False
        Whether to print a line per penalty.

    Returns
    -------
    RegularizationPath
        With `alphas`, `networks`, `objectives`, `dual_gaps` and `n_iters`.

    See Also
    --------
    alpha_max : The largest penalty of the path.
    ConvexReLURegressorCV : Regression with the penalty chosen by cross-validation.
    ConvexReLUClassifierCV : Classification with the penalty chosen by cross-validation.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import convex_relu_path
    >>> X, y = make_friedman1(n_samples=50, random_state=0)
    >>> path = convex_relu_path(X, y, n_alphas=5, eps=1e-2, random_state=0)
    >>> path.networks[0].n_neurons
    0
    >>> bool((path.objectives[1:] < path.objectives[:-1]).all())
    True
    """
    X, targets, weights, loss = _validate(X, y, loss, sample_weight)
    if alphas is not None:
        alphas = check_alphas(alphas)
    options = FitOptions(
        loss=loss,
        alpha=1.0,
        patterns=patterns,
        n_patterns=n_patterns,
        hidden_layer=hidden_layer,
        exclusive=loss.target == "sign",
        feature_weights=feature_weights,
        fit_intercept=fit_intercept,
        tol=tol,
        max_iter=max_iter,
    )
    rng = check_random_state(random_state)
    seed = draw_seed(rng)
    prepared = prepare(canonical_problem(X, targets, weights, options), rng)
    if alphas is None:
        alphas = alpha_grid(prepared.programs, n_alphas, eps, seed)
    solved = solve_path(prepared, alphas, seed, verbose=verbose)
    unsolved = sum(not fit.converged for fit in solved)
    if unsolved:
        warnings.warn(
            f"{unsolved} of {len(alphas)} fits of convex_relu_path stopped above tol={tol:.1e}: "
            "increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=3,  # the caller, behind the wrapper of validate_params
        )
    return RegularizationPath(
        alphas,
        [fit.network for fit in solved],
        np.array([fit.objective for fit in solved]),
        np.array([fit.gap for fit in solved]),
        np.array([fit.n_iter for fit in solved]),
    )


@dataclass(frozen=True)
class PathFit:
    """The fit of one penalty, all outputs together."""

    network: TwoLayerReLU
    objective: float
    gap: float
    n_iter: int
    converged: bool


@serial_blas()
def largest_alpha(program, seed, n_starts=_STARTS):
    """The `alpha_max` of one program, found by a search."""
    normalised = program.problem.normalised
    _, slopes = _constant(normalised)
    rng = np.random.RandomState(seed)
    fresh = draw_gates(
        program.rows, program.weights, n_starts, rng, intercept=program.fit_intercept
    )
    starts = normalised.design.coordinates(np.concatenate([fresh, program.gates], axis=1))
    slopes = admissible_slopes(normalised, slopes)
    found = price(normalised, slopes, starts, max_iter=_STEPS).largest
    found = max(found, _over_few_patterns(program, slopes, exact_above=found))
    # the penalty of a program is proportional to that of its normalised form
    return found * program.alpha / normalised.alpha if found > _NOTHING else 0.0


def _over_few_patterns(program, slopes, *, exact_above):
    """The largest pricing value over all patterns where they are few; else 0.

    In the place of one that is at most `exact_above` there may be another such.
    """
    if program.problem.is_shared:
        return 0.0
    gates = few_gates(program.rows, most=_FEW_PATTERNS)
    if gates is None or gates.shape[1] == 0:
        return 0.0
    over_all = program.with_gates(gates).normalised
    return dual_norms(over_all, slopes, exact_above=exact_above).max()


def alpha_grid(programs, n_alphas, eps, seed):
    """Penalties from `alpha_max` down, evenly spaced in their logarithm."""
    # without any slope the constant network is optimal at every penalty
    largest = max(largest_alpha(program, seed) for program in programs) or 1.0
    return np.geomspace(largest, eps * largest, n_alphas)


def check_alphas(alphas):
    """Given penalties as a decreasing array."""
    alphas = np.asarray(alphas)
    if alphas.ndim != 1 or alphas.size == 0 or alphas.dtype.kind not in "iuf":
        raise ValueError(f"alphas must be a non-empty 1-D array of numbers, got {alphas!r}.")
    if not (np.isfinite(alphas).all() and (alphas > 0).all()):
        raise ValueError(f"alphas must be positive and finite, got {alphas!r}.")
    return np.sort(alphas.astype(np.float64))[::-1]


@serial_blas()
def path_networks(prepared, alphas, seed):
    """Networks of decreasing penalties, of adaptive patterns without any proof."""
    problem = prepared.problem
    if problem.options.kind != "adaptive":
        return [fit.network for fit in solve_path(prepared, alphas, seed)]
    parts = [descended_networks(program.problem, alphas, seed) for program in prepared.programs]
    networks = [TwoLayerReLU.stack(list(each)) for each in zip(*parts, strict=True)]
    return [problem.to_user(network) for network in networks]


@serial_blas()
def solve_path(prepared, alphas, seed, *, verbose=False):
    """Fits of decreasing penalties, each from the last.

    Parameters
    ----------
    prepared : Prepared
        With any penalty.
    alphas : ndarray of shape (n_alphas,)
        Decreasing.
    seed : int
    verbose : bool or int, default=False

    Returns
    -------
    list of PathFit
    """
    options = prepared.problem.options
    walks = [_Walk(program, options, seed) for program in prepared.programs]
    fits = []
    for i, alpha in enumerate(alphas):
        steps = [walk.step(alpha) for walk in walks]
        results = [result for result, _ in steps]
        network = TwoLayerReLU.stack([result.network for result in results])
        fit = PathFit(
            prepared.problem.to_user(network),
            sum(result.objective for result in results),
            max(result.gap for result in results),
            max(result.n_iter for result in results),
            all(converged for _, converged in steps),
        )
        fits.append(fit)
        if verbose:
            print(
                f"[path] alpha {i + 1}/{len(alphas)} = {alpha:.3e}  objective {fit.objective:.6g}"
                f"  neurons {fit.network.n_neurons}  gap {fit.gap:.1e}"
            )
    return fits


class _Walk:
    """One output on its way from large to small penalties."""

    def __init__(self, program, options, seed):
        self.program, self.max_iter, self.seed = program, options.max_iter, seed
        self.adaptive = options.kind == "adaptive"
        self.tol = options.gap
        # from where on a program over the patterns that are there will do
        self.largest = largest_alpha(program, seed, _FEW_STARTS) if self.adaptive else 0.0
        bias, _ = _constant(program)
        losses = program.loss.value(np.full_like(program.y, bias), program.y)
        self.constant = float(program.weights @ losses)
        self.last = None

    def step(self, alpha):
        """The result of the next penalty, and whether it reached the tolerance."""
        program = self.program.with_target(self.program.y, alpha=alpha)
        objective = self.constant if self.last is None else self.last.objective
        # the objective to come is smaller still
        tol = self.tol
        if objective < self.constant:
            tol = max(tol, min(tol * self.constant / objective, _LARGEST_GAP))
        options = {"tol": tol, "max_iter": self.max_iter, "random_state": self.seed}
        if alpha >= self.largest:
            # beyond the largest penalty any directions give the constant network
            solver = "scp" if program.problem.is_shared else "admm"
            self.last = solve(program, solver, warm_start=self._same_patterns(), **options)
        else:
            _, self.last = solve_adaptive(program, warm_start=self.last, **options)
        return self.last, self.last.gap <= tol

    def _same_patterns(self):
        """The last result, where it is one on the patterns of the program."""
        return None if self.adaptive else self.last


def _constant(program):
    return constant_network(
        program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
    )


def _validate(X, y, loss, sample_weight):
    """Validated data, targets (a column per output), weights and the loss."""
    loss = get_loss(loss)
    real = loss.target == "real"
    X, y = check_X_y(X, y, accept_sparse="csr", dtype=np.float64, multi_output=real, y_numeric=real)
    weights = check_sample_weight(sample_weight, X)
    if real:
        return X, y.reshape(len(y), -1).astype(np.float64), weights, loss
    check_classification_targets(y)
    classes = np.unique(y[weights > 0])
    if len(classes) < 2:
        raise ValueError(
            f"y must have samples of at least two classes of positive weight, got 1 class: "
            f"{classes.tolist()}."
        )
    return X, class_signs(y, classes), weights, loss
