"""A RabbitMQ of one's own keeps what it must, loses what it shall, and disturbs nobody."""

import os
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import FieldValue

from tests.servers.daemon import ServerFailed
from tests.servers.rabbitmq import RabbitServer

ANSWER_S = 20.0


async def put(url: str, text: str) -> None:
    """Put a durable message into the durable queue `box`."""
    connection = await aio_pika.connect(url, timeout=ANSWER_S)
    async with connection:
        channel = await connection.channel()
        quorum: dict[str, FieldValue] = {"x-queue-type": "quorum"}
        await channel.declare_queue("box", durable=True, arguments=quorum, timeout=ANSWER_S)
        message = aio_pika.Message(text.encode(), delivery_mode=2)
        await channel.default_exchange.publish(message, "box", timeout=ANSWER_S)


async def kept(url: str) -> str | None:
    """Return the message of the queue `box`; none if there is no such queue."""
    connection = await aio_pika.connect(url, timeout=ANSWER_S)
    async with connection:
        channel = await connection.channel()
        try:
            queue = await channel.get_queue("box", ensure=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return None
        message = await queue.get(timeout=ANSWER_S)
        return message.body.decode()


async def test_a_killed_server_keeps_durable_messages(own_rabbitmq: RabbitServer) -> None:
    """What was confirmed is there after SIGKILL and a start on the same port."""
    url = await own_rabbitmq.new_vhost()
    await put(url, "kept")
    await own_rabbitmq.settle()
    await own_rabbitmq.kill()
    assert not own_rabbitmq.runs
    assert not own_rabbitmq.answers()
    await own_rabbitmq.start()
    assert await kept(url) == "kept"


async def test_a_wiped_server_knows_nothing(own_rabbitmq: RabbitServer) -> None:
    """After a wipe the queue is gone, and the virtual host is there again."""
    url = await own_rabbitmq.new_vhost()
    await put(url, "lost")
    await own_rabbitmq.stop()
    own_rabbitmq.wipe()
    await own_rabbitmq.start()
    assert await kept(url) is None


async def test_a_paused_server_goes_on(frail_rabbitmq: RabbitServer) -> None:
    """A paused server answers nobody, and everybody once it was resumed."""
    url = await frail_rabbitmq.new_vhost()
    frail_rabbitmq.pause()
    assert not frail_rabbitmq.answers()
    frail_rabbitmq.resume()
    await put(url, "kept")
    assert await kept(url) == "kept"


async def test_servers_are_strangers(rabbitmq: RabbitServer, frail_rabbitmq: RabbitServer) -> None:
    """Two of them run side by side, and what one of them has, the other has not."""
    await put(rabbitmq.url, "here")
    assert await kept(frail_rabbitmq.url) is None
    assert await kept(rabbitmq.url) == "here"


async def test_virtual_hosts_are_separate(rabbitmq: RabbitServer) -> None:
    """What was put into one virtual host is not in another one."""
    first, second = await rabbitmq.new_vhost(), await rabbitmq.new_vhost()
    await put(first, "here")
    assert (await kept(first), await kept(second)) == ("here", None)


async def test_its_connections_can_be_closed(frail_rabbitmq: RabbitServer) -> None:
    """The broker's side can close all connections."""
    connection = await aio_pika.connect(frail_rabbitmq.url, timeout=ANSWER_S)
    await frail_rabbitmq.close_connections()
    # Which of them it is depends on whether the library has heard of it yet.
    with pytest.raises((aio_pika.exceptions.AMQPError, RuntimeError)):
        await connection.channel().initialize(timeout=ANSWER_S)


async def test_the_control_command_reaches_it(rabbitmq: RabbitServer) -> None:
    """`rabbitmqctl` speaks with this very node, and its failure is an error."""
    assert rabbitmq.node in await rabbitmq.ctl("eval", "node().")
    with pytest.raises(ServerFailed, match="no_such_command"):
        await rabbitmq.ctl("no_such_command")


async def test_failing_expressions_are_errors(rabbitmq: RabbitServer) -> None:
    """An expression that fails inside the node is an error here."""
    assert await rabbitmq.evaluate("1 + 1.") == "2"
    with pytest.raises(ServerFailed, match="undef"):
        await rabbitmq.evaluate("no_such:function().")


async def test_a_server_that_cannot_start_says_why(own_rabbitmq: RabbitServer) -> None:
    """The error holds the end of the log."""
    await own_rabbitmq.stop()
    (own_rabbitmq.folder / "rabbitmq.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(ServerFailed, match="no_such_setting"):
        await own_rabbitmq.start()


def test_it_does_not_run_as_root(rabbitmq: RabbitServer) -> None:
    """It runs as a user of its own."""
    owner = Path(f"/proc/{rabbitmq.pid}").stat().st_uid
    assert owner == rabbitmq.folder.stat().st_uid
    assert owner != 0 or os.geteuid() != 0
