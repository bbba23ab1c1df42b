"""What certifying a network minimises: its outputs, in some directions, over balls around rows."""

import numpy as np

from ..program.relaxation import SMALLEST, Queries, magnitudes, rounding

# Up to this share of their size neurons may differ from opposite ones; the slack covers it.
OPPOSITE = 1e-12


def build_queries(model, perturbation, centres, radii, rows, directions):
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

    Returns
    -------
    Queries
        Neurons that do not change sign are part of the linear functions.
    """
    network = model.network
    weights, output = network.hidden_weights, directions @ network.output_weights.T
    balls, place = np.unique(rows, return_inverse=True)
    middle, radius = centres[balls], radii[balls]
    centre = middle @ weights + network.hidden_biases
    reach = perturbation.reach(radius, weights)
    smallest = max(SMALLEST, np.finfo(model.dtype).tiny)
    size = magnitudes(middle, radius, weights) + np.abs(network.hidden_biases) + smallest
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
        own, opposite = output[:, first], output[:, second] * ratios
        shared = np.minimum(np.abs(own), np.abs(opposite)) * (own * opposite < 0) * np.sign(own)
        # pairs are opposite up to rounding of their weights, which long rows may turn into more
        columns = np.concatenate([weights, network.hidden_biases[None]])
        gap = columns[:, second] + ratios * columns[:, first]
        gap = magnitudes(middle, radii[balls], gap[:-1]) + np.abs(gap[-1])
        shared *= (gap <= OPPOSITE * size[:, second])[place]
        slack += np.sum(np.abs(shared) / ratios * gap[place], axis=1)
        always[:, first] = shared
        output[:, first] -= shared
        output[:, second] += shared / ratios
    active = centre - reach >= 0
    always += output * active
    output *= ~active & (centre + reach > 0)
    return Queries(
        perturbation.ball,
        weights,
        radius,
        constant=constant + np.sum(always * centre, axis=1),
        linear=radius * (always @ weights.T),
        output=output,
        centre=centre,
        reach=reach,
        slack=slack,
    )
