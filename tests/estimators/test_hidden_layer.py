"""Estimators of several outputs that share one hidden layer: classes, labels, targets."""

import copy
import pickle

import numpy as np
import pytest
from grids import halved, pairwise
from scipy.sparse import csr_array
from scipy.special import expit, softmax
from sklearn.metrics import accuracy_score, log_loss, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import (
    check_classifiers_multilabel_output_format_decision_function,
    check_classifiers_multilabel_output_format_predict,
    check_classifiers_multilabel_output_format_predict_proba,
    check_classifiers_multilabel_representation_invariance,
    check_fit2d_1feature,
)

from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    alpha_max,
    convex_relu_path,
)
from sklearn_convexnet.export import to_mlp
from sklearn_convexnet.robustness import certified_accuracy

TOL = 0.05
KINDS = ("classes", "labels", "targets")
each_kind = pytest.mark.parametrize("kind", KINDS)

rng = np.random.RandomState(0)
X = rng.standard_normal((40, 3))
TARGETS = np.c_[np.abs(X[:, 0]), X[:, 1] - X[:, 2], np.maximum(X @ [1.0, 1.0, 0.0], 0.0)]
TARGETS += 0.2 * rng.standard_normal(TARGETS.shape)
CLASSES = np.array(["c", "a", "b"])[np.argmax(TARGETS, axis=1)]
LABELS = (TARGETS > 0.5).astype(int)
Y = {"classes": CLASSES, "labels": LABELS, "targets": TARGETS}
NEW = 2.0 * np.random.RandomState(1).standard_normal((50, 3))


# where it does not matter what is fitted
QUICK = {"solver": "scp", "patterns": "random", "n_patterns": 5, "tol": 0.3}


def make(kind, **params):
    """An estimator of a kind of targets, small and quick."""
    params = {"alpha": 0.02, "n_patterns": 10, "tol": TOL, "random_state": 0, **params}
    return (ConvexReLURegressor if kind == "targets" else ConvexReLUClassifier)(**params)


@pytest.fixture(scope="module")
def fitted():
    return {kind: make(kind).fit(X, Y[kind]) for kind in KINDS}


def outputs(model, X):
    """Of the network, from its parts."""
    (hidden, output), (biases, bias) = model.coefs_, model.intercepts_
    return np.maximum(X @ hidden + biases, 0.0) @ output + bias


def losses(kind, f, y):
    if kind == "targets":
        return 0.5 * ((f - y) ** 2).sum(axis=1)
    if kind == "labels":
        return np.logaddexp(0.0, np.where(y > 0, -f, f)).sum(axis=1)
    own = y[:, None] == np.unique(CLASSES)
    return -np.log(softmax(f, axis=1)[own])


def objective(model, kind, X, y, weights):
    decay = sum(np.sum(part**2) for part in (*model.coefs_, model.intercepts_[0]))
    mean = np.average(losses(kind, outputs(model, X), y), weights=weights)
    return mean + 0.5 * model.alpha_ * decay


# ------------------------------------------------------------------------------------------------
# Any fit


@each_kind
def test_what_is_fitted(kind, fitted):
    model = fitted[kind]
    assert model.objective_ == pytest.approx(objective(model, kind, X, Y[kind], None), rel=1e-10)
    assert model.dual_gap_ <= TOL and 0 < model.lower_bound_ <= model.objective_
    assert model.dual_gap_ == pytest.approx(1 - model.lower_bound_ / model.objective_)
    assert isinstance(model.alpha_, float) and model.n_outputs_ == 3
    assert model.coefs_[1].shape == (model.n_neurons_, 3)
    assert model.patterns_.shape[0] == len(X) and model.patterns_.dtype == bool
    assert {entry["output"] for entry in model.history_} == {0}
    # a neuron serves several outputs
    assert ((model.coefs_[1] != 0).sum(axis=1) > 1).any()
    # and is balanced
    hidden = np.vstack([model.coefs_[0], model.intercepts_[0]])
    sizes = np.linalg.norm(model.coefs_[1], axis=1)
    np.testing.assert_allclose(np.linalg.norm(hidden, axis=0), sizes, rtol=1e-9)
    certificate = model.certificate_
    assert certificate.networks == "all"
    assert certificate.objective == model.objective_
    assert "shared_lower_bound" not in certificate.detail
    assert 0 < certificate.detail["proved_lower_bound"] <= model.objective_
    assert "unshared" not in str(certificate) and "share no neuron" not in str(certificate)
    assert "of any width" in str(certificate)


@each_kind
def test_separate_layers_are_worse_and_have_other_statements(kind, fitted):
    model = make(kind, hidden_layer="separate").fit(X, Y[kind])
    assert model.certificate_.networks == "unshared"
    # a neuron has one output
    assert ((model.coefs_[1] != 0).sum(axis=1) == 1).all()
    if kind != "classes":
        assert fitted[kind].objective_ < model.objective_
        # it is one of the networks that the bound of the others is about
        assert fitted[kind].lower_bound_ <= model.objective_
        assert model.certificate_.detail["shared_lower_bound"] <= fitted[kind].objective_


@pytest.mark.parametrize(
    ("kind", "patterns", "hidden_layer"),
    pairwise(KINDS, ["adaptive", "random"], ["auto", "shared"]),
)
def test_the_layer_is_shared_where_that_is_defined(kind, patterns, hidden_layer):
    y = Y[kind]
    how = {"solver": "scp", "patterns": patterns, "hidden_layer": hidden_layer}
    model = make(kind, **how).fit(X, y)
    assert model.certificate_.networks == "all"
    assert model.objective_ == pytest.approx(objective(model, kind, X, y, None), rel=1e-9)


@each_kind
def test_the_layer_is_not_shared_where_that_is_not_defined(kind):
    assert make(kind, patterns="random").fit(X, Y[kind]).certificate_.networks == "unshared"


@each_kind
@pytest.mark.parametrize(
    "params",
    [{"patterns": "random"}, {"patterns": "all"}, {"solver": "admm-rbcd"}, {"patterns": "array"}],
    ids=str,
)
def test_a_shared_layer_that_is_not_defined_is_refused(kind, params):
    patterns = X[:, :2] > 0
    params = {"patterns": patterns} if params == {"patterns": "array"} else params
    model = make(kind, hidden_layer="shared", **params)
    message = "hidden_layer='shared' needs patterns='adaptive' with solver='admm'"
    with pytest.raises(ValueError, match=message):
        model.fit(X, Y[kind])
    assert not hasattr(model, "network_")


@pytest.mark.parametrize("value", ["common", None, True, 1])
@each_kind
def test_other_values_are_refused(kind, value):
    with pytest.raises(ValueError, match="The 'hidden_layer' parameter of ConvexReLU"):
        make(kind, hidden_layer=value).fit(X, Y[kind])


def test_one_output_has_no_choice():
    one, other = (
        make("targets", hidden_layer=layer).fit(X, TARGETS[:, 0]) for layer in ("auto", "separate")
    )
    np.testing.assert_array_equal(one.coefs_[0], other.coefs_[0])
    assert one.certificate_ == other.certificate_


@pytest.mark.parametrize("kind", ["classes", "targets"])
def test_weights_are_repetitions_and_rows_have_no_order(kind):
    weights, order = np.arange(len(X)) % 3, np.random.RandomState(0).permutation(len(X))
    weighted = make(kind).fit(X, Y[kind], sample_weight=weights)
    rows = np.repeat(order, weights[order])
    repeated = make(kind).fit(X[rows], Y[kind][rows])
    np.testing.assert_array_equal(weighted.coefs_[0], repeated.coefs_[0])
    assert weighted.objective_ == repeated.objective_
    expected = objective(weighted, kind, X, Y[kind], weights)
    assert weighted.objective_ == pytest.approx(expected, rel=1e-9)


@each_kind
def test_sparse_rows_are_dense_rows(kind, fitted):
    sparse = make(kind).fit(csr_array(X), Y[kind])
    assert sparse.objective_ == pytest.approx(fitted[kind].objective_, rel=TOL)
    np.testing.assert_allclose(outputs(sparse, NEW), sparse.network_(NEW), atol=1e-12)
    np.testing.assert_array_equal(sparse.predict(csr_array(NEW)), sparse.predict(NEW))


@each_kind
def test_single_precision(kind, fitted):
    model = make(kind).fit(X.astype(np.float32), Y[kind])
    assert model.objective_ == pytest.approx(fitted[kind].objective_, rel=TOL)
    if kind == "targets":
        assert model.predict(NEW.astype(np.float32)).dtype == np.float32
    else:
        assert model.predict_proba(NEW.astype(np.float32)).dtype == np.float32
        assert model.predict_log_proba(NEW.astype(np.float32)).dtype == np.float32


@each_kind
def test_pickles(kind, fitted):
    model = fitted[kind]
    copied = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copied.predict(NEW), model.predict(NEW))
    assert copied.certificate(X, Y[kind]) == model.certificate_


@each_kind
def test_a_warm_start_is_near(kind):
    model = make(kind, warm_start=True).fit(X, Y[kind])
    first, n_iter = model.objective_, model.n_iter_
    model.fit(X, Y[kind])
    assert model.n_iter_ < n_iter
    assert model.objective_ <= first * (1 + TOL)
    # another number of outputs, or another kind of layer, is no start, and no obstacle
    columns = Y[kind][:, :2] if Y[kind].ndim == 2 else np.where(Y[kind] == "a", "a", "b")
    model.fit(X, columns)
    model.set_params(hidden_layer="separate").fit(X, Y[kind])
    assert model.certificate_.networks == "unshared"
    model.set_params(hidden_layer="auto", solver="scp").fit(X, Y[kind])
    model.fit(X, Y[kind])
    assert model.certificate_.networks == "all"


@each_kind
def test_the_certificate_of_data(kind, fitted):
    model = fitted[kind]
    assert model.certificate(X, Y[kind]) == model.certificate_
    other = model.certificate(X[:12], Y[kind][:12])
    assert other.networks == "all" and "program_gap" not in other.detail
    expected = objective(model, kind, X[:12], Y[kind][:12], None)
    assert other.objective == pytest.approx(expected, rel=1e-9)
    best = make(kind).fit(X[:12], Y[kind][:12])
    assert 0 <= other.detail["proved_lower_bound"] <= best.objective_
    assert other.lower_bound <= best.objective_


def test_the_certificate_where_the_network_is_very_wrong(fitted):
    """Saturated probabilities, and classes that the data lack: no constant is below the bound."""
    model = fitted["classes"]
    for y in (np.roll(CLASSES, 7), np.where(CLASSES == "a", "b", "c")):
        certificate = model.certificate(1e5 * X, y)
        frequencies = np.unique(y, return_counts=True)[1] / len(y)
        entropy = -frequencies @ np.log(frequencies)
        assert certificate.objective > 1e3
        assert 0 <= certificate.detail["proved_lower_bound"] <= entropy * (1 + 1e-12)
        assert certificate.lower_bound <= entropy * (1 + 1e-12)


@each_kind
def test_a_certificate_with_time_is_a_proof(kind):
    """By branch and bound over the neurons that serve all outputs."""
    rows, y = X[:10, :2], Y[kind][:10]
    model = make(kind, alpha=0.05, tol=0.01).fit(rows, y)
    proof = model.certificate(rows, y, time_limit=60.0)
    assert proof.kind == "exact" and proof.networks == "all" and proof.gap <= 0.02
    assert proof.detail["n_cones"] > 0
    assert proof.lower_bound == proof.detail["proved_lower_bound"] <= model.objective_
    # what is proved once is kept, and no other fit is below it
    again = model.certificate(rows, y, time_limit=0)
    assert again.detail["proved_lower_bound"] >= proof.lower_bound
    separate = make(kind, alpha=0.05, hidden_layer="separate").fit(rows, y)
    assert kind == "classes" or proof.lower_bound <= separate.objective_


@each_kind
def test_the_certificate_after_a_change_of_parameters(kind, fitted):
    """The other layer: bounds of other networks, of the same parts."""
    model = copy.deepcopy(fitted[kind])
    certificate = model.set_params(hidden_layer="separate").certificate(X, Y[kind])
    assert certificate.networks == "unshared"
    assert certificate.detail["proved_lower_bound"] <= certificate.objective
    model = make(kind, alpha="auto", hidden_layer="separate").fit(X, Y[kind])
    if np.ndim(model.alpha_) == 1:
        with pytest.raises(ValueError, match="hidden_layer"):
            model.set_params(hidden_layer="shared").certificate(X, Y[kind])


# ------------------------------------------------------------------------------------------------
# Classes


def test_the_attributes_of_classes(fitted):
    model = fitted["classes"]
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.out_activation_ == "softmax" and not model.outputs_2d_
    scores = model.decision_function(NEW)
    np.testing.assert_allclose(scores, outputs(model, NEW), atol=1e-12)
    np.testing.assert_array_equal(model.predict(NEW), model.classes_[scores.argmax(axis=1)])
    np.testing.assert_allclose(model.predict_proba(NEW), softmax(scores, axis=1), atol=1e-14)
    assert model.score(X, CLASSES) == accuracy_score(CLASSES, model.predict(X))
    # the loss of the objective is that of the probabilities
    decay = sum(np.sum(part**2) for part in (*model.coefs_, model.intercepts_[0]))
    mean = log_loss(CLASSES, model.predict_proba(X))
    assert model.objective_ == pytest.approx(mean + 0.5 * model.alpha_ * decay, rel=1e-9)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_logarithms_of_probabilities(kind, fitted):
    model = fitted[kind]
    near, far = model.predict_log_proba(NEW), model.predict_log_proba(1e6 * NEW)
    np.testing.assert_allclose(near, np.log(model.predict_proba(NEW)), rtol=1e-10, atol=1e-14)
    assert np.isfinite(far).all() and far.min() < -1e3 and (far <= 0).all()
    if kind == "classes":
        np.testing.assert_allclose(np.exp(far).sum(axis=1), 1.0)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_logarithms_of_probabilities_of_separate_layers(n_classes):
    y = np.digitize(TARGETS[:, 0] - TARGETS[:, 1], [0.0, 1.0][: n_classes - 1])
    model = make("classes", hidden_layer="separate").fit(X, y)
    assert model.out_activation_ == "logistic"
    near, far = model.predict_log_proba(NEW), model.predict_log_proba(1e6 * NEW)
    np.testing.assert_allclose(near, np.log(model.predict_proba(NEW)), rtol=1e-10, atol=1e-14)
    assert np.isfinite(far).all()
    np.testing.assert_allclose(np.exp(far).sum(axis=1), 1.0)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge"])
def test_losses_without_probabilities(loss):
    model = make("classes", loss=loss).fit(X, CLASSES)
    assert model.out_activation_ == "identity" and model.certificate_.networks == "all"
    for name in ("predict_proba", "predict_log_proba"):
        with pytest.raises(AttributeError):
            getattr(model, name)
    # one against the rest, of one network
    signs = np.where(CLASSES[:, None] == model.classes_, 1.0, -1.0)
    slack = np.maximum(1.0 - signs * outputs(model, X), 0.0)
    mean = (slack if loss == "hinge" else 0.5 * slack**2).sum(axis=1).mean()
    decay = sum(np.sum(part**2) for part in (*model.coefs_, model.intercepts_[0]))
    assert model.objective_ == pytest.approx(mean + 0.5 * model.alpha_ * decay, rel=1e-9)


def test_weights_of_classes():
    class_weight = {"a": 3.0, "b": 1.0, "c": 0.5}
    model = make("classes", class_weight=class_weight).fit(X, CLASSES)
    weights = np.array([class_weight[label] for label in CLASSES])
    other = make("classes").fit(X, CLASSES, sample_weight=weights)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])
    # a class without weight is none
    two = make("classes").fit(X, CLASSES, sample_weight=(CLASSES != "a") * 1.0)
    assert two.classes_.tolist() == ["b", "c"] and two.n_outputs_ == 1
    assert two.out_activation_ == "logistic"


def test_a_perceptron_has_the_same_probabilities(fitted):
    for kind in ("classes", "labels"):
        model, mlp = fitted[kind], to_mlp(fitted[kind])
        assert mlp.out_activation_ == model.out_activation_
        np.testing.assert_allclose(mlp.predict_proba(NEW), model.predict_proba(NEW), atol=1e-12)
        np.testing.assert_array_equal(mlp.predict(NEW), model.predict(NEW))
    mlp = to_mlp(fitted["targets"])
    np.testing.assert_allclose(mlp.predict(NEW), fitted["targets"].network_(NEW), atol=1e-12)


def test_other_classifiers_keep_an_output_for_each_class_apart():
    robust = RobustConvexReLUClassifier(epsilon=0.01, random_state=0, n_patterns=8, tol=0.3)
    descent = GradientDescentReLUClassifier(alpha=0.02, random_state=0)
    for model in (robust, descent):
        model.fit(X, CLASSES)
        assert model.out_activation_ == "logistic"
        total = model.predict_proba(NEW).sum(axis=1)
        np.testing.assert_allclose(total, 1.0)
        with pytest.raises(ValueError, match="y should be a 1d array"):
            model.fit(X, LABELS)


# ------------------------------------------------------------------------------------------------
# Labels


def test_the_attributes_of_labels(fitted):
    model = fitted["labels"]
    assert model.classes_.tolist() == [0, 1, 2]
    assert model.out_activation_ == "logistic" and model.outputs_2d_
    scores = model.decision_function(NEW)
    assert scores.shape == (len(NEW), 3)
    np.testing.assert_array_equal(model.predict(NEW), (scores > 0).astype(int))
    np.testing.assert_allclose(model.predict_proba(NEW), expit(scores), atol=1e-14)
    assert model.score(X, LABELS) == accuracy_score(LABELS, model.predict(X)) > 0.5


def test_forms_of_labels():
    expected = make("labels", **QUICK).fit(X, LABELS)
    forms = [LABELS.astype(dtype) for dtype in (bool, float, np.int8)]
    for y in (*forms, csr_array(LABELS), np.asfortranarray(LABELS)):
        model = make("labels", **QUICK).fit(X, y)
        np.testing.assert_array_equal(model.coefs_[0], expected.coefs_[0])
        predicted = model.predict(X)
        assert isinstance(predicted, np.ndarray) and set(np.unique(predicted)) <= {0, 1}


@pytest.mark.parametrize("hidden_layer", ["shared", "separate"])
def test_two_labels_are_not_two_classes(hidden_layer):
    y = LABELS[:, :2]
    model = make("labels", hidden_layer=hidden_layer).fit(X, y)
    assert model.n_outputs_ == 2 and model.predict(NEW).shape == (len(NEW), 2)
    np.testing.assert_allclose(model.predict_proba(NEW), expit(outputs(model, NEW)), atol=1e-14)
    # and two classes afterwards are not two labels
    model.fit(X, y[:, 0])
    assert not model.outputs_2d_ and model.predict(NEW).shape == (len(NEW),)
    assert model.decision_function(NEW).shape == (len(NEW),)


def test_a_column_of_labels_is_a_column_of_classes():
    with pytest.warns(Warning, match="A column-vector y was passed"):
        model = make("labels").fit(X, LABELS[:, :1])
    assert model.predict(NEW).shape == (len(NEW),)


def test_a_label_that_all_samples_have():
    y = np.c_[LABELS[:, 0], np.ones(len(X), int)]
    model = make("labels").fit(X, y)
    assert (model.predict(NEW)[:, 1] == 1).all()
    assert 0 <= model.lower_bound_ <= model.objective_


def test_bad_labels_are_refused(fitted):
    model = make("labels")
    with pytest.raises(ValueError, match="y must hold class labels, or 0 and 1 in a column"):
        model.fit(X, LABELS + np.arange(3))
    with pytest.raises(ValueError, match="class_weight must be None for several labels"):
        make("labels", class_weight="balanced").fit(X, LABELS)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, LABELS[:-1])
    with pytest.raises(ValueError, match="y has 2 outputs, but ConvexReLUClassifier was fitted"):
        fitted["labels"].certificate(X, LABELS[:, :2])
    with pytest.raises(ValueError, match="must have one label per sample"):
        certified_accuracy(fitted["labels"], X, LABELS, epsilon=0.1)
    with pytest.raises(ValueError, match="y should be a 1d array"):
        ConvexReLUClassifierCV(cv=2).fit(X, LABELS)


@pytest.mark.parametrize(
    "check",
    [
        check_classifiers_multilabel_representation_invariance,
        check_classifiers_multilabel_output_format_predict,
        check_classifiers_multilabel_output_format_predict_proba,
        check_classifiers_multilabel_output_format_decision_function,
        check_fit2d_1feature,
    ],
)
@pytest.mark.parametrize("hidden_layer", ["shared", "separate"])
def test_the_checks_of_scikit_learn(check, hidden_layer):
    model = make("labels", hidden_layer=hidden_layer, **QUICK)
    check("ConvexReLUClassifier", model)


# ------------------------------------------------------------------------------------------------
# Paths and searches


@pytest.mark.parametrize(
    ("hidden_layer", "kind"), halved(["shared", "separate"], ["classes", "targets"])
)
def test_the_largest_penalty_and_the_path(kind, hidden_layer):
    loss = "log_loss" if kind == "classes" else "squared_error"
    how = {"loss": loss, "hidden_layer": hidden_layer, "random_state": 0}
    largest = alpha_max(X, Y[kind], **how)
    above, below = (
        make(kind, alpha=share * largest, hidden_layer=hidden_layer, tol=0.02).fit(X, Y[kind])
        for share in (1.01, 0.9)
    )
    assert above.n_neurons_ == 0 < below.n_neurons_
    path = convex_relu_path(X, Y[kind], n_alphas=3, eps=0.1, **how)
    assert path.alphas[0] == pytest.approx(largest, rel=0.05)
    assert path.networks[0].n_neurons == 0
    assert (np.diff(path.objectives) < 0).all() and (path.dual_gaps <= 0.5).all()
    assert all(network.n_outputs == 3 for network in path.networks)
    if hidden_layer == "shared":
        last = make(kind, alpha=path.alphas[-1]).fit(X, Y[kind])
        assert last.lower_bound_ <= path.objectives[-1]
        assert last.certificate_.detail["proved_lower_bound"] <= path.objectives[-1]


def test_the_largest_penalty_of_shared_neurons_is_larger():
    """A neuron gains the norm of what it gains of the outputs, not the largest of it."""
    how = {"random_state": 0}
    shared = alpha_max(X, np.c_[TARGETS[:, 0], TARGETS[:, 0]], **how)
    apart = alpha_max(X, TARGETS[:, 0], **how)
    assert shared == pytest.approx(np.sqrt(2) * apart, rel=1e-6)


@pytest.mark.parametrize("hidden_layer", ["auto", pytest.param("separate", marks=pytest.mark.slow)])
def test_cross_validation(hidden_layer):
    how = {"alphas": [0.2, 0.02], "cv": 2, "n_patterns": 8, "random_state": 0, "tol": 0.1}
    classifier = ConvexReLUClassifierCV(hidden_layer=hidden_layer, **how).fit(X, CLASSES)
    shared = hidden_layer == "auto"
    assert classifier.out_activation_ == ("softmax" if shared else "logistic")
    assert classifier.certificate_.networks == ("all" if shared else "unshared")
    assert classifier.scores_.shape == (2, 2)
    regressor = ConvexReLURegressorCV(hidden_layer=hidden_layer, **how).fit(X, TARGETS)
    assert regressor.certificate_.networks == ("all" if shared else "unshared")
    assert regressor.mse_path_.shape == (2, 2)
    assert regressor.score(X, TARGETS) == pytest.approx(r2_score(TARGETS, regressor.predict(X)))


def test_cross_validation_where_a_fold_lacks_a_class():
    y = CLASSES.copy()
    y[0] = "rare"
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    model = ConvexReLUClassifierCV(alphas=[0.2, 0.02], cv=folds, n_patterns=8, random_state=0)
    model.fit(X, y)
    assert np.isfinite(model.scores_).all() and len(model.classes_) == 4


def test_a_search_over_the_layer():
    layers = {"hidden_layer": ["shared", "separate"]}
    search = GridSearchCV(make("classes", **QUICK), layers, cv=2).fit(X[::2], CLASSES[::2])
    assert search.best_params_["hidden_layer"] in ("shared", "separate")
