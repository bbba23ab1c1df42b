"""Dense and sparse rows: equal to the last bit where they are read alike, and right where not."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from sklearn_convexnet.core import rows
from sklearn_convexnet.core.rows import (
    as_rows,
    block_size,
    blocks,
    by_column,
    by_row,
    column_maxima,
    dense,
    digest,
    largest,
    largest_singular_value,
    moments,
    multiply,
    portions,
    root_mean_square,
    row_maxima,
    row_norms,
    settled,
    stretches,
    times,
    transposed_times,
    unit_rows,
    weighted_sum,
    with_constant,
)


def draw(seed, n=None, d=None, density=0.4):
    """Dense rows, their weights, and a matrix on either side."""
    rng = np.random.RandomState(seed)
    n = rng.randint(1, 600) if n is None else n
    d = rng.randint(1, 12) if d is None else d
    X = rng.standard_normal((n, d)) * (rng.random_sample((n, d)) < density)
    weights = rng.random_sample(n) + 0.1
    return X, weights / weights.sum(), rng.standard_normal((d, 3)), rng.standard_normal((n, 3))


@pytest.fixture(params=[False, True], ids=["in dense blocks", "as it is"])
def exactly(request, monkeypatch):
    """How the results of sparse rows are compared, as they are read."""
    if not request.param:
        return np.testing.assert_array_equal
    monkeypatch.setattr(rows, "_FEW_COLUMNS", 0)
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    return lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(20))
def test_products_and_statistics(exactly, seed):
    X, weights, right, left = draw(seed)
    X[:, 0] = 3.0 if seed % 2 else X[:, 0]
    sparse = as_rows(scipy.sparse.coo_matrix(X))
    exactly(times(sparse, right), times(X, right))
    exactly(transposed_times(sparse, left), transposed_times(X, left))
    exactly(row_norms(sparse), row_norms(X))
    exactly(dense(unit_rows(sparse), "this"), unit_rows(X))
    for one, other in zip(moments(sparse, weights), moments(X, weights), strict=True):
        exactly(one, other)
    for centred in (False, True):
        exactly(
            root_mean_square(sparse, weights, centred=centred),
            root_mean_square(X, weights, centred=centred),
        )
    if exactly is np.testing.assert_array_equal:
        exactly(largest_singular_value(sparse), largest_singular_value(X))
    np.testing.assert_array_equal(dense(with_constant(sparse), "this"), with_constant(X))
    for function in (column_maxima, row_maxima, largest):
        np.testing.assert_array_equal(function(sparse), function(X))
    halves = by_column(np.divide, by_row(np.multiply, sparse, left[:, 0]), right[:, 0])
    expected = by_column(np.divide, by_row(np.multiply, X, left[:, 0]), right[:, 0])
    np.testing.assert_array_equal(dense(halves, "this"), expected + 0.0)
    assert digest(sparse) == digest(X)
    for part, block in blocks(sparse):
        out = np.empty((block.shape[0], 3))
        multiply(block, right, out)
        exactly(out, X[part] @ right)
        pulled = weighted_sum(block, weights[part], left[part])
        exactly(pulled, (weights[part] * X[part].T) @ left[part])


@given(seed=st.integers(0, 10**6))
def test_dense_rows_against_numpy(seed):
    X, weights, right, left = draw(seed)
    np.testing.assert_allclose(times(X, right), X @ right, atol=1e-13)
    np.testing.assert_allclose(transposed_times(X, left), X.T @ left, atol=1e-12)
    mean = np.average(X, axis=0, weights=weights)
    spread = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    for one, other in zip(moments(X, weights), (mean, spread), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-13)
    assert largest_singular_value(X) == pytest.approx(np.linalg.norm(X, 2), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("signed", [False, True])
def test_bound_on_the_largest_singular_value(monkeypatch, signed):
    X, *_ = draw(0, n=50, d=40, density=0.2)
    X = X if signed else np.abs(X)
    exact = np.linalg.norm(X, 2)
    for name in ("_FEW_COLUMNS", "_FEW_ENTRIES"):
        monkeypatch.setattr(rows, name, 0)
    bound = largest_singular_value(as_rows(scipy.sparse.csr_array(X)))
    assert exact <= bound <= np.linalg.norm(X)
    assert signed or bound <= exact * (1.0 + 1e-6)
    assert largest_singular_value(as_rows(scipy.sparse.csr_array((5, 4)))) == 0.0


def test_constant_columns_of_wide_rows_have_no_spread(monkeypatch):
    X, weights, *_ = draw(3, n=100, d=3)
    X[:, 1] = 1e3
    for name in ("_FEW_COLUMNS", "_FEW_ENTRIES"):
        monkeypatch.setattr(rows, name, 0)
    _, spreads = moments(as_rows(scipy.sparse.csr_array(X)), weights)
    assert spreads[1] <= 1e-12
    assert (spreads[[0, 2]] > 0.1).all()


def test_rows_are_a_copy_of_what_is_sparse():
    X = scipy.sparse.csr_array(np.eye(3))
    found = as_rows(X)
    found.data[:] = 7.0
    np.testing.assert_array_equal(X.toarray(), np.eye(3))
    repeated = scipy.sparse.coo_array(([1.0, 2.0, 0.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert as_rows(repeated).data.tolist() == [3.0]


@pytest.mark.parametrize("density", [0.02, 0.2])
def test_wide_rows_have_the_form_that_suits_their_entries(monkeypatch, density):
    X = scipy.sparse.random_array((30, 2000), density=density, format="csr", random_state=0)
    narrow = X[:, :900]
    for form in (X, X.toarray(), narrow, narrow.toarray()):
        assert settled(form) is form  # few entries
    monkeypatch.setattr(rows, "_FEW_ENTRIES", 0)
    for form in (X, X.toarray()):
        found = settled(form)
        assert scipy.sparse.issparse(found) == (density < 0.1)
        np.testing.assert_array_equal(dense(found, "this"), X.toarray())
    for form in (narrow, narrow.toarray()):
        assert settled(form) is form
    monkeypatch.setattr(rows, "MOST_DENSE_ENTRIES", 1000)
    for form in (X, X.toarray()):
        assert settled(form) is form


def test_no_dense_copy_beyond_the_limit():
    X = as_rows(scipy.sparse.csr_array((10**6, 10**6)))
    with pytest.raises(ValueError, match=r"a fit needs dense rows.*\(1000000, 1000000\)"):
        dense(X, "a fit")


@pytest.mark.parametrize("n", [0, 1, 2, 4095, 4096, 8191, 8192, 20_000, 60_000, 100_001])
def test_stretches_and_blocks_are_the_rows_in_their_order(n):
    X = np.zeros((n, 3))
    found = stretches(X)
    parts = [part for stretch in found for part, _ in blocks(X, stretch)]
    few = portions(n, 10, most=4)
    for pieces in (found, parts, few, [part for part, _ in blocks(X)]):
        covered = np.concatenate([np.arange(n)[piece] for piece in pieces])
        np.testing.assert_array_equal(covered, np.arange(n))
    assert max(part.stop - part.start for part in parts) <= block_size(X)
    # two threads end at the same time
    for pieces in (found, few):
        assert len(pieces) == 1 or len(pieces) % 2 == 0
        sizes = [piece.stop - piece.start for piece in pieces]
        assert max(sizes) - min(sizes) <= 1
    assert len(few) <= 4
