"""What two BLAS pools do to a small solve, what the limit saves, and what a second core brings."""

import argparse
import importlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from statistics import median

import numpy as np
from common import Usage, fresh, report, teacher_problem

LIMIT = "one_blas_pool"


def measure(*, n, d, P, tol, limited):
    """Seconds of one solve, with the limit that `solve` sets on BLAS threads or without it."""
    from threadpoolctl import threadpool_info

    module = importlib.import_module("sklearn_convexnet.solvers.solve")
    program = teacher_problem(n, d, P, 0.03).program()
    if not limited:
        getattr(module, LIMIT)  # an error if it has another name by now
        setattr(module, LIMIT, lambda **how: nullcontext(1))
    threads = max(pool["num_threads"] for pool in threadpool_info())
    with Usage() as usage:
        result = module.solve(program, tol=tol)
    return {"wall": usage.wall, "cpu": usage.cpu, "threads": threads, "status": result.status}


def measure_classes(*, n_jobs):
    """Wall seconds of a fit with ten classes."""
    from sklearn.datasets import load_digits

    from sklearn_convexnet import ConvexReLUClassifier

    X, y = load_digits(return_X_y=True)
    # the workers are there already in the second fit
    for _ in range(2):
        with Usage() as usage:
            model = ConvexReLUClassifier(random_state=0, n_jobs=n_jobs).fit(X / 16.0, y)
    return {"wall": usage.wall, "objective": model.objective_}


def measure_rows(*, n, d, P, iterations):
    """Wall seconds of an iteration of ADMM with as many threads as the environment asks for."""
    from sklearn_convexnet.core.parallel import Workers, one_blas_pool
    from sklearn_convexnet.program.shard import Shards
    from sklearn_convexnet.solvers.admm import kronecker_admm

    with one_blas_pool(large=False) as n_threads, Workers(n_threads) as workers:
        program = teacher_problem(n, d, P, 0.03).program().normalised
        shards = Shards.of(program, workers=workers, splits_loss=True, dtype="float32")
        admm, _ = kronecker_admm(shards, program.alpha)
        admm.run(2)
        with Usage() as usage:
            admm.run(iterations)
    return {"wall": usage.wall / iterations, "objective": float(abs(admm.copies).sum())}


def measure_default(*, n, d):
    """Wall seconds of a default fit with as many threads as the environment asks for."""
    from sklearn_convexnet import ConvexReLURegressor

    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 5)), 0.0) @ [1, -1, 1, -1, 1]
    y = y + 0.1 * np.sqrt(d) * rng.standard_normal(n)
    with Usage() as usage:
        model = ConvexReLURegressor(random_state=0).fit(X, y)
    return {"wall": usage.wall, "objective": model.objective_}


def second_core(repeats):
    """Rows of the table of what a second core brings."""
    rows = [["work", "one, wall s", "two, wall s", "ratio", "same result"]]
    size = {"n": 60_000, "d": 30, "P": 100, "iterations": 10}
    for name, function, calls in (
        (
            "ConvexReLUClassifier on digits, n_jobs",
            measure_classes,
            [{"n_jobs": count, "threads": 1} for count in (1, 2)],
        ),
        (
            "an iteration of ADMM, n=60000 d=30 P=100, threads",
            measure_rows,
            [{**size, "threads": count} for count in (1, 2)],
        ),
        (
            "ConvexReLURegressor, n=60000 d=30, threads",
            measure_default,
            [{"n": 60_000, "d": 30, "threads": count} for count in (1, 2)],
        ),
    ):
        one, two = ([fresh(function, **call) for _ in range(repeats)] for call in calls)
        rows.append([name, *_compared(one, two)])
    # what the machine has to give: there is nothing to share, or to wait for
    alone = [fresh(measure_rows, **size, threads=1) for _ in range(repeats)]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fresh, measure_rows, **size, threads=1) for _ in range(2)]
        both = [call.result() for call in calls]
    both = [{**run, "wall": run["wall"] / 2} for run in both]
    rows.append(["two such iterations at the same time, a process each", *_compared(alone, both)])
    return rows


def _compared(one, two):
    """The last cells of a row of that table."""
    walls = [median(run["wall"] for run in runs) for runs in (one, two)]
    same = len({run["objective"] for run in (*one, *two)}) == 1
    cells = [f"{walls[0]:.2f}", f"{walls[1]:.2f}", f"{walls[0] / walls[1]:.2f}"]
    return [*cells, "yes" if same else "no"]


# name: (threads that the environment asks for, whether `solve` sets its limit)
SETUPS = {
    "default": (None, True),
    "limit disabled": (None, False),
    "OPENBLAS_NUM_THREADS=1": (1, True),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="*", default=["200x10x50", "500x20x100"], metavar="NxDxP")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120, help="CPU seconds per run")
    args = parser.parse_args()

    rows = [["n x d x P", "setting", "threads of the pools", "wall s", "CPU s", "wall / default"]]
    for text in args.sizes:
        size = dict(zip("ndP", map(int, text.split("x")), strict=True))
        default = None
        for name, (threads, limited) in SETUPS.items():
            call = {**size, "tol": args.tol, "limited": limited}
            runs = [
                fresh(measure, threads=threads, limit=args.limit, **call)
                for _ in range(args.repeats)
            ]
            failed = [run["failure"] for run in runs if "failure" in run]
            if failed:
                reason = f"> {args.limit:g}" if failed[0] == "limit" else failed[0]
                rows.append([text, name, "-", "-", reason, "-"])
                continue
            wall, cpu = (median(run[key] for run in runs) for key in ("wall", "cpu"))
            default = default or wall
            cells = [f"{wall:.2f}", f"{cpu:.2f}", f"{wall / default:.2f}"]
            rows.append([text, name, runs[0]["threads"], *cells])
    report(
        "threads",
        "Two BLAS pools",
        "numpy and scipy bring a BLAS library each, with a pool of threads each. The same solve "
        f"to a gap of {args.tol:.0e} in fresh processes, medians of {args.repeats}: as it is, with "
        "the limit that `solve` sets on the pools switched off, and with one thread from the "
        "start.",
        rows,
        "## A second core\n\nClasses are fitted in processes, parts of the rows in threads, "
        f"medians of {args.repeats}. The last row is what the machine has to give: two processes "
        "with nothing to share, wall seconds for each of the two iterations.",
        second_core(args.repeats),
    )


if __name__ == "__main__":
    main()
