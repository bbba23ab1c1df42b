"""The constant network: the best bias alone, and the slopes that may prove it optimal."""

import numpy as np

# margins beyond which every loss of classification is zero to double precision
_LARGEST_MARGIN = 80.0


def constant_network(y, weights, loss, *, fit_intercept):
    """Best bias of a network without neurons.

    Parameters
    ----------
    y, weights : ndarray of shape (n_samples,)
    loss : Loss
    fit_intercept : bool
        Without it the bias is zero.

    Returns
    -------
    bias : float
    slopes : ndarray of shape (n_samples,)
        Subgradients of the loss at the bias; their weighted sum is zero at an interior
        minimum. Where the loss has kinks they are chosen between the slopes on both sides.
    """
    if not fit_intercept:
        return 0.0, loss.derivative(np.zeros_like(y), y)
    if loss.target == "real":
        low, high = float(y.min()), float(y.max())
    else:
        low, high = -_LARGEST_MARGIN, _LARGEST_MARGIN
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if weights @ loss.derivative(np.full_like(y, middle), y) > 0:
            high = middle
        else:
            low = middle
    left = loss.derivative(np.full_like(y, low), y)
    right = loss.derivative(np.full_like(y, high), y)
    down, up = float(weights @ left), float(weights @ right)
    share = np.clip(-down / (up - down), 0.0, 1.0) if up > down else 0.5
    values = [weights @ loss.value(np.full_like(y, end), y) for end in (low, high)]
    return (low, high)[int(np.argmin(values))], (1.0 - share) * left + share * right
