r"""Adaptive patterns: descend, price, descend again; then certify on the patterns found.

The program over patterns is an upper bound of the training problem, loose where the sample is
drawn blindly. Here its patterns are chosen: neurons descend on their own objective (`Descent`), the
neurons that the dual variables ask for join them (`price`), and both repeat until a round gains
nothing worth its while. This is column generation on the convex program, with columns that move.
The patterns of the neurons that are left make the program; the network is a feasible point
of it, and the slopes of its loss all but optimal dual variables.

Neurons that several outputs share have no convex program over patterns that is as cheap. There the
dual variables are searched for missing neurons between the stages of the descent, until the bound
that they give is within the tolerance.

A descent that smooths kinks is blind to rows closer than that, and its minimum may lie far above
the optimum. Where rows are few and the program is cheap, its own dual variables are priced as well
(`_grow`): it gains patterns until none is missing to the tolerance.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np

from ..bounds.dual import admissible_slopes, certify, relative_gap
from ..bounds.pricing import distinct, price
from ..bounds.search import search_dual
from ..core.parallel import Workers, one_blas_pool
from ..core.rows import check_dense, fits_dense, root_mean_square
from ..program.patterns import activation_patterns, draw_gates, few_gates, strict_gates
from ..program.units import Solution
from .base import Record, Result, check_options, generator
from .descent import Descent, amplitudes, balanced, constant_network
from .fixed_layer import solve_shared_layer
from .solve import as_solver, solve

# hidden and output weights at the start, in normalised units
_INITIAL_SIZE = 0.3
# smoothing of the kinks in units of a typical pre-activation, and iterations of L-BFGS there:
# on the way down, in the rounds of new neurons, and to be exact enough for the certificate
_DESCENT = ((0.3, 60), (0.1, 60), (0.03, 60))
_ROUND = (0.02, 60)
_SHARPENING = ((0.01, 100), (0.003, 150), (0.001, 250), (0.0005, 250), (0.0002, 500))
# share of the tolerance to which the output weights of shared neurons are solved for, and steps
_MASTER, _MASTER_STEPS = 0.2, 1000
# twice the share of the objective that smoothing the kinks of their loss may cost; with every
# stage half of it
_BLUR = 0.8
# smoothing at which single precision, where it resolves the rows, is still exact enough
_SINGLE_DOWN_TO = 0.003
# share of the objective that a round must gain to be followed by another: per row that it costs,
# at least and at most
_WORTH_PER_ROW, _WORTH_A_ROUND = 1e-6, (1e-4, 1e-3)
# the same where outputs share the neurons: rounds of fixed layers follow, which gain more
_WORTH_SHARED_PER_ROW, _WORTH_SHARED = 1e-6, (2e-3, 1e-2)
# cosines of output weights, of the neurons of a pattern, from which these are one
_PARALLEL = (0.99, 0.9999)
# and the multiplications that such rounds may cost: some seconds
_AFFORDABLE = 5e9
# random directions to climb from, and new neurons of each sign, in a round: at least so many, or
# a share of those that are there, so that a network that has to grow does so in few rounds
_STARTS, _JOINING, _GROWTH = 64, 15, 0.25
_MOST_ROUNDS = 15
# a program is cheap up to these multiplications for a Newton system; all patterns are climbed from
# where there are so few; a direction found touches rows, and is moved off them so many times
_CHEAP, _FEW_PATTERNS, _MOVES = 1e7, 1000, 4


def solve_adaptive(
    program,
    solver="admm",
    *,
    tol=5e-2,
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
    tol : float, default=0.05
        Relative duality gap to reach on the patterns found.
    max_iter : int, default=10000
        Bound on the iterations, of L-BFGS and of the solver.
    random_state : int or RandomState, default=None
        Signs of the first neurons and starts of the search for new ones.
    warm_start : Result, default=None
        Result on the same features, whose network is to start from.
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
    check_options(tol, max_iter, warm_start)
    if solver.needs_dense_rows and not solver.refines:
        check_dense(program.rows, f"solver={solver.name!r}")
    rng = generator(random_state)
    record = Record(program.problem.natural_units.objective, on_check)
    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        search = _Search(program, tol, max_iter, rng, record, workers)
        search.start(warm_start)
        search.rounds()
        shared = program.problem.is_shared
        found, certified = search.shared() if shared else search.certify()
    if shared:
        result = certified
        if solver.bounds_of == "scp":
            final = solve(found, solver, tol=tol, max_iter=max(search.left, 1), random_state=rng)
            result = _best_of(result, final, tol)
        return found, result
    # no neuron lowers the objective: whatever the patterns, the constant network is optimal
    result = None if found is None else _result(found, search, certified, tol)
    found = program if found is None else found
    solvable = not solver.needs_dense_rows or fits_dense(program.rows)
    if result is not None and not solvable:
        status = "too_large" if search.left > 0 else "max_iter"
        return found, replace(result, status=search.record.status(result.gap, tol, status))

    def solve_on(found, start, done):
        final = solve(
            found,
            solver,
            tol=tol,
            max_iter=max(max_iter - done, 1),
            random_state=rng,
            warm_start=start,
            on_check=lambda entry: record.append(
                {
                    **entry,
                    "iteration": min(done + entry["iteration"], max_iter),
                    "time": record.elapsed,
                }
            ),
        )
        return replace(final, n_iter=min(done + final.n_iter, max_iter), history=record.history)

    if result is None or (search.left > 0 and not (solver.refines and result.status == "optimal")):
        final = solve_on(found, result if solver.refines else None, search.n_iter)
        result = final if result is None else _best_of(result, final, tol)
    if solver.refines:
        found, result = _grow(found, result, solve_on, tol=tol, max_iter=max_iter, rng=rng)
    last = record.history[-1]
    if result.gap != last["gap"]:
        record.append(
            {
                **last,
                "phase": "combined",
                "upper_bound": result.upper_bound,
                "lower_bound": result.lower_bound,
                "gap": result.gap,
                "time": record.elapsed,
            }
        )
    return found, result


def _grow(program, result, solve_on, *, tol, max_iter, rng):
    """Add the patterns that the dual variables of a solution ask for, and solve again.

    Until a search finds none by which the bound over all networks would fall short of `tol`. Only
    small programs are grown: a large one has many patterns missing, and each matters little.
    """
    (n, d), starts = program.rows.shape, None
    for k in range(_MOST_ROUNDS):
        cheap = n * n * d * program.n_patterns <= _CHEAP
        if not cheap or result.status != "optimal" or result.n_iter >= max_iter:
            break
        if k == 0:
            starts = few_gates(program.rows, most=_FEW_PATTERNS)
        how = {"n_starts": _STARTS, "extra": starts}
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


@dataclass(frozen=True)
class _Bounds:
    """The objective of a network, and a lower bound; nothing else is known without one."""

    upper_bound: float
    lower_bound: float = 0.0
    gap: float = 1.0


class _Search:
    """The neurons and what is left of the iterations."""

    def __init__(self, program, tol, max_iter, rng, record, workers):
        self.program, self.problem = program, program.problem.normalised
        self.tol, self.max_iter, self.rng, self.record = tol, max_iter, rng, record
        self.best, self.workers, self.blur = None, workers, _BLUR
        # multiplications, of the rounds of fixed layers and of the descents between them
        self.spent = 0.0
        n = self.problem
        # line searches on the steep envelope of a kink notice the rounding of single precision
        smooth = np.isfinite(n.loss.curvature)
        self.precision = self.problem.design.precision if smooth else np.float64
        self.bias, _ = constant_network(n.y, n.weights, n.loss, fit_intercept=n.fit_intercept)
        self.constant = float(n.weights @ n.loss.value(np.full_like(n.y, self.bias), n.y))

    @property
    def n_iter(self):
        return self.descent.n_iter

    @property
    def left(self):
        stopped = self.record.stopped or self.spent > _AFFORDABLE
        return 0 if stopped else self.max_iter - self.n_iter

    def start(self, warm_start):
        """Descend from the program's gates, or from a network that is near already."""
        if warm_start is not None:
            neurons = self.problem.neurons(warm_start.network)
            self.descent = Descent(self.problem, *neurons, self.workers)
            self.scale = self.descent.typical_activation
            self._descend(*_ROUND)
            return
        n, gates = self.problem, self.problem.design.coordinates(self.program.gates)
        norms = np.sqrt(np.einsum("ji,ji->i", gates, gates))
        outputs = _unit_outputs(self.rng, gates.shape[1], n.y.shape[1:])
        # the network has to span the targets, not their distance from zero
        spread = root_mean_square(n.y - self.bias, n.weights) if n.loss.target == "real" else 1.0
        size = _INITIAL_SIZE * np.sqrt(spread) if spread > 0 else _INITIAL_SIZE
        neurons = size * gates / norms, size * outputs, self.bias
        self.descent = Descent(n, *neurons, self.workers)
        self.scale = self.descent.typical_activation
        for stage in _DESCENT:
            if self.best is None or self.left > 0:
                self._descend(*stage)

    def rounds(self):
        """Add the neurons that pricing finds and descend again, as long as that is worth it."""
        problem = self.problem
        worth = np.clip(_WORTH_PER_ROW * problem.n_samples, *_WORTH_A_ROUND)
        if problem.is_shared:
            worth = np.clip(_WORTH_SHARED_PER_ROW * problem.n_samples, *_WORTH_SHARED)
        for _ in range(_MOST_ROUNDS):
            slopes = admissible_slopes(problem, self.descent.slopes)
            priced = price(
                problem, slopes, self._starts(), dtype=self.precision, workers=self.workers
            )
            above = problem.alpha + 0.1 * (priced.largest - problem.alpha)
            most = max(_JOINING, int(_GROWTH * len(self.descent.outputs)))
            joining = distinct(problem, priced, above=above, most=most)
            if joining.size == 0 or self.left <= 0:
                return
            before = self.best.objective
            self.descent.add(priced.directions[:, joining], priced.outputs[joining])
            self._descend(*_ROUND)
            if self.best.objective > before * (1.0 - worth):
                return

    def certify(self):
        """Sharpen the best network until it is certified on its own patterns.

        Returns
        -------
        program : PatternProgram or None
            Over these patterns; None when the network is a constant.
        certified : Certified or None
        """
        best = None
        for stage in (*_SHARPENING, None):
            found, certified = self._certify_best()
            if best is None or certified is None or certified.gap <= best[1].gap:
                best = found, certified
            if found is None or certified.gap <= self.tol or self.left <= 0 or stage is None:
                return best
            self._descend(*stage)

    def shared(self):
        """Grow the best network until a search finds all but the tolerance proved.

        The slopes of a descent are dual variables that its smoothing has blurred. Those of the
        output weights that are best for the neurons, and for the ones that were found missing, are
        exact (`solve_shared_layer`): both are searched by turns, and the best bound counts.

        Returns
        -------
        program : PatternProgram
            Over the patterns of the neurons; that of the start where there are none.
        result : Result
        """
        problem = self.problem
        if self.best.objective >= self.constant:
            d, n_outputs = problem.rows.shape[1], problem.y.shape[1]
            nothing = np.zeros((d, 0)), np.zeros((0, n_outputs)), self.bias
            self.best = Descent(problem, *nothing, self.workers)
            self.best.loss_width = self.descent.loss_width
        self._merge()
        dual = self._price_best(self.best.slopes)
        for stage in _SHARPENING:
            if self._gap(dual) <= self.tol or self.left <= 0:
                break
            self.blur *= 0.5
            dual = max(dual, self._fixed_layer(dual), key=lambda one: one.lower_bound)
            if self._gap(dual) <= self.tol or self.left <= 0:
                break
            before = self.n_iter
            self._descend(*stage)
            # a product with the rows and one with the output weights, for every neuron
            products = problem.n_samples * (problem.rows.shape[1] + problem.y.shape[1])
            self.spent += float(self.n_iter - before) * products * len(self.descent.outputs)
            self._merge()
            dual = max(dual, self._price_best(self.best.slopes), key=lambda one: one.lower_bound)
        return self._shared_result(dual)

    def _merge(self):
        """Join neurons of one pattern whose output weights are all but parallel.

        They do what one neuron does that costs less. What rotating them costs must not be more.
        """
        best = self.best
        keys = _keys(activation_patterns(self.problem.rows, best.directions))
        for parallel in _PARALLEL:
            trial = copy.copy(best)
            trial.directions, trial.outputs = merged(best.directions, best.outputs, keys, parallel)
            if trial.objective <= best.objective:
                self.best, self.descent = trial, copy.copy(trial)
                return

    @property
    def _loss_width(self):
        """Smoothing of the kinks of a loss, from what it may cost of the objective.

        With little of it the dual variables jump from one vertex to the next, as neurons join: it
        shrinks with the sharpening. A slope is at most one, and the envelope at most half the width
        below the loss. None: as that of the neurons, where the convex program over their patterns
        is solved afterwards.
        """
        if not self.problem.is_shared:
            return None
        objective = self.constant if self.best is None else self.best.objective
        return self.blur * objective / self.problem.y.shape[1]

    def _gap(self, dual):
        lower = dual.lower_bound / self.problem.units.objective
        return relative_gap(self.best.objective, min(lower, self.best.objective))

    def _price_best(self, slopes):
        """Search what slopes leave to be gained, from the neurons of the best network."""
        problem, best = self.problem, self.best
        dual = search_dual(
            problem.user,
            problem.units.slope * slopes,
            self.rng,
            problem.design.directions(best.directions),
            n_starts=_STARTS,
            workers=self.workers,
        )
        lower = min(dual.lower_bound / problem.units.objective, best.objective)
        bounds = _Bounds(best.objective, lower, relative_gap(best.objective, lower))
        self.record("search", self.n_iter, bounds)
        return dual

    def _fixed_layer(self, dual):
        """Solve for the output weights of the best network and of the neurons it lacks."""
        problem, best = self.problem, self.best
        sizes = amplitudes(best.outputs)
        directions = np.concatenate([best.directions / sizes, dual.joining.directions], axis=1)
        outputs, certified, n_iter = solve_shared_layer(
            problem,
            directions,
            tol=_MASTER * self.tol,
            max_iter=min(_MASTER_STEPS, self.left),
            record=lambda *_: self.record.stopped,
            start=best.outputs * sizes[:, None],
            bias=best.bias,
            width=self._loss_width,
            workers=self.workers,
        )
        self.descent.directions, self.descent.outputs = balanced(directions, outputs)
        self.descent.bias = certified.solution.bias
        self.descent.n_iter += n_iter
        self.spent += float(n_iter) * problem.y.size * directions.shape[1]
        if self.descent.objective <= self.best.objective:
            self.best = copy.copy(self.descent)
        return self._price_best(certified.solution.slopes)

    def _shared_result(self, dual):
        problem, best = self.problem, self.best
        network = problem.user_network(best.directions, best.outputs, best.bias)
        objective = problem.user.network_objective(network)
        lower = min(dual.lower_bound, objective)
        gap = relative_gap(objective, lower)
        gates, strict = strict_gates(
            problem.user.rows, problem.design.directions(best.directions), self.rng
        )
        strict &= activation_patterns(problem.user.rows, gates).any(axis=0)
        program = self.program.with_gates(gates[:, strict]) if strict.any() else self.program
        return program, Result(
            network=network,
            objective=objective,
            upper_bound=objective,
            lower_bound=lower,
            gap=gap,
            bounds_of="searched",
            n_iter=self.n_iter,
            status=self.record.status(
                gap, self.tol, "costly" if self.spent > _AFFORDABLE else "max_iter"
            ),
            history=self.record.history,
            solution=Solution(None, None, network.output_biases, problem.units.slope * dual.slopes),
        )

    def _descend(self, width, max_iter):
        descent = self.descent
        dtype = self.precision if width >= _SINGLE_DOWN_TO else np.float64
        steps = max(min(max_iter, self.left), 1)
        descent.run(width * self.scale, steps, dtype, self._loss_width)
        if self.best is None or descent.objective <= self.best.objective:
            self.best = copy.copy(descent)
        self.record("descent", descent.n_iter, _Bounds(self.best.objective))

    def _starts(self):
        """Random directions, and those of the neurons."""
        program = self.program
        fresh = draw_gates(
            program.rows, program.weights, _STARTS, self.rng, intercept=program.fit_intercept
        )
        return np.concatenate(
            [self.problem.design.coordinates(fresh), self.descent.directions], axis=1
        )

    def _certify_best(self):
        best = self.best
        if best.objective >= self.constant * (1.0 - 1e-9):
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
        column = {key: i for i, key in enumerate(_keys(found.patterns))}
        blocks = np.zeros((2, d, P))
        for j, key in zip(np.flatnonzero(usable), _keys(patterns[:, usable]), strict=True):
            a = best.outputs[j]
            blocks[int(a < 0), :, column[key]] += abs(a) * best.directions[:, j]
        certified, _ = certify(program, *blocks, best.bias, best.slopes, tol=self.tol)
        self.record("certify", self.n_iter, certified)
        return found, certified


def _unit_outputs(rng, n_neurons, shape):
    """Random output weights of norm one: signs, or directions among several outputs."""
    if not shape:
        return rng.choice([-1.0, 1.0], n_neurons)
    outputs = rng.standard_normal((n_neurons, *shape))
    return outputs / np.linalg.norm(outputs, axis=1, keepdims=True)


def merged(directions, outputs, keys, parallel):
    """The sums of neurons with equal keys and output weights of at least this cosine."""
    units = outputs / np.maximum(amplitudes(outputs), 1e-300)[:, None]
    keys, left = np.unique(keys, return_inverse=True)[1], np.ones(len(outputs), dtype=bool)
    sums = []
    for j in np.argsort(-amplitudes(outputs), kind="stable"):
        if left[j]:
            group = left & (keys == keys[j]) & (units @ units[j] >= parallel)
            left &= ~group
            a = outputs[group].T @ np.linalg.norm(directions[:, group], axis=0)
            a /= np.linalg.norm(a)
            u = directions[:, group] @ (outputs[group] @ a)
            root = np.sqrt(np.linalg.norm(u))
            sums.append((u / root, root * a))
    if not sums:
        return directions, outputs
    return np.stack([u for u, _ in sums], axis=1), np.stack([a for _, a in sums])


def _keys(patterns):
    return [column.tobytes() for column in np.packbits(patterns, axis=0).T]


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
        status=search.record.status(certified.gap, tol, "max_iter"),
        history=search.record.history,
        solution=solution,
    )
