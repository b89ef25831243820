"""What every broker has to do: routing, confirms, and what a message keeps on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest

from flow.errors import InvalidInput, TooLarge
from flow.ports import Binding, Envelope, Exchange, Publication, Settlement, Topology
from flow.ports.limits import HEADERS_BYTES
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


async def missing_exchanges_are_unroutable(bench: Bench) -> None:
    """A message for an exchange that does not exist is unroutable, and hurts no other message."""
    broker = await bench.open()
    missing, queue = bench.name("missing"), await bench.queue(broker)
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    outcome = await broker.publish(
        [
            Publication("", queue, message(b"1")),
            Publication(missing, "key", message(), mandatory=False),
            Publication("", queue, message(b"2")),
            Publication(missing, "key", message()),
        ]
    )
    assert list(outcome) == [
        Settlement.CONFIRMED,
        Settlement.UNROUTABLE,
        Settlement.CONFIRMED,
        Settlement.UNROUTABLE,
    ]
    assert [delivery.envelope.body for delivery in await inbox.take(2)] == [b"1", b"2"]
    await broker.declare(Topology((Exchange(missing, "fanout"),), (), (Binding(queue, missing),)))
    assert list(await broker.publish([Publication(missing, "", message(b"3"))])) == [
        Settlement.CONFIRMED
    ]
    assert (await inbox.take_one()).envelope.body == b"3"


async def messages_with_one_id_are_settled_each(bench: Bench) -> None:
    """Messages with the same id on their way at the same time do not swap their outcomes."""
    broker = await bench.open()
    queue, nowhere = await bench.queue(broker), bench.name("nowhere")
    same = Envelope("test", b"1", "the-same-id", headers={"kept": "yes"})
    routes = [nowhere, queue, nowhere, nowhere, queue]
    outcome = await broker.publish([Publication("", route, same) for route in routes])
    expected = {nowhere: Settlement.UNROUTABLE, queue: Settlement.CONFIRMED}
    assert list(outcome) == [expected[route] for route in routes]
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    assert [delivery.envelope for delivery in await inbox.take(2)] == [same, same]


async def what_is_beyond_the_limits_is_refused(bench: Bench) -> None:
    """A message that AMQP cannot carry is refused before anything is sent, and costs nothing."""
    broker = await bench.open()
    queue = await bench.queue(broker)
    inbox = Inbox()
    await broker.consume(queue, 10, inbox)
    longest, longer = "ü" * 127, "ü" * 128
    good = Publication("", queue, message(b"good"))
    wrong = [
        Publication("", longer, message()),
        Publication(longer, "key", message()),
        *(
            Publication("", queue, envelope)
            for envelope in (
                Envelope(longer, b""),
                Envelope("t", b"", message_id=longer),
                Envelope("t", b"", correlation_id=longer),
                Envelope("t", b"", reply_to=longer),
                Envelope("t", b"", content_type=longer),
                Envelope("t", b"", headers={"n" * 129: ""}),
                Envelope("t", b"", headers={"CC": queue}),
                Envelope("t", b"", headers={"bcc": queue}),
                Envelope("t", b"", headers={"lone": "\ud800"}),
                Envelope("\udcff", b""),
            )
        ),
    ]
    for publication in wrong:
        with pytest.raises(InvalidInput):
            await broker.publish([good, publication])
    with pytest.raises(TooLarge):
        await broker.publish([good, Publication("", queue, heavy(HEADERS_BYTES + 1))])
    fitting = [
        Envelope(longest, b"", longest, longest, longest, {"n" * 128: longest}, longest),
        heavy(HEADERS_BYTES - 1000),
    ]
    await broker.publish([Publication("", queue, envelope) for envelope in fitting])
    taken = await inbox.take(2)
    assert [each.envelope._replace(message_id="") for each in taken] == [
        envelope._replace(message_id="") for envelope in fitting
    ]
    await bench.settled(broker)
    assert len(inbox) == 0


def heavy(size: int) -> Envelope:
    """Return a message with so many bytes of headers, roughly."""
    count = -(-size // 996)
    return Envelope("t", b"", headers={f"{number:04}": "v" * 986 for number in range(count)})


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
    # A broker may fill in an id that is missing.
    ids = [
        envelope.message_id or each.envelope.message_id
        for envelope, each in zip(envelopes, taken, strict=True)
    ]
    assert [delivery.envelope for delivery in taken] == [
        envelope._replace(message_id=number)
        for envelope, number in zip(envelopes, ids, strict=True)
    ]


PUBLISHING: Final[tuple[Callable[[Bench], Awaitable[None]], ...]] = (
    default_exchange_routes_by_queue_name,
    direct_exchange_routes_by_key,
    topic_exchange_routes_by_pattern,
    fanout_exchange_routes_everywhere,
    a_queue_gets_one_copy,
    new_bindings_take_effect,
    settlements_keep_their_order,
    missing_exchanges_are_unroutable,
    messages_with_one_id_are_settled_each,
    what_is_beyond_the_limits_is_refused,
    envelopes_arrive_unchanged,
)
"""The cases of this file."""
