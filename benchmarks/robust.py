"""Accuracy on perturbed inputs: certified training and its peers, on features in [0, 1].

The worst case of every network lies between what strong attacks leave and what is certified within
a time limit. The peers that are trained by gradient steps need PyTorch; without it their rows say
so.
"""

import argparse
import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import robust_trees
from common import Usage, fresh, report
from robust_tables import BANKNOTE, TABLES, split
from scipy.optimize import minimize

WIDTH, EPOCHS, BATCH, STEPS = 64, 200, 64, 10
# of our fits; chosen on validation splits of the training rows
TOL = 2e-3
# seconds for the certificates of a network
VERIFY = 5.0
OURS, PLAIN, LINEAR, TREES = "ours", "ours, epsilon=0", "robust linear", "robust trees"
PEERS = ("PGD", "TRADES", "IBP")
METHODS = (OURS, LINEAR, *PEERS, TREES)


def measure(*, table, epsilon, method, seed):
    """Accuracies on the test rows, and seconds, of one fit."""
    from sklearn_convexnet.robustness import certified_accuracy, robust_accuracy

    X, y, X_test, y_test = split(table, seed)
    if method == TREES:
        return robust_trees.measure(X, y, X_test, y_test, epsilon, seed)
    if method in PEERS:
        import torch

        torch.set_num_threads(1)
    with Usage() as usage:
        network = train(method, X, y, epsilon, seed)
    model = SimpleNamespace(network_=network, classes_=np.array([-1.0, 1.0]))
    on = (model, X_test, y_test, epsilon)
    return {
        "attacked": robust_accuracy(*on, steps=100, restarts=10, random_state=0),
        "certified": certified_accuracy(*on, time_limit=VERIFY),
        "clean": float(np.mean(y_test * network(X_test)[:, 0] > 0)),
        "neurons": network.n_neurons,
        "cpu": usage.cpu,
    }


def train(method, X, y, epsilon, seed):
    if method in (OURS, PLAIN):
        from sklearn_convexnet import RobustConvexReLUClassifier

        if method == PLAIN:
            epsilon = 0.0
        tol = TOL if method == OURS else 0.05
        model = RobustConvexReLUClassifier(epsilon=epsilon, tol=tol, random_state=seed)
        return model.fit(X, y).network_
    if method == LINEAR:
        return robust_linear(X, y, epsilon)
    return perceptron(method, X, y, epsilon, seed)


# ---------------------------------------------------------------------------------- peers


def robust_linear(X, y, epsilon):
    """Logistic regression on worst-case margins ``y (x u + c) - epsilon |u|_1``, exactly."""
    from sklearn_convexnet.core.network import TwoLayerReLU

    n, d = X.shape

    def value_and_gradient(point):  # u is the difference of two parts that are not negative
        u = point[:d] - point[d:-1]
        margins = y * (X @ u + point[-1]) - epsilon * point[:-1].sum()
        slopes = -1.0 / (1.0 + np.exp(np.clip(margins, -500, 500))) / n
        by_u, by_sum = X.T @ (slopes * y), epsilon * slopes.sum()
        gradient = np.concatenate([by_u - by_sum, -by_u - by_sum, [slopes @ y]])
        return np.logaddexp(0, -margins).mean(), gradient

    found = minimize(
        value_and_gradient, np.zeros(2 * d + 1), jac=True, method="L-BFGS-B",
        bounds=[(0, None)] * (2 * d) + [(None, None)], options={"maxiter": 2000, "ftol": 1e-10},
    ).x  # fmt: skip
    u = found[:d] - found[d:-1]
    # one neuron that is active on all perturbed inputs: its bias leaves room on both sides
    room = np.abs(u).sum() * (2.0 + epsilon)
    return TwoLayerReLU(u[:, None], np.array([room]), np.ones((1, 1)), found[-1:] - room)


def perceptron(method, X, y, epsilon, seed):
    """A network of 64 neurons by Adam, epsilon rising over the first quarter of the epochs.

    PGD (Madry et al., arXiv 1706.06083): the loss at the end of ten signed gradient steps. TRADES
    (Zhang et al., arXiv 1901.08573): the loss plus 6 times the divergence there. IBP (Gowal et al.,
    arXiv 1810.12715): half the loss and half that of the interval bound.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as entropy
    from torch.nn.functional import softplus

    from sklearn_convexnet.core.network import TwoLayerReLU

    torch.manual_seed(seed)
    X, y = (torch.tensor(array, dtype=torch.float32) for array in (X, y))
    hidden, output = torch.nn.Linear(X.shape[1], WIDTH), torch.nn.Linear(WIDTH, 1)
    net = torch.nn.Sequential(hidden, torch.nn.ReLU(), output, torch.nn.Flatten(0))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)

    def attacked(rows, loss, radius, start):
        moves = start * radius * (2.0 * torch.rand(rows.shape) - 1.0)
        for _ in range(STEPS):
            moves.requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(net(rows + moves)), moves)
            moves = (moves + radius / 4.0 * gradient.sign()).clamp(-radius, radius).detach()
        return net(rows + moves)

    def interval_margins(rows, signs, radius):
        z, reach = hidden(rows), radius * hidden.weight.abs().sum(dim=1)
        strengths = signs[:, None] * output.weight
        low, high = torch.relu(z - reach), torch.relu(z + reach)
        ends = strengths.clamp(min=0) * low + strengths.clamp(max=0) * high
        return ends.sum(dim=1) + signs * output.bias

    def batch_loss(rows, signs, radius, progress):
        labels = (signs + 1.0) / 2.0
        if method == "PGD":
            return entropy(attacked(rows, lambda f: entropy(f, labels), radius, 1.0), labels)
        clean = net(rows)
        if method == "TRADES":
            expected = torch.sigmoid(clean.detach())
            moved = attacked(rows, lambda f: entropy(f, expected), radius, 0.01)
            expected = torch.sigmoid(clean)
            divergence = entropy(moved, expected) - entropy(clean, expected)
            return entropy(clean, labels) + 6.0 * divergence
        share = 0.5 * min(1.0, 2.0 * progress)
        worst = softplus(-interval_margins(rows, signs, radius)).mean()
        return (1.0 - share) * entropy(clean, labels) + share * worst

    for epoch in range(EPOCHS):
        progress = (epoch + 1) / EPOCHS
        for chosen in torch.randperm(len(X)).split(BATCH):
            loss = batch_loss(X[chosen], y[chosen], epsilon * min(1.0, 4.0 * progress), progress)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    parameters = (p.detach().double().numpy() for p in net.parameters())
    U, b, a, c = parameters
    return TwoLayerReLU(U.T, b, a.T, c)


# ----------------------------------------------------------------------------------- main


class Cache:
    """Measurements, each in a process of its own; those that the file has are not repeated."""

    def __init__(self, path, limit):
        self.path, self.limit, self.known = path, limit, {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self.known[_key(entry["run"])] = entry["result"]

    def __call__(self, **run):
        if _key(run) not in self.known:
            result = fresh(measure, limit=self.limit, **run)
            self.known[_key(run)] = result
            if self.path is not None:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"run": run, "result": result}) + "\n")
        return self.known[_key(run)]


def _key(run):
    return json.dumps(run, sort_keys=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", nargs="*", default=list(TABLES))
    parser.add_argument("--epsilons", nargs="*", type=float, default=[0.05, 0.1, 0.2])
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=(*METHODS, PLAIN))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, help="file of JSON lines; a run resumes from it")
    parser.add_argument("--limit", type=float, default=300.0, help="CPU seconds per run")
    args = parser.parse_args()
    methods = args.methods
    if importlib.util.find_spec("torch") is None:
        methods = [method for method in methods if method not in PEERS]
    cache = Cache(args.cache, args.limit)
    header = ["table", "epsilon", "method", "attacked", "± of the mean", "certified", "clean",
              "neurons", "CPU s"]  # fmt: skip
    rows, better = [header], []
    for table in args.tables:
        for epsilon in args.epsilons:
            found = {}
            for method in methods:
                found[method] = [
                    cache(table=table, epsilon=epsilon, method=method, seed=seed)
                    for seed in range(args.seeds)
                ]
                rows.append([table, epsilon, method, *_summary(found[method])])
                print(*rows[-1], sep="  ", flush=True)
            better += [f"- {table}, {epsilon}: {one}" for one in _ahead(found)]
    missing = "" if len(methods) == len(args.methods) else " PyTorch is not installed."
    report(
        "robust",
        "Accuracy on perturbed inputs",
        f"Means over {args.seeds} random splits, 70% to train on, features in [0, 1], one thread. "
        "attacked: share of the test rows that projected gradient descent (100 steps, 10 starts, "
        "supremum norm) leaves classified right; certified: share that is proved to be, in "
        f"{VERIFY:g} seconds for all rows; the truth lies between the two. PGD, TRADES and IBP: "
        f"{WIDTH} neurons, {EPOCHS} epochs. Of robust trees the attack is a search over "
        "thresholds, and what is certified the exact worst case but for the tolerance of HiGHS. "
        f"{BANKNOTE} is synthetic, with two classes of the same size: a method that ends in a "
        "constant there is right on half of the rows, or on none if the constant is zero."
        f"{missing}",
        rows,
        "Where another method is ahead of ours: the mean over the splits of the difference of "
        "what the attack leaves, and the standard error of that mean.",
        "\n".join(better) or "Nowhere.",
    )


def _ahead(found):
    """By how much methods are better than ours, a line each; the splits are the same."""
    for method, runs in found.items():
        if method == OURS or OURS not in found or any("failure" in run for run in runs):
            continue
        pairs = zip(runs, found[OURS], strict=True)
        gains = [run["attacked"] - ours.get("attacked", np.nan) for run, ours in pairs]
        if np.mean(gains) > 1e-9:
            yield f"{method} by {np.mean(gains):.3f} ± {_standard_error(gains):.3f}"


def _summary(runs):
    failures = [run["failure"] for run in runs if "failure" in run]
    if failures:
        return [failures[0], *[""] * 5]
    worst = [run["attacked"] for run in runs]
    error = _standard_error(worst)
    means = {key: np.mean([run[key] for run in runs]) for key in runs[0]}
    return [
        f"{means['attacked']:.3f}", f"{error:.3f}", f"{means['certified']:.3f}",
        f"{means['clean']:.3f}", f"{means['neurons']:.0f}" if "neurons" in means else "",
        f"{means['cpu']:.2f}",
    ]  # fmt: skip


def _standard_error(values):
    """Of the mean; zero of a single value."""
    return np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0


if __name__ == "__main__":
    main()
