"""The inbox port: how the effect of a handler happens exactly once.

The inbox is a table in the database that the handler writes to. A key, the handler's effect and its
reply are written in one transaction, so that a request which comes once more finds the reply
instead of doing its work again.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class SavedReply:
    """The reply of an attempt that has succeeded before.

    Args:
        body: Its body, as it was saved.
        headers: Its headers.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


class InboxAttempt(Protocol):
    """One transaction that has taken a key."""

    @property
    def saved(self) -> SavedReply | None:
        """The reply that was saved for the key before; then nothing is left to be done."""
        ...

    @property
    def is_tombstone(self) -> bool:
        """Whether what was done, or would be done, for the key was undone: it must not be done."""
        ...

    @property
    def connection(self) -> Any:
        """The driver's connection, in the transaction. What is written through it is the effect."""
        ...

    async def bury(self, key: str) -> None:
        """Leave a tombstone for another key, in place of a reply that was saved for it.

        It waits for another attempt that has that key, but not for long. The tombstone is there
        once the block has been left without an error, and only if `save` was called.

        Args:
            key: The key; never the attempt's own.

        Raises:
            StoreUnavailable: The database has failed, or another attempt has the key.
        """
        ...

    async def save(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Note the reply. It is there once the block has been left without an error.

        Args:
            body: The reply's body.
            headers: Its headers.

        Raises:
            InvalidInput: The database cannot hold it.
            StoreUnavailable: The database has failed.
        """
        ...


@runtime_checkable
class Inbox(Protocol):
    """Keys that were taken, with the replies. Several tasks may make attempts at the same time."""

    @property
    def url(self) -> str:
        """Where it is, without secrets."""
        ...

    async def open(self) -> None:
        """Connect, and make the table unless it exists. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Disconnect. May be called twice."""
        ...

    def attempt(self, key: str) -> AbstractAsyncContextManager[InboxAttempt]:
        """Begin a transaction that takes *key*; wait for another one that has it, but not for long.

        Leaving the block commits if `save` was called, and else undoes everything, as an error
        does. An attempt that finds a saved reply has nothing to commit.

        Args:
            key: The idempotency key; unique over all flows that share the database.

        Raises:
            StoreUnavailable: On entering: the database is away, or another attempt has the key.
                On leaving: it is not known whether it was committed. Trying again tells.
        """
        ...

    async def forget(self, older_than_ms: int, limit: int) -> int:
        """Delete the oldest keys; they must be older than any request that may still come.

        Args:
            older_than_ms: How old, in milliseconds.
            limit: How many at most.

        Returns:
            How many were deleted.
        """
        ...
