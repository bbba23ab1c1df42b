"""GradientDescentReLUClassifier: objective, continuation, records, and what its paper found."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import expit
from sklearn.base import clone

from sklearn_convexnet import ConvexReLUClassifier, GradientDescentReLUClassifier
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.datasets import make_xor_clusters

Descent = partial(GradientDescentReLUClassifier, n_neurons=8, n_steps=30, random_state=0)
SHAPES = pytest.mark.parametrize("shape", [(40, 4), (15, 40)], ids=["tall", "wide"])
OURS = {"train_output": True, "alpha": 1e-2}


def data(n=40, d=4, n_classes=2, seed=0):
    rng = np.random.RandomState(seed)
    X = rng.standard_normal((n, d))
    score = np.abs(X[:, 0]) - X[:, 1] + 0.1 * rng.standard_normal(n)
    ranks = np.argsort(np.argsort(score))
    return X, np.array(["a", "b", "c"])[ranks * n_classes // n]


def assert_same(one, other, equal=assert_array_equal):
    for a, b in zip(one.coefs_ + one.intercepts_, other.coefs_ + other.intercepts_, strict=True):
        equal(a, b)
    assert one.n_iter_ == other.n_iter_


def told(history):
    return [{k: v for k, v in entry.items() if k != "time"} for entry in history]


# ------------------------------------------------------------------------------------------------
# The network and its objective


@SHAPES
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False, "alpha": 0.1}, OURS], ids=str)
def test_objective_is_that_of_the_network(shape, n_classes, options):
    X, y = data(*shape, n_classes)
    model = Descent(**options).fit(X, y)
    signs = np.where(
        y[:, None] == (model.classes_[1:] if n_classes == 2 else model.classes_), 1, -1
    )
    expected = model.network_.objective(
        X,
        signs.astype(float),
        loss=get_loss("log_loss"),
        alpha=model.alpha,
        weights=np.ones(len(y)) / len(y),
    )
    assert model.objective_ == pytest.approx(expected, rel=1e-10)
    outputs = model.network_(X)
    scores = model.decision_function(X)
    assert_array_equal(scores, outputs[:, 0] if n_classes == 2 else outputs)
    last = model.history_[-1]
    assert last["iteration"] == model.n_iter_ == 30
    assert last["objective"] == model.objective_
    assert last["accuracy"] == pytest.approx(model.score(X, y))
    assert model.n_outputs_ == (1 if n_classes == 2 else 3)
    assert model.n_neurons_ == model.network_.n_neurons == 8 * model.n_outputs_
    assert (model.intercepts_[0].any(), model.intercepts_[1].any()) == (model.fit_intercept,) * 2


def test_one_step_by_hand():
    X, y = data()
    first = Descent(fit_intercept=False, learning_rate=1e-9, n_steps=1).fit(X, y).network_
    model = Descent(fit_intercept=False, learning_rate=0.7, n_steps=1).fit(X, y)
    signs, a = np.where(y == "b", 1.0, -1.0), first.output_weights[:, 0]
    assert_allclose(np.abs(a), 1 / np.sqrt(8))
    assert 0.03 < np.std(first.hidden_weights) < 0.3
    slopes = expit(-signs * first(X)[:, 0]) * signs / len(y)
    active = X @ first.hidden_weights > 0
    expected = first.hidden_weights + 0.7 * X.T @ (slopes[:, None] * active * a)
    assert_allclose(model.coefs_[0], expected, atol=1e-8)
    assert_array_equal(model.coefs_[1], first.output_weights)


@SHAPES
@pytest.mark.parametrize("loss", ["log_loss", "squared_hinge"])
@pytest.mark.parametrize("options", [{}, OURS], ids=str)
def test_automatic_steps_descend(shape, loss, options):
    X, y = data(*shape)
    model = Descent(loss=loss, record_at=range(200), n_steps=199, **options).fit(X, y)
    objectives = [entry["objective"] for entry in model.history_]
    assert len(objectives) == 200
    assert (np.diff(objectives) < 0).mean() > 0.98  # a kink may be in the way
    assert objectives[-1] < 0.7 * objectives[0]


def test_reaches_the_objective_of_the_convex_fit():
    X, y = data(100, 3)
    convex = ConvexReLUClassifier(alpha=1e-2, random_state=0).fit(X, y)
    model = Descent(**OURS, n_neurons=50, learning_rate=0.5, n_steps=4000).fit(X, y)
    assert convex.objective_ * (1 - 0.01) < model.objective_ < convex.objective_ * 1.05


def test_every_class_is_fitted_as_it_would_be_alone():
    X, y = data(n_classes=3)
    model = Descent(learning_rate=0.3).fit(X, y)
    parts = model.network_.split()
    for label, part in zip(model.classes_, parts, strict=True):
        alone = Descent(learning_rate=0.3).fit(X, y == label).network_
        assert_allclose(part.hidden_weights, alone.hidden_weights, rtol=1e-9, atol=1e-12)
        assert_allclose(part.output_biases, alone.output_biases, rtol=1e-9, atol=1e-12)


@SHAPES
def test_weighted_repeated_and_shuffled_rows_give_the_same_network(shape):
    X, y = data(*shape)
    counts = np.arange(len(y)) % 3
    rows = np.random.RandomState(0).permutation(np.repeat(np.arange(len(y)), counts))
    weighted, repeated = Descent().fit(X, y, counts), Descent().fit(X[rows], y[rows])
    assert_same(weighted, repeated)
    assert told(weighted.history_) == told(repeated.history_)


# ------------------------------------------------------------------------------------------------
# Going on


@SHAPES
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}, OURS], ids=str)
def test_two_calls_are_one_of_all_steps(shape, n_classes, options):
    X, y = data(*shape, n_classes)
    once = Descent(**options).fit(X, y)
    equal = partial(assert_allclose, rtol=1e-9, atol=1e-12)
    partially = Descent(**options, n_steps=12).partial_fit(
        X, y, classes=list("cba"[3 - n_classes :])
    )
    first = partially.network_.hidden_weights.copy(), partially.network_
    partially.set_params(n_steps=18).partial_fit(X, y)
    assert_same(partially, once, equal)
    assert_array_equal(*[first[0], first[1].hidden_weights])  # the network of the first call
    warm = Descent(**options, n_steps=12, warm_start=True).fit(X, y)
    assert_same(warm.set_params(n_steps=18).fit(X, y), once, equal)
    # recorded at the powers of two, at the end of every call, and nothing twice
    assert [e["iteration"] for e in warm.history_] == [0, 1, 2, 4, 8, 12, 16, 30]
    assert [e["iteration"] for e in once.history_] == [0, 1, 2, 4, 8, 16, 30]
    assert_same(
        Descent(**options, n_steps=18).fit(X, y), warm.set_params(warm_start=False).fit(X, y)
    )


def test_warm_start_begins_anew_where_it_must():
    X, y = data()
    cold = Descent(fit_intercept=False).fit(X[:, :3], y)
    model = Descent(warm_start=True).fit(X, y)
    assert_same(model.set_params(fit_intercept=False).fit(X[:, :3], y), cold)
    assert model.set_params(n_neurons=5).fit(X, y).n_iter_ == 30
    assert model.fit(X, np.where(y == "a", "c", y)).classes_.tolist() == ["b", "c"]
    assert model.n_iter_ == 30


def test_partial_fit_on_other_rows():
    X, y = data(60, n_classes=3)
    few = np.flatnonzero(y != "c")[:10]
    model = Descent(n_steps=5).partial_fit(X[few], y[few], classes=["a", "b", "c"])
    assert model.n_outputs_ == 3
    for start in range(0, 60, 20):
        model.partial_fit(X[start : start + 20], y[start : start + 20])
    assert model.n_iter_ == 20
    assert model.predict(X).shape == (60,)
    # a few rows of many classes, where these are known
    classes = np.arange(30)
    for labels in (classes, classes.astype(float), classes.astype(str)):
        model = Descent(n_steps=2).partial_fit(X[:25], labels[:25], classes=labels)
        assert model.partial_fit(X[30:], labels).n_outputs_ == 30
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        Descent().partial_fit(X[:25], X[:25, 0], classes=X[:, 0])


def test_what_partial_fit_refuses():
    X, y = data()
    with pytest.raises(ValueError, match=r"classes must have two labels or more, got \['a'\]"):
        Descent().partial_fit(X, y, classes=["a"])
    with pytest.raises(ValueError, match=r"y holds labels that are not among the classes.*\['b'\]"):
        Descent().partial_fit(X, y, classes=["a", "c"])
    with pytest.raises(ValueError, match="2 classes|two classes"):
        Descent().partial_fit(X[:5], ["a"] * 5)
    model = Descent().partial_fit(X, y)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=["a", "b", "c"])
    with pytest.raises(ValueError, match=r"y holds labels.*\['z'\]"):
        model.partial_fit(X, np.where(y == "a", "z", y))
    with pytest.raises(ValueError, match="4 features"):
        model.partial_fit(X[:, :3], y)
    for change in ({"n_neurons": 3}, {"fit_intercept": False}):
        with pytest.raises(ValueError, match="goes on with the network that there is"):
            clone(model).partial_fit(X, y).set_params(**change).partial_fit(X, y)


# ------------------------------------------------------------------------------------------------
# Records


@SHAPES
@pytest.mark.parametrize("n_classes", [2, 3])
def test_records_tell_what_shorter_fits_would(shape, n_classes):
    X, y = data(*shape, n_classes)
    X_val, y_val = data(50, shape[1], n_classes, seed=1)
    model = Descent(record_at=[7, 0, 20, 99]).fit(X, y, X_val=X_val, y_val=y_val)
    assert [entry["iteration"] for entry in model.history_] == [0, 7, 20]
    times = [entry["time"] for entry in model.history_]
    assert times == sorted(times)
    for entry in model.history_[1:]:
        short = Descent(n_steps=entry["iteration"]).fit(X, y)
        assert entry["objective"] == pytest.approx(short.objective_, rel=1e-12)
        assert entry["loss"] == entry["objective"]  # no weight decay
        assert entry["accuracy"] == pytest.approx(short.score(X, y))
        assert entry["val_accuracy"] == pytest.approx(short.score(X_val, y_val))
        positive = short.classes_[1:] if n_classes == 2 else short.classes_
        margins = np.where(y_val[:, None] == positive, 1, -1) * short.network_(X_val)
        assert entry["val_loss"] == pytest.approx(np.logaddexp(0, -margins).sum(axis=1).mean())
    # looking does not change the fit
    assert_same(Descent().fit(X, y), model)


def test_what_a_record_needs():
    X, y = data()
    with pytest.raises(ValueError, match="X_val is given and y_val is not"):
        Descent().fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val is given and X_val is not"):
        Descent().fit(X, y, y_val=y)
    with pytest.raises(ValueError, match=r"y_val holds labels.*\['z'\]"):
        Descent().fit(X, y, X_val=X[:1], y_val=["z"])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        Descent().fit(X, y, X_val=X, y_val=y[:3])
    with pytest.raises(ValueError, match="3 features"):
        Descent().fit(X, y, X_val=X[:, :3], y_val=y)
    for record_at in ([1.5], [[1, 2]], ["1"]):
        with pytest.raises(ValueError, match="record_at must be a list of whole numbers"):
            Descent(record_at=record_at).fit(X, y)
    with pytest.raises(ValueError, match="record_at must not hold negative numbers: -1"):
        Descent(record_at=[3, -1]).fit(X, y)
    assert Descent(record_at=[]).fit(X, y).history_ == []


def test_verbose_prints_a_line_per_entry(capsys):
    X, y = data()
    Descent().fit(X, y)
    assert capsys.readouterr().out == ""
    model = Descent(verbose=1).fit(X, y, X_val=X, y_val=y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(model.history_)
    for line, entry in zip(lines, model.history_, strict=True):
        for name in ("accuracy", "val_accuracy"):
            assert f"{name} {entry[name]:.3f}" in line
        assert f"step {entry['iteration']:>6}" in line


# ------------------------------------------------------------------------------------------------
# Bad input


def test_divergence_is_an_error_and_leaves_the_last_fit():
    X, y = data()
    model = Descent(**OURS).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="diverged by step .*smaller learning_rate, got 1000000"):
        model.set_params(learning_rate=1e6, loss="squared_hinge").fit(X, y)
    assert_array_equal(model.set_params(loss="log_loss").predict_proba(X), before)


def test_a_kink_has_no_automatic_step():
    X, y = data()
    with pytest.raises(ValueError, match="learning_rate='auto' needs a loss without kinks"):
        Descent(loss="hinge").fit(X, y)
    model = Descent(loss="hinge", learning_rate=0.1, n_steps=300).fit(X, y)
    assert model.score(X, y) > 0.9
    assert not hasattr(model, "predict_proba")


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1e8, 1e100])
def test_automatic_steps_know_the_units(scale):
    X, y = data()
    options = {"fit_intercept": False, "n_steps": 300}
    model = Descent(**options, init_scale=1e-3 / scale).fit(scale * X, y)
    plain = Descent(**options, init_scale=1e-3).fit(X, y)
    assert_allclose(model.decision_function(scale * X), plain.decision_function(X), rtol=1e-6)


def test_huge_and_zero_features():
    X, y = data()
    with pytest.raises(ValueError, match="X must not exceed 1e150"):
        Descent().fit(1e160 * X, y)
    model = Descent(fit_intercept=False).fit(0 * X, y)
    assert_array_equal(model.decision_function(X) * 0, np.zeros(len(y)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", -1.0),
        ("n_neurons", 0),
        ("learning_rate", 0.0),
        ("learning_rate", "adaptive"),
        ("n_steps", 0),
        ("init_scale", 0.0),
        ("train_output", "yes"),
        ("record_at", 3),
    ],
)
def test_bad_parameters_are_named(name, value):
    with pytest.raises(ValueError, match=rf"'{name}' parameter of \w+ must be .*Got {value!r}"):
        Descent(**{name: value}).fit(*data())


# ------------------------------------------------------------------------------------------------
# Benign overfitting and grokking, arXiv 2310.02541, in a smaller version of its setting


def xor_curve(seed, learning_rate, steps):
    n, p = 100, 20_000
    signal = 2.5 * np.sqrt(p / n)
    X, y = make_xor_clusters(n, p, signal=signal, flip_y=0.05, random_state=seed)
    X_val, y_val = make_xor_clusters(200, p, signal=signal, flip_y=0, random_state=100 + seed)
    model = GradientDescentReLUClassifier(
        n_neurons=200,
        learning_rate=learning_rate,
        init_scale=1e-15,
        fit_intercept=False,
        n_steps=max(steps),
        record_at=steps,
        random_state=200 + seed,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    return np.array([(e["accuracy"], e["val_accuracy"]) for e in model.history_]).T


@pytest.mark.parametrize("seeds", [[0, 1], pytest.param(range(5), marks=pytest.mark.slow)], ids=len)
def test_all_labels_are_fitted_before_and_after_it_generalises(seeds):
    curves = np.array([xor_curve(seed, 1e-12, [0, 1, 15, 30]) for seed in seeds])
    train, test = curves.transpose(1, 2, 0)
    assert np.all((train[0] > 0.35) & (train[0] < 0.65))
    assert np.all(train[1:] == 1)
    # one step: no better than a coin, catastrophic
    assert np.all((test[1] > 0.3) & (test[1] < 0.7)) and abs(test[1].mean() - 0.5) < 0.1
    # fifteen and thirty steps: benign
    assert np.all(test[2:] > 0.85) and test[2].mean() > 0.95 and test[3].mean() > 0.96


def test_with_small_steps_generalisation_comes_late():
    train, test = xor_curve(0, 1e-15, [0, 15, 500])
    assert train[0] < 0.65
    assert train[1] == 1 and test[1] < 0.7
    assert train[2] == 1 and test[2] > 0.95


def test_the_convex_fit_of_the_same_samples_is_benign():
    n, p = 100, 10_000
    X, y, clean = make_xor_clusters(n, p, signal=25, random_state=0, return_clean=True)
    X_new, y_new = make_xor_clusters(200, p, signal=25, flip_y=0, random_state=100)
    basis = np.linalg.qr(X.T)[0]
    model = ConvexReLUClassifier(alpha=0.1, fit_intercept=False, random_state=0).fit(X @ basis, y)
    assert (y != clean).any()
    assert model.score(X @ basis, y) == 1
    assert model.score(X_new @ basis, y_new) > 0.95
