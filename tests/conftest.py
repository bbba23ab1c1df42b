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


# Checks of scikit-learn that are nearly others: of sparse matrices after sparse arrays in all
# formats, of read-only rows in double precision after writable ones and read-only ones in single.
NEARLY_OTHERS = ("check_estimator_sparse_matrix]", "_train(readonly_memmap=True)]")


def pytest_collection_modifyitems(items):
    for item in items:
        # an estimator that cross-validates hands rows of any format to the one that it is made of
        of_folds = "CV(" in item.name and item.name.endswith("check_estimator_sparse_array]")
        if item.name.endswith(NEARLY_OTHERS) or of_folds:
            item.add_marker(pytest.mark.slow)
