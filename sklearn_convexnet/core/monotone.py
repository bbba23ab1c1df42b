r"""Monotone networks: neurons whose weights have the signs that are wanted of their effect.

:math:`\sum_j (x^\top u_j)_+ a_j` does not decrease in feature f if :math:`u_{jf} a_j \ge 0` for
every neuron: those that add have no negative weight there, those that subtract no positive one.
That is sufficient, not necessary: what one neuron takes another may give.
"""

import numpy as np


def clipped(values, signs):
    """The nearest values with no entry of the other sign than that in `signs`; 0: any will do."""
    return np.where(signs * values < 0, 0.0, values)


def limits(signs):
    """The least and the greatest values of entries with these signs; 0: no limits."""
    return np.where(signs > 0, 0.0, -np.inf), np.where(signs < 0, 0.0, np.inf)


def signs_of(outputs):
    """Whether neurons with these output weights add, 1, or subtract, -1."""
    return np.where(outputs < 0, -1, 1).ravel()


def signs_of_neurons(monotone, outputs):
    """What a flat point, of directions, output weights and a bias, must not be against.

    A neuron that adds does so on all its way.

    Parameters
    ----------
    monotone : ndarray of int of shape (d,) or None
    outputs : ndarray of shape (m,) or (m, 1)
        Output weights at the start.

    Returns
    -------
    ndarray of int of shape (d * m + m + 1,) or None
    """
    if monotone is None:
        return None
    own = signs_of(outputs)
    return np.concatenate([np.outer(monotone, own).ravel(), own, [0]])


def is_monotone(network, signs):
    """Whether the neurons of a network with one output have the signs wanted of the features."""
    effects = network.hidden_weights * signs_of(network.output_weights)
    return bool((signs[:, None] * effects >= 0).all())
