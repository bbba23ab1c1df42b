"""The training problem: its rows, what is computed of them alone, and its normalised form."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.core.rows import root_mean_square
from sklearn_convexnet.program.problem import Design, TrainingProblem
from sklearn_convexnet.program.units import Solution


def draw_design(n=7, d=3, seed=0, scale=1.0, zero_rows=()):
    rng = np.random.RandomState(seed)
    rows = scale * rng.standard_normal((n, d))
    rows[list(zero_rows)] = 0.0
    weights = rng.uniform(0.1, 1, n)
    return Design(rows, weights / weights.sum())


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 3)),
        elements=st.floats(-1e100, 1e100, allow_subnormal=False),
    ),
    st.integers(0, 99),
)
def test_root_mean_square(values, seed):
    weights = np.random.RandomState(seed).uniform(0.1, 1, len(values))
    weights /= weights.sum()
    result = root_mean_square(values, weights)
    assert result == pytest.approx(
        np.sqrt(weights @ np.mean(values**2, axis=1)), rel=1e-12, abs=1e-150
    )
    assert root_mean_square(values[:, 0], weights) == pytest.approx(
        np.sqrt(weights @ values[:, 0] ** 2), rel=1e-12, abs=1e-150
    )
    assert 0 <= result <= np.abs(values).max() * (1 + 1e-14)
    # one row of weight two is two rows
    twice = np.append(weights, weights[:1]) / (1 + weights[0])
    weights[0] *= 2
    assert root_mean_square(np.r_[values, values[:1]], twice) == pytest.approx(
        root_mean_square(values, weights / weights.sum()), rel=1e-12, abs=1e-150
    )


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1.0, 1e160, 1e300])
def test_root_mean_square_at_any_size(scale):
    values, weights = scale * np.array([[3.0, -4.0], [0.0, 0.0]]), np.array([0.5, 0.5])
    assert root_mean_square(values, weights) == pytest.approx(2.5 * scale)


def test_rows_of_zeros_bound_no_cone():
    design = draw_design(zero_rows=[1, 4])
    np.testing.assert_array_equal(np.flatnonzero(~design.visible), [1, 4])
    np.testing.assert_array_equal(design.cone_rows, design.rows[design.visible])
    normalised = design.normalised
    np.testing.assert_array_equal(normalised.visible, design.visible)
    np.testing.assert_array_equal(normalised.cone_rows, normalised.rows[normalised.visible])
    # all visible: nothing is copied
    plain = draw_design()
    assert plain.cone_rows is plain.rows


@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize(("n", "d"), [(7, 3), (1, 1), (4, 4)])
def test_normalised_rows_have_size_one(n, d, scale):
    design = draw_design(n, d, scale=scale)
    design.cone_rows  # noqa: B018 - must not leak into the other
    normalised = design.normalised
    assert normalised.row_scale == pytest.approx(1)
    assert design.row_scale / scale == pytest.approx(1, abs=0.9)
    np.testing.assert_allclose(normalised.rows * design.row_scale, design.rows)
    assert normalised.basis is None
    assert normalised.weights is design.weights
    np.testing.assert_array_equal(normalised.cone_rows, normalised.rows)
    # computed once
    assert design.normalised is normalised


@given(
    n=st.integers(1, 5), extra=st.integers(1, 6), rank=st.integers(1, 5), seed=st.integers(0, 999)
)
def test_wide_rows_are_given_coordinates_in_their_span(n, extra, rank, seed):
    d, rank = n + extra, min(n, rank)
    rng = np.random.RandomState(seed)
    rows = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    gates = rng.standard_normal((d, 4))
    design = Design(rows, np.full(n, 1 / n))
    normalised = design.normalised
    basis = normalised.basis
    assert basis.shape == (d, rank)
    assert normalised.rows.shape == (n, rank)
    np.testing.assert_allclose(basis.T @ basis, np.eye(rank), atol=1e-12)
    np.testing.assert_allclose(
        design.row_scale * normalised.rows @ basis.T, rows, atol=1e-10 * np.abs(rows).max()
    )
    # products, hence cones, and norms of blocks in the span are kept
    blocks = rng.standard_normal((rank, 2))
    np.testing.assert_allclose(
        rows @ (basis @ blocks), design.row_scale * normalised.rows @ blocks, atol=1e-9
    )
    np.testing.assert_allclose(
        np.linalg.norm(basis @ blocks, axis=0), np.linalg.norm(blocks, axis=0)
    )
    coordinates = normalised.coordinates(gates)
    np.testing.assert_allclose(
        rows @ gates, design.row_scale * normalised.rows @ coordinates, atol=1e-9
    )
    np.testing.assert_allclose(
        normalised.coordinates(normalised.directions(coordinates)), coordinates, atol=1e-12
    )


@pytest.mark.parametrize("fill", [0.0, 1e-160, 1e-320])
def test_rows_too_small_to_square_keep_their_size(fill):
    design = Design(np.full((3, 2), fill), np.full(3, 1 / 3))
    assert design.row_scale == 1.0
    np.testing.assert_array_equal(design.normalised.rows, design.rows)


def test_rows_of_zeros_stay_zero_in_fewer_coordinates():
    normalised = draw_design(n=5, d=8, zero_rows=(0, 3)).normalised
    assert normalised.rows.shape[1] <= 5
    np.testing.assert_array_equal(normalised.rows[[0, 3]], 0.0)
    assert not normalised.visible[[0, 3]].any() and normalised.visible[[1, 2, 4]].all()


def test_single_precision_only_where_it_resolves_the_rows():
    rng = np.random.RandomState(0)
    rows = np.column_stack([rng.standard_normal((50, 2)), np.ones(50)])

    def precision(offset, factor=1.0):
        moved = [factor, 1.0, 1.0] * rows + [offset, 0.0, 0.0]
        return Design(moved, np.full(50, 0.02)).normalised.precision

    assert precision(0.0) == precision(100.0) == np.float32
    assert precision(1e5) == precision(-1e5) == np.float64
    assert precision(0.0, 0.1) == np.float32
    assert precision(0.0, 1e-5) == precision(0.0, 1e5) == np.float64


def draw_problem(loss="squared_error", **arguments):
    design = draw_design(**arguments)
    y = np.sign(design.rows[:, 0]) if get_loss(loss).target == "sign" else 3.0 * design.rows[:, 0]
    return TrainingProblem(design, y, get_loss(loss), 0.1, False)


@pytest.mark.parametrize("shape", [{"n": 7, "d": 3}, {"n": 4, "d": 9}], ids=str)
@pytest.mark.parametrize("loss", ["squared_error", "quantile", "huber", "hinge"])
def test_the_way_to_normalised_units_and_back(loss, shape):
    problem = draw_problem(loss, scale=1e3, **shape)
    normalised = problem.normalised
    rng = np.random.RandomState(0)
    hidden = normalised.design.directions(rng.standard_normal((normalised.rows.shape[1], 5)))
    network = TwoLayerReLU(hidden, np.zeros(5), rng.standard_normal((5, 1)), np.zeros(1))
    neurons = normalised.neurons(network)
    again = normalised.user_network(*neurons)
    np.testing.assert_allclose(again(problem.X), network(problem.X), rtol=1e-9)
    # balanced in either units, and the objectives are in proportion
    directions, outputs, bias = neurons
    balanced = normalised.network_objective(
        TwoLayerReLU(directions, np.zeros(5), outputs[:, None], np.array([bias]))
    )
    assert normalised.units.objective * balanced == pytest.approx(problem.network_objective(again))
    slopes = problem.loss.derivative(network(problem.X)[:, 0], problem.y)
    point = Solution(hidden, 0.5 * hidden, 0.2, slopes)
    back = normalised.to_user(normalised.from_user(point))
    for name in ("v", "w", "bias", "slopes"):
        np.testing.assert_allclose(getattr(back, name), getattr(point, name), rtol=1e-9)


def test_a_problem_is_a_value():
    problem = draw_problem()
    with pytest.raises(FrozenInstanceError):
        problem.alpha = 1.0
    other = replace(problem, alpha=1.0)
    assert (problem.alpha, other.alpha) == (0.1, 1.0)
    # what is computed of the rows alone is computed once
    assert other.normalised.design is problem.normalised.design
    assert other.normalised.alpha == pytest.approx(10.0 * problem.normalised.alpha)


def test_coordinates_are_kept_where_radii_belong_to_features():
    problem = draw_problem(n=4, d=9)
    scaled = problem.scaled
    assert scaled.design.basis is None and problem.normalised.rows.shape[1] <= 4
    np.testing.assert_allclose(scaled.units.row * scaled.rows, problem.rows, rtol=1e-14)
