"""Processes with simulated connections to one broker in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from brokers.memory import Hub, MemoryBroker
from flow.errors import FlowError
from flow.ports import BrokerEvent, Queue, Topology
from flow.testing.simulation import SimulatedProcess, Simulation
from flow.testing.simulation.broker import BrokerConditions, SimulatedBroker
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults, NetworkFaults
from flow.testing.simulation.network import Link
from flow.testing.simulation.tasks import Tasks

T = TypeVar("T")

QUEUE: Final = "queue"
TOPOLOGY: Final = Topology(queues=(Queue(QUEUE),))
SILENCE_S: Final = 25.0
"""Seconds after which a silent connection has been given up for certain."""


class Party:
    """A process with a connection.

    Attributes:
        process: The process.
        link: Its way to the broker.
        broker: Its connection.
        heard: What its watcher was told.
    """

    def __init__(self, process: SimulatedProcess, link: Link, broker: SimulatedBroker) -> None:
        self.process = process
        self.link = link
        self.broker = broker
        self.heard: list[BrokerEvent] = []
        self._tasks = Tasks(link.loop)
        broker.watch(self.heard.append)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run something in the process."""
        future: asyncio.Future[T] = self.link.loop.create_future()

        async def run() -> None:
            try:
                result = await coroutine
            except FlowError as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.start(run(), self.process.name, self.process.context)
        return future

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Start something in the process that nobody waits for."""
        self._tasks.start(coroutine, self.process.name, self.process.context)

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.broker.die()


class Place:
    """A broker, and processes that use it.

    Attributes:
        simulation: Where it is.
        hub: The real broker.
        conditions: How the simulated one is.
        parties: The processes.
    """

    def __init__(self, simulation: Simulation, network: NetworkFaults | None = None) -> None:
        self.simulation = simulation
        self.hub = Hub()
        self.conditions = BrokerConditions()
        self.parties: list[Party] = []
        self._network = network or NetworkFaults()

    def party(self, name: str = "process") -> Party:
        """Return a new process; its connection is not open yet."""
        simulation = self.simulation
        process = simulation.process(name)
        link = Link(simulation.loop, process, self._network, f"{simulation.seed} {process.name}")

        def note(what: str, detail: str) -> None:
            simulation.note(what, detail, process.name)

        broker = SimulatedBroker(
            lambda: MemoryBroker(self.hub), process, link, simulation.loop, self.conditions, note
        )
        party = Party(process, link, broker)
        self.parties.append(party)
        return party

    async def open(self, name: str = "process") -> Party:
        """Return a new process with an open connection, on which there is the queue."""
        party = self.party(name)
        await party.run(party.broker.open())
        await party.run(party.broker.declare(TOPOLOGY))
        return party

    def spoil(self, **rates: float) -> None:
        """Have things go wrong from now on, so often."""
        self.conditions.faults = BrokerFaults(**rates)

    def crash_at(self, *numbers: int) -> Failpoints:
        """Have processes die at the points with these numbers, counted from now on."""
        points = Failpoints(frozenset(numbers), is_counting=True)

        def crash(process: SimulatedProcess) -> None:
            for party in self.parties:
                if party.process is process:
                    party.kill()

        points.crash = crash
        self.conditions.failpoints = points
        return points

    def count(self, what: str, detail: str = "") -> int:
        """Return how many lines of a kind the trace has."""
        lines = self.simulation.trace.lines
        return sum(line.what == what and line.detail.startswith(detail) for line in lines)

    def unsettled(self) -> int:
        """Return how many messages wait or were handed out, in all queues."""
        return sum(queue.ready + queue.unsettled for queue in self.hub.stats().queues)

    def depth(self) -> int:
        """Return how many messages wait in the queue."""
        return self.hub.depth(QUEUE)


async def within(seconds: float, is_true: Callable[[], bool]) -> float:
    """Wait until something is true; return how many virtual seconds that took."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while not is_true():
        await asyncio.sleep(0.05)
        assert loop.time() - begin < seconds, f"it did not happen within {seconds} s"
    return loop.time() - begin
