"""The context: what a handler knows, and how it tells of its progress."""

import logging

from flow.context import StepContext


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
