"""Tests of `brokers.rabbitmq.multiplexer`."""

from __future__ import annotations

import asyncio
import itertools
import struct
from dataclasses import dataclass, field

import pytest
from hypothesis import given, strategies as st

from brokers.rabbitmq import multiplexer as multiplexer_module
from brokers.rabbitmq.frames import ACK, BODY, HEARTBEAT, METHOD, BadFrame, frame_of
from brokers.rabbitmq.multiplexer import Multiplexer, Writer
from tests.brokers.memory.waiting import turns
from tests.brokers.rabbitmq.sockets import FakeSocket, method, multiplexed

CLOSE = b"\0\x14\0\x28"
CLOSE_OK = b"\0\x14\0\x29"


@dataclass
class Tape:
    """Takes confirms and bodies, and keeps them."""

    taken: list[bytes] = field(default_factory=list[bytes])
    said: list[bytes] = field(default_factory=list[bytes])
    ends: list[str] = field(default_factory=list[str])

    def take(self, kind: int, payload: bytes) -> bool:
        """Take it."""
        if kind == METHOD and payload[:4] != ACK:
            return False
        self.taken.append(payload)
        return True

    def parts(self) -> list[bytes]:
        """Return what it has to say."""
        said, self.said = self.said, []
        return said

    def end(self, reason: str) -> None:
        """Keep the reason."""
        self.ends.append(reason)


@pytest.fixture
async def taped() -> tuple[Multiplexer, FakeSocket, asyncio.StreamReader, Tape]:
    """Give an owner of a socket, where channel 1 was taken over."""
    multiplexer, socket, library = multiplexed()
    tape = Tape()
    multiplexer.take_over(1, tape)
    return multiplexer, socket, library, tape


Taped = tuple[Multiplexer, FakeSocket, asyncio.StreamReader, Tape]


async def rest_of(library: asyncio.StreamReader) -> bytes:
    """Return what the library has been given, signs of life left out."""
    library.feed_eof()
    return (await library.read()).replace(HEARTBEAT, b"")


async def test_channels_that_were_taken_over_get_their_frames(taped: Taped) -> None:
    """A handler gets at once what it takes; answers and other channels are the library's."""
    multiplexer, _, library, tape = taped
    answer, other = method(b"\0\x3c\0\x15", b"tag"), method(ACK, b"other", channel=2)
    multiplexer.data_received(method(ACK, b"mine") + answer + other + frame_of(BODY, 1, b"body"))
    assert tape.taken == [ACK + b"mine", b"body"]
    assert await rest_of(library) == answer + other


@given(st.lists(st.integers(0, 500), max_size=20))
def test_frames_are_told_apart_in_any_pieces(cuts: list[int]) -> None:
    """However the bytes are cut, each frame goes where it belongs."""
    ours = [method(ACK, bytes([number])) for number in range(5)]
    theirs = [frame_of(3, 2, bytes([number]) * number) for number in range(5)]
    stream = b"".join(one + two for one, two in zip(ours, theirs, strict=True))

    async def run() -> None:
        multiplexer, _, library = multiplexed()
        tape = Tape()
        multiplexer.take_over(1, tape)
        places = sorted({0, len(stream), *(cut % len(stream) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            multiplexer.data_received(stream[start:end])
        assert tape.taken == [ACK + bytes([number]) for number in range(5)]
        assert await rest_of(library) == b"".join(theirs)

    asyncio.run(run())


async def test_all_of_a_turn_leaves_in_one_write(taped: Taped) -> None:
    """What is left in one turn of the event loop leaves at its end, together and in order."""
    multiplexer, socket, _, tape = taped
    multiplexer.write((b"a", b"b"), 2)
    tape.said = [b"settled"]
    multiplexer.schedule(tape)
    multiplexer.write([b"c"], 1)
    assert socket.writes == []
    await turns(1)
    assert socket.writes == [b"abcsettled"]
    await turns(2)
    multiplexer.flush()
    assert len(socket.writes) == 1


async def test_much_leaves_at_once(taped: Taped, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large messages are not piled up until the end of the turn."""
    multiplexer, socket, _, _ = taped
    monkeypatch.setattr(multiplexer_module, "FLUSH_BYTES", 100)
    for _ in range(5):
        multiplexer.write((b"x" * 60,), 60)
    assert [len(data) for data in socket.writes] == [120, 120]
    await turns(1)
    assert [len(data) for data in socket.writes] == [120, 120, 60]


async def test_the_library_writes_after_what_waits(taped: Taped) -> None:
    """What the library writes goes behind what was left before, so the order is kept."""
    multiplexer, socket, library, tape = taped
    writer = Writer(socket, multiplexer, library, asyncio.get_running_loop())
    multiplexer.write((b"message",), 7)
    tape.said = [b"settled"]
    multiplexer.schedule(tape)
    writer.write(HEARTBEAT)
    assert socket.writes == [b"messagesettled", HEARTBEAT]
    writer.close()


async def test_a_socket_that_is_full_is_waited_for(taped: Taped) -> None:
    """There is no room until the socket says so; there is when it is lost, for nobody to wait."""
    multiplexer, _, _, _ = taped
    assert multiplexer.has_room
    for end in (multiplexer.resume_writing, lambda: multiplexer.connection_lost(None)):
        multiplexer.pause_writing()
        assert not multiplexer.has_room
        waiting = asyncio.gather(multiplexer.room())
        await turns()
        assert not waiting.done()
        end()
        await waiting
        assert multiplexer.has_room


async def test_a_channel_that_the_broker_closes_is_ended_first(taped: Taped) -> None:
    """The handler is told before anything else is read, with the reason, and gets no more."""
    multiplexer, _, library, tape = taped
    closing = method(CLOSE, struct.pack(">H", 404) + b"\x04gone" + b"\0\x3c\0\x28")
    multiplexer.data_received(closing + method(ACK, b"late"))
    assert (tape.ends, tape.taken) == (["gone"], [])
    assert await rest_of(library) == closing + method(ACK, b"late")


async def test_a_channel_that_the_library_closes_goes_deaf(taped: Taped) -> None:
    """Whatever made the library close it, nothing more is said or heard on it, until it is gone."""
    multiplexer, socket, library, tape = taped
    writer = Writer(socket, multiplexer, library, asyncio.get_running_loop())
    writer.write(method(CLOSE, b"\0\0\0\0\0\0\0", channel=2))
    assert tape.ends == []
    writer.write(method(CLOSE, b"\0\0\0\0\0\0\0"))
    assert tape.ends == [""]
    answer, gone = method(b"\0\x3c\0\x1f", b"tag"), method(CLOSE_OK)
    again = method(ACK, b"again")
    multiplexer.data_received(method(ACK) + frame_of(BODY, 1, b"x") + answer + gone + again)
    assert tape.taken == []
    assert await rest_of(library) == answer + gone + again
    assert len(tape.ends) == 1
    writer.close()


async def test_the_library_is_given_signs_of_life(
    taped: Taped, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames that the library does not see are a sign of life still, once in a while."""
    multiplexer, _, library, _ = taped
    for _ in range(5):
        multiplexer.data_received(method(ACK))
    monkeypatch.setattr(multiplexer_module, "PULSE_S", 0.0)
    multiplexer._next_pulse = 0.0
    multiplexer.data_received(method(ACK))
    library.feed_eof()
    assert await library.read() == HEARTBEAT * 2


async def test_before_a_channel_is_taken_over_nothing_is_made_up() -> None:
    """While the library logs in, it gets exactly what the server says."""
    multiplexer, _, library = multiplexed()
    multiplexer.data_received(method(b"\0\x0a\0\x0a", b"hello", channel=0))
    library.feed_eof()
    assert await library.read() == method(b"\0\x0a\0\x0a", b"hello", channel=0)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "a frame of"),
        (b"\x01\0\x01\0\0\0\x01x\x00", "without an end"),
        (method(CLOSE), "too short"),
    ],
)
async def test_what_is_no_frame_ends_the_connection(taped: Taped, data: bytes, why: str) -> None:
    """The library is told what was wrong, and the socket is given up."""
    multiplexer, socket, library, tape = taped
    multiplexer.data_received(data)
    assert socket.is_aborted
    with pytest.raises(BadFrame, match=why):
        await library.readexactly(1)
    multiplexer.data_received(method(ACK))
    assert tape.taken == []
    multiplexer.write((b"x",), 1)
    multiplexer.flush()
    assert socket.writes == []
    multiplexer.connection_lost(None)
    assert "" in tape.ends or tape.ends == []


async def test_another_version_of_the_protocol_is_left_to_the_library() -> None:
    """A server that wants another version says so; the library knows what to make of it."""
    multiplexer, _, library = multiplexed()
    multiplexer.data_received(b"AMQP\x00\x01\x00\x00")
    assert await library.read() == b"AMQP\x00\x01\x00\x00"


async def test_a_lost_socket_ends_every_channel(taped: Taped) -> None:
    """Who waits for something on a channel is told at once."""
    multiplexer, _, library, tape = taped
    multiplexer.connection_lost(ConnectionResetError())
    assert tape.ends == [""]
    with pytest.raises(ConnectionResetError):
        await library.read()


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_garbage_is_survived(pieces: list[bytes]) -> None:
    """Whatever a server sends, nothing is raised into the event loop, and nothing hangs."""

    async def run() -> None:
        multiplexer, socket, _ = multiplexed()
        multiplexer.take_over(1, Tape())
        for piece in pieces:
            multiplexer.data_received(piece)
        parser = multiplexer._parser
        is_over = parser.trouble is not None and not parser.rest.startswith(b"AMQP")
        assert socket.is_aborted == is_over

    asyncio.run(run())
