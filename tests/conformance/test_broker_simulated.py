"""The broker of a simulation, without faults, held to what every broker has to do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokers.memory import Hub, MemoryBroker
from flow.ports import Broker
from flow.testing.simulation import Simulation, simulate
from flow.testing.simulation.broker import BrokerConditions, SimulatedBroker
from flow.testing.simulation.faults import NetworkFaults
from flow.testing.simulation.network import Link
from tests.conformance.broker import CASES, Case
from tests.conformance.broker_bench import Bench, Features
from tests.conformance.broker_losses import BLOCKING, CUTTING

SEEDS = (1, 2)


def serve(simulation: Simulation) -> Bench:
    """Return a bench on which every connection has a process of its own."""
    hub, conditions = Hub(), BrokerConditions()

    def make() -> Broker:
        process = simulation.process("process")
        link = Link(simulation.loop, process, NetworkFaults(), process.name)
        return SimulatedBroker(
            lambda: MemoryBroker(hub), process, link, simulation.loop, conditions, simulation.note
        )

    async def cut() -> None:
        # What was settled has to have arrived, as it has when a person cuts connections.
        arrived = asyncio.Event()
        simulation.loop.call_later(1.0, arrived.set)
        await arrived.wait()
        hub.cut()

    async def block(reason: str) -> None:
        conditions.block(reason)

    return Bench(make, features=Features(cut, block))


def exercise_in_simulation(exercise: Case, seed: int) -> None:
    """Run one case on a simulated event loop, and close what it has opened."""

    async def main(simulation: Simulation) -> None:
        # Cases that expect a report set a handler, as they may on every event loop.
        handlers: list[Any] = []
        loop: Any = simulation.loop
        report = loop.call_exception_handler
        loop.set_exception_handler = handlers.append

        def tell(context: dict[str, Any]) -> None:
            if handlers:
                handlers[-1](loop, context)
            else:
                report(context)

        loop.call_exception_handler = tell
        bench = serve(simulation)
        await exercise(bench)
        await bench.close()

    simulate(main, seed=seed)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exercise", [*CASES, *CUTTING, *BLOCKING])
def test_simulated_broker_conforms(exercise: Case, seed: int) -> None:
    """Over a hub and a network without faults it does what the case asks of every broker."""
    exercise_in_simulation(exercise, seed)


def test_a_failing_case_is_seen() -> None:
    """A case that fails in a simulation fails here too."""

    async def fail(bench: Bench) -> None:
        broker = await bench.open()
        assert broker.health.generation == 2

    with pytest.raises(AssertionError):
        exercise_in_simulation(fail, 1)
