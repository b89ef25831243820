"""Tests of `flow.verdict`."""

from __future__ import annotations

from datetime import timedelta

import pytest

from flow.errors import FlowError
from flow.verdict import Fail, Retry, Skip, Verdict


@pytest.mark.parametrize("verdict", [Skip("why"), Fail("why"), Retry(reason="why")])
def test_a_verdict_keeps_its_reason(verdict: Skip | Fail | Retry) -> None:
    """The reason is a field, and the text too."""
    assert verdict.reason == str(verdict) == "why"


@pytest.mark.parametrize("kind", [Skip, Fail, Retry])
def test_a_verdict_is_no_error_of_ours(kind: type[Verdict]) -> None:
    """Whoever catches the errors of flowmq does not catch a handler's verdict."""
    assert issubclass(kind, Verdict)
    assert not issubclass(kind, FlowError)


@pytest.mark.parametrize(
    ("after", "seconds"),
    [(None, None), (0, 0), (1.5, 1.5), (timedelta(minutes=2), 120.0), (timedelta(0), 0.0)],
)
def test_a_delay_is_kept_in_seconds(after: float | timedelta | None, seconds: float | None) -> None:
    """A delay may be a number or a timedelta, and nothing stays nothing."""
    assert Retry(after).after == seconds


def test_reasons_may_be_left_out() -> None:
    """Skipping and trying again need no reason."""
    assert Skip().reason == ""
    assert Retry().reason == ""
