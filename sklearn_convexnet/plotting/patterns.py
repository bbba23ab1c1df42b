"""Activation patterns in the plane: where neurons switch, and on which samples they are active."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._common import axes_or_new, network_model

# of the picture: lines reach so many times the spread of the data
_REACH = 100.0


class PatternDisplay:
    """Lines on which the neurons of a network of two features switch, over the data.

    A neuron is active on one side of its line; which samples lie there is its activation pattern.
    A line is drawn the stronger the more the slope of the network changes across it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, 2)
        The samples.
    hidden_weights : ndarray of shape (2, n_neurons)
        Weights of the neurons, as in `TwoLayerReLU`.
    hidden_biases : ndarray of shape (n_neurons,)
        Their biases.
    strengths : ndarray of shape (n_neurons,)
        How strong their lines are, >= 0; the strongest is drawn without transparency.
    y : ndarray of shape (n_samples,), default=None
        Labels or numbers that colour the samples.
    feature_names : sequence of str, default=None
        Names of the two features.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes.
    figure_ : matplotlib Figure
        Their figure.
    lines_ : matplotlib LineCollection
        The lines of the neurons that have one.
    half_spaces_ : matplotlib PolyCollection or None
        The sides on which they are active.
    scatter_ : matplotlib PathCollection
        The samples.

    See Also
    --------
    sklearn.inspection.DecisionBoundaryDisplay : What the network makes of the plane.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.plotting import PatternDisplay
    >>> X, y = make_moons(n_samples=60, noise=0.2, random_state=0)
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> display = PatternDisplay.from_estimator(model, X, y)
    >>> display.patterns.shape == (60, model.n_neurons_)
    True
    """

    def __init__(
        self,
        *,
        X: NDArray[np.floating[Any]],
        hidden_weights: NDArray[np.floating[Any]],
        hidden_biases: NDArray[np.floating[Any]],
        strengths: NDArray[np.floating[Any]],
        y: NDArray[Any] | None = None,
        feature_names: Sequence[str] | None = None,
    ) -> None:
        self.X = X
        self.hidden_weights = hidden_weights
        self.hidden_biases = hidden_biases
        self.strengths = strengths
        self.y = y
        self.feature_names = feature_names

    @property
    def patterns(self) -> NDArray[np.bool_]:
        """Which neurons are active on which samples: bool of shape (n_samples, n_neurons)."""
        return self.X @ self.hidden_weights + self.hidden_biases >= 0

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        half_spaces: bool = False,
        scatter_kwargs: dict[str, Any] | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the neurons of a fitted network.

        Parameters
        ----------
        estimator : object
            Fitted classifier or regressor of this package, or perceptron of scikit-learn
            with one hidden ReLU layer, on two features; or a search for one.
        X : array-like of shape (n_samples, 2)
            Samples.
        y : array-like of shape (n_samples,), default=None
            Labels or numbers that colour them.
        half_spaces : bool, default=False
            Whether to shade the side on which a neuron is active.
        scatter_kwargs : dict, default=None
            Passed to ``ax.scatter``.
        ax : matplotlib Axes, default=None
            Where to draw, over what is there; by default into a new figure.
        **kwargs : dict
            Passed to the LineCollection of the lines.

        Returns
        -------
        PatternDisplay
        """
        _, model = network_model(estimator, cls.__name__)
        network = model.network
        if network.hidden_weights.shape[0] != 2:
            raise ValueError(
                "estimator must have two features to be drawn in the plane, got "
                f"{network.hidden_weights.shape[0]}."
            )
        X = model.check_rows(X)
        if y is not None:
            y = np.asarray(y)
            if y.shape != (len(X),):
                raise ValueError(f"y must have shape ({len(X)},) as X has rows, got {y.shape}.")
        slopes = np.linalg.norm(network.hidden_weights, axis=0)
        display = cls(
            X=X,
            hidden_weights=network.hidden_weights,
            hidden_biases=network.hidden_biases,
            strengths=slopes * np.linalg.norm(network.output_weights, axis=1),
            y=y,
            feature_names=getattr(estimator, "feature_names_in_", None),
        )
        return display.plot(ax, half_spaces=half_spaces, scatter_kwargs=scatter_kwargs, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        half_spaces: bool = False,
        scatter_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the lines and the samples.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw, over what is there; by default into a new figure.
        half_spaces : bool, default=False
            Whether to shade the side on which a neuron is active.
        scatter_kwargs : dict, default=None
            Passed to ``ax.scatter``.
        **kwargs : dict
            Passed to the LineCollection of the lines; "alpha" is one for all of them.

        Returns
        -------
        PatternDisplay
        """
        ax = axes_or_new(ax)
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.collections import LineCollection, PathCollection, PolyCollection
        from matplotlib.colors import to_rgba_array

        # samples first: they and what is there already, not the lines, set the limits
        style: dict[str, Any] = {"s": 18, "edgecolor": "white", "linewidth": 0.5, "zorder": 3}
        if self.y is None:
            style["color"] = "0.4"
        else:
            numeric = np.asarray(self.y).dtype.kind in "iufb"
            style["c"] = self.y if numeric else np.unique(self.y, return_inverse=True)[1]
            style["cmap"] = "RdBu_r"
        given = normalize_kwargs(scatter_kwargs or {}, PathCollection)
        if {"color", "facecolor", "c"} & given.keys():
            style = {key: one for key, one in style.items() if key not in ("color", "c", "cmap")}
        self.scatter_ = ax.scatter(*self.X.T, **style | given)

        drawn = np.linalg.norm(self.hidden_weights, axis=0) > 0
        feet, along, across = self._geometry(drawn)
        share = self.strengths[drawn] / max(np.max(self.strengths, initial=0.0), 1e-300)
        line: dict[str, Any] = {"color": "0.2", "linewidth": 1.2, "zorder": 2}
        line |= normalize_kwargs(kwargs, LineCollection)
        color = line.pop("color")
        color = to_rgba_array(line.pop("colors", color))
        colors = np.broadcast_to(color, (drawn.sum(), 4)).copy()
        self.half_spaces_ = None
        if half_spaces:
            corners = np.stack(
                [feet - along, feet + along, feet + along + across, feet - along + across], axis=1
            )
            shades = colors.copy()
            shades[:, 3] *= 0.15 * share
            self.half_spaces_ = PolyCollection(
                list(corners), facecolors=shades, linewidths=0, zorder=1
            )
            ax.add_collection(self.half_spaces_, autolim=False)
        colors[:, 3] *= share
        ends = np.stack([feet - along, feet + along], axis=1)
        self.lines_ = LineCollection(list(ends), colors=colors, **line)
        ax.add_collection(self.lines_, autolim=False)
        if self.feature_names is not None:
            ax.set(xlabel=self.feature_names[0], ylabel=self.feature_names[1])
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _geometry(self, drawn):
        """A point on every line, the way along it, and the way to its active side."""
        weights = self.hidden_weights[:, drawn].T
        norms = np.linalg.norm(weights, axis=1, keepdims=True)
        normals = weights / norms
        center = self.X.mean(axis=0)
        values = weights @ center + self.hidden_biases[drawn]
        # from the point next to the data, for they may be far from the origin
        feet = center - values[:, None] / norms * normals
        reach = _REACH * max(np.ptp(self.X, axis=0).max(), 1e-300)
        return feet, reach * np.stack([-normals[:, 1], normals[:, 0]], axis=1), reach * normals
