"""Classifier whose training loss is the worst case over perturbations of the features."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._compat import Interval, Options, StrOptions
from .._typing import ArrayLike, ClassificationLoss, FloatArray, Limits, Seed
from ..core.losses import Loss
from ..core.rows import dense
from ..program.patterns import activation_patterns, sample_gates, strict_gates
from ..program.perturbation import Perturbation
from ..program.relaxation import Relaxation
from ..robust_training import solve_relaxed, solve_robust_cone, solve_robust_scp
from ._data import check_size
from ._options import FitOptions
from .classifier import BaseConvexReLUClassifier

# radii by which the rows are moved where neurons are drawn
_MOVED = 3.0


@dataclass(frozen=True, eq=False, kw_only=True)
class RobustOptions(FitOptions):
    """The parameters of a fit against perturbations."""

    # in units of that of ConvexReLUClassifier: the perturbations regularise already
    auto_share = 0.3
    judges_alpha = False

    perturbation: Perturbation
    formulation: Literal["relaxed", "scp", "cone"]

    def shares(self, n_outputs):
        """False: every output has neurons of its own; a ValueError where none can be monotone."""
        if self.monotone is not None:
            self._check_monotone(n_outputs)
            if self.formulation != "relaxed":
                raise ValueError(
                    "monotonic_cst needs formulation='relaxed', got "
                    f"formulation={self.formulation!r}."
                )
        return False

    def draw_gates(self, rows, weights, rng):
        """Gates drawn where the perturbed rows are: a feature counts by what it says beyond them.

        Standardised, a feature that hardly varies would be in all neurons, and perturbations of
        it would sway them.
        """
        centres, radii = self.perturbation.balls(rows)
        if not radii.any():
            return super().draw_gates(rows, weights, rng)
        moved = [self.seen(centres + sign * _MOVED * radii) for sign in (-1.0, 1.0)]
        gates = sample_gates(
            np.concatenate(moved),
            np.concatenate([weights, weights]) / 2.0,
            self.n_patterns,
            rng,
            intercept=self.fit_intercept,
        )
        seen = self.seen(rows)
        gates, strict = strict_gates(seen, gates, rng)
        gates = gates[:, strict & activation_patterns(seen, gates).any(axis=0)]
        return gates if gates.shape[1] else super().draw_gates(rows, weights, rng)

    def solve(self, program, *, random_state, warm_start, on_check):
        """Solve the program of the formulation; the convex ones always start anew."""
        how = {"tol": self.tol, "max_iter": self.max_iter, "on_check": on_check}
        if self.formulation == "scp":
            return program, solve_robust_scp(program, self.perturbation, **how)
        how["random_state"] = random_state
        if self.formulation == "cone":
            return program, solve_robust_cone(
                self._rows(program),
                program.y,
                program.weights,
                loss=program.loss,
                alpha=program.alpha,
                perturbation=self.perturbation,
                n_patterns=self.n_patterns,
                fit_intercept=self.fit_intercept,
                **how,
            )
        how["warm_start"] = warm_start
        # where nothing moves the rows, certified margins are the margins
        if self.monotone is None and self.relaxation(program).still:
            return super().solve(program, **how)
        return program, solve_relaxed(program, self.perturbation, **how)

    def relaxation(self, program):
        """What certifies the margins of the rows of a program."""
        rows = self._rows(program)
        return Relaxation(rows, program.y, self.perturbation, fit_intercept=self.fit_intercept)

    def _rows(self, program):
        return program.rows[:, :-1] if self.fit_intercept else program.rows

    def bound(self, program, result):
        """None: robust networks are certified sample by sample."""
        return None


class RobustConvexReLUClassifier(BaseConvexReLUClassifier):
    r"""Two-layer ReLU network that keeps its decisions when features are perturbed.

    With labels :math:`y_k = \pm 1`, the network
    :math:`f(x) = \sum_j (x^\top u_j + b_j)_+ a_j + c` minimises

    .. math::

        \sum_k \omega_k \phi(m_k) + \frac{\alpha}{2} \sum_j (\|u_j\|^2 + b_j^2 + a_j^2),
        \qquad m_k \le \min_{\|\delta\| \le \epsilon} y_k f(x_k + \delta),

    where :math:`m_k` is the certified margin of a sample: neurons that help the label are replaced
    by a line below them, those that hurt by a chord above, and the worst case of the affine
    function that is left is closed form [1]_ [2]_. The objective so bounds that of adversarial
    training from above. Neurons may change sign within a perturbation, which the convex program
    of adversarial training excludes [3]_: that is ``formulation="cone"``, a global optimum under a
    restriction that few neurons survive when samples are many. More than two classes are fitted
    one against the rest.

    Parameters
    ----------
    alpha : float or "auto", default="auto"
        Strength of the weight decay, > 0; see `ConvexReLUClassifier`. "auto": 0.3 times what
        it is there, because the perturbations regularise too.

    epsilon : float or array-like of shape (n_features,), default=0.1
        Radius of the perturbations in the units of X, >= 0; one per feature where they differ,
        zero for a feature that cannot be changed. Scale the features first: a radius of 0.1 is
        large on features in [0, 1] and hard to see where they are in the hundreds. With zero
        everywhere "relaxed" is the fit of `ConvexReLUClassifier` with the same penalty ("auto" is
        0.3 times the one there all the same), with `tol` its duality gap.

    norm : {inf, 2, 1}, default=inf
        Norm of the perturbations; with radii per feature, of the perturbations in units of them.

    bounds : tuple (low, high) or None, default=None
        Valid values of the features, numbers or arrays of shape (n_features,), that perturbations
        respect; only with ``norm=numpy.inf``.

    formulation : {"relaxed", "scp", "cone"}, default="relaxed"
        "relaxed": descent on certified margins, as above, of all weights. "scp": the same margins
        with a random first layer of `n_patterns` neurons (some hundreds are a good choice) that
        stays, and with an intercept linear functions beside it: a convex problem without
        constraints, solved to a duality gap. "cone": the convex program of [3]_, over patterns
        that hold on all of every perturbed sample; neurons of other patterns are left out, and a
        warning says so when none is left. On many samples that is all but the neuron that is
        active everywhere, and the network a robust linear classifier.

    loss : {"log_loss", "hinge", "squared_hinge"} or Loss instance, default="log_loss"
        Loss of a margin m: ``log(1 + exp(-m))``, ``max(0, 1 - m)`` or
        ``max(0, 1 - m)**2 / 2``; it must not increase with the margin.

    n_patterns : int, default=100
        Number of random neurons: from which the descent starts, or that "scp" keeps. Number of
        random patterns that "cone" tries; it tries as many with thresholds in wide gaps of the
        data.

    monotonic_cst : array-like of int of shape (n_features,) or dict, default=None
        Features with which the output for the second of two classes may only increase, 1, or only
        decrease, -1, as in `ConvexReLUClassifier`; only with ``formulation="relaxed"``, where the
        descent then goes on at an `epsilon` of zero, too.

    fit_intercept : bool, default=True
        Whether neurons have (penalised) biases and the output a (free) one.

    tol : float, default=0.01
        The descent ends when 50 iterations lower the objective by a smaller share. Of the convex
        programs, the relative duality gap.

    max_iter : int, default=10000
        Bound on the iterations of the descent or of the solver.

    warm_start : bool, default=False
        Whether `fit` starts from the last network. The objective then never exceeds the one that
        this network has on the new problem: with radii from large to small it cannot increase.
        The convex programs always start anew; "scp" keeps its first layer where it can, so that
        with radii from small to large its optimum cannot decrease.

    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, multiplied with the sample weights.

    random_state : int, RandomState instance or None, default=None
        Seed of the random neurons. Pass an int for reproducible results.

    n_jobs : int or None, default=None
        Number of classes fitted at the same time, by joblib. The result does not depend on it.

    verbose : bool or int, default=False
        Whether to print a line per check of the objective.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Class labels.

    out_activation_ : {"logistic", "identity"}
        What makes probabilities of the outputs, as in `ConvexReLUClassifier`.

    network_ : TwoLayerReLU
        The fitted network; its outputs are those of `decision_function`.

    alpha_ : float or ndarray of shape (n_outputs,)
        Strength of the weight decay; an array when "auto" chose several.

    coefs_ : list of two ndarray
        Hidden weights of shape (n_features, n_neurons) and output weights of shape
        (n_neurons, n_outputs), as in `sklearn.neural_network.MLPClassifier`.

    intercepts_ : list of two ndarray
        Hidden biases of shape (n_neurons,) and output biases of shape (n_outputs,).

    objective_ : float
        Training objective of `network_` with certified margins, summed over the outputs; for
        "cone" these are exact.

    lower_bound_ : float
        Lower bound on the optimum of the convex program, over the first layer of "scp" or the
        patterns that were left to "cone", summed over the outputs; not for "relaxed".

    dual_gap_ : float
        Relative gap between it and the convex objective at a feasible point; the largest of the
        outputs. Not for "relaxed".

    pattern_factors_ : list of ndarray of shape (n_patterns_tried,)
        For every output, the factor of epsilon up to which a neuron can keep each pattern that
        was tried on all perturbed samples; above one it lives. Only for ``formulation="cone"``.

    certified_accuracy_ : float
        Share of the training samples, by weight, that are proved to be classified correctly
        whatever the perturbation.

    n_iter_ : int
        Iterations of the descent or of the solver; the largest of the outputs.

    n_neurons_ : int
        Number of hidden neurons.

    n_outputs_ : int
        Number of outputs: 1 for two classes, else the number of classes.

    feature_importances_ : ndarray of shape (n_features,)
        Share of every feature in the mean squared slopes of the network times the variances of the
        features, on the training data; of a linear network of independent features its share in the
        variance of the outputs. Zeros for a constant network.

    history_ : list of dict
        One entry per check: "output", "iteration", "phase", "upper_bound", which is the objective
        of the best network so far or that of the convex program, "lower_bound" (zero for
        "relaxed" unless `epsilon` is), "gap", and "time" in seconds.

    loss_curve_ : ndarray of shape (n_checks,)
        The least objective known at every check: that of the network in a descent, of the convex
        program afterwards. Of separate outputs their sum, check by check; one that is through
        stays what it is.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has string names.

    See Also
    --------
    ConvexReLUClassifier : The same without perturbations, with a duality gap.

    Notes
    -----
    The margins are proved, the optimality of the network is not: unlike the programs of
    `ConvexReLUClassifier`, the objective of the relaxed formulation is not convex, and no lower
    bound comes with it. The optima of the convex programs are upper bounds of adversarial training
    over all networks too: the neurons they leave out may be those of better networks.

    References
    ----------
    .. [1] E. Wong and J. Z. Kolter, "Provable Defenses against Adversarial Examples via the Convex
       Outer Adversarial Polytope", ICML 2018, arXiv:1711.00851.
    .. [2] H. Zhang, T.-W. Weng, P.-Y. Chen, C.-J. Hsieh and L. Daniel, "Efficient Neural Network
       Robustness Certification with General Activation Functions", NeurIPS 2018,
       arXiv:1811.00866.
    .. [3] Y. Bai, T. Gautam and S. Sojoudi, "Efficient Global Optimization of Two-Layer ReLU
       Networks: Quadratic-Time Algorithms and Adversarial Training", SIAM Journal on Mathematics
       of Data Science 5(2), 2023, arXiv:2201.01965.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import RobustConvexReLUClassifier
    >>> X, y = make_moons(n_samples=100, noise=0.1, random_state=0)
    >>> model = RobustConvexReLUClassifier(epsilon=0.1, random_state=0).fit(X, y)
    >>> bool(model.certified_accuracy_ > 0.8)
    True
    >>> model.predict(X[:2])
    array([0, 1])
    """

    certified_accuracy_: float
    lower_bound_: float
    dual_gap_: float
    pattern_factors_: list[FloatArray]

    _parameter_constraints = {
        **{
            name: constraint
            for name, constraint in BaseConvexReLUClassifier._parameter_constraints.items()
            if name not in ("patterns", "solver", "hidden_layer", "feature_weights")
        },
        "epsilon": [Interval(Real, 0, None, closed="left"), "array-like"],
        "norm": [Options(Real, {np.inf, 2, 1})],
        "bounds": ["array-like", None],
        "formulation": [StrOptions({"relaxed", "scp", "cone"})],
    }

    # what the base estimator would take as parameters
    patterns, solver, hidden_layer = "adaptive", "admm", "separate"
    feature_weights = None
    _Options = RobustOptions
    _keeps_sparse = False

    def __init__(
        self,
        alpha: float | Literal["auto"] = "auto",
        *,
        epsilon: ArrayLike = 0.1,
        norm: float = np.inf,
        bounds: Limits | None = None,
        formulation: Literal["relaxed", "scp", "cone"] = "relaxed",
        loss: ClassificationLoss | Loss = "log_loss",
        n_patterns: int = 100,
        monotonic_cst: ArrayLike | dict[str, int] | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-2,
        max_iter: int = 10_000,
        warm_start: bool = False,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        random_state: Seed = None,
        n_jobs: int | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.alpha = alpha
        self.epsilon = epsilon
        self.norm = norm
        self.bounds = bounds
        self.formulation = formulation
        self.loss = loss
        self.n_patterns = n_patterns
        self.monotonic_cst = monotonic_cst
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _options(self, **changes):
        return super()._options(
            perturbation=Perturbation(self.epsilon, self.norm, self.bounds), **changes
        )

    def _validate(self, X, y, sample_weight):
        X, *others = super()._validate(X, y, sample_weight)
        # perturbations move zeros, too
        X = dense(X, "training against perturbations", "fewer columns")
        perturbation = self._options().perturbation
        check_size("epsilon", perturbation.epsilon)
        perturbation.balls(X[:1])
        return X, *others

    def _loss(self):
        loss = super()._loss()
        if loss.conjugate_domain(np.ones(1))[1] > 0:
            raise ValueError(f"loss must not increase with the margin, got {self.loss!r}.")
        return loss

    def _known(self, fitted):
        options = fitted.prepared.problem.options
        margins = [
            options.relaxation(program).margins(part)
            for program, part in zip(fitted.programs, fitted.network.split(), strict=True)
        ]
        # every output has its sign: the largest one is that of the label
        certified = np.min(margins, axis=0) > 0
        weights = fitted.programs[0].weights
        known = {"certified_accuracy_": float(np.average(certified, weights=weights))}
        if self.formulation != "relaxed":
            known |= {"lower_bound_": fitted.lower_bound, "dual_gap_": fitted.gap}
        if self.formulation == "cone":
            known["pattern_factors_"] = [result.factors for result in fitted.results]
        return known

    def _complaints(self, results, fault):
        name, cone = type(self).__name__, self.formulation == "cone"
        if cone and (left := [result for result in results if result.program is None]):
            yield (
                UserWarning,
                f"{name} has no neurons: none of the {left[0].patterns.shape[1]} activation "
                "patterns that were tried leaves room for one on all of every perturbed sample at "
                f"epsilon={self.epsilon}, and what is left is a constant network. Use "
                "formulation='relaxed', a smaller epsilon, or fit_intercept=True.",
            )
        if results[0].bounds_of != "relaxed":
            yield from super()._complaints(results, fault)
        elif left := [result for result in results if result.status == "max_iter"]:
            yield (
                ConvergenceWarning,
                f"{name} stopped after {left[0].n_iter} iterations while the objective was falling "
                f"by more than tol={self.tol:.1e}: {fault or 'increase max_iter or tol'}.",
            )
