"""The pipeline of a fit: data and options go in, a network and what is known of it come out.

Estimators, paths and cross-validation call it with values; nothing here knows an estimator.
"""

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from .._typing import FloatArray, IntArray
from ..core.network import TwoLayerReLU
from ..core.parallel import serial_blas
from ..core.rows import by_column, digest, largest
from ..program.pattern_program import PatternProgram
from ..program.patterns import (
    activation_patterns,
    check_patterns,
    distinct_patterns,
    enumerate_gates,
    realizing_gates,
    strict_gates,
)
from ..proof.certificate import Certificate
from ..selection.feature_weights import feature_importances
from ..solvers.base import Result
from ._data import canonical_data, check_size
from ._options import FitOptions

# patterns="all" beyond this count would take hours
MAX_PATTERNS = 250_000


@dataclass(frozen=True, eq=False)
class CanonicalProblem:
    """What is minimised, on canonical rows; a column of `outputs` for each output.

    Outputs that share a hidden layer have one program and one penalty, others have one each.
    """

    options: FitOptions
    # all rows, in float64, and where the canonical ones are among them
    data: Any
    first: IntArray
    rows: Any
    outputs: FloatArray
    weights: FloatArray
    alphas: FloatArray
    # of how many distinct rows these are a sample
    n_rows: int | None = None
    # what the columns of data and rows have been multiplied by; None: nothing
    feature_weights: FloatArray | None = None

    def digest(self):
        """Digest of all that defines the objective."""
        options = self.options
        losses = [loss for loss, _ in self.targets]
        signs = None if options.monotone is None else options.monotone.tolist()
        defined = repr((losses, options.fit_intercept, signs)).encode()
        numbers = digest(self.rows, self.outputs, self.weights, self.alphas)
        return hashlib.sha256(defined + numbers).hexdigest()

    @serial_blas()
    def judged(self, seed, n_jobs=None):
        """The problem with the penalties and feature weights that rows left out prefer."""
        if not self.options.is_judged:
            return self
        data = self.rows, self.outputs, self.weights
        factors, feature_weights = self.options.choose(*data, seed, n_jobs)
        found = self.weighted(feature_weights)
        return replace(found, alphas=found.alphas * factors)

    @property
    def feature_weights_(self):
        """The feature weights, ones where there are none."""
        given = self.feature_weights
        return np.ones(self.rows.shape[1]) if given is None else given

    def weighted(self, feature_weights):
        """The problem in features times weights."""
        if (feature_weights == 1.0).all():
            return self
        data, rows = (by_column(np.multiply, X, feature_weights) for X in (self.data, self.rows))
        alphas = self.options.penalties(rows, self.outputs, self.weights, self.n_rows)
        return replace(self, data=data, rows=rows, alphas=alphas, feature_weights=feature_weights)

    def of_user(self, network):
        """A network of the user's features as one of these, which may be weighted."""
        if self.feature_weights is None:
            return network
        # what a weight of zero hides has no part in the network
        shares = np.where(self.feature_weights > 0, self.feature_weights, np.inf)
        return network.rescaled(1.0 / shares)

    def to_user(self, network):
        """A network of these features as one of the user's."""
        return network if self.feature_weights is None else network.rescaled(self.feature_weights)

    @property
    def is_shared(self):
        """Whether the outputs share a hidden layer."""
        return self.options.shares(self.outputs.shape[1])

    @property
    def targets(self):
        """Loss and targets of every program."""
        return self.options.targets(self.outputs)

    def parts(self, network):
        """The network of every program."""
        return [network] if self.is_shared else network.split()

    def objectives(self, network):
        """Objectives of a network in every program."""
        parts = zip(self.parts(network), self.targets, self.alphas, strict=True)
        with np.errstate(over="ignore", invalid="ignore"):
            objectives = [
                part.objective(self.rows, y, loss=loss, alpha=alpha, weights=self.weights)
                for part, (loss, y), alpha in parts
            ]
        return self.checked(objectives)

    def slopes(self, network):
        """Slopes of the loss at a network, for every program."""
        outputs = network(self.rows)
        return [
            loss.derivative(outputs if self.is_shared else outputs[:, k], y)
            for k, (loss, y) in enumerate(self.targets)
        ]

    def checked(self, objectives):
        """The objectives, if they are finite; else a ValueError that says why they are not."""
        if not np.isfinite(objectives).all():
            raise ValueError(
                "The objective is not finite: X or y hold values too large for float64 "
                f"arithmetic (largest |X| {largest(self.rows):.1e}, largest |y| "
                f"{np.abs(self.outputs).max():.1e}). Rescale them, e.g. with StandardScaler."
            )
        return objectives


@dataclass(frozen=True, eq=False)
class Prepared:
    """A problem with its patterns: a program of all outputs or one each, on the same gates."""

    problem: CanonicalProblem
    gates: FloatArray
    programs: list[PatternProgram]

    @property
    def n_outputs(self):
        """Number of outputs of one program."""
        y = self.programs[0].y
        return 1 if y.ndim == 1 else y.shape[1]


@dataclass(frozen=True, eq=False)
class Fitted:
    """Outcome of a fit: the network, and for each program what was solved and what it says."""

    prepared: Prepared
    network: TwoLayerReLU
    # over the patterns found, where they are adaptive
    programs: list[PatternProgram]
    results: list[Result]
    # of the optimum over all networks
    bounds: list[Any]

    @classmethod
    def of(cls, prepared, solved):
        """Join the programs, results and bounds of the outputs."""
        programs, results, bounds = map(list, zip(*solved, strict=True))
        problem = prepared.problem
        problem.checked([result.objective for result in results])
        network = problem.to_user(TwoLayerReLU.stack([result.network for result in results]))
        return cls(prepared, network, programs, results, bounds)

    @property
    def objectives(self):
        """Objectives of the outputs."""
        return [result.objective for result in self.results]

    @property
    def lower_bound(self):
        """Lower bound on the optimum of the programs."""
        return sum(result.lower_bound for result in self.results)

    @property
    def gap(self):
        """The largest gap of a program."""
        return max(result.gap for result in self.results)

    @property
    def distinct_programs(self):
        """Programs with patterns of their own."""
        adaptive = self.prepared.problem.options.kind == "adaptive"
        return self.programs if adaptive else self.programs[:1]

    @property
    def detail(self):
        """What a certificate says of the programs; nothing where only descent ran."""
        if self.results[0].bounds_of == "searched":
            return {}
        programs = self.distinct_programs
        return {
            "program_upper_bound": sum(result.upper_bound for result in self.results),
            "program_lower_bound": self.lower_bound,
            "program_gap": self.gap,
            "fixed_directions": self.results[0].bounds_of == "scp",
            "n_directions": sum(program.n_directions for program in programs),
            "n_patterns": sum(program.n_patterns for program in programs),
        }

    @property
    def attributes(self):
        """The attributes that every fit sets."""
        problem, alphas = self.prepared.problem, self.prepared.problem.alphas
        importances = feature_importances(
            problem.of_user(self.network), problem.rows, problem.weights / problem.weights.sum()
        )
        return {
            **network_attributes(self.network),
            "feature_importances_": importances,
            "alpha_": float(alphas[0]) if np.ptp(alphas) == 0 else alphas,
            "objective_": sum(self.objectives),
            "n_iter_": max(result.n_iter for result in self.results),
            "history_": [
                {"output": k, **entry}
                for k, result in enumerate(self.results)
                for entry in result.history
            ],
            "loss_curve_": _loss_curve([result.history for result in self.results]),
        }


def _loss_curve(histories):
    """The least objective so far at every check, summed over outputs that take turns."""
    length = max(map(len, histories))
    curves = []
    for history in histories:
        least = np.minimum.accumulate([entry["upper_bound"] for entry in history])
        # an output that is through stays what it is
        curves.append(np.pad(least, (0, length - len(least)), mode="edge"))
    return np.sum(curves, axis=0)


@dataclass(frozen=True, eq=False)
class LastFit:
    """What the next fit can start from, and the next certificate go on from."""

    kind: str
    gates: FloatArray
    # gates of distinct patterns, on the rows of the fit
    kept: IntArray
    # of fits that do not start from the last one without what has the size of the rows
    results: list[Result]
    feature_weights: FloatArray
    digest: str
    # the best one so far; None where there is none
    certificate: Certificate | None

    @classmethod
    def of(cls, fitted, certificate, *, warm):
        """What is kept of a fit; with `warm` all that the next one can go on from."""
        prepared = fitted.prepared
        problem, kept = prepared.problem, prepared.programs[0].kept
        kind = problem.options.kind
        results = [_start(result, warm) for result in fitted.results]
        weights = problem.feature_weights_
        return cls(kind, prepared.gates, kept, results, weights, problem.digest(), certificate)

    def gates_for(self, options, seen):
        """The random gates, where they are as many as are wanted and fit the rows; else None."""
        kinds = ("directions",) if options.kind == "directions" else ("random", "adaptive")
        if self.kind not in kinds or self.gates.shape[1] != options.n_patterns:
            return None
        if not self._saw_as_many(seen.shape[1], options):
            return None
        # of rows that have moved away they tell few patterns apart
        left = distinct_patterns(activation_patterns(seen, self.gates))
        return self.gates if 2 * left.size >= self.kept.size else None

    def starts(self, prepared):
        """Results to start from, one per output; None where they do not fit the programs."""
        options, program = prepared.problem.options, prepared.programs[0]
        solution = self.results[0].solution
        if options.kind == "adaptive":
            # any network on the same features may start the descent
            fits = self._saw_as_many(prepared.gates.shape[0], options)
        else:
            fits = (
                self.kind != "adaptive"
                and solution is not None
                and len(solution.slopes) == program.n_samples
                and np.array_equal(self.gates, prepared.gates)
                and np.array_equal(self.kept, program.kept)
                # "scp" has a neuron for every direction, also where patterns are the same; where
                # outputs share a fixed layer, its weights are found anew
                and (solution.v is None) == program.problem.is_shared
                and (solution.v is None or solution.v.shape[1] == program.n_patterns)
            )
        programs = prepared.programs
        fits = fits and len(self.results) == len(programs)
        # blocks and neurons are those of weighted features
        fits = fits and np.array_equal(self.feature_weights, prepared.problem.feature_weights_)
        fits = fits and self.results[0].network.n_outputs == prepared.n_outputs
        return self.results if fits else [None] * len(programs)

    def _saw_as_many(self, d, options):
        """Whether neurons had d inputs, with a bias among them if there is one now."""
        n_features = self.results[0].network.hidden_weights.shape[0]
        return self.gates.shape[0] == d == n_features + options.fit_intercept


def _start(result, warm):
    """What another fit may need of a result."""
    kept = {field.name: getattr(result, field.name) for field in fields(Result)}
    return Result(**kept | {"history": [], "solution": result.solution if warm else None})


def draw_seed(rng):
    """A seed for all outputs: each is treated as it would be alone."""
    return int(rng.randint(2**31 - 1))


@serial_blas()
def canonical_problem(X, targets, sample_weight, options, *, accept_sparse=True, n_samples=None):
    """Rows in one order, each once, their sizes checked, and the penalties.

    `accept_sparse` says whether rows may be kept as CSR, and `n_samples` how many rows X is a
    sample of, where it is one.
    """
    data, first, weights = canonical_data(X, targets, sample_weight, accept_sparse)
    # columns of their own, so that an output is fitted as it would be alone
    rows, outputs = data[first], np.asfortranarray(targets[first])
    check_size("X", rows)
    check_size("y", outputs)
    # distinct rows count once, of all rows as of those of a sample
    n_rows = None if n_samples is None else round(len(first) * n_samples / data.shape[0])
    alphas = options.penalties(rows, outputs, weights, n_rows)
    problem = CanonicalProblem(options, data, first, rows, outputs, weights, alphas, n_rows)
    return problem.weighted(options.given_weights(data.shape[1]))


@serial_blas()
def prepare(problem, rng, last=None):
    """Choose patterns, those of the last fit where they are to be kept, and set up programs."""
    options, alphas = problem.options, problem.alphas
    gates, patterns = _choose_patterns(problem, rng, last)
    loss, y = problem.targets[0]
    program = PatternProgram.from_data(
        problem.rows,
        y,
        patterns,
        loss=loss,
        alpha=alphas[0],
        sample_weight=problem.weights,
        fit_intercept=options.fit_intercept,
        gates=gates,
        exhaustive=options.kind == "all",
    )
    if options.monotone is not None:
        # a bias may have any sign
        signs = np.append(options.monotone, np.zeros(int(options.fit_intercept), dtype=int))
        program = replace(program, problem=replace(program.problem, monotone=signs))
    programs = [
        program.with_target(y.copy(), alpha=alpha)
        for (_, y), alpha in zip(problem.targets, alphas, strict=True)
    ]
    return Prepared(problem, gates, programs)


def _choose_patterns(problem, rng, last):
    """Gates and patterns of the canonical rows."""
    options, seen = problem.options, problem.options.seen(problem.rows)
    if options.kind == "given":
        patterns = check_patterns(options.patterns, problem.data.shape[0])[problem.first]
        gates, margins = realizing_gates(seen, patterns)
        # a pattern that no direction realises is reported by the program
        return (gates if np.all(margins > 1e-9) else None), patterns
    if options.kind == "all":
        gates = enumerate_gates(seen, max_patterns=MAX_PATTERNS)
    else:
        gates = None if last is None else last.gates_for(options, seen)
        if gates is None:
            gates = options.draw_gates(problem.rows, problem.weights, rng)
    if gates.shape[1] == 0:
        raise ValueError(
            "X must have a row that is not zero when fit_intercept=False: no neuron without a bias "
            "is active on zeros."
        )
    return gates, activation_patterns(seen, gates)


@serial_blas()
def fit_outputs(prepared, seed, report, *, last=None, n_jobs=None):
    """Solve the programs of the outputs, `n_jobs` at the same time.

    `report` is called with the number of an output, and returns a `Reporter`.
    """
    programs = prepared.programs
    starts = [None] * len(programs) if last is None else last.starts(prepared)
    # a lone task runs here, where its table can be printed as it grows
    solved = Parallel(n_jobs=n_jobs if len(programs) > 1 else 1)(
        delayed(_fit_output)(prepared.problem.options, program, seed, start, report, k)
        for k, (program, start) in enumerate(zip(programs, starts, strict=True))
    )
    return Fitted.of(prepared, solved)


def _fit_output(options, program, seed, start, report, k):
    """The program that was solved, its result, and its bounds."""
    reporter = report(k)
    program, result = options.solve(program, random_state=seed, warm_start=start, on_check=reporter)
    reporter.end()
    return program, result, options.bound(program, result)


def programs_of_network(network, problem):
    """The programs over all patterns or over those of the network's neurons."""
    every = problem.options.kind == "all" and not problem.is_shared
    kind = "all" if every else "adaptive" if problem.is_shared else "random"
    rng = np.random.RandomState(0)
    options = replace(problem.options, patterns=kind, n_patterns=1, solver="admm")
    programs = prepare(replace(problem, options=options), rng).programs
    if every:
        return programs
    seen = programs[0].rows
    for k, part in enumerate(problem.parts(network)):
        neurons, strict = strict_gates(seen, part.directions(options.fit_intercept), rng)
        strict &= activation_patterns(seen, neurons).any(axis=0)
        if strict.any():
            programs[k] = programs[k].with_gates(neurons[:, strict])
    return programs


def network_attributes(network):
    """The attributes that predictions need, and the parts of the network."""
    return {
        "network_": network,
        "coefs_": [network.hidden_weights, network.output_weights],
        "intercepts_": [network.hidden_biases, network.output_biases],
        "n_neurons_": network.n_neurons,
        "n_outputs_": network.n_outputs,
    }
