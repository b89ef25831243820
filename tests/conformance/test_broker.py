"""The brokers of this machine, held to what every broker has to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from brokers.memory import Hub, MemoryBroker, SocketBroker, SocketServer
from flow.ports import Broker
from tests.conformance.broker import CASES, Case
from tests.conformance.broker_bench import DEADLINE_S, Bench

Serve = Callable[[Path], AbstractAsyncContextManager[Callable[[], Broker]]]


@asynccontextmanager
async def memory(folder: Path) -> AsyncGenerator[Callable[[], Broker], None]:
    """Serve connections to a hub in this process."""
    hub = Hub()
    yield lambda: MemoryBroker(hub)


@asynccontextmanager
async def socket(folder: Path) -> AsyncGenerator[Callable[[], Broker], None]:
    """Serve connections to a hub through a socket."""
    path = folder / "s"
    server = SocketServer(Hub(), path, DEADLINE_S)
    await server.start()
    try:
        yield lambda: SocketBroker(path, deadline_s=DEADLINE_S)
    finally:
        await server.stop()


@pytest.mark.parametrize("serve", [memory, socket])
@pytest.mark.parametrize("exercise", CASES)
async def test_broker_conforms(serve: Serve, exercise: Case, tmp_path: Path) -> None:
    """The adapter does what the case asks of every broker."""
    async with serve(tmp_path) as make:
        bench = Bench(make)
        await exercise(bench)
        await bench.close()


def test_adapters_satisfy_the_port() -> None:
    """Both adapters are brokers, and say where they are."""
    brokers: list[Broker] = [MemoryBroker(), SocketBroker("s")]
    assert all(isinstance(broker, Broker) for broker in brokers)
    assert [broker.url for broker in brokers] == ["memory://", "unix://s"]
