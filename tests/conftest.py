"""What holds for all tests: repeatable examples, and readable failures of shared suites."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

# The suites that adapters are held to are no test modules, but fail as readably as if they were.
pytest.register_assert_rewrite("tests.conformance")

# Real servers, for whoever asks for them.
pytest_plugins = ["tests.servers.fixtures"]

# The same examples on every run: a red run is red for everybody, and again. To search for new
# ones, run with HYPOTHESIS_PROFILE=search. Shrinking is left out of the first, because it may
# take minutes: run the failing test alone with the second to get a small example.
settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    phases=(Phase.explicit, Phase.generate, Phase.target),
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.register_profile(
    "search",
    deadline=None,
    max_examples=1_000,
    suppress_health_check=(HealthCheck.too_slow,),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long tests, so that they run side by side and none is the last one."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
