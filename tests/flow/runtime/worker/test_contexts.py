"""Tests of `worker.contexts`; heartbeats are tested with the attempts that they are of."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from flow.bags import Bags
from flow.context import StepContext, UndoContext
from flow.errors import InvalidInput
from flow.kept import Kept
from flow.runtime.protocol import Outcome, StepReply, StepRequest
from flow.runtime.service import Endpoint
from flow.runtime.worker.contexts import StepLogger, Surroundings
from tests.flow.runtime.clocks import ManualClock, settle
from tests.flow.runtime.worker_bench import FakeHandler, request

DONE = StepReply(Outcome.SUCCESS, b"1")


def endpoint(*, is_undo: bool = False) -> Endpoint:
    """Return an endpoint."""
    return Endpoint("pay.charge", FakeHandler(print), is_undo=is_undo)


def around(asked: StepRequest | None = None) -> Surroundings:
    """Return the surroundings of a handler for a request."""
    return Surroundings(asked or request(), ManualClock(), lambda _request, _body: None)


def test_log_lines_are_prefixed(caplog: pytest.LogCaptureFixture) -> None:
    """The prefix needs no escaping, and structured logs get fields."""
    caplog.set_level(logging.INFO, "flow.step")
    StepLogger(request(path="states/a%20b")).info("%d of %s", 1, "x", extra={"mine": 1})
    StepLogger(request(execution="", path="")).info("100%")
    assert caplog.messages == ["order-1 states/a~20b #1: 1 of x", "pay.charge #1: 100%"]
    record: Any = caplog.records[0]
    assert (record.execution, record.step, record.attempt, record.mine) == (
        "order-1",
        "states/a%20b",
        1,
        1,
    )


async def test_an_undo_has_a_context_of_its_own() -> None:
    """The handler of an undo gets an UndoContext, and every other one a plain context."""
    assert type(around().make_context(endpoint(), None)) is StepContext
    undoing = around(request(path="steps/charge/undo")).make_context(endpoint(is_undo=True), None)
    assert isinstance(undoing, UndoContext)
    assert undoing.idempotency_key == "order-1:steps/charge/undo"


async def test_state_comes_with_the_request() -> None:
    """A handler sees what earlier attempts have kept and what others have shared."""
    asked = request(state='{"tries":9007199254740993}', shared='{"room":null}')
    context = around(asked).make_context(endpoint(), None)
    assert (context.state["tries"], context.shared["room"]) == (2**53 + 1, None)
    with pytest.raises(InvalidInput, match="the state: it is no JSON object"):
        around(request(state="[1]")).make_context(endpoint(), None)


async def test_an_undo_reads_and_does_not_write() -> None:
    """In an undo both bags can be read, and writing raises; metadata can be attached."""
    asked = request(state='{"a":1}', shared='{"b":2}')
    context = around(asked).make_context(endpoint(is_undo=True), None)
    assert (context.state["a"], context.shared["b"]) == (1, 2)
    for bag in (context.state, context.shared):
        with pytest.raises(InvalidInput, match="an undo can only read it"):
            bag["a"] = 2
    context.attach("note", "undone")
    assert context.bags.kept(with_shared=True) == Kept(metadata={"note": b'"undone"'})


async def test_what_was_kept_goes_with_the_reply() -> None:
    """A reply carries what the handler has written; that of a failure nothing that it shared."""
    surroundings = around()
    assert surroundings.keeping(DONE) == DONE
    context = surroundings.make_context(endpoint(), None)
    assert surroundings.keeping(DONE) == DONE
    context.state["a"] = 1
    context.shared["b"] = 2
    context.attach("c", b"\x00")
    kept = Kept({"a": b"1"}, {"b": b"2"}, {"c": b'{"$bytes":"AA=="}'})
    assert surroundings.keeping(DONE).kept == kept
    failed = StepReply(Outcome.FAILURE)
    assert surroundings.keeping(failed).kept == kept._replace(shared={})
    skipped = StepReply(Outcome.SKIP)
    assert surroundings.keeping(skipped).kept == kept


async def test_a_thread_reaches_the_loop() -> None:
    """What a thread wants to be called is called on the event loop; in its own thread at once."""
    loop, found = asyncio.get_running_loop(), list[bool]()
    surroundings = around()
    surroundings.on_loop(lambda: found.append(True))
    assert found == [True]

    def is_on_loop() -> None:
        found.append(asyncio.get_running_loop() is loop)

    await asyncio.to_thread(surroundings.on_loop, is_on_loop)
    await settle()
    assert found == [True, True]


def test_a_thread_that_outlives_the_loop_is_not_told() -> None:
    """Once the event loop is closed nothing is called, and nothing is raised."""
    made = list[Surroundings]()

    async def make() -> None:
        made.append(around())

    asyncio.run(make())
    made[0]._thread = -1
    made[0].on_loop(lambda: pytest.fail("it was called"))


async def test_the_handler_can_be_told() -> None:
    """A context knows when its result is not wanted; without a context there is nobody to tell."""
    surroundings = around()
    surroundings.cancel()
    context = surroundings.make_context(endpoint(), None)
    assert not context.cancelled
    surroundings.cancel()
    assert context.cancelled
    assert context.bags is not Bags()
