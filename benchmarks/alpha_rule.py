"""The penalty that is best on synthetic data, by number of samples and features.

What the formula that `alpha="auto"` departs from was chosen from: over these problems, a share of
d / sqrt(n) of the size of the gradient at the best constant network loses least against the best
penalty of each problem.
"""

import argparse
import warnings

import numpy as np
from common import fresh, report
from sklearn.datasets import (
    make_classification,
    make_friedman1,
    make_friedman2,
    make_friedman3,
    make_gaussian_quantiles,
    make_hastie_10_2,
    make_moons,
)
from sklearn.preprocessing import StandardScaler

N_TEST = 3000
SHARES = 10.0 ** np.arange(-3.25, -0.2, 0.25)
POWERS = (0.0, 0.5, 1.0, 1.5)


def _teacher(n, d, k, noise, relevant=None):
    rng = np.random.RandomState(0)
    X, U = rng.standard_normal((n, d)), rng.standard_normal((d, k))
    U[relevant:] = 0.0 if relevant else U[relevant:]
    f = np.maximum(X @ U + 0.5 * rng.standard_normal(k), 0.0) @ rng.standard_normal(k)
    return X, (f - f.mean()) / f.std() + noise * rng.standard_normal(n)


def _linear(n, d=30):
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal(d) / np.sqrt(d) + rng.standard_normal(n)


def _logistic(n, d, k, slope):
    X, f = _teacher(n, d, k, 0.0)
    chance = 1.0 / (1.0 + np.exp(-slope * f))
    return X, (np.random.RandomState(1).uniform(size=n) < chance).astype(int)


# name: data of n rows; classes are integers
PROBLEMS = {
    "friedman1": lambda n: make_friedman1(n, noise=1.0, random_state=0),
    "friedman1, noisy": lambda n: make_friedman1(n, noise=3.0, random_state=0),
    "friedman2": lambda n: make_friedman2(n, noise=150.0, random_state=0),
    "friedman3": lambda n: make_friedman3(n, noise=0.2, random_state=0),
    "teacher, d=5": lambda n: _teacher(n, 5, 4, 0.3),
    "teacher, d=20": lambda n: _teacher(n, 20, 6, 0.5, relevant=3),
    "linear, d=30": lambda n: _linear(n),
    "moons": lambda n: make_moons(n, noise=0.3, random_state=0),
    "classes, d=10": lambda n: make_classification(
        n, 10, n_informative=5, flip_y=0.05, random_state=0
    ),
    "classes, d=40": lambda n: make_classification(
        n, 40, n_informative=8, n_redundant=5, flip_y=0.1, random_state=0
    ),
    "logistic, d=5": lambda n: _logistic(n, 5, 4, 4.0),
    "logistic, d=20": lambda n: _logistic(n, 20, 3, 3.0),
    "quantiles, d=5": lambda n: make_gaussian_quantiles(
        n_samples=n, n_features=5, n_classes=2, random_state=0
    ),
    "hastie, d=10": lambda n: make_hastie_10_2(n_samples=n, random_state=0),
}


def measure(*, name, n):
    """Test scores over the shares of the gradient."""
    from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

    X, y = PROBLEMS[name](n + N_TEST)
    X = StandardScaler().fit(X[:n]).transform(X)
    classify = len(np.unique(y)) == 2
    cls = ConvexReLUClassifier if classify else ConvexReLURegressor
    # the size of the gradient: standardised rows, slopes of the loss at the best constant
    if classify:
        share = np.mean(y[:n] == y.max())
        size = np.sqrt(share * (1.0 - share))
    else:
        y = (y - y[:n].mean()) / y[:n].std()
        size = 1.0
    scores = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for share in SHARES:
            model = cls(share * size, tol=0.1, random_state=0).fit(X[:n], y[:n])
            scores.append(model.score(X[n:], y[n:]))
    return {"scores": scores, "d": X.shape[1]}


def regret(runs, factor, power):
    """Mean relative excess of the error over that of the best penalty."""
    losses = []
    for run in runs:
        share = factor * run["d"] ** power / np.sqrt(run["n"])
        score = np.interp(np.log10(share), np.log10(SHARES), run["scores"])
        losses.append((1.0 - score) / (1.0 - max(run["scores"])) - 1.0)
    return float(np.mean(losses))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", type=int, default=[100, 300, 1000])
    parser.add_argument("--only", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    args = parser.parse_args()
    rows, runs = [["problem", "n", "d", "best share", "times sqrt(n)", "best score"]], []
    for n in args.sizes:
        for name in args.only:
            run = fresh(measure, name=name, n=n)
            if "failure" in run:
                rows.append([name, n, run["failure"], "", "", ""])
                continue
            runs.append({**run, "n": n})
            best = int(np.argmax(run["scores"]))
            share = SHARES[best]
            rows.append([name, n, run["d"], f"{share:.4f}", f"{share * np.sqrt(n):.2f}"])
            rows[-1].append(f"{run['scores'][best]:.4f}")
            print(*rows[-1], sep="  ", flush=True)
    rules = [["rule", "best factor", "mean excess error"]]
    for power in POWERS:
        factors = np.geomspace(1e-3, 1.0, 60)
        losses = [regret(runs, factor, power) for factor in factors]
        best = int(np.argmin(losses))
        row = [f"factor * d^{power:g} / sqrt(n)", f"{factors[best]:.3f}"]
        rules.append([*row, f"{100 * losses[best]:.1f} %"])
    rules.append(["0.02 * d / sqrt(n)", "", f"{100 * regret(runs, 0.02, 1.0):.1f} %"])
    report(
        "alpha_rule",
        "The penalty on synthetic data",
        "Shares of the size of the gradient at the best constant network, test scores on "
        f"{N_TEST} rows. Excess error: 1 - score over that of the best share.",
        rows,
        rules,
    )


if __name__ == "__main__":
    main()
