"""Tests of `worker.scope`."""

from __future__ import annotations

import asyncio

import pytest

from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.scope import AGAIN_S, Scope
from tests.flow.runtime.clocks import ManualClock, settle


class Block:
    """A block in a task, and how it went."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.scope = Scope(self.clock)
        self.lines: list[str] = []

    async def run(self, swallows: int = 0) -> None:
        """Wait in the scope, swallowing so many cancellations, and go on after it."""
        with self.scope:
            for _ in range(swallows):
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    self.lines.append("swallowed")
            await asyncio.Event().wait()
            self.lines.append("not reached")
        await settle(1)
        self.lines.append("after")


async def test_the_task_goes_on_after_a_cancelled_block() -> None:
    """Cancelling ends the block alone, and leaves neither a cancellation nor a timer."""
    block = Block()
    async with TaskGroup() as group:
        task = group.start(block.run(), "block")
        await settle()
        block.scope.cancel()
        block.scope.cancel()
        await settle()
        assert (block.lines, block.clock.armed) == (["after"], 0)
        assert (task.cancelling(), task.cancelled()) == (0, False)


async def test_whoever_swallows_it_is_cancelled_again() -> None:
    """A block that goes on in spite of it is cancelled again after a while, until it ends."""
    block = Block()
    async with TaskGroup() as group:
        group.start(block.run(swallows=2), "block")
        await settle()
        block.scope.cancel()
        await block.clock.advance(AGAIN_S - 1)
        assert block.lines == ["swallowed"]
        await block.clock.advance(AGAIN_S + 1)
        assert block.lines == ["swallowed", "swallowed", "after"]
        assert block.clock.armed == 0


async def test_a_block_that_was_cancelled_before_ends_where_it_first_waits() -> None:
    """Cancelling before the block begins ends it as soon as it waits."""
    block = Block()
    block.scope.cancel()
    async with TaskGroup() as group:
        group.start(block.run(), "block")
        await settle()
        assert block.lines == ["after"]


async def test_a_block_may_cancel_itself() -> None:
    """A cancellation from inside arrives at the next wait, and not after the block."""
    scope = Scope(ManualClock())
    with scope:
        scope.cancel()
    await settle()
    other = Scope(ManualClock())
    with other:
        other.cancel()
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert (task.cancelling(), other.is_cancelled) == (0, True)


async def test_a_cancelled_task_stays_cancelled() -> None:
    """When the task is cancelled as well, the cancellation leaves the block."""
    block = Block()
    async with TaskGroup() as group:
        task = group.start(block.run(), "block")
        await settle()
        block.scope.cancel()
        task.cancel()
        await settle()
        assert (task.cancelled(), block.lines) == (True, [])


async def test_a_block_that_is_not_cancelled_is_left_alone() -> None:
    """Results and errors pass through, and to cancel after the end does nothing."""
    scope = Scope(ManualClock())
    with pytest.raises(ValueError, match="mine"), scope:
        raise ValueError("mine")
    scope.cancel()
    await settle()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
