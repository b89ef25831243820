"""The brokers of this machine, held to what every broker has to do."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from brokers.memory import Hub, MemoryBroker, SocketBroker, SocketServer
from flow.ports import Broker
from tests.conformance.broker import CASES, Case
from tests.conformance.broker_bench import DEADLINE_S, Bench, Features
from tests.conformance.broker_losses import BLOCKING, CUTTING

Serve = Callable[[Path], AbstractAsyncContextManager[Bench]]


@asynccontextmanager
async def memory(folder: Path) -> AsyncGenerator[Bench, None]:
    """Serve connections to a hub in this process."""
    hub = Hub()

    async def cut() -> None:
        hub.cut()

    async def block(reason: str) -> None:
        hub.block(reason)

    yield Bench(lambda: MemoryBroker(hub), features=Features(cut, block))


@asynccontextmanager
async def socket(folder: Path) -> AsyncGenerator[Bench, None]:
    """Serve connections to a hub through a socket. They are not made again by themselves."""
    path = folder / "s"
    server = SocketServer(Hub(), path, DEADLINE_S)
    await server.start()
    try:
        yield Bench(lambda: SocketBroker(path, deadline_s=DEADLINE_S))
    finally:
        await server.stop()


async def exercise_on(serve: Serve, exercise: Case, folder: Path) -> None:
    """Run one case, and close what it has opened."""
    async with serve(folder) as bench:
        await exercise(bench)
        await bench.close()


@pytest.mark.parametrize("serve", [memory, socket])
@pytest.mark.parametrize("exercise", CASES)
async def test_broker_conforms(serve: Serve, exercise: Case, tmp_path: Path) -> None:
    """The adapter does what the case asks of every broker."""
    await exercise_on(serve, exercise, tmp_path)


@pytest.mark.parametrize("exercise", [*CUTTING, *BLOCKING])
async def test_broker_survives(exercise: Case, tmp_path: Path) -> None:
    """The adapter does what the case asks of every broker that loses its connection."""
    await exercise_on(memory, exercise, tmp_path)


def test_adapters_satisfy_the_port() -> None:
    """Both adapters are brokers, and say where they are."""
    brokers: list[Broker] = [MemoryBroker(), SocketBroker("s")]
    assert all(isinstance(broker, Broker) for broker in brokers)
    assert [broker.url for broker in brokers] == ["memory://", "unix://s"]
