"""The fit skeleton shared by the estimators."""

import hashlib
import warnings
from numbers import Integral, Real
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compat import (
    FIT_WRAPPERS,
    HAS_CALLBACKS,
    CallbackSupportMixin,
    Interval,
    StrOptions,
    validate_data,
)
from .._persistence import VersionedPickle
from .._typing import Array, FloatArray
from ..core.network import TwoLayerReLU
from ..core.parallel import serial_blas
from ..core.rows import as_rows, digest, largest, with_constant
from ..program.pattern_program import SampledProgram
from ..program.patterns import (
    activation_patterns,
    check_patterns,
    distinct_patterns,
    enumerate_gates,
    realizing_gates,
    sample_gates,
    strict_gates,
)
from ..proof.certificate import bound_output, certify_network
from ..solvers import SOLVERS, solve, solve_adaptive
from ._alpha import automatic_alpha
from ._data import canonical_data, check_size
from ._reporter import Reporter

# patterns="all" beyond this count would take hours
MAX_PATTERNS = 250_000


class BaseConvexReLU(CallbackSupportMixin, VersionedPickle, BaseEstimator):
    """Parameters, fit and fitted attributes common to all convex ReLU estimators."""

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "patterns": [StrOptions({"adaptive", "random", "all"}), "array-like"],
        "n_patterns": [Interval(Integral, 1, None, closed="left")],
        "solver": [StrOptions(set(SOLVERS))],
        "fit_intercept": ["boolean"],
        "tol": [Interval(Real, 0, None, closed="neither")],
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
    history_: list[dict[str, Any]]
    communication_: dict[str, int]
    n_features_in_: int
    feature_names_in_: Array

    # what `validate_data` accepts of sparse matrices; a subclass that is fitted to them says so
    _accept_sparse: bool | str = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = bool(self._accept_sparse)
        return tags

    def _fit_network(self, X, y, targets, sample_weight, loss, **attributes):
        """Fit one program per column of `targets`, then set all fitted attributes.

        `attributes` are those of the subclass: an error leaves the last fit as it was.
        """
        with serial_blas():
            data, first, weights = canonical_data(X, targets, sample_weight, self._accept_sparse)
            # columns of their own, so that an output is fitted as it would be alone
            rows, outputs = data[first], np.asfortranarray(targets[first])
            check_size("X", rows)
            check_size("y", outputs)
            alphas = self._choose_alphas(rows, outputs, weights, loss)
            rng = check_random_state(self.random_state)
            # one seed for all outputs: each is fitted as it would be alone
            seed = int(rng.randint(2**31 - 1))
            gates, patterns = self._patterns(data, first, weights, rng)
            programs = self._programs(rows, outputs, weights, gates, patterns, loss, alphas)
            starts = self._warm_results(gates, programs)
            task = self._begin_task(X, y, sample_weight, len(programs))
            # a lone task runs here, where its table can be printed as it grows
            n_jobs = self.n_jobs if len(programs) > 1 else 1
            solved = Parallel(n_jobs=n_jobs)(
                delayed(_solve_output)(self, k, len(programs), one, seed, starts[k], task)
                for k, one in enumerate(programs)
            )
            kept = programs[0].kept
            programs, results, bounds = zip(*solved, strict=True)
            network = TwoLayerReLU.stack([result.network for result in results])
            objectives = self._objectives(network, rows, outputs, loss, programs[0].weights, alphas)
            self._set_fitted(network, objectives, programs, results, bounds, data)
            self._penalties = alphas
            self.alpha_ = float(alphas[0]) if np.ptp(alphas) == 0 else alphas
            self._gates, self._kept, self._results = gates, kept, results
            self._drawn = self._drawing
            self._fitted_problem = self._problem(rows, outputs, weights, loss, alphas)
            vars(self).pop("communication_", None)
            vars(self).update(attributes)
        self._warn_if_not_converged(results)
        self._end_task(task, X, y, sample_weight)
        return self

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

    def _choose_alphas(self, rows, outputs, weights, loss, n_rows=None):
        """The penalty of every output: the parameter, or the rule of ``alpha="auto"``.

        `rows` may be a sample of `n_rows` rows.
        """
        if self.alpha != "auto":
            return np.full(outputs.shape[1], float(self.alpha))
        return np.array(
            [
                automatic_alpha(rows, y, weights, loss, self.fit_intercept, n_rows=n_rows)
                for y in outputs.T
            ]
        )

    def _programs(self, rows, outputs, weights, gates, patterns, loss, alphas):
        """One program per output; they share everything but target and penalty."""
        program = SampledProgram(
            rows,
            outputs[:, 0],
            patterns,
            loss=loss,
            alpha=alphas[0],
            sample_weight=weights,
            fit_intercept=self.fit_intercept,
            gates=gates,
            exhaustive=self._all_patterns,
        )
        return [
            program.with_target(column.copy(), alpha=alpha)
            for column, alpha in zip(outputs.T, alphas, strict=True)
        ]

    def _solve(self, program, **options):
        """Solve a program; returns it, over the patterns found where they are adaptive, too."""
        if self._adaptive:
            return solve_adaptive(program, self.solver, **options)
        return program, solve(program, self.solver, **options)

    @property
    def _adaptive(self):
        return isinstance(self.patterns, str) and self.patterns == "adaptive"

    @property
    def _all_patterns(self):
        return isinstance(self.patterns, str) and self.patterns == "all"

    def _patterns(self, data, first, weights, rng):
        """Gates and patterns of the canonical rows."""
        rows = self._rows(data[first])
        if not isinstance(self.patterns, str):
            given = check_patterns(self.patterns, data.shape[0])[first]
            gates, margins = realizing_gates(rows, given)
            # a pattern that no direction realises is reported by the program
            return (gates if np.all(margins > 1e-9) else None), given
        if self._all_patterns:
            gates = enumerate_gates(rows, max_patterns=MAX_PATTERNS)
        elif self._can_reuse_gates(rows):
            gates = self._gates
        else:
            gates = sample_gates(
                rows,
                weights,
                self.n_patterns,
                rng,
                intercept=self.fit_intercept,
                distinct=self._drawing != "directions",
            )
        _check_some(gates)
        return gates, activation_patterns(rows, gates)

    @property
    def _drawing(self):
        """What is drawn: patterns, or the independent directions of a first layer; None if none."""
        if not isinstance(self.patterns, str):
            return None
        return "directions" if self._fixed_layer else self.patterns

    @property
    def _fixed_layer(self):
        """Whether the random directions are the hidden layer."""
        return self.solver == "scp" and isinstance(self.patterns, str) and self.patterns == "random"

    def _rows(self, X):
        """What the hidden neurons see."""
        return with_constant(X) if self.fit_intercept else X

    def _can_reuse_gates(self, rows):
        """Whether the last random gates are as many as are wanted now, and fit these rows."""
        kinds = ("directions",) if self._drawing == "directions" else ("random", "adaptive")
        if not self.warm_start or getattr(self, "_drawn", None) not in kinds:
            return False
        if self._gates.shape[1] != self.n_patterns or not self._saw_as_many(rows.shape[1]):
            return False
        # of rows that have moved away they tell few patterns apart
        left = distinct_patterns(activation_patterns(rows, self._gates))
        return 2 * left.size >= self._kept.size

    def _saw_as_many(self, d):
        """Whether neurons of the last fit had d inputs, with a bias among them if there is now."""
        n_features = self._results[0].network.hidden_weights.shape[0]
        return self._gates.shape[0] == d == n_features + self.fit_intercept

    def _warm_results(self, gates, programs):
        """Results of the last fit where they fit the new programs, else None."""
        previous = getattr(self, "_results", None) if self.warm_start else None
        cold = [None] * len(programs)
        if previous is None or len(previous) != len(programs):
            return cold
        if self._adaptive:
            # any network on the same features may start the descent
            fits = self._saw_as_many(gates.shape[0])
        else:
            fits = (
                self._drawn != "adaptive"
                and len(previous[0].solution.slopes) == programs[0].n_samples
                and np.array_equal(self._gates, gates)
                and np.array_equal(self._kept, programs[0].kept)
                # "scp" has a neuron for every direction, also where patterns are the same
                and previous[0].solution.v.shape[1] == programs[0].n_patterns
            )
        return previous if fits else cold

    def _objectives(self, network, rows, outputs, loss, weights, alphas):
        """Objectives of the outputs of a network on canonical rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            objectives = [
                self._objective(part, rows, y, loss=loss, alpha=alpha, weights=weights)
                for part, y, alpha in zip(network.split(), outputs.T, alphas, strict=True)
            ]
        if not np.isfinite(objectives).all():
            raise ValueError(
                "The objective is not finite: X or y hold values too large for float64 "
                f"arithmetic (largest |X| {largest(rows):.1e}, largest |y| "
                f"{np.abs(outputs).max():.1e}). Rescale them, e.g. with StandardScaler."
            )
        return objectives

    def _objective(self, network, rows, y, **problem):
        """Objective of a network with one output."""
        return network.objective(rows, y, **problem)

    def _problem(self, rows, outputs, weights, loss, alphas):
        """Digest of the data and of what else defines the objective."""
        found = hashlib.sha256(repr((loss, self.fit_intercept)).encode() + digest(rows))
        for array in (outputs, weights, alphas):
            found.update(repr(array.shape).encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def _bound(self, program, result):
        """What a result says of the optimum over all networks; None where nothing is said."""
        return bound_output(program, result.solution.slopes)

    def _set_fitted(self, network, objectives, programs, results, bounds, data):
        """Set the attributes that state what is known, then those of every network."""
        own = programs if self._adaptive else programs[:1]
        upper = sum(result.upper_bound for result in results)
        lower = sum(result.lower_bound for result in results)
        gap = max(result.gap for result in results)
        # the last thing that may fail comes first
        self.certificate_ = certify_network(
            programs,
            objectives,
            bounds,
            {
                "sampled_upper_bound": upper,
                "sampled_lower_bound": lower,
                "sampled_gap": gap,
                "fixed_directions": results[0].bounds_of == "scp",
                "n_directions": sum(program.n_directions for program in own),
                "n_patterns": sum(program.n_patterns for program in own),
            },
            tol=self.tol,
        )
        self._best_certificate = self.certificate_
        self.lower_bound_ = lower
        self.dual_gap_ = gap
        gates = [program.gates for program in own]
        self.patterns_ = activation_patterns(self._rows(data), np.concatenate(gates, axis=1))
        self._set_network(network, objectives, results)

    def _set_network(self, network, objectives, results):
        self.network_ = network
        self.coefs_ = [network.hidden_weights, network.output_weights]
        self.intercepts_ = [network.hidden_biases, network.output_biases]
        self.n_neurons_ = network.n_neurons
        self.objective_ = sum(objectives)
        self.n_iter_ = max(result.n_iter for result in results)
        self.n_outputs_ = len(results)
        self.history_ = [
            {"output": k, **entry} for k, result in enumerate(results) for entry in result.history
        ]

    def _warn_if_not_converged(self, results):
        message = self._shortcoming(results)
        if message is not None:
            # the caller of fit
            warnings.warn(message, ConvergenceWarning, stacklevel=4 + FIT_WRAPPERS)

    def _shortcoming(self, results):
        """What the solver did not reach, and what to do about it; None if there is nothing."""
        worst = max(results, key=lambda result: result.gap)
        if worst.status in ("optimal", "stopped"):
            return None
        if worst.status == "stalled":
            advice = (
                "rounding errors stopped the solver; increase tol, or scale the features (e.g. "
                "with StandardScaler)"
            )
        elif worst.status == "too_large":
            advice = (
                "the solver that would close it needs dense rows, and this sparse X is too large "
                "for that; increase tol, or take fewer columns (e.g. with TruncatedSVD)"
            )
        else:
            advice = "increase max_iter or tol"
            if self.solver != "admm":
                advice += ", or use solver='admm'"
        return (
            f"{type(self).__name__} stopped after {worst.n_iter} iterations at a relative duality "
            f"gap of {worst.gap:.1e}, above tol={self.tol:.1e}: {advice}."
        )

    def _validate_data(self, X, y="no_validation", **options):
        """X, or X and y, checked by scikit-learn."""
        return validate_data(
            self, X, y, dtype=[np.float64, np.float32], accept_sparse=self._accept_sparse, **options
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
    def _certify(self, X, targets, sample_weight, loss, time_limit, tol):
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
        data, first, weights = canonical_data(X, targets, sample_weight, self._accept_sparse)
        rows, outputs = data[first], targets[first]
        of_the_fit = self._problem(rows, outputs, weights, loss, self._penalties)
        of_the_fit = of_the_fit == self._fitted_problem
        if of_the_fit and time_limit is None:
            return self.certificate_
        objectives = self._objectives(self.network_, rows, outputs, loss, weights, self._penalties)
        if of_the_fit:
            slopes = [result.solution.slopes for result in self._results]
        else:
            slopes = loss.derivative(self.network_(rows), outputs).T
        programs = self._certificate_programs(rows, outputs, weights, loss)
        bounds = [bound_output(*pair) for pair in zip(programs, slopes, strict=True)]
        # what was once proved of the fit stays proved
        known = self._best_certificate if of_the_fit else None
        certificate = certify_network(
            programs, objectives, bounds, time_limit=time_limit, tol=tol, known=known
        )
        if of_the_fit:
            self._best_certificate = certificate
        return certificate

    def _certificate_programs(self, rows, outputs, weights, loss):
        """One program per output, over all patterns or those of the network's neurons."""
        seen, rng = self._rows(rows), np.random.RandomState(0)
        if self._all_patterns:
            gates = enumerate_gates(seen, max_patterns=MAX_PATTERNS)
        else:
            gates = sample_gates(seen, weights, 1, rng, intercept=self.fit_intercept)
        _check_some(gates)
        patterns = activation_patterns(seen, gates)
        programs = self._programs(rows, outputs, weights, gates, patterns, loss, self._penalties)
        if self._all_patterns:
            return programs
        for k, part in enumerate(self.network_.split()):
            hidden = part.hidden_weights
            if self.fit_intercept:
                hidden = np.concatenate([hidden, part.hidden_biases[None]])
            neurons, strict = strict_gates(seen, hidden, rng)
            strict &= activation_patterns(seen, neurons).any(axis=0)
            if strict.any():
                programs[k] = programs[k].with_gates(neurons[:, strict])
        return programs


def _check_some(gates):
    if gates.shape[1] == 0:
        raise ValueError(
            "X must have a row that is not zero when fit_intercept=False: no neuron without a bias "
            "is active on zeros."
        )


def _metadata(sample_weight):
    return None if sample_weight is None else {"sample_weight": sample_weight}


def _solve_output(estimator, k, n_outputs, program, seed, start, task):
    """Solve the program of one output; a function, so that processes can receive it.

    Returns the program, over the patterns found where they are adaptive, the result, and the
    bounds of its certificate.
    """
    report = Reporter(estimator, k, n_outputs, task)
    options = {
        "tol": estimator.tol,
        "max_iter": estimator.max_iter,
        "random_state": seed,
        "warm_start": start,
        "on_check": report,
    }
    program, result = estimator._solve(program, **options)
    report.end()
    return program, result, estimator._bound(program, result)
