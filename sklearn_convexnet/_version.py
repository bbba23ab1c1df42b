"""Version of the package, and the address of its documentation.

setup.cfg reads the version from here; CITATION.cff repeats it.
"""

__version__ = "0.1.0"

# a place holder, as ".example" says: set it when the pages of doc/ are published
DOCUMENTATION_URL = "https://sklearn-convexnet.example"
