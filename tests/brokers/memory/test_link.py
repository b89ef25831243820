"""Tests of `brokers.memory.link`."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from brokers.memory.frames import FRAME_MAX, Answer, Cancel, Frame, Goodbye, encode
from brokers.memory.link import FLUSH_BYTES, FrameBuffer, Link
from flow.errors import CorruptRecord

FRAMES: tuple[Frame, ...] = (Answer(b"abc"), Goodbye(), Answer(bytes(1000)), Cancel(7))


class Owner:
    """Notes what a link tells."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def opened(self, link: Link) -> None:
        """Note that it is up."""
        self.told.append("opened")

    def received(self, frame: Frame) -> None:
        """Note a frame, and take offence at one kind."""
        self.told.append(frame)
        if isinstance(frame, Goodbye):
            raise CorruptRecord("a frame", "how rude")

    def stalled(self, is_stalled: bool) -> None:  # noqa: FBT001 - see LinkOwner
        """Note whether the other side keeps up."""
        self.told.append(is_stalled)

    def closed(self, reason: str) -> None:
        """Note why it is gone."""
        self.told.append(reason)


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.did: list[str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep *data*."""
        self.written.append(bytes(data))

    def close(self) -> None:
        """Note the call."""
        self.did.append("close")

    def abort(self) -> None:
        """Note the call."""
        self.did.append("abort")

    def pause_reading(self) -> None:
        """Note the call."""
        self.did.append("pause")

    def resume_reading(self) -> None:
        """Note the call."""
        self.did.append("resume")


def connect() -> tuple[Link, Owner, Wire]:
    """Return a link that is up, with both of its sides."""
    owner, wire = Owner(), Wire()
    link = Link(owner, asyncio.get_running_loop())
    link.connection_made(wire)
    return link, owner, wire


@given(st.lists(st.integers(1, 50)))
def test_frames_are_cut_from_pieces_of_any_size(sizes: list[int]) -> None:
    """However the bytes arrive, the same frames come out."""
    data = b"".join(map(encode, FRAMES))
    buffer, found = FrameBuffer(), list[Frame]()
    for size in [*sizes, len(data)]:
        found += buffer.feed(data[:size])
        data = data[size:]
    assert found == list(FRAMES)


@pytest.mark.parametrize("length", [0, FRAME_MAX + 1, 2**32 - 1])
def test_a_wrong_length_is_noticed_at_once(length: int) -> None:
    """An empty or oversize frame is refused as soon as its length has come."""
    data = encode(Cancel(1)) + length.to_bytes(4)
    found = FrameBuffer().feed(data)
    assert next(found) == Cancel(1)
    with pytest.raises(CorruptRecord, match=f"{length:,} bytes"):
        next(found)


async def test_a_turn_is_written_at_once() -> None:
    """What is sent in one turn of the event loop is one write."""
    link, _, wire = connect()
    for data in (b"1", b"2", b"3"):
        link.send(data)
    assert wire.written == []
    await asyncio.sleep(0)
    link.send(b"4")
    await asyncio.sleep(0)
    assert wire.written == [b"123", b"4"]


async def test_much_is_written_early() -> None:
    """What grows large does not wait for the end of the turn."""
    link, _, wire = connect()
    link.send(bytes(FLUSH_BYTES - 1))
    assert wire.written == []
    link.send(b"x")
    assert [len(data) for data in wire.written] == [FLUSH_BYTES]
    await asyncio.sleep(0)
    assert len(wire.written) == 1


async def test_closing_writes_what_is_left() -> None:
    """What was sent before the close is written; what is sent after it is not."""
    link, owner, wire = connect()
    link.send(b"last words")
    link.close()
    link.close()
    link.send(b"never")
    link.data_received(encode(Cancel(1)))
    await asyncio.sleep(0)
    assert (wire.written, wire.did) == ([b"last words"], ["close"])
    assert owner.told == ["opened"]


async def test_what_is_no_frame_ends_the_link() -> None:
    """Garbage, and a frame that the owner cannot accept, abort the connection with a reason."""
    for garbage, reason in ((b"\0\0\0\1\0", "no kind"), (encode(Goodbye()), "how rude")):
        link, owner, wire = connect()
        link.data_received(garbage + encode(Cancel(1)))
        link.connection_lost(None)
        assert wire.did == ["abort"]
        assert reason in str(owner.told[-1])
        assert Cancel(1) not in owner.told


async def test_the_owner_is_told() -> None:
    """The owner hears of frames, of a side that does not keep up, and of the end."""
    link, owner, wire = connect()
    link.data_received(encode(Cancel(1)))
    link.pause_writing()
    link.resume_writing()
    link.pause_reading()
    link.resume_reading()
    link.connection_lost(BrokenPipeError("pipe"))
    assert owner.told == ["opened", Cancel(1), True, False, "pipe"]
    assert wire.did == ["pause", "resume"]
    assert not link.is_open


async def test_nothing_happens_before_it_is_up() -> None:
    """A link without a transport ignores everything."""
    owner = Owner()
    link = Link(owner, asyncio.get_running_loop())
    link.send(b"x")
    link.close()
    link.abort("no")
    link.pause_reading()
    link.resume_reading()
    assert owner.told == []
