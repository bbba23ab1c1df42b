"""Solvers of the sampled convex program behind one function, `solve`."""

from .result import Result, Solution
from .solve import SOLVERS, solve

__all__ = ["SOLVERS", "Result", "Solution", "solve"]
