"""Dask collections: predictions where the rows are, and fits that leave these there."""

import copy
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, TypeVar

from sklearn.base import is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from .._compat import validate_data
from .._typing import ArrayLike
from ..distributed import Distributed, is_dask, map_rows, without_rows
from ..proof.certificate import certificate_of_bounds
from ..solvers.solve import enough_precision
from ._fit import Fitted, canonical_problem, draw_seed, prepare
from ._reporter import Reporter

_F = TypeVar("_F", bound=Callable[..., Any])


def by_blocks(method: _F) -> _F:
    """Let a method that answers for every row answer for a Dask collection, as a Dask array."""

    @wraps(method)
    def wrapper(estimator, X):
        if not is_dask(X):
            return method(estimator, X)
        check_is_fitted(estimator, "network_")
        # names are compared here: blocks have none; the values are checked where they are
        validate_data(estimator, without_rows(X), reset=False, skip_check_array=True)
        blind = copy.copy(estimator)
        for name in ("feature_names_in_", "_packed_patterns", "_last"):
            # nor does what has rows have to travel
            vars(blind).pop(name, None)
        return map_rows(partial(method, blind), X)

    return wrapper  # type: ignore[return-value]


class DaskScoreMixin:
    """`score`, also of Dask collections; needs scikit-learn's mixin after it."""

    def score(
        self: Any, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        """Return the accuracy of the predictions, or of a regressor their R².

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Data. Rows of a Dask collection stay where they are.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        float
            At most 1, see `sklearn.metrics.accuracy_score` and `sklearn.metrics.r2_score`.
        """
        if not is_dask(X):
            return super().score(X, y, sample_weight)  # type: ignore[misc]
        import dask

        predicted, y, weights = dask.compute(self.predict(X), y, sample_weight)
        metric = accuracy_score if is_classifier(self) else r2_score
        return float(metric(y, predicted, sample_weight=weights))


class DaskFitMixin:
    """`fit` of `BaseConvexReLU` on Dask collections."""

    _accepts_dask = True

    def _fit_on_dask(self, X, y, sample_weight, targets, **attributes):
        """Fit one program per output on Dask collections; `targets` as for `Distributed`."""
        self._check_for_dask()
        # names and number of features; the values are checked where they are
        validate_data(self, without_rows(X), skip_check_array=True)
        task = self._begin_task(X, y, sample_weight, None)
        rng = check_random_state(self.random_state)
        seed = draw_seed(rng)
        labels = self._loss().target == "sign"
        data = Distributed(
            X, y, sample_weight, targets, intercept=self.fit_intercept, labels=labels
        )
        try:
            # whether outputs are classes is known from the targets
            problem = canonical_problem(
                *data.sample(seed), self._options(), accept_sparse=False, n_samples=data.n_rows
            )
            attributes |= self._limits(problem.options, data.extremes)
            problem = problem.judged(seed)
            data.weigh(problem.feature_weights)
            prepared = prepare(problem, rng)
            report = partial(Reporter, self, len(prepared.programs), task, None)
            fitted = _fit_outputs(data, prepared, seed, report)
            attributes["communication_"] = data.communication
        finally:
            data.close()
        attributes |= {
            "feature_weights_": problem.feature_weights_,
            "lower_bound_": fitted.lower_bound,
            "dual_gap_": fitted.gap,
            "certificate_": certificate_of_bounds(
                sum(fitted.objectives), fitted.bounds, fitted.detail
            ),
        }
        # nothing is kept that another fit could start from
        self._set_fitted(fitted, None, attributes)
        self._end_task(task, X, y, sample_weight)
        return self

    def _check_for_dask(self):
        if not (isinstance(self.patterns, str) and self.patterns in ("adaptive", "random")):
            raise ValueError(
                "patterns must be 'adaptive' or 'random' for a fit on Dask collections, got "
                f"{self.patterns!r}."
            )
        if self.solver != "admm":
            raise ValueError(
                f"solver must be 'admm' for a fit on Dask collections, got {self.solver!r}."
            )
        if self.hidden_layer == "shared" and self.patterns != "adaptive":
            raise ValueError(
                "hidden_layer='shared' needs patterns='adaptive' for a fit on Dask collections, "
                f"got patterns={self.patterns!r}."
            )
        if self.monotonic_cst is not None:
            raise ValueError(
                "monotonic_cst must be None for a fit on Dask collections, got "
                f"{self.monotonic_cst!r}."
            )
        if self.warm_start:
            raise ValueError("warm_start must be False for a fit on Dask collections, got True.")


def _fit_outputs(data, prepared, seed, report):
    """What `fit_outputs` does, on all rows."""
    options = prepared.problem.options
    how = {"max_iter": options.max_iter}
    if prepared.problem.is_shared:
        reporter = report(0)
        program, result, *bound = data.solve_shared(
            prepared.programs[0], random_state=seed, tol=options.tol, on_check=reporter, **how
        )
        reporter.end()
        return Fitted.of(prepared, [(program, result, bound)])
    how["dtype"] = enough_precision(prepared.programs[0], options.gap)
    solved = []
    for k, program in enumerate(prepared.programs):
        reporter = report(k)
        if options.kind == "adaptive":
            found = data.solve_adaptive(
                k, program, random_state=seed, tol=options.tol, on_check=reporter, **how
            )
        else:
            found = data.solve(k, program, tol=options.gap, on_check=reporter, **how)
        reporter.end()
        program, result, *bound = found
        solved.append((program, result, bound))
    return Fitted.of(prepared, solved)
