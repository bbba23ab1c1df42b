"""Boosted decision trees trained for perturbed inputs: a peer that is no network.

Inputs move by at most epsilon in every feature. A tree then gives the row x any leaf whose box
meets that of x, so that, whatever happens, a sum of trees has at least the margin

    m(x, y) = sum over the trees of  min { y w : w the value of a leaf that x can reach } .

Boosting lowers a sum of losses of m, a tree at a time (after Andriushchenko & Hein, arXiv
1906.03526, with the weights of the logistic loss). In a split whose left side is to be the lower
one, positive rows are worst off on the left and go there if they can, and so do negative rows on
the right: with the positive rows moved left by epsilon and the negative ones right, this is the
ordinary split of a decision tree. The opposite order is its mirror image.
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
from robust_tables import TABLES, split
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array
from sklearn.model_selection import train_test_split

# Trees, their depth, the factor on their values, rows on either side of a split, the share of the
# features that a tree may use: chosen by `--validate`, which does not see the test rows.
SETTINGS = {"rounds": 50, "depth": 4, "rate": 0.2, "min_leaf": 5, "share": 0.5}
# Sweeps over the features, from how many starts, and places tried at once in the attack.
STARTS, SWEEPS, PLACES = 5, 2, 16
# What HiGHS may be wrong by, relative to the size of the function.
TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Forest:
    """Sum of T complete binary trees of depth D; a node without a split sends all to the left.

    Attributes
    ----------
    features, thresholds : ndarray of shape (T, 2**D - 1)
        Of the nodes, level by level: x goes left if ``x[feature] <= threshold``.
    values : ndarray of shape (T, 2**D)
        Of the leaves, from left to right.
    """

    features: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray

    def decision_function(self, X):
        """Values of rows, positive for the label +1."""
        trees, rows = np.arange(len(self.values)), np.arange(len(X))[:, None]
        node = np.zeros((len(X), len(trees)), dtype=int)
        for _ in range(self.depth):
            right = X[rows, self.features[trees, node]] > self.thresholds[trees, node]
            node = 2 * node + 1 + right
        return self.values[trees, node - self.features.shape[1]].sum(axis=1)

    @property
    def depth(self):
        return self.values.shape[1].bit_length() - 1

    def ways(self, X, epsilon):
        """Whether rows can go left, and right, at every node; shape (n, T, 2**D - 1) each."""
        at = X[:, self.features]
        return at - epsilon <= self.thresholds, at + epsilon > self.thresholds

    def least(self, X, y, epsilon):
        """The least ``y * value`` of every tree on the boxes of rows, shape (n, T)."""
        left, right = self.ways(X, epsilon)
        least = y[:, None, None] * self.values
        for depth in range(self.depth - 1, -1, -1):
            level = slice(2**depth - 1, 2 ** (depth + 1) - 1)
            to_left = np.where(left[:, :, level], least[:, :, ::2], np.inf)
            to_right = np.where(right[:, :, level], least[:, :, 1::2], np.inf)
            least = np.minimum(to_left, to_right)
        return least[:, :, 0]

    def certified_margins(self, X, y, epsilon, *, attacked=None, time_limit=2.0):
        """Proved lower bounds on the margins of rows over their boxes.

        Sums over trees. With the margins that an attack has found, rows that are neither certified
        nor falsified by these are left to a mixed-integer program, which is exact if it ends
        within `time_limit` seconds.
        """
        margins = self.least(X, y, epsilon).sum(axis=1)
        margins -= 1e-12 * np.abs(self.values).max(axis=1).sum()
        if attacked is not None:
            for k in np.flatnonzero((margins <= 0) & (attacked > 0)):
                margins[k] = max(margins[k], self._minimum(X[k], y[k], epsilon, time_limit))
        return margins

    def _minimum(self, x, y, epsilon, time_limit):
        """Lower bound on one margin, from the program of Kantchelian et al. (arXiv 1509.07892).

        Variables: a share z for every leaf that can be reached, which sum to one over a tree, and
        a binary p for every threshold within the box, with p = 1 if x is not above it.
        """
        left, right = (way[0] for way in self.ways(x[None], epsilon))
        open_nodes, depth = left & right, self.depth
        leaves = np.arange(2**depth)
        levels = range(depth)
        nodes = np.array([2**k - 1 + (leaves >> (depth - k)) for k in levels])
        sides = np.array([(leaves >> (depth - 1 - k)) & 1 for k in levels])
        reached = np.where(sides, right[:, nodes], left[:, nodes]).all(axis=1)
        tree, leaf = np.nonzero(reached)
        number = np.cumsum(open_nodes).reshape(open_nodes.shape) - 1
        pairs = np.stack([self.features[open_nodes], self.thresholds[open_nodes]], axis=1)
        cuts, cut = np.unique(pairs, axis=0, return_inverse=True)
        n_leaves, n_cuts = len(tree), len(cuts)

        # the leaves on the left of an open node: z - p <= 0; on the right: z + p <= 1
        of_leaf = nodes[:, leaf]
        level, column = np.nonzero(open_nodes[tree, of_leaf])
        row = 2 * number[tree[column], of_leaf[level, column]] + sides[level, leaf[column]]
        every = np.arange(len(pairs))
        rows = np.concatenate([row, 2 * every, 2 * every + 1])
        columns = np.concatenate([column, *[n_leaves + cut.ravel()] * 2])
        entries = np.concatenate([np.ones(len(row)), -np.ones(len(every)), np.ones(len(every))])
        n = n_leaves + n_cuts
        paths = coo_array((entries, (rows, columns)), shape=(2 * len(pairs), n))
        # p grows along the thresholds of a feature
        same = np.flatnonzero(cuts[1:, 0] == cuts[:-1, 0])
        steps = np.tile(np.arange(len(same)), 2), n_leaves + np.concatenate([same, same + 1])
        order = coo_array((np.repeat([1.0, -1.0], len(same)), steps), shape=(len(same), n))
        one = coo_array((np.ones(n_leaves), (tree, np.arange(n_leaves))), (len(self.values), n))
        constraints = [
            LinearConstraint(paths.tocsr(), -np.inf, np.tile([0.0, 1.0], len(pairs))),
            LinearConstraint(order.tocsr(), -np.inf, 0.0),
            LinearConstraint(one.tocsr(), 1.0, 1.0),
        ]
        costs = np.concatenate([y * self.values[tree, leaf], np.zeros(n_cuts)])
        found = milp(
            costs, bounds=Bounds(0.0, 1.0), integrality=np.repeat([0, 1], [n_leaves, n_cuts]),
            constraints=[c for c in constraints if c.A.shape[0]],
            options={"time_limit": time_limit},
        )  # fmt: skip
        bound = found.mip_dual_bound if n_cuts else found.fun
        size = np.abs(self.values).max(axis=1).sum()
        return -np.inf if bound is None else bound - TOLERANCE * size

    def attacked_margins(self, X, y, epsilon, random_state=None):
        """Margins of perturbed rows: upper bounds on the worst ones.

        One feature after another goes where the margin is least, of the places that thresholds
        tell apart, from the row itself and from random corners of its box; rows that are falsified
        are left in peace.
        """
        rng = np.random.RandomState(random_state)
        used = self.thresholds < np.inf
        features = np.unique(self.features[used])
        best = y * self.decision_function(X)
        for start in range(STARTS):
            corners = rng.choice([-1.0, 1.0], X.shape) * (start > 0)
            left = np.flatnonzero(best > 0)
            centres, labels = X[left], y[left]
            points = centres + epsilon * corners[left]
            margins = labels * self.decision_function(points)
            for j in np.tile(rng.permutation(features), SWEEPS):
                places = np.unique(self.thresholds[used & (self.features == j)])
                places = np.append(rng.permutation(places)[:PLACES], [-np.inf, np.inf])
                at = centres[:, j, None]
                tried = np.clip(places, at - epsilon, at + epsilon)
                moved = np.repeat(points[:, None], len(places), axis=1)
                moved[:, :, j] = tried
                found = self.decision_function(moved.reshape(-1, X.shape[1]))
                found = labels[:, None] * found.reshape(tried.shape)
                rows, place = np.arange(len(left)), found.argmin(axis=1)
                better = found[rows, place] < margins
                margins = np.minimum(margins, found[rows, place])
                points[better, j] = tried[rows, place][better]
            best[left] = np.minimum(best[left], margins)
        return best


def fit(X, y, epsilon, random_state=None, **settings):
    """Boosted trees for labels -1 and +1 and inputs that move by epsilon.

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,)
    epsilon : float
    random_state : int, default=None
        For the features that trees may use.
    **settings
        In place of some of `SETTINGS`.

    Returns
    -------
    Forest
    """
    settings = SETTINGS | settings
    rng = np.random.RandomState(random_state)
    grower = Grower(X, y, epsilon, settings["depth"], settings["min_leaf"])
    n_used = max(2, round(settings["share"] * X.shape[1]))
    margins, trees = np.zeros(len(X)), []
    for _ in range(settings["rounds"]):
        weights = 1.0 / (1.0 + np.exp(np.minimum(margins, 500.0)))
        used = rng.permutation(X.shape[1])[:n_used]
        features, thresholds, values = grower.grow(weights / weights.sum(), used)
        trees.append((features, thresholds, settings["rate"] * values))
        margins += Forest(*(part[None] for part in trees[-1])).least(X, y, epsilon)[:, 0]
    return Forest(*map(np.array, zip(*trees, strict=True)))


class Grower:
    """Grows trees on the same rows with different weights, which sum to one."""

    def __init__(self, X, y, epsilon, depth, min_leaf):
        self.X, self.y, self.epsilon, self.depth, self.min_leaf = X, y, epsilon, depth, min_leaf
        # that many rows' worth of either label is added to every leaf
        self.smoothing = 1.0 / len(X)
        # Rows moved for the left leaf as the lower one (1) or the higher one (-1), and half as
        # far: features by rows. Where the whole radius leaves no split that pays by itself, half
        # of it may find one that the splits below make use of.
        sides = [(1.0, -1.0), (0.5, -0.5)]
        moved = [[(side, (X - side * epsilon * y[:, None]).T) for side in pair] for pair in sides]
        self.moved = [
            [(*m, np.argsort(m[1], axis=1, kind="stable")) for m in pair] for pair in moved
        ]

    def grow(self, weights, used):
        """Features and thresholds of the nodes, and values of the leaves, of a tree."""
        n_nodes = 2**self.depth - 1
        features, thresholds = np.zeros(n_nodes, dtype=int), np.full(n_nodes, np.inf)
        reach = [np.ones(len(self.X), dtype=bool)]  # which rows can come to a node
        for node in range(n_nodes):
            split = self._split(reach[node], weights, used)
            if split is not None:
                features[node], thresholds[node] = split
            at = self.X[:, features[node]]
            reach.append(reach[node] & (at - self.epsilon <= thresholds[node]))
            reach.append(reach[node] & (at + self.epsilon > thresholds[node]))
        return features, thresholds, self._values(np.array(reach[n_nodes:]), weights)

    def _split(self, rows, weights, used):
        """Feature and threshold of least worst-case loss, the other leaves left aside."""
        if rows.sum() < 2 * self.min_leaf:
            return None
        # weights of either label; a leaf at its best value loses twice the root of their product
        parts = weights * (self.y == np.array([[1.0], [-1.0]]))
        totals = parts[:, rows].sum(axis=1)
        best, found = (1.0 - 1e-6) * np.sqrt(np.prod(totals + self.smoothing)), None
        size = np.arange(1, rows.sum())
        inside = np.minimum(size, size[::-1]) >= self.min_leaf
        for pair in self.moved:
            for side, moved, order in pair:
                order = order[used]
                order = order[rows[order]].reshape(len(used), -1)
                at = np.take_along_axis(moved[used], order, axis=1)
                left = np.cumsum(parts[:, order], axis=2)[:, :, :-1] + self.smoothing
                right = totals[:, None, None] - left + 2.0 * self.smoothing
                losses = np.sqrt(left.prod(axis=0)) + np.sqrt(right.prod(axis=0))
                ordered = side * (left[0] * right[1] - right[0] * left[1]) < 0
                losses[~(ordered & inside & (np.diff(at, axis=1) > 1e-9))] = np.inf
                if losses.min() < best:
                    row, column = np.unravel_index(losses.argmin(), losses.shape)
                    best = losses[row, column]
                    found = used[row], at[row, column : column + 2].mean()
            if found is not None:
                return found
        return None

    def _values(self, reach, weights, passes=3):
        """Values of the leaves of least worst-case loss, of one leaf after another."""
        totals = [np.sum(weights[self.y == label]) + self.smoothing for label in (1.0, -1.0)]
        # the best constant: with less than that, one leaf alone could not move
        values = np.full(len(reach), 0.5 * np.log(totals[0] / totals[1]))
        margins = np.where(reach, self.y * values[0], np.inf)
        for leaf in np.tile(np.flatnonzero(reach.any(axis=1)), passes):
            rows = reach[leaf]
            y, w = self.y[rows], weights[rows]
            margins[leaf] = np.inf
            others = margins[:, rows].min(axis=0)
            low, high = -5.0, 5.0
            while high - low > 1e-6:  # bisection of the derivative, which is increasing
                value = 0.5 * (low + high)
                worst = y * value < others
                slope = 2.0 * self.smoothing * np.sinh(value)
                slope -= np.sum((y * w * np.exp(-y * value))[worst])
                low, high = (low, value) if slope > 0 else (value, high)
            values[leaf] = value
            margins[leaf, rows] = y * value
        return values


# ----------------------------------------------------------------------------------- main


def measure(X, y, X_test, y_test, epsilon, seed, **settings):
    """Accuracies on test rows, and CPU seconds of the fit."""
    start = time.process_time()
    forest = fit(X, y, epsilon, seed, **settings)
    seconds = time.process_time() - start
    attacked = forest.attacked_margins(X_test, y_test, epsilon, seed)
    certified = forest.certified_margins(X_test, y_test, epsilon, attacked=attacked)
    clean = y_test * forest.decision_function(X_test)
    margins = {"attacked": attacked, "certified": certified, "clean": clean}
    return {**{name: float(np.mean(m > 0)) for name, m in margins.items()}, "cpu": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--epsilons", nargs="*", type=float, default=[0.05, 0.1, 0.2])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--validate", nargs="*", help="settings to compare, as depth=2; test rows are not used"
    )
    args = parser.parse_args()
    if args.validate is None:
        first, choices = 0, [{}]
    else:  # of training rows of other splits, 30% to validate on
        pairs = [choice.split("=") for choice in args.validate]
        first, choices = 100, [{}, *({k: type(SETTINGS[k])(v)} for k, v in pairs)]
    for table in args.tables:
        for epsilon in args.epsilons:
            for settings in choices:
                runs = []
                for seed in range(first, first + args.seeds):
                    parts = split(table, seed)
                    if first:
                        X, y = parts[:2]
                        X, X_test, y, y_test = train_test_split(
                            X, y, test_size=0.3, stratify=y, random_state=seed
                        )
                        parts = X, y, X_test, y_test
                    runs.append(measure(*parts, epsilon, seed, **settings))
                means = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
                error = np.std([run["attacked"] for run in runs], ddof=1) / np.sqrt(len(runs))
                name = " ".join(["robust trees", *(f"{k}={v}" for k, v in settings.items())])
                print(
                    f"{table:13}  {epsilon:<5}  {name}  {means['attacked']:.3f} ± {error:.3f}  "
                    f"certified {means['certified']:.3f}  clean {means['clean']:.3f}  "
                    f"{means['cpu']:.2f} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
