r"""The sampled convex program on certified margins: a fixed first layer against perturbations.

With unit directions :math:`u_1, \dots, u_N` fixed, so are the ranges of the pre-activations over
the balls, and the lines of the relaxation with them. Output weights of both signs,
:math:`a^+, a^- \ge 0`, make the certified margins concave,

.. math::

    m_k = y_k c + \sum_{i, \pm} V^\pm_{ki} a^\pm_i - \|r_k \circ G_k\|_*, \qquad
    G_k = \sum_{i, \pm} S^\pm_{ki} a^\pm_i u_i ,

with the signed values V and slopes S of a lower line where a neuron helps the label and of the
chord where it hurts. The lower line is the side of the kink on which the row lies, so that no line
gets better when the balls grow, and neither does the optimum. What is left is convex and has no
constraints but signs,

.. math:: \min_{a^\pm \ge 0, c} \sum_k \omega_k \phi(m_k) + \alpha \sum_i (a^+_i + a^-_i) ,

the second algorithm of Bai, Gautam & Sojoudi (arXiv 2201.01965) on the margins of Wong & Kolter
(arXiv 1711.00851). Its dual: for slopes :math:`\lambda_k \ge 0` with
:math:`\sum_k \lambda_k y_k = 0` and perturbations :math:`\|\eta_k\|_p \le 1`,

.. math::

    -\sum_k \omega_k \phi^*(-\lambda_k / \omega_k) \quad \text{bounds it from below if} \quad
    \sum_k \lambda_k \big(V^\pm_{ki} - S^\pm_{ki} (r_k \circ \eta_k)^\top u_i\big) \le \alpha .

Both are read off L-BFGS on the program with its norms, and kinks of the loss, rounded off over a
width that shrinks until the gap between them is closed.
"""

from __future__ import annotations

import numpy as np

from .._typing import OnCheck
from ..bounds.dual import Certified, admissible_slopes, dual_value, resolution, tighter
from ..core.parallel import one_blas_pool
from ..program.neuron_shard import smooth_loss
from ..program.pattern_program import PatternProgram
from ..program.perturbation import Perturbation
from ..program.relaxation import Relaxation, lines
from ..program.units import Solution
from ..solvers.base import Record, Result, check_options
from ..solvers.descent import constant_network, minimise

# widths of what is rounded off, and iterations of L-BFGS with each
_FIRST_WIDTH, _SHRINK, _LAST_WIDTH, _ITERATIONS = 0.1, 0.3, 1e-6, 200
# relative decrease in an iteration at which L-BFGS has done: bounds ask for small gradients
_PROGRESS = 1e-12
# iterations after which a new run of L-BFGS gives up when nothing is left to gain
_AT_REST = 10
# output weights below this share of the largest are dropped if the objective allows
_NEGLIGIBLE = 1e-5


def solve_robust_scp(
    program: PatternProgram,
    perturbation: Perturbation,
    *,
    tol: float = 1e-2,
    max_iter: int = 10_000,
    on_check: OnCheck | None = None,
) -> Result:
    """Train the output layer over fixed directions on certified margins, to a certified gap.

    Parameters
    ----------
    program : PatternProgram
        The data, the loss and the penalty; its directions are the first layer. With an intercept,
        linear functions join them: a neuron per feature that is active on all perturbed rows. The
        loss must not increase with the margin.
    perturbation : Perturbation
        In the units of the rows.
    tol : float, default=1e-2
        Relative duality gap to reach.
    max_iter : int, default=10000
        Bound on the iterations of L-BFGS.
    on_check : callable, default=None
        Called with every new entry of the history; the solver stops when it returns a true value.

    Returns
    -------
    Result
        Its bounds are those of the convex program; the objective is the one of its network on
        certified margins, which may use better lines and so lie below.
    """
    check_options(tol, max_iter)
    record = Record(1.0, on_check)
    with one_blas_pool(large=False):
        layer = FixedLayer(program, perturbation)
        bias, slopes = constant_network(
            program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
        )
        point = np.append(np.zeros(2 * layer.directions.shape[1]), bias)
        best = layer.certified(point, program.y * slopes, np.zeros_like(layer.rows))
        n_iter, width = 1, _FIRST_WIDTH
        record("constant", n_iter, best)
        while best.gap > tol and n_iter < max_iter and width > _LAST_WIDTH and not record.stopped:
            end = minimise(
                lambda at, width=width: layer.value_and_gradient(at, width),
                point,
                min(_ITERATIONS, max_iter - n_iter),
                lower=layer.lower,
                progress=_PROGRESS,
            )
            point = end.x
            n_iter += max(int(end.nit), 1)
            best = tighter(best, layer.certified(point, *layer.dual_point(point, width)))
            record("scp", n_iter, best)
            if end.nit < _AT_REST:  # what is left of the gap is the width
                width *= _SHRINK
    status = record.status(best.gap, tol, "max_iter" if n_iter >= max_iter else "stalled")
    return layer.result(best, n_iter, status, record.history)


class FixedLayer:
    """Lines of the relaxation at directions of norm one, and the program on top of them.

    Points are flat: N output weights >= 0 of neurons that vote for label +1, N of those that vote
    for -1, and the bias. Everything is in units where the rows are of size one.

    Parameters
    ----------
    program : PatternProgram
    perturbation : Perturbation
    """

    def __init__(self, program, perturbation):
        self.program = program
        X = program.rows[:, :-1] if program.fit_intercept else program.rows
        self.relaxation = Relaxation(
            X, program.y, perturbation, fit_intercept=program.fit_intercept
        )
        units = program.problem.natural_units
        self.unit, (_, self.alpha) = units.row, units.normalised(program.loss, program.alpha)
        self.rows = self.relaxation.rows / self.unit
        self.radii = self.relaxation.radii / self.unit
        self.ball = perturbation.ball
        drawn = program.directions
        drawn = drawn / np.sqrt(np.einsum("ji,ji->i", drawn, drawn))
        linear = self._linear() if program.fit_intercept else drawn[:, :0]
        self.directions, self.n_linear = np.concatenate([linear, drawn], axis=1), linear.shape[1]
        self.lower = np.append(np.zeros(2 * self.directions.shape[1]), -np.inf)
        z = self.rows @ self.directions
        h = np.broadcast_to(perturbation.reach(self.radii, self.directions), z.shape)
        below, line = lines(z, 0.0, hurts=False)
        above, chord = lines(z, h, hurts=True)
        agrees = program.y[:, None] > 0
        # of the neurons that vote for +1 and for -1: they help the rows of their label
        self.slopes = np.where(agrees, below, above), np.where(agrees, above, below)
        self.values = np.where(agrees, line, -chord), np.where(agrees, -chord, line)

    def _linear(self):
        """A direction per feature whose neuron is active on all perturbed rows."""
        d = self.rows.shape[1] - 1
        lift = np.maximum(-np.min(self.rows - self.radii, axis=0)[:d], 0.0)
        directions = np.concatenate([np.eye(d), lift[None] / self.rows[0, -1]])
        return directions / np.sqrt(np.einsum("ji,ji->i", directions, directions))

    def split(self, point):
        """Output weights for +1 and for -1, and the bias."""
        N = self.directions.shape[1]
        return point[:N], point[N:-1], point[-1]

    def _affine(self, point):
        """Margins but for what perturbations take, and the gradients G of ``y f`` in the row."""
        up, down, bias = self.split(point)
        y = self.program.y
        margins = self.values[0] @ up + self.values[1] @ down + y * bias
        return margins, ((self.slopes[0] * up - self.slopes[1] * down) * y[:, None]) @ (
            self.directions.T
        )

    def value_and_gradient(self, point, width):
        """The objective with norms and loss rounded off over a width, from above."""
        program, y = self.program, self.program.y
        margins, gradients = self._affine(point)
        worst, moves = self.ball.smooth_falls(self.radii, gradients, width)
        losses, slopes = smooth_loss(program.loss, margins - worst, np.ones_like(y), width)
        pull = program.weights * slopes
        value = program.weights @ losses + self.alpha * point[:-1].sum()
        by_bias = [pull @ y] if program.fit_intercept else [0.0]
        return value, np.concatenate([self.alpha + self._scores(pull, moves), by_bias])

    def _scores(self, pull, moves):
        """Sums over the rows of `pull` times what an output weight adds to moved margins."""
        moved = moves @ self.directions
        turned = (pull * self.program.y)[:, None] * moved
        return np.concatenate(
            [
                pull @ self.values[0] - np.einsum("ki,ki->i", turned, self.slopes[0]),
                pull @ self.values[1] + np.einsum("ki,ki->i", turned, self.slopes[1]),
            ]
        )

    def dual_point(self, point, width):
        """Slopes of the loss in the margin, and moves ``r * eta`` within the balls."""
        margins, gradients = self._affine(point)
        worst, moves = self.ball.smooth_falls(self.radii, gradients, width)
        slopes = smooth_loss(self.program.loss, margins - worst, np.ones_like(margins), width)[1]
        return slopes, moves

    def certified(self, point, slopes, moves):
        """Bounds from a point, slopes of the loss in the margins, and moves of the rows."""
        program = self.program
        point = self._sparse(point)
        upper = self.objective(point)
        slopes = admissible_slopes(program, program.y * slopes)
        scores = self._scores(-program.weights * program.y * slopes, moves)
        # the dual value is that of a program whose alpha is in these units
        lower = dual_value(program, slopes, self.unit * scores.max())
        up, down, bias = self.split(point)
        solution = Solution(self.directions * up, self.directions * down, bias, slopes)
        return Certified(solution, upper, lower, resolution(program))

    def objective(self, point):
        """The convex objective at a point."""
        margins, gradients = self._affine(point)
        margins = margins - self.ball.falls(self.radii * gradients)
        losses = self.program.loss.value(margins, np.ones_like(margins))
        return float(self.program.weights @ losses + self.alpha * point[:-1].sum())

    def _sparse(self, point):
        """The point without negligible weights, if that does not raise the objective."""
        kept = point.copy()
        kept[:-1][kept[:-1] < _NEGLIGIBLE * kept[:-1].max(initial=0.0)] = 0.0
        return kept if self.objective(kept) <= self.objective(point) * (1.0 + 1e-6) else point

    def result(self, best, n_iter, status, history):
        """The network in the user's units; linear neurons of one sign are one neuron."""
        program, point = self.program, best.solution
        v, w = (self._joined(blocks) / self.unit for blocks in (point.v, point.w))
        network = program.network(v, w, point.bias)
        margins = self.relaxation.margins(network)
        losses = program.loss.value(margins, np.ones_like(margins))
        return Result(
            network=network,
            objective=float(program.weights @ losses + program.alpha * network.penalty()),
            upper_bound=best.upper_bound,
            lower_bound=best.lower_bound,
            gap=best.gap,
            bounds_of="scp",
            n_iter=n_iter,
            status=status,
            history=history,
            solution=Solution(v, w, point.bias, point.slopes),
        )

    def _joined(self, blocks):
        linear = blocks[:, : self.n_linear].sum(axis=1, keepdims=True)
        return np.concatenate([linear, blocks[:, self.n_linear :]], axis=1)
