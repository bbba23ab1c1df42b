"""Canonical rows: equal data in any form become the same arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy.sparse import csc_array

from sklearn_convexnet.core.canonical import canonical_rows, scaled_weights
from sklearn_convexnet.core.rows import as_rows

sizes = st.floats(0, allow_infinity=False)
few_values = st.sampled_from([-1.0, -0.0, 0.0, 1.0, 1e300, 5e-324])


@st.composite
def data_sets(draw, max_rows=8):
    """Features, targets, integer weights that are not all zero; many equal rows."""
    n = draw(st.integers(1, max_rows))
    X = draw(arrays(np.float64, (n, draw(st.integers(1, 3))), elements=few_values))
    targets = draw(arrays(np.float64, (n, draw(st.integers(1, 2))), elements=few_values))
    weights = draw(arrays(np.int64, n, elements=st.integers(0, 5)).filter(np.any))
    return X, targets, weights.astype(float)


def canonical(X, targets, weights):
    """The canonical data themselves, to the bit."""
    first, summed = canonical_rows(X, targets, weights)
    return (X[first] + 0.0).tobytes(), (targets[first] + 0.0).tobytes(), summed.tobytes()


@given(data_sets())
def test_every_distinct_row_is_there_once_with_its_share_of_the_weight(data):
    X, targets, weights = data
    first, summed = canonical_rows(X, targets, weights)
    totals = {}
    for row, weight in zip(np.hstack([X, targets]).tolist(), weights, strict=True):
        if weight:
            # -0.0 and 0.0 are equal as keys, too
            totals[tuple(row)] = totals.get(tuple(row), 0.0) + weight
    rows = [tuple(row) for row in np.hstack([X, targets])[first].tolist()]
    assert len(rows) == len(totals)
    assert rows == sorted(rows)
    for row, weight in zip(rows, summed, strict=True):
        assert weight == pytest.approx(totals[row] / weights.sum(), rel=1e-14)
    assert summed.sum() == pytest.approx(1, rel=1e-14)
    assert (weights[first] > 0).all()


@pytest.mark.parametrize("agree", [0, 3, 20, 40])
def test_many_columns_are_sorted_by_as_few_are(agree):
    rng = np.random.RandomState(0)
    X = np.concatenate([np.ones((12, agree)), rng.randint(2, size=(12, 40 - agree))], axis=1)
    targets = rng.choice([-1.0, 1.0], size=(12, 1))
    first, summed = canonical_rows(X, targets, np.ones(12))
    rows = [tuple(row) for row in np.hstack([X, targets]).tolist()]
    assert [rows[k] for k in first] == sorted(set(rows))
    assert_allclose(summed, [rows.count(rows[k]) / 12 for k in first])


@given(data_sets(), st.randoms())
def test_order_does_not_matter(data, random):
    order = list(range(len(data[0])))
    random.shuffle(order)
    assert canonical(*data) == canonical(*(array[order] for array in data))


@given(data_sets())
def test_repetition_equals_weight(data):
    X, targets, weights = data
    repeated = np.repeat(np.arange(len(X)), weights.astype(int))
    ones = np.ones(len(repeated))
    assert canonical(*data) == canonical(X[repeated], targets[repeated], ones)


@given(data_sets(), st.sampled_from([2.0**-1070, 2.0**-1000, 0.25, 3.0, 7.0, 2.0**1000, 1e307]))
def test_weights_have_no_unit(data, unit):
    X, targets, weights = data
    if unit == 1e307:
        # a product that is rounded, of weights whose sum overflows
        _, summed = canonical_rows(X, targets, weights * unit)
        np.testing.assert_allclose(summed, canonical_rows(*data)[1], rtol=1e-15)
    else:
        assert canonical(X, targets, weights * unit) == canonical(*data)


@given(data_sets())
def test_canonical_data_are_their_own(data):
    X, targets, weights = data
    first, summed = canonical_rows(X, targets, weights)
    again, weights_again = canonical_rows(X[first], targets[first], summed)
    np.testing.assert_array_equal(again, np.arange(len(first)))
    np.testing.assert_allclose(weights_again, summed, rtol=1e-14)


def test_arguments_are_left_alone():
    X, targets, weights = np.array([[0.0], [-0.0]]), np.ones((2, 1)), np.array([1.0, 2.0])
    for array in (X, targets, weights):
        array.setflags(write=False)
    first, summed = canonical_rows(X, targets, weights)
    assert len(first) == 1
    assert summed.tolist() == [1.0]
    assert np.signbit(X[1, 0])


def test_weights_that_change_no_digit_count_as_zero():
    X, targets = np.arange(4.0)[:, None], np.zeros((4, 1))
    first, summed = canonical_rows(X, targets, np.array([1.0, 1e-60, 1e-40, 0.0]))
    assert first.tolist() == [0, 2]
    np.testing.assert_allclose(summed, [1.0, 1e-40])
    # of a weight's size only the ratio to the largest matters
    first, _ = canonical_rows(X, targets, np.array([5e-324, 0.0, 5e-324, 0.0]))
    assert first.tolist() == [0, 2]


@given(arrays(np.float64, st.integers(1, 6), elements=sizes).filter(np.any))
def test_scaled_weights_lose_no_digit(weights):
    scaled = scaled_weights(weights)
    assert 0.5 <= scaled.max() < 1
    used = scaled > 0
    assert ((weights > 1e-49 * weights.max()) <= used).all()
    mantissas, _ = np.frexp(weights[used])
    np.testing.assert_array_equal(np.frexp(scaled[used])[0], mantissas)
    np.testing.assert_array_equal(np.argsort(scaled[used]), np.argsort(weights[used]))


@pytest.mark.parametrize("seed", range(50))
def test_sparse_rows_have_the_order_of_dense_ones(seed):
    rng = np.random.RandomState(seed)
    n, d = rng.randint(1, 60), rng.randint(1, 14)
    X = rng.randint(-2, 3, (n, d)) * (rng.random_sample((n, d)) < rng.choice([0.1, 0.3, 0.9]))
    targets, weights = rng.randint(2, size=(n, 2)) * 1.0, rng.randint(1, 3, n) * 1.0
    weights[1::3] = 0.0
    first, summed = canonical_rows(X * 0.5, targets, weights)
    of_sparse, summed_of_sparse = canonical_rows(as_rows(csc_array(X * 0.5)), targets, weights)
    np.testing.assert_array_equal(X[first], X[of_sparse])
    np.testing.assert_array_equal(targets[first], targets[of_sparse])
    np.testing.assert_array_equal(summed, summed_of_sparse)
