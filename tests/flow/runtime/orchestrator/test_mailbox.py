"""Tests of `orchestrator.mailbox`: what workers say, through the harness."""

from __future__ import annotations

from typing import Any

import pytest

from flow import ExecutionFailed, Flow
from flow.ports import Delivery, Envelope, Publication
from flow.runtime.orchestrator.engine import Engine
from flow.testing import FlowHarness
from tests.flow.runtime.worlds import chain, single, stub_chain


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


async def tell(app: Flow, envelope: Envelope, key: str = "0") -> None:
    """Put a message into a mailbox."""
    engine = engine_of(app)
    await engine.publisher.publish(Publication(engine.addresses.mailbox, key, envelope))


@pytest.mark.parametrize(
    "envelope",
    [
        Envelope("step.reply", b"1", correlation_id="garbage"),
        Envelope("step.reply", b"1"),
        Envelope("step.reply", b"1", correlation_id="e/x/y/z"),
        Envelope("something.else", b"\xff\xfe"),
        Envelope("step.heartbeat", b"1", correlation_id="///"),
        Envelope("step.reply", b"{", correlation_id="e-1/1/1/1", headers={"flow-outcome": "x"}),
    ],
)
async def test_what_is_not_understood_stops_nothing(envelope: Envelope) -> None:
    """A message that makes no sense is dropped or dead-lettered, and all others go on."""
    app, workflow = chain()
    async with FlowHarness(app) as test:
        stub_chain(test)
        await tell(app, envelope)
        assert await workflow.run() == 3


async def test_what_is_not_understood_is_kept_for_people() -> None:
    """An undecodable message ends in the queue of the dead, with the reason."""
    app, _workflow = single()
    dead: list[Delivery] = []
    async with FlowHarness(app) as test:
        await tell(app, Envelope("step.reply", b"1", correlation_id="garbage"))
        await test.settle()
        assert app.host is not None
        queue = app.host.addresses.dead
        await app.host._ports.broker.consume(queue, 10, dead.append)
        await test.settle()
        assert [each.envelope.correlation_id for each in dead] == ["garbage"]
        assert engine_of(app).counters["CorruptRecord"] == 1


@pytest.mark.parametrize("body", [b"broken", b'[["bundle","m","","",{},"",6]]\nbroken'])
async def test_a_broken_bundle_is_kept_for_people(body: bytes) -> None:
    """A bundle that is none, or that has another one in it, ends in the queue of the dead."""
    app, _workflow = single()
    dead: list[Delivery] = []
    async with FlowHarness(app) as test:
        await tell(app, Envelope("bundle", body, message_id="m"))
        await test.settle()
        assert app.host is not None
        await app.host._ports.broker.consume(app.host.addresses.dead, 10, dead.append)
        await test.settle()
        assert [each.envelope.body for each in dead] == [b"broken"]
        assert "the bundle cannot be decoded" in dead[0].envelope.headers["flow-reason"]


async def test_a_plain_worker_needs_no_headers() -> None:
    """A reply without type and outcome, as a simple worker sends it, is a success."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        requests: list[Delivery] = []
        assert app.host is not None
        broker: Any = app.host._ports.broker
        addresses = app.host.addresses
        await broker.declare(addresses.worker("plain", ("work.s1",)))
        await broker.consume(addresses.service_queue("work"), 10, requests.append)
        execution = await workflow.execute({"n": 1})
        await test.settle()
        (request,) = requests
        envelope = request.envelope
        assert envelope.body == b'{"n":1}'
        answer = Envelope("", b'"plain"', correlation_id=envelope.correlation_id)
        await broker.publish([Publication("", envelope.reply_to, answer)])
        request.ack()
        assert await execution.result() == "plain"


async def test_a_result_that_is_no_json_fails_the_step() -> None:
    """A success whose body is not JSON is a failure that no other attempt can mend."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        requests: list[Delivery] = []
        assert app.host is not None
        broker: Any = app.host._ports.broker
        addresses = app.host.addresses
        await broker.declare(addresses.worker("plain", ("work.s1",)))
        await broker.consume(addresses.service_queue("work"), 10, requests.append)
        execution = await workflow.execute(max_attempts={"s1": 5})
        await test.settle()
        envelope = requests[0].envelope
        answer = Envelope("step.reply", b"{", correlation_id=envelope.correlation_id)
        await broker.publish([Publication("", envelope.reply_to, answer)])
        with pytest.raises(ExecutionFailed, match="the step's result"):
            await execution.result()


async def test_a_refused_attempt_is_sent_again() -> None:
    """A worker that does not know the endpoint spends no attempt; another one gets it."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        refused: list[Delivery] = []
        assert app.host is not None
        broker: Any = app.host._ports.broker
        addresses = app.host.addresses
        await broker.declare(addresses.worker("old", ("work.s1",)))

        def refuse(delivery: Delivery) -> None:
            refused.append(delivery)
            delivery.ack()

        await broker.consume(addresses.service_queue("work"), 10, refuse)
        execution = await workflow.execute()
        await test.settle()
        envelope = refused[0].envelope
        refusal = Envelope("step.refused", b"{}", correlation_id=envelope.correlation_id)
        await broker.publish([Publication("", envelope.reply_to, refusal)])
        await test.settle()
        (step,) = (await execution.describe())["steps"]
        assert step["waiting_for"] == "work.s1"
        await test.advance(1)
        assert len(refused) == 2
        assert refused[1].envelope.correlation_id == envelope.correlation_id
        assert engine_of(app).counters["refused"] == 1
