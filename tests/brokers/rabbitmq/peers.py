"""Who the tests of the adapter talk to, besides a real RabbitMQ: servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

from brokers.rabbitmq import RabbitBroker
from flow.ports import Broker, BrokerEvent, Envelope, Publication, Queue, Settlement, Topology
from tests.servers.rabbitmq import RabbitServer

DEADLINE_S: Final = 20.0
"""Seconds after which what was expected is given up: long, for it is spent on failure only."""


class SilentServer:
    """Takes connections, reads, and says nothing, or only a few bytes.

    Args:
        says: What it says to everybody who connects.

    Attributes:
        url: Where it is.
        count: How many have connected.
    """

    def __init__(self, says: bytes = b"") -> None:
        self.url = ""
        self.count = 0
        self._says = says
        self._came = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection."""
        self._writers.append(writer)
        self.count += 1
        self._came.set()
        writer.write(self._says)

    async def came(self) -> None:
        """Wait until somebody has connected."""
        async with asyncio.timeout(DEADLINE_S):
            await self._came.wait()

    def hang_up(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def silent_server(says: bytes = b"") -> AsyncGenerator[SilentServer, None]:
    """Run a server that says nothing but *says*."""
    silent = SilentServer(says)
    server = await asyncio.start_server(silent.welcome, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    silent.url = f"amqp://guest:guest@127.0.0.1:{port}/"
    try:
        yield silent
    finally:
        server.close()
        silent.hang_up()


@asynccontextmanager
async def connected(url: str, name: str = "") -> AsyncGenerator[RabbitBroker, None]:
    """Open a connection, and close it in the end."""
    broker = RabbitBroker(url, name=name)
    await broker.open()
    try:
        yield broker
    finally:
        await broker.close()


async def queue_on(broker: Broker, name: str = "q", *, dead_letter: str = "") -> str:
    """Declare a queue and return its name."""
    await broker.declare(Topology(queues=(Queue(name, dead_letter=dead_letter),)))
    return name


async def send(broker: Broker, queue: str, *bodies: bytes) -> list[Settlement]:
    """Publish messages to a queue by its name; return what became of them."""
    publications = [Publication("", queue, Envelope("test", body)) for body in bodies]
    return list(await broker.publish(publications))


async def until(broker: Broker, event: BrokerEvent, act: Callable[[], object]) -> None:
    """Do something, and wait until watchers are told of *event*."""
    told = asyncio.Event()
    stop = broker.watch(lambda each: told.set() if each is event else None)
    act()
    async with asyncio.timeout(DEADLINE_S * 2):
        await told.wait()
    stop()


async def forget_consumers(server: RabbitServer, url: str, queue: str) -> None:
    """Have a queue forget its consumers without a word, as RabbitMQ 3.10 does by itself at times.

    What a quorum queue is told is a command of its log; a classic one is called as its channels do.
    """
    await server.evaluate(
        f"{_queue_of(url, queue)}, Process = amqqueue:get_pid(Queue),"
        " Forget = fun(Channel, Tag) when is_pid(Process) ->"
        ' gen_server2:call(Process, {basic_cancel, Channel, Tag, undefined, <<"guest">>});'
        " (Channel, Tag) -> ra:process_command(Process,"
        " rabbit_fifo:make_checkout({Tag, Channel}, cancel, #{})) end,"
        " [Forget(element(1, Each), element(2, Each)) || Each <- rabbit_amqqueue:consumers(Queue)],"
        " [] = rabbit_amqqueue:consumers(Queue), ok."
    )


async def depose_leader(server: RabbitServer, url: str, queue: str) -> None:
    """Leave a quorum queue without a leader."""
    await server.evaluate(
        f"{_queue_of(url, queue)}, ok = ra:stop_server(quorum_queues, amqqueue:get_pid(Queue))."
    )


async def delete_queue(server: RabbitServer, url: str, queue: str) -> None:
    """Delete a queue as `rabbitmqctl delete_queue` does."""
    await server.evaluate(
        f"{_queue_of(url, queue)},"
        ' {ok, _} = rabbit_amqqueue:delete(Queue, false, false, <<"guest">>), ok.'
    )


async def close_connections(server: RabbitServer, url: str) -> None:
    """Close all connections to a virtual host as `rabbitmqctl close_all_connections` does."""
    vhost = url.rpartition("/")[2]
    await server.evaluate(
        '[catch rabbit_networking:close_connection(Each, <<"closed by a test">>)'
        " || Each <- rabbit_networking:connections(),"
        " (catch rabbit_networking:connection_info(Each, [vhost])) =:="
        f' [{{vhost, <<"{vhost}">>}}]], ok.'
    )


def _queue_of(url: str, queue: str) -> str:
    """Return the Erlang that binds `Queue`."""
    vhost = url.rpartition("/")[2]
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
    return f"{{ok, Queue}} = rabbit_amqqueue:lookup({name})"
