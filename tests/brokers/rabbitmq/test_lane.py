"""Tests of `brokers.rabbitmq.lane`; with a real broker, `test_publishing` proves more of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from brokers.rabbitmq import url as url_module
from brokers.rabbitmq.declaring import declare
from brokers.rabbitmq.lane import LibraryLane, Outcome, Refused
from brokers.rabbitmq.link import Link, connect
from flow.ports import Envelope, Publication, Queue, Settlement, Topology
from tests.brokers.rabbitmq.test_link import dial_of

MESSAGE = Publication("", "q", Envelope("t", b"x", "m"))


@pytest.fixture
async def lane(
    broker_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[LibraryLane, None]:
    """Give a lane of the library, and a queue `q`."""
    monkeypatch.setattr(url_module, "DEFAULT_WIRE", "aio-pika")
    link: Link = await connect(dial_of(broker_url))
    await declare(link, Topology(queues=(Queue("q"),)))
    yield LibraryLane(link, await link.channel(confirms=True), lambda: "made")
    await link.close()


async def test_outcomes_are_written_down(lane: LibraryLane) -> None:
    """Each message gets its own outcome, also if two have one id."""
    nowhere = MESSAGE._replace(routing_key="nowhere")
    outcomes: list[Outcome | None] = [None, None]
    await lane.publish([MESSAGE, nowhere], outcomes)
    assert outcomes == [Settlement.CONFIRMED, Settlement.UNROUTABLE]
    assert (lane.load, lane.is_open, lane.has_ended) == (0, True, False)


async def test_a_channel_that_is_closed_says_why(lane: LibraryLane) -> None:
    """What the broker says when it closes the channel is the outcome of what was on its way."""
    outcomes: list[Outcome | None] = [None]
    missing = MESSAGE._replace(exchange="missing")
    await lane.publish([missing], outcomes)
    (outcome,) = outcomes
    assert isinstance(outcome, Refused)
    assert "no exchange 'missing'" in outcome.reason
    assert (lane.is_open, lane.has_ended) == (False, True)


async def test_a_cancelled_call_is_cancelled(lane: LibraryLane) -> None:
    """Who is cancelled while it waits for confirms is, and leaves no load behind."""
    publishing = asyncio.gather(lane.publish([MESSAGE], [None]))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing
    assert lane.load == 0
