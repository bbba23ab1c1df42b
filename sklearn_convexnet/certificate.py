r"""What is proved about a fitted network, in numbers and in a sentence.

For slopes p of the loss that the dual admits and :math:`\lambda = \omega \circ p`, every two-layer
ReLU network of any width has an objective of at least

.. math:: -\sum_k \omega_k \ell^*(p_k / \kappa), \qquad
    \kappa = \max\Big(1, \tfrac1\alpha \max_{\|u\| \le 1} |\lambda^\top (X u)_+|\Big).

Over all patterns the inner maximum ("pricing") is computed exactly; otherwise it is bounded:

.. math:: \lambda^\top (Xu)_+ = \tfrac12 \lambda^\top X u + \tfrac12 \lambda^\top |X u|
    \le \tfrac12 \|X^\top\lambda\| + \tfrac12 \sqrt{\textstyle\sum_k \lambda_k^+ \,
    \sigma_{\max}(X^\top \mathrm{diag}(\lambda^+) X)} .
"""

from dataclasses import dataclass, field

import numpy as np

from .solvers.bounds import admissible_slopes, dual_norms, dual_value
from .solvers.result import relative_gap


@dataclass(frozen=True)
class Certificate:
    """A proved statement about the training objective of a network.

    Attributes
    ----------
    kind : {"exact", "bound"}
        "exact": the lower bound comes from all activation patterns of the data. "bound": from a
        proved upper bound on what a neuron outside the patterns of the fit could gain; it may
        be far from tight.
    objective : float
        Objective of the network.
    lower_bound : float
        No two-layer ReLU network, of any width, has an objective below this.
    gap : float
        ``(objective - lower_bound) / objective``, at most 1 since objectives are non-negative.
    detail : dict
        For a certificate made in `fit`: "sampled_upper_bound", "sampled_lower_bound" and
        "sampled_gap" of the convex program that was solved, and its "n_patterns".
    """

    kind: str
    objective: float
    lower_bound: float
    gap: float
    detail: dict = field(default_factory=dict)

    def __str__(self):
        lines = []
        if "sampled_gap" in self.detail:
            which = "all" if self.kind == "exact" else "the sampled"
            lines.append(
                f"Solved: the convex program over {which} {self.detail['n_patterns']} activation "
                f"patterns, to a relative duality gap of {self.detail['sampled_gap']:.1e}."
            )
        if self.kind == "exact":
            lines.append(
                f"Proved: the objective {self.objective:.6g} is within {100 * self.gap:.2g} % of "
                "the optimum over all two-layer ReLU networks of any width."
            )
        else:
            lines.append(
                f"Proved: no two-layer ReLU network of any width has an objective below "
                f"{self.lower_bound:.6g} (this one has {self.objective:.6g}); the bound is valid "
                "but need not be tight."
            )
        return "\n".join(lines)


def pricing_bound(rows, multipliers):
    r"""Proved upper bound on :math:`\max_{\|u\| \le 1} |\lambda^\top (X u)_+|`.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    multipliers : ndarray of shape (n,)
        The :math:`\lambda`.

    Returns
    -------
    float
    """
    scale = np.abs(rows).max(initial=0.0)
    if scale == 0.0:
        return 0.0
    rows = rows / scale
    linear = 0.5 * np.linalg.norm(rows.T @ multipliers)
    bounds = []
    for sign in (1.0, -1.0):
        positive = np.maximum(sign * multipliers, 0.0)
        largest = np.linalg.eigvalsh(rows.T @ (positive[:, None] * rows))[-1]
        bounds.append(linear + 0.5 * np.sqrt(positive.sum() * max(largest, 0.0)))
    return float(scale * max(bounds))


def global_lower_bound(program, slopes):
    """Lower bound on the objective of every network, from the slopes of a loss.

    Parameters
    ----------
    program : SampledProgram
        With ``exhaustive=True`` its patterns price exactly.
    slopes : ndarray of shape (n_samples,)

    Returns
    -------
    float
        At least 0.
    """
    program, _, target_scale, scale = program.normalised()
    slopes = admissible_slopes(program, slopes * target_scale / scale)
    if program.exhaustive:
        largest = dual_norms(program, slopes, exact_above=program.alpha).max()
    else:
        largest = pricing_bound(program.rows, program.weights * slopes)
    return scale * dual_value(program, slopes, largest)


def certify_network(programs, objective, slopes, detail=None):
    """Certificate of a network with one program and one vector of slopes per output."""
    lower = sum(global_lower_bound(p, s) for p, s in zip(programs, slopes, strict=True))
    # where both are optimal, rounding decides which is larger
    lower = min(lower, objective)
    kind = "exact" if programs[0].exhaustive else "bound"
    return Certificate(kind, objective, lower, relative_gap(objective, lower), detail or {})
