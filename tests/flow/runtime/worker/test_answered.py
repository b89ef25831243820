"""Tests of `worker.answered`."""

from __future__ import annotations

import gc

from flow.ports import Envelope
from flow.runtime.protocol import Outcome, StepReply
from flow.runtime.worker.answered import Answered, RequestKey, key_of


def key(number: int) -> RequestKey:
    """Return the key of a request."""
    return str(number), "q", "pay.charge"


def reply(size: int = 10) -> Envelope:
    """Return a reply that counts for *size* bytes more than an empty one."""
    return Envelope("step.reply", b"x" * size)


def test_a_reply_is_found_again() -> None:
    """A reply is kept under its request, and a second one takes its place."""
    answered = Answered(10, 10_000)
    answered.put(key(1), reply(1))
    answered.put(key(1), reply(2))
    assert (answered.get(key(1)), answered.get(key(2)), len(answered)) == (reply(2), None, 1)


def test_what_is_kept_costs_the_garbage_collector_nothing() -> None:
    """Of thousands of replies there is nothing that it walks over, after it has seen them once."""
    answered = Answered(10, 10_000)
    answered.put(key(1), StepReply(Outcome.SUCCESS, b"1").envelope("m1", "c1"))
    gc.collect()
    assert not any(map(gc.is_tracked, (*answered._replies, *answered._replies.values())))


def test_what_was_not_used_is_forgotten_first() -> None:
    """Over the number of items the one that was not asked for longest goes."""
    answered = Answered(2, 10_000)
    answered.put(key(1), reply())
    answered.put(key(2), reply())
    answered.get(key(1))
    answered.put(key(3), reply())
    assert [answered.get(key(number)) is None for number in (1, 2, 3)] == [False, True, False]


def test_bytes_are_bounded() -> None:
    """Large replies push others out, and one that is too large is not kept at all."""
    answered = Answered(100, 3_000)
    for number in range(5):
        answered.put(key(number), reply(500))
    assert len(answered) == 2
    answered.put(key(9), reply(3_000))
    assert (answered.get(key(9)), len(answered)) == (None, 2)
    answered.put(key(3), reply(3_000))
    assert answered.get(key(3)) is None


def test_requests_are_told_apart() -> None:
    """Correlation id, queue and endpoint make a request; without any id there is no telling."""
    base = Envelope("", b"1", "m1", "c1", "q")
    assert key_of(base, "pay.charge") == ("c1", "q", "pay.charge")
    assert key_of(Envelope("", b"1", "m1"), "pay.charge") == ("m1", "", "pay.charge")
    assert key_of(Envelope("", b"1"), "pay.charge") is None
