"""The layers of the package: which folder may import what, and the sizes of folders and files.

The modules are parsed, not imported. An import inside a function or for type checkers alone counts
like any other, but only there may an optional dependency be imported.
"""

import ast
import graphlib
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "sklearn_convexnet"
SOURCES = Path(__file__).parents[1] / PACKAGE

NUMERIC = {"numpy", "scipy"}
LEARN = NUMERIC | {"sklearn", "joblib"}
DASK = {"dask", "distributed"}
OPTIONAL = DASK | {"matplotlib", "mpl_toolkits", "rich", "pandas", "polars"}
OPTIONAL |= {"onnx", "onnxruntime", "skl2onnx"}

# Floors that imports may climb, modules of a folder, and lines of a file without its docstrings.
MOST_FLOORS, MOST_FILES, MOST_LINES = 8, 15, 450

PROGRAMS = {"core", "program"}
SOLVERS = PROGRAMS | {"bounds", "solvers"}

# names of types: every module may import them
EVERYWHERE = {"_typing"}

# A folder, or a module at the top, of PACKAGE: what it may import of PACKAGE beside itself, and of
# third parties. The standard library is free for all. A new folder needs a row here; a module
# inside one has a row of its own where it may import more than the others.
LAYERS = {
    "_version": (set(), set()),
    "_typing": (set(), NUMERIC),
    "_show_versions": ({"_version"}, {"sklearn"}),
    "_compat": ({"_version"}, LEARN),
    "_persistence": ({"_version"}, set()),
    "core": (set(), NUMERIC | {"threadpoolctl"}),
    "program": ({"core"}, NUMERIC),
    "bounds": (PROGRAMS, NUMERIC),
    "solvers": (PROGRAMS | {"bounds"}, NUMERIC),
    "selection": (SOLVERS, NUMERIC | {"joblib"}),
    "proof": (SOLVERS, NUMERIC),
    "robust_training": (SOLVERS, NUMERIC),
    "distributed": (SOLVERS, NUMERIC | DASK),
    "robustness": (PROGRAMS, NUMERIC),
    "estimators": (
        SOLVERS
        | {"selection", "proof", "robust_training", "distributed", "_compat", "_persistence"},
        LEARN | OPTIONAL,
    ),
    "autoencoder": (set(), NUMERIC),
    "autoencoder.estimators": ({"_compat", "_persistence"}, LEARN),
    "datasets": ({"_compat"}, LEARN),
    "export": ({"core", "estimators", "autoencoder", "_version"}, LEARN | OPTIONAL),
    "plotting": ({"robustness", "selection"}, {"numpy", "matplotlib", "mpl_toolkits"}),
    "__init__": (
        SOLVERS
        | {"proof", "robust_training", "estimators", "autoencoder", "_version", "_show_versions"},
        set(),
    ),
}


class Import(NamedTuple):
    name: str  # absolute and dotted: "numpy.linalg", "sklearn_convexnet.core.network.Network"
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


def folder(module):
    """The folder of a module, or the module itself at the top of the package."""
    return module.split(".")[0]


def objections(module, imported, all_modules):
    """Yield what is wrong with one import by a module that has a row, or whose folder has one."""
    layer = module if module in LAYERS else folder(module)
    inside, outside = LAYERS[layer]
    top, *rest = imported.name.split(".")
    if top == PACKAGE:
        if not rest or rest[0] not in inside | EVERYWHERE | {folder(module)}:
            yield f"{layer} may not import {rest[0] if rest else 'the top'} of this package"
        elif private(rest[-1]) and ".".join(rest) not in all_modules:
            yield f"{rest[-1]} is for its own module only"
    elif top not in sys.stdlib_module_names:
        if top not in outside:
            yield f"{layer} may not import {top}"
        if top in OPTIONAL and imported.at_module_level:
            yield f"{top} is optional: import it in the function that needs it"
        if top == "sklearn" and layer != "_compat" and any(n.startswith("_") for n in rest):
            yield "only _compat may use private names of scikit-learn"


def private(name):
    return name.startswith("_") and not name.endswith("__")


def first_cycle(graph):
    """The nodes of one cycle, if there is one."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


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
    return first_cycle(graph)


def folder_graph(found):
    """What every folder, and every module at the top, imports of the others."""
    graph = {folder(module): set() for module in found}
    for module, its_imports in found.items():
        below = {i.name.split(".")[1] for i in its_imports if i.name.startswith(f"{PACKAGE}.")}
        graph[folder(module)] |= (below & graph.keys()) - {folder(module)}
    return graph


def heights(graph):
    """The floor of every node of a graph without cycles: one above the highest it imports."""
    height = {}
    for node in graphlib.TopologicalSorter(graph).static_order():
        height[node] = 1 + max((height[below] for below in graph[node]), default=-1)
    return height


def lines_without_docstrings(path):
    text = path.read_text(encoding="utf-8")
    count = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                docstring = node.body[0]
                count -= docstring.end_lineno - docstring.lineno + 1
    return count


def violations(sources):
    """Every breach of the rules in the package at `sources`, one line each."""
    paths = modules(sources)
    found = {module: imports(module, path) for module, path in paths.items()}
    lines = []
    for module, its_imports in found.items():
        if folder(module) not in LAYERS:
            lines.append(f"{module}: has no row in LAYERS of {Path(__file__).name}")
            continue
        lines += [
            f"{module}:{imported.line}: imports {imported.name}: {objection}"
            for imported in its_imports
            for objection in objections(module, imported, paths)
        ]
    if modules_in_cycle := cycle(found):
        lines.append("import cycle: " + " <- ".join(modules_in_cycle))
    graph = folder_graph(found)
    if folders_in_cycle := first_cycle(graph):
        lines.append("cycle of folders: " + " <- ".join(folders_in_cycle))
    elif (floors := 1 + max(heights(graph).values())) > MOST_FLOORS:
        lines.append(f"{floors} floors of folders, more than {MOST_FLOORS}")
    return lines


def oversized(sources):
    """Folders of too many files, and files of too many lines, one line each."""
    files = Counter(path.parent for path in sources.rglob("*.py"))
    large = {str(path.relative_to(sources)): n for path, n in files.items() if n > MOST_FILES}
    for path in sources.rglob("*.py"):
        if (n_lines := lines_without_docstrings(path)) > MOST_LINES:
            large[str(path.relative_to(sources))] = n_lines
    return large


def test_package_keeps_its_layers():
    assert modules(SOURCES), f"no module in {SOURCES}"
    assert violations(SOURCES) == []


def test_folders_and_files_are_of_a_size_to_be_read():
    assert oversized(SOURCES) == {}


def write_package(sources, **files):
    for module, source in files.items():
        path = sources.joinpath(*module.split("/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source, encoding="utf-8")


ALLOWED = {
    "__init__": "from ._version import __version__\nfrom .estimators.classifier import C",
    "_version": "__version__ = '0'",
    "_typing": "import numpy",
    "_compat": "from sklearn.utils._param_validation import Interval",
    "_persistence": "from ._version import __version__",
    "core/rows": "from __future__ import annotations\nimport numpy as np\nimport scipy.sparse",
    "core/parallel": "from threadpoolctl import threadpool_limits",
    "program/__init__": "from .cones import Cone\nfrom .problem import Problem",
    "program/cones": "from ..core.rows import times",
    "program/problem": "from .cones import Cone",
    "solvers/__init__": "",
    "solvers/admm": "from .._typing import Array\nfrom ..program import Problem",
    "estimators/_base": "from .. import _compat\nfrom .._persistence import Pickle",
    "estimators/regressor": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    import matplotlib",
    "estimators/classifier": "from sklearn.base import ClassifierMixin\nfrom .. import _typing\n"
    "from . import _base\nfrom ._base import Base\ndef plot():\n    import matplotlib.pyplot",
}


def test_allowed_imports_pass(tmp_path):
    write_package(tmp_path, **ALLOWED)
    assert violations(tmp_path) == []


@pytest.mark.parametrize(
    ("module", "source", "expected"),
    [
        ("core/rows", "import sklearn.base", "core may not import sklearn"),
        ("core/rows", "def f():\n    from sklearn import base", "core may not import sklearn"),
        ("core/rows", "if TYPE_CHECKING:\n    import sklearn", "core may not import sklearn"),
        ("program/cones", "import threadpoolctl", "program may not import threadpoolctl"),
        ("program/cones", "from ..robustness import certify", "program may not import robustness"),
        ("program/cones", "from .. import _compat", "program may not import _compat"),
        ("program/cones", "from .problem import Problem", "import cycle"),
        ("program/cones", "from ..core.rows import _times", "_times is for its own module only"),
        ("solvers/admm", f"import {PACKAGE}.estimators", "solvers may not import estimators"),
        ("solvers/admm", "from .other import _name", "_name is for its own module only"),
        ("robustness/certify", "from ..solvers.admm import A", "robustness may not import solvers"),
        ("proof/certificate", "from ..estimators import X", "proof may not import estimators"),
        ("estimators/_base", "from .classifier import C", "import cycle"),
        ("estimators/_base", f"import {PACKAGE}", "estimators may not import the top"),
        ("estimators/_base", "import torch", "estimators may not import torch"),
        ("estimators/_base", "from sklearn.utils import _x", "only _compat may use private names"),
        ("estimators/_base", "from sklearn.utils._x import y", "only _compat may use private"),
        ("estimators/_base", "import sklearn.utils._x", "only _compat may use private names"),
        ("estimators/_base", "try:\n    import rich\nexcept OSError: pass", "rich is optional"),
        ("estimators/_base", "class A:\n    from matplotlib import pyplot", "is optional"),
        ("estimators/_base", "if not DEBUG:\n    import matplotlib", "matplotlib is optional"),
        ("unheard_of", "", "has no row in LAYERS"),
    ],
)
def test_forbidden_import_is_caught(tmp_path, module, source, expected):
    write_package(tmp_path, **{**ALLOWED, module: source})
    (line,) = violations(tmp_path)
    assert expected in line
    assert module.replace("/", ".") in line


def test_cycle_of_folders_is_caught(tmp_path):
    files = {"core/rows": "from ..program import cones", "program/problem": "from ..core import x"}
    write_package(tmp_path, **files)
    *_, line = violations(tmp_path)
    assert line.startswith("cycle of folders: ")


def test_floors_are_counted(tmp_path, monkeypatch):
    write_package(tmp_path, **ALLOWED)
    graph = folder_graph(
        {module: imports(module, path) for module, path in modules(tmp_path).items()}
    )
    height = heights(graph)
    assert [height[node] for node in ("_version", "core", "program", "solvers")] == [0, 0, 1, 2]
    monkeypatch.setitem(globals(), "MOST_FLOORS", 4)
    assert violations(tmp_path) == []
    monkeypatch.setitem(globals(), "MOST_FLOORS", 3)
    assert violations(tmp_path) == ["4 floors of folders, more than 3"]


def test_large_folders_and_files_are_caught(tmp_path):
    write_package(tmp_path, **{f"many/m{k}": "" for k in range(MOST_FILES + 1)})
    code = "x = 1\n" * MOST_LINES
    write_package(tmp_path, long=code + "x = 1\n", fine='"""Long\n\ndocstring."""\n' + code)
    assert oversized(tmp_path) == {"many": MOST_FILES + 1, "long.py": MOST_LINES + 1}
