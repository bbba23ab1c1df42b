r"""ADMM for convex adversarial training.

To the copies of `ADMM` come the reaches :math:`T_i`: the robust cone of pattern i is split into

.. math::

    s_{ik} \ge \tau_{ik}, \qquad s = (2D - 1) \circ (X v), \quad \tau = R\, T, \qquad
    T_i \ge \|r \circ \hat v_i\|_*, \quad \hat v = v,

with R a column of ones. Where a box gives every row radii of its own (norm inf),
:math:`T_i \ge |\hat v_i|` has an entry per feature and R holds the radii. The projection on the
first set is an average, that on the second has one root per pattern at most, and T is one more
linear step, diagonal in the eigenvectors of :math:`R^\top \Omega R`; blocks keep the Kronecker
form of `KroneckerSystem`. The loss is split on the effective weight of every sample, whose proximal
step is a shrinkage with one root per sample.
"""

from dataclasses import replace

import numpy as np

from ..program.problem import Design
from ..program.shard import RELAXATION
from ..solvers.linear_step import KroneckerSystem, penalty_factor
from .shrinkage import Shrunk, WorstCaseProx


class RobustStep:
    """Linear step as `KroneckerStep`, and the proximal step of the worst-case loss.

    A perturbation moves the effective weight of a row in any direction: its copy and its multiplier
    have d numbers.
    """

    def __init__(self, program, radii, dual):
        self.program = program
        rows = program.rows
        self.gates = program.patterns.astype(np.float64)
        self.weighted_gates = program.weights[:, None] * self.gates
        spectra = (
            np.linalg.eigh(factor.T @ (program.weights[:, None] * factor))
            for factor in (rows, self.gates)
        )
        self.system = KroneckerSystem(*spectra)
        self.prox = WorstCaseProx(program.loss, program.y, rows, radii, dual, program.fit_intercept)
        self.copy, self.dual = np.zeros_like(rows), np.zeros_like(rows)
        self.bias_copy, self.bias_dual = np.zeros((2, len(rows)))
        self.bias, self.rho = 0.0, 1.0

    def solve(self, target_v, target_w, pulled_v, pulled_w, rho_blocks, rho_cones):
        """Update and return the blocks (v, w).

        Parameters
        ----------
        target_v, target_w : ndarray of shape (d, n_patterns)
            What the copies of the blocks ask for.
        pulled_v, pulled_w : ndarray of shape (d, n_patterns)
            ``X' Omega (S * slack targets)``, what the cone copies ask for.
        rho_blocks, rho_cones : float
        """
        pulled = self.rho * ((self.copy + self.dual).T @ self.weighted_gates)
        right_v = rho_blocks * target_v + rho_cones * pulled_v + pulled
        right_w = rho_blocks * target_w + rho_cones * pulled_w - pulled
        v, w = self.system.solve(right_v, right_w, rho_blocks, rho_cones, self.rho)
        self.effective = self.gates @ (v - w).T
        if self.program.fit_intercept:
            self.bias = float(self.program.weights @ (self.bias_copy + self.bias_dual))
        self._loss_step()
        return v, w

    def _loss_step(self):
        point = RELAXATION * self.effective + (1 - RELAXATION) * self.copy - self.dual
        bias_point = np.zeros(len(point))
        if self.program.fit_intercept:
            bias_point = RELAXATION * self.bias + (1 - RELAXATION) * self.bias_copy
            bias_point -= self.bias_dual
        self.previous = self.copy
        self.copy, self.bias_copy = self.prox(point, bias_point, self.rho)
        self.dual, self.bias_dual = self.copy - point, self.bias_copy - bias_point

    def balance(self):
        """Rescale the penalty of the loss split by its relative residuals."""
        primal, change = self.effective - self.copy, self.copy - self.previous
        size = max(self._norm(self.effective), self._norm(self.copy))
        factor = penalty_factor(
            self._norm(primal) / max(size, 1e-12),
            self._norm(change) / max(self._norm(self.dual), 1e-12),
        )
        self.rho *= factor
        self.dual /= factor
        self.bias_dual /= factor

    def _norm(self, values):
        return float(np.sqrt(self.program.weights @ np.einsum("kj,kj->k", values, values)))


class RobustADMM:
    """Iterates of the method on a program in normalised units.

    Parameters
    ----------
    program : RobustProgram

    Attributes
    ----------
    n_iter : int
    """

    def __init__(self, program):
        self.program, self.dual = program, program.perturbation.ball.dual
        self.scale = _feature_scale(program.radii, self.dual)
        self.clean = _rescaled(program.clean, self.scale)
        self.radii = program.radii / self.scale
        self.weights = program.clean.weights[:, None]
        self.step = RobustStep(self.clean, self.radii, self.dual)
        self.uniform = bool((self.radii == self.radii[0]).all())
        self.reaches = np.ones((len(self.radii), 1)) if self.uniform else self.radii
        weighted = self.weights * self.reaches
        self.reach_values, self.reach_vectors = np.linalg.eigh(self.reaches.T @ weighted)
        self.signs = 2.0 * program.clean.patterns - 1.0
        d, P = program.clean.gates.shape
        self.n_iter, self.next_balance = 0, 10
        self.rho_norms, self.rho_cones, self.rho_epigraphs = 10.0 * self.clean.alpha, 1.0, 1.0
        # (v, T) of each side, one below the other: copies for the norms, for the epigraphs
        self.norms, self.norms_dual = np.zeros((2, 2, d, P))
        self.epigraphs = np.zeros((2, d + self.reaches.shape[1], P))
        self.epigraphs_dual = np.zeros_like(self.epigraphs)
        # the copies of s and tau, and the multiplier that pulls them together
        self.slack, self.reach, self.pull = np.zeros((3, 2, len(self.radii), P))

    def run(self, n_iter):
        """Do `n_iter` more iterations."""
        for _ in range(n_iter):
            self.n_iter += 1
            balancing = self.n_iter == self.next_balance
            blocks, reaches = self._linear_step()
            residuals = [
                self._norm_step(blocks),
                self._epigraph_step(np.concatenate([blocks, reaches], axis=1)),
                self._cone_step(blocks, reaches),
            ]
            if balancing:
                self._balance(residuals)
                self.next_balance = min(2 * self.next_balance, self.next_balance + 80)

    def _linear_step(self):
        d = self.clean.rows.shape[1]
        rho = self.rho_norms + self.rho_epigraphs
        apart = self.epigraphs - self.epigraphs_dual
        target = self.rho_norms * (self.norms - self.norms_dual) + self.rho_epigraphs * apart[:, :d]
        pulled = self.weights * self.signs * (self.slack + self.pull)
        pulled = self.clean.rows.T @ pulled
        blocks = np.stack(self.step.solve(*(target / rho), *pulled, rho, self.rho_cones))
        right = self.rho_epigraphs * apart[:, d:]
        right = right + self.rho_cones * (
            self.reaches.T @ (self.weights * (self.reach - self.pull))
        )
        diagonal = (self.rho_epigraphs + self.rho_cones * self.reach_values)[:, None]
        vectors = self.reach_vectors
        return blocks, vectors @ ((vectors.T @ right) / diagonal)

    def _norm_step(self, blocks):
        previous = self.norms
        point = RELAXATION * blocks + (1 - RELAXATION) * previous + self.norms_dual
        # a face has none of the features that are scaled: projected before it is shrunk
        point_on_face = np.stack([self.program.on_faces(side) for side in point])
        threshold = self.clean.alpha / self.rho_norms
        self.norms = _shrink_norms(point_on_face, threshold, self.scale)
        self.norms_dual = point - self.norms
        return blocks - self.norms, self.norms - previous, self.norms, self.norms_dual

    def _epigraph_step(self, both):
        previous = self.epigraphs
        point = RELAXATION * both + (1 - RELAXATION) * previous + self.epigraphs_dual
        d = self.clean.rows.shape[1]
        self.epigraphs = point.copy()
        if self.uniform:
            both_sides = np.concatenate(point, axis=1)
            projected, bounds = _project_on_epigraphs(
                both_sides[:d].T, both_sides[d], self.radii[:1], self.dual
            )
            projected = np.concatenate([projected.T, bounds[None]])
            self.epigraphs = np.stack(np.split(projected, 2, axis=1))
        else:
            size, bound = np.abs(point[:, :d]), point[:, d:]
            level = np.maximum(0.5 * (size + bound), 0.0)
            outside = size > bound
            self.epigraphs[:, :d] = np.where(
                outside, np.copysign(level, point[:, :d]), point[:, :d]
            )
            self.epigraphs[:, d:] = np.where(outside, level, bound)
        self.epigraphs_dual = point - self.epigraphs
        return both - self.epigraphs, self.epigraphs - previous, self.epigraphs, self.epigraphs_dual

    def _cone_step(self, blocks, reaches):
        slack = self.signs * (self.clean.rows @ blocks)
        reach = self.reaches @ reaches
        before = self.slack, self.reach
        above = RELAXATION * slack + (1 - RELAXATION) * self.slack - self.pull
        below = RELAXATION * reach + (1 - RELAXATION) * self.reach + self.pull
        self.pull = np.maximum(0.5 * (below - above), 0.0) * self.program.bounding
        self.slack, self.reach = above + self.pull, below - self.pull
        pairs = zip((slack, reach), before, (self.slack, self.reach), strict=True)
        primal, change, size = (
            np.stack(parts)
            for parts in zip(*((new - c, c - old, c) for new, old, c in pairs), strict=True)
        )
        return primal, change, size, np.stack([self.pull, self.pull])

    def _balance(self, residuals):
        """Rescale each penalty by the root of its relative primal over dual residual."""
        factors = []
        for metric, parts in zip((1.0, 1.0, self.weights), residuals, strict=True):
            primal, change, size, multiplier = (
                np.sqrt(float(np.sum(metric * part**2))) for part in parts
            )
            factors.append(
                penalty_factor(primal / max(size, 1e-12), change / max(multiplier, 1e-12))
            )
        self.rho_norms *= factors[0]
        self.norms_dual = self.norms_dual / factors[0]
        self.rho_epigraphs *= factors[1]
        self.epigraphs_dual = self.epigraphs_dual / factors[1]
        self.rho_cones *= factors[2]
        self.pull = self.pull / factors[2]
        self.step.balance()

    @property
    def blocks(self):
        """The sparse copies of v and w, shape (2, d, n_patterns)."""
        return self.norms / self.scale[:, None]

    @property
    def bias(self):
        """The output bias."""
        return self.step.bias

    def multipliers(self):
        """A point of the dual, as in `robust_bounds`.

        Returns
        -------
        slopes, amounts : ndarray of shape (n,)
        gradients : ndarray of shape (n, d)
            Subgradients of the losses at the effective weights.
        cones : ndarray of shape (n, 2 P)
            Non-negative multipliers of the robust cones.
        moves : ndarray of shape (d, 2 P)
            What the perturbations add to the pull of the cones.
        """
        prox = self.step.prox
        gradients = -self.step.rho * self.step.dual * self.scale
        cones = self.rho_cones * self.weights * np.concatenate(self.pull, axis=1)
        d = len(self.scale)
        moves = -self.rho_epigraphs * np.concatenate(self.epigraphs_dual[:, :d], axis=1)
        return prox.slopes, prox.amounts, gradients, cones, self.scale[:, None] * moves


def _feature_scale(radii, dual):
    """Units of the features in which the norms 2 and 1 treat them alike."""
    if dual == 1:
        return np.ones(radii.shape[1])
    return np.where(radii[0] > 0, radii[0] / max(radii[0].max(), 1e-300), 1.0)


def _rescaled(clean, scale):
    problem = clean.problem
    return replace(
        clean,
        problem=replace(problem, design=Design(problem.rows / scale, problem.weights)),
        gates=clean.gates * scale[:, None],
        directions=clean.directions * scale[:, None],
    )


def _shrink_norms(points, threshold, scale):
    r"""Proximal operator of ``threshold * norm(block / scale)`` for every block.

    The block is :math:`z_j / (1 + t s_j^{-2} / \nu)` with :math:`\nu` its norm, a root of
    :math:`\sum_j (z_j / s_j)^2 / (\nu + t s_j^{-2})^2 = 1`.
    """
    inverse = (scale**-2.0)[:, None]
    squares = inverse * points**2
    # the left-hand side is convex and decreasing: Newton from the left stays there
    nu = np.maximum(np.sqrt(squares.sum(axis=-2)) - threshold * inverse.max(), 0.0)
    if (scale != 1.0).any():
        for _ in range(50):
            denominator = nu[..., None, :] + threshold * inverse
            value = np.sum(squares / denominator**2, axis=-2)
            slope = np.sum(squares / denominator**3, axis=-2)
            # Newton on the inverse root of the value, nearly linear (secular equation)
            change = (np.sqrt(value) - 1.0) * value / np.maximum(slope, 1e-300)
            nu = np.maximum(nu + change, 0.0)
            if np.all(np.abs(change) <= 1e-13 * (nu + threshold) + (nu == 0)):
                break
    return points * (nu[..., None, :] / (nu[..., None, :] + threshold * inverse))


def _project_on_epigraphs(points, bounds, radii, dual):
    """Project (points, bounds) on the sets where the reach is at most the bound."""
    step = np.zeros(len(bounds))
    low, high = step, np.full(len(bounds), np.inf)
    for _ in range(60):
        shrunk = Shrunk(points, step, radii, dual)
        excess = shrunk.reach - bounds - step
        low, high = np.where(excess >= 0, step, low), np.where(excess <= 0, step, high)
        new = step + excess / (1.0 + shrunk.curvature(np.zeros_like(points), 1.0))
        outside = (new < low) | (new > high)
        new = np.where(outside, 0.5 * (low + np.minimum(high, 1e300)), new)
        new = np.maximum(new, 0.0)
        if np.all(np.abs(new - step) <= 1e-12 * (1.0 + step)):
            break
        step = new
    return shrunk.points, bounds + step
