"""The gain of a neuron that several outputs share is enclosed: never below the truth, and close."""

import time

import numpy as np
import pytest
from grids import halved
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_convexnet.bounds.pricing import ascend
from sklearn_convexnet.program.patterns import enumerate_gates
from sklearn_convexnet.proof.pricing_tree import pricing_maximum, reduced


def value(rows, multipliers, points):
    return np.linalg.norm(np.maximum(rows @ points, 0.0).T @ multipliers, axis=1)


def unit_columns(points):
    return points / np.maximum(np.linalg.norm(points, axis=0), 1e-300)


def ascents(rows, multipliers, count=200, seed=0):
    """Best value that random directions and steps towards the gradient find."""
    starts = np.random.RandomState(seed).standard_normal((rows.shape[1], count))
    _, found, _ = ascend(rows, multipliers, starts, max_iter=30)
    return value(rows, multipliers, np.hstack([unit_columns(starts), found])).max()


def scan(rows, multipliers, count=100_000):
    """Enclosure of the maximum over the circle, by its Lipschitz constant."""
    angles = 2.0 * np.pi * np.arange(count) / count
    lower = value(rows, multipliers, np.stack([np.cos(angles), np.sin(angles)])).max()
    slope = np.linalg.norm(multipliers, axis=1) @ np.linalg.norm(rows, axis=1)
    return lower, lower + slope * np.pi / count


def best_over_patterns(rows, multipliers):
    """Best value that ascents find from the inside of every cell of equal activation patterns."""
    used = rows.any(axis=1)
    if not used.any():
        return 0.0
    gates = enumerate_gates(rows[used], max_patterns=10_000)
    _, found, _ = ascend(rows, multipliers, gates, max_iter=100)
    return value(rows, multipliers, unit_columns(np.hstack([gates, found]))).max()


def sizes(rows, multipliers):
    return np.linalg.norm(multipliers, axis=1) @ np.linalg.norm(rows, axis=1)


def check(rows, multipliers, found, tol=1e-2, stop_below=0.0):
    """What holds of every enclosure."""
    scale = sizes(rows, multipliers)
    assert 0.0 <= found.lower <= found.upper
    norm = np.linalg.norm(found.direction)
    assert norm == pytest.approx(1.0) if found.lower > 0 else norm == 0.0
    there = value(rows, multipliers, found.direction[:, None])[0]
    assert found.lower == pytest.approx(there, rel=1e-12, abs=1e-300)
    assert found.upper >= ascents(rows, multipliers) - 1e-14 * scale
    if found.finished:
        assert found.upper <= max(found.lower * (1 + tol) + 1e-11 * scale, stop_below)


def draw(seed, n, d, n_outputs, kind="normal"):
    rng = np.random.RandomState(seed)
    rows, multipliers = rng.standard_normal((n, d)), rng.standard_normal((n, n_outputs))
    if kind == "rounded":
        rows, multipliers = np.round(rows), np.round(2 * multipliers)
    elif kind == "softmax":
        # probabilities less the classes, and a constant
        rows[:, -1] = 1.0
        shares = np.exp(2.0 * multipliers)
        shares /= shares.sum(axis=1, keepdims=True)
        multipliers = shares - np.eye(n_outputs)[rng.randint(n_outputs, size=n)]
    elif kind == "deficient":
        rows = rows[:, : max(1, d - 1)] @ rng.standard_normal((max(1, d - 1), d))
        multipliers = multipliers[:, :1] @ rng.standard_normal((1, n_outputs))
    elif kind == "spread":
        rows *= 10.0 ** rng.uniform(-3, 3, d)
        multipliers *= 10.0 ** rng.uniform(-3, 3, (n, 1))
    return rows, multipliers


KINDS = ["normal", "rounded", "softmax", "deficient", "spread"]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=5)
@given(
    seed=st.integers(0, 2**31 - 1), n=st.integers(1, 12), d=st.integers(1, 3), K=st.integers(1, 4)
)
@example(seed=0, n=2, d=3, K=2)
def test_encloses_the_maximum_over_all_patterns(kind, seed, n, d, K):
    rows, multipliers = draw(seed, n, d, K, kind)
    found = pricing_maximum(rows, multipliers, max_cones=20_000)
    check(rows, multipliers, found)
    best, scale = best_over_patterns(rows, multipliers), sizes(rows, multipliers)
    assert found.upper >= best * (1.0 - 1e-12) - 1e-14 * scale
    if found.finished:
        assert found.lower >= best / 1.01 - 1e-9 * scale


@pytest.mark.parametrize(("kind", "n_outputs"), halved(KINDS, [2, 5]))
def test_of_the_plane(kind, n_outputs):
    rows, multipliers = draw(1, 50, 2, n_outputs, kind)
    found = pricing_maximum(rows, multipliers, tol=1e-5)
    check(rows, multipliers, found, tol=1e-5)
    assert found.finished
    lower, upper = scan(rows, multipliers)
    assert found.upper >= lower
    assert found.lower <= upper


@pytest.mark.parametrize(
    ("kind", "shape"),
    halved(["normal", "softmax"], [(100, 2, 26), (100, 3, 10), (50, 4, 3), (12, 5, 2), (3, 6, 4)]),
    ids=str,
)
def test_finishes(kind, shape):
    n, d, n_outputs = shape
    rows, multipliers = draw(0, n, d, n_outputs, kind)
    found = pricing_maximum(rows, multipliers, tol=2e-2)
    assert found.finished
    check(rows, multipliers, found, tol=2e-2)
    points = unit_columns(np.random.RandomState(1).standard_normal((d, 100_000)))
    assert value(rows, multipliers, points).max() <= found.upper


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_one_column_has_both_signs(d):
    rows, multipliers = draw(2, 30, d, 1)
    found = pricing_maximum(rows, multipliers, tol=1e-3)
    single = [pricing_maximum(rows, sign * multipliers[:, 0], tol=1e-3) for sign in (1.0, -1.0)]
    assert found.finished
    assert found.lower <= max(part.upper for part in single)
    assert found.upper >= max(part.lower for part in single)


def test_equal_columns_are_one():
    """All multipliers are parallel, and the norm is that of one of them, times that of the rest."""
    rows, multipliers = draw(3, 60, 3, 1)
    weights = np.array([[2.0, -1.0, 2.0]])
    found = pricing_maximum(rows, multipliers @ weights, tol=1e-3)
    single = pricing_maximum(rows, multipliers, tol=1e-3)
    assert found.finished
    assert found.lower <= 3.0 * single.upper
    assert found.upper >= 3.0 * single.lower


def test_a_linear_map_has_its_singular_value():
    # (z)_+ - (-z)_+ = z
    rows, multipliers = draw(4, 10, 3, 4)
    found = pricing_maximum(
        np.vstack([rows, -rows]), np.vstack([multipliers, -multipliers]), tol=1e-4
    )
    assert found.finished
    expected = np.linalg.norm(rows.T @ multipliers, 2)
    assert found.lower == pytest.approx(expected, rel=1e-4)
    assert found.upper >= expected


def test_repeated_rows_cancel_and_zero_rows_do_not_count():
    rows, multipliers = draw(5, 10, 3, 2)
    found = pricing_maximum(
        np.vstack([rows, 3.0 * rows]), np.vstack([3.0 * multipliers, -multipliers])
    )
    assert found.finished
    assert found.upper <= 1e-9
    found = pricing_maximum(rows, multipliers)
    more = pricing_maximum(
        np.vstack([rows, np.zeros((2, 3)), rows]),
        np.vstack([0.5 * multipliers, np.ones((2, 2)), 0.5 * multipliers]),
    )
    assert more.finished
    assert (more.lower, more.upper) == pytest.approx((found.lower, found.upper), rel=1e-2)


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (4, 0)])
def test_nothing_to_gain(shape):
    for rows, multipliers in [
        (np.zeros(shape), np.ones((shape[0], 2))),
        (np.ones(shape), np.zeros((shape[0], 2))),
    ]:
        found = pricing_maximum(rows, multipliers)
        assert (found.lower, found.upper, found.finished) == (0.0, 0.0, True)
        assert found.direction.tolist() == [0.0] * shape[1]


@settings(max_examples=2)
@given(seed=st.integers(0, 2**31 - 1), exponent=st.integers(-90, 90))
def test_invariances(seed, exponent):
    rows, multipliers = draw(seed, 10, 3, 3)
    rng = np.random.RandomState(seed)
    expected = pricing_maximum(rows, multipliers, tol=1e-3)
    order, factors = rng.permutation(10), 2.0 ** rng.randint(-3, 3, (10, 1))
    rotation, mixing = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    unit = 10.0**exponent
    for other_rows, other_multipliers, scale in [
        (rows[order], multipliers[order], 1.0),
        (rows @ rotation, multipliers, 1.0),
        (rows, multipliers @ mixing, 1.0),
        (rows * factors, multipliers / factors, 1.0),
        (rows, multipliers * unit, unit),
        (rows * unit, multipliers, unit),
    ]:
        found = pricing_maximum(other_rows, other_multipliers, tol=1e-3)
        assert found.finished
        assert found.lower <= scale * expected.upper * (1 + 1e-9)
        assert scale * expected.lower <= found.upper * (1 + 1e-9)


def test_deterministic():
    rows, multipliers = draw(6, 40, 3, 3)
    first, second = (pricing_maximum(rows, multipliers) for _ in range(2))
    assert (first.lower, first.upper, first.n_cones) == (second.lower, second.upper, second.n_cones)
    assert first.direction.tolist() == second.direction.tolist()


def test_stops_below():
    rows, multipliers = draw(7, 60, 3, 3, "softmax")
    full = pricing_maximum(rows, multipliers)
    found = pricing_maximum(rows, multipliers, stop_below=1.5 * full.upper)
    assert found.finished
    assert found.n_cones < full.n_cones
    assert full.lower <= found.upper <= 1.5 * full.upper
    check(rows, multipliers, found, stop_below=1.5 * full.upper)
    # a maximum above is enclosed as without it
    found = pricing_maximum(rows, multipliers, stop_below=0.5 * full.lower)
    assert found.finished
    check(rows, multipliers, found)


def test_limits_leave_a_valid_bound():
    rows, multipliers = draw(8, 200, 8, 10, "softmax")
    begin = time.perf_counter()
    found = pricing_maximum(rows, multipliers, time_limit=0.3)
    assert time.perf_counter() - begin < 2.5
    assert not found.finished
    check(rows, multipliers, found)
    begun = pricing_maximum(rows, multipliers, max_cones=1)
    assert not begun.finished
    assert begun.n_cones == 9
    assert begun.upper >= found.upper
    check(rows, multipliers, begun)


def test_many_dimensions():
    for d in (40, 100):
        rows, multipliers = draw(9, 150, d, 3)
        found = pricing_maximum(rows, multipliers, max_cones=100)
        check(rows, multipliers, found)
        assert not found.finished


def test_start_is_used():
    rows, multipliers = draw(10, 100, 30, 3)
    known = np.random.RandomState(0).standard_normal((30, 3))
    best = value(rows, multipliers, unit_columns(known)).max()
    found = pricing_maximum(rows, multipliers, start=7.0 * known, max_cones=1)
    assert found.lower >= best
    check(rows, multipliers, found)


@pytest.mark.parametrize("kind", ["softmax", "spread", "deficient"])
@pytest.mark.parametrize("n_outputs", [2, 10])
def test_no_point_of_a_cone_is_above_its_bound(n_outputs, kind):
    rows, multipliers = draw(11, 80, 4, n_outputs, kind)
    pricing, basis, _, slack = reduced(rows, multipliers)
    cones, rng = pricing.fan(), np.random.RandomState(0)
    largest = pricing.value(unit_columns(rng.standard_normal((basis.shape[1], 1000)))).max()
    for _ in range(8):
        cones.bound(pricing, threshold=0.5 * largest)
        shares = rng.exponential(size=(50, *cones.rays.shape[:2])) ** 3
        points = np.einsum("kbi,bij->kbj", shares, cones.rays)
        points /= np.linalg.norm(points, axis=2, keepdims=True)
        values = pricing.value(points.reshape(-1, basis.shape[1]).T).reshape(points.shape[:2])
        assert (values <= cones.bounds + slack).all()
        cones = cones.halves(pricing)
    # bounds that are far from what is there would be no use
    assert np.median(cones.bounds[: len(cones) // 2] - values.max(axis=0)) < largest
