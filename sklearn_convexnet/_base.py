"""The fit skeleton shared by the estimators."""

import hashlib
import warnings
from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._compat import Interval, StrOptions, check_sample_weight, validate_data
from .certificate import certify_network
from .network import TwoLayerReLU
from .program.canonical import canonical_rows
from .program.patterns import (
    activation_patterns,
    check_patterns,
    enumerate_gates,
    realizing_gates,
    sample_gates,
)
from .program.sampled import SampledProgram
from .solvers import SOLVERS, solve

# patterns="all" beyond this count would take hours
MAX_PATTERNS = 250_000


class BaseConvexReLU(BaseEstimator):
    """Parameters, fit and fitted attributes common to all convex ReLU estimators."""

    _parameter_constraints = {
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "patterns": [StrOptions({"random", "all"}), "array-like"],
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

    def _fit_network(self, X, targets, sample_weight, loss, **attributes):
        """Fit one program per column of `targets`, then set all fitted attributes.

        `attributes` are those of the subclass: an error leaves the last fit as it was.
        """
        data, first, weights = _canonical(X, targets, sample_weight)
        rows, outputs = data[first], targets[first]
        _check_size("X", rows)
        _check_size("y", outputs)
        gates, patterns = self._patterns(data, first, weights)
        programs = self._programs(rows, outputs, weights, gates, patterns, loss)
        program = programs[0]
        starts = self._warm_results(gates, program, len(programs))
        seeds = check_random_state(self.random_state).randint(2**31 - 1, size=len(programs))
        # a lone task runs here, where its table can be printed as it grows
        n_jobs = self.n_jobs if len(programs) > 1 else 1
        results = Parallel(n_jobs=n_jobs)(
            delayed(_solve_output)(self, k, len(programs), one, int(seeds[k]), starts[k])
            for k, one in enumerate(programs)
        )
        network = TwoLayerReLU.stack([result.network for result in results])
        objective = self._objective(network, rows, outputs, loss, program.weights)
        self._set_fitted(network, objective, gates, programs, results, data)
        self._fitted_problem = self._problem(rows, outputs, weights, loss)
        vars(self).update(attributes)
        self._warn_if_not_converged(results)
        return self

    def _programs(self, rows, outputs, weights, gates, patterns, loss):
        """One program per output; they share everything but the target."""
        program = SampledProgram(
            rows,
            outputs[:, 0],
            patterns,
            loss=loss,
            alpha=self.alpha,
            sample_weight=weights,
            fit_intercept=self.fit_intercept,
            gates=gates,
            exhaustive=self._all_patterns,
        )
        return [program.with_target(np.ascontiguousarray(column)) for column in outputs.T]

    @property
    def _all_patterns(self):
        return isinstance(self.patterns, str) and self.patterns == "all"

    def _patterns(self, data, first, weights):
        """Gates and patterns of the canonical rows."""
        rows = self._rows(data[first])
        if not isinstance(self.patterns, str):
            given = check_patterns(self.patterns, len(data))[first]
            gates, margins = realizing_gates(rows, given)
            # a pattern that no direction realises is reported by the program
            return (gates if np.all(margins > 1e-9) else None), given
        if self._all_patterns:
            gates = enumerate_gates(rows, max_patterns=MAX_PATTERNS)
        elif self._can_reuse_gates(rows):
            gates = self._gates
        else:
            rng = check_random_state(self.random_state)
            gates = sample_gates(rows, weights, self.n_patterns, rng, intercept=self.fit_intercept)
        if gates.shape[1] == 0:
            raise ValueError(
                "X must have a row that is not zero when fit_intercept=False: no neuron without a "
                "bias is active on zeros."
            )
        return gates, activation_patterns(rows, gates)

    def _rows(self, X):
        """What the hidden neurons see."""
        if not self.fit_intercept:
            return X
        return np.concatenate([X, np.ones((len(X), 1))], axis=1)

    def _can_reuse_gates(self, rows):
        """Whether the last fit drew as many random gates as are wanted now."""
        return (
            self.warm_start
            and getattr(self, "_gates_are_random", False)
            and self._gates.shape == (rows.shape[1], self.n_patterns)
        )

    def _warm_results(self, gates, program, n_outputs):
        """Results of the last fit where they fit the new programs, else None."""
        previous = getattr(self, "_results", None) if self.warm_start else None
        fits = (
            previous is not None
            and len(previous) == n_outputs
            and len(previous[0].solution.slopes) == program.n_samples
            and np.array_equal(self._gates, gates)
            and np.array_equal(self._kept, program.kept)
        )
        return previous if fits else [None] * n_outputs

    def _objective(self, network, rows, outputs, loss, weights):
        """Objective of a network on canonical rows."""
        with np.errstate(over="ignore", invalid="ignore"):
            objective = network.objective(
                rows, outputs, loss=loss, alpha=self.alpha, weights=weights
            )
        if not np.isfinite(objective):
            raise ValueError(
                "The objective is not finite: X or y hold values too large for float64 "
                f"arithmetic (largest |X| {np.abs(rows).max():.1e}, largest |y| "
                f"{np.abs(outputs).max():.1e}). Rescale them, e.g. with StandardScaler."
            )
        return objective

    def _problem(self, rows, outputs, weights, loss):
        """Digest of the data and of what else defines the objective."""
        digest = hashlib.sha256(repr((loss, self.alpha, self.fit_intercept)).encode())
        for array in (rows, outputs, weights):
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _set_fitted(self, network, objective, gates, programs, results, data):
        program = programs[0]
        upper = sum(result.upper_bound for result in results)
        lower = sum(result.lower_bound for result in results)
        gap = max(result.gap for result in results)
        # the last thing that may fail comes first
        self.certificate_ = certify_network(
            programs,
            objective,
            [result.solution.slopes for result in results],
            {
                "sampled_upper_bound": upper,
                "sampled_lower_bound": lower,
                "sampled_gap": gap,
                "n_patterns": program.n_patterns,
            },
        )
        self.network_ = network
        self.coefs_ = [network.hidden_weights, network.output_weights]
        self.intercepts_ = [network.hidden_biases, network.output_biases]
        self.n_neurons_ = network.n_neurons
        self.objective_ = objective
        self.lower_bound_ = lower
        self.dual_gap_ = gap
        self.n_iter_ = max(result.n_iter for result in results)
        self.n_outputs_ = len(results)
        self.patterns_ = activation_patterns(self._rows(data), program.gates)
        self.history_ = [
            {"output": k, **entry} for k, result in enumerate(results) for entry in result.history
        ]
        self._gates, self._kept, self._results = gates, program.kept, results
        self._gates_are_random = isinstance(self.patterns, str) and self.patterns == "random"

    def _warn_if_not_converged(self, results):
        worst = max(results, key=lambda result: result.gap)
        if worst.status == "optimal":
            return
        if worst.status == "stalled":
            advice = (
                "rounding errors stopped the solver; increase tol, or scale the features (e.g. "
                "with StandardScaler)"
            )
        else:
            advice = "increase max_iter or tol"
            if self.solver != "admm":
                advice += ", or use solver='admm'"
        warnings.warn(
            f"{type(self).__name__} stopped after {worst.n_iter} iterations at a relative duality "
            f"gap of {worst.gap:.1e}, above tol={self.tol:.1e}: {advice}.",
            ConvergenceWarning,
            stacklevel=5,  # the caller of fit, behind the wrapper of fit_context
        )

    def _outputs(self, X):
        """Outputs of the network, shape (n_samples, n_outputs), in the dtype of X."""
        check_is_fitted(self, "network_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = self.network_(np.asarray(X, dtype=np.float64)).astype(X.dtype)
        if not np.isfinite(outputs).all():
            raise ValueError(
                "The network's outputs are not finite: X holds values too large for the dtype "
                f"{X.dtype} (largest |X| {np.abs(X).max():.1e})."
            )
        return outputs

    def _certify(self, X, targets, sample_weight, loss):
        """The certificate of the fitted network on validated data."""
        if targets.shape[1] != self.n_outputs_:
            raise ValueError(
                f"y has {targets.shape[1]} outputs, but {type(self).__name__} was fitted with "
                f"{self.n_outputs_}."
            )
        data, first, weights = _canonical(X, targets, sample_weight)
        rows, outputs = data[first], targets[first]
        if self._problem(rows, outputs, weights, loss) == self._fitted_problem:
            return self.certificate_
        objective = self._objective(self.network_, rows, outputs, loss, weights)
        slopes = loss.derivative(self.network_(rows), outputs)
        seen = self._rows(rows)
        if self._all_patterns:
            gates = enumerate_gates(seen, max_patterns=MAX_PATTERNS)
        else:
            # the bound knows no patterns: any one will do
            rng = np.random.RandomState(0)
            gates = sample_gates(seen, weights, 1, rng, intercept=self.fit_intercept)
        patterns = activation_patterns(seen, gates)
        programs = self._programs(rows, outputs, weights, gates, patterns, loss)
        return certify_network(programs, objective, slopes.T)


def _canonical(X, targets, sample_weight):
    """Float64 data, its canonical rows and their weights."""
    data = np.asarray(X, dtype=np.float64)
    first, weights = canonical_rows(data, targets, check_sample_weight(sample_weight, X))
    return data, first, weights


def _check_size(name, values):
    largest = np.abs(values).max()
    if largest > 1e150:
        raise ValueError(
            f"{name} must not exceed 1e150 in absolute value, got {largest:.1e}: its square is "
            "not finite."
        )


def _solve_output(estimator, k, n_outputs, program, seed, start):
    """Solve the program of one output; a function, so that processes can receive it."""
    report = None
    if estimator.verbose:
        name = type(estimator).__name__
        label = f"[{name}] output {k + 1}/{n_outputs}  " if n_outputs > 1 else f"[{name}] "
        print(
            f"{label}{'phase':<9}{'iteration':>9}{'upper':>14}{'lower':>14}{'gap':>10}{'time':>9}"
        )

        def report(entry):
            print(
                f"{label}{entry['phase']:<9}{entry['iteration']:>9}{entry['upper_bound']:>14.6g}"
                f"{entry['lower_bound']:>14.6g}{entry['gap']:>10.1e}{entry['time']:>8.2f}s"
            )

    return solve(
        program,
        estimator.solver,
        tol=estimator.tol,
        max_iter=estimator.max_iter,
        random_state=seed,
        warm_start=start,
        on_check=report,
    )
