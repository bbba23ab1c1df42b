r"""Pricing: the search for the neuron that would lower the objective most.

For slopes P of the loss and :math:`\Lambda = -\omega \circ P`, a neuron of unit direction u and
unit output weights a gains :math:`a^\top \Lambda^\top (X u)_+ - \alpha` per unit of strength. With
one output a is a sign, and the search climbs for each; with several the best a is
:math:`\Lambda^\top (X u)_+` over its norm. The search climbs from many directions at once; it finds
good neurons and proves nothing.
"""

from dataclasses import dataclass

import numpy as np

from ..core.monotone import clipped
from ..core.parallel import ALONE, Whole
from ..core.rows import times
from ..program.neuron_shard import Pricing

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
        :math:`a^\top \Lambda^\top (X u)_+`; the dual is feasible where none exceeds alpha.
    directions : ndarray of shape (d, k)
        The :math:`u`, of unit norm.
    outputs : ndarray of shape (k,) or (k, n_outputs)
        The :math:`a`: signs, or vectors of unit norm.
    """

    values: np.ndarray
    directions: np.ndarray
    outputs: np.ndarray

    def __getitem__(self, which):
        """Some of them."""
        return Priced(self.values[which], self.directions[:, which], self.outputs[which])

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
    linear : ndarray of shape (d,) or (d, n_outputs)
        :math:`X^\top \lambda`.
    totals, singular : sequence of floats
        The sums and the singular values, or bounds on them, for :math:`\lambda` and
        :math:`-\lambda`.

    Returns
    -------
    float
    """
    pairs = zip(totals, singular, strict=True)
    curved = max(np.sqrt(total) * value for total, value in pairs)
    return float(0.5 * (np.linalg.norm(linear, 2) + curved))


def price(problem, slopes, starts, *, max_iter=30, dtype=np.float64, workers=ALONE):
    """Climb to valuable neurons, see `price_rows`, for given slopes of the loss.

    Parameters
    ----------
    problem : TrainingProblem
    slopes : ndarray of shape (n_samples,) or (n_samples, n_outputs)
    starts : ndarray of shape (d, k)
    max_iter, dtype
        As in `price_rows`.
    workers : Workers, default=ALONE
        For the rows.

    Returns
    -------
    Priced
    """
    rows = Whole(Pricing(problem.rows, -problem.multipliers(slopes), workers))
    how = {"monotone": problem.monotone, "max_iter": max_iter, "dtype": dtype}
    return price_rows(rows, starts, problem.is_shared, **how)


def price_rows(rows, starts, several, *, monotone=None, max_iter=30, dtype=np.float64):
    """Climb to valuable neurons, with one output of both signs.

    Parameters
    ----------
    rows : Reductions
        Of `Pricing`, or of what has its methods.
    starts : ndarray of shape (d, k)
        Directions to climb from.
    several : bool
        Whether there are several outputs, or one in a column.
    monotone : ndarray of int of shape (d,), default=None
        Of one output in a column, see `TrainingProblem`: only such neurons are looked for.
    max_iter : int, default=30
        Steps of every ascent.
    dtype : dtype, default=numpy.float64
        Precision of the ascents; the values found are in double precision always.

    Returns
    -------
    Priced
    """
    # the gain of several outputs is a norm, and has no sign
    signs = (1.0,) if several and monotone is None else (1.0, -1.0)
    found = [
        _ascend(
            _gradients(rows, sign, several, free=monotone is None),
            starts,
            max_iter,
            dtype,
            None if monotone is None else sign * monotone[:, None],
        )
        for sign in signs
    ]
    values = np.concatenate([values for values, _, _ in found])
    order = np.argsort(-values, kind="stable")
    return Priced(
        values[order],
        np.concatenate([directions for _, directions, _ in found], axis=1)[:, order],
        np.concatenate([outputs for _, _, outputs in found])[order],
    )


def ascend(rows, multipliers, starts, *, max_iter, dtype=np.float64, workers=ALONE):
    r"""Local ascents of :math:`h(u) = \|\Lambda^\top (X u)_+\|` on the unit sphere.

    With one output h is :math:`\lambda^\top (X u)_+`. On the cone of its pattern it is linear, with
    gradient :math:`X^\top D \lambda`, or the norm of a linear map, with gradient
    :math:`X^\top D \Lambda a` for a the image over its norm: an ascent goes towards that, a step of
    the power method, and half the way when this is too far.

    Returns
    -------
    values : ndarray of shape (k,)
    directions : ndarray of shape (d, k)
    outputs : ndarray of shape (k,) or (k, n_outputs)
        Ones, or the :math:`a`.
    """
    pricing = Whole(Pricing(rows, multipliers, workers))
    return _ascend(_gradients(pricing, 1.0, multipliers.ndim == 2), starts, max_iter, dtype)


def _ascend(gradients_at, starts, max_iter, dtype, signs=None):
    """See `ascend`; among directions whose entries are not against `signs`, a convex cone."""
    kept = (lambda vectors: vectors) if signs is None else (lambda vectors: clipped(vectors, signs))
    best = _unit_columns(kept(starts.astype(dtype, copy=False)))
    values = np.full(best.shape[1], -np.inf)
    climbing = np.arange(best.shape[1])
    points, goals, steps = best, best, np.ones(len(climbing))
    outputs = None
    for _ in range(max_iter):
        gradients, gains = gradients_at(points)
        reached = np.einsum("ji,ji->i", gradients, points)
        higher = reached > values[climbing] * (1.0 + _NO_PROGRESS)
        if outputs is None:
            outputs = np.ones(gains.shape)
        values[climbing[higher]] = reached[higher]
        best[:, climbing[higher]] = points[:, higher]
        outputs[climbing[higher]] = gains[higher]
        goals = np.where(higher, _unit_columns(kept(gradients)), goals)
        steps = np.where(higher, np.minimum(1.0, 2.0 * steps), 0.5 * steps)
        on = steps > _SMALLEST_STEP
        climbing, goals, steps = climbing[on], goals[:, on], steps[on]
        if climbing.size == 0:
            break
        points = best[:, climbing]
        points = _unit_columns(points + steps.astype(dtype) * (goals - points))
    if dtype == np.float64:
        return values, best, outputs
    best = _unit_columns(best.astype(np.float64))
    gradients, outputs = gradients_at(best)
    return np.einsum("ji,ji->i", gradients, best), best, outputs


def _gradients(rows, sign, several, *, free=True):
    """A function of points: gradients, in their precision, and outputs that gain most there.

    If several outputs are not `free`, it is one in a column, of this sign.
    """

    def at(points):
        if not several:
            gradients = sign * rows.total("gradients", points, None)
            return gradients, np.full(points.shape[1], sign)
        if not free:
            outputs = np.full((points.shape[1], 1), sign, points.dtype)
            return rows.total("gradients", points, outputs), outputs
        outputs = rows.total("gains", points)
        norms = np.linalg.norm(outputs, axis=1, keepdims=True)
        outputs = outputs / np.where(norms > 0, norms, 1.0)
        return rows.total("gradients", points, outputs), outputs

    return at


def distinct(problem, priced, *, above, most):
    """Indices of priced directions of different patterns or outputs, the best first.

    Parameters
    ----------
    problem : TrainingProblem
    priced : Priced
    above : float
        Values up to this one are not wanted.
    most : int
        Number wanted; with one output, of each sign.

    Returns
    -------
    ndarray of int
    """
    # patterns that differ in a row or two have almost the same neuron, if its outputs are similar
    apart, similar = 0.01, 0.7
    telling = slice(None, None, -(-problem.n_samples // _TELLING))
    rows, weights = problem.rows[telling], problem.weights[telling]
    weights = weights / weights.sum()
    valuable, outputs = priced.values > above, priced.outputs
    groups = [valuable] if outputs.ndim == 2 else [valuable & (outputs == s) for s in (1.0, -1.0)]
    chosen = []
    for group in groups:
        candidates = np.flatnonzero(group)
        patterns = times(rows, priced.directions[:, candidates]) >= 0
        left = np.ones(len(candidates), dtype=bool)
        for _ in range(most):
            if not left.any():
                break
            first = int(np.argmax(left))
            chosen.append(candidates[first])
            differ = weights @ (patterns != patterns[:, [first]]) > apart
            if outputs.ndim == 2:
                differ |= outputs[candidates] @ outputs[candidates[first]] < similar
            left &= differ
            left[first] = False
    return np.array(chosen, dtype=int)


def _unit_columns(vectors):
    norms = np.sqrt(np.einsum("ji,ji->i", vectors, vectors))
    return vectors / np.where(norms > 0, norms, 1.0)
