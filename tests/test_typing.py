"""Type hints: every public name has them, and they name what the code accepts."""

import ast
import importlib
import inspect
import runpy
from pathlib import Path
from typing import get_args

import pytest
from numpydoc.docscrape import ClassDoc
from sklearn.base import BaseEstimator

import sklearn_convexnet
from sklearn_convexnet import _typing
from sklearn_convexnet.core.losses import CLASSIFICATION_LOSSES, REGRESSION_LOSSES
from sklearn_convexnet.robustness.certify import METHODS
from sklearn_convexnet.solvers import SOLVERS

PACKAGE = sklearn_convexnet.__name__
ROOT = Path(__file__).parents[1]
TABLE = runpy.run_path(str(ROOT / "doc" / "api_reference.py"))["API"]


def public_object(name):
    """What a name in the table of the API reference stands for."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(f"{PACKAGE}.{module}".rstrip(".")), attribute)


PUBLIC = {name: public_object(name) for _, _, names in TABLE for name in names}
ESTIMATORS = [
    obj for obj in PUBLIC.values() if inspect.isclass(obj) and issubclass(obj, BaseEstimator)
]


def functions(obj):
    """The functions of this package that a user calls through a function or a class."""
    if not inspect.isclass(obj):
        yield inspect.unwrap(obj)
        return
    for name in dir(obj):
        member = inspect.getattr_static(obj, name)
        member = getattr(member, "__func__", getattr(member, "fget", member))
        # the decorator of predict_proba
        member = inspect.unwrap(getattr(member, "fn", member))
        public = not name.startswith("_") or name in ("__init__", "__call__")
        ours = (getattr(member, "__module__", None) or "").startswith(PACKAGE)
        if public and ours and inspect.isfunction(member):
            yield member


def missing(function):
    """Parameters without a type, and "return"."""
    signature = inspect.signature(function)
    names = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.annotation is parameter.empty and name not in ("self", "cls")
    ]
    return names + ["return"] * (signature.return_annotation is signature.empty)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_parameter_and_result_has_a_type(name):
    found = {function.__qualname__: missing(function) for function in functions(PUBLIC[name])}
    assert {where: names for where, names in found.items() if names} == {}


def test_functions_are_found_behind_their_decorators():
    found = {function.__qualname__ for function in functions(PUBLIC["ConvexReLUClassifier"])}
    base = "BaseConvexReLUClassifier"
    assert {f"{base}.fit", f"{base}.predict_proba", "ConvexReLUClassifier.__init__"} <= found
    assert {f.__qualname__ for f in functions(PUBLIC["alpha_max"])} == {"alpha_max"}
    assert "TwoLayerReLU.n_neurons" in {f.__qualname__ for f in functions(PUBLIC["TwoLayerReLU"])}
    assert missing(lambda self, a, b=0: None) == ["a", "b", "return"]


@pytest.mark.parametrize("cls", ESTIMATORS)
def test_every_fitted_attribute_has_a_type(cls):
    declared = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
    computed = inspect.getmembers(cls, lambda member: isinstance(member, property))
    declared |= {name for name, member in computed if not missing(member.fget)}
    assert {entry.name for entry in ClassDoc(cls)["Attributes"]} <= declared


def test_named_choices_are_those_accepted():
    assert set(get_args(_typing.Solver)) == set(SOLVERS)
    assert set(get_args(_typing.Method)) == set(METHODS)
    assert set(get_args(_typing.ClassificationLoss)) == set(CLASSIFICATION_LOSSES)
    assert set(get_args(_typing.RegressionLoss)) == set(REGRESSION_LOSSES)
    for name in ("ConvexReLUClassifier", "ConvexReLURegressor"):
        accepted = PUBLIC[name]._parameter_constraints["patterns"][0]
        assert set(get_args(_typing.Patterns)) == accepted.options


def test_names_of_types_are_exported():
    tree = ast.parse(inspect.getsource(_typing))
    assigned = {node.targets[0].id for node in tree.body if isinstance(node, ast.Assign)} | {
        node.name for node in tree.body if isinstance(node, ast.ClassDef)
    }
    assert assigned | {"ArrayLike"} == {*_typing.__all__, "__all__"}


def test_package_tells_type_checkers_that_it_has_types():
    assert (Path(sklearn_convexnet.__file__).parent / "py.typed").read_bytes() == b""
