r"""Neurons that several outputs share: descend, solve for the output weights, search, by turns.

There is no convex program over patterns that is as cheap as that of one output: the norm of a block
becomes a constrained nuclear norm (Sahiner et al., arXiv 2012.13329). Instead the dual variables
are searched for missing neurons, over all networks, until the bound that they give is within the
tolerance. The slopes of a descent are dual variables that its smoothing has blurred; those of the
output weights that are best for the neurons, a group lasso (`solve_shared_layer`), are exact.

Monotone networks, of one output in a column, are found in the same way.
"""

import copy

import numpy as np

from ..bounds.dual import relative_gap
from ..bounds.search import search_rows
from ..core.monotone import signs_of
from ..program.patterns import activation_patterns, strict_gates
from ..program.units import Solution
from .base import Result
from .descent import amplitudes, balanced
from .fixed_layer import solve_shared_layer
from .neurons import SHARPENING, STARTS, Bounds, NeuronSearch, pattern_keys

# share of the tolerance to which the output weights of shared neurons are solved for, and steps
_MASTER, _MASTER_STEPS = 0.2, 1000
# twice the share of the objective that smoothing the kinks of the loss may cost; with every stage
# half of it
_BLUR = 0.8
# the least smoothing, where a network fits all but perfectly
_SHARPEST = 1e-9
# cosines of output weights, of the neurons of a pattern, from which these are one
_PARALLEL = (0.99, 0.9999)
# multiplications that rounds of fixed layers may cost: some seconds
_AFFORDABLE = 5e9


class SharedSearch(NeuronSearch):
    """The neurons of several outputs.

    Attributes
    ----------
    dual : Dual
        The best lower bound of a search.
    dual_at : tuple
        Directions, output weights, bias and smoothing of the loss at whose slopes that is.
    """

    # rounds of fixed layers follow, which gain more
    worth = 2e-3, 1e-2, 3e-2

    def __init__(self, *arguments):
        # multiplications of the rounds of fixed layers and of the descents between them
        self.blur, self.spent = _BLUR, 0.0
        # the best bound of a search, in normalised units
        self.lower, self.dual_at, self.dual = 0.0, None, None
        super().__init__(*arguments)

    @property
    def left(self):
        """Iterations that are left; none where more would cost too much."""
        return 0 if self.spent > _AFFORDABLE else super().left

    @property
    def loss_width(self):
        """Smoothing of the kinks of a loss, from what it may cost of the objective.

        With little of it the dual variables jump from one vertex to the next, as neurons join: it
        shrinks with the sharpening. A slope is at most one, and the envelope at most half the width
        below the loss.
        """
        objective = self.constant if self.best is None else self.best.objective
        return max(self.blur * objective / self.problem.y.shape[1], _SHARPEST)

    def solve(self):
        """Grow the best network until a search finds all but the tolerance proved.

        Returns
        -------
        program : PatternProgram
            Over the patterns of the neurons; that of the start where there are none.
        result : Result
        """
        if self.dual is None:
            self._begin()
        for stage in self.steps("sharpening", SHARPENING):
            if self._gap(self.dual) <= self.tol or self.left <= 0:
                break
            self.blur *= 0.5
            self._keep(self._fixed_layer(self.dual))
            if self._gap(self.dual) <= self.tol or self.left <= 0:
                break
            before = self.descent.n_iter
            self.descend(*stage)
            # a product with the rows and one with the output weights, for every neuron
            width = self.problem.rows.shape[1] + self.problem.y.shape[1]
            products = self.rows.n_rows * width
            self.spent += float(self.descent.n_iter - before) * products * len(self.descent.outputs)
            self._merge()
            self._keep(self._price(*self.best.network, self.best.loss_width))
        self.save()
        return self._result(self.dual)

    def _keep(self, dual):
        """Keep the better bound."""
        self.dual = max(self.dual, dual, key=lambda one: one.lower_bound)

    def _begin(self):
        """A network without neurons that are worth nothing, and its bound."""
        # of a sample the best bias need not be that of all rows, which the descent has found
        constants = [self._constant_network(bias) for bias in (self.bias, self.best.bias)]
        constant = min(constants, key=lambda one: one.objective)
        # what a descent leaves of neurons that gain nothing may gain in rounding
        if self.best.objective >= constant.objective * (1.0 - 1e-9):
            self.best = constant
            self.best.loss_width = self.descent.loss_width
        self._merge()
        self.dual = self._price(*self.best.network, self.best.loss_width)

    def _merge(self):
        """Join neurons of one pattern whose output weights are all but parallel.

        They do what one neuron does that costs less. What rotating them costs must not be more.
        """
        best = self.best
        keys = pattern_keys(activation_patterns(self.problem.rows, best.directions))
        for parallel in _PARALLEL:
            trial = copy.copy(best)
            trial.directions, trial.outputs = merged(best.directions, best.outputs, keys, parallel)
            if trial.objective <= best.objective:
                self.best, self.descent = trial, copy.copy(trial)
                return

    def _gap(self, dual):
        lower = dual.lower_bound / self.problem.units.objective
        return relative_gap(self.best.objective, min(lower, self.best.objective))

    def _price(self, *network_and_width):
        """Search what the slopes at a network leave to be gained, from the best neurons."""
        problem, best = self.problem, self.best
        self.rows.set_slopes(*network_and_width)
        gates = problem.design.directions(best.directions)
        dual = search_rows(self.rows, self.rng, gates, n_starts=STARTS)
        lower = dual.lower_bound / problem.units.objective
        if self.dual_at is None or lower > self.lower:
            self.lower, self.dual_at = lower, network_and_width
        lower = min(self.lower, best.objective)
        bounds = Bounds(best.objective, lower, relative_gap(best.objective, lower))
        self.record("search", self.n_iter, bounds, self.best_network)
        return dual

    def _fixed_layer(self, dual):
        """Solve for the output weights of the best network and of the neurons it lacks."""
        best = self.best
        sizes = amplitudes(best.outputs)
        directions = np.concatenate([best.directions / sizes, dual.joining.directions], axis=1)
        known = np.concatenate([best.outputs, dual.joining.outputs])
        outputs, certified, at, n_iter = solve_shared_layer(
            self.rows,
            directions,
            tol=_MASTER * self.tol,
            max_iter=min(_MASTER_STEPS, self.left),
            record=lambda *_: self.record.stopped,
            start=best.outputs * sizes[:, None],
            bias=best.bias,
            width=self.loss_width,
            signs=None if self.problem.monotone is None else signs_of(known),
        )
        self.descent.directions, self.descent.outputs = balanced(directions, outputs)
        self.descent.bias = certified.solution.bias
        self.descent.n_iter += n_iter
        self.spent += float(n_iter) * self.rows.n_rows * outputs.size
        if self.descent.objective <= self.best.objective:
            self.best = copy.copy(self.descent)
        return self._price(directions, *at)

    def _result(self, dual):
        problem, best = self.problem, self.best
        network = problem.user_network(best.directions, best.outputs, best.bias)
        objective = self.rows.objective(network)
        lower = min(dual.lower_bound, objective)
        gap = relative_gap(objective, lower)
        # rows that are elsewhere keep them
        slopes = None if dual.slopes is None else problem.units.slope * dual.slopes
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
            status=self.record.status(gap, self.tol, self.exhausted),
            history=self.record.history,
            solution=Solution(None, None, network.output_biases, slopes),
        )


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
