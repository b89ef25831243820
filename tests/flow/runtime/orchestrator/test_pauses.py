"""Tests of `orchestrator.pauses`: a copy of what the store says."""

from __future__ import annotations

import asyncio

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Namespace
from flow.runtime.orchestrator.pauses import Pauses
from flow.runtime.tasks import TaskGroup
from store.memory import MemoryStore
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worlds import away


async def test_pauses_are_known_once_they_are_read() -> None:
    """The copy changes when it is read again, and not before."""
    store = MemoryStore(lambda: 0)
    await store.open(Namespace("world", 1))
    pauses = Pauses(store)
    await store.pause("chain", "p-1")
    assert pauses.command("chain") == ""
    await pauses.load()
    assert (pauses.command("chain"), pauses.command("other")) == ("p-1", "")
    await store.pause("chain", "")
    assert pauses.command("chain") == "p-1"
    await pauses.load()
    assert pauses.command("chain") == ""


async def test_an_absent_store_changes_nothing() -> None:
    """A workflow that is known to be paused stays so while the store cannot be asked."""

    class Away(MemoryStore):
        """A store that is away after the first time."""

        asked = 0

        async def pauses(self) -> dict[str, str]:
            """Return the pauses, once."""
            self.asked += 1
            if self.asked > 1:
                raise away()
            return {"chain": "p-1"}

    pauses = Pauses(Away(lambda: 0))
    await pauses.load()
    with pytest.raises(StoreUnavailable):
        await pauses.load()
    assert pauses.command("chain") == "p-1"


async def test_an_old_answer_replaces_no_newer_one() -> None:
    """Whoever has read the pauses knows them, also if somebody has asked before and hears later."""

    class Slow(MemoryStore):
        """A store whose first answer takes its time on the way."""

        delay: asyncio.Event | None = asyncio.Event()

        async def pauses(self) -> dict[str, str]:
            """Return the pauses as they are now, now or later."""
            present, delay = dict(await super().pauses()), self.delay
            if delay is not None:
                self.delay = None
                await delay.wait()
            return present

    store = Slow(lambda: 0)
    await store.open(Namespace("world", 1))
    pauses, delay = Pauses(store), store.delay
    assert delay is not None
    async with TaskGroup() as tasks:
        tasks.start(pauses.load(), "before the pause")
        await settle()
        await store.pause("chain", "p-1")
        tasks.start(pauses.load(), "after it")
        await settle()
        delay.set()
        await settle()
    assert pauses.command("chain") == "p-1"
