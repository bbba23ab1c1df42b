"""The Newton system of the interior-point method, block by block and through the coupling."""

from dataclasses import dataclass

import numpy as np

from .coupling import CHUNK, Coupling
from .second_order_cone import Scaling


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
