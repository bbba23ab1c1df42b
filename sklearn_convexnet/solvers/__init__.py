"""Solvers of the sampled convex program behind one function, `solve`."""

from .adaptive import solve_adaptive
from .relaxed import solve_relaxed
from .result import Result, Solution
from .solve import SOLVERS, solve

__all__ = ["SOLVERS", "Result", "Solution", "solve", "solve_adaptive", "solve_relaxed"]
