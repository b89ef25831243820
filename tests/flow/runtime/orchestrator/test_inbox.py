"""Tests of `orchestrator.inbox`: the queue of what waits to be decided."""

from __future__ import annotations

import asyncio

from flow.runtime.orchestrator.inbox import (
    PATIENCE,
    Handover,
    Inbox,
    Item,
    Lost,
    Recover,
    Sweep,
    Woken,
)


async def test_items_come_out_in_order() -> None:
    """Items are taken oldest first, as many at a time as there may be."""
    inbox = Inbox()
    items = [Woken((str(number),)) for number in range(5)]
    for item in items:
        inbox.put(item)
    assert len(inbox) == 5
    assert await inbox.take(3) == items[:3]
    assert await inbox.take(3) == items[3:]
    assert len(inbox) == 0


async def test_an_empty_inbox_is_waited_for() -> None:
    """Taking from an empty inbox waits for the next item."""
    inbox = Inbox()
    taking = asyncio.gather(inbox.take(10))
    await asyncio.sleep(0)
    assert not taking.done()
    inbox.put(Woken(("a",)))
    (items,) = await taking
    assert items == [Woken(("a",))]


async def test_finished_means_dealt_with() -> None:
    """`finished` waits until what was taken is dealt with, and nothing else waits."""
    inbox = Inbox()
    await inbox.finished()
    inbox.put(Woken(("a",)))
    await inbox.take(1)
    finishing = asyncio.gather(inbox.finished())
    await asyncio.sleep(0)
    inbox.put(Woken(("b",)))
    inbox.finish()
    await asyncio.sleep(0)
    assert not finishing.done()
    await inbox.take(1)
    inbox.finish()
    await finishing


async def test_what_is_put_back_comes_first() -> None:
    """Items that were taken in vain are taken again before newer ones, but after housekeeping."""
    inbox = Inbox()
    old, new = [Woken(("a",)), Woken(("b",))], Woken(("c",))
    for item in old:
        inbox.put(item)
    taken = await inbox.take(2)
    inbox.put(new)
    inbox.put(Recover((1,)))
    inbox.put_back([Recover((0,)), *taken, Sweep(0, 1, "")])
    assert await inbox.take(9) == [Recover((1,)), *old, new]
    inbox.put_back(old)
    inbox.finish()
    assert await inbox.take(9) == old


async def test_housekeeping_keeps_its_order() -> None:
    """What changes who owns what overtakes the rest, in the order in which it came."""
    inbox = Inbox()
    inbox.put(Woken(("a",)))
    inbox.put(Sweep(1, 1, ""))
    housekeeping: list[Item] = [Recover((0,)), Lost((0,)), Recover((0,)), Handover((1,))]
    for item in housekeeping:
        inbox.put(item)
    assert await inbox.take(2) == housekeeping[:2]
    assert await inbox.take(9) == [*housekeeping[2:], Woken(("a",)), Sweep(1, 1, "")]


async def test_a_sweep_lets_others_go_first() -> None:
    """The next page of a sweep is taken when nothing else waits, and the inbox counts as calm."""
    inbox = Inbox()
    inbox.put(Sweep(1, 1, ""))
    assert not inbox.is_calm
    await inbox.take(1)
    assert inbox.is_calm
    inbox.put(Sweep(1, 1, "e-1"))
    assert (inbox.is_calm, len(inbox)) == (True, 1)
    inbox.put(Woken(("a",)))
    assert (inbox.is_calm, len(inbox)) == (False, 2)
    assert await inbox.take(9) == [Woken(("a",))]
    assert (inbox.is_calm, len(inbox)) == (True, 1)
    assert await inbox.take(9) == [Sweep(1, 1, "e-1")]
    assert len(inbox) == 0


async def test_a_sweep_is_not_passed_over_for_ever() -> None:
    """However busy the inbox is, a page of a sweep is taken after some turns."""
    inbox = Inbox()
    for turn in range(3):
        following = Sweep(1, 1, f"e-{turn}")
        inbox.put(following)
        for _ in range(PATIENCE):
            inbox.put(Woken(("a",)))
            assert await inbox.take(1) == [Woken(("a",))]
        inbox.put(Woken(("a",)))
        assert await inbox.take(1) == [Woken(("a",)), following]
