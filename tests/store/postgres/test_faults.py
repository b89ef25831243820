"""The driver's errors, sorted."""

import asyncio
import errno
import socket
from typing import Any

import asyncpg
import pytest
from asyncpg.exceptions import _base

from flow.errors import ConfigurationError, InvalidInput, StoreUnavailable, UnknownExecution
from store.postgres import faults
from store.postgres.address import Address

ADDRESS = Address.of("postgresql://me:secret@db/shop")


def raised(sqlstate: str, message: str = "no", **fields: str) -> asyncpg.PostgresError:
    """Return an error as the server sends it."""
    error: Any = asyncpg.PostgresError.new({"C": sqlstate, "M": message, **fields})
    assert isinstance(error, asyncpg.PostgresError)
    return error


@pytest.mark.parametrize("sqlstate", [faults.REFUSED, "40001", "40P01", "55P03", "57014", "23505"])
def test_what_is_tried_again(sqlstate: str) -> None:
    """What the server has undone for somebody else's sake is tried again, on the same session."""
    error = raised(sqlstate)
    assert faults.sqlstate(error) == sqlstate
    assert faults.is_retryable(error)
    assert faults.is_harmless(error)
    assert isinstance(faults.translated(error, ADDRESS), StoreUnavailable)


@pytest.mark.parametrize(
    "error", [raised("42P01"), raised("22001"), raised("53100"), raised("23505", n="outbox_pkey")]
)
def test_what_is_not_tried_again(error: asyncpg.PostgresError) -> None:
    """What would fail again is not tried again."""
    assert not faults.is_retryable(error)
    assert faults.is_harmless(error)


@pytest.mark.parametrize(
    "error",
    [
        raised("57P01"),
        raised("08006"),
        raised("25P03"),
        raised("25006"),
        asyncpg.InterfaceError("closed"),
        asyncpg.ConnectionDoesNotExistError("closed"),
        asyncpg.InternalClientError("another operation is in progress"),
        ConnectionResetError("reset"),
        TimeoutError(),
        EOFError(),
    ],
)
def test_what_leaves_a_session_in_doubt(error: Exception) -> None:
    """After anything but a refused statement, the session is used no more."""
    assert not faults.is_harmless(error)
    assert isinstance(faults.translated(error, ADDRESS), StoreUnavailable)


def test_cancelling_leaves_a_session_in_doubt() -> None:
    """Whoever was cancelled has not heard how it ended."""
    assert not faults.is_harmless(asyncio.CancelledError())
    assert not faults.is_harmless(ZeroDivisionError())


def test_our_own_errors_are_kept() -> None:
    """An error of flowmq stays as it is, and leaves the session as it was; bugs stay bugs."""
    ours = UnknownExecution("a")
    assert faults.translated(ours, ADDRESS) is ours
    assert faults.is_harmless(ours)
    bug = ZeroDivisionError()
    assert faults.translated(bug, ADDRESS) is bug


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (raised("22P05", "unsupported Unicode"), "unsupported Unicode"),
        (raised("54000", "index row size 9 exceeds 8"), "index row size 9 exceeds 8"),
        (_base.DataError("invalid input for $1: 'private' (too big)"), "too big"),
        (_base.DataError("private"), "it does not fit"),
        (OverflowError("private"), "it does not fit"),
    ],
)
def test_values_are_told_apart(error: Exception, reason: str) -> None:
    """A value that cannot be stored is invalid input, and is not repeated."""
    shown = faults.translated(error, ADDRESS)
    assert isinstance(shown, InvalidInput)
    assert reason in str(shown)
    assert "private" not in str(shown)
    assert faults.is_harmless(error)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed"), "Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service"),
        (OSError("many: secret"), r"many: \*\*\*"),
        (raised("42P01", "two\nlines"), "two lines"),
        (EOFError(), "EOFError"),
    ],
)
def test_messages_are_one_clean_line(error: Exception, text: str) -> None:
    """A message says what happened in one line, without secrets."""
    shown = faults.translated(error, ADDRESS)
    with pytest.raises(StoreUnavailable, match=text):
        raise shown


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (raised("28P01", "password authentication failed"), "password authentication failed"),
        (raised("3D000", "there is none"), "there is none; make it with createdb"),
        (raised("42704", "unrecognized"), "unrecognized; PostgreSQL 14 or newer"),
        (raised("08P01", "unsupported startup parameter"), "without a pooler in front"),
        (asyncpg.ClientConfigurationError("bad: secret"), r"bad: \*\*\*"),
        (ValueError("bad"), "bad"),
    ],
)
def test_wrong_set_up_is_told(error: Exception, text: str) -> None:
    """What will never work is an error of the set-up."""
    shown = faults.login_fault(error, ADDRESS)
    assert isinstance(shown, ConfigurationError)
    with pytest.raises(ConfigurationError, match=text):
        raise shown


def test_away_is_no_wrong_set_up() -> None:
    """A server that starts, or has too many clients, is only away."""
    for error in (raised("57P03"), raised("53300"), OSError(errno.ECONNREFUSED, "x")):
        assert faults.login_fault(error, ADDRESS) is None
