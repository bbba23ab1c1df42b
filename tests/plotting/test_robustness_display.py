"""Accuracies against the radius: what is shown is what was measured."""

import numpy as np
import pytest
from sklearn.datasets import make_moons
from sklearn.neural_network import MLPClassifier

from sklearn_convexnet import ConvexReLUClassifier
from sklearn_convexnet.plotting import RobustnessDisplay
from sklearn_convexnet.robustness import certified_accuracy, robust_accuracy

EPSILONS = [0.3, 0.0, 0.1]


@pytest.fixture(scope="module")
def fitted():
    X, y = make_moons(80, noise=0.1, random_state=0)
    return ConvexReLUClassifier(n_patterns=20, random_state=0).fit(X, y), X, y


def test_robustness_display_shows_the_accuracies(fitted):
    model, X, y = fitted
    display = RobustnessDisplay.from_estimator(model, X, y, epsilons=EPSILONS, random_state=0)
    np.testing.assert_array_equal(display.epsilons, [0.0, 0.1, 0.3])
    assert display.attacked[0] == display.certified[0] == model.score(X, y)
    for radius, attacked, certified in zip(
        display.epsilons, display.attacked, display.certified, strict=True
    ):
        assert attacked == robust_accuracy(model, X, y, radius, random_state=0)
        assert certified == certified_accuracy(model, X, y, radius, random_state=0)
    np.testing.assert_array_equal(display.certified_line_.get_ydata(), display.certified)
    np.testing.assert_array_equal(display.attacked_line_.get_ydata(), display.attacked)
    np.testing.assert_array_equal(display.attacked_line_.get_xdata(), display.epsilons)
    assert display.ax_.figure is display.figure_
    assert "ConvexReLUClassifier, certified" in display.ax_.get_legend_handles_labels()[1]


def test_two_classifiers_in_one_plot(fitted):
    model, X, y = fitted
    first = RobustnessDisplay.from_estimator(model, X, y, epsilons=EPSILONS, name="convex")
    perceptron = MLPClassifier((10,), max_iter=30, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        perceptron.fit(X, y)
    second = RobustnessDisplay.from_estimator(
        perceptron, X, y, epsilons=EPSILONS, ax=first.ax_, linewidth=3
    )
    assert second.ax_ is first.ax_
    labels = first.ax_.get_legend_handles_labels()[1]
    assert labels == [
        f"{name}, {what}"
        for name in ("convex", "MLPClassifier")
        for what in ("certified", "attacked")
    ]
    assert first.certified_line_.get_color() != second.certified_line_.get_color()
    assert second.attacked_line_.get_color() == second.certified_line_.get_color()
    assert second.attacked_line_.get_linewidth() == 3


@pytest.mark.parametrize("epsilons", [[], [[0.1]], [-0.1], [np.nan]])
def test_radii_are_checked(fitted, epsilons):
    with pytest.raises(ValueError, match="epsilons must be"):
        RobustnessDisplay.from_estimator(*fitted, epsilons=epsilons)
