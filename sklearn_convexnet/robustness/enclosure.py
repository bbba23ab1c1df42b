"""The pipeline: cheap bounds first, and what they leave open to the next method.

Intervals, linear relaxation, attacks, branch and bound, mixed-integer programs.
"""

import time
from dataclasses import dataclass

import numpy as np

from ..program.relaxation import Queries
from .attacks import Margins, attack
from .balls import unperturbed
from .branch_and_bound import Incumbents, branch_and_bound
from .leaves import improve
from .milp import minimise_query
from .queries import build_queries

# Relative width of an enclosure that counts as exact.
EXACT = 2e-9
# Steps and restarts of the attack before branch and bound.
STEPS, RESTARTS = 20, 2
# Nodes of a query before it is left to the mixed-integer program.
NODES = 20_000
# Floats in the largest array of a block of queries (16 MB).
CHUNK = 2**21
# Seconds between reports of progress.
REPORT = 5.0


@dataclass(frozen=True, eq=False)
class Task:
    """Groups of functions, the least of which is minimised over a ball for each group.

    Parameters
    ----------
    model : Model
    perturbation : Perturbation
    X : ndarray of shape (n_groups, d)
    directions : ndarray of shape (n_groups, n_directions, n_outputs)
    scale : float or ndarray of shape (n_groups,), default=1.0
        Factors of epsilon.
    """

    model: object
    perturbation: object
    X: np.ndarray
    directions: np.ndarray
    scale: object = 1.0


def enclose(task, method, *, rng, deadline=np.inf, report=None):
    """Enclose the minimum of every group of a task.

    Parameters
    ----------
    task : Task
    method : {"interval", "crown", "exact", "auto"}
        With "auto", the sign of the minimum is all that is wanted.
    rng : RandomState
        For the starts of attacks.
    deadline : float, default=inf
        Of `time.perf_counter`; the first stage is run in any case.
    report : callable, default=None
        Called with a line of text.

    Returns
    -------
    Enclosure
    """
    enclosure = Enclosure(task, method, rng, deadline, report)
    first, *others = Enclosure.STAGES
    enclosure.run(first)
    if method in ("exact", "auto"):
        for stage in others:
            if enclosure.settled():
                break
            enclosure.run(stage)
    return enclosure


class Enclosure:
    """Lower bounds and incumbents of the groups of a task, and the stages that improve them.

    Parameters
    ----------
    task, method, rng, deadline, report
        As of `enclose`.

    Attributes
    ----------
    bounds : ndarray of shape (n_groups, n_directions)
        Lower bounds of the functions.
    incumbents : Incumbents
        The least value found of every group, and where.
    """

    def __init__(self, task, method, rng, deadline, report):
        self.task, self.method, self.rng, self.deadline = task, method, rng, deadline
        self.centres, self.radii = task.perturbation.balls(task.X, task.scale)
        self.n_groups, self.n_directions, _ = task.directions.shape
        self.bounds = np.full((self.n_groups, self.n_directions), -np.inf)
        self.margins = Margins(task.model.network, self.centres, self.radii, task.directions)
        starts = unperturbed(task.X, task.perturbation, self.centres, self.radii)
        self.incumbents = Incumbents(self.margins(starts)[0], starts)
        self._report, self._stage, self._reported = report, None, time.perf_counter()

    @property
    def lower(self):
        """Lower bounds of the groups."""
        return self.bounds.min(axis=1)

    def run(self, stage):
        """Run a stage and report."""
        self._stage = stage
        self.STAGES[stage](self)
        self._tell()

    def settled(self):
        """Whether there is nothing left to do, or no time."""
        return not self._open().any() or self._late()

    # --------------------------------------------------------------------------------------------
    # What is open

    def _target(self, groups):
        """Bounds that are enough for groups; minus infinity for those that are decided."""
        upper = self.incumbents.values[groups]
        if self.method == "exact":
            return upper - self.tolerance[groups]
        # where rounding leaves the sign open there is nothing to decide
        enough = np.minimum(np.finfo(float).tiny, upper - self.rounding[groups])
        return np.where(upper > 0, enough, -np.inf)

    def _open(self):
        return self.lower < self._target(np.arange(self.n_groups))

    def _late(self):
        return time.perf_counter() >= self.deadline

    def _tell(self, every=0.0):
        """Report where we stand, unless the last report is more recent than `every` seconds."""
        now = time.perf_counter()
        if self._report is None or now < self._reported + every:
            return
        self._reported = now
        line = f"{self._stage}: {self._open().sum()} of {self.n_groups} open"
        if self.method != "exact":
            lower, upper = self.lower, self.incumbents.values
            line += f", {np.sum(lower > 0)} certified, {np.sum(upper <= 0)} falsified"
        self._report(line)

    def _blocks(self, wanted):
        """Queries of which `wanted` is true, a block at a time, with their groups and columns."""
        rows, columns = np.nonzero(wanted)
        size = max(1, CHUNK // max(1, *self.task.model.network.hidden_weights.shape))
        for start in range(0, len(rows), size):
            row, column = rows[start : start + size], columns[start : start + size]
            directions = self.task.directions[row, column]
            queries = build_queries(
                self.task.model, self.task.perturbation, self.centres, self.radii, row, directions
            )
            yield queries, row, column

    def _open_blocks(self):
        return self._blocks(self.bounds < self._target(np.arange(self.n_groups))[:, None])

    # --------------------------------------------------------------------------------------------
    # The stages

    def _relax(self):
        sizes, slacks = np.zeros(self.bounds.shape), np.zeros(self.bounds.shape)
        linear = [Queries.linear_bound] * (self.method != "interval")
        for queries, rows, columns in self._blocks(np.ones(self.bounds.shape, dtype=bool)):
            sizes[rows, columns], slacks[rows, columns] = queries.sizes(), queries.slack
            for bound in (Queries.interval_bound, *linear):
                bounds, gradients = bound(queries)
                self.bounds[rows, columns] = np.maximum(self.bounds[rows, columns], bounds)
                points = queries.ball.steepest(gradients)
                values = queries.values(points, queries.activations(points))
                self.incumbents.update(rows, values, points)
        sizes = np.abs(self.incumbents.values) + sizes.max(axis=1)
        # value, bound and allowance for it are off by a slack each, and a bit
        self.rounding = 4.0 * slacks.max(axis=1)
        self.tolerance = EXACT * sizes + self.rounding

    def _attack(self):
        groups = np.flatnonzero(self._open())
        size = max(1, CHUNK // max(1, *self.task.model.network.hidden_weights.shape))
        for start in range(0, len(groups), size):
            block = groups[start : start + size]
            values, points = attack(
                self.margins.take(block),
                self.incumbents.points[block],
                self.task.perturbation.ball,
                steps=STEPS,
                restarts=RESTARTS,
                rng=self.rng,
                stop=-np.inf if self.method == "exact" else 0.0,
            )
            self.incumbents.update(block, values, points)
            if self._late():
                return

    def _branch(self):
        last = not self.task.perturbation.ball.polyhedral
        for queries, rows, columns in self._open_blocks():
            if self._late():
                return
            self.bounds[rows, columns] = branch_and_bound(
                queries,
                self.bounds[rows, columns],
                rows,
                self.incumbents,
                self._target,
                max_nodes=np.inf if last else NODES,
                deadline=self.deadline,
                progress=lambda: self._tell(REPORT),
            )

    def _solve(self):
        if not self.task.perturbation.ball.polyhedral:
            return  # would not be linear
        for queries, rows, columns in self._open_blocks():
            for k, (row, column) in enumerate(zip(rows, columns, strict=True)):
                if self._late():
                    return
                if self.bounds[row, column] < self._target(rows[[k]])[0]:
                    self._solve_query(queries, k, row, column)
                    self._tell(REPORT)

    def _solve_query(self, queries, k, row, column):
        left = self.deadline - time.perf_counter()
        limit = left if np.isfinite(left) else None
        decide = self.method == "auto"
        bound, point = minimise_query(queries, k, decide=decide, time_limit=limit)
        self.bounds[row, column] = max(self.bounds[row, column], bound)
        if point is not None:
            query = queries.take([k])
            points = improve(query, query.ball.project(point[None]))
            values = query.values(points, query.activations(points))
            self.incumbents.update(np.array([row]), values, points)

    # by name, in the order in which they are run
    STAGES = {
        "linear relaxation": _relax,
        "attack": _attack,
        "branch and bound": _branch,
        "mixed-integer programs": _solve,
    }
