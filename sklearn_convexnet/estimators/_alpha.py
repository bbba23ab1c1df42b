"""The penalty that alpha="auto" chooses."""

import numpy as np

from ..core.rows import root_mean_square
from ..solvers.descent import constant_network


def automatic_alpha(X, y, weights, loss, fit_intercept, *, n_rows=None):
    r"""The penalty of ``alpha="auto"``.

    .. math:: \alpha = \min\Big(\frac{0.02\, d}{\sqrt{n}}, 0.2\Big)\;
        \mathrm{rms}(X)\; \mathrm{rms}(\ell'(c, y))

    with the best constant network c, and X centred when there is an intercept. The last two factors
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
    n, d = X.shape
    n = n if n_rows is None else n_rows
    weights = weights / weights.sum()
    _, slopes = constant_network(y, weights, loss, fit_intercept=fit_intercept)
    share = min(0.02 * d / np.sqrt(n), 0.2)
    size = root_mean_square(X, weights, centred=fit_intercept)
    alpha = share * size * root_mean_square(slopes, weights)
    # a constant fits perfectly, or X is zero: any penalty will do
    return alpha if alpha > 0 else 1.0
