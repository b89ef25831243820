"""The crew: which processes there should be, and what brings them back.

It does what systemd or Kubernetes does: a process that ends by itself because a server is away is
started again after a while; one that does not leave in order within a minute is killed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flow import Flow
from flow.errors import UnavailableError
from flow.runtime.orchestrator.engine import EngineSettings
from flow.testing.simulation.cluster import Member
from flow.testing.simulation.processes import OUTSIDE
from tests.simulation.clients import ClientDriver
from tests.simulation.handlers import serve
from tests.simulation.programs import SERVICES
from tests.simulation.world import NAMESPACE, World

__all__ = ["Crew"]

RESTART_S: Final = 2.0
LEAVE_S: Final = 60.0


class Crew:
    """Starts processes, by names such as `worker-1`, and looks after them.

    Args:
        world: The world.

    Attributes:
        drivers: What the clients do, by the name of the client; it outlives their processes.
    """

    def __init__(self, world: World) -> None:
        """Begin with nobody."""
        self.drivers: dict[str, ClientDriver] = {}
        self._world = world
        self._wanted: dict[str, bool] = {}
        sizes = world.scenario.sizes
        self._engine = EngineSettings(
            live_bytes=sizes.live_bytes,
            unsettled=sizes.unsettled,
            batch=sizes.batch,
            prefetch=sizes.prefetch,
        )

    def is_alive(self, name: str) -> bool:
        """Return whether a process of this name runs, or is paused."""
        return name in self._world.cluster.members

    def start_all(self) -> None:
        """Start everybody whom the scenario begins with, unless they run."""
        scenario = self._world.scenario
        for role, count in (
            ("orchestrator", scenario.orchestrators),
            ("worker", scenario.workers),
            ("client", scenario.clients),
        ):
            for number in range(count):
                self.start(f"{role}-{number}")

    def start(self, name: str) -> None:
        """Start a process, unless it runs.

        Args:
            name: Its name: its role, a dash, and a number.
        """
        self._wanted[name] = True
        if self.is_alive(name):
            return
        cluster, app, role = self._world.cluster, self._application(name), name.partition("-")[0]
        if role == "client":
            member = cluster.start(name, self._driver(name).main, has_store=False)
        elif role == "worker":
            member = cluster.run(name, app, "worker")
        elif self._world.scenario.does_all:
            member = cluster.run(name, app, "orchestrator", "worker", engine=self._engine)
        else:
            member = cluster.run(name, app, "orchestrator", engine=self._engine)
        member.task.add_done_callback(lambda _: self._ended(member), context=OUTSIDE.copy())

    def kill(self, name: str) -> None:
        """Kill a process, which should come back."""
        if self.is_alive(name):
            self._world.cluster.kill(name)

    async def stop(self, name: str) -> None:
        """Have a process leave in good order; kill it if it does not.

        Args:
            name: Its name.
        """
        self._wanted[name] = False
        if not self.is_alive(name):
            return
        leaving = self._world.ledger.leaving
        leaving.add(name)
        if not await self._world.cluster.stop(name, LEAVE_S):
            self._world.counts["a process that had to be killed to leave"] += 1
        leaving.discard(name)

    def _ended(self, member: Member) -> None:
        """Start a process again that has ended although nobody wanted that, after a while."""
        loop = self._world.simulation.loop
        if not loop.is_burying:
            loop.call_later(RESTART_S, self._start_again, member, context=OUTSIDE.copy())

    def _start_again(self, member: Member) -> None:
        failure = member.failure
        if failure is not None and not isinstance(failure, UnavailableError):
            self._world.object_to("a process failed", f"{member.name}: {failure!r}")
        if self._wanted.get(member.name, False) and not self.is_alive(member.name):
            self._world.counts["a process that ended by itself"] += 1
            self.start(member.name)

    def _driver(self, name: str) -> ClientDriver:
        if name not in self.drivers:
            self.drivers[name] = ClientDriver(self._world, name)
        return self.drivers[name]

    def _application(self, name: str) -> Flow:
        world = self._world
        app = Flow(
            NAMESPACE,
            broker="memory://",
            store="memory://",
            partitions=world.scenario.partitions,
            concurrency=world.scenario.sizes.concurrency,
        )
        if not name.startswith("worker"):
            for program in world.scenario.programs:
                program.declare(app)
        if name.startswith("worker") or world.scenario.does_all:
            serve(app, self._services_of(name))
        return app

    def _services_of(self, name: str) -> Sequence[str]:
        number = int(name.partition("-")[2])
        if number == 0 or not self._world.scenario.specialists:
            return SERVICES
        return (SERVICES[number % len(SERVICES)],)
