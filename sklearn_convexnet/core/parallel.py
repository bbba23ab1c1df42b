"""One thread for BLAS where more would be slower, and threads for parts of the rows instead."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from typing import NamedTuple

from threadpoolctl import ThreadpoolController


class _User(NamedTuple):
    """Who limits the pools: a thread, which may do so again within, and what for."""

    thread: int
    large: bool
    works: bool


class _Limits:
    """Limits of the process: the last of the concurrent users restores what there was."""

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all users."""
        self.lock, self.users, self.before = threading.Lock(), {}, None

    @cached_property
    def pools(self):
        """Those of BLAS: numpy and scipy have loaded theirs by now, and to search takes long."""
        return ThreadpoolController().select(user_api="blas")

    def acquire(self, key, user):
        """Limit the pools; returns the user's share of the threads there were."""
        with self.lock:
            if self.before is None:
                self.before = self.pools.limit(limits=None)
                libraries = self.pools.lib_controllers
                self.threads = {one.filepath: one.get_num_threads() for one in libraries}
            self.users[key] = user
            self._apply()
            at_work = {user.thread for user in self.users.values() if user.works}
            # the most of any: some libraries bring a pool that is built for one thread
            return max(1, max(self.threads.values(), default=1) // max(1, len(at_work)))

    def release(self, key):
        """Undo it, also where Ctrl-C has come in between; the next user ends what it cuts short."""
        with self.lock:
            self.users.pop(key, None)
            if self.users:
                self._apply()
            elif self.before is not None:
                self._take_control()
                self.before.restore_original_limits()
                self._take_control()
                self.before = None

    def _apply(self):
        """Pools but scipy's keep their threads where all threads want that, by their last word."""
        last = {user.thread: user.large for user in self.users.values()}
        large = all(last.values())
        self._take_control()
        for library in self.pools.lib_controllers:
            kept = large and "scipy" not in os.path.dirname(library.filepath)
            library.set_num_threads(self.threads[library.filepath] if kept else 1)

    def _take_control(self):
        # threadpoolctl >= 3.8 obeys the first thread that set a limit, and silently no other
        for library in self.pools.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)


_limits = _Limits()
if hasattr(os, "register_at_fork"):
    # the users are threads that the child does not have, and one of them may hold the lock
    os.register_at_fork(after_in_child=_limits.reset)


@contextmanager
def one_blas_pool(*, large):
    """Leave BLAS one pool with threads where products are large, else none.

    The wheels of numpy and scipy bring a pool of threads each. Two pools of several threads, used
    in turn, block one another: measured, small solves take three to a hundred times longer. From
    some size on numpy's threads pay off; scipy's share of the work is small, so its pool gives way.

    Yields the number of threads that BLAS would have had, for other work.
    """
    yield from _limited(large, works=True)


@contextmanager
def serial_blas():
    """No threads of BLAS but within `one_blas_pool`.

    The last bits of a product with a vector depend on their number, and with it would the fit.
    """
    yield from _limited(large=False, works=False)


def _limited(large, works):
    key = object()
    try:
        yield _limits.acquire(key, _User(threading.get_ident(), large, works))
    finally:
        _limits.release(key)


class Workers:
    """Threads for independent calls, which spend their time in NumPy.

    What they return comes in the order of the calls, so that sums do not depend on the number of
    threads.

    Parameters
    ----------
    n_threads : int, default=1
        With one, as `ALONE` has it, calls are made where they are asked for.
    """

    def __init__(self, n_threads=1):
        self._pool = ThreadPoolExecutor(n_threads) if n_threads > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, call, items):
        """List of what `call` returns for every item."""
        alone = self._pool is None or len(items) == 1
        return list(map(call, items) if alone else self._pool.map(call, items))

    def total(self, call, items):
        """The sum of what `call` returns; of tuples, the tuple of sums."""
        return add_up(self.map(call, items))


ALONE = Workers()


def add_up(parts):
    """The sum of numbers or arrays; of tuples, the tuple of sums."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], tuple):
        return tuple(sum(each) for each in zip(*parts, strict=True))
    return sum(parts)


class Reductions:
    """Sums over parts of the rows; a subclass has `map`."""

    def total(self, method, *arguments):
        """The sum over the parts of what a method returns; of a tuple, the tuple of sums."""
        return add_up(self.map(method, *arguments))

    def tell(self, method, *arguments):
        """Call a method that changes what the parts keep."""
        self.map(method, *arguments)


class Whole(Reductions):
    """All rows as one part, in this process."""

    def __init__(self, part):
        self.part = part

    def map(self, method, *arguments):
        """What a method of the part returns, in a list."""
        return [getattr(self.part, method)(*arguments)]
