"""Docstrings: valid for numpydoc, and about what there is."""

import ast
import inspect

import numpy as np
import pandas as pd
import pytest
from numpydoc.docscrape import ClassDoc
from numpydoc.validate import validate
from sklearn.linear_model import LogisticRegression

import sklearn_convexnet
import sklearn_convexnet.autoencoder
import sklearn_convexnet.datasets
import sklearn_convexnet.export
import sklearn_convexnet.plotting
import sklearn_convexnet.robustness
from sklearn_convexnet import (
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GatedSparseAutoencoder,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    SignAwareGatedSparseAutoencoder,
)
from sklearn_convexnet._version import DOCUMENTATION_URL

MODULES = [
    sklearn_convexnet,
    sklearn_convexnet.autoencoder,
    sklearn_convexnet.datasets,
    sklearn_convexnet.export,
    sklearn_convexnet.plotting,
    sklearn_convexnet.robustness,
]
PUBLIC = {
    name: getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if not name.startswith("_")
}
ESTIMATORS = [
    ConvexReLUClassifier,
    ConvexReLUClassifierCV,
    ConvexReLURegressor,
    ConvexReLURegressorCV,
    GradientDescentReLUClassifier,
    RobustConvexReLUClassifier,
    GatedSparseAutoencoder,
    SignAwareGatedSparseAutoencoder,
]

# What scikit-learn does not ask for either: a type alone in Returns, and two rules about blank
# lines; of a method, an example, "See Also" and a second paragraph.
NOBODY = {"RT02", "GL01", "GL02"}
METHODS = {"EX01", "SA01", "ES01"}
# Of other objects we ask less: a section may list shapes only, a summary may start with a noun.
OTHERS = METHODS | {"PR07", "RT03", "SS05"}


def documented(cls, section):
    return {entry.name for entry in ClassDoc(cls)[section]}


def public_members(cls):
    """Methods and properties written in this package, inherited ones too."""
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        member = getattr(member, "__func__", getattr(member, "fget", member))
        module = getattr(member, "__module__", None) or ""
        # an attribute may be a property, documented with the class
        if module.startswith(sklearn_convexnet.__name__) and not name.startswith("_"):
            if name not in documented(cls, "Attributes"):
                yield name


def docstrings():
    for name, obj in PUBLIC.items():
        yield name, None
        if inspect.isclass(obj):
            yield from ((name, member) for member in public_members(obj))


def not_asked(obj, member):
    """Codes of the errors that numpydoc may find."""
    if obj in ESTIMATORS:
        return NOBODY | (METHODS if member else set())
    if member is None:
        # the fields of a data class may be listed as attributes, see below
        return NOBODY | OTHERS | {"PR01"}
    text = inspect.getdoc(getattr(obj, member))
    if text and "----" not in text:
        # the summary says it all
        return NOBODY | OTHERS | {"PR01", "RT01"}
    # it may be inherited
    return NOBODY | OTHERS | ({"GL08"} if text else set())


@pytest.mark.parametrize(("name", "member"), docstrings())
def test_docstring_is_valid(name, member):
    obj = PUBLIC[name]
    path = f"{obj.__module__}.{name}" + (f".{member}" if member else "")
    errors = dict(validate(path)["errors"])
    assert {code: errors[code] for code in errors.keys() - not_asked(obj, member)} == {}


@pytest.mark.parametrize("cls", [obj for obj in PUBLIC.values() if inspect.isclass(obj)])
def test_every_parameter_of_a_class_is_documented(cls):
    if inspect.isabstract(cls):
        return
    parameters = set(inspect.signature(cls).parameters)
    assert documented(cls, "Parameters") <= parameters
    assert parameters <= documented(cls, "Parameters") | documented(cls, "Attributes")


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_parameters_are_documented_in_order_with_their_defaults(cls):
    signature = inspect.signature(cls).parameters
    entries = ClassDoc(cls)["Parameters"]
    assert [entry.name for entry in entries] == list(signature)
    for entry in entries:
        default = entry.type.rpartition("default=")[2]
        default = np.inf if default == "inf" else ast.literal_eval(default)
        assert default == signature[entry.name].default, entry.name


# what a classifier and a regressor say differently
APART = {"alpha", "loss", "hidden_layer", "network_", "n_outputs_"}


@pytest.mark.parametrize(
    ("classifier", "regressor", "apart"),
    [
        (ConvexReLUClassifier, ConvexReLURegressor, {"solver", "coefs_"}),
        (ConvexReLUClassifierCV, ConvexReLURegressorCV, {"patterns", "cv", "scoring", "history_"}),
    ],
)
def test_classifier_and_regressor_say_the_same(classifier, regressor, apart):
    described = [
        {
            entry.name: (entry.type, entry.desc)
            for section in ("Parameters", "Attributes")
            for entry in ClassDoc(cls)[section]
        }
        for cls in (classifier, regressor)
    ]
    common = described[0].keys() & described[1].keys() - APART - apart
    assert len(common) > 15
    for name in sorted(common):
        assert described[0][name] == described[1][name], name


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_fitted_attributes_are_those_documented(cls):
    X = pd.DataFrame(np.random.RandomState(0).standard_normal((20, 2)), columns=["a", "b"])
    size = "n_neurons" if cls is GradientDescentReLUClassifier else "n_patterns"
    few = {"cv": 2, "alphas": 2} if "cv" in inspect.signature(cls).parameters else {}
    small = {size: 3, **few} if hasattr(cls, "predict") else {"max_iter": 3}
    models = [cls(**small, random_state=0)]
    if cls is RobustConvexReLUClassifier:
        models.append(cls(n_patterns=3, random_state=0, formulation="cone"))
    names = {name for model in models for name in vars(model.fit(X, np.arange(20) % 2))}
    computed = inspect.getmembers(cls, lambda member: isinstance(member, property))
    names |= {name for name, _ in computed if any(hasattr(model, name) for model in models)}
    fitted = {name for name in names if name.endswith("_") and not name.startswith("_")}
    # what only a fit on Dask collections sets
    assert documented(cls, "Attributes") - {"communication_"} == fitted


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_diagram_links_to_the_page_of_an_estimator_and_explains_its_parameters(cls):
    page = f"{DOCUMENTATION_URL}/generated/sklearn_convexnet.{cls.__name__}.html"
    diagram = cls()._repr_html_()
    assert f'href="{page}"' in diagram
    # a class of somebody else has no page there
    assert DOCUMENTATION_URL not in type("Other", (cls,), {"__module__": "other"})()._repr_html_()
    if "param-doc-link" in LogisticRegression()._repr_html_():  # scikit-learn 1.8
        assert diagram.count('class="param-doc-link"') == len(cls().get_params())


@pytest.mark.parametrize("module", MODULES)
def test_package_exports_what_it_names(module):
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name)
