"""Seconds and bytes of an iteration of ADMM on the workers of Dask, against rows and workers."""

import argparse
import time

import numpy as np
from common import fresh, report


def measure(*, n, d, P, n_workers, blocks, iterations):
    """Wall seconds and bytes of one iteration, after some to warm up."""
    import dask.array as da
    from dask.distributed import Client, LocalCluster

    from sklearn_convexnet.core.losses import get_loss
    from sklearn_convexnet.distributed.collections import as_blocks
    from sklearn_convexnet.distributed.shards import DaskShards
    from sklearn_convexnet.solvers.admm import kronecker_admm

    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        rng = da.random.RandomState(0)
        size = n // blocks
        X = as_blocks("X", rng.standard_normal((n, d), chunks=(size, d)))
        y, weights = da.maximum(X[:, 0], 0.0), da.ones(n, chunks=(size,))
        futures = [client.compute(list(each.to_delayed().ravel())) for each in (X, y, weights)]
        shards = DaskShards(client, list(zip(*futures, strict=True)), intercept=False)
        gates = np.random.RandomState(1).standard_normal((d, P))
        shards.prepare(0, gates, get_loss("squared_error"), False, (1.0, 1.0), float(n), np.float32)
        admm, _ = kronecker_admm(shards, 0.01)
        admm.next_balance = 0
        admm.run(3)
        sent, received, start = shards.sent, shards.received, time.perf_counter()
        admm.run(iterations)
        wall = (time.perf_counter() - start) / iterations
        moved = (shards.sent - sent + shards.received - received) / iterations
        shards.close()
    return {"wall": wall, "bytes": moved}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", nargs="*", type=int, default=[20_000, 100_000, 400_000])
    parser.add_argument("--workers", nargs="*", type=int, default=[1, 2])
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--patterns", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--rows", type=float, default=1e8, help="to reckon with")
    args = parser.parse_args()

    d, P = args.features, args.patterns
    header = ["n", "workers", "blocks", "ms an iteration", "µs a row and worker", "MB moved"]
    rows, largest = [header], None
    for n in args.samples:
        for n_workers in args.workers:
            found = fresh(
                measure, n=n, d=d, P=P, n_workers=n_workers, blocks=n_workers,
                iterations=args.iterations,
            )  # fmt: skip
            each = found["wall"] * n_workers / n
            rows.append(
                [n, n_workers, n_workers, f"{1e3 * found['wall']:.0f}", f"{1e6 * each:.2f}",
                 f"{found['bytes'] / 1e6:.2f}"]
            )  # fmt: skip
            print(*rows[-1], sep="  ", flush=True)
            largest = each
    workers = 100
    seconds = largest * args.rows / workers
    report(
        "dask_workers",
        "An iteration on the workers of Dask",
        f"LocalCluster, processes of one thread, d = {d}, P = {P}, single precision; wall time, "
        f"means of {args.iterations} iterations. A block of rows on each worker; what moves is the "
        f"blocks there and the sums back, {2 * 2 * d * P * 8 / 1e6:.2f} MB a block of rows, "
        "whatever its size.",
        rows,
        f"## Reckoned, not measured\n\n{args.rows:.0e} rows on {workers} such workers: "
        f"{1e6 * largest:.2f} µs × {args.rows:.0e} / {workers} = {seconds:.1f} s an iteration, and "
        f"{workers * 4 * d * P * 8 / 1e6:.0f} MB through the client; their state is "
        f"{args.rows / workers * (2 * P * 4 + P + 20 * d) / 1e9:.1f} GB a worker (float32).",
    )


if __name__ == "__main__":
    main()
