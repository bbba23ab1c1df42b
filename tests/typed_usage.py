"""What a type checker makes of the package, for mypy --strict to check in .ci/run.

Nothing here is run. An `ignore` is a mistake that must be found: one without effect is an error.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from sklearn_convexnet import (
    Certificate,
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    PatternProgram,
    Quantile,
    RegularizationPath,
    Result,
    RobustConvexReLUClassifier,
    TwoLayerReLU,
    alpha_max,
    convex_relu_path,
    solve,
)
from sklearn_convexnet.export import to_dict
from sklearn_convexnet.robustness import certified_radius, robust_accuracy

Floats = NDArray[np.floating[Any]]
X = [[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
y = [0, 1, 1]


def classification() -> None:
    model = ConvexReLUClassifier(alpha="auto", loss="hinge", random_state=0)
    # through the decorators: the class, and not Any
    assert_type(model.fit(X, y), ConvexReLUClassifier)
    assert_type(model.predict_proba(X), Floats)
    assert_type(model.certificate(X, y, time_limit=1.0), Certificate)
    assert_type(model.coefs_, list[Floats])
    assert_type(model.network_, TwoLayerReLU)
    ConvexReLUClassifier(alpha="automatic")  # type: ignore[arg-type]
    ConvexReLUClassifier(solver="adam")  # type: ignore[arg-type]
    ConvexReLUClassifier(1.0, "hinge")  # type: ignore[call-arg]
    model.fit(X)  # type: ignore[call-arg]


def robust_classification() -> None:
    model = RobustConvexReLUClassifier(epsilon=[0.1, 0.0], norm=2).fit(X, y)
    assert_type(model, RobustConvexReLUClassifier)
    assert_type(model.certified_accuracy_, float)
    assert_type(robust_accuracy(model, X, y, 0.1, bounds=(0, 1)), float)
    assert_type(certified_radius(model, np.array(X)), Floats)
    robust_accuracy(model, X, y, 0.1, bounds=1.0)  # type: ignore[arg-type]


def regression() -> None:
    model = ConvexReLURegressor(loss=Quantile(0.9)).fit(X, y, sample_weight=[1, 2, 1])
    assert_type(model, ConvexReLURegressor)
    assert_type(model.predict(X), Floats)
    assert_type(model.output_range_, Floats)
    ConvexReLURegressor(output_range=([0.0, -np.inf], 1))
    ConvexReLURegressor(output_range="none")  # type: ignore[arg-type]
    assert_type(to_dict(model), dict[str, NDArray[Any]])


def selection() -> None:
    assert_type(ConvexReLUClassifierCV(cv=3, scoring="accuracy").fit(X, y).alpha_, float)
    assert_type(alpha_max(X, y, loss="huber"), float)
    path = convex_relu_path(X, y, n_alphas=5)
    assert_type(path, RegularizationPath)
    assert_type(path.networks[0].split(), list[TwoLayerReLU])


def programs() -> None:
    program = PatternProgram.from_data(X, y, [[True], [True], [False]], alpha=0.1)
    result = solve(program, tol=1e-6, on_check=lambda entry: entry["gap"] < 1e-3)
    assert_type(result, Result)
    assert_type(result.history, list[dict[str, Any]])
    solve(program, "interior")  # type: ignore[arg-type]
