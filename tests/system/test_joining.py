"""A running flow of one process is joined by others, through its socket."""

from contextlib import AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from flow import Execution, ExecutionAborted, Flow
from flow.errors import BrokerUnavailable
from flow.status import Status
from tests.system import effects, journal
from tests.system.processes import Child, Crew, eventually

pytestmark = [pytest.mark.system, pytest.mark.long, pytest.mark.timeout(120)]

DEADLINE_S = 60.0


async def open_shop(crew: Crew) -> Child:
    """Start the owner, which has workflows and serves nothing."""
    shop = crew.start("shop")
    await shop.says("owner")
    return shop


async def hire(crew: Crew, service: str, method: str, *how: str) -> Child:
    """Start a microservice, and wait until it has joined."""
    worker = crew.start("microservice", service, method, *how)
    await worker.says("joined")
    return worker


def done_by(crew: Crew, endpoint: str) -> list[tuple[str, int, int]]:
    """Return what was done for an endpoint: execution, attempt and process."""
    return [
        (effect["execution"], effect["attempt"], effect["pid"])
        for effect in effects.load(crew.effects)
        if effect["endpoint"] == endpoint
    ]


async def status_becomes(app: Flow, execution: str, wanted: Status) -> None:
    """Go through the history of an execution until it has a status."""
    held = app.executions.get(execution)
    with anyio.fail_after(DEADLINE_S):
        async for _ in held:
            if await held.status() is wanted:
                return


async def wait_in_vain(execution: Execution[Any]) -> None:
    """Wait for a result that does not come, because whoever would send it has died."""
    with pytest.raises(BrokerUnavailable, match=r"cannot be reached: .*(lost|closed|reset)"):
        await execution.result()


async def test_a_worker_joins(crew: Crew) -> None:
    """Steps are done by processes that share no module with the one that has the workflow."""
    shop = await open_shop(crew)
    payments = await hire(crew, "payments", "charge")
    shipping = await hire(crew, "shipping", "deliver")
    async with crew.joined("shop") as app:
        purchase = await app.workflows.load("purchase")
        with anyio.fail_after(DEADLINE_S):
            result = await purchase.run({"total": 5}, id="order-1")
    assert result["pid"] == shipping.pid
    assert result["request"] == {"receipt": {"pid": payments.pid, "request": {"total": 5}}}
    assert done_by(crew, "payments.charge") == [("order-1", 1, payments.pid)]
    assert done_by(crew, "shipping.deliver") == [("order-1", 1, shipping.pid)]
    for child in (payments, shipping, shop):
        await child.terminate()


async def test_a_client_controls(crew: Crew) -> None:
    """A client that has joined suspends, resumes and aborts executions of another process."""
    shop = await open_shop(crew)
    async with crew.joined("shop") as app:
        purchase = await app.workflows.load("purchase")
        kept = await purchase.execute(1, id="kept")
        dropped = await purchase.execute(2, id="dropped")
        assert await kept.suspend(reason="wait") is Status.SUSPENDING
        assert await dropped.abort(reason="no money") is Status.ABORTED
        with pytest.raises(ExecutionAborted, match="no money"):
            await dropped.result()
        payments = await hire(crew, "payments", "charge")
        shipping = await hire(crew, "shipping", "deliver")
        await status_becomes(app, "kept", Status.SUSPENDED)
        assert await kept.steps() == {"charge": Status.SUCCESS, "deliver": Status.PENDING}
        await kept.resume(reason="go on")
        with anyio.fail_after(DEADLINE_S):
            result = await kept.result()
        assert result["pid"] == shipping.pid
        reasons = {event.type: event.reason for event in await kept.history()}
        assert reasons["SuspendRequested"] == "wait"
        assert reasons["ResumeRequested"] == "go on"
    assert done_by(crew, "payments.charge") == [("kept", 1, payments.pid)]
    assert done_by(crew, "shipping.deliver") == [("kept", 1, shipping.pid)]
    for child in (payments, shipping, shop):
        await child.terminate()


async def test_a_killed_worker_is_replaced(crew: Crew) -> None:
    """What a worker had begun when it was killed is done by another one, as the same attempt."""
    shop = await open_shop(crew)
    stuck = await hire(crew, "payments", "charge", "stuck")
    async with crew.joined("shop") as app:
        payment = await app.workflows.load("payment")
        execution = await payment.execute(id="pay-1")
        await eventually(lambda: done_by(crew, "payments.charge"), "the first effect")
        other = await hire(crew, "payments", "charge")
        await stuck.kill()
        with anyio.fail_after(DEADLINE_S):
            result = await execution.result()
        assert result["pid"] == other.pid
    expected = [("pay-1", 1, stuck.pid), ("pay-1", 1, other.pid)]
    assert done_by(crew, "payments.charge") == expected
    await other.terminate()
    await shop.terminate()
    found = (await journal.read(crew.database, "shop", ["pay-1"]))["pay-1"]
    assert found.told == found.recorded == {"steps/charge": 1}


async def test_the_owner_dies(crew: Crew) -> None:
    """Whoever has joined hears at once that the owner is gone, and can join the next one."""
    shop = await open_shop(crew)
    worker = await hire(crew, "payments", "charge")
    client = Flow("shop", store=crew.store).play()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(client)
        purchase = await client.workflows.load("purchase")
        execution = await purchase.execute(3, id="order-3")
        await eventually(lambda: done_by(crew, "payments.charge"), "the payment")
        async with anyio.create_task_group() as group:
            group.start_soon(wait_in_vain, execution)
            await anyio.lowlevel.checkpoint()
            await shop.kill()
        with anyio.fail_after(DEADLINE_S):
            await client.lost()
        with pytest.raises(BrokerUnavailable):
            await execution.status()
    with pytest.raises(BrokerUnavailable, match=r"\.sock"):
        await stack.enter_async_context(client)
    await worker.says("waits")
    again = await open_shop(crew)
    shipping = await hire(crew, "shipping", "deliver")
    async with client:
        with anyio.fail_after(DEADLINE_S):
            result = await execution.result()
    assert result["request"] == {"receipt": {"pid": worker.pid, "request": 3}}
    assert {pid for _, _, pid in done_by(crew, "payments.charge")} == {worker.pid}
    for child in (worker, shipping, again):
        await child.terminate()
