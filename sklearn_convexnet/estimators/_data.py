"""Data as the programs take them."""

import numpy as np
from scipy.sparse import issparse

from .._compat import check_sample_weight
from ..core.canonical import canonical_rows
from ..core.rows import as_rows, column_maxima, largest, settled

# ranges of columns that differ by more, or are that far from zero, are worth a warning
_FAR = 1e3


def canonical_data(X, targets, sample_weight, accept_sparse=False):
    """Float64 data, its canonical rows and their weights."""
    data = settled(as_rows(X)) if accept_sparse else as_rows(X)
    first, weights = canonical_rows(data, targets, check_sample_weight(sample_weight, X))
    return data, first, weights


def check_size(name, values):
    """Raise a ValueError for values that are not finite, or whose squares are not."""
    size = largest(values)
    # where scikit-learn was told not to look
    if not np.isfinite(size):
        raise ValueError(f"{name} must hold finite numbers only, got NaN or infinity.")
    if size > 1e150:
        raise ValueError(
            f"{name} must not exceed 1e150 in absolute value, got {size:.1e}: its square is "
            "not finite."
        )


def scale_fault(rows, feature_weights):
    """What is wrong with the scale of dense columns, in words; None where nothing is.

    It looks at ranges: standard deviations of indicators and of counts that are mostly zero shrink
    with the share of rows that are not. Constant columns do not count. Of rows in weighted features
    it is a fault only where the features themselves have one: weights may differ by any factor.
    """
    if issparse(rows) or not rows.size:
        return None
    weighted = feature_weights > 0
    fault = _fault_of_ranges(rows)
    return fault and _fault_of_ranges(rows[:, weighted] / feature_weights[weighted])


def _fault_of_ranges(rows):
    ranges, sizes = np.ptp(rows, axis=0), column_maxima(rows)
    # up to the rounding of what was computed
    varying = ranges > 1e-12 * sizes
    ranges, sizes = ranges[varying], sizes[varying]
    remedy = "scale the features (e.g. with StandardScaler)"
    if ranges.max(initial=0.0) > _FAR * ranges.min(initial=np.inf):
        return (
            f"the ranges of the columns of X differ by a factor of more than {_FAR:.0f}; {remedy}"
        )
    if np.any(sizes > _FAR * ranges):
        return f"columns of X are more than {_FAR:.0f} times their range away from zero; {remedy}"
    return None
