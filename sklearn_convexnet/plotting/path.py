"""What becomes of a network along the regularisation path."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from ._common import axes_or_new, check_choice, fitted_attributes, labelled, line_style

_LABELS = {
    "objective": "Objective",
    "neurons": "Number of neurons",
    "gap": "Relative duality gap",
}
# of ConvexReLURegressorCV and ConvexReLUClassifierCV
_DEFAULT_SCORING = {
    "squared_error": "neg_mean_squared_error",
    "absolute_error": "neg_mean_absolute_error",
    "huber": "neg_mean_huber_loss",
    "quantile": "neg_mean_quantile_loss",
    "log_loss": "neg_log_loss",
    "hinge": "accuracy",
    "squared_hinge": "accuracy",
}


class RegularizationPathDisplay:
    """Networks of a sequence of penalties: scores, objectives, sizes or gaps against alpha.

    Parameters
    ----------
    alphas : ndarray of shape (n_alphas,)
        The penalties.
    scores : ndarray of shape (n_alphas, n_folds), default=None
        Scores of a cross-validation, greater is better.
    objectives : ndarray of shape (n_alphas,), default=None
        Training objectives of the networks.
    n_neurons : ndarray of shape (n_alphas,), default=None
        Their numbers of neurons.
    dual_gaps : ndarray of shape (n_alphas,), default=None
        Relative duality gaps of their convex programs.
    best_alpha : float, default=None
        The penalty that was chosen.
    estimator_name : str, default=None
        Name in the legend.
    score_name : str, default="Score"
        Name of the scores.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes; pass them on to draw another path into them.
    figure_ : matplotlib Figure
        Their figure.
    line_ : matplotlib Line2D
        The curve; of scores, their mean over the folds.
    fold_lines_ : list of matplotlib Line2D
        The scores of every fold; empty for the other quantities.
    fill_between_ : matplotlib PolyCollection or None
        One standard deviation of the folds around the mean score.
    best_line_ : matplotlib Line2D or None
        The dotted line at `best_alpha`.

    See Also
    --------
    sklearn_convexnet.convex_relu_path : The networks of a sequence of penalties.
    sklearn_convexnet.ConvexReLURegressorCV : Regression with the penalty chosen by it.
    sklearn_convexnet.ConvexReLUClassifierCV : Classification with the penalty chosen by it.

    Examples
    --------
    >>> from sklearn.datasets import make_friedman1
    >>> from sklearn_convexnet import convex_relu_path
    >>> from sklearn_convexnet.plotting import RegularizationPathDisplay
    >>> X, y = make_friedman1(n_samples=50, random_state=0)
    >>> path = convex_relu_path(X, y, n_alphas=4, eps=0.1, random_state=0)
    >>> display = RegularizationPathDisplay.from_path(path, y="neurons")
    >>> int(display.n_neurons[0])
    0
    """

    def __init__(
        self,
        *,
        alphas: NDArray[np.floating[Any]],
        scores: NDArray[np.floating[Any]] | None = None,
        objectives: NDArray[np.floating[Any]] | None = None,
        n_neurons: NDArray[np.integer[Any]] | None = None,
        dual_gaps: NDArray[np.floating[Any]] | None = None,
        best_alpha: float | None = None,
        estimator_name: str | None = None,
        score_name: str = "Score",
    ) -> None:
        self.alphas = alphas
        self.scores = scores
        self.objectives = objectives
        self.n_neurons = n_neurons
        self.dual_gaps = dual_gaps
        self.best_alpha = best_alpha
        self.estimator_name = estimator_name
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        *,
        negate_score: bool = False,
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot the scores by which an estimator has chosen its penalty.

        Parameters
        ----------
        estimator : ConvexReLURegressorCV or ConvexReLUClassifierCV
            Fitted; or a search for one, or a pipeline that ends with one.
        negate_score : bool, default=False
            Whether to draw the negative scores; those of errors, such as the negative mean squared
            error, are errors again.
        name : str, default=None
            Name in the legend; by default none.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for the mean.

        Returns
        -------
        RegularizationPathDisplay
        """
        alphas, scores, best, scoring, loss = fitted_attributes(
            estimator,
            ["alphas_", "scores_", "alpha_", "scoring", "loss"],
            "a fitted ConvexReLURegressorCV or ConvexReLUClassifierCV",
        )
        display = cls(
            alphas=alphas,
            scores=scores,
            best_alpha=best,
            estimator_name=name,
            score_name=_score_name(scoring, loss),
        )
        return display.plot(ax, y="score", negate_score=negate_score, **kwargs)

    @classmethod
    def from_path(
        cls,
        path: Any,
        *,
        y: Literal["objective", "neurons", "gap"] = "objective",
        name: str | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Plot a path of networks.

        Parameters
        ----------
        path : RegularizationPath
            What `convex_relu_path` has returned.
        y : {"objective", "neurons", "gap"}, default="objective"
            What to draw.
        name : str, default=None
            Name in the legend; by default none.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        RegularizationPathDisplay
        """
        if not hasattr(path, "networks"):
            raise TypeError(f"path must be the result of convex_relu_path, got {path!r}.")
        display = cls(
            alphas=path.alphas,
            objectives=path.objectives,
            n_neurons=np.array([network.n_neurons for network in path.networks]),
            dual_gaps=path.dual_gaps,
            estimator_name=name,
        )
        return display.plot(ax, y=y, **kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        y: Literal["score", "objective", "neurons", "gap"] | None = None,
        negate_score: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> Self:
        """Plot one quantity against the penalty.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        y : {"score", "objective", "neurons", "gap"}, default=None
            What to draw; by default the first of these that is there. Gaps have a logarithmic
            scale, on which those that are zero are left out.
        negate_score : bool, default=False
            Whether to draw the negative scores.
        name : str, default=None
            Name in the legend; by default `estimator_name`.
        **kwargs : dict
            Passed to ``ax.plot``; of scores, for their mean.

        Returns
        -------
        RegularizationPathDisplay
        """
        quantities = {
            "score": self.scores,
            "objective": self.objectives,
            "neurons": self.n_neurons,
            "gap": self.dual_gaps,
        }
        there = {key: np.asarray(one) for key, one in quantities.items() if one is not None}
        what = str(y) if y is not None else next(iter(there), "nothing")
        check_choice("y", what, there)
        ax = axes_or_new(ax)
        name = self.estimator_name if name is None else name
        values, label = there[what], name
        self.fold_lines_, self.fill_between_, self.best_line_ = [], None, None
        if what == "score":
            values = -values if negate_score else values
            label = labelled(name, "mean of the folds")
            self.fold_lines_ = ax.plot(self.alphas, values, color="0.8", linewidth=1, zorder=1)
            values, spread = values.mean(axis=1), values.std(axis=1)
        elif what == "gap":
            # a logarithmic scale has no place for zero, the gap of the constant network
            values = np.where(values > 0, values, np.nan)
        style = line_style({"marker": "o", "markersize": 5, "label": label}, kwargs)
        (self.line_,) = ax.plot(self.alphas, values, **style)
        if what == "score":
            self.fill_between_ = ax.fill_between(
                self.alphas,
                values - spread,
                values + spread,
                color=self.line_.get_color(),
                alpha=0.2,
                linewidth=0,
            )
        if self.best_alpha is not None:
            self.best_line_ = ax.axvline(
                self.best_alpha,
                color=self.line_.get_color(),
                linestyle=":",
                label=labelled(name, f"chosen: {self.best_alpha:.3g}"),
            )
        ylabel = _LABELS.get(what, self.score_name)
        if what == "score" and negate_score:
            ylabel = _negative(ylabel)
        ax.set(xscale="log", xlabel="alpha", ylabel=ylabel)
        if np.max(self.alphas) >= 10 * np.min(self.alphas):
            # a label at every power of ten is enough
            ax.xaxis.set_minor_formatter("")
        if what == "gap":
            ax.set_yscale("log")
        if ax.get_legend_handles_labels()[1]:
            ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _score_name(scoring, loss):
    """What a label calls the scores of a `scoring`, or of the default for a loss."""
    if scoring is None:
        scoring = _DEFAULT_SCORING.get(loss, "score") if isinstance(loss, str) else "score"
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", "score")
    name = name.removeprefix("_").replace("_", " ")
    return _negative(name[4:]) if name.startswith("neg ") else name[:1].upper() + name[1:]


def _negative(name):
    """The name of the same with the other sign."""
    positive = name.removeprefix("Negative ")
    other = positive if positive != name else f"negative {name[:1].lower()}{name[1:]}"
    return other[:1].upper() + other[1:]
