"""Tests of `orchestrator.triggers`: plain messages that start workflows, through the harness."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from flow import Message, StepContext
from flow.runtime.publisher import PublisherSettings
from flow.testing import FlowHarness
from tests.flow.runtime.plain import REPLY_TO, plain_client
from tests.flow.runtime.worlds import echo, single

WAIT = {"flow-wait": "result"}


async def test_a_message_starts_a_workflow() -> None:
    """The key is the workflow, the body the input, and the header says which execution it is."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        asked = await client.trigger("single", b'{"total":5}', {"flow-id": "e-1"})
        await test.settle()
        assert client.answers_to(asked) == [
            ("success", {"execution": "e-1", "status": "RUNNING"}),
        ]
        assert await app.executions.get("e-1").result() == {"total": 5}
        assert client.dead == []


async def test_the_message_id_is_the_execution() -> None:
    """Without the header the message's own id makes the start idempotent."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        for _ in range(3):
            await client.trigger("single", b"7", reply_to="", message_id="order-7")
        await test.settle()
        assert await app.executions.get("order-7").result() == 7
        assert len(test.calls("work.s1")) == 1
        assert client.answers == []


async def test_whoever_waits_gets_the_result_once() -> None:
    """The answer is the result, and a duplicate is answered like the original."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        gate = asyncio.Event()

        async def wait() -> int:
            await gate.wait()
            return 42

        test.stub("work.s1", wait)
        asked = [await client.trigger("single", b"1", {"flow-id": "e-1", **WAIT}) for _ in range(2)]
        await test.settle()
        assert client.answers == []
        gate.set()
        await test.settle()
        late = await client.trigger("single", b"1.0", {"flow-id": "e-1", **WAIT})
        await test.settle()
        told = [("success", {"execution": "e-1", "status": "SUCCESS", "output": 42})]
        assert [client.answers_to(each) for each in [*asked, late]] == [told] * 3
        assert len(test.calls("work.s1")) == 1


async def test_a_failure_is_told_with_its_report() -> None:
    """Whoever waits for a result that never comes gets the report of the execution."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", ValueError("no"))
        asked = await client.trigger("single", b"1", {"flow-id": "e-1", **WAIT})
        await test.settle()
        ((outcome, answer),) = client.answers_to(asked)
        assert (outcome, answer["status"]) == ("success", "FAILURE")
        assert answer["report"]["failure"]["message"] == "no"


async def test_metadata_travels_and_ours_does_not() -> None:
    """User headers and labels come along; what steers messages is stripped."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        seen: list[Mapping[str, str]] = []

        async def look(message: Message, context: StepContext) -> Message:
            seen.append(context.headers)
            return message

        test.stub("work.s1", look)
        headers = {
            "flow-id": "e-1",
            "flow-labels": '{"shop":"a","number":7}',
            "flow-execution": "other",
            "flow-actor": "mary",
            "traceparent": "00-1-2-01",
            "tenant": "t1",
            "x-own": "stripped",
        }
        await client.trigger("single", b"1", headers)
        await test.settle()
        assert seen == [{"traceparent": "00-1-2-01", "tenant": "t1"}]
        report = await app.executions.get("e-1").describe()
        assert report["labels"] == {"shop": "a", "number": "7"}
        (first, *_) = await app.executions.get("e-1").history()
        assert first.actor == "mary"


@pytest.mark.parametrize(
    ("headers", "reply_to", "reason"),
    [
        ({}, REPLY_TO, "''"),
        ({"flow-id": "a b"}, REPLY_TO, "'a b'"),
        ({"flow-id": "x" * 201}, REPLY_TO, "at most 200"),
        ({"flow-id": "e-1"}, "world.mailbox.3", "is not a queue for answers"),
        ({"flow-id": "e-1"}, "world.steps.work", "is not a queue for answers"),
        ({"flow-id": "e-1"}, "amq.gen", "is not a queue for answers"),
    ],
)
async def test_what_nobody_can_use_is_buried(
    headers: Mapping[str, str], reply_to: str, reason: str
) -> None:
    """Without an execution's id, or with a wrong queue for the answer, it goes to the dead."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        await client.trigger("single", b"1", headers, reply_to)
        await test.settle()
        (letter,) = client.dead
        assert reason in letter.envelope.headers["flow-reason"]
        assert letter.envelope.body == b"1"
        assert letter.routing_key == "single"
        assert (client.answers, await app.executions.list()) == ([], [])


@pytest.mark.parametrize(
    ("workflow", "body", "headers", "error"),
    [
        ("nobody", b"1", {}, "UnknownWorkflow"),
        ("a b", b"1", {}, "InvalidName"),
        ("single", b"{", {}, "InvalidInput"),
        ("single", b"", {}, "InvalidInput"),
        ("single", b"NaN", {}, "InvalidInput"),
        ("single", b"[" * 65 + b"]" * 65, {}, "InvalidInput"),
        ("single", b'"%s"' % (b"x" * 262_144), {}, "TooLarge"),
        ("single", b"1", {"flow-wait": "for-ever"}, "InvalidInput"),
        ("single", b"1", {"flow-labels": "[1]"}, "InvalidInput"),
        ("single", b"1", {"flow-labels": '"' + "x" * 20_000 + '"'}, "TooLarge"),
        ("single", b"1", {"big": "x" * 20_000}, "TooLarge"),
    ],
)
@pytest.mark.parametrize("reply_to", [REPLY_TO, ""])
async def test_what_cannot_be_is_answered(
    workflow: str, body: bytes, headers: Mapping[str, str], error: str, reply_to: str
) -> None:
    """Whoever wants an answer gets the error; if nobody does, it goes to the dead."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        asked = await client.trigger(workflow, body, {"flow-id": "e-1", **headers}, reply_to)
        await test.settle()
        told = [(outcome, answer["type"]) for outcome, answer in client.answers_to(asked)]
        dead = [letter.envelope.headers["flow-error"] for letter in client.dead]
        assert (told, dead) == (([("failure", error)], []) if reply_to else ([], [error]))
        assert await app.executions.list() == []


async def test_another_start_of_the_same_id_is_refused() -> None:
    """Whoever uses an id for something else is told so, whatever it waits for."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        await client.trigger("single", b"1", {"flow-id": "e-1"})
        await test.settle()
        asked = await client.trigger("single", b"2", {"flow-id": "e-1", **WAIT})
        await test.settle()
        ((outcome, answer),) = client.answers_to(asked)
        assert (outcome, answer["type"]) == ("failure", "ExecutionConflict")
        assert await app.executions.get("e-1").result() == 1


async def test_a_trigger_is_kept_until_the_start_is_confirmed() -> None:
    """A trigger that cannot be passed on comes again, and nothing is lost."""
    app, _ = single()
    async with FlowHarness(app) as test, plain_client(test) as client:
        test.stub("work.s1", echo)
        assert app.host is not None
        assert app.host.engine is not None
        publisher = app.host.engine.publisher
        settings, publisher._settings = publisher._settings, PublisherSettings(items_max=0)
        await client.trigger("single", b"5", {"flow-id": "e-1"})
        await test.settle()
        assert client.answers == []
        publisher._settings = settings
        await test.advance(2)
        assert await app.executions.get("e-1").result() == 5
