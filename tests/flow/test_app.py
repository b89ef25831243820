"""Tests of `flow.app`: the application object, through the harness and on real adapters."""

from __future__ import annotations

import asyncio
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel

from flow import ExecutionFailed, Flow, RetryPolicy, Step, StepContext
from flow.app import adapters_for, runtime_folder
from flow.config import Settings
from flow.errors import (
    BrokerUnavailable,
    ConfigurationError,
    DuplicateDefinition,
    InvalidName,
    InvalidOption,
)
from flow.testing import FlowHarness
from tests.flow.runtime.clocks import settle


@dataclass
class Order:
    """What is bought."""

    total: int


@dataclass
class Hold:
    """What is held for it."""

    id: str


class Receipt(BaseModel):
    """What was paid."""

    id: str


async def test_the_first_example() -> None:
    """The first example of the documentation works as it stands."""
    app = Flow("shop")

    @app.step
    async def reserve(order: Order) -> Hold:
        return Hold(f"h{order.total}")

    @app.step(requires=[reserve], retry=RetryPolicy(max_attempts=5))
    def charge(order: Order, reserve: Hold) -> Receipt:
        return Receipt(id=f"{reserve.id} paid {order.total}")

    checkout = app.workflow("checkout", reserve, charge, output=charge)
    async with FlowHarness(app):
        receipt = await checkout.run(Order(total=5), id="order-42")
        assert receipt == Receipt(id="h5 paid 5")


async def test_the_unit_test_of_a_user() -> None:
    """The example of a unit test works as it stands, for a flow whose URLs are real ones."""
    app = Flow("shop", broker="amqp://mq", store="postgresql://db/shop")
    retry = RetryPolicy(max_attempts=3)
    hold = Step.call("inventory.reserve", returns=Hold)
    pay = Step.call("payments.charge", input={"hold": hold.output.id}, returns=Receipt, retry=retry)
    paid: Step[Any] = Step.publish("orders.paid", requires=[pay])
    checkout = app.workflow("checkout", hold, pay, paid, output=pay)

    async with FlowHarness(app) as test:
        test.stub("inventory.reserve", Hold(id="h1"))
        test.stub("payments.charge", [ConnectionError(), Receipt(id="r1")])
        assert await checkout.run(Order(total=5)) == Receipt(id="r1")
        assert [call.attempt for call in test.calls("payments.charge")] == [1, 2]


async def test_a_handler_of_the_wrong_type_is_not_retried() -> None:
    """An input that is not of the handler's type names the field, and spends one attempt."""
    app = Flow("shop", broker="memory://", store="memory://")

    @app.step(retry=RetryPolicy(max_attempts=5))
    async def reserve(order: Order) -> Hold:
        return Hold("x")

    @app.step(retry=RetryPolicy(max_attempts=5))
    async def liar(order: Order) -> Hold:
        return cast("Hold", "nothing of the sort")

    workflow = app.workflow("w", reserve)
    lying = app.workflow("lying", liar)
    async with FlowHarness(app) as test:
        with pytest.raises(ExecutionFailed, match="total"):
            await workflow.run({"total": "five"})
        with pytest.raises(ExecutionFailed, match="declared as Hold"):
            await lying.run(Order(1))
        assert test.clock.monotonic() == 0


async def test_the_context_tells_about_the_attempt() -> None:
    """A handler learns which execution, step and attempt it works for, with a key of its own."""
    app = Flow("shop", broker="memory://", store="memory://")
    seen: list[StepContext] = []

    @app.step(retry=RetryPolicy(max_attempts=2, initial=0))
    def work(order: Order, context: StepContext) -> None:
        seen.append(replace(context))
        if context.attempt == 1:
            raise ConnectionError

    workflow = app.workflow("w", work)
    async with FlowHarness(app):
        await workflow.run(Order(1), id="e-1", headers={"a": "b"})
    assert [context.attempt for context in seen] == [1, 2]
    first = seen[0]
    assert (first.endpoint, first.execution_id, first.step_id) == ("shop.work", "e-1", "work")
    assert (first.path, first.headers) == ("steps/work", {"a": "b"})
    assert {context.idempotency_key for context in seen} == {"e-1:steps/work"}


def test_ids_pull_in_what_they_require() -> None:
    """A workflow made of ids takes their steps, and all that these require, in order."""
    app = Flow("shop", broker="memory://", store="memory://")

    @app.step
    def one(order: Order) -> int:
        return 1

    @app.step(requires=[one])
    def two(order: Order, one: int) -> int:
        return 2

    @app.step(requires=[two])
    def three(two: int) -> int:
        return 3

    workflow = app.workflow("w", "three")
    assert [[step.id for step in level] for level in workflow.steps()] == [
        ["one"],
        ["two"],
        ["three"],
    ]
    with pytest.raises(DuplicateDefinition):
        app.workflow("w", one)


def test_names_and_urls_are_checked_at_once() -> None:
    """A wrong name or URL is refused when the flow is made, not when it is entered."""
    with pytest.raises(InvalidName):
        Flow("my.shop")
    with pytest.raises(ConfigurationError):
        Flow("shop", broker="redis://x")
    app = Flow("shop", broker="amqp://user:secret@mq", store="memory://")
    assert repr(app) == "<Flow 'shop' on amqp://***@mq>"
    with pytest.raises(InvalidOption):
        app.workflow("w", Step.call("a.b"), timeout=-1)


async def test_it_has_to_run() -> None:
    """Asking before it runs, and running twice, say what to do."""
    app = Flow("shop", broker="memory://", store="memory://")
    workflow = app.workflow("w", Step.call("a.b"))
    with pytest.raises(ConfigurationError, match="use it inside `async with app:`"):
        await workflow.run()
    async with app:
        with pytest.raises(ConfigurationError, match="it is running already"):
            await app.__aenter__()
        with pytest.raises(ConfigurationError, match="it is running already"):
            await FlowHarness(app).__aenter__()
        assert app.host is not None
    assert app.host is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own for sockets, which is also where relative files are."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make_real(folder: Path) -> tuple[Flow, Any]:
    """Return a flow on a SQLite file, and a workflow."""
    app = Flow(
        "shop", broker="memory://", store=f"sqlite:////{str(folder / 'shop.db').lstrip('/')}"
    )

    @app.step
    def double(number: int) -> int:
        return number * 2

    return app, app.workflow("w", double, output=double)


async def test_an_embedded_flow_keeps_its_executions(folder: Path) -> None:
    """On a SQLite file executions are there after a restart."""
    app, workflow = make_real(folder)
    async with app:
        assert await workflow.run(21, id="e-1") == 42
    app, workflow = make_real(folder)
    async with app:
        assert await app.executions.get("e-1").result() == 42
        assert await workflow.run(21, id="e-1") == 42


async def test_a_second_process_joins(folder: Path) -> None:
    """While one process has the file, another one works and asks through its socket."""
    first, _ = make_real(folder)
    second, workflow = make_real(folder)
    async with first, second:
        assert second.host is not None
        assert second.host.engine is None
        assert await workflow.run(4) == 8


async def test_a_lost_connection_is_told(folder: Path) -> None:
    """A process that joined another one hears when that one ends."""
    first, _ = make_real(folder)
    second, workflow = make_real(folder)
    async with first:
        await second.__aenter__()
        losing = asyncio.gather(second.lost())
        await settle()
        assert not losing.done()
    await losing
    with pytest.raises(BrokerUnavailable):
        await workflow.run(4)
    await second.__aexit__(None, None, None)


async def test_roles_can_be_chosen(folder: Path) -> None:
    """A process that only asks plays neither role, and one that orchestrates serves nothing."""
    app, workflow = make_real(folder)
    asking, asked = make_real(folder)
    asking.play()
    async with app, asking:
        assert asking.host is not None
        assert (asking.host.engine, asking.host.worker) == (None, None)
        assert await asked.run(3) == 6
    app.play("orchestrator")
    async with app:
        assert app.host is not None
        assert app.host.worker is None
    assert workflow.id == "w"


def test_sockets_are_private(folder: Path) -> None:
    """The folder for sockets belongs to one user alone, or is not used."""
    made = runtime_folder()
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    made.chmod(0o755)
    with pytest.raises(ConfigurationError, match="mode 0700"):
        runtime_folder()


def test_urls_become_adapters(folder: Path) -> None:
    """What stands behind a URL is chosen by its scheme."""
    adapters = adapters_for(Settings.of("shop", None, None, {}))
    assert adapters.store is not None
    assert (adapters.broker.url, adapters.store.exclusive) == ("memory://", True)
    assert adapters.server is not None
    adapters = adapters_for(Settings.of("shop", f"unix:///{folder}/x.sock", "memory://", {}))
    assert adapters.server is None
