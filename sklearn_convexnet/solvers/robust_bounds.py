r"""Certified bounds of convex adversarial training from any primal-dual point.

Upper: the objective at a point moved into the robust cones. Lower: the loss of a row is at least
that at one perturbed row, or at a mixture of two, so that for slopes and amounts
:math:`|p_k| \le e_k` (for losses of the margin :math:`e_k = |p_k|`) and moves
:math:`|\eta_k|_p \le e_k` the vectors :math:`h_k = p_k x_k + r_k \circ \eta_k` are dual feasible if
:math:`\sum_k \omega_k p_k = 0` (intercept) and

.. math::

    \Big\| \mp \sum_k \omega_k d_{ik} h_k + \sum_k a_{ik} s_{ik} x_k + \mu_i \Big\|_2 \le \alpha
    \quad\text{for some } a_i \ge 0, \;
    \mu_i \in \Big\{\textstyle\sum_k a_{ik}\, r_k \circ \eta : \|\eta\|_p \le 1\Big\} .

The value is :math:`-\sum_k \omega_k \ell^*(p_k, y_k)` for losses of the margin, and
:math:`-\sum_k \omega_k (e_k^2 / 2 + p_k y_k)` for the squared loss. Dividing everything by the
largest norm over :math:`\alpha` makes any point feasible.
"""

import numpy as np

from .bounds import Certified, resolution
from .interior import balance
from .result import Solution


def certify_robust(program, blocks, bias, dual_point):
    """Bounds from any point: move the blocks into the cones, scale the multipliers.

    Parameters
    ----------
    program : RobustProgram
    blocks : ndarray of shape (2, d, n_patterns)
    bias : float
    dual_point : tuple
        Slopes, amounts, gradients, cone multipliers and moves, see `RobustADMM.multipliers`.

    Returns
    -------
    Certified
    """
    slopes, amounts, gradients, cones, moves = dual_point
    sampled = program.sampled
    slopes, amounts, gradients = _admissible(program, slopes, amounts, gradients)
    pull = (sampled.weights[:, None] * gradients).T @ sampled.patterns
    signs = np.where(sampled.patterns, 1.0, -1.0)
    cones = np.maximum(cones, 0.0)
    points = np.concatenate([-pull, pull], axis=1)
    points += sampled.rows.T @ (np.concatenate([signs, signs], axis=1) * cones)
    points += _admissible_moves(program, points, moves, program.radii.T @ cones)
    largest = np.sqrt(np.einsum("ji,ji->i", points, points).max(initial=0.0))
    kappa = max(1.0, largest / sampled.alpha)
    slopes, amounts = slopes / kappa, amounts / kappa
    if sampled.loss.target == "sign":
        values = sampled.loss.conjugate(slopes, sampled.y)
    else:
        values = 0.5 * amounts**2 + slopes * sampled.y
    v, w = program.feasible_point(*blocks)
    return Certified(
        Solution(v, w, bias, slopes),
        program.objective(v, w, bias),
        max(0.0, -float(sampled.weights @ values)),
        resolution(sampled),
    )


def constant_point(program, bias, slopes):
    """Arguments of `certify_robust` for the network without neurons."""
    d, P = program.sampled.gates.shape
    gradients = slopes[:, None] * program.sampled.rows
    zero = np.zeros((len(slopes), 2 * P)), np.zeros((d, 2 * P))
    return np.zeros((2, d, P)), bias, (slopes, np.abs(slopes), gradients, *zero)


def _admissible(program, slopes, amounts, gradients):
    """Slopes that sum to zero if there is an intercept; the rest shrinks along."""
    if not program.sampled.fit_intercept:
        return slopes, amounts, gradients
    balanced = balance(slopes, program.sampled.weights)
    share = np.divide(balanced, slopes, out=np.ones_like(slopes), where=slopes != 0)
    return balanced, share * amounts, share[:, None] * gradients


def _admissible_moves(program, points, moves, radii):
    """Moves within the radii, close to the given ones or better."""
    dual = program.perturbation.dual
    if dual == 1:
        # the best move of all: a box lets every entry come as close to zero as it can
        return -np.clip(points, -radii, radii)
    units = np.divide(moves, radii, out=np.zeros_like(moves), where=radii > 0)
    sizes = np.linalg.norm(units, ord=2 if dual == 2 else 1, axis=0)
    return radii * units / np.maximum(sizes, 1.0)
