"""The RabbitMQ and the PostgreSQL of one run, durable as in production, started when needed."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from tests.servers.postgres import PostgresServer, missing_postgres
from tests.servers.rabbitmq import RabbitServer, missing_rabbitmq

__all__ = ["LocalServers", "Missing"]

ValueT = TypeVar("ValueT")

REQUIRED = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
"""What PostgreSQL has to be set to, or else the figures would mean nothing."""


class Missing(Exception):
    """Something is not installed; the message says what to do about it."""


class LocalServers:
    """Servers in temporary folders, which are gone after the block; see `benchmarks.suite`."""

    def __init__(self) -> None:
        self._rabbitmq: RabbitServer | None = None
        self._postgres: PostgresServer | None = None
        self._versions: dict[str, str] = {}
        self._vhost = ""
        self._database = ""

    def __enter__(self) -> Self:
        """Begin without a server."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End what was started."""
        if self._rabbitmq is not None:
            self._rabbitmq.close()
        if self._postgres is not None:
            self._postgres.close()

    def broker_url(self) -> str:
        """Return the URL of an empty virtual host; what the last one held is gone.

        Raises:
            Missing: RabbitMQ is not installed.
        """
        server = self._started_rabbitmq()
        if self._vhost:
            # Queues cost their broker something for as long as they exist.
            gone = f'rabbit_vhost:delete(<<"{self._vhost}">>, <<"guest">>), ok.'
            _run(lambda: server.evaluate(gone))
        url = _run(server.new_vhost)
        self._vhost = url.rpartition("/")[2]
        return url

    def database_url(self) -> str:
        """Return the URL of an empty database; the last one is gone.

        Raises:
            Missing: PostgreSQL is not installed.
        """
        server = self._started_postgres()
        if self._database:
            gone = f"DROP DATABASE {self._database} WITH (FORCE)"
            _run(lambda: server.execute(gone))
        url = _run(server.new_database)
        self._database = url.rpartition("/")[2]
        return url

    def versions(self) -> Mapping[str, str]:
        """Return what was started, with its version."""
        return self._versions

    def groups(self) -> dict[str, list[int]]:
        """Return the first process of each server that runs, for a `Meter`."""
        found: dict[str, list[int]] = {}
        if self._rabbitmq is not None:
            found["broker"] = [self._rabbitmq.pid]
        if self._postgres is not None:
            found["database"] = [self._postgres.pid]
        return found

    def _started_rabbitmq(self) -> RabbitServer:
        if self._rabbitmq is None:
            if missing := missing_rabbitmq():
                raise Missing(f"this machine lacks {missing}: run `make servers`")
            self._rabbitmq = RabbitServer()
            _run(self._rabbitmq.start)
            self._versions |= _run(lambda: _rabbitmq_versions(self._started_rabbitmq()))
        return self._rabbitmq

    def _started_postgres(self) -> PostgresServer:
        if self._postgres is None:
            if missing := missing_postgres():
                raise Missing(f"this machine lacks {missing}: run `make servers`")
            self._postgres = PostgresServer()
            _run(self._postgres.start)
            self._versions |= _run(lambda: _postgres_versions(self._started_postgres()))
        return self._postgres


async def _rabbitmq_versions(server: RabbitServer) -> dict[str, str]:
    told = await server.evaluate(
        "lists:concat([rabbit_misc:version(), [32], erlang:system_info(otp_release)])."
    )
    version, _, release = told.strip('"').partition(" ")
    return {"RabbitMQ": version, "Erlang": release}


async def _postgres_versions(server: PostgresServer) -> dict[str, str]:
    for setting, wanted in REQUIRED.items():
        [(value,)] = await server.execute(f"SHOW {setting}")
        if value != wanted:
            raise Missing(f"PostgreSQL has {setting}={value}; benchmarks need {wanted}")
    [(version,)] = await server.execute("SHOW server_version")
    return {"PostgreSQL": str(version).partition(" ")[0]}


def _run(work: Callable[[], Awaitable[ValueT]]) -> ValueT:
    """Run a coroutine to its end. On this very thread, for servers end along with theirs."""

    async def main() -> ValueT:
        return await work()

    return asyncio.run(main())
