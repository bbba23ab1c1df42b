"""Synthetic data: what they look like, and what is refused."""

import numpy as np
import pytest

from sklearn_convexnet.datasets import make_antipodal_features, make_xor_clusters


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


@pytest.mark.parametrize("correlation", [-1, -0.6, 0.0])
def test_antipodal_features_are_what_they_say(correlation):
    X, codes, directions = make_antipodal_features(
        4000, 12, n_pairs=10, n_active=2, correlation=correlation, random_state=0
    )
    assert X.shape == (4000, 12) and codes.shape == (4000, 20) and directions.shape == (20, 12)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0)
    cosines = np.sum(directions[:10] * directions[10:], axis=1)
    np.testing.assert_allclose(cosines, correlation, atol=1e-12)
    np.testing.assert_allclose(codes @ directions, X, atol=1e-12)
    # the two of a pair are never active together
    assert not ((codes[:, :10] > 0) & (codes[:, 10:] > 0)).any()
    assert (codes >= 0).all() and codes[codes > 0].min() >= 0.5 and codes.max() <= 1.5
    assert np.count_nonzero(codes, axis=1).mean() == pytest.approx(2, abs=0.1)
    np.testing.assert_allclose((codes > 0).mean(axis=0), 0.1, atol=0.02)


def test_antipodal_features_with_noise_and_seeds():
    call = {"n_samples": 500, "n_features": 8, "n_pairs": 4, "n_active": 4}
    X, codes, directions = make_antipodal_features(**call, noise=0.1, random_state=3)
    assert np.std(X - codes @ directions) == pytest.approx(0.1, rel=0.1)
    assert (np.count_nonzero(codes, axis=1) == 4).all()
    again = make_antipodal_features(**call, noise=0.1, random_state=3)[0]
    np.testing.assert_array_equal(X, again)
    assert (make_antipodal_features(**call, noise=0.1, random_state=4)[0] != X).any()
    assert not make_antipodal_features(5, 2, n_active=0)[0].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_samples": 0}, "'n_samples' parameter"),
        ({"n_features": 1}, "'n_features' parameter"),
        ({"n_pairs": 2.0}, "'n_pairs' parameter"),
        ({"n_active": 65}, "n_active must not exceed n_pairs=64, got 65"),
        ({"n_active": -1}, "'n_active' parameter"),
        ({"correlation": 0.5}, "'correlation' parameter"),
        ({"correlation": np.nan}, "'correlation' parameter"),
        ({"noise": -1.0}, "'noise' parameter"),
        ({"noise": np.inf}, "'noise' parameter"),
    ],
)
def test_antipodal_features_with_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        make_antipodal_features(**options)
