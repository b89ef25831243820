"""The nemesis: breaks everything, each kind of fault on a schedule of its own.

All chance comes from the seed, one stream for each kind of fault. How the faults meet what goes on
depends on the machine, so that a seed repeats the plan, and not the run.
"""

import random
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import anyio.abc

from flow.clock import SystemClock
from flow.runtime.orchestrator.lifeline import LEASE_MS
from tests.servers.daemon import ServerFailed
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy
from tests.servers.rabbitmq import RabbitServer
from tests.servers.server import Server
from tests.system.chaos.evidence import Fault
from tests.system.chaos.fleet import Fleet, Place

__all__ = ["Nemesis", "Schedule"]

LEASE_S: Final = LEASE_MS / 1_000
BROKER, DATABASE = "broker", "database"

_CLOCK: Final = SystemClock()

Span = tuple[float, float]
Act = Callable[[random.Random], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How often what is broken, and for how long, in seconds.

    Args:
        orchestrators: Between two kills of an orchestrator.
        workers: Between two kills of a worker.
        servers: Between two kills of the broker; and of the database.
        pauses: Between two pauses.
        cuts: Between two cuts.
        empty: How long the place of a killed process stays empty, now and then.
        down: How long a server is down.
        long_down: The same, now and then.
        paused: How long a process stands still.
        cut: How long a way is cut.
        empties: How many of the kills leave the place empty for a while: a share.
        long_downs: How many of the outages are long.
        wipes: How many of the broker's outages make it forget everything.
    """

    orchestrators: Span = (2.0, 5.0)
    workers: Span = (1.0, 3.0)
    servers: Span = (10.0, 40.0)
    pauses: Span = (10.0, 40.0)
    cuts: Span = (10.0, 40.0)
    empty: Span = (2.0, 20.0)
    down: Span = (0.0, 2.0)
    long_down: float = 30.0
    paused: Span = (0.5 * LEASE_S, 3.0 * LEASE_S)
    cut: Span = (10.0, 30.0)
    empties: float = 0.3
    long_downs: float = 0.1
    wipes: float = 0.3


class Nemesis:
    """Breaks things, and mends all of them in the end.

    Args:
        fleet: The processes.
        rabbitmq: The broker.
        postgres: The database server.
        client: The client's way to the broker, which is cut too.
        seed: Where all chance comes from.
        schedule: How often what is broken.

    Attributes:
        faults: What was broken.
    """

    def __init__(
        self,
        fleet: Fleet,
        rabbitmq: RabbitServer,
        postgres: PostgresServer,
        client: Proxy,
        seed: int,
        schedule: Schedule,
    ) -> None:
        self.faults: list[Fault] = []
        self._fleet = fleet
        self._rabbitmq = rabbitmq
        self._postgres = postgres
        self._client = client
        self._seed = seed
        self._schedule = schedule
        self._severed: set[str] = set()

    async def run(self, seconds: float) -> None:
        """Break things for a while. Servers that are down are up again at the end.

        Args:
            seconds: How long.
        """
        schedule = self._schedule
        plan: Sequence[tuple[str, Span, Act]] = (
            ("orchestrators", schedule.orchestrators, self._kill_orchestrator),
            ("workers", schedule.workers, self._kill_worker),
            ("broker", schedule.servers, self._kill_broker),
            ("database", schedule.servers, self._kill_database),
            ("pauses", schedule.pauses, self._pause),
            ("cuts", schedule.cuts, self._cut),
        )
        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as group:
                for name, every, act in plan:
                    group.start_soon(self._repeat, group, name, every, act)

    async def _repeat(
        self,
        group: anyio.abc.TaskGroup,
        name: str,
        every: Span,
        act: Act,
    ) -> None:
        chance = random.Random(f"{self._seed}/{name}")
        while True:
            await anyio.sleep(chance.uniform(*every))
            if name in {"broker", "database"}:
                # A server is killed only once it is up again.
                await act(random.Random(chance.random()))
            else:
                group.start_soon(act, random.Random(chance.random()))

    async def heal(self) -> None:
        """Mend everything."""
        for server in (self._rabbitmq, self._postgres):
            if not server.runs:
                await server.start()
        for place in self._fleet.places.values():
            self._fleet.go_on(place, place.pid)
            place.broker.mend()
            place.store.mend()
            await self._fleet.start(place)
        self._client.mend()

    def _note(self, kind: str, target: str, at_ms: int, pid: int = 0) -> None:
        self.faults.append(Fault(kind, target, at_ms, _CLOCK.now_ms(), pid))

    # ------------------------------------------------------------------------- processes

    def _choose(self, chance: random.Random, role: str) -> Place | None:
        running = [place for place in self._fleet.of(role) if place.pid and not place.is_paused]
        return chance.choice(running) if running else None

    async def _kill_orchestrator(self, chance: random.Random) -> None:
        await self._kill(chance, "orchestrator")

    async def _kill_worker(self, chance: random.Random) -> None:
        await self._kill(chance, "worker")

    async def _kill(self, chance: random.Random, role: str) -> None:
        place = self._choose(chance, role)
        if place is None:
            return
        at_ms = _CLOCK.now_ms()
        pid = self._fleet.kill(place)
        self._note(f"kill {role}", place.name, at_ms, pid)
        if chance.random() < self._schedule.empties:
            await anyio.sleep(chance.uniform(*self._schedule.empty))
        await self._fleet.start(place)

    async def _pause(self, chance: random.Random) -> None:
        role = chance.choice(("orchestrator", "worker"))
        place = self._choose(chance, role)
        if place is None:
            return
        at_ms, pid = _CLOCK.now_ms(), self._fleet.pause(place)
        try:
            await anyio.sleep(chance.uniform(*self._schedule.paused))
        finally:
            self._fleet.go_on(place, pid)
            self._note(f"pause {role}", place.name, at_ms, pid)

    # --------------------------------------------------------------------------- servers

    async def _kill_broker(self, chance: random.Random) -> None:
        # RabbitMQ 3.10 loses a queue for good that was declared half a second before.
        try:
            await self._rabbitmq.settle()
        except ServerFailed:
            return
        wipes = chance.random() < self._schedule.wipes
        await self._kill_server(chance, BROKER, self._rabbitmq, wipes=wipes)

    async def _kill_database(self, chance: random.Random) -> None:
        await self._kill_server(chance, DATABASE, self._postgres, wipes=False)

    async def _kill_server(
        self, chance: random.Random, name: str, server: Server, *, wipes: bool
    ) -> None:
        is_long = chance.random() < self._schedule.long_downs
        down = self._schedule.long_down if is_long else chance.uniform(*self._schedule.down)
        at_ms = _CLOCK.now_ms()
        with anyio.CancelScope(shield=True):
            await server.kill()
            if wipes:
                server.wipe()
        try:
            await anyio.sleep(down)
        finally:
            with anyio.CancelScope(shield=True):
                await server.start()
            verb = "wipe" if wipes else "kill"
            self._note(f"{verb} {name}{', long' if is_long else ''}", name, at_ms)

    # ------------------------------------------------------------------------------ cuts

    async def _cut(self, chance: random.Random) -> None:
        """Cut the ways of one process: to one server or both, in one direction or both."""
        places = sorted(self._fleet.places.values(), key=lambda place: place.name)
        place = chance.choice([*places, None])
        name = "client" if place is None else place.name
        which, ways = chance.choice(("broker", "database", "both")), [self._client]
        if place is not None:
            both = {"broker": [place.broker], "database": [place.store]}
            ways = both.get(which, [place.broker, place.store])
        there, back = chance.choice(((True, True), (True, False), (False, True), (False, False)))
        at_ms = _CLOCK.now_ms()
        if not (there or back):
            for way in ways:
                way.cut()
            self._note("cut: connections reset", name, at_ms)
            return
        if name in self._severed:
            return
        self._severed.add(name)
        for way in ways:
            way.sever(there=there, back=back)
        try:
            await anyio.sleep(chance.uniform(*self._schedule.cut))
        finally:
            self._severed.discard(name)
            for way in ways:
                way.mend()
            self._note("cut: two ways" if there and back else "cut: one way", name, at_ms)
