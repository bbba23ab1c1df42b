"""Losses of several outputs against their formulas, and what the dual asks of their slopes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.metrics import log_loss

from sklearn_convexnet.core.losses import (
    AbsoluteError,
    Hinge,
    Huber,
    LogLoss,
    Quantile,
    SquaredError,
    SquaredHinge,
)
from sklearn_convexnet.core.vector_losses import MultinomialLogLoss, SumOverOutputs

SCALARS = [
    SquaredError(),
    AbsoluteError(),
    Huber(delta=0.3),
    Quantile(quantile=0.8),
    LogLoss(),
    Hinge(),
    SquaredHinge(),
]
LOSSES = [MultinomialLogLoss(), *map(SumOverOutputs, SCALARS)]
SMOOTH = [loss for loss in LOSSES if np.isfinite(loss.curvature)]

TINY = np.finfo(float).tiny

each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
each_smooth_loss = pytest.mark.parametrize("loss", SMOOTH, ids=repr)
each_scalar = pytest.mark.parametrize("scalar", SCALARS, ids=repr)


def one_of(labels, n_classes):
    return np.where(np.asarray(labels)[:, None] == np.arange(n_classes), 1.0, -1.0)


def drawn(loss, seed=0, *, n=40, K=3, size=3.0):
    """Predictions and targets; every class has a row."""
    rng = np.random.RandomState(seed)
    f = size * rng.standard_normal((n, K))
    if isinstance(loss, MultinomialLogLoss):
        return rng, f, one_of(np.r_[np.arange(K), rng.randint(K, size=n)][:n], K)
    y = rng.standard_normal((n, K))
    return rng, f, np.where(y > 0, 1.0, -1.0) if loss.target == "sign" else y


@each_scalar
def test_a_sum_over_outputs_is_the_sum_of_the_outputs(scalar):
    loss = SumOverOutputs(scalar)
    rng, f, y = drawn(loss)
    weights = rng.uniform(0.1, 1, len(f))
    p = scalar.admissible(rng.standard_normal(f.shape), y)
    columns = range(f.shape[1])

    def total(method, values):
        return sum(getattr(scalar, method)(values[:, c], y[:, c]) for c in columns)

    np.testing.assert_allclose(loss.value(f, y), total("value", f), rtol=1e-14)
    np.testing.assert_allclose(loss.conjugate(p, y), total("conjugate", p), rtol=1e-13, atol=1e-15)
    np.testing.assert_array_equal(loss.derivative(f, y), scalar.derivative(f, y))
    np.testing.assert_array_equal(loss.prox(f, y, 0.7), scalar.prox(f, y, 0.7))
    constants, slopes = loss.constant(y, weights)
    for c in columns:
        constant, expected = scalar.constant(y[:, c], weights)
        assert constants[c] == constant
        np.testing.assert_array_equal(slopes[:, c], expected)
        expected = scalar.admissible(f[:, c], y[:, c], weights)
        np.testing.assert_array_equal(loss.admissible(f, y, weights)[:, c], expected)
    for name in ("name", "target", "curvature", "degree"):
        assert getattr(loss, name) == getattr(scalar, name)


def test_the_cross_entropy_by_hand():
    loss, y = MultinomialLogLoss(), one_of([0, 1], 3)
    np.testing.assert_allclose(loss.value(np.zeros((2, 3)), y), np.log(3))
    third = 1.0 / 3.0
    expected = [[-2 * third, third, third], [third, -2 * third, third]]
    np.testing.assert_allclose(loss.derivative(np.zeros((2, 3)), y), expected)
    # the conjugate is minus the entropy of the probabilities
    p = np.array([[-0.5, 0.25, 0.25], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(loss.conjugate(p, y), [-1.5 * np.log(2), 0.0], atol=1e-16)


def test_the_cross_entropy_next_to_the_metric_of_scikit_learn():
    _, f, y = drawn(MultinomialLogLoss(), K=5)
    q = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    mean = MultinomialLogLoss().value(f, y).mean()
    assert mean == pytest.approx(log_loss(y.argmax(axis=1), q), rel=1e-12)


def test_two_classes_are_the_logistic_loss_of_the_difference():
    _, f, y = drawn(MultinomialLogLoss(), K=2)
    scalar, loss, difference = LogLoss(), MultinomialLogLoss(), f[:, 1] - f[:, 0]
    np.testing.assert_allclose(loss.value(f, y), scalar.value(difference, y[:, 1]), rtol=1e-10)
    expected = scalar.derivative(difference, y[:, 1])
    np.testing.assert_allclose(loss.derivative(f, y)[:, 1], expected, rtol=1e-12)


@each_loss
def test_the_derivative_is_the_finite_difference(loss):
    _, f, y = drawn(loss)
    derivative, h = loss.derivative(f, y), 1e-6
    # no prediction is within h of a kink
    for c in range(f.shape[1]):
        step = h * np.eye(f.shape[1])[c]
        difference = (loss.value(f + step, y) - loss.value(f - step, y)) / (2 * h)
        np.testing.assert_allclose(derivative[:, c], difference, atol=1e-7)


@pytest.mark.parametrize("size", [1e-9, 1.0, 30.0, 1e4])
@each_loss
def test_value_and_derivative_together_are_both(loss, size):
    _, f, y = drawn(loss, K=5, size=size)
    before = f.copy()
    value, derivative = loss.value_and_derivative(f, y)
    np.testing.assert_array_equal(f, before)
    np.testing.assert_array_equal(value, loss.value(f, y))
    np.testing.assert_array_equal(derivative, loss.derivative(f, y))
    if isinstance(loss, MultinomialLogLoss):
        own = y > 0
        expected = logsumexp(f - f[own][:, None], axis=1)
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(derivative, softmax(f, axis=1) - own, atol=1e-15)
        assert (np.abs(derivative.sum(axis=1)) <= 1e-15).all()


@each_smooth_loss
def test_the_curvature_is_an_upper_bound(loss):
    rng, f, y = drawn(loss, n=200)
    g = f + 10.0 ** rng.uniform(-4, 1, (len(f), 1)) * rng.standard_normal(f.shape)
    moved = np.linalg.norm(loss.derivative(g, y) - loss.derivative(f, y), axis=1)
    distance = np.linalg.norm(g - f, axis=1)
    assert (moved <= loss.curvature * distance * (1 + 1e-9)).all()


def test_the_curvature_of_the_cross_entropy_is_reached():
    loss, y, h = MultinomialLogLoss(), one_of([0], 3), 1e-4
    f, step = np.array([[0.0, 0.0, -40.0]]), h * np.array([1.0, -1.0, 0.0]) / np.sqrt(2)
    moved = loss.derivative(f + step, y) - loss.derivative(f, y)
    assert np.linalg.norm(moved) / h == pytest.approx(loss.curvature, rel=1e-6)


@each_loss
def test_fenchel_and_young(loss):
    rng, f, y = drawn(loss)
    p = loss.admissible(loss.derivative(2 * rng.standard_normal(f.shape), y), y, None)
    value, conjugate = loss.value(f, y), loss.conjugate(p, y)
    assert np.isfinite(conjugate).all()
    assert (value + conjugate >= (p * f).sum(axis=1) - 1e-12 * (1 + np.abs(f).sum(axis=1))).all()
    # an equation at the slopes of the predictions
    p = loss.derivative(f, y)
    np.testing.assert_allclose(value + loss.conjugate(p, y), (p * f).sum(axis=1), atol=1e-12)


@each_loss
def test_the_conjugate_is_reached(loss):
    """As the largest difference of p f and the loss, by a search for f."""
    rng, f, y = drawn(loss, n=3)
    p = loss.admissible(loss.derivative(0.3 * f, y), y, None)
    for row, target in zip(p[:, None], y[:, None], strict=True):

        def negative(point, row=row, target=target):
            return loss.value(point[None], target)[0] - row[0] @ point

        # also where the loss has kinks: at the targets and at margins of one
        starts = [np.zeros(3), target[0]]
        options = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 2000}
        found = min(
            minimize(negative, start, method="Nelder-Mead", options=options).fun for start in starts
        )
        assert -found == pytest.approx(loss.conjugate(row, target)[0], rel=1e-6, abs=1e-7)


def test_the_domain_of_the_conjugate_of_the_cross_entropy():
    loss, y = MultinomialLogLoss(), one_of([0, 0, 0], 3)
    outside = np.array([[-1.5, 0.75, 0.75], [-0.5, -0.1, 0.6], [-1.1, 0, 1.1]])
    assert (loss.conjugate(outside, y) == np.inf).all()
    y = one_of([0, 0, 0, 0], 3)
    corners = np.array([[0.0, 0, 0], [-1.0, 1, 0], [-1.0, 0, 1], [-1.0, 0.5, 0.5]])
    np.testing.assert_allclose(loss.conjugate(corners, y), [0, 0, 0, -np.log(2)], atol=1e-15)
    # what rounding makes of a corner is inside
    assert loss.conjugate(corners * (1 + np.finfo(float).eps), y).max() <= 1e-15
    # and so are slopes over more than one, as the dual shrinks them
    assert np.isfinite(loss.conjugate(corners / 1.7, y)).all()


@each_loss
def test_huge_predictions(loss):
    _, f, y = drawn(loss, n=12)
    f = np.where(f > 0, 1e150, -1e150)
    with np.errstate(all="raise", under="ignore"):
        value, derivative = loss.value(f, y), loss.derivative(f, y)
        p = loss.admissible(derivative, y, None)
        assert np.isfinite(loss.conjugate(p, y)).all()
    assert np.isfinite(value).all() and (value >= 0).all()
    assert np.isfinite(derivative).all()


def test_saturated_probabilities():
    loss, y = MultinomialLogLoss(), one_of([0, 0, 0], 3)
    f = np.array([[1e4, 0, -1e4], [-1e4, 0, 1e4], [30.0, 0, 0]])
    value, p = loss.value(f, y), loss.derivative(f, y)
    np.testing.assert_allclose(value[:2], [0.0, 2e4])
    assert value[2] == pytest.approx(2 * np.exp(-30), rel=1e-2)
    # probabilities near one have slopes with all their digits
    np.testing.assert_allclose(p[2], np.exp(-30) * np.array([-2, 1, 1]), rtol=1e-12)
    np.testing.assert_array_equal(p[:2], [[0, 0, 0], [-1, 0, 1]])


@st.composite
def slopes(draw):
    """Slopes of the cross-entropy, saturated or not, and weights with ratios up to 1e8."""
    n_classes, n = draw(st.integers(2, 6)), draw(st.integers(1, 20))
    rng = np.random.RandomState(draw(st.integers(0, 2**31 - 1)))
    size, spread = 10.0 ** draw(st.floats(-2, 5)), draw(st.floats(0, 8))
    kind = draw(st.sampled_from(["any", "right", "one row", "outside"]))
    y = one_of(rng.randint(n_classes, size=n), n_classes)
    weights = 10.0 ** rng.uniform(0, spread, n)
    f = size * rng.standard_normal((n, n_classes))
    if kind == "outside":
        return f, y, weights / weights.sum()
    f += size * y if kind == "right" else 0.0
    if kind == "one row":
        f[1:] /= size
    return MultinomialLogLoss().derivative(f, y), y, weights / weights.sum()


@given(slopes())
def test_admissible_slopes_are_in_the_domain_and_of_weighted_sum_zero(drawn):
    loss, (p, y, weights) = MultinomialLogLoss(), drawn
    found = loss.admissible(p, y, weights)
    assert np.isfinite(loss.conjugate(found, y)).all()
    np.testing.assert_allclose(found.sum(axis=1), 0.0, atol=1e-15)
    # zero next to the slopes that were summed, however small they are
    assert np.abs(weights @ found).sum() <= 1e-14 * (weights @ np.abs(found)).sum() + TINY
    # and as they are, where they are that already
    np.testing.assert_allclose(loss.admissible(found, y, weights), found, atol=1e-7)
    inside = loss.admissible(p, y, None)
    assert np.isfinite(loss.conjugate(inside, y)).all()
    np.testing.assert_allclose(loss.admissible(inside, y, None), inside, rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("size", [1.0, 1e-6, 1e-13, 1e-18, 1e-200])
def test_slopes_of_saturated_probabilities_are_of_weighted_sum_zero_next_to_them(size):
    loss = MultinomialLogLoss()
    rng, _, y = drawn(loss, n=50)
    weights = rng.dirichlet(np.ones(len(y)))
    p = np.where(y > 0, 0.0, size / 3.0 * rng.uniform(size=y.shape))
    p = np.where(y > 0, -p.sum(axis=1, keepdims=True), p)
    found = loss.admissible(p, y, weights)
    # an output bias is free: it gains what is left of them, times its size
    assert (np.abs(weights @ found) <= 1e-14 * (weights @ np.abs(found))).all()
    assert np.abs(found).max() <= 10.0 * size


def test_slopes_that_all_but_vanish():
    loss, y = MultinomialLogLoss(), one_of([0, 1, 2, 2], 3)
    rng = np.random.RandomState(0)
    for size in (700.0, 720.0, 740.0, 760.0):
        p = loss.derivative(0.5 * size * y + rng.standard_normal(y.shape), y)
        p[0] = loss.derivative(rng.standard_normal((1, 3)), y[:1])
        found = loss.admissible(p, y, np.full(4, 0.25))
        assert np.isfinite(loss.conjugate(found, y)).all()
        np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=1e-15 * np.abs(found).max())


def test_admissible_slopes_are_those_of_predictions_moved_by_the_best_constant():
    loss = MultinomialLogLoss()
    rng, f, y = drawn(loss, K=4)
    weights = rng.dirichlet(np.ones(len(y)))
    p = loss.derivative(f, y)
    np.testing.assert_allclose(loss.admissible(p, y, None), p, atol=1e-15)
    shift = minimize(lambda c: weights @ loss.value(f + c, y), np.zeros(4), tol=1e-10).x
    expected = loss.derivative(f + shift, y)
    np.testing.assert_allclose(loss.admissible(p, y, weights), expected, atol=1e-5)


def test_slopes_of_a_class_that_no_row_has():
    loss, y, weights = MultinomialLogLoss(), one_of([0, 1, 1, 0], 3), np.full(4, 0.25)
    for size in (1.0, 1e4):
        p = loss.derivative(size * np.random.RandomState(0).standard_normal((4, 3)), y)
        found = loss.admissible(p, y, weights)
        assert (found[:, 2] == 0).all()
        np.testing.assert_allclose(weights @ found, 0.0, atol=1e-15)


@pytest.mark.parametrize("spread", [0, 3, 9])
def test_the_best_constant_is_the_logarithm_of_the_frequencies(spread):
    loss = MultinomialLogLoss()
    rng, _, y = drawn(loss, n=60, K=5)
    weights = 10.0 ** rng.uniform(0, spread, len(y))
    weights /= weights.sum()
    constant, p = loss.constant(y, weights)
    frequencies = weights @ (y > 0)
    logs = np.log(frequencies)
    np.testing.assert_allclose(constant, logs - logs.mean(), atol=1e-7)
    np.testing.assert_allclose(p, frequencies - (y > 0), atol=1e-12)


def test_labels_have_no_units():
    assert MultinomialLogLoss().scaled(1.0) == MultinomialLogLoss()
    with pytest.raises(ValueError, match="scale must be 1 for the loss 'log_loss'"):
        MultinomialLogLoss().scaled(2.0)


@pytest.mark.parametrize("scalar", SCALARS[:4], ids=repr)
def test_a_change_of_units(scalar):
    loss = SumOverOutputs(scalar)
    _, f, y = drawn(loss)
    expected = 3.0**loss.degree * loss.scaled(3.0).value(f, y)
    np.testing.assert_allclose(loss.value(3.0 * f, 3.0 * y), expected, rtol=1e-12)
