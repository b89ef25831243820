"""Messages: raw JSON with headers, of which users see and set only their own."""

from math import nan
from typing import Any

import pytest

from flow.errors import InvalidInput, InvalidName, TooLarge
from flow.message import Message, check_headers, user_headers
from flow.names import HEADERS_LIMIT


def test_an_empty_message_is_null() -> None:
    """A message of which nothing is said has no headers, and null for a body."""
    message = Message()
    assert (message.headers, message.body, message.json()) == ({}, b"null", None)


def test_a_message_is_made_from_a_value() -> None:
    """The body stands for the value, and the headers are a copy."""
    headers = {"tenant": "a"}
    message = Message.of({"total": [1, 2.5, None]}, headers)
    headers["tenant"] = "b"
    assert message == Message({"tenant": "a"}, b'{"total":[1,2.5,null]}')
    assert message.json() == {"total": [1, 2.5, None]}


@pytest.mark.parametrize("value", [nan, [1, {"a": nan}], object(), {1: 2}, "\ud800", 2**64])
def test_a_message_is_not_made_from_what_json_lacks(value: Any) -> None:
    """What JSON has no form for is refused, and does not become null."""
    with pytest.raises(InvalidInput, match=r"^the value: "):
        Message.of(value)


def test_a_body_that_is_no_json_is_told() -> None:
    """The body is decoded when it is looked at, and only then found wrong."""
    message = Message(body=b"{")
    with pytest.raises(InvalidInput, match=r"^the message's body: it is not valid JSON: "):
        message.json()


def test_headers_of_users_may_be_sent() -> None:
    """Names and values are text, and values are made text."""
    number: Any = 5
    assert check_headers({"tenant": "a", "Size": number}) == {"tenant": "a", "Size": "5"}


@pytest.mark.parametrize("name", ["CC", "bcc", "flow-id", "Flow-Id", "X-Death", "", "a b", "é"])
def test_headers_of_the_system_may_not(name: str) -> None:
    """Names that steer a message, and names that are none, are refused."""
    with pytest.raises(InvalidName):
        check_headers({name: "1"})


def test_headers_have_a_limit() -> None:
    """All names and values together have a limit in bytes, not in characters."""
    fitting = {"a": "x" * (HEADERS_LIMIT - 1)}
    assert check_headers(fitting) == fitting
    with pytest.raises(TooLarge):
        check_headers({"a": "é" * (HEADERS_LIMIT // 2)})


def test_only_headers_of_users_are_seen() -> None:
    """What the system put on a message is hidden."""
    headers = {"tenant": "a", "flow-id": "1", "x-death": "2", "CC": "3"}
    assert user_headers(headers) == {"tenant": "a"}


@pytest.mark.parametrize(
    ("headers", "shown"),
    [
        ({}, {}),
        ({"flow-execution": "e", "flow-path": "p"}, {}),
        ({"flow-execution": "e", "flow-new": "1", "Flow-Path": "p"}, {}),
        ({"flow-execution": "e", "tenant": "a", "CC": "b"}, {"tenant": "a"}),
    ],
)
def test_users_see_their_own_headers_only(headers: dict[str, str], shown: dict[str, str]) -> None:
    """Those of the system are kept from them, the usual ones and all others."""
    assert user_headers(headers) == shown
