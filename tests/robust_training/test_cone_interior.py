"""The interior point of convex adversarial training: its cones, its system, its steps."""

import numpy as np
import pytest
from grids import halved

from sklearn_convexnet import Perturbation, solve_robust_cone
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.core.norms import NORMS
from sklearn_convexnet.robust_training.cone_newton import Eliminated, NewtonSystem
from sklearn_convexnet.robust_training.cone_pairs import (
    HalfSpaces,
    Norms,
    Reaches,
    WorstCaseSlopes,
)

LOSSES = ["hinge", "log_loss", "squared_hinge", "squared_error"]
B, D, MU = 5, 3, 0.3
balls = pytest.mark.parametrize("ball", NORMS.values(), ids=NORMS)


def reaches(ball, rng, depth=0.5):
    u = rng.standard_normal((B, D))
    T = np.abs(u) if ball.separable else ball.falls(u)[:, None]
    return Reaches.centred(ball, T + depth, u, MU)


def cone_of(kind, rng):
    """A cone where all products are `MU`, and a direction of its slacks."""
    if kind == "rows":
        used = rng.rand(B, D) < 0.8
        cone = HalfSpaces.centred(rng.uniform(0.1, 2.0, (B, D)), MU, used)
        return cone, rng.standard_normal((B, D))
    if kind in NORMS:
        cone = reaches(NORMS[kind], rng)
        return cone, (rng.standard_normal(cone.shape), rng.standard_normal((B, D)))
    if kind == "norms":
        theta = rng.standard_normal((B, D))
        theta[0] = 0.0
        return Norms.centred(theta, 0.7, MU), rng.standard_normal((B, D))
    y = np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    outputs = np.stack([rng.standard_normal(B), rng.uniform(0.1, 1.0, B)], axis=1)
    # so small that no multiplier of the ends is held back at the start
    cone = WorstCaseSlopes(get_loss(kind), y, np.full(B, 1e3), outputs, MU)
    return cone, rng.standard_normal((B, 2))


@pytest.mark.parametrize("kind", ["rows", *NORMS, "norms", *LOSSES])
@pytest.mark.parametrize("mu", [0.0, 0.1])
def test_products_head_for_what_is_aimed_at(kind, mu):
    cone, change = cone_of(kind, np.random.RandomState(0))
    # the same product everywhere at first
    assert cone.complementarity() == pytest.approx(cone.degree * MU)
    for _ in range(3):
        cone.rescale()
        cone.aim(mu, False)
        cone.answer(change)
        up, down = (cone.moved(step).complementarity() for step in (1e-6, -1e-6))
        slope = (up - down) / 2e-6
        assert slope == pytest.approx(cone.degree * mu - cone.complementarity(), rel=1e-6)
        cone = cone.moved(min(1.0, 0.9 * cone.to_boundary()))


@balls
def test_curvature_of_reaches_is_how_their_multipliers_answer(ball):
    rng = np.random.RandomState(1)
    cone = reaches(ball, rng)
    cone.rescale()
    own, cross, corner = cone.hessian()
    T, u = rng.standard_normal(cone.shape), rng.standard_normal((B, D))
    bound, pull = cone.aim(MU, False)
    old_bound, old_pull = cone.multipliers
    cone.answer((T, u))
    new_bound, new_pull = cone.moved(1.0).multipliers
    change = np.einsum("bij,bj->bi", own, u) + np.einsum("bim,bm->bi", cross, T)
    np.testing.assert_allclose(new_pull, pull - change, rtol=1e-10, atol=1e-12)
    change = np.einsum("bim,bi->bm", cross, u) + np.einsum("bmn,bn->bm", corner, T)
    np.testing.assert_allclose(new_bound, bound - change, rtol=1e-10, atol=1e-12)
    # multipliers are in the dual cone: pulls within the bounds times the unit ball
    assert (ball.sizes(old_pull / old_bound) <= 1.0).all()


@pytest.mark.parametrize("intercept", [False, True])
def test_the_newton_system_is_solved(intercept):
    """Blocks whose entries differ by ten digits."""

    class Everywhere:
        projections = None

        @staticmethod
        def on_faces(blocks):
            return blocks

    rng = np.random.RandomState(0)
    P, d, m, groups = 3, 4, 2, 5

    def stiff(count, size, inner):
        roots = rng.standard_normal((count, size + inner, size + inner))
        roots *= 10.0 ** rng.uniform(-5.0, 0.0, (count, 1, size + inner))
        whole = roots @ np.swapaxes(roots, 1, 2)
        return Eliminated(whole[:, :size, :size], whole[:, :size, size:], whole[:, size:, size:])

    gates = (rng.rand(groups, P) < 0.6).astype(float)
    blocks, effective = stiff(2 * P, d, m), stiff(groups, d + 1, m)
    system = NewtonSystem(blocks, effective, gates, Everywhere, intercept)
    gradient = (
        rng.standard_normal((2 * P, d)),
        rng.standard_normal((2 * P, m)),
        float(intercept),
        rng.standard_normal((groups, m)),
    )
    product = system.multiply(system.solve(gradient))
    for part, given in zip(product[:2], gradient[:2], strict=True):
        np.testing.assert_allclose(part, np.multiply(-1.0, given), atol=1e-6)


# what a barrier method creeps along: cones of few rows, none of which is tight at last
THIN = [
    (2, "hinge", 0.2, 1e-3, 1e-4),
    (2, "squared_error", [0.1, 0.2, 0.3], 1e-2, 1e-4),
    (1, "hinge", 0.05, 1e-2, 1e-6),
    (np.inf, "squared_error", 0.2, 1e-2, 1e-6),
    (1, "squared_error", 0.05, 1e-3, 1e-6),
    (2, "log_loss", 0.05, 1e-3, 1e-6),
]


@pytest.mark.parametrize(("thin", "intercept"), halved(THIN, [False, True]), ids=str)
def test_tens_of_steps_are_enough(thin, intercept):
    norm, loss, epsilon, alpha, tol = thin
    rng = np.random.RandomState(0)
    X = rng.standard_normal((24, 3))
    y = np.abs(X[:, 0]) - 0.8 + 0.3 * rng.standard_normal(24)
    result = solve_robust_cone(
        X,
        np.where(y > 0, 1.0, -1.0),
        loss=loss,
        alpha=alpha,
        perturbation=Perturbation(epsilon, norm),
        n_patterns=20,
        fit_intercept=intercept,
        tol=tol,
        random_state=0,
    )
    assert result.gap <= tol
    assert result.n_iter <= 60
