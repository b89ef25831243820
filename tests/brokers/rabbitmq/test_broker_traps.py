"""One test for each trap of RabbitMQ and its client library that this adapter has to avoid.

The traps of aio-pika 10.2, by number:

1. An unroutable message is returned, not raised: see `test_unroutable_messages_are_reported`.
2. Returns are matched by message id: `messages_with_one_id_are_settled_each` (conformance).
3. Closing a channel cancels running callbacks: `test_work_survives_its_channel`.
4. A silent peer is waited for without end: `test_a_silent_broker_is_waited_for_in_vain` here, and
   `test_a_peer_that_says_nothing_is_given_up` (`test_link`).
5. A reconnect loop outlives its canceller: `test_opening_can_be_cancelled` and
   `test_closing_ends_reconnecting` (`test_supervisor`).
6. Reconnecting without jitter: `test_waiting_is_spread_and_bounded` (`test_supervisor`).
7. A dead peer is noticed after minutes: `test_a_broker_that_stops_is_noticed`.
8. Publishing waits while blocked or disconnected: `test_a_real_alarm_is_told` here, and
   `test_trouble_is_told_until_it_is_over` (`test_broker`).
9. Secrets in URLs, TLS that does not check: `test_secrets_stay_secret` here, and
   `test_certificates_cannot_be_left_unchecked` (`test_url`).
10. Errors reject messages for good: `test_a_receiver_that_raises_gives_the_message_back`
    (`test_consuming`).
11. A message that cannot be decoded ends the connection, again and again:
    `test_a_poisoned_message_is_only_that`.
12. Publishing goes on on a channel that is closed, and costs the connection:
    `test_an_exchange_that_vanishes_hurts_no_other_message` (`test_publishing`).
13. A cancelled question closes the channel twice, and costs the connection:
    `test_a_declaration_may_be_cancelled` (`test_declaring`).
14. Some calls never return when the connection is lost under them:
    `test_a_lost_connection_leaves_the_outcome_open` (`test_publishing`).
15. Late confirms of a channel that was given up hold up the whole connection, and a channel that is
    slow to close is closed twice: `test_late_confirms_hold_nobody_up` (`test_publishing`).

And of RabbitMQ: the delivery limit (`test_deliveries_are_not_counted_out`, in conformance
`requeued_messages_come_back_first`,
`test_queues_are_what_they_should_be` in `test_declaring`), confirms before the disk
(`test_confirmed_messages_survive_a_crash`), headers that route
(`what_is_beyond_the_limits_is_refused`, conformance), sizes
(`test_a_message_that_is_too_large_is_named` in `test_publishing`), consumers that the broker
cancels (`test_a_deleted_queue_is_declared_and_consumed_again` in `test_broker`) or forgets
(`test_watchdog`), queues without a leader (`test_quarantine`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import pytest
from pamqp.commands import Basic

import brokers.rabbitmq as package
from brokers.rabbitmq import RabbitBroker, broker as broker_module, link as link_module
from brokers.rabbitmq.link import connect
from brokers.rabbitmq.wire import MALFORMED
from flow.errors import BrokerUnavailable
from flow.ports import BrokerEvent, Delivery, Envelope, Publication, Queue, Settlement, Topology
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.peers import (
    DEADLINE_S,
    close_connections,
    connected,
    queue_on,
    send,
    until,
)
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Ear, Inbox, bodies_of
from tests.conformance.broker_losses import push_until_blocked
from tests.servers.rabbitmq import RabbitServer

CANARY = "canary-s3cr3t"


def test_nothing_robust_is_used() -> None:
    """Neither the library's own reconnecting nor its pickling patterns are used anywhere."""
    sources = Path(str(package.__file__)).parent.glob("*.py")
    texts = [source.read_text() for source in sources]
    assert len(texts) > 10
    for word in ("Robust", "connect_robust", "patterns", "pickle", ".process("):
        assert not any(word in text for text in texts), word


@pytest.mark.usefixtures("wire")
async def test_unroutable_messages_are_reported(broker_url: str) -> None:
    """A message that reaches no queue is never taken for a confirmed one, whatever its id."""
    async with connected(broker_url) as broker:
        await queue_on(broker, "q")
        for message_id in ("", "m"):
            envelope = Envelope("t", b"", message_id)
            routes = ["nowhere", "q", "nowhere"]
            outcome = await broker.publish([Publication("", key, envelope) for key in routes])
            assert list(outcome) == [
                Settlement.UNROUTABLE,
                Settlement.CONFIRMED,
                Settlement.UNROUTABLE,
            ]


@pytest.mark.usefixtures("wire")
async def test_work_survives_its_channel(broker_url: str, rabbitmq: RabbitServer) -> None:
    """What works on a message is not cancelled when the channel of the message is closed."""
    worked = asyncio.Event()
    go_on = asyncio.Event()
    async with connected(broker_url) as broker, asyncio.timeout(DEADLINE_S):
        queue = await queue_on(broker)
        works: list[asyncio.Future[tuple[None]]] = []

        async def work(delivery: Delivery) -> None:
            await go_on.wait()
            delivery.ack()
            worked.set()

        def receive(delivery: Delivery) -> None:
            works.append(asyncio.gather(work(delivery)))

        await broker.consume(queue, 10, receive)
        await send(broker, queue, b"1")
        ear = Ear()
        broker.watch(ear)
        await eventually(lambda: bool(works))
        await close_connections(rabbitmq, broker_url)
        await ear.hear(BrokerEvent.CONNECTED)
        assert not works[0].cancelled()
        go_on.set()
        await worked.wait()
        # Its settlement came too late, so the message is there once more.
        await eventually(lambda: len(works) >= 2)
        await asyncio.gather(*works)


async def fall_silent(broker: RabbitBroker) -> None:
    """Wait for the first question that is not answered: some may be on their way still."""
    with contextlib.suppress(BrokerUnavailable):
        while True:
            await broker.has_exchange("e")


async def expect_deadlines(broker: RabbitBroker, queue: str) -> None:
    """Expect everything that is asked of a broker to be given up."""
    for question in (
        send(broker, queue, b"1"),
        broker.declare(Topology(queues=(Queue("p"),))),
        broker.has_exchange("e"),
        broker.consume(queue, 1, Inbox()),
        broker.examine(),
    ):
        with pytest.raises(BrokerUnavailable):
            await question


@pytest.mark.system
async def test_a_silent_broker_is_waited_for_in_vain(
    frail_rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of a broker that has stopped has a deadline; then it works again."""
    async with connected(frail_rabbitmq.url) as broker:
        inbox = Inbox()
        queue = await queue_on(broker, "silent")
        subscription = await broker.consume(queue, 10, inbox)
        monkeypatch.setattr(link_module, "ANSWER_S", 0.2)
        monkeypatch.setattr(link_module, "CLOSE_S", 0.2)
        monkeypatch.setattr(broker_module, "PUBLISH_S", 0.2)
        frail_rabbitmq.pause()
        async with asyncio.timeout(DEADLINE_S):
            await fall_silent(broker)
            await expect_deadlines(broker, queue)
            await subscription.cancel()
            await broker.close()
        frail_rabbitmq.resume()


@pytest.mark.system
async def test_a_broker_that_stops_is_noticed(frail_rabbitmq: RabbitServer) -> None:
    """A broker that stops without a word is given up after three heartbeats, and found again."""
    async with connected(f"{frail_rabbitmq.url}?heartbeat=1") as broker:
        inbox = Inbox()
        queue = await queue_on(broker, "stopped")
        await broker.consume(queue, 10, inbox)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await until(broker, BrokerEvent.LOST, frail_rabbitmq.pause)
        assert loop.time() - start < 10
        assert not broker.health.is_connected
        assert "no sign of life" in broker.health.trouble
        await until(broker, BrokerEvent.CONNECTED, frail_rabbitmq.resume)
        assert await send(broker, queue, b"1") == [Settlement.CONFIRMED]
        assert bodies_of(await inbox.take()) == [b"1"]


@pytest.mark.system
async def test_a_real_alarm_is_told(frail_rabbitmq: RabbitServer) -> None:
    """A broker that runs out of memory blocks publishers: they fail soon, and consumers do not."""
    async with connected(frail_rabbitmq.url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        queue = await queue_on(broker, "alarmed")
        await send(broker, queue, b"1")
        await frail_rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
        await push_until_blocked(broker, ear, queue)
        assert "memory" in broker.health.blocked
        with pytest.raises(BrokerUnavailable, match="blocked"):
            await send(broker, queue, b"3")
        findings = {finding.subject: finding.detail for finding in await broker.examine()}
        assert "memory" in findings["alarms"]
        assert "not tried" in findings["publishing"]
        await broker.consume(queue, 10, inbox)
        (await inbox.take_one()).ack()
        await broker.declare(Topology(queues=(Queue("another"),)))
        await frail_rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
        await ear.hear(BrokerEvent.UNBLOCKED)
        assert await send(broker, queue, b"4") == [Settlement.CONFIRMED]
        assert ear.heard == [BrokerEvent.BLOCKED, BrokerEvent.UNBLOCKED]


async def test_secrets_stay_secret(broker_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The password is in no error, no log and no representation, even when the login fails."""
    caplog.set_level(logging.DEBUG)
    wrong = broker_url.replace("guest:guest", f"guest:{CANARY}")
    broker = RabbitBroker(wrong, name="secretive")
    with pytest.raises(BrokerUnavailable) as caught:
        await broker.open()
    texts = [caplog.text, broker.url, str(broker.health), repr(broker), str(caught.value)]
    error: BaseException | None = caught.value
    while error is not None:
        texts.append(f"{error!r}{error.args}")
        error = error.__cause__ or error.__context__
    assert not [text for text in texts if CANARY in text]
    assert "guest:guest" not in caplog.text


@pytest.mark.usefixtures("wire")
async def test_a_poisoned_message_is_only_that(broker_url: str) -> None:
    """A message that the library cannot decode is handed over as one to reject; others follow."""
    async with connected(broker_url) as broker:
        ear, inbox = Ear(), Inbox()
        broker.watch(ear)
        queue = await queue_on(broker)
        link = await connect(dial_of(broker_url))
        channel = await link.channel(confirms=True)
        late = datetime(9999, 12, 31, tzinfo=UTC)
        poison = Basic.Properties(message_id="m", headers={"t": late})
        await channel.basic_publish(b"time", routing_key=queue, properties=poison)
        # The library cannot even send what is no text, so its encoder is given Latin-1.
        raw = Basic.Properties(correlation_id="\udcff")
        monkey = pytest.MonkeyPatch()
        monkey.setattr("pamqp.encode._string", _latin)
        await channel.basic_publish(b"text", routing_key=queue, properties=raw)
        monkey.undo()
        await link.close()
        await send(broker, queue, b"good")
        await broker.consume(queue, 10, inbox)
        taken = await inbox.take(3)
        assert bodies_of(taken) == [b"time", b"text", b"good"]
        assert MALFORMED in taken[1].envelope.headers
        assert (taken[1].envelope.type, taken[1].envelope.correlation_id) == ("", "")
        for delivery in taken:
            delivery.reject()
        await send(broker, queue, b"better")
        assert bodies_of(await inbox.take()) == [b"better"]
        assert ear.heard == []


def _latin(encoder: object, value: str) -> bytes:
    """Encode text as no decent client does."""
    data = value.encode("utf-8", "surrogateescape")
    return encoder.pack(len(data)) + data  # type: ignore[attr-defined, no-any-return] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType] - a struct


@pytest.mark.usefixtures("wire")
async def test_deliveries_are_not_counted_out(broker_url: str) -> None:
    """Messages that kill their consumer again and again are all there afterwards, in order."""
    bodies = [b"%d" % number for number in range(5)]
    async with connected(broker_url) as owner:
        queue = await queue_on(owner)
        await send(owner, queue, *bodies)
        # The default limit of RabbitMQ 4 is 20.
        for turn in range(25):
            async with connected(broker_url) as broker:
                inbox = Inbox()
                await broker.consume(queue, 2, inbox)
                taken = await inbox.take(2)
                assert bodies_of(taken) == bodies[:2], turn
                assert all(delivery.redelivered is (turn > 0) for delivery in taken)
        inbox = Inbox()
        await owner.consume(queue, 10, inbox)
        assert bodies_of(await inbox.take(5)) == bodies


async def test_confirmed_messages_survive_a_crash(own_rabbitmq: RabbitServer) -> None:
    """A message that was confirmed is there after the broker was killed, with its properties."""
    envelope = Envelope("t", b"1", "m", "c", "r", {"h": "v"})
    async with connected(own_rabbitmq.url) as broker:
        queue = await queue_on(broker)
        await own_rabbitmq.settle()
        outcome = await broker.publish([Publication("", queue, envelope)])
        await own_rabbitmq.kill()
        assert list(outcome) == [Settlement.CONFIRMED]
    await own_rabbitmq.start()
    async with connected(own_rabbitmq.url) as broker:
        inbox = Inbox()
        await broker.consume(queue, 1, inbox)
        assert (await inbox.take_one()).envelope == envelope


def test_the_library_is_the_one_that_was_examined() -> None:
    """The traps were looked for in this version of the library: look again before the next one."""
    assert aio_pika.__version__.startswith("10.2.")
