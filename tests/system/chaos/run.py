"""A whole chaos run: servers, processes, clients, faults, healing, and what came of it."""

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import asyncpg

from flow.clock import SystemClock
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import proxied
from tests.servers.rabbitmq import RabbitServer
from tests.system.chaos import programs
from tests.system.chaos.evidence import Evidence, Sample, load_effects, load_lives, load_store
from tests.system.chaos.fleet import Fleet, Servers
from tests.system.chaos.nemesis import Nemesis, Schedule
from tests.system.chaos.traffic import Traffic

__all__ = ["Settings", "perform"]

_log = logging.getLogger("tests.system")
_CLOCK: Final = SystemClock()

SAMPLE_S: Final = 0.25
LOOK_S: Final = 0.5
ANSWER_S: Final = 5.0
BEGIN_S: Final = 90.0
TOLD_S: Final = 3.0
LEASES: Final = (
    f'SELECT partition, owner FROM "flow_{programs.NAMESPACE}".lease'
    " WHERE expires > clock_timestamp()"
)
COLUMNS: Final = ("name", "messages_ready", "messages_unacknowledged", "consumers", "state")
OPEN: Final = f'SELECT count(*) FROM "flow_{programs.NAMESPACE}".execution WHERE ended_ms IS NULL'


# What the driver may raise when its server is killed, at whatever moment.
DOWN: Final = (
    *(OSError, TimeoutError, asyncpg.PostgresError),
    *(asyncpg.InterfaceError, asyncpg.InternalClientError),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What kind of run it is.

    Args:
        seconds: How long things break.
        seed: Where all chance comes from.
        rate: Executions started in a second.
        orchestrators: How many orchestrators there are.
        workers: How many workers.
        patience_s: How long after healing everything has to have ended.
        schedule: How often what is broken.
    """

    seconds: float
    seed: int
    rate: float = 5.0
    orchestrators: int = 3
    workers: int = 3
    patience_s: float = 180.0
    schedule: Schedule = field(default_factory=Schedule)


class _Run:
    """One run.

    Args:
        folder: Where everything that processes write goes.
        rabbitmq: The broker.
        postgres: The database server.
        settings: What kind of run it is.
    """

    def __init__(
        self, folder: Path, rabbitmq: RabbitServer, postgres: PostgresServer, settings: Settings
    ) -> None:
        self._folder = folder
        self._rabbitmq = rabbitmq
        self._postgres = postgres
        self._settings = settings
        self._store = ""
        self._samples: list[Sample] = []
        shapes = programs.shape_of(programs.orchestrating())
        self.evidence = Evidence(shapes=shapes)

    async def perform(self) -> Evidence:
        self._store = await self._postgres.new_database()
        for statement in programs.create_bookings:
            await self._postgres.execute(statement, url=self._store)
        servers = Servers(self._rabbitmq.url, self._store)
        settings = self._settings
        roles = {"orchestrator": settings.orchestrators, "worker": settings.workers}
        async with proxied(servers.broker) as way, Fleet(self._folder, servers, roles) as fleet:
            for place in fleet.places.values():
                await fleet.start(place)
            await self._wait_for(fleet)
            traffic = Traffic(way.url, programs.NAMESPACE, settings.seed, settings.rate)
            nemesis = Nemesis(
                fleet, self._rabbitmq, self._postgres, way, settings.seed, settings.schedule
            )
            await self._break(fleet, traffic, nemesis)
            self.evidence.crashes = list(fleet.ends.crashes)
            self.evidence.gave_up = fleet.ends.gave_up
            self.evidence.effects = load_effects(fleet.effects)
            self.evidence.lives = load_lives(fleet.lives)
        return self.evidence

    async def _wait_for(self, fleet: Fleet) -> None:
        """Wait until all processes take part."""
        with anyio.fail_after(BEGIN_S):
            while len(load_lives(fleet.lives)) < len(fleet.places):
                assert not fleet.ends.gave_up, f"a process does not begin: see {self._folder}"
                await anyio.sleep(LOOK_S)

    async def _break(self, fleet: Fleet, traffic: Traffic, nemesis: Nemesis) -> None:
        evidence, settings = self.evidence, self._settings
        ready, healed = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._sample)
            group.start_soon(traffic.run, settings.seconds, ready, healed)
            with anyio.fail_after(BEGIN_S):
                await ready.wait()
            evidence.began_ms = _CLOCK.now_ms()
            _log.warning("things begin to break")
            await nemesis.run(settings.seconds)
            await nemesis.heal()
            evidence.healed_ms = _CLOCK.now_ms()
            _log.warning("everything is mended, after %d faults", len(nemesis.faults))
            healed.set()
            left = await self._wait_for_end(traffic)
            _log.warning("%d executions are left", left)
            evidence.ended_ms = _CLOCK.now_ms()
            if left:
                fleet.ask_all()
                await anyio.sleep(TOLD_S)
                evidence.queues = await self._rabbitmq.ctl("list_queues", *COLUMNS)
            group.cancel_scope.cancel()
        evidence.starts = list(traffic.starts.values())
        evidence.commands = list(traffic.commands)
        evidence.faults = sorted(nemesis.faults, key=lambda fault: fault.at_ms)
        evidence.samples = self._samples
        await load_store(evidence, self._store)

    async def _wait_for_end(self, traffic: Traffic) -> int:
        """Wait until everything has ended, or the patience has; return how much is left."""
        patience_ms = self._settings.patience_s * 1_000
        while True:
            ((left,),) = await self._postgres.execute(OPEN, url=self._store)
            waited_ms = _CLOCK.now_ms() - self.evidence.healed_ms
            if (not left and traffic.is_idle) or waited_ms > patience_ms:
                return int(left)
            await anyio.sleep(LOOK_S)

    async def _sample(self) -> None:
        """Look all the time who holds the partitions, on a way of its own."""
        while True:
            # It is down now and then, as it is to be.
            with suppress(*DOWN):
                connection = await asyncpg.connect(self._store, timeout=ANSWER_S)
                try:
                    await self._sample_with(connection)
                finally:
                    connection.terminate()
            await anyio.sleep(SAMPLE_S)

    async def _sample_with(self, connection: "asyncpg.Connection[Any]") -> None:
        while True:
            rows = await connection.fetch(LEASES, timeout=ANSWER_S)
            owners = {row["partition"]: row["owner"] for row in rows}
            self._samples.append(Sample(_CLOCK.now_ms(), owners))
            await anyio.sleep(SAMPLE_S)


async def perform(
    folder: Path, rabbitmq: RabbitServer, postgres: PostgresServer, settings: Settings
) -> Evidence:
    """Carry out a run; return what is known about it.

    Args:
        folder: An empty folder, for everything that processes write.
        rabbitmq: A broker that may be killed and wiped.
        postgres: A database server that may be killed.
        settings: What kind of run it is.
    """
    return await _Run(folder, rabbitmq, postgres, settings).perform()
