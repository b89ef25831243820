"""Headers that are given at a start reach every process that takes part, unchanged."""

from __future__ import annotations

import json
from typing import Any

import aio_pika
import anyio
import pytest

from flow import Flow
from tests.system import effects
from tests.system.processes import Child, Crew, eventually
from tests.system.programs.tracing import NAMESPACE

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(120)]

PROGRAM = "tests.system.programs.tracing"
DEADLINE_S = 30.0
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
HEADERS = {"traceparent": TRACE, "tracestate": "a=1,b=2", "tenant": "Zoë & Söhne", "empty": ""}
# Once in each attempt of the first service, once in the second one, once in the subscriber.
SEEN = [("desk", 1), ("desk", 2), ("dock", 1), ("mail lamp", 1)]


@pytest.fixture
async def children(crew: Crew, broker_url: str, database_url: str) -> list[Child]:
    """An orchestrator, two services and a subscriber, each in a process of its own."""
    crew.broker, crew.store = broker_url, database_url
    started = [crew.run("-m", "flow", "orchestrator", f"{PROGRAM}:boss")]
    names = ("desk", "dock", "mail")
    started += [crew.run("-m", "flow", "worker", f"{PROGRAM}:{name}") for name in names]
    for child in started:
        await child.says("ready;")
    return started


async def trigger(url: str, execution: str, headers: dict[str, Any]) -> None:
    """Start an execution as a program does that speaks AMQP and nothing else."""
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(f"{NAMESPACE}.trigger", ensure=False)
        message = aio_pika.Message(
            json.dumps("lamp").encode(),
            content_type="application/json",
            headers={**headers, "flow-id": execution, "x-hop": "3"},
        )
        await exchange.publish(message, "order")


async def check(crew: Crew, children: list[Child], execution: str) -> None:
    """Check that everybody has seen the very headers of the start, each in its own process."""

    def found() -> list[dict[str, Any]]:
        return [each for each in effects.load(crew.effects) if each["execution"] == execution]

    await eventually(lambda: len(found()) >= len(SEEN), "all have seen it", DEADLINE_S)
    seen = found()
    assert sorted((each["where"], each["attempt"]) for each in seen) == SEEN
    assert [each["headers"] for each in seen] == [HEADERS] * len(SEEN)
    assert len({each["pid"] for each in seen}) == 3
    assert {each["pid"] for each in seen} <= {child.pid for child in children}


async def test_headers_reach_everybody(crew: Crew, children: list[Child]) -> None:
    """A trace passes through two services, a retry, a sub-workflow and a topic, however begun."""
    async with Flow(NAMESPACE, broker=crew.broker).play() as client:
        order = await client.workflows.load("order")
        with anyio.fail_after(DEADLINE_S):
            assert await order.run("lamp", id="typed", headers=HEADERS) == "lamp"
        await check(crew, children, "typed")
        await trigger(crew.broker, "plain", HEADERS)
        await check(crew, children, "plain")
        for name in ("typed", "plain"):
            execution = client.executions.get(name)
            with anyio.fail_after(DEADLINE_S):
                assert await execution.result() == "lamp"
            # What a service answers with belongs to its step, and goes no further.
            assert (await execution.describe())["headers"] == HEADERS
            assert (await execution.step("shipping/ship"))["headers"] == {"tenant": "the dock's"}
    for child in reversed(children):
        await child.terminate()
