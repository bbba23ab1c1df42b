r"""The penalty of ``alpha="auto"``: factors on a formula, judged on rows left out.

On every split the networks of decreasing penalties are descended (`descended_networks`) on the rows
that train, and judged by the training loss of those left out. Of ten candidates on a few folds
the best one is lucky: of all that are not worse by more than a quarter of a standard error of the
difference, the one nearest to the formula is chosen.
"""

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import issparse

from ..core.parallel import serial_blas
from ..core.rows import with_constant
from ..program.problem import Design, TrainingProblem
from .descents import descended_networks
from .folds import splits
from .formula import informative, penalty_by_formula

# factors on the formula
FACTORS = 2.0 ** np.arange(3, -7, -1)
# standard errors of a difference that are no difference
_ERRORS = 0.25
# a path ends where so many losses in a row exceed the least by so much
_PATIENCE, _WORSE = 2, 1.02


def choose_factors(X, targets, weights, *, limits, fit_intercept, seed, n_jobs=None):
    """The factor on the formula for every program.

    Parameters
    ----------
    X : ndarray or CSR array of shape (n_samples, n_features)
        Distinct rows in an order of their own.
    targets : list of (loss, ndarray)
        Loss and targets of every program.
    weights : ndarray of shape (n_samples,)
        Positive.
    limits : callable
        Called with targets of all outputs that train; returns the least and the greatest
        predictions, shape (2, n_outputs).
    fit_intercept : bool
    seed : int
    n_jobs : int, default=None
        Splits at the same time, by joblib.

    Returns
    -------
    list of float
    """
    X = X[:, informative(X, fit_intercept)]
    if X.shape[1] == 0:
        return [1.0] * len(targets)
    rows = with_constant(X) if fit_intercept else X
    outputs = np.column_stack([y for _, y in targets])
    places, labels = _places(X), targets[0][0].target == "sign"
    # of every program its own, so that an output is treated as it would be alone
    tasks = [
        (k, pair)
        for k, (_, y) in enumerate(targets)
        for pair in splits(places, y.reshape(len(y), -1), labels, np.random.RandomState(seed))
    ]
    losses = Parallel(n_jobs=n_jobs if len(tasks) > 1 else 1)(
        delayed(_losses)(
            rows, *targets[k], weights, pair, limits(outputs[pair[0]]), k, fit_intercept, seed
        )
        for k, pair in tasks
    )
    factors = []
    for k in range(len(targets)):
        of_program = [i for i, (program, _) in enumerate(tasks) if program == k]
        judged = [weights[tasks[i][1][1]] for i in of_program]
        found = [losses[i] for i in of_program]
        factors.append(_choose(np.hstack(found), np.hstack(judged)) if found else 1.0)
    return factors


def _places(X):
    """Numbers of the rows from 0 on, equal for equal ones; these follow each other."""
    differ = X[1:] != X[:-1]
    differ = np.diff(differ.indptr) if issparse(differ) else differ.any(axis=1)
    return np.cumsum(np.append(0, differ > 0))


@serial_blas()
def _losses(rows, loss, y, weights, pair, ends, k, fit_intercept, seed):
    """Losses of the rows that judge, a row for each factor; infinite where the path has ended."""
    train, test = pair
    ends = ends if y.ndim == 2 else ends[:, k]
    part = weights[train] / weights[train].sum()
    problem = TrainingProblem(Design(rows[train], part), y[train], loss, 1.0, fit_intercept)
    alphas = FACTORS * penalty_by_formula(problem.X, problem.y, part, loss, fit_intercept)
    losses, means = np.full((len(FACTORS), test.sum()), np.inf), []
    X = rows[test][:, :-1] if fit_intercept else rows[test]
    for k, network in enumerate(descended_networks(problem, alphas, seed)):
        with np.errstate(over="ignore", invalid="ignore"):
            outputs = np.clip(network(X), *ends)
            losses[k] = loss.value(outputs if y.ndim == 2 else outputs[:, 0], y[test])
        losses[k, np.isnan(losses[k])] = np.inf
        means.append(np.average(losses[k], weights=weights[test]))
        # the formula is always among those that are compared
        if FACTORS[k] < 1.0 and min(means[-_PATIENCE:]) > _WORSE * min(means):
            break
    return losses


def _choose(losses, weights):
    """The factor that is nearest to one among those that may be the best."""
    weights = weights / weights.sum()
    means = losses @ weights
    reached = np.flatnonzero(np.isfinite(means))
    if reached.size == 0:
        return 1.0
    best = reached[np.argmin(means[reached])]
    differences = losses[reached] - losses[best]
    deviations = differences - (differences @ weights)[:, None]
    errors = np.sqrt(deviations**2 @ weights**2)
    good = reached[means[reached] <= means[best] + _ERRORS * errors]
    return float(FACTORS[good[np.argmin(np.abs(np.log(FACTORS[good])))]])
