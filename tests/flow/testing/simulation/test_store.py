"""Tests of `flow.testing.simulation.store`: calls travel, whatever store stands behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.errors import ConfigurationError, InvalidInput, SimulationFailed
from flow.ports import Commit, CommitResult, Namespace, Store
from flow.testing.simulation import SimulatedProcess, Simulation, simulate, simulated
from flow.testing.simulation.faults import StoreFaults
from flow.testing.simulation.store import LATEST_S, LINGER_S
from store.memory import MemoryStore
from tests.conformance.store import NAMESPACE, NOTHING_LEFT_OUT
from tests.flow.testing.simulation.desks import ALWAYS, Desk, expect_unavailable

# ------------------------------------------------------------------------- without a fault


@simulated()
async def test_a_call_is_done_outside_and_answered(simulation: Simulation) -> None:
    """A call takes time both ways, is done once, and its result comes back."""
    desk = Desk(simulation)
    leases = await desk.begin()
    before = simulation.loop.time()
    assert await desk.commit(leases) == NOTHING_LEFT_OUT
    assert 0 < simulation.loop.time() - before < 1
    assert desk.done == [("commit", NOTHING_LEFT_OUT)]
    assert await desk.written()


@simulated()
async def test_observers_see_a_call_before_its_caller(simulation: Simulation) -> None:
    """An observer is told in the outside world, with all arguments, before the answer leaves."""
    desk = Desk(simulation)
    leases = await desk.begin()
    seen: list[tuple[Any, ...]] = []

    def observe(method: str, process: SimulatedProcess, args: tuple[Any, ...], out: Any) -> None:
        seen.append((method, process, args, out, task.done()))

    desk.conditions.observers.append(observe)
    task = desk.start(lambda: desk.store.active(1, 9, limit=5, after="x"))
    assert await task == []
    assert seen == [("active", desk.process, (1, 9, "x", 5), [], False)]
    assert leases


@simulated()
async def test_errors_of_the_store_come_back_as_they_are(simulation: Simulation) -> None:
    """What the real store refuses is refused with the same error."""
    desk = Desk(simulation)
    await desk.begin()
    with pytest.raises(ConfigurationError, match="partitions 0 to 3"):
        await desk.run(lambda: desk.store.due(77, 1, 1))
    assert isinstance(desk.done[0][1], ConfigurationError)


@simulated()
async def test_a_store_that_is_closed_refuses(simulation: Simulation) -> None:
    """After it was closed nothing reaches the real store, until it is opened again."""
    desk = Desk(simulation)
    await desk.begin()
    await desk.run(desk.store.close)
    await expect_unavailable(desk.start(lambda: desk.store.load(["a"])), "not open")
    assert desk.done == []
    await desk.run(lambda: desk.store.open(NAMESPACE))
    await asyncio.sleep(1_000)
    assert await desk.run(lambda: desk.store.load(["a"])) == {}


@simulated()
async def test_what_is_no_call_is_answered_at_once(simulation: Simulation) -> None:
    """Where the store is, and whether others can have it, is known without asking."""
    desk = Desk(simulation)
    assert (desk.store.url, desk.store.exclusive) == ("memory://", False)
    assert isinstance(desk.store, Store)
    with pytest.raises(AttributeError):
        getattr(desk.store, "no_such_thing")  # noqa: B009 - the checkers know that it is not there


# --------------------------------------------------------------------- what must not hide


class Waiting(MemoryStore):
    """A store that really waits before it answers, and that refuses values."""

    async def commit(self, commit: Commit) -> CommitResult:
        """Wait, and commit unless there is nothing to write."""
        await asyncio.sleep(3)
        if not commit.writes:
            raise InvalidInput("a commit", "there is nothing in it")
        return await super().commit(commit)


@simulated()
async def test_any_store_may_stand_behind_it(simulation: Simulation) -> None:
    """A real store that awaits is awaited, in the outside world, whatever becomes of the caller."""
    desk = Desk(simulation)
    _, _, desk.store = desk.make("other", Waiting(desk.clock.now_ms, desk.database))
    leases = await desk.begin()
    assert await desk.commit(leases) == NOTHING_LEFT_OUT
    with pytest.raises(InvalidInput, match="nothing in it"):
        await desk.run(lambda: desk.store.commit(Commit(leases)))


class Doors(MemoryStore):
    """A store that notes when it is opened and closed."""

    def __init__(self, desk: Desk, *, is_shared: bool = True) -> None:
        super().__init__(desk.clock.now_ms, desk.database if is_shared else None)
        self.events: list[tuple[str, float]] = []
        self._loop = desk.simulation.loop

    async def open(self, namespace: Namespace) -> Namespace:
        """Note it."""
        self.events.append(("open", self._loop.time()))
        return await super().open(namespace)

    async def close(self) -> None:
        """Note it."""
        self.events.append(("close", self._loop.time()))
        await super().close()

    @property
    def names(self) -> list[str]:
        """What was done, in order."""
        return [name for name, _ in self.events]


@simulated()
async def test_a_shared_store_is_closed_when_all_is_over(simulation: Simulation) -> None:
    """A process that leaves does not wait, and what it has asked for can still be done."""
    desk = Desk(simulation)
    doors = Doors(desk)
    desk.process, _, desk.store = desk.make("other", doors)
    await desk.begin()
    await desk.run(desk.store.close)
    left = simulation.loop.time()
    assert doors.names == ["open"]
    await asyncio.sleep(2 * LINGER_S)
    assert doors.names == ["open", "close"]
    assert doors.events[-1][1] - left == pytest.approx(LINGER_S, abs=0.1)


@pytest.mark.parametrize("is_killed", [True, False])
@simulated()
async def test_a_store_of_its_own_is_closed_at_once(
    simulation: Simulation,
    is_killed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Where leaving frees a lock, it does so at once, after a kill too."""
    desk = Desk(simulation)
    doors = Doors(desk, is_shared=False)
    desk.process, _, desk.store = desk.make("other", doors)
    await desk.run(lambda: desk.store.open(NAMESPACE))
    if is_killed:
        desk.process.kill()
        getattr(desk.store, "die")()  # noqa: B009 - the port has no such thing
        await asyncio.sleep(0.1)
    else:
        await desk.run(desk.store.close)
    assert doors.names == ["open", "close"]


@simulated()
async def test_an_unheard_answer_leaves_nothing_open(simulation: Simulation) -> None:
    """Whoever opens again, because the answer got lost, has one real connection afterwards."""
    desk = Desk(simulation)
    doors = Doors(desk)
    desk.process, desk.link, desk.store = desk.make("other", doors)
    desk.link.cut(there=False)
    await expect_unavailable(desk.start(lambda: desk.store.open(NAMESPACE)), "15 s")
    desk.link.heal()
    await desk.run(lambda: desk.store.open(NAMESPACE))
    assert doors.names == ["open", "close", "open"]
    assert await desk.run(lambda: desk.store.load(["a"])) == {}


@simulated()
async def test_opening_is_neither_late_nor_unknown(simulation: Simulation) -> None:
    """A connection that nobody knows of is no connection: opening fails, or it does not."""
    desk = Desk(simulation)
    desk.conditions.faults = StoreFaults(late=ALWAYS, unknown=ALWAYS)
    assert await desk.run(lambda: desk.store.open(NAMESPACE)) == NAMESPACE
    await asyncio.sleep(2 * LATEST_S)
    assert [method for method, _ in desk.done] == ["open"]


def test_an_observer_that_raises_fails_the_run() -> None:
    """What goes wrong in an observer does not disturb the store, and is not swallowed."""

    async def main(simulation: Simulation) -> None:
        desk = Desk(simulation)
        leases = await desk.begin()

        def observe(*_: object) -> None:
            raise ValueError("two successes of one step")

        desk.conditions.observers.append(observe)
        assert await desk.commit(leases) == NOTHING_LEFT_OUT

    with pytest.raises(SimulationFailed, match="two successes of one step"):
        simulate(main)


def test_the_trace_tells_what_was_written() -> None:
    """A commit stands in the trace with its leases and writes, and a fault with its name."""

    async def main(simulation: Simulation) -> list[str]:
        desk = Desk(simulation, StoreFaults(unknown=ALWAYS))
        await expect_unavailable(desk.commit(await desk.begin()))
        return [f"{line.what}: {line.detail}" for line in simulation.trace.lines]

    lines = simulate(main)
    assert "commit: p0@1 p1@1 a#1 outbox 0 settled 0" in lines
    assert lines[-1] == "commit unknown: it was done"
