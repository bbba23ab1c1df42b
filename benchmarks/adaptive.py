"""Objective and accuracy against time: adaptive patterns and what a user would do instead."""

import argparse
import warnings
from importlib.util import find_spec

import numpy as np
from common import Usage, fresh, report
from scipy.optimize import minimize
from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1
from sklearn.preprocessing import StandardScaler

N_TEST = 3000


def _teacher(n, d=20, k=5):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, k)), 0.0) @ rng.standard_normal(k)
    return X, y / y.std() + 0.1 * rng.standard_normal(n)


def _friedman1(n):
    return make_friedman1(n, noise=1.0, random_state=1)


# name: loss, alpha, data, rows to train on
PROBLEMS = {
    "teacher": ("squared_error", 0.01, lambda: _teacher(500 + N_TEST), 500),
    "breast cancer": ("log_loss", 0.003, lambda: load_breast_cancer(return_X_y=True), None),
    "diabetes": ("squared_error", 0.01, lambda: load_diabetes(return_X_y=True), None),
    "friedman1 n=600": ("squared_error", 0.005, lambda: _friedman1(600 + N_TEST), 600),
    "friedman1 n=1500": ("squared_error", 0.003, lambda: _friedman1(1500 + N_TEST), 1500),
    "friedman1 n=3000": ("squared_error", 0.003, lambda: _friedman1(3000 + N_TEST), 3000),
}
METHODS = ("adaptive", "random", "wide L-BFGS", "pyscnn", "MLP Adam", "MLP L-BFGS")


def _data(name):
    loss, alpha, load, n = PROBLEMS[name]
    X, y = load()
    n = n or len(X)
    scaler = StandardScaler().fit(X[:n])
    X = scaler.transform(X)
    if loss == "squared_error":
        y = (y - y[:n].mean()) / y[:n].std()
    return loss, alpha, X[:n], y[:n], X[n:], y[n:]


def measure(*, name, method, seed, max_iter=1000):
    """Seconds, objective on the training rows and score on the test rows of one fit."""
    from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

    loss, alpha, X, y, X_test, y_test = _data(name)
    patterns = {"adaptive": "adaptive", "random": "random"}.get(method)
    with Usage() as usage, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if patterns:
            cls = ConvexReLUClassifier if loss == "log_loss" else ConvexReLURegressor
            model = cls(alpha, patterns=patterns, random_state=seed).fit(X, y)
            network = model.network_
        elif method == "wide L-BFGS":
            network = wide_lbfgs(X, y, loss, alpha, seed=seed, max_iter=max_iter)
        elif method == "pyscnn":
            network = pyscnn(X, y, alpha, seed=seed)
        else:
            network = perceptron(X, y, loss, method, seed=seed)
    signs = np.where(y > 0, 1.0, -1.0) if loss == "log_loss" else y
    answer = {"cpu": usage.cpu, "neurons": network.n_neurons}
    if not method.startswith("MLP"):
        answer["objective"] = objective(network, X, signs, loss, alpha)
    if len(y_test):
        answer["score"] = 1.0 - np.mean((network(X_test)[:, 0] - y_test) ** 2) / y_test.var()
    return answer


def objective(network, X, y, loss, alpha):
    from sklearn_convexnet.core.losses import get_loss

    weights = np.full(len(y), 1.0 / len(y))
    return network.objective(X, y, loss=get_loss(loss), alpha=alpha, weights=weights)


def perceptron(X, y, loss, method, *, seed):
    """scikit-learn's perceptron with its defaults, as a network of this package."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    from sklearn_convexnet.core.network import TwoLayerReLU

    cls = MLPClassifier if loss == "log_loss" else MLPRegressor
    mlp = cls(solver="adam" if method == "MLP Adam" else "lbfgs", random_state=seed).fit(X, y)
    (U, a), (b, c) = mlp.coefs_, mlp.intercepts_
    return TwoLayerReLU(U, b, a, c)


def pyscnn(X, y, alpha, *, seed, n_gates=100):
    """The convex program over random gates by pyscnn; squared loss, without output bias."""
    import logging

    from scnn.activations import sample_gate_vectors
    from scnn.metrics import Metrics
    from scnn.models import ConvexReLU
    from scnn.optimize import optimize_model
    from scnn.regularizers import NeuronGL1
    from scnn.solvers import AL

    from sklearn_convexnet import PatternProgram

    logging.disable(logging.WARNING)
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    # columns of about unit length, as it wants them
    scale = np.sqrt(np.mean(np.sum(rows**2, axis=0)))
    model = ConvexReLU(sample_gate_vectors(seed, rows.shape[1], n_gates))
    model, _ = optimize_model(
        model, AL(model), Metrics(), rows / scale, y, regularizer=NeuronGL1(alpha / scale),
        return_convex=True, unitize_data=False,
    )  # fmt: skip
    gates = np.asarray(model.G, dtype=float)
    v, w = (np.asarray(block, dtype=float)[0].T / scale for block in model.parameters)
    program = PatternProgram.from_data(
        X, y, rows @ gates >= 0, alpha=alpha, fit_intercept=True, gates=gates
    )
    if program.n_patterns != v.shape[1]:
        raise RuntimeError("pyscnn sees other patterns")
    return program.network(*program.feasible_point(v, w), 0.0)


def wide_lbfgs(X, y, loss, alpha, *, seed, width=400, max_iter=1000):
    """L-BFGS on the training objective of a wide network from random weights."""
    from sklearn_convexnet.core.losses import get_loss
    from sklearn_convexnet.core.network import TwoLayerReLU

    loss = get_loss(loss)
    y = np.where(y > 0, 1.0, -1.0) if loss.target == "sign" else y
    rows = np.concatenate([X, np.ones((len(X), 1))], axis=1)
    n, d = rows.shape

    def value_and_gradient(point):
        U, a = point[: d * width].reshape(d, width), point[d * width : -1]
        hidden = np.maximum(rows @ U, 0.0)
        f = hidden @ a + point[-1]
        slopes = loss.derivative(f, y) / n
        value = loss.value(f, y).mean() + 0.5 * alpha * (point[:-1] @ point[:-1])
        gradient = alpha * point
        gradient[-1] = slopes.sum()
        gradient[d * width : -1] += slopes @ hidden
        gradient[: d * width] += (((slopes * rows.T) @ (hidden > 0).astype(float)) * a).ravel()
        return value, gradient

    rng = np.random.RandomState(seed)
    start = rng.standard_normal(d * width + width + 1) * 0.5 / np.sqrt(d)
    found = minimize(
        value_and_gradient, start, jac=True, method="L-BFGS-B",
        options={"maxiter": max_iter, "maxfun": 2 * max_iter, "ftol": 1e-9, "maxcor": 20},
    ).x  # fmt: skip
    U, a = found[: d * width].reshape(d, width), found[d * width : -1]
    return TwoLayerReLU(U[:-1], U[-1], a[:, None], found[-1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="CPU seconds per run")
    parser.add_argument("--starts", type=int, default=0, help="long runs of L-BFGS to compare with")
    args = parser.parse_args()
    rows = [["problem", "method", "objective / best", "worst seed", "test R²", "neurons", "CPU s"]]
    for name in args.only:
        runs = {
            method: [
                fresh(measure, name=name, method=method, seed=seed, limit=args.limit)
                for seed in range(args.seeds)
            ]
            for method in METHODS
            if method != "pyscnn" or (find_spec("scnn") and PROBLEMS[name][0] == "squared_error")
        }
        if args.starts:
            call = {"name": name, "method": "wide L-BFGS", "max_iter": 5000}
            long = [
                fresh(measure, seed=100 + seed, limit=10 * args.limit, **call)
                for seed in range(args.starts)
            ]
            long = [run for run in long if "failure" not in run]
            runs[f"L-BFGS, best of {len(long)}"] = [
                {
                    **min(long, key=lambda run: run["objective"]),
                    "cpu": sum(run["cpu"] for run in long),
                }
            ]
        best = min(r["objective"] for some in runs.values() for r in some if "objective" in r)
        for method, some in runs.items():
            some = [run for run in some if "failure" not in run]
            if not some:
                rows.append([name, method, "failed", *[""] * 4])
                continue
            values = [run["objective"] / best for run in some if "objective" in run]
            scores = [run["score"] for run in some if "score" in run]
            rows.append(
                [
                    name,
                    method,
                    f"{np.median(values):.4f}" if values else "-",
                    f"{max(values):.4f}" if values else "-",
                    f"{np.median(scores):.4f}" if scores else "-",
                    f"{np.median([run['neurons'] for run in some]):.0f}",
                    f"{np.median([run['cpu'] for run in some]):.2f}",
                ]
            )
            print(*rows[-1], sep="  ", flush=True)
    report(
        "adaptive",
        "Adaptive patterns and the alternatives",
        f"Medians of {args.seeds} seeds, one thread. Objectives relative to the best of all runs "
        "on the problem. wide L-BFGS: 400 neurons, 1000 iterations, the same objective; best of "
        "many: 5000 iterations, other seeds, time of all. pyscnn: its augmented Lagrangian over "
        "100 random gates. MLP: scikit-learn's defaults (another objective: its penalty is 1e-4).",
        rows,
    )


if __name__ == "__main__":
    main()
