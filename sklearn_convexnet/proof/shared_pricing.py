r"""The gain of a neuron that several outputs share, bounded on cones of directions.

.. math:: \|F(u)\|_2, \qquad F(u) = \sum_k \Lambda_k (x_k^\top u)_+ .

For the unit vector q along F at the centre of a cone, :math:`\|F\|^2 = (q^\top F)^2 + \|P F\|^2`
with the projection P on what is perpendicular to q. The first part is the gain of one output with
the multipliers :math:`\lambda_k = q^\top \Lambda_k`, bounded as such: by chords of the terms with
:math:`\lambda_k > 0`, and by :math:`\lambda_k s_k x_k^\top u` with a slope
:math:`s_k \in [0, 1]` for the others.

For the second, each :math:`(x_k^\top u)_+` is between such a line and its chord, the linear
function with the same values at the rays. So it differs from the mean of both by at most half of
their difference, :math:`e_k \ge 0`. With M, the sum of the means, for :math:`u = \sum_i t_i R_i`

.. math:: \|P F(u)\| \le \sum_i t_i \Big( \|P M(R_i)\| + \min\Big(
    \sum_k \|P \Lambda_k\| e_k(R_i), \; \Big\| \sum_k |\Lambda_k| e_k(R_i) \Big\|\Big)\Big),

where magnitudes of vectors are taken entry by entry: a linear function on the cone. In small cones
it is of the order of their width, and the bound on :math:`\|F\|` is that of one output but for its
square. In the same way :math:`-q^\top F(u)` is at most
:math:`\sum_i t_i (\sum_k |\lambda_k| e_k(R_i) - q^\top M(R_i))`.
"""

from dataclasses import dataclass, field

import numpy as np

from .cones import TINY, Cones, apply, dot, fan, unit_rows

# Floats of an array of products of the rays and the rows: 1 MB, to stay in the cache.
CACHE = 2**17
_EPS = np.finfo(np.float64).eps


@dataclass(frozen=True)
class SharedPricing:
    """The function ``|linear u + sum multipliers_k (columns_k' u)_+|``."""

    linear: np.ndarray  # (K, r)
    columns: np.ndarray  # (r, n), of norm one
    multipliers: np.ndarray  # (n, K)
    sizes: np.ndarray = field(init=False)  # squared norms of the multipliers

    def __post_init__(self):
        object.__setattr__(self, "sizes", dot(self.multipliers, self.multipliers))

    @classmethod
    def over(cls, linear, points, multipliers):
        """The function of unit rows with multipliers of shape (n, K)."""
        return cls(linear, np.ascontiguousarray(points.T), multipliers)

    @property
    def batch(self):
        """Number of cones to split at once."""
        return CACHE // self.columns.size

    def fan(self, signs=None):
        """Cones to begin with."""
        return _SharedCones.over(fan(len(self.columns), signs), self.crude_bound())

    def image(self, points):
        """The vectors whose norms are the values at the rows of `points`."""
        return np.maximum(points @ self.columns, 0.0) @ self.multipliers + points @ self.linear.T

    def value(self, points):
        """Values at the columns of `points`."""
        return np.linalg.norm(self.image(points.T), axis=1)

    def gradient(self, points):
        """Gradients at the columns of `points`."""
        outputs = unit_rows(self.image(points.T)).T
        active = (self.columns.T @ points > 0.0) * (self.multipliers @ outputs)
        return self.linear.T @ outputs + self.columns @ active

    def crude_bound(self):
        """Bound over the ball: by half a linear map, and Cauchy-Schwarz for the magnitudes."""
        norms = np.sqrt(self.sizes)
        linear = self.linear + 0.5 * (self.columns @ self.multipliers).T
        largest = np.linalg.eigvalsh((self.columns * norms) @ self.columns.T)[-1]
        curved = 0.5 * np.sqrt(norms.sum() * max(largest, 0.0))
        return float(np.linalg.norm(linear, 2) + curved)


class _SharedCones(Cones):
    """Cones whose halves inherit nothing: what the terms are worth depends on the cone."""

    def bound(self, pricing, threshold):
        """Bound the function on the cones, the better the closer to the threshold.

        Parameters
        ----------
        pricing : SharedPricing
        threshold : float
            Bounds below need not be improved.
        """
        outputs = unit_rows(pricing.image(unit_rows(self.rays.sum(axis=1))))
        along = outputs @ pricing.multipliers.T
        products = self.rays @ pricing.columns
        gains = np.maximum(products, 0.0)
        slopes = self._slopes(products, gains)
        half_widths = 0.5 * (gains - slopes[:, None] * products)
        means = (gains - half_widths) @ pricing.multipliers + self.rays @ pricing.linear.T
        means_along = apply(means, outputs)
        means_across = means - means_along[:, :, None] * outputs[:, None]

        # what is perpendicular of each multiplier, and rounding of the difference
        squares = np.maximum(pricing.sizes - along**2, 0.0)
        squares += 8.0 * _EPS * (pricing.multipliers.shape[1] + 4.0) * pricing.sizes
        entries = half_widths @ np.abs(pricing.multipliers)
        spreads = np.minimum(apply(half_widths, np.sqrt(squares)), np.sqrt(dot(entries, entries)))
        across = self.largest(np.sqrt(dot(means_across, means_across)) + spreads)
        opposite = self.largest(apply(half_widths, np.abs(along)) - means_along)

        weights = np.minimum(along, 0.0)
        at_rays = apply(gains, np.maximum(along, 0.0)) + apply(self.rays, outputs @ pricing.linear)
        rest = np.sqrt(np.maximum(threshold**2 - across**2, 0.0))
        bounds = self.relax(
            at_rays,
            (weights * slopes) @ pricing.columns.T,
            lambda which, points: (
                (weights[which] * (points @ pricing.columns > 0.0)) @ pricing.columns.T
            ),
            rest,
        )
        self.bounds = np.minimum(self.bounds, np.hypot(np.maximum(bounds, opposite), across))
        self.edges = self.longest_edges()

    @staticmethod
    def _slopes(products, gains):
        """Slopes of lines below the terms, close to the steeper side."""
        above = gains.sum(axis=1)
        below = above - products.sum(axis=1)
        above, below = above**2, below**2
        return above / np.maximum(above + below, TINY)
