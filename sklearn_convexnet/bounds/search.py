"""Dual variables, and what a search finds that they leave to be gained.

A lower bound on the objective of every network if the search has missed no neuron.
"""

from dataclasses import dataclass

import numpy as np

from ..core.parallel import ALONE
from ..program.neuron_shard import NeuronRows
from ..program.patterns import draw_gates
from .dual import admissible_slopes, dual_value_of_rows
from .pricing import Priced, distinct, price_rows

# random directions to climb from, and new neurons of each sign that are worth joining
_STARTS, _JOINING = 200, 100
# rows, or entries of them, from which the ascents are in single precision, but for the best
_MANY_ROWS, _MANY_ENTRIES, _EXACT = 5000, 100_000, 10


@dataclass(frozen=True)
class SearchedDual:
    """Dual variables, and the best neuron that a search has found for them.

    Attributes
    ----------
    slopes : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None
        In normalised units, admissible; None where rows are elsewhere.
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
    rows = NeuronRows(normalised, workers)
    rows.give_slopes(admissible_slopes(normalised, slopes / normalised.units.slope))
    return search_rows(rows, rng, gates, n_starts=n_starts, extra=extra)


def search_rows(rows, rng, gates, *, n_starts=_STARTS, extra=None):
    """Price the slopes that rows have, see `search_dual`.

    Parameters
    ----------
    rows : NeuronRows
        Of a normalised problem, with admissible slopes.
    rng, gates, n_starts, extra
        As in `search_dual`.

    Returns
    -------
    SearchedDual
    """
    normalised, problem = rows.problem, rows.problem.user
    fresh = draw_gates(
        problem.rows, problem.weights, n_starts, rng, intercept=problem.fit_intercept
    )
    known = [fresh, gates] if extra is None else [fresh, gates, extra]
    starts = normalised.design.coordinates(np.concatenate(known, axis=1))
    entries = rows.n_rows * normalised.rows.shape[1]
    many = rows.n_rows >= _MANY_ROWS or entries >= _MANY_ENTRIES
    precision = normalised.design.precision if many else np.float64
    several, how = normalised.is_shared, {"monotone": normalised.monotone}
    priced = price_rows(rows, starts, several, dtype=precision, **how)
    largest = priced.largest
    if precision != np.float64:
        best = price_rows(rows, priced.directions[:, :_EXACT], several, **how)
        largest = max(largest, best.largest)
    above = normalised.alpha + 0.1 * (largest - normalised.alpha)
    joining = priced[distinct(normalised, priced, above=above, most=_JOINING)]
    found = normalised.design.directions(joining.directions)
    return SearchedDual(
        rows.slopes,
        largest,
        normalised.units.objective * dual_value_of_rows(rows, largest),
        np.concatenate([gates, found], axis=1),
        joining,
        n_starts,
    )
