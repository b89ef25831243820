"""More processes that work for the flow of a harness, each with a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

from brokers.memory import MemoryBroker
from flow.handler import bind
from flow.runtime.addresses import Addresses
from flow.runtime.host import Host, HostPorts, HostSettings
from flow.runtime.service import Endpoint, WorkerSettings
from flow.testing import FlowHarness
from flow.testing.clock import owned
from flow.testing.ports import WatchedBroker

NAMESPACE = "world"


def endpoint(function: Callable[..., Any], name: str = "work.s1", **options: Any) -> Endpoint:
    """Return an endpoint that a function answers."""
    return Endpoint(name, bind(function, owner=name).handler, **options)


async def _ready() -> None:
    """Wait for nobody."""


@asynccontextmanager
async def working(
    test: FlowHarness, *endpoints: Endpoint, settings: WorkerSettings | None = None
) -> AsyncGenerator[Host]:
    """Run a process that serves endpoints, for as long as the block lasts."""
    addresses = Addresses(NAMESPACE)
    broker = WatchedBroker(MemoryBroker(test._hub), addresses, test._idleness, _ready)
    ports = HostPorts(
        broker=broker,
        store=None,
        clock=test.clock,
        chance=test._chance,
        threads=test._threads,
    )
    host = Host(
        ports,
        HostSettings(
            namespace=NAMESPACE,
            endpoints={each.name: each for each in endpoints},
            worker=settings or WorkerSettings(),
        ),
    )
    with owned(test.clock, test._owner):
        await host.__aenter__()
    try:
        yield host
    finally:
        with owned(test.clock, test._owner):
            await host.__aexit__(None, None, None)


async def die(test: FlowHarness, host: Host) -> None:
    """Let a process die in the middle of everything; its connection is lost."""
    host.kill()
    await host._ports.broker.close()
    await test.settle()
