"""What a store remembers of what it has written."""

from typing import Any

import pytest

from flow.status import Status
from store.recent import Known, Recent
from tests.conformance.store import row


def known(name: str, number: int = 1, ended_ms: int | None = None) -> Known:
    """Return an execution as it may be in the database."""
    return Known(number, 1, row(name)._replace(ended_ms=ended_ms))


def noted(*names: str, most: int = 9) -> Recent:
    """Return what is remembered after executions were written one after another."""
    recent = Recent(most)
    for name in names:
        recent.note({name: known(name)})
    return recent


def test_what_was_written_is_known() -> None:
    """What was written is found again, and what was not is named."""
    assert noted("a", "b").find(["a", "c"]) == ({"a": known("a")}, ["c"])


def test_the_latest_counts() -> None:
    """Of several writes the last one is known."""
    recent = noted("a")
    recent.note({"a": known("a", 7)})
    assert recent.find(["a"]) == ({"a": known("a", 7)}, [])


@pytest.mark.parametrize(
    ("change", "has_facts", "is_course"),
    [
        ({"updated_ms": 9, "wake_ms": 8}, True, True),
        ({"status": Status.SUCCESS}, False, True),
        ({"ended_ms": 9}, False, True),
        ({"incident": "look"}, False, True),
        ({"labels": {"team": "red"}}, False, False),
        ({"created_ms": 9}, False, False),
        ({"workflow": "refund"}, False, False),
        ({"definition": "d2"}, False, False),
        ({"partition": 3}, False, False),
        ({"fingerprint": "other"}, False, False),
    ],
)
def test_what_counts_as_changed(
    change: dict[str, Any],
    has_facts: bool,  # noqa: FBT001 - a parameter of the test
    is_course: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Only the times are no facts; only what changes in its course is not of the beginning."""
    before = known("a")
    after = before.summary._replace(**change)
    assert (before.has_facts_of(after), before.is_course_of(after)) == (has_facts, is_course)


def test_what_has_ended_is_not_kept() -> None:
    """An execution that has ended takes no room, also if it was known before."""
    recent = noted("a")
    recent.note({"a": known("a", ended_ms=5), "b": known("b", ended_ms=5)})
    assert len(recent) == 0


def test_memory_is_bounded() -> None:
    """What has not been written for the longest time is forgotten first."""
    recent = noted("a", "b", "a", "c", most=2)
    assert recent.find(["a", "b", "c"])[1] == ["b"]


def test_forgetting_some() -> None:
    """What somebody else changes is forgotten, whether it was known or not."""
    recent = noted("a", "b")
    recent.forget(["a", "c"])
    assert recent.find(["a", "b"])[1] == ["a"]


def test_forgetting_all() -> None:
    """After a failure nothing is known, not even which number comes next."""
    recent = noted("a")
    recent.number = 4
    recent.clear()
    assert len(recent) == 0
    assert recent.number is None
