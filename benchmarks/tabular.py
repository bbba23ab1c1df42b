"""Log loss, accuracy and R² of two-layer ReLU networks and their peers on small tables.

Run ``python benchmarks/tabular.py --help``; how to read the report is in README.md.
"""

import argparse
import functools
import importlib
import importlib.metadata
import importlib.util
import itertools
import json
import multiprocessing
import os
import sys
import time
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from statistics import median
from typing import NamedTuple

import datasets
import numpy as np
from common import FORCED_KERNELS, HERE, THREADS, report
from datasets import CLASSIFICATION, REGRESSION

OURS, CLOCK = "ours", "MLP Adam"  # whose CPU seconds are the unit of the others
DEFAULT, TUNED = "default", "cv"
INNER_FOLDS = 3
# test scores closer than this are a tie
TIE = 1e-6
# where the plot of differences ends
LARGEST_GAP = 0.2


class Metric(NamedTuple):
    """A score of test rows; `sign` is -1 where less is better."""

    name: str
    task: str
    sign: int


LOG_LOSS = Metric("log loss", CLASSIFICATION, -1)
ACCURACY = Metric("accuracy", CLASSIFICATION, 1)
R2 = Metric("R²", REGRESSION, 1)
METRICS = LOG_LOSS, ACCURACY, R2
HALVES = {
    "judging": [name for name in datasets.SUITE if name not in datasets.DESIGN],
    "design": [name for name in datasets.SUITE if name in datasets.DESIGN],
    "all": list(datasets.SUITE),
}
TITLES = {DEFAULT: "Default parameters", TUNED: "Tuned by an inner cross-validation"}


# --------------------------------------------------------------------------------- models


class Model(NamedTuple):
    """Classes of an estimator for both tasks, their parameters, and the grid of `--cv`."""

    classifier: str
    regressor: str
    parameters: dict
    grids: dict  # of either task


def _both(**grid):
    return {CLASSIFICATION: grid, REGRESSION: grid}


SEED = {"random_state": 0}
MODELS = {
    OURS: Model(
        "sklearn_convexnet.ConvexReLUClassifier", "sklearn_convexnet.ConvexReLURegressor",
        SEED, _both(alpha=np.geomspace(2e-3, 1e-1, 5)),
    ),
    "linear": Model(
        "sklearn.linear_model.LogisticRegression", "sklearn.linear_model.Ridge",
        {}, {CLASSIFICATION: {"C": np.geomspace(1e-2, 1e2, 5)},
             REGRESSION: {"alpha": np.geomspace(1e-2, 1e2, 5)}},
    ),
    "SVM": Model(
        "sklearn.svm.SVC", "sklearn.svm.SVR", {}, _both(C=np.geomspace(1e-2, 1e2, 5)),
    ),
    CLOCK: Model(
        "sklearn.neural_network.MLPClassifier", "sklearn.neural_network.MLPRegressor",
        SEED, _both(alpha=np.geomspace(1e-4, 1e2, 5)),
    ),
    "forest": Model(
        "sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.RandomForestRegressor",
        SEED, _both(min_samples_leaf=[1, 2, 4, 8, 16]),
    ),
    "HistGradientBoosting": Model(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        SEED, _both(max_leaf_nodes=[3, 6, 10, 16, 31]),
    ),
    "LightGBM": Model(
        "lightgbm.LGBMClassifier", "lightgbm.LGBMRegressor",
        {"n_jobs": 1, "verbose": -1, **SEED}, _both(num_leaves=[3, 6, 10, 16, 31]),
    ),
    "CatBoost": Model(
        "catboost.CatBoostClassifier", "catboost.CatBoostRegressor",
        {"thread_count": 1, "verbose": False, "allow_writing_files": False, "random_seed": 0},
        _both(depth=[2, 3, 4, 5, 6]),
    ),
}  # fmt: skip


def installed(name):
    return importlib.util.find_spec(MODELS[name].classifier.partition(".")[0]) is not None


def build(name, task, mode):
    """The estimator of a model: scaled features, for regression a scaled target too."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    model = MODELS[name]
    path = model.classifier if task == CLASSIFICATION else model.regressor
    module, _, cls = path.rpartition(".")
    estimator = getattr(importlib.import_module(module), cls)(**model.parameters)
    estimator, prefix = Pipeline([("scale", StandardScaler()), ("model", estimator)]), "model__"
    if task == REGRESSION:
        estimator = TransformedTargetRegressor(regressor=estimator, transformer=StandardScaler())
        prefix = "regressor__" + prefix
    if mode == TUNED:
        grid = {prefix + key: list(values) for key, values in model.grids[task].items()}
        estimator = GridSearchCV(estimator, grid, cv=splitter(task, INNER_FOLDS))
    return estimator


def splitter(task, folds):
    from sklearn.model_selection import KFold, StratifiedKFold

    cls = StratifiedKFold if task == CLASSIFICATION else KFold
    return cls(folds, shuffle=True, random_state=0)


# ----------------------------------------------------------------------------- one measurement


class Task(NamedTuple):
    """What a measurement depends on, and its key in the cache."""

    dataset: str
    model: str
    mode: str
    folds: int
    test_folds: int  # how many of them serve as test folds, the first ones
    max_rows: int


def task_of(args, dataset, model, mode):
    test_folds = min(args.folds, args.cv_folds or args.folds) if mode == TUNED else args.folds
    return Task(dataset, model, mode, args.folds, test_folds, args.max_rows)


@functools.lru_cache(maxsize=1)
def _load(name, max_rows):
    return datasets.load(name, max_rows)


def measure(task):
    """Scores of a model on the test folds of a data set, and what its fits took."""
    from sklearn.exceptions import ConvergenceWarning

    data = _load(task.dataset, task.max_rows)
    scores, cpu, chosen, n_warnings = [], [], [], 0
    splits = splitter(data.task, task.folds).split(data.X, data.y)
    for train, test in itertools.islice(splits, task.test_folds):
        estimator = build(task.model, data.task, task.mode)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ConvergenceWarning)
            before = time.process_time()
            estimator.fit(data.X[train], data.y[train])
            cpu.append(time.process_time() - before)
            scores.append(_scores(estimator, data.X[test], data.y[test], data.task))
        n_warnings += sum(issubclass(w.category, ConvergenceWarning) for w in caught)
        if task.mode == TUNED:
            chosen.append(float(*estimator.best_params_.values()))
    return {
        "scores": {name: [fold[name] for fold in scores] for name in scores[0]},
        "cpu": cpu, "chosen": chosen, "warnings": n_warnings,
        "task": data.task, "n": len(data.X), "d": data.X.shape[1], "total": data.total,
        "classes": int(data.y.max()) + 1 if data.task == CLASSIFICATION else 0,
    }  # fmt: skip


def _scores(estimator, X, y, task):
    """By name; no log loss without probabilities."""
    from sklearn.metrics import log_loss

    scores = {(ACCURACY if task == CLASSIFICATION else R2).name: estimator.score(X, y)}
    if task == CLASSIFICATION and hasattr(estimator, "predict_proba"):
        probabilities = estimator.predict_proba(X)
        scores[LOG_LOSS.name] = log_loss(y, probabilities, labels=estimator.classes_)
    return {name: float(score) for name, score in scores.items()}


# -------------------------------------------------------------------------- all measurements


class Cache:
    """Results as JSON lines; of two lines with the same key the later one counts."""

    def __init__(self, path):
        self.path, self.results = path, {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                record = json.loads(line)
                self.results[Task(*record["key"])] = record["result"]

    def add(self, task, result):
        self.results[task] = result
        if self.path is not None and "failure" not in result:  # failures are tried again
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": task, "result": result}) + "\n")


def run(tasks, cache, jobs):
    """Measure in fresh processes with one BLAS thread each; several data sets share a process."""
    for name in FORCED_KERNELS:
        os.environ.pop(name, None)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(measure, task): task for task in tasks}
        for done, future in enumerate(as_completed(futures), 1):
            task = futures[future]
            try:
                result = future.result()
                means = {name: round(np.mean(s), 4) for name, s in result["scores"].items()}
                line = f"{means} in {sum(result['cpu']):.1f} CPU s"
            except Exception as error:
                if isinstance(error, ModuleNotFoundError):  # of the data sets, or ours
                    pool.shutdown(cancel_futures=True)
                    raise SystemExit(str(error)) from error
                result = {"failure": f"{type(error).__name__}: {error}"}
                line = result["failure"].splitlines()[0]
            cache.add(task, result)
            print(f"... {done}/{len(tasks)} {task.mode}: {task.dataset}, {task.model}: {line}",
                  file=sys.stderr, flush=True)  # fmt: skip


# --------------------------------------------------------------------------------- the report


class Summary:
    """Results of one mode: data sets times models."""

    def __init__(self, cache, args, mode):
        self.mode, self.models = mode, args.models
        self.results = {
            name: [cache.results[task_of(args, name, model, mode)] for model in args.models]
            for name in args.only
        }

    def of(self, task):
        """Results of the data sets of a task."""
        return {k: row for k, row in self.results.items() if datasets.SUITE[k][0] == task}

    def scores(self, metric):
        """Mean over the folds, the larger the better.

        A failure is worse than any score; a model that has no such score is nan throughout.
        """
        rows = self.of(metric.task).values()
        lacks = [any(metric.name not in r.get("scores", {metric.name}) for r in column)
                 for column in zip(*rows, strict=True)]  # fmt: skip
        return np.array([
            [np.nan if lack else
             metric.sign * np.mean(r["scores"][metric.name]) if "failure" not in r else -np.inf
             for r, lack in zip(row, lacks, strict=True)]
            for row in rows
        ]).reshape(-1, len(self.models))  # fmt: skip

    def ranks(self, metric):
        """Mean rank of every model, 1 the best."""
        from scipy.stats import rankdata

        scores, ranks = self.scores(metric), np.full(len(self.models), np.nan)
        if len(scores):
            judged = ~np.isnan(scores[0])
            ranks[judged] = rankdata(-np.round(scores[:, judged] / TIE), axis=1).mean(axis=0)
        return ranks

    def critical_difference(self, metric):
        """Of mean ranks, at the 5 % level (Nemenyi)."""
        from scipy.stats import studentized_range

        k, n = np.isfinite(self.ranks(metric)).sum(), len(self.of(metric.task))
        if k < 2:
            return np.nan
        return studentized_range.ppf(0.95, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n))

    def order(self):
        """Models by the mean of their mean ranks over the metrics."""
        return np.argsort([_mean(column) for column in zip(*map(self.ranks, METRICS), strict=True)])

    def table_of_models(self):
        ranks = [self.ranks(metric) for metric in METRICS]
        means = [[metric.sign * _mean(column) for column in self.scores(metric).T]
                 for metric in METRICS]  # fmt: skip
        rows = [[
            "model", *(f"rank by {m.name} ({len(self.of(m.task))})" for m in METRICS),
            *(f"mean {m.name}" for m in METRICS),
            "median fit CPU s", "longest", f"over {CLOCK}", "warnings",
        ]]  # fmt: skip
        cpu = np.array([[median(r.get("cpu", [np.nan])) for r in row]
                        for row in self.results.values()])  # fmt: skip
        unit = cpu[:, self.models.index(CLOCK)] if CLOCK in self.models else np.nan
        for j in self.order():
            ratios = cpu[:, j] / unit
            rows.append([
                self.models[j], *(_number(column[j], 2) for column in ranks),
                *(_number(column[j], 3) for column in means),
                _number(_median(cpu[:, j]), 3), _number(np.nanmax(cpu[:, j], initial=0.0), 1),
                _number(_median(ratios), 2), sum(row[j].get("warnings", 0)
                                                 for row in self.results.values()),
            ])  # fmt: skip
        return rows

    def table_of_duels(self):
        """Our score against a peer's: mean gain, and on how many data sets it is better."""
        j = self.models.index(OURS)
        what = "mean gain; better / tie / worse"
        rows = [["peer", *(f"{metric.name}: {what}" for metric in METRICS)]]
        for i in self.order():
            if i == j:
                continue
            row = [self.models[i]]
            for metric in METRICS:
                pairs = self.scores(metric)[:, [j, i]]
                gain = pairs[np.isfinite(pairs).all(axis=1)] @ [1.0, -1.0]
                up, down = (gain > TIE).sum(), (gain < -TIE).sum()
                row.append(f"{gain.mean():+.4f}; {up} / {len(gain) - up - down} / {down}"
                           if len(gain) else "-")  # fmt: skip
            rows.append(row)
        return rows

    def table_of_scores(self, metric):
        classes = metric.task == CLASSIFICATION
        rows = [["data set", "n", "d", *(["classes"] if classes else []), *self.models]]
        for (name, results), scores in zip(
            self.of(metric.task).items(), self.scores(metric), strict=True
        ):
            facts = next((r for r in results if "failure" not in r), None)
            if facts is None:
                continue
            n, total = facts["n"], facts["total"]
            size = f"{n} of {total}" if n < total else n
            cells = [name, size, facts["d"], *([facts["classes"]] if classes else [])]
            for result, score in zip(results, scores, strict=True):
                if np.isnan(score):
                    cells.append("-")
                elif "failure" in result:
                    cells.append("failed: " + result["failure"][:40].replace("|", "/"))
                else:
                    error = np.std(result["scores"][metric.name])
                    text = f"{metric.sign * score:.3f} ± {error:.3f}"
                    cells.append(f"**{text}**" if score >= np.nanmax(scores) - TIE else text)
            rows.append(cells)
        return rows


def _mean(values):
    """Of the finite ones."""
    values = np.asarray(values)[np.isfinite(values)]
    return values.mean() if len(values) else np.nan


def _median(values):
    values = values[np.isfinite(values)]
    return np.median(values) if len(values) else np.nan


def _number(value, digits):
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def write(args, summaries):
    packages = sorted({datasets.SUITE[name][1] for name in args.only})
    sources = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    parts = [
        f'{len(args.only)} data sets; the constants of `alpha="auto"` were chosen on '
        f"{len(datasets.DESIGN.intersection(args.only)) or 'none'} of them. "
        f"Means over the test folds of a {args.folds}-fold cross-validation with a fixed seed: "
        "log loss (less is better) and accuracy of classes, R² of numbers. Features are "
        "standardised, and so are targets that are numbers, for every model; all else is the "
        f"default of the package. Of data sets with more than {args.max_rows} rows a subsample. "
        f"The data come with {', '.join(sources)}.",
        f"Ranks: 1 is best, ties share the mean, a fit that failed comes last. `{OURS}`: the "
        "estimators of this package. SVM has no probabilities by default, so no log loss. Seconds "
        "are those of one fit on one thread, of a data set the median fold; columns show the "
        "median and the longest of the data sets, then the median of the ratios to those of "
        f"{CLOCK}. Warnings: fits that warn that they have not converged, of all data sets and "
        "folds.",
        *([f"Not installed, so left out: {', '.join(args.missing)}."] if args.missing else []),
        f"![Ranks and scores]({args.report}.png)",
    ]
    for summary in summaries:
        parts += [f"## {TITLES[summary.mode]}"]
        if summary.mode == TUNED:
            parts.append(_search(args))
        parts.append(summary.table_of_models())
        critical = ", ".join(f"{_number(summary.critical_difference(metric), 2)} by {metric.name}"
                             for metric in METRICS)  # fmt: skip
        parts.append(
            f"Mean ranks that differ by less than {critical} may differ by chance (Nemenyi, 5 %)."
        )
        if OURS in args.models and len(args.models) > 1:
            parts += [f"`{OURS}` against every peer; a gain is positive where ours is better:",
                      summary.table_of_duels()]  # fmt: skip
    for summary in summaries:
        for metric in METRICS:
            if summary.of(metric.task):
                parts += [f"## {TITLES[summary.mode]}: {metric.name}",
                          summary.table_of_scores(metric)]  # fmt: skip
    report(args.report, "Small real data sets", *parts)
    plot(summaries, HERE / "results" / f"{args.report}.png")


def _search(args):
    grids = "; ".join(
        f"{name}: " + ", ".join(dict.fromkeys(
            f"{key} {min(values):.3g} to {max(values):.3g}"
            for grid in MODELS[name].grids.values() for key, values in grid.items()
        )) for name in args.models
    )  # fmt: skip
    used = task_of(args, args.only[0], args.models[0], TUNED).test_folds
    only = f" Test folds: only the first {used} of the {args.folds}." if used < args.folds else ""
    return (
        f"Five values of one parameter, chosen by {INNER_FOLDS} folds inside each training set "
        f"({grids}). Seconds include the search.{only}"
    )


def plot(summaries, path):
    """Mean ranks, and how far every score is from the best of its data set."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(summaries), 2, figsize=(10, 0.8 + 3.6 * len(summaries)), squeeze=False,
        layout="constrained", sharex="col",
    )  # fmt: skip
    for (left, right), summary in zip(axes, summaries, strict=True):
        order = summary.order()[::-1]
        heights = np.arange(len(order))
        for k, metric in enumerate((LOG_LOSS, R2)):
            color, side = f"C{k}", 0.12 - 0.24 * k
            ranks, scores = summary.ranks(metric)[order], summary.scores(metric)[:, order]
            left.scatter(ranks, heights, color=color, label=metric.name)
            critical = summary.critical_difference(metric)
            if np.isfinite(critical):
                start = np.nanmin(ranks)
                left.errorbar(start + critical / 2, -0.9 - 0.3 * k, xerr=critical / 2,
                              color=color, capsize=3)  # fmt: skip
            if not len(scores):
                continue
            gaps = np.clip(scores - np.nanmax(scores, axis=1, keepdims=True), -LARGEST_GAP, 0)
            for height, values in zip(heights[~np.isnan(gaps[0])], gaps.T[~np.isnan(gaps[0])],
                                      strict=True):  # fmt: skip
                right.scatter(values, np.full(len(values), height + side), color=color, s=14,
                              alpha=0.6, linewidths=0)  # fmt: skip
                right.plot([np.median(values)] * 2, height + side + np.array([-0.12, 0.12]),
                           color=color, linewidth=2)  # fmt: skip
        names = [summary.models[j] for j in order]
        left.set_yticks(heights, names)
        right.set_yticks(heights, names)
        right.set_ylim(left.get_ylim())
        left.set_title(f"{TITLES[summary.mode]}: mean rank", fontsize="medium")
        right.set_title("how much worse than the best of the data set", fontsize="medium")
        right.locator_params(axis="x", nbins=5)
    axes[0, 0].legend(fontsize="small", loc="upper right")
    axes[-1, 0].set_xlabel("1 is best; lines: critical differences")
    axes[-1, 1].set_xlabel(f"log loss or R²; bars: medians; cut at -{LARGEST_GAP:g}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


# ------------------------------------------------------------------------------------- main


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=HALVES, default="judging",
                        help="data sets: those that the rule for alpha was not chosen on, "
                        "those that it was, or all")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=datasets.SUITE, metavar="NAME",
                        help="these data sets, of whatever half")  # fmt: skip
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--cv", action="store_true",
                        help="also with a grid search inside the training folds")  # fmt: skip
    parser.add_argument("--cv-folds", type=int, metavar="FOLDS",
                        help="with --cv, test on the first folds only; it is slow")  # fmt: skip
    parser.add_argument("--max-rows", type=int, default=2000, help="of a data set; a subsample")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one BLAS thread each")
    parser.add_argument("--cache", type=Path, help="file of JSON lines; a run resumes from it")
    parser.add_argument("--refresh", nargs="+", choices=MODELS, default=[],
                        help="measure these models again, whatever the cache has")  # fmt: skip
    parser.add_argument("--report", default="tabular", help="name of the report in results/")
    args = parser.parse_args(argv)

    args.only = args.only or HALVES[args.half]
    args.missing = [name for name in args.models if name != OURS and not installed(name)]
    args.models = [name for name in args.models if name not in args.missing]
    cache = Cache(args.cache)
    modes = [DEFAULT, TUNED] if args.cv else [DEFAULT]
    tasks = [task_of(args, name, model, mode)
             for mode in modes for name in args.only for model in args.models]  # fmt: skip
    run([t for t in tasks if t not in cache.results or t.model in args.refresh], cache, args.jobs)
    write(args, [Summary(cache, args, mode) for mode in modes])


if __name__ == "__main__":
    main()
