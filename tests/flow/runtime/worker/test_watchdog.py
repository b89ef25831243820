"""Tests of `worker.watchdog`."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.watchdog import Watchdog
from tests.flow.runtime.clocks import ManualClock, settle
from tests.flow.runtime.worker_bench import Shop, request, step


@asynccontextmanager
async def watching(clock: ManualClock) -> AsyncGenerator[Watchdog]:
    """Run a watchdog that warns from one second on."""
    watchdog = Watchdog(clock, 1.0)
    async with TaskGroup() as group:
        group.start(watchdog.run(), "watchdog")
        await settle()
        yield watchdog


async def test_it_names_the_handlers_that_ran(caplog: pytest.LogCaptureFixture) -> None:
    """A blocked event loop is reported with those that run, and those that just ended."""
    clock = ManualClock()
    caplog.set_level(logging.WARNING)
    async with watching(clock) as watchdog:
        watchdog.enter("pay.charge")
        watchdog.enter("pay.charge")
        watchdog.enter("ship.send")
        await settle()
        clock.block(4.0)
        watchdog.leave("ship.send")
        watchdog.leave("pay.charge")
        await settle()
    assert watchdog.warnings == 1
    assert "blocked for 3.0 s while these ran: 'ship.send', 'pay.charge'." in caplog.text


async def test_it_is_quiet_while_the_loop_is_free() -> None:
    """Handlers that take long but wait are not reported."""
    clock = ManualClock()
    async with watching(clock) as watchdog:
        watchdog.enter("pay.charge")
        await clock.advance(600)
        assert watchdog.warnings == 0


async def test_it_does_not_poll_while_nothing_runs() -> None:
    """The alarm is set while attempts run, and not before or after."""
    clock = ManualClock()
    async with watching(clock) as watchdog:
        assert clock.armed == 0
        watchdog.enter("pay.charge")
        await settle()
        assert clock.armed == 1
        watchdog.leave("pay.charge")
        await clock.advance(1.0)
        assert clock.armed == 0
        watchdog.enter("pay.charge")
        await settle()
        assert clock.armed == 1


async def test_a_worker_has_one(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that blocks the event loop and returns at once is named in a warning."""
    shop = Shop()

    async def greedy(_value: int) -> None:
        await settle()
        shop.clock.block(5.0)

    shop = Shop(step(greedy))
    caplog.set_level(logging.WARNING, "flow.watchdog")
    async with shop.open():
        await shop.ask(request())
        await settle()
    assert "'pay.charge'" in caplog.text
