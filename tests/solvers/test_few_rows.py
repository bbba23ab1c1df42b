"""Few rows, some of them nearly equal: the optimum over all patterns is reached."""

import numpy as np
import pytest
from problems import LOSSES

from sklearn_convexnet.program.losses import get_loss
from sklearn_convexnet.program.patterns import enumerate_gates
from sklearn_convexnet.program.sampled import SampledProgram
from sklearn_convexnet.solvers import solve

TOL = 0.05


def few_rows(seed, loss, *, n=None, d=2, near=None, alpha=None):
    """Arguments of a program: rows `near` one another, with targets that do not care."""
    rng = np.random.RandomState(seed)
    n = rng.randint(3, 9) if n is None else n
    X = np.round(3.0 * rng.standard_normal((n, d)), 2)
    near = 10.0 ** -rng.randint(3, 13) if near is None else near
    for _ in range(1 + n // 4):
        one, other = rng.choice(n, 2, replace=False)
        X[one] = X[other] + near * rng.standard_normal(d)
    y = rng.standard_normal(n)
    if get_loss(loss).target == "sign":
        y = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    return {
        "X": X,
        "y": y,
        "loss": loss,
        "alpha": 10.0 ** rng.uniform(-5, -1) if alpha is None else alpha,
        "sample_weight": 10.0 ** rng.uniform(0, rng.choice([0, 3]), n),
        "fit_intercept": True,
    }


def over_all_patterns(X, **arguments):
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    gates = enumerate_gates(rows, max_patterns=1000)
    return SampledProgram(X, patterns=rows @ gates >= 0, gates=gates, exhaustive=True, **arguments)


@pytest.mark.parametrize("seed", [20, 21, 30])
@pytest.mark.parametrize("loss", LOSSES)
def test_thin_cones_do_not_stop_the_solver(loss, seed):
    # the interior point ends next to a cone between two rows, far from all points in it
    program = over_all_patterns(**few_rows(seed, loss))
    result = solve(program, tol=TOL)
    assert result.status == "optimal" and result.gap <= TOL
    assert result.objective <= result.upper_bound * (1.0 + 1e-9)
