"""Tests of `flow.testing.simulation.callbacks`: virtual time, and who runs next."""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections.abc import Callable

import pytest

from flow.errors import SimulationRefused
from flow.testing.simulation import LoopSettings, SimulatedLoop, SimulatedProcess
from flow.testing.simulation.processes import OUTSIDE

ORDERLY = LoopSettings(disorder=0, step_s=0)


def run_all(loop: SimulatedLoop) -> None:
    """Step until nothing is left; no callback may fail."""
    while loop.step():
        pass
    assert loop.errors == []


async def errands(say: Callable[[str], None]) -> None:
    """Do what shows an event loop's order: callbacks, timers, tasks, events and queues."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    queue: asyncio.Queue[int] = asyncio.Queue(2)

    async def produce() -> None:
        for number in range(6):
            await queue.put(number)
            say(f"put {number}")
        event.set()

    async def consume(name: str) -> None:
        for _ in range(3):
            say(f"{name} got {await queue.get()}")
        await event.wait()
        say(f"{name} ends")

    def ring(depth: int) -> None:
        say(f"ring {depth}")
        if depth:
            loop.call_later(0, ring, depth - 1)
            loop.call_soon(say, f"soon {depth}")
            loop.call_later(-1, say, f"late {depth}")

    loop.call_soon(ring, 3)
    loop.call_later(0, say, "timer")
    loop.call_soon(say, "soon")
    await asyncio.gather(produce(), consume("a"), consume("b"))
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
    await asyncio.sleep(0.001)
    say("end")


def test_without_disorder_the_order_is_that_of_asyncio() -> None:
    """A program whose order shows runs exactly as it does on asyncio's own loop."""
    real: list[str] = []
    asyncio.run(errands(real.append))
    simulated: list[str] = []
    SimulatedLoop(1, ORDERLY).run_until_complete(errands(simulated.append))
    assert simulated == real


def test_seeds_choose_the_order() -> None:
    """Another seed is another order, the same one the same order, and nothing is lost."""

    def order(seed: int) -> tuple[list[int], int]:
        loop = SimulatedLoop(seed)
        said: list[int] = []
        for number in range(20):
            loop.call_soon(said.append, number)
        run_all(loop)
        return said, loop.digest

    orders = [order(seed) for seed in range(30)]
    assert [order(seed) for seed in range(30)] == orders
    assert len({tuple(said) for said, _ in orders}) == 30
    assert len({digest for _, digest in orders}) == 30
    assert all(sorted(said) == list(range(20)) for said, _ in orders)


def test_time_moves_to_the_next_timer() -> None:
    """Timers ring in the order of their times, at their times, at the cost of no real time."""
    loop = SimulatedLoop(1, ORDERLY)
    rung: list[tuple[str, float]] = []

    def ring(name: str) -> None:
        rung.append((name, loop.time()))

    loop.call_later(86_400, ring, "day")
    loop.call_later(60, ring, "minute")
    loop.call_at(-5, ring, "past")
    loop.call_at(60, ring, "minute too")
    run_all(loop)
    assert rung == [("past", 0), ("minute", 60), ("minute too", 60), ("day", 86_400)]


def test_timers_become_due_in_the_middle_of_work() -> None:
    """Steps take time, so that a timer rings although something is always ready."""
    loop = SimulatedLoop(1, LoopSettings(step_s=0.001))
    rung: list[float] = []
    loop.call_later(1, lambda: rung.append(loop.time()))

    def work() -> None:
        if not rung:
            loop.call_soon(work)

    work()
    run_all(loop)
    assert 1 <= rung[0] < 1.1
    assert loop.steps > 1_000


@pytest.mark.parametrize("delay", [math.nan, -math.nan])
def test_time_is_a_number(delay: float) -> None:
    """A timer that would spoil the order of all the others is refused."""
    loop = SimulatedLoop()
    with pytest.raises(ValueError, match="not a number"):
        loop.call_later(delay, print)
    assert not loop.step()


def test_an_infinite_timer_never_rings() -> None:
    """A timer at the end of time neither rings nor makes time infinite."""
    loop = SimulatedLoop()
    loop.call_later(math.inf, pytest.fail)
    loop.call_later(5, lambda: None)
    run_all(loop)
    assert 5 <= loop.time() < 6


def test_what_is_cancelled_does_not_run() -> None:
    """Neither a callback nor a timer runs once it is cancelled, due or not."""
    loop = SimulatedLoop(1, ORDERLY)
    for handle in (loop.call_soon(pytest.fail), loop.call_later(1, pytest.fail)):
        handle.cancel()
    due: list[asyncio.TimerHandle] = []

    def cancel() -> None:
        due[0].cancel()

    loop.call_at(2, cancel)
    due.append(loop.call_at(2, pytest.fail))
    run_all(loop)
    assert loop.steps == 1


def test_cancelled_timers_take_no_room() -> None:
    """Twenty thousand timers that are cancelled at once do not pile up, the rest still rings."""
    loop = SimulatedLoop(1, ORDERLY)
    rung: list[int] = []
    for number in range(20_000):
        timer = loop.call_later(1_000 - number / 1_000, rung.append, number)
        if number % 2_000:
            timer.cancel()
        assert len(loop._timers) < 2_500
    run_all(loop)
    assert rung == list(range(18_000, -1, -2_000))


def test_callbacks_run_in_their_context() -> None:
    """Callbacks and timers see the variables of where they were made, or of the given context."""
    variable = contextvars.ContextVar("variable", default="nothing")
    loop = SimulatedLoop(1, ORDERLY)
    seen: list[str] = []

    def see() -> None:
        seen.append(variable.get())

    given = contextvars.copy_context()
    given.run(variable.set, "given")
    token = variable.set("made")
    loop.call_soon(see)
    loop.call_soon(see, context=given)
    loop.call_later(1, see)
    loop.call_later(1, see, context=given)
    variable.reset(token)
    run_all(loop)
    assert seen == ["made", "given", "made", "given"]


def test_other_threads_cannot_call() -> None:
    """`call_soon_threadsafe` is refused, unless it is the loop itself that runs the caller."""
    loop = SimulatedLoop(1, ORDERLY)
    with pytest.raises(SimulationRefused, match="another thread"):
        loop.call_soon_threadsafe(print)
    said: list[int] = []

    async def main() -> None:
        loop.call_soon_threadsafe(said.append, 1)
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert said == [1]


def test_a_paused_process_gets_everything_later() -> None:
    """Nothing of it runs while it is paused, timers wait too, and nothing is lost or too early."""
    loop = SimulatedLoop(1, ORDERLY)
    process = OUTSIDE.copy().run(SimulatedProcess, "p", loop.wake)
    heard: list[tuple[str, float]] = []

    def hear(what: str) -> None:
        heard.append((what, loop.time()))

    loop.call_soon(hear, "soon", context=process.context)
    loop.call_later(5, hear, "timer", context=process.context)
    loop.call_later(50, hear, "later", context=process.context)
    loop.call_later(7, hear, "outside")
    loop.call_later(20, process.resume)
    process.pause()
    run_all(loop)
    assert heard == [("outside", 7), ("soon", 20), ("timer", 20), ("later", 50)]


def test_of_a_killed_process_nothing_runs() -> None:
    """What was ready and what becomes due is kept, and never runs, not by a resume either."""
    loop = SimulatedLoop(1, ORDERLY)
    process = OUTSIDE.copy().run(SimulatedProcess, "p", loop.wake)
    loop.call_soon(pytest.fail, context=process.context)
    loop.call_later(5, pytest.fail, context=process.context)
    loop.call_later(6, process.resume)
    process.kill()
    run_all(loop)
    assert loop.steps == 1
    assert len(process.release()) == 2
