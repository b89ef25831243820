"""What every broker has to do: routing, confirms, and what a message keeps on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from flow.errors import ConfigurationError
from flow.ports import Binding, Envelope, Publication, Settlement, Topology
from tests.conformance.broker_bench import Bench, Inbox, message, send

MEBIBYTE: Final = 1024 * 1024


async def default_exchange_routes_by_queue_name(bench: Bench) -> None:
    """The exchange without a name puts a message into the queue that its key names."""
    broker = await bench.open()
    here, there = await bench.queue(broker), await bench.queue(broker)
    inbox, other = Inbox(), Inbox()
    await broker.consume(here, 10, inbox)
    await broker.consume(there, 10, other)
    await send(broker, here, b"1")
    delivery = await inbox.take_one()
    delivery.ack()
    assert (delivery.envelope.body, delivery.routing_key) == (b"1", here)
    assert not delivery.redelivered
    await bench.settled(broker)
    assert len(other) == 0


async def direct_exchange_routes_by_key(bench: Bench) -> None:
    """A direct exchange compares whole keys, and takes no sign for a wildcard."""
    await expect_routes(
        bench,
        "direct",
        {"a.b": ["a.b"], "a": ["a"], "a.*": ["a.*"], "#": ["#"]},
        ["a.b", "a", "a.*", "#"],
    )


async def topic_exchange_routes_by_pattern(bench: Bench) -> None:
    """In a topic exchange `*` stands for one word and `#` for any number of them."""
    keys = ["a", "a.b", "a.b.c", "b", "x.b", "x.a.b.y", "b.a"]
    await expect_routes(
        bench,
        "topic",
        {
            "#": keys,
            "*": ["a", "b"],
            "a.*": ["a.b"],
            "a.#": ["a", "a.b", "a.b.c"],
            "*.b": ["a.b", "x.b"],
            "#.b": ["a.b", "b", "x.b"],
            "#.b.#": ["a.b", "a.b.c", "b", "x.b", "x.a.b.y", "b.a"],
            "a.#.c": ["a.b.c"],
            "*.*": ["a.b", "x.b", "b.a"],
            "a.b": ["a.b"],
            "#.*": keys,
        },
        keys,
    )


async def fanout_exchange_routes_everywhere(bench: Bench) -> None:
    """A fanout exchange puts every message into every queue, whatever the keys."""
    await expect_routes(bench, "fanout", {"": ["a", ""], "b": ["a", ""]}, ["a", ""])


async def expect_routes(
    bench: Bench, kind: str, bindings: dict[str, list[str]], keys: list[str]
) -> None:
    """Bind one queue per binding, publish each key, and expect the keys that reach the queue."""
    broker = await bench.open()
    exchange = await bench.exchange(broker, kind)
    inboxes = {binding: Inbox() for binding in bindings}
    for binding, inbox in inboxes.items():
        queue = await bench.queue(broker)
        await broker.declare(Topology(bindings=(Binding(queue, exchange, binding),)))
        await broker.consume(queue, 100, inbox)
    outcome = await broker.publish([Publication(exchange, key, message()) for key in keys])
    assert list(outcome) == [Settlement.CONFIRMED] * len(keys)
    for binding, expected in bindings.items():
        taken = await inboxes[binding].take(len(expected))
        assert [delivery.routing_key for delivery in taken] == expected, binding
    await bench.settled(broker)
    assert {binding: len(inbox) for binding, inbox in inboxes.items()} == dict.fromkeys(bindings, 0)


async def a_queue_gets_one_copy(bench: Bench) -> None:
    """A queue whose bindings match twice gets the message once."""
    broker = await bench.open()
    exchange, queue = await bench.exchange(broker, "topic"), await bench.queue(broker)
    patterns = ("a.*", "a.b", "#")
    await broker.declare(Topology(bindings=tuple(Binding(queue, exchange, p) for p in patterns)))
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    await broker.publish([Publication(exchange, "a.b", message())])
    await inbox.take_one()
    await bench.settled(broker)
    assert len(inbox) == 0


async def new_bindings_take_effect(bench: Bench) -> None:
    """A binding that is declared later applies to keys that were published before."""
    broker = await bench.open()
    exchange, queue = await bench.exchange(broker, "topic"), await bench.queue(broker)
    publication = Publication(exchange, "a.b", message())
    assert list(await broker.publish([publication])) == [Settlement.UNROUTABLE]
    await broker.declare(Topology(bindings=(Binding(queue, exchange, "a.*"),)))
    assert list(await broker.publish([publication])) == [Settlement.CONFIRMED]


async def settlements_keep_their_order(bench: Bench) -> None:
    """Each publication is settled by itself, in order: routed, unroutable, or nobody cares."""
    broker = await bench.open()
    exchange, queue = await bench.exchange(broker), await bench.queue(broker)
    nowhere = bench.name("nowhere")
    outcome = await broker.publish(
        [
            Publication("", nowhere, message()),
            Publication("", queue, message()),
            Publication("", nowhere, message(), mandatory=False),
            Publication(exchange, "key", message()),
            Publication(exchange, "key", message(), mandatory=False),
        ]
    )
    assert list(outcome) == [
        Settlement.UNROUTABLE,
        Settlement.CONFIRMED,
        Settlement.CONFIRMED,
        Settlement.UNROUTABLE,
        Settlement.CONFIRMED,
    ]
    assert list(await broker.publish([])) == []


async def unknown_exchange_is_refused(bench: Bench) -> None:
    """To publish to an exchange that does not exist is an error, which the connection survives."""
    broker = await bench.open()
    missing = bench.name("missing")
    with pytest.raises(ConfigurationError, match=missing):
        await broker.publish([Publication(missing, "key", message())])
    await send(broker, await bench.queue(broker), b"1")


async def envelopes_arrive_unchanged(bench: Bench) -> None:
    """Properties, headers, text of any script, empty and large bodies arrive as they were sent."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    envelopes = [
        Envelope("step.request", b""),
        Envelope(
            type="Schritt · ステップ",
            body='{"größe": "🦀"}'.encode(),
            message_id="m-1",
            correlation_id="c" * 255,
            reply_to="a.queue",
            headers={"flow-id": "ü", "empty": "", "long": "x" * 10_000, "🦀": "\n\t"},
            content_type="text/plain; charset=utf-8",
        ),
        Envelope("binary", bytes(range(256)), headers={f"h{n}": str(n) for n in range(50)}),
        Envelope("large", b"\0\xff" * MEBIBYTE),
    ]
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    await broker.publish([Publication("", queue, envelope) for envelope in envelopes])
    taken = await inbox.take(len(envelopes))
    assert [delivery.envelope for delivery in taken] == envelopes


PUBLISHING: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    default_exchange_routes_by_queue_name,
    direct_exchange_routes_by_key,
    topic_exchange_routes_by_pattern,
    fanout_exchange_routes_everywhere,
    a_queue_gets_one_copy,
    new_bindings_take_effect,
    settlements_keep_their_order,
    unknown_exchange_is_refused,
    envelopes_arrive_unchanged,
)
"""The cases of this file."""
