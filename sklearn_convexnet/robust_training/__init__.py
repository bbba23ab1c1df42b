"""Training that withstands perturbations: three programs and their solvers."""

from .cone import RobustResult, solve_robust_cone
from .descent import solve_relaxed
from .fixed_layer import solve_robust_scp

__all__ = ["RobustResult", "solve_relaxed", "solve_robust_cone", "solve_robust_scp"]
