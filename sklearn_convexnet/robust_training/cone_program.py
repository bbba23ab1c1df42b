r"""The convex program whose loss is the worst case over perturbed rows, exactly.

A neuron v that satisfies the robust cone

.. math:: (2 d_{ik} - 1)\, x_k^\top v \ge \|r_k \circ v\|_* \quad \text{for all } k

keeps its activation all over the ball of every row. On the ball of row k the network is then the
linear function :math:`f_k = x_k^\top G_k + c` with :math:`G_k = \sum_i d_{ik} (v_i - w_i)`, which
reaches :math:`\|r_k \circ G_k\|_*` from there; its worst case is closed form (`WorstCaseLoss`).

This is convex adversarial training of Bai, Gautam & Sojoudi (arXiv 2201.01965). At a feasible
point the loss of the program is the worst-case loss of the network on its training rows. The
optimum is an upper bound of adversarial training over all networks, no more: a network may do
better with neurons that switch inside a ball.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .._typing import ArrayLike, BoolArray, ClassificationLoss, FloatArray, RegressionLoss
from ..core.losses import Loss
from ..core.network import TwoLayerReLU, column_norms
from ..program.pattern_program import PatternProgram, distinct_columns
from ..program.patterns import check_patterns
from ..program.perturbation import Perturbation
from ..program.problem import TrainingProblem, check_data
from .living import free_face, largest_factors, slacks
from .worst_case import WorstCaseLoss


@dataclass(frozen=True, eq=False)
class RobustProgram:
    r"""Convex adversarial training over given activation patterns.

    .. math::

        \min_{v, w, c} \sum_k \omega_k \max_{\tilde x \in B_k} \ell(f(\tilde x), y_k)
            + \alpha \sum_i (\|v_i\|_2 + \|w_i\|_2), \qquad v_i, w_i \text{ in the robust cone } i.

    The constant column of an intercept is never perturbed.

    Attributes
    ----------
    clean : PatternProgram
        The program without perturbations on the centres of the balls.
    radii : ndarray of shape (n_samples, d)
        Radii of the balls, zero in the constant column.
    perturbation : Perturbation
    bounding : ndarray of bool of shape (n_samples, n_patterns)
        Rows that bound the cones, those on which blocks need not be zero.
    projections : ndarray of shape (n_patterns, d, d) or None
        On the subspaces of the cones; None if all of them have an interior.
    """

    clean: PatternProgram
    radii: FloatArray
    perturbation: Perturbation
    bounding: BoolArray
    projections: FloatArray | None = None

    @classmethod
    def from_data(
        cls,
        X: ArrayLike,
        y: ArrayLike,
        patterns: ArrayLike,
        *,
        perturbation: Perturbation,
        loss: ClassificationLoss | RegressionLoss | Loss = "hinge",
        alpha: float,
        sample_weight: ArrayLike | None = None,
        fit_intercept: bool = False,
        gates: ArrayLike | None = None,
    ) -> RobustProgram:
        """The program of checked data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.
        y : array-like of shape (n_samples,)
            Targets; -1 or +1 for the losses of classification.
        patterns : array-like of bool of shape (n_samples, n_patterns)
            Activation patterns of the unperturbed rows, a column each.
        perturbation : Perturbation
            What may be done to a row of X.
        loss : str or Loss, default="hinge"
            A loss of classification, or "squared_error".
        alpha : float
            Strength of the weight decay, > 0.
        sample_weight : array-like of shape (n_samples,), default=None
            Non-negative weights; normalised to sum to one. Rows of weight zero are dropped.
        fit_intercept : bool, default=False
            Whether neurons have a (penalised) bias and the output an unpenalised one.
        gates : array-like of shape (d, n_patterns), default=None
            Directions inside the robust cones of the patterns; found when omitted.

        Returns
        -------
        RobustProgram

        Raises
        ------
        ValueError
            If `PatternProgram` would, the loss has no closed form of its worst case, or a pattern
            has neither a robust cone with an interior nor a face of it in the features without
            radii.
        """
        X, y, weights, loss = check_robust_data(X, y, loss, alpha, sample_weight, perturbation)
        patterns, used = check_patterns(patterns, len(X)), weights > 0
        centres, radii = perturbation.balls(X)
        problem = TrainingProblem.of(
            centres,
            y,
            loss=loss,
            alpha=alpha,
            sample_weight=sample_weight,
            fit_intercept=fit_intercept,
        )
        constant = np.zeros((len(X), int(fit_intercept)))
        radii = np.ascontiguousarray(np.concatenate([radii, constant], axis=1)[used])
        rows, patterns, name = problem.rows, patterns[used], "gates"
        if gates is None:
            name = "patterns"
            gates, _ = largest_factors(rows, radii, patterns, perturbation.ball)
        gates = np.array(gates, dtype=np.float64)
        if gates.shape != (rows.shape[1], patterns.shape[1]) or not np.isfinite(gates).all():
            raise ValueError(
                f"gates must be finite and of shape {(rows.shape[1], patterns.shape[1])}, got "
                f"shape {gates.shape}."
            )
        gates, bounding, bases = _faces(rows, radii, patterns, gates, perturbation, name)
        kept = distinct_columns(patterns)
        patterns, gates = (np.ascontiguousarray(a[:, kept]) for a in (patterns, gates))
        projections = None
        if bases:
            whole = np.eye(rows.shape[1])
            kept_bases = (bases.get(i, whole) for i in kept)
            projections = np.stack([basis @ basis.T for basis in kept_bases])
        clean = PatternProgram(problem, patterns, gates, gates, kept)
        return cls(clean, radii, perturbation, bounding[:, kept], projections)

    @cached_property
    def worst(self):
        """The training problem with the `WorstCaseLoss`, for the dual of the program."""
        return replace(self.clean.problem, loss=WorstCaseLoss(self.clean.loss))

    @cached_property
    def gate_slack(self) -> FloatArray:
        """Slack of the gates in the cones that rows bound; infinite elsewhere."""
        return np.where(self.bounding, self.slack(self.clean.gates), np.inf)

    def on_faces(self, blocks: FloatArray) -> FloatArray:
        """The nearest blocks, shape (d, n_patterns), in the subspaces of the cones."""
        if self.projections is None:
            return blocks
        return np.einsum("iab,bi->ai", self.projections, blocks)

    @property
    def n_patterns(self) -> int:
        """Number of distinct patterns."""
        return self.clean.n_patterns

    def slack(self, blocks: FloatArray) -> FloatArray:
        """How far the balls stay inside the half-spaces of the patterns, shape (n, n_patterns)."""
        return slacks(
            self.clean.rows, self.radii, self.clean.patterns, blocks, self.perturbation.ball
        )

    def effective_weights(self, v: FloatArray, w: FloatArray) -> FloatArray:
        """Weights of the linear function that the gated model is on every ball, shape (n, d)."""
        return self.clean.patterns.astype(np.float64) @ (v - w).T

    def worst_case(self, effective: FloatArray, bias: float) -> FloatArray:
        """Largest loss on every ball of its linear function.

        Parameters
        ----------
        effective : ndarray of shape (n, d)
            Weights of the linear functions.
        bias : float

        Returns
        -------
        ndarray of shape (n,)
        """
        outputs = np.einsum("kj,kj->k", self.clean.rows, effective) + bias
        reach = self.perturbation.ball.falls(self.radii * effective)
        return self.worst.loss.value(outputs, reach, self.clean.y)

    def objective(self, v: FloatArray, w: FloatArray, bias: float) -> float:
        """Value of the convex objective; meaningful where the robust cones hold."""
        norms = column_norms(v).sum() + column_norms(w).sum()
        losses = self.worst_case(self.effective_weights(v, w), bias)
        return float(self.clean.weights @ losses + self.clean.alpha * norms)

    def violation(self, v: FloatArray, w: FloatArray) -> float:
        """Largest violation of a robust cone, relative to the largest ``|X v|``."""
        worst, largest = 0.0, 0.0
        for block in (v, w):
            largest = max(largest, np.abs(self.clean.rows @ block).max(initial=0.0))
            worst = max(worst, -self.slack(block).min(initial=0.0))
        return worst / largest if largest > 0 else 0.0

    def feasible_point(self, v: FloatArray, w: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The blocks moved into their robust cones, along the gates."""
        return self._feasible_blocks(v), self._feasible_blocks(w)

    def _feasible_blocks(self, blocks):
        blocks = self.on_faces(blocks)
        # slack is concave and positively homogeneous: that of a sum is at least the sum of slacks
        slack = self.slack(blocks)
        used = np.any(blocks != 0, axis=0)
        steps = np.max(-slack / self.gate_slack, axis=0, initial=0.0) * used
        moves = (1.0 + 1e-9) * steps * self.clean.gates
        # a block that the move would bury is better dropped
        kept = column_norms(moves) <= column_norms(blocks)
        return np.where(kept, blocks + moves, 0.0)

    def network(self, v: FloatArray, w: FloatArray, bias: float) -> TwoLayerReLU:
        """The network of a point, see `TwoLayerReLU.from_blocks`."""
        return self.clean.network(v, w, bias)

    def network_objective(self, network: TwoLayerReLU) -> float:
        """Worst-case loss and penalty of a network whose neurons switch inside no ball.

        On the network of a feasible point this is the exact worst case of its loss; on any other
        network it is the worst case of the linear functions at the centres.
        """
        hidden = np.concatenate(
            [network.hidden_weights, network.hidden_biases[None][: self.clean.fit_intercept]]
        )
        active = self.clean.rows @ hidden >= 0
        effective = (active * network.output_weights[:, 0]) @ hidden.T
        losses = self.worst_case(effective, network.output_biases[0])
        return float(self.clean.weights @ losses + self.clean.alpha * network.penalty())

    @cached_property
    def normalised(self) -> RobustProgram:
        """The same program in units where rows and targets are of size one."""
        problem = self.clean.problem.scaled
        radii = self.radii / problem.units.row
        return replace(self, clean=replace(self.clean, problem=problem), radii=radii)


def _faces(rows, radii, patterns, gates, perturbation, name):
    """Gates in the cones, rows that bound them, and bases of the flat ones."""
    ball = perturbation.ball
    # a row of zeros that nothing moves has no side
    sided = np.any((rows != 0) | (radii > 0), axis=1)
    bounding, bases, dead = np.repeat(sided[:, None], patterns.shape[1], axis=1), {}, []
    slack = slacks(rows, radii, patterns, gates, ball)
    for i in np.flatnonzero(~(slack[sided].min(axis=0, initial=np.inf) > 0)):
        _, factor = largest_factors(rows, radii, patterns[:, [i]], ball)
        gates[:, i], held, bases[i] = free_face(rows, radii, patterns[:, i])
        if not (np.isinf(factor[0]) and held[sided].any()):
            dead.append(int(i))
        bounding[held, i] = False
    if dead:
        raise ValueError(
            f"{name}: {len(dead)} of {patterns.shape[1]} columns (first: {dead[:5]}) have no "
            f"direction inside their robust cone for epsilon={perturbation.epsilon}. "
            "Remove them, or lower epsilon."
        )
    return gates, bounding, bases


def check_robust_data(X, y, loss, alpha, sample_weight, perturbation):
    """`check_data` for losses with a closed form of the worst case."""
    if not isinstance(perturbation, Perturbation):
        raise TypeError(f"perturbation must be a Perturbation, got {perturbation!r}.")
    X, y, weights, loss = check_data(X, y, loss, alpha, sample_weight)
    if loss.target != "sign" and loss.name != "squared_error":
        raise ValueError(
            "loss must be 'hinge', 'log_loss', 'squared_hinge' or 'squared_error' for a "
            f"closed form of the worst case, got {loss.name!r}."
        )
    return X, y, weights, loss
