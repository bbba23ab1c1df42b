"""One thread for BLAS where more would be slower, also when fits run in several threads."""

import os
import threading
from contextlib import contextmanager
from functools import cached_property

from threadpoolctl import ThreadpoolController


class _Limits:
    """Limits of the process: the last of the concurrent users restores them."""

    def __init__(self):
        self.reset()

    def reset(self):
        """Forget all users."""
        self.lock, self.users, self.before = threading.Lock(), set(), None

    @cached_property
    def pools(self):
        """Those of BLAS: numpy and scipy have loaded theirs by now, and to search takes long."""
        return ThreadpoolController().select(user_api="blas")

    def acquire(self, user, numpy_too):
        """Limit all pools, or scipy's only; returns this user's share of the threads there were."""
        with self.lock:
            libraries = self.pools.lib_controllers
            if self.before is None:
                self.before = self.pools.limit(limits=None)
                self.available = min((one.get_num_threads() for one in libraries), default=1)
            self.users.add(user)
            paths = [one.filepath for one in libraries]
            if not numpy_too:
                paths = [path for path in paths if "scipy" in os.path.dirname(path)]
            self._take_control()
            self.pools.select(filepath=paths).limit(limits=1)
            return max(1, self.available // len(self.users))

    def release(self, user):
        """Undo it, also where Ctrl-C has come in between; the next user ends what it cuts short."""
        with self.lock:
            self.users.discard(user)
            if not self.users and self.before is not None:
                self._take_control()
                self.before.restore_original_limits()
                self._take_control()
                self.before = None

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
    in turn, block one another: measured, a small solve takes a hundred times longer. From some
    size on numpy's threads pay off; scipy's share of the work is small, so its pool gives way.

    Yields the number of threads that BLAS would have had, for other work.
    """
    user = object()
    try:
        yield _limits.acquire(user, not large)
    finally:
        _limits.release(user)
