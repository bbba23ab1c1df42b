"""Two-layer ReLU networks trained by convex optimisation, with certificates."""

from ._show_versions import show_versions
from ._version import __version__
from .autoencoder.estimators import (
    GatedSparseAutoencoder,
    SignAwareGatedSparseAutoencoder,
)
from .certificate import Certificate
from .classifier import ConvexReLUClassifier
from .cross_validation import ConvexReLUClassifierCV, ConvexReLURegressorCV
from .gradient_descent import GradientDescentReLUClassifier
from .network import TwoLayerReLU
from .path import RegularizationPath, alpha_max, convex_relu_path
from .program.losses import (
    Hinge,
    Huber,
    Logistic,
    Loss,
    Quantile,
    Squared,
    SquaredHinge,
)
from .program.perturbation import Perturbation
from .program.robust_cone import RobustProgram
from .program.sampled import SampledProgram
from .regressor import ConvexReLURegressor
from .robust import RobustConvexReLUClassifier
from .solvers import Result, RobustResult, solve, solve_robust_cone, solve_robust_scp

__all__ = [
    "Certificate",
    "ConvexReLUClassifier",
    "ConvexReLUClassifierCV",
    "ConvexReLURegressor",
    "ConvexReLURegressorCV",
    "GatedSparseAutoencoder",
    "GradientDescentReLUClassifier",
    "Hinge",
    "Huber",
    "Logistic",
    "Loss",
    "Quantile",
    "Perturbation",
    "RegularizationPath",
    "Result",
    "RobustConvexReLUClassifier",
    "RobustProgram",
    "RobustResult",
    "SampledProgram",
    "SignAwareGatedSparseAutoencoder",
    "Squared",
    "SquaredHinge",
    "TwoLayerReLU",
    "__version__",
    "alpha_max",
    "convex_relu_path",
    "show_versions",
    "solve",
    "solve_robust_cone",
    "solve_robust_scp",
]
