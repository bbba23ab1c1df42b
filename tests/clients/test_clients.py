"""Libraries that take estimators of scikit-learn take ours: the extra `clients` installs them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingRegressor
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_convexnet import ConvexReLUClassifier, ConvexReLURegressor, Huber, Quantile
from sklearn_convexnet.export import register_converters

pytestmark = pytest.mark.slow

FLOWERS, KINDS = load_iris(return_X_y=True)
PATIENTS, DISEASE = load_diabetes(return_X_y=True)
FAST = {"alpha": 0.01, "patterns": "random", "random_state": 0}


def client(name):
    """A module, or a skipped test; what it warns of while it is imported is its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name)


@pytest.fixture(scope="module")
def classifier():
    return make_pipeline(StandardScaler(), ConvexReLUClassifier(random_state=0)).fit(FLOWERS, KINDS)


@pytest.fixture(scope="module")
def regressor():
    model = make_pipeline(StandardScaler(), ConvexReLURegressor(random_state=0))
    return model.fit(pd.DataFrame(PATIENTS).add_prefix("feature"), DISEASE)


@pytest.mark.parametrize(
    "model",
    [
        BaggingClassifier(ConvexReLUClassifier(**FAST), 3, random_state=0),
        CalibratedClassifierCV(ConvexReLUClassifier(**FAST), cv=2),
        OneVsRestClassifier(ConvexReLUClassifier(**FAST)),
        StackingClassifier([("network", ConvexReLUClassifier(**FAST))], cv=2),
        VotingRegressor([("network", ConvexReLURegressor(**FAST))]),
    ],
    ids=lambda model: type(model).__name__,
)
def test_skl2onnx_converts_ensembles(model):
    skl2onnx, onnxruntime = client("skl2onnx"), client("onnxruntime")
    register_converters()
    rows = FLOWERS.astype(np.float32)
    model.fit(FLOWERS, KINDS)
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    converted = skl2onnx.to_onnx(model, rows[:1], options=options)
    session = onnxruntime.InferenceSession(converted.SerializeToString())
    *_, last = session.run(None, {"X": rows})
    expected = model.predict_proba(FLOWERS) if options else model.predict(FLOWERS)[:, None]
    np.testing.assert_allclose(last, expected, rtol=0, atol=1e-4)


def test_shap_explains_predictions(classifier, regressor):
    shap = client("shap")
    for predict, rows in (
        (classifier.predict_proba, FLOWERS),
        (regressor.predict, pd.DataFrame(PATIENTS).add_prefix("feature")),
    ):
        explainer = shap.Explainer(predict, rows[::10], algorithm="permutation", seed=0)
        explained = explainer(rows[:4])
        total = explained.values.sum(axis=1) + explained.base_values
        np.testing.assert_allclose(total, predict(rows[:4]), rtol=1e-9, atol=1e-9)
        assert np.abs(explained.values).max() > 0.01


def test_skops_trusts_our_types_only_and_writes_a_model_card(classifier):
    io, card = client("skops.io"), client("skops.card")
    stored = io.dumps(classifier)
    untrusted = io.get_untrusted_types(data=stored)
    assert untrusted
    assert all(name.startswith("sklearn_convexnet.") for name in untrusted)
    read = io.loads(stored, trusted=untrusted)
    np.testing.assert_array_equal(read.predict_proba(FLOWERS), classifier.predict_proba(FLOWERS))
    text = card.Card(classifier).add_metrics(accuracy=classifier.score(FLOWERS, KINDS)).render()
    assert "convexreluclassifier__alpha" in text


# pandas 3.0, of a comparison in mlflow 3.17
@pytest.mark.filterwarnings("ignore:Operation with range is deprecated")
@pytest.mark.parametrize("form", ["skops", "cloudpickle"])
def test_mlflow_keeps_a_model(classifier, form, tmp_path):
    mlflow, io = client("mlflow"), client("skops.io")
    sklearn, pyfunc = client("mlflow.sklearn"), client("mlflow.pyfunc")
    table = pd.DataFrame(FLOWERS).add_prefix("feature")
    model = clone(classifier).fit(table, KINDS)
    trusted = io.get_untrusted_types(data=io.dumps(model)) if form == "skops" else None
    sklearn.save_model(
        model,
        tmp_path / "model",
        serialization_format=form,
        skops_trusted_types=trusted,
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table[:2],
        pip_requirements=["sklearn-convexnet"],
    )
    for read in (sklearn.load_model(tmp_path / "model"), pyfunc.load_model(tmp_path / "model")):
        np.testing.assert_array_equal(read.predict(table), model.predict(table))


def test_mapie_conforms_predictions():
    regression = client("mapie.regression")
    classification = client("mapie.classification")
    X, X_new, y, y_new = train_test_split(PATIENTS, DISEASE, random_state=0)
    split = regression.SplitConformalRegressor(
        ConvexReLURegressor(random_state=0), confidence_level=0.9, prefit=False
    )
    split.fit(X[:200], y[:200]).conformalize(X[200:], y[200:])
    cross = regression.CrossConformalRegressor(
        ConvexReLURegressor(**FAST), confidence_level=0.9, cv=3, random_state=0
    )
    cross.fit_conformalize(X, y)
    levels = [0.05, 0.95, 0.5]
    quantiles = regression.ConformalizedQuantileRegressor(
        [ConvexReLURegressor(**FAST, loss=Quantile(q)).fit(X[:200], y[:200]) for q in levels],
        confidence_level=0.9,
        prefit=True,
    )
    quantiles.conformalize(X[200:], y[200:])
    for model in (split, cross, quantiles):
        _, intervals = model.predict_interval(X_new)
        low, high = intervals[:, 0, 0], intervals[:, 1, 0]
        assert 0.8 < np.mean((low <= y_new) & (y_new <= high)) < 1

    X, X_new, y, y_new = train_test_split(FLOWERS, KINDS, random_state=0)
    model = classification.CrossConformalClassifier(
        ConvexReLUClassifier(**FAST), confidence_level=0.9, cv=3, random_state=0
    )
    _, sets = model.fit_conformalize(X, y).predict_set(X_new)
    assert sets[np.arange(len(y_new)), y_new, 0].mean() > 0.8


def test_imbalanced_learn_resamples():
    over, under = client("imblearn.over_sampling"), client("imblearn.under_sampling")
    pipeline, ensemble = client("imblearn.pipeline"), client("imblearn.ensemble")
    X, y = FLOWERS[:115], KINDS[:115] == 2
    network = ConvexReLUClassifier(**FAST)
    models = [
        *(
            pipeline.make_pipeline(StandardScaler(), sampler, network)
            for sampler in (over.SMOTE(random_state=0), under.RandomUnderSampler(random_state=0))
        ),
        ensemble.BalancedBaggingClassifier(network, n_estimators=3, random_state=0),
        # boosts, by weights of samples
        ensemble.RUSBoostClassifier(network, n_estimators=3, random_state=0),
    ]
    for model in models:
        assert cross_val_score(model, X, y, cv=3, scoring="balanced_accuracy").mean() > 0.85


def test_optuna_searches_parameters_of_model_and_loss():
    optuna = client("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pipeline = make_pipeline(StandardScaler(), ConvexReLURegressor(**FAST, loss=Huber()))

    def objective(trial):
        model = clone(pipeline).set_params(
            convexreluregressor__alpha=trial.suggest_float("alpha", 1e-3, 10, log=True),
            convexreluregressor__loss__delta=trial.suggest_float("delta", 1, 100, log=True),
        )
        return cross_val_score(model, PATIENTS, DISEASE, cv=3).mean()

    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3)
    )
    study.optimize(objective, n_trials=8, n_jobs=2)
    assert study.best_value > 0.35
    # of the same trials alone
    assert study.best_value == objective(optuna.trial.FixedTrial(study.best_params))
