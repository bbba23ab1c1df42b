"""Dual variables, and what a search finds that they leave to be gained.

A lower bound on the objective of every network if the search has missed no neuron.
"""

from dataclasses import dataclass

import numpy as np

from ..core.parallel import ALONE
from ..program.patterns import draw_gates
from .dual import admissible_slopes, dual_value
from .pricing import Priced, distinct, price

# random directions to climb from, and new neurons of each sign that are worth joining
_STARTS, _JOINING = 200, 100
# rows from which the ascents are in single precision, but for the best
_MANY_ROWS, _EXACT = 5000, 10


@dataclass(frozen=True)
class SearchedDual:
    """Dual variables, and the best neuron that a search has found for them.

    Attributes
    ----------
    slopes : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        In normalised units, admissible.
    largest : float
        Largest pricing value found, in normalised units.
    lower_bound : float
        In the user's units; a bound if the search has missed nothing.
    directions : ndarray of shape (d, k)
        The gates that were given and what the search found, in the user's coordinates.
    joining : Priced
        What the search found that is worth joining, in normalised coordinates.
    n_starts : int
        Number of independent random starts of the search.
    """

    slopes: np.ndarray
    largest: float
    lower_bound: float
    directions: np.ndarray
    joining: Priced
    n_starts: int


def search_dual(problem, slopes, rng, gates, *, n_starts=_STARTS, extra=None, workers=ALONE):
    """Price the slopes of a solution of a problem.

    Parameters
    ----------
    problem : TrainingProblem
    slopes : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        In the user's units.
    rng : numpy.random.RandomState
    gates : ndarray of shape (d, k)
        Directions to climb from, in the user's coordinates; those found join them.
    n_starts : int
        Random directions to climb from.
    extra : ndarray of shape (d, k), default=None
        More directions to climb from.
    workers : Workers, default=ALONE
        For the rows.

    Returns
    -------
    SearchedDual
    """
    normalised = problem.normalised
    slopes = admissible_slopes(normalised, slopes / normalised.units.slope)
    fresh = draw_gates(
        problem.rows, problem.weights, n_starts, rng, intercept=problem.fit_intercept
    )
    known = [fresh, gates] if extra is None else [fresh, gates, extra]
    starts = normalised.design.coordinates(np.concatenate(known, axis=1))
    many = problem.n_samples >= _MANY_ROWS
    precision = normalised.design.precision if many else np.float64
    priced = price(normalised, slopes, starts, dtype=precision, workers=workers)
    largest = priced.largest
    if precision != np.float64:
        best = price(normalised, slopes, priced.directions[:, :_EXACT], workers=workers)
        largest = max(largest, best.largest)
    above = normalised.alpha + 0.1 * (largest - normalised.alpha)
    joining = priced[distinct(normalised, priced, above=above, most=_JOINING)]
    found = normalised.design.directions(joining.directions)
    return SearchedDual(
        slopes,
        largest,
        normalised.units.objective * dual_value(normalised, slopes, largest),
        np.concatenate([gates, found], axis=1),
        joining,
        n_starts,
    )
