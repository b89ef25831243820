"""Tests of `worker.subscriber`: handlers that get what is published to topics."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from flow.context import StepContext
from flow.handler import bind
from flow.message import Message
from flow.retry import RetryPolicy
from flow.runtime.service import Endpoint, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.verdict import Fail, Retry, Skip
from tests.flow.runtime.clocks import settle
from tests.flow.runtime.worker_bench import Shop

QUEUE = "shop.topics.mail.note"
NO_JITTER = RetryPolicy(max_attempts=3, initial=2, factor=2, jitter=0)


class Listener:
    """A subscriber that notes what it gets, and does as a test says."""

    def __init__(self) -> None:
        self.got: list[tuple[Any, str, int]] = []
        self.faults: list[BaseException] = []

    async def note(self, body: Any, context: StepContext) -> str:
        """Note a message."""
        self.got.append((body, context.idempotency_key, context.attempt))
        if self.faults:
            raise self.faults.pop(0)
        return "nobody reads this"

    def endpoint(self, *topics: str, name: str = "mail.note", **options: Any) -> Endpoint:
        """Return what subscribes to topics."""
        retry: RetryPolicy = options.pop("retry", NO_JITTER)
        handler = bind(self.note).handler
        return Endpoint(name, handler, topics=topics, retry=retry, **options)


async def test_a_subscriber_gets_what_it_wants() -> None:
    """Topics that fit one of its patterns arrive once each; others do not."""
    one = Listener()
    async with Shop(one.endpoint("orders.*", "stock.#")).open() as shop:
        for topic in ("orders.paid", "orders.paid.late", "stock", "stock.a.b", "mail.sent"):
            await shop.publish(topic, f'"{topic}"'.encode())
        assert [body for body, *_ in one.got] == ["orders.paid", "stock", "stock.a.b"]
        assert shop.in_queue(QUEUE) == (0, 0)
        assert shop.arrived == []
        assert shop.worker.snapshot().answered == 3


async def test_every_subscriber_gets_a_copy() -> None:
    """Two handlers each get every message; two processes of one handler share its messages."""
    one, two = Listener(), Listener()
    endpoints = (one.endpoint("orders.#"), two.endpoint("orders.#", name="audit.note"))
    async with Shop(*endpoints).open() as shop, Shop(*endpoints, hub=shop.hub).open():
        for number in range(10):
            await shop.publish("orders.paid", str(number).encode())
        assert sorted(body for body, *_ in one.got) == list(range(10))
        assert sorted(body for body, *_ in two.got) == list(range(10))


async def test_the_key_of_a_message() -> None:
    """The key is what the publisher says, the same for every copy; else the message's id."""
    one = Listener()
    async with Shop(one.endpoint("orders.#")).open() as shop:
        await shop.publish("orders.paid", flow_key="e-1:steps/paid", flow_execution="e-1")
        await shop.publish("orders.paid")
        (_, key, _), (_, plain, _) = one.got
        assert key == "e-1:steps/paid"
        assert len(plain) == 32


async def test_a_subscriber_sees_user_headers_only() -> None:
    """Metadata and the trace arrive; headers of the system do not."""
    seen: list[Message] = []

    def note(message: Message) -> None:
        seen.append(message)

    endpoint = Endpoint("mail.note", bind(note).handler, topics=("#",))
    async with Shop(endpoint).open() as shop:
        await shop.publish("a", traceparent="00-1", tenant="t1", flow_key="k", x_death="d")
        assert dict(seen[0].headers) == {"traceparent": "00-1", "tenant": "t1"}


async def test_a_failure_is_tried_again_here() -> None:
    """The message keeps its place in the queue, and the times follow from the policy."""
    one = Listener()
    one.faults = [ValueError("no"), ConnectionError("away")]
    async with Shop(one.endpoint("#")).open() as shop:
        await shop.publish("a")
        assert (len(one.got), shop.in_queue(QUEUE)) == (1, (0, 1))
        await shop.clock.advance(1.9)
        assert len(one.got) == 1
        await shop.clock.advance(0.1)
        assert len(one.got) == 2
        await shop.clock.advance(4)
        assert [attempt for *_, attempt in one.got] == [1, 2, 3]
        assert len({key for _, key, _ in one.got}) == 1
        assert (shop.in_queue(QUEUE), shop.in_queue("shop.dead")) == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("faults", "calls"),
    [
        ([ValueError("no")] * 3, 3),
        ([Fail("never")], 1),
        ([KeyError("k")] * 3, 1),
    ],
)
async def test_what_cannot_be_handled_goes_to_the_dead(
    faults: list[BaseException], calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Used up, final or excluded: the message is dead-lettered, and the log says why."""
    caplog.set_level(logging.WARNING)
    one = Listener()
    one.faults = list(faults)
    policy = replace(NO_JITTER, non_retryable=("KeyError",))
    async with Shop(one.endpoint("#", retry=policy)).open() as shop:
        await shop.publish("a")
        await shop.clock.advance(60)
        assert (len(one.got), shop.in_queue(QUEUE), shop.in_queue("shop.dead")) == (
            calls,
            (0, 0),
            (1, 0),
        )
        assert shop.worker.snapshot().rejected == 1
        assert "mail.note failed" in caplog.text


async def test_a_handler_says_when_to_try_again() -> None:
    """A verdict to retry sets the time; to skip is to be done with the message."""
    one = Listener()
    one.faults = [Retry(after=30), Skip("known")]
    async with Shop(one.endpoint("#")).open() as shop:
        await shop.publish("a")
        await shop.clock.advance(29)
        assert len(one.got) == 1
        await shop.clock.advance(1)
        assert (len(one.got), shop.in_queue(QUEUE)) == (2, (0, 0))
        assert shop.in_queue("shop.dead") == (0, 0)


async def test_a_message_that_is_no_json_goes_to_the_dead() -> None:
    """What can never be handled is not tried again."""
    one = Listener()
    async with Shop(one.endpoint("#")).open() as shop:
        await shop.publish("a", b"{")
        assert (one.got, shop.in_queue("shop.dead")) == ([], (1, 0))
        await shop.publish("a", b"1", flow_timeout="soon")
        assert (one.got, shop.in_queue("shop.dead")) == ([], (2, 0))


async def test_a_handler_has_its_time() -> None:
    """A handler that takes too long is cancelled, and the message is tried again."""
    started = list[int]()

    async def note(body: int) -> None:
        started.append(body)
        await settle(10_000)

    endpoint = Endpoint(
        "mail.note", bind(note).handler, topics=("#",), timeout_ms=5_000, retry=NO_JITTER
    )
    async with Shop(endpoint).open() as shop:
        await shop.publish("a")
        await shop.clock.advance(5)
        await shop.clock.advance(2)
        assert started == [5, 5]


async def test_a_worker_that_ends_gives_messages_back() -> None:
    """What waits for its next try goes to another process of the subscriber at once."""
    one = Listener()
    one.faults = [ValueError("no")]
    shop = Shop(one.endpoint("#"), settings=WorkerSettings(drain_s=5))
    async with shop.open(), TaskGroup() as group:
        await shop.publish("a")
        draining = group.start(shop.worker.drain(), "drain")
        await settle()
        assert draining.done()
        assert shop.in_queue(QUEUE) == (1, 0)
