"""Tests of `brokers.rabbitmq.intake`; with a real broker, `test_consuming` proves more of it."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock

import aiormq
import pytest

from brokers.rabbitmq import url as url_module
from brokers.rabbitmq.consuming import Consumer
from brokers.rabbitmq.declaring import declare
from brokers.rabbitmq.intake import Intake, RabbitDelivery, Verdict
from brokers.rabbitmq.link import connect
from brokers.rabbitmq.tasks import Tasks
from flow.ports import Envelope, Queue, Topology
from tests.brokers.memory.waiting import until as eventually
from tests.brokers.rabbitmq.test_consuming import Ends, send
from tests.brokers.rabbitmq.test_link import dial_of
from tests.conformance.broker_bench import Inbox


def test_a_delivery_is_settled_where_it_came_in() -> None:
    """Each way to settle a delivery is told to its intake, with its number there."""
    intake = Mock(spec=Intake)
    delivery = RabbitDelivery(intake, 7, Envelope("t", b""), "key", redelivered=True)
    assert (delivery.routing_key, delivery.redelivered) == ("key", True)
    delivery.ack()
    delivery.requeue()
    delivery.reject()
    assert [call.args for call in intake.settle.call_args_list] == [
        (7, Verdict.ACK),
        (7, Verdict.REQUEUE),
        (7, Verdict.REJECT),
    ]


@pytest.mark.parametrize("error", [Exception(), TimeoutError()])
async def test_a_settlement_that_fails_has_the_consumer_started_again(
    broker_url: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Whatever the library raises when it cannot send, the consumer comes back by itself."""
    monkeypatch.setattr(url_module, "DEFAULT_WIRE", "aio-pika")
    link = await connect(dial_of(broker_url))
    await declare(link, Topology(queues=(Queue("q"),)))
    tasks, inbox, ends = Tasks(), Inbox(), Ends()
    consumer = Consumer("q", 10, inbox, tasks, ends)
    await consumer.start(link)
    await send(link, b"1")
    with monkeypatch.context() as patch:
        patch.setattr(aiormq.Channel, "basic_ack", AsyncMock(side_effect=error))
        (await inbox.take_one()).ack()
        await ends.one()
    assert (ends.consumers, consumer.is_running) == ([consumer], False)
    await eventually(lambda: len(tasks) == 0)
    await consumer.start(link)
    (await inbox.take_one()).ack()
    await consumer.finish()
    await link.close()
    await tasks.stop()
