r"""The linear steps of ADMM: everything that sees the loss.

`admm.py` holds copies of the blocks (for the norms) and of their slacks (for the cones); a
linear step minimises, over the blocks v, w and the output bias c,

.. math::

    L(f(v, w, c)) + \frac{\rho_1}{2} \|(v, w) - (\bar v, \bar w)\|^2
        + \frac{\rho_2}{2} \big(\|S \circ X v - \bar s\|_\Omega^2
        + \|S \circ X w - \bar t\|_\Omega^2 \big),

with row metric :math:`\Omega = \mathrm{diag}(\omega)`, so that a weight of two is a row that
occurs twice. `KroneckerStep` splits the loss off as well and costs a few n d P products;
`CholeskyStep` and `CoordinateStep` are the two steps of Bai, Gautam & Sojoudi
(arXiv 2201.01965, Section 3).
"""

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from ..program.shard import RELAXATION


class KroneckerSystem:
    r"""The linear system of the Kronecker step, diagonal in two bases.

    With :math:`p = (v + w)/\sqrt 2` and :math:`q = (v - w)/\sqrt 2` it is two systems

    .. math::

        (\rho_1 I + \rho_2 X^\top \Omega X)\, p = r_p, \qquad
        (\rho_1 I + \rho_2 X^\top \Omega X)\, q + 2 \rho_3\, q\, D^\top \Omega D = r_q,

    which the eigenvectors of :math:`X^\top\Omega X` and :math:`D^\top\Omega D` make diagonal: the
    penalties may change at any iteration without a new factorisation.

    Parameters
    ----------
    rows, gates : tuple of ndarray
        Eigenvalues and -vectors of the two matrices.
    """

    def __init__(self, rows, gates):
        (self.row_values, self.row_vectors), (self.gate_values, self.gate_vectors) = rows, gates

    def solve(self, right_v, right_w, rho_blocks, rho_cones, rho_loss):
        """The blocks v and w, each of shape (d, P), for such right-hand sides."""
        rotated = self.row_vectors.T
        diagonal = (rho_blocks + rho_cones * self.row_values)[:, None]
        p = self.row_vectors @ ((rotated @ (right_v + right_w)) / diagonal)
        coupled = diagonal + 2.0 * rho_loss * self.gate_values[None, :]
        q = rotated @ (right_v - right_w) @ self.gate_vectors / coupled
        q = self.row_vectors @ q @ self.gate_vectors.T
        return 0.5 * (p + q), 0.5 * (p - q)

    def times_gates(self, q):
        """Q times the matrix of the gates."""
        return ((q @ self.gate_vectors) * self.gate_values) @ self.gate_vectors.T

    def square(self, q):
        r""":math:`\sum_k \omega_k \|\sum_i d_{ik} q_i\|^2`."""
        return float(np.sum(q * self.times_gates(q)))


class KroneckerStep:
    r"""Linear step by Kronecker diagonalisation, for any loss with a scalar prox.

    The loss is split on the effective weight of every row, :math:`g_k = \sum_i d_{ik}
    (v_i - w_i)`, instead of on its prediction. The rows keep their part of that split (see
    `shard`); here are the means of q and of the output bias over the iterations.

    Parameters
    ----------
    system : KroneckerSystem
    intercept : bool
    """

    splits_loss = True

    def __init__(self, system, intercept):
        self.system, self.intercept = system, intercept
        d, P = len(system.row_values), len(system.gate_values)
        self.q, self.mean, self.before = np.zeros((3, d, P))
        self.bias = self.mean_bias = 0.0
        self.rho = 1.0

    def start(self, v, w, bias):
        """Set the means to the given point."""
        self.mean[:] = v - w
        self.bias = self.mean_bias = bias if self.intercept else 0.0

    def solve(self, target_v, target_w, pulled, total, rho_blocks, rho_cones):
        """Update and return the blocks (v, w).

        Parameters
        ----------
        target_v, target_w : ndarray of shape (d, P)
            What the norm copies ask for.
        pulled, total : ndarray of shape (d, 2 P), float
            What the rows ask for, see `ADMMShard.pull`.
        rho_blocks, rho_cones : float
        """
        P = target_v.shape[1]
        coupling = self.rho * self.system.times_gates(self.mean)
        right_v = rho_blocks * target_v + rho_cones * pulled[:, :P] + coupling
        right_w = rho_blocks * target_w + rho_cones * pulled[:, P:] - coupling
        v, w = self.system.solve(right_v, right_w, rho_blocks, rho_cones, self.rho)
        self.q, self.before = v - w, self.mean
        self.mean = RELAXATION * self.q + (1.0 - RELAXATION) * self.mean
        if self.intercept:
            self.bias = self.mean_bias + total
            self.mean_bias = RELAXATION * self.bias + (1.0 - RELAXATION) * self.mean_bias
        return v, w

    def balance(self, sums):
        r"""Rescale the penalty of the loss split by its residuals; returns the factor.

        With the effective weights :math:`D q`, their copies :math:`D \bar q + s x` and the
        multipliers :math:`\delta x`; `sums` are those of `ADMMShard.advance_and_measure`.
        """
        primal_cross, shift, dual_cross, change, cross, multiplier = sums
        square = self.system.square
        primal = square(self.q - self.mean) - 2.0 * primal_cross + shift
        dual = square(self.mean - self.before) + 2.0 * dual_cross + change
        size = max(square(self.q), square(self.mean) + 2.0 * cross + shift)
        factor = penalty_factor(_relative(primal, size), _relative(dual, multiplier))
        self.rho *= factor
        return factor

    def keep(self, system, old):
        """Go on with other patterns; `old` are their places so far, -1 for new ones."""
        self.system = system
        mean = np.zeros((self.mean.shape[0], len(old)))
        mean[:, old >= 0] = self.mean[:, old[old >= 0]]
        self.mean = mean


class CholeskyStep:
    """The closed-form u-step of the paper: one dense factor of size 2 d P (squared loss)."""

    splits_loss = False

    def __init__(self, program, rng):
        self.program = program
        n, P = program.patterns.shape
        rows, gates = program.rows, program.patterns.astype(np.float64)
        gated = (gates[:, :, None] * rows[:, None, :]).reshape(n, -1)
        design = np.concatenate([gated, -gated], axis=1)
        self.weights = program.weights
        if program.fit_intercept:
            # the unpenalised bias is eliminated by centring
            self.mean_design = self.weights @ design
            self.mean_target = float(self.weights @ program.y)
        else:
            self.mean_design = np.zeros(design.shape[1])
            self.mean_target = 0.0
        self.design = design - self.mean_design
        weighted = self.weights[:, None] * self.design
        self.gram = self.design.T @ weighted
        self.loss_pull = weighted.T @ (program.y - self.mean_target)
        self.row_gram = rows.T @ (self.weights[:, None] * rows)
        self.shape = (2 * P, rows.shape[1])
        self.factored = None
        self.bias = 0.0

    def start(self, v, w, bias):
        """Nothing to set: the step keeps no copies."""

    def solve(self, target_v, target_w, pulled, total, rho_blocks, rho_cones):
        """See `KroneckerStep.solve`."""
        B, d = self.shape
        if self.factored is None or self.factored[0] != (rho_blocks, rho_cones):
            system = self.gram.reshape(B, d, B, d).copy()
            block = rho_blocks * np.eye(d) + rho_cones * self.row_gram
            index = np.arange(B)
            system[index, :, index, :] += block
            factor = cho_factor(system.reshape(B * d, B * d), lower=True, overwrite_a=True)
            self.factored = (rho_blocks, rho_cones), factor
        right = rho_blocks * np.concatenate([target_v, target_w], axis=1) + rho_cones * pulled
        u = cho_solve(self.factored[1], right.T.ravel() + self.loss_pull)
        if self.program.fit_intercept:
            self.bias = self.mean_target - float(self.mean_design @ u)
        outputs = self.design @ u + self.mean_target
        self.slopes = outputs - self.program.y
        blocks = u.reshape(B, d).T
        return blocks[:, : B // 2].copy(), blocks[:, B // 2 :].copy()


class CoordinateStep:
    r"""The random block-coordinate-descent u-step of the paper, for losses without kinks.

    One sweep visits the patterns in random order. For pattern i, with
    :math:`g = X^\top D_i \Omega \ell'(f)`, the gradients are

    .. math::

        \nabla_{v_i} = g + \rho_1 (v_i - \bar v_i) + \rho_2 (X^\top\Omega X v_i - r_{v_i}), \qquad
        \nabla_{w_i} = -g + \dots

    and the step :math:`\gamma` satisfies Armijo's rule
    :math:`\Delta \le -\sigma \gamma \|\nabla\|^2` on the exact change :math:`\Delta` of the
    augmented Lagrangian; it grows again after a success.
    """

    splits_loss = False

    def __init__(self, program, rng):
        self.program, self.rng = program, rng
        shape = (program.rows.shape[1], program.n_patterns)
        self.v, self.w, self.bias = np.zeros(shape), np.zeros(shape), 0.0
        self.row_gram = program.rows.T @ (program.weights[:, None] * program.rows)
        self.outputs = np.zeros(program.n_samples)
        self.slopes = program.loss.derivative(self.outputs, program.y)
        self.step_sizes = np.ones(program.n_patterns)

    def start(self, v, w, bias):
        """Start from the given blocks."""
        self.v[:], self.w[:] = v, w
        self.bias = bias
        self.outputs = self.program.predictions(v, w, bias)

    def solve(self, target_v, target_w, pulled, total, rho_blocks, rho_cones):
        """See `KroneckerStep.solve`."""
        program, v, w = self.program, self.v, self.w
        pulled_v, pulled_w = np.split(pulled, 2, axis=1)
        rows, weights, loss, y = program.rows, program.weights, program.loss, program.y
        if program.fit_intercept:
            # a step of length 1 / curvature along the bias never overshoots
            shift = -float(weights @ loss.derivative(self.outputs, y)) / loss.curvature
            self.bias += shift
            self.outputs = self.outputs + shift
        value = float(weights @ loss.value(self.outputs, y))
        for i in self.rng.permutation(program.n_patterns):
            gated = program.patterns[:, i, None] * rows
            pull = gated.T @ (weights * loss.derivative(self.outputs, y))
            gradient = np.stack([pull, -pull], axis=1)
            blocks = np.stack([v[:, i], w[:, i]], axis=1)
            targets = np.stack([target_v[:, i], target_w[:, i]], axis=1)
            pulled = np.stack([pulled_v[:, i], pulled_w[:, i]], axis=1)
            quadratic = rho_blocks * (blocks - targets) + rho_cones * (
                self.row_gram @ blocks - pulled
            )
            gradient += quadratic
            squared = float(np.sum(gradient**2))
            if squared == 0.0:
                continue
            curvature = rho_blocks * squared + rho_cones * float(
                np.sum(gradient * (self.row_gram @ gradient))
            )
            slope = float(np.sum(quadratic * gradient))
            along = gated @ (gradient[:, 0] - gradient[:, 1])
            step = self.step_sizes[i]
            while True:
                outputs = self.outputs - step * along
                new_value = float(weights @ loss.value(outputs, y))
                change = new_value - value - step * slope + 0.5 * step**2 * curvature
                if change <= -0.25 * step * squared or step < 1e-16:
                    break
                step /= 2.5
            v[:, i] -= step * gradient[:, 0]
            w[:, i] -= step * gradient[:, 1]
            self.outputs, value = outputs, new_value
            self.step_sizes[i] = 2.0 * step
        self.slopes = loss.derivative(self.outputs, y)
        return v.copy(), w.copy()


def penalty_factor(primal, dual):
    """What to multiply a penalty by: the root of the ratio of its relative residuals, bounded."""
    if primal == 0.0 or dual == 0.0:
        return 1.0
    return float(np.clip(np.sqrt(primal / dual), 0.1, 10.0))


def _relative(part, whole):
    """A relative size, from squares, of which rounding may have left a negative one."""
    return float(np.sqrt(max(part, 0.0)) / max(np.sqrt(max(whole, 0.0)), 1e-12))
