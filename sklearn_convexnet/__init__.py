"""Two-layer ReLU networks trained by convex optimisation, with certificates."""

from ._show_versions import show_versions
from ._version import __version__
from .autoencoder.estimators import (
    GatedSparseAutoencoder,
    SignAwareGatedSparseAutoencoder,
)
from .core.losses import (
    AbsoluteError,
    Hinge,
    Huber,
    LogLoss,
    Loss,
    Quantile,
    SquaredError,
    SquaredHinge,
)
from .core.network import TwoLayerReLU
from .estimators.classifier import ConvexReLUClassifier
from .estimators.cross_validation import ConvexReLUClassifierCV, ConvexReLURegressorCV
from .estimators.gradient_descent import GradientDescentReLUClassifier
from .estimators.path import RegularizationPath, alpha_max, convex_relu_path
from .estimators.regressor import ConvexReLURegressor
from .estimators.robust import RobustConvexReLUClassifier
from .program.pattern_program import PatternProgram
from .program.perturbation import Perturbation
from .proof.certificate import Certificate
from .robust_training import RobustResult, solve_robust_cone, solve_robust_scp
from .robust_training.cone_program import RobustProgram
from .solvers import Result, solve

__all__ = [
    "AbsoluteError",
    "Certificate",
    "ConvexReLUClassifier",
    "ConvexReLUClassifierCV",
    "ConvexReLURegressor",
    "ConvexReLURegressorCV",
    "GatedSparseAutoencoder",
    "GradientDescentReLUClassifier",
    "Hinge",
    "Huber",
    "LogLoss",
    "Loss",
    "Quantile",
    "Perturbation",
    "RegularizationPath",
    "Result",
    "RobustConvexReLUClassifier",
    "RobustProgram",
    "RobustResult",
    "PatternProgram",
    "SignAwareGatedSparseAutoencoder",
    "SquaredError",
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
