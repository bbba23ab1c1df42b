"""Long searches of wide networks below what is called proved, n <= 200, d <= 8."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from truth import exceeds, network_objective, wide_descent

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# turn up to attack in earnest
N_PROBLEMS, N_STARTS, NEURONS = 6, 2, 60
TIME_LIMIT = 5.0


def forward(model):
    (U, A), (b, c) = model.coefs_, model.intercepts_
    return U, b, A, c


def false_bounds(certificate, problem, networks):
    """Proved bounds that a network lies below; `networks` share no neuron between outputs."""
    proved = [certificate.detail["proved_lower_bound"]]
    if certificate.kind != "searched":
        proved.append(certificate.lower_bound)
    return [
        (bound, network_objective(*problem, network))
        for bound in proved
        for network in networks
        if exceeds(bound, *problem, network)
    ]


def draw_problem(seed):
    rng = np.random.RandomState(seed)
    loss = ("squared_error", "log_loss", "hinge")[seed % 3]
    n, d, intercept = rng.randint(60, 201), rng.randint(2, 9), bool(rng.randint(2))
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-1, 1, d)
    score = np.abs(X / X.std(0)).sum(1) - np.abs(X[:, 0] / X[:, 0].std()) * rng.choice([1, 3])
    score += 0.3 * rng.standard_normal(n)
    y = score if loss == "squared_error" else np.where(score > np.median(score), 1.0, -1.0)
    given = [None, rng.randint(1, 4, n).astype(float), 10.0 ** rng.uniform(-6, 3, n)][seed % 3]
    return loss, X, y, given, intercept


@pytest.mark.parametrize("seed", range(N_PROBLEMS))
def test_no_wide_network_is_below_a_proved_bound(seed):
    loss, X, y, given, intercept = draw_problem(seed)
    kind = ConvexReLURegressor if loss == "squared_error" else ConvexReLUClassifier
    weights = np.full(len(X), 1.0 / len(X)) if given is None else given / given.sum()
    model = kind(loss=loss, fit_intercept=intercept, random_state=0)
    model.set_params(alpha=None if seed % 2 else "auto")
    if seed % 2:
        # where the bound is nearest to the optimum: not much is left but a constant
        model.set_params(alpha=float(0.1 * np.sqrt(weights @ (X**2).sum(1))))
    model.fit(X, y, sample_weight=given)
    problem = loss, X, y[:, None], weights, model.alpha_
    assert np.isclose(model.objective_, network_objective(*problem, forward(model)), rtol=1e-9)
    found, _ = wide_descent(
        *problem, intercept=intercept, neurons=NEURONS, starts=N_STARTS,
        rng=np.random.RandomState(seed),
    )  # fmt: skip
    known = model.certificate_.detail["proved_lower_bound"]
    proof = model.certificate(X, y, sample_weight=given, time_limit=TIME_LIMIT)
    for certificate in (model.certificate_, proof):
        assert not false_bounds(certificate, problem, [found, forward(model)])
        assert certificate.detail["proved_lower_bound"] <= model.objective_ * (1 + 1e-12)
    # what is known is not forgotten
    assert proof.detail["proved_lower_bound"] >= known


def shared_problem(name):
    rng = np.random.RandomState(0)
    if name == "two outputs alike":
        X = np.linspace(-1, 1, 9)[:, None]
        return "squared_error", X, np.abs(np.hstack([X, X])), 0.05
    if name == "eight outputs":
        X = rng.standard_normal((60, 4))
        return (
            "squared_error",
            X,
            np.maximum(X @ rng.standard_normal((4, 2)), 0) @ rng.randn(2, 8),
            0.05,
        )
    iris = load_iris()
    X = (iris.data - iris.data.mean(0)) / iris.data.std(0)
    Y = 2.0 * (iris.target[:, None] == np.arange(3)) - 1.0
    return "log_loss", X, Y, 0.01


@pytest.mark.parametrize("name", ["two outputs alike", "eight outputs", "iris"])
def test_bounds_over_networks_that_share_neurons(name):
    loss, X, Y, alpha = shared_problem(name)
    weights = np.full(len(X), 1.0 / len(X))
    kind, labels = ConvexReLURegressor, Y
    if loss == "log_loss":
        kind, labels = ConvexReLUClassifier, Y.argmax(1)
    problem = loss, X, Y, weights, alpha
    shared, least = wide_descent(
        *problem, intercept=True, neurons=NEURONS, starts=N_STARTS, rng=np.random.RandomState(0)
    )
    how = {"hidden_layer": "separate", "random_state": 0}
    model = kind(alpha=alpha, loss=loss, **how).fit(X, labels)
    assert least < 0.97 * model.objective_  # the example is one
    proof = model.certificate(X, labels, time_limit=TIME_LIMIT)
    for certificate in (model.certificate_, proof):
        assert certificate.networks == "unshared"
        assert not false_bounds(certificate, problem, [forward(model)])
        assert not exceeds(certificate.detail["shared_lower_bound"], *problem, shared)
        # a bound for the one class is none for the other, and the sentences name it
        for line in str(certificate).splitlines():
            if line.startswith(("Searched", "Proved")):
                apart = "of any width whose outputs share no neuron" in line
                assert apart != ("of any width, with shared neurons or without," in line)
    assert proof.detail["shared_lower_bound"] > 0
