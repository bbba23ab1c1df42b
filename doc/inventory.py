"""Where scikit-learn describes its names: an inventory for intersphinx, made without a network.

The names are those of the installed release, the pages those that its documentation has for them.
"""

import zlib
from itertools import takewhile

from sklearn.utils.discovery import all_displays, all_estimators, all_functions

# of scikit-learn 1.9, and not found by its discovery
CALLBACKS = ["sklearn.callback.ProgressBar", "sklearn.callback.ScoringMonitor"]
URL = "https://scikit-learn.org/stable/"
HEADER = """\
# Sphinx inventory version 2
# Project: scikit-learn
# Version:
# The remainder of this file is compressed using zlib.
"""


def public_name(name, member):
    """The name that users import: that of the first private module on the way is left out."""
    modules = takewhile(lambda part: not part.startswith("_"), member.__module__.split("."))
    return ".".join([*modules, name])


def write(path):
    """Write the classes and functions of scikit-learn, each with its page."""
    kinds = {"class": [*all_estimators(), *all_displays()], "function": all_functions()}
    names = sorted(
        (public_name(*found), kind) for kind, members in kinds.items() for found in members
    )
    # deeper functions are helpers, or documented one level up
    names = [(name, kind) for name, kind in names if kind == "class" or name.count(".") == 2]
    names += [(name, "class") for name in CALLBACKS]
    lines = [f"{name} py:{kind} 1 modules/generated/{name}.html#$ -\n" for name, kind in names]
    path.write_bytes(HEADER.encode() + zlib.compress("".join(lines).encode()))
