"""The formula for the penalty, from which `alpha="auto"` departs."""

import numpy as np
from scipy.sparse import issparse

from ..core.rows import root_mean_square
from ..solvers.descent import constant_network


def penalty_by_formula(X, y, weights, loss, fit_intercept, *, n_rows=None):
    r"""A penalty by the size of the data.

    .. math:: \alpha = \min\Big(\frac{0.02\, d}{\sqrt{n}}, 0.2\Big)\;
        \mathrm{rms}(X)\; \mathrm{rms}(\ell'(c, y))

    with the best constant network c, and X centred when there is an intercept; only the d columns
    of X count that are not constant (without an intercept: not zero). The last two factors
    follow the units of X, and of y where the loss is quadratic: without an intercept the network
    is the same in any unit of X. With one it is not, as the constant column that hidden biases
    multiply keeps its size. The first factor was chosen on synthetic data
    (``benchmarks/alpha_rule.py``).

    Parameters
    ----------
    X : ndarray of shape (n, d)
    y : ndarray of shape (n,) or (n, n_outputs)
        Of outputs that share a hidden layer the slopes of all count alike.
    weights : ndarray of shape (n,)
        Positive.
    loss : Loss or VectorLoss
    fit_intercept : bool
    n_rows : int, default=None
        The n of the formula, where X is a sample of as many rows.

    Returns
    -------
    float
    """
    n = X.shape[0] if n_rows is None else n_rows
    d = informative(X, fit_intercept).sum()
    if d == 0:
        return 1.0
    weights = weights / weights.sum()
    _, slopes = constant_network(y, weights, loss, fit_intercept=fit_intercept)
    share = min(0.02 * d / np.sqrt(n), 0.2)
    # columns without information have no size
    size = root_mean_square(X, weights, centred=fit_intercept) * np.sqrt(X.shape[1] / d)
    alpha = share * size * root_mean_square(slopes, weights)
    # a constant fits perfectly: any penalty will do
    return alpha if alpha > 0 else 1.0


def informative(X, fit_intercept):
    """Mask of the columns that are not constant, or without an intercept not zero."""
    highest, lowest = (
        extreme.toarray().ravel() if issparse(extreme) else extreme
        for extreme in (X.max(axis=0), X.min(axis=0))
    )
    sizes = np.maximum(np.abs(highest), np.abs(lowest))
    return highest - lowest > 1e-12 * sizes if fit_intercept else sizes > 0
