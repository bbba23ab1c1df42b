"""What two BLAS pools of several threads do to a small solve, and what the limit saves."""

import argparse
import importlib
from contextlib import nullcontext
from statistics import median

from common import Usage, fresh, report, teacher_problem

LIMIT = "one_blas_pool"


def measure(*, n, d, P, tol, limited):
    """Seconds of one solve, with the limit that `solve` sets on BLAS threads or without it."""
    from threadpoolctl import threadpool_info

    module = importlib.import_module("sklearn_convexnet.solvers.solve")
    program = teacher_problem(n, d, P, 0.03).program()
    if not limited:
        getattr(module, LIMIT)  # an error if it has another name by now
        setattr(module, LIMIT, lambda **how: nullcontext())
    threads = max(pool["num_threads"] for pool in threadpool_info())
    with Usage() as usage:
        result = module.solve(program, tol=tol)
    return {"wall": usage.wall, "cpu": usage.cpu, "threads": threads, "status": result.status}


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
    )


if __name__ == "__main__":
    main()
