"""The shards of a program, and the reductions over them."""

import numpy as np

from ..rows import portions
from .row_steps import ADMMShard
from .threads import ALONE, add_up

# multiplications of a pass over a shard, fewer are not worth a thread; and shards at most, as each
# returns sums of its own
_WORTH_A_THREAD, _MOST_SHARDS = 5e7, 64


class ShardsLostError(RuntimeError):
    """Some shards have lost their state, and have been made anew."""


class Reductions:
    """Sums over shards; a subclass has `map`."""

    def total(self, method, *arguments):
        """The sum over the shards of what a method returns; of a tuple, the tuple of sums."""
        return add_up(self.map(method, *arguments))


class Shards(Reductions):
    """Shards in this process.

    The sums do not depend on the number of threads: the shards do not, and they are added in
    their order.

    Parameters
    ----------
    shards : list of Shard
    intercept : bool
        Whether the output has a bias.
    workers : Workers, default=ALONE
        For the shards, at the same time.
    """

    def __init__(self, shards, *, intercept, workers=ALONE):
        self.shards, self.intercept, self._workers = shards, intercept, workers

    @classmethod
    def of(cls, program, *, workers, splits_loss, dtype):
        """Split a program into shards for ADMM."""
        n, P = program.patterns.shape
        size = max(1, int(_WORTH_A_THREAD / (P * program.rows.shape[1])))
        shards = []
        for part in portions(n, size, _MOST_SHARDS) if splits_loss else [slice(0, n)]:
            shards.append(
                ADMMShard(
                    program.rows[part],
                    program.y[part],
                    program.weights[part],
                    program.patterns[part],
                    program.loss,
                    splits_loss=splits_loss,
                    intercept=program.fit_intercept,
                    dtype=dtype,
                )
            )
        return cls(shards, intercept=program.fit_intercept, workers=workers)

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
        calls = [getattr(shard, method) for shard in self.shards]
        return self._workers.map(lambda call: call(*arguments), calls)

    def map_each(self, method, each, *arguments):
        """As `map`, with a first argument that is the shard's own."""
        for shard, own in zip(self.shards, each, strict=True):
            getattr(shard, method)(own, *arguments)

    @property
    def n_rows(self):
        """Number of rows of all shards."""
        return sum(len(shard.y) for shard in self.shards)

    def slopes(self):
        """The dual variables of all rows."""
        return np.concatenate([shard.slopes for shard in self.shards])

    def split(self, values):
        """Values of all rows as a list for the shards."""
        ends = np.cumsum([len(shard.y) for shard in self.shards])
        return np.split(values, ends[:-1])
