"""``monotonic_cst``: outputs that never go the wrong way, and what is proved of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import LOSSES, exhaustive_program
from reference import solve_reference
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.utils.estimator_checks import estimator_checks_generator

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    RobustConvexReLUClassifier,
)
from sklearn_convexnet.core.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES, get_loss
from sklearn_convexnet.core.network import TwoLayerReLU
from sklearn_convexnet.core.vector_losses import SumOverOutputs
from sklearn_convexnet.program.problem import TrainingProblem
from sklearn_convexnet.proof.certificate import bound_output, certify_network
from sklearn_convexnet.solvers import solve_adaptive

RNG = np.random.RandomState(0)
X = RNG.standard_normal((60, 3))
# with a dip in the first feature
Y = X[:, 0] + np.where(np.abs(X[:, 0]) < 0.5, -2.0 * X[:, 0], 0.0) + np.sin(2.0 * X[:, 1])
LABELS = (Y > 0) + 0
CST = [1, -1, 0]
SMALL = {"alpha": 1e-2, "n_patterns": 10, "random_state": 0}


def outputs(model, X):
    network = getattr(model, "network_", model)
    return network(np.asarray(X, dtype=float))[:, 0]


def assert_monotone(model, signs, scale=1.0):
    """By the signs of all slopes, exactly, and by pairs of points anywhere."""
    network, signs = model.network_, np.asarray(signs)
    # whatever neurons are active, these are the terms of the slopes
    terms = network.hidden_weights * network.output_weights[:, 0]
    assert (signs[:, None] * terms >= 0).all()
    rng = np.random.RandomState(1)
    points = scale * rng.standard_normal((200, len(signs)))
    ahead = points + np.abs(rng.standard_normal(points.shape)) * signs
    rise = outputs(model, ahead) - outputs(model, points)
    assert rise.min() >= -1e-12 * np.abs(outputs(model, ahead)).max(initial=1.0)


def monotone_program(program, signs):
    """The program of one output in a column, whose columns have signs."""
    y, loss = program.y[:, None], SumOverOutputs(program.loss)
    return replace(
        program,
        exhaustive=False,
        problem=replace(program.problem, y=y, loss=loss, monotone=np.asarray(signs)),
    )


@given(
    seed=st.integers(0, 10_000),
    d=st.integers(1, 5),
    n=st.sampled_from([3, 20, 60]),
    loss=st.sampled_from(sorted(REGRESSION_LOSSES | CLASSIFICATION_LOSSES)),
    intercept=st.booleans(),
    sparse=st.booleans(),
    weighted=st.booleans(),
)
@settings(max_examples=25)
def test_outputs_never_go_the_wrong_way(seed, d, n, loss, intercept, sparse, weighted):
    rng = np.random.RandomState(seed)
    X, signs = np.round(rng.standard_normal((n, d)), 1), rng.choice([-1, 0, 1], d)
    y = rng.standard_normal(n) - 2.0 * X @ signs
    how = {"fit_intercept": intercept, "alpha": 10.0 ** rng.uniform(-4, -1), "random_state": 0}
    if weighted:
        how["feature_weights"] = rng.uniform(0.0, 2.0, d) + np.eye(d)[0]
    make = ConvexReLURegressor
    if get_loss(loss).target == "sign":
        make, y = ConvexReLUClassifier, y > np.sort(y)[1]
    model = make(loss=loss, monotonic_cst=signs, n_patterns=10, **how)
    model.fit(csr_array(X) if sparse else X, y)
    assert_monotone(model, signs)
    assert 0.0 <= model.lower_bound_ <= model.objective_


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_optimum_is_that_of_the_convex_program(loss, intercept):
    k = LOSSES.index(loss)
    program = exhaustive_program(k, loss=loss, alpha=0.03, intercept=intercept)
    signs = np.append([[1, 0], [-1, 1], [0, -1]][k % 3], [0] * intercept)
    best = solve_reference(program, signs=signs).value
    tol = 1e-2
    found, result = solve_adaptive(monotone_program(program, signs), tol=tol, random_state=0)
    assert best * (1.0 - 1e-6) <= result.objective <= best * (1.0 + tol)
    assert result.lower_bound <= best * (1.0 + 1e-3)
    certificate = certify_network(
        [result.objective], [bound_output(found, result.solution.slopes)], time_limit=60, tol=0.02
    )
    assert (certificate.kind, certificate.networks) == ("exact", "monotone")
    assert 0.97 * best <= certificate.lower_bound <= best * (1.0 + 1e-6)
    assert "monotonic_cst" in str(certificate)


@given(seed=st.integers(0, 10_000), d=st.integers(1, 6), n=st.integers(2, 12))
@settings(max_examples=15)
def test_proved_bounds_are_below_every_monotone_network(seed, d, n):
    rng = np.random.RandomState(seed)
    X, y, signs = rng.standard_normal((n, d)), rng.standard_normal(n), rng.choice([-1, 0, 1], d)
    model = ConvexReLURegressor(monotonic_cst=signs, alpha=0.05, random_state=0).fit(X, y)
    proved = model.certificate_.detail["proved_lower_bound"]
    assert proved <= model.objective_
    weights, loss = np.full(n, 1.0 / n), get_loss("squared_error")
    for _ in range(50):
        m = rng.randint(1, 4)
        hidden, out = rng.standard_normal((d, m)), rng.standard_normal((m, 1))
        hidden = np.where(signs[:, None] * hidden * out.T < 0, 0.0, hidden)
        size = 10.0 ** rng.uniform(-1, 0.5)
        network = TwoLayerReLU(size * hidden, rng.standard_normal(m), size * out, [y.mean()])
        objective = network.objective(X, y[:, None], loss=loss, alpha=0.05, weights=weights)
        assert proved <= objective


def test_a_constraint_costs_and_no_constraint_does_not():
    free = ConvexReLURegressor(**SMALL).fit(X, Y)
    zeros = ConvexReLURegressor(monotonic_cst=[0, 0, 0], **SMALL).fit(X, Y)
    np.testing.assert_array_equal(free.predict(X), zeros.predict(X))
    one, both = (
        ConvexReLURegressor(monotonic_cst=cst, **SMALL).fit(X, Y) for cst in ([1, 0, 0], CST)
    )
    assert free.lower_bound_ < one.objective_ < both.objective_
    # what is proved of all networks holds of these
    assert free.certificate_.networks == "all"
    proved = [model.certificate_.detail["proved_lower_bound"] for model in (one, both)]
    assert proved[0] <= one.objective_ and proved[1] <= both.objective_


def test_names_and_positions_say_the_same():
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    by_name = ConvexReLURegressor(monotonic_cst={"b": -1, "a": 1}, **SMALL).fit(frame, Y)
    by_place = ConvexReLURegressor(monotonic_cst=CST, **SMALL).fit(X, Y)
    np.testing.assert_array_equal(by_name.predict(frame), by_place.predict(X))


def test_the_sign_of_a_feature_turns_its_constraint():
    turned = X * [-1.0, 1.0, 1.0]
    one = ConvexReLURegressor(monotonic_cst=[1, 0, 0], **SMALL).fit(X, Y)
    other = ConvexReLURegressor(monotonic_cst=[-1, 0, 0], **SMALL).fit(turned, Y)
    # other starts, nearly the same optimum
    np.testing.assert_allclose(one.objective_, other.objective_, rtol=0.05)
    assert_monotone(other, [-1, 0, 0])


def test_probabilities_of_the_second_class_are_monotone():
    model = ConvexReLUClassifier(monotonic_cst=CST, **SMALL).fit(X, LABELS)
    assert_monotone(model, CST)
    assert model.out_activation_ == "logistic"
    points = np.zeros((50, 3))
    points[:, 0] = np.linspace(-3.0, 3.0, 50)
    assert (np.diff(model.predict_proba(points)[:, 1]) >= -1e-12).all()


@pytest.mark.parametrize(
    ("make", "y"), [(ConvexReLURegressor, Y), (ConvexReLUClassifier, LABELS)], ids=["real", "sign"]
)
def test_chosen_penalties_are_those_of_monotone_networks(make, y):
    model = make(monotonic_cst=[-1, 0, 0], random_state=0).fit(X, y)
    assert_monotone(model, [-1, 0, 0])
    # the first feature is of no use, and more of a penalty is asked for
    assert model.alpha_ > make(random_state=0).fit(X, y).alpha_


@pytest.mark.parametrize(
    ("make", "y"), [(ConvexReLURegressorCV, Y), (ConvexReLUClassifierCV, LABELS)]
)
def test_cross_validation_is_of_monotone_networks(make, y):
    how = {"alphas": 3, "cv": 2, "n_patterns": 10, "random_state": 0}
    model = make(monotonic_cst=[-1, 0, 0], **how).fit(X, y)
    assert_monotone(model, [-1, 0, 0])
    free = make(**how).fit(X, y)
    assert model.best_score_ < free.best_score_ - 0.01
    assert model.alphas_[0] < free.alphas_[0]


@pytest.mark.parametrize(("epsilon", "norm"), [(0.0, np.inf), (0.1, np.inf), (0.1, 2)])
def test_robust_training_is_of_monotone_networks(epsilon, norm):
    how = {"epsilon": epsilon, "norm": norm, "warm_start": True, **SMALL}
    model = RobustConvexReLUClassifier(monotonic_cst=CST, **how).fit(X, LABELS)
    assert_monotone(model, CST)
    free = RobustConvexReLUClassifier(**how).fit(X, LABELS)
    assert free.objective_ < model.objective_ < np.log(2.0)
    if epsilon == 0.0:
        # what pricing adds is not worth much here
        best = ConvexReLUClassifier(monotonic_cst=CST, **SMALL).fit(X, LABELS).lower_bound_
        assert best <= model.objective_ <= 1.1 * best
    before = model.objective_
    assert_monotone(model.fit(X, LABELS), CST)
    assert model.objective_ <= before
    with pytest.raises(ValueError, match="violates monotonic_cst"):
        free.set_params(monotonic_cst=CST).fit(X, LABELS)


def test_warm_start_goes_on_and_refuses_a_network_that_violates():
    model = ConvexReLURegressor(warm_start=True, monotonic_cst=CST, **SMALL).fit(X, Y)
    first = model.objective_
    assert_monotone(model.set_params(alpha=5e-3).fit(X, Y), CST)
    assert model.objective_ < first
    before = vars(model).copy()
    model.set_params(monotonic_cst=[-1, -1, 0])
    with pytest.raises(ValueError, match="warm_start=True .* violates monotonic_cst"):
        model.fit(X, Y)
    assert {**before, "monotonic_cst": [-1, -1, 0]} == vars(model)
    # more iterations of the same fit are never worse
    short = clone(model).set_params(monotonic_cst=CST, max_iter=20)
    objectives = []
    for _ in range(3):
        with pytest.warns(UserWarning):
            objectives.append(short.set_params(tol=1e-5).fit(X, Y).objective_)
        assert_monotone(short, CST)
    assert objectives == sorted(objectives, reverse=True)


def test_certificate_is_about_the_constraint_of_the_fit():
    model = ConvexReLURegressor(monotonic_cst=CST, **SMALL).fit(X, Y)
    certificate = model.certificate(X, Y)
    assert certificate is model.certificate_
    assert certificate.networks == "monotone"
    elsewhere = model.certificate(X[::2], Y[::2])
    assert elsewhere.networks == "monotone"
    assert elsewhere.detail["proved_lower_bound"] <= elsewhere.objective
    model.set_params(monotonic_cst=[-1, 0, 0])
    with pytest.raises(ValueError, match="monotonic_cst was set"):
        model.certificate(X, Y)


FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("rows", "given"),
    [
        (X, [1, 0]),
        (X, [1, 0, 0, 0]),
        (X, [2, 0, 0]),
        (X, [0.5, 0, 0]),
        (X, [np.nan, 0, 0]),
        (X, ["up", "any", "any"]),
        (X, {"a": 1}),
        (FRAME, {"z": 1}),
        (FRAME, {"a": 2}),
    ],
)
def test_errors_are_those_of_scikit_learn(rows, given):
    with pytest.raises(ValueError) as theirs:
        HistGradientBoostingRegressor(monotonic_cst=given).fit(rows, Y)
    with pytest.raises(ValueError) as ours:
        ConvexReLURegressor(monotonic_cst=given).fit(rows, Y)
    assert str(ours.value) == str(theirs.value).replace("HistGradientBoosting", "ConvexReLU")


@pytest.mark.parametrize("given", [np.eye(3), [[1], [0], [0]]])
def test_shapes_are_checked(given):
    with pytest.raises(ValueError, match=r"monotonic_cst must be .* shape \(n_features,\)"):
        ConvexReLURegressor(monotonic_cst=given).fit(X, Y)


@pytest.mark.parametrize(
    ("model", "y", "message"),
    [
        (ConvexReLUClassifier(), LABELS + (X[:, 2] > 0), "more than two classes"),
        (ConvexReLUClassifier(), np.c_[LABELS, LABELS], "several"),
        (ConvexReLURegressor(), np.c_[Y, Y], "several outputs"),
        (ConvexReLURegressor(patterns="all"), Y, "patterns='all'"),
        (ConvexReLURegressor(patterns="random"), Y, "patterns='random'"),
        (ConvexReLURegressor(solver="scp"), Y, "solver='scp'"),
        (ConvexReLURegressor(solver="admm-cholesky"), Y, "solver='admm-cholesky'"),
        (RobustConvexReLUClassifier(formulation="scp"), LABELS, "formulation='scp'"),
        (RobustConvexReLUClassifier(formulation="cone"), LABELS, "formulation='cone'"),
        (RobustConvexReLUClassifier(), LABELS + (X[:, 2] > 0), "more than two classes"),
        (ConvexReLUClassifierCV(cv=2), LABELS + (X[:, 2] > 0), "more than two classes"),
    ],
)
def test_what_cannot_be_monotone_says_so(model, y, message):
    with pytest.raises(ValueError, match=f"monotonic_cst .*{message}"):
        model.set_params(monotonic_cst=CST).fit(X, y)
    assert not hasattr(model, "network_")


def test_coordinates_are_kept_where_columns_are_more_than_rows():
    rng = np.random.RandomState(0)
    wide, y = rng.standard_normal((8, 20)), rng.standard_normal(8)
    signs = rng.choice([-1, 0, 1], 20)
    model = ConvexReLURegressor(monotonic_cst=signs, **SMALL).fit(wide, y)
    assert_monotone(model, signs)
    problem = TrainingProblem.of(wide, y[:, None], loss=SumOverOutputs(get_loss("huber")), alpha=1)
    assert problem.normalised.rows.shape[1] < 20
    assert replace(problem, monotone=signs).normalised.rows.shape[1] == 20


class Increasing(ConvexReLURegressor):
    """Monotone in all features, however many there are."""

    def _monotone(self):
        return np.ones(self.n_features_in_, dtype=int)


def checks():
    """Those of scikit-learn, but for several outputs."""
    model = Increasing(alpha=0.1, n_patterns=5, tol=0.2)
    for estimator, check in estimator_checks_generator(model):
        name = getattr(check, "func", check).__name__
        if name != "check_regressor_multioutput":
            yield pytest.param(estimator, check, id=name)


@pytest.mark.parametrize(("estimator", "check"), checks())
def test_sklearn_checks(estimator, check):
    check(estimator)
