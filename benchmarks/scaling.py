"""Cost of Kronecker ADMM against the numbers of rows and of patterns, and of whole fits."""

import argparse
import time
from statistics import median

import numpy as np
from common import Usage, fresh, report

SINGLE, DOUBLE = "float32", "float64"


def data(n, d):
    """Rows, and a regression on five neurons of them with noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    directions = rng.standard_normal((d, 5)) / np.sqrt(d)
    y = np.maximum(X @ directions, 0.0) @ np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    return X, y + 0.1 * rng.standard_normal(n)


def measure_iteration(*, n, d, P, dtype, iterations):
    """Median CPU seconds of one iteration, and of its BLAS products alone."""
    from sklearn_convexnet.core.losses import get_loss
    from sklearn_convexnet.program.shard import ADMMShard, Shards
    from sklearn_convexnet.solvers.admm import kronecker_admm

    X, y = data(n, d)
    patterns = np.random.RandomState(1).standard_normal((d, P))
    patterns = np.stack([X @ gate >= 0 for gate in patterns.T], axis=1)
    shard = ADMMShard(
        X, y, np.full(n, 1.0 / n), patterns, get_loss("squared_error"), splits_loss=True,
        intercept=False, dtype=dtype,
    )  # fmt: skip
    admm, _ = kronecker_admm(Shards([shard], intercept=False), 0.01)
    admm.next_balance = 0  # none is balanced, which costs a pass more
    blocks = np.random.RandomState(2).standard_normal((d, 2 * P)).astype(dtype)
    rows = shard.cast_rows
    # the forward and the backward product of an iteration, in the same parts of the rows
    parts = [rows[part] for part in shard.parts(2 * P, np.dtype(dtype).itemsize)]

    def multiply():
        return sum(part.T @ (part @ blocks) for part in parts)

    def iterate():
        admm.run(1)

    iterate(), multiply()
    # in turn, so that a busy moment of the machine hits both
    seconds = [(_seconds(iterate), _seconds(multiply)) for _ in range(iterations)]
    return [median(column) for column in zip(*seconds, strict=True)]


def _seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def measure_fit(*, n, d, P, patterns, tol, max_iter):
    """Seconds, memory and gap of a fit."""
    import warnings

    from sklearn_convexnet import ConvexReLURegressor

    X, y = data(n, d)
    model = ConvexReLURegressor(
        patterns=patterns, n_patterns=P, tol=tol, max_iter=max_iter, random_state=0
    )
    with warnings.catch_warnings(), Usage() as usage:
        warnings.simplefilter("ignore")
        model.fit(X, y)
    return {
        "cpu": usage.cpu, "wall": usage.wall, "memory": usage.memory, "gap": model.dual_gap_,
        "iterations": model.n_iter_, "neurons": model.n_neurons_, "score": model.score(X, y),
    }  # fmt: skip


def iterations_table(sizes, iterations):
    """Rows of one table, and the seconds of its columns."""
    header = ["n", "d", "P", "dtype", "ms an iteration", "ms of its products", "ratio"]
    seconds = [fresh(measure_iteration, **size, iterations=iterations) for size in sizes]
    rows = [
        [*size.values(), f"{1e3 * a:.1f}", f"{1e3 * b:.1f}", f"{a / b:.2f}"]
        for size, (a, b) in zip(sizes, seconds, strict=True)
    ]
    return [header, *rows], np.array(seconds)


def fits_table(sizes, threads, limit):
    """Rows of the table of fits, and their CPU seconds."""
    header = ["patterns", "n", "CPU s", "wall s", "MB", "gap", "iterations", "neurons", "R2"]
    rows, seconds = [header], []
    for size in sizes:
        found = fresh(measure_fit, **size, threads=threads, limit=limit)
        if "failure" in found:
            rows.append([size["patterns"], size["n"], found["failure"], *[""] * 6])
            continue
        seconds.append((size["n"], found["cpu"]))
        rows.append(
            [
                size["patterns"], size["n"], f"{found['cpu']:.1f}", f"{found['wall']:.1f}",
                f"{found['memory']:.0f}", f"{found['gap']:.4f}", found["iterations"],
                found["neurons"], f"{found['score']:.4f}",
            ]
        )  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
    return rows, seconds


def exponent(values, seconds):
    """Slope of log seconds over log values, least squares."""
    return np.polyfit(np.log(values), np.log(seconds), 1)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", nargs="*", type=int, default=[8000, 16000, 32000, 64000])
    parser.add_argument("--patterns", nargs="*", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--fits", nargs="*", type=int, default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--chosen", nargs="*", default=["random", "adaptive"])
    parser.add_argument("--tol", type=float, default=0.05)
    parser.add_argument("--max-iter", type=int, default=10_000, help='with patterns="random"')
    parser.add_argument("--threads", type=int, default=2, help="of a fit")
    parser.add_argument("--limit", type=float, default=7200.0, help="CPU seconds of a fit")
    parser.add_argument("--report", default="scaling")
    args = parser.parse_args()

    parts, d = [], args.features
    n, P = args.samples[0], args.patterns[-2]
    series = [
        ("n", [{"n": each, "d": d, "P": P, "dtype": SINGLE} for each in args.samples]),
        ("P", [{"n": n, "d": d, "P": each, "dtype": SINGLE} for each in args.patterns]),
        ("", [{"n": n, "d": d, "P": P, "dtype": dtype} for dtype in (SINGLE, DOUBLE)]),
    ]
    for name, sizes in series:
        table, seconds = iterations_table(sizes, args.iterations)
        text = "## An iteration, by precision"
        if name:
            values = [size[name] for size in sizes]
            whole, blas = (exponent(values, column) for column in seconds.T)
            text = f"## An iteration, in {name}\n\nExponent {whole:.2f} (its products {blas:.2f})."
        parts += [text, table]
    for chosen in args.chosen:
        sizes = [
            {"n": each, "d": d, "P": 256 if chosen == "random" else 100, "patterns": chosen,
             "tol": args.tol, "max_iter": args.max_iter if chosen == "random" else 10_000}
            for each in args.fits
        ]  # fmt: skip
        rows, seconds = fits_table(sizes, args.threads, args.limit)
        text = f'## A fit with patterns="{chosen}"'
        if len(seconds) > 1:
            text += f"\n\nExponent of the CPU seconds {exponent(*zip(*seconds, strict=True)):.2f}."
        parts += [text, rows]
    report(
        args.report,
        "Cost against the numbers of rows and of patterns",
        f"Of an iteration: CPU milliseconds, medians of {args.iterations} iterations after the "
        "factorisation, one thread; the products are the two of an iteration, in the same "
        "precision and the same parts of the rows, timed in turn with it. Of a fit: "
        f'ConvexReLURegressor, tol={args.tol:g}, alpha="auto", {d} features, {args.threads} '
        "threads; MB: peak resident memory above that of the data; P = 256 random patterns, and at "
        f"most {args.max_iter} iterations with them.",
        *parts,
    )


if __name__ == "__main__":
    main()
