"""Tests of `flow.testing.simulation.loop`: what asyncio and anyio are made of works on it."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator
from typing import cast

import anyio
import anyio.to_thread
import pytest

from flow.errors import SimulationRefused, SimulationStuck
from flow.testing.simulation import LoopSettings, SimulatedLoop
from flow.testing.simulation.callbacks import CallbackLoop

SEEDS = range(25)
Program = Callable[[], Awaitable[object]]


async def use_timeouts() -> object:
    """Run into the timeouts of asyncio and of anyio, and not into others."""
    loop = asyncio.get_running_loop()
    caught: list[str] = []
    for seconds in (1, 30):
        try:
            async with asyncio.timeout(seconds):
                await asyncio.sleep(10)
        except TimeoutError:
            caught.append("asyncio")
        try:
            await asyncio.wait_for(asyncio.sleep(10), seconds)
        except TimeoutError:
            caught.append("wait_for")
        with anyio.move_on_after(seconds) as scope:
            await asyncio.sleep(10)
        caught += ["anyio"] * scope.cancelled_caught
    assert 33 <= loop.time() < 33.1
    return caught


async def use_locks() -> object:
    """Have many tasks take turns, with a lock, a semaphore and a condition."""
    lock, places, turn = asyncio.Lock(), asyncio.Semaphore(3), asyncio.Condition()
    inside = most = done = 0

    async def enter(number: int) -> None:
        nonlocal inside, most, done
        async with places:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(number % 3)
            inside -= 1
        async with lock:
            before = done
            await asyncio.sleep(0)
            done = before + 1
        async with turn:
            turn.notify_all()

    async def watch() -> None:
        async with turn:
            await turn.wait_for(lambda: done == 20)

    await asyncio.gather(watch(), *map(enter, range(20)))
    return most, inside, done


async def use_queues() -> object:
    """Pass numbers through a bounded queue to several readers; nothing is lost or doubled."""
    queue: asyncio.Queue[int] = asyncio.Queue(2)
    got: list[int] = []

    async def read() -> None:
        while True:
            got.append(await queue.get())
            await asyncio.sleep(0)
            queue.task_done()

    async def write(numbers: range) -> None:
        for number in numbers:
            await queue.put(number)

    readers = asyncio.gather(*(read() for _ in range(3)))
    await asyncio.gather(write(range(10)), write(range(10, 20)))
    await queue.join()
    readers.cancel()
    with pytest.raises(asyncio.CancelledError):
        await readers
    return sorted(got) == list(range(20)), queue.empty(), readers.done()


async def use_groups() -> object:
    """Have a task of a group fail: the others are cancelled, and the error is passed on."""
    ended: list[str] = []

    async def sleep(name: str) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(name)

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    async def in_asyncio() -> None:
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - users use it
            tasks.create_task(sleep("a"))
            tasks.create_task(fail())

    async def in_anyio() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleep, "b")
            tasks.start_soon(fail)

    for group in (in_asyncio, in_anyio):
        with pytest.raises(ExceptionGroup) as raised:
            await group()
        assert raised.group_contains(ZeroDivisionError)
    async with anyio.create_task_group() as tasks:
        for name in "cde":
            tasks.start_soon(sleep, name)
        await asyncio.sleep(1)
        tasks.cancel_scope.cancel()
    return sorted(ended)


async def use_results() -> object:
    """Gather results and errors, wait for the first ones, shield, and cancel."""

    async def later(seconds: float) -> float:
        await asyncio.sleep(seconds)
        if seconds == 3:
            raise KeyError(seconds)
        return seconds

    gathered = await asyncio.gather(later(1), later(3), later(2), return_exceptions=True)
    first = [await each for each in asyncio.as_completed([later(2), later(1)])]
    waits = [asyncio.gather(later(seconds)) for seconds in (5, 1)]
    done, left = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    shielded = asyncio.gather(later(1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(shielded), 0.5)
    waits[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waits[0]
    return [repr(each) for each in gathered], first, len(done), len(left), await shielded


async def use_events() -> object:
    """Wait for events of asyncio and of anyio, and pass objects through a stream of anyio."""
    send, receive = anyio.create_memory_object_stream[int](1)
    events = (asyncio.Event(), anyio.Event())
    got: list[int] = []

    async def read() -> None:
        async with receive:
            got.extend([number async for number in receive])

    async def write() -> None:
        await events[0].wait()
        await events[1].wait()
        async with send:
            for number in range(5):
                await send.send(number)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        await asyncio.sleep(1)
        for event in events:
            event.set()
    return got


PROGRAMS: dict[Program, object] = {
    use_timeouts: ["asyncio", "wait_for", "anyio"],
    use_locks: (3, 0, 20),
    use_queues: (True, True, True),
    use_groups: list("abcde"),
    use_results: (["1", "KeyError(3)", "2"], [1, 2], 1, 1, [1]),
    use_events: list(range(5)),
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_what_asyncio_promises_holds(program: Program) -> None:
    """What programs are made of does what it does everywhere, whatever the order of callbacks."""
    for seed in SEEDS:
        loop = SimulatedLoop(seed)
        assert loop.run_until_complete(program()) == PROGRAMS[program], seed
        assert loop.errors == []
        loop.bury()
        loop.close()


def test_jobs_run_where_they_are_handed_over() -> None:
    """A job for a thread runs at once, in a context where that is promised, its error included."""
    variable = contextvars.ContextVar("variable", default=0)
    loop = SimulatedLoop()

    def fail(error: Exception) -> None:
        raise error

    async def main() -> None:
        variable.set(3)
        assert await asyncio.to_thread(variable.get) == 3
        assert await loop.run_in_executor(None, max, 1, 2) == 2
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(fail, ZeroDivisionError())
        with pytest.raises(RuntimeError, match="StopIteration"):
            await asyncio.to_thread(fail, StopIteration())
        with pytest.raises(SimulationRefused, match="thread"):
            await anyio.to_thread.run_sync(int)

    loop.run_until_complete(main())
    assert loop.errors == []


def test_everything_awaitable_can_be_run() -> None:
    """Not only coroutines can be run, but futures and other awaitables, and nothing else."""

    class Five:
        def __await__(self) -> Generator[None, None, int]:
            yield from asyncio.sleep(1).__await__()
            return 5

    loop = SimulatedLoop()
    future = loop.create_future()
    loop.call_later(1, future.set_result, 6)
    assert loop.run_until_complete(Five()) == 5
    assert loop.run_until_complete(future) == 6
    with pytest.raises(TypeError, match="a coroutine or a future is needed"):
        loop.run_until_complete(cast("Awaitable[None]", 5))


def test_an_error_leaves_the_run() -> None:
    """The error of what is awaited is raised, and is not told again as unnoticed."""
    loop = SimulatedLoop()

    async def fail() -> None:
        await asyncio.sleep(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop.run_until_complete(fail())
    loop.bury()
    assert loop.errors == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_at_once(kind: type[BaseException]) -> None:
    """An interrupt leaves the run in the step it comes in, out of callbacks and out of tasks."""

    def interrupt() -> None:
        raise kind

    async def from_a_callback() -> None:
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.sleep(1)

    async def from_a_task() -> None:
        await asyncio.sleep(1)
        interrupt()

    for program in (from_a_callback, from_a_task):
        loop = SimulatedLoop()
        with pytest.raises(kind):
            loop.run_until_complete(program())
        assert not loop.is_running()
        loop.bury()
        loop.close()
        assert loop.errors == []


def test_failing_callbacks_are_kept() -> None:
    """What a callback raises stops nothing and is kept; so is a failed task nobody looks at."""
    loop = SimulatedLoop()

    async def fail() -> None:
        raise KeyError

    async def main() -> None:
        loop.call_soon(divmod, 1, 0)
        _ = asyncio.gather(fail())
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    loop.bury()
    assert [type(each["exception"]) for each in loop.errors] == [ZeroDivisionError, KeyError]


def test_a_stuck_run_names_who_waits() -> None:
    """When nothing can happen any more the error names the tasks, and where each of them waits."""
    loop = SimulatedLoop()

    async def inner() -> None:
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    with pytest.raises(SimulationStuck) as stuck:
        loop.run_until_complete(outer())
    assert stuck.value.what == "nothing can happen any more"
    [waiting] = stuck.value.waiting
    assert "outer line" in waiting
    assert "Event.wait line" in waiting
    loop.bury()


def test_a_crowd_is_cut_short() -> None:
    """Of very many tasks that wait only the first ones are named."""
    loop = SimulatedLoop()
    with pytest.raises(SimulationStuck) as stuck:
        loop.run_until_complete(_gather_waits(100))
    assert len(stuck.value.waiting) == 21
    assert stuck.value.waiting[-1] == "and 81 more"
    loop.bury()


async def _gather_waits(count: int) -> None:
    await asyncio.gather(*(asyncio.Event().wait() for _ in range(count)))


def test_an_endless_run_is_stuck() -> None:
    """A run that goes on and on ends after as many steps as were allowed."""
    loop = SimulatedLoop(1, LoopSettings(steps_max=1_000))

    async def tick() -> None:
        while loop.is_running():
            await asyncio.gather(asyncio.sleep(1))

    with pytest.raises(SimulationStuck, match="after 1,001 steps"):
        loop.run_until_complete(tick())
    loop.bury()


def test_a_stopped_run_is_stuck() -> None:
    """Whoever stops the loop before its time is told of."""
    loop = SimulatedLoop()

    async def stop() -> None:
        loop.stop()
        await asyncio.sleep(1)

    with pytest.raises(SimulationStuck, match="stopped the event loop"):
        loop.run_until_complete(stop())
    loop.bury()


def test_a_closed_loop_is_refused() -> None:
    """After it was closed it does not run again, and says so without leaving a coroutine over."""
    loop = SimulatedLoop()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(SimulationRefused, match="closed"):
        loop.run_until_complete(asyncio.sleep(1))
    with pytest.raises(SimulationRefused, match="closed"):
        loop.run_forever()


async def test_a_running_loop_is_in_the_way() -> None:
    """Inside of another event loop it does not run, and leaves that one alone."""
    with pytest.raises(SimulationRefused, match="another event loop"):
        SimulatedLoop().run_until_complete(asyncio.sleep(1))
    assert not isinstance(asyncio.get_running_loop(), CallbackLoop)


def test_it_knows_its_tasks() -> None:
    """Asyncio finds the loop, the present task and all tasks as everywhere else."""
    loop = SimulatedLoop()

    async def main() -> None:
        assert asyncio.get_running_loop() is loop
        assert loop.is_running()
        current = asyncio.current_task()
        other = asyncio.gather(asyncio.sleep(1))
        tasks = asyncio.all_tasks()
        assert current in tasks
        assert len(tasks) == 2
        await other

    loop.run_until_complete(main())
    assert not loop.is_running()


def test_done_tasks_are_forgotten() -> None:
    """Of ten thousand tasks that have ended most are not kept."""
    loop = SimulatedLoop()

    async def main() -> None:
        for _ in range(10_000):
            await asyncio.gather(asyncio.sleep(0))

    loop.run_until_complete(main())
    assert len(loop._tasks) < 3_000
