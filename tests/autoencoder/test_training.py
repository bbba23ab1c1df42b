"""Steps, schedules and what happens to dead latents."""

import numpy as np
import pytest

from sklearn_convexnet.autoencoder.adam import Adam
from sklearn_convexnet.autoencoder.model import Autoencoder
from sklearn_convexnet.autoencoder.training import CHECK, Settings, Trainer, minibatches

SETTINGS = {
    "alpha": 0.1,
    "auxiliary": True,
    "learning_rate": 3e-3,
    "alpha_warmup": 0,
    "learning_rate_warmup": 0,
    "dead_latents": None,
    "dead_after": 10,
    "threshold": 0.01,
}


def trainer(seed=0, n_latents=6, two_sided=True, **options):
    rng = np.random.RandomState(seed)
    model = Autoencoder.start(
        n_latents, 4, rng, threshold=0.01, two_sided=two_sided, tied=True, dtype=np.dtype(float)
    )
    X = rng.standard_normal((32, 4)) / 2
    return Trainer(model, rng), X, Settings(**SETTINGS | options)


def run(one, X, settings, n, **options):
    return one.run((X for _ in range(n)), settings, **options)


# ------------------------------------------------------------------------------------------------
# Adam


def test_adam_makes_the_steps_of_the_paper_without_a_first_moment():
    parameters = {"w": np.array([1.0, -2.0])}
    expected, moment = parameters["w"].copy(), np.zeros(2)
    adam = Adam(parameters)
    for t, gradient in enumerate(np.array([[1.0, 0.1], [-3.0, 0.2], [0.5, 0.3]]), start=1):
        adam.step(parameters, {"w": gradient}, 0.1)
        moment = 0.999 * moment + 0.001 * gradient**2
        expected -= 0.1 * gradient / (np.sqrt(moment / (1 - 0.999**t)) + 1e-8)
        np.testing.assert_allclose(parameters["w"], expected, rtol=1e-6)


def test_adam_keeps_rows_on_the_sphere():
    rng = np.random.RandomState(0)
    rows = rng.standard_normal((3, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    parameters = {"decoder": rows.copy()}
    adam = Adam(parameters, unit_rows=("decoder",))
    # along the rows there is nothing to gain: only the rest moves them
    adam.step(parameters, {"decoder": 2 * rows}, 0.1)
    np.testing.assert_allclose(parameters["decoder"], rows, atol=1e-7)
    target = rng.standard_normal((3, 4))
    for _ in range(500):
        adam.step(parameters, {"decoder": -target}, 0.01)
    np.testing.assert_allclose(np.linalg.norm(parameters["decoder"], axis=1), 1.0)
    target /= np.linalg.norm(target, axis=1, keepdims=True)
    np.testing.assert_allclose(np.sum(parameters["decoder"] * target, axis=1), 1.0, atol=1e-3)


def test_rows_that_start_anew_get_moments_of_the_others():
    moment = np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    Adam.forget(moment, np.array([False, False, True]))
    np.testing.assert_array_equal(moment, [[1, 2], [3, 4], [2, 3]])
    Adam.forget(moment, np.ones(3, dtype=bool))
    np.testing.assert_array_equal(moment[2], [2, 3])


# ------------------------------------------------------------------------------------------------
# Runs


def test_the_loss_falls():
    one, X, settings = trainer()
    weights = {"reconstruction": 1.0, "sparsity": settings.alpha, "auxiliary": 1.0}

    def loss():
        return sum(weights[key] * value for key, value in one.model.losses(X).items())

    before = loss()
    run(one, X, settings, 300)
    assert loss() < 0.5 * before


def test_learning_rate_rises_at_the_start_and_falls_in_the_last_fifth(monkeypatch):
    rates = []
    monkeypatch.setattr(Adam, "step", lambda adam, p, g, rate: rates.append(rate))
    one, X, settings = trainer(learning_rate=1.0, learning_rate_warmup=4)
    run(one, X, settings, 20, n_steps=20)
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:17] == [1.0] * 13
    assert rates[17:] == [0.75, 0.5, 0.25]
    # where no end is known it stays
    rates.clear()
    run(one, X, settings, 5)
    assert rates == [1.0] * 5


def test_penalty_rises(monkeypatch):
    seen = []
    gradients = Autoencoder.gradients

    def spy(model, X, *, sparsity, auxiliary):
        seen.append((sparsity, auxiliary))
        return gradients(model, X, sparsity=sparsity, auxiliary=auxiliary)

    monkeypatch.setattr(Autoencoder, "gradients", spy)
    one, X, settings = trainer(alpha=0.8, alpha_warmup=4, auxiliary=False)
    run(one, X, settings, 6)
    assert [alpha for alpha, _ in seen] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    assert {auxiliary for _, auxiliary in seen} == {0.0}


def test_thresholds_of_two_sides_stay_above_zero_and_those_of_one_side_need_not():
    lowest = {}
    for two_sided in (True, False):
        one, X, settings = trainer(two_sided=two_sided, alpha=-1.0)  # rewards open gates
        run(one, X, settings, 50)
        lowest[two_sided] = (-one.model.gate_bias).min()
    assert lowest[True] == 0.0
    assert lowest[False] < 0.0


def test_history_has_means_since_the_last_entry():
    one, X, settings = trainer()
    seen = []
    history = run(one, X, settings, CHECK + 30, on_check=lambda entry: seen.append(entry))
    assert seen == history
    assert [entry["iteration"] for entry in history] == [CHECK, CHECK + 30]
    other, _, _ = trainer()
    steps = [run(other, X, settings, 1)[0] for _ in range(CHECK)]
    for key in ("reconstruction", "sparsity", "auxiliary", "l0"):
        assert history[0][key] == pytest.approx(np.mean([entry[key] for entry in steps]))
    assert run(one, X, settings, 3 * CHECK, on_check=lambda entry: True)[-1]["iteration"] == 200


def test_divergence_is_an_error_that_says_what_to_do():
    one, X, settings = trainer(learning_rate=1e200)
    with pytest.raises(ValueError, match="decrease learning_rate, got 1e\\+200"):
        run(one, X, settings, 50)


# ------------------------------------------------------------------------------------------------
# Dead latents


def kill(one, k):
    one.model.gate_bias[:, k] = -1e3
    one.model.log_gain[:, k] = 0.5
    one.model.offset[:, k] = -0.5


@pytest.mark.parametrize("dead_latents", [None, "reset", "resample"])
def test_dead_latents_are_left_alone_or_start_anew(dead_latents):
    one, X, settings = trainer(dead_latents=dead_latents)
    kill(one, 2)
    direction = one.model.decoder[2].copy()
    history = run(one, X, settings, 9)
    assert history[-1]["dead"] == 0.0  # not yet
    assert one.model.gate_bias[0, 2] == -1e3
    run(one, X, settings, 1)
    model = one.model
    if dead_latents is None:
        assert model.gate_bias[0, 2] == -1e3
        assert run(one, X, settings, 5)[-1]["dead"] == pytest.approx(1 / 6)
        return
    assert model.gate_bias[0, 2] == -settings.threshold
    assert model.log_gain[0, 2] == model.offset[0, 2] == 0
    if dead_latents == "reset":
        np.testing.assert_array_equal(model.decoder[2], direction)
    else:
        rows = X - model.decoder_bias
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        assert np.abs(rows - model.decoder[2]).sum(axis=1).min() < 1e-12
        others = np.linalg.norm(np.delete(model.encoder, 2, axis=0), axis=1).mean()
        np.testing.assert_allclose(model.encoder[2], 0.2 * others * model.decoder[2])
    assert np.mean(model.encode(X)[:, 2] != 0) > 0.1
    assert run(one, X, settings, 15)[-1]["dead"] == 0.0


@pytest.mark.parametrize("dead_latents", ["reset", "resample"])
def test_all_latents_may_come_back_from_the_dead(dead_latents):
    one, X, settings = trainer(dead_latents=dead_latents)
    for k in range(6):
        kill(one, k)
    run(one, X, settings, 11)
    assert (one.model.encode(X) != 0).any(axis=0).all()


def test_dead_latents_are_left_alone_in_the_last_fifth_of_a_fit():
    one, X, settings = trainer(dead_latents="reset")
    run(one, X, settings, 20, n_steps=20)  # the last look was at 10, the next one would be at 20
    one, X, settings = trainer(dead_latents="reset")
    kill(one, 0)
    one._silent_for[0] = 0
    run(one, X, settings, 10, n_steps=10)
    assert one.model.gate_bias[0, 0] == -1e3


def test_minibatches_are_passes_over_the_rows():
    X = np.arange(10.0)[:, None]
    batches = minibatches(X, 5, np.random.RandomState(0))
    first, second = (np.concatenate([next(batches), next(batches)])[:, 0] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert (first != second).any()
    assert next(minibatches(X, 256, np.random.RandomState(0))).shape == (10, 1)
