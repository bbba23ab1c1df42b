"""What a fit is asked for: a value, from which the pipeline and the paths know all they need."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from .._typing import ArrayLike, FloatArray, Patterns, Solver
from ..core.losses import Loss
from ..core.rows import with_constant
from ..program.patterns import sample_gates
from ..proof.certificate import bound_output
from ..solvers import solve, solve_adaptive
from ._alpha import automatic_alpha


@dataclass(frozen=True, eq=False, kw_only=True)
class FitOptions:
    """The parameters of an estimator that decide which network is fitted.

    The methods are the steps in which training against perturbations differs, see `RobustOptions`.
    """

    # what alpha="auto" is multiplied by
    auto_share: ClassVar[float] = 1.0

    loss: Loss
    # one for all outputs, or one each
    alpha: float | FloatArray | Literal["auto"]
    patterns: Patterns | ArrayLike = "adaptive"
    n_patterns: int = 100
    solver: Solver = "admm"
    fit_intercept: bool = True
    tol: float = 5e-2
    max_iter: int = 10_000

    @property
    def kind(self):
        """Patterns that are "given", "all", "adaptive" or "random"; "directions" of a layer."""
        if not isinstance(self.patterns, str):
            return "given"
        # random directions of "scp" are the hidden layer, also where their patterns are equal
        fixed = self.solver == "scp" and self.patterns == "random"
        return "directions" if fixed else self.patterns

    def seen(self, X):
        """What the hidden neurons see of rows."""
        return with_constant(X) if self.fit_intercept else X

    def penalties(self, rows, outputs, weights, n_rows=None):
        """The penalty of every output: as given, or by the rule for a sample of `n_rows` rows."""
        if not isinstance(self.alpha, str):
            return np.full(outputs.shape[1], self.alpha, dtype=np.float64)
        how = {"loss": self.loss, "fit_intercept": self.fit_intercept, "n_rows": n_rows}
        rules = [automatic_alpha(rows, y, weights, **how) for y in outputs.T]
        return self.auto_share * np.array(rules)

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
        how = {"tol": self.tol, "max_iter": self.max_iter, **how}
        if self.kind == "adaptive":
            return solve_adaptive(program, self.solver, **how)
        return program, solve(program, self.solver, **how)

    def bound(self, program, result):
        """What a result says of the optimum over all networks; None where nothing is said."""
        return bound_output(program, result.solution.slopes)
