"""Bounds hold whatever the point: at random, and with anything for multipliers."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import VARIANTS, draw_program, programs
from reference import projected_gradients
from scipy.optimize import minimize_scalar

from sklearn_convexnet.bounds.dual import (
    admissible_slopes,
    certify,
    dual_norms,
    dual_value,
    less_rounding,
    relative_gap,
    resolution,
    tighter,
)
from sklearn_convexnet.solvers import solve
from sklearn_convexnet.solvers.descent import constant_network


def random_point(program, seed):
    rng = np.random.RandomState(seed)
    size = 10.0 ** rng.uniform(-3, 1)
    v, w = size * rng.standard_normal((2, *program.gates.shape))
    slopes = 10.0 ** rng.uniform(-3, 1) * rng.standard_normal(program.n_samples)
    bias = float(rng.standard_normal()) if program.fit_intercept else 0.0
    multipliers = rng.uniform(0, 1, (len(program.cone_rows), 2 * program.n_patterns))
    return v, w, bias, slopes, multipliers * rng.choice([1e-3, 1.0], multipliers.shape)


@settings(max_examples=15)
@given(program=programs(), seed=st.integers(0, 10**6))
def test_dual_norms_are_upper_bounds_and_exact_when_asked(program, seed):
    _, _, _, slopes, multipliers = random_point(program, seed)
    slopes = admissible_slopes(program, slopes)
    exact = np.linalg.norm(projected_gradients(program, slopes), axis=1).ravel()
    small = 1e-12 * np.abs(program.rows).max() * np.abs(slopes).max()
    for given_multipliers in (None, multipliers):
        cheap = dual_norms(program, slopes, multipliers=given_multipliers, exact_above=np.inf)
        assert (cheap >= exact - small).all()
        norms = dual_norms(program, slopes, multipliers=given_multipliers, exact_above=0.0)
        np.testing.assert_allclose(norms, exact, rtol=1e-9, atol=1e-9 * exact.max() + small)
        # exact, or proved to be at most the threshold
        threshold = float(np.median(exact))
        norms = dual_norms(program, slopes, multipliers=given_multipliers, exact_above=threshold)
        assert (norms >= exact - small).all()
        assert (norms <= np.maximum(threshold, exact * (1 + 1e-9) + small)).all()
    some = np.random.RandomState(seed).permutation(2 * program.n_patterns)[:3]
    part = dual_norms(
        program, slopes, multipliers=multipliers[:, some], exact_above=0.0, indices=some
    )
    np.testing.assert_allclose(part, exact[some], rtol=1e-9, atol=1e-9 * exact.max() + small)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
@settings(max_examples=5)
@given(data=st.data(), seed=st.integers(0, 10**6))
def test_any_point_gives_bounds(loss, data, seed):
    program = data.draw(programs(losses=[loss]))
    v, w, bias, slopes, multipliers = random_point(program, seed)
    optimum = solve(program, tol=1e-7)
    indices = np.random.RandomState(seed).permutation(2 * program.n_patterns)[:5]
    for arguments in ({}, {"indices": indices, "multipliers": multipliers[:, indices]}):
        certified, norms = certify(program, v, w, bias, slopes, tol=1e-6, **arguments)
        assert certified.lower_bound <= optimum.upper_bound * (1 + 1e-12)
        assert certified.upper_bound >= optimum.lower_bound * (1 - 1e-12)
        solution = certified.solution
        value = program.objective(solution.v, solution.w, solution.bias)
        assert certified.upper_bound == value
        assert program.violation(solution.v, solution.w) <= 1e-12
        dual = dual_value(program, solution.slopes, norms.max())
        assert certified.lower_bound == min(dual, value)
        network = program.network(solution.v, solution.w, solution.bias)
        assert program.network_objective(network) <= value * (1 + 1e-9)


@settings(max_examples=10)
@given(program=programs())
def test_a_solution_is_certified_without_multipliers(program):
    optimum = solve(program, tol=1e-7)
    point = optimum.solution
    certified, _ = certify(program, point.v, point.w, point.bias, point.slopes, tol=1e-7)
    assert certified.lower_bound == pytest.approx(optimum.lower_bound, rel=1e-6)
    assert certified.upper_bound == pytest.approx(optimum.upper_bound, rel=1e-9)


@settings(max_examples=15)
@given(program=programs(), seed=st.integers(0, 10**6))
def test_admissible_slopes_are(program, seed):
    slopes = 3.0 * np.random.RandomState(seed).standard_normal(program.n_samples)
    admitted = admissible_slopes(program, slopes)
    lo, hi = program.loss.conjugate_domain(program.y)
    assert (lo <= admitted).all() and (admitted <= hi).all()
    assert np.isfinite(program.loss.conjugate(admitted, program.y)).all()
    if program.fit_intercept:
        assert abs(program.weights @ admitted) <= 1e-14
    np.testing.assert_allclose(
        admissible_slopes(program, admitted), admitted, rtol=1e-12, atol=1e-300
    )


def test_a_dual_value_is_that_of_slopes_shrunk_to_feasibility():
    program = draw_program(0, alpha=0.01)
    slopes = admissible_slopes(program, -program.y)
    norm = dual_norms(program, slopes, exact_above=0.0).max()
    assert norm > program.alpha
    shrunk = slopes * program.alpha / norm
    expected = -float(program.weights @ program.loss.conjugate(shrunk, program.y))
    assert dual_value(program, slopes, norm) == pytest.approx(expected, rel=1e-14)
    assert dual_value(program, shrunk, program.alpha / 2) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
@settings(max_examples=8)
@given(data=st.data())
def test_the_constant_network_is_the_best_constant(loss, data):
    program = data.draw(programs(losses=[loss])).normalised
    bias, slopes = constant_network(
        program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
    )
    y, weights = program.y, program.weights

    def value(constant):
        return float(weights @ program.loss.value(np.full_like(y, constant), y))

    if not program.fit_intercept:
        assert bias == 0.0
    elif np.ptp(y) > 0:
        found = minimize_scalar(value, bounds=(-20.0, 20.0), method="bounded")
        assert value(bias) <= found.fun * (1 + 1e-12)
        assert abs(weights @ slopes) <= 1e-8 * np.abs(slopes).max()
    else:
        assert value(bias) <= resolution(program)
    others = bias + np.linspace(-1.0, 1.0, 21)[:, None]
    above = program.loss.value(others, y) - program.loss.value(np.full_like(y, bias), y)
    assert (above - slopes * (others - bias) >= -1e-7).all()


@pytest.mark.parametrize("loss", VARIANTS, ids=repr)
def test_rounding_does_not_cross_bounds_that_are_both_the_optimum(loss):
    for seed in range(25):
        program = draw_program(seed, loss=loss, n=7 + seed, alpha=10.0).normalised
        bias, slopes = constant_network(
            program.y, program.weights, program.loss, fit_intercept=program.fit_intercept
        )
        zero = np.zeros((program.rows.shape[1], program.n_patterns))
        certified, _ = certify(program, zero, zero, bias, slopes, tol=1e-9)
        assert certified.lower_bound <= certified.upper_bound
        better = replace(certified, upper_bound=0.5 * certified.upper_bound)
        both = tighter(certified, better)
        assert both.lower_bound <= both.upper_bound


def test_a_dual_value_less_rounding_is_below_the_exact_one():
    rng = np.random.RandomState(0)
    for n in (1, 2, 7, 30):
        terms = 10.0 ** rng.uniform(-8, 8, n) * rng.choice([-1.0, 1.0], n)
        exact = -sum(map(Fraction, terms))
        proved = Fraction(less_rounding(terms.sum(), np.abs(terms).sum(), n))
        assert proved == 0 or proved <= exact
        assert proved >= exact - Fraction(1e-13) * sum(abs(Fraction(term)) for term in terms)


def test_relative_gap():
    assert relative_gap(2.0, 1.0) == 0.5
    assert relative_gap(1.0, 2.0) == 0.0
    assert relative_gap(0.0, 0.0) == 0.0
    assert relative_gap(1.0, -1.0) == 2.0
    assert relative_gap(1e-310, 0.0) == 0.0
    assert relative_gap(1e-20, 0.0) == 1.0
    assert relative_gap(1e-20, 0.0, resolution=1e-19) == 0.0
