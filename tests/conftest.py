"""Settings shared by the tests."""

import hypothesis
import pytest

# The same examples in every run, and no verdict that depends on the speed of the machine.
hypothesis.settings.register_profile(
    "sklearn_convexnet",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sklearn_convexnet")


def pytest_collection_modifyitems(items):
    # what scikit-learn checks of sparse arrays in all formats it checks of sparse matrices again
    for item in items:
        if item.name.endswith("check_estimator_sparse_matrix]"):
            item.add_marker(pytest.mark.slow)
