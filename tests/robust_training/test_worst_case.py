"""Worst cases of losses, their conjugates, and the bounds that any dual point proves by them."""

import numpy as np
import pytest

from sklearn_convexnet import Perturbation
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.robust_training.cone import solve_robust_cone
from sklearn_convexnet.robust_training.robust_bounds import RobustDual, certify_robust
from sklearn_convexnet.robust_training.worst_case import WorstCaseLoss

LOSSES = ["hinge", "log_loss", "squared_hinge", "squared_error"]
losses = pytest.mark.parametrize("name", LOSSES)


@losses
def test_values_are_the_largest_of_the_outputs_within_reach(name):
    rng, loss = np.random.RandomState(0), get_loss(name)
    y = np.sign(rng.standard_normal(20))
    outputs, reach = 2.0 * rng.standard_normal(20), rng.exponential(size=20)
    shifts = np.linspace(-1.0, 1.0, 21)[:, None] * reach
    largest = loss.value(outputs + shifts, y).max(axis=0)
    np.testing.assert_allclose(WorstCaseLoss(loss).value(outputs, reach, y), largest, rtol=1e-14)


@losses
@pytest.mark.parametrize("balanced", [False, True])
def test_conjugates_are_below_and_attained(name, balanced):
    rng, worst = np.random.RandomState(0), WorstCaseLoss(get_loss(name))
    y = np.sign(rng.standard_normal(20))
    slopes = 2.0 * rng.standard_normal((20, 2))
    slopes = worst.admissible(slopes, y, np.full(20, 0.05) if balanced else None)
    assert not balanced or abs(slopes[:, 0].sum()) < 1e-12
    assert (np.abs(slopes[:, 0]) <= slopes[:, 1]).all()
    outputs, reach = 3.0 * rng.standard_normal((500, 20)), 2.0 * rng.exponential(size=(500, 20))
    linear = slopes[:, 0] * outputs + slopes[:, 1] * reach
    gaps = worst.value(outputs, reach, y) + worst.conjugate(slopes, y) - linear
    assert gaps.min() >= -1e-12
    # and, at slopes of the loss, no further
    outputs, reach, step = outputs[0], reach[0] + 0.1, 1e-6
    ends = [worst.value(outputs + h, reach, y) for h in (step, -step)]
    p = (ends[0] - ends[1]) / (2.0 * step)
    ends = [worst.value(outputs, reach + h, y) for h in (step, -step)]
    slopes = worst.admissible(np.stack([p, (ends[0] - ends[1]) / (2.0 * step)], axis=1), y)
    linear = slopes[:, 0] * outputs + slopes[:, 1] * reach
    tight = worst.value(outputs, reach, y) + worst.conjugate(slopes, y) - linear
    np.testing.assert_allclose(tight, 0.0, atol=1e-5)


@losses
@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_any_numbers_are_bounded_from_below(name, norm):
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((15, 2)), np.sign(rng.standard_normal(15))
    result = solve_robust_cone(
        X, y, loss=name, alpha=0.05, perturbation=Perturbation(0.1, norm), n_patterns=3,
        tol=1e-3, random_state=0,
    )  # fmt: skip
    program = result.program.normalised
    optimum = certify_robust(program, *_at(result, program)).upper_bound
    d, P = program.clean.gates.shape
    for size in (1e-2, 1.0, 1e2):
        for _ in range(5):
            point = RobustDual(
                *(
                    size * rng.standard_normal(s)
                    for s in ((15, 2), (15, d), (15, 2 * P), (2 * P, d))
                )
            )
            blocks = size * rng.standard_normal((2, d, P))
            certified = certify_robust(program, blocks, 0.3, point)
            assert 0.0 <= certified.lower_bound <= optimum * (1.0 + 1e-12)
            assert certified.upper_bound >= optimum * (1.0 - 1e-3)


def _at(result, program):
    """The solution of a result in the units of its normalised program, and no dual point."""
    units, point = result.program.clean.problem.natural_units, result.solution
    blocks = np.stack([point.v, point.w]) / units.block
    slopes = np.zeros(len(program.clean.y))
    return blocks, point.bias / units.target, RobustDual.constant(program, slopes)
