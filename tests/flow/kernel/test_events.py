"""Tests of `flow.kernel.events`: frozen classes, each with one handler."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, get_args

import pytest

from flow.kernel import decide, events
from flow.kernel.events import Attempt, Event, StepStarted, SuspendRequested


def test_each_event_has_one_handler() -> None:
    """The table of handlers covers the union of events, and no two events share a handler."""
    handlers = decide._HANDLERS
    assert set(handlers) == set(get_args(Event))
    assert len(set(handlers.values())) == len(handlers)


@pytest.mark.parametrize("event", get_args(Event))
def test_events_are_frozen_values(event: type) -> None:
    """Every event is public, and a frozen dataclass; those of every execution are named tuples."""
    assert event.__name__ in events.__all__
    assert is_dataclass(event) is not issubclass(event, tuple)
    assert not is_dataclass(event) or all(item.init for item in fields(event))


def test_no_two_kinds_of_events_are_equal() -> None:
    """Named tuples of the same length could be equal by accident, so that there are none."""
    kinds: list[Any] = [event for event in get_args(Event) if issubclass(event, tuple)]
    assert [len(kind._fields) for kind in kinds] == [9, 3, 2]


def test_an_event_cannot_be_changed() -> None:
    """What happened stays what it was, and equal events are equal."""
    event = StepStarted(Attempt(3, 1, 2))
    with pytest.raises(FrozenInstanceError):
        event.attempt = Attempt(4, 1, 2)  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    assert event == StepStarted(Attempt(3, 1, 2))
    assert SuspendRequested("c").clock == "run"
