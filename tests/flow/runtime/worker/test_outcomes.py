"""Tests of `worker.outcomes`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.worker.outcomes import not_usable, reply_of, too_late
from flow.verdict import Fail, Retry, Skip, Verdict
from tests.flow.runtime.worker_bench import request


def test_verdicts_are_outcomes() -> None:
    """Each verdict has its own reply, and one that we do not know is a failure."""
    assert reply_of(Skip("paid")) == StepReply(outcome=Outcome.SKIP, reason="paid")
    assert not reply_of(Fail("never")).retryable
    assert reply_of(Retry(2)).asked_to_retry
    unknown = reply_of(Verdict("hm"))
    assert (unknown.outcome, unknown.retryable, unknown.asked_to_retry) == (
        Outcome.FAILURE,
        True,
        False,
    )


@pytest.mark.parametrize(
    ("after", "expected_ms"),
    [
        (None, None),
        (0, 0),
        (-3, 0),
        (0.0006, 1),
        (timedelta(days=1), 86_400_000),
        (float("nan"), None),
        (float("inf"), 366 * 86_400_000),
        (1e300, 366 * 86_400_000),
        ("soon", None),
    ],
)
def test_delays_make_sense(after: Any, expected_ms: int | None) -> None:
    """Whatever a handler asks for becomes milliseconds, within bounds, or the policy's delay."""
    assert reply_of(Retry(after)).retry_after_ms == expected_ms


@pytest.mark.parametrize(
    "error", [Skip("\ud800" * 5000), ValueError("\udcff"), Fail("\ud800"), SystemExit("\ud800")]
)
def test_every_reply_can_be_sent(error: BaseException) -> None:
    """Text that JSON cannot hold is replaced, and long text is cut."""
    envelope = reply_of(error).envelope("m1", "c1")
    assert len(envelope.body) < 40_000
    assert StepReply.read(envelope).outcome in {Outcome.SKIP, Outcome.FAILURE}


def test_what_cannot_be_used_is_for_good() -> None:
    """No other attempt follows when the input or the result is wrong."""
    reply = not_usable(ValueError("x"))
    assert (reply.outcome, reply.retryable) == (Outcome.FAILURE, False)


def test_a_deadline_is_named() -> None:
    """The failure of a handler that took too long tells the endpoint and its time."""
    failure = too_late(request(timeout_ms=1500)).failure
    assert failure is not None
    assert failure.message.startswith("pay.charge: no answer within 1.5 s; the step's timeout=")
