"""Activation patterns of the rows a hidden layer sees.

A ReLU neuron with weights ``g`` is active on the rows with ``x_k . g >= 0``. The convex program of
a two-layer network has one block of variables for every *activation pattern*
``D = diag(1[rows g >= 0])``: this module draws patterns (`sample_gates`), lists them all
(`enumerate_gates`), and finds neurons that realise given ones (`realizing_gates`).

Patterns do not change when a row, or a column with the inverse factor on the gate's entry, is
multiplied by a positive number. Everything here is computed with columns brought to unit maximum,
then rows to unit norm; "relative margin" means ``min_k |x_k . g| / (|x_k| |g|)`` over the non-zero
rows with columns so scaled. It says how safe a pattern is from rounding, in any units. Zero rows
have no say: a pattern is called empty when it is False on all the others.
"""

from __future__ import annotations

from math import comb

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import issparse

from ..core.rows import (
    block_size,
    blocks,
    by_column,
    column_maxima,
    dense,
    moments,
    row_maxima,
    unit_rows,
)

# A sampled gate must keep this relative margin, a user's pattern must allow it.
STRICT_MARGIN = 1e-9
# Below this relative size two directions, or a number and zero, differ by rounding only.
ROUNDING = 1e-13
# Smallest feasibility tolerance that HiGHS accepts.
SOLVER_TOLERANCE = 1e-10
# Largest number of floats in a temporary product of rows and gates: 64 MB.
CHUNK = 2**23


def activation_patterns(rows, gates):
    """Activation patterns of the neurons with weights `gates`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    gates : ndarray of shape (d, P)

    Returns
    -------
    ndarray of bool, shape (n, P)
        ``rows @ gates >= 0``, one pattern per column.
    """
    return np.concatenate([block @ gates >= 0 for _, block in blocks(rows)])


def distinct_patterns(patterns):
    """Indices of the first occurrence of every distinct, not all-False column.

    A neuron that is active nowhere contributes nothing and is left out; one that is active
    everywhere (a linear neuron) is kept.

    Parameters
    ----------
    patterns : ndarray of bool, shape (n, P)

    Returns
    -------
    ndarray of int
        Column indices in ascending order.
    """
    packed = np.packbits(patterns, axis=0)
    first = _first_of_equal_rows(packed.T)
    return first[packed[:, first].any(axis=0)]


def sample_gates(rows, weights, n_gates, rng, *, intercept, distinct=True):
    """Draw gates that are balanced wherever the data lie, with distinct patterns.

    Hyperplanes are drawn around the weighted mean of the data, at the scale of its weighted
    standard deviation. With an intercept, ``g ~ N(0, I)`` and ``b ~ N(0, 1)`` act on the
    standardised features, ``g . (x - mu) / sigma + b``. Without one, hyperplanes must pass
    through the origin: ``g ~ N(0, I)`` acts on ``x / sigma``, and its component along the mean
    ``m = mu / sigma`` is shrunk by ``min(1, 1 / |m|)`` so that they still cut the cloud.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        With `intercept`, the last column is constant and not zero.
    weights : ndarray of shape (n,)
        Positive, of sum 1.
    n_gates : int
        Number of gates wanted.
    rng : numpy.random.RandomState or numpy.random.Generator
        Draws depend on ``d`` and on `rng` only, not on the order of the rows.
    intercept : bool
        Whether the last column is the constant one.
    distinct : bool, default=True
        Whether patterns must differ. If not, the gates are independent of each other.

    Returns
    -------
    ndarray of shape (d, P), P <= n_gates
        Gates of unit norm with a relative margin above 1e-9 and non-empty patterns. Fewer than
        `n_gates` when the bounded number of draws finds no more; at least one if any row is not
        zero.
    """
    scaled, scale = _scale_columns(rows)
    unit = _unit_visible(scaled)
    if unit.shape[0] == 0:
        return np.empty((len(scale), 0))
    from_normal = _draw_map(scaled, weights, intercept)
    batch = max(n_gates, 32)
    left, idle = 10 * n_gates + 100, 0
    seen, chosen = set(), []
    # Two batches without a new pattern: whatever is left is too thin to be worth the search.
    while len(chosen) < n_gates and left > 0 and idle < 2:
        draws = from_normal(rng.standard_normal((batch, len(scale))).T)
        fresh = _new_strict_gates(unit, draws, seen, distinct)
        chosen += fresh
        left -= batch
        idle = 0 if fresh else idle + 1
    if not chosen:
        # So far from the origin that no hyperplane cuts the cloud at this precision: pass it by.
        draws = rng.standard_normal((batch, len(scale))).T
        chosen = _new_strict_gates(unit, draws, seen, distinct)
    gates = np.array(chosen[:n_gates]).reshape(-1, len(scale)).T
    return _unscale_gates(gates, scale)


def draw_gates(rows, weights, count, rng, *, intercept):
    """Independent gates of the distribution of `sample_gates`, equal patterns included.

    Parameters
    ----------
    rows, weights, rng, intercept
        As in `sample_gates`.
    count : int

    Returns
    -------
    ndarray of shape (d, count)
    """
    scaled, scale = _scale_columns(rows)
    draws = _draw_map(scaled, weights, intercept)(rng.standard_normal((count, len(scale))).T)
    return _unscale_gates(draws, scale)


def strict_gates(rows, gates, rng):
    """Gates moved off the rows that they touch.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    gates : ndarray of shape (d, P)
    rng : numpy.random.RandomState or numpy.random.Generator

    Returns
    -------
    gates : ndarray of shape (d, P)
        Of unit norm. Those with a relative margin above 1e-9 only change their norm, others move
        as little as gives them one.
    strict : ndarray of bool of shape (P,)
        Whether that succeeded.
    """
    scaled, scale = _scale_columns(rows)
    unit = _unit_visible(scaled)
    nudged = unit_rows((gates * scale[:, None]).T).T
    if unit.shape[0] == 0:
        return gates, np.zeros(gates.shape[1], dtype=bool)
    _, margins = _packed_patterns(unit, nudged)
    original = nudged.copy()
    for size in np.geomspace(1e-8, 1e-3, 11):
        touching = np.flatnonzero(~(margins > STRICT_MARGIN))
        if touching.size == 0:
            break
        noise = rng.standard_normal((len(scale), touching.size))
        nudged[:, touching] = original[:, touching] + size * noise
        _, margins[touching] = _packed_patterns(unit, nudged[:, touching])
    return _unscale_gates(nudged, scale), margins > STRICT_MARGIN


class TooManyPatternsError(ValueError):
    """There may be more patterns than are wanted."""


def _most_cells(m, r):
    """Largest number of cells of m hyperplanes of rank r through the origin."""
    return 2 * sum(comb(m - 1, j) for j in range(r))


def enumerate_gates(rows, *, max_patterns):
    """One gate for every pattern that neurons can realise strictly.

    The patterns are the cells of the arrangement of the hyperplanes ``{u : x_k . u = 0}``. For
    ``m`` distinct hyperplanes of rank ``r`` there are at most ``2 sum_{j<r} C(m-1, j)`` cells,
    with equality in general position [1]_; repeated, parallel, coplanar and zero rows, and rows
    of deficient rank, are all allowed.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    max_patterns : int
        Refuse the work if the bound above exceeds this number.

    Returns
    -------
    ndarray of shape (d, P)
        Gates of unit norm, one for each cell apart from the one where all non-zero rows are
        inactive. Cells narrower than a relative margin of 1e-13 cannot be told from rounding and
        are left out.

    Raises
    ------
    TooManyPatternsError
        A ValueError: there may be more than `max_patterns` patterns.

    References
    ----------
    .. [1] T. M. Cover, "Geometrical and statistical properties of systems of linear inequalities
       with applications in pattern recognition", IEEE Transactions on Electronic Computers
       EC-14(3), 1965, doi:10.1109/PGEC.1965.264137.
    """
    scaled, scale = _scale_columns(dense(rows, "patterns='all'"))
    unit = _unit_visible(scaled)
    if len(unit) == 0:
        return np.empty((len(scale), 0))
    coordinates, back = _row_space(unit[_distinct_lines(unit)])
    m, r = coordinates.shape
    count = _most_cells(m, r)
    if count > max_patterns:
        raise TooManyPatternsError(
            f"patterns='all' would need up to {count} activation patterns for {m} distinct rows "
            f"of rank {r}, more than max_patterns={max_patterns}; use patterns='random', fewer "
            "rows or fewer features"
        )
    gates = back @ _half_of_cells(coordinates)
    gates = np.concatenate([gates, -gates], axis=1)
    packed, margins = _packed_patterns(unit, gates)
    # Measured on all of the rows themselves, so that every gate kept proves its cell.
    gates = gates[:, (margins > ROUNDING) & packed.any(axis=1)]
    return _unscale_gates(gates, scale)


def few_gates(rows, *, most):
    """One gate for every pattern where there are at most `most`; None where there may be more."""
    if issparse(rows) or len(rows) > most:
        return None
    try:
        return enumerate_gates(rows, max_patterns=most)
    except TooManyPatternsError:
        return None


def realizing_gates(rows, patterns):
    r"""Gates of largest margin for given patterns.

    For the signs ``s = 2 D - 1`` of one pattern, the gate solves the linear program

    .. math:: \max_{u, t}\ t \quad\text{s.t.}\quad s_k\, x_k^\top u / |x_k| \ge t,\ |u|_\infty \le 1

    over the non-zero rows with columns scaled to unit maximum.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    patterns : ndarray of bool, shape (n, P)

    Returns
    -------
    gates : ndarray of shape (d, P)
        Of unit norm; meaningless where the margin is zero.
    margins : ndarray of shape (P,)
        Values of ``t``, at least 0. A margin up to 1e-9 means that no gate realises the pattern
        strictly, as far as the solver (accurate to a few 1e-9) can tell.
    """
    scaled, scale = _scale_columns(dense(rows, "the search for neurons of given patterns"))
    unit = _unit_visible(scaled)
    signs = 2.0 * np.asarray(patterns)[scaled.any(axis=1)] - 1.0
    gates, margins = np.zeros((len(scale), signs.shape[1])), np.zeros(signs.shape[1])
    if len(unit) == 0:
        return gates, margins
    least_squares = np.linalg.pinv(unit, rcond=ROUNDING)
    for p, sign in enumerate(signs.T):
        signed = sign[:, None] * unit
        gates[:, p], margins[p] = _largest_margin(signed, least_squares @ sign)
    return _unscale_gates(gates, scale), margins


def check_patterns(patterns, n_rows):
    """Validate a user's array of activation patterns.

    Parameters
    ----------
    patterns : array-like of shape (n_rows, P)
        Booleans, or numbers that are all 0 or 1.
    n_rows : int

    Returns
    -------
    ndarray of bool, shape (n_rows, P), C-contiguous
    """
    array = np.asarray(patterns)
    expected = f"expected a boolean array of shape ({n_rows}, n_patterns) with n_patterns >= 1"
    if array.ndim != 2 or array.shape[0] != n_rows or array.shape[1] == 0:
        raise ValueError(f"patterns has shape {array.shape}; {expected}")
    if not ((array == 0) | (array == 1)).all():
        raise ValueError(
            f"patterns of dtype {array.dtype} has values other than 0 and 1; {expected}"
        )
    return np.ascontiguousarray(array, dtype=bool)


# ------------------------------------------------------------------------------------------------
# Scaling


def _scale_columns(rows):
    """Columns divided by their largest magnitude, and these magnitudes (1 for a zero column)."""
    scale = column_maxima(rows)
    scale[scale == 0] = 1.0
    return by_column(np.divide, rows, scale), scale


def _unit_visible(scaled):
    """Unit rows of those that are not zero."""
    return unit_rows(scaled[row_maxima(scaled) > 0])


def _unscale_gates(gates, scale):
    """Gates of unit norm for the rows before `_scale_columns`."""
    # Any common factor will do; this one keeps all entries in range at any scale of the rows.
    return unit_rows(gates.T * (scale.min() / scale)).T


def _row_space(unit):
    """Whitened coordinates of the rows in their row space, and the map back for gates.

    With the thin SVD ``unit = U S V'`` truncated to the numerical rank, the rows of ``U`` have the
    same patterns for gates ``c`` as the rows of `unit` have for ``V S^-1 c``, and are as far from
    lying in a common hyperplane as they can be.
    """
    u, s, vt = np.linalg.svd(unit, full_matrices=False)
    rank = int((s > ROUNDING * s[0]).sum())
    return unit_rows(u[:, :rank]), vt[:rank].T / s[:rank]


# ------------------------------------------------------------------------------------------------
# Patterns of many gates


def _packed_patterns(unit, gates):
    """Patterns as packed bits, one row per gate, and the relative margins of the gates."""
    n, P = unit.shape[0], gates.shape[1]
    packed = np.empty((P, (n + 7) // 8), dtype=np.uint8)
    margins = np.full(P, np.inf)
    # a number takes eight times the memory of a boolean
    step = max(1, CHUNK // max(1, n // 8, min(n, block_size(unit))))
    for start in range(0, P, step):
        part = slice(start, start + step)
        patterns = np.empty((n, len(margins[part])), dtype=bool)
        for rows, block in blocks(unit):
            values = block @ gates[:, part]
            np.greater_equal(values, 0, out=patterns[rows])
            np.abs(values, out=values)
            np.minimum(margins[part], values.min(axis=0), out=margins[part])
        packed[part] = np.packbits(patterns, axis=0).T
    return packed, margins / np.linalg.norm(gates, axis=0)


def _first_of_equal_rows(packed):
    """Ascending indices of the first occurrence of every distinct row of a uint8 matrix."""
    packed = np.ascontiguousarray(packed)
    if packed.size == 0:
        return np.arange(min(1, len(packed)))
    whole_rows = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    return np.sort(np.unique(whole_rows, return_index=True)[1])


def _draw_map(scaled, weights, intercept):
    """Function that turns columns of standard normal numbers into gates for the rows `scaled`."""
    mean, sigma = moments(scaled, weights)
    constant = sigma <= 1e-12
    if intercept:
        slope = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, sigma))
        level = scaled[[0], -1:].sum()

        def through_the_cloud(normal):
            gates = slope[:, None] * normal
            gates[-1] = (normal[-1] - mean[:-1] @ gates[:-1]) / level
            return gates

        return through_the_cloud
    # A constant feature is its own scale; a zero feature gets no weight.
    sigma = np.where(constant, np.where(mean == 0, np.inf, np.abs(mean)), sigma)
    centre = mean / sigma
    length = np.linalg.norm(centre)
    shrink = 1.0 - 1.0 / max(length, 1.0)
    axis = centre / max(length, 1.0)

    def from_the_origin(normal):
        return (normal - shrink * np.outer(axis, axis @ normal)) / sigma[:, None]

    return from_the_origin


def _new_strict_gates(unit, gates, seen, distinct):
    """List of the gates with a sufficient margin and a non-empty pattern, if asked a new one."""
    packed, margins = _packed_patterns(unit, gates)
    fresh = []
    for p in np.flatnonzero((margins > STRICT_MARGIN) & packed.any(axis=1)):
        key = packed[p].tobytes()
        if not distinct or key not in seen:
            seen.add(key)
            fresh.append(gates[:, p])
    return fresh


# ------------------------------------------------------------------------------------------------
# Cells of a central hyperplane arrangement


def _distinct_lines(unit):
    """Indices, ascending, of one unit row for every line through the origin."""
    # Equal or opposite rows are neighbours when sorted along a direction in no special position.
    direction = np.sin(1.0 + np.arange(unit.shape[1]) ** 2)
    order = np.argsort(np.abs(unit @ direction), kind="stable")
    ahead, behind = unit[order[1:]], unit[order[:-1]]
    equal = np.abs(ahead - behind).max(axis=1, initial=0.0) <= ROUNDING
    opposite = np.abs(ahead + behind).max(axis=1, initial=0.0) <= ROUNDING
    return np.sort(order[np.concatenate([[True], ~(equal | opposite)])])


def _half_of_cells(normals):
    """Interior points of the cells of an arrangement, one from each pair of opposite cells.

    Let ``k`` be the last hyperplane that carries a facet of a cell. Later hyperplanes do not meet
    the cell, so its facet on ``k`` is a whole cell of the restriction to ``k`` of the earlier
    hyperplanes, an arrangement of lower rank. Stepping off an interior point of every cell of
    every such restriction, to both sides, therefore reaches every cell: about twice on average.

    Parameters
    ----------
    normals : ndarray of shape (m, r), m >= 1
        Unit normals, no two parallel.

    Returns
    -------
    ndarray of shape (r, C)
        Points of unit norm.
    """
    if normals.shape[1] == 1:
        return np.ones((1, 1))
    if normals.shape[1] == 2:
        return _half_of_sectors(normals)
    normals, back = _row_space(normals)
    if normals.shape[1] <= 2:
        return unit_rows((back @ _half_of_cells(normals)).T).T
    m, r = normals.shape
    # The normals span the space, so that a cell has r facets at least and k starts from r - 1.
    points = np.hstack([_points_beside(normals[:k], normals[k]) for k in range(r - 1, m)])
    points *= np.where(normals[0] @ points < 0, -1.0, 1.0)
    packed, margins = _packed_patterns(normals, points)
    # The best centred point of each cell comes first; points on a later hyperplane are no use.
    order = np.argsort(-margins, kind="stable")[: np.count_nonzero(margins > ROUNDING)]
    points = points[:, order[_first_of_equal_rows(packed[order])]]
    return unit_rows((back @ points).T).T


def _half_of_sectors(normals):
    """`_half_of_cells` in the plane: mid-angles between neighbouring lines."""
    angles = np.sort(np.arctan2(normals[:, 1], normals[:, 0]) % np.pi)
    middle = (angles + np.append(angles[1:], angles[0] + np.pi)) / 2 + np.pi / 2
    return np.stack([np.cos(middle), np.sin(middle)])


def _points_beside(earlier, normal):
    """Points on both sides of the cells into which `earlier` cuts the hyperplane of `normal`."""
    mirror = normal.copy()
    mirror[0] += np.copysign(1.0, normal[0])
    # A Householder reflection takes the first axis to the normal, the others to its hyperplane.
    basis = np.eye(len(normal))[:, 1:] - np.outer(mirror, mirror[1:]) * (2 / (mirror @ mirror))
    traces = unit_rows(earlier @ basis)
    inside = basis @ _half_of_cells(traces[_distinct_lines(traces)])
    # On the way from a point inside (angle 0) to the normal (a right angle) and on, each earlier
    # hyperplane is met at one angle below pi: half the smallest is in the middle of the cell.
    level, slope = earlier @ inside, (earlier @ normal)[:, None]
    slope = np.sign(level) * slope
    level = np.abs(level)
    up = np.arctan2(level, -slope).min(axis=0) / 2
    down = np.arctan2(level, slope).min(axis=0) / 2
    above = np.cos(up) * inside + np.sin(up) * normal[:, None]
    below = np.cos(down) * inside - np.sin(down) * normal[:, None]
    return np.hstack([above, below])


# ------------------------------------------------------------------------------------------------
# Gates for given patterns


def _largest_margin(signed, gate):
    """Solution `gate`, margin of the program of `realizing_gates`; starts from a guess `gate`.

    Few of the constraints bind: those that the last gate meets worst are added until the
    remaining ones hold by themselves.
    """
    n, d = signed.shape
    used = np.zeros(n, dtype=bool)
    lower, least = np.inf, signed @ gate
    while True:
        worst = np.argpartition(least, min(n, 10 * d) - 1)[: 10 * d]
        worst = worst[(least[worst] < lower - SOLVER_TOLERANCE) & ~used[worst]]
        if len(worst) == 0:
            # Measured, not reported by the solver, whose tolerance may exceed the margin.
            return gate, max(0.0, least.min())
        used[worst] = True
        gate, lower = _solve_margin_program(signed[used])
        least = signed @ gate


def _solve_margin_program(signed):
    """Gate and ``t`` of the linear program ``signed @ gate >= t``, ``|gate| <= 1``, ``t >= 0``."""
    n, d = signed.shape
    best = None
    for method, tolerance in [("highs", SOLVER_TOLERANCE), ("highs-ipm", 10 * SOLVER_TOLERANCE)]:
        result = linprog(
            np.append(np.zeros(d), -1.0),
            A_ub=np.hstack([-signed, np.ones((n, 1))]),
            b_ub=np.zeros(n),
            bounds=[(-1.0, 1.0)] * d + [(0.0, None)],
            method=method,
            options={
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if result.x is None:
            continue
        gate, t = result.x[:d], result.x[d]
        margin = (signed @ gate).min()
        if best is None or margin > best[0]:
            best = margin, gate, t
        # In cells about as thin as its tolerance the simplex method errs, or gives up, where the
        # interior point method does not.
        if 2 * margin >= t:
            break
    if best is None:
        raise RuntimeError(f"the linear program of an activation pattern failed: {result.message}")
    return best[1:]
