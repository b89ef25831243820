"""Simulation: a seeded event loop, processes that die, ports that fail, and virtual time."""

from flow.testing.simulation.callbacks import LoopSettings
from flow.testing.simulation.cluster import Member, SimulatedCluster
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults, Faults, NetworkFaults, StoreFaults
from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.processes import SimulatedProcess
from flow.testing.simulation.simulation import Simulation, simulate, simulated
from flow.testing.simulation.trace import Trace, TraceLine

__all__ = [
    "BrokerFaults",
    "Failpoints",
    "Faults",
    "LoopSettings",
    "Member",
    "NetworkFaults",
    "SimulatedCluster",
    "SimulatedLoop",
    "SimulatedProcess",
    "Simulation",
    "StoreFaults",
    "Trace",
    "TraceLine",
    "simulate",
    "simulated",
]
