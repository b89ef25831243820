"""Triggers: plain messages that start workflows.

A trigger needs nothing of ours: its routing key is the workflow, its body the input, and the
execution's id is in the header `flow-id`, or else it is the message's id. It is turned into a
start request, which goes to the start queue of the execution's partition like any other; the
trigger is acknowledged once the broker has that.
"""

from typing import Any, Final, cast

from flow import codec
from flow.errors import FlowError, InvalidInput, TooLarge
from flow.message import check_headers, user_headers
from flow.names import HEADERS_LIMIT, check_name
from flow.ports import Delivery, Envelope, Publication
from flow.runtime import protocol
from flow.runtime.addresses import partition_of
from flow.runtime.orchestrator.answering import Answering
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.protocol import Request

__all__ = ["Triggers"]

WAITS: Final = ("accepted", "result")
ACTOR: Final = "trigger"


class Triggers:
    """Turns triggers into starts.

    Args:
        engine: The orchestrator's state.
        answering: Answers those that cannot be.
    """

    def __init__(self, engine: Engine, answering: Answering) -> None:
        """Share the orchestrator's state."""
        self._engine = engine
        self._answering = answering

    def take(self, delivery: Delivery) -> None:
        """Turn a trigger into a start, and settle it.

        One that does not say which execution it is about, or where its answer may go, is buried.
        One that asks for what cannot be done is answered.

        Args:
            delivery: The message.
        """
        engine, envelope = self._engine, delivery.envelope
        try:
            execution = _execution_of(envelope)
            self._answering.check(envelope.reply_to)
        except FlowError as error:
            engine.counters["buried triggers"] += 1
            self._answering.bury(delivery, error)
            return
        try:
            request = _request_of(execution, delivery)
        except FlowError as error:
            engine.counters["refused triggers"] += 1
            self._answering.refuse(delivery, error)
            return
        key = str(partition_of(execution, engine.partitions))
        start = request.envelope(engine.chance.new_id())
        self._answering.pass_on(delivery, Publication(engine.addresses.start, key, start))


def _execution_of(envelope: Envelope) -> str:
    return check_name("execution", envelope.headers.get(protocol.ID_HEADER) or envelope.message_id)


def _request_of(execution: str, delivery: Delivery) -> Request:
    envelope = delivery.envelope
    wait = envelope.headers.get(protocol.WAIT_HEADER, WAITS[0])
    if wait not in WAITS:
        raise InvalidInput(protocol.WAIT_HEADER, f"it is {' or '.join(WAITS)}")
    waits = wait == "result" and bool(envelope.reply_to)
    arguments: dict[str, Any] = {
        "workflow": check_name("workflow", delivery.routing_key),
        "input": codec.fragment(codec.check_body(envelope.body, "the input")),
        "headers": check_headers(user_headers(envelope.headers)),
        "labels": _labels_of(envelope),
        "wait": waits,
        "durable": waits,
    }
    return Request(
        verb="start",
        arguments=arguments,
        execution=execution,
        correlation=envelope.correlation_id,
        reply_to=envelope.reply_to,
        actor=envelope.headers.get(protocol.ACTOR_HEADER, ACTOR),
    )


def _labels_of(envelope: Envelope) -> dict[str, str]:
    text = envelope.headers.get(protocol.LABELS_HEADER, "{}")
    if len(text) > HEADERS_LIMIT:
        raise TooLarge(protocol.LABELS_HEADER, len(text), HEADERS_LIMIT)
    labels: Any = codec.loads(text, protocol.LABELS_HEADER)
    if not isinstance(labels, dict):
        raise InvalidInput(protocol.LABELS_HEADER, "it is not a JSON object")
    return {name: str(value) for name, value in cast("dict[str, Any]", labels).items()}
