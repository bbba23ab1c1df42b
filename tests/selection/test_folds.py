"""Splits of the rows: who trains, who judges."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.selection import folds


def rng():
    return np.random.RandomState(0)


def splits(outputs, labels, rng, places=None):
    return folds.splits(np.arange(len(outputs)) if places is None else places, outputs, labels, rng)


@pytest.mark.parametrize("labels", [True, False])
def test_rows_of_one_place_stay_together(labels):
    places = np.repeat(np.arange(40), 3)
    outputs = np.where(np.arange(120) % 2, 1.0, -1.0)[:, None]
    pairs = splits(outputs, labels, rng(), places)
    assert len(pairs) == 5
    for train, test in pairs:
        assert (train != test).all()
        assert not np.isin(places[test], places[train]).any()
    # places count, and not rows
    assert splits(outputs, labels, rng(), places // 3) == []


@settings(max_examples=25)
@given(st.integers(20, 400), st.integers(1, 3), st.booleans(), st.integers(0, 2**31 - 1))
def test_every_row_judges_once(n, n_outputs, labels, seed):
    outputs = np.random.RandomState(seed).standard_normal((n, n_outputs))
    if labels:
        outputs = np.where(outputs > 0.0, 1.0, -1.0)
    pairs = splits(outputs, labels, np.random.RandomState(seed))
    if not pairs:
        assert labels
        return
    assert len(pairs) == (5 if n <= 300 else 3)
    assert (sum(test.astype(int) for _, test in pairs) == 1).all()
    for train, test in pairs:
        assert (train != test).all()
        assert abs(test.sum() - n / len(pairs)) < len(pairs)


def test_parts_have_their_share_of_the_targets():
    y = np.random.RandomState(0).standard_normal((1000, 1)) ** 3
    for _, test in splits(y, False, rng()):
        # of a random third the median would be off by more
        ranks = np.searchsorted(np.sort(y.ravel()), np.median(y[test]))
        assert abs(ranks - 500) <= 3
    signs = np.where(np.arange(90) < 9, 1.0, -1.0)[:, None]
    for _, test in splits(signs, True, rng()):
        assert (signs[test] > 0).sum() in (1, 2, 3)


@pytest.mark.parametrize("labels", [True, False])
def test_no_folds_of_few_rows(labels):
    outputs = np.where(np.arange(25) % 2, 1.0, -1.0)[:, None]
    assert splits(outputs[:19], labels, rng()) == []
    assert len(splits(outputs[:20], labels, rng())) == 5


def test_no_folds_where_a_class_has_fewer_members():
    outputs = np.where(np.arange(40) < 4, 1.0, -1.0)[:, None]
    assert splits(outputs, True, rng()) == splits(-outputs, True, rng()) == []
    assert len(splits(outputs, False, rng())) == 5


def test_many_rows_are_split_once():
    for n, n_train, n_test in ((20_000, 3000, 6000), (3001, 2000, 1000), (9000, 3000, 6000)):
        ((train, test),) = splits(np.arange(float(n))[:, None], False, rng())
        assert train.sum() == pytest.approx(n_train, rel=0.05) and train.sum() <= 3000
        assert test.sum() == pytest.approx(n_test, rel=0.05) and test.sum() <= 6000
        assert not (train & test).any()


def test_no_split_where_a_class_would_not_be_seen():
    signs = np.where(np.arange(60_000) < 3, 1.0, -1.0)[:, None]
    assert splits(signs, True, rng()) == []
    signs[::50] = 1.0
    ((train, test),) = splits(signs, True, rng())
    assert (signs[train] > 0).sum() == pytest.approx(60, abs=2)


def test_names_of_classes_do_not_matter():
    classes = np.random.RandomState(0).randint(3, size=60)
    signs = 2.0 * (classes[:, None] == [0, 1, 2]) - 1.0
    one, other = splits(signs, True, rng()), splits(signs[:, [2, 0, 1]], True, rng())
    np.testing.assert_array_equal(one, other)
