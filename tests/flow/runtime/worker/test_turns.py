"""Tests of `worker.turns`."""

from __future__ import annotations

from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.turns import Turns
from tests.flow.runtime.clocks import settle


class Queue:
    """Tasks that wait for turns, and the order in which they got them."""

    def __init__(self, count: int) -> None:
        self.turns = Turns(count)
        self.served: list[str] = []

    async def wait(self, name: str) -> None:
        """Wait for a turn, and keep it."""
        await self.turns.wait()
        self.served.append(name)


async def test_there_are_so_many_turns() -> None:
    """Whoever finds one takes it at once; when all are taken nobody does."""
    queue = Queue(2)
    assert [queue.turns.take(), queue.turns.take(), queue.turns.take()] == [True, True, False]
    queue.turns.release()
    await queue.wait("a")
    assert (queue.served, queue.turns.take()) == (["a"], False)


async def test_who_waits_longest_is_served_first() -> None:
    """A turn that is given back goes to whoever waits, and nobody overtakes them."""
    queue = Queue(1)
    queue.turns.take()
    async with TaskGroup() as group:
        for name in "abc":
            group.start(queue.wait(name), name)
        await settle()
        queue.turns.release()
        assert not queue.turns.take()
        await settle()
        assert queue.served == ["a"]
        queue.turns.release()
        queue.turns.release()
        await settle()
        assert (queue.served, queue.turns.take()) == (["a", "b", "c"], False)


async def test_who_is_cancelled_takes_no_turn_away() -> None:
    """Whoever waits no longer is passed over, also if the turn came at the same moment."""
    queue = Queue(1)
    queue.turns.take()
    async with TaskGroup() as group:
        tasks = [group.start(queue.wait(name), name) for name in "abcd"]
        await settle()
        tasks[0].cancel()
        await settle()
        tasks[1].cancel()
        queue.turns.release()
        tasks[2].cancel()
        await settle()
        assert (queue.served, queue.turns.take()) == (["d"], False)
        queue.turns.release()
    assert queue.turns.take()


async def test_a_turn_is_not_lost_with_the_last_who_waits() -> None:
    """If everybody who waits is cancelled, the turn is free again."""
    queue = Queue(1)
    queue.turns.take()
    async with TaskGroup() as group:
        task = group.start(queue.wait("a"), "a")
        await settle()
        queue.turns.release()
        task.cancel()
        await settle()
        assert task.cancelled()
    assert (queue.turns.take(), queue.turns.take()) == (True, False)
