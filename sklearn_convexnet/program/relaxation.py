r"""Certified bounds of a network over balls: lines in place of the neurons.

A query is to minimise :math:`g(\eta) = \kappa + q^\top \eta + \sum_j p_j (z_j)_+` over the unit
ball, where the pre-activations :math:`z_j = \bar z_j + w_j^\top (r \circ \eta)` stay within the
reach :math:`h_j` of their centre. There a ReLU lies above every line :math:`s\,z` of slope
:math:`s \in [0, 1]`, and below its chord. A neuron that helps (:math:`p_j > 0`) is replaced by its
lower line, one that hurts by the chord; a neuron that does not change sign is a line itself. With
the value :math:`v_j` of each line at the centre, what is left is an affine function, and its least
value is closed form:

.. math:: g \;\ge\; \kappa + \sum_j p_j v_j - \|G\|_*, \qquad
    G = q + \sum_j p_j s_j \, r \circ w_j .

Training asks it of margins, :math:`g = y_k f(x_k + r_k \circ \eta)` (Wong & Kolter, arXiv
1711.00851; Zhang et al., arXiv 1811.00866); certificates ask it of differences of outputs.

All this is done in floating point, where large terms may cancel to nothing but their rounding. So a
bound is lowered by a `slack` that is relative to the summed magnitudes of the terms, not to what
they add up to: it holds for the network in exact arithmetic, and for the outputs and decisions of
``predict``, which have roundings of their own.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..core.norms import Norm

# slopes of the lower lines: 1/2 + z / (2 share h), clipped to [0, 1]; the best of them counts
_LOWER_SHARES = (1.0, 0.5, 0.2, 0.05, 1e-9)
# rows at a time
_BLOCK = 1024
# Added to magnitudes: squares below 1e-323 vanish, and the slack is to cover their roots.
SMALLEST = 1e-145


def lines(z, widths, hurts):
    """Slopes of lines in place of neurons, and their values at the pre-activations z.

    Of neurons that hurt, the chord on ``z ± width``; of others, the line through zero of the same
    slope, which is that of the ReLU where the width is zero.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        # 0 / 0 has slope zero
        slopes = np.fmin(np.fmax(0.5 + z / (2.0 * widths), 0.0), 1.0)
    return slopes, slopes * np.where(hurts, np.maximum(widths, z), z)


def magnitudes(rows, radii, directions):
    """Bounds on the summed magnitudes of pre-activations on balls, whatever the norm."""
    return (np.abs(rows) + radii) @ np.abs(directions) + SMALLEST


def rounding(n_terms, dtype=np.float64):
    r"""What many roundings one after the other do at most, relative to summed magnitudes.

    With the unit roundoff u, :math:`\gamma_n = n u / (1 - n u)` bounds the error of a sum of n
    terms, or of a product of n factors, in whatever order they are taken (Higham, Accuracy and
    Stability of Numerical Algorithms, 2002, §3.1). The bounds of a network with d
    inputs, H neurons and O outputs are sums of sums: pre-activations (d terms), their reaches (d),
    output weights (O), constants (H), lines and their gradients (H each), and dual norms of these
    (d), with less than ten roundings beside each. With those of ``predict``, no more than d + H + 2
    in an output, all these are fewer than 6 (d + H + O + 10).
    """
    error = 0.5 * np.finfo(dtype).eps * n_terms
    return error / (1.0 - error) if error < 1.0 else np.inf


@dataclass(frozen=True, eq=False)
class Queries:
    r"""Functions to minimise over balls, T of them, of one network with H hidden neurons.

    Attributes
    ----------
    ball : Norm
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
    """

    ball: Norm
    weights: np.ndarray
    radii: np.ndarray
    constant: np.ndarray
    linear: np.ndarray
    output: np.ndarray
    centre: np.ndarray
    reach: np.ndarray
    slack: np.ndarray

    def take(self, chosen):
        """Some of the queries."""
        names = ("radii", "constant", "linear", "output", "centre", "reach", "slack")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})

    def __len__(self):
        return len(self.constant)

    def sizes(self):
        """How far the functions could move, were it not for signs; (T,)."""
        return self.ball.falls(self.linear) + np.sum(np.abs(self.output) * self.reach, axis=1)

    def lines(self, lower_share=0.0):
        """Slopes and values at the centre of lines in place of neurons; (T, H) each.

        Chords for neurons that hurt. For those that help zero or the identity, whichever is nearer
        at the centre, or from the one to the other over a share of the reach.
        """
        hurts = self.output < 0
        return lines(self.centre, np.where(hurts, 1.0, lower_share) * self.reach, hurts)

    def affine(self, slopes, values):
        """Value at the centre and gradient of the function with lines in place of neurons."""
        at_centre = self.constant + np.sum(self.output * values, axis=1)
        return at_centre, self.linear + self.radii * ((self.output * slopes) @ self.weights.T)

    def bound(self, slopes, values, steepness=1.0):
        """Lower bounds from lines in place of neurons, in spite of rounding.

        Parameters
        ----------
        slopes, values : ndarray of shape (T, H)
        steepness : float or ndarray of shape (T,), default=1.0
            The largest slopes in absolute value, at least 1: they magnify what is rounded.

        Returns
        -------
        bounds : ndarray of shape (T,)
        gradients : ndarray of shape (T, d)
            Of the linear functions behind the bounds.
        """
        at_centre, gradients = self.affine(slopes, values)
        return at_centre - self.ball.falls(gradients) - steepness * self.slack, gradients

    def interval_bound(self):
        """Lower bounds, as of `bound`, with every neuron for itself at its worst."""
        worst = np.where(self.output < 0, self.centre + self.reach, self.centre - self.reach)
        return self.bound(np.zeros_like(worst), np.maximum(worst, 0.0))

    def linear_bound(self):
        """Lower bounds, as of `bound`, with the `lines` of the neurons."""
        return self.bound(*self.lines())

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


class Relaxation:
    """The balls around the rows of a problem of classification.

    Parameters
    ----------
    X : ndarray of shape (n, n_features)
    y : ndarray of shape (n,)
        Labels -1 and +1.
    perturbation : Perturbation
    fit_intercept : bool
        Whether neurons see a constant column, which nothing moves, after the features.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
        Centres of the balls, with the constant column.
    radii : ndarray of shape (1, d) or (n, d)
        One row where all balls are equal.
    ball : Norm
    """

    def __init__(self, X, y, perturbation, *, fit_intercept):
        centres, radii = perturbation.balls(X)
        if perturbation.bounds is None:
            radii = radii[:1]
        ones = np.ones((len(X), int(fit_intercept)))
        self.rows = np.ascontiguousarray(np.concatenate([centres, ones], axis=1))
        self.radii = np.concatenate([radii, np.zeros((len(radii), int(fit_intercept)))], axis=1)
        self.y, self.ball, self.fit_intercept = y, perturbation.ball, fit_intercept
        self._given = X

    @property
    def still(self):
        """Whether nothing moves the rows, nor did bounds."""
        rows = self.rows[:, :-1] if self.fit_intercept else self.rows
        return not self.radii.any() and np.array_equal(rows, self._given)

    def margins(self, network):
        """Certified margins of a network: lower bounds of ``y * network`` over the balls.

        Parameters
        ----------
        network : TwoLayerReLU
            With one output.

        Returns
        -------
        ndarray of shape (n,)
        """
        hidden = network.hidden_weights
        if self.fit_intercept:
            hidden = np.concatenate([hidden, network.hidden_biases[None]])
        return self.margins_of(hidden, network.output_weights[:, 0], network.output_biases[0])

    def margins_of(self, directions, outputs, bias):
        """The same of neurons: hidden weights (d, m), output weights (m,) and output bias."""
        parts = [slice(start, start + _BLOCK) for start in range(0, len(self.rows), _BLOCK)]
        return np.concatenate(
            [self._block_margins(part, directions, outputs, bias) for part in parts]
        )

    def _block_margins(self, part, directions, outputs, bias):
        rows, y = self.rows[part], self.y[part]
        radii = self.radii[part] if len(self.radii) > 1 else self.radii
        summed = magnitudes(rows, radii, directions) @ np.abs(outputs) + abs(bias) + SMALLEST
        queries = Queries(
            self.ball,
            directions,
            radii,
            constant=y * bias,
            linear=np.zeros_like(radii),
            output=y[:, None] * outputs,
            centre=rows @ directions,
            reach=self.ball.reaches(radii, directions),
            slack=rounding(6 * (sum(directions.shape) + 10)) * summed,
        )
        bounds = [queries.bound(*queries.lines(share))[0] for share in _LOWER_SHARES]
        return np.maximum.reduce([queries.interval_bound()[0], *bounds])
