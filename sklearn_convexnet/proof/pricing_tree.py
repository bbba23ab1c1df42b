r"""The best neuron of all, enclosed: branch and bound over cones of directions.

For multipliers :math:`\lambda` of the rows :math:`x_k`, `pricing_maximum` encloses

.. math:: \max_{\|u\|_2 \le 1} h(u), \qquad h(u) = \sum_k \lambda_k (x_k^\top u)_+ ,

a positively homogeneous function that is neither convex nor concave. On a simplicial cone
:math:`K = \{R t : t \ge 0\}` the terms with :math:`\lambda_k > 0` are convex, so that the linear
function with the same values :math:`c` at the rays (the columns of R) is their least concave upper
bound. A term with :math:`\lambda_k < 0` is at most :math:`-|\lambda_k| s_k x_k^\top u` for any
slope :math:`s_k \in [0, 1]`. What remains is linear, and over the part of the cone in the ball

.. math:: h(u) \le \|\Pi_K(v)\| \le \|v + R^{-\top} a\|, \quad a \ge 0, \qquad
    v = R^{-\top} c - \sum_{\lambda_k < 0} |\lambda_k| s_k x_k .

Multipliers a come from an active-set method, slopes from Frank-Wolfe steps towards those of the
maximiser :math:`u = \Pi_K(v)`, at which the concave terms are then exact. A cone that may hold more
than is asked for is cut through the middle of the edge that is interpolated worst. Its halves share
all rays but one: they inherit the gradients of the convex terms at the rays, which tell c and how
much these terms bend between two rays, and R^-1 but for two rows.

Whatever the slopes and the multipliers, the bound holds; it is computed in batches of cones, with
the residual of :math:`R^\top R^{-\top} = I` and the rounding of sums over all rows on top.
"""

import time
from bisect import insort
from dataclasses import dataclass, field

import numpy as np

# Rounding of a sum over some thousand rows, relative to the sum of magnitudes; of merged and
# projected rows.
ROUNDING = 1e-12
# Cones split at once; floats of an array of matrices (16 MB), and of one that stays in the cache.
BATCH, CHUNK, CACHE = 1024, 2**21, 2**15
# Open cones are held in this many floats (512 MB); beyond, those nearest to be settled come first.
MEMORY = 2**26
# Frank-Wolfe steps on the slopes, at most; steps of the first active-set search.
SLOPE_STEPS, ACTIVE_STEPS = 20, 3
# Above this rank of the rows there is only a crude bound.
LARGEST_RANK = 64
# A cone with a ray this close to the span of the others is not split any further.
THINNEST = 1e-6
TINY = np.finfo(float).tiny


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
    rows, multipliers, *, tol=1e-2, stop_below=None, start=None, time_limit=None, max_cones=None
):
    r"""Enclose :math:`\max_{\|u\| \le 1} \lambda^\top (X u)_+` by branch and bound.

    The work grows exponentially with the rank of the rows: at the default tolerance and some
    hundreds of rows, below a second up to rank 4, seconds at rank 5 and 6, a minute at rank 7.
    Without limits it may not end, as when the maximum is all but zero next to the terms.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    multipliers : ndarray of shape (n,)
        The :math:`\lambda`.
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
    used = rows.any(axis=1) & (multipliers != 0.0)
    if not used.any():
        return PricingBounds(0.0, 0.0, np.zeros(rows.shape[1]), 0, True, 0.0)
    pricing, basis, scale, slack = _reduce(rows[used], multipliers[used])
    target = stop_below / scale - slack if stop_below else 0.0

    best = pricing.ascend(_starts(basis, start))
    cones, n_cones, pool = _fan(pricing), 0, _Pool()
    settled = 0.0 if len(cones) else pricing.crude_bound()
    pace = _Pace()
    while len(cones):
        threshold = max(best[0] * (1.0 + tol) + slack, target)
        cones.bound(pricing, threshold)
        n_cones += len(cones)
        best = max(best, _look_at(pricing, cones, best[0]), key=lambda found: found[0])
        threshold = max(best[0] * (1.0 + tol) + slack, target)
        unsettled = (cones.bounds > threshold) & ~cones.thin
        settled = max(settled, cones.bounds[~unsettled].max(initial=0.0))
        pool.push(cones[unsettled])
        pace.note(n_cones, max(best[0], settled, pool.largest_bound()) - best[0])
        if n_cones >= max_cones or time.perf_counter() >= deadline:
            break
        cones, discarded = pool.pop(pricing.batch, threshold)
        settled = max(settled, discarded)
        cones = cones.halves(pricing) if len(cones) else cones

    upper = float(scale * (max(best[0], settled, pool.largest_bound()) + slack))
    direction = basis @ best[1]
    lower = float(multipliers @ np.maximum(rows @ direction, 0.0))
    if lower <= 0.0:
        lower, direction = 0.0, np.zeros(basis.shape[0])
    good_enough = max(lower * (1.0 + tol) + 3.0 * scale * slack, stop_below or 0.0)
    finished = bool(upper <= good_enough)
    doublings = 0.0 if finished else pace.doublings(good_enough / scale - best[0])
    return PricingBounds(lower, upper, direction, n_cones, finished, doublings)


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


@dataclass(frozen=True)
class _Pricing:
    """The function ``linear . u + sum (positive' u)_+ - sum (negative' u)_+``."""

    linear: np.ndarray  # (r,)
    positive: np.ndarray  # (r, n+)
    negative: np.ndarray  # (r, n-)
    widths: np.ndarray = field(init=False)  # norms of the negative columns

    def __post_init__(self):
        object.__setattr__(self, "widths", np.linalg.norm(self.negative, axis=0))

    @property
    def batch(self):
        """Number of cones to split at once."""
        return int(np.clip(CHUNK // (2 * len(self.linear) ** 2), 8, BATCH))

    def value(self, points):
        """Values at the columns of `points`."""
        gains = np.maximum(self.positive.T @ points, 0.0).sum(axis=0)
        return self.linear @ points + gains - np.maximum(self.negative.T @ points, 0.0).sum(axis=0)

    def convex_gradients(self, points):
        """Gradients of the linear and the convex terms at the rows of `points`."""
        return self.linear + _weighted_sums(self.positive, points, _activity)

    def tangents(self, points):
        """Gradients of the concave terms at the rows of `points`."""
        return -_weighted_sums(self.negative, points, _activity)

    def chords(self, centres, radii):
        """Sums of linear functions above the concave terms, good in balls around unit rows."""

        def slopes(products, part):
            # in a small ball a term crosses zero about where its value at the centre says
            products /= 2.0 * (radii[part, None] + ROUNDING) * self.widths
            products += 0.5
            np.clip(products, 0.0, 1.0, out=products)

        return -_weighted_sums(self.negative, centres, slopes)

    def crude_bound(self):
        """Bound over the ball, by the Cauchy-Schwarz inequality for the convex terms."""
        norms = np.linalg.norm(self.positive, axis=0)
        largest = np.linalg.eigvalsh((self.positive / norms) @ self.positive.T)[-1]
        return float(np.linalg.norm(self.linear) + np.sqrt(norms.sum() * max(largest, 0.0)))

    def gradient(self, points):
        """Gradients at the columns of `points`."""
        gains = self.positive @ (self.positive.T @ points > 0.0)
        return self.linear[:, None] + gains - self.negative @ (self.negative.T @ points > 0.0)

    def ascend(self, points, steps=30):
        """Value and place of the best point that ascents from unit columns reach."""
        values, step = self.value(points), np.ones(points.shape[1])
        for _ in range(steps):
            ahead = _unit_columns(self.gradient(points))
            trials = _unit_columns(points + step * (ahead - points))
            found = self.value(trials)
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


def _weighted_sums(columns, points, weigh):
    """Sums of columns, a row for each row of `points`, in blocks that stay in the cache.

    `weigh` turns products of points and columns into weights, in place.
    """
    sums = np.empty(points.shape)
    size = max(1, CACHE // max(1, columns.shape[1]))
    for start in range(0, len(points), size):
        part = slice(start, start + size)
        products = points[part] @ columns
        weigh(products, part)
        np.matmul(products, columns.T, out=sums[part])
    return sums


def _activity(products, _):
    np.greater(products, 0.0, out=products, casting="unsafe")


def _reduce(rows, multipliers):
    """The function in coordinates of the row space, with at most one row for each line.

    Returns
    -------
    pricing : _Pricing
    basis : ndarray of shape (d, r)
        Orthonormal; takes points back.
    scale : float
        To multiply values of `pricing` with.
    slack : float
        Rounding of values of `pricing`.
    """
    height, weight = np.abs(rows).max(), np.abs(multipliers).max()
    rows, multipliers = rows / height, multipliers / weight
    _, singular, basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[singular > 1e-13 * singular[0]].T
    points = rows @ basis
    lost = np.abs(multipliers) @ np.linalg.norm(rows - points @ basis.T, axis=1)
    norms = np.linalg.norm(points, axis=1)
    points, multipliers = points[norms > 0.0], (multipliers * norms)[norms > 0.0]
    points /= norms[norms > 0.0, None]
    # One of the two directions of each line: (-z)_+ = (z)_+ - z. Equal ones are neighbours in the
    # order of almost any linear function.
    keys = points @ np.random.RandomState(0).standard_normal(points.shape[1])
    linear = multipliers[keys < 0.0] @ points[keys < 0.0]
    points[keys < 0.0] *= -1.0
    order = np.argsort(np.abs(keys), kind="stable")
    points, multipliers = points[order], multipliers[order]
    new = (np.abs(np.diff(points, axis=0)) > 0.01 * ROUNDING).any(axis=1)
    first = np.flatnonzero(np.append(True, new))
    # many neighbours may be far from the first of them
    moved = points - points[first][np.cumsum(np.append(0, new))]
    lost += np.abs(multipliers) @ np.linalg.norm(moved, axis=1)
    rounding = max(ROUNDING, len(points) * np.finfo(np.float64).eps)
    slack = float(rounding * np.abs(multipliers).sum() + lost)
    multipliers = np.add.reduceat(multipliers, first)
    columns = (np.abs(multipliers)[:, None] * points[first]).T
    pricing = _Pricing(linear, columns[:, multipliers > 0], columns[:, multipliers < 0])
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
# Cones


@dataclass
class _Cones:
    """Cones, what their halves inherit, and what is known about them.

    Attributes
    ----------
    rays : ndarray of shape (B, r, r)
        Unit rows.
    inverse : ndarray of shape (B, r, r)
        Inverses of the matrices with the rays as columns.
    gradients : ndarray of shape (B, r, r)
        Of the linear and convex terms at the rays, a row for each ray.
    bounds : ndarray of shape (B,)
    edges : ndarray of int of shape (B, 2)
        Pairs of rays to cut between.
    points : ndarray of shape (B, r)
        Unit vectors or zero: where the relaxed function is largest, about.
    hopes : ndarray of shape (B,)
        Bounds on the values there.
    """

    rays: np.ndarray
    inverse: np.ndarray
    gradients: np.ndarray
    bounds: np.ndarray
    edges: np.ndarray
    points: np.ndarray
    hopes: np.ndarray

    def __len__(self):
        return len(self.bounds)

    def __getitem__(self, which):
        return _Cones(*(part[which] for part in vars(self).values()))

    @classmethod
    def joined(cls, parts):
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    @property
    def thin(self):
        """Whether a ray is in the span of the others, as far as rounding can tell."""
        return _dot(self.inverse, self.inverse).max(axis=1) > THINNEST**-2

    def halves(self, pricing):
        """The two halves of each cone, cut through the middle of an edge."""
        cones, (one, other) = np.arange(len(self)), self.edges.T
        middle = self.rays[cones, one] + self.rays[cones, other]
        lengths = np.sqrt(_dot(middle, middle))[:, None]
        middle /= lengths
        gradients = pricing.convex_gradients(middle)
        halves = _Cones.joined([self, self])
        for first, kept, replaced in ((0, one, other), (len(self), other, one)):
            half = first + cones
            halves.rays[half, replaced] = middle
            halves.gradients[half, replaced] = gradients
            halves.inverse[half, kept] -= self.inverse[cones, replaced]
            halves.inverse[half, replaced] *= lengths
        return halves

    def bound(self, pricing, threshold):
        """Bound the function on the cones, the better the closer to the threshold.

        Parameters
        ----------
        pricing : _Pricing
        threshold : float
            Bounds below need not be improved.
        """
        rays, inverse = self.rays, self.inverse
        at_rays = _dot(self.gradients, rays)
        gram = rays @ rays.transpose(0, 2, 1)
        centres = _unit_rows(rays.sum(axis=1))
        radii = np.sqrt(np.maximum(2.0 - 2.0 * _apply(rays, centres).min(axis=1), 0.0))
        concave = pricing.chords(centres, radii)
        linear = _combine(at_rays, inverse)
        forms = linear + concave
        free = _apply(inverse, forms) > 0.0
        points, free = _project(forms, rays, gram, inverse, free, ACTIVE_STEPS)
        norms = np.sqrt(_dot(points, points))
        self.hopes = np.minimum(norms, self.bounds)
        live = np.flatnonzero(norms > threshold)
        for _ in range(SLOPE_STEPS):
            if len(live) == 0:
                break
            steps = pricing.tangents(points[live]) - concave[live]
            # The value of all concave terms at the maximiser: no slopes make the bound any smaller.
            self.hopes[live] = _dot(forms[live] + steps, points[live]) / norms[live]
            hopeful = self.hopes[live] <= threshold
            live, steps = live[hopeful], steps[hopeful]
            length = -_dot(steps, points[live]) / np.maximum(_dot(steps, steps), TINY)
            steps *= np.clip(length, 0.0, 1.0)[:, None]
            concave[live] += steps
            forms[live] = linear[live] + concave[live]
            points[live], free[live] = _project(
                forms[live], rays[live], gram[live], inverse[live], free[live], 1
            )
            norms[live] = np.sqrt(_dot(points[live], points[live]))
            live = live[norms[live] > threshold]

        # `linear` is at most `points - concave` at the rays, but for the rounding of inverses;
        # the coefficients of a point of the cone in the ball sum up to at most 1 / reach.
        wanted = at_rays - _apply(rays, points - concave)
        reach = _apply(rays, centres).min(axis=1)
        rounding = np.maximum(wanted.max(axis=1), 0.0) / np.maximum(reach, TINY)
        self.bounds = np.minimum(self.bounds, norms + rounding)
        self.points = _unit_rows(points)
        self.edges = self._worst_edges(gram)

    def _worst_edges(self, gram):
        """Pair of rays between which the convex terms bend most, next to the maximiser."""
        r = gram.shape[1]
        if r == 1:
            return np.zeros((len(self), 2), dtype=int)
        first, second = np.triu_indices(r, 1)
        products = self.gradients @ self.rays.transpose(0, 2, 1)
        at_rays = np.einsum("bii->bi", products)
        bends = at_rays[:, first] + at_rays[:, second]
        bends -= products[:, first, second] + products[:, second, first]
        np.maximum(bends, 0.0, out=bends)
        shares = np.maximum(_apply(self.inverse, self.points), 0.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), TINY)
        scores = bends * (1.0 / r**2 + shares[:, first] * shares[:, second])
        # No cone may get arbitrarily thin, nor stay as it is if only concave terms are loose.
        lengths = 1.0 - gram[:, first, second]
        scores += (0.01 * scores.max(axis=1, keepdims=True) + ROUNDING) * lengths
        worst = scores.argmax(axis=1)
        return np.stack([first[worst], second[worst]], axis=1)


def _fan(pricing):
    """Cones over the faces of a regular simplex, which cover the space."""
    r = len(pricing.linear)
    B = r + 1 if r <= LARGEST_RANK else 0
    rays = np.zeros((B, r, r))
    if B:
        ones = np.ones((r + 1, 1))
        corners = np.linalg.qr(np.hstack([ones, np.eye(r + 1, r)]))[0][:, 1:]
        corners = _unit_rows(corners)
        rays = np.stack([np.delete(corners, k, axis=0) for k in range(r + 1)])
    return _Cones(
        rays,
        np.linalg.inv(rays.transpose(0, 2, 1)),
        pricing.convex_gradients(rays.reshape(B * r, r)).reshape(B, r, r),
        np.full(B, pricing.crude_bound()),
        np.zeros((B, 2), dtype=int),
        np.zeros((B, r)),
        np.zeros(B),
    )


def _look_at(pricing, cones, best, count=4):
    """The best value near the places where cones promise most."""
    points = cones.points[np.argsort(-cones.hopes, kind="stable")[:count]].T
    values = pricing.value(points)
    k = values.argmax()
    if values[k] > 0.9 * best:
        return pricing.ascend(points)
    return 0.0, points[:, k]


def _project(forms, rays, gram, inverse, free, steps):
    """Project vectors on cones; the results are not shorter than the projections.

    An active-set method: the coordinates t of the projection R t that are guessed to be `free`
    solve their normal equations, and those of the wrong sign change sides.

    Returns
    -------
    points : ndarray of shape (B, r)
        ``forms + R^-T a`` with a >= 0, the shortest one found; the projections if solved.
    free : ndarray of bool, shape (B, r)
        The next guess.
    """
    at_rays = _apply(rays, forms)
    points, shortest = forms.copy(), _dot(forms, forms)
    identity = np.eye(rays.shape[1])
    for _ in range(steps):
        both = free[:, :, None] & free[:, None, :]
        system = np.where(both, gram, identity * ~free[:, :, None])
        t = np.linalg.solve(system, np.where(free, at_rays, 0.0)[:, :, None])[:, :, 0]
        lack = _apply(gram, t) - at_rays
        trials = forms + _combine(np.where(free, 0.0, lack.clip(0.0)), inverse)
        lengths = _dot(trials, trials)
        shorter = lengths < shortest
        points[shorter], shortest[shorter] = trials[shorter], lengths[shorter]
        free = np.where(free, t > 0.0, lack < 0.0)
    return points, free


def _apply(matrices, vectors):
    return np.einsum("bij,bj->bi", matrices, vectors)


def _combine(coefficients, matrices):
    return np.einsum("bi,bij->bj", coefficients, matrices)


def _dot(a, b):
    return np.einsum("...i,...i->...", a, b)


def _unit_rows(points):
    norms = np.sqrt(_dot(points, points))[:, None]
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
        return _Cones.joined(taken) if taken else (), discarded
