"""Neurons as half-spaces: what each adds, how much, and on which share of the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..selection.feature_weights import feature_importances
from ._common import axes_or_new, choose_output, network_model

# columns up to which the numbers in the cells of the heat map can be read
_READABLE = 12


class NeuronDisplay:
    r"""Neurons of a network, the strongest first: slopes, strength, share of samples.

    Neuron j adds :math:`a_j (u_j^\top x + b_j)_+`: nothing on one side of a hyperplane, and on the
    other a linear function with the slopes :math:`a_j u_j` and the constant :math:`a_j b_j`. A
    row of the heat map holds these, the bar beside it their norm with the sign of :math:`a_j`, and
    the last bar on what share of the samples the neuron is active. Bars above show the importances
    of features to the whole network, as in `feature_importances_`. The colour bar says what
    negative and positive numbers favour: of a regressor lower and higher predictions, of a
    classifier one class or the other.

    Parameters
    ----------
    slopes : ndarray of shape (n_neurons, n_features)
        What a neuron adds to the output per unit of a feature where it is active.
    constants : ndarray of shape (n_neurons,)
        The constants that go with them.
    strengths : ndarray of shape (n_neurons,)
        Norm of slopes and constant, with the sign of the output weight; the largest first.
    active : ndarray of shape (n_neurons,)
        Shares of the samples on which the neurons are active.
    feature_names : sequence of str
        Names of the features.
    favours : pair of str, default=("lower", "higher")
        What negative and positive numbers favour.
    importances : ndarray of shape (n_features,), default=None
        Importances of the features, of sum one. None: there are no bars of them.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes of the heat map.
    strength_ax_, active_ax_ : matplotlib Axes
        Those of the bars, to the right of it.
    figure_ : matplotlib Figure
        Their figure.
    image_ : matplotlib AxesImage
        The heat map: features, and the constant in the last column.
    strength_bars_, active_bars_ : matplotlib BarContainer
        The bars.
    importance_ax_ : matplotlib Axes
        Those of the importances, above it.
    importance_bars_ : matplotlib BarContainer
        Their bars; None, as their axes, where there are no importances.
    colorbar_ : matplotlib Colorbar
        What the colours favour.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLURegressor
    >>> from sklearn_convexnet.plotting import NeuronDisplay
    >>> X = np.random.RandomState(0).standard_normal((80, 3))
    >>> y = np.maximum(X[:, 0] - X[:, 1], 0)
    >>> model = ConvexReLURegressor(random_state=0).fit(X, y)
    >>> display = NeuronDisplay.from_estimator(model, X, merge_angle=10)
    >>> [round(float(slope)) for slope in display.slopes[0]]
    [1, -1, 0]
    """

    def __init__(
        self,
        *,
        slopes: NDArray[np.floating[Any]],
        constants: NDArray[np.floating[Any]],
        strengths: NDArray[np.floating[Any]],
        active: NDArray[np.floating[Any]],
        feature_names: Sequence[str],
        favours: tuple[str, str] = ("lower", "higher"),
        importances: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self.slopes = slopes
        self.constants = constants
        self.strengths = strengths
        self.active = active
        self.feature_names = feature_names
        self.favours = favours
        self.importances = importances

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: ArrayLike,
        *,
        output: int | None = None,
        merge_angle: float = 0.0,
        feature_names: Sequence[str] | None = None,
        max_neurons: int = 10,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the neurons of a fitted network.

        Parameters
        ----------
        estimator : object
            Fitted classifier or regressor of this package, or perceptron of scikit-learn
            with one hidden ReLU layer; or a search for one.
        X : array-like of shape (n_samples, n_features)
            Samples, to count on how many a neuron is active.
        output : int, default=None
            Which output; needed where the network has several, as with more than two classes.
        merge_angle : float, default=0.0
            Neurons of one sign whose directions (u, b) are at most so many degrees away from a
            stronger one, from 0 to 90, are added up to a single row. At 0 only those are that
            point in the same direction.
        feature_names : sequence of str, default=None
            Names of the features; by default those seen in `fit`, or their numbers.
        max_neurons : int, default=10
            How many to draw, >= 1.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.imshow``.

        Returns
        -------
        NeuronDisplay
        """
        estimator, model = network_model(estimator, cls.__name__)
        network, X = model.network, model.check_rows(X)
        output = choose_output(output, len(network.output_biases))
        if isinstance(merge_angle, bool) or not (
            isinstance(merge_angle, Real) and 0 <= merge_angle <= 90
        ):
            raise ValueError(f"merge_angle must be between 0 and 90 degrees, got {merge_angle!r}.")
        if feature_names is None:
            feature_names = getattr(estimator, "feature_names_in_", None)
        if feature_names is None:
            feature_names = [f"x{k}" for k in range(X.shape[1])]
        if len(feature_names) != X.shape[1]:
            raise ValueError(
                f"feature_names must have {X.shape[1]} names, got {len(feature_names)}."
            )
        hidden = np.concatenate([network.hidden_weights, network.hidden_biases[None]])
        rules, signs = _merged(hidden, network.output_weights[:, output], merge_angle)
        display = cls(
            slopes=signs[:, None] * rules[:, :-1],
            constants=signs * rules[:, -1],
            strengths=signs * np.linalg.norm(rules, axis=1),
            active=(X @ rules[:, :-1].T + rules[:, -1] > 0).mean(axis=0),
            feature_names=list(feature_names),
            favours=_favoured(model.classes, output),
            importances=feature_importances(
                replace(network, output_weights=network.output_weights[:, output : output + 1]),
                X,
                np.full(len(X), 1.0 / len(X)),
            ),
        )
        return display.plot(ax, max_neurons=max_neurons, **kwargs)

    def plot(self, ax: Any = None, *, max_neurons: int = 10, **kwargs: Any) -> Self:
        """Plot the strongest neurons.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure. The bars are cut off from its right.
        max_neurons : int, default=10
            How many to draw, >= 1.
        **kwargs : dict
            Passed to ``ax.imshow``.

        Returns
        -------
        NeuronDisplay
        """
        if isinstance(max_neurons, bool) or not (
            isinstance(max_neurons, Integral) and max_neurons >= 1
        ):
            raise ValueError(f"max_neurons must be an integer >= 1, got {max_neurons!r}.")
        if len(self.strengths) == 0:
            raise ValueError("The network has no neurons to draw: it is a constant.")
        ax = axes_or_new(ax)
        from mpl_toolkits.axes_grid1 import make_axes_locatable  # type: ignore[import-untyped]

        shown = slice(0, max_neurons)
        rows = np.concatenate([self.slopes, self.constants[:, None]], axis=1)[shown]
        places = np.arange(len(rows))
        largest = np.abs(rows).max()
        style = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "aspect": "auto"}
        self.image_ = ax.imshow(rows, **style | kwargs)
        names = [*self.feature_names, "constant"]
        turned = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
        ax.set_xticks(range(len(names)), names, **turned if len(max(names, key=len)) > 3 else {})
        ax.set_yticks(places, places + 1)
        ax.set_ylabel("Neuron")
        if rows.shape[1] <= _READABLE:
            for (i, k), value in np.ndenumerate(rows):
                color = "white" if abs(value) > 0.6 * largest else "0.2"
                ax.text(k, i, f"{value:.2g}", ha="center", va="center", color=color, size="small")

        divider = make_axes_locatable(ax)
        self.strength_ax_ = divider.append_axes("right", size="35%", pad=0.1, sharey=ax)
        self.active_ax_ = divider.append_axes("right", size="35%", pad=0.1, sharey=ax)
        strengths = self.strengths[shown]
        colors = np.where(strengths > 0, "#b2182b", "#2166ac")
        self.strength_bars_ = self.strength_ax_.barh(places, strengths, color=colors)
        self.strength_ax_.axvline(0, color="0.6", linewidth=0.8)
        self.strength_ax_.set_xlabel("Strength")
        self.active_bars_ = self.active_ax_.barh(places, 100 * self.active[shown], color="0.6")
        self.active_ax_.set(xlabel="Active on, %", xlim=(0, 110), xticks=[0, 50, 100])
        for beside in (self.strength_ax_, self.active_ax_):
            beside.tick_params(axis="y", left=False, labelleft=False)
        self.importance_ax_ = self.importance_bars_ = None
        if self.importances is not None:
            self.importance_ax_ = divider.append_axes("top", size="25%", pad=0.1, sharex=ax)
            features = np.arange(len(self.importances))
            self.importance_bars_ = self.importance_ax_.bar(features, self.importances, color="0.6")
            self.importance_ax_.set(ylabel="Importance", ylim=(0, None))
            self.importance_ax_.tick_params(axis="x", bottom=False, labelbottom=False)
        low, high = self.favours
        beside = divider.append_axes("right", size=0.12, pad=0.75)
        self.colorbar_ = ax.figure.colorbar(self.image_, cax=beside)
        # on the left: the layout of a figure knows only what is inside of `ax`
        beside.yaxis.set_ticks_position("left")
        beside.yaxis.set_label_position("left")
        self.colorbar_.set_label(f"{low}  ← favours →  {high}")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _favoured(classes, output):
    """What negative and positive numbers of an output favour, in words."""
    if classes is None:
        return "lower", "higher"
    if len(classes) == 2:
        return str(classes[0]), str(classes[1])
    return "other classes", str(classes[output])


def _merged(hidden, outputs, angle):
    """Neurons of one sign and nearly one direction, added up.

    Returns
    -------
    rules : ndarray of shape (n, d)
        The sums of abs(a_j) (u_j, b_j), the longest first.
    signs : ndarray of shape (n,)
        Of the a_j.
    """
    scaled = (hidden * np.abs(outputs)).T
    norms = np.linalg.norm(scaled, axis=1)
    left = np.argsort(-norms, kind="stable")
    left = left[norms[left] > 0]
    directions = scaled / np.where(norms > 0, norms, 1.0)[:, None]
    # the cosine of a tiny angle is 1 to the last digits
    cosine = np.cos(np.radians(angle)) - 1e-12
    rules, signs = [], []
    while left.size:
        first = left[0]
        near = (directions[left] @ directions[first] >= cosine) & (
            np.sign(outputs[left]) == np.sign(outputs[first])
        )
        rules.append(scaled[left[near]].sum(axis=0))
        signs.append(np.sign(outputs[first]))
        left = left[~near]
    rules, signs = np.array(rules).reshape(-1, len(hidden)), np.array(signs)
    order = np.argsort(-np.linalg.norm(rules, axis=1), kind="stable")
    return rules[order], signs[order]
