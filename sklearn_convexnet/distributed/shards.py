"""The shards on the workers, with the interface of those in this process."""

import contextlib
import itertools
from concurrent.futures import CancelledError

import numpy as np

from ..solvers.shards import Reductions, ShardsLostError
from .remote import RemoteShard, StaleShardError

# how often workers may be lost in a fit, and seconds after which an answer is asked about
_MOST_LOSSES, _PATIENCE = 20, 10.0
_tokens = itertools.count()


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

    def prepare(self, *setting):
        """Make the shards of an output, see `RemoteShard.prepare`."""
        self._setting = (next(_tokens), *setting)
        self.ask("prepare", *self._setting)
        self._fresh = []

    @property
    def token(self):
        """Name of the state of the shards."""
        return self._setting[0]

    def map(self, method, *arguments):
        """What a method of the shards returns, for each of them."""
        return self._pass("call", (self.token, method, arguments))

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
        self._futures[k] = self.client.submit(RemoteShard, *self.blocks[k], actor=True, pure=False)

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
        count = len(self._actors)
        self.n_passes += 1
        each = [()] * count if each is None else each
        calls = [self._submit(k, method, (*arguments, *each[k])) for k in range(count)]
        results, lost = [], []
        for k, call in enumerate(calls):
            try:
                results.append(self._result(k, call))
            except ShardsLostError:
                lost.append(k)
        if lost:
            self._replace(lost)
            raise ShardsLostError
        return results

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
                    self._result(k, self._submit(k, "prepare", self._setting))
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
