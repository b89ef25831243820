"""Steps and workflows of processes that share no module: only names, by way of the catalogue."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import pytest

from flow import Flow, Workflow
from flow.errors import MissingSteps
from tests.system.processes import Child, Crew

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(120)]

DEADLINE_S = 60.0
PAUSE_S = 0.02


@pytest.fixture(params=["embedded", "servers"])
def bazaar(request: pytest.FixtureRequest, crew: Crew) -> Crew:
    """Processes on one machine without servers, or over RabbitMQ and PostgreSQL."""
    if request.param == "servers":
        crew.broker = request.getfixturevalue("broker_url")
        crew.store = request.getfixturevalue("database_url")
    return crew


def client(crew: Crew) -> Flow:
    """Return a flow that only asks; it knows the broker, or the socket of the owner."""
    if crew.broker:
        return Flow("bazaar", broker=crew.broker).play()
    return Flow("bazaar", store=crew.store).play()


async def start(crew: Crew, program: str, *how: str) -> Child:
    """Start a process, and wait until it takes part."""
    child = crew.start(program, *how)
    await child.says("ready")
    return child


async def hashes(app: Flow, *steps: str) -> dict[str, str]:
    """Wait until all of some steps are announced; return the hashes of all that are."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            found = {row["id"]: row["hash"] for row in await app.catalogue.list()}
            if found.keys() >= set(steps):
                return found
            await asyncio.sleep(PAUSE_S)


async def checkout_with(app: Flow, hash: str) -> list[list[str]]:
    """Wait until a workflow is another one than before; return its steps by level."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            checkout = await app.workflows.load("checkout")
            if checkout.hash != hash:
                break
            await asyncio.sleep(PAUSE_S)
    return [[f"{step.id} {step.timeout_ms}" for step in level] for level in checkout.steps()]


async def refused_for(checkout: Workflow[Any], missing: dict[str, list[str]]) -> None:
    """Wait until a start is refused because certain steps are missing."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            with pytest.raises(MissingSteps) as caught:
                await checkout.run("nothing")
            if caught.value.missing == missing:
                return
            await asyncio.sleep(PAUSE_S)


async def run_once_known(checkout: Workflow[Any], order: str, execution: str) -> Any:
    """Run a workflow as soon as its orchestrator has heard of all its steps."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            try:
                return await checkout.run(order, id=execution)
            except MissingSteps:
                await asyncio.sleep(PAUSE_S)


async def test_three_processes_share_no_module(bazaar: Crew) -> None:
    """A workflow names a step, whose service names two others: it runs once all are announced."""
    orders = await start(bazaar, "catalogue_orders")
    app = client(bazaar)
    checkout = app.workflow("checkout", "ship")
    async with app:
        assert await app.catalogue.list() == []
        with pytest.raises(MissingSteps, match="'ship'"):
            await checkout.run("lamp")
        shipping = await start(bazaar, "catalogue_shipping")
        await refused_for(checkout, {"charge": ["ship"], "reserve": ["ship"]})
        stock = await start(bazaar, "catalogue_stock")
        result = await run_once_known(checkout, "lamp", "order-1")
        assert result == ["lamp", "lamp", 4, stock.pid, shipping.pid]
        first = await app.workflows.load("checkout")
        row = await app.catalogue.get("charge")
        assert (row["service"], row["requires"]) == ("payments", ["reserve"])
        assert row["policy"]["retry"]["max_attempts"] == 2
        assert row["output"] == {"type": "integer"}
        await stock.terminate()
        stock = await start(bazaar, "catalogue_stock", "7")
        deployed = await checkout_with(app, first.hash)
        assert deployed == [["reserve 7000"], ["charge 60000"], ["ship 60000"]]
        again = await run_once_known(checkout, "bed", "order-2")
        assert again == ["bed", "bed", 3, stock.pid, shipping.pid]
    for child in (stock, shipping, orders):
        await child.terminate()


async def test_services_may_be_there_first(broker_url: str, database_url: str, crew: Crew) -> None:
    """Services announce their steps as soon as an orchestrator comes, and serve meanwhile."""
    crew.broker, crew.store = broker_url, database_url
    shipping = await start(crew, "catalogue_shipping")
    stock = await start(crew, "catalogue_stock")
    orders = await start(crew, "catalogue_orders")
    app = client(crew)
    checkout = app.workflow("checkout", "ship")
    async with app:
        result = await run_once_known(checkout, "lamp", "order-1")
        assert result == ["lamp", "lamp", 4, stock.pid, shipping.pid]
    for child in (stock, shipping, orders):
        await child.terminate()


async def test_every_orchestrator_closes_the_workflow(
    broker_url: str, database_url: str, crew: Crew
) -> None:
    """Of two orchestrators each knows the workflow soon, whichever took an announcement."""
    crew.broker, crew.store = broker_url, database_url
    children = [await start(crew, "catalogue_orders") for _ in range(2)]
    children += [await start(crew, each) for each in ("catalogue_shipping", "catalogue_stock")]
    app = client(crew)
    checkout = app.workflow("checkout", "ship")
    async with app:
        # Enough of them that both orchestrators own some.
        for number in range(12):
            result = await run_once_known(checkout, "lamp", f"order-{number}")
            assert result[:3] == ["lamp", "lamp", 4]
    for child in reversed(children):
        await child.terminate()


async def test_a_rival_is_refused(bazaar: Crew) -> None:
    """A service with another step of the same id ends with an error that names both services."""
    orders = await start(bazaar, "catalogue_orders")
    stock = await start(bazaar, "catalogue_stock")
    app = client(bazaar)
    async with app:
        before = await hashes(app, "reserve", "charge")
        rival = bazaar.start("catalogue_rival")
        assert await rival.ended() == 1
        error = rival.output.strip().splitlines()[-1]
        assert "StepConflict: service 'depot' announces step 'reserve'" in error
        assert (
            f"service 'stock' has announced another step of this id ({before['reserve'][:8]})"
            in error
        )
        assert await hashes(app) == before
    for child in (stock, orders):
        await child.terminate()
