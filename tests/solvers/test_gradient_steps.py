"""Gradient descent: true gradients, and one trajectory in the rows and in the features."""

import numpy as np
import pytest

from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.solvers import FeatureForm, GradientDescent, RowForm

FORMS = pytest.mark.parametrize("form", [FeatureForm, RowForm])
LOSSES = pytest.mark.parametrize("loss", ["log_loss", "squared_hinge", "hinge"])
ALL = {"alpha": 0.3, "train_output": True, "train_bias": True}


def problem(n=12, d=5, m=7, n_outputs=2, seed=0):
    rng = np.random.RandomState(seed)
    rows, others = rng.standard_normal((n, d)), rng.standard_normal((9, d))
    hidden = rng.standard_normal((d, n_outputs * m))
    a, c = rng.standard_normal((n_outputs, m)), rng.standard_normal(n_outputs)
    y = rng.choice([-1.0, 1.0], size=(n, n_outputs))
    weights = rng.uniform(0.5, 2, n)
    return rows, others, hidden, a, c, y, weights / weights.sum()


def start(form, parts, loss="log_loss", **options):
    rows, others, hidden, a, c, y, weights = parts
    hidden = form(rows, hidden.copy(), others)
    descent = GradientDescent(hidden, a, c, y, weights, loss=get_loss(loss), **options)
    descent.forward()
    return descent


def objective(parts, hidden, a, c, loss, alpha):
    """The objective of the package, summed over the outputs."""
    rows, _, _, _, _, y, weights = parts
    m, value = a.shape[1], 0.0
    for k in range(len(a)):
        own = hidden[:, k * m : (k + 1) * m]
        network = TwoLayerReLU(own, np.zeros(m), a[k][:, None], c[k : k + 1])
        value += network.objective(rows, y[:, k], loss=get_loss(loss), alpha=alpha, weights=weights)
    return value


@FORMS
@LOSSES
@pytest.mark.parametrize("shape", [(12, 5), (5, 12)], ids=str)
def test_a_step_is_along_the_gradient_of_the_objective(form, loss, shape):
    parts = problem(*shape)
    _, _, hidden, a, c, _, _ = parts
    descent = start(form, parts, loss, learning_rate=1e-3, **ALL)
    assert descent.objective() == pytest.approx(objective(parts, hidden, a, c, loss, 0.3))
    descent.step()
    moved = descent.hidden.collect(), descent.output_weights, descent.output_biases
    h = 1e-6
    for k, (before, after) in enumerate(zip((hidden, a, c), moved, strict=True)):
        slopes = (before - after) / 1e-3
        for index in np.ndindex(before.shape):
            values = []
            for sign in (h, -h):
                shifted = [hidden.copy(), a.copy(), c.copy()]
                shifted[k][index] += sign
                values.append(objective(parts, *shifted, loss, 0.3))
            expected = (values[0] - values[1]) / (2 * h)
            assert slopes[index] == pytest.approx(expected, rel=1e-5, abs=1e-7)


@FORMS
def test_what_is_not_trained_does_not_move(form):
    parts = problem()
    descent = start(form, parts, learning_rate=0.1)
    descent.step()
    np.testing.assert_array_equal(descent.output_weights, parts[3])
    np.testing.assert_array_equal(descent.output_biases, parts[4])
    assert (descent.hidden.collect() != parts[2]).any()


@pytest.mark.parametrize("shape", [(12, 5), (10, 10), (8, 60)], ids=str)
@pytest.mark.parametrize("options", [{}, {"alpha": 0.1}, ALL], ids=str)
@pytest.mark.parametrize("rate", [None, 0.05])
def test_both_forms_take_the_same_steps(shape, options, rate):
    parts = problem(*shape)
    forms = [start(form, parts, learning_rate=rate, **options) for form in (FeatureForm, RowForm)]
    close = {"rtol": 1e-9, "atol": 1e-11}
    for _ in range(40):
        for descent in forms:
            descent.step()
            descent.forward()
        one, other = forms
        np.testing.assert_allclose(one.outputs, other.outputs, **close)
        np.testing.assert_allclose(one.outputs_of_others(), other.outputs_of_others(), **close)
        assert one.objective() == pytest.approx(other.objective(), rel=1e-10)
    np.testing.assert_allclose(one.output_weights, other.output_weights, **close)
    np.testing.assert_allclose(one.hidden.collect(), other.hidden.collect(), **close)


def test_weights_collected_in_blocks(monkeypatch):
    from sklearn_convexnet.solvers import gradient_steps

    parts = problem(6, 50)
    descent = start(RowForm, parts, learning_rate=0.1, alpha=0.2)
    descent.step()
    monkeypatch.setattr(gradient_steps, "_BLOCK", 100)  # seven features at a time
    expected = start(FeatureForm, parts, learning_rate=0.1, alpha=0.2)
    expected.step()
    np.testing.assert_allclose(descent.hidden.collect(), expected.hidden.collect(), rtol=1e-12)


def gradient_at(point, parts, loss, options):
    """Gradient in the weights that are trained, by a step of length one from the given ones."""
    rows, _, *before, y, weights = parts
    trained = [True, options.get("train_output", False), options.get("train_bias", False)]
    values, first = [], 0
    for part, used in zip(before, trained, strict=True):
        size = part.size if used else 0
        values.append(point[first : first + size].reshape(part.shape) if used else part)
        first += size
    there = (rows, None, *values, y, weights)
    descent = start(FeatureForm, there, loss, learning_rate=1.0, **options)
    descent.step()
    after = descent.hidden.collect(), descent.output_weights, descent.output_biases
    moved = zip(values, after, trained, strict=True)
    return np.concatenate([(a - b).ravel() for a, b, used in moved if used])


@pytest.mark.parametrize("options", [{}, {"alpha": 0.1}, ALL], ids=str)
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("seed", range(3))
def test_curvature_bound_holds_within_a_linear_piece(options, loss, seed):
    parts = problem(n=20, m=4, n_outputs=1, seed=seed)
    _, _, *values, y, weights = parts
    descent = start(FeatureForm, parts, loss, **options)
    slopes = weights[:, None] * get_loss(loss).derivative(descent.outputs, y)
    bound = descent.curvature_bound(slopes)
    point = np.concatenate([value.ravel() for value in values[: 3 if options == ALL else 1]])
    h = 1e-7
    columns = [
        (
            gradient_at(point + e, parts, loss, options)
            - gradient_at(point - e, parts, loss, options)
        )
        / (2 * h)
        for e in h * np.eye(len(point))
    ]
    hessian = np.stack(columns)
    largest = np.linalg.eigvalsh((hessian + hessian.T) / 2)[-1]
    assert 0 < largest <= bound * (1 + 1e-6)
