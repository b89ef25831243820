"""Tests of `handler.undoing`: what an undo gets of the run that it takes back."""

from __future__ import annotations

from typing import Any

import pytest

from flow import codec
from flow.context import StepContext, UndoContext
from flow.failure import Failure
from flow.handler import UndoHandler, bind, bind_undo
from flow.message import Message
from flow.names import REQUEST_LIMIT
from flow.status import Status
from tests.flow.handler.samples import Order, Receipt, complaint


async def charge(order: Order) -> Receipt:
    """Run."""
    return Receipt(order.total)


async def refund(order: Order, undo: UndoContext[Receipt]) -> None:
    """Undo."""


RUN = bind(charge, requires=())
TOLD: dict[str, Any] = {
    "input": {"total": 5},
    "status": "SUCCESS",
    "output": {"amount": 5.0},
    "failure": None,
    "run_key": "order-1:steps/charge",
    "attempts": 2,
}


def told(handler: UndoHandler, **run: Any) -> UndoContext[Any]:
    """Return the context that a handler gets."""
    context: UndoContext[Any] = UndoContext(endpoint="shop.refund")
    handler.arguments(codec.dumps({**TOLD, **run}), {}, context)
    return context


def test_an_undo_gets_the_input_and_the_run() -> None:
    """The input is read as the run's parameter is, and the rest is in the context."""
    handler = bind_undo(refund, RUN)
    context: UndoContext[Receipt] = UndoContext(endpoint="shop.refund")
    args, kwargs = handler.arguments(codec.dumps(TOLD), {}, context)
    assert (args, kwargs) == ((), {"order": Order(total=5), "undo": context})
    assert (context.output, context.error, context.status) == (Receipt(5.0), None, Status.SUCCESS)
    assert (context.run_key, context.run_attempts) == ("order-1:steps/charge", 2)
    assert (handler.is_async, handler.wants_context, handler.function) == (True, True, refund)
    assert handler.encode(None) == (b"null", {})


def test_a_run_that_failed_has_an_error_and_no_output() -> None:
    """The run may have had an effect: its error says how it ended."""
    failure = {"type": "builtins.ValueError", "message": "no", "phase": "run"}
    context = told(bind_undo(refund, RUN), status="FAILURE", output=None, failure=failure)
    assert (context.status, context.output) == (Status.FAILURE, None)
    assert context.error == Failure("builtins.ValueError", "no")


def test_a_run_that_was_aborted_may_have_an_output() -> None:
    """What was heard of it later counts."""
    handler = bind_undo(refund, RUN)
    assert told(handler, status="ABORTED", output=None).output is None
    assert told(handler, status="ABORTED").output == Receipt(5.0)
    assert told(handler, status="SKIPPED", output=None).status is Status.SKIPPED


def test_the_output_is_what_the_annotation_says() -> None:
    """An annotation of its own wins; without one it is what the run returns, or what JSON says."""

    def plain(undo: Any) -> None: ...

    def other(undo: UndoContext[dict[str, float]] | None) -> None: ...

    def untyped(order: Order) -> Any: ...

    def raw(order: Order) -> Message:
        return Message()

    # Without the type of the output, as most people will write it.
    plain.__annotations__["undo"] = UndoContext
    assert told(bind_undo(plain, RUN)).output == Receipt(5.0)
    assert told(bind_undo(other, RUN)).output == {"amount": 5.0}
    assert told(bind_undo(plain, bind(untyped))).output == {"amount": 5.0}
    assert told(bind_undo(plain, bind(raw))).output == Message(body=b'{"amount":5.0}')


def test_large_integers_survive() -> None:
    """Neither the input nor the output loses a digit on the way."""

    def run(number: int) -> int:
        return number

    def undo(number: int, undo: UndoContext[int]) -> None: ...

    context: UndoContext[int] = UndoContext(endpoint="shop.undo")
    body = codec.dumps({**TOLD, "input": 2**53 + 1, "output": 2**63 + 1})
    _, kwargs = bind_undo(undo, bind(run)).arguments(body, {}, context)
    assert (kwargs["number"], context.output) == (2**53 + 1, 2**63 + 1)


def test_an_undo_may_want_nothing() -> None:
    """Neither the input nor the context is needed; a plain context is given to who wants that."""

    def nothing() -> None: ...

    def plain(context: StepContext, message: Message) -> None: ...

    run = bind(charge)
    assert bind_undo(nothing, run).arguments(codec.dumps(TOLD), {}, None) == ((), {})
    context = StepContext(endpoint="a.b")
    _, kwargs = bind_undo(plain, run).arguments(codec.dumps(TOLD), {"tenant": "a"}, context)
    assert kwargs == {"context": context, "message": Message({"tenant": "a"}, b'{"total":5}')}


@pytest.mark.parametrize("document", [[], {}, 7, {"output": 1}])
def test_what_tells_of_no_run_is_refused(document: object) -> None:
    """A body without the run's input is no request for an undo."""
    handler = bind_undo(refund, RUN)
    said = complaint(lambda: handler.arguments(codec.dumps(document), {}, None))
    assert said == (
        "InvalidInput: the run that refund() is to undo: it is no object with the run's input"
    )


def test_what_cannot_be_read_is_named() -> None:
    """The error says whether it is the input, the output or the status that is wrong."""
    handler = bind_undo(refund, RUN)
    assert "the input of refund()" in complaint(lambda: told(handler, input={"total": "x"}))
    assert complaint(lambda: told(handler, output=7)).startswith(
        "InvalidInput: the run that refund() is to undo: its output is expected to be Receipt, but"
    )
    assert "its status is 'GONE'" in complaint(lambda: told(handler, status="GONE"))
    assert "its status is None" in complaint(lambda: told(handler, status=None))
    large = b'"' + b"x" * REQUEST_LIMIT + b'"'
    assert complaint(lambda: handler.arguments(large, {}, None)).startswith("TooLarge")
