"""Synthetic data: what they look like, and what is refused."""

import numpy as np
import pytest

from sklearn_convexnet.datasets import make_xor_clusters


def test_clusters_lie_where_they_should():
    X, y, clean = make_xor_clusters(
        4000, 6, signal=20.0, flip_y=0.2, random_state=0, return_clean=True
    )
    assert X.shape == (4000, 6) and X.dtype == np.float64
    assert y.dtype.kind == clean.dtype.kind == "i"
    assert set(y) == set(clean) == {-1, 1}
    assert abs(clean.mean()) < 0.05
    for label, axis in ((1, 0), (-1, 1)):
        for side in (-1, 1):
            cluster = X[(clean == label) & (side * X[:, axis] > 10)]
            assert 900 < len(cluster) < 1100
            centre = np.zeros(6)
            centre[axis] = side * 20.0
            np.testing.assert_allclose(cluster.mean(axis=0), centre, atol=0.15)
            np.testing.assert_allclose(np.cov(cluster.T), np.eye(6), atol=0.2)
    # flips fall on all samples alike
    flipped = y != clean
    assert 0.17 < flipped.mean() < 0.23
    assert abs(flipped[clean == 1].mean() - flipped[clean == -1].mean()) < 0.05


def test_same_seed_same_samples():
    one, other = (make_xor_clusters(20, 5, random_state=3) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
    X, y = make_xor_clusters(20, 5, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(X, one[0])
    assert (make_xor_clusters(20, 5, random_state=4)[0] != X).any()
    # the labels that are flipped are the only difference
    X, y, clean = make_xor_clusters(20, 5, flip_y=1.0, random_state=3, return_clean=True)
    np.testing.assert_array_equal(X, one[0])
    np.testing.assert_array_equal(y, -clean)
    X, y, clean = make_xor_clusters(20, 5, flip_y=0, random_state=3, return_clean=True)
    np.testing.assert_array_equal(y, clean)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_samples", 0),
        ("n_samples", 10.0),
        ("n_features", 1),
        ("signal", -1.0),
        ("signal", np.inf),
        ("signal", np.nan),
        ("signal", "auto"),
        ("flip_y", -0.1),
        ("flip_y", 1.1),
        ("flip_y", None),
        ("random_state", "seed"),
        ("return_clean", "yes"),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=rf"'{name}' parameter of make_xor_clusters must be"):
        make_xor_clusters(**{name: value})
