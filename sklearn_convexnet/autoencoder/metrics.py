"""What an autoencoder is judged by: reconstruction, sparsity, latents that do something."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from .._typing import ArrayLike


def l0(codes: ArrayLike) -> float:
    r"""Mean number of non-zero codes of a sample.

    Codes of either sign count: where they are signed, counting those above zero is wrong.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_latents)
        Codes.

    Returns
    -------
    float
        :math:`\mathrm{E}\|f\|_0`.
    """
    return float(np.count_nonzero(_matrix("codes", codes), axis=1).mean())


def dead_fraction(codes: ArrayLike) -> float:
    """Share of latents that fire on no sample.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_latents)
        Codes of an evaluation set; one that is small makes rare latents look dead.

    Returns
    -------
    float
        Between 0 and 1.
    """
    return float(np.mean(~_matrix("codes", codes).any(axis=0)))


def bipolar_fraction(codes: ArrayLike, *, min_share: float = 1e-3) -> float:
    """Share of latents that fire with both signs.

    Parameters
    ----------
    codes : array-like of shape (n_samples, n_latents)
        Codes of an evaluation set.
    min_share : float, default=0.001
        Share of the samples that a sign must occur in to count, >= 0.

    Returns
    -------
    float
        Between 0 and 1; dead latents are in the denominator.
    """
    codes = _matrix("codes", codes)
    if not min_share >= 0:
        raise ValueError(f"min_share must be a number >= 0, got {min_share!r}.")
    shares = np.minimum((codes > 0).mean(axis=0), (codes < 0).mean(axis=0))
    return float(np.mean((shares >= min_share) & (shares > 0)))


def r2(X: ArrayLike, reconstruction: ArrayLike) -> float:
    r"""Share of the variance of X, over all features together, that is reconstructed.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.
    reconstruction : array-like of shape (n_samples, n_features)
        Their reconstructions.

    Returns
    -------
    float
        :math:`1 - \sum\|x - \hat x\|^2 / \sum\|x - \bar x\|^2`, at most 1; for equal samples 1 if
        they are reconstructed exactly, else 0.
    """
    X, reconstruction = _pair(X, reconstruction)
    residual = np.sum(np.square(X - reconstruction))
    total = np.sum(np.square(X - X.mean(axis=0)))
    if total == 0:
        return float(residual == 0)
    return float(1 - residual / total)


def relative_reconstruction_bias(X: ArrayLike, reconstruction: ArrayLike) -> float:
    r"""Factor by which reconstructions are too long: below 1 they shrink.

    The :math:`\gamma` for which :math:`\hat x / \gamma` is closest to x (Rajamanoharan et al.,
    arXiv 2404.16014).

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Samples.
    reconstruction : array-like of shape (n_samples, n_features)
        Their reconstructions.

    Returns
    -------
    float
        :math:`\mathrm{E}\|\hat x\|^2 / \mathrm{E}[\hat x^\top x]`; nan if the reconstructions are
        orthogonal to the samples.
    """
    X, reconstruction = _pair(X, reconstruction)
    along = np.sum(reconstruction * X)
    return float(np.sum(np.square(reconstruction)) / along) if along else float("nan")


def recovered_fraction(
    components: ArrayLike,
    directions: ArrayLike,
    *,
    signed: bool = False,
    min_cosine: float = 0.9,
) -> float:
    """Share of known directions that have a latent of their own.

    Latents and directions are paired one to one such that the cosines add up to the most.

    Parameters
    ----------
    components : array-like of shape (n_latents, n_features)
        Decoder directions of the latents.
    directions : array-like of shape (n_directions, n_features)
        True directions.
    signed : bool, default=False
        Whether a latent stands for its direction and for the opposite one.
    min_cosine : float, default=0.9
        Least cosine at which a direction counts as recovered.

    Returns
    -------
    float
        Between 0 and 1.
    """
    components, directions = _matrix("components", components), _matrix("directions", directions)
    if components.shape[1] != directions.shape[1]:
        raise ValueError(
            f"components and directions must have as many columns, got {components.shape[1]} and "
            f"{directions.shape[1]}."
        )
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (components, directions)]
    if not all(length.all() for length in lengths):
        raise ValueError("components and directions must not have rows of zeros.")
    cosines = (directions / lengths[1]) @ (components / lengths[0]).T
    if signed:
        cosines = np.concatenate([cosines, -cosines], axis=1)
    pairs = linear_sum_assignment(-cosines)
    return float(np.sum(cosines[pairs] >= min_cosine) / len(directions))


def _matrix(name, values):
    values = np.asarray(values)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"{name} must be a matrix with rows and columns, got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return values


def _pair(X, reconstruction):
    X, reconstruction = _matrix("X", X), _matrix("reconstruction", reconstruction)
    if X.shape != reconstruction.shape:
        raise ValueError(
            f"reconstruction must have the shape {X.shape} of X, got {reconstruction.shape}."
        )
    return X.astype(np.float64), reconstruction.astype(np.float64)
