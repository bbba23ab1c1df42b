"""How far a network withstands perturbed inputs: attacks, certified bounds, exact worst cases."""

from .certify import (
    MarginBounds,
    OutputBounds,
    certified_accuracy,
    certified_radius,
    certify,
    fgsm,
    pgd,
    robust_accuracy,
)

__all__ = [
    "MarginBounds",
    "OutputBounds",
    "certified_accuracy",
    "certified_radius",
    "certify",
    "fgsm",
    "pgd",
    "robust_accuracy",
]
