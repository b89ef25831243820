"""Two versions of a service side by side, in processes of their own, until the old one stops."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from flow import Execution, Flow, Workflow
from flow.status import Status
from store.postgres import PostgresStore
from tests.system import effects, journal
from tests.system.health import play, worker_counts, worker_of
from tests.system.processes import Child, Crew
from tests.system.programs.rolling import AT_THE_GATE, CONCURRENCY, DRAIN_S, NAMESPACE, NEVER

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(180)]

PROGRAM = "tests.system.programs.rolling"
ORDERS = 80
LETTERS = 12
SOON_S = DRAIN_S - 2
"""Before the old version gives up what it runs."""
IN_TIME_S = 20.0
"""Long before anything would be sent again because nothing is heard of it."""
PAUSE_S = 0.02


@dataclass
class Deploy:
    """An orchestrator, a worker of each version, and a client.

    Args:
        crew: Where the processes are.
        boss: The orchestrator.
        old: The worker that lacks an endpoint.
        new: The worker that has it.
        order: Reserves with either, and packs with the new one.
        letter: Is noted by either.
    """

    crew: Crew
    boss: Child
    old: Child
    new: Child
    order: Workflow[Any]
    letter: Workflow[Any]

    def held(self, what: str) -> set[str]:
        """Return which executions the old version reserves for, until something happens."""
        return {
            effect["execution"]
            for effect in effects.load(self.crew.effects)
            if effect["pid"] == self.old.pid and effect["what"] == f"reserve {what}"
        }

    async def occupy(self, what: str, count: int) -> dict[str, Execution[Any]]:
        """Start orders until the old version holds so many; return all orders that were begun."""
        begun: dict[str, Execution[Any]] = {}
        while len(self.held(what)) < count:
            name = f"{what.replace(' ', '-')}-{len(begun)}"
            begun[name] = await self.order.execute({"old": what}, id=name)
            await self._is_taken(begun[name], what)
        assert len(self.held(what)) == count
        return begun

    async def _is_taken(self, execution: Execution[Any], what: str) -> None:
        """Wait until the old version holds an order, or the new one has done it."""
        with anyio.fail_after(IN_TIME_S):
            while True:
                is_done = await execution.status() is Status.SUCCESS
                if is_done or execution.id in self.held(what):
                    return
                await asyncio.sleep(PAUSE_S)


@pytest.fixture
async def deploy(crew: Crew, broker_url: str, database_url: str) -> AsyncGenerator[Deploy, None]:
    """Start everything, the old version before the new one."""
    crew.broker, crew.store = broker_url, database_url
    boss = play(crew, "orchestrator", f"{PROGRAM}:boss")
    old = play(crew, "worker", f"{PROGRAM}:old")
    await old.says("ready;")
    new = play(crew, "worker", f"{PROGRAM}:new")
    await new.says("ready;")
    await boss.says("ready;")
    async with Flow(NAMESPACE, broker=broker_url).play() as client:
        order, letter = [await client.workflows.load(name) for name in ("order", "letter")]
        yield Deploy(crew, boss, old, new, order, letter)


async def side_by_side(deploy: Deploy) -> list[Execution[Any]]:
    """Have orders done while both versions run: each does what it can."""
    starts = (deploy.order.execute({}, id=f"order-{number}") for number in range(ORDERS))
    orders = await asyncio.gather(*starts)
    # Each of them: a request that is refused must not have to wait for the silence to be noticed.
    with anyio.fail_after(IN_TIME_S):
        results = await asyncio.gather(*(order.result() for order in orders))
    assert {each["reserved by"] for each in results} == {deploy.old.pid, deploy.new.pid}
    assert {each["packed by"] for each in results} == {deploy.new.pid}
    assert (await worker_of(deploy.old))["refused"] > 0
    assert (await worker_of(deploy.new))["refused"] == 0
    return list(orders)


async def wait_for_turns(deploy: Deploy) -> list[Execution[Any]]:
    """Start letters while the old version has no turn free; some of them wait in its hands."""
    letters = [await deploy.letter.execute(id=f"letter-{number}") for number in range(LETTERS)]
    found = await worker_counts(deploy.old, "waiting", CONCURRENCY, IN_TIME_S)
    assert found["running"] == CONCURRENCY
    return letters


async def stop_the_old(deploy: Deploy, letters: list[Execution[Any]]) -> None:
    """Stop the old version, and open the gate once it does not wait for turns any more."""
    os.kill(deploy.old.pid, signal.SIGTERM)
    with anyio.fail_after(SOON_S):
        assert {await letter.result() for letter in letters} == {deploy.new.pid}
    assert not deploy.old.has_ended
    deploy.crew.folder.joinpath("gate").touch()


async def spends_nothing(executions: list[Execution[Any]]) -> None:
    """Check that each step took one attempt, and that nothing has failed."""
    for execution in executions:
        report = await execution.describe()
        assert report["status"] == Status.SUCCESS.value
        assert {step["attempt"] for step in report["steps"]} == {1}
        kinds = {event.type for event in await execution.history()}
        assert kinds == {"ExecutionStarted", "StepSucceeded"}, kinds


async def test_a_rolling_deploy_fails_nothing(deploy: Deploy) -> None:
    """What a version lacks the other does; what is stopped ends or goes back; nothing is spent."""
    orders = await side_by_side(deploy)
    stuck = await deploy.occupy(NEVER, 2)
    gated = await deploy.occupy(AT_THE_GATE, CONCURRENCY - 2)
    letters = await wait_for_turns(deploy)
    ends, goes_back = deploy.held(AT_THE_GATE), deploy.held(NEVER)
    await stop_the_old(deploy, letters)
    assert await deploy.old.ended(DRAIN_S + IN_TIME_S) == 0, deploy.old.output
    with anyio.fail_after(IN_TIME_S):
        for name, execution in [*stuck.items(), *gated.items()]:
            pid = deploy.old.pid if name in ends else deploy.new.pid
            assert await execution.result() == {"reserved by": pid, "packed by": deploy.new.pid}
    everybody = [*orders, *letters, *stuck.values(), *gated.values()]
    await spends_nothing(everybody)
    for child in (deploy.new, deploy.boss):
        await child.terminate()
    check_effects(deploy, ends, goes_back)
    found = await journal.read_store(
        PostgresStore(deploy.crew.store), NAMESPACE, [each.id for each in everybody]
    )
    for each in found.values():
        assert set(each.told.values()) == set(each.recorded.values()) == {1}


def check_effects(deploy: Deploy, ends: set[str], goes_back: set[str]) -> None:
    """Check that only what went back was done again, by the new version, with the same key."""
    done: dict[str, list[dict[str, Any]]] = {}
    for effect in effects.load(deploy.crew.effects):
        done.setdefault(effect["execution"], []).append(effect)
    assert ends
    assert goes_back
    assert {name for name, times in done.items() if len(times) > 1} == goes_back
    for name in goes_back:
        begun, again = done[name]
        assert (begun["pid"], again["pid"]) == (deploy.old.pid, deploy.new.pid)
        assert (begun["attempt"], begun["key"]) == (again["attempt"], again["key"])
