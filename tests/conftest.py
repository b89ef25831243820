"""What holds for all tests: repeatable examples, their order, and whose coverage is measured."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# The suites that adapters are held to are no test modules, but fail as readably as if they were.
pytest.register_assert_rewrite("tests.conformance")

# Real servers, for whoever asks for them.
pytest_plugins = ["tests.servers.fixtures"]

# The kernel and the programs are proved branch by branch, and by their own tests alone.
COVERED = tuple(Path(__file__).parent / "flow" / name for name in ("kernel", "programs"))

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
    """Put the tests in order, and trace only those whose coverage counts.

    To trace all of them would nearly double what the others compute.
    """
    for item in items:
        if not any(item.path.is_relative_to(folder) for folder in COVERED):
            item.add_marker("no_cover")
    items[:] = in_order(items)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the long tests, then the others; those of real processes between those that compute.

    So no long test is the last one, and while some workers wait for a process, others compute.
    The tests of real processes stay together with those of their file, which may share a fixture.
    """
    kinds = [
        (item.get_closest_marker("long") is None, item.get_closest_marker("system") is None)
        for item in items
    ]
    sizes, met = Counter(kinds), Counter[tuple[bool, bool]]()
    files = dict[tuple[Path, bool], float]()
    places = list[tuple[bool, float]]()
    for item, (is_short, computes) in zip(items, kinds, strict=True):
        place = met[is_short, computes] / sizes[is_short, computes]
        met[is_short, computes] += 1
        if not computes:
            place = files.setdefault((item.path, is_short), place)
        places.append((is_short, place))
    return [items[at] for at in sorted(range(len(items)), key=places.__getitem__)]
