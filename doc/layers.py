"""The diagram of the layers: what the folders of the package import, read from the sources."""

import runpy
from graphlib import TopologicalSorter
from pathlib import Path

from matplotlib.figure import Figure

TESTS = Path(__file__).parents[1] / "tests"
NUMERIC, WITH_SKLEARN = "#cfe3f5", "#fbe0cc"


def import_graph():
    """The folders that every folder imports, and those that import scikit-learn."""
    layering = runpy.run_path(str(TESTS / "test_layering.py"))
    paths = layering["modules"](layering["SOURCES"])
    found = {module: layering["imports"](module, path) for module, path in paths.items()}
    graph = layering["folder_graph"](found)
    # __init__ only collects names, and types are everywhere
    left_out = {"__init__", "_version", *layering["EVERYWHERE"]}
    with_sklearn = {
        layering["folder"](module)
        for module, its_imports in found.items()
        if any(imported.name.split(".")[0] == "sklearn" for imported in its_imports)
    }
    return {node: graph[node] - left_out for node in graph if node not in left_out}, with_sklearn


def floors(graph):
    """Rows of modules from the ground up, each above all that it imports."""
    height = {}
    for module in TopologicalSorter(graph).static_order():
        height[module] = 1 + max((height[below] for below in graph[module]), default=-1)
    for module, below in graph.items():
        users = [height[user] for user, imported in graph.items() if module in imported]
        if not below and users:
            # nothing keeps it on the ground: right below its lowest user
            height[module] = min(users) - 1
    rows = [[] for _ in range(max(height.values()) + 1)]
    for module in sorted(graph):
        rows[height[module]].append(module)
    return rows


def reachable(graph, module):
    """All that a module imports, itself or through others."""
    return graph[module].union(*(reachable(graph, one) for one in graph[module]))


def draw(path):
    """Write the diagram; an import that others imply has no arrow."""
    graph, with_sklearn = import_graph()
    position = {
        module: (2.2 * (k - 0.5 * (len(row) - 1)), 0.8 * floor)
        for floor, row in enumerate(floors(graph))
        for k, module in enumerate(row)
    }
    x, y = zip(*position.values(), strict=True)
    limits = {"xlim": (min(x) - 1.2, max(x) + 1.2), "ylim": (min(y) - 0.4, max(y) + 0.4)}
    figure = Figure(figsize=[high - low for low, high in limits.values()])
    axes = figure.add_axes([0, 0, 1, 1], **limits)
    axes.axis("off")
    boxes = {}
    for module, place in position.items():
        box = {"boxstyle": "round,pad=0.5", "edgecolor": "0.5"}
        box["facecolor"] = WITH_SKLEARN if module in with_sklearn else NUMERIC
        text = axes.text(*place, module, ha="center", va="center", family="monospace", bbox=box)
        boxes[module] = text.get_bbox_patch()
    for module, place in position.items():
        implied = set().union(*(reachable(graph, below) for below in graph[module]))
        for below in graph[module] - implied:
            arrow = {"arrowstyle": "-|>", "color": "0.5", "shrinkA": 2, "shrinkB": 2}
            arrow |= {"patchA": boxes[module], "patchB": boxes[below]}
            axes.annotate("", position[below], place, arrowprops=arrow)
    figure.savefig(path)
