r"""Lower bounds on functions of a network over balls: linear relaxation of the hidden neurons.

A query is to minimise :math:`g(\eta) = \kappa + q^\top \eta + \sum_j p_j (z_j)_+` over the
unit ball, where the pre-activations :math:`z_j = \bar z_j + w_j^\top (r \circ \eta)` range over
intervals :math:`[l_j, h_j]` that are exact. Neurons that do not change sign there are part of the
linear function. Of the others, those with :math:`p_j > 0` help the bound and those with
:math:`p_j < 0` hurt it:

.. math:: (z)_+ \ge s z \;\text{ for any slope } s \in [0, 1], \qquad
    (z)_+ \le \tfrac{h}{h - l} (z - l) .

The lines add up to one affine function of :math:`\eta`, whose minimum over the ball is closed form
(Zhang et al., NeurIPS 2018: CROWN; Wong & Kolter, ICML 2018, with other slopes).

All this is done in floating point, where large terms may cancel to nothing but their rounding. So a
bound is lowered by a `slack` that is relative to the summed magnitudes of the terms, not to what
they add up to: it holds for the network in exact arithmetic, and for the outputs and decisions of
``predict``, which have roundings of their own.
"""

from dataclasses import dataclass

import numpy as np

from ..program.perturbation import DUAL, dual_norms
from ..program.relaxation import chords, rounding

# Up to this share of their size neurons may differ from opposite ones; the slack covers it.
OPPOSITE = 1e-12
# Added to magnitudes: squares below 1e-323 vanish, and the slack is to cover their roots.
SMALLEST = 1e-145


@dataclass(frozen=True, eq=False)
class Queries:
    r"""Functions to minimise over balls, T of them, of one network with H hidden neurons.

    Attributes
    ----------
    weights : ndarray of shape (d, H)
        Of the hidden layer.
    radii : ndarray of shape (T, d)
    constant : ndarray of shape (T,)
        The :math:`\kappa`.
    linear : ndarray of shape (T, d)
        The q.
    output : ndarray of shape (T, H)
        The p; zero for neurons that are part of the linear function.
    centre : ndarray of shape (T, H)
        Pre-activations at the centres of the balls.
    reach : ndarray of shape (T, H)
        How far they move.
    slack : ndarray of shape (T,)
        Bound on what rounding does to a value, also that of weights to opposite ones and that of
        ``predict``.
    norm : {inf, 2, 1}
    """

    weights: np.ndarray
    radii: np.ndarray
    constant: np.ndarray
    linear: np.ndarray
    output: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    slack: np.ndarray
    norm: float

    @classmethod
    def build(cls, model, perturbation, centres, radii, rows, directions):
        """The queries of some directions at some rows.

        Parameters
        ----------
        model : Model
        perturbation : Perturbation
        centres, radii : ndarray of shape (n, d)
            The balls.
        rows : ndarray of int of shape (T,)
            The ball of each query.
        directions : ndarray of shape (T, n_outputs)
            What is minimised is ``directions @ f(x)``.
        """
        network = model.network
        weights, output = network.hidden_weights, directions @ network.output_weights.T
        balls, place = np.unique(rows, return_inverse=True)
        middle, radius = centres[balls], radii[balls]
        centre = middle @ weights + network.hidden_biases
        reach = perturbation.reach(radius, weights)
        farthest = np.abs(middle) + radius  # of each feature, whatever the norm
        smallest = max(SMALLEST, np.finfo(model.dtype).tiny)
        size = farthest @ np.abs(weights) + np.abs(network.hidden_biases) + smallest
        constant = directions @ network.output_biases
        # `predict` rounds every output, before they cancel in the direction
        summed = size @ np.abs(network.output_weights) + np.abs(network.output_biases) + smallest
        summed = np.sum(np.abs(directions) * summed[place], axis=1)
        n_terms = sum(weights.shape) + len(network.output_biases) + 10
        slack = rounding(6 * n_terms) * summed + model.least_margin
        if model.dtype != np.float64:
            peak = np.maximum(summed, size.max(axis=1, initial=0.0)[place])
            error = rounding(n_terms, model.dtype) * summed
            slack += np.where(peak < np.finfo(model.dtype).max, error, np.inf)
        centre, reach, radius = centre[place], reach[place], radius[place]

        always = np.zeros_like(output)  # output weights of neurons in their linear regime
        first, second, ratios = model.pairs
        if len(first):
            one, other = output[:, first], output[:, second] * ratios
            shared = np.minimum(np.abs(one), np.abs(other)) * (one * other < 0) * np.sign(one)
            # pairs are opposite up to rounding of their weights, which long rows may turn into more
            columns = np.concatenate([weights, network.hidden_biases[None]])
            gap = np.abs(columns[:, second] + ratios * columns[:, first])
            gap = farthest @ gap[:-1] + gap[-1]
            shared *= (gap <= OPPOSITE * size[:, second])[place]
            slack += np.sum(np.abs(shared) / ratios * gap[place], axis=1)
            always[:, first] = shared
            output[:, first] -= shared
            output[:, second] += shared / ratios
        active = centre - reach >= 0
        always += output * active
        output *= ~active & (centre + reach > 0)
        constant = constant + np.sum(always * centre, axis=1)
        linear = radius * (always @ weights.T)
        return cls(
            weights,
            radius,
            constant,
            linear,
            output,
            centre,
            reach,
            slack,
            perturbation.norm,
        )

    def take(self, chosen):
        """Some of the queries."""
        return Queries(
            self.weights,
            self.radii[chosen],
            self.constant[chosen],
            self.linear[chosen],
            self.output[chosen],
            self.centre[chosen],
            self.reach[chosen],
            self.slack[chosen],
            self.norm,
        )

    def __len__(self):
        return len(self.constant)

    def sizes(self):
        """How far the functions could move, were it not for signs; (T,)."""
        falls = dual_norms(self.linear, DUAL[self.norm])
        return falls + np.sum(np.abs(self.output) * self.reach, axis=1)

    def lines(self):
        """Slopes and intercepts of lines in place of neurons; (T, H) each.

        Chords for neurons that hurt. For those that help zero or the identity, whichever is nearer
        at the centre.
        """
        hurts = self.output < 0
        slopes, intercepts = chords(self.centre, self.reach)
        slopes = np.where(hurts, slopes, (self.output > 0) & (self.centre > 0))
        return slopes, np.where(hurts, intercepts, 0.0)

    def affine(self, slopes, intercepts):
        """Value at the centre and gradient of the function with lines in place of neurons."""
        weighted = self.output * slopes
        values = self.constant + np.sum(weighted * self.centre + self.output * intercepts, axis=1)
        return values, self.linear + self.radii * (weighted @ self.weights.T)

    def bound(self, slopes, intercepts, steepness=1.0):
        """Lower bounds from lines in place of neurons, in spite of rounding.

        Parameters
        ----------
        slopes, intercepts : ndarray of shape (T, H)
        steepness : float or ndarray of shape (T,), default=1.0
            The largest slopes in absolute value, at least 1: they magnify what is rounded.

        Returns
        -------
        bounds : ndarray of shape (T,)
        gradients : ndarray of shape (T, d)
            Of the linear functions behind the bounds.
        """
        values, gradients = self.affine(slopes, intercepts)
        return values - dual_norms(gradients, DUAL[self.norm]) - steepness * self.slack, gradients

    def activations(self, points):
        """Pre-activations at points of the ball, one for each query."""
        return self.centre + (self.radii * points) @ self.weights

    def values(self, points, activations):
        """The functions at points of the ball, one for each query."""
        active = np.maximum(activations, 0.0)
        return (
            self.constant
            + np.sum(self.linear * points, axis=1)
            + np.sum(self.output * active, axis=1)
        )


def interval_bound(queries):
    """Lower bounds with every neuron that may change sign in the range of its values.

    Returns
    -------
    bounds : ndarray of shape (T,)
    gradients : ndarray of shape (T, d)
        Of the linear functions behind the bounds.
    """
    highest = np.where(queries.output < 0, queries.centre + queries.reach, 0.0)
    return queries.bound(np.zeros_like(highest), highest)


def linear_bound(queries):
    """Lower bounds with a line in place of every neuron that may change sign.

    Returns
    -------
    bounds : ndarray of shape (T,)
    gradients : ndarray of shape (T, d)
        Of the linear functions behind the bounds.
    """
    return queries.bound(*queries.lines())
