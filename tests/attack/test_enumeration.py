"""Bounds and certificates against the optimum over all networks, for n <= 10 and d <= 2."""

from dataclasses import dataclass

import numpy as np
import pytest
from truth import (
    CLASSIFICATION,
    LOSSES,
    REGRESSION,
    all_patterns,
    cone_optimum,
    exceeds,
    network_objective,
    stacked,
    wide_descent,
)

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLURegressor,
    PatternProgram,
    SquaredError,
    solve,
)

pytestmark = [
    pytest.mark.slow,
    # of fits that end above their tolerance: what they claim is judged all the same
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# turn up to attack in earnest
N_CASES, N_SHARED, N_PROGRAMS = 60, 12, 24
TIME_LIMIT = 1.0

SHAPES = (
    "plain", "zero rows", "repeated", "opposite", "nearly equal", "collinear", "integers",
    "huge", "tiny", "two scales",
)  # fmt: skip
WEIGHTS = ("equal", "integers", "uneven", "zeros")


@dataclass
class Case:
    """A training problem; `Y` has a column of targets an output, `labels` is what `fit` takes."""

    loss: str
    X: np.ndarray
    Y: np.ndarray
    labels: np.ndarray
    given: np.ndarray | None
    alpha: float
    intercept: bool

    @property
    def weights(self):
        given = np.ones(len(self.X)) if self.given is None else self.given
        return given / given.sum()

    @property
    def problem(self):
        """What objectives of networks take."""
        return self.loss, self.X, self.Y, self.weights, self.alpha

    def fit(self, **parameters):
        kind = ConvexReLURegressor if self.loss in REGRESSION else ConvexReLUClassifier
        model = kind(
            alpha=self.alpha, loss=self.loss, fit_intercept=self.intercept, random_state=0,
            **parameters,
        )  # fmt: skip
        return model.fit(self.X, self.labels, sample_weight=self.given)

    def optimum(self):
        """The best network whose outputs share no neuron."""
        rows = np.hstack([self.X, np.ones((len(self.X), int(self.intercept)))])
        patterns = all_patterns(rows)
        return stacked(
            [
                cone_optimum(
                    self.loss, self.X, y, self.weights, self.alpha, patterns,
                    intercept=self.intercept,
                )[0]
                for y in self.Y.T
            ]
        )  # fmt: skip


def draw_rows(rng, shape, n, d):
    X = rng.standard_normal((n, d))
    if shape == "zero rows":
        X[: n // 3] = 0.0
    elif shape == "repeated":
        X[n // 2 :] = X[: n - n // 2]
    elif shape == "opposite":
        X[n // 2 :] = -X[: n - n // 2] * rng.choice([1.0, 2.0, 0.5])
    elif shape == "nearly equal":
        # steps like rounding, in most directions
        X[n // 2 :] = X[: n - n // 2] + 10.0 ** rng.uniform(-12, -7) * rng.standard_normal(
            (n - n // 2, d)
        )
    elif shape == "collinear":
        X = X[:, :1] * rng.standard_normal(d) + rng.choice([0.0, 1.0]) * rng.standard_normal(d)
    elif shape == "integers":
        X = rng.randint(-2, 3, (n, d)).astype(float)
    elif shape in ("huge", "tiny"):
        X *= 10.0 ** (rng.choice([3, 6, 8]) * (1 if shape == "huge" else -1))
    elif shape == "two scales":
        X *= 10.0 ** rng.uniform(-4, 4, d)
    X[rng.randint(n)] += rng.standard_normal(d) * np.abs(X).max()  # never zero throughout
    return X


def draw_weights(rng, kind, n):
    if kind == "equal":
        return None
    if kind == "integers":
        return rng.randint(1, 5, n).astype(float)
    weights = 10.0 ** rng.uniform(-6, 3, n)
    if kind == "zeros":
        weights[rng.permutation(n)[: n // 3]] = 0.0
    return weights


def draw_case(seed, *, n_outputs=1, shape=None):
    """A case; losses, shapes and weights take turns, so that any run of seeds has all of them."""
    rng = np.random.RandomState(seed)
    loss, kind = LOSSES[seed % 6], WEIGHTS[(seed // 6) % 4]
    shape = SHAPES[(seed + seed // 10) % 10] if shape is None else shape
    n, d, intercept = rng.randint(4, 11), rng.randint(1, 3), bool(rng.randint(2))
    X, given = draw_rows(rng, shape, n, d), draw_weights(rng, kind, n)
    if loss in REGRESSION:
        Y = rng.standard_normal((n, n_outputs)) + rng.choice([0.0, 3.0]) * np.abs(X[:, :1])
        Y *= 10.0 ** rng.choice([0, 0, 4, -4])
        Y /= max(np.abs(Y).max(), 1.0) if loss == "huber" else 1.0
        labels = Y[:, 0] if n_outputs == 1 else Y
    else:
        labels = np.arange(n) % max(n_outputs, 2)
        positive = given is None or given > 0
        # every class has weight
        order = np.argsort(~np.broadcast_to(positive, n), kind="stable")
        labels[order] = labels.copy()
        swap = rng.permutation(n)
        X = X[swap]
        Y = 2.0 * (labels[:, None] == np.arange(n_outputs)) - 1.0
        Y = Y if n_outputs > 1 else 2.0 * labels[:, None] - 1.0
    # up to where nothing is left but a constant
    weights = np.ones(n) if given is None else given
    size = np.sqrt(np.average((X**2).sum(1) + intercept, weights=weights))
    slope = 1.0
    if loss in ("squared_error", "huber"):
        slope = np.sqrt(np.average((Y**2).mean(1), weights=weights))
    alpha = float(10.0 ** rng.uniform(-4, -0.5) * max(size * slope, 1e-12))
    return Case(loss, X, Y, labels, given, alpha, intercept), f"{shape} rows, {kind} weights"


def forward(model):
    """The network of the documented attributes."""
    (U, A), (b, c) = model.coefs_, model.intercepts_
    return U, b, A, c


def false_claims(case, certificate, model, apart, shared, tol):
    """The sentences of a certificate that a network contradicts.

    `apart` is the best network whose outputs share no neuron, `shared` are networks of any kind.
    """
    single = case.Y.shape[1] == 1
    found = []
    if certificate.networks != ("all" if single else "unshared"):
        found.append(("networks", certificate.networks))
    proved = {"proved_lower_bound": certificate.detail["proved_lower_bound"]}
    if certificate.kind != "searched":
        proved["lower_bound"] = certificate.lower_bound
    for name, bound in proved.items():
        if exceeds(bound, *case.problem, apart) or bound > certificate.objective * (1 + 1e-12):
            found.append((name, bound, network_objective(*case.problem, apart)))
    if not single:
        bound = certificate.detail["shared_lower_bound"]
        for network in (apart, *shared, forward(model)):
            if exceeds(bound, *case.problem, network):
                reached = network_objective(*case.problem, network)
                found.append(("shared_lower_bound", bound, reached))
    reached = network_objective(*case.problem, forward(model))
    if not np.isclose(certificate.objective, reached, rtol=1e-9, atol=1e-300):
        found.append(("objective", certificate.objective, reached))
    # an exact bound is tight: within the tolerance of this network or of a better one that is named
    named = min(certificate.detail.get("known_objective", np.inf), certificate.objective)
    if certificate.kind == "exact" and 1.0 - certificate.lower_bound / named > tol:
        found.append(("an exact gap", certificate.gap))
    return found


def check_fits(case, shared=()):
    apart = case.optimum()
    found = {}
    for how in ({"patterns": "all"}, {}, {"patterns": "random", "n_patterns": 5}):
        model = case.fit(**how)
        claims = false_claims(case, model.certificate_, model, apart, shared, model.tol)
        if not np.isclose(model.objective_, model.certificate_.objective, rtol=1e-12, atol=0.0):
            claims.append(("objective_", model.objective_, model.certificate_.objective))
        # of the patterns of the fit: those of several outputs come one after the other
        if case.Y.shape[1] == 1:
            network, _ = cone_optimum(
                case.loss, case.X, case.Y[:, 0], case.weights, case.alpha, model.patterns_,
                intercept=case.intercept,
            )  # fmt: skip
            if exceeds(model.lower_bound_, *case.problem, network):
                reached = network_objective(*case.problem, network)
                claims.append(("lower_bound_", model.lower_bound_, reached))
        if how == {}:
            proof = model.certificate(
                case.X, case.labels, sample_weight=case.given, time_limit=TIME_LIMIT
            )
            claims += false_claims(case, proof, model, apart, shared, 1e-2)
            known, proved = (
                one.detail["proved_lower_bound"] for one in (model.certificate_, proof)
            )
            if proved < known:
                claims.append(("forgotten", known, proved))
        if claims:
            found[str(how)] = claims
    assert not found, found


@pytest.mark.parametrize("seed", range(N_CASES))
def test_no_bound_lies_above_the_optimum(seed):
    case, what = draw_case(seed)
    print(case.loss, what)
    check_fits(case)


@pytest.mark.parametrize("seed", range(N_SHARED))
def test_bounds_of_several_outputs(seed):
    # outputs that are alike are those for which sharing pays
    n_outputs = 2 + seed % 2
    case, what = draw_case(seed, n_outputs=n_outputs if LOSSES[seed % 6] in REGRESSION else 3)
    print(case.loss, what)
    if case.loss in REGRESSION and seed % 4 < 2:
        case.Y[:] = case.Y[:, :1] * np.array([1.0, 1.0, -1.0])[: case.Y.shape[1]]
    rng = np.random.RandomState(seed)
    shared, _ = wide_descent(*case.problem, intercept=case.intercept, neurons=20, rng=rng)
    check_fits(case, [shared])


def test_a_network_that_shares_its_neurons_is_below_those_that_do_not():
    X = np.linspace(-1, 1, 9)[:, None]
    Y = np.abs(np.hstack([X, X]))
    case = Case("squared_error", X, Y, Y, None, 0.05, True)
    rng = np.random.RandomState(0)
    shared, least = wide_descent(*case.problem, intercept=True, neurons=20, rng=rng, starts=3)
    apart = network_objective(*case.problem, case.optimum())
    assert least < 0.1031 < 0.1074 < apart  # the example is one
    check_fits(case, [shared])
    model = case.fit(patterns="all")
    U, b, A, c = shared
    network = type(model.network_)(U, b, A, c)
    options = {"alpha": 0.05, "weights": case.weights}
    assert np.isclose(network.objective(X, Y, loss=SquaredError(), **options), least)
    assert np.isclose(
        model.network_.objective(X, Y, loss=SquaredError(), **options), model.objective_
    )


@pytest.mark.parametrize("seed", range(N_PROGRAMS))
def test_programs_over_all_patterns(seed):
    case, what = draw_case(seed + 1000)
    print(case.loss, what)
    rows = np.hstack([case.X, np.ones((len(case.X), int(case.intercept)))])
    patterns = all_patterns(rows)
    network, _ = cone_optimum(
        case.loss, case.X, case.Y[:, 0], case.weights, case.alpha, patterns,
        intercept=case.intercept,
    )  # fmt: skip
    try:
        program = PatternProgram.from_data(
            case.X, case.Y[:, 0], patterns, loss=case.loss, alpha=case.alpha,
            sample_weight=case.given, fit_intercept=case.intercept,
        )  # fmt: skip
    except ValueError as error:  # cells as thin as rounding are refused, which is said
        assert "not realised by any hyperplane" in str(error)
        return
    for tol in (1e-2, 1e-6):
        result = solve(program, tol=tol)
        assert not exceeds(result.lower_bound, *case.problem, network)
        reached = network_objective(*case.problem, network)
        # a feasible point has the objective of a network
        assert result.upper_bound >= reached * (1 - 1e-5)
        own = result.network
        weights = own.hidden_weights, own.hidden_biases, own.output_weights, own.output_biases
        assert np.isclose(result.objective, network_objective(*case.problem, weights), rtol=1e-9)
        if result.status == "optimal":
            assert result.gap <= tol
            assert result.objective <= reached * (1 + 2 * tol)


def test_a_default_fit_is_not_far_above_the_optimum():
    t = np.array([-2.82, -2.08, 1.67, 5.3, -3.36, -1.97, -2.0, -1.35])
    labels = np.array([1, -1, -1, 1, -1, -1, 1, -1])
    X = np.column_stack([t, np.ones(8)])
    case = Case("hinge", X, labels[:, None].astype(float), labels, None, 1.2e-4, False)
    least = network_objective(*case.problem, case.optimum())
    assert case.fit().objective_ <= 1.05 * least


def test_the_cases_have_every_loss_shape_and_weight():
    drawn = [draw_case(seed) for seed in range(N_CASES)]
    assert {case.loss for case, _ in drawn} == {*REGRESSION, *CLASSIFICATION}
    said = " ".join(what for _, what in drawn)
    assert all(word in said for word in (*SHAPES, *WEIGHTS))
