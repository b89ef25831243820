"""Tests of `orchestrator.publications`: the messages that commands become."""

from __future__ import annotations

from typing import Any

from flow import Flow, Step
from flow.runtime.protocol import StepRequest
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import single


async def requests_of(app: Flow, test: FlowHarness, queue: str) -> list[StepRequest]:
    """Return the requests that wait in a queue."""
    found: list[StepRequest] = []

    def receive(delivery: Any) -> None:
        found.append(StepRequest.read(delivery.envelope, delivery.routing_key))

    await test._broker.consume(queue, 100, receive)
    await test.settle()
    assert app.host is not None
    return found


async def test_a_request_says_what_its_worker_has_to_know() -> None:
    """Time, heartbeat, permit and metadata travel in the request's headers."""
    app, workflow = single(at_most_once=True, heartbeat=2, timeout=5, start_within=60)
    async with FlowHarness(app) as test:
        assert app.host is not None
        addresses = app.host.addresses
        await test._broker.declare(addresses.worker("plain", ("work.s1",)))
        await workflow.execute({"n": 1}, id="e-1", headers={"traceparent": "00-1"})
        await test.settle()
        (request,) = await requests_of(app, test, addresses.service_queue("work"))
        assert (request.timeout_ms, request.heartbeat_ms, request.tell_start) == (
            5_000,
            2_000,
            True,
        )
        assert (request.at_most_once, request.body) == (True, b'{"n":1}')
        assert request.headers == {"traceparent": "00-1"}
        assert request.idempotency_key == "e-1:steps/s1"


async def test_a_short_step_has_no_heartbeat() -> None:
    """What nobody asked for does not travel."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        assert app.host is not None
        addresses = app.host.addresses
        await test._broker.declare(addresses.worker("plain", ("work.s1",)))
        await workflow.execute(id="e-1")
        await test.settle()
        (request,) = await requests_of(app, test, addresses.service_queue("work"))
        assert (request.heartbeat_ms, request.at_most_once, request.tell_start) == (
            None,
            False,
            False,
        )


async def test_a_topic_message_carries_its_key() -> None:
    """What is published names its execution and its step, and has the key of all its copies."""
    app = Flow("world", broker="memory://", store="memory://")
    workflow = app.workflow("w", Step.publish("orders.paid"))
    async with FlowHarness(app) as test:
        await workflow.run({"n": 1}, id="e-1", headers={"tenant": "t1"})
        (message,) = test.published("orders.paid")
        assert message.body == b'{"n":1}'
        assert dict(message.headers) == {
            "tenant": "t1",
            "flow-execution": "e-1",
            "flow-path": "steps/orders.paid",
            "flow-key": "e-1:steps/orders.paid",
        }
