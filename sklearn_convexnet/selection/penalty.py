r"""The penalty of ``alpha="auto"`` and the weights of ``feature_weights="auto"``.

On every split networks of decreasing penalties, factors on a formula, are descended on the rows
that train, and judged by the training loss of those left out. Where feature weights are wanted, the
best networks tell them, if few features matter to these, and penalties are compared anew.

Of ten candidates on a few folds the best one is lucky: of all that are not worse by more than a
quarter of a standard error of the difference, the one nearest to the formula is chosen. Feature
weights have to be better by a whole one, on splits whose weights are those that their own rows ask
for.
"""

from dataclasses import replace

import numpy as np
from joblib import Parallel, delayed
from scipy.sparse import issparse

from ..core.rows import with_constant
from .feature_weights import spreads, weights_of
from .folds import splits
from .formula import informative
from .judged_path import Split, judged_path

# factors on the formula
FACTORS = 2.0 ** np.arange(3, -7, -1)
# standard errors of a difference that are no difference, and that feature weights must gain
_ERRORS, _GAIN = 0.25, 1.0
# rounds of feature weights, at most; and the effective share of features up to which there are any
_ROUNDS, _FEW_MATTER = 2, 1.0 / 3.0


def choose(
    X,
    targets,
    weights,
    *,
    limits,
    fit_intercept,
    seed,
    reweights=False,
    monotone=None,
    n_jobs=None,
):
    """The factor on the formula for every program, and the weights of the features.

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
    reweights : bool, default=False
        Whether features are weighted.
    monotone : ndarray of int of shape (n_features,), default=None
        Signs that neurons must not be against, see `TrainingProblem`.
    n_jobs : int, default=None
        Splits at the same time, by joblib.

    Returns
    -------
    factors : list of float
        One where rows are too few to judge them.
    feature_weights : ndarray of shape (n_features,)
        Ones where weights are no better, or there are several programs; one for a feature without
        information, too.
    """
    factors, feature_weights = [1.0] * len(targets), np.ones(X.shape[1])
    kept = informative(X, fit_intercept)
    X = X[:, kept]
    if X.shape[1] == 0:
        return factors, feature_weights
    rows = with_constant(X) if fit_intercept else X
    if monotone is not None:
        monotone = np.append(monotone[kept], np.zeros(int(fit_intercept), dtype=int))
    outputs = np.column_stack([y for _, y in targets])
    places = _places(X)
    for k, (loss, y) in enumerate(targets):
        # of every program its own, so that an output is treated as it would be alone
        rng = np.random.RandomState(seed)
        parts = []
        for train, test in splits(places, y.reshape(len(y), -1), loss.target == "sign", rng):
            ends = limits(outputs[train])
            ends = ends if y.ndim == 2 else ends[:, k]
            data = rows, y, weights, loss, train, test, ends
            parts.append(Split(*data, fit_intercept, seed, monotone))
        if not parts:
            continue
        chosen = _Round(parts, n_jobs)
        if reweights and len(targets) == 1:
            chosen = _reweighted(chosen)
        factors[k] = chosen.factor
        if chosen.importances is not None:
            sizes = spreads(X, weights / weights.sum(), fit_intercept)
            feature_weights[kept] = weights_of(chosen.importances[0], sizes)
    return factors, feature_weights


def _reweighted(plain):
    """The best round of feature weights, or the one without where these are no better."""
    told = plain.told()
    few = _effective_share(np.mean(told, axis=0)) <= _FEW_MATTER
    if not (few and np.isfinite(plain.mean)):
        return plain
    # every split judges the weights that its own rows ask for
    gain, error = plain.gain(plain.next(told, ends_below=np.inf))
    if not gain > _GAIN * error:
        return plain
    # those that all rows ask for are better still
    best = plain.next(plain.told_by_all())
    for _ in range(_ROUNDS - 1):
        new = best.next(best.told_by_all())
        if new.mean >= best.mean:
            break
        best = new
    return best


def _effective_share(importances):
    """Share of the features that matter, by the participation ratio; one where none does."""
    squares = np.sum(importances**2)
    return 1.0 / (len(importances) * squares) if squares > 0 else 1.0


def _places(X):
    """Numbers of the rows from 0 on, equal for equal ones; these follow each other."""
    differ = X[1:] != X[:-1]
    differ = np.diff(differ.indptr) if issparse(differ) else differ.any(axis=1)
    return np.cumsum(np.append(0, differ > 0))


class _Round:
    """Paths of all splits, with or without feature weights.

    Attributes
    ----------
    importances : list of ndarray of shape (n_features,), or None
        What the feature weights of every split are made of.
    losses : ndarray of shape (n_factors, n_judged)
        Of the rows that judge, of all splits.
    weights : ndarray of shape (n_judged,)
        Of sum one.
    best : int
        The factor of the least mean loss.
    """

    def __init__(self, parts, n_jobs, importances=None, **how):
        self.parts, self.n_jobs, self.importances, self.how = parts, n_jobs, importances, how
        self.paths = Parallel(n_jobs=n_jobs if len(parts) > 1 else 1)(
            delayed(judged_path)(part, FACTORS, self._told(i), **how)
            for i, part in enumerate(parts)
        )
        self.losses = np.hstack([path.losses for path in self.paths])
        weights = np.concatenate([part.test_weights for part in parts])
        self.weights = weights / weights.sum()
        self.best = _best(self.losses, self.weights)

    @property
    def mean(self):
        """Loss of the best penalty."""
        return float(self.losses[self.best] @ self.weights)

    @property
    def factor(self):
        """The factor that is nearest to one among those that may be the best."""
        factors = FACTORS[_as_good(self.losses, self.weights)]
        return float(factors[np.argmin(np.abs(np.log(factors)))])

    def told(self):
        """Importances of the features to the best networks of every split."""
        return [path.importances(self.best) for path in self.paths]

    def told_by_all(self):
        """The same of a network of all rows, for every split."""
        train = np.any([part.train | part.test for part in self.parts], axis=0)
        whole, factors = replace(self.parts[0], train=train), FACTORS[: self.best + 1]
        path = judged_path(whole, factors, self._told(0), **self.how | {"ends_below": 0.0})
        return [path.importances(self.best)] * len(self.parts)

    def next(self, importances, **how):
        """The round with the feature weights that these importances ask for.

        It begins a step before the best penalty of this one.
        """
        return _Round(self.parts, self.n_jobs, importances, first=max(self.best - 1, 0), **how)

    def gain(self, other):
        """What another round gains over this one, and its standard error."""
        gains = self.losses[self.best] - other.losses[other.best]
        return _mean_and_error(gains, self.weights)

    def _told(self, i):
        return None if self.importances is None else self.importances[i]


def _best(losses, weights):
    """The candidate of the least mean; a path that has ended is none."""
    means = losses @ weights
    return int(np.argmin(np.where(np.isnan(means), np.inf, means)))


def _as_good(losses, weights):
    """Candidates that are not worse than the best by what may be chance."""
    best, reached = _best(losses, weights), np.flatnonzero(np.isfinite(losses @ weights))
    if reached.size == 0:
        return np.arange(len(losses))
    worse, errors = _mean_and_error(losses[reached] - losses[best], weights)
    return reached[worse <= _ERRORS * errors]


def _mean_and_error(values, weights):
    """Weighted means of rows of values, and their standard errors."""
    means = values @ weights
    return means, np.sqrt((values - means[..., None]) ** 2 @ weights**2)
