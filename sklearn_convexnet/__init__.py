"""Two-layer ReLU networks trained by convex optimisation, with certificates."""

from ._version import __version__
from .certificate import Certificate
from .classifier import ConvexReLUClassifier
from .network import TwoLayerReLU
from .program.losses import (
    Hinge,
    Huber,
    Logistic,
    Loss,
    Quantile,
    Squared,
    SquaredHinge,
)
from .program.sampled import SampledProgram
from .regressor import ConvexReLURegressor
from .solvers import Result, solve

__all__ = [
    "Certificate",
    "ConvexReLUClassifier",
    "ConvexReLURegressor",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Result",
    "SampledProgram",
    "Squared",
    "SquaredHinge",
    "TwoLayerReLU",
    "__version__",
    "solve",
]
