"""Test accuracy and R² of two-layer ReLU networks and their peers on small tables.

Run ``python benchmarks/tabular.py --help``; how to read the report is in README.md.
"""

import argparse
import functools
import importlib
import importlib.metadata
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

OURS = "ours"
DEFAULT, TUNED = "default", "cv"
INNER_FOLDS = 3
# test scores closer than this are a tie
TIE = 1e-6
# where the plot of differences ends
LARGEST_GAP = 0.2
TITLES = {DEFAULT: "Default parameters", TUNED: "Tuned by an inner cross-validation"}


# --------------------------------------------------------------------------------- models


def our_alphas():
    return np.geomspace(2e-3, 1e-1, 5)


class Model(NamedTuple):
    """Classes of an estimator for both tasks, their parameters, and the grid of `--cv`."""

    classifier: str
    regressor: str
    parameters: dict
    grids: dict  # of either task
    classifier_only: dict = {}


def _both(**grid):
    return {CLASSIFICATION: grid, REGRESSION: grid}


SEED = {"random_state": 0}
MLP_GRID = _both(alpha=np.geomspace(1e-4, 1e2, 5))
MODELS = {
    OURS: Model(
        "sklearn_convexnet.ConvexReLUClassifier", "sklearn_convexnet.ConvexReLURegressor",
        SEED, _both(alpha=our_alphas()),
    ),
    "linear": Model(
        "sklearn.linear_model.LogisticRegression", "sklearn.linear_model.Ridge",
        {}, {CLASSIFICATION: {"C": np.geomspace(1e-2, 1e2, 5)},
             REGRESSION: {"alpha": np.geomspace(1e-2, 1e2, 5)}},
    ),
    "SVM": Model(
        "sklearn.svm.SVC", "sklearn.svm.SVR", {}, _both(C=np.geomspace(1e-2, 1e2, 5)),
    ),
    "MLP Adam": Model(
        "sklearn.neural_network.MLPClassifier", "sklearn.neural_network.MLPRegressor",
        SEED, MLP_GRID,
    ),
    "MLP L-BFGS": Model(
        "sklearn.neural_network.MLPClassifier", "sklearn.neural_network.MLPRegressor",
        {"solver": "lbfgs", **SEED}, MLP_GRID,
    ),
    "forest": Model(
        "sklearn.ensemble.RandomForestClassifier", "sklearn.ensemble.RandomForestRegressor",
        SEED, _both(min_samples_leaf=[1, 2, 4, 8, 16]),
    ),
    "boosting": Model(
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.HistGradientBoostingRegressor",
        SEED, _both(max_leaf_nodes=[3, 6, 10, 16, 31]),
    ),
}  # fmt: skip


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
    scores, wall, cpu, chosen, n_warnings = [], [], [], [], 0
    splits = splitter(data.task, task.folds).split(data.X, data.y)
    for train, test in itertools.islice(splits, task.test_folds):
        estimator = build(task.model, data.task, task.mode)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ConvergenceWarning)
            before = time.perf_counter(), time.process_time()
            estimator.fit(data.X[train], data.y[train])
            after = time.perf_counter(), time.process_time()
        scores.append(float(estimator.score(data.X[test], data.y[test])))
        wall.append(after[0] - before[0])
        cpu.append(after[1] - before[1])
        n_warnings += sum(issubclass(w.category, ConvergenceWarning) for w in caught)
        if task.mode == TUNED:
            chosen.append(float(*estimator.best_params_.values()))
    return {
        "scores": scores, "wall": wall, "cpu": cpu, "chosen": chosen, "warnings": n_warnings,
        "task": data.task, "n": len(data.X), "d": data.X.shape[1], "total": data.total,
        "classes": int(data.y.max()) + 1 if data.task == CLASSIFICATION else 0,
    }  # fmt: skip


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
                line = f"{np.mean(result['scores']):.4f} in {sum(result['cpu']):.1f} CPU s"
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
        self.mode, self.models, self.args = mode, args.models, args
        self.results = {
            name: [cache.results[task_of(args, name, model, mode)] for model in args.models]
            for name in args.only
        }
        self.tasks = np.array([datasets.SUITE[name][0] for name in args.only])
        # a failure is worse than any score
        self.scores = np.array(
            [[np.mean(r.get("scores", -np.inf)) for r in row] for row in self.results.values()]
        )

    def ranks(self, task=None):
        """Mean rank of every model, 1 the best, and of how many data sets."""
        from scipy.stats import rankdata

        scores = self.scores[self.tasks == task] if task else self.scores
        if not len(scores):
            return np.full(len(self.models), np.nan), 0
        return rankdata(-np.round(scores / TIE), axis=1).mean(axis=0), len(scores)

    def critical_difference(self):
        """Of mean ranks over all data sets, at the 5 % level (Nemenyi)."""
        from scipy.stats import studentized_range

        k, n = self.scores.shape[1], len(self.scores)
        if k < 2:
            return np.nan
        return studentized_range.ppf(0.95, k, np.inf) * np.sqrt(k * (k + 1) / (12 * n))

    def table_of_models(self):
        columns = [self.ranks(task)[0] for task in (None, CLASSIFICATION, REGRESSION)]
        counts = [self.ranks(task)[1] for task in (None, CLASSIFICATION, REGRESSION)]
        rows = [[
            "model", *(f"{what} ({n})" for what, n in
                       zip(("mean rank", "classification", "regression"), counts, strict=True)),
            "best on", "mean accuracy", "mean R²", "median fit CPU s", "longest", "warnings",
        ]]  # fmt: skip
        best = np.round(self.scores / TIE) >= np.round(self.scores.max(axis=1) / TIE)[:, None]
        for j in np.argsort(columns[0]):
            runs = [row[j] for row in self.results.values() if "failure" not in row[j]]
            seconds = [median(run["cpu"]) for run in runs]
            means = [self.scores[self.tasks == t, j] for t in (CLASSIFICATION, REGRESSION)]
            rows.append([
                self.models[j], *(_number(column[j], 2) for column in columns), best[:, j].sum(),
                *(_number(m[np.isfinite(m)].mean(), 3) if np.isfinite(m).any() else "-"
                  for m in means),
                *((f"{median(seconds):.3f}", f"{max(seconds):.1f}") if runs else ("-", "-")),
                sum(run["warnings"] for run in runs),
            ])  # fmt: skip
        return rows

    def table_of_duels(self):
        """Our score minus a peer's: mean, and on how many data sets it is above and below."""
        j = self.models.index(OURS)
        whats = "mean difference", "ours better / tie / worse"
        rows = [["peer", *(f"{t}: {what}" for t in (CLASSIFICATION, REGRESSION) for what in whats)]]
        for i, peer in enumerate(self.models):
            if i == j:
                continue
            row = [peer]
            for task in (CLASSIFICATION, REGRESSION):
                pairs = self.scores[self.tasks == task][:, [j, i]]
                gain = pairs[np.isfinite(pairs).all(axis=1)] @ [1.0, -1.0]
                up, down = (gain > TIE).sum(), (gain < -TIE).sum()
                row += [f"{gain.mean():+.4f}" if len(gain) else "-",
                        f"{up} / {len(gain) - up - down} / {down}"]  # fmt: skip
            rows.append(row)
        return rows

    def table_of_scores(self, task):
        rows = [["data set", "n", "d", *(["classes"] if task == CLASSIFICATION else []),
                 *self.models]]  # fmt: skip
        for (name, results), of, scores in zip(
            self.results.items(), self.tasks, self.scores, strict=True
        ):
            if of != task:
                continue
            facts = next((r for r in results if "failure" not in r), None)
            if facts is None:
                continue
            n, total = facts["n"], facts["total"]
            size = f"{n} of {total}" if n < total else n
            cells = [name, size, facts["d"], *([facts["classes"]] if facts["classes"] else [])]
            for result, score in zip(results, scores, strict=True):
                if "failure" in result:
                    cells.append("failed: " + result["failure"][:40].replace("|", "/"))
                    continue
                text = f"{score:.3f} ± {np.std(result['scores']):.3f}"
                cells.append(f"**{text}**" if score >= scores.max() - TIE else text)
            rows.append(cells)
        return rows


def _number(value, digits):
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def write(args, summaries):
    packages = sorted({datasets.SUITE[name][1] for name in args.only})
    sources = [f"{name} {importlib.metadata.version(name)}" for name in packages]
    parts = [
        f"Mean scores on the test folds of a {args.folds}-fold cross-validation with a fixed seed: "
        "accuracy of classes, R² of numbers. Features are standardised, and so are targets that "
        "are numbers, for every model; all else is the default of the package. Of data sets with "
        f"more than {args.max_rows} rows a subsample. The data come with {', '.join(sources)}.",
        f"Ranks: 1 is best, ties share the mean, a fit that failed comes last. `{OURS}`: the "
        "estimators of this package. Seconds are those of one fit on one thread, of a data set "
        "the median fold; columns show the median and the longest of the data sets. Warnings: "
        "fits that warn that they have not converged, of all data sets and folds.",
        f"![Ranks and scores]({args.report}.png)",
    ]
    for summary in summaries:
        parts += [f"## {TITLES[summary.mode]}"]
        if summary.mode == TUNED:
            parts.append(_search(args))
        parts.append(summary.table_of_models())
        parts.append(
            "Mean ranks over all data sets that differ by less than "
            f"{_number(summary.critical_difference(), 2)} may differ by chance (Nemenyi, 5 %)."
        )
        if OURS in args.models and len(args.models) > 1:
            parts += [f"Scores of `{OURS}` minus those of a peer:", summary.table_of_duels()]
    for summary in summaries:
        for task in (CLASSIFICATION, REGRESSION):
            if (summary.tasks == task).any():
                parts += [f"## {TITLES[summary.mode]}: {task}", summary.table_of_scores(task)]
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
        len(summaries), 2, figsize=(10, 0.8 + 3.2 * len(summaries)), squeeze=False,
        layout="constrained", sharex="col",
    )  # fmt: skip
    colors = {CLASSIFICATION: "tab:blue", REGRESSION: "tab:orange"}
    for (left, right), summary in zip(axes, summaries, strict=True):
        ranks, _ = summary.ranks()
        order = np.argsort(-ranks)
        names = [summary.models[j] for j in order]
        ours = [0.35 if name == OURS else 0.75 for name in names]
        left.barh(names, ranks[order], color=[str(gray) for gray in ours])
        left.set_xlim(1, len(names))
        gap = summary.scores - summary.scores.max(axis=1, keepdims=True)
        for task, color in colors.items():
            left.scatter(summary.ranks(task)[0][order], names, color=color, zorder=3, label=task)
            side = 0.12 if task == CLASSIFICATION else -0.12
            for height, j in enumerate(order):
                values = np.clip(gap[summary.tasks == task, j], -LARGEST_GAP, 0)
                right.scatter(values, np.full(len(values), height + side), color=color, s=14,
                              alpha=0.6, linewidths=0)  # fmt: skip
                if len(values):
                    right.plot([np.median(values)] * 2, height + side + np.array([-0.12, 0.12]),
                               color=color, linewidth=2)  # fmt: skip
        critical = summary.critical_difference()
        if np.isfinite(critical):
            left.errorbar(ranks.min() + critical / 2, -0.9, xerr=critical / 2, color="black",
                          capsize=3, label="critical difference")  # fmt: skip
        left.set_title(f"{TITLES[summary.mode]}: mean rank", fontsize="medium")
        right.set_title("score minus the best of the data set", fontsize="medium")
        right.set_yticks(range(len(names)), names)
        right.set_ylim(left.get_ylim())
        right.locator_params(axis="x", nbins=5)
    axes[0, 0].legend(fontsize="small", loc="upper right")
    axes[-1, 0].set_xlabel("1 is best")
    axes[-1, 1].set_xlabel(f"accuracy or R²; bars: medians; cut at -{LARGEST_GAP:g}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


# ------------------------------------------------------------------------------------- main


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=datasets.SUITE, metavar="NAME",
                        default=list(datasets.SUITE), help="data sets")  # fmt: skip
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

    args.only = [name for name in datasets.SUITE if name in args.only]
    cache = Cache(args.cache)
    modes = [DEFAULT, TUNED] if args.cv else [DEFAULT]
    tasks = [task_of(args, name, model, mode)
             for mode in modes for name in args.only for model in args.models]  # fmt: skip
    run([t for t in tasks if t not in cache.results or t.model in args.refresh], cache, args.jobs)
    write(args, [Summary(cache, args, mode) for mode in modes])


if __name__ == "__main__":
    main()
