"""What README and doc show is what happens, and what they list is complete."""

import dataclasses
import doctest
import importlib
import math
import pkgutil
import re
import runpy
import zlib
from pathlib import Path

import pytest
from sklearn.datasets import load_iris

import sklearn_convexnet
from sklearn_convexnet import (
    Certificate,
    ConvexReLUClassifier,
    Result,
    RobustConvexReLUClassifier,
    RobustResult,
)
from sklearn_convexnet.robustness import MarginBounds, OutputBounds, certify

ROOT = Path(__file__).parents[1]
BUILT = {"_build", "auto_examples", "generated"}
PAGES = [ROOT / "README.md"] + sorted(
    page for page in (ROOT / "doc").rglob("*.md") if not BUILT & set(page.parts)
)
TUTORIAL = ROOT / "doc" / "tutorial.md"
SLOW = {TUTORIAL, ROOT / "doc" / "own_table.md"}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# subpackages whose public names are those that the package itself exports
INTERNAL = {
    "bounds",
    "core",
    "distributed",
    "estimators",
    "program",
    "proof",
    "robust_training",
    "solvers",
}


# in a page: `# doctest: +ROUGHLY`, which Sphinx does not show
ROUGHLY = doctest.register_optionflag("ROUGHLY")
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


class Checker(doctest.OutputChecker):
    """With the flag numbers may be half as large again: those of fits depend on the machine."""

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        if not optionflags & ROUGHLY or NUMBER.sub("", want) != NUMBER.sub("", got):
            return False
        pairs = zip(NUMBER.findall(want), NUMBER.findall(got), strict=True)
        return all(math.isclose(float(one), float(other), rel_tol=0.5) for one, other in pairs)


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page):
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run_as_they_stand(found, page):
    # without a prompt a block would be skipped in silence
    assert all(block.startswith(">>> ") for block in found)
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(Checker())
    session = parser.get_doctest("\n".join(found), {"__name__": "__main__"}, page.name, page, 0)
    assert session.examples
    runner.run(session)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else [])
        for page in PAGES
        if blocks(page)
    ],
    ids=name_of,
)
def test_python_blocks_of_a_page_run_as_they_stand(page, tmp_path, monkeypatch):
    # for what they write
    monkeypatch.chdir(tmp_path)
    run_as_they_stand(blocks(page), page)


def test_python_blocks_of_the_tutorial_run_without_the_proof_that_the_readme_has_too():
    found = blocks(TUTORIAL)
    quick = [block for block in found if "time_limit=60" not in block]
    assert len(quick) == len(found) - 1
    run_as_they_stand(quick, TUTORIAL)


def test_rough_numbers_are_checked():
    check = Checker().check_output
    assert check("gap 2e-02 of 10 rows\n", "gap 1.5e-02 of 11 rows\n", ROUGHLY)
    for got in ("gap 2e-03 of 10 rows\n", "a gap 2e-02 of 10 rows\n", "gap 2e-02 of rows\n"):
        assert not check("gap 2e-02 of 10 rows\n", got, ROUGHLY)
    assert not check("0.02\n", "0.03\n", 0)


def test_readme_and_tutorial_have_python_blocks():
    assert blocks(ROOT / "README.md")
    assert len(blocks(TUTORIAL)) > 3


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    made = {"auto_examples", "generated"}
    missing = [one for one in targets if not (page.parent / one).exists()]
    assert [one for one in missing if not made & set(Path(one).parts)] == []


def exported():
    """Public names, relative to the package as in the table of the API reference."""
    names = {name for name in sklearn_convexnet.__all__ if not name.startswith("_")}
    for module in pkgutil.iter_modules(sklearn_convexnet.__path__):
        if not module.name.startswith("_") and module.name not in INTERNAL:
            loaded = importlib.import_module(f"sklearn_convexnet.{module.name}")
            names |= {f"{module.name}.{name}" for name in getattr(loaded, "__all__", ())}
    return names


def test_api_reference_lists_every_public_name_and_no_other():
    table = runpy.run_path(str(ROOT / "doc" / "api_reference.py"))["API"]
    listed = [name for _, _, names in table for name in names]
    assert len(set(listed)) == len(listed)
    assert set(listed) == exported()


def test_api_reference_makes_a_page_of_every_row(tmp_path):
    namespace = runpy.run_path(str(ROOT / "doc" / "api_reference.py"))
    namespace["API"].append(("New section", "New text.", ["module.new_name"]))
    namespace["write"](tmp_path / "api.rst")
    page = (tmp_path / "api.rst").read_text(encoding="utf-8")
    assert "New section\n-----------\n\nNew text.\n" in page
    for _, _, names in namespace["API"]:
        assert all(f"\n   {name}\n" in page for name in names)


def test_names_of_scikit_learn_have_pages(tmp_path):
    runpy.run_path(str(ROOT / "doc" / "inventory.py"))["write"](tmp_path / "names.inv")
    *header, packed = (tmp_path / "names.inv").read_bytes().split(b"\n", 4)
    assert all(line.startswith(b"#") for line in header)
    known = {line.split()[0] for line in zlib.decompress(packed).decode().splitlines()}
    sources = [*PAGES, *(ROOT / "sklearn_convexnet").rglob("*.py")]
    # roles in pages, and "See Also" in docstrings
    linked = {
        name
        for path in sources
        for name in re.findall(
            r"`~?(sklearn\.[\w.]+)`|^ +(sklearn\.[\w.]+) :", path.read_text("utf-8"), re.MULTILINE
        )
    }
    linked = {one or other for one, other in linked}
    assert len(linked) > 10
    assert linked - known == set()


def test_gallery_orders_the_examples_that_exist():
    namespace = runpy.run_path(str(ROOT / "doc" / "gallery.py"))
    examples = [path.stem for path in (ROOT / "examples").glob("plot_*.py")]
    assert sorted(namespace["ORDER"]) == sorted(examples)
    ordered = sorted([*examples, "plot_new"], key=namespace["order"])
    assert ordered == [*namespace["ORDER"], "plot_new"]


def rows_of_tables(page):
    """What stands in the first column of the tables of a page."""
    lines = (ROOT / "doc" / "user_guide" / page).read_text(encoding="utf-8").splitlines()
    first = " ".join(line.split("|")[1] for line in lines if line.startswith("| `"))
    return set(re.findall(r'`"?(\w+)"?`', first))


def test_guide_explains_every_field_of_results_histories_and_certificates():
    X, y = load_iris(return_X_y=True)
    # two features: few enough for all certificates
    model = ConvexReLUClassifier(n_patterns=5, random_state=0).fit(X[:, 2:], y)
    exhaustive = ConvexReLUClassifier(patterns="all").fit(X[::15, 2:], y[::15])
    solvers, certificates = rows_of_tables("solvers.md"), rows_of_tables("certificates.md")
    assert {field.name for field in dataclasses.fields(Result)} <= solvers
    for entry in model.history_ + exhaustive.history_:
        assert {*entry, entry["phase"]} <= solvers
    for certificate in (
        model.certificate_,
        model.certificate(X[:, 2:], y, time_limit=0),
        exhaustive.certificate_,
    ):
        assert {*certificate.detail, certificate.kind} - {"n_patterns"} <= certificates
    text = (ROOT / "doc" / "user_guide" / "certificates.md").read_text(encoding="utf-8")
    assert all(f"`{field.name}`" in text for field in dataclasses.fields(Certificate))


def test_guide_explains_what_robust_training_and_certificates_return():
    X, y = load_iris(return_X_y=True)
    X, y = X[:, 2:], y == 2
    robust = RobustConvexReLUClassifier(n_patterns=5, warm_start=True, random_state=0)
    cone = RobustConvexReLUClassifier(n_patterns=5, formulation="cone", random_state=0)
    solvers, robustness = rows_of_tables("solvers.md"), rows_of_tables("robustness.md")
    again = robust.fit(X, y).fit(X, y)  # now from a network
    for entry in again.history_ + cone.fit(X, y).history_:
        assert {*entry, entry["phase"]} <= solvers
    fields = {field.name for field in dataclasses.fields(RobustResult)}
    fields |= {
        field.name for one in (MarginBounds, OutputBounds) for field in dataclasses.fields(one)
    }
    assert fields - {field.name for field in dataclasses.fields(Result)} <= robustness
    for method in ("auto", "interval"):
        assert {*certify(again, X, y, 0.3, method=method).status} <= robustness


def test_diagram_of_the_layers_has_every_folder_above_what_it_imports(tmp_path):
    namespace = runpy.run_path(str(ROOT / "doc" / "layers.py"))
    graph, with_sklearn = namespace["import_graph"]()
    height = {one: floor for floor, row in enumerate(namespace["floors"](graph)) for one in row}
    assert {"core", "program", "solvers", "estimators"} <= height.keys() == graph.keys()
    assert all(height[one] > height[below] for one in graph for below in graph[one])
    assert "estimators" in with_sklearn and "program" not in with_sklearn
    namespace["draw"](tmp_path / "layers.svg")
    assert (tmp_path / "layers.svg").stat().st_size > 0
