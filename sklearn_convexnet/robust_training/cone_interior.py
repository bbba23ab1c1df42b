r"""Primal-dual interior point for convex adversarial training.

Reaches are bounded by variables, :math:`T_i \ge \|r \circ v_i\|_*` for the blocks and
:math:`T_g \ge \|r \circ G_g\|_*` for the effective weights, of which rows with equal patterns share
one. With :math:`\theta` for the blocks v and w, the program is

.. math::

    \min_{\theta, T, c}\; \sum_k \omega_k \ell(f_k, \tau_k, y_k) + \alpha \sum_b \|\theta_b\|,
    \qquad f_k = x_k^\top G_{g(k)} + c, \quad \tau_k = R_k T_{g(k)}, \quad
    s_{kb} = \pm x_k^\top \theta_b - R_k T_b \ge 0 ,

and the bounds are second-order cones: one for a reach of norm 2, one of two dimensions for every
feature of the norms inf and 1. Mehrotra's predictor-corrector solves it with Nesterov-Todd scaling.
The points stay strictly feasible; that scaling looks at the multipliers as well as at the slacks is
what lets it leave the boundary of a cone at once, along which Newton's method on a barrier creeps.
"""

import numpy as np

from ..core.norms import Linf
from .cone_newton import Eliminated, NewtonSystem, grams
from .cone_pairs import HalfSpaces, Norms, Reaches, WorstCaseSlopes
from .robust_bounds import RobustDual

# share of the way to the boundary, a step that is short, and one that rounding spoils
_SHARE, _SHORT_STEP, _NO_STEP = 0.99, 0.1, 1e-6
# size of the first blocks: what their norms cost, in units of the loss without neurons
_FIRST_COST = 0.1
# products of a step without correction, in units of what they are
_CAUTION = 0.5


class ConeInterior:
    """Iterates of the method on a program in normalised units.

    Parameters
    ----------
    program : RobustProgram

    Attributes
    ----------
    blocks : ndarray of shape (2, d, n_patterns)
        v and w, strictly feasible.
    bias : float
    n_iter : int
        Newton steps done.
    """

    def __init__(self, program):
        clean = self.clean = program.clean
        self.program = program
        # with nothing to perturb there are no reaches to bound
        self.ball = program.perturbation.ball if program.radii.any() else Linf()
        first, self.group = _equal_rows(clean.patterns)
        self.gates = clean.patterns[first].astype(np.float64)
        self.member = self.group[:, None] == np.arange(len(first))
        self.member = self.member * clean.weights[:, None]
        self.moved = np.flatnonzero(program.radii.any(axis=0))
        if self.ball.separable:
            self.scale, self.radii = np.ones(len(self.moved)), program.radii[:, self.moved]
        else:
            self.scale, self.radii = program.radii[0, self.moved], np.ones((len(clean.rows), 1))
        self.signs = np.concatenate([np.where(clean.patterns, 1.0, -1.0)] * 2, axis=1)
        projections = program.projections
        self.projections = None if projections is None else np.concatenate([projections] * 2)
        self.n_iter = 0
        self._start()

    def _start(self):
        """A point in the interior of all cones, multipliers so that all products are equal."""
        clean = self.clean
        loss, weights, B = clean.loss, clean.weights, 2 * clean.n_patterns
        cost = max(float(weights @ loss.value(np.zeros_like(clean.y), clean.y)), 1e-12)
        gates = np.concatenate([clean.gates.T] * 2)
        gates = gates / np.linalg.norm(gates, axis=1, keepdims=True)
        theta = _FIRST_COST * cost / (clean.alpha * B) * gates
        bounding = np.concatenate([self.program.bounding] * 2, axis=1)
        T = self._interior_bounds(theta, bounding)
        G = self._effective(theta)
        reach = np.abs(G[:, self.moved]) * self.scale
        reach = reach if self.ball.separable else self.ball.falls(reach)[:, None]
        self.x = theta, T, 0.0, reach + 0.1 * (1.0 + reach)
        slacks, reaches, group_reaches, outputs = self._image(self.x)
        mu = cost / B
        self.cones = (
            HalfSpaces.centred(np.where(bounding, slacks, 1.0), mu, bounding),
            Reaches.centred(self.ball, *reaches, mu),
            Reaches.centred(self.ball, *group_reaches, mu),
            Norms.centred(theta, clean.alpha, mu),
            WorstCaseSlopes(loss, clean.y, weights, outputs, mu),
        )
        self.degree = sum(cone.degree for cone in self.cones)

    def _interior_bounds(self, theta, bounding):
        """Bounds T between the reach of interior blocks and their smallest value on the rows."""
        values = self.signs * (self.clean.rows @ theta.T)
        u = np.abs(theta[:, self.moved]) * self.scale
        if not self.ball.separable:
            lowest = np.where(bounding, values, np.inf).min(axis=0)
            return (0.5 * (self.ball.falls(u) + lowest))[:, None]
        # the same excess for every feature: half of what the tightest row leaves
        room = values - self.radii @ u.T
        room /= np.maximum(self.radii.sum(axis=1), 1e-300)[:, None]
        room = np.where(bounding, room, np.inf)
        return u + 0.5 * np.minimum(room.min(axis=0), 1.0)[:, None]

    @property
    def blocks(self):  # noqa: D102
        return np.stack(np.split(self.x[0].T, 2, axis=1))

    @property
    def bias(self):  # noqa: D102
        return self.x[2]

    def _effective(self, theta):
        v, w = np.split(theta, 2)
        return self.gates @ self.program.on_faces((v - w).T).T

    def _image(self, x):
        """What the cones see of variables: a linear function."""
        theta, T, bias, Tg = x
        G = self._effective(theta)
        outputs = np.einsum("kj,kj->k", self.clean.rows, G[self.group]) + bias
        reach = np.einsum("kj,kj->k", self.radii, Tg[self.group])
        return (
            self.signs * (self.clean.rows @ theta.T) - self.radii @ T.T,
            (T, theta[:, self.moved] * self.scale),
            (Tg, G[:, self.moved] * self.scale),
            np.stack([outputs, reach], axis=1),
        )

    def _gradient(self, a, reaches, group_reaches, zeta, slopes):
        """Gradient of the Lagrangian in all variables, at given multipliers."""
        rows, moved, scale = self.clean.rows, self.moved, self.scale
        p, e = slopes.T[:, :, None]
        slope_G = self.member.T @ (p * rows)
        slope_G[:, moved] -= scale * group_reaches[1]
        slope_Tg = self.member.T @ (e * self.radii) - group_reaches[0]
        slope_bias = float(self.clean.weights @ p[:, 0]) if self.clean.fit_intercept else 0.0
        pushed = self.gates.T @ slope_G
        slope = np.concatenate([pushed, -pushed]) - (self.signs * a).T @ rows - zeta
        slope[:, moved] -= scale * reaches[1]
        if self.projections is not None:
            slope = np.einsum("bij,bj->bi", self.projections, slope)
        return slope, a.T @ self.radii - reaches[0], slope_bias, slope_Tg

    def _system(self):
        """The Newton system at the present scaling."""
        clean, moved, scale = self.clean, self.moved, self.scale
        rows, R = clean.rows, self.radii
        halves, reaches, group_reaches, norms, slopes = (cone.hessian() for cone in self.cones)
        own, cross, corner = reaches
        whole = grams(rows, halves, rows) + norms
        whole[:, moved[:, None], moved] += scale[:, None] * scale * own
        mixed = -grams(rows, self.signs * halves, R)
        mixed[:, moved] += scale[:, None] * cross
        if self.projections is not None:
            # nothing pulls blocks out of the subspaces of their cones
            inside = self.projections
            across = np.einsum("bii->b", whole)[:, None, None] * (np.eye(rows.shape[1]) - inside)
            whole, mixed = inside @ whole @ inside + across, inside @ mixed
        blocks = Eliminated(whole, mixed, grams(R, halves, R) + corner)
        # the effective weights have the bias as one more coordinate
        own, cross, corner = group_reaches
        wide = np.concatenate([rows, np.full((len(rows), 1), float(clean.fit_intercept))], axis=1)
        pp, pe, ee = self.member * slopes[0], self.member * slopes[1], self.member * slopes[2]
        whole = grams(wide, pp, wide)
        whole[:, moved[:, None], moved] += scale[:, None] * scale * own
        mixed = grams(wide, pe, R)
        mixed[:, moved] += scale[:, None] * cross
        effective = Eliminated(whole, mixed, grams(R, ee, R) + corner)
        return NewtonSystem(blocks, effective, self.gates, self.program, clean.fit_intercept)

    def step(self):
        """One predictor-corrector step; false when rounding forbids it."""
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                for cone in self.cones:
                    cone.rescale()
                system = self._system()
                total = sum(cone.complementarity() for cone in self.cones)
                mu = total / self.degree
                self._direct(system, 0.0, corrected=False)
                length = min(1.0, self._to_boundary())
                left = sum(cone.moved(length).complementarity() for cone in self.cones)
                centring = min(1.0, max(left / total, 0.0)) ** 3 * mu
                direction = self._direct(system, centring, corrected=True)
                length = min(1.0, _SHARE * self._to_boundary())
                if length < _SHORT_STEP:
                    # near the boundary the second-order term may mislead: back to the centre
                    direction = self._direct(system, _CAUTION * mu, corrected=False)
                    length = min(1.0, _SHARE * self._to_boundary())
        except (FloatingPointError, np.linalg.LinAlgError):
            return False
        if not length > _NO_STEP:
            return False
        self.x = tuple(a + length * b for a, b in zip(self.x, direction, strict=True))
        self.cones = tuple(cone.moved(length) for cone in self.cones)
        self.n_iter += 1
        return True

    def _direct(self, system, mu, *, corrected):
        """Direction of the variables towards products of size `mu`; the cones keep theirs."""
        aims = [cone.aim(mu, corrected) for cone in self.cones]
        direction = system.solve(self._gradient(*aims))
        image = self._image(direction)
        for cone, change in zip(self.cones, (*image[:3], direction[0], image[3]), strict=True):
            cone.answer(change)
        return direction

    def _to_boundary(self):
        return min(cone.to_boundary() for cone in self.cones)

    def dual_point(self):
        """A point of the dual, for `certify_robust`."""
        halves, reaches, group_reaches, _, slopes = self.cones
        n, d = self.clean.rows.shape
        attacks, moves = np.zeros((n, d)), np.zeros((len(self.x[0]), d))
        bound, pull = group_reaches.multipliers
        attacks[:, self.moved] = (pull / bound)[self.group]
        bound, pull = reaches.multipliers
        moves[:, self.moved] = pull / bound
        return RobustDual(slopes.pair, attacks, halves.z, moves)


def _equal_rows(patterns):
    """First row of every distinct row of the patterns, and which of them each row is."""
    _, first, group = np.unique(
        np.packbits(patterns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return first, group.ravel()
