"""Whatever breaks down, every execution ends well, and each of its results is recorded once."""

import logging

import pytest

from brokers.rabbitmq.url import CONSUMING_HEARTBEAT_S
from flow.runtime.orchestrator.lifeline import LEASE_MS
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.system.outages import ROLES, Cluster, until
from tests.system.processes import Crew

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(600)]

_log = logging.getLogger("tests.system")

EXECUTIONS = 500
TAKEOVER_S = LEASE_MS / 1000 + 5
# Three heartbeats, and what a busy machine needs to look.
HELD_S = 3 * CONSUMING_HEARTBEAT_S + 2
# Effects between two breakdowns: enough to see that it goes on.
SOME = 150
EVERYBODY = tuple(range(len(ROLES)))


async def lose_an_orchestrator(cluster: Cluster) -> float:
    """Kill an orchestrator; return how long it took until another one had all its partitions."""
    before = await cluster.owners()
    assert len(before) == 2

    async def has_one_owner() -> bool:
        found = await cluster.owners()
        assert found.keys() <= before.keys()
        return list(found.values()) == [sum(before.values())]

    await cluster.kill(0)
    return await until(has_one_owner, "a takeover", TAKEOVER_S)


async def test_every_part_may_break_down(
    crew: Crew,
    own_rabbitmq: RabbitServer,
    own_postgres: PostgresServer,
) -> None:
    """An orchestrator, a worker, RabbitMQ, PostgreSQL, then all of them: nothing is lost."""
    cluster = Cluster(crew, own_rabbitmq, own_postgres, EXECUTIONS)
    await cluster.begin()
    await cluster.goes_on(SOME)
    _log.warning("another orchestrator took over after %.1f s", await lose_an_orchestrator(cluster))
    await cluster.start(0)
    await cluster.kill(2)
    await cluster.goes_on(SOME)
    await cluster.start(2)
    await own_rabbitmq.restart()
    await cluster.goes_on(SOME)
    await own_postgres.restart()
    await cluster.goes_on(SOME)
    assert not await cluster.has_ended()
    await own_rabbitmq.kill()
    await own_postgres.kill()
    await cluster.kill(*EVERYBODY)
    await own_postgres.start()
    await own_rabbitmq.start()
    await cluster.start(*EVERYBODY)
    await cluster.expect_success()


async def test_a_wiped_broker_delays_only(
    crew: Crew,
    own_rabbitmq: RabbitServer,
    own_postgres: PostgresServer,
) -> None:
    """A broker that has lost its queues and messages while all goes on: nothing is lost."""
    cluster = Cluster(crew, own_rabbitmq, own_postgres, EXECUTIONS)
    await cluster.begin()
    await cluster.goes_on(SOME)
    await own_rabbitmq.kill()
    own_rabbitmq.wipe()
    await own_rabbitmq.start()
    await cluster.goes_on(SOME)
    assert await cluster.knows_incarnation()
    await cluster.expect_success()


async def test_a_stopped_orchestrator_gives_back_what_it_holds(
    crew: Crew, own_rabbitmq: RabbitServer, own_postgres: PostgresServer
) -> None:
    """What a stopped process holds returns within three heartbeats; it wakes up without harm."""
    cluster = Cluster(crew, own_rabbitmq, own_postgres, 60)
    await cluster.begin()
    await cluster.goes_on(60)
    before = await cluster.connections()
    cluster.parts[0].stop()
    took = await until(cluster.has_fewer(before), "a closed connection", HELD_S)
    _log.warning("what a stopped orchestrator held came back after %.1f s", took)
    await until(cluster.has_ended, "the end of all executions", 120)
    cluster.parts[0].go_on()
    await until(cluster.has_many_owners, "both orchestrators", 60)
    await cluster.expect_success()
