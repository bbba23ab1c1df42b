"""Robust training on degenerate data against programs and networks of our own."""

import numpy as np
import pytest
from rationals import Ball, RationalNetwork, exact
from truth import all_patterns, cone_optimum, losses

from sklearn_convexnet import RobustConvexReLUClassifier

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:RobustConvexReLUClassifier has no neurons:UserWarning"),
]

# turn up to attack in earnest
N_CASES = 18

SHAPES = ("plain", "zero rows", "a still feature", "repeated", "on a line", "all still")
NAMES = ("hinge", "log_loss", "squared_hinge")


def draw_case(seed):
    """Rows, signs, weights, radii, parameters: few rows, so that all patterns are tried."""
    rng = np.random.RandomState(seed)
    shape, loss = SHAPES[seed % 6], NAMES[(seed // 6 + seed) % 3]
    n, d, intercept = rng.randint(3, 7), rng.randint(1, 3), bool(rng.randint(2))
    X, y = 2.0 * rng.standard_normal((n, d)), np.where(np.arange(n) % 2, 1.0, -1.0)
    radii = rng.choice([0.01, 0.1, 0.3]) * np.ones(d)
    if shape == "zero rows":
        X[0] = 0.0
        radii[0] = 0.0
    elif shape == "a still feature":
        radii[rng.randint(d)] = 0.0
    elif shape == "repeated":
        X[n // 2 :] = X[: n - n // 2]
    elif shape == "on a line":
        X = X[:, :1] * np.ones(d)
    elif shape == "all still":
        radii[:] = 0.0
    given = None if rng.rand() < 0.5 else 10.0 ** rng.uniform(-3, 2, n)
    weights = np.full(n, 1.0 / n) if given is None else given / given.sum()
    alpha = float(10.0 ** rng.uniform(-3, -0.5))
    return X, y, given, weights, radii, loss, alpha, intercept


def fit(case, formulation, **options):
    X, y, given, _, radii, loss, alpha, intercept = case
    model = RobustConvexReLUClassifier(
        alpha=alpha, epsilon=radii, formulation=formulation, loss=loss, fit_intercept=intercept,
        random_state=0, tol=1e-3, **options,
    )  # fmt: skip
    return model.fit(X, y, sample_weight=given)


def worst_margins(model, X, y, radii):
    """Margins of the training rows in their worst case, exactly."""
    (U, A), (b, c) = model.coefs_, model.intercepts_
    network = RationalNetwork(U, b, A, c)
    margins = []
    for x, label in zip(X, y > 0, strict=True):
        ball = Ball(x, exact(radii), np.inf)
        corners = network.corners(ball) if U.shape[1] else [ball.centre]
        margins.append(float(min(network.margin(corner, label) for corner in corners)))
    return np.array(margins)


def robust_objective(model, case):
    X, y, _, weights, radii, loss, alpha, _ = case
    (U, A), (b, _) = model.coefs_, model.intercepts_
    decay = 0.5 * ((U**2).sum() + (b**2).sum() + (A**2).sum())
    margins = worst_margins(model, X, y, radii)
    return float(weights @ losses(loss, margins, np.ones_like(y)) + alpha * decay), margins


def check_cone(case):
    X, y, _, weights, radii, loss, alpha, intercept = case
    rows = np.hstack([X, np.ones((len(X), int(intercept)))])
    _, optimum = cone_optimum(
        loss, X, y, weights, alpha, all_patterns(rows), intercept=intercept, radii=radii
    )
    model = fit(case, "cone", n_patterns=300)
    reached, margins = robust_objective(model, case)
    assert np.isclose(model.objective_, reached, rtol=1e-7)
    assert model.lower_bound_ <= optimum * (1 + 1e-6)
    assert model.objective_ >= optimum * (1 - 1e-6)
    if model.dual_gap_ <= model.tol:
        assert model.objective_ <= optimum * (1 + 2 * model.tol)
    assert model.certified_accuracy_ <= np.sum(weights * (margins > 0)) + 1e-12


@pytest.mark.parametrize("seed", range(N_CASES))
def test_cone_bounds_hold_for_all_networks_that_switch_in_no_ball(seed):
    check_cone(draw_case(seed))


def test_a_cone_without_interior_is_no_cone_of_zeros():
    X = np.array([[0.0, 0.0], [1.0, 0.3], [-1.0, 0.2], [2.0, -1.0]])
    y, radii = np.array([1.0, 1.0, -1.0, 1.0]), np.array([0.0, 0.1])
    case = X, y, None, np.full(4, 0.25), radii, "hinge", 0.01, False
    check_cone(case)
    # f(x) = (x_1)_+ - (-x_1)_+ has no x_2 to be moved, and is as good as any
    simple = 0.25 * np.maximum(1.0 - y * X[:, 0], 0.0).sum() + 0.01 * 2.0
    assert fit(case, "cone").lower_bound_ <= simple


@pytest.mark.parametrize("seed", range(N_CASES))
def test_bounds_over_a_fixed_first_layer(seed):
    case = draw_case(seed + 500)
    _, y, _, weights, _, loss, alpha, intercept = case
    model = fit(case, "scp", n_patterns=50)
    reached, margins = robust_objective(model, case)
    # certified margins are below the exact ones
    assert model.objective_ >= reached * (1 - 1e-9)
    assert model.certified_accuracy_ <= np.sum(weights * (margins > 0)) + 1e-12
    # constants are among the networks of the program
    constants = np.linspace(-5, 5, 201) if intercept else [0.0]
    best = min(weights @ losses(loss, np.full_like(y, c), y) for c in constants)
    assert model.lower_bound_ <= best * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(N_CASES))
def test_what_descent_on_certified_margins_claims(seed):
    case = draw_case(seed + 900)
    model = fit(case, "relaxed", n_patterns=20)
    reached, margins = robust_objective(model, case)
    assert model.objective_ >= reached * (1 - 1e-9)
    assert model.certified_accuracy_ <= np.sum(case[3] * (margins > 0)) + 1e-12
