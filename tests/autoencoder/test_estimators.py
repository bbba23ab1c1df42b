"""The two autoencoders as transformers."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import GatedSparseAutoencoder, SignAwareGatedSparseAutoencoder
from sklearn_convexnet.autoencoder import bipolar_fraction, l0, r2, recovered_fraction
from sklearn_convexnet.datasets import make_antipodal_features

Gated = partial(
    GatedSparseAutoencoder, n_components=12, max_iter=150, alpha_warmup=50, random_state=0
)
Signed = partial(
    SignAwareGatedSparseAutoencoder, n_components=6, max_iter=150, alpha_warmup=50, random_state=0
)
BOTH = pytest.mark.parametrize("make", [Gated, Signed], ids=["gated", "signed"])
FITTED = ("components_", "encoder_", "intercept_", "thresholds_", "gains_", "offsets_")


def data(n=400, dtype=np.float64):
    return make_antipodal_features(n, 8, n_pairs=6, n_active=1, random_state=0)[0].astype(dtype)


def assert_same(one, other):
    """Equal to the last bit."""
    for name in FITTED:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# ------------------------------------------------------------------------------------------------
# What a fit gives


@BOTH
def test_fitted_attributes_are_the_formula(make):
    X = data() * 3 + np.arange(8)
    model = make().fit(X)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1.0)
    z = (X - model.intercept_) @ model.encoder_.T
    theta, gain, offset = model.thresholds_[0], model.gains_[0], model.offsets_[0]
    codes = (z > theta) * np.maximum(gain * z + offset, 0)
    if make is Signed:
        assert (theta >= 0).all()
        codes -= (-z > theta) * np.maximum(-gain * z + offset, 0)
    np.testing.assert_allclose(model.transform(X), codes, atol=1e-10)
    rebuilt = codes @ model.components_ + model.intercept_
    np.testing.assert_allclose(model.inverse_transform(codes), rebuilt)
    assert model.score(X) == pytest.approx(r2(X, rebuilt))
    assert model.score(X) > 0.5
    assert (codes < 0).any() == (make is Signed)


@BOTH
def test_units_of_the_data_do_not_matter(make):
    X = data()
    model, moved = make().fit(X), make().fit(1000 * X + 7)
    np.testing.assert_allclose(moved.components_, model.components_, atol=1e-6)
    np.testing.assert_allclose(moved.transform(1000 * X + 7), 1000 * model.transform(X), atol=1e-2)


@BOTH
def test_penalty_makes_codes_sparse(make):
    X = data()
    dense, sparse = (make(alpha=alpha).fit(X).transform(X) for alpha in (0.0, 2.0))
    assert l0(sparse) < 0.7 * l0(dense)


def test_untied_sides_have_parameters_of_their_own():
    model = Signed(tied=False).fit(np.abs(data()) ** 2)  # opposite sides that differ
    assert model.thresholds_.shape == model.gains_.shape == model.offsets_.shape == (2, 6)
    assert np.abs(np.diff(model.thresholds_, axis=0)).max() > 1e-3
    assert Signed().fit(data()).thresholds_.shape == (1, 6)


@BOTH
def test_without_the_auxiliary_term_the_gates_close(make):
    X = data()
    options = {"max_iter": 300, "alpha": 0.5, "dead_latents": None}
    whole = make(**options).fit(X)
    without = make(**options, auxiliary=False).fit(X)
    assert l0(without.transform(X)) < 0.5 * l0(whole.transform(X))
    assert without.score(X) < whole.score(X) - 0.1
    assert "auxiliary" in whole.history_[-1] and "auxiliary" not in without.history_[-1]


@BOTH
def test_dtype_of_the_data_is_that_of_everything(make):
    X = data(dtype=np.float32)
    model, exact = make().fit(X), make().fit(X.astype(float))
    for name in FITTED:
        assert getattr(model, name).dtype == np.float32, name
    codes = model.transform(X)
    assert codes.dtype == model.inverse_transform(codes).dtype == np.float32
    assert model.transform(X.astype(float)).dtype == np.float64
    assert model.score(X) == pytest.approx(exact.score(X), abs=0.02)
    assert model.__sklearn_tags__().transformer_tags.preserves_dtype == ["float64", "float32"]


# ------------------------------------------------------------------------------------------------
# Conventions


@BOTH
def test_same_seed_same_fit_and_data_is_not_written_to(make):
    X = data()
    original = X.copy()
    X.setflags(write=False)
    model = make().fit(X)
    assert_same(model, clone(model).fit(X))
    assert_same(model, model.fit(X))
    assert_same(model, make(random_state=np.random.RandomState(0)).fit(X))
    assert (make(random_state=1).fit(X).components_ != model.components_).any()
    model.inverse_transform(model.transform(X))
    np.testing.assert_array_equal(X, original)


@BOTH
def test_partial_fit_goes_on(make):
    X = data(512)
    model = make().partial_fit(X)
    assert model.n_iter_ == 2 and model.history_[-1]["iteration"] == 2
    first = model.score(X)
    for _ in range(40):
        model.partial_fit(X)
    assert model.n_iter_ == 82 and len(model.history_) == 41
    assert model.score(X) > first
    # it goes on from a fit as well, and from a pickle as from what was pickled
    model = make().fit(X)
    again = pickle.loads(pickle.dumps(model)).partial_fit(X)
    assert_same(again, model.partial_fit(X))
    assert model.n_iter_ == 152
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :3])
    # a fit starts anew
    assert_same(model.fit(X), make().fit(X))


@BOTH
def test_feature_names(make):
    X = pd.DataFrame(data(), columns=list("abcdefgh"))
    model = make().set_output(transform="pandas").fit(X)
    codes = model.transform(X)
    prefix = type(model).__name__.lower()
    assert codes.columns[:2].tolist() == [f"{prefix}0", f"{prefix}1"]
    assert model.get_feature_names_out().tolist() == codes.columns.tolist()
    assert model.feature_names_in_.tolist() == list("abcdefgh")
    with pytest.raises(ValueError, match="feature names"):
        model.transform(X[list("hgfedcba")])


@BOTH
def test_pipeline_and_grid_search(make):
    X = data()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), make()),
        {f"{make().__class__.__name__.lower()}__alpha": [0.1, 50.0]},
        cv=2,
        error_score="raise",
    ).fit(X)
    assert list(search.best_params_.values()) == [0.1]
    assert search.transform(X).shape == (400, make().n_components)


def test_width_by_default_is_twice_the_number_of_features():
    assert GatedSparseAutoencoder(max_iter=1).fit(data()).components_.shape == (16, 8)


@BOTH
def test_constant_data_and_single_rows(make):
    for X in (np.full((5, 8), 3.0), np.arange(8.0)[None]):
        model = make(max_iter=20).fit(X)
        rebuilt = model.inverse_transform(model.transform(X))
        np.testing.assert_allclose(rebuilt, X, atol=0.1)
        # what follows would not have their scale
        for estimator in (make(), model):
            before = vars(estimator).copy()
            with pytest.raises(ValueError, match="X must have rows that differ"):
                estimator.partial_fit(X)
            assert vars(estimator) == before
    # 0.1 times three, divided by three, is not 0.1
    with pytest.raises(ValueError, match="X must have rows that differ"):
        make().partial_fit(np.full((3, 8), 0.1))


@BOTH
def test_partial_fit_refuses_what_changes_the_shape_of_the_weights(make):
    X = data(64)
    model = make().partial_fit(X)
    components = model.components_
    changes = [{"n_components": 5}, {"n_components": None}]
    if make is Signed:
        changes.append({"tied": False})
    for change in changes:
        name, value = next(iter(change.items()))
        known = model.get_params()[name]
        with pytest.raises(ValueError, match=f"{name} must be {known}, .* got {value}"):
            model.set_params(**change).partial_fit(X)
        assert model.components_ is components
        model.set_params(**{name: known})
    model.set_params(alpha=0.1, batch_size=32).partial_fit(X)
    assert model.n_iter_ == 3
    # the default by its number
    model = make().set_params(n_components=None).partial_fit(X)
    model.set_params(n_components=16).partial_fit(X)
    assert model.components_.shape == (16, 8)


@BOTH
def test_verbose_prints_a_line_per_check(make, capsys):
    model = make(verbose=True).fit(data())
    header, *lines = capsys.readouterr().out.splitlines()
    assert type(model).__name__ in header and "auxiliary" in header
    assert len(lines) == len(model.history_) == 2
    assert all(len(line) == len(header) for line in lines)
    make(verbose=True, auxiliary=False, max_iter=5).fit(data())
    header, line = capsys.readouterr().out.splitlines()
    assert "auxiliary" not in header and len(line) == len(header)
    make().fit(data())
    assert capsys.readouterr().out == ""


def test_callbacks_see_the_checks_and_stop_the_fit():
    pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

    class Stop:
        seen = ()

        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            self.seen += ((context.task_name, getattr(context, "history_entry", None)),)
            return context.task_name == "check"

    stop = Stop()
    model = Signed(max_iter=500).set_callbacks(stop).fit(data())
    assert model.n_iter_ == 100
    assert [name for name, _ in stop.seen] == ["check", "fit"]
    assert stop.seen[0][1] == model.history_[0]


# ------------------------------------------------------------------------------------------------
# Errors


@BOTH
def test_errors_say_what_was_expected(make):
    X = data()
    with pytest.raises(NotFittedError):
        make().transform(X)
    with pytest.raises(NotFittedError):
        make().inverse_transform(X)
    model = make().fit(X)
    with pytest.raises(ValueError, match=f"codes of {model.n_components} columns, got 3 columns"):
        model.inverse_transform(np.ones((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        model.inverse_transform(np.full((2, model.n_components), np.nan))
    with pytest.raises(ValueError, match="squares overflow"):
        make().fit(X * 1e200)
    with pytest.raises(ValueError, match="codes are not finite"):
        make().fit(X.astype(np.float32)).transform(np.full((2, 8), 3e38, dtype=np.float32))
    before = model.components_.copy()
    with pytest.raises(ValueError, match="decrease learning_rate"):
        model.set_params(learning_rate=1e200).fit(X)
    # the last fit is still there
    np.testing.assert_array_equal(model.components_, before)
    # also where latents have died of it
    with pytest.raises(ValueError, match="decrease learning_rate"):
        model.set_params(batch_size=2, dead_after=1, dead_latents="resample").fit(X[:12])


@BOTH
@pytest.mark.parametrize("seed", [0, np.random.RandomState(0)], ids=["int", "instance"])
def test_a_failed_partial_fit_leaves_the_training_as_it_was(make, seed, monkeypatch):
    X = data(12)
    # on two rows few one-sided latents fire: the others start anew, with draws of the generator
    options = {"batch_size": 2, "dead_after": 1, "dead_latents": "resample"}
    model = make(**options, random_state=seed).partial_fit(X)
    twin = pickle.loads(pickle.dumps(model)).partial_fit(X)
    before, generator = dict(vars(model)), model._state[0].rng
    assert (generator is seed) == isinstance(seed, np.random.RandomState)

    def interrupted(self, entries):
        raise KeyboardInterrupt

    with pytest.raises(ValueError, match="decrease learning_rate"):
        model.set_params(learning_rate=1e200).partial_fit(X)
    model.set_params(learning_rate=0.003)
    with monkeypatch.context() as patch:
        patch.setattr(type(model), "_warn_if_diverged", interrupted)
        with pytest.raises(KeyboardInterrupt):
            model.partial_fit(X)
    assert all(vars(model)[name] is before[name] for name in before.keys() - {"learning_rate"})
    assert model.n_iter_ == model._state[0].n_steps == 6
    assert_same(model.partial_fit(X), twin)
    assert model._state[0].rng is generator
    np.testing.assert_array_equal(generator.get_state()[1], twin._state[0].rng.get_state()[1])


# ------------------------------------------------------------------------------------------------
# The claim


def test_training_that_ends_far_off_is_warned_of():
    with pytest.warns(ConvergenceWarning, match="worse than their mean .* decrease") as caught:
        model = Signed(learning_rate=3.0).fit(data())
    (warning,) = caught
    assert warning.filename == __file__
    assert model.score(data()) < -1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_sign_aware_of_half_the_width_recovers_antipodal_features(seed):
    X, _, directions = make_antipodal_features(30_000, 64, n_pairs=64, random_state=0)
    X = X.astype(np.float32)
    options = {"alpha": 0.3, "max_iter": 3000, "random_state": seed}
    signed = SignAwareGatedSparseAutoencoder(64, **options).fit(X)
    # 128 directions from 64 latents, one for each pair, and every one is used with both signs
    assert recovered_fraction(signed.components_, directions, signed=True) >= 0.95
    assert bipolar_fraction(signed.transform(X)) >= 0.95
    half = GatedSparseAutoencoder(64, **options).fit(X)
    assert recovered_fraction(half.components_, directions) <= 0.5
    full = GatedSparseAutoencoder(128, **options).fit(X)
    assert recovered_fraction(full.components_, directions) >= 0.9
    assert signed.score(X) > half.score(X) + 0.05
