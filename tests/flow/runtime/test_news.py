"""Tests of `flow.runtime.news`."""

from __future__ import annotations

import pytest

from brokers.memory.broker import MemoryBroker
from flow.ports import Queue, Topology
from flow.runtime.news import News
from flow.runtime.publisher import Publisher, PublisherSettings
from flow.runtime.tasks import TaskGroup
from tests.flow.runtime.clocks import CountingChance, ManualClock, settle
from tests.flow.runtime.worker_bench import MAILBOX, OddBroker, request


async def test_news_go_where_the_reply_will() -> None:
    """Both kinds of news carry the correlation id to the queue of the reply."""
    broker = OddBroker(MemoryBroker())
    await broker.open()
    await broker.declare(Topology(queues=(Queue(MAILBOX),)))
    publisher = Publisher(broker, ManualClock())
    news = News(publisher, CountingChance())
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
    news = News(publisher, CountingChance())
    async with TaskGroup() as group:
        group.start(publisher.run(), "publisher")
        await news.started(request())
        news.heartbeat(request(), b"1")
        news.heartbeat(request(), b"2")
        await news.started(request())
        await settle()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert len(publisher) == 0
