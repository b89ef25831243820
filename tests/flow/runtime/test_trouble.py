"""Tests of `flow.runtime.trouble`: what is wrong with a peer, and since when."""

from __future__ import annotations

import pytest

from flow.errors import StoreUnavailable
from flow.runtime.trouble import Trouble, TroubleNote
from tests.flow.runtime.clocks import ManualClock


async def test_trouble_lasts_until_something_goes_well() -> None:
    """It is counted from the first failure on, tells the last one, and is over with a success."""
    clock = ManualClock()
    trouble = Trouble(clock)
    assert trouble.present == TroubleNote()
    trouble.note(StoreUnavailable("x://", "first"))
    await clock.advance(5)
    trouble.note(StoreUnavailable("x://", "second"))
    await clock.advance(2)
    present = trouble.present
    assert (present.for_s, present.failures) == (7.0, 2)
    assert "second" in present.reason
    trouble.note(None)
    assert trouble.present == TroubleNote()
    trouble.note(StoreUnavailable("x://", "third"))
    assert (trouble.present.for_s, trouble.present.failures) == (0.0, 1)


async def test_trouble_is_one_line_and_its_end_another(caplog: pytest.LogCaptureFixture) -> None:
    """However often it is tried, the log says once that the store is away, and once when not."""
    clock = ManualClock()
    trouble = Trouble(clock)
    trouble.note(None)
    for _ in range(5):
        trouble.note(StoreUnavailable("x://", "nobody listens"))
        await clock.advance(1)
    trouble.note(None)
    trouble.note(None)
    assert [record.getMessage() for record in caplog.records] == [
        "the store x:// cannot be used: nobody listens",
        "the store can be used again, after 5.0 s",
    ]
