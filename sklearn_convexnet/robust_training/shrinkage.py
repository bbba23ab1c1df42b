r"""Proximal steps of dual norms and of worst-case losses, one scalar root per row.

The worst case of a linear function G over the ball of a row x is
:math:`\min_{\tilde x} \tilde x^\top G = x^\top G - h(G)`, with the reach
:math:`h(G) = \|r \circ G\|_*`. Let :math:`S_t` be the proximal operator of :math:`t h`, a
shrinkage. Every proximal step here moves along the path

.. math:: G(p, e) = S_{e}(G_0 - p x)

to the point where p and e are what they should be: slopes of the loss.
"""

import numpy as np

_MOST_STEPS = 60
_ACCURACY = 1e-11
_TINY = np.finfo(np.float64).tiny


class Shrunk:
    r"""Points shrunk by ``amount`` times the reach.

    Parameters
    ----------
    points : ndarray of shape (m, d)
    amounts : ndarray of shape (m,)
        Non-negative.
    radii : ndarray of shape (m, d) or (1, d)
        For the dual norms 2 and inf, equal or zero within a row.
    dual : {1, 2, inf}

    Attributes
    ----------
    points : ndarray of shape (m, d)
        :math:`S_t(z)`.
    reach : ndarray of shape (m,)
        Reach of them.
    """

    def __init__(self, points, amounts, radii, dual):
        self.dual = dual
        amounts = amounts[:, None]
        if dual == 1:
            self.sides = np.sign(points) * radii
            excess = np.abs(points) - amounts * radii
            self.active = excess > 0
            self.points = np.where(self.active, points - amounts * self.sides, 0.0)
            self.reach = np.einsum("kj,kj->k", self.points, self.sides)
            return
        self.attacked = radii > 0
        self.radius = radii.max(axis=1)
        attacked = np.where(self.attacked, points, 0.0)
        if dual == 2:
            norms = np.sqrt(np.einsum("kj,kj->k", attacked, attacked))
            self.units = attacked / np.maximum(norms, 1e-300)[:, None]
            self.shrink = np.minimum(amounts[:, 0] * self.radius / np.maximum(norms, 1e-300), 1.0)
            self.points = points - self.shrink[:, None] * attacked
            self.reach = self.radius * (1.0 - self.shrink) * norms
            return
        level = _clipping_level(np.abs(attacked), amounts[:, 0] * self.radius)[:, None]
        self.active = self.attacked & (np.abs(points) > level) & (level > 0)
        self.zero = level[:, 0] <= 0
        self.sides = np.sign(points) * self.active
        self.points = np.where(self.attacked, np.clip(points, -level, level), points)
        self.reach = self.radius * level[:, 0]

    def curvature(self, moves, pace):
        """Derivative of ``moves @ points - pace * reach`` along ``points + s moves``.

        The amounts grow by ``s pace``.

        Parameters
        ----------
        moves : ndarray of shape (m, d)
        pace : float

        Returns
        -------
        ndarray of shape (m,)
            Non-negative; a quadratic form in (moves, pace).
        """
        if self.dual == 1:
            return _squares(np.where(self.active, moves - pace * self.sides, 0.0))
        attacked = np.where(self.attacked, moves, 0.0)
        free = _squares(moves) - _squares(attacked)
        if self.dual == 2:
            along = np.einsum("kj,kj->k", self.units, attacked)
            inside = (1.0 - self.shrink) * (_squares(attacked) - along**2)
            return free + np.where(
                self.shrink < 1.0, inside + (along - pace * self.radius) ** 2, 0.0
            )
        along = np.einsum("kj,kj->k", self.sides, moves) - pace * self.radius
        count = np.maximum(self.active.sum(axis=1), 1)
        inside = _squares(np.where(self.active, 0.0, attacked)) + along**2 / count
        return free + np.where(self.zero, 0.0, inside)


def _squares(values):
    return np.einsum("kj,kj->k", values, values)


def _clipping_level(sizes, amounts):
    """The level at which clipping removes `amounts` from every row; at least 0."""
    ordered = -np.sort(-sizes, axis=1)
    levels = (np.cumsum(ordered, axis=1) - amounts[:, None]) / np.arange(1, sizes.shape[1] + 1)
    # the largest of these averages is the level
    return np.maximum(levels.max(axis=1), 0.0)


class WorstCaseProx:
    r"""Proximal operator of the worst-case loss of every row.

    .. math::

        \min_{G, c} \max_{\tilde x} \ell(\tilde x^\top G + c, y)
            + \tfrac\rho2 \big(\|G - G_0\|^2 + (c - c_0)^2\big)

    A loss of the margin has p = -y e and one root in e: with the margin linear in e along the
    path, its own scalar prox is the Newton step. The squared loss has a kink where the output
    meets the target; there p is a root of its own inside that in e.

    Parameters
    ----------
    loss : Loss
        Of the margin, or squared.
    y : ndarray of shape (n,)
    rows, radii : ndarray of shape (n, d)
    dual : {1, 2, inf}
    intercept : bool
        Whether there is a bias c; without it c is zero.
    """

    def __init__(self, loss, y, rows, radii, dual, intercept):
        self.loss, self.y, self.rows, self.radii = loss, y, rows, radii
        self.dual, self.intercept = dual, float(intercept)
        self.slopes, self.amounts = np.zeros(len(y)), np.zeros(len(y))

    def __call__(self, points, biases, rho):
        """Proximal points, shapes (n, d) and (n,); sets `slopes` and `amounts`, p and e."""
        self.origin = points, biases
        self.rho = rho
        step = self._margin_step if self.loss.target == "sign" else self._squared_step
        todo = np.arange(len(self.y))
        # zero itself may be the root
        low, high = np.full(len(todo), -_TINY), np.full(len(todo), np.inf)
        for _ in range(_MOST_STEPS):
            amounts = self.amounts[todo]
            wanted = step(todo, amounts)
            low = np.where(wanted >= amounts, amounts, low)
            high = np.where(wanted <= amounts, amounts, high)
            # not back to an end, which was tried: Newton can go back and forth between two of them
            inside = (wanted > low) & (wanted < high)
            with np.errstate(invalid="ignore"):
                middle = np.where(np.isfinite(high), 0.5 * (low + high), 2.0 * low + 1e-3)
            new = np.maximum(np.where(inside, wanted, middle), 0.0)
            self.amounts[todo] = new
            open_ = np.abs(new - amounts) > _ACCURACY * (1.0 + amounts)
            if not open_.any():
                break
            todo, low, high = todo[open_], low[open_], high[open_]
        if self.loss.target == "sign":
            self.slopes = -self.y * self.amounts
        self.slopes = np.clip(self.slopes, -self.amounts, self.amounts)
        shrunk, biases = self._path(np.arange(len(self.y)), self.slopes, self.amounts)
        return shrunk.points, biases

    def _path(self, index, slopes, amounts):
        points, biases = self.origin
        moved = points[index] - (slopes / self.rho)[:, None] * self.rows[index]
        shrunk = Shrunk(moved, amounts / self.rho, self.radii[index], self.dual)
        return shrunk, biases[index] - self.intercept * slopes / self.rho

    def _margin_step(self, index, amounts):
        y, rows = self.y[index], self.rows[index]
        self.slopes[index] = -y * amounts
        shrunk, biases = self._path(index, -y * amounts, amounts)
        moves = y[:, None] * rows
        margin = np.einsum("kj,kj->k", moves, shrunk.points) + y * biases - shrunk.reach
        pace = (shrunk.curvature(moves, 1.0) + self.intercept) / self.rho
        # a margin that does not move has the slope of the loss there
        pace = np.maximum(pace, 1e-7)
        ahead = margin - pace * amounts
        wanted = (y * self.loss.prox(y * ahead, y, pace) - ahead) / pace
        # rounding must not leave the domain of the conjugate
        wanted = -y * np.clip(-y * wanted, *self.loss.conjugate_domain(y))
        self.slopes[index] = -y * wanted
        return wanted

    def _squared_step(self, index, amounts):
        y, rows = self.y[index], self.rows[index]
        low, high = -amounts, amounts
        slopes = np.clip(self.slopes[index], low, high)
        for attempt in range(_MOST_STEPS):
            shrunk, biases = self._path(index, slopes, amounts)
            residual = np.einsum("kj,kj->k", rows, shrunk.points) + biases - y
            pace = (shrunk.curvature(rows, 0.0) + self.intercept) / self.rho
            low, high = np.where(residual >= 0, slopes, low), np.where(residual <= 0, slopes, high)
            new = slopes + residual / np.maximum(pace, 1e-12)
            # the ends of the slopes may be roots themselves: first look there
            first = np.clip(new, low, high)
            later = np.where((new > low) & (new < high), new, 0.5 * (low + high))
            new = first if attempt < 4 else later
            done = np.abs(new - slopes) <= _ACCURACY * (1.0 + amounts)
            slopes = new
            if done.all():
                break
        self.slopes[index] = slopes
        shrunk, biases = self._path(index, slopes, amounts)
        residual = np.einsum("kj,kj->k", rows, shrunk.points) + biases - y
        value = np.abs(residual) + shrunk.reach
        # slope of the value, along the path that keeps p at an end or the residual at zero
        along, alone = shrunk.curvature(rows, 0.0), shrunk.curvature(0.0 * rows, 1.0)
        sides = np.sign(np.where(slopes == 0, residual, slopes))[:, None]
        tied = shrunk.curvature(-sides * rows, 1.0) + self.intercept
        cross = 0.5 * (shrunk.curvature(rows, 1.0) - along - alone)
        free = alone - cross**2 / np.maximum(along + self.intercept, 1e-300)
        at_end = np.abs(slopes) >= amounts
        pace = np.where(at_end, tied, np.maximum(free, 0.0)) / self.rho
        return amounts + (value - amounts) / (1.0 + pace)
