r"""Attacks: perturbations that lower the margin, found by following its gradient.

The margin of a sample is a minimum of pieces :math:`c^\top f(x)`; its gradient is that of the
least one. The fast gradient sign method takes one step to the boundary of the ball (Goodfellow et
al., ICLR 2015); projected gradient descent takes many, with restarts (Madry et al., ICLR 2018).
"""

import numpy as np

from .balls import project, random_points, steepest

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


def descend(margins, starts, norm, *, steps, stop=-np.inf):
    """Projected gradient descent in steps of decreasing length.

    Parameters
    ----------
    margins : Margins
    starts : ndarray of shape (n, d)
        In the unit ball.
    norm : {inf, 2, 1}
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
        current = project(current + length * steepest(gradients, norm), norm)
    return best, points


def attack(margins, starts, norm, *, steps, restarts, rng, stop=-np.inf):
    """The best of a descent from the starts and of others from random points.

    Returns
    -------
    values : ndarray of shape (n,)
    points : ndarray of shape (n, d)
    """
    best, points = descend(margins, starts, norm, steps=steps, stop=stop)
    for _ in range(restarts - 1):
        # drawn for all, so that the rest of the draws do not depend on what was found
        drawn = random_points(starts.shape, norm, rng)
        todo = np.flatnonzero(best > stop)
        if not len(todo):
            break
        values, found = descend(margins.take(todo), drawn[todo], norm, steps=steps, stop=stop)
        better = values < best[todo]
        best[todo[better]], points[todo[better]] = values[better], found[better]
    return best, points
