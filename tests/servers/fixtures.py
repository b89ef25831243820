"""Fixtures: real servers for tests, and fresh virtual hosts and databases inside them.

- `rabbitmq`, `postgres`: one each for all tests of a process (xdist: of a worker), started when
  the first test asks. Leave them running and their connections alone.
- `frail_rabbitmq`: one for those tests of a process that pause it, squeeze it or cut its
  connections. It has to run and to keep its settings.
- `own_rabbitmq`, `own_postgres`: one for this test only, to be killed, paused and wiped.
- `broker_url`, `database_url`: an empty virtual host, an empty database, of the shared ones.

A test that uses one of them is marked `system`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Generator
from typing import TypeVar

import pytest

from tests.servers.postgres import PostgresServer, missing_postgres
from tests.servers.rabbitmq import RabbitServer, missing_rabbitmq

SERVERS = {
    *("rabbitmq", "postgres", "broker_url", "database_url"),
    *("frail_rabbitmq", "own_rabbitmq", "own_postgres"),
}

ValueT = TypeVar("ValueT")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a real server as `system`."""
    for item in items:
        if isinstance(item, pytest.Function) and SERVERS & set(item.fixturenames):
            item.add_marker("system")


def run(work: Callable[[], Awaitable[ValueT]]) -> ValueT:
    """Run a coroutine to its end outside of any test, on an event loop of its own."""

    async def main() -> ValueT:
        return await work()

    # With a factory, the runner leaves the event loop of the tests alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(main())


def demand(missing: str | None) -> None:
    """Skip the test if a server is not installed; fail where that must not happen.

    Args:
        missing: What is missing.
    """
    if missing is None:
        return
    if os.environ.get("CI") or os.geteuid() == 0:
        pytest.fail(f"this machine lacks {missing}: run `make servers`", pytrace=False)
    pytest.skip(f"this machine lacks {missing}")


def a_rabbitmq() -> Generator[RabbitServer, None, None]:
    """Start a RabbitMQ; remove it at the end."""
    demand(missing_rabbitmq())
    server = RabbitServer()
    try:
        run(server.start)
        yield server
    finally:
        server.close()


def a_postgres() -> Generator[PostgresServer, None, None]:
    """Start a PostgreSQL; remove it at the end."""
    demand(missing_postgres())
    server = PostgresServer()
    try:
        run(server.start)
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def rabbitmq() -> Generator[RabbitServer, None, None]:
    """Give the RabbitMQ that tests share."""
    yield from a_rabbitmq()


@pytest.fixture(scope="session")
def postgres() -> Generator[PostgresServer, None, None]:
    """Give the PostgreSQL that tests share."""
    yield from a_postgres()


@pytest.fixture(scope="session")
def shared_frail_rabbitmq() -> Generator[RabbitServer, None, None]:
    """Give the RabbitMQ of the tests that are bad neighbours."""
    yield from a_rabbitmq()


@pytest.fixture
def frail_rabbitmq(shared_frail_rabbitmq: RabbitServer) -> Generator[RabbitServer, None, None]:
    """Give a RabbitMQ to be paused and squeezed; it goes on after the test, also if that failed."""
    yield shared_frail_rabbitmq
    shared_frail_rabbitmq.resume()


@pytest.fixture
def own_rabbitmq() -> Generator[RabbitServer, None, None]:
    """Give a RabbitMQ that this test may do anything with."""
    yield from a_rabbitmq()


@pytest.fixture
def own_postgres() -> Generator[PostgresServer, None, None]:
    """Give a PostgreSQL that this test may do anything with."""
    yield from a_postgres()


@pytest.fixture
def broker_url(rabbitmq: RabbitServer) -> str:
    """Give the URL of an empty virtual host."""
    return run(rabbitmq.new_vhost)


@pytest.fixture
def database_url(postgres: PostgresServer) -> str:
    """Give the URL of an empty database."""
    return run(postgres.new_database)
