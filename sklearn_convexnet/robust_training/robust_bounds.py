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

The condition of a pattern that is left out of the program because rounding hides whether its cone
is more than zero is one more such norm: the bound then holds for its blocks as well.
"""

import numpy as np
from scipy.optimize import Bounds, minimize

from ..bounds.dual import Certified, resolution
from ..core.losses import balance
from ..program.units import Solution


def certify_robust(program, blocks, bias, dual_point, *, left_out=None):
    """Bounds from any point: move the blocks into the cones, scale the multipliers.

    Parameters
    ----------
    program : RobustProgram
    blocks : ndarray of shape (2, d, n_patterns)
    bias : float
    dual_point : tuple
        Slopes, amounts, gradients, cone multipliers and moves, see `ConeInterior.multipliers`.
    left_out : ndarray of bool of shape (n, m), default=None
        More patterns, whose blocks the lower bound has to hold for.

    Returns
    -------
    Certified
    """
    slopes, amounts, gradients, cones, moves = dual_point
    clean = program.clean
    slopes, amounts, gradients = _admissible(program, slopes, amounts, gradients)
    pull = (clean.weights[:, None] * gradients).T @ clean.patterns
    signs = np.where(clean.patterns, 1.0, -1.0)
    cones = np.maximum(cones, 0.0)
    points = np.concatenate([-pull, pull], axis=1)
    points += clean.rows.T @ (np.concatenate([signs, signs], axis=1) * cones)
    points += _admissible_moves(program, points, moves, program.radii.T @ cones)
    # blocks of a face pull in its subspace only
    points = np.stack([program.on_faces(side) for side in np.split(points, 2, axis=1)])
    largest = np.sqrt(np.einsum("sji,sji->si", points, points).max(initial=0.0))
    if left_out is not None:
        pull = (clean.weights[:, None] * gradients).T @ left_out
        ball = program.perturbation.ball
        left = largest_projection(clean.rows, program.radii, left_out, pull, ball)
        largest = max(largest, left)
    kappa = max(1.0, largest / clean.alpha)
    slopes, amounts = slopes / kappa, amounts / kappa
    if clean.loss.target == "sign":
        values = clean.loss.conjugate(slopes, clean.y)
    else:
        values = 0.5 * amounts**2 + slopes * clean.y
    v, w = program.feasible_point(*blocks)
    return Certified(
        Solution(v, w, bias, slopes),
        program.objective(v, w, bias),
        max(0.0, -float(clean.weights @ values)),
        resolution(clean),
    )


def constant_point(program, bias, slopes):
    """Arguments of `certify_robust` for the network without neurons."""
    d, P = program.clean.gates.shape
    gradients = slopes[:, None] * program.clean.rows
    zero = np.zeros((len(slopes), 2 * P)), np.zeros((d, 2 * P))
    return np.zeros((2, d, P)), bias, (slopes, np.abs(slopes), gradients, *zero)


def _admissible(program, slopes, amounts, gradients):
    """Slopes that sum to zero if there is an intercept; the rest shrinks along."""
    if not program.clean.fit_intercept:
        return slopes, amounts, gradients
    balanced = balance(slopes, program.clean.weights)
    share = np.divide(balanced, slopes, out=np.ones_like(slopes), where=slopes != 0)
    return balanced, share * amounts, share[:, None] * gradients


def _admissible_moves(program, points, moves, radii):
    """Moves within the radii, close to the given ones or better."""
    ball = program.perturbation.ball
    if ball.separable:
        # the best move of all: a box lets every entry come as close to zero as it can
        return -ball.nearest(points, radii)
    units = np.divide(moves, radii, out=np.zeros_like(moves), where=radii > 0)
    return radii * units / np.maximum(ball.sizes(units.T), 1.0)


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
