"""Points of a program and of its normalised form, mapped on one another."""

from dataclasses import dataclass

import numpy as np

from .._typing import FloatArray


@dataclass(frozen=True)
class Solution:
    """Primal-dual point of a sampled program: what another solve can start from.

    Attributes
    ----------
    v, w : ndarray of shape (d, n_patterns)
        Feasible point of the program.
    bias : float
        Output bias.
    slopes : ndarray of shape (n_samples,)
        Dual variables, subgradients of the loss at the predictions; the multipliers of
        the predictions are ``-weights * slopes``.
    """

    v: FloatArray
    w: FloatArray
    bias: float
    slopes: FloatArray


class Units:
    """The normalised form of a program, and the way there and back.

    Parameters
    ----------
    program : SampledProgram

    Attributes
    ----------
    normalised : SampledProgram
    objective_scale : float
        Factor from normalised objectives to the user's.
    """

    def __init__(self, program):
        self.program = program
        self.normalised, row_scale, self.target_scale, self.objective_scale = program.normalised()
        self.block_scale = self.target_scale / row_scale
        self.slope_scale = self.objective_scale / self.target_scale

    def to_user(self, point):
        """A normalised `Solution` in the user's units."""
        v, w = (self.block_scale * self.user_directions(block) for block in (point.v, point.w))
        # rounding of the product must not leave the domain of the conjugate
        domain = self.program.loss.conjugate_domain(self.program.y)
        slopes = np.clip(self.slope_scale * point.slopes, *domain)
        return Solution(v, w, self.target_scale * point.bias, slopes)

    def to_normalised(self, solution):
        """A user's `Solution` of a program of the same shape, in normalised units."""
        program = self.program
        shape = (program.rows.shape[1], program.n_patterns)
        if solution.v.shape != shape or solution.slopes.shape != (program.n_samples,):
            raise ValueError(
                f"warm_start must come from a program with blocks of shape {shape} and "
                f"{program.n_samples} rows, got {solution.v.shape} and "
                f"{len(solution.slopes)} rows."
            )
        v, w = (self.directions(block / self.block_scale) for block in (solution.v, solution.w))
        return Solution(v, w, solution.bias / self.target_scale, solution.slopes / self.slope_scale)

    def directions(self, gates):
        """Gates in the coordinates of the normalised rows."""
        basis = self.normalised.geometry.basis
        return gates if basis is None else basis.T @ gates

    def user_directions(self, gates):
        """Gates in the coordinates of the user's rows."""
        basis = self.normalised.geometry.basis
        return gates if basis is None else basis @ gates

    def neurons(self, network):
        """Balanced hidden directions, output weights and output bias of a user's network."""
        hidden = network.hidden_weights
        if self.program.fit_intercept:
            hidden = np.concatenate([hidden, network.hidden_biases[None]])
        outputs = network.output_weights[:, 0]
        hidden = self.directions(hidden)
        norms = np.sqrt(np.einsum("ji,ji->i", hidden, hidden))
        kept = (norms > 0) & (outputs != 0)
        hidden, outputs, norms = hidden[:, kept], outputs[kept], norms[kept]
        sizes = np.sqrt(norms * np.abs(outputs) / self.block_scale)
        bias = network.output_biases[0] / self.target_scale
        return hidden * (sizes / norms), np.sign(outputs) * sizes, bias

    def network(self, directions, outputs, bias):
        """The user's network of normalised neurons."""
        strengths = self.block_scale * np.abs(outputs)
        v = self.user_directions(directions) * np.where(outputs > 0, strengths, 0.0)
        w = self.user_directions(directions) * np.where(outputs < 0, strengths, 0.0)
        return self.program.network(v, w, self.target_scale * bias)
