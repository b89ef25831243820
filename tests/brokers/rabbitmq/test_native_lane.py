"""Tests of `brokers.rabbitmq.native_lane`; with a real broker, `test_publishing` proves it."""

from __future__ import annotations

import asyncio
import itertools
import struct
from types import SimpleNamespace
from typing import Any

import pytest

from brokers.rabbitmq.frames import ACK, BODY, HEADER, METHOD, NACK, RETURN
from brokers.rabbitmq.lane import Outcome, Refused
from brokers.rabbitmq.multiplexer import Multiplexer
from brokers.rabbitmq.native_lane import NativeLane
from brokers.rabbitmq.properties import envelope_at, properties_at
from flow.ports import Envelope, Publication, Settlement
from tests.brokers.memory.waiting import turns
from tests.brokers.rabbitmq.sockets import FakeSocket, message, method, multiplexed

CONFIRMED, UNROUTABLE, REFUSED = Settlement.CONFIRMED, Settlement.UNROUTABLE, Settlement.REFUSED


def to(queue: str, message_id: str = "", body: bytes = b"{}") -> Publication:
    """Return a message to a queue."""
    return Publication("", queue, Envelope("t", body, message_id))


def settled(key: bytes, tag: int, *, multiple: bool = False) -> bytes:
    """Return the broker's confirm."""
    return method(key, struct.pack(">QB", tag, multiple))


def returned(message_id: str) -> bytes:
    """Return the frames of a message that is returned."""
    arguments = struct.pack(">H", 312) + b"\x08NO_ROUTE\x00\x01q"
    properties = properties_at(Envelope("t", b"{}", message_id), message_id)
    return message(RETURN, arguments, properties, b"{}")


def lane_on(multiplexer: Multiplexer, frame_max: int = 131_072) -> NativeLane:
    """Return a lane on channel 1."""
    tune = SimpleNamespace(frame_max=frame_max)
    channel: Any = SimpleNamespace(number=1, connection=SimpleNamespace(connection_tune=tune))
    numbers = itertools.count()
    return NativeLane(multiplexer, channel, lambda: f"made-{next(numbers)}")


@pytest.fixture
async def wired() -> tuple[Multiplexer, FakeSocket, NativeLane]:
    """Give a lane on channel 1, and what is around it."""
    multiplexer, socket, _ = multiplexed()
    return multiplexer, socket, lane_on(multiplexer)


Wired = tuple[Multiplexer, FakeSocket, NativeLane]


async def test_each_message_gets_its_own_outcome(wired: Wired) -> None:
    """Confirms, returned messages and refusals are told apart, one by one or many at once."""
    multiplexer, socket, lane = wired
    outcomes: list[Outcome | None] = [None] * 5
    publications = [to("q", "a"), to("q", "b"), to("q", "a"), to("q"), to("q", "e")]
    publishing = asyncio.gather(lane.publish(publications, outcomes))
    await turns(2)
    assert lane.load == 5
    frames = socket.frames()
    assert [kind for kind, _, _ in frames] == [METHOD, HEADER, BODY] * 5
    found = [envelope_at(each, b"").message_id for _, _, each in frames[1::3]]
    assert found == ["a", "b", "a", "made-1", "e"]
    multiplexer.data_received(returned("b") + settled(ACK, 2, multiple=True))
    multiplexer.data_received(settled(NACK, 5) + settled(ACK, 5) + settled(ACK, 99))
    assert not publishing.done()
    multiplexer.data_received(returned("made-1") + settled(ACK, 4, multiple=True))
    await publishing
    assert outcomes == [CONFIRMED, UNROUTABLE, CONFIRMED, UNROUTABLE, REFUSED]
    assert lane.load == 0


async def test_a_channel_that_is_closed_leaves_the_rest_unknown(wired: Wired) -> None:
    """What was confirmed stays so; the broker's reason is the outcome of the rest."""
    multiplexer, _, lane = wired
    outcomes: list[Outcome | None] = [None] * 3
    publishing = asyncio.gather(lane.publish([to("q")] * 3, outcomes))
    await turns(2)
    multiplexer.data_received(settled(ACK, 2))
    closing = struct.pack(">H", 404) + b"\x04gone" + struct.pack(">HH", 60, 40)
    multiplexer.data_received(method(b"\0\x14\0\x28", closing))
    assert not lane.is_open
    assert lane.has_ended
    await publishing
    assert outcomes[1] is CONFIRMED
    assert [str(each) for each in outcomes if isinstance(each, Refused)] == ["gone", "gone"]
    later: list[Outcome | None] = [None]
    await lane.publish([to("q")], later)
    assert isinstance(later[0], Refused)


async def test_a_lost_socket_leaves_all_unknown(wired: Wired) -> None:
    """Who waits is woken at once, also if it waits for room; nothing is taken for confirmed."""
    multiplexer, socket, lane = wired
    first: list[Outcome | None] = [None]
    second: list[Outcome | None] = [None, None]
    calls = [asyncio.gather(lane.publish([to("q")], first))]
    await turns(2)
    socket.writes.clear()
    multiplexer.pause_writing()
    calls.append(asyncio.gather(lane.publish([to("q")] * 2, second)))
    await turns(2)
    assert socket.writes == []
    multiplexer.connection_lost(None)
    await asyncio.gather(*calls)
    assert [type(each) for each in (*first, *second)] == [ConnectionError] * 3


async def test_publishing_goes_on_when_there_is_room(wired: Wired) -> None:
    """A socket that takes no more stops a call in the middle, and lets it go on."""
    multiplexer, socket, lane = wired
    outcomes: list[Settlement | None] = [None] * 3
    large = [to("q", body=b"x" * 100_000)] * 3

    def write(data: bytes) -> None:
        FakeSocket.write(socket, data)
        multiplexer.pause_writing()

    socket.write = write  # type: ignore[method-assign, assignment] # pyright: ignore[reportAttributeAccessIssue] - full after one write
    call = lane.begin(large, outcomes)
    assert (call.count, lane.load) == (2, 2)
    lane.finish(call)
    assert lane.load == 0
    rest: list[Outcome | None] = [None] * 2
    publishing = asyncio.gather(lane.publish([to("q")] * 2, rest))
    await turns(3)
    multiplexer.resume_writing()
    await turns(3)
    multiplexer.data_received(settled(ACK, 4, multiple=True))
    await publishing
    assert rest == [CONFIRMED] * 2
    assert outcomes == [CONFIRMED, CONFIRMED, None]


async def test_a_cancelled_call_keeps_what_is_known(wired: Wired) -> None:
    """What was settled before a call was cancelled is written down, and late news hurt nobody."""
    multiplexer, _, lane = wired
    outcomes: list[Outcome | None] = [None] * 2
    publishing = asyncio.gather(lane.publish([to("q")] * 2, outcomes))
    await turns(2)
    multiplexer.data_received(settled(ACK, 1))
    publishing.cancel()
    await asyncio.wait([publishing])
    assert outcomes == [CONFIRMED, None]
    assert lane.load == 0
    multiplexer.data_received(settled(ACK, 2))


async def test_bodies_are_split_as_the_broker_wants() -> None:
    """A frame is never larger than what the broker takes, and as large as that if it sets none."""
    for frame_max, count in ((4096, 3), (0, 1)):
        multiplexer, socket, _ = multiplexed()
        lane = lane_on(multiplexer, frame_max)
        call = lane.begin([to("q", body=b"x" * 10_000)], [None])
        multiplexer.flush()
        frames = socket.frames()
        assert len(frames) == 2 + count
        assert b"".join(payload for _, _, payload in frames[2:]) == b"x" * 10_000
        lane.finish(call)


async def test_an_empty_call_is_settled(wired: Wired) -> None:
    """Nothing to publish is nothing to wait for."""
    _, _, lane = wired
    call = lane.begin([], [])
    assert call.is_settled
    await call.future
    lane.finish(call)
    await lane.publish([], [])


async def test_answers_are_left_to_the_library(wired: Wired) -> None:
    """What is no confirm and no message is not the lane's."""
    _, _, lane = wired
    assert not lane.take(METHOD, b"\0\x14\0\x0b")
    assert lane.parts() == []
