r"""Pricing: the search for the neuron that would lower the objective most.

For slopes p of the loss and :math:`\lambda = -\omega \circ p`, a neuron of direction u and sign
:math:`s` gains :math:`s \lambda^\top (X u)_+ - \alpha` per unit of strength. The search climbs from
many directions at once; it finds good neurons and proves nothing.
"""

from dataclasses import dataclass

import numpy as np

from ..core.parallel import ALONE
from ..core.rows import blocks, stretches, times, weighted_sum

# an ascent whose steps shrink to this has arrived; so has one that gains less than this
_SMALLEST_STEP, _NO_PROGRESS = 1e-5, 1e-12
# rows, evenly spaced, that tell patterns apart
_TELLING = 2**14


@dataclass(frozen=True)
class Priced:
    r"""Directions found, the best first.

    Attributes
    ----------
    values : ndarray of shape (k,)
        :math:`s \lambda^\top (X u)_+`; the dual is feasible where none exceeds alpha.
    directions : ndarray of shape (d, k)
        The :math:`u`, of unit norm.
    signs : ndarray of shape (k,)
        The :math:`s`.
    """

    values: np.ndarray
    directions: np.ndarray
    signs: np.ndarray

    @property
    def largest(self):
        """Largest value, at least 0."""
        return float(self.values.max(initial=0.0))


def bound_of_sums(linear, totals, singular):
    r"""Proved upper bound on :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+|`.

    With :math:`(z)_+ = (z + |z|) / 2`, and by Cauchy and Schwarz, :math:`\lambda^\top (X u)_+` is
    at most

    .. math:: \tfrac12 \|X^\top \lambda\| + \tfrac12 \sqrt{\sum_k t_k}\;
        \sigma_{\max}\big(\mathrm{diag}(t)^{1/2} X\big), \qquad t = (\lambda)_+ .

    Parameters
    ----------
    linear : ndarray of shape (d,)
        :math:`X^\top \lambda`.
    totals, singular : sequence of two floats
        The sums and the singular values, or bounds on them, for :math:`\lambda` and
        :math:`-\lambda`.

    Returns
    -------
    float
    """
    pairs = zip(totals, singular, strict=True)
    curved = max(np.sqrt(total) * value for total, value in pairs)
    return float(0.5 * (np.linalg.norm(linear) + curved))


def price(problem, slopes, starts, *, max_iter=30, dtype=np.float64, workers=ALONE):
    """Climb to valuable directions of both signs.

    Parameters
    ----------
    problem : TrainingProblem
    slopes : ndarray of shape (n_samples,)
        Slopes of the loss.
    starts : ndarray of shape (d, k)
        Directions to climb from.
    max_iter : int, default=30
        Steps of every ascent.
    dtype : dtype, default=numpy.float64
        Precision of the ascents; the values found are in double precision always.
    workers : Workers, default=ALONE
        For the rows.

    Returns
    -------
    Priced
    """
    multipliers = -problem.weights * slopes
    how = {"max_iter": max_iter, "dtype": dtype, "workers": workers}
    found = [ascend(problem.rows, sign * multipliers, starts, **how) for sign in (1.0, -1.0)]
    values = np.concatenate([values for values, _ in found])
    order = np.argsort(-values, kind="stable")
    return Priced(
        values[order],
        np.concatenate([directions for _, directions in found], axis=1)[:, order],
        np.repeat([1.0, -1.0], [len(found[0][0]), len(found[1][0])])[order],
    )


def ascend(rows, multipliers, starts, *, max_iter, dtype=np.float64, workers=ALONE):
    r"""Local ascents of :math:`h(u) = \lambda^\top (X u)_+` on the unit sphere.

    On the cone of its pattern h is linear, with gradient :math:`X^\top D \lambda`: an ascent goes
    towards that, and half the way when this is too far.

    Returns
    -------
    values : ndarray of shape (k,)
    directions : ndarray of shape (d, k)
    """
    best = _unit_columns(starts.astype(dtype, copy=False))
    values = np.full(best.shape[1], -np.inf)
    climbing = np.arange(best.shape[1])
    points, goals, steps = best, best, np.ones(len(climbing))
    cast_rows, cast_multipliers = (each.astype(dtype, copy=False) for each in (rows, multipliers))
    for _ in range(max_iter):
        gradients = _gradients(cast_rows, cast_multipliers, points, workers)
        reached = np.einsum("ji,ji->i", gradients, points)
        higher = reached > values[climbing] * (1.0 + _NO_PROGRESS)
        values[climbing[higher]] = reached[higher]
        best[:, climbing[higher]] = points[:, higher]
        goals = np.where(higher, _unit_columns(gradients), goals)
        steps = np.where(higher, np.minimum(1.0, 2.0 * steps), 0.5 * steps)
        on = steps > _SMALLEST_STEP
        climbing, goals, steps = climbing[on], goals[:, on], steps[on]
        if climbing.size == 0:
            break
        points = best[:, climbing]
        points = _unit_columns(points + steps.astype(dtype) * (goals - points))
    if dtype == np.float64:
        return values, best
    best = _unit_columns(best.astype(np.float64))
    return np.einsum("ji,ji->i", _gradients(rows, multipliers, best, workers), best), best


def _gradients(rows, multipliers, points, workers):
    """``X' D Omega p`` for the patterns of points, in their precision."""

    def of_stretch(stretch):
        total = np.zeros(points.shape, points.dtype)
        for part, block in blocks(rows, stretch):
            active = block @ points
            # a product with booleans would not be one of BLAS
            active[...] = active >= 0
            total += weighted_sum(block, multipliers[part], active)
        return total

    return workers.total(of_stretch, stretches(rows))


def distinct(problem, priced, *, above, most):
    """Indices of priced directions of different patterns and signs, the best first.

    Parameters
    ----------
    problem : TrainingProblem
    priced : Priced
    above : float
        Values up to this one are not wanted.
    most : int
        Number wanted, of each sign.

    Returns
    -------
    ndarray of int
    """
    # patterns that differ in a row or two have almost the same neuron
    apart = 0.01
    telling = slice(None, None, -(-problem.n_samples // _TELLING))
    rows, weights = problem.rows[telling], problem.weights[telling]
    weights = weights / weights.sum()
    chosen = []
    for sign in (1.0, -1.0):
        candidates = np.flatnonzero((priced.signs == sign) & (priced.values > above))
        patterns = times(rows, priced.directions[:, candidates]) >= 0
        left = np.ones(len(candidates), dtype=bool)
        for _ in range(most):
            if not left.any():
                break
            first = int(np.argmax(left))
            chosen.append(candidates[first])
            differ = weights @ (patterns != patterns[:, [first]])
            left &= differ > apart
            left[first] = False
    return np.array(chosen, dtype=int)


def _unit_columns(vectors):
    norms = np.sqrt(np.einsum("ji,ji->i", vectors, vectors))
    return vectors / np.where(norms > 0, norms, 1.0)
