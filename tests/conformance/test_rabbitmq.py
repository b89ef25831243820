"""RabbitMQ, held to what every broker has to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from brokers.rabbitmq import RabbitBroker
from brokers.rabbitmq.url import WIRES
from flow.ports import Broker
from tests.conformance.broker import CASES, Case
from tests.conformance.broker_bench import Bench, Features
from tests.conformance.broker_losses import BLOCKING, CUTTING
from tests.servers.rabbitmq import RabbitServer

ALARM = "{{resource_limit, memory, node()}, []}"


@asynccontextmanager
async def serve(server: RabbitServer, wire: str) -> AsyncGenerator[Bench, None]:
    """Serve connections to a virtual host of its own."""
    url = await server.new_vhost()
    vhost = url.rpartition("/")[2]

    async def cut() -> None:
        # Connections that end meanwhile by themselves are no longer there to be closed.
        await server.evaluate(
            '[catch rabbit_networking:close_connection(Each, <<"cut by a test">>)'
            " || Each <- rabbit_networking:connections(),"
            " (catch rabbit_networking:connection_info(Each, [vhost])) =:= "
            f'[{{vhost, <<"{vhost}">>}}]], ok.'
        )

    async def block(reason: str) -> None:
        if reason:
            await server.evaluate(f"rabbit_alarm:set_alarm({ALARM}), ok.")
        else:
            await server.evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()}), ok.")

    bench = Bench(
        lambda: RabbitBroker(f"{url}?wire={wire}", name="bench"), features=Features(cut, block)
    )
    try:
        yield bench
    finally:
        await bench.close()
        await block("")


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("exercise", [*CASES, *CUTTING, *BLOCKING])
async def test_rabbitmq_conforms(exercise: Case, wire: str, rabbitmq: RabbitServer) -> None:
    """The adapter does what the case asks of every broker, on both wires."""
    async with serve(rabbitmq, wire) as bench:
        await exercise(bench)


def test_it_satisfies_the_port() -> None:
    """The adapter is a broker, and says where it is, without the password."""
    broker: Broker = RabbitBroker("amqp://anna:secret@host/v")
    assert isinstance(broker, Broker)
    assert broker.url == "amqp://anna@host:5672/v"
