"""Solvers of the sampled convex program behind one function, `solve`."""

from .adaptive import solve_adaptive
from .gradient_steps import FeatureForm, GradientDescent, RowForm
from .relaxed import solve_relaxed
from .result import Result, Solution
from .robust_cone import RobustResult, solve_robust_cone
from .robust_scp import solve_robust_scp
from .solve import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "FeatureForm",
    "GradientDescent",
    "Result",
    "RobustResult",
    "RowForm",
    "Solution",
    "solve",
    "solve_adaptive",
    "solve_relaxed",
    "solve_robust_cone",
    "solve_robust_scp",
]
