"""A block of rows on a worker."""

import numpy as np

from ..solvers.row_steps import ADMMShard


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
    """

    def __init__(self, X, y, weights):
        self.X = np.ascontiguousarray(X, dtype=np.float64)
        self.y = np.asarray(y, dtype=np.float64).reshape(len(self.X), -1)
        self.weights = np.asarray(weights, dtype=np.float64).ravel()
        self.token = None

    def describe(self):
        """Facts about the block, a dict."""
        return {
            "n_rows": len(self.X),
            "finite": {
                name: bool(np.isfinite(values).all())
                for name, values in (("X", self.X), ("y", self.y))
            },
            "size": max(np.abs(self.X).max(initial=0.0), np.abs(self.y).max(initial=0.0)),
            "weight": self.weights.sum(),
        }

    def sample(self, count, seed):
        """Rows drawn without replacement: X, y and weights."""
        used = np.flatnonzero(self.weights > 0)
        if count < used.size:
            used = np.random.RandomState(seed).choice(used, count, replace=False)
        return self.X[used], self.y[used], self.weights[used]

    def squares(self):
        """Weighted sums of the squares of the entries of X, and of those of every target."""
        return self.weights @ np.einsum("kj,kj->k", self.X, self.X), self.weights @ self.y**2

    def prepare(self, token, column, gates, loss, intercept, units, total_weight, dtype):
        """Make the shard of an output in normalised units; `token` names its state."""
        row_scale, target_scale = units
        used = self.weights > 0
        ones = np.ones((np.count_nonzero(used), int(intercept)))
        rows = np.concatenate([self.X[used], ones], axis=1) / row_scale
        self.shard = ADMMShard(
            rows,
            self.y[used, column] / target_scale,
            self.weights[used] / total_weight,
            rows @ gates >= 0,
            loss,
            splits_loss=True,
            intercept=intercept,
            dtype=dtype,
        )
        self.token = token

    def call(self, token, method, arguments):
        """A method of the shard, if its state is the one that the caller means."""
        if token != self.token:
            raise StaleShardError("This actor does not hold the state that it is asked for.")
        return getattr(self.shard, method)(*arguments)

    def n_used(self):
        """Number of rows of positive weight."""
        return int(np.count_nonzero(self.weights > 0))

    def loss_of(self, network, loss, column):
        """Weighted sum of the losses of a network of one output."""
        return float(self.weights @ loss.value(network(self.X)[:, 0], self.y[:, column]))
