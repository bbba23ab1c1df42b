"""ADMM row by row: the compressed state is that of the split, and shards are one program."""

import numpy as np
import pytest
from hypothesis import given, settings
from problems import VARIANTS, draw_program, programs

from sklearn_convexnet.solvers.row_steps import RELAXATION, ADMMShard
from sklearn_convexnet.solvers.sharded import kronecker_admm
from sklearn_convexnet.solvers.shards import Shards


def start(program, *, n_shards=1, n_threads=1, dtype=np.float64, sparse=False):
    """ADMM on a program, its rows in some shards."""
    rows = program.rows
    if sparse:
        csr_array = pytest.importorskip("scipy.sparse").csr_array
        rows = csr_array(rows)
    shards = [
        ADMMShard(
            rows[part], program.y[part], program.weights[part], program.patterns[part],
            program.loss, splits_loss=True, intercept=program.fit_intercept, dtype=dtype,
        )
        for part in map(slice, *_bounds(program.n_samples, n_shards))
    ]  # fmt: skip
    shards = Shards(shards, intercept=program.fit_intercept, n_threads=n_threads)
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


@settings(max_examples=25)
@given(program=programs(losses=VARIANTS, max_rows=12))
def test_two_numbers_a_row_are_the_whole_state_of_the_loss(program):
    program = program.normalised()[0]
    method, plain = start(program), Plain(program)
    for _ in range(6):
        method.run(1)
        _, bias = plain.iterate()
    equal(method.copies, plain.copies, 1e-9)
    equal(method.step.bias, bias, 1e-9)
    (shard,) = method.shards.shards
    visible = program.rows.any(axis=1)
    equal(shard.slopes[visible], plain.slopes[visible], 1e-8)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("intercept", [False, True])
def test_shards_threads_and_sparse_rows_make_no_difference(loss, intercept):
    program = draw_program(3, n=40, d=3, n_patterns=9, loss=loss, intercept=intercept)
    program = program.normalised()[0]
    one = start(program)
    one.run(45)
    for options in ({"n_shards": 3}, {"n_shards": 3, "n_threads": 2}, {"sparse": True}):
        other = start(program, **options)
        other.run(45)
        equal(other.copies, one.copies, 1e-11)
        equal(other.shards.slopes(), one.shards.slopes(), 1e-10)
        assert other.step.rho == pytest.approx(one.step.rho, rel=1e-9)
        other.shards.close()


def test_threads_do_not_change_a_bit():
    program = draw_program(3, n=40, d=3, n_patterns=9).normalised()[0]
    methods = [start(program, n_shards=4, n_threads=count) for count in (1, 2, 4)]
    for method in methods:
        method.run(30)
        method.shards.close()
        assert (method.copies == methods[0].copies).all()


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_single_precision_follows(loss):
    program = draw_program(3, n=60, d=3, n_patterns=9, loss=loss).normalised()[0]
    double, single = start(program), start(program, dtype=np.float32)
    for method in (double, single):
        method.run(200)
    assert single.shards.shards[0].m.dtype == np.float32
    equal(single.copies, double.copies, 1e-4)


@pytest.mark.parametrize("loss", ["squared", "hinge"])
@pytest.mark.parametrize("intercept", [False, True])
def test_new_penalties_keep_the_multipliers(loss, intercept):
    program = draw_program(3, loss=loss, intercept=intercept).normalised()[0]
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
    program = draw_program(3, n=25, d=4, n_patterns=12, loss="logistic", intercept=True)
    program = program.normalised()[0]
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
    program = draw_program(3, n=25, d=4, n_patterns=12, alpha=0.3).normalised()[0]
    method = start(program)
    seen = set()
    for _ in range(6):
        method.run(100)
        seen.add((method.rho_blocks, method.rho_cones, method.step.rho))
    assert len(seen) >= 3
