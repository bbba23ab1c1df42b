"""What a regularisation path costs next to its dearest fit alone."""

import argparse

from common import Usage, fresh, report


def problem(name):
    """Features, target and loss of a data set."""
    from sklearn.datasets import load_breast_cancer, load_diabetes, make_friedman1
    from sklearn.preprocessing import StandardScaler

    if name == "friedman1":
        X, y = make_friedman1(500, noise=1.0, random_state=0)
    else:
        load = {"diabetes": load_diabetes, "breast_cancer": load_breast_cancer}[name]
        X, y = load(return_X_y=True)
    return (
        StandardScaler().fit_transform(X),
        y,
        "log_loss" if name == "breast_cancer" else "squared_error",
    )


def measure_path(*, data, n_alphas, eps, tol):
    """Seconds and objectives of a path."""
    from sklearn_convexnet import convex_relu_path

    X, y, loss = problem(data)
    with Usage() as usage:
        path = convex_relu_path(
            X, y, n_alphas=n_alphas, eps=eps, loss=loss, tol=tol, random_state=0
        )
    return {
        "wall": usage.wall,
        "cpu": usage.cpu,
        "alphas": path.alphas.tolist(),
        "objectives": path.objectives.tolist(),
    }


def measure_fit(*, data, alpha, tol):
    """Seconds and objective of one fit from nothing."""
    from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

    X, y, loss = problem(data)
    cls = ConvexReLURegressor if loss == "squared_error" else ConvexReLUClassifier
    with Usage() as usage:
        model = cls(alpha=alpha, tol=tol, random_state=0).fit(X, y)
    return {"wall": usage.wall, "cpu": usage.cpu, "objective": model.objective_}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", default=["friedman1", "diabetes", "breast_cancer"])
    parser.add_argument("--n-alphas", type=int, default=30)
    parser.add_argument("--eps", type=float, default=1e-3)
    parser.add_argument("--tol", type=float, default=1e-2)
    parser.add_argument("--every", type=int, default=3, help="single fits: every so many penalties")
    parser.add_argument("--limit", type=float, default=120, help="CPU seconds per run")
    args = parser.parse_args()

    header = ["data", "path CPU s", "dearest fit CPU s", "ratio", "objectives, path / fit"]
    rows = [header]
    for data in args.data:
        call = {"data": data, "tol": args.tol, "limit": args.limit}
        path = fresh(measure_path, n_alphas=args.n_alphas, eps=args.eps, **call)
        if "failure" in path:
            rows.append([data, path["failure"], "-", "-", "-"])
            continue
        # from the smallest penalty on, whose fits are the dearest
        chosen = range(args.n_alphas - 1, -1, -args.every)
        fits = [fresh(measure_fit, alpha=path["alphas"][i], **call) for i in chosen]
        solved = [(i, fit) for i, fit in zip(chosen, fits, strict=True) if "failure" not in fit]
        if not solved:
            rows.append([data, f"{path['cpu']:.1f}", fits[0]["failure"], "-", "-"])
            continue
        dearest = max(fit["cpu"] for _, fit in solved)
        shares = [path["objectives"][i] / fit["objective"] for i, fit in solved]
        cells = [f"{path['cpu']:.1f}", f"{dearest:.1f}", f"{path['cpu'] / dearest:.2f}"]
        rows.append([data, *cells, f"{min(shares):.3f} to {max(shares):.3f}"])
    report(
        "path",
        "The regularisation path",
        f"`convex_relu_path` with {args.n_alphas} penalties down to {args.eps:g} of `alpha_max`, "
        f"against single fits from nothing of every {args.every}-th of these penalties; "
        f"tol={args.tol:g}, default patterns. In the last column values below 1 say that the "
        "path has found the better network.",
        rows,
    )


if __name__ == "__main__":
    main()
