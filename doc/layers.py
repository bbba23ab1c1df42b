"""The diagram of the layers, drawn from the table that the tests enforce."""

import runpy
from graphlib import TopologicalSorter
from pathlib import Path

from matplotlib.figure import Figure

TESTS = Path(__file__).parents[1] / "tests"
NUMERIC, WITH_SKLEARN = "#cfe3f5", "#fbe0cc"


def floors(graph):
    """Modules from the top floor down, each right below the lowest of those that import it."""
    depth = {}
    for module in reversed([*TopologicalSorter(graph).static_order()]):
        users = [user for user, below in graph.items() if module in below]
        depth[module] = 1 + max((depth[user] for user in users), default=-1)
    rows = [[] for _ in range(max(depth.values()) + 1)]
    for module in graph:
        rows[depth[module]].append(module)
    return rows


def direct(graph, module):
    """The modules below, but for those that another one of them may import."""
    below = graph[module]
    return below - set().union(*(reachable(graph, one) for one in below))


def reachable(graph, module):
    """All that a module may import, itself or through others."""
    return graph[module].union(*(reachable(graph, one) for one in graph[module]))


def draw(path):
    """Write the diagram of the modules that exist; __init__ only collects names."""
    namespace = runpy.run_path(str(TESTS / "test_layering.py"))
    layers, sources = namespace["LAYERS"], namespace["SOURCES"]
    exist = {one for one in layers if (sources / one).is_dir() or (sources / f"{one}.py").exists()}
    exist -= {"__init__", "_version"}
    graph = {one: (layers[one][0] & exist) - {one} for one in layers if one in exist}
    position = {
        module: (2.2 * (k - 0.5 * (len(row) - 1)), -0.8 * floor)
        for floor, row in enumerate(floors(graph))
        for k, module in enumerate(row)
    }
    x, y = zip(*position.values(), strict=True)
    limits = {"xlim": (min(x) - 1.2, max(x) + 1.2), "ylim": (min(y) - 0.4, max(y) + 0.4)}
    figure = Figure(figsize=[high - low for low, high in limits.values()])
    axes = figure.add_axes([0, 0, 1, 1], **limits)
    axes.axis("off")
    for module, place in position.items():
        box = {"boxstyle": "round,pad=0.5", "edgecolor": "0.5"}
        box["facecolor"] = WITH_SKLEARN if "sklearn" in layers[module][1] else NUMERIC
        axes.text(*place, module, ha="center", va="center", family="monospace", size=9, bbox=box)
        for below in direct(graph, module):
            arrow = {"arrowstyle": "-|>", "color": "0.5", "shrinkA": 13, "shrinkB": 13}
            axes.annotate("", position[below], place, arrowprops=arrow)
    figure.savefig(path)
