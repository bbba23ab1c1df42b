"""Small networks for the tests of robustness, and their worst cases by brute force."""

from itertools import product

import cvxpy as cp
import numpy as np

from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.robustness.model import Model
from sklearn_convexnet.robustness.queries import build_queries


class Fitted:
    """An estimator as the verifier sees it."""

    def __init__(self, network, classes=None):
        self.network_ = network
        if classes is not None:
            self.classes_ = np.asarray(classes)


def draw_network(rng, d=3, m=6, k=1):
    return TwoLayerReLU(
        rng.standard_normal((d, m)),
        0.5 * rng.standard_normal(m),
        rng.standard_normal((m, k)),
        0.1 * rng.standard_normal(k),
    )


def draw_classifier(rng, d=3, m=6, n_classes=2):
    k = 1 if n_classes == 2 else n_classes
    return Fitted(draw_network(rng, d, m, k), np.arange(n_classes))


def draw_queries(seed, *, norm=np.inf, n=4, d=3, m=6, epsilon=0.5):
    """Queries that minimise the output of a random network, and their parts."""
    rng = np.random.RandomState(seed)
    model, X = Model(draw_network(rng, d, m), None), rng.standard_normal((n, d))
    perturbation = Perturbation(epsilon, norm)
    centres, radii = perturbation.balls(X)
    queries = build_queries(
        model, perturbation, centres, radii, np.arange(n), rng.choice([-1.0, 1.0], (n, 1))
    )
    return queries, rng


def draw_ball(rng, shape, norm):
    """Points of the unit ball, half of them on its boundary."""
    points = rng.standard_normal(shape)
    points /= np.linalg.norm(points, ord=norm, axis=-1, keepdims=True)
    if norm == np.inf:
        points[::4] = np.sign(points[::4])
    return points * np.where(np.arange(shape[0]) % 2, 1.0, rng.uniform(size=shape[0]))[:, None]


def brute_minimum(network, direction, centre, radius, norm):
    """Least ``direction @ f(x)`` over a ball: a convex program for every pattern that hurts."""
    weights = network.output_weights @ direction
    hurts = np.flatnonzero(weights < 0)
    eta, values = cp.Variable(len(centre)), []
    x = centre + cp.multiply(radius, eta)
    z = x @ network.hidden_weights + network.hidden_biases
    convex = cp.sum(cp.multiply(np.maximum(weights, 0.0), cp.pos(z)))
    for signs in product([0.0, 1.0], repeat=len(hurts)):
        lines = np.zeros(len(weights))
        lines[hurts] = np.array(signs) * weights[hurts]
        problem = cp.Problem(cp.Minimize(convex + lines @ z), [cp.norm(eta, norm) <= 1])
        values.append(problem.solve(solver="CLARABEL"))
    return min(values) + float(direction @ network.output_biases)
