"""Tests of `flow.ports.limits`; that every broker keeps to them is in `tests/conformance`."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, strategies as st

from flow.errors import InvalidInput, TooLarge
from flow.ports import Envelope, Publication, check_publication
from flow.ports.limits import HEADER_NAME_BYTES, HEADERS_BYTES, NAME_BYTES

GOOD = Envelope("type", b"x" * 100, "id", "correlation", "reply", {"name": "value"}, "content")

PIECES: Final = st.sampled_from(
    ["", "a", "cC", "b", "\xfc", "\ud800", "k" * 60, "n" * 128, "\U0001f980"]
)
TEXTS: Final = st.lists(PIECES, max_size=5).map("".join)


def bytes_of(text: str) -> int:
    """Return the bytes of a text; more than are ever allowed if it is no Unicode."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 2 * HEADERS_BYTES


@given(texts=st.tuples(*[TEXTS] * 7), headers=st.dictionaries(TEXTS, TEXTS, max_size=4))
def test_whatever_the_texts_are_each_is_measured(
    texts: tuple[str, ...], headers: dict[str, str]
) -> None:
    """Texts that are looked at together are refused, and counted, as if each was by itself."""
    exchange, key, kind, message, correlation, reply_to, content = texts
    envelope = Envelope(kind, b"", message, correlation, reply_to, headers, content)
    size = sum(map(bytes_of, (*texts, *headers, *headers.values()))) + 6 * len(headers)
    may_be = (
        size <= HEADERS_BYTES
        and all(bytes_of(text) <= NAME_BYTES for text in texts)
        and all(bytes_of(name) <= HEADER_NAME_BYTES for name in headers)
        and not {name.lower() for name in headers} & {"cc", "bcc"}
    )
    if may_be:
        assert check_publication(Publication(exchange, key, envelope)) == size
    else:
        with pytest.raises((InvalidInput, TooLarge)):
            check_publication(Publication(exchange, key, envelope))


def test_it_counts_all_but_the_body() -> None:
    """What a message counts for is its names, ids and headers, in bytes of UTF-8."""
    small = check_publication(Publication("exchange", "key", GOOD))
    assert small == len("exchangekeytypeidcorrelationreplycontent") + len("namevalue") + 6
    wide = Envelope("ü", b"", headers={"ü": "🦀"}, content_type="")
    assert check_publication(Publication("", "", wide)) == 2 + 2 + 4 + 6


@pytest.mark.parametrize("name", ["cc", "CC", "Bcc"])
def test_headers_that_route_are_refused(name: str) -> None:
    """A header by which RabbitMQ sends copies elsewhere is refused however it is written."""
    with pytest.raises(InvalidInput, match=f"header '{name}'.*copies"):
        check_publication(Publication("", "q", Envelope("t", b"", headers={name: "elsewhere"})))


def test_errors_name_what_is_wrong() -> None:
    """An error says which text it is, how long it is and what is allowed, and quotes no value."""
    with pytest.raises(
        InvalidInput, match="the routing key of a message: it has 256 bytes; at most"
    ):
        check_publication(Publication("", "k" * 256, GOOD))
    with pytest.raises(
        InvalidInput, match="header 'secret' of a message: it is no Unicode"
    ) as caught:
        check_publication(Publication("", "q", Envelope("t", b"", headers={"secret": "x\ud800"})))
    assert "x\\ud800" not in str(caught.value)
    heavy = Envelope("t", b"", headers={"h": "v" * HEADERS_BYTES})
    with pytest.raises(TooLarge, match="the headers of a message has 114,"):
        check_publication(Publication("", "q", heavy))
