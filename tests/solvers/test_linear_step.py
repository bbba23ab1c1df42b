"""The linear steps solve the systems they claim to solve, built here in full."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import SMOOTH_LOSSES, draw_program, programs

from sklearn_convexnet.program.shard import RELAXATION
from sklearn_convexnet.solvers.linear_step import (
    CholeskyStep,
    CoordinateStep,
    KroneckerStep,
    KroneckerSystem,
    penalty_factor,
)


class Task:
    """Random right-hand sides of one step, and the terms all steps share as weighted squares."""

    def __init__(self, program, seed, rho_blocks, rho_cones):
        rng = np.random.RandomState(seed)
        self.program, self.rho_blocks, self.rho_cones = program, rho_blocks, rho_cones
        self.targets = rng.standard_normal((2, *program.gates.shape))
        self.slacks = rng.standard_normal((2, *program.patterns.shape))
        self.signs = 2.0 * program.patterns - 1.0
        weighted = program.weights[:, None] * program.rows
        self.pulled = [weighted.T @ (self.signs * slack) for slack in self.slacks]
        pulled = np.concatenate(self.pulled, axis=1)
        self.arguments = (*self.targets, pulled, 0.0, rho_blocks, rho_cones)

    def squares(self):
        """Rows and right-hand sides of least squares over (v, w, bias), raveled."""
        program = self.program
        X, weights = program.rows, program.weights
        d, P = program.gates.shape
        count = 2 * d * P + 1
        identity = np.eye(count)[:-1]
        yield np.sqrt(self.rho_blocks) * identity, np.sqrt(self.rho_blocks) * self.targets.ravel()
        for side in (0, 1):
            for i in range(P):
                root = np.sqrt(self.rho_cones * weights)
                matrix = np.zeros((len(X), count))
                matrix[:, self.columns(side, i)] = (root * self.signs[:, i])[:, None] * X
                yield matrix, root * self.slacks[side][:, i]

    def columns(self, side, i):
        d, P = self.program.gates.shape
        return side * d * P + np.arange(d) * P + i

    def effective(self, j):
        """Matrix of coordinate j of the effective weights of all samples."""
        d, P = self.program.gates.shape
        matrix = np.zeros((self.program.n_samples, 2 * d * P + 1))
        for side, sign in ((0, 1.0), (1, -1.0)):
            start = side * d * P + j * P
            matrix[:, start : start + P] = sign * self.program.patterns
        return matrix

    def predictions(self):
        """Matrix of the outputs."""
        X = self.program.rows
        matrix = sum(X[:, j, None] * self.effective(j) for j in range(X.shape[1]))
        matrix[:, -1] = self.program.fit_intercept
        return matrix

    def solve(self, more):
        """Minimiser of all squares: (v, w), bias."""
        parts = [*self.squares(), *more]
        matrix = np.concatenate([part[0] for part in parts])
        point = np.linalg.lstsq(matrix, np.concatenate([part[1] for part in parts]))[0]
        return point[:-1].reshape(2, *self.program.gates.shape), point[-1]

    def lagrangian(self, blocks, bias):
        """The augmented Lagrangian of `CholeskyStep` and `CoordinateStep`."""
        program = self.program
        value = program.weights @ program.loss.value(program.predictions(*blocks, bias), program.y)
        value += 0.5 * self.rho_blocks * np.sum((blocks - self.targets) ** 2)
        for block, slack in zip(blocks, self.slacks, strict=True):
            error = self.signs * (program.rows @ block) - slack
            value += 0.5 * self.rho_cones * np.sum(program.weights @ error**2)
        return value


rhos = st.floats(-2.0, 1.0).map(lambda exponent: 10.0**exponent)


def equal(actual, expected, tol=1e-9):
    size = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tol * size)


@settings(max_examples=12)
@given(program=programs(max_rows=12), seed=st.integers(0, 10**6), rhos=st.tuples(rhos, rhos, rhos))
def test_kronecker_step_solves_its_system(program, seed, rhos):
    task = Task(program, seed, *rhos[:2])
    rng = np.random.RandomState(seed + 1)
    rows, n = program.rows, program.n_samples
    spectra = (
        np.linalg.eigh(factor.T @ (program.weights[:, None] * factor))
        for factor in (rows, program.patterns.astype(float))
    )
    step = KroneckerStep(KroneckerSystem(*spectra), program.fit_intercept)
    step.rho, step.mean, step.mean_bias = rhos[2], rng.standard_normal(step.mean.shape), 0.3
    # copies and multipliers of the effective weights, as the rows keep them
    errors = rng.standard_normal(n)
    asked = program.patterns @ step.mean.T + errors[:, None] * rows
    root = np.sqrt(rhos[2] * program.weights)
    more = [
        (root[:, None] * task.effective(j), root * asked[:, j])
        for j in range(program.rows.shape[1])
    ]
    if program.fit_intercept:
        bias_row = np.zeros((n, 2 * program.gates.size + 1))
        bias_row[:, -1] = root
        more.append((bias_row, root * (step.mean_bias + errors)))
    blocks, bias = task.solve(more)
    pull = (rhos[2] / rhos[1]) * (program.weights * errors * rows.T) @ program.patterns
    pulled = np.concatenate([task.pulled[0] + pull, task.pulled[1] - pull], axis=1)
    mean = step.mean
    found = step.solve(*task.targets, pulled, program.weights @ errors, *rhos[:2])
    equal(np.stack(found), blocks)
    equal(step.bias, bias if program.fit_intercept else 0.0)
    equal(step.mean, RELAXATION * (found[0] - found[1]) + (1.0 - RELAXATION) * mean)


@settings(max_examples=10)
@given(
    program=programs(losses=["squared_error"], max_rows=12),
    seed=st.integers(0, 10**6),
    rhos=st.tuples(rhos, rhos),
)
def test_cholesky_step_solves_its_system(program, seed, rhos):
    task = Task(program, seed, *rhos)
    step = CholeskyStep(program, None)
    root = np.sqrt(program.weights)
    blocks, bias = task.solve([(root[:, None] * task.predictions(), root * program.y)])
    for _ in range(2):
        # the second time with the factor that was kept
        found = np.stack(step.solve(*task.arguments))
        equal(found, blocks)
        equal(step.bias, bias if program.fit_intercept else 0.0)
    outputs = program.predictions(*found, step.bias)
    equal(step.slopes, outputs - program.y)
    # other penalties need another factor
    other = Task(program, seed + 1, 2.0 * rhos[0], 0.5 * rhos[1])
    blocks, bias = other.solve([(root[:, None] * other.predictions(), root * program.y)])
    equal(np.stack(step.solve(*other.arguments)), blocks)


@pytest.mark.parametrize("loss", SMOOTH_LOSSES)
@settings(max_examples=5)
@given(data=st.data(), seed=st.integers(0, 10**6), rhos=st.tuples(rhos, rhos))
def test_every_sweep_of_coordinate_descent_descends(loss, data, seed, rhos):
    program = data.draw(programs(losses=[loss]))
    task = Task(program, seed, *rhos)
    step = CoordinateStep(program, np.random.RandomState(seed))
    value = task.lagrangian(np.zeros_like(task.targets), 0.0)
    for _ in range(15):
        blocks = np.stack(step.solve(*task.arguments))
        after = task.lagrangian(blocks, step.bias)
        assert after <= value * (1.0 + 1e-14)
        value = after
    equal(step.outputs, program.predictions(*blocks, step.bias))
    equal(step.slopes, program.loss.derivative(step.outputs, program.y))


@pytest.mark.parametrize("intercept", [False, True])
def test_coordinate_descent_ends_where_cholesky_does(intercept):
    program = draw_program(8, n=10, d=2, n_patterns=4, intercept=intercept)
    task = Task(program, 0, 0.3, 1.0)
    exact = CholeskyStep(program, None)
    expected = np.stack(exact.solve(*task.arguments))
    step = CoordinateStep(program, np.random.RandomState(0))
    for _ in range(400):
        blocks = np.stack(step.solve(*task.arguments))
    equal(blocks, expected, 1e-6)
    equal(step.bias, exact.bias, 1e-6)


def test_coordinate_descent_starts_where_it_is_told():
    program = draw_program(8)
    v, w = np.random.RandomState(0).standard_normal((2, *program.gates.shape))
    step = CoordinateStep(program, np.random.RandomState(0))
    step.start(v, w, 0.5)
    equal(step.outputs, program.predictions(v, w, 0.5))


def test_penalty_factor_is_bounded_and_neutral_at_zero():
    assert penalty_factor(4.0, 1.0) == 2.0
    assert penalty_factor(1.0, 1e9) == 0.1
    assert penalty_factor(1e9, 1.0) == 10.0
    assert penalty_factor(0.0, 1.0) == penalty_factor(1.0, 0.0) == 1.0
