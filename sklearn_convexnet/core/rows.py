"""Rows of data, dense or sparse: the products and statistics that the package takes of them.

Rows are a C-contiguous array, or a CSR array without explicit zeros and duplicates (`as_rows`).
Both are read in the same blocks. A sparse block with few columns is made dense on the way: then a
sparse matrix gives the same numbers as its dense form, to the last bit, which is how fits that
amplify rounding agree. A wider one is multiplied as it is, at a cost of its non-zero entries; for
fits to agree there, too, the entries say which of the forms they are made of (`settled`).
"""

import hashlib

import numpy as np
from scipy import sparse

# doubles that a temporary may hold
CHUNK = 2_000_000
# rows of a block, at least and at most, and its entries: large enough that threads, which take
# turns between the calls of NumPy, do not wait for one another, and small enough for the cache
_BLOCK, _ENTRIES = (256, 4096), 2**18
# blocks of a stretch, about
_BLOCKS_OF_A_STRETCH = 2
# blocks of a sparse matrix of at most so many columns, or entries with its zeros, are made dense
_FEW_COLUMNS, _FEW_ENTRIES = 1000, 2**22
# entries, zeros included, of the largest sparse matrix of which a dense copy is made: 512 MB
MOST_DENSE_ENTRIES = 2**26
# share of non-zero entries up to which wide rows are multiplied faster without their zeros
_SPARSE = 0.05


def as_rows(X):
    """Float64 rows; a copy of what is sparse."""
    if not sparse.issparse(X):
        return np.ascontiguousarray(X, dtype=np.float64)
    rows = sparse.csr_array(X, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    return rows


def settled(rows):
    """Wide rows as an array or as CSR, whichever is faster: equal data get equal arithmetic.

    Others, and those of more than `MOST_DENSE_ENTRIES` entries, are left as they are.
    """
    n, d = rows.shape
    # there may be a constant column to come
    entries = n * (d + 1)
    if d + 1 <= _FEW_COLUMNS or not _FEW_ENTRIES < entries <= MOST_DENSE_ENTRIES:
        return rows
    n_non_zero = rows.nnz if sparse.issparse(rows) else np.count_nonzero(rows)
    if n_non_zero > _SPARSE * n * d:
        return rows.toarray() if sparse.issparse(rows) else rows
    return sparse.csr_array(rows)


def is_wide(rows):
    """Whether sparse rows are multiplied as they are, not made dense block by block."""
    n, d = rows.shape
    return sparse.issparse(rows) and d > _FEW_COLUMNS and n * d > _FEW_ENTRIES


def fits_dense(rows):
    """Whether the rows are dense, or few enough to be made so."""
    return not sparse.issparse(rows) or rows.shape[0] * rows.shape[1] <= MOST_DENSE_ENTRIES


# what to do where they are not few enough
_INSTEAD = (
    "patterns='adaptive' with solver='admm' or 'scp', or fewer columns (e.g. with TruncatedSVD)"
)


def check_dense(rows, what, instead=_INSTEAD):
    """Raise a ValueError that says `what` needs dense rows where they would be too large."""
    if not fits_dense(rows):
        n, d = rows.shape
        raise ValueError(
            f"{what} needs dense rows, and a sparse X of shape ({n}, {d}) is too large for that: "
            f"at most {MOST_DENSE_ENTRIES} entries with its zeros. Use {instead}."
        )


def dense(rows, what, instead=_INSTEAD):
    """The rows as an array; a ValueError where that would be too large, see `check_dense`."""
    check_dense(rows, what, instead)
    return rows.toarray() if sparse.issparse(rows) else rows


def block_size(rows):
    """Number of rows of a block, at most."""
    least, most = _BLOCK
    d = rows.shape[1]
    # a sum of wide products over many blocks would cost more than the products
    return max(least, d) if is_wide(rows) else max(least, min(most, _ENTRIES // max(d, 1)))


def blocks(rows, stretch=None):
    """Pairs of a slice and the block of rows there, of a stretch or of all; at least one."""
    keep = not sparse.issparse(rows) or is_wide(rows)
    first, last = (0, rows.shape[0]) if stretch is None else (stretch.start, stretch.stop)
    for part in _split(first, last, max(1, -(-(last - first) // block_size(rows)))):
        yield part, rows[part] if keep else rows[part].toarray()


def stretches(rows):
    """Slices of the rows, each of enough blocks to be worth a thread of its own."""
    return portions(rows.shape[0], _BLOCKS_OF_A_STRETCH * block_size(rows))


def portions(n, size, most=None):
    """Slices of n rows, for threads: of about `size` rows each, or larger for there to be `most`.

    They are an even number, or one: two threads end at the same time.
    """
    if n < size:
        return [slice(0, n)]
    count = 2 * max(1, round(n / (2 * size)))
    return _split(0, n, count if most is None else min(count, most))


def _split(first, last, count):
    """`count` slices of about the same length."""
    ends = [first + k * (last - first) // count for k in range(count + 1)]
    return [slice(start, stop) for start, stop in zip(ends[:-1], ends[1:], strict=True)]


# ------------------------------------------------------------------------------------------------
# Products


def times(rows, matrix):
    """``rows @ matrix``."""
    found = np.empty((rows.shape[0], *matrix.shape[1:]), np.result_type(rows, matrix))
    for part, block in blocks(rows):
        multiply(block, matrix, found[part])
    return found


def transposed_times(rows, values):
    """``rows.T @ values``."""
    total = None
    for part, block in blocks(rows):
        product = block.T @ values[part]
        total = product if total is None else np.add(total, product, out=total)
    return total


def weighted_sum(block, weights, values):
    """``block.T @ diag(weights) @ values`` of a block of rows."""
    if sparse.issparse(block):
        return block.T @ (weights[:, None] * values)
    return (weights * block.T) @ values


def multiply(block, matrix, out):
    """``block @ matrix`` of a block of rows, into an array."""
    if sparse.issparse(block):
        out[...] = block @ matrix
    else:
        np.matmul(block, matrix, out=out)


# ------------------------------------------------------------------------------------------------
# Entries


def by_row(operation, rows, values):
    """``operation(rows, values[:, None])``, an operation that leaves zeros zero."""
    values = np.broadcast_to(values, rows.shape[:1])
    if sparse.issparse(rows):
        return _with_entries(rows, operation(rows.data, np.repeat(values, np.diff(rows.indptr))))
    return operation(rows, values[:, None])


def by_column(operation, rows, values):
    """``operation(rows, values)``, an operation that leaves zeros zero."""
    if sparse.issparse(rows):
        return _with_entries(rows, operation(rows.data, values[rows.indices]))
    return operation(rows, values)


def with_constant(rows, dtype=np.float64):
    """The rows and a column of ones."""
    column = np.ones((rows.shape[0], 1))
    if sparse.issparse(rows):
        return sparse.hstack([rows, sparse.csr_array(column)], format="csr", dtype=dtype)
    return np.concatenate([rows, column], axis=1, dtype=dtype)


def gram(rows, others):
    """``rows @ others.T`` as an array."""
    products = rows @ others.T
    return products.toarray() if sparse.issparse(products) else products


def digest(rows, *arrays):
    """Digest of shape and entries, the same for a dense and a sparse matrix; and of arrays."""
    found = hashlib.sha256(repr(rows.shape).encode())
    step = max(1, _FEW_ENTRIES // max(rows.shape[1], 1))
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step]
        if sparse.issparse(block):
            places = _row_of_entries(block) * block.shape[1] + block.indices
            entries = block.data
        else:
            places = np.flatnonzero(block)
            entries = block.ravel()[places]
        found.update(places.astype(np.int64).tobytes())
        found.update(entries.astype(np.float64).tobytes())
    for array in arrays:
        found.update(repr(array.shape).encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.digest()


def _with_entries(rows, entries):
    return sparse.csr_array((entries, rows.indices, rows.indptr), shape=rows.shape)


# ------------------------------------------------------------------------------------------------
# Statistics


def largest(rows):
    """Largest magnitude of an entry."""
    return np.abs(rows.data if sparse.issparse(rows) else rows).max(initial=0.0)


def column_maxima(rows):
    """Largest magnitude of every column."""
    if not sparse.issparse(rows):
        return np.abs(rows).max(axis=0, initial=0.0)
    maxima = np.zeros(rows.shape[1])
    np.maximum.at(maxima, rows.indices, np.abs(rows.data))
    return maxima


def row_maxima(rows):
    """Largest magnitude of every row."""
    if not sparse.issparse(rows):
        return np.abs(rows).max(axis=1, initial=0.0)
    maxima = np.zeros(rows.shape[0])
    np.maximum.at(maxima, _row_of_entries(rows), np.abs(rows.data))
    return maxima


def row_norms(rows):
    """Euclidean norm of every row."""
    return np.concatenate([_block_norms(block) for _, block in blocks(rows)])


def unit_rows(rows):
    """Rows divided by their norm, zero rows left as they are."""
    sizes = row_maxima(rows)
    rows = by_row(np.divide, rows, np.where(sizes > 0, sizes, 1.0))
    norms = row_norms(rows)
    return by_row(np.divide, rows, np.where(norms > 0, norms, 1.0))


def moments(rows, weights):
    """Weighted means and standard deviations of the columns, with weights of sum one."""
    means = transposed_times(rows, weights)
    if is_wide(rows):
        # the zeros of a column count, too; of a column without zeros none by rounding
        squares = by_column(np.subtract, rows, means)
        squares = _with_entries(rows, squares.data**2)
        ones = _with_entries(rows, np.ones_like(rows.data))
        full = np.bincount(rows.indices, minlength=rows.shape[1]) == rows.shape[0]
        rest = np.where(full, 0.0, np.maximum(1.0 - ones.T @ weights, 0.0))
        return means, np.sqrt(squares.T @ weights + rest * means**2)
    variances = sum(weights[part] @ (block - means) ** 2 for part, block in blocks(rows))
    return means, np.sqrt(variances)


def root_mean_square(rows, weights, *, centred=False):
    """Weighted root mean square of the entries, or of their distances from the column means.

    Centred, the weights have sum one; one-dimensional values are a column.
    """
    if rows.ndim == 1:
        rows = rows[:, None]
    centre = transposed_times(rows, weights) if centred else np.zeros(rows.shape[1])
    if is_wide(rows):
        distances = by_column(np.subtract, rows, centre)
        size = max(largest(distances), np.abs(centre).max())
    else:
        size = max(np.abs(block - centre).max() for _, block in blocks(rows))
    if size == 0.0:
        return 0.0
    if is_wide(rows):
        part = (distances.data / size) ** 2 - by_column(_second, rows, (centre / size) ** 2).data
        squares = _with_entries(rows, part).sum(axis=1) + np.sum((centre / size) ** 2)
        squares = squares / rows.shape[1]
    else:
        parts = [(((block - centre) / size) ** 2).mean(axis=1) for _, block in blocks(rows)]
        squares = np.concatenate(parts)
    return float(size * np.sqrt(weights @ squares))


def largest_singular_value(rows):
    r"""Largest singular value; of many wide rows an upper bound, which is tight without signs.

    By Collatz and Wielandt, :math:`\sigma(X)^2 \le \sigma(|X|)^2 \le
    \max_j (|X|^\top |X| z)_j / z_j` for every positive vector z.
    """
    n, d = rows.shape
    if not is_wide(rows) or n <= _FEW_COLUMNS:
        if d <= n:
            gram = sum(block.T @ block for _, block in blocks(rows))
        elif is_wide(rows):
            gram = (rows @ rows.T).toarray()
        else:
            whole = dense(rows, "the singular value")
            gram = whole @ whole.T
        return float(np.sqrt(max(np.linalg.eigvalsh(gram)[-1], 0.0)))
    sizes = abs(rows)
    bound = np.sqrt(np.sum(rows.data**2))
    z = np.ones(rows.shape[1])
    for _ in range(50):
        image = sizes.T @ (sizes @ z)
        # columns of zeros have no part in it, and others must not get lost in rounding
        bound = min(bound, np.sqrt(np.max(image / z)))
        z = np.maximum(image / image.max(initial=1e-300), 1e-8)
    return float(bound) * (1.0 + 1e-10)


def _block_norms(block):
    if not sparse.issparse(block):
        return np.linalg.norm(block, axis=1)
    return np.sqrt(np.bincount(_row_of_entries(block), block.data**2, block.shape[0]))


def _row_of_entries(rows):
    return np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))


def _second(_, values):
    return values
