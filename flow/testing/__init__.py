"""Testing flows: in one process with virtual time, or as a cluster in which everything goes wrong.

async with FlowHarness(app) as test:
    test.stub("payments.charge", [ConnectionError(), Receipt(id="r1")])
    assert await checkout.run(Order(total=5)) == Receipt(id="r1")

@simulated(seed=7)
async def test_orders_survive(simulation: Simulation) -> None:
    cluster = SimulatedCluster(simulation, faults=Faults(broker=BrokerFaults(lost=0.1)))
"""

from flow.testing.chance import SeededChance
from flow.testing.clock import VirtualClock
from flow.testing.harness import FlowHarness
from flow.testing.simulation import (
    BrokerFaults,
    Faults,
    LoopSettings,
    Member,
    NetworkFaults,
    SimulatedCluster,
    Simulation,
    StoreFaults,
    simulate,
    simulated,
)
from flow.testing.stubs import NEVER, Call

__all__ = [
    "NEVER",
    "BrokerFaults",
    "Call",
    "Faults",
    "FlowHarness",
    "LoopSettings",
    "Member",
    "NetworkFaults",
    "SeededChance",
    "SimulatedCluster",
    "Simulation",
    "StoreFaults",
    "VirtualClock",
    "simulate",
    "simulated",
]
