"""One thread for BLAS where more would be slower, also when fits run in several threads."""

import os
import threading
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController


class _Limits:
    """Limits of the process: the last of the concurrent users restores them."""

    def __init__(self):
        self.lock, self.users = threading.Lock(), 0

    def acquire(self, numpy_too):
        """Limit all pools, or scipy's only; returns this user's share of the threads there were."""
        with self.lock:
            if self.users == 0:
                self.pools = ThreadpoolController().select(user_api="blas")
                self.before = self.pools.limit(limits=None)
                counts = [library["num_threads"] for library in self.pools.info()]
                self.available = min(counts, default=1)
            self.users += 1
            paths = [library["filepath"] for library in self.pools.info()]
            if not numpy_too:
                paths = [path for path in paths if "scipy" in os.path.dirname(path)]
            self._take_control()
            self.pools.select(filepath=paths).limit(limits=1)
            return max(1, self.available // self.users)

    def release(self):
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self._take_control()
                self.before.restore_original_limits()
                self._take_control()

    def _take_control(self):
        # threadpoolctl >= 3.8 obeys the first thread that set a limit, and silently no other
        for library in self.pools.lib_controllers:
            if hasattr(library, "clear_controlling_thread"):
                library.clear_controlling_thread(force=True)


_limits = _Limits()


@contextmanager
def one_blas_pool(*, large):
    """Leave BLAS one pool with threads where products are large, else none.

    The wheels of numpy and scipy bring a pool of threads each. Two pools of several threads, used
    in turn, block one another: measured, a small solve takes a hundred times longer. From some
    size on numpy's threads pay off; scipy's share of the work is small, so its pool gives way.

    Yields the number of threads that BLAS would have had, for other work.
    """
    n_threads = _limits.acquire(not large)
    try:
        yield n_threads
    finally:
        _limits.release()
