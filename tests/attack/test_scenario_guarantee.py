"""What the user guide promises of random directions: how likely one more would help."""

import numpy as np
import pytest
from scipy.stats import binom

from sklearn_convexnet import ConvexReLURegressor

pytestmark = pytest.mark.slow

N_SEEDS = 60
SHARE, RISK = 0.3, 0.1  # the xi and psi of the guide


@pytest.mark.parametrize("formula", ["Markov", "tail"])
@pytest.mark.parametrize("n", [3, 6])
def test_another_direction_helps_as_rarely_as_promised(n, formula):
    counts = {"Markov": (n + 1) / (RISK * SHARE) - 1, "tail": 2 / SHARE * (n + 1 - np.log(RISK))}
    n_directions = int(np.ceil(counts[formula]))
    rng = np.random.RandomState(n)
    # for features of mean 0 and deviation 1 the directions are uniform on the sphere
    X = rng.standard_normal((n, 3))
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    y = rng.standard_normal(n)
    others = rng.standard_normal((3, 20_000))
    others /= np.linalg.norm(others, axis=0)
    alpha, exceeded = 0.02, []
    for seed in range(N_SEEDS):
        model = ConvexReLURegressor(
            alpha=alpha, patterns="random", n_patterns=n_directions, solver="scp", tol=1e-7,
            fit_intercept=False, random_state=seed,
        ).fit(X, y)  # fmt: skip
        slopes = (model.network_(X)[:, 0] - y) / n
        gains = np.abs(slopes @ np.maximum(X @ others, 0.0)) > alpha * (1 + 1e-5)
        exceeded.append(gains.mean() > SHARE)
    # as many as one in ten thousand runs would have at the risk that is promised
    assert sum(exceeded) <= binom.ppf(1 - 1e-4, N_SEEDS, RISK)
