"""One front door for all solvers: units, threads, stopping rule, result."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import numpy as np
from scipy.sparse import issparse

from .._typing import FloatArray, OnCheck, Seed, Solver
from ..bounds.dual import Certified, admissible_slopes, certify, dual_norms, resolution, tighter
from ..core.parallel import ALONE, Workers, one_blas_pool
from ..program.neuron_shard import NeuronRows
from ..program.pattern_program import PatternProgram
from ..program.shard import Shards
from ..program.units import Solution
from .admm import ADMM, iterate, kronecker_admm
from .base import (
    BaseSolver,
    Paused,
    Record,
    Result,
    check_options,
    generator,
    no_worse,
    pausing,
)
from .descent import balanced, constant_network
from .fixed_layer import FixedLayer, monotone_layer, solve_shared_layer
from .linear_step import CholeskyStep, CoordinateStep
from .working_set import PausedPolish, polish

# iterations that tell the blocks of the solution from the others
_SCREENING = 60
# patterns beyond which ADMM over all of them costs more than it tells
_MANY_PATTERNS = 2000
# relative gap that single precision allows, and size from which it saves time
_SINGLE_TOL, _MANY_ENTRIES = 1e-4, 1_000_000
# regularisation, in normalised units, below which rounding decides
_SMALLEST_ALPHA = 1e-13


def solve(
    program: PatternProgram,
    solver: Solver | BaseSolver = "admm",
    *,
    tol: float = 1e-4,
    max_iter: int = 10_000,
    random_state: Seed = None,
    warm_start: Result | None = None,
    on_check: OnCheck | None = None,
) -> Result:
    r"""Solve a sampled convex program and certify the result.

    All solvers stop by one rule: the relative duality gap between a feasible primal and a feasible
    dual point is at most `tol`.

    Parameters
    ----------
    program : PatternProgram
        The program, see `PatternProgram`.
    solver : {"admm", "admm-cholesky", "admm-rbcd", "scp"} or BaseSolver, default="admm"
        "admm": Kronecker-diagonalised ADMM, polished by an interior point on the blocks it finds
        (any loss). "admm-cholesky", "admm-rbcd": ADMM with the closed-form and the random
        block-coordinate-descent step of the paper (squared loss; losses without kinks), not
        polished. "scp": the sampled convex program with the gates as fixed first layer (any
        loss). Or an object of your own.
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=10000
        Bound on the number of iterations, those of the polish included.
    random_state : int or RandomState, default=None
        Order of the blocks of "admm-rbcd"; the other solvers are deterministic.
    warm_start : Result, default=None
        Result on a program with the same patterns, to start from. Where its iterations had run out
        on this very program, the solver goes on.
    on_check : callable, default=None
        Called with every new entry of the history; the solver stops when it returns a true value.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If an argument is out of range, the solver cannot serve the loss, or sparse rows are too
        large to be made dense, as all solvers but "scp" need them.
    """
    solver = as_solver(solver, program.loss)
    check_options(tol, max_iter, warm_start)
    rng = generator(random_state)
    # a shared layer is solved from nothing
    if warm_start is not None and not program.problem.is_shared:
        _check_shape(program, warm_start.solution)
    paused = Paused.of(warm_start, solver.name, program)
    units = program.problem.natural_units

    def network_of(point):
        point = program.problem.normalised.to_user(point)
        return program.network(point.v, point.w, point.bias)

    record = Record(units.objective, on_check, network_of)
    if warm_start is not None and paused is not None and warm_start.gap <= tol:
        record("start", 1, _known(program, warm_start), lambda: warm_start.network)
        return replace(warm_start, n_iter=1, status="optimal", history=record.history)
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        if program.problem.is_shared:
            result = _solve_shared(program, solver, tol, max_iter, paused, record, workers)
            return result if paused is None else no_worse(result, warm_start)
        best, n_iter = _optimal_constant(program.normalised, tol, record), 1
        if best is None:
            if solver.needs_dense_rows and issparse(program.rows):
                program = program.dense()
            problem = program.problem.normalised
            start = None
            if warm_start is not None:
                state = None if paused is None else paused.state
                start = replace(problem.from_user(warm_start.solution), paused=state)
            best, n_iter = _solve_normalised(
                program.normalised, solver, tol, max_iter, rng, start, record, workers
            )
            if paused is not None:
                known = replace(_known(program, warm_start), solution=start)
                best = pausing(tighter(known, best), best.solution.paused)
    solution = program.problem.normalised.to_user(best.solution)
    point = solution.v, solution.w, solution.bias
    network = program.network(*cast("tuple[FloatArray, FloatArray, float]", point))
    status = record.status(best.gap, tol, "max_iter" if n_iter >= max_iter else "stalled")
    state = best.solution.paused if status == "max_iter" else None
    result = Result(
        network=network,
        objective=program.network_objective(network),
        upper_bound=units.objective * best.upper_bound,
        lower_bound=units.objective * best.lower_bound,
        gap=best.gap,
        bounds_of=solver.bounds_of or ("global" if program.exhaustive else "patterns"),
        n_iter=n_iter,
        status=status,
        history=record.history,
        solution=replace(solution, paused=Paused(solver.name, program.digest(), state)),
    )
    return result if paused is None else no_worse(result, warm_start)


def _known(program, result):
    """The bounds of a result on the same program, in normalised units, with its own point."""
    unit = program.problem.natural_units.objective
    bounds = result.upper_bound / unit, result.lower_bound / unit
    return Certified(result.solution, *bounds, resolution(program.normalised))


def _solve_shared(program, solver, tol, max_iter, paused, record, workers):
    """The sampled convex program of outputs that share the directions of a program."""
    if solver.bounds_of != FixedLayer.bounds_of:
        raise ValueError(
            f"solver must be {FixedLayer.name!r} where outputs share a hidden layer, got "
            f"{solver.name!r}."
        )
    problem, directions = program.problem.normalised, program.normalised.directions
    signs = None
    if problem.monotone is not None:
        directions, signs = monotone_layer(directions, problem.monotone)
    outputs, best, _, n_iter = solve_shared_layer(
        NeuronRows(problem, workers),
        directions,
        tol=tol,
        max_iter=max_iter,
        record=record,
        signs=signs,
        paused=None if paused is None else paused.state,
    )
    network = problem.user_network(*balanced(directions, outputs), best.solution.bias)
    units = problem.units
    status = record.status(best.gap, tol, "max_iter" if n_iter >= max_iter else "stalled")
    state = best.solution.paused if status == "max_iter" else None
    return Result(
        network=network,
        objective=program.network_objective(network),
        upper_bound=units.objective * best.upper_bound,
        lower_bound=units.objective * best.lower_bound,
        gap=best.gap,
        bounds_of=solver.bounds_of,
        n_iter=n_iter,
        status=status,
        history=record.history,
        solution=Solution(
            None,
            None,
            network.output_biases,
            units.slope * best.solution.slopes,
            Paused(solver.name, program.digest(), state),
        ),
    )


def as_solver(solver, loss):
    """The solver of a name, or the one given; ValueError where it cannot serve the loss."""
    if not isinstance(solver, BaseSolver):
        if solver not in SOLVERS:
            raise ValueError(f"solver must be one of {', '.join(SOLVERS)}; got {solver!r}.")
        solver = _SOLVERS[SOLVERS.index(solver)]
    solver.check_loss(loss)
    return solver


def _check_shape(program, solution):
    """Raise ValueError for a point of a program with other rows or patterns."""
    shape = (program.rows.shape[1], program.n_patterns)
    if solution.v is None:
        raise ValueError("warm_start must come from a program with one output, got a shared layer.")
    if solution.v.shape != shape or solution.slopes.shape != (program.n_samples,):
        raise ValueError(
            f"warm_start must come from a program with blocks of shape {shape} and "
            f"{program.n_samples} rows, got {solution.v.shape} and {len(solution.slopes)} rows."
        )


def _constant(program):
    """The constant network as a point (v, w, bias, slopes) of a normalised program."""
    zero = np.zeros((program.rows.shape[1], program.n_patterns))
    bias, slopes = constant_network(
        program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
    )
    return zero, zero, bias, slopes


def _optimal_constant(program, tol, record):
    """The constant network, certified, where that reaches the tolerance; else None."""
    point = _constant(program)
    if not _may_be_optimal(program, point[-1]):
        return None
    constant, _ = certify(program, *point, tol=tol)
    if constant.gap > tol:
        return None
    record("constant", 1, constant)
    return constant


def _solve_normalised(program, solver, tol, max_iter, rng, start, record, workers):
    """Solve in normalised units; returns the best certified point and the iterations."""
    solvable = program
    # the bounds of a fixed layer are its own, and not those of the patterns of its directions
    if program.alpha < _SMALLEST_ALPHA and solver.bounds_of != FixedLayer.bounds_of:
        # so little regularisation drowns in rounding: more of it solves the same problem better
        solvable = program.with_target(program.y, alpha=_SMALLEST_ALPHA)
    best, n_iter = solver.run(
        solvable,
        tol=tol,
        max_iter=max_iter,
        rng=rng,
        start=start,
        record=record,
        workers=workers,
    )
    paused = best.solution.paused
    if solvable is not program:
        point = best.solution
        best, _ = certify(program, point.v, point.w, point.bias, point.slopes, tol=tol)
        record("rescaled", n_iter, best)
    constant = _constant(program)
    if not best.upper_bound <= program.objective(*constant[:3]):
        # rounding, or too few iterations, has left less than where we came from
        constant, _ = certify(program, *constant, tol=tol)
        best = tighter(constant, best)
        record("constant", n_iter, best)
    return pausing(best, paused), n_iter


def _may_be_optimal(program, slopes, count=10):
    """Whether the few largest dual gradients of the constant network do not rule it out."""
    slopes = admissible_slopes(program, slopes)
    cheap = dual_norms(program, slopes, exact_above=np.inf)
    largest = np.argsort(-cheap)[:count]
    norms = dual_norms(program, slopes, exact_above=program.alpha, indices=largest)
    return norms.max() <= 1.01 * program.alpha


def _constant_point(program):
    """The best constant network, with no lower bound but zero."""
    point = _constant(program)
    return Certified(Solution(*point), program.objective(*point[:3]), 0.0, resolution(program))


def enough_precision(program, tol):
    """The dtype that is enough for the state of ADMM: single where its rounding does not show."""
    alike = program.weights.min() > 1e-6 * program.weights.max()
    return program.problem.design.precision if tol >= _SINGLE_TOL and alike else np.float64


def _nonzero_blocks(v, w):
    return np.flatnonzero(np.concatenate([v, w], axis=1).any(axis=0))


def _spread_blocks(program, count=100):
    """Both blocks of patterns spread evenly over the list."""
    columns = np.unique(np.linspace(0, program.n_patterns - 1, count).astype(int))
    return np.concatenate([columns, program.n_patterns + columns])


def _polish_is_worth_it(program, n_blocks):
    """Whether some 40 Newton systems cost no more than the ADMM iterations they replace."""
    n, P = program.patterns.shape
    d = program.rows.shape[1]
    newton = 40.0 * (n**2 * n_blocks * d + n**3 / 3)
    admm = 5000.0 * 12.0 * n * d * P
    return n <= 10_000 and newton <= 4.0 * admm


class KroneckerADMM(BaseSolver):
    """Kronecker-diagonalised ADMM, polished by an interior point on the blocks it finds."""

    name, refines = "admm", True

    def run(self, program, *, tol, max_iter, rng, start, record, workers):  # noqa: D102
        paused = None if start is None else start.paused
        if program.n_patterns > _MANY_PATTERNS or isinstance(paused, PausedPolish):
            few = _spread_blocks(program) if start is None else _nonzero_blocks(start.v, start.w)
            return polish(
                program,
                few,
                start,
                tol=tol,
                max_iter=max_iter,
                on_check=lambda *a: record("polish", *a),
                workers=workers,
            )
        if paused is None:
            many = program.patterns.size >= _MANY_ENTRIES
            dtype = enough_precision(program, tol) if many else np.float64
            shards = Shards.of(program, workers=workers, splits_loss=True, dtype=dtype)
            admm, spectra = kronecker_admm(shards, program.alpha)
        else:
            admm, spectra = _resumed(paused, workers)
        begun = admm.n_iter
        if start is not None and paused is None:
            admm.start(start)
        else:
            admm.run(min(max(_SCREENING - begun, 0), max_iter))
        norms = np.sqrt(np.einsum("sji,sji->si", admm.copies, admm.copies)).ravel()
        working = np.flatnonzero(norms > 1e-2 * norms.max(initial=0.0))
        if working.size == 0:
            working = np.arange(min(2 * program.n_patterns, 10))
        done, whole = admm.n_iter - begun, len(admm.columns) == program.n_patterns
        if done < max_iter and whole and _polish_is_worth_it(program, working.size):
            best, used = polish(
                program,
                working,
                start,
                tol=tol,
                max_iter=max_iter - done,
                on_check=lambda n_iter, certified: record("polish", done + n_iter, certified),
                workers=workers,
            )
            return best, done + used
        return _iterate(admm, program, tol, max_iter, record, spectra, begun)


class PaperADMM(BaseSolver):
    """ADMM of the paper, not polished; subclasses have the linear step."""

    step: type

    def run(self, program, *, tol, max_iter, rng, start, record, workers):  # noqa: D102
        if start is not None and start.paused is not None:
            admm, _ = _resumed(start.paused, workers)
            return _iterate(admm, program, tol, max_iter, record, None, admm.n_iter)
        shards = Shards.of(program, workers=workers, splits_loss=False, dtype=np.float64)
        admm = ADMM(shards, self.step(program, rng), program.alpha, program.gates.shape)
        if start is not None:
            admm.start(start)
        return _iterate(admm, program, tol, max_iter, record)


class CholeskyADMM(PaperADMM):
    """With the closed-form step for the squared loss."""

    name, step = "admm-cholesky", CholeskyStep

    def check_loss(self, loss):  # noqa: D102
        if loss.name != "squared_error":
            raise ValueError(
                "solver='admm-cholesky' has a closed form for loss='squared_error' only, got "
                f"{loss.name!r}; use solver='admm' or 'admm-rbcd'."
            )


class CoordinateADMM(PaperADMM):
    """With the random block-coordinate-descent step for losses without kinks."""

    name, step = "admm-rbcd", CoordinateStep

    def check_loss(self, loss):  # noqa: D102
        if not np.isfinite(loss.curvature):
            raise ValueError(
                "solver='admm-rbcd' needs a loss with a Lipschitz derivative, got "
                f"{loss.name!r}; use solver='admm'."
            )


def _iterate(admm, program, tol, max_iter, record, spectra=None, begun=0):
    best, n_iter = iterate(
        admm,
        program.gates,
        tol=tol,
        max_iter=max_iter,
        record=record,
        best=_constant_point(program),
        spectra=spectra,
        begun=begun,
    )
    if n_iter >= max_iter:
        admm.shards.workers = ALONE
        best = pausing(best, (admm, spectra))
    return best, n_iter


def _resumed(paused, workers):
    """ADMM that ran out of iterations, and its spectra; what was paused stays as it is."""
    admm, spectra = copy.deepcopy(paused)
    admm.shards.workers = workers
    return admm, spectra


_SOLVERS = (KroneckerADMM(), CholeskyADMM(), CoordinateADMM(), FixedLayer())
SOLVERS = tuple(solver.name for solver in _SOLVERS)
