"""Settings of Sphinx: `python -m sphinx -W -b html doc doc/_build`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import api_reference  # noqa: E402
import gallery  # noqa: E402
import inventory  # noqa: E402
import layers  # noqa: E402

import sklearn_convexnet  # noqa: E402

# what is written before Sphinx looks for pages
(HERE / "generated").mkdir(exist_ok=True)
api_reference.write(HERE / "generated" / "api.rst")
gallery.write(HERE / "generated" / "gallery.rst")
inventory.write(HERE / "generated" / "scikit-learn.inv")
layers.draw(HERE / "generated" / "layers.svg")

project = "sklearn_convexnet"
# a placeholder until there is one; pages link to it by [...](repo:issues)
REPOSITORY = "https://example.org/sklearn_convexnet"
author = copyright = "the sklearn_convexnet developers"
version = release = sklearn_convexnet.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    # formulas without a network
    "sphinx-mathjax-offline",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# the page of generated/ has the gallery in sections
exclude_patterns = ["_build", "auto_examples/index.rst"]
default_role = "literal"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_url_schemes = {"http": None, "https": None, "repo": REPOSITORY + "/{{path}}"}
myst_heading_anchors = 3
numpydoc_show_class_members = False
# the docstrings have the types, with shapes
autodoc_typehints = "none"
intersphinx_mapping = {"sklearn": (inventory.URL, "generated/scikit-learn.inv")}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "sklearn_convexnet"
html_theme_options = {
    # not beside the code of the gallery, which needs the width
    "secondary_sidebar_items": {
        page: ["page-toc"]
        for page in (
            *("tutorial", "own_table", "which_model", "faq"),
            *("user_guide/*", "generated/api", "developer_guide"),
        )
    },
    "icon_links": [{"name": "Repository", "url": REPOSITORY, "icon": "fa-solid fa-code-branch"}],
    "header_links_before_dropdown": 6,
    "show_prev_next": False,
    "show_toc_level": 2,
}
html_static_path = ["_static"]
html_css_files = ["style.css"]
SINGLE_PAGES = "install tutorial own_table which_model faq glossary developer_guide whats_new"
html_sidebars = {page: [] for page in SINGLE_PAGES.split()}
html_show_sourcelink = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_convexnet",),
    "reference_url": {"sklearn_convexnet": None},
    "within_subsection_order": "gallery.order",
    "reset_modules": ("matplotlib", "gallery.reset"),
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}


def skip_inherited(app, what, name, member, skip, options):
    """Leave out the methods of scikit-learn: its own pages describe them."""
    member = getattr(member, "fget", member)
    module = getattr(member, "__module__", None) or project
    return skip or not module.startswith(project)


def setup(app):
    """Connect what Sphinx cannot read from a value."""
    app.connect("autodoc-skip-member", skip_inherited)
