"""Tests of `brokers.rabbitmq.contents`."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from brokers.rabbitmq.contents import Contents, text_at
from brokers.rabbitmq.frames import BODY, HEADER, BadFrame


def header_of(size: int) -> bytes:
    """Return the payload of a header frame."""
    return struct.pack(">HHQH", 60, 0, size, 0)


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=5))
def test_a_body_comes_in_any_number_of_frames(pieces: list[bytes]) -> None:
    """A message is complete with the last byte of its body, not before; the next one follows."""
    contents = Contents()
    header = header_of(len(b"".join(pieces)))
    for _ in range(2):
        contents.begin(b"method")
        told = [contents.take(HEADER, header), *(contents.take(BODY, each) for each in pieces)]
        assert told == [False] * len(pieces) + [True]
        assert contents.body == b"".join(pieces)
        assert (contents.method, contents.header) == (b"method", header)
        contents.clear()


def test_what_does_not_belong_there_is_refused() -> None:
    """Parts of no message, a second beginning, and more body than was said are errors."""
    contents = Contents()
    for kind in (HEADER, BODY, 9):
        with pytest.raises(BadFrame, match="part of no message"):
            contents.take(kind, header_of(1))
    contents.begin(b"method")
    with pytest.raises(BadFrame, match="within a message"):
        contents.begin(b"method")
    with pytest.raises(BadFrame, match="part of no message"):
        contents.take(BODY, b"x")
    assert not contents.take(HEADER, header_of(2))
    with pytest.raises(BadFrame, match="part of no message"):
        contents.take(HEADER, header_of(2))
    assert not contents.take(BODY, b"x")
    with pytest.raises(BadFrame, match="more of a message"):
        contents.take(BODY, b"xx")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"key", "key"),
        ("schlüssel".encode(), "schlüssel"),
        (b"k\xff", "k\ufffd"),
        (b"\xff" * 255, "\ufffd" * 85),
    ],
)
def test_names_are_text_that_fits(data: bytes, text: str) -> None:
    """A name that is no UTF-8 becomes text that is not longer than names may be."""
    assert text_at(b"??" + bytes([len(data)]) + data + b"rest", 2) == text
