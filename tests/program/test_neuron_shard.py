"""Rows of neurons in parts: their sums are those of all rows, and so are the slopes they keep."""

import numpy as np
import pytest

from sklearn_convexnet.bounds.dual import admissible_slopes
from sklearn_convexnet.bounds.search import search_rows
from sklearn_convexnet.core.losses import Hinge, SquaredError
from sklearn_convexnet.core.vector_losses import MultinomialLogLoss, SumOverOutputs
from sklearn_convexnet.program.neuron_shard import (
    BaseNeuronRows,
    NeuronRows,
    NeuronShard,
    smooth_loss,
)
from sklearn_convexnet.program.problem import Design, TrainingProblem
from sklearn_convexnet.solvers.fixed_layer import solve_shared_layer

LOSSES = [SquaredError(), MultinomialLogLoss(), *map(SumOverOutputs, (SquaredError(), Hinge()))]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
each_vector_loss = pytest.mark.parametrize("loss", LOSSES[1:], ids=repr)


class Parts(BaseNeuronRows):
    """Rows in three parts, one of them empty."""

    def __init__(self, problem):
        self.problem, self.n_rows = problem, problem.n_samples
        self.shards = [NeuronShard(part_of(problem, *ends)) for ends in ((0, 9), (9, 9), (9, 30))]

    def map(self, method, *arguments):
        return [getattr(shard, method)(*arguments) for shard in self.shards]

    @property
    def slopes(self):
        return np.concatenate([shard.slopes.values for shard in self.shards])


def part_of(problem, first, last):
    part = slice(first, last)
    design = Design(problem.rows[part], problem.weights[part])
    return TrainingProblem(
        design, problem.y[part], problem.loss, problem.alpha, problem.fit_intercept
    )


def draw(loss, *, intercept=True):
    """A normalised problem, and a network of it."""
    rng = np.random.RandomState(0)
    X, y = rng.standard_normal((30, 2)), rng.standard_normal((30, 3))
    if loss.target == "sign":
        y = np.where(y == y.max(axis=1, keepdims=True), 1.0, -1.0)
    several = not isinstance(loss, SquaredError)
    problem = TrainingProblem.of(
        X, y if several else y[:, 0], loss=loss, alpha=0.05, fit_intercept=intercept,
        sample_weight=rng.uniform(0.5, 2.0, 30),
    ).normalised  # fmt: skip
    shape = (3,) if several else ()
    bias = rng.standard_normal(shape) if intercept else np.zeros(shape)
    d = problem.rows.shape[1]
    return problem, (rng.standard_normal((d, 4)), rng.standard_normal((4, *shape)), bias)


def assert_same(rows, method, *arguments, rtol=1e-10):
    """The sums of both rows are the same."""
    found = [one.total(method, *arguments) for one in rows]
    found = [each if isinstance(each, tuple) else (each,) for each in found]
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-2 * rtol)


@each_loss
def test_sums_over_parts_are_those_of_all_rows(loss):
    problem, network = draw(loss)
    rows = NeuronRows(problem), Parts(problem)
    assert_same(rows, "mean_loss", *network)
    assert_same(rows, "activation_squares", network[0])
    assert_same(rows, "smooth_sums", (0.3, 0.2), np.float64, *network)
    for one in rows:
        one.set_slopes(*network, 0.1)
    assert_same(rows, "conjugate", 1.5, rtol=1e-6)
    points, outputs = network[0], None
    if problem.is_shared:
        assert_same(rows, "gains", points, rtol=1e-6)
        assert_same(rows, "pricing_sums", rtol=1e-6)
        outputs = rows[0].total("gains", points)
    assert_same(rows, "gradients", points, outputs, rtol=1e-6)


@each_loss
@pytest.mark.parametrize("intercept", [False, True])
def test_slopes_of_parts_are_admissible_ones_of_all_rows(loss, intercept):
    problem, network = draw(loss, intercept=intercept)
    parts = Parts(problem)
    parts.set_slopes(*network, 0.1)
    f = NeuronShard(problem).predictions(*network)
    expected = admissible_slopes(problem, smooth_loss(loss, f, problem.y, 0.1)[1])
    np.testing.assert_allclose(parts.slopes, expected, rtol=1e-7, atol=1e-12)
    assert np.isfinite(problem.loss.conjugate(parts.slopes, problem.y)).all()
    if intercept:
        np.testing.assert_allclose(problem.weights @ parts.slopes, 0.0, atol=1e-14)


def test_saturated_slopes_of_parts_are_balanced():
    problem, (directions, outputs, bias) = draw(MultinomialLogLoss())
    parts = Parts(problem)
    # probabilities of zero, which no constant moves
    parts.set_slopes(directions, 1e3 * outputs, bias, 0.0)
    assert np.isfinite(problem.loss.conjugate(parts.slopes, problem.y)).all()
    np.testing.assert_allclose(problem.weights @ parts.slopes, 0.0, atol=1e-14)


@each_vector_loss
def test_search_and_group_lasso_of_parts(loss):
    problem, network = draw(loss)
    found, how = [], {"tol": 1e-3, "max_iter": 500, "record": lambda *_: False, "width": 0.05}
    directions = network[0] / np.linalg.norm(network[0], axis=0)
    for rows in (NeuronRows(problem), Parts(problem)):
        outputs, certified, at, _ = solve_shared_layer(rows, directions, **how)
        assert certified.lower_bound <= certified.upper_bound
        # where the bound is said to come from
        rows.set_slopes(directions, *at)
        np.testing.assert_allclose(certified.solution.slopes, rows.slopes, rtol=1e-9, atol=1e-12)
        dual = search_rows(rows, np.random.RandomState(0), directions, n_starts=10)
        found.append([certified.upper_bound, certified.lower_bound, dual.lower_bound, outputs])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_keys_tell_patterns_apart():
    problem, (directions, *_) = draw(SquaredError())
    directions = np.concatenate([directions, 2.0 * directions, -directions], axis=1)
    patterns = problem.rows @ directions >= 0
    expected = [[(one == other).all() for one in patterns.T] for other in patterns.T]
    for rows in (NeuronRows(problem), Parts(problem)):
        keys = list(zip(*rows.map("pattern_keys", directions), strict=True))
        assert [[one == other for one in keys] for other in keys] == expected
