"""Version of the package. setup.cfg reads it from here; CITATION.cff repeats it."""

__version__ = "0.1.0"
