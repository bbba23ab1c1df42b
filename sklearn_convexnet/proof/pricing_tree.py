r"""The best neuron of all, enclosed: branch and bound over cones of directions.

For multipliers of the rows :math:`x_k`, `pricing_maximum` encloses the largest gain of a neuron,

.. math:: \max_{\|u\|_2 \le 1} \sum_k \lambda_k (x_k^\top u)_+
    \qquad \text{or} \qquad
    \max_{\|u\|_2 \le 1} \Big\| \sum_k \Lambda_k (x_k^\top u)_+ \Big\|_2

with one output, and with several that share the neuron. Both are positively homogeneous functions
that are neither convex nor concave. `single_pricing` and `shared_pricing` bound them on a cone; one
that may hold more than is asked for is cut in half. The rounding of sums over all rows is added on
top.
"""

import time
from bisect import insort
from dataclasses import dataclass

import numpy as np

from ..core.monotone import clipped
from .cones import ROUNDING, TINY
from .shared_pricing import SharedPricing
from .single_pricing import SinglePricing

# Cones split at once, at least and at most.
SMALLEST_BATCH, BATCH = 8, 1024
# Open cones are held in this many floats (512 MB); beyond, those nearest to be settled come first.
MEMORY = 2**26
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class PricingBounds:
    """An enclosure of the pricing maximum.

    Attributes
    ----------
    lower : float
        Value at `direction`, at least 0.
    upper : float
        Proved upper bound on the maximum.
    direction : ndarray of shape (d,)
        The best direction found, of norm one; zero if none has a positive value.
    n_cones : int
        Number of cones bounded.
    finished : bool
        Whether `upper` is as small as was asked for.
    doublings : float
        How often the number of cones would have to double for that, at the pace of the last two
        doublings: 0 if finished, NaN if there were too few cones to tell.
    """

    lower: float
    upper: float
    direction: np.ndarray
    n_cones: int
    finished: bool
    doublings: float


def pricing_maximum(
    rows,
    multipliers,
    *,
    signs=None,
    tol=1e-2,
    stop_below=None,
    start=None,
    time_limit=None,
    max_cones=None,
):
    r"""Enclose the largest gain of a neuron by branch and bound.

    The maximum of :math:`\lambda^\top (X u)_+` for one output, or of
    :math:`\|\Lambda^\top (X u)_+\|_2` for several, over all :math:`\|u\|_2 \le 1`.

    The work grows exponentially with the rank of the rows. At the default tolerance and some
    hundreds of rows with one output, it takes below a second up to rank 4, seconds at rank 5 and 6,
    a minute at rank 7; with several, seconds up to rank 4, and a minute or more at rank 5 and 6.
    Without limits it may not end, as when the maximum is all but zero next to the terms.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    multipliers : ndarray of shape (n,) or (n, n_outputs)
        The :math:`\lambda` or :math:`\Lambda`.
    signs : ndarray of int of shape (d,), default=None
        Only directions u with no entry against these are looked at; 0: any will do.
    tol : float, default=1e-2
        Relative width of the enclosure that is good enough. Much below 1e-5 it may be out of
        reach where the maximum is at a kink.
    stop_below : float, default=None
        An upper bound of at most this value is good enough, too.
    start : ndarray of shape (d, k), default=None
        Directions known to be good.
    time_limit : float, default=None
        In seconds; overrun by one batch of cones at most.
    max_cones : int, default=None
        Stop when this number of cones has been bounded; the first ones always are.

    Returns
    -------
    PricingBounds
        Valid also when it is not `finished`.
    """
    deadline = np.inf if time_limit is None else time.perf_counter() + time_limit
    max_cones = np.inf if max_cones is None else max_cones
    rows = np.asarray(rows, dtype=np.float64)
    multipliers = np.asarray(multipliers, dtype=np.float64)
    used = rows.any(axis=1) & multipliers.any(axis=tuple(range(1, multipliers.ndim)))
    if not used.any():
        return PricingBounds(0.0, 0.0, np.zeros(rows.shape[1]), 0, True, 0.0)
    pricing, basis, scale, slack = reduced(rows[used], multipliers[used], whole=signs is not None)
    target = stop_below / scale - slack if stop_below else 0.0

    batch = int(np.clip(pricing.batch, SMALLEST_BATCH, BATCH))
    best = _ascend(pricing, _starts(basis, start), signs)
    cones, n_cones, pool = pricing.fan(signs), 0, _Pool()
    settled = 0.0 if len(cones) else pricing.crude_bound()
    pace = _Pace()
    while len(cones):
        threshold = max(best[0] * (1.0 + tol) + slack, target)
        cones.bound(pricing, threshold)
        n_cones += len(cones)
        found = _look_at(pricing, cones, best[0], signs)
        best = max(best, found, key=lambda one: one[0])
        threshold = max(best[0] * (1.0 + tol) + slack, target)
        unsettled = (cones.bounds > threshold) & ~cones.thin
        settled = max(settled, cones.bounds[~unsettled].max(initial=0.0))
        pool.push(cones[unsettled])
        pace.note(n_cones, max(best[0], settled, pool.largest_bound()) - best[0])
        if n_cones >= max_cones or time.perf_counter() >= deadline:
            break
        cones, discarded = pool.pop(batch, threshold)
        settled = max(settled, discarded)
        cones = cones.halves(pricing) if len(cones) else cones

    upper = float(scale * (max(best[0], settled, pool.largest_bound()) + slack))
    direction = basis @ best[1]
    gain = np.maximum(rows @ direction, 0.0) @ multipliers
    lower = float(np.linalg.norm(gain) if gain.ndim else gain)
    if lower <= 0.0:
        lower, direction = 0.0, np.zeros(basis.shape[0])
    good_enough = max(lower * (1.0 + tol) + 3.0 * scale * slack, stop_below or 0.0)
    finished = bool(upper <= good_enough)
    doublings = 0.0 if finished else pace.doublings(good_enough / scale - best[0])
    return PricingBounds(lower, upper, direction, n_cones, finished, doublings)


def _look_at(pricing, cones, best, signs=None, count=4):
    """The best value near the places where cones promise most."""
    points = cones.points[np.argsort(-cones.hopes, kind="stable")[:count]].T
    values = pricing.value(points)
    k = values.argmax()
    if values[k] > 0.9 * best:
        return _ascend(pricing, points, signs)
    return 0.0, points[:, k]


def _ascend(pricing, points, signs=None, steps=30):
    """Value and place of the best point that ascents from unit columns reach."""
    signs = np.zeros(1) if signs is None else signs
    points = _unit_columns(clipped(points, signs[:, None]))
    values, step = pricing.value(points), np.ones(points.shape[1])
    for _ in range(steps):
        ahead = _unit_columns(clipped(pricing.gradient(points), signs[:, None]))
        trials = _unit_columns(points + step * (ahead - points))
        found = pricing.value(trials)
        better = found > values
        points = np.where(better, trials, points)
        values = np.where(better, found, values)
        step = np.where(better, step, 0.25 * step)
        if step.max() < 1e-3:
            break
    if not (values > 0.0).any():
        return 0.0, np.zeros(len(points))
    k = values.argmax()
    return float(values[k]), points[:, k]


class _Pace:
    """How fast the enclosure gets narrower with the number of cones."""

    def __init__(self):
        self.marks = []

    def note(self, n_cones, width):
        """Remember the width whenever the number of cones has doubled."""
        if not self.marks or n_cones >= 2 * self.marks[-1][0]:
            self.marks.append((n_cones, width))

    def doublings(self, wanted):
        """Doublings of the cones to the width that is wanted, if it falls by a power of them."""
        if len(self.marks) < 4:
            return np.nan if self.marks else np.inf
        (_, before), (_, width) = self.marks[-3], self.marks[-1]
        if not 0.0 < width < before:
            return np.inf
        return 2.0 * np.log(max(width / max(wanted, TINY), 1.0)) / np.log(before / width)


# ------------------------------------------------------------------------------------------------
# The function


def reduced(rows, multipliers, *, whole=False):
    """The function in coordinates of the row space, with at most one row for each line.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Not zero.
    multipliers : ndarray of shape (n,) or (n, n_outputs)
        Not zero.
    whole : bool, default=False
        Whether to keep the coordinates as they are.

    Returns
    -------
    pricing : SinglePricing or SharedPricing
    basis : ndarray of shape (d, r)
        Orthonormal; takes points back.
    scale : float
        To multiply values of `pricing` with.
    slack : float
        Rounding of values of `pricing`.
    """
    single = multipliers.ndim == 1
    height, weight = np.abs(rows).max(), np.abs(multipliers).max()
    rows, multipliers = rows / height, (multipliers / weight).reshape(len(rows), -1)
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    basis = np.eye(rows.shape[1]) if whole else basis[singular > 1e-13 * singular[0]].T
    points = rows @ basis
    lost = np.linalg.norm(multipliers, axis=1) @ np.linalg.norm(rows - points @ basis.T, axis=1)
    norms = np.linalg.norm(points, axis=1)
    points, multipliers, norms = (part[norms > 0.0] for part in (points, multipliers, norms))
    points, multipliers = points / norms[:, None], multipliers * norms[:, None]
    # One of the two directions of each line: (-z)_+ = (z)_+ - z. Equal ones are neighbours in the
    # order of almost any linear function.
    keys = points @ np.random.RandomState(0).standard_normal(points.shape[1])
    linear = multipliers[keys < 0.0].T @ points[keys < 0.0]
    points[keys < 0.0] *= -1.0
    order = np.argsort(np.abs(keys), kind="stable")
    points, multipliers = points[order], multipliers[order]
    new = (np.abs(np.diff(points, axis=0)) > 0.01 * ROUNDING).any(axis=1)
    first = np.flatnonzero(np.append(True, new))
    # many neighbours may be far from the first of them
    moved = points - points[first][np.cumsum(np.append(0, new))]
    sizes = np.linalg.norm(multipliers, axis=1)
    lost += sizes @ np.linalg.norm(moved, axis=1)
    # the coefficients of a point of a cone in the ball sum up to at most the rank
    rounding = max(ROUNDING, sum(multipliers.shape) * points.shape[1] * _EPS)
    slack = float(rounding * sizes.sum() + lost)
    multipliers = np.add.reduceat(multipliers, first)
    if single:
        pricing = SinglePricing.over(linear[0], points[first], multipliers[:, 0])
    else:
        pricing = SharedPricing.over(linear, points[first], multipliers)
    return pricing, basis, float(height * weight), slack


def _starts(basis, start):
    """Unit columns to ascend from."""
    r = basis.shape[1]
    points = [np.eye(r), -np.eye(r), np.random.RandomState(0).standard_normal((r, 16))]
    if start is not None:
        points.append(basis.T @ start)
    points = _unit_columns(np.hstack(points))
    return points[:, points.any(axis=0)]


def _unit_columns(points):
    norms = np.linalg.norm(points, axis=0)
    return points / np.where(norms > 0.0, norms, 1.0)


# ------------------------------------------------------------------------------------------------
# Open cones


class _Pool:
    """Open cones in blocks, in ascending order of the largest bound of a block."""

    def __init__(self):
        self.blocks, self.size, self.count = [], 0, 0

    def largest_bound(self):
        """Largest bound of the open cones, 0 if there are none."""
        return self.blocks[-1][0] if self.blocks else 0.0

    def push(self, cones):
        """Add cones."""
        if len(cones) == 0:
            return
        order = np.argsort(-cones.bounds, kind="stable")
        for part in np.array_split(order, -(-len(order) // (BATCH // 2))):
            self.count += 1
            # the count decides between equal bounds
            insort(self.blocks, (float(cones.bounds[part[0]]), self.count, cones[part]))
            self.size += 3 * cones.rays[part].size

    def pop(self, number, threshold):
        """Take about `number` of the most promising cones.

        Returns
        -------
        cones : _Cones
        discarded : float
            Largest bound of the cones met on the way that are below the threshold.
        """
        taken, discarded, found = [], 0.0, 0
        while self.blocks and found < number:
            last = -1 if self.size <= MEMORY else 0
            _, _, cones = self.blocks.pop(last)
            self.size -= 3 * cones.rays.size
            keep = cones.bounds > threshold
            discarded = max(discarded, cones.bounds[~keep].max(initial=0.0))
            taken.append(cones[keep])
            found += len(taken[-1])
        return taken[0].joined(taken) if taken else (), discarded
