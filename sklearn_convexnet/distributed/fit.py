"""The fit of the outputs of a network on a Dask collection."""

from numbers import Number

import numpy as np

from ..bounds.dual import Certified, balance_slopes, less_rounding
from ..bounds.pricing import bound_of_sums
from ..core.network import TwoLayerReLU
from ..core.parallel import one_blas_pool
from ..program.shard import ShardsLostError
from ..program.units import Solution, Units
from ..solvers.admm import iterate, kronecker_admm
from ..solvers.base import Record, Result, generator
from ..solvers.shared import SharedSearch
from .collections import as_blocks, client_of_collections
from .neurons import DaskNeuronRows
from .shards import DaskShards

# rows that come here, for the patterns and the automatic penalty
SAMPLE = 20_000
_EPS = np.finfo(np.float64).eps


class Distributed:
    """A collection on the workers of a client, and the fits on it.

    Parameters
    ----------
    X : Dask array or dataframe of shape (n_samples, n_features)
    y, sample_weight : Dask array, series or dataframe; array-like
        Weights may be a number, too.
    targets : callable
        Called with the Dask arrays of y and of the weights; returns those of the targets, numbers,
        and of the weights.
    intercept : bool
    labels : bool
        Whether y need not be numbers.

    Raises
    ------
    TypeError
        If blocks are sparse.
    ValueError
        If shapes do not fit, or values are not real, finite numbers.
    """

    def __init__(self, X, y, sample_weight, targets, *, intercept, labels):
        import dask.array as da

        client = client_of_collections()
        X = as_blocks("X", X)
        rows = X.chunks[0]
        if sample_weight is None:
            weights = da.ones(len(X), chunks=(rows,))
        else:
            if isinstance(sample_weight, Number):
                sample_weight = da.full(len(X), sample_weight, chunks=(rows,))
            # of booleans, there are no differences
            weights = as_blocks("sample_weight", sample_weight, rows).astype(np.float64)
            _check_weights(weights)
        y, weights = targets(as_blocks("y", y, rows, labels=labels), weights)
        blocks = (_blocks(client, each) for each in (X, y, weights))
        self.intercept = intercept
        self.shards = DaskShards(client, list(zip(*blocks, strict=True)), intercept=intercept)
        try:
            self.facts = self.shards.ask("describe")
            self._check()
        except BaseException:
            self.close()
            raise
        self.weight = sum(fact["weight"] for fact in self.facts)

    def _check(self):
        for name in ("X", "y"):
            if not all(fact["finite"][name] for fact in self.facts):
                raise ValueError(f"{name} must hold finite numbers only, got NaN or infinity.")
        size = max(fact["size"] for fact in self.facts)
        if size > 1e150:
            raise ValueError(f"X and y must not exceed 1e150 in size, got {size:.1e}.")

    @property
    def n_rows(self):
        """Number of rows of positive weight."""
        return self.shards.n_rows

    @property
    def extremes(self):
        """The least and the greatest target of positive weight, for every output."""
        least = np.min([fact["least"] for fact in self.facts], axis=0)
        return np.stack([least, np.max([fact["greatest"] for fact in self.facts], axis=0)])

    def sample(self, seed):
        """At most about `SAMPLE` rows of positive weight: X, targets and weights."""
        share = min(1.0, SAMPLE / self.n_rows)
        counts = [int(np.ceil(share * fact["n_rows"])) for fact in self.facts]
        each = [(count, seed + k) for k, count in enumerate(counts)]
        parts = self.shards.ask("sample", each=each)
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def close(self):
        """Release the workers' memory."""
        self.shards.close()

    @property
    def communication(self):
        """What the fit has cost in messages, a dict."""
        shards = self.shards
        return {
            "n_blocks": len(self.facts),
            "n_passes": shards.n_passes,
            "sent": shards.sent,
            "received": shards.received,
            "n_lost": shards.n_lost,
        }

    def solve(self, column, program, gates, *, tol, max_iter, dtype, on_check, networks=()):
        """Fit one output.

        Parameters
        ----------
        column : int
        program : PatternProgram
            Loss and penalty of the output, on the sample.
        gates : ndarray of shape (d, P)
        tol, max_iter, on_check
            As in `solve`.
        dtype : dtype
            Of the state of the cones.
        networks : sequence of TwoLayerReLU
            That may be better on all rows than what is found.

        Returns
        -------
        result : Result
        proved : float
            Lower bound of the objectives of all networks with this output alone.
        excess : float
            At least what any neuron gains by the dual variables of that bound, over the penalty.
        """
        shards, loss, alpha = self.shards, program.loss, program.alpha
        row_square, target_squares = self._squares()
        row_scale = np.sqrt((row_square + self.intercept) / len(gates)) or 1.0
        units = Units.of(loss, row_scale, float(np.sqrt(target_squares[column])))
        scaled_loss, scaled_alpha = units.normalised(loss, alpha)
        shards.prepare(
            column, gates, scaled_loss, self.intercept, (units.row, units.target), self.weight,
            dtype,
        )  # fmt: skip
        record = Record(units.objective, on_check)
        zero = np.zeros_like(gates)
        nothing = np.zeros((len(gates), 0)), np.zeros(0, dtype=int), 0.0
        value = sum(shards.ask("call", shards.token, "mean_loss", nothing))
        best = Certified(Solution(zero, zero, 0.0, None), value, 0.0, 0.0)
        admm, spectra = self._admm(scaled_alpha)
        best, n_iter = iterate(
            admm, gates, tol=tol, max_iter=max_iter, record=record, best=best, spectra=spectra
        )
        point = best.solution
        found = TwoLayerReLU.from_blocks(
            units.block * point.v, units.block * point.w, units.target * point.bias,
            has_bias_column=self.intercept,
        )  # fmt: skip
        objectives = [self._objective(one, loss, alpha, column) for one in (found, *networks)]
        chosen = int(np.argmin(objectives))
        result = Result(
            network=(found, *networks)[chosen],
            objective=objectives[chosen],
            upper_bound=units.objective * best.upper_bound,
            lower_bound=units.objective * best.lower_bound,
            gap=best.gap,
            bounds_of="patterns",
            n_iter=n_iter,
            status=record.status(best.gap, tol, "max_iter"),
            history=record.history,
            solution=point,
        )
        proved, excess = self._proved(scaled_alpha)
        return result, units.objective * proved, excess

    def solve_shared(self, program, *, tol, max_iter, random_state, on_check):
        """Fit outputs that share the neurons, as `solve_adaptive` does.

        Parameters
        ----------
        program : PatternProgram
            Of all outputs, on the sample; its gates are the neurons to start from.
        tol, max_iter, random_state, on_check
            As in `solve_adaptive`.

        Returns
        -------
        program : PatternProgram
            Over the patterns of the neurons, on the sample.
        result : Result
        proved, excess : float
            As in `solve`, of all outputs together.
        """
        # the span of a sample need not be that of all rows
        problem = program.problem.scaled
        rows = DaskNeuronRows(self.shards, problem, self.weight)
        record = Record(problem.units.objective, on_check)
        rng = generator(random_state)
        with one_blas_pool(large=False):
            search = SharedSearch(program, rows, tol, max_iter, rng, record)
            search.find(None)
            found, result = search.solve()
            rows.set_slopes(*search.dual_at)
            proved, excess = self._bound(rows, problem.alpha, problem.y.shape[1])
        return found, result, problem.units.objective * proved, excess

    def _squares(self):
        """Weighted means of the squared norms of X and of the squares of the targets."""
        parts = self.shards.ask("squares")
        return [sum(part) / self.weight for part in zip(*parts, strict=True)]

    def _admm(self, alpha):
        while True:
            try:
                return kronecker_admm(self.shards, alpha)
            except ShardsLostError:
                # none has a state yet
                continue

    def _objective(self, network, loss, alpha, column):
        losses = sum(self.shards.ask("loss_of", network, loss, column))
        return float(losses / self.weight + alpha * network.penalty())

    def _proved(self, alpha):
        """Lower bound from a bound on what any neuron may gain, see `bound_of_sums`; and that."""
        shards = self.shards
        while True:
            try:
                # of shards made anew since the last certificate, they are not
                balance_slopes(shards)
                return self._bound(shards, alpha, 1)
            except ShardsLostError:
                continue

    def _bound(self, shards, alpha, n_outputs):
        """Lower bound from the slopes that shards have, and a bound on what any neuron gains."""
        linear, *parts = shards.total("pricing_sums")
        singular = [np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)) for gram in parts[1::2]]
        excess = bound_of_sums(linear, parts[::2], singular) / alpha
        excess *= 1.0 + _EPS * (self.n_rows * len(linear) + 16.0)
        value, size = shards.total("conjugate", max(1.0, excess))
        return less_rounding(value, size, self.n_rows * n_outputs), excess


def _check_weights(weights):
    """Raise a ValueError for weights that no fit accepts."""
    import dask

    finite, smallest, largest = dask.compute(
        ((weights - weights) == 0).all(), weights.min(), weights.max()
    )
    if not finite:
        raise ValueError("sample_weight must hold finite numbers only, got NaN or infinity.")
    if smallest < 0:
        raise ValueError(f"sample_weight must be non-negative, got {float(smallest)!r}.")
    if largest == 0:
        raise ValueError("sample_weight must not be zero everywhere.")


def _blocks(client, array):
    """Futures of the blocks of rows."""
    return client.compute(list(array.to_delayed().ravel()))
