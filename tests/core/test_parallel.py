"""Workers: order, failures, and who does the work."""

import threading
import time

import pytest

from sklearn_convexnet.core.parallel import ALONE, Workers


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_results_are_in_the_order_of_the_items(n_threads):
    with Workers(n_threads) as workers:
        for count in (1, 2, 7, 50):
            assert workers.map(lambda k: k * k, range(count)) == [k * k for k in range(count)]
        assert workers.total(lambda k: (k, 1.0), [3, 4, 5]) == (12, 3.0)


@pytest.mark.parametrize("n_threads", [2, 4])
def test_the_asking_thread_is_one_of_the_workers(n_threads):
    together = threading.Barrier(n_threads, timeout=60)

    def meet(_):
        together.wait()
        return threading.get_ident()

    with Workers(n_threads) as workers:
        found = workers.map(meet, range(n_threads))
    assert len(set(found)) == n_threads and threading.get_ident() in found


@pytest.mark.parametrize("error", [IndexError, ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("fails_here", [True, False])
def test_a_failure_is_raised_and_ends_the_work(error, fails_here):
    asking, done = threading.get_ident(), []
    together = threading.Barrier(2, timeout=60)

    def call(k):
        if k < 2:
            # one item for each of the two threads
            together.wait()
            if (threading.get_ident() == asking) == fails_here:
                raise error("this one")
        # the other thread gets its turn
        time.sleep(1e-3)
        done.append(k)

    with Workers(2) as workers:
        with pytest.raises(error, match="this one"):
            workers.map(call, range(10_000))
        assert len(done) < 10_000
        # the workers are there for more
        assert workers.map(str, [1, 2, 3]) == ["1", "2", "3"]


def test_nothing_to_do():
    with Workers(3) as workers:
        assert workers.map(str, []) == []
    assert ALONE.map(str, []) == []
