r"""Nesterov-Todd scaling for many second-order cones at once.

A cone is :math:`\{(t, \theta) : t \ge \|\theta\|_2\}`; `B` of them are stored as arrays `t` (B,)
and `theta` (B, d). The Jordan product is :math:`(a_0, a) \circ (b_0, b) = (a_0 b_0 + a^\top b,
a_0 b + b_0 a)`. Formulas: L. Vandenberghe, "The CVXOPT linear and quadratic cone program solvers"
(2010), sections 4 and 5; written here from the definitions.
"""

import numpy as np


def inner(a, b):
    """Row-wise inner products."""
    return np.einsum("bd,bd->b", a, b)


def product(a, b):
    """Jordan product."""
    return a[0] * b[0] + inner(a[1], b[1]), a[0][:, None] * b[1] + b[0][:, None] * a[1]


def quotient(a, b):
    """The x with ``a o x = b``, for a in the interior of the cone."""
    x0 = (a[0] * b[0] - inner(a[1], b[1])) / _determinant(a)
    return x0, (b[1] - x0[:, None] * a[1]) / a[0][:, None]


def step_to_boundary(x, dx):
    """Largest step for which ``x + step * dx`` stays in the cone (may be inf)."""
    a = dx[0] ** 2 - inner(dx[1], dx[1])
    b = x[0] * dx[0] - inner(x[1], dx[1])
    c = _determinant(x)
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    # roots of a s^2 + 2 b s + c, in the form without cancellation
    q = -(b + np.copysign(root, b))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # t stays positive: where x and dx are parallel, rounding may hide that roots are real
        roots = np.stack([q / a, c / q, -x[0] / dx[0]])
    real = np.stack([b * b - a * c >= 0] * 2 + [dx[0] < 0]) & np.isfinite(roots) & (roots > 0)
    return np.min(roots, where=real, initial=np.inf)


class Scaling:
    r"""The scaling W with ``W z = W^{-1} x`` for x = (t, theta), z = (tau, zeta).

    Attributes
    ----------
    point : tuple of ndarray
        The scaled point ``W z = W^{-1} x``.
    """

    def __init__(self, x, z):
        root_x, root_z = np.sqrt(_determinant(x)), np.sqrt(_determinant(z))
        x0, x1 = x[0] / root_x, x[1] / root_x[:, None]
        z0, z1 = z[0] / root_z, z[1] / root_z[:, None]
        gamma = np.sqrt((1.0 + x0 * z0 + inner(x1, z1)) / 2.0)
        self.w0 = (x0 + z0) / (2.0 * gamma)
        self.w1 = (x1 - z1) / (2.0 * gamma)[:, None]
        self.eta = np.sqrt(root_x / root_z)
        self.point = self.apply(z)

    def apply(self, x):
        """W x."""
        return self._multiply(x, 1.0, self.eta)

    def apply_inverse(self, x):
        """W^{-1} x."""
        return self._multiply(x, -1.0, 1.0 / self.eta)

    def _multiply(self, x, sign, factor):
        along = inner(self.w1, x[1])
        x0 = self.w0 * x[0] + sign * along
        x1 = x[1] + self.w1 * (sign * x[0] + along / (1.0 + self.w0))[:, None]
        return factor * x0, factor[:, None] * x1

    def eliminate(self, rhs):
        r"""Eliminate t from the scaled complementarity when ``tau`` is fixed.

        ``W dz + W^{-1} dx = rhs`` with ``dz = (0, dzeta)``, ``dx = (dt, dtheta)`` becomes
        ``dzeta = offset - H dtheta``.

        Returns
        -------
        offset : ndarray of shape (B, d)
        recover : callable
            Maps dtheta to ``(dt, dzeta)``.
        """
        h0, h1 = self.apply_inverse(rhs)
        scale = self.eta**-2
        corner = scale * (2.0 * self.w0**2 - 1.0)
        edge = (-2.0 * scale * self.w0)[:, None] * self.w1
        offset = h1 - edge * (h0 / corner)[:, None]

        def recover(dtheta):
            dt = (h0 - inner(edge, dtheta)) / corner
            along = self.w1 * (2.0 * inner(self.w1, dtheta))[:, None]
            return dt, h1 - edge * dt[:, None] - scale[:, None] * (dtheta + along)

        return offset, recover

    def hessians(self):
        """The matrices H of `eliminate`, shape (B, d, d), positive definite."""
        d = self.w1.shape[1]
        size = np.sqrt(inner(self.w1, self.w1))
        direction = self.w1 / np.maximum(size, np.finfo(float).tiny)[:, None]
        scale = self.eta**-2
        # I - 2 w1 w1' / (2 w0^2 - 1), with its small eigenvalue formed without cancellation
        shrink = scale * (1.0 - 1.0 / (2.0 * self.w0**2 - 1.0))
        outer = direction[:, :, None] * direction[:, None, :]
        return scale[:, None, None] * np.eye(d) - shrink[:, None, None] * outer


def _determinant(x):
    norm = np.sqrt(inner(x[1], x[1]))
    return (x[0] - norm) * (x[0] + norm)
