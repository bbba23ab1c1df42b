"""What a fit is asked for: a value, from which the pipeline and the paths know all they need."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .._typing import ArrayLike, FloatArray, HiddenLayer, IntArray, Patterns, Solver
from ..core.losses import LogLoss, Loss
from ..core.rows import with_constant
from ..core.vector_losses import MultinomialLogLoss, SumOverOutputs, VectorLoss
from ..program.patterns import sample_gates
from ..proof.certificate import bound_output
from ..selection.formula import penalty_by_formula
from ..selection.penalty import choose
from ..solvers import solve, solve_adaptive
from ..solvers.neurons import DEFAULT_GAP


@dataclass(frozen=True, eq=False, kw_only=True)
class FitOptions:
    """The parameters of an estimator that decide which network is fitted.

    The methods are the steps in which training against perturbations differs, see `RobustOptions`.
    """

    # what the formula of alpha="auto" is multiplied by, and whether rows left out judge it
    auto_share: ClassVar[float] = 1.0
    judges_alpha: ClassVar[bool] = True

    loss: Loss
    # one for all outputs, or one each
    alpha: float | FloatArray | Literal["auto"]
    patterns: Patterns | ArrayLike = "adaptive"
    n_patterns: int = 100
    solver: Solver = "admm"
    hidden_layer: HiddenLayer = "auto"
    # of X; None: ones
    feature_weights: ArrayLike | Literal["auto"] | None = None
    # -1, 0 or 1 for every feature; None: no constraints
    monotone: IntArray | None = None
    # whether outputs are classes, of which a row has one
    exclusive: bool = False
    fit_intercept: bool = True
    # None: as near as is cheap, see `solve_adaptive`
    tol: float | None = None
    max_iter: int = 10_000

    @property
    def kind(self):
        """Patterns that are "given", "all", "adaptive" or "random"; "directions" of a layer."""
        if not isinstance(self.patterns, str):
            return "given"
        # random directions of "scp" are the hidden layer, also where their patterns are equal
        fixed = self.solver == "scp" and self.patterns == "random"
        return "directions" if fixed else self.patterns

    @property
    def gap(self):
        """The relative gap that is wanted."""
        return DEFAULT_GAP if self.tol is None else self.tol

    def shares(self, n_outputs):
        """Whether that many outputs have one hidden layer; a ValueError where that is undefined.

        One output of a monotone network is treated in the same way: it is searched for missing
        neurons, as there is no program over patterns.
        """
        defined = self.solver == "scp" or (self.kind == "adaptive" and self.solver == "admm")
        if self.monotone is not None:
            self._check_monotone(n_outputs)
            return True
        if self.hidden_layer == "shared" and not defined:
            raise ValueError(
                "hidden_layer='shared' needs patterns='adaptive' with solver='admm', or "
                f"solver='scp'; got patterns={self.patterns!r}, solver={self.solver!r}."
            )
        return n_outputs > 1 and defined and self.hidden_layer != "separate"

    def _check_monotone(self, n_outputs):
        """Raise a ValueError where monotone networks cannot be fitted."""
        if n_outputs > 1:
            what = (
                "more than two classes, or several labels" if self.exclusive else "several outputs"
            )
            raise ValueError(
                f"monotonic_cst is not supported for {what}: the network must have one output, got "
                f"{n_outputs}."
            )
        if self.kind != "adaptive" or self.solver != "admm":
            raise ValueError(
                "monotonic_cst needs patterns='adaptive' and solver='admm', got "
                f"patterns={self.patterns!r}, solver={self.solver!r}."
            )

    def is_softmax(self, n_outputs):
        """Whether that many outputs are logarithms of probabilities up to a constant."""
        return self.exclusive and n_outputs > 1 and self.shares(n_outputs)

    @property
    def vector_loss(self) -> VectorLoss:
        """The loss of outputs that share the hidden layer."""
        if self.exclusive and self.monotone is None and isinstance(self.loss, LogLoss):
            return MultinomialLogLoss()
        return SumOverOutputs(self.loss)

    def seen(self, X):
        """What the hidden neurons see of rows."""
        return with_constant(X) if self.fit_intercept else X

    def penalties(self, rows, outputs, weights, n_rows=None):
        """The penalty of every program: as given, or by formula for a sample of `n_rows` rows."""
        targets = self.targets(outputs)
        if not isinstance(self.alpha, str):
            return np.full(len(targets), self.alpha, dtype=np.float64)
        how = {"fit_intercept": self.fit_intercept, "n_rows": n_rows}
        rules = [penalty_by_formula(rows, y, weights, loss, **how) for loss, y in targets]
        return self.auto_share * np.array(rules)

    @property
    def is_judged(self):
        """Whether rows left out choose the penalty, and feature weights where they are "auto"."""
        return isinstance(self.alpha, str) and self.judges_alpha

    def given_weights(self, n_features):
        """The feature weights that are given; ones where they are not."""
        if self.feature_weights is None or isinstance(self.feature_weights, str):
            return np.ones(n_features)
        return checked_feature_weights(self.feature_weights, n_features)

    def choose(self, rows, outputs, weights, seed, n_jobs=None):
        """The factors on the penalties, and the feature weights, that rows left out prefer."""
        return choose(
            rows,
            self.targets(outputs),
            weights,
            limits=self.limits,
            fit_intercept=self.fit_intercept,
            seed=seed,
            reweights=isinstance(self.feature_weights, str),
            monotone=self.monotone,
            n_jobs=n_jobs,
        )

    def limits(self, outputs):
        """The least and the greatest predictions after training on targets, (2, n_outputs)."""
        return np.repeat([[-np.inf], [np.inf]], outputs.shape[1], axis=1)

    def targets(self, outputs):
        """Loss and targets of every program: one of all outputs that share, or one an output."""
        if self.shares(outputs.shape[1]):
            return [(self.vector_loss, outputs)]
        return [(self.loss, column) for column in outputs.T]

    def draw_gates(self, rows, weights, rng):
        """Random gates."""
        return sample_gates(
            self.seen(rows),
            weights,
            self.n_patterns,
            rng,
            intercept=self.fit_intercept,
            distinct=self.kind != "directions",
        )

    def solve(self, program, **how):
        """Solve a program; returns it, over the patterns found where they are adaptive, too."""
        how = {"max_iter": self.max_iter, **how}
        if self.kind == "adaptive":
            return solve_adaptive(program, self.solver, **{"tol": self.tol, **how})
        return program, solve(program, self.solver, **{"tol": self.gap, **how})

    def bound(self, program, result):
        """What a result says of the optimum over all networks; None where nothing is said."""
        return bound_output(program, result.solution.slopes)


def checked_feature_weights(values, n_features):
    """Given feature weights as an array; a ValueError where they are none."""
    weights = np.asarray(values)
    if weights.dtype.kind not in "iuf" or weights.shape != (n_features,):
        raise ValueError(
            f"feature_weights must be None, 'auto' or {n_features} numbers, one for each feature, "
            f"got {values!r}."
        )
    weights = weights.astype(np.float64)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(
            "feature_weights must be finite and not negative, and some must be positive, got "
            f"{values!r}."
        )
    return weights
