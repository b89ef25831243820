"""Tests of `brokers.rabbitmq.tasks`."""

from __future__ import annotations

import asyncio

from brokers.rabbitmq.tasks import Tasks


async def test_stopping_cancels_in_the_order_of_the_start() -> None:
    """All tasks are cancelled, the oldest first, and have ended when `stop` returns."""
    tasks, ended = Tasks(), list[int]()

    async def run(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    for number in range(5):
        tasks.start(run(number), "task")
    await asyncio.sleep(0)
    assert len(tasks) == 5
    await tasks.stop()
    assert (ended, len(tasks)) == ([0, 1, 2, 3, 4], 0)


async def test_a_task_may_stop_the_others() -> None:
    """A task that stops the group it belongs to is not cancelled itself."""
    tasks, reached = Tasks(), asyncio.Event()

    async def stop() -> None:
        await tasks.stop()
        reached.set()

    async def wait() -> None:
        await asyncio.Event().wait()

    tasks.start(wait(), "waits")
    tasks.start(stop(), "stops")
    async with asyncio.timeout(5):
        await reached.wait()
    await tasks.stop()
    assert len(tasks) == 0


async def test_a_task_that_starts_another_one_at_its_end_is_waited_for() -> None:
    """What is started while the group stops is stopped too."""
    tasks, ended = Tasks(), list[str]()

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("late")

    async def early() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tasks.start(late(), "late")
            ended.append("early")

    tasks.start(early(), "early")
    await asyncio.sleep(0)
    await tasks.stop()
    assert (len(tasks), ended) in ((0, ["early"]), (0, ["early", "late"]))


async def test_joining_cancels_nothing() -> None:
    """Whoever joins waits for all tasks, also for those that are started meanwhile."""
    tasks, ended = Tasks(), list[str]()

    async def run(name: str, heir: str = "") -> None:
        await asyncio.sleep(0)
        if heir:
            tasks.start(run(heir), heir)
        ended.append(name)

    tasks.start(run("first", "third"), "first")
    tasks.start(run("second"), "second")
    await tasks.join()
    assert (ended, len(tasks)) == (["first", "second", "third"], 0)
    await tasks.join()


async def test_failures_are_reported() -> None:
    """A task that fails is told to the event loop, with its name."""
    reports = list[str]()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context["message"]))
    tasks = Tasks()

    async def fail() -> None:
        raise ValueError

    tasks.start(fail(), "the task")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (reports, len(tasks)) == (["the task failed"], 0)
