r"""Branch and bound over the neurons that hurt, for many queries at once.

A neuron that hurts is :math:`-|p| (z)_+ = \min_{s \in \{0, 1\}} -|p| s z`: with s fixed it is
linear, on all of the ball. A node has s fixed for some neurons, and chords for the others; when all
that hurt are fixed, what remains is convex, and its relaxation exact (`minimise_leaves`).

In a node with s = 1 only :math:`z \ge 0` matters, with s = 0 only :math:`z \le 0`; multipliers of
these constraints are slopes beyond 1 and below 0. So each neuron but those with a chord has a slope
in an interval, and the bound is valid for all slopes and concave in them: a few subgradient steps
choose them (as in Wang et al., NeurIPS 2021: beta-CROWN).
"""

import time
from dataclasses import dataclass

import numpy as np

from .leaves import minimise_leaves

# Nodes bounded at once, and the largest number of floats in a temporary array (16 MB).
BATCH, CHUNK = 1024, 2**21
# Leaves wait for others until so many can be solved at once.
LEAVES = 128
# Subgradient steps for the slopes of a node; how far beyond the target they aim.
STEPS, OVERSHOOT = 2, 0.3
# The slopes of fixed neurons lie in [-BEYOND, 1 + BEYOND].
BEYOND = 20.0


class Incumbents:
    """The least value found for each group of queries, and where.

    Parameters
    ----------
    values : ndarray of shape (n_groups,)
    points : ndarray of shape (n_groups, d)
    """

    def __init__(self, values, points):
        self.values, self.points = values, points

    def update(self, groups, values, points):
        """Take what is better: a value and a point for each entry of `groups`."""
        order = np.lexsort((values, groups))
        groups, first = np.unique(groups[order], return_index=True)
        best = order[first]
        better = values[best] < self.values[groups]
        self.values[groups[better]] = values[best[better]]
        self.points[groups[better]] = points[best[better]]


def branch_and_bound(
    queries,
    bounds,
    groups,
    incumbents,
    target,
    *,
    max_nodes=np.inf,
    deadline=np.inf,
    progress=None,
):
    """Raise lower bounds of queries until they reach the targets of their groups.

    Parameters
    ----------
    queries : Queries
    bounds : ndarray of shape (T,)
        Valid lower bounds to start from.
    groups : ndarray of int of shape (T,)
    incumbents : Incumbents
        Updated.
    target : callable
        Of groups: the bounds that are enough, given the incumbents; minus infinity when the group
        is decided.
    max_nodes : int, default=inf
        Nodes for one query, about.
    deadline : float, default=inf
        Of `time.perf_counter`; overrun by one batch of nodes at most.
    progress : callable, default=None
        Called after every batch.

    Returns
    -------
    bounds : ndarray of shape (T,)
    """
    tree = _Tree(queries, groups, incumbents, target)
    nodes, stack, leaves = tree.roots(bounds), [], []
    settled, counts = np.full(len(queries), np.inf), np.zeros(len(queries))

    def settle(nodes):
        np.minimum.at(settled, nodes.query, nodes.bound)

    while len(nodes):
        counts += np.bincount(nodes.query, minlength=len(queries))
        tree.bound(nodes)
        closed, leaf = tree.closed(nodes), nodes.depth == tree.n_hurting[nodes.query]
        settle(nodes.take(closed))
        stack.append(nodes.take(~closed & ~leaf))
        leaves.append(nodes.take(~closed & leaf))
        if progress is not None:
            progress()
        if time.perf_counter() >= deadline:
            break
        # the last nodes are the deepest, so that few are open at a time
        nodes = _pop(stack, max(1, tree.batch // 2))
        if not len(nodes) or sum(map(len, leaves)) >= LEAVES:
            solved = _pop(leaves, np.inf)
            tree.solve(solved)
            settle(solved)
        closed, given_up = tree.closed(nodes), counts[nodes.query] >= max_nodes
        settle(nodes.take(closed | given_up))
        nodes = tree.split(nodes.take(~(closed | given_up)))
    for nodes in stack + leaves:
        settle(nodes)
    return np.maximum(bounds, settled)


@dataclass(frozen=True, eq=False)
class _Nodes:
    """Sets of slopes; the first `depth` of a query's hurting neurons are fixed."""

    query: np.ndarray  # (N,)
    depth: np.ndarray  # (N,)
    bound: np.ndarray  # (N,)
    slopes: np.ndarray  # (N, H)

    def __len__(self):
        return len(self.query)

    def take(self, chosen):
        return _Nodes(
            self.query[chosen], self.depth[chosen], self.bound[chosen], self.slopes[chosen]
        )


def _pop(stack, count):
    """Take nodes off a stack of batches, at least one if there is any."""
    taken = []
    while stack and count > 0:
        nodes = stack.pop()
        if len(nodes) > count:
            stack.append(nodes.take(slice(0, -count)))
            nodes = nodes.take(slice(-count, None))
        taken.append(nodes)
        count -= len(nodes)
    fields = ("query", "depth", "bound", "slopes")
    return _Nodes(*(np.concatenate([getattr(nodes, name) for nodes in taken]) for name in fields))


class _Tree:
    """What nodes share: the queries, the order of their neurons, and what is enough."""

    def __init__(self, queries, groups, incumbents, target):
        self.queries, self.groups, self.incumbents = queries, groups, incumbents
        self.target = target
        self.helps, hurts = queries.output > 0, queries.output < 0
        self.slopes, self.values = queries.lines()
        # the largest intercept first: what the relaxation gives away at most
        intercepts = self.slopes * (queries.reach - queries.centre)
        given = np.where(hurts, -queries.output * intercepts, -1.0)
        self.order = np.argsort(-given, axis=1, kind="stable")
        self.rank = np.where(hurts, np.argsort(self.order, axis=1), given.shape[1] + 1)
        self.n_hurting = hurts.sum(axis=1)
        self.batch = int(np.clip(CHUNK // max(1, given.shape[1]), 16, BATCH))

    def roots(self, bounds):
        query = np.arange(len(bounds))
        return _Nodes(query, np.zeros_like(query), bounds.copy(), self.slopes.copy())

    def split(self, nodes):
        """Two children each, with the next neuron fixed."""
        neurons = self.order[nodes.query, nodes.depth]
        rows, children = np.arange(len(nodes)), []
        for slope in (0.0, 1.0):
            slopes = nodes.slopes.copy()
            slopes[rows, neurons] = slope
            children.append(slopes)
        return _Nodes(
            np.tile(nodes.query, 2),
            np.tile(nodes.depth + 1, 2),
            np.tile(nodes.bound, 2),
            np.concatenate(children),
        )

    def closed(self, nodes, part=slice(None)):
        """Whether the bounds of nodes are enough."""
        return nodes.bound[part] >= self.target(self.groups[nodes.query[part]])

    def bound(self, nodes):
        """Raise the bounds of nodes in place."""
        for start in range(0, len(nodes), self.batch):
            part = np.arange(start, min(start + self.batch, len(nodes)))
            for k in range(STEPS + 1):
                part = part[~self.closed(nodes, part)]
                if len(part):
                    self._climb(nodes, part, move=k < STEPS)

    def solve(self, nodes):
        """Make the bounds of leaves exact, in place."""
        for start in range(0, len(nodes), self.batch):
            part = np.arange(start, min(start + self.batch, len(nodes)))
            part = part[~self.closed(nodes, part)]
            if not len(part):
                continue
            queries, fixed, _ = self._lines(nodes, part)
            lines = np.where(fixed, nodes.slopes[part] >= 1.0, 0.0)
            _, gradients = queries.affine(lines, lines * queries.centre)
            helping = np.maximum(queries.output, 0.0)
            slopes, points = minimise_leaves(queries, gradients, helping)
            slopes += lines
            self._evaluate(nodes, part, queries, slopes, slopes * queries.centre, points)

    def _lines(self, nodes, part):
        """Queries of some nodes, which neurons are fixed there, and the values of the lines."""
        query = nodes.query[part]
        queries, fixed = self.queries.take(query), self.rank[query] < nodes.depth[part, None]
        through_zero = fixed | self.helps[query]
        values = np.where(through_zero, nodes.slopes[part] * queries.centre, self.values[query])
        return queries, fixed, values

    def _evaluate(self, nodes, part, queries, slopes, at_centre, points=None):
        """Bounds of some nodes for given lines, and pre-activations at the minimisers of these."""
        steepness = np.abs(slopes).max(axis=1, initial=1.0)
        bounds, gradients = queries.bound(slopes, at_centre, steepness)
        nodes.bound[part] = np.maximum(nodes.bound[part], bounds)
        if points is None:
            points = queries.ball.steepest(gradients)
        activations = queries.activations(points)
        values = queries.values(points, activations)
        self.incumbents.update(self.groups[nodes.query[part]], values, points)
        return bounds, activations

    def _climb(self, nodes, part, move):
        """Bounds of some nodes; then one subgradient step for their slopes."""
        queries, fixed, at_centre = self._lines(nodes, part)
        slopes, query = nodes.slopes[part], nodes.query[part]
        bounds, activations = self._evaluate(nodes, part, queries, slopes, at_centre)
        if not move:
            return
        helps = self.helps[query]
        active = fixed & (slopes >= 1.0)
        lowest = np.where(fixed, np.where(active, 1.0, -BEYOND), 0.0)
        highest = np.where(fixed, np.where(active, 1.0 + BEYOND, 0.0), 1.0)
        ascent = np.where(fixed | helps, queries.output * activations, 0.0)
        ascent[(slopes <= lowest) & (ascent < 0) | (slopes >= highest) & (ascent > 0)] = 0.0
        goals = self.target(self.groups[query])
        missing = np.where(np.isfinite(goals), (1.0 + OVERSHOOT) * (goals - bounds), 0.0)
        square = np.sum(ascent**2, axis=1)
        steps = np.maximum(missing, 0.0) / np.where(square > 0, square, 1.0)
        moved = np.clip(slopes + steps[:, None] * ascent, lowest, highest)
        nodes.slopes[part] = np.where(fixed | helps, moved, slopes)
