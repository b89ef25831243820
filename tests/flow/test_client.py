"""Tests of `flow.client`: asking, waiting and calling, through the harness."""

from __future__ import annotations

import asyncio

import pytest

from flow import CallFailed, Fail, Flow, Message, Skip, StepContext
from flow.client import Client
from flow.errors import (
    BrokerUnavailable,
    DeadlineExceeded,
    InvalidInput,
    UnknownEndpoint,
    UnknownExecution,
)
from flow.ports import Publication, Settlement
from flow.testing import NEVER, FlowHarness
from tests.flow.runtime.worlds import single


async def test_a_call_is_answered() -> None:
    """An endpoint can be called without a workflow, with headers and a typed result."""
    app = Flow("world", broker="memory://", store="memory://")

    @app.service("math").endpoint
    async def double(number: int, context: StepContext) -> int:
        assert (context.execution_id, context.attempt) == ("", 1)
        return number * 2 + int(context.headers.get("plus", "0"))

    async with FlowHarness(app) as test:
        assert await app.call("math.double", 4, returns=int) == 8
        assert await app.call("math.double", 4, headers={"plus": "1"}) == 9
        assert [call.input for call in test.calls("math.double")] == [4, 4]
        test.stub("math.other", Message.of([1, 2]))
        assert await app.call("math.other", returns=list[int]) == [1, 2]
        with pytest.raises(InvalidInput, match=r"the result of math\.other"):
            await app.call("math.other", returns=int)


async def test_a_call_may_fail() -> None:
    """What the handler raised is told, and is not tried again."""
    app = Flow("world", broker="memory://", store="memory://")
    async with FlowHarness(app) as test:
        test.stub("math.double", ValueError("not a number"))
        with pytest.raises(CallFailed, match="ValueError: not a number") as caught:
            await app.call("math.double", 4)
        assert (caught.value.endpoint, caught.value.type) == ("math.double", "builtins.ValueError")
        test.stub("math.double", Fail("never"))
        with pytest.raises(CallFailed, match="never"):
            await app.call("math.double", 4)
        assert len(test.calls("math.double")) == 2
        test.stub("math.double", Skip("nothing to do"))
        assert await app.call("math.double", 4) is None


async def test_a_call_to_nobody_is_refused() -> None:
    """An endpoint that nobody serves is refused at once."""
    app = Flow("world", broker="memory://", store="memory://")
    async with FlowHarness(app) as test:
        with pytest.raises(UnknownEndpoint, match=r"'math\.double'"):
            await app.call("math.double", 4)
        assert test.clock.monotonic() == 0


async def test_a_call_takes_its_time() -> None:
    """A call that is not answered in time says so."""
    app = Flow("world", broker="memory://", store="memory://")
    async with FlowHarness(app) as test:
        test.stub("math.double", NEVER)
        with pytest.raises((DeadlineExceeded, CallFailed), match=r"no answer within 7 s"):
            await app.call("math.double", 4, timeout=7)
        assert test.clock.monotonic() == 7


async def test_a_handler_of_the_wrong_type_names_the_field() -> None:
    """An input that the handler's type does not take names the field, and is not retried."""
    app = Flow("world", broker="memory://", store="memory://")

    @app.service("math").endpoint
    def add(left: int, right: int) -> int:
        return left + right

    async with FlowHarness(app) as test:
        with pytest.raises(CallFailed, match="right"):
            await app.call("math.add", {"left": 1, "right": "x"})
        assert test.calls("math.add") == []
        assert await app.call("math.add", {"left": 1, "right": 2}) == 3


def make_client(app: Flow) -> Client:
    """Return another client of a flow that runs."""
    assert app.host is not None
    host = app.host
    running = app.client
    return Client(running._broker, host.publisher, host.addresses, running.clock, running.chance)


async def test_a_request_is_sent_again() -> None:
    """A request whose answer does not come is asked again, with the same id."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", 1)
        await workflow.run(id="e-1")
        client = make_client(app)
        sent: list[Publication] = []
        send = client._publisher.send

        def lossy(publication: Publication) -> object:
            sent.append(publication)
            if len(sent) <= 2:
                future = asyncio.get_running_loop().create_future()
                future.set_result(Settlement.CONFIRMED)
                return future
            return send(publication)

        client._publisher.send = lossy  # type: ignore[method-assign,assignment]
        try:
            await client.open()
            client._partitions = 8
            answer = await client.ask("show", {}, "e-1")
            assert answer["status"] == "SUCCESS"
            assert len({each.envelope.correlation_id for each in sent}) == 1
            assert len({each.envelope.message_id for each in sent}) == 3
            assert 7.5 <= test.clock.monotonic() <= 15
            await client.close()
        finally:
            client._publisher.send = send  # type: ignore[method-assign]


async def test_nobody_to_ask_is_found_out() -> None:
    """When no orchestrator is there, a request fails after its deadline, with a hint."""
    app = Flow("world", broker="memory://", store="memory://").play("worker")
    async with FlowHarness(app) as test:
        with pytest.raises(DeadlineExceeded, match="is an orchestrator running"):
            await app.executions.list()
        assert test.clock.monotonic() == pytest.approx(30, abs=0.2)


async def test_whoever_waits_is_told_when_the_client_closes() -> None:
    """Closing a client fails the requests that are open, and no others."""
    app, workflow = single()
    async with FlowHarness(app) as test:
        test.stub("work.s1", NEVER)
        client = make_client(app)
        await client.open()
        execution = await workflow.execute(id="e-1")
        waiting = asyncio.gather(client.ask("result", {}, "e-1", None), return_exceptions=True)
        await test.settle()
        await client.close()
        (error,) = await waiting
        assert isinstance(error, BrokerUnavailable)
        assert await execution.abort() is not None
        with pytest.raises(UnknownExecution):
            await app.client.ask("show", {}, "nobody")
