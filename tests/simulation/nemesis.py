"""The nemesis: makes the faults of a scenario happen, and makes good again what has an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from flow.runtime.tasks import TaskGroup
from tests.simulation.crew import Crew
from tests.simulation.scenario import Fault, FaultKind
from tests.simulation.world import NAMESPACE, World

__all__ = ["Nemesis"]

ARMED_S: Final = 30.0
FIRST_NEWCOMER: Final = 10
"""The number of the first orchestrator that joins later."""


class Nemesis:
    """Makes faults happen.

    Args:
        world: The world.
        crew: The processes.
    """

    def __init__(self, world: World, crew: Crew) -> None:
        """Prepare; nothing goes wrong yet."""
        self._world = world
        self._crew = crew
        self._newcomers = FIRST_NEWCOMER
        self._down: dict[str, int] = {"broker": 0, "blocked": 0, "store": 0}
        self._faults: dict[FaultKind, Callable[[Fault], Awaitable[None]]] = {
            "crash": self._crash,
            "crash point": self._crash_point,
            "pause": self._pause,
            "cut": self._cut,
            "jump": self._jump,
            "store clock": self._store_clock,
            "wipe": self._wipe,
            "purge": self._purge,
            "broker outage": self._broker_outage,
            "broker blocked": self._broker_blocked,
            "store outage": self._store_outage,
            "leave": self._leave,
            "join": self._join,
        }

    async def run(self, until_s: float) -> None:
        """Let all faults happen; what is not over by then is cut short.

        Args:
            until_s: When it ends, in virtual seconds.
        """
        async with TaskGroup() as tasks:
            for fault in self._world.scenario.faults:
                tasks.start(self._happen(fault), f"fault {fault.kind}")
            await asyncio.sleep(max(until_s - self._world.now_s, 0.0))

    async def _happen(self, fault: Fault) -> None:
        await asyncio.sleep(max(fault.at_s - self._world.now_s, 0.0))
        self._world.simulation.note("fault", str(fault))
        self._world.ledger.disturbed()
        await self._faults[fault.kind](fault)
        self._world.simulation.note("fault is over", str(fault))

    def _count(self, what: str) -> None:
        self._world.counts[f"fault: {what}"] += 1

    def _alive(self, fault: Fault) -> list[str]:
        return [name for name in fault.targets if self._crew.is_alive(name)]

    # ------------------------------------------------------------------------- processes

    async def _crash(self, fault: Fault) -> None:
        targets = self._alive(fault)
        for name in targets:
            self._crew.kill(name)
            self._count(f"crash of a {name.partition('-')[0]}")
        if len(targets) > 1:
            self._count("crash of several at once")
        await asyncio.sleep(fault.duration_s)
        for name in targets:
            self._crew.start(name)

    async def _crash_point(self, fault: Fault) -> None:
        """Have a process crash as soon as it passes a point; give up when it does not for long."""
        (name,) = fault.targets
        crashed = self._world.armed.arm(name, fault.point)
        try:
            async with asyncio.timeout(ARMED_S):
                await crashed.wait()
        except TimeoutError:
            self._world.armed.disarm(name, fault.point)
            return
        self._count(f"crash at {fault.point}")
        await asyncio.sleep(fault.duration_s)
        self._crew.start(name)

    async def _pause(self, fault: Fault) -> None:
        cluster = self._world.cluster
        targets = [name for name in self._alive(fault) if cluster.members[name].process.is_running]
        paused = [cluster.members[name].process for name in targets]
        for name in targets:
            cluster.pause(name)
            self._count(f"pause of a {name.partition('-')[0]}")
        if fault.duration_s > 15.0:
            self._count("pause past the lease")
        await asyncio.sleep(fault.duration_s)
        for process in paused:
            process.resume()

    async def _leave(self, fault: Fault) -> None:
        for name in self._alive(fault):
            await self._crew.stop(name)
            self._count("leave")
        await asyncio.sleep(fault.duration_s)
        for name in fault.targets:
            self._crew.start(name)

    async def _join(self, fault: Fault) -> None:
        name = f"orchestrator-{self._newcomers}"
        self._newcomers += 1
        self._crew.start(name)
        self._count("join")
        await asyncio.sleep(fault.duration_s)
        await self._crew.stop(name)

    async def _jump(self, fault: Fault) -> None:
        for name in self._alive(fault):
            self._world.cluster.jump(name, fault.amount_ms)
            self._count("jump of a clock")

    # --------------------------------------------------------------------------- servers

    async def _cut(self, fault: Fault) -> None:
        cluster = self._world.cluster
        targets = self._alive(fault)
        for name in targets:
            cluster.cut(
                name,
                broker="broker" in fault.servers,
                store="store" in fault.servers,
                there="there" in fault.ways,
                back="back" in fault.ways,
            )
            self._count(f"cut from the {' and the '.join(fault.servers)}")
            self._count(f"cut {' and '.join(fault.ways)}")
        await asyncio.sleep(fault.duration_s)
        for name in targets:
            if self._crew.is_alive(name):
                cluster.mend(name)

    async def _store_clock(self, fault: Fault) -> None:
        self._world.cluster.clock.skew_ms += fault.amount_ms
        self._count("store clock")

    async def _wipe(self, _: Fault) -> None:
        self._world.cluster.wipe()
        self._count("wipe")

    async def _purge(self, fault: Fault) -> None:
        for queue in fault.targets:
            self._world.cluster.servers.purge(f"{NAMESPACE}.{queue}")
            self._count("purge")

    async def _broker_outage(self, fault: Fault) -> None:
        conditions = self._world.cluster.broker
        self._down["broker"] += 1
        conditions.stop()
        self._count("broker outage")
        await asyncio.sleep(fault.duration_s)
        self._down["broker"] -= 1
        if not self._down["broker"]:
            conditions.start()

    async def _broker_blocked(self, fault: Fault) -> None:
        conditions = self._world.cluster.broker
        self._down["blocked"] += 1
        conditions.block("the simulated broker is out of memory")
        self._count("broker blocked")
        await asyncio.sleep(fault.duration_s)
        self._down["blocked"] -= 1
        if not self._down["blocked"]:
            conditions.block("")

    async def _store_outage(self, fault: Fault) -> None:
        conditions = self._world.cluster.store
        self._down["store"] += 1
        conditions.is_up = False
        self._count("store outage")
        await asyncio.sleep(fault.duration_s)
        self._down["store"] -= 1
        conditions.is_up = not self._down["store"]
