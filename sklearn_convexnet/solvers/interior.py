r"""primal-dual interior-point method for gated linear blocks.

The problem, with blocks :math:`\theta_b \in R^d`, gates :math:`m_{kb}` and signs
:math:`s_{kb} = \pm 1`, is

.. math::

    \min_{\theta, c} \sum_k \omega_k \ell(f_k, y_k) + \alpha \sum_b \|\theta_b\|_2, \qquad
    f_k = \sum_b m_{kb} x_k^\top \theta_b + c, \qquad s_{kb} x_k^\top \theta_b \ge 0 .

The convex program of the network has :math:`m = \pm d_{ik}`, the sampled convex program with a
fixed first layer has x = 1, :math:`m_{kb} = (x_k^\top u_b)_+` and no cones.

Optimality in :math:`(\theta, t, s; a, \zeta, p)`, where p are the slopes of the loss:

.. math::

    X^\top M_b \Omega p - X^\top S_b a_b - \zeta_b = 0, \quad S_b X \theta_b = s_b, \quad
    f = \nabla \ell^*(p) - \xi + \eta, \quad \sum_k \omega_k p_k = 0 \text{ (intercept)}, \\
    a \circ s = 0, \quad (t, \theta) \circ (\alpha, \zeta) = 0, \quad
    \xi (p - lo) = \eta (hi - p) = 0 .

Mehrotra's predictor-corrector solves it with Nesterov-Todd scaling. Writing the loss through its
conjugate on its domain [lo, hi] serves smooth and polyhedral losses alike. Every linear
system is a block-diagonal of d x d matrices :math:`Q_b = H_b + X^\top \mathrm{diag}(a/s) X` coupled
through the n predictions only, so it costs one n x n factorisation instead of one of size B d.
"""

from dataclasses import dataclass

import numpy as np

from ..core.losses import Loss, balance
from ..core.parallel import ALONE
from ..core.rows import CHUNK
from .coupling import Coupling
from .second_order_cone import Scaling, inner, product, quotient, step_to_boundary

# a step below this is short; so many of them are tried again towards the centre, so many end a run
_SHORT_STEP, _MOST_RECENTRED, _MOST_SHORT = 0.1, 20, 200
# multipliers of the ends of the domain, which are predictions of size one in normalised units:
# a larger one misleads at the start, one of this size at any time
_FIRST_MULTIPLIER, _LARGEST_MULTIPLIER = 10.0, 1e5


@dataclass
class Direction:
    """A step in all variables of the interior-point method."""

    theta: np.ndarray
    bias: float
    t: np.ndarray
    zeta: np.ndarray
    s: np.ndarray
    a: np.ndarray
    slopes: np.ndarray
    xi: np.ndarray
    eta: np.ndarray


class NewtonSystem:
    """The factorised Newton system at an iterate."""

    def __init__(self, state, residuals):
        p = self.problem = state.problem
        self.state, self.residuals = state, residuals
        alpha = np.full_like(state.t, p.alpha)
        self.scaling = Scaling((state.t, state.theta), (alpha, state.zeta))
        self.ratio = state.multipliers / state.s
        Q = self.scaling.hessians() + _weighted_grams(p.cone_rows, self.ratio)
        d = Q.shape[1]
        # of the size of the rounding of a factorisation, which sees no scaling of the coordinates
        np.einsum("bii->bi", Q)[...] *= 1.0 + 1e-15 * d
        roots = np.linalg.inv(np.linalg.cholesky(Q))
        self.below, self.above = state.to_ends()
        self.xi_ratio, self.eta_ratio = state.xi / self.below, state.eta / self.above
        self.stiffness = (
            p.loss.conjugate_curvature(state.slopes, p.y) + self.xi_ratio + self.eta_ratio
        )
        self.coupling = Coupling(
            p.rows, p.masks, p.groups, roots, self.stiffness / p.weights, state.workers
        )
        if p.intercept:
            self.ones = self.coupling.solve(np.ones(len(p.y)))

    def _core(self, rhs_theta, rhs_loss, rhs_balance):
        """Solve for (dtheta, dbias, weights * dslopes)."""
        p = self.problem
        base = self.coupling.apply_inverse(rhs_theta)
        q = self.coupling.solve(p.predict(base) + rhs_loss)
        dbias = 0.0
        if p.intercept:
            dbias = (rhs_balance - q.sum()) / self.ones.sum()
            q = q + dbias * self.ones
        return base - self.coupling.apply_inverse(p.pull_back(q)), dbias, q

    def solve(self, rhs_cones, rhs_scaled, rhs_lo, rhs_hi, *, refine):
        """Direction for given right-hand sides of the complementarity equations."""
        p, state, r = self.problem, self.state, self.residuals
        offset, recover = self.scaling.eliminate(rhs_scaled)
        lo_term, hi_term = rhs_lo / self.below, rhs_hi / self.above
        rhs_theta = (
            r.dual + p.pull_back_slack((rhs_cones - state.multipliers * r.slack) / state.s) + offset
        )
        rhs_loss = r.loss + lo_term - hi_term
        theta, bias, q = self._core(rhs_theta, rhs_loss, r.balance)
        s = p.slack(theta) + r.slack
        # a refinement with residuals formed from the final quantities: the factors are
        # ill-conditioned once rows are tight, the equations need not be
        for last in (False, True) if refine else (True,):
            a = (rhs_cones - state.multipliers * s) / state.s
            t, zeta = recover(theta)
            if last:
                break
            error_theta = r.dual - (p.pull_back(q) - p.pull_back_slack(a) - zeta)
            error_loss = rhs_loss - (self.stiffness * q / p.weights - p.predict(theta) - bias)
            more, more_bias, more_q = self._core(error_theta, error_loss, r.balance - q.sum())
            theta, q, s = theta + more, q + more_q, s + p.slack(more)
            bias += more_bias
        slopes = q / p.weights
        xi = lo_term - self.xi_ratio * slopes
        eta = hi_term + self.eta_ratio * slopes
        return Direction(theta, bias, t, zeta, s, a, slopes, xi, eta)


def _weighted_grams(rows, weights):
    """The matrices ``rows' diag(weights[:, b]) rows``, shape (B, d, d)."""
    n, d = rows.shape
    B = weights.shape[1]
    upper = np.triu_indices(d)
    packed = np.zeros((B, len(upper[0])))
    size = max(1, CHUNK // len(upper[0]))
    for start in range(0, n, size):
        part = rows[start : start + size]
        packed += weights[start : start + size].T @ (part[:, upper[0]] * part[:, upper[1]])
    grams = np.empty((B, d, d))
    grams[:, upper[0], upper[1]] = packed
    grams[:, upper[1], upper[0]] = packed
    return grams


@dataclass(frozen=True)
class GatedBlocks:
    """The data of the problem; block b has the gates ``signs[b] * masks[:, groups[b]]``.

    Attributes
    ----------
    rows : ndarray of shape (n, d)
    masks : ndarray of shape (n, m)
    groups : ndarray of int of shape (B,)
        Mask of every block; a mask serves one or two blocks.
    signs : ndarray of shape (B,)
        -1 or +1.
    cone_rows : ndarray of shape (n_c, d)
        Rows of the cone constraints; ``n_c = 0`` for a problem without cones.
    cone_signs : ndarray of shape (n_c, B)
    y, weights : ndarray of shape (n,)
    loss : Loss
    alpha : float
    intercept : bool
    """

    rows: np.ndarray
    masks: np.ndarray
    groups: np.ndarray
    signs: np.ndarray
    cone_rows: np.ndarray
    cone_signs: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    loss: Loss
    alpha: float
    intercept: bool

    def predict(self, theta):
        """Sum of the gated blocks, shape (n,)."""
        combined = np.zeros((self.masks.shape[1], theta.shape[1]))
        np.add.at(combined, self.groups, self.signs[:, None] * theta)
        return np.einsum("km,km->k", self.masks, self.rows @ combined.T)

    def pull_back(self, r):
        """Adjoint of `predict`, shape (B, d)."""
        combined = (self.masks * r[:, None]).T @ self.rows
        return self.signs[:, None] * combined[self.groups]

    def slack(self, theta):
        """Left-hand sides of the cone constraints, shape (n_c, B)."""
        return self.cone_signs * (self.cone_rows @ theta.T)

    def pull_back_slack(self, a):
        """Adjoint of `slack`, shape (B, d)."""
        return (self.cone_signs * a).T @ self.cone_rows


class InteriorPoint:
    """Iterates of the method; `run` may be called again with a smaller tolerance.

    Parameters
    ----------
    problem : GatedBlocks
    theta, bias : ndarray of shape (B, d) and float, default=None and 0
        Network to start near, zero by default. Iterations are saved where its objective is small
        beside that of zero.
    workers : Workers, default=ALONE
        For parts of a Newton system, at the same time.

    Attributes
    ----------
    theta : ndarray of shape (B, d)
    bias : float
    slopes : ndarray of shape (n,)
        The dual variables p.
    multipliers : ndarray of shape (n_c, B)
        The dual variables a of the cones.
    n_iter : int
    """

    def __init__(self, problem, theta=None, bias=0.0, *, workers=ALONE):
        self.problem, self.workers = problem, workers
        self.n_iter = self.n_short = 0
        self.lo, self.hi = problem.loss.conjugate_domain(problem.y)
        self.has_lo, self.has_hi = np.isfinite(self.lo), np.isfinite(self.hi)
        if theta is None:
            theta = np.zeros((len(problem.groups), problem.rows.shape[1]))
        mu = self._start(theta, bias)
        below, above = self.to_ends()
        xi, eta = np.minimum(mu / problem.weights / (below, above), _FIRST_MULTIPLIER)
        self.xi, self.eta = np.where(self.has_lo, xi, 0.0), np.where(self.has_hi, eta, 0.0)

    def _start(self, theta, bias):
        """Set a dual feasible point near a network; return its complementarity."""
        problem = self.problem
        loss, weights, alpha = problem.loss, problem.weights, problem.alpha
        B = len(problem.groups)
        self.theta, self.bias = theta, float(bias)
        outputs = problem.predict(theta) + self.bias
        # slopes at the network, moved into the domain and then, as zero is in the domain
        # too, shrunk until they are strictly dual feasible
        slopes = loss.derivative(outputs, problem.y)
        if problem.intercept:
            slopes = balance(slopes, weights)
        width = np.minimum(self.hi - self.lo, 1.0)
        slopes = np.clip(0.9 * slopes, self.lo + 1e-3 * width, self.hi - 1e-3 * width)
        largest = _largest_norm(problem.pull_back(weights * slopes))
        self.slopes = slopes * (0.5 * alpha / max(largest, 0.5 * alpha))
        norms = np.sqrt(inner(theta, theta))
        objective = float(weights @ loss.value(outputs, problem.y) + alpha * norms.sum())
        room = objective / (alpha * B)
        self.t = norms + room
        mu = 0.5 * objective / B
        row_size = np.sqrt(np.mean(inner(problem.rows, problem.rows)))
        self.s = np.maximum(problem.slack(theta), 0.01 * room * row_size)
        a = mu / self.s
        largest = _largest_norm(problem.pull_back_slack(a))
        self.multipliers = a * (0.2 * alpha / max(largest, 0.2 * alpha))
        self.zeta = problem.pull_back(weights * self.slopes)
        self.zeta -= problem.pull_back_slack(self.multipliers)
        return mu

    def to_ends(self, slopes=None):
        """Distances of the slopes to the ends of the domain, 1 where there is no end."""
        slopes = self.slopes if slopes is None else slopes
        below = np.where(self.has_lo, slopes - self.lo, 1.0)
        return below, np.where(self.has_hi, self.hi - slopes, 1.0)

    def run(self, tol, max_iter):
        """Iterate until the relative duality gap is at most `tol`.

        Parameters
        ----------
        tol : float
        max_iter : int
            Bound on the number of further iterations.

        Returns
        -------
        bool
            Whether `tol` was reached; false when the iterations ran out or rounding stopped
            progress.
        """
        best = np.inf
        for _ in range(max_iter):
            with np.errstate(over="ignore", invalid="ignore"):
                residuals = self._residuals()
            gap = residuals.relative_gap
            if gap <= tol:
                return True
            # rounding has the last word: a gap that grows tenfold will not shrink again
            if not np.isfinite(gap) or gap > 1e4 * best:
                return False
            best = min(best, gap)
            if not self._step(residuals):
                return False
            self.n_iter += 1
        return False

    def _residuals(self):
        p = self.problem
        weights, slopes = p.weights, self.slopes
        r = _Residuals()
        r.outputs = p.predict(self.theta) + self.bias
        r.pulled = p.pull_back(weights * slopes) - p.pull_back_slack(self.multipliers)
        r.dual = -(r.pulled - self.zeta)
        r.slack = p.slack(self.theta) - self.s
        # rows are of size one: what is left is rounding, and would be amplified by a / s
        if np.abs(r.slack).max(initial=0.0) < 1e-13 * max(1.0, np.abs(self.theta).max()):
            r.slack[:] = 0.0
        r.loss = r.outputs - p.loss.conjugate_derivative(slopes, p.y) + self.xi - self.eta
        r.balance = -float(weights @ slopes) if p.intercept else 0.0
        r.complementarity = (
            float(np.sum(self.s * self.multipliers))
            + float(np.sum(self.t) * p.alpha + np.sum(self.theta * self.zeta))
            + self._domain_products(slopes, self.xi, self.eta)
        )
        upper = self._objective(r.outputs)
        shrink = max(1.0, _largest_norm(r.pulled) / p.alpha)
        lower = -float(weights @ p.loss.conjugate(slopes / shrink, p.y))
        # what the residuals may still hide from both bounds
        hidden = abs(float(np.sum(self.multipliers * r.slack))) + abs(self.bias * r.balance)
        hidden += min(upper, self._cost_of_violation(r))
        r.relative_gap = (max(upper - lower, 0.0) + hidden) / max(upper, np.finfo(float).tiny)
        return r

    @property
    def objective(self):
        """Objective of the blocks, which may be outside their cones still."""
        return self._objective(self.problem.predict(self.theta) + self.bias)

    def _objective(self, outputs):
        p, norms = self.problem, np.sqrt(inner(self.theta, self.theta))
        return float(p.weights @ p.loss.value(outputs, p.y) + p.alpha * norms.sum())

    def _cost_of_violation(self, r):
        """What a move of the blocks into their cones may add to the loss."""
        p = self.problem
        move = np.maximum(-(self.s + r.slack), 0.0).sum(axis=1).max(initial=0.0)
        moved = [p.loss.value(r.outputs + step, p.y) for step in (-move, 0.0, move)]
        return float(p.weights @ (np.maximum(moved[0], moved[2]) - moved[1]))

    def _domain_products(self, slopes, xi, eta):
        weights = self.problem.weights
        below, above = self.to_ends(slopes)
        return float(weights @ (below * xi + above * eta))

    def _step(self, r):
        """One predictor-corrector step; false when rounding forbids it."""
        p = self.problem
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                system = NewtonSystem(self, r)
                x, z = (self.t, self.theta), (np.full_like(self.t, p.alpha), self.zeta)
                point = system.scaling.point
                squared = product(point, point)
                below, above = self.to_ends()
                affine = system.solve(
                    -self.s * self.multipliers,
                    quotient(point, (-squared[0], -squared[1])),
                    -below * self.xi,
                    -above * self.eta,
                    refine=False,
                )
                step = min(1.0, self._step_to_boundary(affine, x, z))
                mu = r.complementarity / self._degree
                trial = self._complementarity_after(affine, step)
                centring = min(1.0, max(trial, 0.0) / r.complementarity) ** 3 * mu
                cross = product(
                    system.scaling.apply_inverse((affine.t, affine.theta)),
                    system.scaling.apply((np.zeros_like(self.t), affine.zeta)),
                )
                # rows of hardly any weight would only hold up the others
                spread_lo = np.minimum(centring / p.weights, _LARGEST_MULTIPLIER * below)
                spread_hi = np.minimum(centring / p.weights, _LARGEST_MULTIPLIER * above)
                direction = system.solve(
                    centring - self.s * self.multipliers - affine.s * affine.a,
                    quotient(point, (centring - squared[0] - cross[0], -squared[1] - cross[1])),
                    np.where(
                        self.has_lo, spread_lo - below * self.xi - affine.slopes * affine.xi, 0.0
                    ),
                    np.where(
                        self.has_hi, spread_hi - above * self.eta + affine.slopes * affine.eta, 0.0
                    ),
                    refine=True,
                )
                step = min(1.0, 0.99 * self._step_to_boundary(direction, x, z))
                self.n_short += step < _SHORT_STEP
                if step < _SHORT_STEP and self.n_short <= _MOST_RECENTRED:
                    # near the boundary the second-order term may mislead: back to the centre
                    central = system.solve(
                        mu - self.s * self.multipliers,
                        quotient(point, (mu - squared[0], -squared[1])),
                        np.where(self.has_lo, mu / p.weights - below * self.xi, 0.0),
                        np.where(self.has_hi, mu / p.weights - above * self.eta, 0.0),
                        refine=True,
                    )
                    length = min(1.0, 0.99 * self._step_to_boundary(central, x, z))
                    if length > step:
                        direction, step = central, length
        except (FloatingPointError, np.linalg.LinAlgError):
            return False
        if not step > 1e-8 or self.n_short > _MOST_SHORT:
            return False
        self.theta = self.theta + step * direction.theta
        self.bias += step * direction.bias
        self.t = self.t + step * direction.t
        self.zeta = self.zeta + step * direction.zeta
        self.s = self.s + step * direction.s
        self.multipliers = self.multipliers + step * direction.a
        self.slopes = self.slopes + step * direction.slopes
        self.xi = self.xi + step * direction.xi
        self.eta = self.eta + step * direction.eta
        return True

    @property
    def _degree(self):
        """Degree of the barrier: complementarity is `degree` times mu on the central path."""
        return self.s.size + len(self.t) + self.has_lo.sum() + self.has_hi.sum()

    def _step_to_boundary(self, direction, x, z):
        return min(
            _ratio(self.s, direction.s),
            _ratio(self.multipliers, direction.a),
            step_to_boundary(x, (direction.t, direction.theta)),
            step_to_boundary(z, (np.zeros_like(self.t), direction.zeta)),
            _ratio((self.slopes - self.lo)[self.has_lo], direction.slopes[self.has_lo]),
            _ratio((self.hi - self.slopes)[self.has_hi], -direction.slopes[self.has_hi]),
            _ratio(self.xi[self.has_lo], direction.xi[self.has_lo]),
            _ratio(self.eta[self.has_hi], direction.eta[self.has_hi]),
        )

    def _complementarity_after(self, direction, step):
        cones = np.sum((self.s + step * direction.s) * (self.multipliers + step * direction.a))
        theta = self.theta + step * direction.theta
        norms = self.problem.alpha * np.sum(self.t + step * direction.t)
        norms += np.sum(theta * (self.zeta + step * direction.zeta))
        return float(cones + norms) + self._domain_products(
            self.slopes + step * direction.slopes,
            self.xi + step * direction.xi,
            self.eta + step * direction.eta,
        )


class _Residuals:
    """Residuals of the optimality conditions at an iterate."""


def _largest_norm(blocks):
    return float(np.sqrt(inner(blocks, blocks).max(initial=0.0)))


def _ratio(values, steps):
    """Largest step that keeps positive values positive."""
    shrinking = steps < 0
    return np.min(-values[shrinking] / steps[shrinking], initial=np.inf)
