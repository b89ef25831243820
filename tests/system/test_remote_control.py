"""Control of many executions at once, over RabbitMQ and PostgreSQL, with two orchestrators."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import anyio
import pytest

from flow import Flow
from flow.errors import ExecutionPruned
from tests.system.processes import Crew

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(180)]

COUNT = 60
PAUSE_S = 0.05


def worker(crew: Crew, gate: asyncio.Event, calls: Counter[str]) -> Flow:
    """Return a flow that serves the workflow's endpoints, and asks."""
    app = Flow("plain", broker=crew.broker)

    async def reserve(body: Any) -> Any:
        calls["reserve"] += 1
        await gate.wait()
        return {"hold": "h", "total": body["total"]}

    async def charge(body: Any) -> Any:
        calls["charge"] += 1
        return body["total"]

    app.service("inventory").endpoint(reserve)
    app.service("payments").endpoint(charge)
    return app.play("worker")


async def statuses(app: Flow) -> Counter[str]:
    """Return how many executions there are in each status."""
    return Counter(row["status"] for row in await app.executions.list(limit=1_000))


async def until(app: Flow, expected: dict[str, int]) -> None:
    """Wait until there are so many executions in each status."""
    with anyio.fail_after(60):
        while True:
            if await statuses(app) == expected:
                return
            await asyncio.sleep(PAUSE_S)


async def test_many_are_controlled_from_anywhere(
    crew: Crew, broker_url: str, database_url: str
) -> None:
    """Bulks, a pause that outlives an orchestrator, and a prune reach every execution."""
    crew.broker, crew.store = broker_url, database_url
    children = [crew.start("plain") for _ in range(2)]
    for child in children:
        await child.says("ready")
    gate, calls = asyncio.Event(), Counter[str]()
    async with worker(crew, gate, calls) as app:
        order = await app.workflows.load("order")
        for number in range(COUNT):
            await order.execute({"total": number}, id=f"e{number}")
        suspended = await app.executions.suspend_all(workflow="order", reason="stocktaking")
        assert (suspended.matched, suspended.done, suspended.failed) == (COUNT, COUNT, 0)
        gate.set()
        await until(app, {"SUSPENDED": COUNT})
        assert calls["charge"] == 0
        await app.workflows.pause("order")
        resumed = await app.executions.resume_all(workflow="order")
        assert (resumed.done, resumed.refused) == (0, COUNT)
        await children.pop().kill()
        held = await asyncio.gather(
            *(order.execute({"total": 100 + number}, id=f"h{number}") for number in range(20))
        )
        assert await statuses(app) == {"SUSPENDED": COUNT + 20}
        await app.workflows.unpause("order")
        assert [await each.result() for each in held] == [100 + number for number in range(20)]
        assert await statuses(app) == {"SUSPENDED": COUNT, "SUCCESS": 20}
        resumed = await app.executions.resume_all(workflow="order")
        assert (resumed.matched, resumed.done) == (COUNT, COUNT)
        await until(app, {"SUCCESS": COUNT + 20})
        # What is settled is written a second later, and nothing is pruned before that.
        await asyncio.sleep(2.5)
        pruned = await app.executions.prune(older_than=1)
        assert pruned.executions >= COUNT
        with pytest.raises(ExecutionPruned):
            await app.executions.get("h0").result()
