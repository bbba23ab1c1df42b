"""Workers: order, failures, and calls at the same time."""

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
def test_calls_are_made_at_the_same_time(n_threads):
    together = threading.Barrier(n_threads, timeout=60)
    with Workers(n_threads) as workers:
        workers.map(lambda _: together.wait(), range(n_threads))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("error", [IndexError, ValueError, KeyboardInterrupt])
def test_a_failure_is_raised_and_ends_the_work(error, n_threads):
    done = []

    def call(k):
        if k == 0:
            raise error("this one")
        time.sleep(1e-3)
        done.append(k)

    with Workers(n_threads) as workers:
        with pytest.raises(error, match="this one"):
            workers.map(call, range(1000))
        # the workers are there for more
        assert workers.map(str, [1, 2, 3]) == ["1", "2", "3"]
    assert len(done) < 1000


def test_nothing_to_do():
    with Workers(3) as workers:
        assert workers.map(str, []) == []
    assert ALONE.map(str, []) == []
