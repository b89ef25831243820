"""RabbitMQ, held to what every broker has to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from brokers.rabbitmq import RabbitBroker
from flow.ports import Broker
from tests.conformance.broker import CASES, Case
from tests.conformance.broker_bench import Bench, Features
from tests.conformance.broker_losses import BLOCKING, CUTTING
from tests.servers.rabbitmq import RabbitServer

ALARM = "{{resource_limit, memory, node()}, []}"


@asynccontextmanager
async def serve(server: RabbitServer) -> AsyncGenerator[Bench, None]:
    """Serve connections to a virtual host of its own."""
    url = await server.new_vhost()
    vhost = url.rpartition("/")[2]

    async def cut() -> None:
        await server.evaluate(
            '[rabbit_networking:close_connection(Each, <<"cut by a test">>)'
            " || Each <- rabbit_networking:connections(),"
            " rabbit_networking:connection_info(Each, [vhost]) =:= "
            f'[{{vhost, <<"{vhost}">>}}]], ok.'
        )

    async def block(reason: str) -> None:
        if reason:
            await server.evaluate(f"rabbit_alarm:set_alarm({ALARM}), ok.")
        else:
            await server.evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()}), ok.")

    bench = Bench(lambda: RabbitBroker(url, name="bench"), features=Features(cut, block))
    try:
        yield bench
    finally:
        await bench.close()
        await block("")


@pytest.mark.parametrize("exercise", [*CASES, *CUTTING, *BLOCKING])
async def test_rabbitmq_conforms(exercise: Case, rabbitmq: RabbitServer) -> None:
    """The adapter does what the case asks of every broker."""
    async with serve(rabbitmq) as bench:
        await exercise(bench)


def test_it_satisfies_the_port() -> None:
    """The adapter is a broker, and says where it is, without the password."""
    broker: Broker = RabbitBroker("amqp://anna:secret@host/v")
    assert isinstance(broker, Broker)
    assert broker.url == "amqp://anna@host:5672/v"
