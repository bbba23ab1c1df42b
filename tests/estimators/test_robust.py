"""RobustConvexReLUClassifier: what it promises about perturbed samples, and its parameters."""

import copy
from functools import partial

import numpy as np
import pytest
from grids import halved
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_convexnet import ConvexReLUClassifier, LogLoss, RobustConvexReLUClassifier
from sklearn_convexnet.core.losses import get_loss
from sklearn_convexnet.program.perturbation import Perturbation
from sklearn_convexnet.program.relaxation import Relaxation
from sklearn_convexnet.selection.formula import penalty_by_formula

Robust = partial(RobustConvexReLUClassifier, n_patterns=10, random_state=0)
THREATS = [
    {"epsilon": 0.1},
    {"epsilon": 0.1, "bounds": (0.0, 1.0)},
    {"epsilon": [0.2, 0.0, 0.05], "bounds": ([0, 0, 0], [1, 1, 2])},
    {"epsilon": 0.2, "norm": 2},
    {"epsilon": [0.3, 0.1, 0.0], "norm": 1},
]
threats = pytest.mark.parametrize("threat", THREATS, ids=str)


@pytest.fixture(scope="module")
def data():
    rng = np.random.RandomState(0)
    X = rng.uniform(0, 1, (40, 3))
    return X, (np.abs(X[:, 0] - 0.5) + X[:, 1] > 0.8).astype(int)


@pytest.fixture(scope="module")
def three_classes():
    rng = np.random.RandomState(0)
    X = rng.uniform(0, 1, (45, 3))
    return X, np.array(["low", "middle", "top"])[np.digitize(X[:, 0], [1 / 3, 2 / 3])]


def attacks(X, threat, count=100, seed=0):
    """Perturbed copies of the rows, random and at the corners of the balls."""
    rng = np.random.RandomState(seed)
    epsilon = np.broadcast_to(threat["epsilon"], X.shape[1])
    norm = threat.get("norm", np.inf)
    for _ in range(count):
        eta = rng.standard_normal(X.shape)
        if norm == np.inf:
            eta = np.sign(eta)
        else:
            eta /= np.linalg.norm(eta, ord=norm, axis=1, keepdims=True)
        yield np.clip(X + epsilon * eta, *threat.get("bounds", (-np.inf, np.inf)))


def attacked_accuracy(model, X, y, threat):
    right = np.ones(len(y), dtype=bool)
    for attacked in attacks(X, threat):
        right &= model.predict(attacked) == y
    return right.mean()


# ------------------------------------------------------------------------------------------------
# What is promised


DEFAULTS = {"epsilon": 0.1, "norm": np.inf, "bounds": None}


@pytest.mark.parametrize(
    ("threat", "loss"),
    [*((threat, "log_loss") for threat in THREATS), (THREATS[0], "hinge"), (THREATS[3], "hinge")],
    ids=str,
)
def test_objective_and_certified_accuracy(data, threat, loss):
    X, y = data
    model = Robust(alpha=1e-3, loss=loss, **threat).fit(X, y)
    perturbation = Perturbation(*(threat.get(k, d) for k, d in DEFAULTS.items()))
    signs = 2.0 * y - 1.0
    margins = Relaxation(X, signs, perturbation, fit_intercept=True).margins(model.network_)
    losses = get_loss(loss).value(margins, np.ones(len(y)))
    expected = losses.mean() + 1e-3 * model.network_.penalty()
    assert model.objective_ == pytest.approx(expected, rel=1e-9)
    assert model.certified_accuracy_ == pytest.approx(np.mean(margins > 0))
    assert attacked_accuracy(model, X, y, threat) >= model.certified_accuracy_ - 1e-12


@pytest.fixture(scope="module")
def plain(data):
    return ConvexReLUClassifier(n_patterns=10, random_state=0).fit(*data)


@threats
def test_more_robust_than_a_classifier_that_does_not_know(data, plain, threat):
    X, y = data
    model = Robust(**threat).fit(X, y)
    assert model.certified_accuracy_ > attacked_accuracy(plain, X, y, threat)
    assert model.score(X, y) > 0.85


def test_more_than_two_classes(three_classes):
    X, y = three_classes
    threat = {"epsilon": 0.05}
    model = Robust(**threat).fit(X, y)
    assert model.n_outputs_ == 3
    assert 0.5 < model.certified_accuracy_ <= attacked_accuracy(model, X, y, threat)
    assert model.predict_proba(X).shape == (45, 3)
    alone = Robust(**threat, alpha=model.alpha_[2]).fit(X, y == "top")
    np.testing.assert_allclose(alone.decision_function(X), model.decision_function(X)[:, 2])


def test_certified_accuracy_counts_weights(data):
    X, y = data
    weights = np.where(np.arange(len(y)) < 20, 3.0, 1.0)
    weighted = Robust().fit(X, y, sample_weight=weights)
    repeated = Robust().fit(np.r_[X, X[:20], X[:20]], np.r_[y, y[:20], y[:20]])
    assert weighted.certified_accuracy_ == repeated.certified_accuracy_
    assert weighted.objective_ == repeated.objective_


# ------------------------------------------------------------------------------------------------
# Radii


@pytest.mark.parametrize("threat", [{}, {"norm": 2}, {"bounds": (0.0, 1.0)}], ids=str)
def test_without_perturbation_it_is_the_classifier(data, threat):
    X, y = data
    expected = ConvexReLUClassifier(0.01, n_patterns=10, tol=0.05, random_state=0).fit(X, y)
    model = Robust(0.01, epsilon=0.0, tol=0.05, **threat).fit(X, y)
    assert model.objective_ == pytest.approx(expected.objective_, rel=1e-9)
    np.testing.assert_allclose(model.decision_function(X), expected.decision_function(X), rtol=1e-9)


@pytest.mark.parametrize("norm", [np.inf, 2, 1])
def test_objective_never_falls_with_the_radius(data, norm):
    X, y = data
    radii = [0.4, 0.1, 0.02]
    model = Robust(1e-3, norm=norm, warm_start=True)
    warm = [model.set_params(epsilon=epsilon).fit(X, y).objective_ for epsilon in radii]
    cold = [Robust(1e-3, norm=norm, epsilon=epsilon).fit(X, y).objective_ for epsilon in radii]
    assert np.all(np.diff(warm) <= 1e-12)
    assert np.all(np.diff(cold) <= 0)


def test_bounds_help(data):
    X, y = data
    model = Robust(1e-3, warm_start=True).fit(X, y)
    free = model.objective_
    assert model.set_params(bounds=(0.0, 1.0)).fit(X, y).objective_ < free


# ------------------------------------------------------------------------------------------------
# Parameters


def test_automatic_alpha_is_less_than_that_of_the_classifier(data):
    X, y = data
    expected = penalty_by_formula(X, 2.0 * y - 1.0, np.ones(len(y)), get_loss("log_loss"), True)
    assert Robust().fit(X, y).alpha_ == pytest.approx(0.3 * expected)
    assert Robust(alpha=0.3).fit(X, y).alpha_ == 0.3


def test_class_weight(data):
    X, y = data
    heavy = Robust(class_weight={0: 1, 1: 20}).fit(X, y)
    light = Robust(class_weight={0: 20, 1: 1}).fit(X, y)
    assert heavy.predict(X).mean() > light.predict(X).mean()


def test_warm_start_is_no_worse(data):
    X, y = data
    model = Robust(warm_start=True).fit(X, y)
    objective = model.objective_
    model.fit(X, y)
    assert model.objective_ <= objective * (1 + 1e-12)
    assert model.history_[0]["phase"] == "start"
    # other features: a new start
    assert model.fit(X[:, :2], y).coefs_[0].shape[0] == 2


def test_without_intercept(data):
    X, y = data
    model = Robust(fit_intercept=False).fit(X - 0.5, y)
    assert not model.intercepts_[0].any() and not model.intercepts_[1].any()
    assert model.score(X - 0.5, y) > 0.5


def test_iterations_run_out(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match="stopped after 5 iterations"):
        model = Robust(max_iter=5).fit(X, y)
    assert model.n_iter_ == 5
    with pytest.warns(ConvergenceWarning, match="duality gap"):
        Robust(max_iter=5, epsilon=0.0).fit(X, y)


def test_verbose_prints_the_history(data, capsys):
    X, y = data
    model = Robust(verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(model.history_)
    assert "RobustConvexReLUClassifier" in lines[0]


@pytest.fixture(scope="module")
def smallest(data):
    return Robust(n_patterns=3).fit(*data)


class Increasing(LogLoss):
    """A loss of classification by its target, not by its slopes."""

    _slopes = (-1.0, 1.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"epsilon": -0.1}, "epsilon"),
        ({"epsilon": [0.1, 0.1]}, "one entry per feature"),
        ({"epsilon": [0.1, np.nan, 0.1]}, "epsilon must be a finite number"),
        ({"epsilon": np.inf}, "epsilon"),
        ({"epsilon": 1e160}, "epsilon must not exceed"),
        ({"norm": 3}, "norm"),
        ({"bounds": (1.0, 0.0)}, "low <= high"),
        ({"bounds": (0.0, 1.0), "norm": 2}, "bounds need norm"),
        ({"loss": "squared_error"}, "loss"),
        ({"loss": Increasing()}, "must not increase"),
        ({"tol": 0.0}, "tol"),
    ],
)
def test_bad_parameters_leave_the_last_fit_alone(data, smallest, parameters, message):
    X, y = data
    model = copy.deepcopy(smallest)
    fitted = {name: value for name, value in vars(model).items() if name.endswith("_")}
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(X, y)
    assert all(vars(model)[name] is value for name, value in fitted.items())


def test_no_attribute_speaks_of_a_gap(data):
    model = clone(Robust()).fit(*data)
    for name in ("lower_bound_", "dual_gap_", "certificate_", "certificate", "patterns_"):
        assert not hasattr(model, name)


def test_classes_that_are_far_apart_are_certified():
    rng = np.random.RandomState(0)
    X = rng.uniform(0, 1, (200, 4))
    y = X @ [1.0, 1.0, 0.0, 0.0] > 1.0
    far = np.abs(X @ [1.0, 1.0, 0.0, 0.0] - 1.0) > 0.25
    model = Robust(epsilon=0.1).fit(X[far], y[far])
    assert model.certified_accuracy_ == 1.0


SCP = partial(Robust, formulation="scp", n_patterns=30)


@threats
def test_a_fixed_first_layer_has_a_certified_gap(data, threat):
    X, y = data
    model = SCP(alpha=1e-3, **threat).fit(X, y)
    assert 0.0 < model.dual_gap_ <= model.tol
    # the network may be better than the program knows, but not by being less robust
    assert model.objective_ <= model.lower_bound_ / (1.0 - model.dual_gap_) * (1 + 1e-9)
    assert attacked_accuracy(model, X, y, threat) >= model.certified_accuracy_ - 1e-12
    assert model.certified_accuracy_ > 0.6
    assert not hasattr(model, "pattern_factors_")
    # nothing to iterate, but a number that scikit-learn expects
    assert SCP(alpha=100.0, **threat).fit(X, y).n_iter_ == 1


def test_optimum_of_a_fixed_first_layer_never_falls_with_the_radius(data):
    X, y = data
    model, before = SCP(alpha=1e-3, tol=1e-3, warm_start=True), 0.0
    for epsilon in (0.01, 0.05, 0.2):
        model.set_params(epsilon=epsilon).fit(X, y)
        assert model.lower_bound_ / (1.0 - model.dual_gap_) >= before
        before = model.lower_bound_


def test_a_fixed_first_layer_for_several_classes(three_classes):
    X, y = three_classes
    model = SCP(epsilon=0.05, loss="hinge").fit(X, y)
    assert model.n_outputs_ == 3
    assert model.dual_gap_ <= model.tol
    assert model.score(X, y) > 0.8
    with pytest.warns(ConvergenceWarning, match="duality gap of .*: increase max_iter or tol"):
        SCP(epsilon=0.05, max_iter=3).fit(X, y)


Cone = partial(Robust, formulation="cone", n_patterns=6)


@pytest.fixture(scope="module")
def few():
    rng = np.random.RandomState(1)
    X = rng.uniform(0, 1, (25, 2))
    return X, (X[:, 0] + 0.3 * X[:, 1] > 0.6).astype(int)


@pytest.mark.parametrize(
    ("loss", "norm"), halved(["hinge", "log_loss", "squared_hinge"], [np.inf, 2, 1])
)
def test_the_convex_program_encloses_its_optimum(few, norm, loss):
    X, y = few
    model = Cone(epsilon=0.02, norm=norm, loss=loss, alpha=1e-2).fit(X, y)
    # certified margins of its networks are exact, so that the objective is the program's
    assert model.lower_bound_ <= model.objective_ * (1 + 1e-9)
    assert model.objective_ - model.lower_bound_ <= 1.01 * model.tol * model.objective_
    assert model.dual_gap_ <= model.tol
    (factors,) = model.pattern_factors_
    assert factors.max() > 1.0
    # no corner of a ball is worse than what is certified
    relaxation = Relaxation(X, 2.0 * y - 1.0, Perturbation(0.02, norm), fit_intercept=True)
    margins = relaxation.margins(model.network_)
    rng = np.random.RandomState(0)
    for _ in range(20):
        moves = rng.standard_normal(X.shape)
        moves *= 0.02 / np.linalg.norm(moves, ord=norm, axis=1, keepdims=True)
        assert ((2 * y - 1) * model.decision_function(X + moves) >= margins - 1e-8).all()


def test_the_convex_program_of_several_classes(three_classes):
    X, y = three_classes
    model = Cone(epsilon=0.01, alpha=1e-2).fit(X, y)
    assert len(model.pattern_factors_) == model.n_outputs_ == 3
    assert model.score(X, y) > 0.8


def test_no_pattern_survives_large_perturbations(few):
    X, y = few
    # the neuron that is active everywhere needs an intercept
    with pytest.warns(
        UserWarning,
        match="none of the .* patterns that were tried leaves room .* formulation='relaxed'",
    ):
        model = Cone(epsilon=1.0, fit_intercept=False).fit(X - 0.5, y)
    assert model.n_neurons_ == 0
    assert (model.pattern_factors_[0] <= 1.0).all()
    linear = Cone(epsilon=0.2).fit(X, y)
    assert (linear.pattern_factors_[0] == np.inf).any()


def test_attributes_of_the_other_formulation_go(few):
    X, y = few
    model = Cone(epsilon=0.02).fit(X, y)
    assert hasattr(model, "dual_gap_")
    model.set_params(formulation="relaxed").fit(X, y)
    for name in ("lower_bound_", "dual_gap_", "pattern_factors_"):
        assert not hasattr(model, name)
