"""Inboxes are held to the suite."""

from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from flow.ports import Inbox, InboxAttempt
from store.memory import MemoryInbox
from store.postgres import PostgresInbox
from tests.conformance.inbox import InboxHarness, InboxSuite


class MemoryHarness:
    """One inbox in memory, opened again and again."""

    def __init__(self) -> None:
        self._inbox = MemoryInbox()

    def new(self) -> Inbox:
        """Return the inbox."""
        return self._inbox

    async def effect(self, attempt: InboxAttempt, name: str) -> None:
        """Add to what the attempt does."""
        cast("list[object]", attempt.connection).append(name)

    async def effects(self) -> list[str]:
        """Return what was done."""
        return [str(each) for each in self._inbox.effects]


class PostgresHarness:
    """Inboxes on one database, with a table that handlers write to."""

    def __init__(self, url: str) -> None:
        self._url = url

    def new(self) -> Inbox:
        """Return another inbox."""
        return PostgresInbox(self._url)

    async def effect(self, attempt: InboxAttempt, name: str) -> None:
        """Write a row, in a transaction of the handler's own."""
        async with attempt.connection.transaction():
            await attempt.connection.execute("INSERT INTO effect VALUES ($1)", name)

    async def effects(self) -> list[str]:
        """Return the rows."""
        connection = await asyncpg.connect(self._url)
        rows = await connection.fetch("SELECT name FROM effect ORDER BY number")
        await connection.close()
        return [row["name"] for row in rows]


class TestMemory(InboxSuite):
    """The inbox in memory."""

    @pytest.fixture
    def harness(self) -> InboxHarness:
        """Return an empty inbox."""
        return MemoryHarness()

    @pytest.fixture
    async def inbox(self, harness: InboxHarness) -> AsyncIterator[Inbox]:
        """Open an inbox."""
        opened = harness.new()
        await opened.open()
        yield opened
        await opened.close()


class TestPostgres(InboxSuite):
    """The inbox in a PostgreSQL database."""

    @pytest.fixture
    async def harness(self, database_url: str) -> InboxHarness:
        """Return an empty database."""
        connection = await asyncpg.connect(database_url)
        await connection.execute("CREATE TABLE effect (name text, number serial)")
        await connection.close()
        return PostgresHarness(database_url)

    @pytest.fixture
    async def inbox(self, harness: InboxHarness) -> AsyncIterator[Inbox]:
        """Open an inbox."""
        opened = harness.new()
        await opened.open()
        yield opened
        await opened.close()
