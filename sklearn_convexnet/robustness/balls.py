r"""The unit ball of perturbations: :math:`x = x_0 + r \circ \eta`, :math:`\|\eta\|_p \le 1`."""

import numpy as np


def unperturbed(X, perturbation, centres, radii):
    """Points of the unit ball that are the rows themselves: off the centre where bounds cut."""
    moved = perturbation.nominal(X) - centres
    points = np.divide(moved, radii, out=np.zeros(moved.shape), where=radii > 0)
    return np.clip(points, -1.0, 1.0)


def realise(points, X, perturbation):
    r"""Perturbed rows that are in the set exactly, in spite of rounding.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The :math:`\eta`.
    X : ndarray of shape (n, d)
    perturbation : Perturbation

    Returns
    -------
    ndarray of shape (n, d)
    """
    centres, radii = perturbation.balls(X)
    rows, nominal = centres + radii * points, perturbation.nominal(X)
    limits = np.broadcast_to(perturbation.epsilon, X.shape)
    for shrink in 2.0 ** np.arange(-53, 1):
        change = rows - nominal
        outside = perturbation.ball.outside(change, limits)
        if not outside.any():
            break
        rows = np.where(outside, nominal + (1.0 - shrink) * change, rows)
    return perturbation.nominal(rows)
