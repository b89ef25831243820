"""Tests of `flow.ports.limits`; that every broker keeps to them is in `tests/conformance`."""

from __future__ import annotations

import pytest

from flow.errors import InvalidInput, TooLarge
from flow.ports import Envelope, Publication, check_publication
from flow.ports.limits import HEADERS_BYTES

GOOD = Envelope("type", b"x" * 100, "id", "correlation", "reply", {"name": "value"}, "content")


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
    with pytest.raises(TooLarge, match="the headers of a message has 65,"):
        check_publication(Publication("", "q", heavy))
