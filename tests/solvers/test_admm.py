"""ADMM row by row: the compressed state is that of the split, and shards are one program."""

import numpy as np
import pytest
from hypothesis import given, settings
from problems import VARIANTS, draw_program, programs

from sklearn_convexnet.bounds.dual import (
    Certified,
    admissible_slopes,
    balance_slopes,
    dual_norms,
    dual_value,
    project,
)
from sklearn_convexnet.bounds.pricing import bound_of_sums
from sklearn_convexnet.core.parallel import ALONE, Workers
from sklearn_convexnet.program.cones import project_on_cone
from sklearn_convexnet.program.shard import RELAXATION, ADMMShard, Shards
from sklearn_convexnet.program.units import Solution
from sklearn_convexnet.proof.certificate import pricing_bound
from sklearn_convexnet.solvers.admm import _choose, iterate, kronecker_admm


def start(program, *, n_shards=1, workers=ALONE, dtype=np.float64):
    """ADMM on a program, its rows in some shards."""
    shards = [
        ADMMShard(
            program.rows[part], program.y[part], program.weights[part], program.patterns[part],
            program.loss, splits_loss=True, intercept=program.fit_intercept, dtype=dtype,
        )
        for part in map(slice, *_bounds(program.n_samples, n_shards))
    ]  # fmt: skip
    shards = Shards(shards, intercept=program.fit_intercept, workers=workers)
    return kronecker_admm(shards, program.alpha)[0]


def _bounds(n, count):
    bounds = np.linspace(0, n, count + 1).astype(int)
    return bounds[:-1], bounds[1:]


def equal(actual, expected, tol=1e-12):
    size = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tol * size)


class Plain:
    """The same iteration with a copy and a multiplier of d numbers for every row."""

    def __init__(self, program):
        self.program, self.rho = program, 1.0
        self.alpha, self.rho_blocks, self.rho_cones = program.alpha, 10.0 * program.alpha, 1.0
        shape, n = program.gates.shape, program.n_samples
        self.copies, self.duals = np.zeros((2, 2, *shape))
        self.slacks, self.cones = np.zeros((2, 2, *program.patterns.shape))
        self.copy, self.dual = np.zeros((2, n, shape[0] + 1))
        self.columns = np.concatenate(
            [program.rows, np.full((n, 1), float(program.fit_intercept))], axis=1
        )

    def iterate(self):
        program, rho = self.program, self.rho
        X, weights, gates = program.rows, program.weights, program.patterns.astype(float)
        signs = 2.0 * gates - 1.0
        weighted = weights * X.T
        pulled = (self.copy + self.dual)[:, :-1].T @ (weights[:, None] * gates)
        right = [
            self.rho_blocks * (self.copies[s] - self.duals[s])
            + self.rho_cones * weighted @ (signs * (self.slacks[s] - self.cones[s]))
            + (1 - 2 * s) * rho * pulled
            for s in (0, 1)
        ]
        d, P = program.gates.shape
        base = self.rho_blocks * np.eye(d) + self.rho_cones * weighted @ X
        p = np.linalg.solve(base, right[0] + right[1])
        coupling = 2.0 * rho * gates.T @ (weights[:, None] * gates)
        system = np.kron(base, np.eye(P)) + np.kron(np.eye(d), coupling)
        q = np.linalg.solve(system, (right[0] - right[1]).ravel()).reshape(d, P)
        blocks = np.stack([0.5 * (p + q), 0.5 * (p - q)])
        bias = float(weights @ (self.copy + self.dual)[:, -1]) * program.fit_intercept
        point = RELAXATION * blocks + (1 - RELAXATION) * self.copies + self.duals
        norms = np.linalg.norm(point, axis=1, keepdims=True)
        shrink = np.maximum(1.0 - self.alpha / self.rho_blocks / np.maximum(norms, 1e-300), 0.0)
        self.copies = shrink * point
        self.duals = point - self.copies
        slack = signs * (X @ blocks)
        point = RELAXATION * slack + (1 - RELAXATION) * self.slacks + self.cones
        self.slacks = np.maximum(point, 0.0)
        self.cones = point - self.slacks
        effective = np.concatenate([gates @ q.T, np.full((len(X), 1), bias)], axis=1)
        point = RELAXATION * effective + (1 - RELAXATION) * self.copy - self.dual
        outputs = np.einsum("kj,kj->k", point, self.columns)
        lengths = np.einsum("kj,kj->k", self.columns, self.columns)
        lengths[lengths == 0] = 1e-30
        shift = (program.loss.prox(outputs, program.y, lengths / rho) - outputs) / lengths
        self.slopes = -rho * shift
        self.copy = point + shift[:, None] * self.columns
        self.dual = self.copy - point
        return blocks, bias


@settings(max_examples=10)
@given(program=programs(losses=VARIANTS, max_rows=12))
def test_two_numbers_a_row_are_the_whole_state_of_the_loss(program):
    program = program.normalised
    method, plain = start(program), Plain(program)
    for _ in range(6):
        method.run(1)
        _, bias = plain.iterate()
    equal(method.copies, plain.copies, 1e-9)
    equal(method.step.bias, bias, 1e-9)
    (shard,) = method.shards.shards
    visible = program.rows.any(axis=1)
    equal(shard.slopes[visible], plain.slopes[visible], 1e-8)


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "hinge"])
@pytest.mark.parametrize("intercept", [False, True])
def test_shards_and_threads_make_no_difference(loss, intercept):
    program = draw_program(3, n=40, d=3, n_patterns=9, loss=loss, intercept=intercept)
    program = program.normalised
    one = start(program)
    one.run(45)
    for n_threads in (1, 2):
        with Workers(n_threads) as workers:
            other = start(program, n_shards=3, workers=workers)
            other.run(45)
            equal(other.copies, one.copies, 1e-11)
            equal(other.shards.slopes(), one.shards.slopes(), 1e-10)
            assert other.step.rho == pytest.approx(one.step.rho, rel=1e-9)


def test_threads_do_not_change_a_bit():
    program = draw_program(3, n=40, d=3, n_patterns=9).normalised
    one = start(program, n_shards=4)
    one.run(30)
    for n_threads in (2, 4):
        with Workers(n_threads) as workers:
            other = start(program, n_shards=4, workers=workers)
            other.run(30)
            assert (other.copies == one.copies).all()


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_single_precision_follows(loss):
    program = draw_program(3, n=60, d=3, n_patterns=9, loss=loss).normalised
    double, single = start(program), start(program, dtype=np.float32)
    for method in (double, single):
        method.run(200)
    assert single.shards.shards[0].m.dtype == np.float32
    equal(single.copies, double.copies, 1e-4)


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
@pytest.mark.parametrize("intercept", [False, True])
def test_new_penalties_keep_the_multipliers(loss, intercept):
    program = draw_program(3, loss=loss, intercept=intercept).normalised
    balanced, plain = start(program), start(program)
    plain.next_balance = np.inf
    for method in (balanced, plain):
        method.run(10)
    assert balanced.next_balance == 20
    assert (balanced.rho_blocks, balanced.rho_cones) != (plain.rho_blocks, plain.rho_cones)
    assert balanced.step.rho != plain.step.rho
    equal(balanced.copies, plain.copies, 1e-14)
    equal(balanced.rho_blocks * balanced.duals, plain.rho_blocks * plain.duals, 1e-13)
    ours, theirs = balanced.shards.shards[0], plain.shards.shards[0]
    equal(ours.multipliers(balanced.rho_cones), theirs.multipliers(plain.rho_cones), 1e-13)
    equal(np.maximum(ours.m, 0.0), np.maximum(theirs.m, 0.0), 1e-14)
    equal(balanced.step.rho * ours.duals, plain.step.rho * theirs.duals, 1e-13)


def test_residuals_are_those_of_the_split():
    program = draw_program(3, n=25, d=4, n_patterns=12, loss="log_loss", intercept=True)
    program = program.normalised
    method = start(program)
    method.next_balance = np.inf
    method.run(7)
    (shard,) = method.shards.shards
    gates, X, weights = program.patterns.astype(float), program.rows, program.weights

    def state():
        copy = gates @ method.step.mean.T + shard.shifts[:, None] * X
        return copy, np.maximum(shard.m, 0.0)

    seen = {}

    def record(*, cones, loss):
        seen.update(cones=cones, loss=loss)

    before, slack_before = state()
    method.next_balance = 8
    method._balance = lambda blocks, _, cones, loss: record(cones=cones, loss=(loss, blocks))
    method.run(1)
    after, slack = state()
    sums, blocks = seen["loss"]
    step = method.step
    effective = gates @ step.q.T
    norm = lambda values: weights @ (values**2).sum(axis=1)  # noqa: E731
    square = step.system.square
    assert norm(effective - after) == pytest.approx(
        square(step.q - step.mean) - 2.0 * sums[0] + sums[1], rel=1e-9
    )
    assert norm(after - before) == pytest.approx(
        square(step.mean - step.before) + 2.0 * sums[2] + sums[3], rel=1e-9
    )
    assert norm(after) == pytest.approx(square(step.mean) + 2.0 * sums[4] + sums[1], rel=1e-9)
    assert norm(effective) == pytest.approx(square(step.q), rel=1e-9)
    assert norm(shard.duals[:, None] * X) == pytest.approx(sums[5], rel=1e-9)
    signed = np.tile(2.0 * gates - 1.0, 2) * (X @ np.concatenate(blocks, axis=1))
    expected = [norm(signed - slack), norm(slack - slack_before), norm(slack)]
    np.testing.assert_allclose(
        seen["cones"], [*expected, norm(np.minimum(shard.m, 0.0))], rtol=1e-9
    )


def test_penalties_do_change_until_the_residuals_agree():
    program = draw_program(3, n=25, d=4, n_patterns=12, alpha=0.3).normalised
    method = start(program)
    seen = set()
    for _ in range(6):
        method.run(100)
        seen.add((method.rho_blocks, method.rho_cones, method.step.rho))
    assert len(seen) >= 3


def driven(program, *, tol, spectra=True, seen=None, **options):
    """The bounds that `iterate` reaches, the method, and its numbers of patterns."""
    method = start(program, **options)
    zero = np.zeros_like(program.gates)
    value = program.objective(zero, zero, 0.0)
    best = Certified(Solution(zero, zero, 0.0, None), value, 0.0, 0.0)
    sizes = []

    def record(phase, n_iter, certified):
        sizes.append(method.columns.size)
        if seen is not None:
            seen.append(certified)
        return False

    row_gram, gate_gram = method.shards.total("grams")
    best, _ = iterate(
        method, program.gates, tol=tol, max_iter=30_000, record=record, best=best,
        spectra=(np.linalg.eigh(row_gram), gate_gram) if spectra else None,
    )  # fmt: skip
    return best, method, sizes


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_patterns_leave_and_the_optimum_stays(loss):
    program = draw_program(5, n=40, d=3, n_patterns=15, loss=loss, alpha=0.05)
    program = program.normalised
    pruned, method, seen = driven(program, tol=1e-5, n_shards=2)
    whole, _, all_along = driven(program, tol=1e-5, spectra=False)
    assert set(all_along) == {program.n_patterns}
    assert seen[-1] < program.n_patterns
    assert pruned.gap <= 1e-5
    assert pruned.upper_bound == pytest.approx(whole.upper_bound, rel=2e-5)
    point = pruned.solution
    assert program.violation(point.v, point.w) <= 1e-12
    value = program.objective(point.v, point.w, point.bias)
    assert value == pytest.approx(pruned.upper_bound, rel=1e-12)
    # the bound holds for all patterns, those that left included
    norms = dual_norms(program, admissible_slopes(program, point.slopes), exact_above=0.0)
    lower = dual_value(program, admissible_slopes(program, point.slopes), norms.max())
    assert pruned.lower_bound <= lower * (1.0 + 1e-9)


def test_a_lower_bound_comes_with_its_slopes(monkeypatch):
    program = draw_program(5, n=40, d=3, n_patterns=15, alpha=0.01).normalised
    # projections only where they may bring the gap down
    monkeypatch.setattr("sklearn_convexnet.solvers.admm._CHEAP", 0)
    seen = []

    def proved(certified):
        slopes = admissible_slopes(program, certified.solution.slopes)
        norms = dual_norms(program, slopes, exact_above=0.0)
        return dual_value(program, slopes, norms.max())

    best, _, _ = driven(program, tol=1e-5, seen=seen)
    assert best.gap <= 1e-5
    bounds = [(certified.upper_bound, certified.lower_bound) for certified in seen]
    # there was one without projections
    assert bounds[0][0] == bounds[1][0]
    assert 0 < bounds[0][1] <= bounds[1][1]
    for certified in seen:
        assert certified.lower_bound <= proved(certified) * (1.0 + 1e-9)


def test_patterns_that_left_too_early_come_back():
    program = draw_program(5, n=40, d=3, n_patterns=15, alpha=0.02).normalised
    expected, _, _ = driven(program, tol=1e-4)
    method = start(program)
    method.run(5)
    row_gram, gate_gram = method.shards.total("grams")
    spectra = np.linalg.eigh(row_gram), gate_gram
    # half of them are told to be zero, and below
    method.copies[:, :, ::2] = 0.0
    _choose(method, spectra, np.arange(program.n_patterns) % 2 == 0)
    assert method.columns.size == program.n_patterns // 2
    best, _ = iterate(
        method, program.gates, tol=1e-4, max_iter=30_000, record=lambda *_: False,
        best=Certified(expected.solution, np.inf, 0.0, 0.0), spectra=spectra,
    )  # fmt: skip
    assert best.gap <= 1e-4
    assert best.upper_bound == pytest.approx(expected.upper_bound, rel=2e-4)


def test_projections_together_are_those_one_by_one():
    program = draw_program(7, n=50, d=4, n_patterns=10).normalised
    method = start(program, n_shards=3)
    points = np.random.RandomState(0).standard_normal(program.gates.shape)
    columns = np.arange(program.n_patterns)
    together, tight = project(method.shards, points, columns)
    signed = [(2.0 * column[:, None] - 1.0) * program.rows for column in program.patterns.T]
    for k in columns:
        alone, _ = project_on_cone(signed[k], points[:, k])
        equal(together[:, k], alone, 1e-9)
        equal(tight[k] @ together[:, k], np.zeros(len(tight[k])), 1e-12)
    # what is below a bound already is left
    early, none = project(method.shards, points, columns, stop_below=np.inf)
    equal(early, points, 1e-15)
    assert not any(map(len, none))
    # whatever rows of the cones it begins with
    for guess in (tight, [rows[::4] for rows in signed], [None, *tight[1:]]):
        again, _ = project(method.shards, points, columns, tight=guess)
        equal(again, together, 1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "hinge"])
def test_sums_over_shards_bound_what_a_neuron_may_gain(loss):
    program = draw_program(5, n=40, d=3, n_patterns=9, loss=loss, alpha=0.02).normalised
    method = start(program, n_shards=3)
    method.run(20)
    balance_slopes(method.shards)
    linear, *parts = method.shards.total("pricing_sums")
    singular = [np.sqrt(np.linalg.eigvalsh(gram)[-1]) for gram in parts[1::2]]
    bound = bound_of_sums(linear, parts[::2], singular)
    multipliers = program.weights * method.shards.slopes()
    assert bound == pytest.approx(pricing_bound(program.rows, multipliers), rel=1e-10)
    directions = np.random.RandomState(0).standard_normal((len(linear), 10_000))
    directions /= np.linalg.norm(directions, axis=0)
    gains = multipliers @ np.maximum(program.rows @ directions, 0.0)
    assert np.abs(gains).max() <= bound
    # the slopes are dual variables: without the intercept's sum the bound would not be one
    assert abs(program.weights @ method.shards.slopes()) <= 1e-12


def test_single_precision_does_not_touch_the_bounds():
    program = draw_program(5, n=40, d=3, n_patterns=15, loss="log_loss", alpha=0.02)
    program = program.normalised
    single, _, _ = driven(program, tol=1e-3, dtype=np.float32)
    double, _, _ = driven(program, tol=1e-3)
    assert single.gap <= 1e-3
    assert single.lower_bound <= double.upper_bound
    assert single.upper_bound >= double.lower_bound
    point = single.solution
    assert program.violation(point.v, point.w) <= 1e-12
    assert program.objective(point.v, point.w, point.bias) == pytest.approx(
        single.upper_bound, rel=1e-12
    )


@pytest.mark.parametrize("loss", ["squared_error", "log_loss"])
def test_a_start_is_certified_before_anything_else(loss):
    program = draw_program(3, n=40, d=3, n_patterns=9, loss=loss).normalised
    worst = Certified(Solution(*np.zeros((2, *program.gates.shape)), 0.0, None), np.inf, 0.0, 0.0)
    how = {"max_iter": 5000, "record": lambda *_: False, "best": worst}
    best, n_iter = iterate(start(program), program.gates, tol=1e-3, **how)
    assert n_iter > 0
    point = Solution(best.solution.v, best.solution.w, best.solution.bias, None)
    again, n_iter = iterate(start(program, n_shards=3), program.gates, tol=0.05, start=point, **how)
    assert n_iter == 0 and again.gap <= 0.05
    # from a point that is not optimal it goes on
    point = Solution(0.5 * point.v, 0.5 * point.w, point.bias, None)
    other, n_iter = iterate(start(program), program.gates, tol=1e-2, start=point, **how)
    assert n_iter > 0 and other.gap <= 1e-2
    assert other.upper_bound == pytest.approx(best.upper_bound, rel=1e-2)
