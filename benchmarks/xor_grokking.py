"""Benign overfitting and grokking on XOR clusters (arXiv 2310.02541), and the convex fit beside it.

Gradient descent in the setting of the paper, and the convex fit of the same samples over alpha.
"""

import argparse
from statistics import mean

import numpy as np
from common import Usage, fresh, report

MARKS = [0, 1, 2, 3, 5, 8, 15, 30, 50, 100, 200, 500, 1000, 1500, 2000, 3000, 4000, 5000, 8000]


def samples(*, n, p, seed):
    """Training samples with flipped labels, and as many clean ones to test on."""
    from sklearn_convexnet.datasets import make_xor_clusters

    signal = 2.5 * np.sqrt(p / n)
    X, y = make_xor_clusters(n, p, signal=signal, flip_y=0.05, random_state=seed)
    test = make_xor_clusters(n, p, signal=signal, flip_y=0.0, random_state=1000 + seed)
    return X, y, *test


def descend(*, n, p, m, learning_rate, steps, seed):
    """Curves of gradient descent, and what it took."""
    from sklearn_convexnet import GradientDescentReLUClassifier

    model = GradientDescentReLUClassifier(
        n_neurons=m,
        learning_rate=learning_rate,
        n_steps=steps,
        init_scale=1e-15,
        fit_intercept=False,
        record_at=MARKS,
        random_state=2000 + seed,
    )
    with Usage() as usage:
        X, y, X_test, y_test = samples(n=n, p=p, seed=seed)
        model.fit(X, y, X_val=X_test, y_val=y_test)
    curve = {e["iteration"]: (e["accuracy"], e["val_accuracy"]) for e in model.history_}
    return {"curve": sorted(curve.items()), "cpu": usage.cpu, "memory": usage.memory}


def convex(*, n, p, ratios, seed):
    """Convex fits of the same samples, in n coordinates.

    The best hidden weights lie in the span of the rows: a part orthogonal to it would be
    penalised and change nothing. In an orthonormal basis of the span the problem is the same.
    """
    from sklearn_convexnet import ConvexReLUClassifier, alpha_max

    fits = []
    with Usage() as usage:
        X, y, X_test, y_test = samples(n=n, p=p, seed=seed)
        basis = np.linalg.qr(X.T)[0]
        X, X_test = X @ basis, X_test @ basis
        common = {"loss": "log_loss", "fit_intercept": False, "random_state": 0}
        largest = alpha_max(X, y, **common)
        for ratio in ratios:
            model = ConvexReLUClassifier(alpha=ratio * largest, **common).fit(X, y)
            scores = model.score(X, y), model.score(X_test, y_test)
            fits.append((model.dual_gap_, model.n_neurons_, *scores))
    return {"fits": fits, "cpu": usage.cpu, "memory": usage.memory}


def span(values, digits=3):
    """Mean, and least to largest."""
    values = list(values)
    return f"{mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def curves_table(runs):
    header = ["steps", "training accuracy", "clean test accuracy"]
    curves = [dict(run["curve"]) for run in runs]
    return [header] + [
        [step, *(span(curve[step][k] for curve in curves) for k in (0, 1))] for step in curves[0]
    ]


def usage_text(runs):
    return (
        f"{span((run['cpu'] for run in runs), 0)} CPU seconds and "
        f"{max(run['memory'] or 0 for run in runs):.0f} MB a run, the samples included."
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--features", type=int, default=40_000)
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--slow-seeds", type=int, default=3, help="of the small learning rate")
    parser.add_argument("--learning-rate", type=float, default=1e-12)
    parser.add_argument("--slow-learning-rate", type=float, default=1e-16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--slow-steps", type=int, default=5000)
    parser.add_argument(
        "--ratios", nargs="*", type=float, default=[0.9, 0.7, 0.5, 0.2, 0.1, 1e-2, 1e-3, 1e-4]
    )
    args = parser.parse_args()

    size = {"n": args.samples, "p": args.features}
    parts = []
    for rate, steps, seeds in (
        (args.learning_rate, args.steps, args.seeds),
        (args.slow_learning_rate, args.slow_steps, args.slow_seeds),
    ):
        call = {**size, "m": args.neurons, "learning_rate": rate, "steps": steps}
        runs = [fresh(descend, **call, seed=seed) for seed in range(seeds)]
        parts += [
            f"## Gradient descent, learning rate {rate:g}\n\n{seeds} seeds: mean (least to "
            f"largest). {usage_text(runs)}",
            curves_table(runs),
        ]
    runs = [fresh(convex, **size, ratios=args.ratios, seed=seed) for seed in range(args.seeds)]
    rows = [["alpha / alpha_max", "largest gap", "neurons", "training accuracy", "clean test"]]
    for k, ratio in enumerate(args.ratios):
        gaps, neurons, train, test = zip(*(run["fits"][k] for run in runs), strict=True)
        counts = f"{min(neurons)} to {max(neurons)}"
        rows.append([f"{ratio:g}", f"{max(gaps):.1e}", counts, span(train), span(test)])
    parts += [
        f"## The convex fit\n\n{args.seeds} seeds, all penalties of a seed in one run. "
        f"{usage_text(runs)} The gap is that of the convex program over the patterns found.",
        rows,
    ]
    report(
        "xor_grokking",
        "Benign overfitting and grokking",
        f"{args.samples} samples, {args.features} features, 5 % of the labels flipped, clusters "
        f"{2.5 * np.sqrt(args.features / args.samples):.1f} from the origin; gradient descent on "
        f"{args.neurons} neurons from weights of size 1e-15 without biases. The labels of the "
        f"{args.samples} test samples are not flipped. One BLAS thread.",
        *parts,
    )


if __name__ == "__main__":
    main()
