"""Bounds on networks of several outputs against the best that many descents find, n <= 8."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor

pytestmark = pytest.mark.slow

# turn up to attack in earnest
N_PROBLEMS, N_STARTS, NEURONS, TIME_LIMIT = 6, 4, 10, 1.0
RELATIVE = 1e-12


def losses(name, f, y):
    """Losses of rows, and their derivatives."""
    if name == "softmax":
        own = y > 0
        return logsumexp(f, axis=1) - f[own], softmax(f, axis=1) - own
    r, slack = f - y, np.maximum(1.0 - y * f, 0.0)
    if name == "squared_error":
        return 0.5 * (r**2).sum(axis=1), r
    if name == "absolute_error":
        return np.abs(r).sum(axis=1), np.sign(r)
    if name == "hinge":
        return slack.sum(axis=1), -y * (slack > 0)
    if name == "squared_hinge":
        return 0.5 * (slack**2).sum(axis=1), -y * slack
    return np.logaddexp(0.0, -y * f).sum(axis=1), -y * softmax([-y * f, 0.0 * f], axis=0)[0]


def objective(name, X, y, weights, alpha, U, b, A, c):
    """Of a network, and its derivatives."""
    z = X @ U + b
    hidden = np.maximum(z, 0.0)
    values, pull = losses(name, hidden @ A + c, y)
    pull = weights[:, None] * pull
    back = (pull @ A.T) * (z > 0)
    value = weights @ values + 0.5 * alpha * sum(np.sum(part**2) for part in (U, b, A))
    by_bias = back.sum(axis=0) + alpha * b
    return value, (X.T @ back + alpha * U, by_bias, hidden.T @ pull + alpha * A, pull.sum(axis=0))


def least(problem, intercept, rng):
    """The best of descents from random networks and from none."""
    _, X, y, _, _ = problem
    shapes = (X.shape[1], NEURONS), (NEURONS,), (NEURONS, y.shape[1]), (y.shape[1],)
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    free = np.concatenate([np.full(np.prod(s), k in (0, 2)) for k, s in enumerate(shapes)])
    free = free | intercept

    def at(point):
        parts = np.split(point, ends[:-1])
        parts = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
        value, gradient = objective(*problem, *parts)
        return value, np.concatenate([part.ravel() for part in gradient]) * free

    found = []
    for k in range(N_STARTS):
        start = rng.standard_normal(ends[-1]) * free * (k > 0)
        options = {"maxiter": 500}
        found.append(minimize(at, start, jac=True, method="L-BFGS-B", options=options).fun)
    return min(found)


@pytest.mark.parametrize("seed", range(N_PROBLEMS))
@pytest.mark.parametrize(
    "name",
    ["softmax", "squared_error", "log_loss", "squared_hinge", "hinge", "absolute_error"],
)
def test_no_network_of_several_outputs_is_below_a_bound(name, seed):
    rng = np.random.RandomState(seed)
    n, n_outputs, d = rng.randint(4, 9), rng.randint(2, 4), rng.randint(1, 3)
    n_outputs = 3 if name == "softmax" else n_outputs
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2)
    y = labels = rng.standard_normal((n, n_outputs)) * 10.0 ** rng.uniform(-2, 2)
    kind, loss = ConvexReLUClassifier, name
    if name == "softmax":
        labels, loss = np.r_[0:3, rng.randint(3, size=n)][:n], "log_loss"
        y = np.where(labels[:, None] == np.arange(3), 1.0, -1.0)
    elif name.endswith("_error"):
        kind = ConvexReLURegressor
    else:
        labels = (y > np.median(y)).astype(int)
        y = 2.0 * labels - 1.0
    given = 10.0 ** rng.uniform(0, (0, 3, 8)[seed % 3], n)
    intercept, alpha = bool(rng.randint(2)), "auto" if seed % 2 else 10.0 ** rng.uniform(-4, 0)
    model = kind(alpha=alpha, loss=loss, fit_intercept=intercept, random_state=0, n_patterns=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, labels, sample_weight=given)
    problem = name, X, y, given / given.sum(), model.alpha_
    (U, A), (b, c) = model.coefs_, model.intercepts_
    own, _ = objective(*problem, U, b, A, c)
    assert model.objective_ == pytest.approx(own, rel=1e-9)
    best = min(own, least(problem, intercept, rng)) * (1.0 + RELATIVE)
    proof = model.certificate(X, labels, sample_weight=given, time_limit=TIME_LIMIT)
    for certificate in (model.certificate_, proof):
        assert certificate.networks == "all"
        assert 0 <= certificate.detail["proved_lower_bound"] <= best
        assert certificate.kind == "searched" or certificate.lower_bound <= best
    # searched, and so small that nothing was missed
    assert model.lower_bound_ <= best * (1.0 + 1e-9)
    assert model.objective_ <= best / (1.0 - model.tol) or model.dual_gap_ > model.tol
