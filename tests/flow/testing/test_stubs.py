"""Tests of `flow.testing.stubs`: what answers in place of an endpoint."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pytest

from flow import Fail, Message, StepContext, UndoContext
from flow.errors import BindingError, InvalidInput, InvalidName, TooLarge
from flow.handler import bind, bind_prepare
from flow.testing import NEVER, Call, VirtualClock
from flow.testing.stubs import Hook, Spy, Stub


@dataclass
class Order:
    """What is bought."""

    total: int


CONTEXT = StepContext(
    endpoint="a.b",
    execution_id="e-1",
    attempt=2,
    idempotency_key="e-1:steps/b",
    headers={"h": "1"},
)


async def call(handler: Any, body: bytes = b"null") -> tuple[bytes, Any]:
    """Call a handler as a worker does."""
    args, kwargs = handler.arguments(body, CONTEXT.headers, CONTEXT)
    result = handler.function(*args, **kwargs)
    encoded: tuple[bytes, Any] = handler.encode(await result if handler.is_async else result)
    return encoded


def stub(*answers: Any) -> Stub:
    """Return a stub."""
    return Stub("a.b", answers, VirtualClock())


async def test_values_are_returned() -> None:
    """A value is written as pydantic writes it, and a Message goes as it is."""
    assert await call(stub({"a": 1})) == (b'{"a":1}', {})
    assert await call(stub(Order(5))) == (b'{"total":5}', {})
    assert await call(stub(Message.of(1, {"x": "y"}))) == (b"1", {"x": "y"})


async def test_errors_are_raised() -> None:
    """An exception or its class is raised, as often as it is its turn."""
    error = Fail("never")
    failing = stub(error)
    for _ in range(2):
        with pytest.raises(Fail) as caught:
            await call(failing)
        assert caught.value is error
    with pytest.raises(ConnectionError):
        await call(stub(ConnectionError))


async def test_answers_take_turns() -> None:
    """Answers are given one after the other, and the last one for ever."""
    turns = stub(1, 2)
    assert [(await call(turns))[0] for _ in range(4)] == [b"1", b"2", b"2", b"2"]


async def test_functions_are_called_like_handlers() -> None:
    """A function gets what its parameters are annotated with, and may be asynchronous."""

    def plain(order: Order) -> int:
        return order.total

    async def waiting(body: Any, context: StepContext) -> str:
        return f"{body} {context.attempt}"

    assert await call(stub(plain), b'{"total":7}') == (b"7", {})
    assert await call(stub(waiting), b"3") == (b'"3 2"', {})
    assert await call(stub(lambda: 5)) == (b"5", {})
    with pytest.raises(InvalidInput, match="total"):
        await call(stub(plain), b'{"total":"x"}')

    def greedy(*everything: object) -> None: ...

    with pytest.raises(BindingError):
        stub(greedy)


async def test_what_is_wrong_with_an_answer_is_told() -> None:
    """An answer that cannot travel is refused, as a handler's would be."""
    with pytest.raises(TooLarge, match="the stub's result"):
        await call(stub("x" * 300_000))
    with pytest.raises(InvalidName):
        await call(stub(Message.of(1, {"flow-x": "y"})))
    assert repr(NEVER) == "NEVER"


async def test_calls_are_noted() -> None:
    """A spy notes every call that reaches what answers, and leaves its answer as it is."""
    calls: list[Call] = []

    def work(order: Order) -> int:
        return order.total

    spy = Spy("a.b", bind(work).handler, calls.append, nullcontext)
    assert not spy.is_async
    assert await call(spy, b'{"total":7}') == (b"7", {})
    with pytest.raises(InvalidInput):
        await call(spy, b'{"total":"x"}')
    assert calls == [
        Call(
            endpoint="a.b",
            input={"total": 7},
            attempt=2,
            execution="e-1",
            headers={"h": "1"},
            idempotency_key="e-1:steps/b",
        )
    ]
    spy.stub = stub("instead")
    assert spy.is_async
    assert await call(spy) == (b'"instead"', {})
    assert len(calls) == 2


async def test_a_hook_rests_while_a_stub_answers() -> None:
    """What answers in place of an endpoint answers in place of its prepare hook too."""
    seen = list[int]()

    async def look(order: Order, context: StepContext) -> None:
        seen.append(order.total)
        del context

    async def charge(order: Order) -> int:
        return order.total

    run = bind(charge)
    spy = Spy("a.b", run.handler, lambda _call: None, nullcontext)
    hook = Hook(bind_prepare(look, run), spy)
    assert (hook.is_async, hook.wants_context) == (True, True)
    assert await call(hook, b'{"total":5}') == (b"null", {})
    assert seen == [5]
    spy.stub = stub(7)
    assert hook.is_async is False
    assert await call(hook, b'{"total":6}') == (b"null", {})
    assert seen == [5]


async def test_a_stub_of_an_undo_gets_the_run() -> None:
    """A function in place of an undo may want what an undo wants."""

    def undo(order: Order, context: UndoContext[int]) -> list[Any]:
        return [order.total, context.output]

    context: UndoContext[int] = UndoContext(endpoint="a.b")
    body = b'{"input":{"total":5},"status":"SUCCESS","output":6}'
    handler = stub(undo)
    args, kwargs = handler.arguments(body, {}, context)
    assert handler.encode(await handler.function(*args, **kwargs)) == (b"[5,6]", {})
