"""Long lives: memory over many fits, fits at the same time in threads and in processes."""

import gc
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_backend
from sklearn.base import clone, is_classifier, is_regressor
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    PatternProgram,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
    solve,
)
from sklearn_convexnet.autoencoder.estimators import BaseGatedAutoencoder
from sklearn_convexnet.core.parallel import _limits, one_blas_pool, serial_blas

CONVEX = [
    ConvexReLUClassifier(n_patterns=4, random_state=0),
    ConvexReLURegressor(n_patterns=4, random_state=0),
    RobustConvexReLUClassifier(n_patterns=4, random_state=0),
]
AUTOENCODER = SignAwareGatedSparseAutoencoder(4, max_iter=20, random_state=0)
ALL = [
    *(model.set_params(alpha=0.05) for model in map(clone, CONVEX)),
    ConvexReLURegressor(patterns="random", n_patterns=4, tol=1e-6, random_state=0),
    ConvexReLURegressor(solver="scp", patterns="random", n_patterns=8, random_state=0),
    RobustConvexReLUClassifier(formulation="scp", n_patterns=8, random_state=0),
    RobustConvexReLUClassifier(formulation="cone", epsilon=0.01, n_patterns=2, random_state=0),
    ConvexReLUClassifierCV(
        alphas=[0.2, 0.1], cv=2, patterns="random", n_patterns=4, random_state=0
    ),
    ConvexReLURegressorCV(alphas=[0.2, 0.1], cv=2, patterns="random", n_patterns=4, random_state=0),
    GradientDescentReLUClassifier(n_neurons=5, n_steps=10, random_state=0),
    GatedSparseAutoencoder(4, max_iter=20, random_state=0),
    AUTOENCODER,
]


def fit(model, seed=0, n=20):
    """Fit a copy to a small problem of its kind."""
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, 3))
    y = np.abs(X[:, 0]) + 0.5 * X[:, 1]
    if is_classifier(model):
        return clone(model).fit(X, (y > 0.7).astype(int))
    if is_regressor(model):
        return clone(model).fit(X, y)
    return clone(model).fit(X)


def weights(model):
    if hasattr(model, "components_"):
        return [model.components_, model.encoder_, model.thresholds_, model.gains_]
    bounds = [getattr(model, name, 0.0) for name in ("objective_", "lower_bound_", "alpha_")]
    return [*model.coefs_, *model.intercepts_, *map(np.asarray, bounds)]


def assert_same(ones, others):
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        for a, b in zip(weights(one), weights(other), strict=True):
            np.testing.assert_array_equal(a, b)


def blas_threads():
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["filepath"]: pool["num_threads"] for pool in pools}


@pytest.fixture(scope="module")
def alone():
    return [fit(model) for model in ALL]


# ------------------------------------------------------------------------------------------------
# Memory


TINY = [
    ConvexReLUClassifier(alpha=0.1, n_patterns=4, max_iter=20, tol=5.0, random_state=0),
    ConvexReLURegressor(alpha=0.1, n_patterns=4, max_iter=20, tol=5.0, random_state=0),
    RobustConvexReLUClassifier(alpha=0.1, epsilon=0.5, n_patterns=2, tol=0.5, random_state=0),
    SignAwareGatedSparseAutoencoder(4, max_iter=3, random_state=0),
]


def growth(model, n_fits=4):
    """Objects of Python that a fit leaves behind; the least of seven averages over some fits.

    What libraries remember grows at first, and not for ever.
    """
    held = []
    # what there is already need not be looked through again and again
    gc.freeze()
    for _ in range(8):
        for _ in range(n_fits):
            fit(model, n=10)
        gc.collect()
        held.append(sys.getallocatedblocks())
    gc.unfreeze()
    return np.diff(held).min() / n_fits


@pytest.mark.parametrize("n_fits", [4, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", TINY, ids=lambda model: type(model).__name__)
def test_fits_leave_no_objects_behind(model, n_fits):
    assert growth(model, n_fits) < 5


def test_objects_left_behind_are_seen(monkeypatch):
    left = []
    end = BaseGatedAutoencoder._run
    monkeypatch.setattr(
        BaseGatedAutoencoder, "_run", lambda *a, **k: left.append(a) or end(*a, **k)
    )
    assert growth(TINY[-1]) > 10


# In a process of its own: the memory of other tests comes and goes.
RESIDENT = """
import gc, json, pathlib
from tests.test_reliability import TINY, fit

def resident():
    gc.collect()
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

grown = []
for model in TINY:
    for _ in range(100):
        fit(model, n=10)
    before = resident()
    for _ in range(1000):
        fit(model, n=10)
    grown.append(resident() - before)
print(json.dumps(grown))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_thousand_fits_need_no_more_memory_than_a_hundred():
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT], cwd=root, capture_output=True, text=True, check=True
    )
    # in kB: what libraries keep for themselves, and no kilobyte a fit
    assert max(json.loads(done.stdout.splitlines()[-1])) < 1000


# ------------------------------------------------------------------------------------------------
# Threads and processes


@pytest.mark.parametrize(
    "backend", ["loky", "threading", pytest.param("multiprocessing", marks=pytest.mark.slow)]
)
# of Python 3.12 and 3.13, where multiprocessing forks
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fits_at_the_same_time_equal_those_alone(alone, backend):
    before = blas_threads()
    together = Parallel(n_jobs=2, backend=backend)(delayed(fit)(model) for model in ALL)
    assert_same(alone, together)
    assert blas_threads() == before


@pytest.mark.parametrize(
    "backend",
    [
        "threading",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("loky", "multiprocessing")),
    ],
)
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_outputs_fitted_at_the_same_time_equal_those_alone(backend):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((25, 2))
    for model in ALL[:3]:
        y = np.digitize(X[:, 0], [-0.5, 0.5]) if is_classifier(model) else np.c_[X, X[:, 0] ** 2]
        one = clone(model).fit(X, y)
        assert one.n_outputs_ == 3
        with parallel_backend(backend):
            other = clone(model).set_params(n_jobs=2).fit(X, y)
        assert_same([one], [other])


@pytest.mark.parametrize(
    ("n", "d", "how"),
    [
        (9000, 5, {"alpha": 0.1, "n_patterns": 5, "tol": 0.5}),
        # factorisations
        (720, 30, {"patterns": "random", "n_patterns": 40, "tol": 0.1}),
        (720, 30, {"patterns": "random", "n_patterns": 40, "tol": 1e-2, "solver": "scp"}),
    ],
)
def test_threads_of_blas_do_not_change_a_bit(n, d, how):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = np.abs(X).sum(axis=1) + rng.standard_normal(n)
    fits = []
    for count in (1, 3):
        with threadpool_limits(count, user_api="blas"):
            fits.append(ConvexReLURegressor(**how, random_state=0).fit(X, y))
    assert_same(fits[:1], fits[1:])


def test_a_pool_keeps_the_threads_it_had():
    pools = ThreadpoolController().select(user_api="blas").lib_controllers
    with threadpool_limits(3, user_api="blas"):
        # some are built for one thread
        pools = [one for one in pools if one.get_num_threads() == 3]
        ours = [one for one in pools if "scipy" in Path(one.filepath).parent.name]
        others = [one for one in pools if one not in ours]
        if not ours or not others:
            pytest.skip("numpy and scipy share a pool")
        ours[0].set_num_threads(1)
        with one_blas_pool(large=True) as share:
            assert share == others[0].get_num_threads() == 3


def test_limits_within_limits():
    with threadpool_limits(4, user_api="blas"):
        before = blas_threads()
        if 4 not in before.values():
            pytest.skip("no pool of four threads")
        with serial_blas():
            assert set(blas_threads().values()) == {1}
            # a fit is one user, however many limits it sets
            with one_blas_pool(large=True) as share, ThreadPoolExecutor(1) as pool:
                assert share == 4 and 4 in blas_threads().values()
                other = one_blas_pool(large=False)
                assert pool.submit(other.__enter__).result() == 2
                assert set(blas_threads().values()) == {1}
                pool.submit(other.__exit__, None, None, None).result()
                with one_blas_pool(large=False) as share:
                    assert share == 4 and set(blas_threads().values()) == {1}
                assert 4 in blas_threads().values()
            assert set(blas_threads().values()) == {1}
        assert blas_threads() == before
    assert not _limits.users


def test_threads_that_start_together_do_not_disturb_one_another(alone):
    """On a free-threaded interpreter they run at the same time, on others they take turns."""
    barrier = threading.Barrier(2)

    def run(k):
        barrier.wait()
        # each begins with another estimator
        order = np.roll(np.arange(len(ALL)), -4 * k)
        fits = {i: fit(ALL[i]) for i in order}
        return [fits[i] for i in range(len(ALL))]

    interval = sys.getswitchinterval()
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        sys.setswitchinterval(1e-4)
        try:
            with ThreadPoolExecutor(2) as pool:
                for together in pool.map(run, range(2)):
                    assert_same(alone, together)
        finally:
            sys.setswitchinterval(interval)
        assert blas_threads() == before


def test_errors_among_concurrent_fits_restore_the_threads_of_blas():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((40, 3))
    gates = rng.standard_normal((3, 6))
    program = PatternProgram.from_data(X, X[:, 0], X @ gates >= 0, alpha=0.1, gates=gates)

    def failing(entry):
        raise RuntimeError("enough")

    def run(k):
        if k % 2:
            return fit(ALL[0])
        with pytest.raises(RuntimeError, match="enough"):
            solve(program, tol=1e-8, on_check=failing)
        return None

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with ThreadPoolExecutor(3) as pool:
            fits = [model for model in pool.map(run, range(6)) if model is not None]
        assert blas_threads() == before
    assert_same([fit(ALL[0])] * 3, fits)


def test_ctrl_c_while_the_threads_of_blas_are_limited(monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with monkeypatch.context() as patch:
            patch.setattr(type(_limits), "_take_control", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fit(CONVEX[1])
        # what the interrupt has cut short, the next fit ends
        fit(CONVEX[1])
        assert blas_threads() == before
    assert not _limits.users and _limits.before is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_in_the_middle_of_a_fit_of_another_thread_can_fit():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_limits.lock.acquire).result()
        try:
            child = multiprocessing.get_context("fork").Process(target=fit, args=(CONVEX[1],))
            child.start()
        finally:
            _limits.lock.release()
    child.join(120)
    child.kill()
    assert child.exitcode == 0
