r"""Neurons on their way down, and those that join them: what all adaptive fits begin with.

Neurons descend on their own objective (`Descent`), the neurons that the dual variables ask for join
them (`price`), and both repeat until a round gains nothing worth its while.
"""

import copy
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..bounds.pricing import distinct, price_rows
from ..core.rows import root_mean_square
from ..program.patterns import draw_gates
from .descent import Descent, constant_network

# hidden and output weights at the start, in normalised units
_INITIAL_SIZE = 0.3
# smoothing of the kinks in units of a typical pre-activation, and iterations of L-BFGS there:
# on the way down, in the rounds of new neurons, and to be exact enough for the certificate
_DESCENT = ((0.3, 60), (0.1, 60), (0.03, 60))
_ROUND = (0.02, 60)
SHARPENING = ((0.01, 100), (0.003, 150), (0.001, 250), (0.0005, 250), (0.0002, 500))
# iterations for a proof where it may cost no more than the descent: the first two stages
LEAST_PROOF = 250
# the relative gap where none is asked for
DEFAULT_GAP = 5e-2
# smoothing at which single precision, where it resolves the rows, is still exact enough
_SINGLE_DOWN_TO = 0.003
# how far the bias of a class without rows is, at the start, from that of one with a single row
_BEYOND = 10.0
# share of the objective that a round must gain to be followed by another, per multiplication of
# the rows with the neurons
_WORTH_PER_PRODUCT = 1e-9
# random directions to climb from, and new neurons of each sign, in a round: at least so many, or
# a share of those that are there, so that a network that has to grow does so in few rounds
STARTS, _JOINING, _GROWTH = 64, 15, 0.25
MOST_ROUNDS = 15
# what another search that goes on has of its own
_OWN = {"program", "rows", "problem", "strict", "tol", "max_iter", "record", "before", "saved"}


@dataclass(frozen=True)
class Bounds:
    """The objective of a network, and a lower bound; nothing else is known without one."""

    upper_bound: float
    lower_bound: float = 0.0
    gap: float = 1.0


class NeuronSearch:
    """The neurons and what is left of the iterations.

    Parameters
    ----------
    program : PatternProgram
        Its gates are the neurons to start from.
    rows : NeuronRows
        Of the normalised problem; those of the program are a sample of them where they are
        elsewhere.
    tol : float or None
        Relative gap to reach; None: 0.05, with no more iterations for the proof than the network
        took, or some hundreds.
    max_iter : int
    rng : RandomState
    record : Record

    Attributes
    ----------
    worth : (float, float, float)
        Share of the objective that a round must gain to be followed by another: at least, at most,
        and at most where no gap is asked for.
    loss_width : float or None
        Smoothing of the kinks of the loss; None: as that of the neurons.
    best : Descent
        The best network so far.
    """

    worth = 1e-4, 1e-3, 1e-2
    loss_width = None

    def __init__(self, program, rows, tol, max_iter, rng, record):
        self.program, self.rows, self.problem = program, rows, rows.problem
        self.strict, self.tol = tol is not None, DEFAULT_GAP if tol is None else tol
        self.max_iter, self.rng, self.record = max_iter, rng, record
        self.best = self.descent = None
        # iterations that found the network, and those of earlier searches that this one goes on
        self.finding, self.before = None, 0
        # the steps that loops have passed, and all that is needed to go on from the last one
        self.passed, self.saved = {}, None
        n = self.problem
        # line searches on the steep envelope of a kink notice the rounding of single precision
        smooth = np.isfinite(n.loss.curvature)
        self.precision = self.problem.design.precision if smooth else np.float64
        self.bias, _ = constant_network(n.y, n.weights, n.loss, fit_intercept=n.fit_intercept)
        if n.loss.target == "sign" and rows.n_rows > n.n_samples:
            # a class that the sample lacks may have a row elsewhere, and has to be found from here
            most = np.log(rows.n_rows) + _BEYOND
            self.bias = np.clip(self.bias, -most, most)
        self.constant = self._constant_network(self.bias).objective

    @property
    def n_iter(self):
        """Iterations so far, without those that earlier searches have made already."""
        return max(self.descent.n_iter - self.before, 0)

    @property
    def left(self):
        """Iterations that are left."""
        if self.record.stopped:
            return 0
        most = self.before + self.max_iter
        if self.finding is not None and not self.strict:
            most = min(most, self.finding + max(self.finding, LEAST_PROOF))
        return most - self.descent.n_iter

    @property
    def improves(self):
        """Whether neurons lower the objective of the constant network, but for rounding."""
        return self.best.objective < self.constant * (1.0 - 1e-9)

    @property
    def exhausted(self):
        """Status of a search that ends above its tolerance."""
        return "max_iter" if self.n_iter >= self.max_iter else "costly"

    def find(self, network=None):
        """Descend, from a network if there is one, and let neurons join while that is worth it."""
        if self.finding is not None:
            return
        self.begin(network)
        self.rounds()
        self.finding = self.descent.n_iter

    def begin(self, network):
        """Descend without new neurons."""
        if self.descent is None:
            self.start(network)
        for stage in self.steps("descent", self.stages):
            if self.best is None or self.left > 0:
                self.descend(*stage)

    def steps(self, name, items):
        """The items of a loop that a search has still to pass; it is saved before each."""
        for k in range(self.passed.get(name, 0), len(items)):
            self.passed = {**self.passed, name: k}
            self.save()
            yield items[k]
        self.passed = {**self.passed, name: len(items)}

    def save(self):
        """Save all that is needed to go on from here, unless the iterations have run out."""
        if self.best is None or self.n_iter < self.max_iter:
            state = vars(self).items()
            self.saved = {name: _apart(each) for name, each in state if name not in _OWN}

    def resume(self, saved, before):
        """Go on with what a search of the same program saved, and the iterations that it made.

        L-BFGS does not remember its steps: the run in which they ended is made again, longer.
        """
        vars(self).update({name: _apart(each, self.rows) for name, each in saved.items()})
        self.before = before

    def start(self, network):
        """Begin with the program's gates, or with a network that is near already."""
        self.stages = _DESCENT
        if network is not None:
            self.descent, self.stages = (
                Descent(self.rows, *self.problem.neurons(network)),
                (_ROUND,),
            )
            self.scale = self.descent.typical_activation
            return
        n, gates = self.problem, self.problem.design.coordinates(self.program.gates)
        norms = np.sqrt(np.einsum("ji,ji->i", gates, gates))
        outputs = _unit_outputs(self.rng, gates.shape[1], n.y.shape[1:])
        # the network has to span the targets, not their distance from zero
        spread = root_mean_square(n.y - self.bias, n.weights) if n.loss.target == "real" else 1.0
        size = _INITIAL_SIZE * np.sqrt(spread) if spread > 0 else _INITIAL_SIZE
        neurons = size * gates / norms, size * outputs, self.bias
        self.descent = Descent(self.rows, *neurons)
        self.scale = self.descent.typical_activation

    def rounds(self):
        """Add the neurons that pricing finds and descend again, as long as that is worth it."""
        problem, products = self.problem, self.rows.n_rows * self.problem.rows.shape[1]
        least, greatest, lax = self.worth
        greatest = greatest if self.strict else lax
        for _ in self.steps("round", range(MOST_ROUNDS)):
            self.rows.set_slopes(*self.descent.network, self.descent.loss_width)
            how = {"monotone": problem.monotone, "dtype": self.precision}
            priced = price_rows(self.rows, self._starts(), problem.is_shared, **how)
            above = problem.alpha + 0.1 * (priced.largest - problem.alpha)
            most = max(_JOINING, int(_GROWTH * len(self.descent.outputs)))
            joining = distinct(problem, priced, above=above, most=most)
            if joining.size == 0 or self.left <= 0:
                return
            cost = products * len(self.descent.outputs)
            worth = np.clip(_WORTH_PER_PRODUCT * cost, least, greatest)
            before = self.best.objective
            self.descent.add(priced.directions[:, joining], priced.outputs[joining])
            self.descend(*_ROUND)
            if self.best.objective > before * (1.0 - worth):
                return

    def descend(self, width, max_iter):
        """Descend once more, and keep the best network."""
        descent = self.descent
        dtype = self.precision if width >= _SINGLE_DOWN_TO else np.float64
        steps = max(min(max_iter, self.left), 1)
        descent.run(width * self.scale, steps, dtype, self.loss_width)
        if self.best is None or descent.objective <= self.best.objective:
            self.best = copy.copy(descent)
        self.record("descent", self.n_iter, Bounds(self.best.objective), self.best_network)

    @property
    def best_network(self):
        """What returns the best network so far, in the user's units."""
        return partial(self.problem.user_network, *self.best.network)

    def _constant_network(self, bias):
        """One without neurons."""
        d, n_outputs = self.problem.rows.shape[1], self.problem.y.shape[1:]
        return Descent(self.rows, np.zeros((d, 0)), np.zeros((0, *n_outputs)), bias)

    def _starts(self):
        """Random directions, and those of the neurons."""
        program = self.program
        fresh = draw_gates(
            program.rows, program.weights, STARTS, self.rng, intercept=program.fit_intercept
        )
        return np.concatenate(
            [self.problem.design.coordinates(fresh), self.descent.directions], axis=1
        )


def _apart(value, rows=None):
    """A copy of what changes in place, neurons on the rows given; everything else as it is."""
    if isinstance(value, np.random.RandomState):
        return copy.deepcopy(value)
    if isinstance(value, Descent):
        value = copy.copy(value)
        value.rows = rows
    return value


def _unit_outputs(rng, n_neurons, shape):
    """Random output weights of norm one: signs, or directions among several outputs."""
    if not shape:
        return rng.choice([-1.0, 1.0], n_neurons)
    outputs = rng.standard_normal((n_neurons, *shape))
    return outputs / np.linalg.norm(outputs, axis=1, keepdims=True)


def pattern_keys(patterns):
    """A key for every pattern, equal for equal ones."""
    return [column.tobytes() for column in np.packbits(patterns, axis=0).T]
