"""Settings shared by the tests."""

import hypothesis

# The same examples in every run, and no verdict that depends on the speed of the machine.
hypothesis.settings.register_profile(
    "sklearn_convexnet",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("sklearn_convexnet")
