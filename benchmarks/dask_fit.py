"""Whole fits on the workers of Dask, against the fit of an array by one thread."""

import argparse
import time

import numpy as np
from common import Usage, fresh, report


def problem(n, d):
    """Labels by a network of eight neurons, with noise."""
    rng = np.random.RandomState(0)
    X = rng.standard_normal((n, d))
    activations = np.maximum(X @ rng.standard_normal((d, 8)), 0.0)
    score = activations @ rng.standard_normal(8) + rng.standard_normal(n)
    return X, score > np.median(score)


def estimator(alpha, n_patterns):
    from sklearn_convexnet import ConvexReLUClassifier

    return ConvexReLUClassifier(alpha=alpha, n_patterns=n_patterns, random_state=0)


def outcome(model, wall, cpu, passes=0, moved=0):
    return {
        "wall": wall, "cpu": cpu, "passes": passes, "moved": moved,
        "objective": model.objective_, "gap": model.dual_gap_, "iterations": model.n_iter_,
        "neurons": model.n_neurons_,
    }  # fmt: skip


def fit_here(*, n, d, alpha, n_patterns):
    """The fit of an array."""
    X, y = problem(n, d)
    with Usage() as used:
        model = estimator(alpha, n_patterns).fit(X, y)
    return outcome(model, used.wall, used.cpu)


def fit_there(*, n, d, alpha, n_patterns, n_workers, blocks):
    """The fit of a collection that the workers hold."""
    import dask.array as da
    from dask.distributed import Client, LocalCluster, wait

    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        X, y = (
            client.persist(da.from_array(each, chunks=(n // blocks, *each.shape[1:])))
            for each in problem(n, d)
        )
        wait([X, y])
        before = sum(client.run(time.process_time).values())
        with Usage() as used:
            model = estimator(alpha, n_patterns).fit(X, y)
        cpu = used.cpu + sum(client.run(time.process_time).values()) - before
    cost = model.communication_
    return outcome(model, used.wall, cpu, cost["n_passes"], cost["sent"] + cost["received"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--alpha", type=float, default=1e-3)
    parser.add_argument("--patterns", type=int, default=30)
    parser.add_argument("--workers", nargs="*", type=int, default=[2, 4])
    parser.add_argument("--blocks", type=int, default=8)
    args = parser.parse_args()

    how = {
        "n": args.samples, "d": args.features, "alpha": args.alpha, "n_patterns": args.patterns
    }  # fmt: skip
    header = [
        "workers", "s", "CPU s", "passes", "MB moved", "iterations", "neurons", "gap",
        "objective over the first",
    ]  # fmt: skip
    rows, first = [header], None
    for n_workers in (0, *args.workers):
        if n_workers:
            found = fresh(fit_there, n_workers=n_workers, blocks=args.blocks, **how)
        else:
            found = fresh(fit_here, **how)
        if "failure" in found:
            rows.append([n_workers, found["failure"], *[""] * 7])
            continue
        first = first or found["objective"]
        rows.append(
            [n_workers or "none", f"{found['wall']:.1f}", f"{found['cpu']:.1f}", found["passes"],
             f"{found['moved'] / 1e6:.1f}", found["iterations"], found["neurons"],
             f"{found['gap']:.3f}", f"{100 * (found['objective'] / first - 1):+.2f} %"]
        )  # fmt: skip
        print(*rows[-1], sep="  ", flush=True)
    report(
        "dask_fit",
        "Whole fits on the workers of Dask",
        f"{args.samples} rows, {args.features} features, two classes, alpha = {args.alpha}, "
        f"{args.patterns} neurons to begin with; the first line is the fit of the array by one "
        f"thread, the others that of {args.blocks} blocks of rows on a LocalCluster of processes "
        "of one thread. CPU seconds are those of the client and of all workers.",
        rows,
    )


if __name__ == "__main__":
    main()
