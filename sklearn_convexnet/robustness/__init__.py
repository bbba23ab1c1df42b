"""How far a network withstands perturbed inputs: attacks, certified bounds, exact worst cases."""

from .accuracy import certified_accuracy, robust_accuracy
from .attacks import fgsm, pgd
from .certify import MarginBounds, OutputBounds, certify
from .monotonicity import MonotonicityBounds, certify_monotonic
from .radius import certified_radius

__all__ = [
    "MarginBounds",
    "MonotonicityBounds",
    "OutputBounds",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "certify_monotonic",
    "fgsm",
    "pgd",
    "robust_accuracy",
]
