"""A network that is cut, so that nobody notices, costs time and nothing else."""

import logging
from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

import pytest

from brokers.rabbitmq.url import CONSUMING_HEARTBEAT_S
from flow.runtime.orchestrator.lifeline import LEASE_MS
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy, proxied
from tests.servers.rabbitmq import RabbitServer
from tests.system.outages import Cluster, until
from tests.system.processes import Crew

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

_log = logging.getLogger("tests.system")

EXECUTIONS = 60
SOME = 60
MORE = 20
TAKEOVER_S = LEASE_MS / 1000 + 5
# Three heartbeats, and what a busy machine needs to look.
HELD_S = 3 * CONSUMING_HEARTBEAT_S + 2
# The longest pause before it connects again, and what it takes to have a partition.
BACK_S = 45


class RemoteCluster(Cluster):
    """A cluster whose first orchestrator reaches both servers over a way that can be cut."""

    def __init__(self, crew: Crew, rabbitmq: RabbitServer, postgres: PostgresServer) -> None:
        super().__init__(crew, rabbitmq, postgres, EXECUTIONS)
        self._exits = AsyncExitStack()
        self.proxies: list[Proxy] = []

    async def __aenter__(self) -> Self:
        """Open both ways."""
        for url in (self.rabbitmq.url, self.postgres.url):
            self.proxies.append(await self._exits.enter_async_context(proxied(url)))
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close both ways."""
        await self._exits.aclose()

    async def start(self, *numbers: int) -> None:
        """Start processes; the first one behind the proxies."""
        crew, near = self._crew, (self._crew.broker, self._crew.store)
        if 0 in numbers:
            broker, store = (urlsplit(proxy.url) for proxy in self.proxies)
            crew.broker = broker._replace(path=urlsplit(crew.broker).path).geturl()
            crew.store = store._replace(path=urlsplit(crew.store).path).geturl()
            await super().start(0)
            crew.broker, crew.store = near
        await super().start(*(number for number in numbers if number))

    async def has_one_owner(self) -> bool:
        """Return whether exactly one orchestrator has leases."""
        return len(await self.owners()) == 1


async def test_a_cut_network_delays_only(
    crew: Crew,
    own_rabbitmq: RabbitServer,
    own_postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another orchestrator ends what a cut one had; it comes back, and records nothing twice."""
    monkeypatch.setenv("FLOW_TEST_TAKES_S", "1")
    async with RemoteCluster(crew, own_rabbitmq, own_postgres) as cluster:
        await cluster.begin()
        await cluster.goes_on(SOME)
        assert await cluster.has_many_owners()
        before = await cluster.connections()
        for proxy in cluster.proxies:
            proxy.sever()
        took = await until(cluster.has_fewer(before), "a closed connection", HELD_S)
        _log.warning("what a cut orchestrator held came back after %.1f s", took)
        await until(cluster.has_one_owner, "a takeover", TAKEOVER_S)
        await until(cluster.has_ended, "the end of all executions", 90)
        assert not cluster.parts[0].has_ended
        for proxy in cluster.proxies:
            proxy.mend()
        took = await until(cluster.has_many_owners, "both orchestrators", BACK_S)
        _log.warning("a cut orchestrator had partitions again after %.1f s", took)
        await cluster.add(MORE)
        await cluster.expect_success()
