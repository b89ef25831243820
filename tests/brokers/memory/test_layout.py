"""Tests of `brokers.memory.layout`."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st

from brokers.memory.layout import Reader, pack_blob, pack_message, pack_texts, unpack_message
from flow.errors import CorruptRecord
from flow.ports import Envelope


@given(st.lists(st.text()))
def test_texts_come_back(texts: list[str]) -> None:
    """A block of strings is read as it was written."""
    reader = Reader(pack_texts(texts))
    assert reader.texts() == texts
    assert reader.is_done


@given(st.binary(), st.binary())
def test_blobs_come_back(first: bytes, second: bytes) -> None:
    """Bodies that follow each other are read as they were written."""
    reader = Reader(pack_blob(first) + pack_blob(second))
    assert (reader.blob(), reader.blob(), reader.rest()) == (first, second, b"")


@given(st.text(), st.binary(), st.dictionaries(st.text(), st.text()))
def test_messages_come_back(text: str, body: bytes, headers: dict[str, str]) -> None:
    """An envelope and the strings that go with it are read as they were written."""
    envelope = Envelope(text, body, "m", text, "r", headers, "c")
    assert unpack_message(Reader(pack_message([text, "k"], envelope)), 2) == ([text, "k"], envelope)


@given(st.binary())
def test_garbage_raises_only_the_typed_error(data: bytes) -> None:
    """Whatever the bytes are, they are a message or a CorruptRecord."""
    try:
        _, envelope = unpack_message(Reader(data), 1)
    except CorruptRecord:
        return
    assert len(envelope.body) < len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack(">II", 2**32 - 1, 0),  # more strings than there are bytes
        struct.pack(">III", 1, 2**32 - 1, 1),  # more bytes than there are
        struct.pack(">III", 1, 1, 2) + b"a",  # longer than the block
        struct.pack(">III", 1, 2, 1) + b"ab",  # shorter than the block
        struct.pack(">III", 1, 1, 1) + b"\xff",  # no UTF-8
        struct.pack(">III", 1, 3, 1) + b"\xed\xa0\x80",  # half of a pair
    ],
)
def test_broken_texts_are_refused(data: bytes) -> None:
    """A block of strings that contradicts itself is refused."""
    with pytest.raises(CorruptRecord):
        Reader(data).texts()


@pytest.mark.parametrize("count", [0, 5, 7, 9])
def test_messages_need_pairs_of_headers(count: int) -> None:
    """Too few strings, or a header without a value, make no message."""
    data = pack_texts(["x"] * count) + pack_blob(b"")
    with pytest.raises(CorruptRecord, match=f"{count} strings"):
        unpack_message(Reader(data), 1)
