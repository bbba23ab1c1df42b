"""Displays, in the conventions of scikit-learn; they need matplotlib."""

from .convergence import ConvergenceDisplay
from .neurons import NeuronDisplay
from .path import RegularizationPathDisplay
from .patterns import PatternDisplay
from .robustness import RobustnessDisplay

__all__ = [
    "ConvergenceDisplay",
    "NeuronDisplay",
    "PatternDisplay",
    "RegularizationPathDisplay",
    "RobustnessDisplay",
]
