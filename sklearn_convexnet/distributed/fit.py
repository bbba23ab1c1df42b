"""The fit of the outputs of a network on a Dask collection."""

from dataclasses import dataclass, replace
from functools import partial
from numbers import Number

import numpy as np

from ..bounds.dual import Certified, balance_slopes, less_rounding, tighter
from ..bounds.pricing import bound_of_sums
from ..core.network import TwoLayerReLU
from ..core.parallel import Workers, one_blas_pool
from ..program.neuron_shard import NeuronRows
from ..program.patterns import strict_gates
from ..program.shard import ShardsLostError
from ..program.units import Solution, Units
from ..solvers.adaptive import PatternSearch
from ..solvers.admm import iterate, kronecker_admm
from ..solvers.base import Record, Result, generator
from ..solvers.neurons import LEAST_PROOF, NeuronSearch
from ..solvers.shared import SharedSearch
from .collections import as_blocks, client_of_collections
from .neurons import DaskNeuronRows
from .shards import DaskShards

# rows that come here, for the patterns and the automatic penalty
SAMPLE = 20_000
# share of the objective that a round on the sample must gain to be followed by another; that a
# descent on all rows gains where the sample lacks neurons
_COARSE, _LACKING = (1e-2, 1e-2, 1e-2), 0.1
# smoothing and iterations of the last descent: a sharper network, and nearer to its bounds
_FINISH = (0.01, 60)
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

    def weigh(self, feature_weights):
        """Multiply the features by weights, where there are some."""
        if feature_weights is not None:
            self.shards.weigh(feature_weights)

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

    def solve(self, column, program, *, tol, max_iter, dtype, on_check):
        """Fit one output over the patterns of a program.

        Parameters
        ----------
        column : int
        program : PatternProgram
            Loss, penalty and gates of the output, on the sample.
        tol, max_iter, on_check
            As in `solve`.
        dtype : dtype
            Of the state of the cones.

        Returns
        -------
        program : PatternProgram
            That was solved, on the sample.
        result : Result
        proved : float
            Lower bound of the objectives of all networks with this output alone.
        excess : float
            At least what any neuron gains by the dual variables of that bound, over the penalty.
        """
        record = Record(1.0, on_check)
        how = {"tol": tol, "max_iter": max_iter, "dtype": dtype, "record": record}
        outcome = self.minimise(column, program, program.gates, **how)
        return program, *self._finish(column, program, outcome, tol, "max_iter", record)

    def solve_adaptive(self, column, program, *, tol, max_iter, dtype, random_state, on_check):
        """Fit one output over patterns that are chosen first, as `solve_adaptive` does.

        The neurons descend on the sample, where that is cheap, and then a little further on all
        rows, until their network is certified on its own patterns. Only where a number as `tol` is
        not reached so, or no neuron is found, ADMM goes on from there.

        Parameters and what is returned are those of `solve`; `random_state` as in `solve_adaptive`.
        """
        problem, rng = program.problem.scaled, generator(random_state)
        record = Record(problem.units.objective, on_check)
        options = tol, max_iter, rng
        with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
            sample = program.problem.normalised
            coarse = NeuronSearch(program, NeuronRows(sample, workers), *options, Record(1.0))
            # many rounds would fit the sample better than the other rows
            coarse.worth = _COARSE
            coarse.find()
            rows = DaskNeuronRows(self.shards, problem, self.weight, column)
            search = _Search(program, rows, *options, record)
            search.go_on(sample.user_network(*coarse.best.network) if coarse.improves else None)
            search.certify_by(partial(self.minimise, column, program, dtype=dtype, record=record))
        gates, outcome, status = search.gates, search.outcome, search.exhausted
        most = max_iter - search.n_iter
        if tol is None:
            most = min(most, max(search.n_iter, LEAST_PROOF)) if outcome is None else 0
        if outcome is None or (outcome.best.gap > search.tol and most > 0 and not record.stopped):
            status = "costly" if tol is None and search.n_iter + most < max_iter else "max_iter"
            outcome = self.minimise(
                column, program, gates, start=search.point, done=search.n_iter, tol=search.tol,
                max_iter=max(most, 1), dtype=dtype, record=record,
            )  # fmt: skip
        outcome = replace(outcome, n_iter=max(outcome.n_iter, search.n_iter))
        gates, strict = strict_gates(problem.user.rows, gates, rng)
        found = program.with_gates(gates[:, strict]) if strict.any() else program
        return found, *self._finish(column, program, outcome, search.tol, status, record)

    def minimise(
        self, column, program, gates, *, tol, max_iter, dtype, record, start=None, done=0
    ):  # fmt: skip
        """Minimise over the patterns of gates of shape (d, P), by ADMM.

        From a point in the user's units, if there is one, in the cones of these patterns; no
        iteration at all certifies it. Returns an `_Outcome`.
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
        zero = np.zeros_like(gates)
        nothing = np.zeros((len(gates), 0)), np.zeros(0, dtype=int), 0.0
        value = sum(shards.ask("call", shards.token, "mean_loss", nothing))
        best = Certified(Solution(zero, zero, 0.0, None), value, 0.0, 0.0)
        networks = []
        if start is not None:
            networks = [program.problem.network(start.v, start.w, start.bias)]
            value = self._objective(networks[0], loss, alpha, column) / units.objective
            start = Solution(
                start.v / units.block, start.w / units.block, start.bias / units.target, None
            )
            best = tighter(best, Certified(start, value, 0.0, 0.0))

        def tell(phase, n_iter, certified):
            scale, record.objective_scale = record.objective_scale, units.objective
            stop = record(phase if n_iter else "certify", done + n_iter, certified)
            record.objective_scale = scale
            return stop

        admm, spectra = self._admm(scaled_alpha)
        best, n_iter = iterate(
            admm, gates, tol=tol, max_iter=max_iter, best=best, spectra=spectra, record=tell,
            start=start,
        )  # fmt: skip
        return _Outcome(best, done + n_iter, units, scaled_alpha, networks)

    def _finish(self, column, program, outcome, tol, otherwise, record):
        """The result of an outcome; `otherwise` is its status above the tolerance."""
        best, units = outcome.best, outcome.units
        point = best.solution
        found = TwoLayerReLU.from_blocks(
            units.block * point.v, units.block * point.w, units.target * point.bias,
            has_bias_column=self.intercept,
        )  # fmt: skip
        networks = [found, *outcome.networks]
        objectives = [self._objective(one, program.loss, program.alpha, column) for one in networks]
        chosen = int(np.argmin(objectives))
        result = Result(
            network=networks[chosen],
            objective=objectives[chosen],
            upper_bound=units.objective * best.upper_bound,
            lower_bound=units.objective * best.lower_bound,
            gap=best.gap,
            bounds_of="patterns",
            n_iter=outcome.n_iter,
            status=record.status(best.gap, tol, otherwise),
            history=record.history,
            solution=point,
        )
        proved, excess = self._proved(outcome.alpha)
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


@dataclass(frozen=True)
class _Outcome:
    """A point over patterns with its bounds, in units, and networks that may be better."""

    best: Certified
    n_iter: int
    units: Units
    alpha: float
    networks: list[TwoLayerReLU]


class _Search(PatternSearch):
    """The neurons of one output on all rows, which begin with those of a sample.

    Attributes
    ----------
    point, gates
        The best network that was certified, or the constant one, over patterns.
    outcome : _Outcome or None
        What is certified of it.
    """

    outcome = None

    def save(self):
        """Save nothing: no fit goes on with another."""

    def go_on(self, network):
        """Descend from a network of the sample, or anew; let neurons join where it lacks some.

        Pricing looks at the rows as often as a descent does.
        """
        known = np.inf
        if network is not None:
            known = self.rows.objective(network) / self.problem.units.objective
        self.begin(network)
        if self.strict or not self.best.objective >= known * (1.0 - _LACKING):
            self.rounds()
        if self.left > 0:
            self.descend(*_FINISH)
        self.finding = self.n_iter

    def certify_by(self, minimise):
        """Sharpen the network until `minimise`, see `Distributed`, certifies it as it is."""
        self._minimise, self.gates = minimise, self.program.gates
        bias = self.problem.units.target * self.bias
        self.point = Solution(0.0 * self.gates, 0.0 * self.gates, bias, None)
        self.certify()

    def certify_best(self):
        if not self.improves:
            return None, None
        point, gates = _joined(self.rows, self.best)
        how = {"start": point, "done": self.n_iter, "tol": self.tol, "max_iter": 0}
        outcome = self._minimise(gates, **how)
        if self.outcome is None or outcome.best.gap <= self.outcome.best.gap:
            self.outcome, self.point, self.gates = outcome, point, gates
        return gates, outcome.best


def _joined(rows, descent):
    """The point of a descent over the patterns of its neurons, in the user's units, and the gates.

    Neurons of one pattern and sign do what their sum does, which costs less.
    """
    problem = rows.problem
    keys = [
        b"".join(parts).hex()
        for parts in zip(*rows.map("pattern_keys", descent.directions), strict=True)
    ]
    _, first, column = np.unique(keys, return_index=True, return_inverse=True)
    directions = problem.design.directions(descent.directions)
    blocks = np.zeros((2, len(first), len(directions)))
    strengths = problem.units.block * np.abs(descent.outputs)
    np.add.at(blocks, ((descent.outputs < 0).astype(int), column), (strengths * directions).T)
    v, w = blocks.transpose(0, 2, 1)
    return Solution(v, w, problem.units.target * descent.bias, None), directions[:, first]


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
