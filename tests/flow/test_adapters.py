"""Tests of `flow.adapters`: which adapters URLs stand for, and which do not go together."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flow import Flow, adapters, app
from flow.adapters import adapters_for, memory_servers
from flow.config import Settings
from flow.errors import ConfigurationError
from flow.ports import Envelope, Namespace, Publication, Queue, Topology


def settings(broker: str, store: str | None = None) -> Settings:
    """Return the settings of a flow with two URLs."""
    return Settings.of("shop", broker, store, {})


def without(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a driver not be installed."""
    known = importlib.import_module

    def look(name: str) -> ModuleType:
        if name in {"brokers.rabbitmq", "store.postgres"}:
            raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)
        return known(name)

    monkeypatch.setattr(adapters, "import_module", look)


@pytest.mark.parametrize("scheme", ["amqp", "amqps"])
def test_amqp_is_rabbitmq(scheme: str, tmp_path: Path) -> None:
    """An AMQP URL stands for RabbitMQ, alone or with a store that one process has for itself."""
    alone = adapters_for(settings(f"{scheme}://u:secret@mq/host"))
    assert type(alone.broker).__name__ == "RabbitBroker"
    assert (alone.store, alone.server) == (None, None)
    assert "secret" not in alone.broker.url
    shared = adapters_for(settings(f"{scheme}://mq", f"sqlite:///{tmp_path}/x.db"))
    assert shared.store is not None
    assert shared.store.exclusive
    # Others reach it over the broker, and not over a socket.
    assert shared.server is None


def test_postgresql_needs_a_broker_that_others_can_reach() -> None:
    """A store that several may share is refused with a broker that only one process has."""
    for broker in ("memory://", "unix:///run/x.sock"):
        with pytest.raises(ConfigurationError, match="shared by several") as caught:
            adapters_for(settings(broker, "postgresql://u:secret@db/shop"))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("broker", "store", "driver", "extra"),
    [
        ("amqp://u:secret@mq", None, "aio_pika", "rabbitmq"),
        ("amqp://u:secret@mq", "postgresql://u:secret@db/s", "asyncpg", "postgres"),
    ],
)
async def test_a_driver_that_is_missing_is_named(
    broker: str, store: str | None, driver: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its driver an adapter is refused, and it is said what to install, without secrets."""
    without(driver, monkeypatch)
    flow = Flow("shop", broker=broker, store=store)
    with pytest.raises(ConfigurationError, match=driver) as caught:
        async with flow:
            pass
    assert f"pip install flowmq[{extra}]" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_fault_of_ours_is_not_taken_for_a_missing_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An adapter that cannot be imported because a part of ours is missing says that."""
    without("flow.missing", monkeypatch)
    with pytest.raises(ModuleNotFoundError, match=r"flow\.missing"):
        adapters_for(settings("amqp://mq"))


async def test_a_worker_needs_no_driver_of_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that only works leaves the store alone, whatever its URL says."""
    made: list[Settings] = []

    def note(chosen: Settings, *args: Any, **kwargs: Any) -> Any:
        made.append(chosen)
        raise ConfigurationError("the test", "that was all")

    monkeypatch.setattr(app, "adapters_for", note)
    flow = Flow("shop", broker="amqp://mq", store="postgresql://db/shop").play("worker")
    with pytest.raises(ConfigurationError, match="that was all"):
        async with flow:
            pass
    assert [each.store for each in made] == [None]


async def test_memory_servers_are_shared_by_all_that_they_make() -> None:
    """All stores of one set of servers work on its data by its clock, and nobody else does."""
    now = [1_000]
    servers, others = memory_servers(lambda: now[0]), memory_servers(lambda: now[0])
    one, two, stranger = servers.store(), servers.store(), others.store()
    for store in (one, two, stranger):
        assert (await store.open(Namespace("shop", 1))).partitions == 1
        assert not store.exclusive
    assert await one.acquire(0, "one", 500) is not None
    assert await two.acquire(0, "two", 500) is None
    assert await stranger.acquire(0, "two", 500) is not None
    now[0] += 500
    assert await two.acquire(0, "two", 500) is not None


async def test_memory_servers_lose_messages_when_asked() -> None:
    """All connections lead to one broker, of which one queue or everything can be lost."""
    servers = memory_servers(lambda: 0)
    one, two = servers.connect(), servers.connect()
    for broker in (one, two):
        await broker.open()
    await one.declare(Topology(queues=(Queue("a"), Queue("b"))), keep=False)
    await two.publish([Publication("", name, Envelope("t", b"{}")) for name in ("a", "b", "b")])
    servers.purge("a")
    assert (servers.hub.depth("a"), servers.hub.depth("b")) == (0, 2)
    servers.wipe()
    assert servers.hub.stats().queues == ()
    for broker in (one, two):
        await broker.close()
