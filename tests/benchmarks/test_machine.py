"""What is told of the machine and its versions."""

import platform

from benchmarks.machine import conditions, python_loop_ms, versions


def test_versions_are_told() -> None:
    """The versions of Python, of servers and of installed packages are told."""
    told = versions({"RabbitMQ": "3.10.8"})
    assert told.startswith(f"Python {platform.python_version()}, RabbitMQ 3.10.8, ")
    assert "orjson " in told


def test_a_trial_says_that_it_is_one() -> None:
    """Figures of a smaller scale are marked, so that nobody quotes them."""
    assert conditions(1, 0.1).startswith("1 round at scale 0.1 (a trial")
    assert conditions(3, 1.0).startswith("3 rounds, 20")


def test_the_speed_of_python_is_measured() -> None:
    """The fixed loop takes some time."""
    assert python_loop_ms() > 0
