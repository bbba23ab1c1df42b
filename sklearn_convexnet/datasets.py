"""Synthetic data on which the claims of papers can be tested."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.utils import check_random_state

from ._compat import Interval, validate_params
from ._typing import FloatArray, IntArray, Seed

__all__ = ["make_antipodal_features", "make_xor_clusters"]


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 2, None, closed="left")],
        "signal": [Interval(Real, 0, None, closed="left")],
        "flip_y": [Interval(Real, 0, 1, closed="both")],
        "random_state": ["random_state"],
        "return_clean": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def make_xor_clusters(
    n_samples: int = 200,
    n_features: int = 1000,
    *,
    signal: float = 10.0,
    flip_y: float = 0.05,
    random_state: Seed = None,
    return_clean: bool = False,
) -> tuple[FloatArray, IntArray] | tuple[FloatArray, IntArray, IntArray]:
    r"""Generate four Gaussian clusters whose labels are the exclusive or of two directions.

    The clusters lie at :math:`\pm\mu_1` and :math:`\pm\mu_2`, two orthogonal vectors of equal
    length. A sample belongs to class 1 or -1 with equal probability,

    .. math::

        \tilde y = +1: \; x \sim \tfrac12 N(\mu_1, I) + \tfrac12 N(-\mu_1, I), \qquad
        \tilde y = -1: \; x \sim \tfrac12 N(\mu_2, I) + \tfrac12 N(-\mu_2, I),

    and its label is flipped with a given probability [1]_. No linear function of the features says
    anything about the clean labels. Many features make the samples nearly orthogonal, so that any
    labels can be fitted.

    Parameters
    ----------
    n_samples : int, default=200
        Number of samples, >= 1.

    n_features : int, default=1000
        Number of features, >= 2.

    signal : float, default=10.0
        Distance :math:`\|\mu\|` of the clusters from the origin, >= 0; the noise has a standard
        deviation of one in every feature. The experiments of [1]_ have
        ``2.5 * sqrt(n_features / n_samples)`` with 200 samples and 40000 features.

    flip_y : float, default=0.05
        Probability that a label is flipped, between 0 and 1.

    random_state : int, RandomState instance or None, default=None
        Seed of the samples. The clusters do not depend on it: a second call with another seed
        makes new samples from the same distribution.

    return_clean : bool, default=False
        Whether to return the labels before the flips, too.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        The samples; the first feature runs along :math:`\mu_1`, the second along
        :math:`\mu_2`.

    y : ndarray of int of shape (n_samples,)
        Labels, -1 or 1.

    y_clean : ndarray of int of shape (n_samples,)
        Labels before the flips; only with ``return_clean=True``.

    See Also
    --------
    GradientDescentReLUClassifier : Gradient descent as in [1]_.
    sklearn.datasets.make_classification : Clusters on the vertices of a hypercube.

    References
    ----------
    .. [1] Z. Xu, Y. Wang, S. Frei, G. Vardi and W. Hu, "Benign Overfitting and Grokking in ReLU
       Networks for XOR Cluster Data", ICLR 2024, arXiv:2310.02541.

    Examples
    --------
    >>> from sklearn_convexnet.datasets import make_xor_clusters
    >>> X, y, y_clean = make_xor_clusters(
    ...     n_samples=100, n_features=50, flip_y=0.1, random_state=0, return_clean=True
    ... )
    >>> X.shape, int((y != y_clean).sum())
    ((100, 50), 7)
    >>> bool(((abs(X[:, 0]) > abs(X[:, 1])) == (y_clean == 1)).all())
    True
    """
    rng = check_random_state(random_state)
    axis, side = rng.randint(2, size=n_samples), rng.choice([-1.0, 1.0], size=n_samples)
    flipped = rng.uniform(size=n_samples) < flip_y
    X = rng.standard_normal((n_samples, n_features))
    X[np.arange(n_samples), axis] += side * signal
    y_clean = 1 - 2 * axis
    y = np.where(flipped, -y_clean, y_clean)
    return (X, y, y_clean) if return_clean else (X, y)


@validate_params(
    {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "n_features": [Interval(Integral, 2, None, closed="left")],
        "n_pairs": [Interval(Integral, 1, None, closed="left")],
        "n_active": [Interval(Real, 0, None, closed="left")],
        "correlation": [Interval(Real, -1, 0, closed="both")],
        "noise": [Interval(Real, 0, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def make_antipodal_features(
    n_samples: int = 1000,
    n_features: int = 64,
    *,
    n_pairs: int = 64,
    n_active: float = 3.0,
    correlation: float = -1.0,
    noise: float = 0.0,
    random_state: Seed = None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    r"""Sparse sums of features that come in pairs of opposite meaning.

    A sample is :math:`x = \sum_j c_j u_j + \text{noise}` with few of the codes :math:`c_j` not
    zero. The features come in pairs: each pair is active in a sample with probability
    ``n_active / n_pairs``, and then by *one* of its two features, each as likely as the other, with
    a code uniform between 0.5 and 1.5. The directions of a pair have the cosine `correlation`. At
    -1 they are antipodal: one direction with a sign, for which signed codes need one latent and
    codes that are not negative two. At 0 they are orthogonal.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of samples.
    n_features : int, default=64
        Dimension of a sample, at least 2.
    n_pairs : int, default=64
        Number of pairs.
    n_active : float, default=3.0
        Expected number of active pairs in a sample, at most `n_pairs`.
    correlation : float, default=-1.0
        Cosine of the two directions of a pair, between -1 and 0.
    noise : float, default=0.0
        Standard deviation of independent Gaussian noise in every coordinate.
    random_state : int, RandomState instance or None, default=None
        Pass an int for reproducible results.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codes : ndarray of shape (n_samples, 2 * n_pairs)
        The codes, not negative. Features j and ``n_pairs + j`` are a pair.
    directions : ndarray of shape (2 * n_pairs, n_features)
        Unit vectors, uniform on the sphere up to the pairing.

    See Also
    --------
    sklearn.datasets.make_sparse_coded_signal : Signed codes of a fixed number of atoms.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet.datasets import make_antipodal_features
    >>> X, codes, directions = make_antipodal_features(100, n_pairs=8, random_state=0)
    >>> bool(np.allclose(directions[:8], -directions[8:]))
    True
    >>> bool(np.allclose(codes @ directions, X))
    True
    """
    if n_active > n_pairs:
        raise ValueError(f"n_active must not exceed n_pairs={n_pairs}, got {n_active!r}.")
    rng = check_random_state(random_state)
    first = _unit_rows(rng.standard_normal((n_pairs, n_features)))
    other = rng.standard_normal((n_pairs, n_features))
    other = _unit_rows(other - np.sum(other * first, axis=1, keepdims=True) * first)
    second = correlation * first + np.sqrt(1.0 - correlation**2) * other
    shape = (n_samples, n_pairs)
    sizes = rng.uniform(0.5, 1.5, shape) * (rng.uniform(size=shape) * n_pairs < n_active)
    is_first = rng.uniform(size=shape) < 0.5
    codes = np.concatenate([sizes * is_first, sizes * ~is_first], axis=1)
    directions = np.concatenate([first, second])
    X = codes @ directions
    if noise:
        X += noise * rng.standard_normal(X.shape)
    return X, codes, directions


def _unit_rows(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
