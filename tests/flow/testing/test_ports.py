"""Tests of `flow.testing.ports`: ports that are watched."""

from __future__ import annotations

import asyncio
import threading

import pytest

from brokers.memory import MemoryBroker
from flow.clock import SystemThreads
from flow.errors import BrokerUnavailable
from flow.ports import (
    Binding,
    Commit,
    Delivery,
    Envelope,
    Exchange,
    Namespace,
    Publication,
    Queue,
    Settlement,
    Topology,
)
from flow.runtime.addresses import Addresses
from flow.testing.clock import VirtualClock
from flow.testing.idleness import Idleness
from flow.testing.ports import WatchedBroker, WatchedThreads, watched_store
from store.memory import MemoryStore

ADDRESSES = Addresses("shop")


def make_idleness() -> Idleness:
    """Return an idleness that nobody is stuck in."""
    return Idleness(VirtualClock(), 100, lambda: None)


async def make_broker() -> WatchedBroker:
    """Return an open broker with the exchanges of a flow."""

    async def ready() -> None:
        await asyncio.sleep(0)

    broker = WatchedBroker(MemoryBroker(), ADDRESSES, make_idleness(), ready)
    await broker.open()
    await broker.declare(ADDRESSES.exchanges())
    return broker


def letter(body: bytes = b"1") -> Envelope:
    """Return a message."""
    return Envelope("x", body, headers={"a": "b"})


async def test_topics_are_kept() -> None:
    """What is published to topics is kept by topic, and passed on."""
    broker = await make_broker()
    received: list[Delivery] = []
    topology = Topology(
        queues=(Queue("shop.q"),), bindings=(Binding("shop.q", "shop.topics", "orders.*"),)
    )
    await broker.declare(topology)
    await broker.consume("shop.q", 10, received.append)
    await broker.publish([Publication("shop.topics", "orders.paid", letter(), mandatory=False)])
    await asyncio.sleep(0)
    (message,) = broker.published["orders.paid"]
    assert (message.json(), message.headers) == (1, {"a": "b"})
    assert len(received) == 1
    assert broker.url == "memory://"


async def test_missing_endpoints_are_known() -> None:
    """Endpoints that nobody serves are known, until somebody does."""
    broker = await make_broker()
    publication = Publication("shop.steps", "a.b", letter())
    assert await broker.publish([publication]) == [Settlement.UNROUTABLE]
    assert list(broker.missing) == ["a.b"]
    await broker.declare(ADDRESSES.worker("w", ("a.b",)))
    assert await broker.publish([publication]) == [Settlement.CONFIRMED]
    assert list(broker.missing) == []


async def test_a_cut_lets_nothing_through() -> None:
    """After a cut nothing can be sent, what arrives stays unsettled, and comes again later."""
    broker = await make_broker()
    received: list[Delivery] = []
    await broker.declare(Topology(queues=(Queue("shop.q"),)))
    await broker.consume("shop.q", 10, received.append)
    await broker.publish([Publication("", "shop.q", letter())])
    broker.cut()
    await asyncio.sleep(0)
    assert received == []
    with pytest.raises(BrokerUnavailable):
        await broker.publish([Publication("", "shop.q", letter())])
    with pytest.raises(BrokerUnavailable):
        await broker.declare(Topology(exchanges=(Exchange("e", "fanout"),)))
    with pytest.raises(BrokerUnavailable):
        await broker.has_exchange("e")
    await broker.close()
    await broker.open()
    assert not await broker.has_exchange("e")
    await broker.consume("shop.q", 10, received.append)
    await asyncio.sleep(0)
    assert [each.redelivered for each in received] == [True]


async def test_functions_run_where_they_are() -> None:
    """Without threads a function runs at once, in the same thread."""
    threads = WatchedThreads(None, make_idleness())
    assert await threads.run(threading.get_ident) == threading.get_ident()


async def test_functions_run_in_threads() -> None:
    """With threads nothing is calm before the function has ended."""
    idleness = make_idleness()
    threads = WatchedThreads(SystemThreads(), idleness)
    go = threading.Event()
    running = asyncio.gather(threads.run(lambda: (go.wait(10), threading.get_ident())[1]))
    calm = asyncio.gather(idleness.calm())
    for _ in range(100):
        await asyncio.sleep(0)
    assert not calm.done()
    go.set()
    (ident,) = await running
    assert ident != threading.get_ident()
    await calm


async def test_a_store_does_what_it_did() -> None:
    """A watched store passes everything on, and what it has."""
    real = MemoryStore(lambda: 0)
    store = watched_store(real, make_idleness())
    assert (store.url, store.exclusive) == ("memory://", True)
    assert await store.open(Namespace("shop", 2)) == Namespace("shop", 2)
    lease = await store.acquire(1, "me", 1_000)
    assert lease is not None
    assert not (await store.commit(Commit((lease,)))).lost
    await store.close()
