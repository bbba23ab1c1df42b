"""Fits on Dask collections, for the estimators that leave the rows on their workers."""

import numpy as np
from sklearn.utils import check_random_state

from .._compat import validate_data
from ..core.network import TwoLayerReLU
from ..distributed import Distributed
from ..proof.certificate import certificate_of_bounds
from ..solvers import solve_adaptive
from ..solvers.solve import enough_precision
from ._data import canonical_data
from ._reporter import Reporter


class DaskFitMixin:
    """`fit` of `BaseConvexReLU` on Dask collections."""

    _accepts_dask = True

    def _fit_on_dask(self, X, y, sample_weight, targets, loss, **attributes):
        """Fit one program per output on Dask collections; `targets` as for `Distributed`."""
        self._check_for_dask()
        # names and number of features; the values are checked where they are
        validate_data(self, _without_rows(X), skip_check_array=True)
        task = self._begin_task(X, y, sample_weight, None)
        rng = check_random_state(self.random_state)
        seed = int(rng.randint(2**31 - 1))
        labels = loss.target == "sign"
        data = Distributed(
            X, y, sample_weight, targets, intercept=self.fit_intercept, labels=labels
        )
        try:
            sample, sampled, weights = data.sample(seed)
            sample, first, weights = canonical_data(sample, sampled, weights)
            rows, outputs = sample[first], np.asfortranarray(sampled[first])
            # distinct rows count once, of all rows as of those of an array
            n_rows = round(len(rows) * data.n_rows / len(sample))
            alphas = self._choose_alphas(rows, outputs, weights, loss, n_rows=n_rows)
            gates, patterns = self._patterns(sample, first, weights, rng)
            programs = self._programs(rows, outputs, weights, gates, patterns, loss, alphas)
            dtype = enough_precision(programs[0], self.tol)
            results, bounds, n_patterns = [], [], 0
            for k, program in enumerate(programs):
                options = {"tol": self.tol, "max_iter": self.max_iter}
                networks = []
                if self._adaptive:
                    program, found = solve_adaptive(
                        program, self.solver, random_state=seed, **options
                    )
                    networks = [found.network]
                report = Reporter(self, k, len(programs), task)
                result, *bound = data.solve(
                    k, program, program.gates, dtype=dtype, on_check=report,
                    networks=networks, **options,
                )  # fmt: skip
                report.end()
                results.append(result)
                bounds.append(bound)
                n_patterns += program.n_patterns
            self.communication_ = data.communication
        finally:
            data.close()
        network = TwoLayerReLU.stack([result.network for result in results])
        self._set_network(network, [result.objective for result in results], results)
        self.dual_gap_ = max(result.gap for result in results)
        self.lower_bound_ = sum(result.lower_bound for result in results)
        detail = {
            "sampled_upper_bound": sum(result.upper_bound for result in results),
            "sampled_lower_bound": self.lower_bound_,
            "sampled_gap": self.dual_gap_,
            "fixed_directions": False,
            "n_patterns": n_patterns,
        }
        self.certificate_ = certificate_of_bounds(self.objective_, bounds, detail)
        self._penalties = alphas
        self.alpha_ = float(alphas[0]) if np.ptp(alphas) == 0 else alphas
        vars(self).pop("patterns_", None)
        # nothing is kept that another fit could start from
        self._gates = self._kept = self._results = self._drawn = self._fitted_problem = None
        vars(self).update(attributes)
        self._warn_if_not_converged(results)
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
        if self.warm_start:
            raise ValueError("warm_start must be False for a fit on Dask collections, got True.")


def _without_rows(X):
    """What knows the number of features of a Dask collection, and their names if it has some."""
    return X._meta if hasattr(X, "columns") else np.empty((0, X.shape[-1]))
