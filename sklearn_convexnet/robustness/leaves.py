r"""Convex leaves of branch and bound, solved exactly: a batched barrier method.

When every neuron that hurts has its line, :math:`g(\eta) = \kappa + q^\top \eta + \sum_j p_j
(z_j)_+` with :math:`p_j > 0` is convex. The kinks are smoothed as in a logarithmic barrier for
:math:`t_j \ge z_j, t_j \ge 0`, with t eliminated,

.. math:: \phi_\mu'(z) = \frac{2 \mu p}{2 \mu - p z + \sqrt{p^2 z^2 + 4 \mu^2}} \in (0, p) ,

and Newton's method follows the minimisers down to a small :math:`\mu`. Whatever comes out, the
slopes :math:`\phi_\mu' / p` are admissible in the linear relaxation, so that the bound holds.
"""

import numpy as np

# Weights of the barrier, relative to the size of the function.
WEIGHTS = 10.0 ** np.arange(-1, -13, -1)
# Newton steps for one weight, at most; the decrements at which the next weight follows, or the end.
STEPS, CENTRED, CONVERGED = 12, 0.5, 1e-2
# Floats in the largest temporary array (32 MB).
CHUNK = 2**22


def minimise_leaves(queries, gradients, output):
    """Slopes of the best linear relaxation, and minimisers.

    Parameters
    ----------
    queries : Queries
        N of them; their `output` and `linear` are not used.
    gradients : ndarray of shape (N, d)
        Of what is linear.
    output : ndarray of shape (N, H)
        Non-negative output weights of the neurons that help.

    Returns
    -------
    slopes : ndarray of shape (N, H)
        In [0, 1].
    points : ndarray of shape (N, d)
        In the unit ball.
    """
    slopes, points = np.zeros_like(output), np.zeros_like(gradients)
    d = gradients.shape[1]
    block = max(1, CHUNK // max(1, d * max(d, output.shape[1])))
    for start in range(0, len(gradients), block):
        part = slice(start, start + block)
        used = np.flatnonzero(output[part].any(axis=0))
        # columns: directions in which the pre-activations move, for each leaf
        moves = queries.radii[part, :, None] * queries.weights[:, used]
        centre = queries.centre[part][:, used]
        slopes[part, used], points[part] = _follow_path(
            gradients[part], output[part][:, used], centre, moves, queries.ball
        )
    return slopes, points


def improve(queries, points):
    """Minimisers with the lines of the neurons that hurt as they are at some points.

    Their values are no greater than those of the points, but for rounding.
    """
    activations = queries.activations(points)
    lines = ((queries.output < 0) & (activations > 0)).astype(np.float64)
    _, gradients = queries.affine(lines, lines * activations)
    return minimise_leaves(queries, gradients, np.maximum(queries.output, 0.0))[1]


def _follow_path(gradients, output, centre, moves, ball):
    """Slopes and minimisers at the end of the barrier's path."""
    gradients, moves = (ball.coordinates(linear, axis=1) for linear in (gradients, moves))
    n, d = gradients.shape
    size = np.abs(gradients).sum(axis=1) + np.sum(output * np.abs(moves).sum(axis=1), axis=1)
    size = np.where(size > 0, size, 1.0)
    points, leaves = ball.inside(n, d), _Leaves(ball, centre, moves)
    slopes = np.zeros_like(output)
    for weight in WEIGHTS:
        # in units of the barrier's weight
        linear, convex = (part / (weight * size)[:, None] for part in (gradients, output))
        todo = np.arange(n)
        for _ in range(STEPS):
            points[todo], decrement, slopes[todo] = leaves.newton(
                points[todo], linear[todo], convex[todo], todo
            )
            todo = todo[decrement > (CENTRED if weight > WEIGHTS[-1] else CONVERGED)]
            if not len(todo):
                break
    slopes /= np.where(output > 0, convex, 1.0)
    return np.clip(slopes, 0.0, 1.0), ball.points(points)


class _Leaves:
    """Barrier problems that differ in weights only."""

    def __init__(self, ball, centre, moves):
        self.ball, self.centre, self.moves = ball, centre, moves

    def newton(self, points, linear, convex, todo):
        """One Newton step: the points after it, the decrements before it, and slopes."""
        centre, moves = self.centre[todo], self.moves[todo]

        def derivatives(points):
            first, second = _smooth(centre + np.einsum("nd,ndh->nh", points, moves), convex)
            barrier = self.ball.barrier(points)
            gradient = linear + np.einsum("ndh,nh->nd", moves, first) + barrier[1]
            return gradient, first, second, barrier

        gradient, first, second, (_, _, diagonal, outer, curvature) = derivatives(points)
        # the Hessian is that of a least-squares problem; its condition may be 1e24
        root = np.linalg.qr(
            np.concatenate(
                [
                    np.sqrt(diagonal)[:, :, None] * np.eye(points.shape[1]),
                    (moves * np.sqrt(second)[:, None, :]).transpose(0, 2, 1),
                    (np.sqrt(curvature)[:, None] * outer)[:, None],
                ],
                axis=1,
            ),
            mode="r",
        )
        half = np.linalg.solve(root.transpose(0, 2, 1), gradient[:, :, None])
        step = -np.linalg.solve(root, half)[:, :, 0]
        # linear in the step, these slopes balance the gradient to more digits than those at its end
        slopes = first + second * np.einsum("nd,ndh->nh", step, moves)
        decrement = np.sqrt(np.maximum(-np.sum(step * gradient, axis=1), 0.0))
        # this length keeps a self-concordant function in its domain and decreases it
        safe = 1.0 / (1.0 + decrement)
        length = np.ones_like(decrement)
        while True:
            trial = points + length[:, None] * step
            gradient, _, _, (inside, *_) = derivatives(trial)
            descends = np.sum(gradient * step, axis=1) <= 0.1 * decrement**2
            shorter = (length > safe) & ~(inside & descends)
            if not shorter.any():
                return trial, decrement, slopes
            length[shorter] = np.maximum(0.5 * length[shorter], safe[shorter])


def _smooth(z, p):
    """First and second derivatives of the smoothed p (z)_+, in units of the barrier's weight."""
    y = p * z
    root = np.sqrt(y**2 + 4.0)
    # root - y, and without cancellation where y is positive
    rest = np.where(y > 0, 4.0 / (root + np.abs(y)), root - y)
    return 2.0 * p / (2.0 + rest), 2.0 * p**2 * rest / (root * (2.0 + rest) ** 2)
