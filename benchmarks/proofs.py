"""How far networks are proved globally optimal, and in what time, by the number of features."""

import argparse

import numpy as np
from common import Usage, fresh, report
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_iris,
    make_friedman1,
    make_friedman2,
    make_moons,
)
from sklearn.preprocessing import StandardScaler


def _first_columns(load, d):
    X, y = load(return_X_y=True)
    return X[:, :d], y


# name: classification?, data
PROBLEMS = {
    "moons, n=1000, d=2": (True, lambda: make_moons(1000, noise=0.3, random_state=0)),
    "friedman1 [3], n=1000, d=3": (False, lambda: _friedman1(1000, 3)),
    "friedman2, n=500, d=4": (False, lambda: make_friedman2(500, noise=100.0, random_state=0)),
    "iris, n=150, d=4": (True, lambda: load_iris(return_X_y=True)),
    "friedman1 [5], n=500, d=5": (False, lambda: _friedman1(500, 5)),
    "breast cancer [4], n=569, d=4": (True, lambda: _first_columns(load_breast_cancer, 4)),
    "diabetes [4], n=442, d=4": (False, lambda: _first_columns(load_diabetes, 4)),
    "diabetes [5], n=442, d=5": (False, lambda: _first_columns(load_diabetes, 5)),
    "diabetes [6], n=442, d=6": (False, lambda: _first_columns(load_diabetes, 6)),
    "friedman1 [7], n=500, d=7": (False, lambda: _friedman1(500, 7)),
    "diabetes, n=442, d=10": (False, lambda: load_diabetes(return_X_y=True)),
}


def _friedman1(n, d):
    X, y = make_friedman1(n, n_features=max(d, 5), noise=1.0, random_state=0)
    return X[:, :d], y


def measure(*, name, time_limit):
    """Fit with default parameters, then ask for a proof."""
    from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

    classify, load = PROBLEMS[name]
    X, y = load()
    X = StandardScaler().fit_transform(X)
    model = (ConvexReLUClassifier if classify else ConvexReLURegressor)(random_state=0)
    with Usage() as fit:
        model.fit(X, y)
    with Usage() as proof:
        certificate = model.certificate(X, y, time_limit=time_limit)
    searched = certificate.detail["searched_lower_bound"]
    return {
        "fit": fit.cpu,
        "proof": proof.cpu,
        "kind": certificate.kind,
        "proved": certificate.gap,
        "at once": model.certificate_.gap,
        "searched": 1.0 - searched / certificate.objective,
        "cones": certificate.detail["n_cones"],
        "neurons": model.n_neurons_,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--time-limit", type=float, default=180.0, help="seconds per proof")
    args = parser.parse_args()
    header = "data|neurons|fit CPU s|searched gap of the fit|searched gap|proved gap|kind"
    rows = [[*header.split("|"), "proof CPU s", "cones"]]
    for name in args.only:
        run = fresh(measure, name=name, time_limit=args.time_limit)
        if "failure" in run:
            rows.append([name, run["failure"], *[""] * 7])
            continue
        gaps = [f"{100 * run[key]:.2g} %" for key in ("at once", "searched", "proved")]
        rows.append(
            [name, run["neurons"], f"{run['fit']:.2f}", *gaps, run["kind"], f"{run['proof']:.1f}"]
            + [run["cones"]]
        )
        print(*rows[-1], sep="  ", flush=True)
    report(
        "proofs",
        "Networks proved globally optimal",
        f"Default parameters; `certificate(X, y, time_limit={np.round(args.time_limit):g})`, one "
        "thread. [k]: the first k features. d does not count the constant column. Gaps are "
        "relative to the objective, over all two-layer ReLU networks of any width (iris: of those "
        "whose outputs share no neuron). A proof aims at a gap of 1 % and stops there.",
        rows,
    )


if __name__ == "__main__":
    main()
