"""Tests of `flow.testing.simulation.machine`: clocks, chance and threads of a process."""

from __future__ import annotations

import asyncio
import contextvars
import functools

import pytest

from flow.ports import Chance, Clock, Threads
from flow.testing.simulation import Simulation, simulate
from flow.testing.simulation.machine import (
    START_MS,
    SimulatedChance,
    SimulatedClock,
    SimulatedThreads,
)


def test_a_clock_tells_virtual_time() -> None:
    """The wall time and the monotonic time go with the loop, each from its own beginning."""

    async def main(simulation: Simulation) -> None:
        clock: Clock = SimulatedClock(simulation.loop, 1_000)
        assert clock.now_ms() == START_MS
        assert 1_000 <= clock.monotonic() < 1_001
        await asyncio.sleep(60)
        assert START_MS + 60_000 <= clock.now_ms() < START_MS + 61_000
        assert 1_060 <= clock.monotonic() < 1_061

    simulate(main)


def test_a_jump_moves_the_wall_time_alone() -> None:
    """A machine whose wall clock jumps by an hour keeps its monotonic time and timers."""

    async def main(simulation: Simulation) -> None:
        clock = simulation.clock()
        rung = asyncio.Event()
        begin = clock.monotonic()
        clock.call_at(begin + 10, rung.set)
        clock.skew_ms = -3_600_000
        assert clock.now_ms() < START_MS
        await asyncio.sleep(9)
        assert not rung.is_set()
        clock.skew_ms = 3_600_000
        assert clock.now_ms() >= START_MS + 3_609_000
        assert not rung.is_set()
        await rung.wait()
        assert 10 <= clock.monotonic() - begin < 10.1

    simulate(main)


@pytest.mark.parametrize("seed", range(20))
def test_a_timer_never_rings_early(seed: int) -> None:
    """When a timer calls, the clock has reached its time, whatever rounding does."""
    rung: list[tuple[float, float]] = []

    async def main(simulation: Simulation) -> None:
        clock = simulation.clock()

        def ring(when: float) -> None:
            rung.append((when, clock.monotonic()))

        for _ in range(100):
            when = clock.monotonic() + simulation.random.random() * 10
            clock.call_at(when, functools.partial(ring, when))
        await asyncio.sleep(11)

    simulate(main, seed=seed)
    assert len(rung) == 100
    assert all(when <= now for when, now in rung)


def test_chance_follows_from_its_seed() -> None:
    """The same seed gives the same ids and numbers, another one others, and ids are well formed."""

    def some(seed: str) -> list[str | float]:
        chance: Chance = SimulatedChance(seed)
        return [chance.new_id(), chance.random(), chance.new_id()]

    assert some("1 a") == some("1 a")
    assert some("1 a") != some("1 b")
    assert len({str(each) for seed in "abc" for each in some(seed)}) == 9
    assert len(str(some("a")[0])) == 32


def test_threads_are_none() -> None:
    """A function runs in this thread after a while, in a copy of the context, errors included."""
    variable = contextvars.ContextVar("variable", default=0)

    async def main(simulation: Simulation) -> None:
        threads: Threads = SimulatedThreads(simulation.chance("p"), longest_s=10)

        def function() -> int:
            variable.set(variable.get() + 1)
            return variable.get()

        variable.set(5)
        times: list[float] = []
        for _ in range(10):
            before = simulation.loop.time()
            assert await threads.run(function) == 6
            times.append(simulation.loop.time() - before)
        assert variable.get() == 5
        assert max(times) - min(times) > 1
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)

    simulate(main)
    assert variable.get() == 0


def test_functions_outlive_whoever_waits() -> None:
    """A function goes on when its caller is cancelled, as a thread does, and its error is lost."""

    async def main(simulation: Simulation) -> None:
        threads: Threads = SimulatedThreads(simulation.chance("p"), longest_s=10)
        done: list[str] = []

        def fail() -> None:
            done.append("failed")
            raise ValueError

        for function in (lambda: done.append("done"), fail):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(threads.run(function), 0.001)
        assert not done
        await asyncio.sleep(10)
        assert sorted(done) == ["done", "failed"]

    simulate(main, seed=1)
