"""Networks of decreasing penalties: near the optimum where there is time, constant at the start."""

import numpy as np
import pytest

from sklearn_convexnet import ConvexReLURegressor, alpha_max
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.core.vector_losses import MultinomialLogLoss, SumOverOutputs
from sklearn_convexnet.program.problem import TrainingProblem
from sklearn_convexnet.selection.descents import descended_networks

LOSSES = ["squared_error", "absolute_error", "huber", "quantile", "log_loss", "hinge"]


def problem(loss="squared_error", n=60, n_outputs=None, fit_intercept=True):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, 3))
    F = np.maximum(X @ rng.standard_normal((3, 4)), 0.0) @ rng.standard_normal((4, n_outputs or 1))
    loss = get_loss(loss) if isinstance(loss, str) else loss
    if loss.target == "sign":
        F = np.where(F > np.median(F, axis=0), 1.0, -1.0)
    if isinstance(loss, MultinomialLogLoss):
        F = 2.0 * (np.arange(n)[:, None] % n_outputs == np.arange(n_outputs)) - 1.0
    y = F if n_outputs else F[:, 0]
    return TrainingProblem.of(X, y, loss=loss, alpha=1.0, fit_intercept=fit_intercept)


def objective(problem, network, alpha):
    return network.objective(
        problem.X, problem.y, loss=problem.loss, alpha=alpha, weights=problem.weights
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_smaller_penalties_fit_better(loss):
    data = problem(loss)
    losses = [
        objective(data, network, 1e-300)
        for network in descended_networks(data, [1.0, 0.1, 0.01, 0.001], 0)
    ]
    assert np.all(np.diff(losses) <= 1e-9)
    assert losses[-1] < 0.5 * losses[0]


def test_the_networks_are_near_the_optimum():
    data = problem()
    for alpha in (0.3, 0.03):
        (network,) = descended_networks(data, [alpha], 0)
        model = ConvexReLURegressor(alpha=alpha, tol=1e-3, random_state=0).fit(data.X, data.y)
        # a single penalty is walked to by steps
        assert objective(data, network, alpha) <= 1.02 * model.objective_


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(
    ("loss", "n_outputs"),
    [("squared_error", None), (SumOverOutputs(get_loss("hinge")), 2), (MultinomialLogLoss(), 3)],
)
def test_large_penalties_give_the_constant(loss, n_outputs, fit_intercept):
    data = problem(loss, n_outputs=n_outputs, fit_intercept=fit_intercept)
    network, other = descended_networks(data, [1e3, 1e-2], 0)
    assert network.n_neurons == 0
    assert other.n_neurons > 0
    if n_outputs is None and fit_intercept:
        largest = alpha_max(data.X, data.y, random_state=0)
        assert next(descended_networks(data, [0.95 * largest], 0)).n_neurons > 0


def test_units_hardly_matter():
    data, unit = problem(), 1e6
    scaled = TrainingProblem.of(
        data.X, unit * data.y, loss=data.loss, alpha=1.0, fit_intercept=True
    )
    (one,), (other,) = (
        descended_networks(data, [0.1], 0),
        descended_networks(scaled, [0.1 * unit], 0),
    )
    # the last bits of the steps between differ
    expected = unit**2 * objective(data, one, 0.1)
    assert objective(scaled, other, 0.1 * unit) == pytest.approx(expected, rel=0.02)


def test_no_penalty_is_so_small_that_the_walk_takes_long():
    data = problem(n=30)
    (network,) = descended_networks(data, [1e-290], 0)
    # some twenty neurons join at a step
    assert network.n_neurons <= 240
    assert np.isfinite(network(data.X)).all()
