"""The layers of the package: which module may import what.

The modules are parsed, not imported. An import inside a function or for type checkers alone counts
like any other, but only there may an optional dependency be imported.
"""

import ast
import graphlib
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "sklearn_convexnet"
SOURCES = Path(__file__).parents[1] / PACKAGE

NUMERIC = {"numpy", "scipy"}
LEARN = NUMERIC | {"sklearn", "joblib"}
DASK = {"dask", "distributed"}
OPTIONAL = DASK | {"matplotlib", "mpl_toolkits", "rich", "onnx", "onnxruntime", "pandas", "polars"}

CONVEX = {
    "rows",
    "network",
    "program",
    "solvers",
    "certificate",
    "robustness",
    "distributed",
}
BASE = CONVEX | {"_base", "_compat"}
ABOVE = {"classifier", "regressor", "robust", "gradient_descent", "path", "cross_validation"}

# names of types: every module may import them
EVERYWHERE = {"_typing"}

# A module, or a subpackage, of PACKAGE: what it may import of PACKAGE, and of third parties.
# The standard library is free for all. A new module needs a row here; one inside a subpackage has a
# row of its own where it may import more than the others.
LAYERS = {
    "_version": (set(), set()),
    "_typing": (set(), NUMERIC),
    "_show_versions": ({"_version"}, {"sklearn"}),
    "_compat": (set(), LEARN),
    "_persistence": ({"_version"}, set()),
    "rows": (set(), NUMERIC),
    "network": ({"rows"}, NUMERIC),
    "program": ({"program", "network", "rows"}, NUMERIC),
    "solvers": ({"solvers", "program", "network", "rows"}, NUMERIC | {"threadpoolctl"}),
    "robustness": ({"robustness", "program", "network"}, NUMERIC),
    "certificate": ({"solvers", "program", "network", "rows"}, NUMERIC),
    "distributed": ({"distributed", "solvers", "program", "network", "rows"}, NUMERIC | DASK),
    "_reporter": (set(), set()),
    "_base": (
        CONVEX - {"robustness", "distributed"} | {"_compat", "_persistence", "_reporter"},
        LEARN | OPTIONAL,
    ),
    "_dask_fit": (BASE | {"_reporter"}, LEARN),
    "classifier": (BASE | {"_dask_fit"}, LEARN | OPTIONAL),
    "regressor": (BASE | {"_dask_fit"}, LEARN | OPTIONAL),
    "robust": (BASE | {"classifier"}, LEARN | OPTIONAL),
    "gradient_descent": (BASE | {"classifier"}, LEARN),
    "datasets": ({"_compat"}, LEARN),
    "export": ({"network", "program", "_version"}, LEARN | OPTIONAL),
    "plotting": ({"plotting", "robustness"}, {"numpy", "matplotlib", "mpl_toolkits"}),
    "autoencoder": ({"autoencoder"}, NUMERIC),
    "autoencoder.estimators": ({"autoencoder", "_compat", "_persistence"}, LEARN),
    "path": (BASE | {"classifier", "regressor"}, LEARN),
    "cross_validation": (BASE | {"classifier", "regressor", "path"}, LEARN),
    "__init__": (BASE | ABOVE | {"autoencoder", "_version", "_show_versions"}, set()),
}


class Import(NamedTuple):
    name: str  # absolute and dotted: "numpy.linalg", "sklearn_convexnet.network.Network"
    line: int
    at_module_level: bool


def modules(sources):
    """Path of each module below `sources`, by its dotted name relative to the package."""
    paths = sorted(sources.rglob("*.py"))
    return {".".join(path.relative_to(sources).with_suffix("").parts): path for path in paths}


def imports(module, path):
    """Every import statement of a module, one `Import` for each name it binds."""
    package = [PACKAGE, *module.split(".")[:-1]]

    def visit(node, at_module_level):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = package[: len(package) + 1 - node.level] if node.level else []
            origin = [*parents, *([node.module] if node.module else [])]
            names = [".".join([*origin, alias.name]) for alias in node.names]
        else:
            names = []
        for name in names:
            yield Import(name, node.lineno, at_module_level)
        never_run = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_module_level and not (later or never_run))

    return list(visit(ast.parse(path.read_text(encoding="utf-8")), True))


def objections(layer, imported):
    """Yield what is wrong with one import by a module of `layer`."""
    inside, outside = LAYERS[layer]
    top, *rest = imported.name.split(".")
    if top == PACKAGE:
        if not rest or rest[0] not in inside | EVERYWHERE:
            yield f"{layer} may not import {rest[0] if rest else 'the top'} of this package"
    elif top not in sys.stdlib_module_names:
        if top not in outside:
            yield f"{layer} may not import {top}"
        if top in OPTIONAL and imported.at_module_level:
            yield f"{top} is optional: import it in the function that needs it"
        if top == "sklearn" and layer != "_compat" and any(n.startswith("_") for n in rest):
            yield "only _compat may use private names of scikit-learn"


def cycle(found):
    """Return the modules of one import cycle, if there is one; __init__ may re-export."""
    graph = {}
    for module, its_imports in found.items():
        if module.split(".")[-1] == "__init__":
            continue
        inside = [i.name for i in its_imports if i.name.startswith(f"{PACKAGE}.")]
        names = {name.removeprefix(f"{PACKAGE}.") for name in inside}
        names |= {name.rpartition(".")[0] for name in names}  # a name in a module: that module
        graph[module] = names & found.keys()
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def violations(sources):
    """Every breach of the rules in the package at `sources`, one line each."""
    found = {module: imports(module, path) for module, path in modules(sources).items()}
    lines = []
    for module, its_imports in found.items():
        layer = module if module in LAYERS else module.split(".")[0]
        if layer not in LAYERS:
            lines.append(f"{module}: has no row in LAYERS of {Path(__file__).name}")
            continue
        lines += [
            f"{module}:{imported.line}: imports {imported.name}: {objection}"
            for imported in its_imports
            for objection in objections(layer, imported)
        ]
    if modules_in_cycle := cycle(found):
        lines.append("import cycle: " + " <- ".join(modules_in_cycle))
    return lines


def test_package_keeps_its_layers():
    assert modules(SOURCES), f"no module in {SOURCES}"
    assert violations(SOURCES) == []


def write_package(sources, **files):
    for module, source in files.items():
        path = sources.joinpath(*module.split("/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


ALLOWED = {
    "__init__": "from ._version import __version__\nfrom .classifier import C",
    "_version": "__version__ = '0'",
    "_compat": "from sklearn.utils._param_validation import Interval",
    "network": "from __future__ import annotations\nimport numpy as np\nimport scipy.sparse",
    "program/__init__": "from .losses import Loss\nfrom .problem import Problem",
    "program/losses": "from ..network import Network",
    "program/problem": "from .losses import Loss",
    "solvers/__init__": "",
    "solvers/admm": "from threadpoolctl import threadpool_limits\nfrom ..program import Problem",
    "_typing": "import numpy",
    "solvers/scp": "from .._typing import Array",
    "regressor": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib",
    "classifier": "from sklearn.base import ClassifierMixin\nfrom ._compat import Interval\n"
    "def plot():\n    import matplotlib.pyplot",
}


def test_allowed_imports_pass(tmp_path):
    write_package(tmp_path, **ALLOWED)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("network", "import sklearn.base", "network may not import sklearn"),
        ("network", "def f():\n    from sklearn import base", "network may not import sklearn"),
        ("network", "from .program import Problem", "network may not import program"),
        ("network", "from . import program", "network may not import program"),
        ("network", "import threadpoolctl", "network may not import threadpoolctl"),
        ("program/losses", "from ..solvers import admm", "program may not import solvers"),
        ("program/losses", "from .. import _base", "program may not import _base"),
        ("solvers/admm", f"import {PACKAGE}.classifier", "solvers may not import classifier"),
        ("robustness", "from .solvers.admm import ADMM", "robustness may not import solvers"),
        ("certificate", "from ._base import X", "certificate may not import _base"),
        ("_base", "from .classifier import C", "_base may not import classifier"),
        ("_base", f"import {PACKAGE}", "_base may not import the top"),
        ("_base", "import torch", "_base may not import torch"),
        ("_base", "from sklearn.utils import _x", "only _compat may use private names"),
        ("_base", "from sklearn.utils._x import y", "only _compat may use private names"),
        ("_base", "import sklearn.utils._x", "only _compat may use private names"),
        ("_base", "try:\n    import rich\nexcept ImportError: pass", "rich is optional"),
        ("_base", "class A:\n    from matplotlib import pyplot", "matplotlib is optional"),
        ("_base", "if not DEBUG:\n    import matplotlib", "matplotlib is optional"),
        ("network", "if TYPE_CHECKING:\n    import sklearn", "network may not import sklearn"),
        ("program/losses", "from .problem import Problem", "import cycle"),
        ("unheard_of", "", "has no row in LAYERS"),
    ],
)
def test_forbidden_import_is_caught(tmp_path, module, source, expected):
    write_package(tmp_path, **{**ALLOWED, module: source})
    (line,) = violations(tmp_path)
    assert expected in line
    assert module.replace("/", ".") in line
