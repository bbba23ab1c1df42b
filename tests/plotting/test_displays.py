"""Displays of fits, paths, patterns and neurons: what is drawn is what was computed."""

import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from sklearn.datasets import load_iris, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    GradientDescentReLUClassifier,
    PatternProgram,
    RobustConvexReLUClassifier,
    convex_relu_path,
    solve,
)
from sklearn_convexnet.plotting import (
    ConvergenceDisplay,
    NeuronDisplay,
    PatternDisplay,
    RegularizationPathDisplay,
    RobustnessDisplay,
)

X, y = make_moons(60, noise=0.2, random_state=0)
IRIS = load_iris()


@pytest.fixture(scope="module")
def moons():
    return ConvexReLUClassifier(n_patterns=15, tol=0.05, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def three():
    model = ConvexReLUClassifier(n_patterns=5, alpha=0.02, hidden_layer="separate", random_state=0)
    return model.fit(IRIS.data[::3], IRIS.target[::3])


@pytest.fixture(scope="module")
def shared():
    model = ConvexReLUClassifier(n_patterns=5, alpha=0.02, random_state=0)
    return model.fit(IRIS.data[::3], IRIS.target[::3])


@pytest.fixture(scope="module")
def path():
    return convex_relu_path(X, y, loss="log_loss", n_alphas=4, eps=0.1, random_state=0)


def legend(ax):
    return ax.get_legend_handles_labels()[1]


# ------------------------------------------------------------------------------------------------
# Convergence


def test_bounds_are_those_of_the_history(moons):
    display = ConvergenceDisplay.from_estimator(moons)
    history = moons.history_
    np.testing.assert_array_equal(
        display.upper_line_.get_xydata(),
        [[entry["iteration"], entry["upper_bound"]] for entry in history],
    )
    certified = [entry for entry in history if entry["gap"] < 1]
    assert certified
    np.testing.assert_array_equal(
        display.lower_line_.get_xydata(),
        [[entry["iteration"], entry["lower_bound"]] for entry in certified],
    )
    assert display.between_.get_paths()
    assert display.gap_line_ is None
    assert display.ax_.get_xlabel() == "Iteration" and display.ax_.get_ylabel() == "Objective"
    assert legend(display.ax_) == ["upper bound", "lower bound"]


def test_gap_against_time_of_two_fits_in_one_picture(moons, three):
    first = ConvergenceDisplay.from_estimator(moons, x="time", y="gap", name="moons")
    certified = [entry for entry in moons.history_ if entry["gap"] < 1]
    np.testing.assert_array_equal(
        first.gap_line_.get_xydata(), [[entry["time"], entry["gap"]] for entry in certified]
    )
    assert first.tol_line_.get_ydata()[0] == moons.tol
    assert first.ax_.get_yscale() == "log" and first.upper_line_ is None
    second = ConvergenceDisplay.from_estimator(
        three, output=2, x="time", y="gap", name="iris", ax=first.ax_, c="k"
    )
    times = [e["time"] for e in three.history_ if e["output"] == 2 and e["gap"] < 1]
    np.testing.assert_array_equal(second.gap_line_.get_xdata(), times)
    assert second.gap_line_.get_color() == "k"
    assert legend(first.ax_) == ["moons", "iris"]
    assert len(plt.get_fignums()) == 1


def test_result_of_a_solver_and_a_fit_without_lower_bounds():
    gates = np.random.RandomState(0).standard_normal((2, 8))
    program = PatternProgram.from_data(X, X[:, 0], X @ gates >= 0, alpha=0.05, gates=gates)
    result = solve(program, "admm", tol=1e-3)
    display = ConvergenceDisplay.from_result(result, tol=1e-3, y="gap")
    assert display.gap_line_.get_ydata()[-1] == result.gap <= display.tol
    robust = RobustConvexReLUClassifier(n_patterns=5, epsilon=0.1, random_state=0).fit(X, y)
    display = ConvergenceDisplay.from_estimator(robust)
    assert display.lower_line_ is None and display.between_ is None
    assert legend(display.ax_) == ["objective"]
    n_figures = len(plt.get_fignums())
    with pytest.raises(ValueError, match="needs a history with lower bounds"):
        ConvergenceDisplay.from_estimator(robust, y="gap")
    assert len(plt.get_fignums()) == n_figures


def test_histories_without_bounds_are_refused():
    model = GradientDescentReLUClassifier(n_neurons=3, n_steps=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="a fitted convex .*GradientDescent.* has no bounds"):
        ConvergenceDisplay.from_estimator(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": "epoch"}, "x must be one of"),
        ({"y": "loss"}, "y must be one of"),
        ({"output": 1}, "output must be an index below 1"),
        ({"output": True}, "output must be an index below 1"),
    ],
)
def test_convergence_options_are_checked(moons, options, message):
    with pytest.raises(ValueError, match=message):
        ConvergenceDisplay.from_estimator(moons, **options)
    assert plt.get_fignums() == []


def test_outputs_that_share_a_hidden_layer_have_one_history(shared):
    displays = [ConvergenceDisplay.from_estimator(shared, output=output) for output in (None, 2)]
    for display in displays:
        bounds = [entry["upper_bound"] for entry in shared.history_]
        np.testing.assert_array_equal(display.upper_line_.get_ydata(), bounds)
    with pytest.raises(ValueError, match="output must be an index below 3.*got 3"):
        ConvergenceDisplay.from_estimator(shared, output=3)
    # of the neurons each has a picture of its own
    assert NeuronDisplay.from_estimator(shared, IRIS.data, output=1).ax_ is not None
    with pytest.raises(ValueError, match="output must be an index below 3.*got None"):
        NeuronDisplay.from_estimator(shared, IRIS.data)


def test_several_outputs_need_a_choice(three):
    for draw in (
        lambda: ConvergenceDisplay.from_estimator(three),
        lambda: NeuronDisplay.from_estimator(three, IRIS.data),
    ):
        with pytest.raises(ValueError, match="output must be an index below 3.*got None"):
            draw()
    assert plt.get_fignums() == []


def test_what_is_no_fit_is_refused(moons):
    with pytest.raises(ValueError, match="no history_.*Is it fitted"):
        ConvergenceDisplay.from_estimator(ConvexReLUClassifier())
    with pytest.raises(TypeError, match="got the class"):
        ConvergenceDisplay.from_estimator(ConvexReLUClassifier)
    with pytest.raises(TypeError, match="result of a solver"):
        ConvergenceDisplay.from_result(moons)
    with pytest.raises(TypeError, match="result of convex_relu_path"):
        RegularizationPathDisplay.from_path(moons)
    with pytest.raises(ValueError, match="no alphas_ and no scores_"):
        RegularizationPathDisplay.from_estimator(moons)
    assert plt.get_fignums() == []


def search_for(*steps):
    search = GridSearchCV(make_pipeline(*steps) if len(steps) > 1 else steps[0], {}, cv=2)
    return search.fit(X, y)


def test_searches_and_pipelines_are_looked_into():
    network = ConvexReLUClassifier(0.02, n_patterns=10, random_state=0)
    search = search_for(network)
    inner = search.best_estimator_
    assert len(NeuronDisplay.from_estimator(search, X).slopes) == inner.n_neurons_
    assert PatternDisplay.from_estimator(search, X).hidden_weights.shape == (2, inner.n_neurons_)
    RobustnessDisplay.from_estimator(search, X, y, epsilons=[0.0])
    search = search_for(StandardScaler(), network)
    pipeline = search.best_estimator_
    n_checks = len(pipeline[-1].history_)
    for one in (search, pipeline, pipeline[-1]):
        assert len(ConvergenceDisplay.from_estimator(one).gaps) == n_checks
        with pytest.raises(ValueError, match="ConvexReLUClassifier has no alphas_"):
            RegularizationPathDisplay.from_estimator(one)
    plt.close("all")
    for display in (NeuronDisplay, PatternDisplay):
        for one in (search, pipeline):
            call = rf"{display.__name__}.from_estimator\(model\[-1\], model\[:-1\].transform"
            with pytest.raises(TypeError, match=call) as caught:
                display.from_estimator(one, X)
            assert "got Pipeline" in str(caught.value) and "epsilon" not in str(caught.value)
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------------------------
# Paths


def test_path_shows_objectives_sizes_and_gaps(path):
    display = RegularizationPathDisplay.from_path(path)
    np.testing.assert_array_equal(display.line_.get_xdata(), path.alphas)
    np.testing.assert_array_equal(display.line_.get_ydata(), path.objectives)
    display.plot(y="neurons", color="C3")
    sizes = [network.n_neurons for network in path.networks]
    np.testing.assert_array_equal(display.line_.get_ydata(), sizes)
    assert display.line_.get_color() == "C3"
    display.plot(y="gap")
    positive = path.dual_gaps > 0
    np.testing.assert_array_equal(display.line_.get_ydata()[positive], path.dual_gaps[positive])
    assert np.isnan(display.line_.get_ydata()[~positive]).all()
    assert display.ax_.get_xscale() == display.ax_.get_yscale() == "log"
    assert legend(display.ax_) == [] and display.best_line_ is None
    with pytest.raises(ValueError, match=r"y must be one of \['gap', 'neurons', 'objective'\]"):
        display.plot(y="score")


def test_scores_of_a_cross_validation():
    model = ConvexReLUClassifierCV(alphas=[0.1, 0.01], cv=3, n_patterns=5, random_state=0)
    model.fit(X, y)
    display = RegularizationPathDisplay.from_estimator(model, negate_score=True, name="moons")
    np.testing.assert_array_equal(display.line_.get_xdata(), model.alphas_)
    np.testing.assert_allclose(display.line_.get_ydata(), -model.scores_.mean(axis=1))
    for line, scores in zip(display.fold_lines_, model.scores_.T, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), -scores)
    assert display.best_line_.get_xdata()[0] == model.alpha_
    top = display.fill_between_.get_paths()[0].vertices[:, 1].max()
    assert top == pytest.approx((model.scores_.std(axis=1) - model.scores_.mean(axis=1)).max())
    assert legend(display.ax_)[0] == "moons, mean of the folds"
    assert display.ax_.get_ylabel() == "Log loss"
    display.plot()
    np.testing.assert_allclose(display.line_.get_ydata(), model.scores_.mean(axis=1))
    assert display.ax_.get_ylabel() == "Negative log loss"
    # set after the fit: only the name changes
    for options, negate, label in (
        ({"loss": "hinge"}, False, "Accuracy"),
        ({"scoring": "neg_brier_score"}, True, "Brier score"),
        ({"scoring": "roc_auc"}, True, "Negative roc auc"),
        (
            {"scoring": test_scores_of_a_cross_validation},
            False,
            "Test scores of a cross validation",
        ),
    ):
        model.set_params(**{"loss": "log_loss", "scoring": None} | options)
        display = RegularizationPathDisplay.from_estimator(model, negate_score=negate)
        assert display.ax_.get_ylabel() == label


# ------------------------------------------------------------------------------------------------
# Patterns


def test_lines_are_where_neurons_switch(moons):
    display = PatternDisplay.from_estimator(moons, X, y, half_spaces=True)
    network = moons.network_
    segments = np.array(display.lines_.get_segments())
    assert len(segments) == moons.n_neurons_
    values = segments @ network.hidden_weights[:, :, None].transpose(1, 0, 2)
    values = values[:, :, 0] + network.hidden_biases[:, None]
    size = np.abs(segments).max() * np.linalg.norm(network.hidden_weights, axis=0)
    assert (np.abs(values).max(axis=1) < 1e-9 * size).all()
    # drawn in the order of the strength
    strengths = np.linalg.norm(network.hidden_weights, axis=0) * np.abs(
        network.output_weights[:, 0]
    )
    np.testing.assert_allclose(display.lines_.get_colors()[:, 3], strengths / strengths.max())
    # a half-space holds the samples on which its neuron is active
    for j, polygon in enumerate(display.half_spaces_.get_paths()):
        np.testing.assert_array_equal(polygon.contains_points(X), display.patterns[:, j])
    np.testing.assert_array_equal(display.scatter_.get_offsets(), X)
    np.testing.assert_array_equal(display.scatter_.get_array(), y)
    # far as the lines reach, the limits are those of the data
    low, high = display.ax_.get_xlim()
    assert low > X[:, 0].min() - 1 and high < X[:, 0].max() + 1


def test_pattern_styles_and_labels():
    model = ConvexReLUClassifier(n_patterns=5, random_state=0)
    frame, labels = pd.DataFrame(X, columns=["east", "north"]), np.array(["no", "yes"])[y]
    model.fit(frame, labels)
    _, ax = plt.subplots()
    display = PatternDisplay.from_estimator(
        model, frame, labels, ax=ax, colors="red", alpha=0.5, scatter_kwargs={"s": 5}
    )
    assert display.ax_ is ax and ax.get_xlabel() == "east" and ax.get_ylabel() == "north"
    colors = display.lines_.get_colors()
    np.testing.assert_allclose(colors, np.tile(to_rgba("red", 0.5), (model.n_neurons_, 1)))
    np.testing.assert_array_equal(display.scatter_.get_array(), y)
    assert display.scatter_.get_sizes() == [5] and display.half_spaces_ is None
    display.plot(ax, scatter_kwargs={"c": "k"})
    np.testing.assert_array_equal(display.scatter_.get_facecolors(), [to_rgba("k")])
    assert len(plt.get_fignums()) == 1


def test_patterns_of_a_perceptron_and_of_neurons_without_a_line():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        perceptron = MLPClassifier((6,), max_iter=5, random_state=0).fit(X, y)
    perceptron.coefs_[0][:, 2] = 0.0
    display = PatternDisplay.from_estimator(perceptron, X)
    assert len(display.lines_.get_segments()) == 5 and display.patterns.shape == (60, 6)
    constant = ConvexReLUClassifier(alpha=10.0).fit(X, y)
    display = PatternDisplay.from_estimator(constant, X)
    assert constant.n_neurons_ == 0 and display.lines_.get_segments() == []


def test_pattern_input_is_checked(moons, three):
    with pytest.raises(ValueError, match="two features to be drawn in the plane, got 4"):
        PatternDisplay.from_estimator(three, IRIS.data)
    with pytest.raises(ValueError, match=r"y must have shape \(60,\)"):
        PatternDisplay.from_estimator(moons, X, y[:5])
    with pytest.raises(ValueError, match=r"X must have shape \(n_samples, 2\)"):
        PatternDisplay.from_estimator(moons, X[:, :1])
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------------------------
# Neurons


def test_neurons_are_slopes_strengths_and_shares(three):
    display = NeuronDisplay.from_estimator(three, IRIS.data, output=1, max_neurons=3)
    part = three.network_.split()[1]
    order = np.argsort(-np.abs(display.strengths))
    np.testing.assert_array_equal(order, np.arange(len(order)))
    rows = np.concatenate([part.hidden_weights, part.hidden_biases[None]]) * part.output_weights.T
    norms = np.linalg.norm(rows, axis=0)
    np.testing.assert_allclose(np.abs(display.strengths), np.sort(norms)[::-1])
    first = np.argmax(norms)
    np.testing.assert_allclose(display.slopes[0], rows[:-1, first])
    np.testing.assert_allclose(display.constants[0], rows[-1, first])
    assert display.strengths[0] * part.output_weights[first, 0] > 0
    active = (part.hidden_layer(IRIS.data)[:, first] > 0).mean()
    assert display.active[0] == active
    # the picture has the first three
    image = display.image_.get_array()
    np.testing.assert_allclose(image, np.c_[display.slopes, display.constants][:3])
    assert [bar.get_width() for bar in display.strength_bars_] == list(display.strengths[:3])
    assert display.active_bars_[0].get_width() == 100 * active
    labels = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert labels == ["x0", "x1", "x2", "x3", "constant"]
    importances = [bar.get_height() for bar in display.importance_bars_]
    uniform = np.full(len(IRIS.data), 1 / len(IRIS.data))
    squares = part.mean_squared_slopes(IRIS.data, uniform) * IRIS.data.var(axis=0)
    np.testing.assert_allclose(importances, squares / squares.sum())
    assert display.colorbar_.mappable is display.image_
    assert display.colorbar_.ax.get_ylabel() == "other classes  ← favours →  1"
    assert display.figure_ is display.strength_ax_.figure is display.active_ax_.figure
    assert len(plt.get_fignums()) == 1


def test_merged_neurons_add_up():
    rng = np.random.RandomState(0)
    Z = rng.standard_normal((60, 2))
    target = np.abs(Z[:, 0]) + 0.05 * rng.standard_normal(60)
    model = ConvexReLURegressor(alpha=3e-3, n_patterns=40, random_state=0).fit(Z, target)
    each = NeuronDisplay.from_estimator(model, Z)
    merged = NeuronDisplay.from_estimator(
        model, Z, merge_angle=20, feature_names=["width", "height"], ax=plt.subplots()[1]
    )
    assert len(merged.strengths) < len(each.strengths)
    np.testing.assert_allclose(merged.slopes.sum(axis=0), each.slopes.sum(axis=0))
    np.testing.assert_allclose(merged.constants.sum(), each.constants.sum())
    # |x| is two half-spaces that rise away from zero
    np.testing.assert_allclose(np.sort(merged.slopes[:2, 0]), [-1, 1], atol=0.15)
    assert (merged.strengths[:2] > 0).all()
    assert merged.ax_.get_xticklabels()[0].get_text() == "width"
    assert merged.colorbar_.ax.get_ylabel() == "lower  ← favours →  higher"
    named = ConvexReLUClassifier(alpha=0.1, n_patterns=5, random_state=0)
    named.fit(X, np.where(y == 1, "lower moon", "a moon"))
    label = NeuronDisplay.from_estimator(named, X).colorbar_.ax.get_ylabel()
    assert label == "a moon  ← favours →  lower moon"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"merge_angle": 91}, "merge_angle must be between 0 and 90"),
        ({"merge_angle": "wide"}, "merge_angle must be between 0 and 90"),
        ({"max_neurons": 0}, "max_neurons must be an integer >= 1"),
        ({"feature_names": ["one"]}, "feature_names must have 2 names, got 1"),
        ({"output": 5}, "output must be an index below 1"),
    ],
)
def test_neuron_options_are_checked(moons, options, message):
    with pytest.raises(ValueError, match=message):
        NeuronDisplay.from_estimator(moons, X, **options)
    assert plt.get_fignums() == []


def test_a_constant_has_no_neurons_to_draw():
    constant = ConvexReLUClassifier(alpha=10.0).fit(X, y)
    with pytest.raises(ValueError, match="no neurons to draw"):
        NeuronDisplay.from_estimator(constant, X)
    assert plt.get_fignums() == []


def test_displays_name_the_extra_that_is_missing(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"sklearn-convexnet\[plot\]"):
        RegularizationPathDisplay.from_path(path)
