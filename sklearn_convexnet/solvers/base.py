"""What all solvers share: options, result, and what is recorded on the way."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np

from ..bounds.dual import relative_gap
from ..core.network import TwoLayerReLU
from ..program.units import Solution


class BaseSolver:
    """An algorithm for programs in normalised units: what it needs, and how it runs.

    An instance is accepted by `solve` wherever a name is.

    Attributes
    ----------
    name : str
        What it is called in messages.
    needs_dense_rows : bool, default=True
        Whether sparse rows have to be made dense for it.
    refines : bool, default=False
        Whether, with adaptive patterns, it starts from the network of the descent, and runs only
        where that is not good enough yet.
    bounds_of : str or None, default=None
        What its bounds enclose, as in `Result`, if not the optimum over the patterns it is given.
    """

    name: str
    needs_dense_rows = True
    refines = False
    bounds_of: str | None = None

    def check_loss(self, loss):
        """Raise ValueError for a loss that it cannot serve."""

    def run(self, program, *, tol, max_iter, rng, start, record, workers):
        """Solve a program.

        Parameters
        ----------
        program : PatternProgram
            In normalised units.
        tol : float
            Relative duality gap to reach.
        max_iter : int
        rng : RandomState
        start : Solution or None
            To start from; its `paused` is what the last run left, if that was of this program.
        record : Record
            To be called with (phase, n_iter, Certified) at every check; returns whether to stop.
        workers : Workers

        Returns
        -------
        certified : Certified
            The best feasible point, and what is proved of it. Its `paused` may be what another run
            needs to go on where the iterations of this one ended.
        n_iter : int
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Result:
    """Outcome of `solve`.

    Attributes
    ----------
    network : TwoLayerReLU
        The recovered network.
    objective : float
        Non-convex training objective of `network`, with real ReLUs.
    upper_bound : float
        Value of the convex program at a feasible point.
    lower_bound : float
        Value of its dual at a feasible point.
    gap : float
        ``(upper_bound - lower_bound) / upper_bound``.
    bounds_of : {"global", "patterns", "scp", "searched", "relaxed"}
        What the bounds enclose: the optimum over all networks (every pattern is in the
        program), the optimum of the program over the given patterns, or that of the sampled convex
        program with a fixed first layer. "searched": the optimum over all networks, if a search has
        missed no neuron, where several outputs share the neurons. "relaxed": robust training by
        descent, where nothing is known from below.
    n_iter : int
        Iterations of the solver (of the polish included).
    status : {"optimal", "converged", "max_iter", "stalled", "too_large", "costly", "stopped"}
        "optimal": ``gap <= tol``. "converged": the descent on certified margins came to rest, and
        nothing is known of the optimum. "max_iter": the iterations ran out. "stalled": rounding
        errors stopped further progress. "too_large": the descent came to rest, and sparse rows
        are too large to be made dense for the convex solver. "costly": to go on would cost many
        times the descent. "stopped": `on_check` asked for it.
    history : list of dict
        One entry per check: "iteration", "phase", "upper_bound", "lower_bound", "gap",
        "time" (seconds since the start).
    solution : Solution
        The feasible primal-dual point behind the bounds; pass the result as `warm_start`.
    """

    network: TwoLayerReLU
    objective: float
    upper_bound: float
    lower_bound: float
    gap: float
    bounds_of: str
    n_iter: int
    status: str
    history: list[dict[str, Any]] = field(repr=False)
    solution: Solution = field(repr=False)


class Check(dict[str, Any]):
    """An entry of the history, as `on_check` sees it.

    Attributes
    ----------
    network : callable or None
        Returns the network of the moment; None where it is not known.
    """

    def __init__(self, entry, network):
        super().__init__(entry)
        self.network = network


class Record:
    """History of a solve, in the user's units.

    Parameters
    ----------
    objective_scale : float
        Factor from normalised objectives to the user's.
    on_check : callable or None
        Called with every new entry, a `Check`; a true value asks to stop.
    network_of : callable, default=None
        Returns the network of a certified point.

    Attributes
    ----------
    history : list of dict
    stopped : bool
        Whether it was asked to stop.
    """

    def __init__(self, objective_scale, on_check=None, network_of=None):
        self.objective_scale, self.on_check = objective_scale, on_check
        self.network_of = network_of
        self.history, self.stopped, self._begin = [], False, time.perf_counter()

    def __call__(self, phase, n_iter, certified, network=None):
        """Append what is certified in normalised units after `n_iter` iterations.

        `network` returns the network of that, where it is not that of the certified point. Returns
        whether to stop.
        """
        if network is None and self.network_of is not None:
            network = partial(self.network_of, certified.solution)
        entry = {
            "iteration": n_iter,
            "phase": phase,
            "upper_bound": self.objective_scale * certified.upper_bound,
            "lower_bound": self.objective_scale * certified.lower_bound,
            "gap": certified.gap,
            "time": self.elapsed,
        }
        return self.append(entry, network)

    @property
    def elapsed(self):
        """Seconds since the start."""
        return time.perf_counter() - self._begin

    def append(self, entry, network):
        """Append an entry; returns whether to stop."""
        self.history.append(dict(entry))
        if self.on_check is not None and self.on_check(Check(entry, network)):
            self.stopped = True
        return self.stopped

    def status(self, gap, tol, otherwise):
        """Status of a result that is not to blame on the method alone."""
        if gap <= tol:
            return "optimal"
        return "stopped" if self.stopped else otherwise


@dataclass(frozen=True, eq=False)
class Paused:
    """Where a solver ended: with the same program it goes on from there.

    Attributes
    ----------
    solver : object
        What tells it from others.
    program : bytes
        Its digest.
    state : object
        What the solver left when its iterations ran out.
    """

    solver: Any
    program: bytes
    state: Any

    @classmethod
    def of(cls, warm_start, solver, program):
        """Where the solver ended on this program; None where it was another."""
        solution = None if warm_start is None else warm_start.solution
        paused = None if solution is None else solution.paused
        same = paused is not None and paused.solver == solver
        return paused if same and paused.program == program.digest() else None


def pausing(point, state):
    """A certified point, or a result, with what another run goes on from."""
    return replace(point, solution=replace(point.solution, paused=state))


def no_worse(result, before):
    """The result with the network of another one of the same program, where that is better."""
    if result.objective <= before.objective:
        return result
    result = replace(result, network=before.network, objective=before.objective)
    if result.bounds_of != "searched":
        return result
    # there the objective is its own upper bound; the last entry says what is known at the end
    gap = relative_gap(result.objective, result.lower_bound)
    known = {"upper_bound": result.objective, "gap": gap}
    history = [*result.history[:-1], {**result.history[-1], **known}]
    return replace(result, history=history, **known)


def check_options(tol, max_iter, warm_start=None):
    """Raise ValueError for what no solver accepts."""
    if not (isinstance(tol, Real) and np.isfinite(tol) and tol > 0):
        raise ValueError(f"tol must be a positive finite number, got {tol!r}.")
    if not (isinstance(max_iter, Integral) and max_iter >= 1):
        raise ValueError(f"max_iter must be an integer of at least 1, got {max_iter!r}.")
    if not isinstance(warm_start, Result | None):
        raise ValueError(f"warm_start must be a Result or None, got {warm_start!r}.")


def generator(random_state):
    """The RandomState given, or one of the seed given."""
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(random_state)
