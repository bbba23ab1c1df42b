"""The pricing maximum is enclosed: never below the truth, as close to it as asked for."""

import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sklearn_convexnet.program.cones import project_on_cone
from sklearn_convexnet.program.patterns import enumerate_gates
from sklearn_convexnet.proof.pricing_tree import pricing_maximum, reduced


def value(rows, multipliers, points):
    return multipliers @ np.maximum(rows @ points, 0.0)


def exhaustive_maximum(rows, multipliers):
    """Over all activation patterns the norm of the gradient projected on the cone."""
    best = 0.0
    for gate in enumerate_gates(rows, max_patterns=10_000).T:
        active = rows @ gate >= 0
        signs = 2.0 * active - 1.0
        point, _ = project_on_cone(signs[:, None] * rows, rows.T @ (active * multipliers))
        norm = np.linalg.norm(point)
        # a projection of an unlucky sliver of a cone proves nothing: its value does
        if norm > 0.0:
            best = max(best, value(rows, multipliers, point / norm))
    return best


def ascents(rows, multipliers, count=200, seed=0):
    """Best value that random directions and steps towards the gradient find."""
    points = np.random.RandomState(seed).standard_normal((rows.shape[1], count))
    points /= np.linalg.norm(points, axis=0)
    best = 0.0
    for _ in range(20):
        best = max(best, value(rows, multipliers, points).max())
        points = rows.T @ (multipliers[:, None] * (rows @ points > 0)) + 1e-3 * points
        points /= np.maximum(np.linalg.norm(points, axis=0), 1e-300)
    return best


def check(rows, multipliers, found, tol=1e-2, stop_below=0.0):
    """What holds of every enclosure."""
    scale = np.abs(multipliers) @ np.linalg.norm(rows, axis=1)
    assert 0.0 <= found.lower <= found.upper
    norm = np.linalg.norm(found.direction)
    assert norm == pytest.approx(1.0) if found.lower > 0 else norm == 0.0
    assert found.lower == pytest.approx(value(rows, multipliers, found.direction), abs=1e-300)
    assert found.upper >= ascents(rows, multipliers) - 1e-14 * scale
    if found.finished:
        assert found.upper <= max(found.lower * (1 + tol) + 1e-11 * scale, stop_below)


def draw(seed, n, d, kind="normal"):
    rng = np.random.RandomState(seed)
    rows, multipliers = rng.standard_normal((n, d)), rng.standard_normal(n)
    if kind == "rounded":
        rows, multipliers = np.round(rows), np.round(2 * multipliers)
    elif kind == "intercept":
        rows[:, -1] = 1.0
        multipliers -= multipliers.mean()
    elif kind == "deficient":
        rows = rows[:, : max(1, d - 1)] @ rng.standard_normal((max(1, d - 1), d))
    elif kind == "spread":
        rows *= 10.0 ** rng.uniform(-3, 3, d)
        multipliers *= 10.0 ** rng.uniform(-3, 3, n)
    return rows, multipliers


@pytest.mark.parametrize("kind", ["normal", "rounded", "intercept", "deficient", "spread"])
@settings(max_examples=12)
@given(seed=st.integers(0, 2**31 - 1), n=st.integers(1, 12), d=st.integers(1, 3))
@example(seed=0, n=2, d=3)
def test_encloses_the_maximum_over_all_patterns(kind, seed, n, d):
    rows, multipliers = draw(seed, n, d, kind)
    found = pricing_maximum(rows, multipliers, tol=1e-2, max_cones=20_000)
    check(rows, multipliers, found)
    best = exhaustive_maximum(rows, multipliers)
    scale = np.abs(multipliers) @ np.linalg.norm(rows, axis=1)
    assert found.upper >= best * (1.0 - 1e-12)
    if found.finished:
        assert found.lower >= best / 1.01 - 1e-9 * scale


@pytest.mark.parametrize("kind", ["normal", "intercept"])
@pytest.mark.parametrize(("n", "d"), [(200, 2), (200, 3), (60, 4), (20, 5), (4, 6), (1, 9)])
def test_finishes(n, d, kind):
    rows, multipliers = draw(0, n, d, kind)
    if kind == "intercept" and n == 1:
        multipliers[:] = 1.0
    found = pricing_maximum(rows, multipliers)
    assert found.finished
    check(rows, multipliers, found)


def test_tight_tolerance():
    rows, multipliers = draw(1, 30, 3)
    found = pricing_maximum(rows, multipliers, tol=1e-6)
    assert found.finished
    check(rows, multipliers, found, tol=1e-6)
    assert found.lower == pytest.approx(exhaustive_maximum(rows, multipliers), rel=2e-6)


def test_one_dimension_is_exact():
    rows, multipliers = draw(0, 50, 1)
    found = pricing_maximum(rows, multipliers, tol=0.0)
    expected = max(0.0, *value(rows, multipliers, np.array([[1.0, -1.0]])))
    assert found.finished
    assert found.lower == pytest.approx(expected, rel=1e-14)
    assert found.upper == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("shape", [(5, 3), (0, 3), (4, 0)])
def test_nothing_to_gain(shape):
    for rows, multipliers in [
        (np.zeros(shape), np.ones(shape[0])),
        (np.ones(shape), np.zeros(shape[0])),
    ]:
        found = pricing_maximum(rows, multipliers)
        assert (found.lower, found.upper, found.finished) == (0.0, 0.0, True)
        assert found.direction.tolist() == [0.0] * shape[1]


def test_neighbours_that_are_merged_may_be_far_apart():
    """Each of many rows equals the next one but for rounding, and the last is not the first."""
    angles = 0.9e-14 * np.arange(4000)
    rows = np.stack([np.ones(4000), angles], axis=1)
    multipliers = np.repeat([1.0, -1.0, 1.0], [1000, 2000, 1000])
    for sign in (1.0, -1.0):
        # of the rows, half are on either side
        point = sign * np.array([-angles[2000], 1.0])
        there = value(rows, multipliers, point / np.linalg.norm(point))
        assert there > 5e-9
        assert pricing_maximum(rows, multipliers).upper >= there


def test_multipliers_of_one_sign():
    rows, multipliers = draw(3, 40, 3)
    negative = pricing_maximum(rows, -np.abs(multipliers))
    assert negative.finished
    assert negative.lower == 0.0
    assert negative.upper <= 1e-9
    positive = pricing_maximum(rows, np.abs(multipliers))
    assert positive.finished
    check(rows, np.abs(multipliers), positive)


def test_repeated_and_opposite_rows_cancel():
    rows, multipliers = draw(4, 10, 3)
    found = pricing_maximum(
        np.vstack([rows, 3.0 * rows]), np.append(3.0 * multipliers, -multipliers)
    )
    assert found.finished
    assert found.upper <= 1e-9
    # lambda (z)_+ - lambda (-z)_+ = lambda z
    found = pricing_maximum(
        np.vstack([rows, -rows]), np.append(multipliers, -multipliers), tol=1e-9
    )
    assert found.finished
    assert found.lower == pytest.approx(np.linalg.norm(rows.T @ multipliers), rel=1e-9)


@settings(max_examples=2)
@given(seed=st.integers(0, 2**31 - 1), exponent=st.integers(-90, 90))
def test_invariances(seed, exponent):
    rows, multipliers = draw(seed, 10, 3)
    rng = np.random.RandomState(seed)
    expected = pricing_maximum(rows, multipliers, tol=1e-3)
    order, rotation = rng.permutation(10), np.linalg.qr(rng.standard_normal((3, 3)))[0]
    factors = 2.0 ** rng.randint(-3, 3, 10)
    for other_rows, other_multipliers, unit in [
        (rows[order], multipliers[order], 1.0),
        (rows @ rotation, multipliers, 1.0),
        (rows * factors[:, None], multipliers / factors, 1.0),
        (rows, multipliers * 10.0**exponent, 10.0**exponent),
        (rows * 10.0**exponent, multipliers, 10.0**exponent),
    ]:
        found = pricing_maximum(other_rows, other_multipliers, tol=1e-3)
        assert found.finished
        assert found.lower <= unit * expected.upper * (1 + 1e-9)
        assert unit * expected.lower <= found.upper * (1 + 1e-9)


def test_deterministic():
    rows, multipliers = draw(5, 60, 4)
    first, second = (pricing_maximum(rows, multipliers) for _ in range(2))
    assert (first.lower, first.upper, first.n_cones) == (second.lower, second.upper, second.n_cones)
    assert first.direction.tolist() == second.direction.tolist()


def test_stops_below():
    rows, multipliers = draw(6, 200, 4, "intercept")
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
    rows, multipliers = draw(7, 300, 8, "intercept")
    begin = time.perf_counter()
    found = pricing_maximum(rows, multipliers, time_limit=0.5)
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
        rows, multipliers = draw(8, 150, d)
        found = pricing_maximum(rows, multipliers, max_cones=100)
        check(rows, multipliers, found)
        assert not found.finished


@given(seed=st.integers(0, 10_000), d=st.integers(1, 4), deficient=st.booleans())
@settings(max_examples=20)
def test_directions_of_some_signs_are_enclosed(seed, d, deficient):
    rng = np.random.RandomState(seed)
    rows, multipliers = draw(seed % 100, 25, d)
    if deficient:
        # signs are of the coordinates, also where rows do not span them
        rows = rows[:, :1] * rng.standard_normal(d)
    signs = rng.choice([-1, 0, 1], d)
    found = pricing_maximum(rows, multipliers, signs=signs, tol=1e-3)
    assert found.finished
    assert (signs * found.direction >= 0).all()
    np.testing.assert_allclose(value(rows, multipliers, found.direction), found.lower, atol=1e-12)
    points = rng.standard_normal((d, 20_000))
    points = np.where(signs[:, None] * points < 0, -points, points)
    points = np.concatenate([points / np.linalg.norm(points, axis=0), np.diag(signs)], axis=1)
    values = value(rows, multipliers, points)
    assert (values <= found.upper).all()
    # in so few dimensions random directions come close
    assert found.lower >= 0.99 * values.max(initial=0.0)


def test_start_is_used():
    rows, multipliers = draw(9, 100, 30)
    known = np.random.RandomState(0).standard_normal((30, 3))
    best = value(rows, multipliers, known / np.linalg.norm(known, axis=0)).max()
    found = pricing_maximum(rows, multipliers, start=7.0 * known, max_cones=1)
    assert found.lower >= best
    check(rows, multipliers, found)


def test_memory_is_bounded(monkeypatch):
    module = "sklearn_convexnet.proof.pricing_tree"
    monkeypatch.setattr(f"{module}.MEMORY", 500)
    monkeypatch.setattr(f"{module}.BATCH", 16)
    rows, multipliers = draw(10, 40, 4)
    found = pricing_maximum(rows, multipliers)
    assert found.finished
    check(rows, multipliers, found)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_halves_inherit_the_truth(d):
    rows, multipliers = draw(11, 50, d, "intercept")
    pricing, _, _, _ = reduced(rows, multipliers)
    cones, rng = pricing.fan(), np.random.RandomState(0)
    for _ in range(30):
        cones.bound(pricing, 0.0)
        cones = cones.halves(pricing)
        # of each pair of halves one, so that they get small
        count = len(cones) // 2
        cones = cones[np.arange(count) + count * rng.randint(2, size=count)]
        np.testing.assert_allclose(np.linalg.norm(cones.rays, axis=2), 1.0, rtol=1e-14)
        product = cones.rays @ cones.inverse.transpose(0, 2, 1)
        assert np.abs(product - np.eye(d)).max() <= 1e-14 * np.abs(cones.inverse).max()
        fresh = pricing.convex_gradients(cones.rays.reshape(-1, d)).reshape(cones.rays.shape)
        np.testing.assert_allclose(cones.gradients, fresh, rtol=1e-12, atol=1e-12)


def test_no_point_of_a_cone_is_above_its_bound():
    rows, multipliers = draw(12, 80, 4, "intercept")
    pricing, _, _, slack = reduced(rows, multipliers)
    cones, rng = pricing.fan(), np.random.RandomState(0)
    for _ in range(8):
        cones.bound(pricing, threshold=0.5)
        shares = rng.exponential(size=(50, *cones.rays.shape[:2])) ** 3
        points = np.einsum("kbi,bij->kbj", shares, cones.rays)
        points /= np.linalg.norm(points, axis=2, keepdims=True)
        values = pricing.value(points.reshape(-1, 4).T).reshape(points.shape[:2])
        assert (values <= cones.bounds + slack).all()
        # bounds that are far from what is there would be no use
        assert np.median(cones.bounds - values.max(axis=0)) < 30.0
        cones = cones.halves(pricing)
