"""Tests of `flow.testing.simulation.store`: what can go wrong does."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from flow.errors import StoreUnavailable
from flow.ports import Commit, CommitResult
from flow.testing.simulation import Simulation, simulate, simulated
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import NetworkFaults, StoreFaults
from flow.testing.simulation.store import DEADLINE_S, DEADLINES, LATEST_S
from tests.conformance.store import NOTHING_LEFT_OUT, TTL_MS, row, write
from tests.flow.testing.simulation.desks import ALWAYS, Desk, expect_unavailable

# -------------------------------------------------------------------------------- faults


@simulated()
async def test_failed_means_not_done(simulation: Simulation) -> None:
    """A call that fails is never done."""
    desk = Desk(simulation, StoreFaults(failed=ALWAYS))
    await expect_unavailable(desk.commit(await desk.begin()))
    await asyncio.sleep(2 * LATEST_S)
    assert desk.done == []
    assert not await desk.written()


@simulated()
async def test_unknown_means_done(simulation: Simulation) -> None:
    """A call whose outcome is unknown was done, and its caller hears of an error only."""
    desk = Desk(simulation, StoreFaults(unknown=ALWAYS))
    await expect_unavailable(desk.commit(await desk.begin()))
    assert desk.done == [("commit", NOTHING_LEFT_OUT)]
    assert await desk.written()


def test_late_means_done_after_all() -> None:
    """A late call is done up to a minute after its caller was told of an error."""
    waits = [simulate(_late, seed=seed) for seed in range(30)]
    assert all(0 < wait < LATEST_S + 1 for wait in waits)
    assert min(waits) < 1
    assert max(waits) > 30


async def _late(simulation: Simulation) -> float:
    desk = Desk(simulation, StoreFaults(late=ALWAYS))
    await expect_unavailable(desk.commit(await desk.begin()))
    told, done = simulation.loop.time(), asyncio.Event()
    desk.conditions.observers.append(lambda _, __, ___, ____: done.set())
    was_written = await desk.written()
    await done.wait()
    assert await desk.written()
    assert [method for method, _ in desk.done] == ["commit"]
    return LATEST_S if was_written else simulation.loop.time() - told


@simulated()
async def test_a_late_commit_of_a_fenced_owner_is_refused(simulation: Simulation) -> None:
    """What a former owner has sent arrives under an epoch that is over, and nothing is written."""
    desk = Desk(simulation, StoreFaults(late=ALWAYS))
    leases = await desk.begin()
    desk.link.faults = NetworkFaults(delay_s=30, slow=1.0, slow_s=30)
    await expect_unavailable(desk.commit(leases))
    assert desk.done == []
    desk.clock.skew_ms += TTL_MS
    assert await desk.truth.acquire(0, "heir", TTL_MS) is not None
    await asyncio.sleep(3 * LATEST_S)
    assert desk.done == [("commit", CommitResult(lost=frozenset({0})))]
    assert not await desk.written()


def test_lost_fails_everything_under_way() -> None:
    """When the connection breaks, each call that is under way fails, and some were done."""
    counts = Counter[bool]()
    for seed in range(20):
        counts.update(simulate(_break, seed=seed))
    assert counts[True] > 10
    assert counts[False] > 10


async def _break(simulation: Simulation) -> list[bool]:
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.link.faults = NetworkFaults(delay_s=1.0)
    tasks = [desk.commit(leases, f"e{number}") for number in range(4)]
    await asyncio.sleep(0.01)
    desk.conditions.faults = StoreFaults(lost=ALWAYS)
    tasks.append(desk.commit(leases, "last"))
    for task in tasks:
        await expect_unavailable(task)
    await asyncio.sleep(10)
    return [await desk.written(each) for each in ("e0", "e1", "e2", "e3", "last")]


@simulated()
async def test_nothing_goes_wrong_by_default(simulation: Simulation) -> None:
    """Without faults a hundred calls are all answered."""
    desk = Desk(simulation)
    leases = await desk.begin()
    for number in range(100):
        assert await desk.commit(leases, f"e{number}") == NOTHING_LEFT_OUT


# ------------------------------------------------------------------------ outages and cuts


def test_a_store_that_is_down_does_nothing() -> None:
    """While the store is down, calls fail at once or after their time, and none is done."""
    waits = [simulate(_outage, seed=seed) for seed in range(20)]
    assert min(waits) < 1
    assert max(waits) == pytest.approx(DEADLINE_S, abs=0.1)


async def _outage(simulation: Simulation) -> float:
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.conditions.is_up = False
    before = simulation.loop.time()
    await expect_unavailable(desk.commit(leases))
    waited = simulation.loop.time() - before
    assert desk.done == []
    desk.conditions.is_up = True
    assert await desk.commit(leases) == NOTHING_LEFT_OUT
    return waited


@simulated()
async def test_an_outage_in_the_middle_loses_the_answer(simulation: Simulation) -> None:
    """What the store was doing when it went down may be done, and nobody is told."""
    desk = Desk(simulation)
    leases = await desk.begin()

    def stop(*_: object) -> None:
        desk.conditions.is_up = False

    desk.conditions.observers.append(stop)
    await expect_unavailable(desk.commit(leases), "connection was lost")
    assert await desk.written()


@pytest.mark.parametrize(("there", "back", "is_done"), [(True, False, False), (False, True, True)])
@simulated()
async def test_cuts_go_one_way_or_the_other(
    simulation: Simulation,
    there: bool,  # noqa: FBT001 - a parameter of the test
    back: bool,  # noqa: FBT001
    is_done: bool,  # noqa: FBT001
) -> None:
    """A cut there keeps calls from the store, a cut back keeps its answers: both are silent."""
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.link.cut(there=there, back=back)
    before = simulation.loop.time()
    await expect_unavailable(desk.commit(leases), "15 s")
    assert simulation.loop.time() - before == pytest.approx(DEADLINE_S, abs=0.1)
    assert await desk.written() is is_done
    desk.link.heal()
    assert await desk.commit(leases, "b") == NOTHING_LEFT_OUT


@simulated()
async def test_renewals_have_less_time(simulation: Simulation) -> None:
    """A renewal is given up before the next one is due."""
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.link.cut()
    before = simulation.loop.time()
    await expect_unavailable(desk.start(lambda: desk.store.renew("one", leases, TTL_MS)), "4 s")
    assert simulation.loop.time() - before == pytest.approx(DEADLINES["renew"], abs=0.1)


# ----------------------------------------------------------------------- pauses and deaths


@simulated()
async def test_a_commit_of_a_paused_process_is_done(simulation: Simulation) -> None:
    """What has left a process is done while it is paused, and it hears of it when it goes on."""
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.link.faults = NetworkFaults(delay_s=2.0)
    task = desk.commit(leases)
    await asyncio.sleep(0.001)
    desk.process.pause()
    await asyncio.sleep(5)
    assert await desk.written()
    assert not task.done()
    desk.process.resume()
    assert await task == NOTHING_LEFT_OUT


@simulated()
async def test_a_long_pause_may_make_an_outcome_unknown(simulation: Simulation) -> None:
    """After a pause beyond the deadline the answer and the deadline are there both."""
    outcomes = Counter[bool]()
    for number in range(20):
        desk = Desk(simulation)
        leases = await desk.begin()
        task = desk.commit(leases, f"e{number}")
        await asyncio.sleep(0.001)
        desk.process.pause()
        await asyncio.sleep(60)
        desk.process.resume()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        outcomes[isinstance(outcome, StoreUnavailable)] += 1
    assert outcomes[True]
    assert outcomes[False]


@pytest.mark.parametrize("point", ["before", "done", "after"])
@simulated()
async def test_a_process_dies_around_its_commit(simulation: Simulation, point: str) -> None:
    """At each failpoint the process dies, and the commit was done unless it had not left."""
    moments = ["before", "done", "after"]
    points = Failpoints(frozenset({moments.index(point)}), is_counting=False)
    desk = Desk(simulation, failpoints=points)
    leases = await desk.begin()
    points.is_counting = True
    task = desk.commit(leases)
    await asyncio.sleep(60)
    assert desk.process.is_dead
    assert [passed.point for passed in points.crashes] == [f"commit.{point}"]
    assert await desk.written() is (point != "before")
    # What runs in the rest of the step in which a process dies may still take the answer.
    assert task.done() is (point == "after")


@simulated()
async def test_renewals_pass_failpoints(simulation: Simulation) -> None:
    """A renewal passes three points, and reading passes none."""
    points = Failpoints(is_counting=False)
    desk = Desk(simulation, failpoints=points)
    leases = await desk.begin()
    points.is_counting = True
    await desk.run(lambda: desk.store.renew("one", leases, TTL_MS))
    await desk.run(lambda: desk.store.load(["a"]))
    assert [each.point for each in points.passed] == [
        "renew.before",
        "renew.done",
        "renew.after",
    ]


@simulated()
async def test_a_killed_process_asks_nothing_more(simulation: Simulation) -> None:
    """What a process asks for in the step in which it dies never reaches the store."""
    desk = Desk(simulation)
    leases = await desk.begin()

    async def die() -> None:
        desk.process.kill()
        await desk.store.commit(Commit(leases, (write(row("a")),)))

    task = desk.start(die)
    await asyncio.sleep(60)
    assert desk.done == []
    assert not task.done()


@simulated()
async def test_a_kill_leaves_what_is_on_its_way(simulation: Simulation) -> None:
    """A commit that has left the process is done after it was killed; its lease stays."""
    desk = Desk(simulation)
    leases = await desk.begin()
    desk.link.faults = NetworkFaults(delay_s=2.0)
    task = desk.commit(leases)
    await asyncio.sleep(0.001)
    desk.process.kill()
    getattr(desk.store, "die")()  # noqa: B009 - the port has no such thing
    await asyncio.sleep(5)
    assert await desk.written()
    assert not task.done()
    assert await desk.truth.acquire(0, "heir", TTL_MS) is None
    await asyncio.sleep(TTL_MS / 1000)
    assert await desk.truth.acquire(0, "heir", TTL_MS) is not None


@simulated()
async def test_a_cancelled_call_is_done_nevertheless(simulation: Simulation) -> None:
    """To stop waiting for a call does not call it back."""
    desk = Desk(simulation)
    leases = await desk.begin()
    task = desk.commit(leases)
    await asyncio.sleep(0.0005)
    desk.tasks.stop()
    await asyncio.sleep(1)
    assert not task.done()
    assert await desk.written()
