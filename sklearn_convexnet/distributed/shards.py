"""the shards on the workers, with the interface of those in this process."""

import contextlib
import itertools
from concurrent.futures import CancelledError

import numpy as np

from ..core.parallel import Reductions
from ..program.neuron_shard import NeuronShard
from ..program.problem import Design, TrainingProblem
from ..program.shard import ADMMShard, ShardsLostError

# how often workers may be lost in a fit, and seconds after which an answer is asked about
_MOST_LOSSES, _PATIENCE = 20, 10.0
_tokens = itertools.count()


class StaleShardError(RuntimeError):
    """An actor was made anew by the scheduler and does not hold the state that it is asked for."""


class RemoteShard:
    """What a block of rows is asked before there are patterns, and its shard when there are.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n, n_outputs)
        Targets, or -1 and +1.
    weights : ndarray of shape (n,)
    feature_weights : ndarray of shape (n_features,) or None
        What the features are multiplied by.
    """

    def __init__(self, X, y, weights, feature_weights):
        self.X = np.ascontiguousarray(X, dtype=np.float64)
        self.feature_weights = None
        if feature_weights is not None:
            self.weigh(feature_weights)
        self.y = np.asarray(y, dtype=np.float64).reshape(len(self.X), -1)
        self.weights = np.asarray(weights, dtype=np.float64).ravel()
        self.token = None

    def describe(self):
        """Facts about the block, a dict."""
        used = self.y[self.weights > 0]
        return {
            "n_rows": len(self.X),
            "finite": {
                name: bool(np.isfinite(values).all())
                for name, values in (("X", self.X), ("y", self.y))
            },
            "size": max(np.abs(self.X).max(initial=0.0), np.abs(self.y).max(initial=0.0)),
            "weight": self.weights.sum(),
            "least": used.min(axis=0, initial=np.inf),
            "greatest": used.max(axis=0, initial=-np.inf),
        }

    def sample(self, count, seed):
        """Rows drawn without replacement: X, y and weights."""
        used = np.flatnonzero(self.weights > 0)
        if count < used.size:
            used = np.random.RandomState(seed).choice(used, count, replace=False)
        return self.X[used], self.y[used], self.weights[used]

    def weigh(self, feature_weights):
        """Multiply the features by weights, once."""
        if self.feature_weights is None:
            # the block is not ours to write into
            self.X, self.feature_weights = self.X * feature_weights, feature_weights

    def squares(self):
        """Weighted sums of the squares of the entries of X, and of those of every target."""
        return self.weights @ np.einsum("kj,kj->k", self.X, self.X), self.weights @ self.y**2

    def prepare(self, token, column, gates, loss, intercept, units, total_weight, dtype):
        """Make the shard of an output in normalised units; `token` names its state."""
        rows, y, weights = self._normalised(intercept, units, total_weight)
        self.shard = ADMMShard(
            rows,
            y[:, column].copy(),
            weights,
            rows @ gates >= 0,
            loss,
            splits_loss=True,
            intercept=intercept,
            dtype=dtype,
        )
        self.token = token

    def prepare_neurons(self, token, column, loss, alpha, intercept, units, total_weight):
        """Make the shard of neurons of one output, or of a slice of them, in normalised units."""
        rows, y, weights = self._normalised(intercept, units, total_weight)
        y = np.ascontiguousarray(y[:, column])
        problem = TrainingProblem(Design(rows, weights), y, loss, alpha, intercept)
        self.shard, self.token = NeuronShard(problem), token

    def _normalised(self, intercept, units, total_weight):
        """Rows, targets and weights in normalised units, of the rows of positive weight."""
        row_scale, target_scale = units
        used = self.weights > 0
        ones = np.ones((np.count_nonzero(used), int(intercept)))
        rows = np.concatenate([self.X[used], ones], axis=1) / row_scale
        return rows, self.y[used] / target_scale, self.weights[used] / total_weight

    def call(self, token, method, arguments):
        """A method of the shard, if its state is the one that the caller means."""
        if token != self.token:
            raise StaleShardError("This actor does not hold the state that it is asked for.")
        return getattr(self.shard, method)(*arguments)

    def n_used(self):
        """Number of rows of positive weight."""
        return int(np.count_nonzero(self.weights > 0))

    def loss_of(self, network, loss, column):
        """Weighted sum of the losses of a network of one output, or of a slice of them."""
        y = self.y[:, column]
        return float(self.weights @ loss.value(network(self.X).reshape(y.shape), y))


class DaskShards(Reductions):
    """The shards of a collection on the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    blocks : list of tuple of distributed.Future
        X, y and weights of every block.
    intercept : bool

    Attributes
    ----------
    sent, received : int
        Bytes of the arrays that went out and came back.
    n_passes, n_lost : int
        Passes over the rows, and blocks that were lost with their workers.
    """

    def __init__(self, client, blocks, *, intercept):
        self.client, self.blocks, self.intercept = client, blocks, intercept
        self.sent = self.received = self.n_passes = self.n_lost = 0
        self._setting, self._fresh, self._losses = None, [], 0
        self._feature_weights = None
        self._futures, self._actors = [None] * len(blocks), [None] * len(blocks)
        try:
            for k in range(len(blocks)):
                self._begin(k)
            for k in range(len(blocks)):
                self._settle(k)
        except BaseException:
            self.close()
            raise

    def ask(self, method, *arguments, each=None):
        """What a method of the actors returns, for each; lost ones are asked again.

        For methods that change nothing. `each` is a list of arguments of their own.
        """
        while True:
            try:
                return self._pass(method, arguments, each)
            except ShardsLostError:
                continue

    def weigh(self, feature_weights):
        """Multiply the features by weights."""
        self._feature_weights = feature_weights
        self.ask("weigh", feature_weights)

    def prepare(self, *setting):
        """Make the shards of an output, see `RemoteShard.prepare`."""
        self._prepare("prepare", setting)

    def prepare_neurons(self, *setting):
        """Make the shards of neurons, see `RemoteShard.prepare_neurons`."""
        self._prepare("prepare_neurons", setting)

    def _prepare(self, method, setting):
        self._setting = (method, next(_tokens), *setting)
        self.ask(*self._setting)
        self._fresh = []

    @property
    def token(self):
        """Name of the state of the shards."""
        return self._setting[1]

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
        return self._pass("call", (self.token, method, arguments))

    def map_again(self, told, method, *arguments):
        """As `map`, where a shard made anew hears first what the others were `told`.

        Only lost ones are asked again: a call may change the state.
        """
        results, lost = self._attempt("call", (self.token, method, arguments))
        calls = [*told, (method, arguments)]
        while lost:
            self._replace(lost)
            for k in list(lost):
                try:
                    for call in calls:
                        results[k] = self._result(k, self._submit(k, "call", (self.token, *call)))
                except ShardsLostError:
                    continue
                lost.remove(k)
        return results

    def restore(self, *state):
        """Let the shards that were made anew begin at the state of the others."""
        while self._fresh:
            k = self._fresh[-1]
            try:
                self._result(k, self._submit(k, "call", (self.token, "restore", state)))
            except ShardsLostError:
                self._replace([k])
                continue
            self._fresh.remove(k)

    def slopes(self):
        """None: what is kept for every row stays on the workers."""

    @property
    def n_rows(self):
        """Number of rows of all shards."""
        return sum(self.ask("n_used"))

    def close(self):
        """Release the actors and the blocks."""
        # a client that is closed, or without its scheduler, has none, and may say so
        with contextlib.suppress(Exception):
            # calls of an actor refer to it in circles: to forget it does not release it soon
            self.client.cancel(self._futures)
        self.blocks = self._futures = self._actors = []

    def _begin(self, k):
        self._futures[k] = self.client.submit(
            RemoteShard, *self.blocks[k], self._feature_weights, actor=True, pure=False
        )

    def _settle(self, k):
        try:
            self._actors[k] = self._futures[k].result()
        except Exception as error:
            raise RuntimeError(
                f"Block {k} of the {len(self.blocks)} blocks of X could not be loaded on a worker: "
                f"{error!r}. If a worker was lost, its blocks must be such that Dask can compute "
                "them again; nothing was fitted."
            ) from error

    def _pass(self, method, arguments, each=None):
        results, lost = self._attempt(method, arguments, each)
        if lost:
            self._replace(lost)
            raise ShardsLostError
        return results

    def _attempt(self, method, arguments, each=None):
        """The answers, None where there is none, and the numbers of the lost ones."""
        count = len(self._actors)
        self.n_passes += 1
        each = [()] * count if each is None else each
        calls = [self._submit(k, method, (*arguments, *each[k])) for k in range(count)]
        results, lost = [], []
        for k, call in enumerate(calls):
            try:
                results.append(self._result(k, call))
            except ShardsLostError:
                results.append(None)
                lost.append(k)
        return results, lost

    def _submit(self, k, method, arguments):
        self.sent += _n_bytes(arguments)
        try:
            return getattr(self._actors[k], method)(*arguments)
        except (OSError, RuntimeError):  # the actor is known to be lost
            return None

    def _result(self, k, call):
        while call is not None:
            try:
                result = call.result(timeout=_PATIENCE)
            except TimeoutError:
                # a call whose actor is gone for good need not end
                if self._futures[k].status not in ("finished", "pending"):
                    break
            except (OSError, CancelledError, StaleShardError):
                break
            else:
                self.received += _n_bytes(result)
                return result
        raise ShardsLostError

    def _replace(self, lost):
        """Make lost shards anew, prepared as the others were, at the zero state."""
        self.n_lost += len(lost)
        self._losses += 1
        if self._losses > _MOST_LOSSES:
            raise RuntimeError(
                f"{self.n_lost} blocks of X were lost with their workers, on {self._losses} "
                "occasions; nothing was fitted."
            )
        for k in lost:
            self._begin(k)
            self._settle(k)
            if self._setting is not None:
                try:
                    method, *setting = self._setting
                    self._result(k, self._submit(k, method, setting))
                except ShardsLostError:
                    self._replace([k])
            if k not in self._fresh:
                self._fresh.append(k)


def _n_bytes(values):
    """Bytes of the numbers in nested tuples, lists and dicts."""
    if isinstance(values, np.ndarray):
        return values.nbytes
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, tuple | list):
        return sum(map(_n_bytes, values))
    return 8 if isinstance(values, float | int) else 0
