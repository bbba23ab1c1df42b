"""Some of the random problems of benchmarks/soak.py, which draws and checks them for hours."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_random_problem(seed, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from soak import Run

    Run(seed)()
