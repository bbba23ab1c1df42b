"""Data as the programs take them."""

from .._compat import check_sample_weight
from ..core.canonical import canonical_rows
from ..core.rows import as_rows, largest, settled


def canonical_data(X, targets, sample_weight, accept_sparse=False):
    """Float64 data, its canonical rows and their weights."""
    data = settled(as_rows(X)) if accept_sparse else as_rows(X)
    first, weights = canonical_rows(data, targets, check_sample_weight(sample_weight, X))
    return data, first, weights


def check_size(name, values):
    """Raise a ValueError for values whose squares are not finite."""
    size = largest(values)
    if size > 1e150:
        raise ValueError(
            f"{name} must not exceed 1e150 in absolute value, got {size:.1e}: its square is "
            "not finite."
        )
