"""Tests of `brokers.memory.frames`."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from brokers.memory.frames import (
    BATCH_BYTES,
    FRAME_MAX,
    Answer,
    Cancel,
    Consume,
    Declare,
    Deliver,
    Find,
    Frame,
    Goodbye,
    Hello,
    Publish,
    Refusal,
    Settle,
    Verdict,
    Welcome,
    decode,
    encode,
    encode_publications,
)
from brokers.memory.layout import pack_texts
from flow.errors import CorruptRecord, InvalidInput, TooLarge
from flow.ports import Binding, Envelope, Exchange, Publication, Queue, Topology

HEAD = 4
SHORT = st.integers(0, 2**16 - 1)
INT = st.integers(0, 2**32 - 1)
LONG = st.integers(0, 2**64 - 1)
TEXT = st.text(max_size=20)
ENVELOPES = st.builds(
    Envelope,
    type=TEXT,
    body=st.binary(max_size=100),
    message_id=TEXT,
    correlation_id=TEXT,
    reply_to=TEXT,
    headers=st.dictionaries(TEXT, TEXT, max_size=5),
    content_type=TEXT,
)
PUBLICATIONS = st.builds(Publication, TEXT, TEXT, ENVELOPES, st.booleans())
TOPOLOGIES = st.builds(
    Topology,
    st.lists(
        st.builds(Exchange, TEXT, st.sampled_from(("direct", "topic", "fanout"))), max_size=4
    ).map(tuple),
    st.lists(st.builds(Queue, TEXT, st.booleans(), TEXT), max_size=4).map(tuple),
    st.lists(st.builds(Binding, TEXT, TEXT, TEXT), max_size=4).map(tuple),
)
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Hello, SHORT),
    st.builds(Welcome, SHORT),
    st.builds(Declare, TOPOLOGIES),
    st.builds(Find, TEXT),
    st.builds(Publish, st.lists(PUBLICATIONS, max_size=3).map(tuple)),
    st.builds(Consume, INT, TEXT, INT),
    st.builds(Cancel, INT),
    st.builds(Settle, st.lists(st.tuples(LONG, st.sampled_from(Verdict))).map(tuple)),
    st.just(Goodbye()),
    st.builds(Answer, st.binary()),
    st.builds(Refusal, TEXT, TEXT),
    st.builds(Deliver, INT, LONG, st.booleans(), TEXT, ENVELOPES),
)


@given(FRAMES)
def test_frames_come_back(frame: Frame) -> None:
    """Every frame is decoded as it was encoded, and says how long it is."""
    data = encode(frame)
    assert decode(data[HEAD:]) == frame
    assert int.from_bytes(data[:HEAD]) == len(data) - HEAD


@given(FRAMES, st.data())
def test_truncated_frames_raise_only_the_typed_error(frame: Frame, chance: st.DataObject) -> None:
    """A frame that is cut short is refused, or is another whole frame."""
    data = encode(frame)[HEAD:]
    end = chance.draw(st.integers(0, len(data) - 1))
    try:
        shorter = decode(data[:end])
    except CorruptRecord:
        return
    assert encode(shorter)[HEAD:] == data[:end]


@given(FRAMES, st.data())
def test_damaged_frames_raise_only_the_typed_error(frame: Frame, chance: st.DataObject) -> None:
    """A frame with a wrong byte is refused, or is another frame that can be sent again."""
    data = bytearray(encode(frame)[HEAD:])
    data[chance.draw(st.integers(0, len(data) - 1))] = chance.draw(st.integers(0, 255))
    try:
        other = decode(bytes(data))
    except CorruptRecord:
        return
    assert decode(encode(other)[HEAD:]) == other


@given(st.integers(0, 13), st.binary())
def test_garbage_raises_only_the_typed_error(code: int, data: bytes) -> None:
    """Whatever the bytes are, they are a frame or a CorruptRecord."""
    try:
        frame = decode(bytes([code]) + data)
    except CorruptRecord:
        return
    assert decode(encode(frame)[HEAD:]) == frame


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\xff",
        encode(Goodbye())[HEAD:] + b"\0",
        encode(Hello())[HEAD:].replace(b"flowmq", b"GET / "),
        encode(Settle(((1, Verdict.ACK),)))[HEAD:-1] + b"\3",
        encode(Declare(Topology((Exchange("x", "topic"),))))[HEAD:].replace(b"topic", b"topaz"),
        bytes([Declare.code]) + struct.pack(">III", 1, 1, 1) + pack_texts(["x"] * 7),
        bytes([Refusal.code]) + pack_texts(["what"]),
        bytes([Find.code]) + pack_texts(["two", "names"]),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    """What is no frame at all, or has a value that does not exist, is refused."""
    with pytest.raises(CorruptRecord):
        decode(data)


def test_greetings_may_grow() -> None:
    """A hello or welcome of a later version, with more behind, is understood up to its version."""
    for frame in (Hello(700), Welcome(700)):
        assert decode(encode(frame)[HEAD:] + b"more") == frame


@pytest.mark.parametrize(
    "frame",
    [Find("\ud800"), Consume(1, "q", 2**32), Consume(2**32, "q", 1), Cancel(-1)],
)
def test_what_cannot_be_written_is_refused(frame: Frame) -> None:
    """A number that is too large, or half a character, is an error of the one who sends it."""
    with pytest.raises(InvalidInput):
        encode(frame)


def test_frames_are_bounded() -> None:
    """A frame may be as large as the limit, and no larger."""
    assert len(encode(Answer(bytes(FRAME_MAX - 1)))) == FRAME_MAX + HEAD
    with pytest.raises(TooLarge) as caught:
        encode(Answer(bytes(FRAME_MAX)))
    assert (caught.value.size, caught.value.limit) == (FRAME_MAX + 1, FRAME_MAX)


def test_publications_are_spread_over_frames() -> None:
    """Many publications make several frames of bounded size, in order, and a large one its own."""
    sizes = [10, BATCH_BYTES, 10, 20, *[1000] * 1000, FRAME_MAX // 2, 30]
    publications = [Publication("", "q", Envelope("t", bytes(size))) for size in sizes]
    frames = list(encode_publications(publications))
    found: list[Publication] = []
    for data in frames:
        frame = decode(data[HEAD:])
        assert isinstance(frame, Publish)
        assert len(data) <= BATCH_BYTES + HEAD + 1 or len(frame.publications) == 1
        found += frame.publications
    assert found == publications
    assert len(frames) < 12
    assert list(encode_publications([])) == []


def test_a_publication_has_to_fit_into_a_frame() -> None:
    """A publication that is larger than any frame is refused by its sender."""
    with pytest.raises(TooLarge):
        list(encode_publications([Publication("", "q", Envelope("t", bytes(FRAME_MAX)))]))
