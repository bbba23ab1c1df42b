"""The interior-point method: its operators, its Newton system, and where it ends."""

import numpy as np
import pytest
from grids import pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import VARIANTS, draw_program, programs

from sklearn_convexnet import PatternProgram
from sklearn_convexnet.core.losses import balance
from sklearn_convexnet.solvers.coupling import Coupling
from sklearn_convexnet.solvers.interior import InteriorPoint, NewtonSystem
from sklearn_convexnet.solvers.working_set import fewest_blocks, gated_blocks


def all_blocks(program):
    return gated_blocks(program, np.arange(2 * program.n_patterns))


@settings(max_examples=15)
@given(program=programs(), seed=st.integers(0, 10**6))
def test_blocks_mean_the_program(program, seed):
    rng = np.random.RandomState(seed)
    P = program.n_patterns
    some = np.sort(rng.choice(2 * P, rng.randint(1, 2 * P + 1), replace=False))
    problem = gated_blocks(program, some)
    theta = rng.standard_normal((len(some), program.rows.shape[1]))
    both = np.zeros((2 * P, program.rows.shape[1]))
    both[some] = theta
    v, w = both[:P].T, both[P:].T
    np.testing.assert_allclose(problem.predict(theta), program.predictions(v, w, 0.0), atol=1e-12)
    signs = 2.0 * program.cone_patterns - 1.0
    slack = np.concatenate([signs * (program.cone_rows @ v), signs * (program.cone_rows @ w)], 1)
    np.testing.assert_allclose(problem.slack(theta), slack[:, some], atol=1e-12)
    # adjoints
    r = rng.standard_normal(program.n_samples)
    a = rng.standard_normal((len(program.cone_rows), len(some)))
    left = np.sum(problem.pull_back(r) * theta)
    assert left == pytest.approx(r @ problem.predict(theta), rel=1e-10, abs=1e-10)
    left = np.sum(problem.pull_back_slack(a) * theta)
    assert left == pytest.approx(np.sum(a * problem.slack(theta)), rel=1e-10, abs=1e-10)


@settings(max_examples=15)
@given(program=programs(), steps=st.integers(0, 6), seed=st.integers(0, 10**6))
def test_newton_direction_solves_the_linearised_conditions(program, steps, seed):
    rng = np.random.RandomState(seed)
    method = InteriorPoint(all_blocks(program.normalised))
    method.run(0.0, steps)
    p, r = method.problem, method._residuals()
    system = NewtonSystem(method, r)
    B = len(p.groups)
    cones = rng.standard_normal(method.s.shape) * method.s * method.multipliers
    scaled = rng.standard_normal(B), rng.standard_normal(method.theta.shape)
    low = np.where(method.has_lo, rng.standard_normal(len(p.y)), 0.0) * method.xi
    high = np.where(method.has_hi, rng.standard_normal(len(p.y)), 0.0) * method.eta
    step = system.solve(cones, scaled, low, high, refine=True)

    def small(residual, *terms):
        size = max(np.abs(term).max(initial=0.0) for term in terms)
        assert np.abs(residual).max(initial=0.0) <= 1e-6 * size

    pulled, pushed = p.pull_back(p.weights * step.slopes), p.pull_back_slack(step.a)
    small(pulled - pushed - step.zeta - r.dual, pulled, pushed, step.zeta)
    slack = p.slack(step.theta)
    small(slack - step.s + r.slack, slack, step.s, r.slack)
    bent = p.loss.conjugate_curvature(method.slopes, p.y) * step.slopes
    outputs = p.predict(step.theta) + step.bias
    small(outputs - bent + step.xi - step.eta + r.loss, outputs, bent, step.xi, step.eta, r.loss)
    if p.intercept:
        small(p.weights @ step.slopes - r.balance, p.weights * step.slopes)
    else:
        assert step.bias == 0.0
    products = method.s * step.a, method.multipliers * step.s
    small(products[0] + products[1] - cones, *products, cones)
    scaling = system.scaling
    dual = scaling.apply((np.zeros(B), step.zeta))
    primal = scaling.apply_inverse((step.t, step.theta))
    for k in (0, 1):
        small(dual[k] + primal[k] - scaled[k], dual[k], primal[k], scaled[k])
    below, above = method.to_ends()
    small(below * step.xi + method.xi * step.slopes - low, step.xi, method.xi, low)
    small(above * step.eta - method.eta * step.slopes - high, step.eta, method.eta, high)
    assert not step.xi[~method.has_lo].any() and not step.eta[~method.has_hi].any()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 8),
    d=st.integers(1, 4),
    groups=st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_coupling_is_the_sum_over_blocks(seed, n, d, groups):
    rng = np.random.RandomState(seed)
    # a mask serves one or two blocks
    groups = np.array([g for k, g in enumerate(groups) if groups[:k].count(g) < 2])
    rows, masks = rng.standard_normal((n, d)), rng.uniform(0.0, 1.0, (n, 5))
    roots = rng.standard_normal((len(groups), d, d))
    diagonal = rng.uniform(0.1, 1.0, n)
    coupling = Coupling(rows, masks, groups, roots, diagonal)
    K = np.diag(diagonal)
    for group, root in zip(groups, roots, strict=True):
        gated = masks[:, group, None] * rows
        K += gated @ root.T @ root @ gated.T
    r = rng.standard_normal(n)
    expected = np.linalg.solve(K, r)
    np.testing.assert_allclose(coupling.solve(r), expected, atol=1e-8 * np.abs(expected).max())
    blocks = rng.standard_normal((len(groups), d))
    expected = np.einsum("bji,bjk,bk->bi", roots, roots, blocks)
    np.testing.assert_allclose(coupling.apply_inverse(blocks), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("loss", "alpha", "intercept", "size"),
    pairwise(VARIANTS, [1e-6, 1e-3, 1.0, 1e3], [False, True], [0.0, 1e-8, 1.0, 1e4]),
)
def test_it_starts_strictly_inside(loss, alpha, intercept, size):
    program = draw_program(7, loss=loss, alpha=alpha, intercept=intercept).normalised
    problem = all_blocks(program)
    shape = len(problem.groups), problem.rows.shape[1]
    # zero, or a network in no cone
    theta = size * np.random.RandomState(0).standard_normal(shape)
    method = InteriorPoint(problem, theta, size * intercept)
    assert (method.lo < method.slopes).all() and (method.slopes < method.hi).all()
    assert (method.s > 0).all() and (method.multipliers > 0).all()
    assert (method.t > np.linalg.norm(method.theta, axis=1)).all()
    assert (np.linalg.norm(method.zeta, axis=1) < program.alpha).all()
    assert (method.xi[method.has_lo] > 0).all() and (method.eta[method.has_hi] > 0).all()


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
def test_it_may_go_on_where_it_stopped(loss):
    program = draw_program(7, loss=loss).normalised
    once, twice = InteriorPoint(all_blocks(program)), InteriorPoint(all_blocks(program))
    assert once.run(1e-9, 100)
    assert twice.run(1e-2, 100) and twice.n_iter < once.n_iter
    assert not twice.run(0.0, 1)
    assert twice.run(1e-9, 100)
    assert twice.n_iter == once.n_iter
    np.testing.assert_array_equal(twice.theta, once.theta)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
def test_it_may_start_anywhere(loss):
    program = draw_program(7, loss=loss, alpha=1e-3).normalised
    problem = all_blocks(program)
    cold = InteriorPoint(problem)
    assert cold.run(1e-6, 200)
    near = InteriorPoint(problem, cold.theta, cold.bias)
    assert near.run(1e-6, 200)
    rng = np.random.RandomState(0)
    far = InteriorPoint(problem, rng.standard_normal(cold.theta.shape), cold.bias)
    assert far.run(1e-6, 200)
    predictions = [problem.predict(each.theta) + each.bias for each in (cold, near, far)]
    if np.isfinite(program.loss.curvature):
        np.testing.assert_allclose(predictions[1], predictions[0], atol=1e-2)
        np.testing.assert_allclose(predictions[2], predictions[0], atol=1e-2)


def test_it_had_better_start_near():
    rng = np.random.RandomState(0)
    X = rng.standard_normal((80, 4))
    gates = rng.standard_normal((4, 30))
    y = np.maximum(X @ gates[:, :3], 0.0) @ [1.0, -1.0, 1.0]
    program = PatternProgram.from_data(
        X, y, X @ gates >= 0, loss="squared_error", alpha=1e-4, gates=gates
    )
    problem = all_blocks(program.normalised)
    cold = InteriorPoint(problem)
    assert cold.run(1e-2, 100)
    near = InteriorPoint(problem, cold.theta)
    assert near.run(1e-2, 100)
    assert near.n_iter <= 0.8 * cold.n_iter


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 10), one_sign=st.booleans())
def test_balance_shrinks_one_side(seed, n, one_sign):
    rng = np.random.RandomState(seed)
    slopes = rng.standard_normal(n) * rng.randint(0, 2, n)
    slopes = np.abs(slopes) if one_sign else slopes
    weights = 10.0 ** rng.uniform(-6, 0, n)
    balanced = balance(slopes, weights)
    assert abs(weights @ balanced) <= 1e-14 * (weights @ np.abs(slopes))
    assert (balanced * slopes >= 0).all() and (np.abs(balanced) <= np.abs(slopes)).all()
    if one_sign:
        assert not balanced.any()
    elif balanced.any():
        # one side is left alone
        kept = balanced == slopes
        assert kept[slopes > 0].all() or kept[slopes < 0].all()


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 6), B=st.integers(1, 20))
def test_a_vertex_has_no_more_blocks_than_rows(seed, n, B):
    rng = np.random.RandomState(seed)
    contributions, norms = rng.standard_normal((n, B)), rng.uniform(0.1, 1.0, B)
    factors = fewest_blocks(contributions, norms)
    assert (factors >= 0).all()
    assert np.count_nonzero(factors) <= n
    np.testing.assert_allclose(contributions @ factors, contributions.sum(axis=1), atol=1e-6)
    assert norms @ factors <= norms.sum() * (1.0 + 1e-9)
