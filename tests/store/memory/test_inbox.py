"""What is particular to the inbox in memory; the rest is in the conformance suite."""

import asyncio
from typing import cast

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Inbox
from flow.testing import VirtualClock
from store.memory import MemoryInbox
from store.memory.inbox import WAIT_S
from tests.flow.runtime.clocks import settle


def test_it_is_an_inbox() -> None:
    """The class satisfies the port."""
    port: Inbox = MemoryInbox()
    assert isinstance(port, Inbox)
    assert port.url == "memory://"


async def test_effects_come_in_the_order_of_their_ends() -> None:
    """Effects count when their attempt is whole, all of one attempt together."""
    inbox = MemoryInbox()
    await inbox.open()
    async with inbox.attempt("a") as first:
        cast("list[object]", first.connection).append(1)
        async with inbox.attempt("b") as second:
            cast("list[object]", second.connection).append(2)
            await second.save(b"", {})
        cast("list[object]", first.connection).append(3)
        await first.save(b"", {})
    assert inbox.effects == [2, 1, 3]


async def test_waiting_for_a_key_has_an_end() -> None:
    """Who waits too long for a key that another attempt has is told so."""
    clock = VirtualClock()
    inbox = MemoryInbox(clock)
    await inbox.open()

    async def wait() -> None:
        async with inbox.attempt("k"):
            pytest.fail("the key was taken")

    async def pass_time() -> None:
        await settle()
        clock.move_to(clock.monotonic() + WAIT_S)

    async with inbox.attempt("k"):
        outcome, _ = await asyncio.gather(wait(), pass_time(), return_exceptions=True)
    assert isinstance(outcome, StoreUnavailable)
    assert "another attempt has had the key for 10 s" in str(outcome)


async def test_keys_age_by_the_clock() -> None:
    """Keys are forgotten by their age, the oldest first."""
    clock = VirtualClock()
    inbox = MemoryInbox(clock)
    await inbox.open()
    for key in ("a", "b"):
        async with inbox.attempt(key) as attempt:
            await attempt.save(b"", {})
        clock.move_to(clock.monotonic() + 60)
    assert await inbox.forget(90_000, 10) == 1
    async with inbox.attempt("b") as attempt:
        assert attempt.saved is not None
