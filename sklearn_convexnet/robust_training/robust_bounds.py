r"""Certified bounds of convex adversarial training from any primal-dual point.

As those of `bounds.dual`, with the loss of the worst case (`WorstCaseLoss`) and other dual
gradients. The loss of a row is at least that at one perturbed row, or at a mixture of two, so that
for its slopes :math:`(p_k, e_k)` and moves :math:`\|\eta_k\|_p \le e_k` the vectors
:math:`h_k = p_k x_k - r_k \circ \eta_k` are dual feasible if :math:`\sum_k \omega_k p_k = 0`
(intercept) and

.. math::

    \Big\| \mp \sum_k \omega_k d_{ik} h_k + \sum_k a_{ik} s_{ik} x_k + \mu_i \Big\|_2 \le \alpha
    \quad\text{for some } a_i \ge 0, \;
    \mu_i \in \Big\{\textstyle\sum_k a_{ik}\, r_k \circ \eta : \|\eta\|_p \le 1\Big\} .

The condition of a pattern that is left out of the program because rounding hides whether its cone
is more than zero is one more such norm: the bound then holds for its blocks as well.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, minimize

from .._typing import FloatArray
from ..bounds.dual import Certified, admissible_slopes, block_norms, dual_value, resolution
from ..program.units import Solution


@dataclass(frozen=True)
class RobustDual:
    r"""A point of the dual, any numbers: `certify_robust` makes them feasible.

    Attributes
    ----------
    slopes : ndarray of shape (n, 2)
        :math:`(p_k, e_k)`, of the `WorstCaseLoss`.
    attacks : ndarray of shape (n, d)
        Where in the unit ball the rows are worst, :math:`\eta_k / e_k`.
    cones : ndarray of shape (n, 2 P)
        Multipliers of the robust cones.
    moves : ndarray of shape (2 P, d)
        The same of the balls in the cones: a point of the unit ball for every block.
    """

    slopes: FloatArray
    attacks: FloatArray
    cones: FloatArray
    moves: FloatArray

    @classmethod
    def constant(cls, program, slopes):
        """That of a network without neurons, at the slopes of its loss."""
        (d, P), n = program.clean.gates.shape, len(slopes)
        pair = np.stack([slopes, np.abs(slopes)], axis=1)
        return cls(pair, np.zeros((n, d)), np.zeros((n, 2 * P)), np.zeros((2 * P, d)))


def certify_robust(program, blocks, bias, dual_point, *, left_out=None):
    """Bounds from any point: move the blocks into the cones, scale the multipliers.

    Parameters
    ----------
    program : RobustProgram
    blocks : ndarray of shape (2, d, n_patterns)
    bias : float
    dual_point : RobustDual
        Any numbers.
    left_out : ndarray of bool of shape (n, m), default=None
        More patterns, whose blocks the lower bound has to hold for.

    Returns
    -------
    Certified
    """
    clean, ball = program.clean, program.perturbation.ball
    slopes = admissible_slopes(program.worst, dual_point.slopes)
    p, e = slopes.T[:, :, None]
    gradients = p * clean.rows - e * program.radii * _within(ball, dual_point.attacks)
    weighted = (clean.weights[:, None] * gradients).T
    pull = weighted @ clean.patterns
    signs = np.where(clean.patterns, 1.0, -1.0)
    cones = np.maximum(dual_point.cones, 0.0)
    points = np.concatenate([-pull, pull], axis=1)
    points += clean.rows.T @ (np.concatenate([signs, signs], axis=1) * cones)
    radii = program.radii.T @ cones
    if ball.separable:
        # the best move of all: a box lets every entry come as close to zero as it can
        points -= ball.nearest(points, radii)
    else:
        points += radii * _within(ball, dual_point.moves).T
    # blocks of a face pull in its subspace only
    points = np.stack([program.on_faces(side) for side in np.split(points, 2, axis=1)])
    largest = block_norms(points).max(initial=0.0)
    if left_out is not None:
        left = largest_projection(clean.rows, program.radii, left_out, weighted @ left_out, ball)
        largest = max(largest, left)
    v, w = program.feasible_point(*blocks)
    return Certified(
        Solution(v, w, bias, slopes[:, 0]),
        program.objective(v, w, bias),
        dual_value(program.worst, slopes, largest),
        resolution(clean),
    )


def _within(ball, points):
    """Rows shrunk into the unit ball."""
    return points / np.maximum(ball.sizes(points), 1.0)[:, None]


def largest_projection(rows, radii, patterns, points, ball):
    """An upper bound on the norms of points, of both signs, projected on the robust cones.

    Parameters
    ----------
    rows, radii : ndarray of shape (n, d)
    patterns : ndarray of bool of shape (n, P)
    points : ndarray of shape (d, P)
    ball : Norm

    Returns
    -------
    float
    """
    largest, scale = 0.0, np.abs(rows).max(initial=1e-150)
    rows, radii = rows / scale, radii / scale
    for pattern, point in zip(patterns.T, points.T, strict=True):
        signed = np.where(pattern, 1.0, -1.0)[:, None] * rows
        size = float(np.sqrt(point @ point)) or 1.0
        for target in (point / size, -point / size):

            def half_square(multipliers, signed=signed, target=target):
                # less what of it the perturbations of the rows, times multipliers, can take
                point = target + signed.T @ multipliers
                near = point - ball.nearest(point, radii.T @ multipliers)
                slack = signed @ near - ball.falls(radii * near)
                return 0.5 * float(near @ near), slack

            end = minimize(
                half_square,
                np.zeros(len(rows)),
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(0.0, np.inf),
                options={"maxiter": 1000, "maxfun": 2000, "ftol": 1e-12, "gtol": 1e-10},
            )
            value, _ = half_square(np.maximum(end.x, 0.0))
            largest = max(largest, size * float(np.sqrt(2.0 * value)))
    return largest
