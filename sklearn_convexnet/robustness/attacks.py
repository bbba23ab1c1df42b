r"""Attacks: perturbations that lower the margin, found by following its gradient.

The margin of a sample is a minimum of pieces :math:`c^\top f(x)`; its gradient is that of the
least one. The fast gradient sign method takes one step to the boundary of the ball (Goodfellow et
al., ICLR 2015); projected gradient descent takes many, with restarts (Madry et al., ICLR 2018).
"""

from __future__ import annotations

import numpy as np

from .._typing import ArrayLike, FloatArray, Limits, Seed
from .balls import realise, unperturbed
from .model import real_array
from .parameters import check_count, check_input, check_random_state

# Steps of projected gradient descent are this long at first, in units of the radius.
FIRST_STEP = 0.5


class Margins:
    """Margins over balls, in the units of the balls.

    Parameters
    ----------
    network : TwoLayerReLU
    centres, radii : ndarray of shape (n, d)
    directions : ndarray of shape (n, n_directions, n_outputs)
        The margin is the least of ``directions @ f(x)``.
    """

    def __init__(self, network, centres, radii, directions):
        self.network, self.centres, self.radii = network, centres, radii
        self.directions = directions

    def __call__(self, points):
        """Margins and their gradients at points, one for each ball."""
        network = self.network
        activations = (self.centres + self.radii * points) @ network.hidden_weights
        activations += network.hidden_biases
        outputs = np.maximum(activations, 0.0) @ network.output_weights + network.output_biases
        pieces = np.einsum("nco,no->nc", self.directions, outputs)
        least, rows = pieces.argmin(axis=1), np.arange(len(pieces))
        weights = self.directions[rows, least] @ network.output_weights.T
        gradients = (weights * (activations > 0)) @ network.hidden_weights.T
        return pieces[rows, least], self.radii * gradients

    def take(self, chosen):
        """The margins of some of the balls."""
        return Margins(
            self.network, self.centres[chosen], self.radii[chosen], self.directions[chosen]
        )


def descend(margins, starts, ball, *, steps, stop=-np.inf):
    """Projected gradient descent in steps of decreasing length.

    Parameters
    ----------
    margins : Margins
    starts : ndarray of shape (n, d)
        In the unit ball.
    ball : Norm
    steps : int
    stop : float, default=-inf
        A margin that is low enough.

    Returns
    -------
    values : ndarray of shape (n,)
        The least margins seen.
    points : ndarray of shape (n, d)
    """
    best, points = np.full(len(starts), np.inf), starts.copy()
    todo, current = np.arange(len(starts)), starts
    for k in range(steps + 1):
        values, gradients = margins.take(todo)(current)
        better = values < best[todo]
        best[todo[better]], points[todo[better]] = values[better], current[better]
        left = best[todo] > stop
        todo, current, gradients = todo[left], current[left], gradients[left]
        if k == steps or not len(todo):
            break
        length = FIRST_STEP * (1.0 - k / steps)
        current = ball.project(current + length * ball.steepest(gradients))
    return best, points


def attack(margins, starts, ball, *, steps, restarts, rng, stop=-np.inf):
    """The best of a descent from the starts and of others from random points.

    Returns
    -------
    values : ndarray of shape (n,)
    points : ndarray of shape (n, d)
    """
    best, points = descend(margins, starts, ball, steps=steps, stop=stop)
    for _ in range(restarts - 1):
        # drawn for all, so that the rest of the draws do not depend on what was found
        drawn = ball.draw(starts.shape, rng)
        todo = np.flatnonzero(best > stop)
        if not len(todo):
            break
        values, ends = descend(margins.take(todo), drawn[todo], ball, steps=steps, stop=stop)
        better = values < best[todo]
        best[todo[better]], points[todo[better]] = values[better], ends[better]
    return best, points


def fgsm(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    norm: float = np.inf,
    bounds: Limits | None = None,
) -> FloatArray:
    r"""Fast gradient attack: one step to the boundary of the ball.

    With ``norm=inf``, :math:`x - \epsilon\, \text{sign} \nabla_x \text{margin}(x, y)`; with other
    norms the steepest descent in these [1]_. For a regressor, the step up or down, whichever
    gives the larger error.

    Parameters
    ----------
    estimator : object
        A fitted estimator, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels or targets.
    epsilon, norm, bounds : as of `certify`
        The perturbations.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Perturbed inputs, in the ball exactly.

    See Also
    --------
    pgd : A stronger attack.

    References
    ----------
    .. [1] Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples, ICLR 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import fgsm
    >>> X = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, X[:, 0] > 0)
    >>> fgsm(model, [[-0.5], [0.5]], [False, True], epsilon=0.25)
    array([[-0.25],
           [ 0.25]])
    """
    model, X, perturbation = check_input(estimator, X, epsilon, norm, bounds)
    ball = perturbation.ball
    return _attacked(model, X, y, perturbation, lambda margins, at: ball.steepest(margins(at)[1]))


def pgd(
    estimator: object,
    X: ArrayLike,
    y: ArrayLike,
    epsilon: ArrayLike,
    *,
    norm: float = np.inf,
    bounds: Limits | None = None,
    steps: int = 40,
    restarts: int = 5,
    random_state: Seed = None,
) -> FloatArray:
    """Projected gradient attack: many steps down the margin, from several starts.

    Steps of steepest descent in the norm, of decreasing length, each projected onto the ball [1]_.
    For a regressor, descents and ascents of its outputs, whichever gives the larger error.

    Parameters
    ----------
    estimator : object
        A fitted estimator, see `certify`.
    X : array-like of shape (n_samples, n_features)
        The inputs.
    y : array-like of shape (n_samples,)
        Their labels or targets.
    epsilon, norm, bounds : as of `certify`
        The perturbations.
    steps : int, default=40
        Steps of a descent.
    restarts : int, default=5
        Number of starts: the input itself, and random points of the ball.
    random_state : int, RandomState instance or None, default=None
        For the random points.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        The worst perturbed inputs found, in the ball exactly.

    See Also
    --------
    certify : Whether there is anything worse.

    References
    ----------
    .. [1] Madry et al., Towards deep learning models resistant to adversarial attacks, ICLR 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_convexnet import ConvexReLUClassifier
    >>> from sklearn_convexnet.robustness import pgd
    >>> X = np.linspace(-1, 1, 21)[:, None]
    >>> model = ConvexReLUClassifier(random_state=0).fit(X, X[:, 0] > 0)
    >>> perturbed = pgd(model, [[-0.2], [0.2]], [False, True], epsilon=0.5, random_state=0)
    >>> model.predict(perturbed)
    array([ True, False])
    """
    model, X, perturbation = check_input(estimator, X, epsilon, norm, bounds)
    check_count("steps", steps)
    check_count("restarts", restarts)
    rng = check_random_state(random_state)

    def descend(margins, starts):
        ball = perturbation.ball
        return attack(margins, starts, ball, steps=steps, restarts=restarts, rng=rng)[1]

    return _attacked(model, X, y, perturbation, descend)


def _attacked(model, X, y, perturbation, attack):
    """What an attack, a function of margins and starts, makes of the rows."""
    centres, radii = perturbation.balls(X)
    starts = unperturbed(X, perturbation, centres, radii)

    def run(directions):
        margins = Margins(model.network, centres, radii, directions)
        return realise(attack(margins, starts), X, perturbation)

    if model.classes is not None:
        return run(model.margin_directions(model.check_labels(y, X)))
    n_outputs = len(model.network.output_biases)
    y = real_array("y", y)
    if y.shape not in {(len(X), n_outputs), (len(X),) * (n_outputs == 1)}:
        raise ValueError(
            f"y must have a target for each of {len(X)} rows and {n_outputs} outputs, got shape "
            f"{y.shape}."
        )
    targets, eye = y.reshape(len(X), n_outputs), np.eye(n_outputs)
    candidates = np.stack(
        [run(np.broadcast_to(c, (len(X), 1, n_outputs))) for c in (*eye, *-eye)]
    )  # (2 n_outputs, n, d)
    predicted = [np.clip(model.network(rows), *model.limits) for rows in candidates]
    errors = np.abs(predicted - targets).max(axis=2)
    return candidates[errors.argmax(axis=0), np.arange(len(X))]
