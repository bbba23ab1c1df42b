"""Environment of every test run: here, and not in tests/, so that doctests have it too.

pytest imports this file before any test module, hence before NumPy and SciPy.
"""

import os
from collections import Counter

import pytest

# SciPy reads it once, when imported; without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# The workers of pytest-xdist share the processors: more than one thread of BLAS or OpenMP in each
# would only disturb the others. Tests of threads ask for theirs.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test needs a screen. An environment that has chosen a backend keeps it.
os.environ.setdefault("MPLBACKEND", "Agg")


def pytest_addoption(parser):
    parser.addoption(
        "--every",
        type=int,
        default=1,
        metavar="N",
        help="of the cases of a test run every N-th only; of scikit-learn's checks all",
    )


@pytest.hookimpl(trylast=True)  # after -m and -k: no test that they leave loses all its cases
def pytest_collection_modifyitems(config, items):
    seen, chosen, others = Counter(), [], []
    for item in items:
        test = item.nodeid.partition("[")[0]
        is_check = "::test_sklearn_checks" in test
        taken = is_check or seen[test] % config.getoption("every") == 0
        (chosen if taken else others).append(item)
        seen[test] += 1
    items[:] = chosen
    if others:
        config.hook.pytest_deselected(items=others)
