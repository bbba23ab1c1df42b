"""Environment of every test run: here, and not in tests/, so that doctests have it too.

pytest imports this file before any test module, hence before NumPy and SciPy.
"""

import os

# SciPy reads it once, when imported; without it scikit-learn skips its array API check.
os.environ.setdefault("SCIPY_ARRAY_API", "1")
# No test needs a screen. An environment that has chosen a backend keeps it.
os.environ.setdefault("MPLBACKEND", "Agg")
