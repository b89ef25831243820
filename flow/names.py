"""What may be called what, and how large things may be.

Every cap of the system stands here, so that a reader sees them side by side.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from flow.errors import InvalidName

BODY_LIMIT: Final = 256 * 1024
"""Bytes of one input or one result."""
REQUEST_LIMIT: Final = 2 * 1024 * 1024
"""Bytes of a request or an answer that is put together from several bodies."""
HEADERS_LIMIT: Final = 16 * 1024
"""Bytes of all headers of one message, names and values together."""
DEPTH_LIMIT: Final = 64
"""Levels of nesting in a JSON body."""
STEPS_LIMIT: Final = 100_000
"""Steps of one workflow, those of its sub-workflows included."""
DISPATCH_WINDOW: Final = 1_000
"""Steps of one execution that are out at the same time."""
TRACEBACK_LIMIT: Final = 8 * 1024
"""Characters of a remote traceback that are kept (its end)."""
MESSAGE_LIMIT: Final = 4 * 1024
"""Characters of an error's message that are kept (its beginning)."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\Z")
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z")
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\.[A-Za-z0-9_][A-Za-z0-9_-]{0,99}\Z")
_TOPIC: Final = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z")
_PATTERN: Final = re.compile(r"([A-Za-z0-9_-]+|[*#])(\.([A-Za-z0-9_-]+|[*#]))*\Z")
_NAME_RULE: Final = (
    "it must start with a letter or digit and hold at most 200 letters, digits, '.', '_' and '-'"
)
_PART_RULE: Final = (
    "it must start with a letter, digit or '_' and hold at most 100 letters, digits, '_' and '-', "
    "and no dot"
)
_TOPIC_RULE: Final = (
    "it must be words of letters, digits, '_' and '-' with dots between, at most 200 characters"
)
_TOPIC_LENGTH: Final = 200

# Headers that steer a message. A user who could set them could send a copy of it elsewhere.
_RESERVED_HEADERS: Final = frozenset({"cc", "bcc"})
_RESERVED_PREFIXES: Final = ("flow-", "x-")


def check_name(kind: str, name: object) -> str:
    """Return *name* if it may be the id of a *kind* (step, workflow, execution, namespace).

    Args:
        kind: What is being named, for the error.
        name: The candidate.

    Raises:
        InvalidName: It breaks the rule, which the error tells.
    """
    if isinstance(name, str) and _NAME.match(name):
        return name
    raise InvalidName(kind, str(name), _NAME_RULE)


def check_names(kind: str, names: Sequence[str]) -> None:
    """Refuse names of which one may not be the id of a *kind*; see `check_name`.

    Args:
        kind: What is being named, for the error.
        names: The candidates.

    Raises:
        InvalidName: One breaks the rule.
    """
    # Names may come out of JSON, where anything can be one.
    with suppress(TypeError):
        if all(map(_NAME.match, names)):
            return
    for name in names:
        check_name(kind, name)


def check_part(kind: str, name: object) -> str:
    """Return *name* if it may be a service or a method, which have no dot.

    Args:
        kind: What is being named, for the error.
        name: The candidate.

    Raises:
        InvalidName: It breaks the rule, which the error tells.
    """
    if isinstance(name, str) and _PART.match(name):
        return name
    raise InvalidName(kind, str(name), _PART_RULE)


def check_endpoint(name: object) -> str:
    """Return *name* if it is an endpoint: a service and a method with one dot between.

    Args:
        name: The candidate, such as `payments.charge`.

    Raises:
        InvalidName: It is not.
    """
    if isinstance(name, str) and _ENDPOINT.match(name):
        # The slice makes a plain string of a member of an enumeration, and costs nothing.
        return name[:]
    rule = "it must be 'service.method', each of letters, digits, '_' and '-'"
    raise InvalidName("endpoint", str(name), rule)


def check_topic(name: object) -> str:
    """Return *name* if it may be the topic of a publish step.

    Args:
        name: The candidate, such as `orders.paid`.

    Raises:
        InvalidName: It breaks the rule, which the error tells.
    """
    if isinstance(name, str) and len(name) <= _TOPIC_LENGTH and _TOPIC.match(name):
        return name
    raise InvalidName("topic", str(name), _TOPIC_RULE)


def check_topics(pattern: object) -> str:
    """Return *pattern* if it may say which topics a handler wants.

    Args:
        pattern: A topic in which `*` stands for one word, and `#` for any number of words, such as
            `orders.*`.

    Raises:
        InvalidName: It breaks the rule, which the error tells.
    """
    if isinstance(pattern, str) and len(pattern) <= _TOPIC_LENGTH and _PATTERN.match(pattern):
        return pattern
    rule = f"{_TOPIC_RULE}; a word may be '*' for any word, or '#' for any number of words"
    raise InvalidName("pattern of topics", str(pattern), rule)


def check_header(name: str) -> str:
    """Return *name* if a user may set this header on a message.

    Args:
        name: The header's name; compared without regard to case.

    Raises:
        InvalidName: It is empty, unprintable, or one that steers the message.
    """
    lower = name.lower()
    if not name or not name.isascii() or not name.isprintable() or " " in name:
        raise InvalidName("header", name, "it must be printable ASCII without spaces")
    if lower in _RESERVED_HEADERS or lower.startswith(_RESERVED_PREFIXES):
        raise InvalidName("header", name, "CC, BCC, flow-* and x-* belong to the system")
    return name


def is_reserved_header(name: str) -> bool:
    """Return whether *name* belongs to the system and is stripped from what users send.

    Args:
        name: The header's name; compared without regard to case.
    """
    lower = name.lower()
    return lower in _RESERVED_HEADERS or lower.startswith(_RESERVED_PREFIXES)


def service_of(endpoint: str) -> str:
    """Return the service part of an endpoint.

    Args:
        endpoint: A valid endpoint, such as `payments.charge`.
    """
    return endpoint.partition(".")[0]
