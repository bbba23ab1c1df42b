r"""Simplicial cones of directions: their halves, and how large a function gets on each of them.

A cone :math:`K = \{R t : t \ge 0\}` is held by its rays, the columns of R, of norm one. Over its
part in the unit ball a linear function with the values c at the rays is at most

.. math:: \|\Pi_K(v)\| \le \|v + R^{-\top} a\|, \quad a \ge 0, \qquad v = R^{-\top} c,

with multipliers a from an active-set method. It is also at most :math:`\max_i (c_i)_+ / \varrho`
for the distance :math:`\varrho` of the hull of the rays from zero, since
:math:`\varrho \sum_i t_i \le \|R t\| \le 1`.

Whatever the multipliers, the bounds hold; they are computed in batches of cones, with the residual
of :math:`R^\top R^{-\top} = I` on top.
"""

from dataclasses import dataclass

import numpy as np

# A sum over some thousand rows is rounded by less than this, relative to the sum of magnitudes.
ROUNDING = 1e-12
# Frank-Wolfe steps on the slopes, at most; steps of the first active-set search.
SLOPE_STEPS, ACTIVE_STEPS = 20, 3
# Above this dimension there are too many cones to begin with.
LARGEST_RANK = 64
# A cone with a ray this close to the span of the others is not split any further.
THINNEST = 1e-6
TINY = np.finfo(float).tiny


@dataclass
class Cones:
    """Cones and what is known about them; a subclass adds what their halves inherit.

    Attributes
    ----------
    rays : ndarray of shape (B, r, r)
        Unit rows.
    inverse : ndarray of shape (B, r, r)
        Inverses of the matrices with the rays as columns.
    bounds : ndarray of shape (B,)
        On the function over the cones in the ball.
    edges : ndarray of int of shape (B, 2)
        Pairs of rays to cut between.
    points : ndarray of shape (B, r)
        Unit vectors or zero: where the relaxed function is largest, about.
    hopes : ndarray of shape (B,)
        Bounds on the values there.
    """

    rays: np.ndarray
    inverse: np.ndarray
    bounds: np.ndarray
    edges: np.ndarray
    points: np.ndarray
    hopes: np.ndarray

    @classmethod
    def over(cls, rays, bound, **inherited):
        """Cones with these rays, and a bound that holds on all of them."""
        B, r, _ = rays.shape
        return cls(
            rays,
            np.linalg.inv(rays.transpose(0, 2, 1)),
            np.full(B, bound),
            np.zeros((B, 2), dtype=int),
            np.zeros((B, r)),
            np.zeros(B),
            **inherited,
        )

    @classmethod
    def joined(cls, parts):
        """Cones of several batches in one."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    def __len__(self):
        return len(self.bounds)

    def __getitem__(self, which):
        return type(self)(*(part[which] for part in vars(self).values()))

    @property
    def thin(self):
        """Whether a ray is in the span of the others, as far as rounding can tell."""
        return dot(self.inverse, self.inverse).max(axis=1) > THINNEST**-2

    def halves(self, pricing):
        """The two halves of each cone, cut through the middle of an edge.

        The first has it in place of the second ray of the edge, the second in place of the first.
        """
        cones, (one, other) = np.arange(len(self)), self.edges.T
        middle = self.rays[cones, one] + self.rays[cones, other]
        lengths = np.sqrt(dot(middle, middle))[:, None]
        middle /= lengths
        halves = self.joined([self, self])
        for first, kept, replaced in ((0, one, other), (len(self), other, one)):
            half = first + cones
            halves.rays[half, replaced] = middle
            halves.inverse[half, kept] -= self.inverse[cones, replaced]
            halves.inverse[half, replaced] *= lengths
        return halves

    def longest_edges(self, bends=0.0):
        """Pairs of rays to cut between: far apart, on both sides of the maximiser, or bent most.

        Parameters
        ----------
        bends : ndarray of shape (B, r (r - 1) / 2), default=0.0
            How much the function bends between two rays, in the order of `numpy.triu_indices`.
        """
        r = self.rays.shape[1]
        if r == 1:
            return np.zeros((len(self), 2), dtype=int)
        first, second = np.triu_indices(r, 1)
        lengths = 1.0 - gram_matrices(self.rays)[:, first, second]
        shares = np.maximum(apply(self.inverse, self.points), 0.0)
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), TINY)
        beside = shares[:, first] * shares[:, second]
        scores = _over_largest(bends * (1.0 / r**2 + beside) + np.zeros(lengths.shape))
        # No cone may get arbitrarily thin, nor stay as it is if it is not the bends that are loose.
        scores += _over_largest(lengths) * (1.0 + beside)
        worst = scores.argmax(axis=1)
        return np.stack([first[worst], second[worst]], axis=1)

    def largest(self, values):
        """Bounds on linear functions over the parts of the cones in the ball, by values at rays."""
        forms = combine(values, self.inverse)
        free = apply(self.inverse, forms) > 0.0
        points, _ = project(forms, self.rays, gram_matrices(self.rays), self.inverse, free)
        return self._proved(values, points)

    def _proved(self, values, points):
        """Bounds on linear functions over the parts of the cones in the ball.

        Parameters
        ----------
        values : ndarray of shape (B, r)
            At the rays.
        points : ndarray of shape (B, r)
            Vectors with at least these products with the rays, but for rounding: `project`.
        """
        reach = apply(self.rays, unit_rows(self.rays.sum(axis=1))).min(axis=1)
        # what it is of a face of the simplex; rays across it, and halves, have hulls farther out
        reach = np.maximum(reach, 1.0 / self.rays.shape[1])
        lack = np.maximum((values - apply(self.rays, points)).max(axis=1), 0.0)
        lengths = np.sqrt(dot(points, points)) + lack / reach
        return np.minimum(lengths, np.maximum(values.max(axis=1), 0.0) / reach)

    def relax(self, at_rays, concave, tangents, thresholds):
        """Bounds on functions with a concave part, by linear functions above them.

        Frank-Wolfe steps go towards the tangents at the maximiser of the bound, at which the
        concave part is then exact. Sets `points` and `hopes`.

        Parameters
        ----------
        at_rays : ndarray of shape (B, r)
            Values at the rays of all but the concave part: linear, or convex.
        concave : ndarray of shape (B, r)
            Linear functions above the concave part, to begin with; written to.
        tangents : callable
            ``tangents(which, points)``: gradients of the concave part at points of some cones.
        thresholds : ndarray of shape (B,)
            Bounds below need not be improved.

        Returns
        -------
        ndarray of shape (B,)
        """
        rays, inverse = self.rays, self.inverse
        gram = gram_matrices(rays)
        linear = combine(at_rays, inverse)
        forms = linear + concave
        points, free = project(forms, rays, gram, inverse, apply(inverse, forms) > 0.0)
        norms = np.sqrt(dot(points, points))
        self.hopes = np.minimum(norms, self.bounds)
        live = np.flatnonzero(norms > thresholds)
        for _ in range(SLOPE_STEPS):
            if len(live) == 0:
                break
            steps = tangents(live, points[live]) - concave[live]
            # The value of all concave terms at the maximiser: no slopes make the bound any smaller.
            self.hopes[live] = dot(forms[live] + steps, points[live]) / norms[live]
            hopeful = self.hopes[live] <= thresholds[live]
            live, steps = live[hopeful], steps[hopeful]
            length = -dot(steps, points[live]) / np.maximum(dot(steps, steps), TINY)
            steps *= np.clip(length, 0.0, 1.0)[:, None]
            concave[live] += steps
            forms[live] = linear[live] + concave[live]
            points[live], free[live] = project(
                forms[live], rays[live], gram[live], inverse[live], free[live], 1
            )
            norms[live] = np.sqrt(dot(points[live], points[live]))
            live = live[norms[live] > thresholds[live]]
        self.points = unit_rows(points)
        return self._proved(at_rays + apply(rays, concave), points)


def fan(r, signs=None):
    """Rays of cones that cover the space, or where entries are not against `signs`.

    Over the faces of a regular simplex in the coordinates of any sign, with the axes of the others.

    Parameters
    ----------
    r : int
    signs : ndarray of int of shape (r,), default=None

    Returns
    -------
    ndarray of shape (B, r, r)
        B = 0 where there would be too many.
    """
    signs = np.zeros(r) if signs is None else signs
    free = np.flatnonzero(signs == 0)
    B = free.size + 1 if free.size else 1
    if r > LARGEST_RANK:
        return np.zeros((0, r, r))
    rays = np.tile(np.diag(np.sign(signs).astype(np.float64)), (B, 1, 1))
    if free.size:
        corners = np.linalg.qr(np.hstack([np.ones((B, 1)), np.eye(B, B - 1)]))[0][:, 1:]
        corners = unit_rows(corners)
        for k in range(B):
            rays[k][np.ix_(free, free)] = np.delete(corners, k, axis=0)
    return rays


def project(forms, rays, gram, inverse, free, steps=ACTIVE_STEPS):
    """Project vectors on cones; the results are not shorter than the projections.

    An active-set method: the coordinates t of the projection R t that are guessed to be `free`
    solve their normal equations, and those of the wrong sign change sides.

    Returns
    -------
    points : ndarray of shape (B, r)
        ``forms + R^-T a`` with a >= 0, the shortest one found; the projections if solved.
    free : ndarray of bool, shape (B, r)
        The next guess.
    """
    at_rays = apply(rays, forms)
    points, shortest = forms.copy(), dot(forms, forms)
    identity = np.eye(rays.shape[1])
    for _ in range(steps):
        both = free[:, :, None] & free[:, None, :]
        system = np.where(both, gram, identity * ~free[:, :, None])
        t = np.linalg.solve(system, np.where(free, at_rays, 0.0)[:, :, None])[:, :, 0]
        lack = apply(gram, t) - at_rays
        trials = forms + combine(np.where(free, 0.0, lack.clip(0.0)), inverse)
        lengths = dot(trials, trials)
        shorter = lengths < shortest
        points[shorter], shortest[shorter] = trials[shorter], lengths[shorter]
        free = np.where(free, t > 0.0, lack < 0.0)
    return points, free


def gram_matrices(rays):
    """Products of the rays of each cone."""
    return rays @ rays.transpose(0, 2, 1)


def apply(matrices, vectors):
    """Products of matrices and vectors, one of each for each cone."""
    return np.matmul(matrices, vectors[:, :, None])[:, :, 0]


def combine(coefficients, matrices):
    """Combinations of the rows of matrices."""
    return np.einsum("bi,bij->bj", coefficients, matrices)


def dot(a, b):
    """Products of the vectors on the last axis."""
    return np.einsum("...i,...i->...", a, b)


def unit_rows(points):
    """Rows over their norms; zero rows stay."""
    norms = np.sqrt(dot(points, points))[..., None]
    return points / np.where(norms > 0.0, norms, 1.0)


def _over_largest(scores):
    return scores / np.maximum(scores.max(axis=1, keepdims=True), TINY)
