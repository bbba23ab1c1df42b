r"""The unit ball of perturbations: :math:`x = x_0 + r \circ \eta`, :math:`\|\eta\|_p \le 1`."""

import numpy as np


def steepest(gradients, norm):
    """Minimisers of linear functions over the unit ball, one for each row."""
    if norm == np.inf:
        return -np.sign(gradients)
    if norm == 2:
        lengths = np.sqrt(np.sum(gradients**2, axis=1, keepdims=True))
        return -gradients / np.where(lengths > 0, lengths, 1.0)
    points = np.zeros_like(gradients)
    if gradients.shape[1]:
        rows, largest = np.arange(len(gradients)), np.abs(gradients).argmax(axis=1)
        points[rows, largest] = -np.sign(gradients[rows, largest])
    return points


def project(points, norm):
    """Nearest points of the unit ball, in the Euclidean norm."""
    if norm == np.inf:
        return np.clip(points, -1.0, 1.0)
    if norm == 2:
        return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1.0)
    # soft thresholding: the k largest entries stay (Duchi et al., ICML 2008)
    sizes = -np.sort(-np.abs(points), axis=1)
    excess = np.cumsum(sizes, axis=1) - 1.0
    thresholds = np.max(excess / np.arange(1, points.shape[1] + 1), axis=1, initial=0.0)
    return np.sign(points) * np.maximum(np.abs(points) - thresholds[:, None], 0.0)


def random_points(shape, norm, rng):
    """Points of the unit ball, drawn at random."""
    if norm == np.inf:
        return rng.uniform(-1.0, 1.0, shape)
    points = rng.standard_normal(shape) if norm == 2 else rng.laplace(size=shape)
    sizes = np.linalg.norm(points, ord=norm, axis=1, keepdims=True)
    return points / sizes * rng.uniform(size=(shape[0], 1)) ** (1.0 / max(shape[1], 1))


def unperturbed(X, perturbation, centres, radii):
    """Points of the unit ball that are the rows themselves: off the centre where bounds cut."""
    moved = perturbation.nominal(X) - centres
    points = np.divide(moved, radii, out=np.zeros(moved.shape), where=radii > 0)
    return np.clip(points, -1.0, 1.0)


def realise(points, X, perturbation, scale=1.0):
    r"""Perturbed rows that are in the set exactly, in spite of rounding.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The :math:`\eta`.
    X : ndarray of shape (n, d)
    perturbation : Perturbation
    scale : float or ndarray of shape (n,), default=1.0
        Factors of epsilon.

    Returns
    -------
    ndarray of shape (n, d)
    """
    centres, radii = perturbation.balls(X, scale)
    rows, nominal = centres + radii * points, perturbation.nominal(X)
    limits = np.broadcast_to(np.asarray(scale)[..., None] * perturbation.epsilon, X.shape)
    for shrink in 2.0 ** np.arange(-53, 1):
        change = rows - nominal
        if perturbation.norm == np.inf:
            outside = np.abs(change) > limits
        else:
            units = np.divide(change, limits, out=np.zeros_like(change), where=limits > 0)
            size = np.linalg.norm(units, ord=perturbation.norm, axis=1, keepdims=True)
            # below one by more than the rounding of whoever measures it
            outside = np.broadcast_to(size > 1.0 - 1e-14, X.shape)
        if not outside.any():
            break
        rows = np.where(outside, nominal + (1.0 - shrink) * change, rows)
    return perturbation.nominal(rows)
