"""The scenario theorem behind the number of sampled directions, as a test."""

import numpy as np
import pytest

from sklearn_convexnet import SampledProgram, solve


@pytest.mark.slow
def test_one_more_direction_seldom_improves_the_sampled_optimum():
    # N >= (2 / xi) (n + 1 - log psi): with probability 1 - psi over the sample of directions,
    # the probability that one more violates its dual constraint is at most xi
    rng = np.random.RandomState(0)
    n, d, xi, psi = 4, 3, 0.25, 0.1
    N = int(np.ceil(2 / xi * (n + 1 - np.log(psi))))
    X, y, alpha = rng.standard_normal((n, d)), rng.standard_normal(n), 0.02
    fresh = rng.standard_normal((d, 4000))
    fresh /= np.linalg.norm(fresh, axis=0)
    exceeded = []
    for _ in range(60):
        gates = rng.standard_normal((d, N))
        gates = gates[:, np.any(X @ gates > 0, axis=0)]
        program = SampledProgram(X, y, X @ gates >= 0, alpha=alpha, gates=gates)
        result = solve(program, "scp", tol=1e-8)
        multipliers = result.solution.slopes / n
        improving = np.abs(multipliers @ np.maximum(X @ fresh, 0.0)) > alpha * (1 + 1e-6)
        exceeded.append(improving.mean() > xi)
    assert np.mean(exceeded) <= psi
