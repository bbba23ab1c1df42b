r"""Better dual variables: exact solutions over neurons that grow until pricing finds no more.

`solve_adaptive` is after a good network, and its slopes are dual variables on the side. A tight
lower bound on the objective of every network asks for more: slopes that no neuron violates. Here
the output weights of a fixed first layer are solved for exactly (a lasso, see `scp`), pricing adds
the neurons that violate its dual, and so on. In its dual a neuron u is the half-space

.. math:: \pm \lambda^\top (X u)_+ \le \alpha ,

a cutting plane of the condition on all neurons. A block of the convex program over patterns would
cut off more, :math:`\|\Pi_K(X^\top D \lambda)\| \le \alpha`, which is the same up to the square of
the angle between u and the direction that is wanted; but a lasso is solved ten times faster.
"""

import time
from dataclasses import dataclass

import numpy as np

from ..program.patterns import activation_patterns, draw_gates, strict_gates
from .bounds import admissible_slopes, dual_value
from .pricing import distinct, price
from .result import relative_gap
from .solve import solve
from .threads import ALONE
from .units import Units

# random directions to climb from, and new neurons of each sign, in a round
_STARTS, _JOINING = 200, 100
# rows from which the ascents are in single precision, but for the best
_MANY_ROWS, _EXACT = 5000, 10
# shares of the tolerance: to which a lasso is solved, and to which it has to be above the best
# lower bound for another round to gain anything
_MASTER, _NOTHING_LEFT = 0.1, 0.2


@dataclass(frozen=True)
class SearchedDual:
    """Dual variables, and the best neuron that a search has found for them.

    Attributes
    ----------
    slopes : ndarray of shape (n_samples,)
        In normalised units, admissible.
    largest : float
        Largest pricing value found, in normalised units.
    lower_bound : float
        In the user's units; a bound if the search has missed nothing.
    directions : ndarray of shape (d, k)
        Gates, in the user's coordinates, of the patterns and of what the search found.
    n_starts : int
        Number of independent random starts of the search.
    """

    slopes: np.ndarray
    largest: float
    lower_bound: float
    directions: np.ndarray
    n_starts: int


def search_dual(program, slopes, rng, *, n_starts=_STARTS, extra=None, workers=ALONE):
    """Price the slopes of a solution of a program.

    Parameters
    ----------
    program : SampledProgram
    slopes : ndarray of shape (n_samples,)
        In the user's units.
    rng : numpy.random.RandomState
    n_starts : int
        Random directions to climb from, besides the gates of the program.
    extra : ndarray of shape (d, k), default=None
        More directions to climb from, in the user's coordinates.
    workers : Workers, default=ALONE
        For the rows.

    Returns
    -------
    SearchedDual
    """
    units = Units(program)
    normalised = units.normalised
    slopes = admissible_slopes(normalised, slopes / units.slope_scale)
    fresh = draw_gates(
        program.rows, program.weights, n_starts, rng, intercept=program.fit_intercept
    )
    known = [fresh, program.gates] if extra is None else [fresh, program.gates, extra]
    starts = units.directions(np.concatenate(known, axis=1))
    many = program.n_samples >= _MANY_ROWS
    precision = normalised.geometry.precision if many else np.float64
    priced = price(normalised, slopes, starts, dtype=precision, workers=workers)
    largest = priced.largest
    if precision != np.float64:
        best = price(normalised, slopes, priced.directions[:, :_EXACT], workers=workers)
        largest = max(largest, best.largest)
    above = normalised.alpha + 0.1 * (largest - normalised.alpha)
    joining = distinct(normalised, priced, above=above, most=_JOINING)
    found = units.user_directions(priced.directions[:, joining])
    return SearchedDual(
        slopes,
        largest,
        units.objective_scale * dual_value(normalised, slopes, largest),
        np.concatenate([program.gates, found], axis=1),
        n_starts,
    )


def tighten(program, dual, objective, *, tol, deadline, rng):
    """Column generation from the dual variables of a solution.

    Parameters
    ----------
    program : SampledProgram
    dual : SearchedDual
        Where to start.
    objective : float
        Of the network that is to be certified.
    tol : float
        Relative gap between objective and lower bound that is good enough.
    deadline : float
        Value of ``time.perf_counter()`` after which no new program is solved.
    rng : numpy.random.RandomState

    Returns
    -------
    dual : SearchedDual
        The best seen.
    upper : float
        The least objective of the networks over the neurons found; infinite if none was solved for.
    """
    best, upper, directions = dual, np.inf, dual.directions
    while relative_gap(objective, best.lower_bound) > tol and time.perf_counter() < deadline:
        gates, strict = strict_gates(program.rows, directions, rng)
        strict &= activation_patterns(program.rows, gates).any(axis=0)
        program = program.with_gates(gates[:, strict])
        result = solve(program, "scp", tol=_MASTER * tol)
        upper = min(upper, result.objective)
        dual = search_dual(program, result.solution.slopes, rng)
        if dual.lower_bound > best.lower_bound:
            best = dual
        # the neurons of the solution, and those found
        used = np.flatnonzero(np.any((result.solution.v != 0) | (result.solution.w != 0), axis=0))
        new = dual.directions[:, program.n_patterns :]
        nothing_left = relative_gap(result.upper_bound, best.lower_bound) <= _NOTHING_LEFT * tol
        if new.shape[1] == 0 or nothing_left:
            break
        directions = np.concatenate([program.geometry.directions[:, used], new], axis=1)
    return best, upper
