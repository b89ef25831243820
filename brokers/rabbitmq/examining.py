"""Looks at a broker for a person: what it is, what it can do, and what is wrong with it.

Everything is tried, not guessed from a version: permissions by declaring and by publishing, quorum
queues by making one. What is made for that belongs to nobody and is deleted again.
"""

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import aiormq
from aiormq.exceptions import ChannelClosed

from brokers.rabbitmq.errors import text_of
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.supervisor import Pair
from brokers.rabbitmq.topology import queue_declaration
from brokers.rabbitmq.url import Address
from flow.ports import Finding, Level, Queue

__all__ = ["examine"]

OLDEST: Final = (3, 10)
PROBE: Final = "flow.probe"

_FINE, _WARNING, _PROBLEM = Level.FINE, Level.WARNING, Level.PROBLEM


async def examine(address: Address, pair: Pair, new_id: str) -> list[Finding]:
    """Return what a person should know about a broker.

    Args:
        address: Where it is.
        pair: The connection.
        new_id: An id that was never used, for what is made to try things out.

    Raises:
        BrokerUnavailable: The connection was lost.
    """
    raw = pair.consumer.raw
    return [
        _version(raw.server_properties),
        _encryption(address),
        _heartbeat(pair),
        _alarm(pair.publisher),
        await _exclusive_queues(pair.consumer, f"{PROBE}.{new_id}"),
        await _quorum_queues(pair.consumer, f"{PROBE}.{new_id}"),
        await _publishing(pair.publisher, f"{PROBE}.{new_id}"),
    ]


def _version(properties: Mapping[str, Any]) -> Finding:
    product, version = (str(properties.get(key, "?")) for key in ("product", "version"))
    detail = f"{product} {version}"
    major, _, rest = version.partition(".")
    minor = rest.partition(".")[0]
    if product != "RabbitMQ" or not (major.isdecimal() and minor.isdecimal()):
        advice = "flowmq is made for RabbitMQ: other brokers may lack quorum queues or confirms"
        return Finding(_WARNING, "broker", detail, advice)
    if (int(major), int(minor)) < OLDEST:
        advice = "use RabbitMQ 3.10 or later: before, quorum queues lack what is needed"
        return Finding(_PROBLEM, "broker", detail, advice)
    return Finding(_FINE, "broker", detail)


def _encryption(address: Address) -> Finding:
    if address.is_secure:
        return Finding(_FINE, "encryption", "TLS, the certificate is checked")
    if address.is_local:
        return Finding(_FINE, "encryption", "none; the broker is on this machine")
    advice = "use amqps: passwords and messages can be read and changed on their way"
    return Finding(_WARNING, "encryption", "none, and the broker is on another machine", advice)


def _heartbeat(pair: Pair) -> Finding:
    times = [link.raw.connection_tune.heartbeat for link in (pair.publisher, pair.consumer)]
    detail = f"{times[0]} s to publish, {times[1]} s to receive"
    return Finding(_FINE, "heartbeat", detail)


def _alarm(link: Link) -> Finding:
    if not link.blocked:
        return Finding(_FINE, "alarms", "none is known")
    advice = "give it memory or disk space: it takes no messages until then"
    return Finding(_PROBLEM, "alarms", f"blocked: {link.blocked}", advice)


async def _exclusive_queues(link: Link, name: str) -> Finding:
    """Try what workers and clients need: a queue of their own, to be read."""
    channel = await link.channel()
    try:
        await _declare(link, channel, Queue(f"{name}.exclusive", exclusive=True))
        await _ask(link, channel.basic_get(f"{name}.exclusive", no_ack=True))
        await _ask(link, channel.queue_delete(f"{name}.exclusive"))
    except ChannelClosed as error:
        return _refused("exclusive queues", error)
    finally:
        link.drop(channel)
    return Finding(_FINE, "exclusive queues", "can be declared and read")


async def _quorum_queues(link: Link, name: str) -> Finding:
    channel = await link.channel()
    try:
        await _declare(link, channel, Queue(f"{name}.quorum"))
        await _ask(link, channel.queue_delete(f"{name}.quorum"))
    except ChannelClosed as error:
        return _refused("quorum queues", error)
    finally:
        link.drop(channel)
    return Finding(_FINE, "quorum queues", "can be declared")


async def _publishing(link: Link, name: str) -> Finding:
    """Try to publish to the exchange that answers go through; it reaches nobody."""
    if link.blocked:
        return Finding(_WARNING, "publishing", "not tried, for the broker takes no messages")
    channel = await link.channel(confirms=True)
    try:
        await _ask(link, channel.basic_publish(b"", exchange="", routing_key=name))
    except ChannelClosed as error:
        return _refused("publishing", error)
    finally:
        link.drop(channel)
    return Finding(_FINE, "publishing", "messages to queues are confirmed")


def _refused(subject: str, error: ChannelClosed) -> Finding:
    advice = "give the user the permissions to configure, write and read that its role needs"
    return Finding(_PROBLEM, subject, text_of(error), advice)


async def _declare(link: Link, channel: aiormq.Channel, queue: Queue) -> None:
    wanted = queue_declaration(queue)
    question = channel.queue_declare(
        wanted.name,
        durable=wanted.durable,
        exclusive=wanted.exclusive,
        arguments={**wanted.arguments},
    )
    await _ask(link, question)


async def _ask(link: Link, question: Awaitable[object]) -> None:
    await link.ask(question, "to look at the broker")
