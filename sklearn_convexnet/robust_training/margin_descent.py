r"""Robust training: descent on the certified margins of a network whose neurons all move.

The neurons :math:`(u_j, a_j)` and the output bias c minimise

.. math:: \sum_k \omega_k \phi(m_k) + \tfrac{\alpha}{2} \sum_j (\|u_j\|^2 + a_j^2)

with the certified margins :math:`m_k` of `Relaxation`, so the objective bounds the worst case over
the balls from above. From random neurons it is hard to descend on: nearly all of them change sign
within nearly all balls, and the chords bury what they say about the label. So the chords start on
a small share of the balls, where they all but touch the ReLU, and grow with the network until
they bound it. The lower lines have slopes that depend continuously on the pre-activation; the
absolute values in the norms are rounded off, upwards, over a shrinking width.
"""

from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np

from ..core.monotone import clipped, signs_of_neurons
from ..core.parallel import one_blas_pool
from ..program.neuron_shard import smooth_loss
from ..program.relaxation import Relaxation, lines
from ..program.units import Solution
from ..solvers.base import Paused, Record, Result, check_options, generator, pausing
from ..solvers.descent import balanced, constant_network, minimise

# hidden and output weights at the start, in normalised units
_INITIAL_SIZE = 0.3
# the slopes of the lower lines grow from 0 to 1 over this share of the ball
_LOWER_SHARE = 0.5
# rows at a time, so that what they activate stays in the cache
_BLOCK = 256


@dataclass(frozen=True)
class _Stage:
    """Share of the balls that the chords span, and widths of what is rounded off."""

    chord: float
    norm: float
    kink: float


# on the way down, and to the end: there for so many iterations at a time
_DESCENT = ((_Stage(0.1, 0.03, 0.03), 60), (_Stage(0.4, 0.01, 0.01), 60))
_CERTIFIED, _ITERATIONS = _Stage(1.0, 0.001, 0.001), 50


def solve_relaxed(
    program,
    perturbation,
    *,
    tol=1e-2,
    max_iter=10_000,
    random_state=None,
    warm_start=None,
    on_check=None,
):
    """Train a network on its certified margins.

    Parameters
    ----------
    program : PatternProgram
        The data, the loss and the penalty; its gates are the neurons that the descent starts from.
        The loss must not increase with the margin.
    perturbation : Perturbation
        In the units of the rows.
    tol : float, default=1e-2
        The descent ends when 50 iterations lower the objective by a smaller share.
    max_iter : int, default=10000
        Bound on the iterations of L-BFGS.
    random_state : int or RandomState, default=None
        Signs of the first neurons.
    warm_start : Result, default=None
        Result on the same features, whose network is to start from. The objective of the new
        network is never larger than the one that this network has now. Where its iterations had
        run out on this very problem, the descent goes on.
    on_check : callable, default=None
        Called with every new entry of the history.

    Returns
    -------
    Result
        Its objective is the certified one of its network, and bounds itself from above; nothing
        is known from below.
    """
    check_options(tol, max_iter, warm_start)
    rng = generator(random_state)
    record = Record(1.0, on_check)
    with one_blas_pool(large=False):
        search = _Search(program, perturbation, max_iter, record)
        moved = perturbation.epsilon, *(perturbation.bounds or ())
        name = "relaxed", perturbation.norm, *(each.tobytes() for each in moved)
        paused = Paused.of(warm_start, name, program)
        first, again = 0, 0
        if warm_start is None:
            search.draw(rng)
        else:
            search.take(warm_start.network)
            first = len(_DESCENT)
        if paused is not None and paused.state is not None:
            first, search.now, again = paused.state
        converged = False
        for k in count(first):
            # of the neurons as they are: the best so far may be the constant that they are nearing
            before = search.now
            stage, most = _DESCENT[k] if k < len(_DESCENT) else (_CERTIFIED, _ITERATIONS)
            done = search.descend(stage, most, again)
            fell = search.now.upper_bound < before.upper_bound * (1.0 - tol)
            ended = search.left > 0 or done == most
            converged = ended and k >= len(_DESCENT) and not fell
            if search.left <= 0 or converged:
                break
            again = 0
    status = "converged" if converged else "stopped" if record.stopped else "max_iter"
    state = (k, before, done) if status == "max_iter" else None
    return pausing(search.result(status), Paused(name, program.digest(), state))


@dataclass(frozen=True)
class _Point:
    """Neurons and their certified objective."""

    directions: np.ndarray
    outputs: np.ndarray
    bias: float
    upper_bound: float
    lower_bound: float = 0.0
    gap: float = 1.0


class _Search:
    """The neurons, in units where rows are of size one, and the best ones seen."""

    def __init__(self, program, perturbation, max_iter, record):
        self.program, self.max_iter, self.record = program, max_iter, record
        X = program.rows[:, :-1] if program.fit_intercept else program.rows
        self.relaxation = Relaxation(
            X, program.y, perturbation, fit_intercept=program.fit_intercept
        )
        units = program.problem.natural_units
        self.unit, (_, self.alpha) = units.row, units.normalised(program.loss, program.alpha)
        self.relaxation.rows = self.relaxation.rows / self.unit
        self.relaxation.radii = self.relaxation.radii / self.unit
        self.n_iter = 0
        bias, _ = constant_network(
            program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
        )
        d = self.relaxation.rows.shape[1]
        self.now = self.best = self._point(np.empty((d, 0)), np.empty(0), float(bias))

    @property
    def left(self):
        return 0 if self.record.stopped else self.max_iter - self.n_iter

    def draw(self, rng):
        """Start from the gates of the program, with random signs."""
        gates = self.program.gates
        signs = rng.choice([-1.0, 1.0], gates.shape[1])
        gates = gates / np.sqrt(np.einsum("ji,ji->i", gates, gates))
        if self.program.monotone is not None:
            gates = clipped(gates, np.outer(self.program.monotone, signs))
        self._move(_INITIAL_SIZE * gates, _INITIAL_SIZE * signs, self.best.bias)

    def take(self, network):
        """Start from a network in the user's units."""
        hidden = network.hidden_weights
        if self.program.fit_intercept:
            hidden = np.concatenate([hidden, network.hidden_biases[None]])
        outputs = network.output_weights[:, 0]
        outputs, bias = self.unit * outputs, float(network.output_biases[0])
        # with its weak neurons, so that the objective does not grow
        self.best = self._point(*balanced(hidden, outputs, negligible=0.0), bias)
        self._move(hidden, outputs, bias)
        self.record("start", self.n_iter, self.best, partial(self.network, self.best))

    def descend(self, stage, iterations, again=0):
        """L-BFGS on the objective of a stage; returns the iterations.

        It does not remember its steps: those that an earlier search has made, `again`, are made
        again, and not counted.
        """
        objective = RelaxedObjective(
            self.relaxation, self.program, self.alpha, stage, self.now.outputs.size
        )
        start = np.concatenate([self.now.directions.ravel(), self.now.outputs, [self.now.bias]])
        signs = signs_of_neurons(self.program.monotone, self.now.outputs)
        end = minimise(objective, start, min(iterations, again + self.left), signs=signs)
        self.n_iter += max(int(end.nit) - again, 1)
        self._move(*objective.split(end.x))
        self.record("descent", self.n_iter, self.best, partial(self.network, self.best))
        return int(end.nit)

    def _move(self, directions, outputs, bias):
        """Balance and prune the neurons; remember them if they are the best."""
        self.now = self._point(*balanced(directions, outputs), float(bias))
        if self.now.upper_bound <= self.best.upper_bound:
            self.best = self.now

    def _point(self, directions, outputs, bias):
        program = self.program
        margins = self.relaxation.margins_of(directions, outputs, bias)
        losses = program.loss.value(margins, np.ones_like(margins))
        penalty = 0.5 * (np.sum(directions**2) + np.sum(outputs**2))
        objective = float(program.weights @ losses + self.alpha * penalty)
        return _Point(directions, outputs, bias, objective)

    def blocks(self, point):
        """The neurons of a point in the user's units, by the sign of what they add."""
        blocks = point.directions * (np.abs(point.outputs) / self.unit)
        return blocks * (point.outputs > 0), blocks * (point.outputs < 0)

    def network(self, point):
        """The network of a point in the user's units."""
        return self.program.network(*self.blocks(point), point.bias)

    def result(self, status):
        """The best network in the user's units."""
        program, best = self.program, self.best
        v, w = self.blocks(best)
        margins = self.relaxation.margins_of(best.directions, best.outputs, best.bias)
        slopes = program.y * program.loss.derivative(margins, np.ones_like(margins))
        return Result(
            network=self.network(best),
            objective=best.upper_bound,
            upper_bound=best.upper_bound,
            lower_bound=best.lower_bound,
            gap=best.gap,
            bounds_of="relaxed",
            n_iter=min(self.n_iter, self.max_iter),
            status=status,
            history=self.record.history,
            solution=Solution(v, w, best.bias, slopes),
        )


class RelaxedObjective:
    """Value and gradient of the objective of a stage, in blocks of rows that stay in the cache."""

    def __init__(self, relaxation, program, alpha, stage, m):
        self.relaxation, self.program, self.alpha = relaxation, program, alpha
        self.stage, self.m = stage, m

    def split(self, point):
        """Hidden weights, output weights and output bias of a flat point."""
        d, m = self.relaxation.rows.shape[1], self.m
        return point[: d * m].reshape(d, m), point[d * m : -1], point[-1]

    def __call__(self, point):
        stage, program, relaxation = self.stage, self.program, self.relaxation
        directions, outputs, bias = self.split(point)
        ball = relaxation.ball
        reach, pull_reach = ball.smooth_reaches(relaxation.radii, directions, stage.norm)
        gradient = self.alpha * point
        by_direction, by_output, _ = self.split(gradient)
        by_bias, value = 0.0, 0.5 * self.alpha * (point[:-1] @ point[:-1])
        by_reach = np.zeros_like(reach)
        shared = len(reach) == 1
        for start in range(0, len(relaxation.rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            own = slice(None) if shared else part
            rows, y, h = relaxation.rows[part], relaxation.y[part], reach[own]
            z = rows @ directions
            strengths = y[:, None] * outputs
            hurts = strengths < 0
            widths = np.where(hurts, stage.chord * h, _LOWER_SHARE * h) + stage.kink
            slopes, at_centre = lines(z, widths, hurts)
            bent = (slopes > 0) & (slopes < 1)
            chords = bent & hurts
            slanted = strengths * slopes
            worst, moves = ball.smooth_falls(
                relaxation.radii[own], slanted @ directions.T, stage.norm
            )
            margins = y * bias + np.einsum("kj,kj->k", strengths, at_centre) - worst
            losses, pull = smooth_loss(program.loss, margins, np.ones_like(y), stage.norm)
            pull = program.weights[part] * pull
            value += program.weights[part] @ losses
            # what the worst perturbation does to the pre-activations
            moved = moves @ directions
            # derivatives in the slope, then in pre-activation and width
            by_slope = np.where(hurts, 0.0, z) - moved
            steep = by_slope * bent / (2.0 * widths)
            pulled = pull[:, None] * strengths
            by_z = pulled * (np.where(chords, 0.5, slopes) + steep)
            by_width = pulled * (0.5 * chords - steep * z / widths)
            by_width *= np.where(hurts, stage.chord, _LOWER_SHARE)
            by_direction += rows.T @ by_z - moves.T @ (pull[:, None] * slanted)
            by_output += (pull * y) @ (at_centre - slopes * moved)
            by_reach[own] += by_width.sum(axis=0) if shared else by_width
            by_bias += pull @ y
        by_direction += pull_reach(by_reach)
        gradient[-1] = by_bias if program.fit_intercept else 0.0
        return value, gradient
