"""The message that a user sees: headers and a body that is raw JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flow import codec
from flow.errors import TooLarge
from flow.names import HEADERS_LIMIT, check_header, is_reserved_header

__all__ = ["Message", "check_headers", "user_headers"]

_USUAL: Final = frozenset(
    {
        "flow-actor",
        "flow-attempt",
        "flow-endpoint",
        "flow-execution",
        "flow-outcome",
        "flow-path",
        "flow-timeout",
    }
)
"""Headers of the system that most messages have."""


@dataclass(frozen=True, slots=True)
class Message:
    """Metadata headers and a JSON body.

    A handler that takes a Message sees what arrived as it is, and one that returns a Message
    says what goes back as it is.

    Args:
        headers: Names and values, both text.
        body: The JSON text; decoded only when somebody calls `json`.
    """

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b"null"

    @classmethod
    def of(cls, value: object, headers: Mapping[str, str] | None = None) -> "Message":
        """Return a message whose body stands for *value*.

        Args:
            value: A JSON value.
            headers: Names and values, both text.

        Raises:
            InvalidInput: JSON has no form for the value.
        """
        return cls(dict(headers or {}), codec.dumps(value))

    def json(self) -> Any:
        """Return the value that the body stands for.

        Raises:
            InvalidInput: The body is not JSON.
        """
        return codec.loads(self.body, "the message's body")


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers that a user wants to send, if they may be sent.

    Args:
        headers: Names and values.

    Raises:
        InvalidName: A name belongs to the system, or is not printable ASCII.
        TooLarge: They are too large together.
    """
    if not headers:
        return {}
    checked = {check_header(name): str(value) for name, value in headers.items()}
    size = sum(len(name) + len(value.encode()) for name, value in checked.items())
    if size > HEADERS_LIMIT:
        raise TooLarge("the headers", size, HEADERS_LIMIT)
    return checked


def user_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a received message that users may see: all but the system's.

    Args:
        headers: What arrived.
    """
    found: dict[str, str] = {}
    if headers.keys() <= _USUAL:
        # Nearly all messages have no others, and one comparison says so.
        return found
    for name in headers:
        # The system's own are nearly always in lower case, and told by that without a call.
        if name[:5] != "flow-" and not is_reserved_header(name):
            found[name] = headers[name]
    return found
