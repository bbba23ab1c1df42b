r"""Norms of perturbations, a class each: all that is asked about the ball :math:`\|\eta\|_p \le 1`.

How far linear functions fall over it (the dual norm), where, what is nearest, and a barrier of the
ball. `NORMS` has them under the numbers p that users give.
"""
# ruff: noqa: D102 (of methods that `Norm` documents)

import numpy as np
from scipy.optimize import brentq


class Norm:
    """A norm, with what is the same for all, or for most.

    Attributes
    ----------
    p : {inf, 2, 1}
    dual : {1, 2, inf}
        The p of the dual norm.
    separable : bool
        Whether the dual norm is a sum over entries. Then each entry has a bound of its own, and
        balls may differ from row to row; else all rows have the same radii.
    polyhedral : bool
        Whether the ball has corners, and `constraints`.
    """

    p: float
    dual: float
    _law: str  # of points whose level sets are balls
    separable, polyhedral = False, True

    def sizes(self, points):
        """Norms of rows."""
        return np.linalg.norm(points, ord=self.p, axis=1)

    def falls(self, vectors):
        """Dual norms of rows: how far each falls, as a linear function, over the unit ball."""

    def reaches(self, radii, directions):
        """Falls of ``radii * direction`` for radii (n, d) and directions (d, m), all pairs."""

    def smooth_falls(self, radii, vectors, width):
        """Falls of ``radii * vector``, a row each, rounded off upwards by some width times radius.

        With them their gradients, which are moves within the balls.
        """

    def smooth_reaches(self, radii, directions, width):
        """Reaches rounded off likewise, one row if that is all, and their adjoint derivative."""
        falls, moves = self.smooth_falls(radii, directions.T, width)
        return falls[None], lambda pull: moves.T * pull

    def steepest(self, gradients):
        """Minimisers of linear functions over the unit ball, one for each row."""

    def project(self, points):
        """Nearest points of the unit ball, in the Euclidean norm."""

    def nearest(self, point, radii):
        """The nearest of the points ``radii * eta`` with eta in the unit ball."""
        moved = radii > 0
        z, r = point[moved], radii[moved]

        def size(price):
            return np.linalg.norm(self._priced(z, r, price), ord=self.p)

        high = np.linalg.norm(r * z)
        price = brentq(lambda price: size(price) - 1.0, 0.0, high) if size(0.0) > 1.0 else 0.0
        nearest = np.zeros_like(point)
        nearest[moved] = r * self._priced(z, r, price) / max(size(price), 1.0)
        return nearest

    def draw(self, shape, rng):
        """Points of the unit ball, drawn at random."""
        points = getattr(rng, self._law)(size=shape)
        lengths = rng.uniform(size=(shape[0], 1)) ** (1.0 / max(shape[1], 1))
        return points / self.sizes(points)[:, None] * lengths

    def outside(self, change, limits):
        """Where rows ``limits * eta`` are outside, as someone else may measure them."""
        units = np.divide(change, limits, out=np.zeros_like(change), where=limits > 0)
        # below one by more than the rounding of whoever measures it
        return np.broadcast_to(self.sizes(units)[:, None] > 1.0 - 1e-14, change.shape)

    # Programs over the ball are written in coordinates, as many as a linear function then has.

    def coordinates(self, linear, axis=-1):
        """Linear functions of a point as those of its coordinates."""
        return linear

    def points(self, coordinates):
        """The points of coordinates, a row each."""
        return coordinates

    def inside(self, n, size):
        """Coordinates of n points well inside the ball."""
        return np.zeros((n, size))

    def constraints(self, size):
        """The least coordinates, and rows whose products with them are at most one."""
        return -1.0, np.zeros((0, size))

    def barrier(self, coordinates):
        """Whether rows are inside; gradients and Hessians there, anything outside.

        A Hessian is a diagonal (n, size), and a multiple (n,) of an outer product, of (n, size).
        The order is inside, gradient, diagonal, factor of the outer product, multiple.
        """


class Linf(Norm):
    """The largest entry; its dual is the sum of absolute values."""

    p, dual = np.inf, 1
    separable = True

    def falls(self, vectors):
        return np.abs(vectors).sum(axis=1)

    def reaches(self, radii, directions):
        return radii @ np.abs(directions)

    def smooth_falls(self, radii, vectors, width):
        sizes = np.sqrt(vectors**2 + width**2)
        return (radii * sizes).sum(axis=1), radii * (vectors / sizes)

    def smooth_reaches(self, radii, directions, width):
        sizes = np.sqrt(directions**2 + width**2)
        return radii @ sizes, lambda pull: (radii.T @ pull) * (directions / sizes)

    def steepest(self, gradients):
        return -np.sign(gradients)

    def project(self, points):
        return np.clip(points, -1.0, 1.0)

    def nearest(self, point, radii):
        return np.clip(point, -radii, radii)

    def draw(self, shape, rng):
        return rng.uniform(-1.0, 1.0, shape)

    def outside(self, change, limits):
        return np.abs(change) > limits

    def barrier(self, coordinates):
        """Of -sum log(1 - x^2)."""
        slack = 1.0 - coordinates**2
        inside, slack = (slack > 0).all(axis=1), np.where(slack > 0, slack, 1.0)
        diagonal = 2.0 / slack + 4.0 * coordinates**2 / slack**2
        return inside, 2.0 * coordinates / slack, diagonal, coordinates, np.zeros(len(slack))


class L2(Norm):
    """The Euclidean norm, its own dual."""

    p, dual, _law = 2, 2, "standard_normal"
    polyhedral = False

    def falls(self, vectors):
        return np.sqrt(np.sum(vectors**2, axis=1))

    def reaches(self, radii, directions):
        return np.sqrt(radii**2 @ directions**2)

    def smooth_falls(self, radii, vectors, width):
        sizes = np.sqrt(vectors**2 + width**2)
        norms = np.maximum(self.falls(radii * sizes)[:, None], np.finfo(float).tiny)
        return norms[:, 0], radii**2 * vectors / norms

    def steepest(self, gradients):
        lengths = self.falls(gradients)[:, None]
        return -gradients / np.where(lengths > 0, lengths, 1.0)

    def project(self, points):
        return points / np.maximum(self.sizes(points)[:, None], 1.0)

    def _priced(self, z, r, price):
        """The eta with ``r * eta`` nearest to z, at a price for its norm."""
        return r * z / (r**2 + price)

    def barrier(self, coordinates):
        """Of -log(1 - |x|^2)."""
        slack = 1.0 - np.sum(coordinates**2, axis=1, keepdims=True)
        inside, slack = slack[:, 0] > 0, np.where(slack > 0, slack, 1.0)
        gradient = 2.0 * coordinates / slack
        diagonal = np.broadcast_to(2.0 / slack, coordinates.shape)
        return inside, gradient, diagonal, gradient, np.ones(len(slack))


class L1(Norm):
    """The sum of absolute values; its dual is the largest entry.

    The coordinates of the ball are positive and negative parts, with a sum of at most one.
    """

    p, dual, _law = 1, np.inf, "laplace"

    def falls(self, vectors):
        return np.abs(vectors).max(axis=1, initial=0.0)

    def reaches(self, radii, directions):
        reach = np.zeros((len(radii), directions.shape[1]))
        # a feature at a time: all at once would be an array of shape (n, d, m)
        for radius, row in zip(radii.T, np.abs(directions), strict=True):
            np.maximum(reach, radius[:, None] * row, out=reach)
        return reach

    def smooth_falls(self, radii, vectors, width):
        """Log-sum-exp over the entries of both signs."""
        largest = radii.max(axis=1, keepdims=True, initial=np.finfo(float).tiny)
        unit = width * largest / np.log(2.0 * radii.shape[1])
        scaled = radii * np.abs(vectors) / unit
        top = scaled.max(axis=1, keepdims=True)
        up, down = np.exp(scaled - top), np.exp(-scaled - top)
        total = (up + down).sum(axis=1, keepdims=True)
        norms = unit * (top + np.log(total))
        return norms[:, 0], radii * np.sign(vectors) * (up - down) / total

    def steepest(self, gradients):
        points = np.zeros_like(gradients)
        if gradients.shape[1]:
            rows, largest = np.arange(len(gradients)), np.abs(gradients).argmax(axis=1)
            points[rows, largest] = -np.sign(gradients[rows, largest])
        return points

    def project(self, points):
        """By soft thresholding: the k largest entries stay (Duchi et al., ICML 2008)."""
        sizes = -np.sort(-np.abs(points), axis=1)
        excess = np.cumsum(sizes, axis=1) - 1.0
        thresholds = np.max(excess / np.arange(1, points.shape[1] + 1), axis=1, initial=0.0)
        return np.sign(points) * np.maximum(np.abs(points) - thresholds[:, None], 0.0)

    def _priced(self, z, r, price):
        """The eta with ``r * eta`` nearest to z, at a price for its norm."""
        return np.sign(z) * np.maximum(np.abs(z) * r - price, 0.0) / r**2

    def coordinates(self, linear, axis=-1):
        return np.concatenate([linear, -linear], axis=axis)

    def points(self, coordinates):
        return np.subtract(*np.split(coordinates, 2, axis=1))

    def inside(self, n, size):
        return np.full((n, size), 0.5 / size)

    def constraints(self, size):
        return 0.0, np.ones((1, size))

    def barrier(self, coordinates):
        """Of -sum log x - log(1 - sum x)."""
        slack = 1.0 - coordinates.sum(axis=1)
        inside = (slack > 0) & (coordinates > 0).all(axis=1)
        slack, parts = np.where(slack > 0, slack, 1.0), np.where(coordinates > 0, coordinates, 1.0)
        gradient = 1.0 / slack[:, None] - 1.0 / parts
        return inside, gradient, parts**-2.0, np.ones_like(parts), slack**-2.0


NORMS = {norm.p: norm for norm in (Linf(), L2(), L1())}
