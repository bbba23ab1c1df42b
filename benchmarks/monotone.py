"""What monotone features cost and gain, next to monotone gradient boosting."""

import argparse

import numpy as np
from common import Usage, fresh, report
from datasets import INSTALL

# what grows or falls with what, as common sense has it; chosen with the correlations in view
DIRECTIONS = {
    "diabetes": [0, 0, 1, 1, 0, 0, 0, 0, 1, 0],
    "autompg": [0, -1, -1, -1, 0, 1, 0],
    "concrete": [1, 1, 0, -1, 0, 0, 0, 1],
    "medical_cost": [1, 0, 1, 0, 0, 0],
    "real_estate_valuation": [-1, 0, -1, 1, 0, 0],
    "saheart": [0, 1, 1, 0, 1, 0, 0, 0, 1],
    "pima": [0, 1, 0, 0, 0, 1, 1, 1],
    "wisconsin": [1, 1, 1, 1, 1, 1, 1, 1, 1],
}
MODELS = ("network", "boosting")


def estimator(model, task, signs):
    """A model with its default parameters."""
    if model == "boosting":
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        kinds = HistGradientBoostingRegressor, HistGradientBoostingClassifier
    else:
        from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

        kinds = ConvexReLURegressor, ConvexReLUClassifier
    return kinds[task == "classification"](monotonic_cst=signs, random_state=0)


def measure(*, name, rows, seed, model, monotone):
    """Score, CPU seconds, and the features in which the network goes the wrong way."""
    from datasets import load
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    from sklearn_convexnet.robustness import certify_monotonic

    data, signs = load(name), np.array(DIRECTIONS[name])
    labels = data.y if data.task == "classification" else None
    size = min(rows, int(0.7 * len(data.y)))
    X, X_test, y, y_test = train_test_split(
        data.X, data.y, train_size=size, stratify=labels, random_state=seed
    )
    scale = StandardScaler().fit(X)
    X, X_test = scale.transform(X), scale.transform(X_test)
    fitted = estimator(model, data.task, signs if monotone else None)
    with Usage() as usage:
        fitted.fit(X, y)
    if labels is None:
        score = fitted.score(X_test, y_test)
    else:
        score = log_loss(y_test, fitted.predict_proba(X_test))
    found = {"cpu": usage.cpu, "score": score, "task": data.task}
    if model == "network":
        box = X.min(axis=0), X.max(axis=0)
        with Usage() as usage:
            answers = [
                certify_monotonic(fitted, f, box, monotonic_cst=int(signs[f]), time_limit=20).status
                for f in np.flatnonzero(signs)
            ]
        wrong = answers.count("falsified")
        found |= {"wrong": wrong, "open": answers.count("unknown"), "asked": len(answers)}
        found["proof"] = usage.cpu
    return found


def cell(runs):
    """Mean score, median of seconds, and wrong features over those that were asked about."""
    failed = [run["failure"] for run in runs if "failure" in run]
    if failed:
        return failed[0]
    parts = [f"{np.mean([run['score'] for run in runs]):.3f}"]
    parts.append(f"{np.median([run['cpu'] for run in runs]):.2f}")
    if "wrong" in runs[0]:
        wrong, unknown, asked = (
            sum(run[key] for run in runs) for key in ("wrong", "open", "asked")
        )
        parts.append(f"{wrong}{f' to {wrong + unknown}' if unknown else ''} of {asked}")
    return " / ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=list(DIRECTIONS), help=f"{INSTALL}")
    parser.add_argument("--rows", type=int, default=800, help="training rows, at most")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--limit", type=float, default=600, help="CPU seconds per fit")
    parser.add_argument("--report", default="monotone")
    args = parser.parse_args()

    ways = [(model, monotone) for model in MODELS for monotone in (False, True)]
    header = [f"{'monotone' if monotone else 'free'} {model}" for model, monotone in ways]
    tables = {"regression": [["data", *header]], "classification": [["data", *header]]}
    for name in args.data:
        row, task = [name], None
        for model, monotone in ways:
            call = {"name": name, "rows": args.rows, "model": model, "monotone": monotone}
            runs = [
                fresh(measure, seed=seed, limit=args.limit, **call) for seed in range(args.splits)
            ]
            row.append(cell(runs))
            task = task or next((run["task"] for run in runs if "task" in run), None)
        tables[task or "regression"].append(row)
    report(
        args.report,
        "Monotone features",
        f"Default parameters, {args.splits} splits, at most {args.rows} training rows, one thread. "
        "Score / CPU seconds; of networks the constrained features, over all splits, in which they "
        "go the wrong way somewhere in the box of the training data.",
        "R2 of regression:",
        tables["regression"],
        "Log loss of classification:",
        tables["classification"],
    )


if __name__ == "__main__":
    main()
