"""Tests of `worker.news`."""

from __future__ import annotations

import pytest

from brokers.memory.broker import MemoryBroker
from flow.runtime.addresses import Addresses
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.news import News
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.worker_bench import MAILBOX, OddBroker, request

ADDRESSES = Addresses("shop")


async def test_news_go_where_the_reply_will() -> None:
    """Both kinds of news carry the correlation id to the queue of the reply."""
    broker = OddBroker(MemoryBroker())
    await broker.open()
    await broker.declare(ADDRESSES.exchanges())
    await broker.declare(ADDRESSES.orchestrator(1))
    publisher = Publisher(broker, ManualClock())
    news = News(publisher, CountingChance(), ADDRESSES.route_to)
    async with TaskGroup() as group:
        group.start(publisher.run(), "publisher")
        await news.started(request())
        assert broker.inner.hub.depth(MAILBOX) == 1
        news.heartbeat(request(), b"0.5")
        assert broker.inner.hub.depth(MAILBOX) == 1
        await settle()
        assert broker.inner.hub.depth(MAILBOX) == 2
        await news.started(request(reply_to="shop.reply.gone"))


async def test_news_that_cannot_be_told_are_dropped(caplog: pytest.LogCaptureFixture) -> None:
    """Neither an outage nor a full queue reaches the handler, and no error is left unseen."""
    broker = OddBroker(MemoryBroker(), down=True)
    publisher = Publisher(broker, ManualClock(), PublisherSettings(items_max=1))
    news = News(publisher, CountingChance(), ADDRESSES.route_to)
    async with TaskGroup() as group:
        group.start(publisher.run(), "publisher")
        await news.started(request())
        news.heartbeat(request(), b"1")
        news.heartbeat(request(), b"2")
        await news.started(request())
        await settle()
    # That the broker is away is told elsewhere, and once.
    (record,) = caplog.records
    assert (record.levelname, "is full" in record.getMessage()) == ("WARNING", True)
    assert len(publisher) == 0
