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

# over-relaxation of the copies (Boyd et al. 2011, Section 3.4.3)
RELAXATION = 1.6


class KroneckerStep:
    r"""Linear step by Kronecker diagonalisation, for any loss with a scalar prox.

    The loss is split on the effective weight of every sample, :math:`g_k = \sum_i d_{ik}
    (v_i - w_i)`, instead of on its prediction. With :math:`p = (v + w)/\sqrt 2` and
    :math:`q = (v - w)/\sqrt 2` the step is two systems

    .. math::

        (\rho_1 I + \rho_2 X^\top \Omega X)\, p = r_p, \qquad
        (\rho_1 I + \rho_2 X^\top \Omega X)\, q + 2 \rho_3\, q\, D^\top \Omega D = r_q,

    which the eigenvectors of :math:`X^\top\Omega X` and :math:`D^\top\Omega D` make diagonal: the
    penalties may change at any iteration without a new factorisation.
    """

    def __init__(self, program, rng):
        self.program = program
        rows, weights, patterns = program.rows, program.weights, program.patterns
        self.gates = patterns.astype(np.float64)
        self.weighted_gates = weights[:, None] * self.gates
        self.row_values, self.row_vectors = program.geometry.row_spectrum
        self.gate_values, self.gate_vectors = program.geometry.gate_spectrum
        # squares of the length of (x_k, 1): the bias is one more coordinate of the prox
        self.lengths = np.einsum("kj,kj->k", rows, rows) + float(program.fit_intercept)
        # a row of zeros sees no step of the prox: its slope is that at the output zero
        self.lengths[self.lengths == 0] = 1e-30
        self.copy = np.zeros_like(rows)
        self.dual = np.zeros_like(rows)
        self.bias_copy = np.zeros(len(rows))
        self.bias_dual = np.zeros(len(rows))
        self.bias = 0.0
        self.rho = 1.0
        self.slopes = program.loss.derivative(np.zeros(len(rows)), program.y)

    def start(self, v, w, bias, slopes):
        """Set the copies to the given point and its dual variables."""
        program = self.program
        self.bias = bias if program.fit_intercept else 0.0
        self.copy[:] = self.gates @ (v - w).T
        self.bias_copy[:] = self.bias
        self.slopes = slopes
        self.dual[:] = -slopes[:, None] * program.rows / self.rho
        self.bias_dual[:] = -slopes / self.rho * program.fit_intercept

    def scale_penalty(self, factor):
        """Multiply the penalty of the loss split, keeping its multipliers."""
        self.rho *= factor
        self.dual /= factor
        self.bias_dual /= factor

    def balance(self):
        """Rescale the penalty of the loss split by its residuals."""
        self.scale_penalty(penalty_factor(*self.residuals()))

    def solve(self, target_v, target_w, pulled_v, pulled_w, rho_blocks, rho_cones):
        """Update and return the blocks (v, w).

        Parameters
        ----------
        target_v, target_w : ndarray of shape (d, n_patterns)
            What the norm copies ask for.
        pulled_v, pulled_w : ndarray of shape (d, n_patterns)
            ``X' Omega (S * slack targets)``, what the cone copies ask for.
        rho_blocks, rho_cones : float
        """
        rows, program = self.program.rows, self.program
        pulled = (self.copy + self.dual).T @ self.weighted_gates
        right_v = rho_blocks * target_v + rho_cones * pulled_v + self.rho * pulled
        right_w = rho_blocks * target_w + rho_cones * pulled_w - self.rho * pulled
        rotated = self.row_vectors.T
        diagonal = (rho_blocks + rho_cones * self.row_values)[:, None]
        p = self.row_vectors @ ((rotated @ (right_v + right_w)) / diagonal)
        coupled = diagonal + 2.0 * self.rho * self.gate_values[None, :]
        q = rotated @ (right_v - right_w) @ self.gate_vectors / coupled
        q = self.row_vectors @ q @ self.gate_vectors.T
        v, w = 0.5 * (p + q), 0.5 * (p - q)
        self.effective = self.gates @ q.T
        if program.fit_intercept:
            self.bias = float(program.weights @ (self.bias_copy + self.bias_dual))
        self._loss_step(rows)
        return v, w

    def _loss_step(self, rows):
        """Scalar prox of the loss along (x_k, 1) for every sample."""
        program = self.program
        point = RELAXATION * self.effective + (1 - RELAXATION) * self.copy - self.dual
        outputs = np.einsum("kj,kj->k", rows, point)
        if program.fit_intercept:
            bias_point = RELAXATION * self.bias + (1 - RELAXATION) * self.bias_copy
            bias_point -= self.bias_dual
            outputs = outputs + bias_point
        step = self.lengths / self.rho
        shift = program.loss.prox(outputs, program.y, step) - outputs
        # optimality of the prox: the slope is a subgradient at its output
        self.slopes = -shift / step
        shift /= self.lengths
        self.previous = self.copy
        self.copy = point + shift[:, None] * rows
        self.dual = self.copy - point
        if program.fit_intercept:
            self.bias_copy = bias_point + shift
            self.bias_dual = self.bias_copy - bias_point

    def residuals(self):
        """Relative primal and dual residuals of the loss split."""
        weights = self.program.weights
        primal = _norm(self.effective - self.copy, weights)
        size = max(_norm(self.effective, weights), _norm(self.copy, weights))
        dual = _norm(self.copy - self.previous, weights)
        return _relative(primal, size), _relative(dual, _norm(self.dual, weights))


class CholeskyStep:
    """The closed-form u-step of the paper: one dense factor of size 2 d P (squared loss)."""

    def __init__(self, program, rng):
        if program.loss.name != "squared":
            raise ValueError(
                "solver='admm-cholesky' has a closed form for loss='squared' only, got "
                f"{program.loss.name!r}; use solver='admm' or 'admm-rbcd'."
            )
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

    def start(self, v, w, bias, slopes):
        """Nothing to set: the step keeps no copies."""

    def balance(self):
        """No penalty of its own to balance."""

    def solve(self, target_v, target_w, pulled_v, pulled_w, rho_blocks, rho_cones):
        """See `KroneckerStep.solve`."""
        B, d = self.shape
        if self.factored is None or self.factored[0] != (rho_blocks, rho_cones):
            system = self.gram.reshape(B, d, B, d).copy()
            block = rho_blocks * np.eye(d) + rho_cones * self.row_gram
            index = np.arange(B)
            system[index, :, index, :] += block
            factor = cho_factor(system.reshape(B * d, B * d), lower=True, overwrite_a=True)
            self.factored = (rho_blocks, rho_cones), factor
        right = np.concatenate(
            [
                rho_blocks * target_v + rho_cones * pulled_v,
                rho_blocks * target_w + rho_cones * pulled_w,
            ],
            axis=1,
        )
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

    def __init__(self, program, rng):
        if not np.isfinite(program.loss.curvature):
            raise ValueError(
                "solver='admm-rbcd' needs a loss with a Lipschitz derivative, got "
                f"{program.loss.name!r}; use solver='admm'."
            )
        self.program, self.rng = program, rng
        shape = (program.rows.shape[1], program.n_patterns)
        self.v, self.w, self.bias = np.zeros(shape), np.zeros(shape), 0.0
        self.row_gram = program.rows.T @ (program.weights[:, None] * program.rows)
        self.outputs = np.zeros(program.n_samples)
        self.slopes = program.loss.derivative(self.outputs, program.y)
        self.step_sizes = np.ones(program.n_patterns)

    def balance(self):
        """No penalty of its own to balance."""

    def start(self, v, w, bias, slopes):
        """Start from the given blocks."""
        self.v[:], self.w[:] = v, w
        self.bias = bias
        self.outputs = self.program.predictions(v, w, bias)

    def solve(self, target_v, target_w, pulled_v, pulled_w, rho_blocks, rho_cones):
        """See `KroneckerStep.solve`."""
        program, v, w = self.program, self.v, self.w
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


def _norm(values, weights):
    return float(np.sqrt(weights @ np.einsum("kj,kj->k", values, values)))


def _relative(part, whole):
    return part / max(whole, 1e-12)
