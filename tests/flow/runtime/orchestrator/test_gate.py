"""Tests of `orchestrator.gate`: back-pressure, through the harness."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from flow.ports import Envelope
from flow.runtime.orchestrator.engine import EngineSettings
from flow.runtime.orchestrator.gate import Gate
from flow.runtime.orchestrator.inbox import Inbox, Received, Source, Woken
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import chain, single, stub_chain


class Loaded:
    """A dispatcher that says how much is on its way."""

    def __init__(self, load: int) -> None:
        self.load = load
        self.waits: list[tuple[int, Callable[[], None]]] = []

    def when_below(self, limit: int, notify: Callable[[], None]) -> None:
        """Notify once there is room."""
        self.waits.append((limit, notify))


def received(type: str, partition: int) -> Received:
    """Return a message that arrived for a partition."""
    letter: Any = SimpleNamespace(envelope=Envelope(type, b""))
    return Received(letter, Source.PARTITION, partition)


def gate(load: int) -> tuple[Loaded, Inbox, Gate]:
    """Return a gate of ten commands, with what it asks."""
    dispatcher: Any = Loaded(load)
    inbox = Inbox()
    return dispatcher, inbox, Gate(dispatcher, inbox, 10)


async def test_starts_wait_while_replies_go_on() -> None:
    """At the cap no more starts are taken, but replies are; with room again all are."""
    dispatcher, inbox, closed = gate(10)
    start, reply, woken = received("request.start", 1), received("step.reply", 1), Woken(("e",))
    assert closed.sift([start, reply, woken]) == [reply, woken]
    assert len(closed) == 1
    ((limit, notify),) = dispatcher.waits
    assert limit == 10
    dispatcher.load = 9
    notify()
    (nudge,) = await inbox.take(1)
    assert closed.sift([nudge]) == [nudge, start]
    assert len(closed) == 0


def test_what_is_somebody_elses_does_not_wait() -> None:
    """Starts for partitions that were lost leave the gate, so that their new owner gets them."""
    _, _, closed = gate(10)
    starts = [received("request.start", number) for number in range(4)]
    closed.sift(starts)
    assert closed.take({1, 3}) == [starts[1], starts[3]]
    assert len(closed) == 2
    closed.clear()
    assert len(closed) == 0


async def test_a_flood_of_starts_is_taken_in_turns() -> None:
    """Many more starts than may be on their way all run to their end."""
    app, workflow = chain()
    settings = EngineSettings(unsettled=5, batch=7, prefetch=50)
    async with FlowHarness(app, engine=settings) as test:
        stub_chain(test)
        results = await asyncio.gather(*(workflow.run(id=f"e{n}") for n in range(200)))
        assert results == [3] * 200
        assert len(test.calls("work.s2")) == 200
        assert test.clock.monotonic() < 5


async def test_a_start_that_waits_is_not_lost() -> None:
    """A start that waits at the cap when the process dies begins after the restart."""
    app, workflow = single()
    async with FlowHarness(app, engine=EngineSettings(unsettled=1)) as test:
        await workflow.execute(id="first")
        await test.settle()
        waiting = asyncio.gather(workflow.execute(id="second"), return_exceptions=True)
        await test.settle()
        test.crash()
        await waiting
        test.stub("work.s1", 1)
        await test.restart()
        await test.advance(1)
        rows = await app.executions.list()
        assert {row["id"]: row["status"] for row in rows} == {
            "first": "SUCCESS",
            "second": "SUCCESS",
        }
