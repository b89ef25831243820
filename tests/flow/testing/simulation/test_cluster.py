"""Tests of `flow.testing.simulation.cluster`: processes that begin, end, and are tormented."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow import Flow
from flow.errors import ConfigurationError
from flow.ports import Publication, Queue, Topology
from flow.testing.simulation import Simulation, simulated
from flow.testing.simulation.cluster import Member, SimulatedCluster
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults, NetworkFaults, StoreFaults
from flow.testing.simulation.processes import present_process
from tests.conformance.broker_bench import message
from tests.flow.testing.simulation.worlds import NASTY, World, make_flow


async def idle(_: Member) -> None:
    """Be a process that does nothing, for ever."""
    await asyncio.Event().wait()


# --------------------------------------------------------------------- beginning and ending


@simulated()
async def test_a_flow_runs_in_several_processes(simulation: Simulation) -> None:
    """Two orchestrators share the partitions, a worker works, a client gets all results."""
    world = World(simulation)
    await world.ready()
    shares = [len(_leases(world.cluster.members[name])) for name in ("first", "second")]
    await world.finish()
    world.expect_success()
    assert sorted(shares) in ([4, 4], [0, 8])
    assert world.cluster.members == {}


def _leases(member: Member) -> list[int]:
    assert member.app is not None
    assert member.app.host is not None
    assert member.app.host.engine is not None
    return list(member.app.host.engine.leases)


@simulated()
async def test_a_main_runs_in_its_process(simulation: Simulation) -> None:
    """A main gets the means of its process, and when it returns the process has ended."""
    cluster = SimulatedCluster(simulation)
    seen: list[object] = []

    async def main(member: Member) -> None:
        await member.adapters.broker.open()
        seen.extend([member.adapters.broker.health.is_connected, member.adapters.store])
        member.ready.set()

    member = cluster.start("tool", main, has_store=False)
    assert cluster.members == {"tool": member}
    await member.ended.wait()
    assert seen == [True, None]
    assert (cluster.members, member.failure, cluster.failures) == ({}, None, [])
    assert member.process.is_dead


@simulated()
async def test_a_main_that_fails_is_never_forgotten(simulation: Simulation) -> None:
    """What a main raises is in the list of failures and in the trace, and the process is over."""
    cluster = SimulatedCluster(simulation)

    async def main(_: Member) -> None:
        raise ZeroDivisionError("by nothing")

    member = cluster.start("tool", main, has_store=True)
    await member.ended.wait()
    assert cluster.failures == [member]
    assert isinstance(member.failure, ZeroDivisionError)
    assert simulation.trace.lines[-1].detail == "ZeroDivisionError: by nothing"
    assert member.process.is_dead


@simulated()
async def test_a_name_belongs_to_one_process_at_a_time(simulation: Simulation) -> None:
    """A name is free again when its process is dead; the next one is told from it in traces."""
    cluster = SimulatedCluster(simulation)
    first = cluster.start("tool", idle, has_store=False)
    with pytest.raises(ConfigurationError, match="running already"):
        cluster.start("tool", idle, has_store=False)
    cluster.kill("tool")
    second = cluster.start("tool", idle, has_store=False)
    assert (first.process.name, second.process.name) == ("tool", "tool#2")
    assert first.chance.new_id() != second.chance.new_id()


@simulated()
async def test_a_flow_waits_for_its_peers(simulation: Simulation) -> None:
    """A process whose store or broker is away when it begins takes part once they are there."""
    cluster = SimulatedCluster(simulation)
    cluster.store.is_up = False
    cluster.broker.stop()
    member = cluster.run("first", make_flow()[0], "orchestrator")
    await asyncio.sleep(30)
    cluster.broker.start()
    await asyncio.sleep(30)
    assert not member.ready.is_set()
    cluster.store.is_up = True
    async with asyncio.timeout(30):
        await member.ready.wait()
    assert cluster.failures == []


@simulated()
async def test_stop_lets_a_process_leave(simulation: Simulation) -> None:
    """A process that is stopped gives its leases back, so that nobody has to wait for them."""
    cluster = SimulatedCluster(simulation)
    first = cluster.run("first", make_flow()[0], "orchestrator")
    await first.ready.wait()
    assert len(_leases(first)) == cluster.partitions
    assert await cluster.stop("first")
    database = cluster.servers.database
    owners = {database.partition(each).ownership.owner for each in range(cluster.partitions)}
    assert owners == {""}
    assert (first.failure, cluster.members) == (None, {})


@simulated()
async def test_stop_kills_who_does_not_listen(simulation: Simulation) -> None:
    """A process that does not leave in time is killed, and that is told."""
    cluster = SimulatedCluster(simulation)
    member = cluster.start("tool", idle, has_store=False)
    before = simulation.loop.time()
    assert not await cluster.stop("tool", 5.0)
    assert simulation.loop.time() - before == pytest.approx(5.0, abs=0.1)
    assert member.process.is_dead
    assert cluster.failures == []


# ------------------------------------------------------------------------------- torments


@simulated()
async def test_kill_ends_a_process_in_the_middle(simulation: Simulation) -> None:
    """Nothing of a killed process runs on, its leases stay, and whoever wants is told."""
    cluster = SimulatedCluster(simulation)
    first = cluster.run("first", make_flow()[0], "orchestrator")
    await first.ready.wait()
    told: list[Member] = []
    cluster.died.append(told.append)
    count = simulation.loop.steps
    cluster.kill("first")
    await asyncio.sleep(0)
    owners = {cluster.servers.database.partition(each).ownership.owner for each in range(8)}
    await first.ended.wait()
    assert "" not in owners
    assert told == [first]
    assert (cluster.members, cluster.failures) == ({}, [])
    await asyncio.sleep(1)
    assert cluster.servers.hub.stats().sessions == 0
    await asyncio.sleep(300)
    # What still happens is the servers' closing of connections.
    assert simulation.loop.steps - count < 60


@simulated()
async def test_a_process_may_be_started_by_who_hears_of_a_death(simulation: Simulation) -> None:
    """What is told of a death at a failpoint is outside of the dead, and can start the next one."""
    points = Failpoints(frozenset({0}))
    cluster = SimulatedCluster(simulation, failpoints=points)
    first = cluster.run("first", make_flow()[0], "orchestrator")
    await first.ready.wait()
    again: list[Member] = []

    def start(member: Member) -> None:
        assert present_process() is None
        again.append(cluster.run(member.name, make_flow()[0], "orchestrator"))

    cluster.died.append(start)
    points.is_counting = True
    await first.ended.wait()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        await again[0].ready.wait()
    assert [each.process for each in points.crashes] == ["first"]
    assert first.process.is_dead


@simulated()
async def test_pause_holds_a_process_up(simulation: Simulation) -> None:
    """A process that is paused does nothing until it goes on, and loses its leases meanwhile."""
    world = World(simulation, executions=0)
    await world.ready()
    cluster = world.cluster
    cluster.pause("first")
    await asyncio.sleep(60)
    assert len(_leases(cluster.members["second"])) == cluster.partitions
    cluster.resume("first")
    await asyncio.sleep(60)
    assert sorted(_leases(cluster.members["first"]) + _leases(cluster.members["second"])) == list(
        range(cluster.partitions)
    )
    assert _leases(cluster.members["first"])


@simulated()
async def test_cut_and_mend_are_of_one_member(simulation: Simulation) -> None:
    """Links are cut by server and by direction, of one process only, and mended together."""
    cluster = SimulatedCluster(simulation)
    one = cluster.start("one", idle, has_store=True)
    two = cluster.start("two", idle, has_store=True)
    cluster.cut("one", broker=False, there=False)
    assert (one.store_link.is_open_there, one.store_link.is_open_back) == (True, False)
    assert one.broker_link.is_open
    cluster.cut("one", store=False, back=False)
    assert (one.broker_link.is_open_there, one.broker_link.is_open_back) == (False, True)
    assert two.broker_link.is_open
    assert two.store_link.is_open
    cluster.mend("one")
    assert one.broker_link.is_open
    assert one.store_link.is_open


@simulated()
async def test_machines_have_clocks_of_their_own(simulation: Simulation) -> None:
    """A clock that jumps is wrong by that, and no other one is."""
    cluster = SimulatedCluster(simulation)
    one = cluster.start("one", idle, has_store=False)
    two = cluster.start("two", idle, has_store=False)
    cluster.jump("one", 3_600_000)
    cluster.jump("one", -600_000)
    assert one.adapters.clock.now_ms() - two.adapters.clock.now_ms() == 3_000_000
    assert cluster.clock.now_ms() == two.adapters.clock.now_ms()


@simulated()
async def test_servers_lose_what_they_are_told_to(simulation: Simulation) -> None:
    """A broker that is wiped has no queue left; one queue can lose its messages alone."""
    cluster = SimulatedCluster(simulation)

    async def main(member: Member) -> None:
        broker = member.adapters.broker
        await broker.open()
        await broker.declare(Topology(queues=(Queue("a"), Queue("b"))), keep=False)
        await broker.publish([Publication("", name, message()) for name in ("a", "b")])

    member = cluster.start("tool", main, has_store=False)
    await member.ended.wait()
    servers = cluster.servers
    servers.purge("a")
    servers.purge("unknown")
    assert (servers.hub.depth("a"), servers.hub.depth("b")) == (0, 1)
    cluster.wipe()
    with pytest.raises(ConfigurationError):
        servers.hub.depth("b")


@simulated()
async def test_heal_ends_everything_that_is_wrong(simulation: Simulation) -> None:
    """After healing there is no fault, no cut, no pause, no outage and no wrong clock."""
    cluster = SimulatedCluster(simulation, faults=NASTY)
    member = cluster.start("one", idle, has_store=True)
    cluster.pause("one")
    cluster.cut("one")
    cluster.jump("one", 5)
    cluster.broker.stop()
    cluster.broker.block("full")
    cluster.store.is_up = False
    cluster.clock.skew_ms = 7
    cluster.heal()
    assert (cluster.broker.faults, cluster.store.faults) == (BrokerFaults(), StoreFaults())
    assert (cluster.broker.is_up, cluster.broker.blocked, cluster.store.is_up) == (True, "", True)
    assert (member.clock.skew_ms, cluster.clock.skew_ms) == (0, 0)
    assert member.process.is_running
    assert member.broker_link.is_open
    assert member.store_link.is_open
    later = cluster.start("two", idle, has_store=True)
    faults = {
        link.faults for each in (member, later) for link in (each.broker_link, each.store_link)
    }
    assert faults == {NetworkFaults()}


@simulated()
async def test_what_happens_stands_in_the_trace(simulation: Simulation) -> None:
    """Everything that is done to a member is a line with the name of its process."""
    cluster = SimulatedCluster(simulation)
    cluster.start("one", idle, has_store=False)
    cluster.pause("one")
    cluster.resume("one")
    cluster.cut("one", back=False)
    cluster.mend("one")
    cluster.jump("one", -3)
    cluster.kill("one")
    lines = [line.what for line in simulation.trace.lines if line.process == "one"]
    assert lines[:7] == ["start", "pause", "resume", "cut", "mend", "jump", "kill"]


@simulated
async def test_wrong_uses_of_a_cluster_say_what_is_right(simulation: Simulation) -> None:
    """An unknown member, an unknown role and a Flow for two processes are refused, with names."""
    cluster = SimulatedCluster(simulation)
    app = Flow("one")
    cluster.run("one", app)
    with pytest.raises(ConfigurationError, match="'two': there is none that lives; there are 'o"):
        cluster.kill("two")
    with pytest.raises(ConfigurationError, match="'two': 'one' runs the same Flow object: make"):
        cluster.run("two", app)
    wrong: Any = "wroker"
    with pytest.raises(ConfigurationError, match="'wroker' is no role; there are 'orchestrator'"):
        cluster.run("two", Flow("one"), wrong)
    cluster.kill("one")
    with pytest.raises(ConfigurationError, match="there are none at all"):
        cluster.pause("one")


def test_members_live_in_a_simulation_that_runs() -> None:
    """A member that is started before the simulation runs would do nothing; it is refused."""
    cluster = SimulatedCluster(Simulation(1))
    with pytest.raises(ConfigurationError, match="start it in the coroutine that is simulated"):
        cluster.run("one", Flow("one"))
