"""The context: what a handler knows, and how it tells of its progress."""

import logging

import pytest

from flow.bags import Bags
from flow.context import StepContext, UndoContext
from flow.errors import InvalidInput, TooLarge
from flow.kept import Kept
from flow.status import Status


def test_a_plain_call_has_no_execution() -> None:
    """Only the endpoint is known in a plain call, and it is the first attempt."""
    context = StepContext(endpoint="payments.charge")
    assert (context.execution_id, context.step_id, context.idempotency_key) == ("", "", "")
    assert (context.attempt, context.cancelled, context.headers) == (1, False, {})
    assert isinstance(context.logger, logging.Logger)
    assert context.logger.name == "flow.step"


def test_progress_is_passed_on() -> None:
    """A heartbeat hands its progress to whoever listens, without waiting."""
    heard: list[object] = []
    context = StepContext(endpoint="payments.charge", beat=heard.append)
    context.heartbeat()
    context.heartbeat({"done": 10, "of": 20})
    assert heard == [None, {"done": 10, "of": 20}]


def test_progress_may_go_unheard() -> None:
    """In a plain call nobody listens, and a heartbeat does nothing."""
    context = StepContext(endpoint="payments.charge")
    context.heartbeat(0.5)
    assert "beat" not in repr(context)


def test_contexts_are_told_apart() -> None:
    """Two contexts are equal only if they are the same, for their loggers and listeners differ."""
    assert StepContext(endpoint="a.b") != StepContext(endpoint="a.b")


def test_a_handler_keeps_and_attaches() -> None:
    """What is written to the context is left behind with the reply, each in its place."""
    context = StepContext(endpoint="payments.charge")
    context.state["tries"] = context.state.get("tries", 0) + 1
    context.shared["room"] = None
    context.attach("slip", b"\x00")
    context.attach("slip", {"page": 1})
    kept = context.bags.kept(with_shared=True)
    assert kept == Kept({"tries": b"1"}, {"room": b"null"}, {"slip": b'{"page":1}'})
    with pytest.raises(TooLarge, match="the metadata 'all'"):
        context.attach("all", "x" * 20_000)


def test_an_undo_knows_its_run() -> None:
    """An undo has what there is to take back, and a key of its own."""
    context: UndoContext[int] = UndoContext(
        endpoint="payments.refund", idempotency_key="e:steps/pay/undo", bags=Bags(is_undo=True)
    )
    assert isinstance(context, StepContext)
    assert (context.output, context.error, context.status) == (None, None, Status.SUCCESS)
    assert (context.run_key, context.run_attempts) == ("", 0)
    with pytest.raises(InvalidInput, match="the state 'a': an undo can only read it"):
        context.state["a"] = 1
