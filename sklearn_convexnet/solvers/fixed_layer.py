r"""The sampled convex program: a random first layer and a lasso.

With unit directions :math:`u_1, \dots, u_N` the first layer is fixed,

.. math:: \min_{a, c} \sum_k \omega_k \ell\Big(\sum_i (x_k^\top u_i)_+ a_i + c, y_k\Big)
    + \alpha \|a\|_1

(Bai, Gautam & Sojoudi, arXiv 2201.01965). With blocks of one coordinate it is the problem of the
interior point, without cones.

Several outputs share the layer: with :math:`a_i \in \mathbb{R}^K` the penalty is
:math:`\alpha \sum_i \|a_i\|_2`, a group lasso, whose dual asks for
:math:`\|\Lambda^\top (X u_i)_+\|_2 \le \alpha`. As :math:`\|a\|_2 = \min_{s b = a}
(s^2 + \|b\|_2^2) / 2`, L-BFGS solves it in the smooth variables (s, b); the gap tells how well.
"""

import copy
from functools import partial

import numpy as np

from ..bounds.dual import (
    Certified,
    admissible_slopes,
    dual_value,
    dual_value_of_rows,
    resolution,
    tighter,
)
from ..core.monotone import clipped
from ..core.parallel import ALONE
from ..core.rows import times
from ..program.units import Solution
from .base import BaseSolver, pausing
from .descent import balanced, constant_network, minimise
from .interior import GatedBlocks, InteriorPoint

# shares of the largest output weight below which others are left out, the largest first, if that
# costs no more than a share of the objective
_THRESHOLDS, _WORTH = (1e-4, 1e-6, 1e-8, 0.0), 1e-6
# of the group lasso: sizes at the start, the first smoothing of the kinks of a loss, and relative
# decreases at which L-BFGS is asked for bounds
_START, _WIDTH, _PROGRESS = 0.1, 0.1, (1e-5, 1e-7, 1e-9, 1e-11, 1e-13)


class FixedLayer(BaseSolver):
    """The sampled convex program as a solver; all it multiplies by the rows are directions."""

    name = bounds_of = "scp"
    needs_dense_rows = False

    def run(self, program, *, tol, max_iter, rng, start, record, workers):  # noqa: D102
        paused = None if start is None else start.paused
        certified, n_iter = _solve_scp(program, tol, max_iter, workers, paused)
        record("interior", n_iter, certified)
        return certified, n_iter


def _solve_scp(program, tol, max_iter, workers, paused):
    """Solve the sampled convex program over the given gates of a program, of norm one.

    Returns
    -------
    Certified
        Bounds of this program. The blocks :math:`v_i = a_i^+ u_i`, :math:`w_i = a_i^- u_i` lie in
        the cones of the patterns of u, so the point is feasible for the program over those
        patterns too.
    n_iter : int
    """
    directions = program.directions
    features = np.maximum(times(program.rows, directions), 0.0)
    n, N = features.shape
    method = InteriorPoint(
        GatedBlocks(
            rows=np.ones((n, 1)),
            masks=features,
            groups=np.arange(N),
            signs=np.ones(N),
            cone_rows=np.empty((0, 1)),
            cone_signs=np.empty((0, N)),
            y=program.y,
            weights=program.weights,
            loss=program.loss,
            alpha=program.alpha,
            intercept=program.fit_intercept,
        ),
        workers=workers,
    )
    if paused is not None:
        method = copy.copy(paused)
        method.workers, method.n_iter = workers, 0
    method.run(0.3 * tol, max_iter)
    slopes = admissible_slopes(program, method.slopes)
    lower = dual_value(program, slopes, np.abs(features.T @ (program.weights * slopes)).max())
    certified = None
    size = np.abs(method.theta[:, 0])
    for threshold in _THRESHOLDS:
        a = np.where(size > threshold * size.max(), method.theta[:, 0], 0.0)
        outputs = features @ a + method.bias
        upper = float(
            program.weights @ program.loss.value(outputs, program.y)
            + program.alpha * np.abs(a).sum()
        )
        if certified is None or upper < certified.upper_bound * (1.0 - 0.1 * tol):
            v, w = np.maximum(a, 0.0) * directions, np.maximum(-a, 0.0) * directions
            certified = Certified(
                Solution(v, w, method.bias, slopes), upper, lower, resolution(program)
            )
    if method.n_iter >= max_iter:
        method.workers = ALONE
        certified = pausing(certified, method)
    return certified, method.n_iter


def solve_shared_layer(
    rows,
    directions,
    *,
    tol,
    max_iter,
    record,
    start=None,
    bias=None,
    width=None,
    signs=None,
    paused=None,
):
    """Solve the sampled convex program of several outputs over directions.

    Parameters
    ----------
    rows : NeuronRows
        Of a problem in normalised units.
    directions : ndarray of shape (d, n_directions)
        Of norm one.
    tol : float
        Relative duality gap to reach.
    max_iter : int
    record : callable
        Called with (phase, n_iter, Certified, network) at every check; returns whether to stop.
    start : ndarray of shape (k, n_outputs), default=None
        Output weights of the first k directions to start from, and their `bias`.
    bias : ndarray of shape (n_outputs,), default=None
    width : float, default=None
        Smoothing of the kinks of the loss that the tolerance allows; by default ever less.
    signs : ndarray of int of shape (n_directions,), default=None
        Of one output in a column: signs that the output weights must not be against, as those of
        a monotone network.
    paused : tuple, default=None
        What the solution of a run left that ran out of iterations, to go on there.

    Returns
    -------
    outputs : ndarray of shape (n_directions, n_outputs)
        Output weights.
    certified : Certified
        Bounds of this program, with the biases, and the slopes where rows are in this process.
    at : tuple
        Output weights, biases and smoothing at whose slopes the lower bound is.
    n_iter : int
    """
    problem = rows.problem
    rows.tell("set_layer", directions)
    if start is None:
        start = np.zeros((0, problem.y.shape[1]))
        bias, _ = constant_network(
            problem.y, problem.weights, problem.loss, fit_intercept=problem.fit_intercept
        )
    layer, n_iter, best = _SharedLayer(rows, directions, start, bias, signs), 0, None
    smooth = width is not None or np.isfinite(problem.loss.curvature)
    widths = [width or 0.0] if smooth else _WIDTH * 0.1 ** np.arange(1, 8)
    stages = [
        (width, progress) for width in widths for progress in _PROGRESS[: None if smooth else 3]
    ]
    # L-BFGS does not remember its steps: it makes those of its last run again
    first, layer.point, again = (0, layer.point, 0) if paused is None else paused
    for k, (layer.width, progress) in list(enumerate(stages))[first:]:
        left = max_iter - n_iter
        if left <= 0:
            break
        begin = layer.point
        found = minimise(layer, begin, left + again, signs=layer.signs, progress=progress)
        last = k, begin, int(found.nit)
        n_iter, again = n_iter + max(int(found.nit) - again, 0), 0
        layer.point = found.x
        outputs, bounds, here = layer.certify()
        if best is None:
            best, at = (outputs, bounds), here
        else:
            at = here if bounds.lower_bound >= best[1].lower_bound else at
            kept = outputs if bounds.upper_bound <= best[1].upper_bound else best[0]
            best = kept, tighter(best[1], bounds)
        stop = record("descent", n_iter, best[1], partial(_network, problem, directions, *best))
        if stop or best[1].gap <= tol:
            break
    rows.tell("set_layer", directions[:, :0])
    if n_iter >= max_iter:
        best = best[0], pausing(best[1], last)
    return *best, at, n_iter


def monotone_layer(directions, monotone):
    """Directions of a fixed layer that keep to `monotone`, of norm one, and signs of their outputs.

    Of every direction the nearest one that adds, and the nearest one that subtracts.
    """
    both = [clipped(directions, sign * monotone[:, None]) for sign in (1, -1)]
    directions, signs = np.concatenate(both, axis=1), np.repeat([1, -1], directions.shape[1])
    norms = np.linalg.norm(directions, axis=0)
    return directions[:, norms > 0] / norms[norms > 0], signs[norms > 0]


def _network(problem, directions, outputs, certified):
    return problem.user_network(*balanced(directions, outputs), certified.solution.bias)


class _SharedLayer:
    """The objective of the group lasso in (s, b, c), smoothed where the loss has kinks."""

    def __init__(self, rows, directions, start, bias, signs=None):
        self.rows, self.directions, self.output_signs = rows, directions, signs
        self.width = 0.0
        N, n_outputs = directions.shape[1], start.shape[1]
        sizes = np.sqrt(np.linalg.norm(start, axis=1))
        # the others begin in the direction of what they would gain
        known = np.concatenate([start, np.zeros((N - len(start), n_outputs))])
        gains = -rows.total("layer_sums", known, bias, 0.0)[1][len(start) :]
        gains /= np.maximum(np.linalg.norm(gains, axis=1, keepdims=True), 1e-300)
        small = _START * (np.median(sizes) if sizes.size else 1.0)
        s = np.concatenate([sizes, np.full(len(gains), small)])
        b = np.concatenate([start / np.maximum(sizes, 1e-300)[:, None], small * gains])
        self.ends = [N, N + N * n_outputs]
        self.point = np.concatenate([s, b.ravel(), bias])
        # of a point: with sizes that are not negative, b has the signs of the output weights
        self.signs = None if signs is None else np.concatenate([np.ones(N), signs, 0.0 * bias])

    def parts(self, point):
        """Sizes, unscaled output weights and biases of a point."""
        s, b, c = np.split(point, self.ends)
        return s, b.reshape(len(s), len(c)), c

    def __call__(self, point):
        problem, (s, b, c) = self.rows.problem, self.parts(point)
        outputs = s[:, None] * b
        loss, pull, by_bias = self.rows.total("layer_sums", outputs, c, self.width)
        penalised = point[: self.ends[1]]
        gradient = problem.alpha * point
        of_s, of_b, of_c = self.parts(gradient)
        of_s += np.einsum("jc,jc->j", pull, b)
        of_b += s[:, None] * pull
        of_c[:] = by_bias if problem.fit_intercept else 0.0
        return loss + 0.5 * problem.alpha * (penalised @ penalised), gradient

    def certify(self):
        """Output weights, those that hardly count left out, bounds, and where the slopes are."""
        rows, (s, b, c) = self.rows, self.parts(self.point)
        outputs = s[:, None] * b
        rows.set_slopes(self.directions, outputs, c, self.width)
        gains = rows.total("layer_gains")
        if self.output_signs is not None:
            gains = np.maximum(self.output_signs[:, None] * gains, 0.0)
        gains = np.linalg.norm(gains, axis=1)
        lower = dual_value_of_rows(rows, gains.max(initial=0.0))
        sizes = np.linalg.norm(outputs, axis=1)
        upper = np.inf
        # at first none is left
        for threshold in (1.0, *_THRESHOLDS):
            kept = np.where(sizes > threshold * sizes.max(initial=0.0), sizes, 0.0)
            trial = np.where(kept[:, None] > 0, outputs, 0.0)
            value = float(rows.total("layer_loss", trial, c) + rows.problem.alpha * kept.sum())
            if value < upper * (1.0 - _WORTH):
                best, upper = trial, value
        point = Solution(None, None, c, rows.slopes)
        # what rounding makes of an objective that is zero
        least = 1e-30 * rows.total("layer_loss", 0.0 * outputs, 0.0 * c)
        return best, Certified(point, upper, lower, least), (outputs, c, self.width)
