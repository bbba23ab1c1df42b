r"""Feature weights: a weight decay that spares the features that matter.

The importance of feature f to a network F is its mean squared slope times its variance,

.. math:: I_f = \mathbb{E}\Big[\sum_c \Big(\frac{\partial F_c}{\partial x_f}\Big)^2\Big]
    \operatorname{Var}(x_f),

the variance of F that comes from f where F is linear and features are independent, whatever their
units (a derivative-based sensitivity measure, Sobol' and Kucherenko 2009). With weights
:math:`s_f^2 \propto I_f / \operatorname{Var}(x_f)`, the next network is penalised by
:math:`\sum_f u_f^2 / s_f^2` in place of :math:`\sum_f u_f^2`: it sees :math:`s_f x_f`. This is a
step of a recursive feature machine (Radhakrishnan, Beaglehole, Pandit and Belkin 2024) with the
diagonal of the average gradient outer product, and of an adaptive group lasso (Zou 2006).
"""

import numpy as np

from ..core.rows import moments

# no importance is taken for less than this share of the largest
_FLOOR = 1e-5
# slopes are averaged over so many rows at most, evenly spaced
_MOST_ROWS = 2000


def feature_importances(network, X, weights, centred=True):
    """Importances of the features to a network, of sum one; zeros where it has no neurons.

    Parameters
    ----------
    network : TwoLayerReLU
    X : ndarray or CSR array of shape (n_samples, n_features)
    weights : ndarray of shape (n_samples,)
        Of sum one.
    centred : bool, default=True
        Whether to take variances, not second moments.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    step = -(-X.shape[0] // _MOST_ROWS)
    slopes = network.mean_squared_slopes(X[::step], weights[::step] / weights[::step].sum())
    found = slopes * spreads(X, weights, centred) ** 2
    return found / (found.sum() or 1.0)


def weights_of(importances, sizes):
    r"""Feature weights that importances ask for.

    Parameters
    ----------
    importances : ndarray of shape (n_features,)
    sizes : ndarray of shape (n_features,)
        The spreads of the features.

    Returns
    -------
    ndarray of shape (n_features,)
        With :math:`\sum_f s_f^2 v_f = \sum_f v_f` of the squared spreads v: of standardised
        features the mean of the squares is one, and in any units the rows keep their size. One for
        a feature without spread, as a rare indicator has on the rows of a fold.
    """
    if not importances.any():
        return np.ones(len(sizes))
    importances = np.maximum(importances, _FLOOR * importances.max())
    wanted = np.sqrt(importances * (np.sum(sizes**2) / importances.sum()))
    return np.divide(wanted, sizes, out=np.ones(len(sizes)), where=sizes > 0)


def spreads(X, weights, centred=True):
    """Standard deviations of the columns, or root mean squares."""
    means, deviations = moments(X, weights)
    return deviations if centred else np.hypot(means, deviations)
