"""The fit skeleton shared by the estimators."""

import warnings
from dataclasses import fields, replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compat import (
    FIT_WRAPPERS,
    HAS_CALLBACKS,
    CallbackSupportMixin,
    DocumentationLinkMixin,
    Interval,
    StrOptions,
    check_monotonic_cst,
    validate_data,
)
from .._persistence import VersionedPickle
from .._typing import Array, BoolArray, FloatArray
from ..core.monotone import is_monotone
from ..core.network import TwoLayerReLU
from ..core.parallel import serial_blas
from ..core.rows import as_rows, largest
from ..program.patterns import activation_patterns
from ..proof.certificate import bound_output, certify_network
from ..solvers import SOLVERS
from ._data import scale_fault
from ._fit import (
    LastFit,
    canonical_problem,
    draw_seed,
    fit_outputs,
    prepare,
    programs_of_network,
)
from ._options import FitOptions
from ._reporter import Reporter

# attributes that some fits do not set
_OCCASIONAL = (
    "lower_bound_",
    "dual_gap_",
    "_packed_patterns",
    "pattern_factors_",
    "communication_",
)


class BaseConvexReLU(CallbackSupportMixin, DocumentationLinkMixin, VersionedPickle, BaseEstimator):
    """Parameters, fit and fitted attributes common to all convex ReLU estimators."""

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "feature_weights": [StrOptions({"auto"}), "array-like", None],
        "patterns": [StrOptions({"adaptive", "random", "all"}), "array-like"],
        "n_patterns": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions(set(SOLVERS))],
        "hidden_layer": [StrOptions({"auto", "shared", "separate"})],
        "monotonic_cst": ["array-like", dict, None],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither"), None],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [None, Integral],
        "verbose": ["verbose"],
    }

    # whether a Dask collection stays where it is; else it is loaded, as by any other estimator
    _accepts_dask = False

    # what every fit sets; the docstrings of the estimators say what it is
    network_: TwoLayerReLU
    alpha_: float | FloatArray
    coefs_: list[FloatArray]
    intercepts_: list[FloatArray]
    objective_: float
    n_iter_: int
    n_neurons_: int
    n_outputs_: int
    feature_weights_: FloatArray
    feature_importances_: FloatArray
    history_: list[dict[str, Any]]
    loss_curve_: FloatArray
    communication_: dict[str, int]
    n_features_in_: int
    feature_names_in_: Array

    # what the parameters are to the pipeline
    _Options: type[FitOptions] = FitOptions
    # what another fit, or a certificate, can start from
    _last: LastFit | None = None
    # whether outputs are classes, of which a sample has one
    _exclusive = False
    # whether the programs take sparse rows as they are; else they get dense ones
    _keeps_sparse = True

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _options(self, **changes):
        """The parameters, some of them changed, as the pipeline takes them."""
        changes = {"monotone": self._monotone(), "exclusive": self._exclusive, **changes}
        changes = {"loss": self._loss(), **changes}
        names = {field.name for field in fields(self._Options)} - changes.keys()
        return self._Options(**changes, **{name: getattr(self, name) for name in names})

    def _monotone(self):
        """The signs that `monotonic_cst` asks for, a feature each; None where there are none."""
        given = self.monotonic_cst
        signs = None if given is None else check_monotonic_cst(self, given)
        return signs if signs is not None and signs.any() else None

    def _keeps_to(self, signs):
        """Whether the fitted network, if it has one output of these features, is monotone."""
        network = self.network_
        same = network.n_outputs == 1 and len(network.hidden_weights) == len(signs)
        return not same or is_monotone(network, signs)

    def _fit_network(self, X, y, targets, sample_weight, options, **attributes):
        """Fit one program per column of `targets`, then set all fitted attributes.

        `attributes` are those of the subclass: an error leaves the last fit as it was.
        """
        last = self._last if self.warm_start else None
        if last is not None and not (options.monotone is None or self._keeps_to(options.monotone)):
            raise ValueError(
                "warm_start=True cannot start from a network that violates monotonic_cst="
                f"{self.monotonic_cst!r}: set warm_start=False for this fit."
            )
        with serial_blas():
            problem = canonical_problem(
                X, targets, sample_weight, options, accept_sparse=self._keeps_sparse
            )
            attributes |= self._limits(problem.options, problem.outputs)
            rng = check_random_state(self.random_state)
            seed = draw_seed(rng)
            problem = problem.judged(seed, self.n_jobs)
            prepared = prepare(problem, rng, last)
            n_outputs = len(prepared.programs)
            task = self._begin_task(X, y, sample_weight, n_outputs)
            known = X, y, _metadata(sample_weight), attributes.copy(), problem.to_user
            report = partial(Reporter, self, n_outputs, task, known)
            fitted = fit_outputs(prepared, seed, report, last=last, n_jobs=self.n_jobs)
            attributes |= self._known(fitted)
            last = LastFit.of(fitted, attributes.get("certificate_"), warm=self.warm_start)
        self._set_fitted(fitted, last, attributes)
        self._end_task(task, X, y, sample_weight)
        return self

    def _limits(self, options, outputs):
        """Attributes of what limits predictions, of the targets of positive weight."""
        return {}

    def _known(self, fitted):
        """Attributes that state what is known of the network."""
        problem = fitted.prepared.problem
        bounds, detail = fitted.bounds, fitted.detail
        gates = [program.gates for program in fitted.distinct_programs]
        patterns = activation_patterns(
            problem.options.seen(problem.data), np.concatenate(gates, axis=1)
        )
        return {
            "certificate_": certify_network(
                fitted.objectives, bounds, detail, tol=problem.options.gap
            ),
            "feature_weights_": problem.feature_weights_,
            "lower_bound_": fitted.lower_bound,
            "dual_gap_": fitted.gap,
            # bits, and how many of them
            "_packed_patterns": (np.packbits(patterns, axis=0), len(patterns)),
        }

    @property
    def patterns_(self) -> BoolArray:
        """Patterns of the convex program on the training data."""
        if not hasattr(self, "_packed_patterns"):
            raise AttributeError(f"{type(self).__name__} has no patterns_: no fit has set them.")
        bits, n_samples = self._packed_patterns
        return np.unpackbits(bits, axis=0, count=n_samples).astype(bool)

    def _set_fitted(self, fitted, last, attributes):
        """Set all fitted attributes, and warn of what is wrong with the fit."""
        for name in _OCCASIONAL:
            vars(self).pop(name, None)
        vars(self).update(fitted.attributes, **attributes, _last=last)
        problem = fitted.prepared.problem
        fault = scale_fault(problem.rows, problem.feature_weights_)
        complaints = list(self._complaints(fitted.results, fault))
        if fault is not None and not complaints:
            complaints = [(UserWarning, f"{type(self).__name__} may have learned little: {fault}.")]
        for category, message in complaints:
            # the caller of fit
            warnings.warn(message, category, stacklevel=4 + FIT_WRAPPERS)

    def _begin_task(self, X, y, sample_weight, n_outputs):
        """The context of the callbacks of scikit-learn; None where there are none."""
        if not HAS_CALLBACKS:
            return None
        task = self._init_callback_context(max_subtasks=n_outputs, sequential_subtasks=False)
        task.call_on_fit_task_begin(estimator=self, X=X, y=y, metadata=_metadata(sample_weight))
        return task

    def _end_task(self, task, X, y, sample_weight):
        if task is not None:
            task.call_on_fit_task_end(
                estimator=self,
                X=X,
                y=y,
                metadata=_metadata(sample_weight),
                reconstruction_attributes={},
            )

    def _complaints(self, results, fault):
        """Categories and messages of warnings: what was not reached, and what to do about it.

        `fault` is what is wrong with the scale of X.
        """
        worst = max(results, key=lambda result: result.gap)
        if worst.status in ("optimal", "stopped"):
            return
        if self.tol is None and worst.status in ("costly", "too_large"):
            # as near as is cheap is what was asked for
            return
        if fault is not None:
            advice = fault
        elif worst.status == "stalled":
            advice = (
                "rounding errors stopped the solver; increase tol, or scale the features (e.g. "
                "with StandardScaler)"
            )
        elif worst.status == "too_large":
            advice = (
                "the solver that would close it needs dense rows, and this sparse X is too large "
                "for that; increase tol, or take fewer columns (e.g. with TruncatedSVD)"
            )
        elif worst.status == "costly":
            advice = "to go on would take many times longer; increase tol"
        else:
            advice = "increase max_iter or tol"
            if self.solver != "admm":
                advice += ", or use solver='admm'"
        gap = "searched gap" if worst.bounds_of == "searched" else "relative duality gap"
        yield (
            ConvergenceWarning,
            f"{type(self).__name__} stopped after {worst.n_iter} iterations at a {gap} of "
            f"{worst.gap:.1e}, above tol={self._options().gap:.1e}: {advice}.",
        )

    def _validate_data(self, X, y="no_validation", **options):
        """X, or X and y, checked by scikit-learn."""
        return validate_data(
            self, X, y, dtype=[np.float64, np.float32], accept_sparse="csr", **options
        )

    def _outputs(self, X):
        """Outputs of the network, shape (n_samples, n_outputs), and the dtype of X.

        The outputs are in float64, and fit the dtype: what is decided is decided before rounding.
        """
        check_is_fitted(self, "network_")
        X = self._validate_data(X, reset=False)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self.network_(as_rows(X))
            finite = np.isfinite(outputs.astype(X.dtype, copy=False)).all()
        if not finite:
            raise ValueError(
                "The network's outputs are not finite: X holds values too large for the dtype "
                f"{X.dtype} (largest |X| {largest(X):.1e})."
            )
        return outputs, X.dtype

    @serial_blas()
    def _certify(self, X, targets, sample_weight, time_limit, tol):
        """The certificate of the fitted network on validated data."""
        if time_limit is not None and not (
            isinstance(time_limit, Real)
            and not isinstance(time_limit, bool)
            and 0 <= time_limit < np.inf
        ):
            raise ValueError(f"time_limit must be None or a number >= 0, got {time_limit!r}.")
        if not isinstance(tol, Real) or isinstance(tol, bool) or not 0 < tol < 1:
            raise ValueError(f"tol must be a number between 0 and 1, got {tol!r}.")
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {targets.shape[1]} outputs, but {type(self).__name__} was fitted with "
                f"{self.n_outputs_}."
            )
        if not self.fit_intercept and any(biases.any() for biases in self.intercepts_):
            raise ValueError(
                "fit_intercept was set to False after the fit of a network with biases: what holds "
                "of networks without says nothing about it. Set it to True, or fit again."
            )
        options = self._options(alpha=self.alpha_, feature_weights=self.feature_weights_)
        if np.ndim(self.alpha_) == 1 and options.shares(targets.shape[1]):
            raise ValueError(
                f"hidden_layer was set to {self.hidden_layer!r} after a fit with a penalty for "
                "every output: of outputs that share neurons there is one. Set it to 'separate', "
                "or fit again."
            )
        if options.monotone is not None and not self._keeps_to(options.monotone):
            raise ValueError(
                f"monotonic_cst was set to {self.monotonic_cst!r} after the fit of a network that "
                "violates it: what holds of networks that do not says nothing about it. Fit again."
            )
        problem = canonical_problem(X, targets, sample_weight, options)
        last = self._last
        of_the_fit = last is not None and last.digest == problem.digest()
        if of_the_fit and time_limit is None:
            return self.certificate_
        network = problem.of_user(self.network_)
        objectives = problem.objectives(network)
        solutions = [result.solution for result in last.results] if of_the_fit else [None]
        if None in solutions:
            slopes = problem.slopes(network)
        else:
            slopes = [solution.slopes for solution in solutions]
        programs = programs_of_network(network, problem)
        bounds = [bound_output(*pair) for pair in zip(programs, slopes, strict=True)]
        # what was once proved of the fit stays proved
        known = last.certificate if of_the_fit else None
        certificate = certify_network(
            objectives, bounds, time_limit=time_limit, tol=tol, known=known
        )
        if of_the_fit:
            self._last = replace(last, certificate=certificate)
        return certificate


def _metadata(sample_weight):
    return None if sample_weight is None else {"sample_weight": sample_weight}
