"""Tests of `flow.testing.idleness`: knowing that only time can help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from flow.clock import sleep
from flow.testing.clock import Owner, VirtualClock, owned
from flow.testing.idleness import Idleness


class World:
    """A clock that moves when nothing happens."""

    def __init__(self, patience: int = 100) -> None:
        self.clock = VirtualClock()
        self.stuck: list[float] = []
        self.idleness = Idleness(
            self.clock, patience, lambda: self.stuck.append(self.clock.monotonic())
        )
        self.clock.on_set = self.idleness.stir

    def start(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Future[list[Any]]:
        """Run something as a part of the flow."""
        with owned(self.clock, Owner()):
            return asyncio.gather(*[work()])


async def passes(count: int = 100) -> None:
    """Let the event loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_time_moves_when_a_test_waits() -> None:
    """Whoever waits outside of the flow makes time pass, and costs no real time."""
    world = World()
    await sleep(world.clock, 1_000_000)
    assert world.clock.monotonic() == 1_000_000


async def test_time_stands_when_only_the_flow_waits() -> None:
    """The timers of the flow do not make time pass by themselves."""
    world = World()
    running = world.start(lambda: sleep(world.clock, 5))
    await passes()
    assert world.clock.monotonic() == 0
    await sleep(world.clock, 10)
    assert running.done()


async def test_time_waits_for_a_handler() -> None:
    """While a handler is at something of the outside world time stands, however long it takes."""
    world = World()
    outside = asyncio.Event()

    async def handler() -> float:
        with world.idleness.handling():
            await outside.wait()
            return world.clock.monotonic()

    running = world.start(handler)
    waiting = asyncio.gather(sleep(world.clock, 5))
    await passes()
    assert world.clock.monotonic() == 0
    outside.set()
    await waiting
    assert await running == [0]
    assert world.clock.monotonic() == 5


async def test_a_handler_may_wait_for_time() -> None:
    """A handler that itself waits for virtual time does not hold it up."""
    world = World()

    async def handler() -> float:
        with world.idleness.handling():
            await sleep(world.clock, 3)
            await asyncio.gather(sleep(world.clock, 2), sleep(world.clock, 1))
            return world.clock.monotonic()

    running = world.start(handler)
    await sleep(world.clock, 10)
    assert await running == [5]


async def test_time_waits_for_what_is_busy() -> None:
    """While something goes on that needs no virtual time, nothing is calm."""
    world = World()
    inside, outside = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        with world.idleness.busy():
            inside.set()
            await outside.wait()

    running = world.start(work)
    calm = asyncio.gather(world.idleness.calm())
    await inside.wait()
    await passes()
    assert not calm.done()
    outside.set()
    await calm
    await running


async def test_calm_comes_before_time() -> None:
    """Whoever asks for calm gets it before time moves, and time moves on after that."""
    world = World()
    waiting = asyncio.gather(sleep(world.clock, 5))
    for _ in range(3):
        await world.idleness.calm()
        assert world.clock.monotonic() == 0
    await waiting
    assert world.clock.monotonic() == 5


async def test_time_can_be_stopped() -> None:
    """If time is not to move by itself, it does not."""
    world = World()
    world.idleness.automatic = False
    waiting = asyncio.gather(sleep(world.clock, 5))
    await passes()
    assert world.clock.monotonic() == 0
    world.clock.move_to(5)
    await waiting


async def test_nothing_is_watched_for_long() -> None:
    """While the outside world is waited for, the event loop is left alone."""
    world = World()
    waiting = asyncio.gather(sleep(world.clock, 5))
    with world.idleness.handling():
        await passes()
        assert not world.idleness._is_watching
        loop: Any = asyncio.get_running_loop()
        assert len(loop._ready) == 0
    await waiting


async def test_patience_ends() -> None:
    """When time was moved often without any progress, that is said; progress starts anew."""
    world = World(patience=10)

    async def spin() -> None:
        while not world.stuck:
            await sleep(world.clock, 1)

    running = world.start(spin)
    waiting = asyncio.gather(sleep(world.clock, 1_000))
    await running
    assert world.stuck == [10]
    await waiting
    world.stuck.clear()

    async def work() -> None:
        for _ in range(20):
            await sleep(world.clock, 1)
            world.idleness.progress()

    running = world.start(work)
    await sleep(world.clock, 30)
    await running
    assert world.stuck == []


async def test_it_works_without_a_look_at_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On an event loop that does not show what is ready, passes are counted instead."""
    monkeypatch.setattr("flow.testing.idleness.EMPTY_PASS", 1)
    world = World()
    await sleep(world.clock, 7)
    assert world.clock.monotonic() == 7
