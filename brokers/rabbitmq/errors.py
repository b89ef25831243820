"""From the errors of the client library to those of flowmq, and a deadline for every question.

Theory of operation
-------------------
The library reports a lost connection in several ways. One of them is `CancelledError`, raised in
a task that nobody has cancelled: passed on, it would end a loop of the runtime in silence. So
everything that is awaited of the library is awaited through `answer`, which tells the two apart:
a task that was cancelled knows it.

Texts of the broker name queues, exchanges and users, and no secrets; texts of the library may
quote a URL. Only the former, and those of the operating system, are passed on.
"""

import asyncio
import ssl
from collections.abc import Awaitable
from typing import Final, TypeVar

from aiormq.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AuthenticationError,
    ChannelAccessRefused,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    ConnectionClosed,
    ProbableAuthenticationError,
)

from flow.errors import BrokerUnavailable

__all__ = ["FAULTS", "REFUSALS", "answer", "is_own_cancellation", "reason_of", "text_of"]

_T = TypeVar("_T")

FAULTS: Final = (AMQPError, ChannelInvalidStateError, OSError, EOFError, RuntimeError)
"""What the library raises when the connection, or a channel, is not up."""
REFUSALS: Final = (
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelLockedResource,
    ChannelPreconditionFailed,
)
"""What it raises when the broker refuses a request, and closes the channel that it came from."""
LOST: Final = "the connection was lost"


def is_own_cancellation() -> bool:
    """Return whether the running task was cancelled, be it by a deadline."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def answer(
    question: Awaitable[_T], url: str, what: str, seconds: float, scope: asyncio.Timeout
) -> _T:
    """Return the library's answer.

    Args:
        question: What is awaited.
        url: The broker, for errors.
        what: What is done, as `to declare` or `to connect`.
        seconds: How long it may take.
        scope: A timeout of so many seconds, not entered yet. It may be shortened meanwhile.

    Raises:
        BrokerUnavailable: The connection was lost, or there was no answer in time.
        ChannelClosed: The broker has refused it and closed the channel: one of `REFUSALS`.
    """
    try:
        async with scope:
            return await question
    except REFUSALS:
        raise
    except asyncio.CancelledError as error:
        if is_own_cancellation():
            raise
        raise BrokerUnavailable(url, LOST) from error
    except TimeoutError as error:
        raise BrokerUnavailable(url, f"{what} took longer than {seconds:g} s") from error
    except FAULTS as error:
        raise BrokerUnavailable(url, reason_of(error)) from error
    except Exception as error:
        # Where the library knows no reason it raises the class itself.
        if type(error) is not Exception:
            raise
        raise BrokerUnavailable(url, LOST) from error


def text_of(error: BaseException) -> str:
    """Return what the broker said when it closed a channel or a connection."""
    return " ".join(str(each) for each in error.args if isinstance(each, str)) or LOST


def reason_of(error: BaseException | None) -> str:
    """Return why there is no connection, without secrets.

    Args:
        error: What the library reported.
    """
    if isinstance(error, ProbableAuthenticationError | AuthenticationError):
        return "the login was refused: check the user and the password"
    if isinstance(error, ConnectionClosed | ChannelClosed):
        return text_of(error)
    if isinstance(error, AMQPConnectionError):
        return _inner_reason(error)
    return _system_reason(error) if isinstance(error, OSError) else LOST


def _inner_reason(error: AMQPConnectionError) -> str:
    """Return what is behind an error that the library has wrapped."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return reason_of(cause)
    if isinstance(cause, asyncio.IncompleteReadError):
        return "it closed the connection"
    return text_of(error)


def _system_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "no reason"
        return f"TLS failed ({reason}): does it speak TLS on this port?"
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there (connection refused)"
    # asyncio puts the outcomes for several IP addresses into one text without a number.
    return error.strerror or text_of(error)
