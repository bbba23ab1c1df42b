r"""Slacks in cones with their multipliers, for a primal-dual method.

All have the same face, so that a method goes through its cones without knowing them: `rescale`, to
be called first; `hessian`, what the cone adds to the Newton system; `aim`, the multipliers after a
step that moves no slack, when products are to be `mu`; `answer`, the direction of the multipliers
once that of the slacks is known; `to_boundary`, the largest step; `complementarity`, the sum of the
products; `moved`, the cone after a step.
"""

from copy import copy

import numpy as np

from ..solvers.second_order_cone import Scaling, inner, product, quotient, step_to_boundary

# multipliers of the ends of the domain of slopes are predictions, of size one
_LARGEST_FIRST = 10.0


class HalfSpaces:
    """Non-negative slacks ``s`` and multipliers ``z``; entries outside of `used` are none."""

    def __init__(self, s, z, used):
        self.s, self.z, self.used = s, z, used
        self.degree = np.count_nonzero(used)

    @classmethod
    def centred(cls, s, mu, used):
        """Multipliers so that all products are `mu`."""
        return cls(s, np.where(used, mu / s, 0.0), used)

    def rescale(self):  # noqa: D102
        self.ratio = self.z / self.s

    def hessian(self):  # noqa: D102
        return self.ratio

    def aim(self, mu, corrected):  # noqa: D102
        cross = self.ds * self.dz if corrected else 0.0
        self.offset = np.where(self.used, (mu - cross) / self.s - self.z, 0.0)
        return self.z + self.offset

    def answer(self, ds):  # noqa: D102
        self.ds = np.where(self.used, ds, 0.0)
        self.dz = self.offset - self.ratio * self.ds

    def to_boundary(self):  # noqa: D102
        return min(_ratio(self.s, self.ds), _ratio(self.z, self.dz))

    @property
    def products(self):
        """Of slacks and multipliers, zero where there are none."""
        return self.s * self.z

    def complementarity(self):  # noqa: D102
        return float(np.sum(self.products))

    def moved(self, step):  # noqa: D102
        return HalfSpaces(self.s + step * self.ds, self.z + step * self.dz, self.used)


class SecondOrder:
    """Slacks ``(t, u)`` with ``t >= norm(u)``, and their multipliers."""

    def __init__(self, s, z):
        self.s, self.z, self.degree = s, z, len(s[0])

    def rescale(self):  # noqa: D102
        self.scaling = Scaling(self.s, self.z)

    def _towards(self, mu, corrected):
        """Right-hand side of the scaled complementarity."""
        point = self.scaling.point
        squared = product(point, point)
        cross = 0.0, 0.0
        if corrected:
            cross = product(self.scaling.apply_inverse(self.ds), self.scaling.apply(self.dz))
        return quotient(point, (mu - squared[0] - cross[0], -squared[1] - cross[1]))

    def to_boundary(self):  # noqa: D102
        return min(step_to_boundary(self.s, self.ds), step_to_boundary(self.z, self.dz))

    def complementarity(self):  # noqa: D102
        return float(sum(np.sum(a * b) for a, b in zip(self.s, self.z, strict=True)))

    def moved(self, step):  # noqa: D102
        new = copy(self)
        new.s, new.z = _after(self.s, step, self.ds), _after(self.z, step, self.dz)
        return new


class Reaches(SecondOrder):
    """Bounds ``T >= falls(u)`` on the reaches of linear functions.

    Norm 2: one cone for a function. Norms inf and 1: one for every entry, below a bound of its own
    or a common one.
    """

    def __init__(self, ball, s, z, shape):
        super().__init__(s, z)
        self.ball, self.shape = ball, shape

    @classmethod
    def centred(cls, ball, T, u, mu):
        """Multipliers so that all products are `mu`."""
        t, u = s = _as_cones(ball, T, u)
        inverse = mu / ((t - np.sqrt(inner(u, u))) * (t + np.sqrt(inner(u, u))))
        return cls(ball, s, (inverse * t, -inverse[:, None] * u), T.shape)

    def hessian(self):
        """Second derivatives in uu, uT and TT."""
        w0, w1, size = self.scaling.w0, self.scaling.w1, self.scaling.eta**-2.0
        corner, edge = size * (2.0 * w0**2 - 1.0), (-2.0 * size * w0)[:, None] * w1
        if not self.ball.polyhedral:
            outer = 2.0 * w1[:, :, None] * w1[:, None, :]
            own = size[:, None, None] * (np.eye(w1.shape[1]) + outer)
            return own, edge[:, :, None], corner[:, None, None]
        B = self.shape[0]
        own, edge, corner = (
            part.reshape(B, -1) for part in (size * (1.0 + 2.0 * w1[:, 0] ** 2), edge, corner)
        )
        each = np.eye(own.shape[1])
        if self.ball.separable:
            return own[:, :, None] * each, edge[:, :, None] * each, corner[:, :, None] * each
        return own[:, :, None] * each, edge[:, :, None], corner.sum(axis=1)[:, None, None]

    def aim(self, mu, corrected):  # noqa: D102
        self.offset = self.scaling.apply_inverse(self._towards(mu, corrected))
        return self._bounds_and_pulls(_after(self.z, 1.0, self.offset))

    def answer(self, change):  # noqa: D102
        self.ds = _as_cones(self.ball, *change)
        scaled = self.scaling.apply_inverse(self.scaling.apply_inverse(self.ds))
        self.dz = _after(self.offset, -1.0, scaled)

    @property
    def multipliers(self):
        """Those of the bounds and of the functions."""
        return self._bounds_and_pulls(self.z)

    def _bounds_and_pulls(self, z):
        bound, pull = z
        if not self.ball.polyhedral:
            return bound[:, None], pull
        B = self.shape[0]
        bound, pull = bound.reshape(B, -1), pull.reshape(B, -1)
        return bound if self.ball.separable else bound.sum(axis=1, keepdims=True), pull


class Norms(SecondOrder):
    """Norms of blocks below bounds t that cost alpha each, which are eliminated."""

    @classmethod
    def centred(cls, theta, alpha, mu):
        """Bounds and multipliers so that all products are `mu`."""
        norms = inner(theta, theta)
        t = (mu + np.sqrt(mu**2 + 4.0 * alpha**2 * norms)) / (2.0 * alpha)
        return cls((t, theta), (np.full_like(t, alpha), -alpha * theta / t[:, None]))

    def hessian(self):  # noqa: D102
        return self.scaling.hessians()

    def aim(self, mu, corrected):  # noqa: D102
        offset, self.recover = self.scaling.eliminate(self._towards(mu, corrected))
        return self.z[1] + offset

    def answer(self, dtheta):  # noqa: D102
        dt, dzeta = self.recover(dtheta)
        self.ds, self.dz = (dt, dtheta), (np.zeros_like(dt), dzeta)


class WorstCaseSlopes:
    r"""Slopes of worst-case losses in the output and in the reach, and the ends of their domain.

    The loss is written through its conjugate on its domain, which serves smooth and polyhedral
    losses alike. Losses of the margin are functions of :math:`f - y \tau`, with one slope p. The
    squared loss :math:`(|f - y| + \tau)^2 / 2` has slopes :math:`|p| \le e` and the conjugate
    :math:`e^2 / 2 + p y`. With L the arguments, ends :math:`c = C \pi - d \ge 0` and multipliers
    :math:`\xi`:

    .. math:: L = \nabla \ell^*(\pi) - C^\top \xi, \qquad c \circ \xi = \mu / \omega .
    """

    def __init__(self, loss, y, weights, outputs, mu):
        """Slopes inside the domain, about those at given outputs and reaches, shape (n, 2)."""
        self.loss, self.y, self.weights = loss, y, weights
        n, (f, reach) = len(y), outputs.T
        if loss.target == "sign":
            # arguments of the loss, from output and reach; what the ends are the values of
            self.arguments = np.stack([np.ones(n), -y], axis=1)[:, None, :]
            self.normals = np.array([[1.0], [-1.0]])
            lo, hi = loss.conjugate_domain(y)
            ends = np.stack([lo, -hi], axis=1)
            width = np.minimum(hi - lo, 1.0)
            slopes = 0.9 * loss.derivative(f - y * reach, y)
            self.slopes = np.clip(slopes, lo + 1e-3 * width, hi - 1e-3 * width)[:, None]
        else:
            self.arguments = np.broadcast_to(np.eye(2), (n, 2, 2))
            self.normals = np.array([[-1.0, 1.0], [1.0, 1.0]])
            ends = np.zeros((n, 2))
            e = np.abs(f - y) + reach + 1e-3
            self.slopes = np.stack([0.9 * np.clip(f - y, -e, e), e], axis=1)
        self.L = self._seen(outputs)
        used = np.isfinite(ends)
        room = np.where(used, self.slopes @ self.normals.T - np.where(used, ends, 0.0), 1.0)
        products = np.minimum(mu / weights[:, None], _LARGEST_FIRST * room)
        self.ends = HalfSpaces(room, np.where(used, products / room, 0.0), used)
        self.degree = self.ends.degree

    def _seen(self, outputs):
        return np.einsum("kij,kj->ki", self.arguments, outputs)

    @property
    def pair(self):
        """Slopes in the output and in the reach, shape (n, 2)."""
        return self._pair(self.slopes)

    def _pair(self, slopes):
        return np.einsum("kij,ki->kj", self.arguments, slopes)

    def rescale(self):  # noqa: D102
        self.ends.rescale()
        loss, y, C = self.loss, self.y, self.normals
        if loss.target == "sign":
            p = self.slopes[:, 0]
            first = loss.conjugate_derivative(p, y)[:, None]
            second = loss.conjugate_curvature(p, y)[:, None, None]
        else:
            first = np.stack([y, self.slopes[:, 1]], axis=1)
            second = np.diag([0.0, 1.0])
        self.residual = self.L - first + self.ends.z @ C
        stiffness = second + np.einsum("kj,ja,jb->kab", self.ends.hessian(), C, C)
        self.inverse = np.linalg.inv(stiffness)

    def hessian(self):
        """Second derivatives in the output, in both, and in the reach, shape (n, 1) each."""
        J = self.arguments
        H = np.swapaxes(J, 1, 2) @ self.inverse @ J
        return H[:, :1, 0], H[:, :1, 1], H[:, 1:, 1]

    def aim(self, mu, corrected):  # noqa: D102
        push = self.ends.aim(mu / self.weights[:, None], corrected) - self.ends.z
        right = self.residual + push @ self.normals
        self.offset = np.einsum("kij,kj->ki", self.inverse, right)
        return self._pair(self.slopes + self.offset)

    def answer(self, change):  # noqa: D102
        self.dL = self._seen(change)
        self.dslopes = self.offset + np.einsum("kij,kj->ki", self.inverse, self.dL)
        self.ends.answer(self.dslopes @ self.normals.T)

    def to_boundary(self):  # noqa: D102
        return self.ends.to_boundary()

    def complementarity(self):  # noqa: D102
        return float(np.sum(self.weights[:, None] * self.ends.products))

    def moved(self, step):  # noqa: D102
        new = copy(self)
        new.L, new.slopes = self.L + step * self.dL, self.slopes + step * self.dslopes
        new.ends = self.ends.moved(step)
        return new


def _as_cones(ball, T, u):
    if not ball.polyhedral:
        return T[:, 0], u
    return np.broadcast_to(T, u.shape).ravel(), u.reshape(-1, 1)


def _after(x, step, dx):
    return tuple(a + step * b for a, b in zip(x, dx, strict=True))


def _ratio(values, steps):
    """Largest step that keeps positive values positive."""
    shrinking = steps < 0
    return np.min(-values[shrinking] / steps[shrinking], initial=np.inf)
