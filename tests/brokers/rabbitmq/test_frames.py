"""Tests of `brokers.rabbitmq.frames`."""

from __future__ import annotations

import itertools
import struct

import pamqp.frame
import pytest
from hypothesis import given, strategies as st
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from brokers.rabbitmq.frames import (
    FRAME_MAX,
    BadFrame,
    FrameParser,
    ack_frame,
    content_parts,
    frame_of,
    publish_frame,
    reject_frame,
)

PROPERTIES = b"\x00\x00"

frames = st.lists(
    st.tuples(st.integers(0, 255), st.integers(0, 65_535), st.binary(max_size=300)), max_size=8
)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return bytes in pieces, cut at places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def parse(parser: FrameParser, pieces: list[bytes]) -> list[tuple[int, int, bytes]]:
    """Return all frames of a stream."""
    return [frame for piece in pieces for frame in parser.feed(piece)]


@given(frames, st.lists(st.integers(0, 10_000), max_size=30))
def test_frames_are_found_in_any_pieces(
    sent: list[tuple[int, int, bytes]], cuts: list[int]
) -> None:
    """However a stream is cut, the same frames are found in it, and nothing is left."""
    stream = b"".join(frame_of(*each) for each in sent)
    parser = FrameParser()
    assert parse(parser, pieces_of(stream, cuts)) == sent
    assert (parser.rest, parser.trouble) == (b"", None)


@given(frames, st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=30))
def test_garbage_is_told_the_same_in_any_pieces(
    sent: list[tuple[int, int, bytes]], garbage: bytes, cuts: list[int]
) -> None:
    """What is no frame is noticed, never raised, and does not depend on how it is cut either."""
    stream = b"".join(frame_of(*each) for each in sent) + garbage
    whole, cut = FrameParser(), FrameParser()
    found = parse(whole, [stream])
    assert parse(cut, pieces_of(stream, cuts)) == found
    assert str(cut.trouble) == str(whole.trouble)
    assert cut.rest == whole.rest
    assert found[: len(sent)] == sent


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (struct.pack(">BHI", 1, 1, FRAME_MAX + 1) + b"x", "a frame of 16777217 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n", "a frame of"),
        (struct.pack(">BHI", 1, 1, 2) + b"ab\x00", "without an end"),
    ],
)
def test_what_is_no_frame_ends_the_stream(data: bytes, why: str) -> None:
    """After bytes that are no frame nothing is found any more, not even a frame."""
    parser = FrameParser()
    good = frame_of(1, 2, b"good")
    assert parser.feed(good + data) == [(1, 2, b"good")]
    assert isinstance(parser.trouble, BadFrame)
    assert why in str(parser.trouble)
    assert parser.feed(good) == []
    assert parser.rest == data + good


def test_the_longest_frame_is_waited_for() -> None:
    """A large frame in small pieces is found at its last byte, and costs no more than its size."""
    frame = frame_of(3, 1, b"x" * 1_000_000)
    parser = FrameParser()
    *pieces, last = pieces_of(frame, list(range(0, len(frame), 1_000)))
    assert parse(parser, pieces) == []
    assert parser.feed(last) == [(3, 1, frame[7:-1])]


@given(
    channel=st.integers(1, 65_535),
    exchange=st.text("abcXYZ019-_.:", max_size=127),
    routing_key=st.text(max_size=60),
    mandatory=st.booleans(),
)
def test_announcements_are_what_the_library_would_send(
    *, channel: int, exchange: str, routing_key: str, mandatory: bool
) -> None:
    """The frame that announces a message is, byte for byte, the library's."""
    wanted = Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    expected = pamqp.frame.marshal(wanted, channel)
    assert publish_frame(channel, exchange, routing_key, mandatory) == expected


@given(tag=st.integers(0, 2**63 - 1), channel=st.integers(1, 65_535), flag=st.booleans())
def test_settlements_are_what_the_library_would_send(*, tag: int, channel: int, flag: bool) -> None:
    """What settles deliveries is, byte for byte, the library's."""
    assert ack_frame(channel, tag, multiple=flag) == pamqp.frame.marshal(
        Basic.Ack(tag, flag), channel
    )
    assert reject_frame(channel, tag, requeue=flag) == pamqp.frame.marshal(
        Basic.Reject(tag, flag), channel
    )


@given(body=st.binary(max_size=100), room=st.integers(1, 40))
def test_bodies_are_split_at_the_largest_frame(body: bytes, room: int) -> None:
    """No frame of a body is larger than the broker takes, and together they are the body."""
    frames = FrameParser().feed(b"".join(content_parts(7, PROPERTIES, body, room + 8)))
    header = pamqp.frame.marshal(ContentHeader(0, len(body), Basic.Properties()), 7)
    assert frame_of(*frames[0]) == header
    assert b"".join(payload for _, _, payload in frames[1:]) == body
    assert [kind for kind, _, _ in frames[1:]] == [3] * -(-len(body) // room)
    assert all(0 < len(payload) <= room for _, _, payload in frames[1:])
    for kind, channel, payload in frames[1:]:
        assert frame_of(kind, channel, payload) == pamqp.frame.marshal(ContentBody(payload), 7)
