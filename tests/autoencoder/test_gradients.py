"""Codes, losses and gradients of the autoencoder, against the formulas written out."""

from dataclasses import replace

import numpy as np
import pytest

from sklearn_convexnet.autoencoder.model import PARAMETERS, Autoencoder

TERMS = ("reconstruction", "sparsity", "auxiliary")
KINDS = pytest.mark.parametrize(
    ("two_sided", "tied"), [(False, True), (True, True), (True, False)], ids=str
)


def example(two_sided, tied, seed=0):
    """An autoencoder away from its start, and samples of which no gate is about to switch."""
    rng = np.random.RandomState(seed)
    model = Autoencoder.start(
        7, 4, rng, threshold=0.3, two_sided=two_sided, tied=tied, dtype=np.dtype(float)
    )
    for name in PARAMETERS:
        array = getattr(model, name)
        array += 0.2 * rng.standard_normal(array.shape)
    model.gate_bias[...] = np.minimum(model.gate_bias, -0.05)
    model.offset[...] -= 0.6  # so that there are open gates with a magnitude of zero
    return model, rng.standard_normal((12, 4))


def by_sides(model, X):
    """The formulas with both sides written out: codes, and what passes the gates."""
    z = (X - model.decoder_bias) @ model.encoder.T
    codes, soft, passed = 0.0, 0.0, 0.0
    for side, sign in enumerate([1.0, -1.0] if model.two_sided else [1.0]):
        b, r, c = (
            p[min(side, len(p) - 1)] for p in (model.gate_bias, model.log_gain, model.offset)
        )
        gate = sign * z + b
        codes = codes + sign * (gate > 0) * np.maximum(sign * np.exp(r) * z + c, 0)
        passed = passed + np.maximum(gate, 0)
        soft = soft + sign * np.maximum(gate, 0)
    return codes, soft, passed


@KINDS
def test_codes_and_losses_are_those_of_the_two_sides(two_sided, tied):
    model, X = example(two_sided, tied)
    codes, soft, passed = by_sides(model, X)
    np.testing.assert_allclose(model.encode(X), codes, atol=1e-14)
    assert (codes < 0).any() == two_sided
    # some gates are open with a code of zero, and latents are silent
    assert ((passed > 0) & (codes == 0)).any() and (codes == 0).any()
    found = model.losses(X)
    rebuilt = codes @ model.decoder + model.decoder_bias
    expected = {
        "reconstruction": np.mean(np.sum((X - rebuilt) ** 2, axis=1)),
        "sparsity": np.mean(np.sum(passed, axis=1)),
        "auxiliary": np.mean(np.sum((X - soft @ model.decoder - model.decoder_bias) ** 2, axis=1)),
    }
    assert found == pytest.approx(expected)
    in_step, _, fires = model.gradients(X, sparsity=0.3)
    assert in_step == pytest.approx(expected)
    np.testing.assert_array_equal(fires, codes != 0)


def finite_differences(model, X, term, name, frozen):
    """Central differences of a term; `frozen` is the decoder that the auxiliary term sees."""
    array, step = getattr(model, name), 1e-6
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        values = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            values.append(replace(model, **{name: moved}).losses(X, frozen=frozen)[term])
        slopes[index] = (values[0] - values[1]) / (2 * step)
    return slopes


@KINDS
@pytest.mark.parametrize("term", TERMS)
def test_gradients_agree_with_finite_differences(two_sided, tied, term):
    model, X = example(two_sided, tied)
    weights = {one: float(one == term) for one in TERMS}
    _, gradients, _ = model.gradients(X, **weights)
    frozen = model.decoder.copy(), model.decoder_bias.copy()
    for name in PARAMETERS:
        expected = finite_differences(model, X, term, name, frozen)
        np.testing.assert_allclose(gradients[name], expected, atol=1e-7, err_msg=name)


@KINDS
def test_gradient_of_the_sum_is_the_weighted_sum(two_sided, tied):
    model, X = example(two_sided, tied)
    weights = {"reconstruction": 0.7, "sparsity": 0.4, "auxiliary": 1.3}
    _, together, _ = model.gradients(X, **weights)
    parts = [
        model.gradients(X, **{one: w * (one == term) for one, w in weights.items()})[1]
        for term in TERMS
    ]
    for name in PARAMETERS:
        np.testing.assert_allclose(together[name], sum(part[name] for part in parts), atol=1e-13)


@KINDS
def test_where_derivatives_stop(two_sided, tied):
    model, X = example(two_sided, tied)
    only = {"reconstruction": 0.0, "sparsity": 0.0, "auxiliary": 0.0}
    _, gradients, _ = model.gradients(X, **only | {"reconstruction": 1.0})
    # the step function of a gate passes no gradient
    assert not gradients["gate_bias"].any()
    _, gradients, _ = model.gradients(X, **only | {"auxiliary": 1.0})
    # the decoder of the auxiliary term is a constant: it has a slope, which the gradient leaves out
    assert not gradients["decoder"].any()
    assert np.abs(finite_differences(model, X, "auxiliary", "decoder", None)).max() > 0.01
    # of the bias only what centres X counts: the slope through the encoder alone
    whole = finite_differences(model, X, "auxiliary", "decoder_bias", None)
    assert np.abs(whole - gradients["decoder_bias"]).max() > 0.01
    # and the magnitudes are not in it
    assert not gradients["log_gain"].any() and not gradients["offset"].any()
    assert gradients["gate_bias"].any() and gradients["encoder"].any()


def test_gates_of_the_two_sides_are_never_open_together():
    model, X = example(True, False)
    z = (100 * X) @ model.encoder.T
    both = (z + model.gate_bias[0] > 0) & (-z + model.gate_bias[1] > 0)
    assert (model.gate_bias <= 0).all() and not both.any()


def test_tied_sides_are_odd_and_jump():
    model, X = example(True, True)
    model = replace(model, decoder_bias=np.zeros(4))
    codes = model.encode(X)
    np.testing.assert_array_equal(model.encode(-X), -codes)
    assert not np.signbit(codes[codes == 0]).any()
    # a JumpReLU on both sides: nothing up to the threshold, then a jump to gain times threshold
    model = replace(model, offset=np.zeros((1, 7)))
    rows = np.linspace(-3, 3, 2001)[:, None] * model.encoder[0] / np.sum(model.encoder[0] ** 2)
    z, codes = rows @ model.encoder[0], model.encode(rows)[:, 0]
    theta, gain = -model.gate_bias[0, 0], np.exp(model.log_gain[0, 0])
    np.testing.assert_allclose(codes, np.where(np.abs(z) > theta, gain * z, 0), atol=1e-12)
    assert np.abs(codes[codes != 0]).min() >= gain * theta > 0


def test_untied_sides_with_equal_parameters_are_tied_ones():
    model, X = example(True, True)
    doubled = {name: np.repeat(getattr(model, name), 2, axis=0) for name in PARAMETERS[1:4]}
    untied = replace(model, **doubled)
    np.testing.assert_array_equal(untied.encode(X), model.encode(X))
    losses, gradients, _ = model.gradients(X, sparsity=0.3)
    losses_of_two, of_two, _ = untied.gradients(X, sparsity=0.3)
    assert losses == losses_of_two
    for name, gradient in gradients.items():
        total = of_two[name].sum(axis=0, keepdims=True) if name in doubled else of_two[name]
        np.testing.assert_allclose(total, gradient, atol=1e-14)


def test_where_all_z_are_positive_two_sides_are_one():
    model, X = example(True, True)
    model = replace(model, encoder=np.abs(model.encoder), decoder_bias=np.zeros(4))
    X = np.abs(X)
    one_sided = replace(model, two_sided=False)
    np.testing.assert_array_equal(model.encode(X), one_sided.encode(X))
    two, one = model.gradients(X, sparsity=0.3), one_sided.gradients(X, sparsity=0.3)
    assert two[0] == one[0]
    for name in PARAMETERS:
        np.testing.assert_array_equal(two[1][name], one[1][name])


@KINDS
def test_units_only_scale_the_codes(two_sided, tied):
    model, X = example(two_sided, tied)
    center = np.arange(4.0)
    moved = model.in_units(center, 5.0)
    np.testing.assert_allclose(moved.encode(5 * X + center), 5 * model.encode(X), atol=1e-13)
    rebuilt = model.decode(model.encode(X))
    np.testing.assert_allclose(moved.decode(5 * model.encode(X)), 5 * rebuilt + center, atol=1e-12)
