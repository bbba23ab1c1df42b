"""Properties of the losses, checked against their formulas and against exact arithmetic."""

import decimal
import math
import pickle
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.metrics import (
    hinge_loss,
    log_loss,
    mean_absolute_error,
    mean_pinball_loss,
    mean_squared_error,
)

from sklearn_convexnet.core.losses import (
    CLASSIFICATION_LOSSES,
    REGRESSION_LOSSES,
    AbsoluteError,
    Hinge,
    Huber,
    LogLoss,
    Loss,
    Quantile,
    SquaredError,
    SquaredHinge,
    get_loss,
)

LOSSES = [
    SquaredError(),
    AbsoluteError(),
    Huber(),
    Huber(delta=0.01),
    Huber(delta=40),
    Quantile(),
    Quantile(quantile=0.1),
    Quantile(quantile=0.99),
    LogLoss(),
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


def drawn(loss, size=400):
    """Outputs and valid targets, up to 50: far apart, close to one another, and equal.

    Where they are equal, all losses but Huber's have their kinks.
    """
    rng = np.random.default_rng(0)
    f, y = rng.uniform(-50, 50, (2, size))
    y[: size // 2] = np.round(y[: size // 2])
    y = np.sign(rng.uniform(-1, 1, size)) if loss.target == "sign" else y
    f[::4], f[1::4] = y[::4], y[1::4] + spread(rng, -9, 0, size, signed=True)[1::4]
    f[2::8] = np.round(f[2::8])
    return rng, f, y


def spread(rng, low, high, size, signed=False):
    """Numbers spread over orders of magnitude, from 1e{low} to 1e{high}."""
    numbers = 10.0 ** rng.uniform(low, high, size)
    return numbers * rng.choice([-1.0, 1.0], size) if signed else numbers


def dual_point(loss, y, position):
    """Dual variables at the given positions, in [0, 1], of the domain (bounded by 30)."""
    lo, hi = (np.clip(end, -30.0, 30.0) for end in loss.conjugate_domain(y))
    return np.clip(lo + position * (hi - lo), lo, hi)


def formula(loss, f, y):
    """The loss as its textbook formula."""
    if loss.name == "squared_error":
        return 0.5 * (f - y) ** 2
    if loss.name == "absolute_error":
        return np.abs(f - y)
    if loss.name == "huber":
        r, delta = np.abs(f - y), loss.delta
        return np.where(r <= delta, 0.5 * r**2, delta * r - 0.5 * delta**2)
    if loss.name == "quantile":
        r, q = y - f, loss.quantile
        return q * np.maximum(r, 0) + (1 - q) * np.maximum(-r, 0)
    if loss.name == "log_loss":
        return np.log(1 + np.exp(-y * f))
    slack = np.maximum(0, 1 - y * f)
    return slack if loss.name == "hinge" else 0.5 * slack**2


def exact_slopes(loss, z, y):
    """Smallest and largest subgradient at the Decimal ``z``, to the precision of the context."""
    y = Decimal(float(y))
    t = z - y if loss.target == "real" else y * z - 1
    if loss.name == "squared_error":
        return t, t
    if loss.name == "huber":
        p = min(max(t, -Decimal(loss.delta)), Decimal(loss.delta))
        return p, p
    if loss.name == "log_loss":
        e = (-abs(z)).exp()
        p = -y * (e if y * z > 0 else 1) / (1 + e)
        return p, p
    if loss.name == "squared_hinge":
        p = y * min(t, 0)
        return p, p
    if loss.name == "quantile":
        lo, hi = -Decimal(loss.quantile), 1 - Decimal(loss.quantile)
    else:
        lo, hi = -1, 1 if loss.name == "absolute_error" else 0
    below, above = (lo if t <= 0 else hi), (hi if t >= 0 else lo)
    return (below, above) if loss.target == "real" or y > 0 else (-above, -below)


@each_loss
def test_value_is_the_formula(loss):
    _, f, y = drawn(loss)
    np.testing.assert_allclose(loss.value(f, y), formula(loss, f, y), rtol=1e-12, atol=1e-14)


def test_values_and_derivatives_by_hand():
    f = np.array([-1.0, 0.0, 1.0, 4.0])
    one = np.ones(4)
    expected = {
        SquaredError(): ([2.0, 0.5, 0.0, 4.5], [-2.0, -1.0, 0.0, 3.0]),
        AbsoluteError(): ([2.0, 1.0, 0.0, 3.0], [-1.0, -1.0, 0.0, 1.0]),
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


def test_factors_next_to_the_metrics_of_scikit_learn():
    rng = np.random.default_rng(0)
    f, y = rng.normal(size=(2, 50))
    label = np.sign(y)
    assert 2 * SquaredError().value(f, y).mean() == pytest.approx(mean_squared_error(y, f))
    assert AbsoluteError().value(f, y).mean() == pytest.approx(mean_absolute_error(y, f))
    assert Quantile(0.3).value(f, y).mean() == pytest.approx(mean_pinball_loss(y, f, alpha=0.3))
    assert LogLoss().value(f, label).mean() == pytest.approx(log_loss(label, expit(f)))
    assert Hinge().value(f, label).mean() == pytest.approx(hinge_loss(label, f))


def test_absolute_error_is_twice_the_pinball_loss_of_the_median():
    rng, f, y = drawn(AbsoluteError())
    one, half = AbsoluteError(), Quantile(0.5)
    p, step = rng.uniform(-1, 1, len(f)), rng.uniform(0.1, 10, len(f))
    np.testing.assert_array_equal(one.value(f, y), 2 * half.value(f, y))
    np.testing.assert_array_equal(one.derivative(f, y), 2 * half.derivative(f, y))
    np.testing.assert_array_equal(one.prox(f, y, step), half.prox(f, y, 2 * step))
    np.testing.assert_array_equal(one.conjugate(p, y), 2 * half.conjugate(p / 2, y))
    assert one.degree == half.degree and one.curvature == half.curvature


def test_logistic_keeps_its_digits_in_both_tails():
    loss = LogLoss()
    np.testing.assert_allclose(loss.value([50.0, -50.0], 1), [math.exp(-50), 50], rtol=1e-14)
    np.testing.assert_allclose(loss.derivative([50.0, 50.0], [1, -1]), [-math.exp(-50), 1])
    q = 1e-20
    np.testing.assert_allclose(loss.conjugate(-q, 1), q * math.log(q) - q, rtol=1e-14)
    np.testing.assert_allclose(loss.conjugate_derivative(-q, 1), -math.log(q), rtol=1e-14)


@each_loss
def test_derivative_is_the_finite_difference(loss):
    _, f, y = drawn(loss)
    h = 1e-5
    left, middle, right = loss.derivative([f - h, f, f + h], y)
    difference = (loss.value(f + h, y) - loss.value(f - h, y)) / (2 * h)
    rounding = 1e-9 * (1 + loss.value(f, y) + np.abs(middle))
    # The mean slope over an interval lies between the slopes at its ends.
    assert (left - rounding <= difference).all() and (difference <= right + rounding).all()
    assert (left <= middle).all() and (middle <= right).all()
    if np.isfinite(loss.curvature):
        assert (np.abs(difference - middle) <= loss.curvature * h + rounding).all()


@each_loss
def test_convex_and_above_its_tangents(loss):
    rng, f, y = drawn(loss)
    g, weight = rng.permutation(f), rng.uniform(0, 1, len(f))
    at_f, at_g = loss.value([f, g], y)
    between = loss.value(weight * f + (1 - weight) * g, y)
    rounding = 1e-12 * (1 + at_f + at_g)
    assert (between <= weight * at_f + (1 - weight) * at_g + rounding).all()
    assert (at_g >= at_f + loss.derivative(f, y) * (g - f) - rounding).all()


@each_smooth_loss
def test_curvature_bounds_the_change_of_slope(loss):
    rng, f, y = drawn(loss)
    h = spread(rng, -4, 1, len(f))
    change = loss.derivative(f + h, y) - loss.derivative(f, y)
    assert (0 <= change).all() and (change <= loss.curvature * h * (1 + 1e-6)).all()


def test_curvature_is_the_supremum():
    points = {"squared_error": 0.0, "huber": 0.0, "log_loss": 0.0, "squared_hinge": 0.5}
    for loss in SMOOTH:
        h = 1e-3
        f = points[loss.name]
        y = 1.0 if loss.target == "sign" else f
        slope = (loss.derivative(f + h, y) - loss.derivative(f - h, y)) / (2 * h)
        np.testing.assert_allclose(slope, loss.curvature, rtol=1e-5)


@each_loss
def test_fenchel_young(loss):
    rng, f, y = drawn(loss)
    position = np.clip(rng.uniform(-0.1, 1.1, len(f)), 0.0, 1.0)
    p = dual_point(loss, y, position)
    value, conjugate = loss.value(f, y), loss.conjugate(p, y)
    assert np.isfinite(conjugate).all()
    rounding = 1e-12 * (1 + value + np.abs(conjugate) + np.abs(p * f))
    assert (value + conjugate - p * f >= -rounding).all()
    # Equality at a subgradient, the one at a kink included.
    p = loss.derivative(f, y)
    conjugate = loss.conjugate(p, y)
    rounding = 1e-12 * (1 + value + np.abs(p * f))
    assert (np.abs(value + conjugate - p * f) <= rounding).all()


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
def test_conjugate_derivatives(loss):
    rng, _, y = drawn(loss)
    p = dual_point(loss, y, rng.uniform(0.05, 0.95, len(y)))
    slope, curvature = loss.conjugate_derivative(p, y), loss.conjugate_curvature(p, y)
    h = 1e-4 * np.minimum(1.0, np.abs(np.subtract(loss.conjugate_domain(y), p)).min(axis=0))
    sides = np.array([p - h, p + h])
    difference = np.diff(loss.conjugate(sides, y), axis=0)[0] / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-6)
    difference = np.diff(loss.conjugate_derivative(sides, y), axis=0)[0] / (2 * h)
    np.testing.assert_allclose(curvature, difference, rtol=1e-6, atol=1e-6)
    # The slope is where the supremum is attained.
    gap = loss.value(slope, y) + loss.conjugate(p, y) - p * slope
    assert (np.abs(gap) <= 1e-12 * (1 + np.abs(p * slope))).all()


@each_smooth_loss
def test_conjugate_derivative_inverts_the_derivative(loss):
    rng, _, y = drawn(loss)
    p = dual_point(loss, y, rng.uniform(0.05, 0.95, len(y)))
    back = loss.derivative(loss.conjugate_derivative(p, y), y)
    np.testing.assert_allclose(back, p, rtol=1e-12, atol=1e-12)
    assert (loss.conjugate_curvature(p, y) >= (1 - 1e-12) / loss.curvature).all()


def assert_is_prox(loss, z, f, y, step, error):
    """z +- error encloses the root of the increasing map z - f + step * slope(z), of samples."""
    with decimal.localcontext(prec=60, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX):
        for label, *sample in zip(y, z, f, step, error, strict=True):
            z, f, step, error = (Decimal(float(number)) for number in sample)
            below, above = z - error, z + error
            assert below - f + step * exact_slopes(loss, below, label)[0] <= 0
            assert above - f + step * exact_slopes(loss, above, label)[1] >= 0


def drawn_for_prox(size=100):
    """Outputs, targets, which may be taken for labels, and steps, of many orders of magnitude."""
    rng = np.random.default_rng(0)
    f, y = spread(rng, -6, 6, (2, size), signed=True)
    return rng, f, y, spread(rng, -8, 8, size)


@each_loss
def test_prox(loss):
    _, f, y, step = drawn_for_prox()
    y = np.sign(y) if loss.target == "sign" else y
    z = loss.prox(f, y, step)
    assert_is_prox(loss, z, f, y, step, 1e-14 * (np.abs(f) + np.abs(z)) + 1e-30)


@pytest.mark.parametrize("near", [False, True])
def test_prox_of_logistic_loses_no_digits(near):
    # ``near``: f and the step nearly cancel, so that a residual computed as it is written loses
    # the digits of the result.
    rng, f, y, step = drawn_for_prox()
    y = np.sign(y)
    f = -y * rng.uniform(-0.2, 1.2, len(y)) * step if near else f
    z = LogLoss().prox(f, y, step)
    error = 1e-14 * (np.abs(z) + np.minimum(np.abs(f), 1.0)) + 1e-30
    assert_is_prox(LogLoss(), z, f, y, step, error)


def test_prox_of_logistic_on_a_grid():
    steps = np.logspace(-8, 8, 17)
    sizes = np.concatenate([[0.0], np.logspace(-8, 6, 15)])
    f, step = (grid.ravel() for grid in np.meshgrid(np.concatenate([-sizes, sizes]), steps))
    f = np.concatenate([f, -steps, -steps / 2, -steps - 30, 40 - steps])
    step = np.concatenate([step, steps, steps, steps, steps])
    z = LogLoss().prox(f, 1.0, step)
    error = 1e-14 * (np.abs(z) + np.minimum(np.abs(f), 1.0)) + 1e-30
    assert_is_prox(LogLoss(), z, f, np.ones_like(f), step, error)


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


def test_prox_of_squared_is_stable():
    _, *samples = drawn_for_prox()
    for z, f, y, step in zip(SquaredError().prox(*samples), *samples, strict=True):
        f_, y_, step_ = Fraction(f), Fraction(y), Fraction(step)
        error = abs(Fraction(float(z)) - (f_ + step_ * y_) / (1 + step_))
        assert error <= 1e-15 * (abs(f) + step * abs(y)) / (1 + step)


@each_real_loss
def test_scaled(loss):
    rng, f, y = drawn(loss)
    for scale in spread(rng, -3, 3, 20):
        scaled = loss.scaled(scale)
        assert type(scaled) is type(loss)
        np.testing.assert_allclose(
            loss.value(scale * f, scale * y),
            scale**loss.degree * scaled.value(f, y),
            rtol=1e-10,
            atol=1e-12 * scale**loss.degree * 2500,
        )


def test_scaled_parameters():
    assert Huber(2.0).scaled(4) == Huber(0.5)
    assert SquaredError().scaled(4) == SquaredError()
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


@each_loss
def test_parameters_follow_scikit_learn(loss):
    params = loss.get_params()
    assert params == loss.get_params(deep=False) and type(loss)(**params) == loss
    copy = clone(loss)
    assert copy == loss and copy is not loss
    assert copy.set_params(**params) is copy and copy == loss
    with pytest.raises(ValueError, match=r"Invalid parameter 'gamma' for loss .*Valid parameters"):
        copy.set_params(gamma=1.0)


def test_set_parameters_are_checked_and_keep_the_hash():
    loss = Huber(2.0)
    known, before = {loss: "here"}, hash(loss)
    assert loss.set_params(delta=np.float32(0.5)) == Huber(0.5)
    assert type(loss.delta) is float and hash(loss) == before and known[loss] == "here"
    with pytest.raises(ValueError, match="delta must be a finite number > 0; got -1"):
        loss.set_params(delta=-1)
    assert loss == Huber(0.5)


def test_losses_of_others_have_parameters_too():
    class Shifted(Quantile):
        def __init__(self, quantile=0.5, shift=0.0):
            super().__init__(quantile)
            vars(self).update(shift=shift)

    class Plain(SquaredError):
        pass

    assert Plain().get_params() == {}
    assert clone(Shifted(0.2, 3.0)).set_params(shift=1.0).get_params() == {
        "quantile": 0.2,
        "shift": 1.0,
    }


def test_registry():
    assert set(REGRESSION_LOSSES) == {"squared_error", "absolute_error", "huber", "quantile"}
    assert set(CLASSIFICATION_LOSSES) == {"log_loss", "hinge", "squared_hinge"}
    for registry, kind in [(REGRESSION_LOSSES, "real"), (CLASSIFICATION_LOSSES, "sign")]:
        for name, cls in registry.items():
            assert issubclass(cls, Loss) and cls.name == name and cls.target == kind
            assert get_loss(name) == cls()
    assert get_loss("huber", delta=2) == Huber(2.0)
    loss = Quantile(0.2)
    # what is built with a loss keeps it
    copy = get_loss(loss)
    loss.set_params(quantile=0.6)
    assert copy == Quantile(0.2)


@pytest.mark.parametrize("bad", ["square", None, Huber, ["huber"]])
def test_unknown_loss(bad):
    with pytest.raises(ValueError, match="one of .*'hinge', 'huber', .*'squared_hinge'.*got"):
        get_loss(bad)


def test_parameters_of_a_loss_instance():
    with pytest.raises(ValueError, match="delta"):
        get_loss(Huber(), delta=2.0)
    with pytest.raises(TypeError, match="delta"):
        get_loss("squared_error", delta=2.0)
