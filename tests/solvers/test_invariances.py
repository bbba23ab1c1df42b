"""What must not change a solution: order, repetition, units, and patterns that are not needed."""

import numpy as np
import pytest
from grids import pairwise
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import SMOOTH_LOSSES, VARIANTS, alphas, datas, draw_data, draw_program
from reference import projected_gradients

from sklearn_convexnet.core.losses import Huber, get_loss
from sklearn_convexnet.core.parallel import ALONE
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import sample_gates
from sklearn_convexnet.program.shard import Shards
from sklearn_convexnet.solvers import solve
from sklearn_convexnet.solvers.admm import kronecker_admm

TOL = 1e-8


def optimum(data, alpha):
    result = solve(PatternProgram.from_data(**data, alpha=alpha), tol=TOL)
    assert result.status == "optimal"
    return result


def assert_same_optimum(result, other, scale=1.0):
    assert scale * result.upper_bound == pytest.approx(other.upper_bound, rel=1e-7)
    assert scale * result.lower_bound == pytest.approx(other.lower_bound, rel=1e-7)


def with_rows(data, rows, weights):
    """The data of the given rows, which may repeat, with the given weights."""
    changed = {key: data[key][rows] for key in ("X", "y", "patterns")}
    return {**data, **changed, "sample_weight": weights}


@settings(max_examples=5)
@given(data=datas(), alpha=alphas, seed=st.integers(0, 10**6))
def test_order_of_rows_and_patterns(data, alpha, seed):
    rng = np.random.RandomState(seed)
    rows, columns = rng.permutation(len(data["y"])), rng.permutation(data["gates"].shape[1])
    other = with_rows(data, rows, data["sample_weight"][rows])
    other["patterns"], other["gates"] = other["patterns"][:, columns], data["gates"][:, columns]
    assert_same_optimum(optimum(data, alpha), optimum(other, alpha))


@settings(max_examples=5)
@given(data=datas(), alpha=alphas, shares=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=4))
def test_a_weight_may_be_split_over_copies_of_its_row(data, alpha, shares):
    n = len(data["y"])
    shares = np.array(shares) / np.sum(shares)
    rows = np.append(np.arange(1, n), np.zeros(len(shares), dtype=int))
    weights = np.append(data["sample_weight"][1:], shares * data["sample_weight"][0])
    result = optimum(data, alpha)
    assert_same_optimum(result, optimum(with_rows(data, rows, weights), alpha))
    # nor does a row of weight zero, or the unit of the weights, matter
    extra = with_rows(data, np.append(np.arange(n), 0), np.append(data["sample_weight"], 0.0))
    extra["y"][-1] *= -1.0
    other = optimum({**extra, "sample_weight": extra["sample_weight"] * 1e-200}, alpha)
    assert_same_optimum(result, other)


@pytest.mark.parametrize("loss", ["squared_error", "quantile", "log_loss", "hinge"])
@pytest.mark.parametrize("intercept", [False, True])
def test_iterates_of_repeated_rows_are_those_of_weights(loss, intercept):
    data = draw_data(5, n=12, d=3, n_patterns=7, loss=loss, intercept=intercept)
    counts = np.random.RandomState(0).randint(1, 5, 12)
    repeated = with_rows(data, np.repeat(np.arange(12), counts), None)
    methods = []
    for arguments in ({**data, "sample_weight": counts}, repeated):
        program = PatternProgram.from_data(**arguments, alpha=0.01).normalised
        shards = Shards.of(program, workers=ALONE, splits_loss=True, dtype=np.float64)
        methods.append(kronecker_admm(shards, program.alpha)[0])
    for _ in range(10):
        for method in methods:
            method.run(10)
        weighted, plain = methods
        assert plain.rho_cones == pytest.approx(weighted.rho_cones, rel=1e-9)
        np.testing.assert_allclose(plain.copies, weighted.copies, rtol=0, atol=1e-12)
        assert plain.step.bias == pytest.approx(weighted.step.bias, abs=1e-12)
        np.testing.assert_allclose(
            plain.shards.slopes(), np.repeat(weighted.shards.slopes(), counts), rtol=0, atol=1e-11
        )


@settings(max_examples=5)
@given(data=datas(), alpha=alphas)
def test_equal_patterns_are_one(data, alpha):
    doubled = {
        **data,
        "patterns": np.concatenate([data["patterns"], data["patterns"][:, ::-1]], axis=1),
        "gates": np.concatenate([data["gates"], data["gates"][:, ::-1]], axis=1),
    }
    program = PatternProgram.from_data(**doubled, alpha=alpha)
    once = PatternProgram.from_data(**data, alpha=alpha)
    assert program.n_patterns == once.n_patterns
    np.testing.assert_array_equal(program.patterns, once.patterns)
    np.testing.assert_array_equal(program.kept, once.kept)
    result, other = solve(program, tol=TOL), solve(once, tol=TOL)
    assert result.upper_bound == other.upper_bound
    np.testing.assert_array_equal(result.solution.v, other.solution.v)


@settings(max_examples=5)
@given(data=datas(), alpha=alphas, seed=st.integers(0, 10**6))
def test_more_patterns_never_raise_the_optimum(data, alpha, seed):
    ones = np.ones((len(data["y"]), int(data["fit_intercept"])))
    rows = np.concatenate([data["X"], ones], axis=1)
    rng = np.random.RandomState(seed)
    weights = np.full(len(rows), 1.0 / len(rows))
    more = sample_gates(rows, weights, 10, rng, intercept=data["fit_intercept"])
    gates = np.concatenate([data["gates"], more], axis=1)
    larger = {**data, "gates": gates, "patterns": rows @ gates >= 0}
    assert optimum(larger, alpha).lower_bound <= optimum(data, alpha).upper_bound * (1 + 1e-15)


@settings(max_examples=5)
@given(data=datas(), alpha=alphas, exponent=st.integers(-9, 9), base=st.sampled_from([2.0, 10.0]))
def test_units_of_the_rows(data, alpha, exponent, base):
    scale = base**exponent
    data = {**data, "fit_intercept": False}
    # dropping the biases of the gates may leave rows on their hyperplanes: push them off
    d = data["X"].shape[1]
    data["X"] = data["X"] + 1e-3 * np.random.RandomState(0).standard_normal(data["X"].shape)
    data["gates"] = data["gates"][:d]
    data["patterns"] = data["X"] @ data["gates"] >= 0
    result = optimum(data, alpha)
    other = optimum({**data, "X": scale * data["X"]}, scale * alpha)
    assert_same_optimum(result, other)
    np.testing.assert_allclose(
        other.network(scale * data["X"]),
        result.network(data["X"]),
        # an optimum is flat: predictions agree to the root of what objectives do
        atol=1e-3 * np.abs(data["y"]).max(),
    )


@pytest.mark.parametrize(
    ("loss", "scale", "intercept"),
    pairwise(["squared_error", Huber(delta=0.5), "quantile"], [1e-6, 0.3, 1e6], [False, True]),
)
def test_units_of_the_targets(loss, scale, intercept):
    data = draw_data(2, n=20, d=3, n_patterns=8, loss=loss, intercept=intercept)
    loss = get_loss(loss)
    scaled_loss = Huber(delta=loss.delta * scale) if loss.name == "huber" else loss
    result = optimum(data, 0.03)
    other = optimum(
        {**data, "y": scale * data["y"], "loss": scaled_loss},
        0.03 * scale ** (loss.degree - 1.0),
    )
    assert_same_optimum(result, other, scale**loss.degree)
    np.testing.assert_allclose(
        other.network(data["X"]), scale * result.network(data["X"]), atol=1e-3 * scale
    )


@pytest.mark.parametrize(
    ("solver", "loss", "scale"), pairwise(["admm", "scp"], VARIANTS, [1e-140, 1e-20, 1e150])
)
def test_extreme_units_of_the_rows_change_nothing(solver, loss, scale):
    data = draw_data(4, n=15, d=3, n_patterns=8, loss=loss, intercept=False)
    result = solve(PatternProgram.from_data(**data, alpha=0.02), solver, tol=1e-7)
    scaled = PatternProgram.from_data(**{**data, "X": scale * data["X"]}, alpha=scale * 0.02)
    other = solve(scaled, solver, tol=1e-7)
    assert other.status == "optimal"
    assert np.isfinite(other.network(scaled.rows)).all()
    assert other.upper_bound == pytest.approx(result.upper_bound, rel=1e-6)
    assert other.objective <= other.upper_bound * (1.0 + 1e-9)


@settings(max_examples=8)
@given(data=datas(losses=["squared_error", "huber", "log_loss", "hinge"]), alpha=alphas)
def test_signs_of_the_targets(data, alpha):
    """The program is symmetric: minus the targets, minus the network."""
    result, other = optimum(data, alpha), optimum({**data, "y": -data["y"]}, alpha)
    assert_same_optimum(result, other)


@settings(max_examples=8)
@given(data=datas(), alpha=alphas, seed=st.integers(0, 10**6))
def test_rotation_of_the_features(data, alpha, seed):
    d = data["X"].shape[1]
    Q, _ = np.linalg.qr(np.random.RandomState(seed).standard_normal((d, d)))
    gates = data["gates"].copy()
    gates[:d] = Q.T @ gates[:d]
    result = optimum(data, alpha)
    assert_same_optimum(result, optimum({**data, "X": data["X"] @ Q, "gates": gates}, alpha))


@settings(max_examples=6)
@given(data=datas(), alpha=alphas, extra=st.integers(1, 60))
def test_features_outside_the_span_of_the_rows(data, alpha, extra):
    """Zero features, so many that there are more than rows."""
    n, d = data["X"].shape
    wide = np.concatenate([np.zeros((n, extra)), data["X"]], axis=1)
    gates = np.concatenate([np.ones((extra, data["gates"].shape[1])), data["gates"]])
    result = optimum(data, alpha)
    other = optimum({**data, "X": wide, "gates": gates}, alpha)
    assert_same_optimum(result, other)
    assert np.abs(other.network.hidden_weights[:extra]).max(initial=0.0) <= 1e-12


def largest_alpha(program):
    """The alpha from which on the constant network is optimal, for a loss without kinks."""
    y, weights, loss = program.y, program.weights, program.loss
    bias = 0.0
    if program.fit_intercept:
        low, high = -50.0, 50.0
        for _ in range(200):
            bias = 0.5 * (low + high)
            rising = weights @ loss.derivative(np.full_like(y, bias), y) > 0
            low, high = (low, bias) if rising else (bias, high)
    slopes = loss.derivative(np.full_like(y, bias), y)
    return np.linalg.norm(projected_gradients(program, slopes), axis=1).max(), bias


@pytest.mark.parametrize(
    ("solver", "loss", "intercept"),
    pairwise(["admm", "scp", "admm-rbcd"], SMOOTH_LOSSES, [False, True]),
)
def test_from_the_largest_alpha_on_there_are_no_neurons(solver, loss, intercept):
    arguments = {"loss": loss, "intercept": intercept}
    alpha, bias = largest_alpha(draw_program(6, **arguments))
    for factor in (1.0 + 1e-6, 2.0, 1e6):
        result = solve(draw_program(6, alpha=factor * alpha, **arguments), solver, tol=1e-6)
        assert result.status == "optimal"
        assert result.network.n_neurons == 0
        assert result.network.output_biases[0] == pytest.approx(bias, abs=1e-4)
        assert result.objective == pytest.approx(result.upper_bound, rel=1e-12)
    if solver != "scp":
        below = solve(draw_program(6, alpha=0.9 * alpha, **arguments), solver, tol=1e-3)
        assert below.network.n_neurons > 0
        assert below.lower_bound < result.lower_bound


@pytest.mark.parametrize("loss", ["hinge", "quantile"])
@pytest.mark.parametrize("intercept", [False, True])
def test_a_large_alpha_leaves_no_neurons_for_losses_with_kinks(loss, intercept):
    result = solve(draw_program(6, alpha=10.0, loss=loss, intercept=intercept), tol=1e-6)
    assert result.status == "optimal"
    assert result.network.n_neurons == 0
