"""Worst cases: convex leaves, branch and bound, and mixed-integer programs, by brute force."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import brute_minimum, draw_ball, draw_network, draw_queries

from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robustness.branch_and_bound import Incumbents, branch_and_bound
from sklearn_convexnet.robustness.leaves import improve, minimise_leaves
from sklearn_convexnet.robustness.milp import minimise_query
from sklearn_convexnet.robustness.model import Model
from sklearn_convexnet.robustness.queries import build_queries

NORMS = [np.inf, 2, 1]
quick = settings(max_examples=10)
seeds = st.integers(0, 2**31 - 1)


def search(queries, tolerance=1e-8, **options):
    """Bounds from branch and bound and the incumbents, a group for every query."""
    points = np.zeros(queries.radii.shape)
    incumbents = Incumbents(queries.values(points, queries.activations(points)), points)
    bounds = branch_and_bound(
        queries,
        queries.linear_bound()[0],
        np.arange(len(queries)),
        incumbents,
        lambda groups: incumbents.values[groups] - tolerance,
        **options,
    )
    return bounds, incumbents


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("d", "m"), [(1, 4), (3, 2), (2, 12), (5, 30)])
def test_leaves_are_solved_exactly(norm, d, m):
    queries, rng = draw_queries(0, norm=norm, n=6, d=d, m=m, epsilon=1.0)
    gradients = rng.standard_normal((6, d)) * np.array([1, 1, 0.1, 0, 1e-6, 10])[:, None]
    output = np.abs(queries.output)
    slopes, points = minimise_leaves(queries, gradients, output)
    assert np.all((slopes >= 0) & (slopes <= 1))
    assert np.linalg.norm(points, ord=norm, axis=1).max() <= 1
    helping = np.sum(output * np.maximum(queries.activations(points), 0.0), axis=1)
    primal = np.sum(gradients * points, axis=1) + helping
    lines = output * slopes
    dual = np.sum(lines * queries.centre, axis=1) - queries.ball.falls(
        gradients + queries.radii * (lines @ queries.weights.T)
    )
    size = np.abs(gradients).sum(axis=1) + np.sum(output * queries.reach, axis=1)
    assert np.all(dual <= primal + 1e-12)
    np.testing.assert_array_less(primal - dual, 1e-9 * size + 1e-15)


@quick
@given(seed=seeds, norm=st.sampled_from(NORMS), epsilon=st.sampled_from([0.2, 1.0, 4.0]))
def test_enclosures_close(seed, norm, epsilon):
    queries, rng = draw_queries(seed, norm=norm, m=12, epsilon=epsilon)
    bounds, incumbents = search(queries)
    values, points = incumbents.values, incumbents.points
    assert np.linalg.norm(points, ord=norm, axis=1).max() <= 1 + 1e-12
    np.testing.assert_allclose(values, queries.values(points, queries.activations(points)))
    assert np.all(bounds <= values + 1e-12)
    assert np.all(bounds >= values - 1e-7)
    for k in range(len(queries)):
        many = queries.take(np.full(500, k))
        near = draw_ball(rng, (500, 3), norm)
        assert many.values(near, many.activations(near)).min() >= bounds[k]


@pytest.mark.parametrize("norm", NORMS)
def test_worst_cases_are_those_of_brute_force(norm):
    rng = np.random.RandomState(1)
    network, X = draw_network(rng, 3, 5), rng.standard_normal((3, 3))
    perturbation = Perturbation([0.5, 0.0, 1.5], norm)
    centres, radii = perturbation.balls(X)
    directions = np.array([[1.0], [-1.0], [1.0]])
    queries = build_queries(
        Model(network, None), perturbation, centres, radii, np.arange(3), directions
    )
    bounds, incumbents = search(queries)
    for k in range(3):
        exact = brute_minimum(network, directions[k], centres[k], radii[k], norm)
        np.testing.assert_allclose(bounds[k], exact, atol=1e-6)
        if norm != 2:
            bound, point = minimise_query(queries, k)
            assert exact - 3e-6 * queries.sizes()[k] <= bound <= exact
            one = queries.take([k])
            better = improve(one, point[None])
            for found in (point[None], better):
                value = one.values(found, one.activations(found))
                np.testing.assert_allclose(value, exact, atol=1e-5)


@settings(max_examples=5)
@given(seed=seeds, norm=st.sampled_from([np.inf, 1]))
def test_mixed_integer_programs_agree(seed, norm):
    queries, _ = draw_queries(seed, norm=norm, n=2, d=4, m=15, epsilon=1.0)
    bounds, incumbents = search(queries)
    for k in range(2):
        bound, point = minimise_query(queries, k)
        # below by what the solver may be wrong by
        value = incumbents.values[k]
        assert value - 3e-6 * queries.sizes()[k] <= bound <= value
        assert np.linalg.norm(point, ord=norm) <= 1 + 1e-6
        # whether there is a value that is not positive
        for shift in (1e-3, -1e-3):
            shifted = draw_queries(seed, norm=norm, n=2, d=4, m=15, epsilon=1.0)[0]
            shifted.constant[k] -= incumbents.values[k] - shift
            bound, point = minimise_query(shifted, k, decide=True)
            assert (bound > 0) == (shift > 0)
            assert (point is None) == (shift > 0)


def test_improve_never_gets_worse():
    queries, rng = draw_queries(5, n=20, m=20, epsilon=1.0)
    points = draw_ball(rng, (20, 3), np.inf)
    better = improve(queries, points)
    before = queries.values(points, queries.activations(points))
    after = queries.values(better, queries.activations(better))
    assert np.all(after <= before + 1e-8)
    assert np.any(after < before - 0.1)


@pytest.mark.parametrize("limits", [{"max_nodes": 1}, {"deadline": time.perf_counter()}])
def test_bounds_hold_when_stopped(limits):
    queries, _ = draw_queries(2, n=5, m=30, epsilon=1.0)
    exact, incumbents = search(queries)
    bounds, _ = search(queries, **limits)
    assert np.all(bounds <= incumbents.values)
    assert np.all(bounds >= queries.linear_bound()[0])
    assert np.any(bounds < exact - 1e-3)


def test_groups_share_their_incumbent():
    queries, _ = draw_queries(2, n=5, m=15, epsilon=1.0)
    _, alone = search(queries)
    points = np.zeros((1, 3))
    shared = Incumbents(np.array([np.inf]), points)
    groups = np.zeros(5, dtype=int)
    bounds = branch_and_bound(
        queries,
        queries.linear_bound()[0],
        groups,
        shared,
        lambda groups: shared.values[groups] - 1e-8,
    )
    np.testing.assert_allclose(shared.values, alone.values.min(), atol=1e-8)
    np.testing.assert_allclose(bounds.min(), alone.values.min(), atol=1e-7)
    # the others are bounded no further than that
    assert np.any(bounds < alone.values - 0.1)


def test_decided_groups_are_left():
    queries, _ = draw_queries(2, n=5, m=15, epsilon=1.0)
    start = queries.linear_bound()[0]
    incumbents = Incumbents(np.zeros(5), np.zeros((5, 3)))
    bounds = branch_and_bound(
        queries, start, np.arange(5), incumbents, lambda groups: np.full(len(groups), -np.inf)
    )
    np.testing.assert_array_equal(bounds, start)


def test_incumbents_take_the_best_of_each_group():
    incumbents = Incumbents(np.array([1.0, 1.0, 1.0]), np.zeros((3, 1)))
    incumbents.update(
        np.array([2, 0, 2, 0]), np.array([0.5, 3.0, 0.2, 2.0]), np.arange(4.0)[:, None]
    )
    np.testing.assert_array_equal(incumbents.values, [1, 1, 0.2])
    np.testing.assert_array_equal(incumbents.points, [[0], [0], [2]])
