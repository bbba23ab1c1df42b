"""Accuracy against the radius of the perturbations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .._typing import ArrayLike, FloatArray, Limits, Method, Seed
from ..robustness import certified_accuracy, robust_accuracy
from ._common import axes_or_new, chosen, line_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RobustnessDisplay:
    """Accuracy of a classifier against the radius of the perturbations.

    The accuracy under any attack lies between the two curves: an attack shows that it is not
    higher than `attacked`, a certificate that it is not lower than `certified`. Where these meet
    it is known exactly.

    Parameters
    ----------
    epsilons : ndarray of shape (k,)
        Radii; the accuracy at 0 is that without attack.
    attacked : ndarray of shape (k,)
        Accuracies on attacked inputs.
    certified : ndarray of shape (k,)
        Shares of samples with a certificate.
    estimator_name : str, default=None
        Name in the legend.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The axes; pass them on to draw another classifier into them.
    figure_ : matplotlib Figure
        Their figure.
    attacked_line_, certified_line_ : matplotlib Line2D
        The curves, dashed and solid.
    between_ : matplotlib PolyCollection
        The shade between them.

    See Also
    --------
    sklearn_convexnet.robustness.certified_accuracy : The lower curve.
    sklearn_convexnet.robustness.robust_accuracy : The upper curve.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.plotting import RobustnessDisplay
    >>> X, y = make_moons(n_samples=100, noise=0.1, random_state=0)
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, y)
    >>> display = RobustnessDisplay.from_estimator(model, X, y, epsilons=[0.0, 0.1, 0.3])
    >>> bool((display.certified <= display.attacked).all())
    True
    """

    def __init__(
        self,
        *,
        epsilons: FloatArray,
        attacked: FloatArray,
        certified: FloatArray,
        estimator_name: str | None = None,
    ) -> None:
        self.epsilons = epsilons
        self.attacked = attacked
        self.certified = certified
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls,
        estimator: object,
        X: ArrayLike,
        y: ArrayLike,
        *,
        epsilons: ArrayLike | None = None,
        norm: float = np.inf,
        bounds: Limits | None = None,
        method: Method = "auto",
        time_limit: float | None = None,
        random_state: Seed = None,
        name: str | None = None,
        ax: Axes | None = None,
        **kwargs: Any,
    ) -> Self:
        """Attack and certify a classifier at several radii, and plot the accuracies.

        Parameters
        ----------
        estimator : object
            Fitted classifier, see `sklearn_convexnet.robustness.certify`; or a search for one.
        X : array-like of shape (n_samples, n_features)
            Inputs.
        y : array-like of shape (n_samples,)
            Their labels.
        epsilons : array-like of shape (k,), default=None
            Radii, >= 0, in any order; by default eleven from 0 to 0.2.
        norm : {inf, 2, 1}, default=inf
            Norm of the perturbations.
        bounds : (low, high), default=None
            Valid values of the features, for ``norm=inf``.
        method : {"auto", "exact", "crown", "interval"}, default="auto"
            How to certify.
        time_limit : float, default=None
            Seconds for the certificates at one radius.
        random_state : int, RandomState instance or None, default=None
            For the starts of attacks.
        name : str, default=None
            Name in the legend; by default that of the class.
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        **kwargs : dict
            Passed to ``ax.plot`` for both curves.

        Returns
        -------
        RobustnessDisplay
        """
        estimator = chosen(estimator)
        epsilons = np.linspace(0.0, 0.2, 11) if epsilons is None else np.asarray(epsilons, float)
        if epsilons.ndim != 1 or epsilons.size == 0 or not (epsilons >= 0).all():
            raise ValueError(f"epsilons must be a list of numbers >= 0, got {epsilons}.")
        epsilons = np.sort(epsilons)
        common: dict[str, Any] = {"norm": norm, "bounds": bounds, "random_state": random_state}
        attacked = [robust_accuracy(estimator, X, y, radius, **common) for radius in epsilons]
        certified = [
            certified_accuracy(
                estimator, X, y, radius, method=method, time_limit=time_limit, **common
            )
            for radius in epsilons
        ]
        display = cls(
            epsilons=epsilons,
            attacked=np.array(attacked),
            certified=np.array(certified),
            estimator_name=type(estimator).__name__ if name is None else name,
        )
        return display.plot(ax, **kwargs)

    def plot(self, ax: Axes | None = None, *, name: str | None = None, **kwargs: Any) -> Self:
        """Plot the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; by default into a new figure.
        name : str, default=None
            Name in the legend; by default `estimator_name`.
        **kwargs : dict
            Passed to ``ax.plot`` for both curves.

        Returns
        -------
        RobustnessDisplay
        """
        ax = axes_or_new(ax)
        name = self.estimator_name if name is None else name
        label = "certified" if name is None else f"{name}, certified"
        (solid,) = ax.plot(self.epsilons, self.certified, **line_style({"label": label}, kwargs))
        color = solid.get_color()
        label = "attacked" if name is None else f"{name}, attacked"
        style = line_style({"label": label, "linestyle": "--"}, kwargs)
        (dashed,) = ax.plot(self.epsilons, self.attacked, **style | {"color": color})
        self.between_ = ax.fill_between(
            self.epsilons, self.certified, self.attacked, color=color, alpha=0.15, linewidth=0
        )
        ax.set(xlabel="Radius of the perturbations", ylabel="Accuracy", ylim=(0.0, 1.02))
        ax.legend()
        self.certified_line_, self.attacked_line_ = solid, dashed
        self.ax_, self.figure_ = ax, ax.figure
        return self
