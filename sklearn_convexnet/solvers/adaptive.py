r"""Adaptive patterns: descend, price, descend again; then certify on the patterns found.

The program over patterns is an upper bound of the training problem, loose where the sample is
drawn blindly. Here its patterns are chosen: neurons descend on their own objective (`Descent`), the
neurons that the dual variables ask for join them (`price`), and both repeat until a round gains
nothing worth its while. This is column generation on the convex program, with columns that move.
The patterns of the neurons that are left make the program; the network is a feasible point
of it, and the slopes of its loss all but optimal dual variables.

Neurons that several outputs share are the business of `SharedSearch`.

A descent that smooths kinks is blind to rows closer than that, and its minimum may lie far above
the optimum. Where rows are few and the program is cheap, its own dual variables are priced as well
(`_grow`): it gains patterns until none is missing to the tolerance.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..bounds.dual import certify, relative_gap
from ..bounds.search import search_dual
from ..core.parallel import Workers, one_blas_pool
from ..core.rows import check_dense, fits_dense
from ..program.neuron_shard import NeuronRows
from ..program.patterns import activation_patterns, few_gates, strict_gates
from ..program.units import Solution
from .base import Paused, Record, Result, check_options, generator, no_worse, pausing
from .neurons import DEFAULT_GAP, MOST_ROUNDS, SHARPENING, STARTS, NeuronSearch, pattern_keys
from .shared import SharedSearch
from .solve import as_solver, solve

# multiplications of the descent, a neuron, row and coordinate; Newton systems to expect of the
# interior point, and their share of its time in that of as many multiplications of the descent
_PRODUCTS, _SYSTEMS, _DENSE = 12.0, 150.0, 0.2
# where no gap is asked for, sharpening goes on as long as it leaves no more than this share of one
_HOPE = 0.8
# a program is cheap up to these multiplications for a Newton system; all patterns are climbed from
# where there are so few; a direction found touches rows, and is moved off them so many times
_CHEAP, _FEW_PATTERNS, _MOVES = 1e7, 1000, 4


def solve_adaptive(
    program,
    solver="admm",
    *,
    tol=None,
    max_iter=10_000,
    random_state=None,
    warm_start=None,
    on_check=None,
):
    """Choose the patterns of a program, then solve it.

    Parameters
    ----------
    program : PatternProgram
        The data, the loss and the penalty; its gates are the neurons that the descent starts from.
    solver : str or BaseSolver, default="admm"
        For the program over the patterns found, see `solve`. "admm" runs only where the
        descent has not reached the tolerance by itself, and the rows are not too large for it.
    tol : float, default=None
        Relative duality gap to reach on the patterns found. None: 0.05, as far as that takes about
        as long as the descent to the network did, no longer.
    max_iter : int, default=10000
        Bound on the iterations, of L-BFGS and of the solver.
    random_state : int or RandomState, default=None
        Signs of the first neurons and starts of the search for new ones.
    warm_start : Result, default=None
        Result on the same features, whose network is to start from. Where its iterations had run
        out on this very program, the search goes on.
    on_check : callable, default=None
        Called with every new entry of the history; the solver stops when it returns a true value.

    Returns
    -------
    program : PatternProgram
        The program over the patterns found.
    result : Result
        Its solution; the network is the best one seen.
    """
    solver = as_solver(solver, program.loss)
    check_options(DEFAULT_GAP if tol is None else tol, max_iter, warm_start)
    if solver.needs_dense_rows and not solver.refines:
        check_dense(program.rows, f"solver={solver.name!r}")
    rng = generator(random_state)
    name = f"adaptive, {solver.name}"
    paused = Paused.of(warm_start, name, program)
    found, result = _solve(program, solver, tol, max_iter, rng, warm_start, paused, on_check)
    if paused is not None:
        result = no_worse(result, warm_start)
    state = result.solution.paused if result.status == "max_iter" else None
    return found, pausing(result, Paused(name, program.digest(), state))


class PausedSearch(NamedTuple):
    """A search that ran out of iterations."""

    saved: dict[str, Any]
    n_iter: int
    # the result of the solver, where that had its turn
    final: Result | None


def _solve(program, solver, tol, max_iter, rng, warm_start, paused, on_check):
    """As `solve_adaptive`; `paused` is where it ended with the same program."""
    state = None if paused is None else paused.state
    record = Record(program.problem.natural_units.objective, on_check)
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        rows = NeuronRows(program.problem.normalised, workers)
        make = SharedSearch if program.problem.is_shared else PatternSearch
        search = make(program, rows, tol, max_iter, rng, record)
        if state is not None:
            search.resume(state.saved, state.n_iter)
        search.find(None if warm_start is None else warm_start.network)
        tol = search.tol
        if program.problem.is_shared:
            found, result = search.solve()
        else:
            found, certified = search.certify()
    # what was the last word of the solver, and is now
    last, final = None if state is None else state.final, None

    def solve_on(found, start, done):
        final = solve(
            found,
            solver,
            tol=tol,
            max_iter=max(max_iter - done, 1),
            random_state=search.rng,
            warm_start=start,
            on_check=lambda entry: record.append(
                {
                    **entry,
                    "iteration": min(done + entry["iteration"], max_iter),
                    "time": record.elapsed,
                },
                entry.network,
            ),
        )
        return replace(final, n_iter=min(done + final.n_iter, max_iter), history=record.history)

    if program.problem.is_shared:
        if solver.bounds_of == "scp" and not record.stopped and search.n_iter < max_iter:
            final = solve_on(found, last, search.n_iter)
            result = _best_of(result, final, tol)
        return found, pausing(result, PausedSearch(search.saved, search.descent.n_iter, final))
    # no neuron lowers the objective: whatever the patterns, the constant network is optimal
    result = None if found is None else _result(found, search, certified, tol)
    found = program if found is None else found
    solvable = not solver.needs_dense_rows or fits_dense(program.rows)
    if result is not None and not solvable:
        status = "too_large" if search.left > 0 else result.status
        return found, replace(result, status=search.record.status(result.gap, tol, status))

    refined = result is not None and solver.refines
    done = refined and result.status == "optimal"
    if refined and not done and not search.strict and not _is_cheap(found, search):
        result = replace(result, status=record.status(result.gap, tol, search.exhausted))
    elif result is None or (search.n_iter < max_iter and not done and not record.stopped):
        start = result if solver.refines and last is None else last
        final = solve_on(found, start, search.n_iter)
        result = final if result is None else _best_of(result, final, tol)
    if solver.refines:
        found, result = _grow(found, result, solve_on, tol=tol, max_iter=max_iter, rng=search.rng)
    check = record.history[-1]
    if result.gap != check["gap"]:
        record.append(
            {
                **check,
                "phase": "combined",
                "upper_bound": result.upper_bound,
                "lower_bound": result.lower_bound,
                "gap": result.gap,
                "time": record.elapsed,
            },
            lambda: result.network,
        )
    # of a search that is not through, the solver has seen other patterns
    final = final if search.n_iter < max_iter else None
    return found, pausing(result, PausedSearch(search.saved, search.descent.n_iter, final))


def _is_cheap(program, search):
    """Whether the interior point costs about as much as finding the network, or less."""
    n, d = program.rows.shape
    m = len(search.best.outputs)
    newton = _SYSTEMS * (n * n * m * d + n**3 / 3.0)
    return _DENSE * newton <= _PRODUCTS * search.finding * n * d * m


def _grow(program, result, solve_on, *, tol, max_iter, rng):
    """Add the patterns that the dual variables of a solution ask for, and solve again.

    Until a search finds none by which the bound over all networks would fall short of `tol`. Only
    small programs are grown: a large one has many patterns missing, and each matters little.
    """
    (n, d), starts = program.rows.shape, None
    for k in range(MOST_ROUNDS):
        cheap = n * n * d * program.n_patterns <= _CHEAP
        if not cheap or result.status != "optimal" or result.n_iter >= max_iter:
            break
        if k == 0:
            starts = few_gates(program.rows, most=_FEW_PATTERNS)
        how = {"n_starts": STARTS, "extra": starts}
        dual = search_dual(program.problem, result.solution.slopes, rng, program.gates, **how)
        if relative_gap(result.objective, dual.lower_bound) <= tol:
            break
        missing = np.repeat(dual.directions[:, program.n_patterns :], _MOVES, axis=1)
        missing, strict = strict_gates(program.rows, missing, rng)
        larger = program.with_gates(np.concatenate([program.gates, missing[:, strict]], axis=1))
        if larger.n_patterns == program.n_patterns:
            break
        final = solve_on(larger, None, result.n_iter)
        if final.gap > tol and final.objective >= result.objective:
            break
        best = min(final, result, key=lambda one: one.objective)
        result = replace(final, network=best.network, objective=best.objective)
        program = larger
    return program, result


class PatternSearch(NeuronSearch):
    """The neurons of one output, and the program over their patterns."""

    # the program and what is certified of it, and whether more would not pay
    certified, certain = None, False

    def certify(self):
        """Sharpen the best network until it is certified on its own patterns.

        Returns
        -------
        program : PatternProgram or None
            Over these patterns; None when the network is a constant.
        certified : Certified or None
        """
        if not self.certain:
            self._sharpen()
            self.certain = True
            self.save()
        return self.certified

    def _sharpen(self):
        for stage in self.steps("sharpening", (*SHARPENING, None)):
            best, (found, certified) = self.certified, self.certify_best()
            hopeful = best is None or certified is None or certified.gap <= _HOPE * best[1].gap
            if best is None or certified is None or certified.gap <= best[1].gap:
                self.certified = found, certified
            if found is None or certified.gap <= self.tol or self.left <= 0 or stage is None:
                return
            if not (hopeful or self.strict):
                return
            self.descend(*stage)

    def certify_best(self):
        """The program over the patterns of the best network, and what it proves there."""
        best = self.best
        if not self.improves:
            return None, None
        gates = self.problem.design.directions(best.directions)
        gates, strict = strict_gates(self.program.rows, gates, self.rng)
        patterns = activation_patterns(self.program.rows, gates)
        usable = strict & patterns.any(axis=0)
        if not usable.any():
            return None, None
        found = self.program.with_gates(gates[:, usable])
        program = found.normalised
        d, P = program.rows.shape[1], program.n_patterns
        column = {key: i for i, key in enumerate(pattern_keys(found.patterns))}
        blocks = np.zeros((2, d, P))
        for j, key in zip(np.flatnonzero(usable), pattern_keys(patterns[:, usable]), strict=True):
            a = best.outputs[j]
            blocks[int(a < 0), :, column[key]] += abs(a) * best.directions[:, j]
        certified, _ = certify(program, *blocks, best.bias, best.slopes, tol=self.tol)
        self.record("certify", self.n_iter, certified, self.best_network)
        return found, certified


def _best_of(one, other, tol):
    """The better network, the better feasible point and the better bound of two results.

    Both are about the same program, unless `other` is of the sampled convex program.
    """
    network = min(one, other, key=lambda result: result.objective)
    best = replace(other, network=network.network, objective=network.objective)
    if one.bounds_of != other.bounds_of:
        return best
    upper = min(one, other, key=lambda result: result.upper_bound)
    lower = max(one, other, key=lambda result: result.lower_bound)
    gap = min(one.gap, other.gap, relative_gap(upper.upper_bound, lower.lower_bound))
    point = upper.solution
    return replace(
        best,
        upper_bound=upper.upper_bound,
        lower_bound=lower.lower_bound,
        gap=gap,
        status="optimal" if gap <= tol else other.status,
        solution=Solution(point.v, point.w, point.bias, lower.solution.slopes),
    )


def _result(program, search, certified, tol):
    problem = program.problem.normalised
    solution = problem.to_user(certified.solution)
    networks = [
        program.network(solution.v, solution.w, solution.bias),
        search.problem.user_network(search.best.directions, search.best.outputs, search.best.bias),
    ]
    objectives = [program.network_objective(network) for network in networks]
    best = int(np.argmin(objectives))
    return Result(
        network=networks[best],
        objective=objectives[best],
        upper_bound=problem.units.objective * certified.upper_bound,
        lower_bound=problem.units.objective * certified.lower_bound,
        gap=certified.gap,
        bounds_of="patterns",
        n_iter=search.n_iter,
        status=search.record.status(certified.gap, tol, search.exhausted),
        history=search.record.history,
        solution=solution,
    )
