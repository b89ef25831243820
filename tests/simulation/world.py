"""The world of one run: the simulation, the cluster, and what is written down about both."""

from __future__ import annotations

import asyncio
from collections import Counter
from math import inf
from typing import Final
from weakref import WeakKeyDictionary, ref

from flow.testing.simulation import Simulation
from flow.testing.simulation.cluster import SimulatedCluster
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.processes import SimulatedProcess
from tests.simulation.invariants.base import Violation
from tests.simulation.ledger import Ledger
from tests.simulation.scenario import Scenario

__all__ = ["NAMESPACE", "ArmedPoints", "World"]

NAMESPACE: Final = "world"

_WORLDS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, ref[World]]] = WeakKeyDictionary()
"""Handlers are plain functions, and find their world by the loop that they run on. Worlds know
their loops, so that a table of worlds and not of references would keep all of them for ever."""


class ArmedPoints(Failpoints):
    """Points at which certain processes crash when they pass them the next time."""

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._armed: dict[tuple[str, str], asyncio.Event] = {}

    def arm(self, name: str, point: str) -> asyncio.Event:
        """Have a process crash, once.

        Args:
            name: The name that it was started under.
            point: One of POINTS.

        Returns:
            Set when it has.
        """
        return self._armed.setdefault((name, point), asyncio.Event())

    def disarm(self, name: str, point: str) -> None:
        """Have a process not crash any more.

        Args:
            name: The name that it was started under.
            point: One of POINTS.
        """
        self._armed.pop((name, point), None)

    def disarm_all(self) -> None:
        """Have nobody crash any more."""
        self._armed.clear()

    def reach(self, process: SimulatedProcess, point: str) -> None:
        """Pass a point, or die there.

        Args:
            process: The process that passes it.
            point: One of POINTS.
        """
        if not self._armed or process.is_dead:
            return
        crashed = self._armed.pop((process.name.partition("#")[0], point), None)
        if crashed is not None:
            self.crash(process)
            crashed.set()


class World:
    """Everything that a run consists of.

    Args:
        simulation: The simulation.
        scenario: What happens.
        failpoints: Where processes crash; by default where the nemesis says.

    Attributes:
        simulation: As given.
        scenario: As given.
        cluster: The processes and their servers.
        armed: Where processes crash, if nobody else says.
        ledger: What handlers and clients have seen.
        counts: How often each kind of thing has really happened.
        violations: What is wrong.
        healed_s: When the faults were over: from then on everything has to come to its end.
    """

    def __init__(
        self, simulation: Simulation, scenario: Scenario, failpoints: Failpoints | None = None
    ) -> None:
        """Make the servers; no process runs yet."""
        self.simulation = simulation
        self.scenario = scenario
        self.armed = ArmedPoints()
        self.cluster = SimulatedCluster(
            simulation,
            partitions=scenario.partitions,
            faults=scenario.chances,
            failpoints=failpoints or self.armed,
        )
        self.ledger = Ledger(simulation.loop.time)
        self.counts: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.healed_s = inf
        _WORLDS[simulation.loop] = ref(self)

    @staticmethod
    def present() -> World:
        """Return the world in which the calling code runs."""
        world = _WORLDS[asyncio.get_running_loop()]()
        assert world is not None
        return world

    @property
    def is_healed(self) -> bool:
        """Whether the faults are over."""
        return self.healed_s <= self.now_s

    @property
    def now_s(self) -> float:
        """The virtual seconds since the beginning."""
        return self.simulation.loop.time()

    def object_to(self, name: str, text: str) -> None:
        """Note that a promise is broken.

        Args:
            name: The name of the invariant.
            text: What is wrong.
        """
        self.simulation.note("violation", f"{name}: {text}")
        self.violations.append(Violation(name, text))
