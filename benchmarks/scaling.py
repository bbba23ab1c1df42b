"""Seconds per iteration of Kronecker ADMM against the numbers of samples and patterns."""

import argparse
import time
from statistics import median

import numpy as np
from common import Problem, clear_gates, fresh, report


def measure(*, n, d, P, iterations):
    """Median CPU seconds of one iteration, and of its BLAS products alone."""
    from sklearn_convexnet.solvers.admm import ADMM
    from sklearn_convexnet.solvers.linear_step import KroneckerStep

    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    y = np.abs(X @ rng.standard_normal(d)) - 1.0
    gates = clear_gates(X, P, rng, margin=0.0)
    program = Problem(X, y, gates, beta=0.01 * n, optimum=None).program().normalised()[0]
    step = KroneckerStep(program, rng)
    admm = ADMM(program, step)
    products = _products(n, d, P, rng)

    def iterate():
        admm.run(1)

    def multiply():
        for left, right in products:
            left @ right

    iterate(), multiply()
    # in turn, so that a busy moment of the machine hits both
    seconds = [(_seconds(iterate), _seconds(multiply)) for _ in range(iterations)]
    return [median(column) for column in zip(*seconds, strict=True)]


def _products(n, d, P, rng):
    """Operands of the shapes and layouts that an iteration multiplies (P > d)."""
    rows, wide = rng.standard_normal((n, d)), rng.standard_normal((n, P))
    blocks = rng.standard_normal((d, P))
    small, square = rng.standard_normal((d, d)), rng.standard_normal((P, P))
    return [
        (rows.T, wide), (rows.T, wide),  # the slacks, pulled back to v and w
        (rows.T, wide),  # the effective weights, pulled back
        (small, blocks), (small, blocks), (small, blocks), (small, blocks),  # row eigenvectors
        (blocks, square), (blocks, square.T),  # gate eigenvectors
        (wide, blocks.T),  # effective weights
        (rows, blocks), (rows, blocks),  # slacks
    ]  # fmt: skip


def _seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def series(sizes, iterations):
    """Rows of one table, and the exponents of the columns."""
    header = ["n", "d", "P", "ms an iteration", "ms of its products", "products, share"]
    seconds = [fresh(measure, **size, iterations=iterations) for size in sizes]
    rows = [
        [*(size[key] for key in "ndP"), f"{1e3 * a:.2f}", f"{1e3 * b:.2f}", f"{b / a:.0%}"]
        for size, (a, b) in zip(sizes, seconds, strict=True)
    ]
    return [header, *rows], np.array(seconds)


def exponent(values, seconds):
    """Slope of log seconds over log values, least squares."""
    return np.polyfit(np.log(values), np.log(seconds), 1)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", nargs="*", type=int, default=[8000, 16000, 32000, 64000])
    parser.add_argument("--patterns", nargs="*", type=int, default=[64, 128, 256, 512])
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--iterations", type=int, default=40)
    args = parser.parse_args()

    parts = []
    n, P = args.samples[0], args.patterns[0]
    for name, values, fixed in (("n", args.samples, {"P": P}), ("P", args.patterns, {"n": n})):
        sizes = [{name: value, "d": args.features, **fixed} for value in values]
        table, seconds = series(sizes, args.iterations)
        whole, blas = (exponent(values, column) for column in seconds.T)
        text = f"Exponent {whole:.2f} (its products alone {blas:.2f}); target at most 1.15."
        parts += [f"## In {name}\n\n{text}", table]
    report(
        "scaling",
        "Seconds per iteration of Kronecker ADMM",
        f"CPU milliseconds, medians of {args.iterations} iterations after the factorisation, one "
        "BLAS thread; the products are those of an iteration, timed alone in turn with it.",
        *parts,
    )


if __name__ == "__main__":
    main()
