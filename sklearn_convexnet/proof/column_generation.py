r"""Better dual variables: exact solutions over neurons that grow until pricing finds no more.

`solve_adaptive` is after a good network, and its slopes are dual variables on the side. A tight
lower bound on the objective of every network asks for more: slopes that no neuron violates. Here
the output weights of a fixed first layer are solved for exactly (a lasso, see `fixed_layer`),
pricing adds the neurons that violate its dual, and so on. In its dual a neuron u is the half-space

.. math:: \pm \lambda^\top (X u)_+ \le \alpha ,

a cutting plane of the condition on all neurons. A block of the convex program over patterns would
cut off more, :math:`\|\Pi_K(X^\top D \lambda)\| \le \alpha`, which is the same up to the square of
the angle between u and the direction that is wanted; but a lasso is solved ten times faster.
"""

import time

import numpy as np

from ..bounds.dual import relative_gap
from ..bounds.search import search_dual
from ..program.pattern_program import PatternProgram
from ..program.patterns import activation_patterns, strict_gates
from ..solvers.solve import solve

# shares of the tolerance: to which a lasso is solved, and to which it has to be above the best
# lower bound for another round to gain anything
_MASTER, _NOTHING_LEFT = 0.1, 0.2


def tighten(problem, dual, objective, *, tol, deadline, rng):
    """Column generation from the dual variables of a solution.

    Parameters
    ----------
    problem : TrainingProblem
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
        gates, strict = strict_gates(problem.rows, directions, rng)
        strict &= activation_patterns(problem.rows, gates).any(axis=0)
        program = PatternProgram.over(problem, gates[:, strict])
        result = solve(program, "scp", tol=_MASTER * tol)
        upper = min(upper, result.objective)
        dual = search_dual(problem, result.solution.slopes, rng, program.gates)
        if dual.lower_bound > best.lower_bound:
            best = dual
        new = dual.directions[:, program.n_patterns :]
        nothing_left = relative_gap(result.upper_bound, best.lower_bound) <= _NOTHING_LEFT * tol
        if new.shape[1] == 0 or nothing_left:
            break
        # the neurons of the solution, and those found
        used = result.network.directions(problem.fit_intercept)
        directions = np.concatenate([used, new], axis=1)
    return best, upper
