"""One front door for all solvers: units, threads, stopping rule, result."""

import os
import time

import numpy as np
from threadpoolctl import ThreadpoolController

from .admm import ADMM
from .linear_step import CholeskyStep, CoordinateStep, KroneckerStep
from .polish import certify, polish
from .result import Result, Solution
from .scp import solve_scp

SOLVERS = ("admm", "admm-cholesky", "admm-rbcd", "scp")

_LINEAR_STEPS = {
    "admm": KroneckerStep,
    "admm-cholesky": CholeskyStep,
    "admm-rbcd": CoordinateStep,
}
# iterations that tell the blocks of the solution from the others
_SCREENING = 60
# patterns beyond which ADMM over all of them costs more than it tells
_MANY_PATTERNS = 2000
# rows below which a second thread costs more than it brings
_FEW_ROWS = 700


def solve(
    program,
    solver="admm",
    *,
    tol=1e-4,
    max_iter=10_000,
    random_state=None,
    warm_start=None,
    on_check=None,
):
    r"""Solve a sampled convex program and certify the result.

    All solvers stop by one rule: the relative duality gap between a feasible primal and a feasible
    dual point is at most `tol`.

    Parameters
    ----------
    program : SampledProgram
        The program.
    solver : {"admm", "admm-cholesky", "admm-rbcd", "scp"}, default="admm"
        "admm": Kronecker-diagonalised ADMM, polished by an interior point on the blocks it finds
        (any loss). "admm-cholesky", "admm-rbcd": ADMM with the closed-form and the random
        block-coordinate-descent step of the paper (squared loss; losses without kinks), not
        polished. "scp": the sampled convex program with the gates as fixed first layer (any
        loss).
    tol : float, default=1e-4
        Relative duality gap to reach.
    max_iter : int, default=10000
        Bound on the number of iterations, those of the polish included.
    random_state : int or RandomState, default=None
        Order of the blocks of "admm-rbcd"; the other solvers are deterministic.
    warm_start : Result, default=None
        Result on a program with the same patterns, to start from.
    on_check : callable, default=None
        Called with every new entry of the history.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        If an argument is out of range or the solver cannot serve the loss.
    """
    if solver not in SOLVERS:
        raise ValueError(f"solver must be one of {', '.join(SOLVERS)}; got {solver!r}.")
    if not (np.isfinite(tol) and tol > 0):
        raise ValueError(f"tol must be a positive finite number, got {tol!r}.")
    if not max_iter >= 1:
        raise ValueError(f"max_iter must be at least 1, got {max_iter!r}.")
    normalised, row_scale, target_scale, scale = program.normalised()
    ratio = target_scale / row_scale
    start = None
    if warm_start is not None:
        start = _start_point(program, warm_start.solution, ratio, target_scale, scale)
    history, begin = [], time.perf_counter()

    def record(phase, n_iter, certified):
        history.append(
            {
                "iteration": n_iter,
                "phase": phase,
                "upper_bound": scale * certified.upper_bound,
                "lower_bound": scale * certified.lower_bound,
                "gap": certified.gap,
                "time": time.perf_counter() - begin,
            }
        )
        if on_check is not None:
            on_check(history[-1])

    rng = (
        np.random.RandomState(random_state)
        if not hasattr(random_state, "permutation")
        else (random_state)
    )
    with _blas_threads(normalised.n_samples):
        best, n_iter, stalled = _run(normalised, solver, tol, max_iter, rng, start, record)
    point = best.solution
    solution = Solution(
        ratio * point.v,
        ratio * point.w,
        target_scale * point.bias,
        point.slopes * scale / target_scale,
    )
    network = program.network(solution.v, solution.w, solution.bias)
    status = "optimal" if best.gap <= tol else ("stalled" if stalled else "max_iter")
    return Result(
        network=network,
        objective=program.network_objective(network),
        upper_bound=scale * best.upper_bound,
        lower_bound=scale * best.lower_bound,
        gap=best.gap,
        bounds_of="scp" if solver == "scp" else ("global" if program.exhaustive else "sampled"),
        n_iter=n_iter,
        status=status,
        history=history,
        solution=solution,
    )


def _blas_threads(n_samples):
    """Limit BLAS to what the size deserves.

    The wheels of numpy and scipy bring a pool of threads each. Two pools of several threads, used
    in turn, block one another: measured, a small solve takes a hundred times longer.
    """
    controller = ThreadpoolController().select(user_api="blas")
    if n_samples >= _FEW_ROWS:
        pools = [library["filepath"] for library in controller.info()]
        # scipy's share of the work is small here: its pool gives way
        controller = controller.select(
            filepath=[path for path in pools if "scipy" in os.path.dirname(path)]
        )
    return controller.limit(limits=1)


def _start_point(program, solution, ratio, target_scale, scale):
    shape = (program.rows.shape[1], program.n_patterns)
    if solution.v.shape != shape or solution.slopes.shape != (program.n_samples,):
        raise ValueError(
            f"warm_start must come from a program with blocks of shape {shape} and "
            f"{program.n_samples} rows, got {solution.v.shape} and {len(solution.slopes)} rows."
        )
    return Solution(
        solution.v / ratio,
        solution.w / ratio,
        solution.bias / target_scale,
        solution.slopes * target_scale / scale,
    )


def _run(program, solver, tol, max_iter, rng, start, record):
    """Dispatch to the methods; returns (certified, n_iter, stalled)."""
    if solver == "scp":
        best, n_iter = solve_scp(
            program, tol=tol, max_iter=max_iter, on_check=lambda *a: record("interior", *a)
        )
        return best, n_iter, n_iter < max_iter
    if solver == "admm" and program.n_patterns > _MANY_PATTERNS:
        working = _spread_blocks(program) if start is None else _nonzero_blocks(start.v, start.w)
        best, used = polish(
            program, working, tol=tol, max_iter=max_iter, on_check=lambda *a: record("polish", *a)
        )
        return best, used, used < max_iter
    step = _LINEAR_STEPS[solver](program, rng)
    admm = ADMM(program, step)
    if start is not None:
        admm.start(start)
    if solver == "admm":
        if start is None:
            admm.run(min(_SCREENING, max_iter))
        norms = np.sqrt(np.einsum("sji,sji->si", admm.copies, admm.copies)).ravel()
        working = np.flatnonzero(norms > 1e-2 * norms.max(initial=0.0))
        if working.size == 0:
            working = np.arange(min(2 * program.n_patterns, 10))
        if admm.n_iter < max_iter and _polish_is_worth_it(program, working.size):
            done = admm.n_iter
            best, used = polish(
                program,
                working,
                tol=tol,
                max_iter=max_iter - done,
                on_check=lambda n_iter, certified: record("polish", done + n_iter, certified),
            )
            return best, done + used, done + used < max_iter
    best, check = None, 50
    while True:
        admm.run(min(check, max_iter) - admm.n_iter)
        certified, _ = certify(
            program,
            *admm.copies,
            step.bias,
            step.slopes,
            tol=tol,
            indices=np.arange(2 * program.n_patterns),
            multipliers=admm.cone_multipliers(),
        )
        if best is None:
            best = certified
        else:
            best = _tighter(best, certified)
        record("admm", admm.n_iter, best)
        if best.gap <= tol or admm.n_iter >= max_iter:
            return best, admm.n_iter, False
        check = int(1.5 * admm.n_iter)


def _tighter(best, new):
    """The better feasible point with the better of the two lower bounds."""
    upper = new if new.upper_bound <= best.upper_bound else best
    lower = new if new.lower_bound >= best.lower_bound else best
    point = upper.solution
    solution = Solution(point.v, point.w, point.bias, lower.solution.slopes)
    return type(best)(solution, upper.upper_bound, lower.lower_bound)


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
