"""Tests of `brokers.rabbitmq.errors`."""

from __future__ import annotations

import asyncio
import errno
import ssl

import pytest
from aiormq.exceptions import (
    AMQPConnectionError,
    AMQPError,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    ConnectionClosed,
    ConnectionNotAllowed,
    ProbableAuthenticationError,
)

from brokers.rabbitmq.errors import LOST, answer, reason_of, text_of
from flow.errors import BrokerUnavailable

URL = "amqp://h"


async def ask(error: BaseException) -> None:
    """Await something of the library that raises *error*."""

    async def question() -> None:
        raise error

    await answer(question(), URL, "to ask", 5, asyncio.timeout(5))


@pytest.mark.parametrize(
    "error",
    [
        AMQPError("x"),
        ChannelInvalidStateError("x"),
        ConnectionResetError("x"),
        asyncio.IncompleteReadError(b"", 7),
        RuntimeError("x"),
        Exception(),
        ChannelClosed(541, "INTERNAL_ERROR"),
        ConnectionClosed(320, "CONNECTION_FORCED"),
    ],
)
async def test_faults_become_unavailable(error: Exception) -> None:
    """Whatever the library raises about its connection means that the broker cannot be reached."""
    with pytest.raises(BrokerUnavailable) as caught:
        await ask(error)
    assert caught.value.url == URL
    assert caught.value.__cause__ is error


async def test_mistakes_of_ours_stay_visible() -> None:
    """An error that has nothing to do with the connection is not taken for a lost one."""
    with pytest.raises(TypeError):
        await ask(TypeError("a mistake"))


async def test_refusals_stay_what_they_are() -> None:
    """What the broker refuses is for the asker to understand."""
    with pytest.raises(ChannelNotFoundEntity):
        await ask(ChannelNotFoundEntity("NOT_FOUND"))


async def test_a_cancellation_by_the_library_is_a_lost_connection() -> None:
    """`CancelledError` in a task that nobody has cancelled does not end the task."""
    with pytest.raises(BrokerUnavailable, match=LOST):
        await ask(asyncio.CancelledError())


async def test_a_cancelled_task_stays_cancelled() -> None:
    """A task that waits for an answer can be cancelled."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await answer(asyncio.Event().wait(), URL, "to ask", 5, asyncio.timeout(5))


async def test_silence_has_a_deadline() -> None:
    """A question that is not answered in time says which one, and how long."""
    with pytest.raises(BrokerUnavailable, match="to ask took longer than 0 s"):
        await answer(asyncio.Event().wait(), URL, "to ask", 0, asyncio.timeout(0))


def chained(cause: BaseException | None) -> AMQPConnectionError:
    """Return an error of the library with what is behind it."""
    error = AMQPConnectionError("wrapped")
    error.__cause__ = cause
    return error


def certificate_error() -> ssl.SSLCertVerificationError:
    """Return what Python raises for a certificate that is not trusted."""
    error = ssl.SSLCertVerificationError(1, "long text")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, LOST),
        (ValueError("amqp://u:secret@h"), LOST),
        (ProbableAuthenticationError("ACCESS_REFUSED"), "the login was refused"),
        (ConnectionNotAllowed("NOT_ALLOWED - vhost x not found"), "vhost x not found"),
        (ConnectionClosed(320, "CONNECTION_FORCED - bye"), "CONNECTION_FORCED - bye"),
        (ChannelClosed(None, None), LOST),
        (chained(ConnectionRefusedError()), "nobody listens there"),
        (chained(OSError(errno.EHOSTUNREACH, "No route to host")), "No route to host"),
        (chained(OSError("Multiple exceptions: [Errno 111]")), "Multiple exceptions"),
        (chained(asyncio.IncompleteReadError(b"", 7)), "it closed the connection"),
        (chained(None), "wrapped"),
        (chained(certificate_error()), "not trusted: self-signed certificate"),
        (chained(ssl.SSLError(1, "text")), "TLS failed"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "Connection timed out"),
    ],
)
def test_reasons_are_for_people(error: BaseException | None, reason: str) -> None:
    """Every way to have no connection has a text that says what is wrong."""
    assert reason in reason_of(error)


def test_the_brokers_text_is_kept() -> None:
    """What the broker said about a refusal is passed on without its number."""
    assert text_of(ChannelClosed(404, "NOT_FOUND - no queue 'q'")) == "NOT_FOUND - no queue 'q'"
