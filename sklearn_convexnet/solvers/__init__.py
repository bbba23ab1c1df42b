"""Solvers of the sampled convex program behind one function, `solve`."""

from .adaptive import solve_adaptive
from .base import BaseSolver, Result
from .gradient_steps import FeatureForm, GradientDescent, RowForm
from .solve import SOLVERS, solve

__all__ = [
    "SOLVERS",
    "BaseSolver",
    "FeatureForm",
    "GradientDescent",
    "Result",
    "RowForm",
    "solve",
    "solve_adaptive",
]
