"""Callbacks of scikit-learn: what they see of a fit, and how they stop it."""

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
)

callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

rng = np.random.RandomState(0)
X = rng.standard_normal((30, 3))
Y = np.abs(X[:, 0]) + X[:, 1]
THREE = np.digitize(Y, [0.3, 1.2])


class Recorder:
    """Remembers the tasks that it saw, and asks to stop after some checks."""

    def __init__(self, stop_after=np.inf):
        self.stop_after, self.begun, self.ended, self.calls = stop_after, [], [], []

    def setup(self, estimator, context):
        self.calls.append("setup")

    def teardown(self, estimator, context):
        self.calls.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        entry = getattr(context, "history_entry", None)
        self.ended.append((context.task_name, entry, fitted_estimator))
        return len([name for name, *_ in self.ended if name == "descent"]) >= self.stop_after


@pytest.mark.parametrize("hidden_layer, n_tasks", [("separate", 3), ("shared", 1)])
def test_tasks_are_the_programs_and_their_checks(hidden_layer, n_tasks):
    recorder = Recorder()
    how = {"n_patterns": 10, "hidden_layer": hidden_layer, "random_state": 0}
    model = ConvexReLUClassifier(**how).set_callbacks(recorder)
    model.fit(X, THREE)
    assert recorder.calls == ["setup", "teardown"]
    assert recorder.begun[0] == "fit" and recorder.begun.count("output") == n_tasks
    assert sorted(recorder.begun) == sorted(name for name, *_ in recorder.ended)
    # a check for every entry of the history, which comes with it
    checks = [(name, entry) for name, entry, _ in recorder.ended if name not in ("fit", "output")]
    assert [entry["phase"] for _, entry in checks] == [entry["phase"] for entry in model.history_]
    assert [name for name, _ in checks] == [entry["phase"] for entry in model.history_]
    assert [entry["time"] for _, entry in checks] == [entry["time"] for entry in model.history_]
    name, _, fitted = recorder.ended[-1]
    assert name == "fit"
    np.testing.assert_array_equal(fitted.predict(X), model.predict(X))
    # and none of it changes the fit, or stays behind
    plain = ConvexReLUClassifier(**how).fit(X, THREE)
    np.testing.assert_array_equal(plain.coefs_[0], model.coefs_[0])
    assert not hasattr(model, "_callback_fit_ctx")


@pytest.mark.parametrize(
    "make", [ConvexReLURegressor, ConvexReLUClassifier, RobustConvexReLUClassifier]
)
def test_a_callback_stops_the_fit_early(make):
    y = Y if make is ConvexReLURegressor else (Y > 1).astype(int)
    model = make(alpha=1e-3, n_patterns=10, tol=1e-9, random_state=0)
    # no warning: the fit ended as it was asked to
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_callbacks(Recorder(stop_after=1)).fit(X, y)
    phases = [entry["phase"] for entry in model.history_]
    assert phases.count("descent") == 1
    assert np.isfinite(model.predict(X)).all()
    # an honest gap is that of the network that was there
    if hasattr(model, "dual_gap_"):
        assert model.dual_gap_ > model.tol


def test_gradient_descent_is_seen_and_stopped_at_its_records():
    recorder = Recorder(stop_after=3)
    model = GradientDescentReLUClassifier(record_at=[2, 5, 7, 9], random_state=0)
    model.set_callbacks(recorder).fit(X, THREE)
    assert recorder.calls == ["setup", "teardown"]
    assert model.n_iter_ == 7
    assert [entry for name, entry, _ in recorder.ended if name == "descent"] == model.history_
    plain = GradientDescentReLUClassifier(n_steps=7, random_state=0).fit(X, THREE)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    model.set_callbacks().set_params(n_steps=3).partial_fit(X, THREE)
    assert model.n_iter_ == 10


def test_a_callback_stops_fits_inside_a_search():
    stop = Recorder(stop_after=1)
    model = ConvexReLURegressor(n_patterns=5, tol=1e-9, random_state=0).set_callbacks(stop)
    search = GridSearchCV(model, {"alpha": [0.1, 0.01]}, cv=2).fit(X, Y)
    phases = [entry["phase"] for entry in search.best_estimator_.history_]
    assert phases.count("descent") == 1
    # four fits and that of the best
    assert stop.begun.count("fit") == 5


def test_ctrl_c_in_a_callback_leaves_the_last_fit_alone_and_ends_the_callback():
    class CtrlC(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise KeyboardInterrupt

    model = ConvexReLURegressor(n_patterns=10, random_state=0).fit(X, Y)
    callbacks = CtrlC()
    before = dict(vars(model.set_callbacks(callbacks)))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X[:, :2], -Y)
    assert callbacks.calls == ["setup", "teardown"]
    assert vars(model) == before


@pytest.mark.slow
@parametrize_with_checks(
    [
        make(n_patterns=20).set_callbacks(Recorder())
        for make in (ConvexReLUClassifier, ConvexReLURegressor, RobustConvexReLUClassifier)
    ]
)
def test_sklearn_checks_with_callbacks(estimator, check):
    check(estimator)


@parametrize_with_checks(
    [
        ConvexReLURegressor(
            0.1, patterns="random", solver="scp", n_patterns=20, tol=0.5
        ).set_callbacks(Recorder())
    ]
)
def test_sklearn_checks_of_a_small_program_with_callbacks(estimator, check):
    check(estimator)


def test_an_error_in_a_callback_leaves_the_last_fit_alone():
    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("enough")

    model = ConvexReLURegressor(n_patterns=10, random_state=0).fit(X, Y)
    before = model.predict(X)
    failing = Failing()
    with pytest.raises(RuntimeError, match="enough"):
        model.set_callbacks(failing).fit(X, -Y)
    assert failing.calls == ["setup", "teardown"]
    np.testing.assert_array_equal(model.predict(X), before)
    np.testing.assert_array_equal(model.set_callbacks().fit(X, Y).predict(X), before)


@pytest.mark.parametrize(
    "model",
    [
        ConvexReLURegressor(0.01, n_patterns=10, tol=1e-3),
        ConvexReLURegressor(0.01, patterns="random", n_patterns=10),
        ConvexReLURegressor(0.01, patterns="random", n_patterns=10, solver="scp"),
        ConvexReLURegressor(0.01, patterns="random", n_patterns=10, solver="admm-cholesky"),
        ConvexReLUClassifier(0.01, n_patterns=10),
        ConvexReLUClassifier(0.01, n_patterns=10, patterns="random", solver="scp"),
        ConvexReLUClassifierCV(alphas=[0.01], n_patterns=10, cv=2),
        GradientDescentReLUClassifier(),
    ],
    ids=repr,
)
def test_scores_of_every_check_are_monitored(model):
    regression = isinstance(model, ConvexReLURegressor)
    scoring, y = ("r2", Y) if regression else ("accuracy", THREE)
    monitor = callback.ScoringMonitor(scoring=scoring)
    weights = np.linspace(0.5, 1.5, len(y))
    model.set_params(random_state=0).set_callbacks(monitor).fit(X, y, sample_weight=weights)
    rows = monitor.get_logs().data
    scores = [row[scoring] for row in rows if row["task_name"] not in ("fit", "output")]
    assert len(scores) == len(model.history_)
    last = model.score(X, y, sample_weight=weights)
    assert {row["task_name"]: row for row in rows}["fit"][scoring] == pytest.approx(last)
    # the last check knows about the network that the fit ends with
    assert scores[-1] == pytest.approx(last, abs=0.1)
    model.set_callbacks()


def test_scores_of_checks_of_a_robust_fit_are_monitored():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = RobustConvexReLUClassifier(0.01, n_patterns=10, random_state=0).set_callbacks(monitor)
    model.fit(X, Y > 1)
    scores = [row["accuracy"] for row in monitor.get_logs().data if row["task_name"] == "descent"]
    assert len(scores) == len(model.history_)
    assert scores[-1] == model.score(X, Y > 1)


def test_separate_outputs_have_a_score_at_the_end_only():
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = ConvexReLUClassifier(0.1, n_patterns=5, hidden_layer="separate", random_state=0)
    model.set_callbacks(monitor).fit(X, THREE)
    assert [row["task_name"] for row in monitor.get_logs().data] == ["fit"]


def test_progress_bar_through_pipeline_and_grid_search(capsys):
    pytest.importorskip("rich")
    bar = callback.ProgressBar()
    model = make_pipeline(StandardScaler(), ConvexReLURegressor(n_patterns=5, random_state=0))
    search = GridSearchCV(model, {"convexreluregressor__alpha": [0.1, 0.01]}, cv=2)
    search.set_callbacks(bar).fit(X, Y)
    assert "GridSearchCV" in capsys.readouterr().out


def test_cross_validated_estimators_take_callbacks():
    recorder = Recorder()
    model = ConvexReLURegressorCV(alphas=2, cv=2, patterns="random", n_patterns=5, random_state=0)
    model.set_callbacks(recorder).fit(X, Y)
    assert recorder.calls == ["setup", "teardown"] and "fit" in recorder.begun
    assert clone(model).fit(X, Y).alpha_ == model.alpha_


def test_callbacks_see_outputs_fitted_in_processes():
    recorder = callback.ScoringMonitor(scoring="accuracy")
    model = ConvexReLUClassifier(n_patterns=5, n_jobs=2, random_state=0).set_callbacks(recorder)
    model.fit(X, THREE)
    log = recorder.get_logs()
    assert log.data[-1]["accuracy"] == pytest.approx(model.score(X, THREE))
