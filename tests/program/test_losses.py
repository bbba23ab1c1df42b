"""Properties of the losses, checked against their formulas and against exact arithmetic."""

import decimal
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.program.losses import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    Hinge,
    Huber,
    Logistic,
    Loss,
    Quantile,
    Squared,
    SquaredHinge,
    get_loss,
)

LOSSES = [
    Squared(),
    Huber(),
    Huber(delta=0.01),
    Huber(delta=40),
    Quantile(),
    Quantile(quantile=0.1),
    Quantile(quantile=0.99),
    Logistic(),
    Hinge(),
    SquaredHinge(),
]
REAL = [loss for loss in LOSSES if loss.target == "real"]
SIGN = [loss for loss in LOSSES if loss.target == "sign"]
SMOOTH = [loss for loss in LOSSES if np.isfinite(loss.curvature)]

each_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
each_smooth_loss = pytest.mark.parametrize("loss", SMOOTH, ids=repr)
each_real_loss = pytest.mark.parametrize("loss", REAL, ids=repr)
each_sign_loss = pytest.mark.parametrize("loss", SIGN, ids=repr)
quick = settings(max_examples=40, deadline=None, database=None, derandomize=True)

moderate = st.floats(-50, 50)
unit = st.floats(0, 1)
open_unit = st.floats(0.05, 0.95)
signs = st.sampled_from([-1.0, 1.0])


@st.composite
def spread(draw, low, high, signed=False):
    """Floats spread over orders of magnitude, from 1e{low} to 1e{high}."""
    size = 10.0 ** draw(st.floats(low, high))
    return size * draw(signs) if signed else size


def target(loss, y):
    """A valid target for the loss made from any number."""
    return math.copysign(1.0, y) if loss.target == "sign" else y


def dual_point(loss, y, position):
    """A dual variable at the given position, in [0, 1], of the domain (bounded by 30)."""
    lo, hi = loss.conjugate_domain(y)
    lo, hi = max(float(lo), -30.0), min(float(hi), 30.0)
    return min(max(lo + position * (hi - lo), lo), hi)


def formula(loss, f, y):
    """The loss as its textbook formula, on scalars."""
    if loss.name == "squared":
        return 0.5 * (f - y) ** 2
    if loss.name == "huber":
        r, delta = abs(f - y), loss.delta
        return 0.5 * r**2 if r <= delta else delta * r - 0.5 * delta**2
    if loss.name == "quantile":
        r, q = y - f, loss.quantile
        return q * max(r, 0) + (1 - q) * max(-r, 0)
    if loss.name == "logistic":
        return math.log(1 + math.exp(-y * f))
    slack = max(0, 1 - y * f)
    return slack if loss.name == "hinge" else 0.5 * slack**2


def exact_slopes(loss, z, y):
    """Smallest and largest subgradient at the Decimal ``z``, to the precision of the context."""
    y = Decimal(float(y))
    t = z - y if loss.target == "real" else y * z - 1
    if loss.name == "squared":
        return t, t
    if loss.name == "huber":
        p = min(max(t, -Decimal(loss.delta)), Decimal(loss.delta))
        return p, p
    if loss.name == "logistic":
        e = (-abs(z)).exp()
        p = -y * (e if y * z > 0 else 1) / (1 + e)
        return p, p
    if loss.name == "squared_hinge":
        p = y * min(t, 0)
        return p, p
    lo, hi = (-Decimal(loss.quantile), 1 - Decimal(loss.quantile)) if loss in REAL else (-1, 0)
    below, above = (lo if t <= 0 else hi), (hi if t >= 0 else lo)
    return (below, above) if loss.target == "real" or y > 0 else (-above, -below)


@each_loss
@quick
@given(f=moderate, y=moderate)
def test_value_is_the_formula(loss, f, y):
    y = target(loss, y)
    np.testing.assert_allclose(loss.value(f, y), formula(loss, f, y), rtol=1e-12, atol=1e-14)


def test_values_and_derivatives_by_hand():
    f = np.array([-1.0, 0.0, 1.0, 4.0])
    one = np.ones(4)
    expected = {
        Squared(): ([2.0, 0.5, 0.0, 4.5], [-2.0, -1.0, 0.0, 3.0]),
        Huber(delta=2.0): ([2.0, 0.5, 0.0, 4.0], [-2.0, -1.0, 0.0, 2.0]),
        Quantile(quantile=0.75): ([1.5, 0.75, 0.0, 0.75], [-0.75, -0.75, 0.0, 0.25]),
        Hinge(): ([2.0, 1.0, 0.0, 0.0], [-1.0, -1.0, 0.0, 0.0]),
        SquaredHinge(): ([2.0, 0.5, 0.0, 0.0], [-2.0, -1.0, 0.0, 0.0]),
    }
    for loss, (value, derivative) in expected.items():
        np.testing.assert_array_equal(loss.value(f, one), value)
        np.testing.assert_array_equal(loss.derivative(f, one), derivative)
        if loss.target == "sign":
            np.testing.assert_array_equal(loss.value(-f, -one), value)
            np.testing.assert_array_equal(loss.derivative(-f, -one), -np.array(derivative))


def test_logistic_keeps_its_digits_in_both_tails():
    loss = Logistic()
    np.testing.assert_allclose(loss.value([50.0, -50.0], 1), [math.exp(-50), 50], rtol=1e-14)
    np.testing.assert_allclose(loss.derivative([50.0, 50.0], [1, -1]), [-math.exp(-50), 1])
    q = 1e-20
    np.testing.assert_allclose(loss.conjugate(-q, 1), q * math.log(q) - q, rtol=1e-14)
    np.testing.assert_allclose(loss.conjugate_derivative(-q, 1), -math.log(q), rtol=1e-14)


@each_loss
@quick
@given(f=moderate, y=moderate)
def test_derivative_is_the_finite_difference(loss, f, y):
    y = target(loss, y)
    h = 1e-5
    left, middle, right = loss.derivative([f - h, f, f + h], y)
    difference = (loss.value(f + h, y) - loss.value(f - h, y)) / (2 * h)
    rounding = 1e-9 * (1 + loss.value(f, y) + abs(middle))
    # The mean slope over an interval lies between the slopes at its ends.
    assert left - rounding <= difference <= right + rounding
    assert left <= middle <= right
    if np.isfinite(loss.curvature):
        assert abs(difference - middle) <= loss.curvature * h + rounding


@each_loss
@quick
@given(f=moderate, g=moderate, y=moderate, weight=unit)
def test_convex_and_above_its_tangents(loss, f, g, y, weight):
    y = target(loss, y)
    at_f, at_g = loss.value([f, g], y)
    between = loss.value(weight * f + (1 - weight) * g, y)
    rounding = 1e-12 * (1 + at_f + at_g)
    assert between <= weight * at_f + (1 - weight) * at_g + rounding
    assert at_g >= at_f + loss.derivative(f, y) * (g - f) - rounding


@each_smooth_loss
@quick
@given(f=moderate, y=moderate, h=spread(-4, 1))
def test_curvature_bounds_the_change_of_slope(loss, f, y, h):
    y = target(loss, y)
    change = loss.derivative(f + h, y) - loss.derivative(f, y)
    assert 0 <= change <= loss.curvature * h * (1 + 1e-6)


def test_curvature_is_the_supremum():
    points = {"squared": 0.0, "huber": 0.0, "logistic": 0.0, "squared_hinge": 0.5}
    for loss in SMOOTH:
        h = 1e-3
        f = points[loss.name]
        y = 1.0 if loss.target == "sign" else f
        slope = (loss.derivative(f + h, y) - loss.derivative(f - h, y)) / (2 * h)
        np.testing.assert_allclose(slope, loss.curvature, rtol=1e-5)


@each_loss
@quick
@given(f=moderate, y=moderate, position=unit)
def test_fenchel_young(loss, f, y, position):
    y = target(loss, y)
    p = dual_point(loss, y, position)
    value, conjugate = loss.value(f, y), loss.conjugate(p, y)
    assert np.isfinite(conjugate)
    assert value + conjugate - p * f >= -1e-12 * (1 + value + abs(conjugate) + abs(p * f))
    # Equality at a subgradient, the one at a kink included.
    p = loss.derivative(f, y)
    conjugate = loss.conjugate(p, y)
    rounding = 1e-12 * (1 + value + abs(p * f))
    np.testing.assert_allclose(value + conjugate, p * f, rtol=0, atol=rounding)


@each_loss
@pytest.mark.parametrize("y", [-1.0, 1.0])
def test_conjugate_is_infinite_exactly_outside_its_domain(loss, y):
    ends = loss.conjugate_domain(y)
    for end, away in zip(ends, [-np.inf, np.inf], strict=True):
        if np.isfinite(end):
            assert np.isfinite(loss.conjugate(end, y))
            outside = np.array([np.nextafter(end, away), end + np.sign(away), away])
            np.testing.assert_array_equal(loss.conjugate(outside, y), np.inf)
            # The end is a slope, or the limit of slopes, of the loss.
            far = loss.derivative(math.copysign(1e3, away), y)
            np.testing.assert_allclose(far, end, rtol=1e-12, atol=1e-12)
        else:
            assert end == away
            assert np.isfinite(loss.conjugate(math.copysign(1e100, away), y))
            assert abs(loss.derivative(math.copysign(1e100, away), y)) > 1e99
    assert np.isnan(loss.conjugate(np.nan, y))


@each_loss
@quick
@given(y=moderate, position=open_unit)
def test_conjugate_derivatives(loss, y, position):
    y = target(loss, y)
    p = dual_point(loss, y, position)
    slope, curvature = loss.conjugate_derivative(p, y), loss.conjugate_curvature(p, y)
    h = 1e-4 * min(1.0, *np.abs(np.subtract(loss.conjugate_domain(y), p)))
    sides = np.array([p - h, p + h])
    difference = np.diff(loss.conjugate(sides, y))[0] / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-6)
    difference = np.diff(loss.conjugate_derivative(sides, y))[0] / (2 * h)
    np.testing.assert_allclose(curvature, difference, rtol=1e-6, atol=1e-6)
    # The slope is where the supremum is attained.
    gap = loss.value(slope, y) + loss.conjugate(p, y) - p * slope
    assert abs(gap) <= 1e-12 * (1 + abs(p * slope))


@each_smooth_loss
@quick
@given(y=moderate, position=open_unit)
def test_conjugate_derivative_inverts_the_derivative(loss, y, position):
    y = target(loss, y)
    p = dual_point(loss, y, position)
    back = loss.derivative(loss.conjugate_derivative(p, y), y)
    np.testing.assert_allclose(back, p, rtol=1e-12, atol=1e-12)
    assert loss.conjugate_curvature(p, y) >= (1 - 1e-12) / loss.curvature


def assert_is_prox(loss, z, f, y, step, error):
    """z +- error encloses the root of the increasing map z - f + step * slope(z)."""
    with decimal.localcontext(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX):
        z, f, step, error = (Decimal(float(number)) for number in (z, f, step, error))
        below, above = z - error, z + error
        assert below - f + step * exact_slopes(loss, below, y)[0] <= 0
        assert above - f + step * exact_slopes(loss, above, y)[1] >= 0


@each_loss
@quick
@given(f=spread(-6, 6, signed=True), y=spread(-6, 6, signed=True), step=spread(-8, 8))
def test_prox(loss, f, y, step):
    y = target(loss, y)
    z = loss.prox(f, y, step)
    assert_is_prox(loss, z, f, y, step, 1e-14 * (abs(f) + abs(z)) + 1e-30)


@quick
@given(
    f=spread(-6, 6, signed=True),
    y=signs,
    step=spread(-8, 8),
    fraction=st.floats(-0.2, 1.2),
    near=st.booleans(),
)
def test_prox_of_logistic_loses_no_digits(f, y, step, fraction, near):
    # ``near``: f and the step nearly cancel, so that a residual computed as it is written loses
    # the digits of the result.
    f = -y * fraction * step if near else f
    z = Logistic().prox(f, y, step)
    assert_is_prox(Logistic(), z, f, y, step, 1e-14 * (abs(z) + min(abs(f), 1.0)) + 1e-30)


def test_prox_of_logistic_on_a_grid():
    steps = np.logspace(-8, 8, 17)
    sizes = np.concatenate([[0.0], np.logspace(-8, 6, 15)])
    f, step = (grid.ravel() for grid in np.meshgrid(np.concatenate([-sizes, sizes]), steps))
    f = np.concatenate([f, -steps, -steps / 2, -steps - 30, 40 - steps])
    step = np.concatenate([step, steps, steps, steps, steps])
    z = Logistic().prox(f, 1.0, step)
    for each in zip(z, f, step, strict=True):
        error = 1e-14 * (abs(each[0]) + min(abs(each[1]), 1.0))
        assert_is_prox(Logistic(), each[0], each[1], 1.0, each[2], error + 1e-30)


@each_loss
def test_prox_of_logistic_and_others_do_not_mix_samples(loss):
    rng = np.random.default_rng(0)
    f = 10.0 ** rng.uniform(-6, 6, 200) * rng.choice([-1, 1], 200)
    y = rng.choice([-1.0, 1.0], 200)
    step = 10.0 ** rng.uniform(-8, 8, 200)
    alone = [float(loss.prox(*sample)) for sample in zip(f, y, step, strict=True)]
    np.testing.assert_allclose(loss.prox(f, y, step), alone, rtol=1e-14, atol=1e-30)


def test_prox_lands_exactly_on_a_kink():
    y = np.array([0.3, 1e6, -7.1])
    np.testing.assert_array_equal(Quantile(0.3).prox(y + 1.0, y, 1e3), y)
    np.testing.assert_array_equal(Hinge().prox([0.5, -0.5], [1, -1], 3.7), [1, -1])


@quick
@given(f=spread(-6, 6, signed=True), y=spread(-6, 6, signed=True), step=spread(-8, 8))
def test_prox_of_squared_is_stable(f, y, step):
    f_, y_, step_ = Fraction(f), Fraction(y), Fraction(step)
    error = abs(Fraction(float(Squared().prox(f, y, step))) - (f_ + step_ * y_) / (1 + step_))
    assert error <= 1e-15 * (abs(f) + step * abs(y)) / (1 + step)


@each_real_loss
@quick
@given(f=moderate, y=moderate, scale=spread(-3, 3))
def test_scaled(loss, f, y, scale):
    scaled = loss.scaled(scale)
    assert type(scaled) is type(loss)
    expected = scale**loss.degree * scaled.value(f, y)
    np.testing.assert_allclose(
        loss.value(scale * f, scale * y),
        expected,
        rtol=1e-10,
        atol=1e-12 * scale**loss.degree * 2500,
    )


def test_scaled_parameters():
    assert Huber(2.0).scaled(4) == Huber(0.5)
    assert Squared().scaled(4) == Squared()
    assert Quantile(0.2).scaled(4) == Quantile(0.2)


@each_sign_loss
def test_labels_have_no_scale(loss):
    assert loss.degree == 0
    assert loss.scaled(1) is loss
    with pytest.raises(ValueError, match="scale must be 1 .*got 2"):
        loss.scaled(2)


@each_loss
@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-12, 1.0, 1e6, 1e150])
def test_extreme_arguments(loss, size):
    f = np.array([-size, size])[:, None, None]
    y = np.array([-1.0, 1.0] if loss.target == "sign" else [-1e150, -1.0, 0.0, 1.0, 1e150])[:, None]
    step = np.array([1e-8, 1.0, 1e8])
    with np.errstate(all="raise", under="ignore"):
        value, p = loss.value(f, y), loss.derivative(f, y)
        z, conjugate = loss.prox(f, y, step), loss.conjugate(p, y)
    for result in (value, p, z, conjugate):
        assert np.all(np.isfinite(result))
    assert np.all(value >= 0)
    # The objective of the prox did not increase, and z moved down the slope.
    assert np.all(loss.value(z, y) <= value * (1 + 1e-12))
    assert np.all((f - z) * p >= -1e-12 * np.abs(p * f))


@each_loss
def test_shapes_types_and_inputs(loss):
    f = np.linspace(-3, 3, 7).reshape(7, 1)
    y = np.array([-1, 1, 1, -1])
    step = np.array([0.5, 1.0, 2.0, 4.0])
    lo, hi = loss.conjugate_domain(y)
    assert lo.shape == hi.shape == y.shape and np.all(lo < hi)
    p = (
        dual_point(loss, -1, 0.4) * np.where(y > 0, -1.0, 1.0)
        if loss in SIGN
        else np.full(4, 0.005)
    )
    p = np.broadcast_to(p, (7, 4)).copy()
    for array in (f, y, step, p):
        array.flags.writeable = False
    results = [
        loss.value(f, y),
        loss.derivative(f, y),
        loss.prox(f, y, step),
        loss.prox(f, y, 1),
        loss.conjugate(p, y),
        loss.conjugate_derivative(p, y),
        loss.conjugate_curvature(p, y),
        loss.conjugate_derivative(p[:, :1] if loss in REAL else p, y),
        loss.conjugate_curvature(p[:, :1] if loss in REAL else p, y),
    ]
    for result in results:
        assert result.shape == (7, 4) and result.dtype == np.float64
        assert np.all(np.isfinite(result))
        assert not any(np.shares_memory(result, array) for array in (f, y, step, p))
    integers = loss.value([[3], [-2]], [1, -1])
    np.testing.assert_array_equal(integers, loss.value([[3.0], [-2.0]], [1.0, -1.0]))


@pytest.mark.parametrize("bad", [0, -1.0, np.inf, np.nan, "1", None, True, [1.0]])
def test_bad_delta_and_scale(bad):
    with pytest.raises(ValueError, match="delta must be a finite number > 0; got"):
        Huber(delta=bad)
    with pytest.raises(ValueError, match="scale must be a finite number > 0; got"):
        Huber().scaled(bad)


@pytest.mark.parametrize("bad", [0, 1, -0.1, 1.5, np.nan, "0.5", None, [0.5]])
def test_bad_quantile(bad):
    with pytest.raises(ValueError, match=r"quantile must be a number in the open \(0, 1\); got"):
        Quantile(quantile=bad)


def test_errors_show_the_value():
    with pytest.raises(ValueError, match="got -2.5"):
        Huber(delta=-2.5)


@each_loss
def test_pickle_repr_equality(loss):
    copy = pickle.loads(pickle.dumps(loss))
    assert copy == loss and hash(copy) == hash(loss)
    assert eval(repr(loss)) == loss
    assert sum(loss == other for other in LOSSES) == 1
    with pytest.raises(AttributeError):
        loss.delta = 3.0


def test_parameters_become_plain_floats():
    assert repr(Huber(np.float32(2))) == "Huber(delta=2.0)"
    assert repr(Quantile(np.float64(0.25))) == "Quantile(quantile=0.25)"


def test_registry():
    assert set(REGRESSION_LOSSES) == {"squared", "huber", "quantile"}
    assert set(CLASSIFICATION_LOSSES) == {"logistic", "hinge", "squared_hinge"}
    for registry, kind in [(REGRESSION_LOSSES, "real"), (CLASSIFICATION_LOSSES, "sign")]:
        for name, cls in registry.items():
            assert issubclass(cls, Loss) and cls.name == name and cls.target == kind
            assert get_loss(name) == cls()
    assert get_loss("huber", delta=2) == Huber(2.0)
    loss = Quantile(0.2)
    assert get_loss(loss) is loss


@pytest.mark.parametrize("bad", ["squared_error", None, Huber, ["huber"]])
def test_unknown_loss(bad):
    with pytest.raises(ValueError, match="one of .*'hinge', 'huber', .*'squared_hinge'.*got"):
        get_loss(bad)


def test_parameters_of_a_loss_instance():
    with pytest.raises(ValueError, match="delta"):
        get_loss(Huber(), delta=2.0)
    with pytest.raises(TypeError, match="delta"):
        get_loss("squared", delta=2.0)
