"""Tests of `simulation.ledger`: everything is written down, with its time, and told at once."""

from __future__ import annotations

from flow import StepContext
from tests.simulation.ledger import (
    Accepted,
    Answered,
    Asked,
    Began,
    Controlled,
    Ended,
    Entry,
    Healed,
    Ledger,
    Wanted,
)


def test_each_entry_is_told_at_once() -> None:
    """Listeners hear of every entry in the order in which it was written."""
    ledger = Ledger(lambda: 5.0)
    heard: list[Entry] = []
    ledger.listeners.append(heard.append)
    ledger.asked("e1")
    ledger.accepted("e1")
    began = ledger.began("worker", StepContext(endpoint="work.a", execution_id="e1"), 7)
    ledger.ended(began, "success", 8)
    ledger.answered("e1", "SUCCESS", 8)
    ledger.wants("e1", "abort")
    ledger.controlled("e1", "abort", "ABORTED")
    ledger.healed()
    assert heard == [
        Asked("e1"),
        Accepted("e1"),
        began,
        Ended(5.0, began, "success", 8),
        Answered("e1", "SUCCESS", 8),
        Wanted("e1", "abort"),
        Controlled("e1", "abort", "ABORTED"),
        Healed(),
    ]
    assert list(ledger.started) == list(ledger.taken) == ["e1"]


def test_calls_are_found_by_their_step() -> None:
    """The calls of a step stand together, with their numbers, and with how they ended."""
    now_s = 1.0
    ledger = Ledger(lambda: now_s)
    context = StepContext(
        endpoint="work.a", execution_id="e1", path="steps/a", attempt=2, idempotency_key="k"
    )
    first = ledger.began("one", context, {"x": 1})
    now_s = 2.0
    second = ledger.began("two", context, {"x": 1})
    ledger.ended(second, "failure")
    assert ledger.calls == {("e1", "steps/a"): [first, second]}
    assert list(ledger.ends) == [second.number]
    assert second == Began(
        number=2,
        at_s=2.0,
        process="two",
        execution="e1",
        path="steps/a",
        endpoint="work.a",
        attempt=2,
        key="k",
        body={"x": 1},
    )


def test_who_waits_is_known_until_they_are_served() -> None:
    """A waiting is open until it is served."""
    ledger = Ledger(lambda: 3.0)
    waiting = ledger.waits("client", "an answer")
    assert not waiting.is_served
    ledger.served(waiting)
    assert ledger.waiting == [waiting]
    assert waiting.is_served


def test_a_disturbance_ends_the_calm() -> None:
    """What was healed is so until something goes wrong again."""
    ledger = Ledger(lambda: 3.0)
    assert ledger.healed_s is None
    ledger.healed()
    assert ledger.healed_s == 3.0
    ledger.disturbed()
    assert ledger.healed_s is None
    assert ledger.disturbed_s == 3.0
