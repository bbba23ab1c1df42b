"""The program over patterns: its arrays, its objective, its units, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sklearn_convexnet.core.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, Huber, get_loss
from sklearn_convexnet.program.pattern_program import PatternProgram
from sklearn_convexnet.program.patterns import sample_gates

LOSSES = [*REGRESSION_LOSSES, *CLASSIFICATION_LOSSES]
seeds = st.integers(0, 2**31 - 1)


def arguments(seed=0, *, n=12, d=3, P=6, loss="squared_error", intercept=False, alpha=0.1):
    rng = np.random.RandomState(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal(n)
    if get_loss(loss).target == "sign":
        y = np.where(y > 0, 1.0, -1.0)
    rows = np.concatenate([X, np.ones((n, int(intercept)))], axis=1)
    gates = sample_gates(rows, np.full(n, 1 / n), P, rng, intercept=intercept)
    return {
        "X": X,
        "y": y,
        "patterns": rows @ gates >= 0,
        "loss": loss,
        "alpha": alpha,
        "sample_weight": rng.uniform(0.1, 2.0, n),
        "fit_intercept": intercept,
        "gates": gates,
    }


def changed(**changes):
    return {**arguments(), **changes}


X, D = arguments()["X"], arguments()["patterns"]
NAN, INF = X.copy(), X.copy()
NAN[1, 1], INF[2, 0] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": X[0]}, r"X must be a 2-D array.*\(3,\)"),
        ({"X": X[:0]}, r"X must not be empty.*\(0, 3\)"),
        ({"X": X[:, :0]}, r"X must not be empty.*\(12, 0\)"),
        ({"X": NAN}, "X must hold finite numbers.*NaN"),
        ({"X": INF}, "X must hold finite numbers.*infinity"),
        ({"y": np.zeros((12, 1))}, r"y must be a 1-D array.*\(12, 1\)"),
        ({"y": np.zeros(11)}, "X and y must have as many rows: got 12 and 11"),
        ({"y": np.full(12, np.nan)}, "y must hold finite numbers"),
        ({"y": np.full(12, -1e160)}, "y must be at most 1e150.*1e.160"),
        ({"alpha": 0.0}, "alpha must be a positive finite number.*0.0"),
        ({"alpha": -1.0}, "alpha must be a positive finite number.*-1.0"),
        ({"alpha": np.nan}, "alpha must be a positive finite number.*nan"),
        ({"alpha": np.inf}, "alpha must be a positive finite number.*inf"),
        ({"alpha": "0.1"}, "alpha must be a positive finite number.*'0.1'"),
        ({"alpha": None}, "alpha must be a positive finite number.*None"),
        ({"alpha": np.ones(2)}, "alpha must be a positive finite number"),
        ({"loss": "absolute"}, "loss must be one of.*'absolute'"),
        ({"patterns": D[:-1]}, r"patterns has shape \(11, 6\).*\(12, n_patterns\)"),
        ({"patterns": D.T}, r"patterns has shape \(6, 12\).*\(12, n_patterns\)"),
        ({"patterns": D[:, 0]}, r"patterns has shape \(12,\)"),
        ({"patterns": D[:, :0]}, r"patterns has shape \(12, 0\).*n_patterns >= 1"),
        ({"patterns": D + 1}, "patterns.*values other than 0 and 1"),
        ({"patterns": D * 0.5}, "patterns.*values other than 0 and 1"),
        ({"patterns": np.where(D, np.nan, 0.0)}, "patterns.*values other than 0 and 1"),
        ({"patterns": np.where(D, "a", "b")}, "patterns.*values other than 0 and 1"),
        ({"patterns": 0 * D, "gates": None}, "patterns must hold at least one pattern"),
        ({"gates": np.ones((2, 6))}, r"gates must have shape \(3, n_patterns\).*\(2, 6\)"),
        ({"gates": np.ones((3, 2))}, r"gates must have shape \(3, n_patterns\).*\(3, 2\)"),
        ({"gates": np.ones(3)}, "gates must be a 2-D array"),
        ({"gates": np.full((3, 6), np.nan)}, "gates must hold finite numbers"),
        ({"gates": -arguments()["gates"]}, "gates must realise the patterns"),
        ({"sample_weight": -np.ones(12)}, "sample_weight must be non-negative.*-1.0"),
        ({"sample_weight": np.zeros(12)}, "sample_weight must not be zero everywhere"),
        ({"sample_weight": np.ones(11)}, r"sample_weight must have shape \(12,\).*\(11,\)"),
        ({"sample_weight": np.ones((12, 1))}, "sample_weight must be a 1-D array"),
        ({"sample_weight": np.full(12, np.inf)}, "sample_weight must hold finite numbers"),
        ({"loss": "hinge"}, "y must hold -1 and .1 only for loss='hinge'"),
        ({"loss": "log_loss", "y": np.zeros(12)}, "y must hold -1 and .1 only"),
        ({"loss": "squared_hinge", "y": np.arange(12) % 2}, "y must hold -1 and .1 only"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        PatternProgram.from_data(**changed(**changes))


def test_gates_of_all_columns_must_be_strict():
    X = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    for gate in ([1.0, 0.0], [0.0, 0.0], [1.0, -1.0]):
        gates = np.array([gate]).T
        with pytest.raises(ValueError, match="gates must realise the patterns strictly"):
            PatternProgram.from_data(X, np.ones(3), X @ gates >= 0, alpha=0.1, gates=gates)
    # a row of zeros has no side
    X[0] = 0.0
    gates = np.array([[1.0, 1.0]]).T
    for side in (False, True):
        patterns = np.array([[side], [True], [True]])
        PatternProgram.from_data(X, np.ones(3), patterns, alpha=0.1, gates=gates)


@pytest.mark.parametrize("intercept", [False, True])
def test_patterns_that_no_hyperplane_realises(intercept):
    X = np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]) - 0.5
    xor = np.array([[1, 1, 0, 0], [0, 1, 0, 0]]).T
    with pytest.raises(ValueError) as error:
        PatternProgram.from_data(X, np.ones(4), xor, alpha=0.1, fit_intercept=intercept)
    message = str(error.value)
    # a corner can be cut off with a bias, not through the centre
    count = 1 if intercept else 2
    assert f"patterns: {count} of 2 columns" in message
    assert "[0]" in message if intercept else "[0, 1]" in message
    assert ("through the origin" in message) == (not intercept)


@settings(max_examples=12)
@given(seed=seeds, intercept=st.booleans())
def test_gates_are_found_for_realisable_patterns(seed, intercept):
    given_gates = PatternProgram.from_data(**arguments(seed, intercept=intercept))
    found = PatternProgram.from_data(**{**arguments(seed, intercept=intercept), "gates": None})
    np.testing.assert_array_equal(found.patterns, given_gates.patterns)
    assert (found.patterns == (found.rows @ found.gates > 0)).all()
    assert (np.abs(found.rows @ found.gates) > 1e-10).all()


def test_attributes():
    data = arguments(intercept=True)
    data["sample_weight"][[2, 5]] = 0.0
    repeated = np.concatenate([data["patterns"], 0 * data["patterns"][:, :1], data["patterns"]], 1)
    gates = np.concatenate([data["gates"], [[0.0]] * 3 + [[-1.0]], data["gates"]], axis=1)
    program = PatternProgram.from_data(
        **{**data, "patterns": repeated, "gates": gates}, exhaustive=True
    )
    used = data["sample_weight"] > 0
    assert program.n_samples == 10 == used.sum()
    np.testing.assert_array_equal(program.rows[:, -1], 1.0)
    np.testing.assert_array_equal(program.rows[:, :-1], data["X"][used])
    np.testing.assert_array_equal(program.y, data["y"][used])
    assert program.weights.sum() == pytest.approx(1.0, rel=1e-15)
    ratio = program.weights / data["sample_weight"][used]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-14)
    assert program.n_patterns <= data["patterns"].shape[1]
    np.testing.assert_array_equal(program.patterns, repeated[used][:, program.kept])
    np.testing.assert_array_equal(program.gates, gates[:, program.kept])
    columns = {column.tobytes() for column in program.patterns.T}
    assert len(columns) == program.n_patterns
    assert program.patterns.any(axis=0).all()
    assert program.exhaustive and program.fit_intercept and program.alpha == 0.1
    assert PatternProgram.from_data(**{**data, "sample_weight": None}).weights == pytest.approx(
        1 / 12
    )


def test_lists_and_integers_are_arrays():
    program = PatternProgram.from_data(
        [[1, 0], [0, 1]], [1, -1], [[1, 0], [0, 1]], loss="hinge", alpha=1
    )
    assert program.rows.dtype == program.y.dtype == np.float64 and program.patterns.dtype == bool


def test_arguments_are_left_alone():
    data = arguments()
    copies = {key: np.copy(value) for key, value in data.items()}
    program = PatternProgram.from_data(**data)
    assert program.normalised.rows is not program.rows
    program.rows[:] = 0.0
    for key, value in data.items():
        np.testing.assert_array_equal(value, copies[key])


@settings(max_examples=15)
@given(seed=seeds, loss=st.sampled_from(LOSSES), intercept=st.booleans())
def test_objective_from_the_formula(seed, loss, intercept):
    program = PatternProgram.from_data(**arguments(seed, loss=loss, intercept=intercept))
    rng = np.random.RandomState(seed + 1)
    v, w = rng.standard_normal((2, *program.gates.shape))
    v[:, 0] = w[:, 0] = 0.0
    outputs = np.full(program.n_samples, 0.4)
    value = 0.0
    for i in range(program.n_patterns):
        outputs += program.patterns[:, i] * (program.rows @ (v[:, i] - w[:, i]))
        value += program.alpha * (np.linalg.norm(v[:, i]) + np.linalg.norm(w[:, i]))
    value += program.weights @ program.loss.value(outputs, program.y)
    np.testing.assert_allclose(program.predictions(v, w, 0.4), outputs, rtol=0, atol=1e-12)
    assert program.objective(v, w, 0.4) == pytest.approx(value, rel=1e-12)


@settings(max_examples=25)
@given(seed=seeds, intercept=st.booleans(), size=st.sampled_from([1e-9, 1.0, 1e6]))
def test_feasible_points(seed, intercept, size):
    program = PatternProgram.from_data(**arguments(seed, intercept=intercept))
    rng = np.random.RandomState(seed)
    blocks = size * rng.standard_normal((2, *program.gates.shape))
    blocks[0][:, -1] = 0.0
    v, w = program.feasible_point(*blocks)
    signs = 2.0 * program.patterns - 1.0
    for block in (v, w):
        assert (signs * (program.rows @ block) >= -1e-15 * size * np.abs(program.rows).max()).all()
    assert program.violation(v, w) <= 1e-15
    assert not v[:, -1].any()
    # feasible blocks stay, and no feasible block is nearer than the one returned
    again, _ = program.feasible_point(v, w)
    np.testing.assert_allclose(again, v, rtol=0, atol=1e-12 * size)
    for i in range(program.n_patterns):
        for block, asked in zip((v, w), blocks, strict=True):
            difference = asked[:, i] - block[:, i]
            inside = program.gates[:, i] / np.linalg.norm(program.gates[:, i])
            # obtuse to every direction into the cone, and to the block itself
            assert difference @ inside <= 1e-9 * size
            assert abs(difference @ block[:, i]) <= 1e-9 * size**2


def test_violation_is_relative_to_the_largest_product():
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    program = PatternProgram.from_data(X, np.ones(2), [[True], [False]], alpha=0.1)
    v, w = np.array([[2.0], [-1.0]]), np.array([[1.0], [0.5]])
    assert program.violation(v, 0 * v) == 0.0
    assert program.violation(v, w) == 0.25
    assert program.violation(0 * v, 0 * w) == 0.0


@settings(max_examples=25)
@given(
    seed=seeds,
    loss=st.sampled_from([*LOSSES, Huber(delta=0.3)]),
    intercept=st.booleans(),
    scales=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
    wide=st.booleans(),
)
def test_normalised_units(seed, loss, intercept, scales, wide):
    data = arguments(seed, loss=loss, intercept=intercept, n=4 if wide else 12, d=7 if wide else 3)
    data["X"] *= 10.0 ** scales[0]
    data["gates"][: data["X"].shape[1]] /= 10.0 ** scales[0]
    if get_loss(loss).target == "real":
        data["y"] *= 10.0 ** scales[1]
    program = PatternProgram.from_data(**data)
    normalised, units = program.normalised, program.problem.natural_units
    squares = (normalised.rows**2).sum(axis=1) / program.rows.shape[1]
    assert normalised.weights @ squares == pytest.approx(1.0, rel=1e-9)
    if get_loss(loss).target == "real":
        assert normalised.weights @ normalised.y**2 == pytest.approx(1.0, rel=1e-9)
    else:
        assert units.target == units.objective == 1.0
    # points and objectives are those of the docstring
    rng = np.random.RandomState(seed)
    v, w = rng.standard_normal((2, *normalised.gates.shape))
    basis = normalised.problem.design.basis
    assert (basis is not None) == (program.rows.shape[1] > program.n_samples)
    blocks = [v, w] if basis is None else [basis @ v, basis @ w]
    v_user, w_user = (units.block * block for block in blocks)
    bias = 0.3 if intercept else 0.0
    outputs = normalised.predictions(v, w, bias)
    np.testing.assert_allclose(
        program.predictions(v_user, w_user, units.target * bias),
        units.target * outputs,
        rtol=0,
        atol=1e-9 * units.target * np.abs(outputs).max(),
    )
    expected = units.objective * normalised.objective(v, w, bias)
    assert program.objective(v_user, w_user, units.target * bias) == pytest.approx(
        expected, rel=1e-9
    )
    # the gates realise the patterns in either coordinates
    np.testing.assert_array_equal(normalised.rows @ normalised.gates > 0, program.patterns)
    # a second time it is the same
    np.testing.assert_array_equal(program.normalised.rows, normalised.rows)


def test_programs_of_other_targets_share_the_design():
    program = PatternProgram.from_data(**arguments())
    other = program.with_target(2.0 * program.y)
    assert other.problem.design is program.problem.design
    np.testing.assert_array_equal(other.y, 2.0 * program.y)
    assert program.normalised.problem.design is other.normalised.problem.design
    fresh = PatternProgram.from_data(**changed(y=2.0 * arguments()["y"]))
    v, w = np.random.RandomState(0).standard_normal((2, *program.gates.shape))
    assert other.objective(v, w, 0.0) == fresh.objective(v, w, 0.0)


def test_programs_of_another_penalty():
    program = PatternProgram.from_data(**arguments())
    other = program.with_target(program.y, alpha=3)
    assert (program.alpha, other.alpha) == (0.1, 3.0) and isinstance(other.alpha, float)
    assert program.with_target(program.y).alpha == 0.1
    fresh = PatternProgram.from_data(**changed(alpha=3))
    v, w = np.random.RandomState(0).standard_normal((2, *program.gates.shape))
    assert other.objective(v, w, 0.0) == fresh.objective(v, w, 0.0)
    assert other.normalised.alpha == fresh.normalised.alpha


@pytest.mark.parametrize("loss", [*LOSSES, Huber(delta=0.3)], ids=str)
@pytest.mark.parametrize("intercept", [False, True])
def test_programs_over_other_gates(loss, intercept):
    data = arguments(loss=loss, intercept=intercept)
    data["sample_weight"][3] = 0.0
    program = PatternProgram.from_data(**data, exhaustive=True)
    # a pattern twice: it is merged
    gates = arguments(5, P=9, intercept=intercept)["gates"]
    gates = np.concatenate([gates, 2.0 * gates[:, :1]], axis=1)
    other = program.with_gates(gates)
    assert not other.exhaustive and program.exhaustive
    np.testing.assert_array_equal(other.rows, program.rows)
    np.testing.assert_array_equal(other.y, program.y)
    np.testing.assert_allclose(other.weights, program.weights, rtol=1e-15)
    assert (other.loss, other.alpha, other.fit_intercept) == (program.loss, 0.1, intercept)
    np.testing.assert_array_equal(other.patterns, program.rows @ other.gates >= 0)
    np.testing.assert_array_equal(other.gates, gates[:, other.kept])
    assert 9 not in other.kept
    network = other.network(other.gates, 0 * other.gates, 0.2 * intercept)
    expected = program.network_objective(network)
    assert other.network_objective(network) == pytest.approx(expected, rel=1e-13)
    value = other.objective(other.gates, 0 * other.gates, 0.2 * intercept)
    assert value == pytest.approx(expected, rel=1e-12)
    # the first program is what it was
    np.testing.assert_array_equal(program.gates, data["gates"][:, program.kept])


def test_other_gates_must_be_strict():
    program = PatternProgram.from_data(**arguments())
    x = program.rows[0]
    with pytest.raises(ValueError, match="gates must realise the patterns strictly"):
        program.with_gates(np.array([[x[1]], [-x[0]], [0.0]]))


def test_rows_of_zeros_bound_no_cone():
    X = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 1.0]])
    program = PatternProgram.from_data(X, np.ones(3), [[True], [True], [True]], alpha=0.1)
    np.testing.assert_array_equal(program.cone_rows, X[1:])
    assert program.cone_patterns.shape == (2, 1)
    v = np.array([[0.3], [0.4]])
    point, _ = program.feasible_point(v, v)
    np.testing.assert_array_equal(point, v)
    only_zeros = PatternProgram.from_data(
        np.zeros((2, 2)), np.ones(2), [[True]] * 2, alpha=0.1, gates=v
    )
    assert only_zeros.n_patterns == 1 and len(only_zeros.cone_rows) == 0
