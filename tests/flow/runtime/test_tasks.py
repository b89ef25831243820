"""Tests of `flow.runtime.tasks`."""

from __future__ import annotations

import asyncio

import pytest

from flow.runtime.tasks import TaskGroup
from tests.flow.runtime.clocks import settle


class Diary:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def wait(self, name: str) -> None:
        """Wait for ever, and note the cancellation."""
        self.lines.append(f"{name} begins")
        try:
            await asyncio.Event().wait()
        finally:
            self.lines.append(f"{name} ends")

    async def fail(self, name: str) -> None:
        """Fail after a turn of the event loop."""
        await asyncio.sleep(0)
        raise ValueError(name)


async def test_tasks_begin_and_are_cancelled_in_order() -> None:
    """Tasks run in the order of their start, and are cancelled in that order too."""
    diary = Diary()
    names = [f"task {number}" for number in range(20)]
    async with TaskGroup() as group:
        for name in names:
            group.start(diary.wait(name), name)
        await settle()
        assert len(group) == 20
    assert diary.lines == [f"{name} begins" for name in names] + [f"{name} ends" for name in names]
    assert len(group) == 0


async def test_a_task_that_ends_is_let_go() -> None:
    """A task that has ended does not count, and leaves the others alone."""
    async with TaskGroup() as group:
        task = group.start(asyncio.sleep(0), "short")
        await settle()
        assert (len(group), task.done(), task.get_name()) == (0, True, "short")


async def test_a_failure_cancels_the_others_and_the_block() -> None:
    """The first error leaves the block, which was cancelled together with the other tasks."""
    diary = Diary()

    async def block() -> None:
        async with TaskGroup() as group:
            group.start(diary.wait("other"), "other")
            group.start(diary.fail("first"), "failing")
            await diary.wait("block")

    with pytest.raises(ValueError, match="first"):
        await block()
    assert diary.lines == ["block begins", "other begins", "other ends", "block ends"]
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_further_failures_are_noted() -> None:
    """What fails after the first is attached to it, and so is the block's own error."""
    diary = Diary()

    async def fail_on_the_way_out() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("second")

    async def block() -> None:
        async with TaskGroup() as group:
            group.start(fail_on_the_way_out(), "late")
            group.start(diary.fail("first"), "early")
            try:
                await asyncio.Event().wait()
            finally:
                raise LookupError("third")

    with pytest.raises(ValueError, match="first") as caught:
        await block()
    assert caught.value.__notes__ == [
        "late failed as well: ValueError('second')",
        "the block failed as well: LookupError('third')",
    ]


async def test_the_block_s_own_error_cancels_the_tasks() -> None:
    """An error of the block leaves it as it is, after the tasks have ended."""
    diary = Diary()

    async def block() -> None:
        async with TaskGroup() as group:
            group.start(diary.wait("task"), "task")
            await settle()
            raise LookupError

    with pytest.raises(LookupError):
        await block()
    assert diary.lines == ["task begins", "task ends"]


async def test_a_cancelled_block_stays_cancelled() -> None:
    """Cancelling the task that hosts the group ends the tasks, and the host is cancelled."""
    diary = Diary()

    async def host() -> None:
        async with TaskGroup() as group:
            group.start(diary.wait("task"), "task")
            await asyncio.Event().wait()

    async with TaskGroup() as outer:
        task = outer.start(host(), "host")
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
    assert diary.lines == ["task begins", "task ends"]


async def test_a_group_can_be_stopped_inside_of_its_block() -> None:
    """After `stop` every task has ended, and the block goes on."""
    diary = Diary()
    async with TaskGroup() as group:
        group.start(diary.wait("task"), "task")
        await settle()
        await group.stop()
        diary.lines.append("block goes on")
    assert diary.lines == ["task begins", "task ends", "block goes on"]
