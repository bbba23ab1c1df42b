"""Activation patterns: counts, exactness on degenerate rows, invariances, error messages."""

import itertools
import tracemalloc
from math import comb
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import linprog

from sklearn_convexnet.program import patterns as module
from sklearn_convexnet.program.patterns import (
    activation_patterns,
    check_patterns,
    distinct_patterns,
    draw_gates,
    enumerate_gates,
    realizing_gates,
    sample_gates,
    strict_gates,
)


def small_integers(max_rows, max_columns):
    """Matrices full of coincidences: zero, repeated, opposite, coplanar rows."""
    shape = st.tuples(st.integers(1, max_rows), st.integers(1, max_columns))
    return shape.flatmap(lambda s: arrays(np.int64, s, elements=st.integers(-2, 2)))


def cover(m, r):
    return 2 * sum(comb(m - 1, j) for j in range(r))


def columns(patterns):
    return {column.tobytes() for column in np.asarray(patterns, dtype=bool).T}


def relative_margins(rows, gates):
    rows = rows / np.abs(rows).max()
    rows = rows[rows.any(axis=1)]
    sizes = np.linalg.norm(rows, axis=1)[:, None] * np.linalg.norm(gates, axis=0)
    return (np.abs(rows @ gates) / sizes).min(axis=0)


def largest_margin(rows, signs):
    """max t s.t. signs * rows @ u >= t * |rows|, |u| <= 1, by one plain linear program."""
    n, d = rows.shape
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    result = linprog(
        np.append(np.zeros(d), -1.0),
        A_ub=np.hstack([-signs[:, None] * unit, np.ones((n, 1))]),
        b_ub=np.zeros(n),
        bounds=[(-1, 1)] * d + [(0, None)],
    )
    return -result.fun


def feasible_patterns(rows):
    """Every pattern of non-zero rows that is not all-False, by trying all of them."""
    found = []
    for half in itertools.product([False, True], repeat=len(rows) - 1):
        pattern = np.array([True, *half])
        if largest_margin(rows, 2.0 * pattern - 1.0) > 1e-6:
            found += [pattern, ~pattern]
    return np.array([p for p in found if p.any()]).T


def count_of_cells(rows):
    """Winder's theorem: the sum of (-1)^(|S| - rank S) over the subsets S of the rows."""
    total = 0
    for size in range(len(rows) + 1):
        subsets = [rows[list(s)] for s in itertools.combinations(range(len(rows)), size)]
        ranks = np.linalg.matrix_rank(np.array(subsets)) if size else np.array([0])
        total += ((-1) ** (size - ranks)).sum()
    return total


def normal_rows(n, d, *, shift=0.0, scale=1.0, seed=0):
    """`d` columns, the last one constant."""
    features = shift + scale * np.random.default_rng(seed).standard_normal((n, d - 1))
    return np.column_stack([features, np.ones(n)])


def sample(rows, n_gates, *, intercept=True, seed=0, weights=None):
    if weights is None:
        weights = np.full(len(rows), 1 / len(rows))
    rng = np.random.RandomState(seed)
    return sample_gates(rows, weights, n_gates, rng, intercept=intercept)


# ------------------------------------------------------------------------------------------------
# Patterns and their distinct columns


def test_a_row_on_the_hyperplane_is_active():
    rows = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    patterns = activation_patterns(rows, np.array([[2.0, -1.0], [0.0, -1.0]]))
    assert patterns.dtype == bool
    assert patterns.tolist() == [[True, False], [True, False], [False, True]]


@given(st.tuples(st.integers(1, 20), st.integers(1, 30)).flatmap(lambda s: arrays(bool, s)))
def test_distinct_patterns_are_the_first_of_each_kind(patterns):
    first = {}
    for p, column in enumerate(patterns.T):
        if column.any():
            first.setdefault(column.tobytes(), p)
    indices = distinct_patterns(patterns)
    assert indices.dtype.kind == "i"
    assert indices.tolist() == sorted(first.values())


def test_distinct_patterns_keeps_all_true_and_sees_the_last_row():
    patterns = np.ones((9, 4), dtype=bool)
    patterns[8, 1] = False  # differs in the padded last byte only
    patterns[:, 2] = False
    assert distinct_patterns(patterns).tolist() == [0, 1]
    assert distinct_patterns(np.zeros((9, 0), dtype=bool)).tolist() == []


# ------------------------------------------------------------------------------------------------
# Enumeration


@pytest.mark.parametrize(
    ("n", "r"), [(1, 1), (7, 1), (1, 2), (40, 2), (2, 3), (40, 3), (3, 4), (16, 4), (10, 6)]
)
@pytest.mark.parametrize("through_origin", [True, False])
def test_count_in_general_position_is_covers(n, r, through_origin):
    rows = normal_rows(n, r, shift=100.0)
    if through_origin:
        rows = np.random.default_rng(1).standard_normal((n, r))
    gates = enumerate_gates(rows, max_patterns=cover(n, r))
    patterns = activation_patterns(rows, gates)
    # If some neuron is active everywhere, its opposite is the empty pattern left out.
    assert gates.shape == (r, cover(n, r) - patterns.all(axis=0).any())
    assert len(distinct_patterns(patterns)) == gates.shape[1]
    assert (relative_margins(rows, gates) > 1e-13).all()


def test_many_rows_of_rank_three():
    rows = np.random.default_rng(0).standard_normal((120, 3))
    gates = enumerate_gates(rows, max_patterns=10**5)
    assert gates.shape[1] == cover(120, 3)
    assert (relative_margins(rows, gates) > 1e-9).all()
    assert len(distinct_patterns(activation_patterns(rows, gates))) == gates.shape[1]


@settings(max_examples=15)
@given(small_integers(5, 4))
def test_enumeration_equals_brute_force(rows):
    gates = enumerate_gates(rows, max_patterns=100)
    solid = rows[rows.any(axis=1)]
    if len(solid) == 0:
        assert gates.shape == (rows.shape[1], 0)
        return
    found = activation_patterns(solid, gates)
    assert columns(found) == columns(feasible_patterns(solid))
    assert len(columns(found)) == gates.shape[1]
    assert (relative_margins(solid, gates) > 1e-3).all()


@settings(max_examples=25)
@given(small_integers(10, 5))
def test_enumeration_equals_winders_count(rows):
    solid = rows[rows.any(axis=1)]
    if len(solid) == 0:
        return
    gates = enumerate_gates(rows, max_patterns=10**4)
    patterns = activation_patterns(solid, gates)
    assert gates.shape[1] == count_of_cells(solid) - patterns.all(axis=0).any()
    assert len(distinct_patterns(patterns)) == gates.shape[1]
    assert (relative_margins(solid, gates) > 1e-4).all()


@pytest.mark.parametrize("shift", [0.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize(("side", "d", "half"), [(5, 2, 201), (2, 3, 52), (2, 4, 941)])
def test_grids_are_exact_wherever_they_lie(side, d, half, shift):
    # Full of concurrent hyperplanes, and at a shift of 1e9 they differ by 1e-9 in direction.
    # Known counts: OEIS A114043 (lines through a square grid); 104 and 1882 threshold functions
    # of 3 and 4 boolean variables (A000609).
    grid = np.array(list(itertools.product(range(side), repeat=d)), dtype=float)
    rows = np.column_stack([grid + shift, np.ones(len(grid))])
    gates = enumerate_gates(rows, max_patterns=10**5)
    assert gates.shape[1] == 2 * half - 1
    assert len(distinct_patterns(activation_patterns(rows, gates))) == 2 * half - 1


def test_opposite_patterns_come_together():
    rows = np.random.default_rng(3).standard_normal((15, 3))
    patterns = activation_patterns(rows, enumerate_gates(rows, max_patterns=10**4))
    partial = patterns[:, ~patterns.all(axis=0)]
    assert columns(~partial) == columns(partial)


@pytest.mark.parametrize("factor", [1e150, 1e-150])
def test_enumeration_does_not_depend_on_scales(factor):
    rows = np.random.default_rng(4).standard_normal((12, 3))
    expected = columns(activation_patterns(rows, enumerate_gates(rows, max_patterns=10**4)))
    column, row = np.ones(3), np.ones((12, 1))
    column[1], row[::3] = factor, factor
    for scaled in (rows * factor, rows * column, rows * row):
        gates = enumerate_gates(scaled, max_patterns=10**4)
        assert columns(activation_patterns(scaled, gates)) == expected


@settings(max_examples=15)
@given(small_integers(8, 4), st.integers(0, 1000))
def test_degenerate_rows_stay_so_in_any_units(rows, seed):
    rng = np.random.default_rng(seed)
    powers = rng.integers(-2, 3, (len(rows), 1)) + rng.integers(-100, 101, rows.shape[1])
    expected = enumerate_gates(rows, max_patterns=10**4)
    scaled = rows * 10.0**powers
    gates = enumerate_gates(scaled, max_patterns=10**4)
    assert gates.shape == expected.shape
    assert columns(activation_patterns(scaled, gates)) == columns(
        activation_patterns(rows, expected)
    )


def test_nearly_parallel_rows_are_told_apart():
    rows = np.array([[1.0, 0.0, 0.0], [1.0, 1e-8, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    gates = enumerate_gates(rows, max_patterns=100)
    patterns = activation_patterns(rows, gates)
    assert len(distinct_patterns(patterns)) == gates.shape[1] == count_of_cells(rows) - 1


def test_too_many_patterns_are_refused_with_their_number():
    rows = np.random.default_rng(0).standard_normal((20, 3))
    rows = np.vstack([rows, 2 * rows, -rows, np.zeros((2, 3))])  # still 20 hyperplanes
    assert enumerate_gates(rows, max_patterns=382).shape[1] == 382  # -x excludes all-True
    message = (
        r"patterns='all' would need up to 382 activation patterns for 20 distinct rows of rank 3, "
        r"more than max_patterns=381; use patterns='random', fewer rows or fewer features"
    )
    with pytest.raises(ValueError, match=message):
        enumerate_gates(rows, max_patterns=381)


# ------------------------------------------------------------------------------------------------
# Sampling


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("d", [2, 3, 4])
def test_sampled_patterns_are_among_the_enumerated(d, intercept):
    rows = normal_rows(12, d, shift=3.0)
    if not intercept:
        rows = np.random.default_rng(5).standard_normal((12, d))
    gates = sample(rows, 40, intercept=intercept)
    sampled = activation_patterns(rows, gates)
    everything = activation_patterns(rows, enumerate_gates(rows, max_patterns=10**4))
    assert len(distinct_patterns(sampled)) == gates.shape[1] > 15
    assert columns(sampled) <= columns(everything)


def test_sampling_finds_all_patterns_when_they_are_few():
    rows = normal_rows(4, 3, seed=2)
    gates = sample(rows, 1000)
    assert gates.shape[1] == cover(4, 3) - 1
    assert (relative_margins(rows, gates) > 1e-9).all()


@pytest.mark.parametrize(
    ("rows", "intercept", "n_patterns"),
    [
        (np.array([[3.0, 1.0]]), True, 1),
        (np.array([[3.0, -2.0]]), False, 1),
        (np.array([[1.0], [-2.0], [0.0]]), False, 2),
        (np.array([[7.0, 1.0]] * 5), True, 1),
        (np.array([[0.0, 1.0], [1.0, 1.0]]), True, 3),
        (np.zeros((3, 2)), False, 0),
    ],
)
def test_fewer_gates_than_asked_for(rows, intercept, n_patterns):
    gates = sample(rows, 20, intercept=intercept)
    assert gates.shape == (rows.shape[1], n_patterns)
    assert enumerate_gates(rows, max_patterns=10).shape == gates.shape


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize(
    ("shift", "scale"), [(100, 1), (-1e4, 1), (1e8, 1e9), (1e150, 1e149), (1e-150, 1e-151)]
)
def test_balanced_patterns_wherever_the_data_lie(shift, scale, intercept):
    rows = normal_rows(60, 5, shift=shift, scale=scale)
    if not intercept:
        rows = rows[:, :-1]
    gates = sample(rows, 50, intercept=intercept)
    patterns = activation_patterns(rows, gates)
    assert len(distinct_patterns(patterns)) == gates.shape[1] == 50
    active = patterns.mean(axis=0)
    assert 0.4 < active.mean() < 0.6
    assert ((0.1 < active) & (active < 0.9)).mean() > 0.6


@pytest.mark.parametrize("factor", [1e150, 1e-150, 1e3])
@pytest.mark.parametrize("intercept", [True, False])
def test_sampling_does_not_depend_on_the_unit(factor, intercept):
    rows = normal_rows(30, 4, shift=100.0)
    gates = sample(rows, 25, intercept=intercept)
    assert (relative_margins(rows, gates) > 1e-9).all()
    scaled = sample(rows * factor, 25, intercept=intercept)
    np.testing.assert_allclose(scaled, gates, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(
        activation_patterns(rows * factor, scaled), activation_patterns(rows, gates)
    )
    # One feature in another unit: the same patterns, however far apart the columns are.
    rows[:, 0] *= factor
    np.testing.assert_array_equal(
        activation_patterns(rows, sample(rows, 25, intercept=intercept)),
        activation_patterns(rows * [1 / factor, 1, 1, 1], gates),
    )


@pytest.mark.parametrize("constant", [-1.0, 0.01, 40.0])
def test_the_value_of_the_constant_column_does_not_matter(constant):
    rows = normal_rows(30, 4, shift=100.0)
    expected = activation_patterns(rows, sample(rows, 25))
    rows[:, -1] = constant
    np.testing.assert_array_equal(activation_patterns(rows, sample(rows, 25)), expected)


@pytest.mark.parametrize("intercept", [True, False])
def test_the_order_of_the_rows_does_not_matter(intercept):
    rng = np.random.default_rng(0)
    rows, weights = normal_rows(50, 4, shift=10.0), rng.dirichlet(np.ones(50))
    order = rng.permutation(50)
    gates = sample(rows, 30, intercept=intercept, weights=weights)
    permuted = sample(rows[order], 30, intercept=intercept, weights=weights[order])
    np.testing.assert_allclose(permuted, gates, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("intercept", [False, True])
def test_a_zero_column_gets_no_weight(intercept):
    rows = np.random.RandomState(0).standard_normal((20, 4))
    rows[:, 1] = 0.0
    if intercept:
        rows[:, -1] = 1.0
    gates = draw_gates(rows, np.full(20, 1 / 20), 9, np.random.RandomState(0), intercept=intercept)
    assert not gates[1].any() and gates[[0, 2, 3]].all() and np.isfinite(gates).all()


def test_weights_place_the_hyperplanes():
    # Two far clusters: nearly all of the weight on the first makes its scale the one that counts.
    rows = np.vstack([normal_rows(40, 3), normal_rows(40, 3, shift=1e6)])
    weights = np.repeat([1.0, 1e-18], 40) / 40
    patterns = activation_patterns(rows, sample(rows, 50, weights=weights))
    assert len(distinct_patterns(patterns[:40])) > 40
    patterns = activation_patterns(rows, sample(rows, 50))
    assert len(distinct_patterns(patterns[:40])) < 10


def test_draws_are_reproducible_and_nested():
    rows = normal_rows(50, 4)
    np.testing.assert_array_equal(sample(rows, 60), sample(rows, 60))
    np.testing.assert_allclose(sample(rows, 7), sample(rows, 60)[:, :7], rtol=1e-12)
    assert not np.allclose(sample(rows, 7), sample(rows, 7, seed=1))
    weights = np.full(50, 0.02)
    gates = sample_gates(rows, weights, 7, np.random.default_rng(0), intercept=True)
    assert gates.shape == (4, 7)


@pytest.mark.parametrize("intercept", [True, False])
def test_constant_features_carry_no_hyperplane(intercept):
    rows = normal_rows(30, 4)
    rows[:, 0], rows[:, 1] = 0.0, 5.0
    gates = sample(rows, 20, intercept=intercept)
    assert len(distinct_patterns(activation_patterns(rows, gates))) == gates.shape[1] == 20
    if intercept:
        assert (gates[:2] == 0).all()
        assert (gates[2:] != 0).all()


@pytest.mark.parametrize("shift", [1e10, 1e14])
@pytest.mark.parametrize("intercept", [True, False])
def test_beyond_the_precision_of_a_cut_a_linear_neuron_remains(intercept, shift):
    rows = normal_rows(30, 3, shift=shift)
    if not intercept:
        rows = rows[:, :2]
    patterns = activation_patterns(rows, sample(rows, 20, intercept=intercept))
    assert patterns.shape == (30, 1)
    assert patterns.all()


@settings(max_examples=25)
@given(small_integers(8, 4), st.booleans())
def test_sampled_gates_are_strict_and_distinct(rows, intercept):
    if intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    gates = sample(rows, 30, intercept=intercept)
    solid = rows[rows.any(axis=1)]
    if len(solid) == 0:
        assert gates.shape == (rows.shape[1], 0)
        return
    assert gates.shape[1] >= 1
    assert (relative_margins(solid, gates) > 1e-9).all()
    assert len(distinct_patterns(activation_patterns(solid, gates))) == gates.shape[1]
    everything = enumerate_gates(rows, max_patterns=10**4)
    assert columns(activation_patterns(solid, gates)) <= columns(
        activation_patterns(solid, everything)
    )


# ------------------------------------------------------------------------------------------------
# Gates for given patterns


def test_known_largest_margins():
    rows = np.array([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0], [0.0, 0.0]])
    patterns = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    gates, margins = realizing_gates(rows, patterns)
    # With columns at unit maximum, the directions are e1, e2 and (1/3, 1) / norm. The second
    # pattern is best at u = (1, -t), t = (1/3 - t) / norm. The last one contradicts itself.
    norm = np.hypot(1 / 3, 1.0)
    np.testing.assert_allclose(margins, [1.0, 1 / 3 / (1 + norm), 0.0], atol=1e-9)
    np.testing.assert_array_equal((rows @ gates)[:3, :2] > 0, patterns[:3, :2])


@settings(max_examples=10)
@given(small_integers(4, 3))
def test_realizable_patterns_are_the_enumerated_ones(rows):
    solid = rows[rows.any(axis=1)]
    if len(solid) == 0:
        return
    every = np.array(list(itertools.product([False, True], repeat=len(rows)))).T
    gates, margins = realizing_gates(rows, every)
    every, realised = every[rows.any(axis=1)], margins > 1e-9
    assert (margins[~realised] == 0).all()
    np.testing.assert_array_equal(
        activation_patterns(solid, gates)[:, realised], every[:, realised]
    )
    witnesses = enumerate_gates(rows, max_patterns=100)
    assert columns(every[:, realised & every.any(axis=0)]) == columns(
        activation_patterns(solid, witnesses)
    )


def test_every_cell_is_realised_again_even_the_thinnest():
    rows = normal_rows(14, 3, shift=50.0)
    patterns = activation_patterns(rows, enumerate_gates(rows, max_patterns=1000))
    gates, margins = realizing_gates(rows, patterns)
    assert (margins > 1e-9).all()
    np.testing.assert_array_equal(activation_patterns(rows, gates), patterns)


def test_margins_are_largest_with_many_rows():
    rows = np.random.default_rng(0).standard_normal((3000, 4))
    rows[0] = np.abs(rows).max()  # columns of equal maximum: no scaling between the two programs
    patterns = activation_patterns(rows, np.random.default_rng(1).standard_normal((4, 5)))
    gates, margins = realizing_gates(rows, patterns)
    np.testing.assert_array_equal(activation_patterns(rows, gates), patterns)
    expected = [largest_margin(rows, 2.0 * p - 1.0) for p in patterns.T]
    np.testing.assert_allclose(margins, expected, rtol=1e-5, atol=1e-9)


def test_an_impossible_pattern_of_many_rows():
    rows = normal_rows(500, 3)
    patterns = np.random.default_rng(0).random((500, 3)) < 0.5
    patterns[:, 1] = True
    _, margins = realizing_gates(rows, patterns)
    assert margins[0] == margins[2] == 0.0
    assert margins[1] > 0.1


def test_no_rows_to_realise():
    gates, margins = realizing_gates(np.zeros((2, 3)), np.ones((2, 4), dtype=bool))
    assert gates.shape == (3, 4)
    assert (margins == 0).all()


@pytest.mark.parametrize("factor", [1e150, 1e-150])
def test_realising_does_not_depend_on_the_unit(factor):
    rows = normal_rows(20, 3, shift=5.0)
    patterns = activation_patterns(rows, sample(rows, 10))
    _, expected = realizing_gates(rows, patterns)
    rows[:, 0] *= factor
    gates, margins = realizing_gates(rows, patterns)
    np.testing.assert_allclose(margins, expected, rtol=1e-6)
    np.testing.assert_array_equal(activation_patterns(rows, gates), patterns)


def test_cells_as_thin_as_the_tolerance_of_the_simplex_method():
    rng = np.random.default_rng(7)
    rows = rng.integers(-1, 2, (8, 3)) + 1e-7 * rng.standard_normal((8, 3))
    patterns = activation_patterns(rows, enumerate_gates(rows, max_patterns=100))
    gates, margins = realizing_gates(rows, patterns)
    assert (margins > 1e-9).all()
    np.testing.assert_array_equal(activation_patterns(rows, gates), patterns)


def test_where_the_simplex_method_gives_up(monkeypatch):
    def fails_at_first(*args, method, **kwargs):
        if method == "highs":
            return SimpleNamespace(x=None, message="gave up")
        return linprog(*args, method=method, **kwargs)

    rows = normal_rows(20, 3)
    patterns = activation_patterns(rows, sample(rows, 10))
    _, expected = realizing_gates(rows, patterns)
    monkeypatch.setattr(module, "linprog", fails_at_first)
    gates, margins = realizing_gates(rows, patterns)
    np.testing.assert_allclose(margins, expected, rtol=1e-6)
    np.testing.assert_array_equal(activation_patterns(rows, gates), patterns)


def test_a_breakdown_of_the_solver_is_reported(monkeypatch):
    failed = SimpleNamespace(x=None, message="out of luck")
    monkeypatch.setattr(module, "linprog", lambda *args, **kwargs: failed)
    with pytest.raises(RuntimeError, match="activation pattern failed: out of luck"):
        realizing_gates(np.eye(2), np.ones((2, 1), dtype=bool))


# ------------------------------------------------------------------------------------------------
# Independent gates


def draws(rows, count, *, intercept=False, seed=0, weights=None):
    weights = np.full(len(rows), 1 / len(rows)) if weights is None else weights
    rng = np.random.RandomState(seed)
    return draw_gates(rows, weights, count, rng, intercept=intercept)


@pytest.mark.parametrize("intercept", [False, True])
def test_sampled_gates_are_drawn_ones(intercept):
    rows = normal_rows(15, 3, shift=2.0)
    if intercept:
        rows[:, -1] = 1.0
    gates = draws(rows, 32, intercept=intercept)
    assert gates.shape == (3, 32)
    np.testing.assert_allclose(np.linalg.norm(gates, axis=0), 1.0, rtol=1e-12)
    sampled = sample_gates(
        rows, np.full(15, 1 / 15), 5, np.random.RandomState(0), intercept=intercept
    )
    for gate in sampled.T:
        assert np.isclose(gates.T @ gate, 1.0, rtol=1e-12).any()


def test_draws_depend_on_the_generator_only():
    rows = normal_rows(15, 3, shift=2.0)
    gates = draws(rows, 10)
    np.testing.assert_array_equal(draws(rows, 4), gates[:, :4])
    np.testing.assert_allclose(draws(rows[::-1], 10), gates, rtol=1e-12)
    np.testing.assert_allclose(draws(np.repeat(rows, 3, axis=0), 10), gates, rtol=1e-12)
    assert not np.isclose(draws(rows, 10, seed=1), gates).all(axis=0).any()
    # but for the mean and the size of the rows, where the weights say they are
    weights = np.linspace(1, 50, 15)
    assert not np.allclose(draws(rows, 10, weights=weights / weights.sum()), gates)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("factors", [[1e-6, 1.0, 1.0], [1e9, 1e-9, 1.0], [1e150, 1e150, 1.0]])
def test_draws_do_not_depend_on_units(intercept, factors):
    rows = normal_rows(15, 3, shift=2.0)
    if intercept:
        rows[:, -1] = 1.0
    patterns = activation_patterns(rows, draws(rows, 50, intercept=intercept))
    scaled = rows * factors
    gates = draws(scaled, 50, intercept=intercept)
    np.testing.assert_array_equal(activation_patterns(scaled, gates), patterns)
    np.testing.assert_array_equal(draws(4.0 * rows, 50), draws(rows, 50))


def test_equal_patterns_are_drawn_again():
    rows = np.array([[1.0], [-2.0]])
    gates = draws(rows, 200)
    assert gates.shape == (1, 200)
    # one dimension has two directions, of equal chances
    assert 70 <= (gates > 0).sum() <= 130
    assert draws(rows, 0).shape == (1, 0)


# ------------------------------------------------------------------------------------------------
# Gates off the rows


@given(
    rows=small_integers(8, 3).filter(np.any),
    seed=st.integers(0, 10**6),
    size=st.sampled_from([1e-100, 1.0, 1e100]),
)
@settings(max_examples=25)
def test_strict_gates(rows, seed, size):
    rng = np.random.RandomState(seed)
    rows = rows.astype(float)
    # integer gates touch integer rows often
    gates = np.concatenate(
        [rng.randint(-2, 3, (rows.shape[1], 8)), rng.standard_normal((rows.shape[1], 8))], axis=1
    )
    gates = gates[:, gates.any(axis=0)]
    kept = gates.copy()
    moved, strict = strict_gates(rows, size * gates, np.random.RandomState(0))
    np.testing.assert_array_equal(gates, kept)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=0), 1.0, rtol=1e-12)
    assert strict.all()
    visible = rows[rows.any(axis=1)]
    assert (visible @ moved != 0).all()
    # in units of the rows: their columns are of about the same size here
    assert relative_margins(rows, moved).min() > 1e-10
    units = gates / np.linalg.norm(gates, axis=0)
    off = relative_margins(rows, gates) > 1e-8
    # those that touch nothing keep their direction, and with it their pattern
    np.testing.assert_allclose(moved[:, off], units[:, off], rtol=0, atol=1e-14)
    np.testing.assert_array_equal(
        activation_patterns(rows, moved[:, off]), activation_patterns(rows, gates[:, off])
    )
    # others hardly move, and keep the rows that they do not touch
    assert np.linalg.norm(moved - units, axis=0).max() < 1e-2
    clear = np.abs(visible @ units) > 0.1
    assert ((visible @ moved > 0) == (visible @ units > 0))[clear].all()


def test_strict_gates_between_rows_that_are_all_but_parallel():
    rows = np.array([[1.0, 0.0], [1.0, 1e-13]])
    # there is no room between them: a nudge goes to one side
    moved, strict = strict_gates(rows, np.array([[0.0], [1.0]]), np.random.RandomState(0))
    assert strict.all() and len(set(np.sign(rows @ moved)[:, 0])) == 1
    # opposite rows are touched together, too
    moved, strict = strict_gates(
        np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([[0.0], [1.0]]), np.random.RandomState(0)
    )
    assert strict.all()
    none, strict = strict_gates(rows, np.zeros((2, 0)), np.random.RandomState(0))
    assert none.shape == (2, 0) and strict.shape == (0,)


def test_gates_that_cannot_be_strict_are_named(monkeypatch):
    # as if the rows were so dense that every direction touched one
    monkeypatch.setattr(module, "STRICT_MARGIN", 0.9)
    gates = np.array([[1.0, 1.0], [1.0, 0.0]])
    _, strict = strict_gates(np.eye(2), gates, np.random.RandomState(0))
    assert strict.tolist() == [False, False]
    monkeypatch.setattr(module, "STRICT_MARGIN", 0.7)
    _, strict = strict_gates(np.eye(2), gates, np.random.RandomState(0))
    assert strict.tolist() == [True, False]


# ------------------------------------------------------------------------------------------------
# A user's patterns


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint64, np.float32, float])
def test_check_accepts_zeros_and_ones(dtype):
    patterns = np.asfortranarray(np.array([[0, 1], [1, 1], [0, 0]], dtype=dtype))
    checked = check_patterns(patterns, 3)
    assert checked.dtype == bool
    assert checked.flags.c_contiguous
    np.testing.assert_array_equal(checked, patterns == 1)
    np.testing.assert_array_equal(check_patterns(patterns.tolist(), 3), checked)


@pytest.mark.parametrize("shape", [(3,), (2, 4), (4, 0), (4, 2, 1), ()])
def test_check_names_the_shapes(shape):
    with pytest.raises(ValueError, match=r"patterns has shape \(.*expected .*shape \(4, n_pattern"):
        check_patterns(np.ones(shape, dtype=bool), 4)


@pytest.mark.parametrize(
    ("patterns", "dtype"),
    [([[1, 2]], "int64"), ([[0.5]], "float64"), ([[np.nan]], "float64"), ([["1"]], "<U1")],
)
def test_check_names_the_dtype(patterns, dtype):
    with pytest.raises(ValueError, match=f"dtype {dtype} .*expected a boolean array of shape"):
        check_patterns(patterns, 1)
    with pytest.raises(ValueError, match=f"dtype {dtype} .*expected a boolean array of shape"):
        check_patterns(patterns, 1)


@pytest.mark.parametrize("intercept", [True, False])
def test_memory_for_gates_is_linear_in_the_features(intercept):
    n, d = 10, 4000  # a matrix of the features has 128 MB
    rows = np.random.RandomState(0).standard_normal((n, d))
    rows[:, -1] = 1.0
    tracemalloc.start()
    sample_gates(rows, np.full(n, 1 / n), 5, np.random.RandomState(0), intercept=intercept)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32e6
