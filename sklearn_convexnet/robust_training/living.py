r"""Patterns for robust training: which of them live, up to which radius, and where to look.

The robust cone of a pattern with signs :math:`s_k` has an interior exactly if some direction u
keeps every ball on its side, :math:`s_k x_k^\top u > \|r_k \circ u\|_*`. The largest factor on the
radii at which one does,

.. math:: \max_u \min_k \frac{s_k x_k^\top u}{\|r_k \circ u\|_*},

is a margin: that of a support vector machine without slack. It is a linear program for the norms
inf and 1 and a least-squares problem over :math:`a \ge 0` for the norm 2. With many more rows than
features, almost all random patterns have a factor below one at radii of practical use.

A cone without interior is not yet a cone of zero blocks. All rows can be moved in the same features
(`Perturbation.balls`), so that a block of a pattern whose factor is below one has
:math:`r_k \circ u = 0`: it lives in the features that nothing moves, in the polyhedral cone
:math:`s_k x_k^\top u \ge 0`. Rows that are zero there, or opposed to each other, hold it on a face:
in the subspace where they are zero, the other rows leave it an interior. Only a pattern without
such a face, too, is dead.
"""

import numpy as np
from scipy.optimize import linprog

from ..core.rows import unit_rows
from ..program.cones import non_negative_least_squares
from ..program.patterns import (
    SOLVER_TOLERANCE,
    STRICT_MARGIN,
    activation_patterns,
    distinct_patterns,
    realizing_gates,
    sample_gates,
)

# weight of what the norm 2 leaves free against what it bounds: the margin loses its square
_FREE = 1e4
# relative accuracy of a factor, from above and, of a search in the norm 2, from below
_MARGIN, _SHORT = 1e-6, 1e-3


def slacks(rows, radii, patterns, directions, ball):
    """Least value on each ball of the functions ``sign * x @ direction``, shape (n, P)."""
    values = np.where(patterns, 1.0, -1.0) * (rows @ directions)
    return values - _reaches(radii, directions, ball)


def largest_factors(rows, radii, patterns, ball):
    """How much the balls may grow before each pattern dies.

    Parameters
    ----------
    rows, radii : ndarray of shape (n, d)
        Centres and radii. Without radii per row (norms 2 and 1) all rows of `radii` are equal.
    patterns : ndarray of bool of shape (n, P)
    ball : Norm

    Returns
    -------
    directions : ndarray of shape (d, P)
        Where the factor is attained; meaningless where it is zero.
    factors : ndarray of shape (P,)
        Non-negative; inf if something that cannot be perturbed, as the intercept, tells the
        sides apart, be it on a face. See `living` and `undecided`.
    """
    patterns = np.asarray(patterns, dtype=bool)
    sided = np.any((rows != 0) | (radii > 0), axis=1)
    rows, radii, patterns = rows[sided], radii[sided], patterns[sided]
    directions, factors = _free_directions(rows, radii, patterns)
    search = {1: _search_absolute, 2: _search_euclidean, np.inf: _search_maximum}[ball.dual]
    for i in np.flatnonzero(factors == 0):
        if radii.any():
            signs = np.where(patterns[:, i], 1.0, -1.0)
            directions[:, i], factors[i] = search(signs[:, None] * rows, radii, ball)
        if factors[i] < 1.0 - _SHORT:
            inside, held, _ = free_face(rows, radii, patterns[:, i])
            if inside.any():
                # no row holds a cone that is too thin for the search: it may have an interior
                directions[:, i], factors[i] = inside, np.inf if held.any() else 1.0
    return directions, factors


def living(factors):
    """Whether patterns have non-zero blocks at the radii that the factors are of."""
    return factors > 1.0 + _MARGIN


def undecided(factors):
    """Whether rounding hides if patterns have non-zero blocks, and which."""
    return (factors >= 1.0 - _SHORT) & ~living(factors)


def free_face(rows, radii, pattern):
    """The cone of a pattern within the features that nothing moves.

    Parameters
    ----------
    rows, radii : ndarray of shape (n, d)
    pattern : ndarray of bool of shape (n,)

    Returns
    -------
    direction : ndarray of shape (d,)
        In the relative interior of the cone; zero if all blocks of the cone are inactive.
    held : ndarray of bool of shape (n,)
        Rows on which all blocks of the cone are zero.
    basis : ndarray of shape (d, r)
        Orthonormal, of the subspace that these rows leave.
    """
    free = np.flatnonzero(~radii.any(axis=0))
    n, d = rows.shape
    direction, basis = np.zeros(d), np.zeros((d, 0))
    size = np.abs(rows[:, free]).max(axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    visible = np.flatnonzero(rows[:, free].any(axis=1))
    if visible.size == 0:
        return direction, np.ones(n, dtype=bool), basis
    signs = np.where(pattern[visible], 1.0, -1.0)
    signed = unit_rows(signs[:, None] * rows[np.ix_(visible, free)] / size)
    signed, group = np.unique(signed, axis=0, return_inverse=True)
    inside, rest = _relative_interior(signed)
    held = np.ones(n, dtype=bool)
    held[visible] = rest[group.ravel()]
    if not pattern[~held].any():
        return direction, held, basis
    null = np.linalg.svd(signed[rest], full_matrices=True) if rest.any() else None
    if null is None:
        left = np.eye(free.size)
    else:
        left = null[2][np.count_nonzero(null[1] > STRICT_MARGIN) :].T
    left = np.linalg.qr(left / size[:, None])[0]
    direction[free] = left @ (left.T @ (inside / size))
    basis = np.zeros((d, left.shape[1]))
    basis[free] = left
    return direction / np.sqrt(direction @ direction), held, basis


def _relative_interior(signed):
    """A point of ``signed @ u >= 0`` with as many rows positive as can be, and the other rows."""
    inside, rest = np.zeros(signed.shape[1]), np.ones(len(signed), dtype=bool)
    while rest.any():
        total = signed[rest].sum(axis=0)
        result = linprog(
            -total,
            A_ub=np.concatenate([-signed, total[None]]),
            b_ub=np.append(np.zeros(len(signed)), 1.0),
            bounds=(None, None),
            options={"primal_feasibility_tolerance": SOLVER_TOLERANCE},
        )
        if result.x is None or not total @ result.x > 0.5:
            break
        # the cone holds the sum of its points
        inside += result.x / np.sqrt(result.x @ result.x)
        rest = ~(signed @ inside > STRICT_MARGIN * np.sqrt(inside @ inside))
    return inside, rest


def candidate_patterns(rows, radii, weights, y, n_patterns, rng, *, ball, intercept, n_moved=0):
    """Patterns with a chance to live, for training on perturbed rows.

    The all-active one (a linear neuron), those of the two sides of y, `n_patterns` random ones
    and, with an intercept, the `n_patterns` that random directions and single features give with
    the threshold in a wide gap between the balls; both sides of each.

    Parameters
    ----------
    rows, radii : ndarray of shape (n, d)
    weights, y : ndarray of shape (n,)
    n_patterns : int
    rng : numpy.random.RandomState or numpy.random.Generator
    ball : Norm
    intercept : bool
        Whether the last column is the constant one.
    n_moved : int, default=0
        How many perturbed copies of the rows every random direction is also applied to, as in
        Algorithm 4.1 of Bai, Gautam & Sojoudi (arXiv 2201.01965). A living pattern is one of the
        rows themselves, so that they add nothing but draws.

    Returns
    -------
    ndarray of bool of shape (n, n_candidates)
        Distinct, none empty.
    """
    gates = sample_gates(rows, weights, n_patterns, rng, intercept=intercept)
    sides = y > (weights @ y if np.ptp(np.sign(y)) == 0 else 0.0)
    parts = [np.ones((len(rows), 1), dtype=bool), sides[:, None], ~sides[:, None]]
    parts.append(activation_patterns(rows, gates))
    if intercept:
        directions = np.concatenate([gates[:-1], np.eye(rows.shape[1] - 1)], axis=1)
        above = _above_gaps(rows[:, :-1], radii[:, :-1], directions, n_patterns, ball)
    else:
        above = activation_patterns(rows, np.eye(rows.shape[1]))
    parts += [above, ~above]
    for _ in range(n_moved):
        moved = rows + radii * np.sign(rng.standard_normal(rows.shape))
        parts.append(activation_patterns(moved, gates))
    patterns = np.concatenate(parts, axis=1)
    return np.ascontiguousarray(patterns[:, distinct_patterns(patterns)])


def _above_gaps(points, radii, directions, count, ball):
    """Rows above the widest gaps between their balls, relative to the reach, over directions."""
    values = points @ directions
    reach = np.broadcast_to(_reaches(radii, directions, ball), values.shape)
    order = np.argsort(values, axis=0)
    values, reach = (np.take_along_axis(a, order, axis=0) for a in (values, reach))
    # a ball may reach over several others
    below = np.maximum.accumulate(values + reach, axis=0)[:-1]
    above = np.minimum.accumulate((values - reach)[::-1], axis=0)[::-1][1:]
    widths = (above - below) / (np.ptp(values, axis=0) + 1e-300)
    widest = np.argsort(-widths, axis=None, kind="stable")[:count]
    cut, column = np.unravel_index(widest, widths.shape)
    return np.argsort(order, axis=0)[:, column] > cut


def _reaches(radii, directions, ball):
    """Reaches, one row for all balls where these are equal."""
    return ball.reaches(radii if ball.separable else radii[:1], directions)


def _free_directions(rows, radii, patterns):
    """Directions along which nothing is perturbed, for the patterns that have one."""
    d, P = rows.shape[1], patterns.shape[1]
    directions, factors = np.zeros((d, P)), np.zeros(P)
    free = ~radii.any(axis=0)
    if not free.any():
        return directions, factors
    # rows that are equal there must be on one side
    _, group = np.unique(rows[:, free], axis=0, return_inverse=True)
    group = group.ravel()
    counts = np.bincount(group)
    active = np.zeros((len(counts), P))
    np.add.at(active, group, patterns.astype(np.float64))
    possible = np.flatnonzero(np.all((active == 0) | (active == counts[:, None]), axis=0))
    if possible.size:
        gates, margins = realizing_gates(rows[:, free], patterns[:, possible])
        zero = ~rows[:, free].any(axis=1)
        alive = margins > 1e-9 if not zero.any() else np.zeros(len(possible), dtype=bool)
        directions[np.ix_(free, possible[alive])] = gates[:, alive]
        factors[possible[alive]] = np.inf
    return directions, factors


def _search_absolute(signed, radii, ball):
    """Dual norm 1, radii per row: a linear program, repeated where radii differ by row."""
    reach = radii.max(axis=0)
    uniform = bool((radii == reach).all())
    best, factor = np.zeros(signed.shape[1]), 0.0
    while True:
        # Dinkelbach: directions of positive slack at the present factor have a larger one
        rows = np.concatenate([signed - factor * radii, -signed - factor * radii], axis=1)
        if uniform:
            rows = np.concatenate([signed, -signed], axis=1)
        split = _largest_margin(rows, np.tile(reach, 2), upper=np.inf)
        direction = split[: len(best)] - split[len(best) :]
        larger = _measured(signed, radii, direction, ball)
        if not larger > (1.0 + 1e-6) * factor:
            return best, factor
        best, factor = direction, larger
        if uniform:
            return best, factor


def _search_maximum(signed, radii, ball):
    """Dual norm inf: a linear program over a box."""
    direction = _largest_margin(signed, None, upper=radii[0])
    return direction, _measured(signed, radii, direction, ball)


def _search_euclidean(signed, radii, ball):
    """Dual norm 2: the point of the convex hull of the rows that is nearest to zero."""
    attacked = radii[0] > 0
    # what the free features tell of the others is free: with an intercept these are centred
    explained = np.linalg.lstsq(signed[:, ~attacked], signed[:, attacked], rcond=None)[0]
    rows, signed = signed, signed.copy()
    signed[:, attacked] -= signed[:, ~attacked] @ explained
    size = np.sqrt(np.mean(signed**2, axis=0))
    scale = np.where(size > 0, size, 1.0) / _FREE
    scale[attacked] = radii[0, attacked]
    scaled = signed / scale
    unit = np.sqrt(np.mean(scaled[:, attacked] ** 2)) or 1.0
    scale[attacked] *= unit
    scaled[:, attacked] /= unit
    system = np.concatenate([scaled.T, np.ones((1, len(scaled)))])
    multipliers = non_negative_least_squares(system, np.append(np.zeros(len(scale)), 1.0))
    direction = (multipliers @ scaled) / scale
    direction[~attacked] -= explained @ direction[attacked]
    return direction, _measured(rows, radii, direction, ball)


def _largest_margin(rows, budget, *, upper):
    """The u with the largest ``min(rows @ u)``, from a linear program.

    With a `budget`, u is non-negative and ``budget @ u <= 1``; without one, ``|u| <= 1 / upper``.
    """
    n, d = rows.shape
    size = np.abs(rows).max(axis=0, initial=0.0)
    size = np.where(size > 0, size, 1.0)
    matrix, bound = np.concatenate([-rows / size, np.ones((n, 1))], axis=1), np.zeros(n)
    if budget is not None:
        matrix = np.concatenate([matrix, np.append(budget / size, 0.0)[None]])
        bound = np.append(bound, 1.0)
        limits = [(0.0, None)] * d
    else:
        limits = [
            (-s / u, s / u) if u > 0 else (None, None) for s, u in zip(size, upper, strict=True)
        ]
    result = linprog(
        np.append(np.zeros(d), -1.0), A_ub=matrix, b_ub=bound, bounds=[*limits, (0.0, None)]
    )
    return np.zeros(d) if result.x is None else result.x[:d] / size


def _measured(signed, radii, direction, ball):
    """Smallest ratio of value and reach of a direction; zero if a value is not positive."""
    values = signed @ direction
    if not values.min() > 0:
        return 0.0
    with np.errstate(divide="ignore"):
        return float(np.min(values / _reaches(radii, direction[:, None], ball)[:, 0]))
