"""Endings: what is said of an execution once it has ended."""

from typing import Any

from flow import codec
from flow.errors import FlowError
from flow.kernel.tree import Node
from flow.kernel.waiters import WAITER
from flow.names import REQUEST_LIMIT
from flow.ports import Publication
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.views import execution_view, result_view
from flow.runtime.protocol import Answer
from flow.status import Status

__all__ = ["answer_to", "ending_view", "live_view"]


def live_view(live: LiveExecution) -> dict[str, Any]:
    """Return everything about an execution that is in memory, as a document.

    Args:
        live: The execution.
    """
    view = execution_view(live.id, live.tree, live.program.plan, live.waiting, live.progress)
    return {**view, "seq": live.seq}


def ending_view(live: LiveExecution) -> dict[str, Any]:
    """Return how an execution ended: the output of a success, everything about all others.

    Args:
        live: The execution.
    """
    told: dict[str, Any] = {"execution": live.id, "status": live.status.value}
    if live.status is Status.SUCCESS:
        return {**told, "output": result_view(live.tree, live.program.plan)}
    view = live_view(live)
    if len(codec.dumps(view)) > REQUEST_LIMIT:
        view["steps"] = [{**step, "output": None} for step in view["steps"]]
    return {**told, "report": view}


def answer_to(live: LiveExecution, node: Node, message_id: str) -> Publication:
    """Return the answer that a waiter of an execution gets.

    Args:
        live: The execution, which has ended.
        node: The waiter.
        message_id: Fresh for this publication.
    """
    waiter = node.read(WAITER)
    try:
        answer = Answer(ending_view(live))
    except FlowError as error:
        # Whoever waits has to hear of it, whatever it is.
        answer = Answer(error=error)
    envelope = answer.envelope(message_id, waiter.correlation)
    return Publication("", waiter.reply_to, envelope)
