"""The network between a process and a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flow.testing.simulation import SimulatedProcess, Simulation, simulate, simulated
from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.network import Link, Stream
from flow.testing.simulation.processes import present_process

SLOW = NetworkFaults(delay_s=0.01, slow=0.3, slow_s=5.0)
COUNT = 50


def link_of(simulation: Simulation, faults: NetworkFaults = SLOW) -> tuple[Link, SimulatedProcess]:
    """Return a way to a server, and whose it is."""
    process = simulation.process("process")
    return Link(simulation.loop, process, faults, f"{simulation.seed}"), process


@simulated(seed=1)
async def test_messages_by_themselves_overtake_each_other(simulation: Simulation) -> None:
    """All that is sent arrives, in an order of its own and at most as late as the slowest."""
    link, _ = link_of(simulation)
    there, back = list[int](), list[int]()
    for number in range(COUNT):
        link.send(there.append, number)
        link.answer(back.append, number)
    await asyncio.sleep(5.1)
    for arrived in (there, back):
        assert sorted(arrived) == list(range(COUNT))
        assert arrived != sorted(arrived)


@pytest.mark.parametrize("seed", range(5))
def test_streams_keep_the_order(seed: int) -> None:
    """Nothing overtakes in a stream, however slow single messages are."""

    async def main(simulation: Simulation) -> None:
        link, _ = link_of(simulation)
        stream = Stream(link)
        there, back = list[int](), list[int]()
        for number in range(COUNT):
            stream.send(there.append, number)
            stream.answer(back.append, number)
        await asyncio.sleep(6.0)
        assert there == back == list(range(COUNT))

    simulate(main, seed=seed)


@simulated(seed=2)
async def test_each_end_runs_where_it_belongs(simulation: Simulation) -> None:
    """What arrives at the server runs in the outside world, what comes back in the process."""
    link, process = link_of(simulation)
    stream = Stream(link)
    found: dict[str, Any] = {}

    def look(where: str) -> None:
        found[where] = present_process()

    link.send(look, "there")
    link.answer(look, "back")
    stream.send(look, "stream there")
    stream.answer(look, "stream back")
    await asyncio.sleep(10)
    assert found == {"there": None, "back": process, "stream there": None, "stream back": process}


@pytest.mark.parametrize("direction", ["there", "back"])
@simulated(seed=3)
async def test_a_cut_direction_loses_messages(simulation: Simulation, direction: str) -> None:
    """Messages by themselves are lost in the direction that is cut, and in no other one."""
    link, _ = link_of(simulation)
    arrived: list[str] = []
    link.send(arrived.append, "there")
    link.answer(arrived.append, "back")
    link.cut(there=direction == "there", back=direction == "back")
    assert not link.is_open
    link.send(arrived.append, "there")
    link.answer(arrived.append, "back")
    await asyncio.sleep(6)
    link.heal()
    await asyncio.sleep(6)
    assert sorted({*arrived}) == [{"there": "back", "back": "there"}[direction]]
    assert len(arrived) == 2


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_stream_waits(seed: int) -> None:
    """What is in a stream while its direction is cut arrives after that, all and in order."""

    async def main(simulation: Simulation) -> None:
        link, _ = link_of(simulation, NetworkFaults(delay_s=1.0))
        stream = Stream(link)
        there, back = list[int](), list[int]()
        for number in range(COUNT):
            stream.send(there.append, number)
            stream.answer(back.append, number)
        await asyncio.sleep(0.9)
        link.cut()
        seen = len(there) + len(back)
        await asyncio.sleep(60)
        assert len(there) + len(back) == seen < 2 * COUNT
        link.heal()
        stream.send(there.append, COUNT)
        await asyncio.sleep(5)
        assert (there, back) == (list(range(COUNT + 1)), list(range(COUNT)))

    simulate(main, seed=seed)


@simulated(seed=4)
async def test_a_dropped_stream_forgets(simulation: Simulation) -> None:
    """What was on its way when a stream is dropped never arrives; what is sent later does."""
    link, _ = link_of(simulation, NetworkFaults(delay_s=1.0))
    stream = Stream(link)
    arrived: list[str] = []
    stream.send(arrived.append, "lost")
    stream.answer(arrived.append, "lost")
    stream.drop()
    stream.send(arrived.append, "there")
    stream.answer(arrived.append, "back")
    await asyncio.sleep(5)
    assert sorted(arrived) == ["back", "there"]


@simulated(seed=5)
async def test_paused_processes_get_it_later(simulation: Simulation) -> None:
    """While a process is paused nothing arrives there, and then everything does, in order."""
    link, process = link_of(simulation)
    stream = Stream(link)
    arrived: list[int] = []
    process.pause()
    for number in range(COUNT):
        stream.answer(arrived.append, number)
    await asyncio.sleep(100)
    assert arrived == []
    process.resume()
    await asyncio.sleep(0.1)
    assert arrived == list(range(COUNT))


@simulated(seed=6)
async def test_dead_processes_get_nothing(simulation: Simulation) -> None:
    """What a process has sent arrives although it died, and nothing comes back to it."""
    link, process = link_of(simulation)
    stream = Stream(link)
    arrived: list[str] = []
    stream.send(arrived.append, "there")
    stream.answer(arrived.append, "back")
    link.send(arrived.append, "there")
    link.answer(arrived.append, "back")
    process.kill()
    await asyncio.sleep(10)
    assert arrived == ["there", "there"]
