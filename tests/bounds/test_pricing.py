"""Pricing: ascents climb, what they report is so, and many of them find the best neuron."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import draw_program, exhaustive_program

from sklearn_convexnet.bounds import pricing
from sklearn_convexnet.bounds.dual import dual_norms
from sklearn_convexnet.bounds.pricing import Priced, ascend, distinct, price
from sklearn_convexnet.core.parallel import Workers
from sklearn_convexnet.program.pattern_program import PatternProgram

seeds = st.integers(0, 10**6)


def draw(seed, n=15, d=3, count=20):
    rng = np.random.RandomState(seed)
    return (
        rng.standard_normal((n, d)),
        rng.standard_normal(n),
        rng.standard_normal((d, count)) * 10.0 ** rng.uniform(-3, 3, count),
    )


@settings(max_examples=15)
@given(seed=seeds, d=st.integers(1, 5), rounded=st.booleans())
def test_ascents_climb(seed, d, rounded):
    rows, multipliers, starts = draw(seed, d=d)
    if rounded:
        rows, multipliers = np.round(rows), np.round(multipliers)
    kept = starts.copy()
    last = np.full(starts.shape[1], -np.inf)
    for max_iter in (1, 2, 3, 5, 10, 30, 100):
        values, directions, _ = ascend(rows, multipliers, starts, max_iter=max_iter)
        # a longer run repeats a shorter one, then goes on
        assert (values >= last).all()
        last = values
        np.testing.assert_allclose(
            values, multipliers @ np.maximum(rows @ directions, 0.0), rtol=0, atol=1e-12
        )
        norms = np.linalg.norm(directions, axis=0)
        # a direction may be lost where nothing is above zero
        assert (np.isclose(norms, 1.0, rtol=1e-12) | (values <= 0.0)).all()
        if max_iter == 1:
            start = multipliers @ np.maximum(rows @ (starts / np.linalg.norm(starts, axis=0)), 0.0)
            np.testing.assert_allclose(values, start, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(starts, kept)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_do_not_change_a_bit(dtype):
    rows, multipliers, starts = draw(0, n=15_000)
    found = []
    for n_threads in (1, 2, 3):
        with Workers(n_threads) as workers:
            found.append(
                ascend(rows, multipliers, starts, max_iter=9, dtype=dtype, workers=workers)
            )
    for values, directions, _ in found:
        np.testing.assert_array_equal(values, found[0][0])
        np.testing.assert_array_equal(directions, found[0][1])
        # exact, whatever the precision of the ascents
        exact = multipliers @ np.maximum(rows @ directions, 0.0)
        np.testing.assert_allclose(values, exact, rtol=0, atol=1e-10)


@settings(max_examples=8)
@given(seed=seeds)
def test_long_ascents_end_at_local_maxima(seed):
    rows, multipliers, starts = draw(seed, d=2)
    values, directions, _ = ascend(rows, multipliers, starts, max_iter=300)
    # in the plane the neighbours are on both sides
    for angle in (1e-3, -1e-3):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        beside = multipliers @ np.maximum(rows @ (turn @ directions), 0.0)
        positive = values > 0.0
        assert (beside <= values + 1e-6)[positive].all()


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
@pytest.mark.parametrize("seed", range(4))
def test_many_starts_find_the_best_neuron_and_no_better(intercept, loss, seed):
    program = exhaustive_program(seed, loss=loss, alpha=0.01, intercept=intercept)
    rng = np.random.RandomState(seed)
    slopes = rng.standard_normal(program.n_samples)
    norms = dual_norms(program, slopes, exact_above=0.0)
    starts = rng.standard_normal((program.rows.shape[1], 300))
    priced = price(program.problem, slopes, starts, max_iter=100)
    # every pattern is in the program: nothing is above its norms
    assert priced.largest <= norms.max() * (1 + 1e-10)
    # an ascent ends a little early where the maximum is at a kink
    assert priced.largest >= norms.max() * (1 - 2e-4)
    # and so for each sign, v before w
    for sign, of_sign in zip((1.0, -1.0), np.split(norms, 2), strict=True):
        found = priced.values[priced.outputs == sign].max()
        assert found <= of_sign.max() * (1 + 1e-10) + 1e-15
    assert price(program.problem, slopes, starts[:, :3]).largest <= norms.max() * (1 + 1e-10)


@settings(max_examples=10)
@given(seed=seeds)
def test_priced_directions_are_sorted_and_have_their_values(seed):
    program = draw_program(seed)
    rng = np.random.RandomState(seed)
    slopes = rng.standard_normal(program.n_samples)
    priced = price(program.problem, slopes, rng.standard_normal((4, 10)))
    assert priced.values.shape == priced.outputs.shape == (20,)
    assert priced.directions.shape == (4, 20)
    assert (np.diff(priced.values) <= 0).all() and (priced.outputs == 1.0).sum() == 10
    multipliers = -program.weights * slopes
    values = multipliers @ np.maximum(program.rows @ priced.directions, 0.0)
    np.testing.assert_allclose(priced.outputs * values, priced.values, rtol=0, atol=1e-12)
    assert priced.largest == max(priced.values[0], 0.0)


def test_a_neuron_that_is_found_lowers_the_objective():
    program = draw_program(3, alpha=0.01)
    slopes = program.loss.derivative(np.zeros(program.n_samples), program.y)
    priced = price(program.problem, slopes, program.gates)
    hidden = np.maximum(program.rows @ priced.directions[:, 0], 0.0)
    for size in (1e-3, 1e-6):
        values = [
            program.weights @ program.loss.value(a * priced.outputs[0] * hidden, program.y)
            for a in (0.0, size)
        ]
        gain = (values[0] - values[1]) / size
        assert gain == pytest.approx(priced.values[0], rel=10 * size)


@settings(max_examples=15)
@given(seed=seeds, most=st.integers(0, 6), share=st.floats(-1.0, 1.2))
def test_distinct_directions(seed, most, share):
    program = draw_program(seed, n=12, d=2)
    rng = np.random.RandomState(seed)
    priced = price(
        program.problem,
        rng.standard_normal(program.n_samples),
        rng.standard_normal((3, 30)),
        max_iter=2,
    )
    above = share * priced.largest
    chosen = distinct(program.problem, priced, above=above, most=most)
    assert chosen.dtype == int and len(set(chosen)) == len(chosen)
    assert (priced.values[chosen] > above).all()
    patterns = program.rows @ priced.directions >= 0
    for sign in (1.0, -1.0):
        of_sign = chosen[priced.outputs[chosen] == sign]
        assert len(of_sign) <= most
        # the best first, and each unlike those before
        assert (np.diff(of_sign) > 0).all()
        wanted = np.flatnonzero((priced.outputs == sign) & (priced.values > above))
        apart = program.weights @ (patterns[:, wanted, None] != patterns[:, None, of_sign]).reshape(
            program.n_samples, -1
        )
        apart = apart.reshape(len(wanted), len(of_sign))
        among = apart[np.isin(wanted, of_sign)]
        assert (among[~np.eye(len(of_sign), dtype=bool)] > 0.01).all()
        if most > 0 and wanted.size:
            assert of_sign[0] == wanted[0]
            # one is left out for a reason: there are enough, or it is like a better one
            if len(of_sign) < most:
                assert (apart.min(axis=1) <= 0.01).all()


def test_many_rows_are_told_apart_by_some(monkeypatch):
    program = draw_program(5, n=41, d=2)
    rng = np.random.RandomState(0)
    priced = price(
        program.problem, rng.standard_normal(41), rng.standard_normal((3, 40)), max_iter=1
    )
    some = PatternProgram.from_data(
        program.rows[::3], program.y[::3], program.patterns[::3], gates=program.gates, alpha=0.1,
        sample_weight=program.weights[::3],
    )  # fmt: skip
    expected = distinct(some, priced, above=0.0, most=30)
    everything = distinct(program.problem, priced, above=0.0, most=30)
    monkeypatch.setattr(pricing, "_TELLING", 14)
    found = distinct(program.problem, priced, above=0.0, most=30)
    np.testing.assert_array_equal(found, expected)
    assert 0 < len(found) < len(everything)


def test_equal_patterns_of_opposite_signs_are_distinct():
    program = draw_program(1)
    direction = program.gates[:, [0]]
    twice = Priced(np.array([3.0, 2.0, 1.0]), np.tile(direction, 3), np.array([-1.0, 1.0, -1.0]))
    chosen = distinct(program.problem, twice, above=0.0, most=5)
    assert sorted(chosen) == [0, 1]


def test_rows_of_zeros_have_no_price():
    program = draw_program(2, intercept=False)
    n, d = program.rows.shape
    slopes = np.random.RandomState(0).standard_normal(n)
    starts = np.random.RandomState(1).standard_normal((d, 10))
    padded = PatternProgram.from_data(
        np.concatenate([program.rows, np.zeros((3, d))]),
        np.append(program.y, np.ones(3)),
        np.concatenate([program.patterns, np.ones((3, program.n_patterns), dtype=bool)]),
        alpha=program.alpha,
        sample_weight=np.append(program.weights, np.full(3, 1.0 / 3)),
        gates=program.gates,
    )
    expected = price(program.problem, 0.5 * slopes, starts)
    priced = price(padded.problem, np.append(slopes, [5.0, -7.0, 0.0]), starts)
    np.testing.assert_allclose(priced.values, expected.values, rtol=1e-12, atol=1e-14)


def test_nothing_is_gained_without_multipliers():
    program = draw_program(2)
    priced = price(program.problem, np.zeros(program.n_samples), program.gates)
    assert priced.largest == 0.0 and not priced.values.any()
    assert distinct(program.problem, priced, above=0.0, most=3).size == 0
    # nor where there is nowhere to start, or only zero to start from
    assert price(program.problem, np.ones(program.n_samples), program.gates[:, :0]).largest == 0.0
    slopes = program.loss.derivative(np.zeros(program.n_samples), program.y)
    from_zero = price(program.problem, slopes, np.zeros((4, 1)))
    assert np.isfinite(from_zero.directions).all() and np.isfinite(from_zero.values).all()


@settings(max_examples=8)
@given(seed=seeds)
def test_single_precision_finds_about_the_same(seed):
    rows, multipliers, starts = draw(seed, d=4)
    kept = starts.copy()
    expected, *_ = ascend(rows, multipliers, starts, max_iter=30)
    values, directions, _ = ascend(rows, multipliers, starts, max_iter=30, dtype=np.float32)
    assert values.dtype == directions.dtype == np.float64
    # the values are those of the directions, to double precision
    np.testing.assert_allclose(
        values, multipliers @ np.maximum(rows @ directions, 0.0), rtol=0, atol=1e-12
    )
    found = np.linalg.norm(directions, axis=0) > 0
    np.testing.assert_allclose(np.linalg.norm(directions[:, found], axis=0), 1.0, rtol=1e-12)
    assert values.max() >= 0.99 * expected.max()
    np.testing.assert_array_equal(starts, kept)
