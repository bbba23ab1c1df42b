r"""The gain of a neuron with one output, bounded on cones of directions.

.. math:: h(u) = \sum_k \lambda_k (x_k^\top u)_+

is neither convex nor concave. On a cone the terms with :math:`\lambda_k > 0` are convex, so that
the linear function with the same values c at the rays is their least concave upper bound. A term
with :math:`\lambda_k < 0` is at most :math:`-|\lambda_k| s_k x_k^\top u` for any slope
:math:`s_k \in [0, 1]`. What remains is linear:

.. math:: h(u) \le v^\top u, \qquad
    v = R^{-\top} c - \sum_{\lambda_k < 0} |\lambda_k| s_k x_k .

Slopes come from Frank-Wolfe steps towards those of the maximiser :math:`u = \Pi_K(v)`, at which
the concave terms are then exact. A cone is cut through the middle of an edge that is interpolated
badly. Its halves share all rays but one: they inherit the gradients of the convex terms at the
rays, which tell c and how much these terms bend between two rays.
"""

from dataclasses import dataclass, field

import numpy as np

from .cones import ROUNDING, Cones, apply, dot, fan, unit_rows

# Floats of an array of matrices (16 MB), and of one that stays in the cache.
CHUNK, CACHE = 2**21, 2**15


@dataclass(frozen=True)
class SinglePricing:
    """The function ``linear . u + sum (positive' u)_+ - sum (negative' u)_+``."""

    linear: np.ndarray  # (r,)
    positive: np.ndarray  # (r, n+)
    negative: np.ndarray  # (r, n-)
    widths: np.ndarray = field(init=False)  # norms of the negative columns

    def __post_init__(self):
        object.__setattr__(self, "widths", np.linalg.norm(self.negative, axis=0))

    @classmethod
    def over(cls, linear, points, multipliers):
        """The function of unit rows with multipliers of shape (n,)."""
        columns = (np.abs(multipliers)[:, None] * points).T
        return cls(linear, columns[:, multipliers > 0], columns[:, multipliers < 0])

    @property
    def batch(self):
        """Number of cones to split at once."""
        return CHUNK // (2 * len(self.linear) ** 2)

    def fan(self, signs=None):
        """Cones to begin with."""
        rays = fan(len(self.linear), signs)
        return _SingleCones.over(rays, self.crude_bound(), gradients=self._at_rays(rays))

    def _at_rays(self, rays):
        return self.convex_gradients(rays.reshape(-1, len(self.linear))).reshape(rays.shape)

    def value(self, points):
        """Values at the columns of `points`."""
        gains = np.maximum(self.positive.T @ points, 0.0).sum(axis=0)
        return self.linear @ points + gains - np.maximum(self.negative.T @ points, 0.0).sum(axis=0)

    def gradient(self, points):
        """Gradients at the columns of `points`."""
        gains = self.positive @ (self.positive.T @ points > 0.0)
        return self.linear[:, None] + gains - self.negative @ (self.negative.T @ points > 0.0)

    def convex_gradients(self, points):
        """Gradients of the linear and the convex terms at the rows of `points`."""
        return self.linear + _weighted_sums(self.positive, points, _activity)

    def tangents(self, points):
        """Gradients of the concave terms at the rows of `points`."""
        return -_weighted_sums(self.negative, points, _activity)

    def chords(self, centres, radii):
        """Sums of linear functions above the concave terms, good in balls around unit rows."""

        def slopes(products, part):
            # in a small ball a term crosses zero about where its value at the centre says
            products /= 2.0 * (radii[part, None] + ROUNDING) * self.widths
            products += 0.5
            np.clip(products, 0.0, 1.0, out=products)

        return -_weighted_sums(self.negative, centres, slopes)

    def crude_bound(self):
        """Bound over the ball, by the Cauchy-Schwarz inequality for the convex terms."""
        norms = np.linalg.norm(self.positive, axis=0)
        largest = np.linalg.eigvalsh((self.positive / norms) @ self.positive.T)[-1]
        return float(np.linalg.norm(self.linear) + np.sqrt(norms.sum() * max(largest, 0.0)))


@dataclass
class _SingleCones(Cones):
    """Cones with the gradients of the linear and the convex terms at the rays.

    Attributes
    ----------
    gradients : ndarray of shape (B, r, r)
        A row for each ray.
    """

    gradients: np.ndarray

    def halves(self, pricing):
        """The two halves of each cone, cut through the middle of an edge."""
        halves = super().halves(pricing)
        cones, (one, other) = np.arange(len(self)), self.edges.T
        gradients = pricing.convex_gradients(halves.rays[cones, other])
        halves.gradients[cones, other] = gradients
        halves.gradients[len(self) + cones, one] = gradients
        return halves

    def bound(self, pricing, threshold):
        """Bound the function on the cones, the better the closer to the threshold.

        Parameters
        ----------
        pricing : SinglePricing
        threshold : float
            Bounds below need not be improved.
        """
        centres = unit_rows(self.rays.sum(axis=1))
        radii = np.sqrt(np.maximum(2.0 - 2.0 * apply(self.rays, centres).min(axis=1), 0.0))
        bounds = self.relax(
            dot(self.gradients, self.rays),
            pricing.chords(centres, radii),
            lambda _, points: pricing.tangents(points),
            np.full(len(self), threshold),
        )
        self.bounds = np.minimum(self.bounds, bounds)
        self.edges = self.longest_edges(self._bends())

    def _bends(self):
        """How much the convex terms bend between two rays."""
        first, second = np.triu_indices(self.rays.shape[1], 1)
        products = self.gradients @ self.rays.transpose(0, 2, 1)
        at_rays = np.einsum("bii->bi", products)
        bends = at_rays[:, first] + at_rays[:, second]
        bends -= products[:, first, second] + products[:, second, first]
        return np.maximum(bends, 0.0)


def _weighted_sums(columns, points, weigh):
    """Sums of columns, a row for each row of `points`, in blocks that stay in the cache.

    `weigh` turns products of points and columns into weights, in place.
    """
    sums = np.empty(points.shape)
    size = max(1, CACHE // max(1, columns.shape[1]))
    for start in range(0, len(points), size):
        part = slice(start, start + size)
        products = points[part] @ columns
        weigh(products, part)
        np.matmul(products, columns.T, out=sums[part])
    return sums


def _activity(products, _):
    np.greater(products, 0.0, out=products, casting="unsafe")
