"""The runner, in this process."""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flow.app import Flow, Role
from flow.cli import runner as module
from flow.cli.loading import load, locate
from flow.cli.runner import Runner, Supervised
from flow.errors import StoreLocked
from flow.runtime.tasks import TaskGroup
from store.sqlite.lock import FileLock
from tests.flow.cli.overheard import Overheard

BOTH: tuple[Role, ...] = ("orchestrator", "worker")


@asynccontextmanager
async def running_program(
    roles: tuple[Role, ...], supervised: Supervised | None = None
) -> AsyncGenerator[tuple[Overheard, Flow]]:
    """Run the shop in this process, and stop it at the end."""
    output, app = Overheard(), load(locate("shop.py:app"))
    runner = Runner("shop.py:app", app, roles, output, supervised)
    async with TaskGroup() as tasks:
        running = tasks.start(_run(runner), "runner")
        try:
            yield output, app
        finally:
            runner.stop()
            await asyncio.wait([running])


async def _run(runner: Runner) -> None:
    assert await runner.run() == 0


async def test_a_program_is_served_until_it_is_stopped(shop: Path) -> None:
    """It plays its roles, tells what it has, and drains at the end."""
    async with running_program(BOTH) as (output, app):
        await output.expect("ready; Ctrl-C stops")
        checkout: Any = app.defined["checkout"]
        assert await checkout.run({"total": 5}) == {"paid": 5}
    assert await output.expect("stopped")


async def test_what_there_is_is_told(shop: Path) -> None:
    """The first lines name the flow, its store, the levels of its workflows and its endpoints."""
    async with running_program(BOTH) as (output, _):
        told = await output.expect("shop")
    assert told.splitlines() == [
        "shop",
        "  broker     memory://",
        "  store      sqlite:///.flow/shop.db",
        "  workflows  checkout: reserve → charge → ship",
        "             lost: there",
        "             notice: orders.noticed",
        "             parcels: buy",
        "  endpoints  shop.charge, shop.reserve, shop.ship",
    ]


async def test_a_worker_waits_and_comes_back(shop: Path) -> None:
    """A worker waits for a process to join, says when it is lost, and joins the next one."""
    async with running_program(("worker",)) as (output, _):
        assert "flow serve shop.py:app" in await output.expect("no process runs shop")
        owner = load(locate("shop.py:app")).play("orchestrator")
        for said in ("ready; Ctrl-C stops", "shop is ready again"):
            async with owner:
                await output.expect(said)
                assert await owner.defined["checkout"].run({"total": 5}) == {"paid": 5}
            await output.expect("lost the process that runs shop; waiting for it")


async def test_whoever_joined_takes_over(shop: Path) -> None:
    """A program that has joined another process orchestrates itself when that one has ended."""
    first = load(locate("shop.py:app"))
    await first.__aenter__()
    async with running_program(BOTH) as (output, app):
        assert "joined" in await output.expect("shop")
        await first.__aexit__(None, None, None)
        await output.expect("shop is ready again")
        assert not app.joined
        assert await app.defined["checkout"].run({"total": 6}) == {"paid": 6}


async def test_an_orchestrator_is_alone(shop: Path) -> None:
    """A second orchestrator of a file is refused, and the first one is named."""
    runner = Runner("shop.py:app", load(locate("shop.py:app")), ("orchestrator",), Overheard())
    async with load(locate("shop.py:app")):
        with pytest.raises(StoreLocked, match=f"process {os.getpid()} .*only one process"):
            await runner.run()


async def test_a_foreign_process_is_not_waited_for(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is locked by something that cannot be joined is an error."""
    monkeypatch.setattr(module, "_JOIN_WITHIN_S", 0.0)
    (shop / ".flow").mkdir()
    lock = FileLock(shop / ".flow" / "shop.db")
    lock.acquire()
    runner = Runner("shop.py:app", load(locate("shop.py:app")), BOTH, Overheard())
    try:
        with pytest.raises(StoreLocked, match="it cannot be joined"):
            await runner.run()
    finally:
        lock.release()


async def test_a_program_that_waits_can_be_stopped(shop: Path) -> None:
    """A signal also ends a worker that has found nothing to join."""
    async with running_program(("worker",)) as (output, _):
        await output.expect("no process runs shop")
    assert await output.expect("stopped")


async def test_a_program_that_was_started_before_says_less(shop: Path) -> None:
    """After a reload, one line is enough."""
    async with running_program(BOTH, Supervised(again=True)) as (output, _):
        assert await output.expect("shop") == "shop is ready again"
