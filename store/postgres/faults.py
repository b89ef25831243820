"""What the driver raises, as errors of flowmq: without secrets, and sorted by what is known.

Whether a connection can be used once more is decided here too. A statement that the server has
refused leaves it as it was; after anything else nobody knows what the server is still doing.
"""

import os
import socket
from typing import Final

import asyncpg

from flow.errors import ConfigurationError, FlowError, InvalidInput, StoreUnavailable
from store.postgres.address import Address

REFUSED: Final = "FL001"
"""What the function `refuse` of the schema raises."""

_RETRYABLE: Final = frozenset(
    {
        REFUSED,
        "40001",  # serialization failure
        "40P01",  # deadlock
        "55P03",  # lock not available in time
        "57014",  # statement timeout
        "23505",  # somebody else was first: seen by the next snapshot
    }
)
_LOST_CLASSES: Final = ("08", "57P", "25P03", "25006")
"""Connection lost, server shutting down, session ended, and a server that is no primary."""
DRIVERS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What is asked between the server's farewell and the end of the connection.
    asyncpg.InternalClientError,
)
"""What the driver raises by itself."""

_REJECTED_LOGIN: Final = ("28", "3D000", "42501", "42704", "08P01")
_VALUE_CLASSES: Final = ("22", "54")
"""A value that PostgreSQL cannot store, or that is too big for it."""


def sqlstate(error: BaseException) -> str:
    """Return PostgreSQL's code of an error, or an empty string.

    Args:
        error: The error.
    """
    return str(error.sqlstate or "") if isinstance(error, asyncpg.PostgresError) else ""


def is_retryable(error: asyncpg.PostgresError) -> bool:
    """Return whether nothing was written, and trying again may help.

    Args:
        error: What the server answered.
    """
    if error.constraint_name == "outbox_pkey":
        return False
    return sqlstate(error) in _RETRYABLE


def is_harmless(error: BaseException) -> bool:
    """Return whether the connection is as good as before.

    Args:
        error: What came out of using it.
    """
    if isinstance(error, FlowError) or _is_value_fault(error):
        return True
    state = sqlstate(error)
    return bool(state) and not state.startswith(_LOST_CLASSES)


def translated(error: Exception, address: Address) -> Exception:
    """Return the error of flowmq for one that came out of using a connection.

    Args:
        error: The driver's error.
        address: The database.

    Returns:
        Another error, or the same one if it is none of the driver's.
    """
    if isinstance(error, FlowError):
        return error
    if _is_value_fault(error):
        return InvalidInput("a value that is to be stored", _value_fault(error, address))
    if isinstance(error, TimeoutError):
        return StoreUnavailable(address.url, "it does not answer in time")
    if isinstance(error, (OSError, EOFError, *DRIVERS)):
        return StoreUnavailable(address.url, message_of(error, address))
    return error


def login_fault(error: Exception, address: Address) -> FlowError | None:
    """Return what is wrong with the set-up, if an error while connecting says so.

    Args:
        error: The driver's error.
        address: The database.
    """
    what = f"the store {address.url}"
    if isinstance(error, asyncpg.ClientConfigurationError | ValueError):
        return ConfigurationError(what, message_of(error, address))
    state = sqlstate(error)
    if not state.startswith(_REJECTED_LOGIN):
        return None
    reason = message_of(error, address)
    if state.startswith("3D000"):
        reason += "; make it with createdb"
    elif state in {"42704", "08P01"}:
        # An old server does not know our settings, a pooler does not want them.
        reason += "; PostgreSQL 14 or newer is needed, without a pooler in front"
    return ConfigurationError(what, reason)


def message_of(error: BaseException, address: Address) -> str:
    """Return an error's message in one line, without secrets.

    Args:
        error: The error.
        address: The database.
    """
    text = str(error) or type(error).__name__
    if isinstance(error, asyncpg.PostgresError):
        text = str(error.message or error)
    elif isinstance(error, OSError) and error.errno:
        # The event loop puts a text of its own in front of the system's.
        is_named = isinstance(error, socket.gaierror)
        text = str(error.strerror) if is_named else os.strerror(error.errno)
    return address.clean(" ".join(text.split()))


def _is_value_fault(error: BaseException) -> bool:
    if isinstance(error, asyncpg.ClientConfigurationError):
        return False
    # The driver's error for a value that it cannot encode has no public name of its own.
    is_drivers = isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)
    is_ours = isinstance(error, OverflowError | UnicodeError)
    return is_drivers or is_ours or sqlstate(error).startswith(_VALUE_CLASSES)


def _value_fault(error: Exception, address: Address) -> str:
    # The driver's own message repeats the value, which is nobody's business.
    if sqlstate(error):
        return message_of(error, address)
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return type(cause).__name__ if isinstance(cause, UnicodeError) else _without_value(str(cause))


def _without_value(text: str) -> str:
    _, bracket, reason = text.rpartition(" (")
    return reason.removesuffix(")") if bracket else "it does not fit"
