"""Tests of `flow.clock`."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import re
import threading
import time
import weakref

import anyio
import pytest
from hypothesis import given, strategies as st

from flow.clock import (
    Deadline,
    HybridClock,
    StoreClock,
    SystemChance,
    SystemClock,
    SystemThreads,
    _Job,
    cancel_after,
    sleep as wait_for,
    sleep_until,
)
from flow.errors import CorruptRecord
from flow.ports import Chance, Clock, Threads
from flow.runtime.tasks import TaskGroup
from tests.flow.runtime.clocks import ManualClock, settle

NOW_MS = 1_700_000_000_000
NAME = contextvars.ContextVar("NAME", default="nobody")


def wall_ms() -> int:
    """Return the time as the kernel tells it."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME) // 1_000_000


times = st.integers(min_value=0, max_value=2**47 - 2)


def test_the_system_satisfies_the_ports() -> None:
    """Type checkers find that the system's time, chance and threads are the ports."""
    clock: Clock = SystemClock()
    chance: Chance = SystemChance()
    threads: Threads = SystemThreads()
    assert [clock.now_ms() > 0, chance.random() < 1, callable(threads.run)] == [True] * 3


async def test_the_wall_clock_is_the_machine_s() -> None:
    """The time in milliseconds is that of the machine, and the monotonic one only grows."""
    clock = SystemClock()
    before = wall_ms()
    assert before <= clock.now_ms() <= wall_ms()
    assert clock.monotonic() <= clock.monotonic()


async def test_a_timer_never_rings_early() -> None:
    """A callback is called once, when the time that was asked for has come."""
    clock = SystemClock()
    rang = asyncio.Event()
    when = clock.monotonic() + 0.005
    clock.call_at(when, rang.set)
    await rang.wait()
    assert clock.monotonic() >= when


async def test_a_timer_for_the_past_rings_at_once() -> None:
    """A time that has passed is due now."""
    rang = asyncio.Event()
    SystemClock().call_at(0.0, rang.set)
    await rang.wait()
    assert rang.is_set()


async def test_a_timer_that_was_woken_early_waits_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the event loop's clock runs ahead of ours, the timer waits for the rest."""
    clock = SystemClock()
    rang = asyncio.Event()
    real, behind = time.monotonic, [0.02, 0.0]

    def monotonic() -> float:
        return real() - (behind.pop() if behind else 0.0)

    when = real() + 0.001
    monkeypatch.setattr(time, "monotonic", monotonic)
    clock.call_at(when, rang.set)
    await rang.wait()
    assert behind == []
    assert real() >= when


async def test_a_cancelled_timer_does_not_ring() -> None:
    """After cancel the callback is not called."""
    clock = SystemClock()
    rang, later = list[bool](), asyncio.Event()
    timer = clock.call_at(clock.monotonic() + 0.001, lambda: rang.append(True))
    clock.call_at(clock.monotonic() + 0.01, later.set)
    timer.cancel()
    await later.wait()
    assert rang == []


class Holder:
    """Holds a timer that calls it."""

    def __init__(self) -> None:
        """Have it ring in a minute."""
        clock = SystemClock()
        self.timer = clock.call_at(clock.monotonic() + 60, self.ring)

    def ring(self) -> None:
        """Do nothing."""


async def test_a_cancelled_timer_holds_nobody() -> None:
    """Whoever holds a timer that was to call him is freed without the garbage collector."""
    gc.disable()
    try:
        holder = Holder()
        freed = weakref.ref(holder)
        holder.timer.cancel()
        del holder
        assert freed() is None
    finally:
        gc.enable()


async def test_sleeping_takes_the_clock_s_time() -> None:
    """Sleeping ends when the injected clock says so, and not before."""
    clock = ManualClock()
    woken = list[float]()

    async def sleeper() -> None:
        await wait_for(clock, 2.0)
        woken.append(clock.monotonic())
        await sleep_until(clock, 1.0)
        woken.append(clock.monotonic())

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await clock.advance(1.9)
        assert woken == []
        await clock.advance(0.1)
    assert woken == [2.0, 2.0]


async def test_a_sleeper_that_is_cancelled_leaves_no_timer() -> None:
    """Cancelling a sleep takes its timer away, and a timer that rings then hurts nobody."""
    clock = ManualClock()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(wait_for, clock, 1.0)
            await settle()
            assert clock.armed == 1
            scope.cancel()
    assert clock.armed == 0


async def test_a_block_is_cancelled_when_it_takes_too_long() -> None:
    """A block that does not end in time is cut short, and its scope says so."""
    clock = ManualClock()
    scopes = list[Deadline]()

    async def block() -> None:
        with cancel_after(clock, 5.0) as scope:
            scopes.append(scope)
            await asyncio.Event().wait()

    async with anyio.create_task_group() as group:
        group.start_soon(block)
        await clock.advance(5.0)
    assert scopes[0].cancelled_caught
    with cancel_after(clock, 5.0) as scope:
        await settle()
    assert not scope.cancelled_caught
    assert clock.armed == 0


@pytest.mark.parametrize("is_inner_first", [True, False])
@pytest.mark.parametrize("turns", range(3))
@pytest.mark.parametrize("parts", [1, 50])
async def test_two_deadlines_at_once_are_one(
    *, is_inner_first: bool, turns: int, parts: int
) -> None:
    """A block whose own timeout is over at the same moment is cut short, and its task goes on."""
    clock = ManualClock()
    inner = asyncio.timeout(None)
    ends = list[str]()

    async def block() -> None:
        loop = asyncio.get_running_loop()
        with cancel_after(clock, 5.0) as scope:
            try:
                async with inner:
                    await asyncio.gather(*(loop.create_future() for _ in range(parts)))
            except TimeoutError:
                ends.append("inner")
        ends.extend(["outer"] * scope.cancelled_caught)
        await settle()
        ends.append("went on")

    task = TaskGroup().start(block(), "block")
    await settle()
    if is_inner_first:
        inner.reschedule(0)
    else:
        clock.block(5.0)
    for _ in range(turns):
        await asyncio.sleep(0)
    if is_inner_first:
        clock.block(5.0)
    else:
        inner.reschedule(0)
    await asyncio.wait([task])
    assert not task.cancelled()
    assert ends[-1] == "went on"
    assert set(ends[:-1]) & {"inner", "outer"}
    assert task.cancelling() == 0


async def test_who_is_cancelled_at_a_deadline_is_cancelled() -> None:
    """A task that somebody cancels at the moment of its deadline ends as cancelled."""
    clock = ManualClock()

    async def block() -> None:
        with cancel_after(clock, 5.0):
            await asyncio.Event().wait()

    for is_first in (True, False):
        task = TaskGroup().start(block(), "block")
        await settle()
        if is_first:
            task.cancel()
        clock.block(5.0)
        if not is_first:
            asyncio.get_running_loop().call_soon(task.cancel)
        await asyncio.wait([task])
        assert task.cancelled()


def test_ids_are_ordered_by_time_and_differ() -> None:
    """An id has 32 hexadecimal digits, the first twelve of which are the time."""
    chance = SystemChance()
    before = wall_ms()
    ids = [chance.new_id() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert before <= int(ids[0][:12], 16) <= int(ids[-1][:12], 16)
    assert all(0 <= chance.random() < 1 for _ in range(100))


def test_ids_of_a_child_process_are_its_own() -> None:
    """What was drawn before a fork is not given out on both sides of it."""
    chance = SystemChance()
    chance.new_id()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.write(write, "".join(chance.new_id() for _ in range(10)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(read, 1_000).decode()
    os.close(read)
    os.close(write)
    ends = {theirs[at + 12 : at + 32] for at in range(0, len(theirs), 32)}
    assert len(ends) == 10
    assert not ends & {chance.new_id()[12:] for _ in range(300)}


async def test_functions_run_in_threads_with_their_context() -> None:
    """A function runs in another thread, sees the context variables, and returns its value."""
    NAME.set("ada")

    def function() -> tuple[str, int]:
        return NAME.get(), threading.get_ident()

    name, thread = await SystemThreads().run(function)
    assert name == "ada"
    assert thread != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
async def test_errors_leave_the_thread(error: BaseException) -> None:
    """What a function raises is raised where it is awaited, and its place is free again."""
    threads = SystemThreads(limit=1)

    def function() -> None:
        raise error

    for _ in range(2):
        with pytest.raises(type(error)):
            await threads.run(function)


async def test_a_thread_that_was_given_up_keeps_its_place() -> None:
    """A run that is cancelled returns at once; its thread counts until it has ended."""
    threads = SystemThreads(limit=1)
    began, may_end, ran = threading.Event(), threading.Event(), list[str]()
    scope = anyio.CancelScope()

    def stubborn() -> None:
        began.set()
        may_end.wait(20)

    async def give_up() -> None:
        with scope:
            await threads.run(stubborn)

    async with anyio.create_task_group() as group:
        group.start_soon(give_up)
        await threads_have(began)
        scope.cancel()
        await settle()
        assert scope.cancelled_caught
        group.start_soon(threads.run, lambda: ran.append("next"))
        await settle()
        assert ran == []
        may_end.set()
    assert ran == ["next"]


async def threads_have(event: threading.Event) -> None:
    """Wait for what a thread has to do first."""
    await SystemThreads(1).run(lambda: event.wait(20))


async def test_a_run_that_is_cancelled_before_it_begins_gives_its_place_back() -> None:
    """Cancelling before the thread has begun neither runs the function nor loses the place."""
    threads, ran = SystemThreads(limit=1), list[str]()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await threads.run(lambda: ran.append("cancelled"))
    await threads.run(lambda: ran.append("next"))
    assert ran == ["next"]


async def test_a_job_that_nobody_waits_for_does_not_begin() -> None:
    """A thread that comes to a job after its caller has left does not run it."""
    free, ran = asyncio.Semaphore(0), list[str]()
    job = _Job(lambda: ran.append("late"), free)
    job.leave()
    with pytest.raises(RuntimeError, match="nobody waits"):
        job.run()
    assert ran == []
    assert not free.locked()


def test_a_job_may_outlive_its_event_loop() -> None:
    """A thread that ends after the event loop was closed ends in peace."""
    jobs = list[_Job[int]]()

    async def leave_early() -> None:
        job = _Job(lambda: 5, asyncio.Semaphore(0))
        job._beginning.clear()  # the thread has begun
        job.leave()
        job._beginning.append(None)  # and does so below
        jobs.append(job)

    asyncio.run(leave_early())
    assert jobs[0].run() == 5


@given(st.lists(times, max_size=50))
def test_stamps_only_grow(walls: list[int]) -> None:
    """Whatever the wall clock does, each stamp is later than the one before, also as text."""
    clock = HybridClock()
    stamps = [clock.stamp(now) for now in walls]
    assert stamps == sorted(set(stamps))
    assert all(len(stamp) == 16 for stamp in stamps)
    assert all(HybridClock.parse(stamp)[0] >= now for stamp, now in zip(stamps, walls, strict=True))


@given(times, st.integers(min_value=0, max_value=2**16 - 1))
def test_stamps_are_taken_apart(now_ms: int, counter: int) -> None:
    """A stamp is its milliseconds and its counter, and the same as a number."""
    stamp = HybridClock.from_int(now_ms << 16 | counter)
    assert HybridClock.parse(stamp) == (now_ms, counter)
    assert HybridClock.from_int(HybridClock.to_int(stamp)) == stamp


def test_the_first_stamp_of_a_millisecond_has_counter_zero() -> None:
    """While the wall clock moves on, stamps are the wall clock."""
    clock = HybridClock()
    assert HybridClock.parse(clock.stamp(NOW_MS)) == (NOW_MS, 0)
    assert HybridClock.parse(clock.stamp(NOW_MS)) == (NOW_MS, 1)
    assert HybridClock.parse(clock.stamp(NOW_MS - 5000)) == (NOW_MS, 2)
    assert HybridClock.parse(clock.stamp(NOW_MS + 1)) == (NOW_MS + 1, 0)


def test_a_full_counter_carries_into_the_milliseconds() -> None:
    """After 65,536 stamps of one millisecond the clock runs ahead instead of standing still."""
    clock = HybridClock()
    clock.witness(HybridClock.from_int(NOW_MS << 16 | 0xFFFF))
    assert HybridClock.parse(clock.stamp(NOW_MS)) == (NOW_MS + 1, 0)


def test_a_witnessed_stamp_is_overtaken() -> None:
    """After somebody else's stamp was seen, ours are later; an older one changes nothing."""
    clock, other = HybridClock(), HybridClock()
    seen = other.stamp(NOW_MS + 60_000)
    clock.witness(seen)
    clock.witness(other.from_int(1))
    assert clock.stamp(NOW_MS) > seen


@pytest.mark.parametrize("text", ["", "1", "g" * 16, "F" * 16, "f" * 16, "0" * 17, "0" * 16 + "\n"])
def test_what_is_no_stamp_is_refused(text: str) -> None:
    """Text that is not a stamp raises a typed error, and the clock stays as it was."""
    clock = HybridClock()
    with pytest.raises(CorruptRecord, match="the stamp"):
        clock.witness(text)
    assert clock.stamp(5) == HybridClock.from_int(5 << 16)


@pytest.mark.parametrize("number", [-1, 2**63])
def test_numbers_that_are_no_stamps_are_refused(number: int) -> None:
    """A number of more than 63 bits, or a negative one, is no stamp."""
    with pytest.raises(CorruptRecord):
        HybridClock.from_int(number)


async def test_the_time_of_the_store_is_kept_between_renewals() -> None:
    """After the store has told its time, that is what passes, whatever the machine believes."""
    machine = ManualClock(now_ms=1_000_000)
    clock = StoreClock(machine)
    assert clock.now_ms() == 1_000_000
    asked = machine.monotonic()
    await machine.advance(2)
    # It was right at some moment of these two seconds: half of them are taken to have passed.
    assert clock.set(5_000_000, asked) == 4_000_000 + 1_000 - 2_000
    assert clock.now_ms() == 5_001_000
    await machine.advance(10)
    assert clock.now_ms() == 5_011_000
    assert clock.set(5_011_000, machine.monotonic()) == 0
    rung: list[int] = []
    clock.call_at(clock.monotonic() + 1, lambda: rung.append(clock.now_ms()))
    await machine.advance(1)
    assert rung == [5_012_000]
