"""Bounds on the objective during a fit."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ._common import (
    axes_or_new,
    check_choice,
    choose_output,
    fitted_attributes,
    labelled,
    line_style,
)

_X_LABELS = {"iteration": "Iteration", "time": "Time [s]"}


class ConvergenceDisplay:
    """Bounds of a fit, or their relative gap, against iterations or time.

    Every marker is a check. In a descent only the objective of the network is known; where a check
    has a lower bound as well, the optimum of the convex program over the patterns of that moment
    lies in the shade. How the bounds are made is told in the user guide.

    Parameters
    ----------
    iterations : ndarray of shape (n_checks,)
        Iterations at every check.
    times : ndarray of shape (n_checks,)
        Seconds since the start.
    upper_bounds : ndarray of shape (n_checks,)
        Objectives of feasible points.
    lower_bounds : ndarray of shape (n_checks,)
        Objectives of dual feasible points; NaN where there is none.
    gaps : ndarray of shape (n_checks,)
        Relative duality gaps; NaN where there is no lower bound.
    tol : float, default=None
        The gap at which the fit was to stop.
    estimator_name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes; pass them on to draw another fit into them.
    figure_ : matplotlib Figure
        Their figure.
    upper_line_, lower_line_ : matplotlib Line2D or None
        The bounds, solid and dashed; None where they are not drawn.
    between_ : matplotlib PolyCollection or None
        The shade between them.
    gap_line_ : matplotlib Line2D or None
        The gap.
    tol_line_ : matplotlib Line2D or None
        The dotted line at `tol`.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.plotting import ConvergenceDisplay
    >>> X, y = make_moons(n_samples=60, noise=0.2, random_state=0)
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(model)
    >>> bool(display.gaps[-1] <= 0.05)
    True
    """

    def __init__(
        self,
        *,
        iterations: NDArray[np.integer[Any]],
        times: NDArray[np.floating[Any]],
        upper_bounds: NDArray[np.floating[Any]],
        lower_bounds: NDArray[np.floating[Any]],
        gaps: NDArray[np.floating[Any]],
        tol: float | None = None,
        estimator_name: str | None = None,
    ) -> None:
        self.iterations = iterations
        self.times = times
        self.upper_bounds = upper_bounds
        self.lower_bounds = lower_bounds
        self.gaps = gaps
        self.tol = tol
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        *,
        output: int | None = None,
        x: Literal["iteration", "time"] = "iteration",
        y: Literal["bounds", "gap"] = "bounds",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : object
            Fitted convex classifier or regressor of this package; or a search for one, or a
            pipeline that ends with one.
        output : int, default=None
            Which output; needed where several are fitted apart. Outputs that share a hidden layer
            have one history.
        x : {"iteration", "time"}, default="iteration"
            What the horizontal axis shows.
        y : {"bounds", "gap"}, default="bounds"
            What the vertical axis shows.
        name : str, default=None
            Name in the legend; by default none.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for all curves.

        Returns
        -------
        ConvergenceDisplay
        """
        what = "a fitted convex classifier or regressor of this package"
        history, n_outputs = fitted_attributes(estimator, ["history_", "n_outputs_"], what)
        if not all("upper_bound" in entry for entry in history):
            found = type(estimator).__name__
            raise ValueError(f"estimator must be {what}; the history_ of {found} has no bounds.")
        apart = len({entry["output"] for entry in history}) > 1
        if apart or output is not None:
            output = choose_output(output, n_outputs)
        if apart:
            history = [entry for entry in history if entry["output"] == output]
        display = cls(**_columns(history), tol=getattr(estimator, "tol", None), estimator_name=name)
        return display.plot(ax, x=x, y=y, **kwargs)

    @classmethod
    def from_result(
        cls,
        result: Any,
        *,
        tol: float | None = None,
        x: Literal["iteration", "time"] = "iteration",
        y: Literal["bounds", "gap"] = "bounds",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the history of a solver.

        Parameters
        ----------
        result : Result
            What `solve` has returned.
        tol : float, default=None
            The gap at which it was to stop.
        x : {"iteration", "time"}, default="iteration"
            What the horizontal axis shows.
        y : {"bounds", "gap"}, default="bounds"
            What the vertical axis shows.
        name : str, default=None
            Name in the legend; by default none.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for all curves.

        Returns
        -------
        ConvergenceDisplay
        """
        if not hasattr(result, "history"):
            raise TypeError(f"result must be the result of a solver, got {result!r}.")
        display = cls(**_columns(result.history), tol=tol, estimator_name=name)
        return display.plot(ax, x=x, y=y, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        x: Literal["iteration", "time"] = "iteration",
        y: Literal["bounds", "gap"] = "bounds",
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the bounds or the gap.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        x : {"iteration", "time"}, default="iteration"
            What the horizontal axis shows.
        y : {"bounds", "gap"}, default="bounds"
            What the vertical axis shows. The gap has a logarithmic scale, so that a gap of zero is
            below every picture.
        name : str, default=None
            Name in the legend; by default `estimator_name`.
        **kwargs : dict
            Passed to ``ax.plot`` for all curves.

        Returns
        -------
        ConvergenceDisplay
        """
        check_choice("x", x, _X_LABELS)
        check_choice("y", y, {"bounds", "gap"})
        known = np.isfinite(self.lower_bounds)
        if y == "gap" and not known.any():
            raise ValueError("y='gap' needs a history with lower bounds, got one without any.")
        ax = axes_or_new(ax)
        along = np.asarray(self.iterations if x == "iteration" else self.times)
        name = self.estimator_name if name is None else name
        self.upper_line_ = self.lower_line_ = self.between_ = None
        self.gap_line_ = self.tol_line_ = None
        if y == "bounds":
            self._plot_bounds(ax, along, known, name, kwargs)
        else:
            self._plot_gap(ax, along, known, name, kwargs)
        ax.set(xlabel=_X_LABELS[x], ylabel="Objective" if y == "bounds" else "Relative duality gap")
        if ax.get_legend_handles_labels()[1]:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _plot_bounds(self, ax, along, known, name, kwargs):
        what = labelled(name, "upper bound" if known.any() else "objective")
        style = line_style({"marker": "o", "markersize": 4, "label": what}, kwargs)
        (self.upper_line_,) = ax.plot(along, self.upper_bounds, **style)
        if not known.any():
            return
        color = self.upper_line_.get_color()
        style |= {"label": labelled(name, "lower bound"), "color": color}
        style = {"linestyle": "--"} | style
        lower = self.lower_bounds[known]
        (self.lower_line_,) = ax.plot(along[known], lower, **style)
        # the edge makes the gap of a single check a line
        self.between_ = ax.fill_between(
            along[known], lower, self.upper_bounds[known], color=color, alpha=0.15, linewidth=1.5
        )

    def _plot_gap(self, ax, along, known, name, kwargs):
        style = line_style({"marker": "o", "markersize": 4, "label": name}, kwargs)
        (self.gap_line_,) = ax.plot(along[known], self.gaps[known], **style)
        ax.set_yscale("log", nonpositive="clip")
        if self.tol is not None:
            self.tol_line_ = ax.axhline(self.tol, color="0.5", linestyle=":", linewidth=1)
            ax.annotate(
                "tol",
                (1.0, self.tol),
                xycoords=ax.get_yaxis_transform(),
                xytext=(0, 2),
                textcoords="offset points",
                ha="right",
                color="0.4",
            )


def _columns(history):
    """The entries of a history as arrays; what no dual point stands behind is NaN."""
    columns = {
        "iterations": np.array([entry["iteration"] for entry in history]),
        "times": np.array([entry["time"] for entry in history], dtype=float),
        "upper_bounds": np.array([entry["upper_bound"] for entry in history], dtype=float),
        "lower_bounds": np.array([entry["lower_bound"] for entry in history], dtype=float),
        "gaps": np.array([entry["gap"] for entry in history], dtype=float),
    }
    # a lower bound of zero says nothing, unless the fit is perfect
    unknown = (columns["lower_bounds"] <= 0) & (columns["gaps"] > 0)
    columns["lower_bounds"][unknown] = columns["gaps"][unknown] = np.nan
    return columns
