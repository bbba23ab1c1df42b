"""Training that withstands perturbations: three programs and their solvers."""

from .cone import RobustResult, solve_robust_cone
from .margin_descent import solve_relaxed
from .margin_fixed_layer import solve_robust_scp

__all__ = ["RobustResult", "solve_relaxed", "solve_robust_cone", "solve_robust_scp"]
