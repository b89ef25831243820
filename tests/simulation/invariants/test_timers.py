"""Tests of `invariants.timers`: each sees its violation, planted."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.planting import ID, NOW_MS, Plant, inner, root, step

HOUR_MS = 3_600_000


def retrying(due_ms: int, **changes: Any) -> Plant:
    """Return evidence of a step whose next attempt is due."""
    plant = Plant()
    plant.begin()
    plant.call("a", "failure")
    told = [("StepFailed", "m2", "steps/a attempt 1: no")]
    plant.record(step("a", "RETRYING", 6, due_ms=due_ms, spent=1), causes=told, **changes)
    return plant


def test_a_timer_that_fires_early_is_seen() -> None:
    """An attempt that is made an hour before it is due by the store's clock is a violation."""
    plant = retrying(NOW_MS + HOUR_MS)
    told = [("TimerFired", "", "RetryDue steps/a")]
    again = plant.write([step("a", "RUNNING", 9, attempt=2, spent=1)], told)
    plant.commit(again, rows=[plant.row("a", 2)])
    assert plant.names() == {"timers are not early"}


def test_a_timer_that_fires_in_time_is_none() -> None:
    """An attempt that is made when it is due is no violation, as far as the clock was right."""
    plant = retrying(NOW_MS + HOUR_MS)
    plant.clock_s = 3_600.0
    told = [("TimerFired", "", "RetryDue steps/a")]
    again = plant.write([step("a", "RUNNING", 9, attempt=2, spent=1)], told)
    plant.commit(again, rows=[plant.row("a", 2)])
    assert plant.names() == set()


@pytest.mark.parametrize("wake_ms", [None, NOW_MS + 2 * HOUR_MS])
def test_a_wake_time_that_is_too_late_is_seen(wake_ms: int | None) -> None:
    """A row that says never, or a time after the retry is due, is a violation."""
    plant = retrying(NOW_MS + HOUR_MS, wake_ms=NOW_MS + HOUR_MS)
    assert plant.names() == set()
    assert retrying(NOW_MS + HOUR_MS, wake_ms=wake_ms).names() == {"wake times are lower bounds"}
    plant.commit(wakes=[(ID, wake_ms)])
    assert plant.names() == {"wake times are lower bounds"}


def test_whatever_is_due_has_to_be_woken_for() -> None:
    """A silence, a start that is late, and the end of an execution's own time are all due."""
    for nodes, due_ms in (
        ([step("a", "RUNNING", 6)], NOW_MS + 62_000),
        ([step("a", "RUNNING", 6, due_ms=NOW_MS + 10_000)], NOW_MS + 10_000),
        ([root("RUNNING", 6, deadline_ms=NOW_MS + 10_000)], NOW_MS + 10_000),
        ([inner("RUNNING", 71, deadline_ms=NOW_MS + 10_000)], NOW_MS + 10_000),
        ([step("once", "RUNNING", 61, started_ms=NOW_MS)], NOW_MS + 62_000),
    ):
        plant = Plant()
        plant.begin()
        plant.record(*nodes, wake_ms=due_ms + 1)
        assert "wake times are lower bounds" in plant.names()
        plant.record(*nodes, wake_ms=due_ms)
        assert "wake times are lower bounds" not in plant.names()
