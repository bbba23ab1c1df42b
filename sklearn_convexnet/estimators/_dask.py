"""Fits on Dask collections, for the estimators that leave the rows on their workers."""

from functools import partial

import numpy as np
from sklearn.utils import check_random_state

from .._compat import validate_data
from ..distributed import Distributed
from ..proof.certificate import certificate_of_bounds
from ..solvers.solve import enough_precision
from ._fit import Fitted, canonical_problem, draw_seed, prepare
from ._reporter import Reporter


class DaskFitMixin:
    """`fit` of `BaseConvexReLU` on Dask collections."""

    _accepts_dask = True

    def _fit_on_dask(self, X, y, sample_weight, targets, **attributes):
        """Fit one program per output on Dask collections; `targets` as for `Distributed`."""
        self._check_for_dask()
        # names and number of features; the values are checked where they are
        validate_data(self, _without_rows(X), skip_check_array=True)
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
            prepared = prepare(problem, rng)
            report = partial(Reporter, self, len(prepared.programs), task, None)
            fitted = _fit_outputs(data, prepared, seed, report)
            attributes["communication_"] = data.communication
        finally:
            data.close()
        attributes |= {
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
        if self.warm_start:
            raise ValueError("warm_start must be False for a fit on Dask collections, got True.")


def _fit_outputs(data, prepared, seed, report):
    """What `fit_outputs` does; patterns are those of the sample, all else is on all rows."""
    options = prepared.problem.options
    how = {"max_iter": options.max_iter}
    if prepared.problem.is_shared:
        reporter = report(0)
        program, result, *bound = data.solve_shared(
            prepared.programs[0], random_state=seed, tol=options.tol, on_check=reporter, **how
        )
        reporter.end()
        return Fitted.of(prepared, [(program, result, bound)])
    how |= {
        "tol": options.gap,
        "dtype": enough_precision(prepared.programs[0], options.gap),
    }
    solved = []
    for k, program in enumerate(prepared.programs):
        networks = []
        if options.kind == "adaptive":
            program, found = options.solve(program, random_state=seed)
            networks = [found.network]
        reporter = report(k)
        result, *bound = data.solve(
            k, program, program.gates, on_check=reporter, networks=networks, **how
        )
        reporter.end()
        solved.append((program, result, bound))
    return Fitted.of(prepared, solved)


def _without_rows(X):
    """What knows the number of features of a Dask collection, and their names if it has some."""
    return X._meta if hasattr(X, "columns") else np.empty((0, X.shape[-1]))
