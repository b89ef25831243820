"""Tests of `flow.status`."""

from __future__ import annotations

import re

import pytest

from flow.errors import InvalidOption
from flow.status import Status


@pytest.mark.parametrize("status", Status)
def test_every_status_is_parsed(status: Status) -> None:
    """A name is read in any case, with blanks around it, and with a predecessor's prefix."""
    for text in (status.value, status.value.lower(), f"  {status.value.title()} "):
        assert Status.parse(text) is status


def test_ended_statuses() -> None:
    """Exactly the statuses from which nothing leads on by itself have ended."""
    ended = {status.value for status in Status if status.ended}
    assert ended == {"SUCCESS", "FAILURE", "ABORTED", "COMPENSATED", "SKIPPED"}


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("StatusPending", Status.PENDING),
        ("StatusRunning", Status.RUNNING),
        ("StatusFailure", Status.FAILURE),
        ("StatusSuccess", Status.SUCCESS),
        ("StatusAborted", Status.ABORTED),
        ("StatusSuspend", Status.SUSPENDED),
        ("Status_Suspend", Status.SUSPENDED),
        ("Resuming", Status.RUNNING),
        ("Executing", Status.RUNNING),
        ("Scheduled", Status.PENDING),
        ("Backing-off", Status.RETRYING),
        ("backing off", Status.RETRYING),
        ("SUCCEEDED", Status.SUCCESS),
        ("FAILED", Status.FAILURE),
        ("canceled", Status.ABORTED),
        ("cancelled", Status.ABORTED),
        ("TERMINATED", Status.ABORTED),
        ("TIMED_OUT", Status.FAILURE),
        ("rolled-back", Status.COMPENSATED),
        ("paused", Status.SUSPENDED),
    ],
)
def test_names_of_predecessors(text: str, status: Status) -> None:
    """What older systems called a status is understood."""
    assert Status.parse(text) is status


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Waiting", "PENDING or RUNNING or SUSPENDED"),
        ("finished", "SUCCESS or FAILURE or ABORTED"),
        ("Completed", "SUCCESS or FAILURE"),
        ("DONE", "SUCCESS or FAILURE or COMPENSATED"),
        ("Undefined", "PENDING or SKIPPED"),
    ],
)
def test_ambiguous_names_are_refused(text: str, names: str) -> None:
    """A name that may mean several statuses is refused, and they are all named."""
    expected = f"status: name='{text}' is not possible: it may mean {names}; say which"
    with pytest.raises(InvalidOption, match=f"^{re.escape(expected)}$"):
        Status.parse(text)


@pytest.mark.parametrize(
    ("text", "hint"), [("RUNING", "; did you mean 'RUNNING'?"), ("", ""), ("?", "")]
)
def test_unknown_names_are_refused(text: str, hint: str) -> None:
    """A name that means nothing is refused with all names, and the nearest."""
    names = ", ".join(Status.__members__)
    expected = f"status: name={text!r} is not possible: the names are {names}{hint}"
    with pytest.raises(InvalidOption, match=f"^{re.escape(expected)}$"):
        Status.parse(text)
