"""Random problems and random estimators for `soak.py`: everything follows from one seed."""

from dataclasses import dataclass

import numpy as np
from sklearn.base import is_classifier, is_regressor

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    Huber,
    Quantile,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)

# the share of each
ESTIMATORS = {
    ConvexReLUClassifier: 0.25,
    ConvexReLURegressor: 0.25,
    RobustConvexReLUClassifier: 0.2,
    GradientDescentReLUClassifier: 0.1,
    GatedSparseAutoencoder: 0.06,
    SignAwareGatedSparseAutoencoder: 0.06,
    ConvexReLUClassifierCV: 0.04,
    ConvexReLURegressorCV: 0.04,
}
# n_samples * n_features * n_patterns of a fit, about
LARGEST = 5e5


@dataclass
class Case:
    """A problem, an estimator, and what is to happen to it.

    Parameters
    ----------
    model : estimator
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs), or None
    sample_weight : ndarray of shape (n_samples,) or None
    interrupt : {"line", "timer", None}
        Ctrl-C when a line is printed, or when a random time has passed.
    when : float
        The line, or the time, as a share of those of the first fit.
    backend : {"loky", "threading", None}
        Whether the fit is repeated with two jobs, and where they run.
    read_only : bool
        Whether the arrays are not writeable.
    """

    model: object
    X: np.ndarray
    y: np.ndarray | None
    sample_weight: np.ndarray | None
    interrupt: str | None
    when: float
    backend: str | None
    read_only: bool

    def __str__(self):
        shape = "x".join(map(str, self.X.shape))
        return f"{self.model} on {shape} {self.X.dtype}"


def draw_case(seed):
    """The case of a seed."""
    rng = np.random.RandomState(seed)
    make = list(ESTIMATORS)[rng.choice(len(ESTIMATORS), p=list(ESTIMATORS.values()))]
    chosen_by_folds = make in (ConvexReLUClassifierCV, ConvexReLURegressorCV)
    n = _whole(rng, 30, 100) if chosen_by_folds else _whole(rng, 5, _pick(rng, 50, 300, 2000))
    d = _whole(rng, 1, 5 if chosen_by_folds else 30)
    X = _features(rng, n, d)
    y = weights = None
    if is_classifier(make()):
        y = _labels(rng, X)
    elif is_regressor(make()):
        y = _targets(rng, X)
    if y is not None and not chosen_by_folds:
        weights = _weights(rng, n)
    model = make(**_PARAMETERS[make](rng, X), random_state=int(rng.randint(1000)))
    parallel = "n_jobs" in model.get_params() and rng.uniform() < 0.3
    return Case(
        model,
        X,
        y,
        weights,
        interrupt=_pick(rng, "line", "timer", None),
        when=rng.uniform(),
        backend=_pick(rng, "loky", "threading", "threading") if parallel else None,
        read_only=rng.uniform() < 0.5,
    )


# ------------------------------------------------------------------------------------------ data


def _features(rng, n, d):
    X = rng.standard_normal((n, d))
    if rng.uniform() < 0.2:
        X = rng.standard_t(2, size=(n, d))
    if rng.uniform() < 0.2:
        X = np.round(X, 1)
    if rng.uniform() < 0.2:
        X = X[rng.randint(_whole(rng, 1, n), size=n)]  # few distinct rows
    for flaw in (_duplicated, _constant, _collinear, _huge, _tiny, _far):
        if rng.uniform() < 0.15:
            X[:, rng.randint(d)] = flaw(rng, X)
    if rng.uniform() < 0.1:
        X *= 10.0 ** rng.uniform(-6, 6)
    if rng.uniform() < 0.25:
        X = X.astype(np.float32)
    return np.asfortranarray(X) if rng.uniform() < 0.3 else X


def _duplicated(rng, X):
    return X[:, rng.randint(X.shape[1])]


def _constant(rng, X):
    return _pick(rng, 0.0, 1.0, -1e3, 1e-8)


def _collinear(rng, X):
    return X @ rng.standard_normal(X.shape[1])


def _huge(rng, X):
    return rng.standard_normal(len(X)) * 10.0 ** rng.uniform(3, 12)


def _tiny(rng, X):
    return rng.standard_normal(len(X)) * 10.0 ** rng.uniform(-12, -3)


def _far(rng, X):
    return rng.standard_normal(len(X)) + 10.0 ** rng.uniform(1, 4)


def _signal(rng, X):
    Z = X - X.mean(axis=0)
    Z = Z / np.where(Z.std(axis=0) > 0, Z.std(axis=0), 1.0)
    kinks = np.abs(Z @ rng.standard_normal(X.shape[1]))
    return kinks + Z[:, 0] + rng.uniform(0, 1) * rng.standard_normal(len(X))


def _labels(rng, X):
    """Two to five classes, by the ranks of a signal: every class occurs."""
    n_classes = min(_pick(rng, 2, 2, 2, 3, 4, 5), len(X))
    ranks = np.argsort(np.argsort(_signal(rng, X)))
    cuts = np.linspace(0, len(X), n_classes + 1)[1:-1]
    labels = np.digitize(ranks, cuts)
    if rng.uniform() < 0.1:
        rng.shuffle(labels)
    names = _pick(rng, np.arange(5), np.array([-1, 1, 2, 7, 9]), np.array(list("abcde")))
    return names[labels]


def _targets(rng, X):
    n_outputs = _pick(rng, 1, 1, 1, 2, 3)
    Y = np.stack([_signal(rng, X) for _ in range(n_outputs)], axis=1)
    if rng.uniform() < 0.15:
        Y *= 10.0 ** rng.uniform(-6, 6)
    if rng.uniform() < 0.1:
        Y[:, 0] = 3.0
    if rng.uniform() < 0.1:
        Y = np.round(Y)
    return Y[:, 0] if n_outputs == 1 and rng.uniform() < 0.8 else Y


def _weights(rng, n):
    kind = rng.randint(6)
    if kind == 0:
        return rng.uniform(0, 2, size=n)
    if kind == 1:
        return rng.randint(3, size=n).astype(float)
    if kind == 2:
        return 10.0 ** rng.uniform(-8, 8, size=n)
    return None


# ------------------------------------------------------------------------------------ parameters


def _common(rng, X):
    n, d = X.shape
    return {
        "alpha": _pick(rng, "auto", "auto", _power(rng, -6, 1)),
        "fit_intercept": rng.uniform() < 0.8,
        "n_patterns": max(1, min(_whole(rng, 1, 100), int(LARGEST / (n * d)))),
        # what is hard and large takes minutes, and tells no more
        "tol": _power(rng, -4 if n * d < 2000 else -2, -0.3),
        "max_iter": _pick(rng, 1, 20, 50, 100, 300),
    }


def _convex(rng, X, losses):
    n, d = X.shape
    params = _common(rng, X)
    loss = losses[rng.randint(len(losses))]
    solvers = ["admm", "admm", "admm", "scp"]
    if loss == "squared_error":
        solvers += ["admm-cholesky"]
    if loss in ("squared_error", "huber", "log_loss", "squared_hinge"):
        solvers += ["admm-rbcd"]
    solver = solvers[rng.randint(len(solvers))]
    patterns = _pick(rng, "adaptive", "adaptive", "random", "given", "all")
    if patterns == "all" and (n > 40 or d > 2):
        patterns = "adaptive"
    if patterns == "given":
        gates = rng.standard_normal((d, params["n_patterns"]))
        patterns = X.astype(float) @ gates >= (X.astype(float) @ gates)[rng.randint(n)]
        if not params["fit_intercept"]:
            patterns = X.astype(float) @ gates > 0
    if solver == "admm-cholesky":
        # a dense matrix of 2 d P rows
        params["n_patterns"] = min(params["n_patterns"], 10)
    return {
        **params,
        "loss": loss,
        "solver": solver,
        "patterns": patterns,
        "warm_start": rng.uniform() < 0.3,
    }


def _classifier(rng, X):
    params = _convex(rng, X, ["log_loss", "log_loss", "hinge", "squared_hinge"])
    return params | {"class_weight": _pick(rng, None, None, "balanced")}


def _regressor(rng, X):
    losses = ["squared_error", "squared_error", "absolute_error", "huber", "quantile"]
    return _convex(rng, X, [*losses, Huber(0.3), Quantile(0.9)])


def _robust(rng, X):
    params = _common(rng, X)
    scale = float(np.median(X.std(axis=0)))
    norm = _pick(rng, np.inf, np.inf, 2, 1)
    epsilon = _pick(rng, 0.0, 0.01, 0.1, 0.3, 1.0) * scale
    if rng.uniform() < 0.3:
        epsilon = epsilon * (rng.uniform(size=X.shape[1]) < 0.7)
    bounds = None
    if norm == np.inf and rng.uniform() < 0.2:
        bounds = (X.min(axis=0).astype(float), X.max(axis=0).astype(float))
    return {
        **params,
        "loss": _pick(rng, "log_loss", "hinge", "squared_hinge"),
        "epsilon": epsilon,
        "norm": norm,
        "bounds": bounds,
        "formulation": _pick(rng, "relaxed", "relaxed", "scp", "cone"),
        "warm_start": rng.uniform() < 0.3,
        "class_weight": _pick(rng, None, None, "balanced"),
    }


def _gradient_descent(rng, X):
    loss = _pick(rng, "log_loss", "hinge", "squared_hinge")
    return {
        "alpha": _pick(rng, 0.0, _power(rng, -4, 0)),
        "loss": loss,
        "learning_rate": _power(rng, -6, -1) if loss == "hinge" else "auto",
        "n_neurons": _whole(rng, 1, 50),
        "n_steps": _whole(rng, 1, 200),
        "train_output": rng.uniform() < 0.5,
        "init_scale": _power(rng, -6, 0),
        "fit_intercept": rng.uniform() < 0.8,
        "warm_start": rng.uniform() < 0.3,
        "class_weight": _pick(rng, None, None, "balanced"),
    }


def _autoencoder(rng, X):
    return {
        "n_components": _pick(rng, None, _whole(rng, 1, 40)),
        "alpha": _pick(rng, 0.0, 0.2, _power(rng, -3, 1)),
        "auxiliary": rng.uniform() < 0.8,
        "learning_rate": _power(rng, -4, -1),
        "batch_size": _whole(rng, 1, 256),
        "max_iter": _whole(rng, 1, 300),
        "learning_rate_warmup": int(rng.randint(100)),
        "alpha_warmup": int(rng.randint(100)),
        "dead_latents": _pick(rng, "reset", "resample", None),
        "dead_after": _whole(rng, 1, 50),
    }


def _sign_aware(rng, X):
    return _autoencoder(rng, X) | {
        "tied": rng.uniform() < 0.5,
        "threshold": rng.uniform(0, 0.2),
    }


def _by_folds(rng, X, losses):
    params = _common(rng, X) | {"loss": losses[rng.randint(len(losses))]}
    del params["alpha"]
    params["n_patterns"] = min(params["n_patterns"], 20)
    return params | {
        "alphas": _pick(rng, 3, [0.3, 0.01]),
        "eps": _power(rng, -3, -0.5),
        "cv": _pick(rng, 2, 3),
        "patterns": _pick(rng, "adaptive", "random"),
    }


def _classifier_by_folds(rng, X):
    return _by_folds(rng, X, ["log_loss", "hinge", "squared_hinge"])


def _regressor_by_folds(rng, X):
    return _by_folds(rng, X, ["squared_error", "absolute_error", "huber", "quantile"])


_PARAMETERS = {
    ConvexReLUClassifier: _classifier,
    ConvexReLURegressor: _regressor,
    RobustConvexReLUClassifier: _robust,
    GradientDescentReLUClassifier: _gradient_descent,
    GatedSparseAutoencoder: _autoencoder,
    SignAwareGatedSparseAutoencoder: _sign_aware,
    ConvexReLUClassifierCV: _classifier_by_folds,
    ConvexReLURegressorCV: _regressor_by_folds,
}


def _pick(rng, *values):
    return values[rng.randint(len(values))]


def _whole(rng, low, high):
    """A whole number, evenly spread in its logarithm."""
    return int(np.exp(rng.uniform(np.log(low), np.log(high + 1))))


def _power(rng, low, high):
    return float(10.0 ** rng.uniform(low, high))
