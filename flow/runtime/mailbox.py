"""The mailbox: what workers say about attempts."""

from collections.abc import Callable

from flow.errors import InvalidInput
from flow.kernel.events import Event, StepFailed, StepSkipped, StepStarted, StepSucceeded
from flow.kernel.steps import STEP
from flow.ports import Delivery
from flow.runtime import protocol
from flow.runtime.decisions import Decisions
from flow.runtime.dispatcher import attempt_again
from flow.runtime.protocol import Outcome, StepReply, parse_correlation

__all__ = ["Mailbox"]


class Mailbox:
    """Takes the messages of workers.

    Args:
        decisions: Decides about what they say.
    """

    def __init__(self, decisions: Decisions) -> None:
        """Know every type of message."""
        self.engine = decisions.engine
        self._decisions = decisions
        self._handlers: dict[str, Callable[[Delivery], None]] = {
            protocol.REPLY: self._replied,
            protocol.STARTED: self._began,
            protocol.HEARTBEAT: self._beat,
            protocol.REFUSED: self._refused,
        }

    def take(self, delivery: Delivery) -> None:
        """Decide about a message.

        Args:
            delivery: The message. A plain worker may leave its type out: it is a reply then.

        Raises:
            DataError: It is not understood.
        """
        self._handlers.get(delivery.envelope.type, self._replied)(delivery)

    def _replied(self, delivery: Delivery) -> None:
        execution, attempt = parse_correlation(delivery.envelope.correlation_id)
        reply = StepReply.read(delivery.envelope)
        event: Event
        match reply.outcome:
            case Outcome.SUCCESS:
                event = StepSucceeded(attempt, reply.body, reply.headers)
            case Outcome.SKIP:
                event = StepSkipped(attempt, reply.reason)
            case Outcome.FAILURE if reply.failure is not None:
                event = StepFailed(
                    attempt,
                    reply.failure,
                    reply.retryable,
                    reply.retry_after_ms,
                    reply.asked_to_retry,
                )
            case _:
                raise InvalidInput("the reply", "it is a failure without a reason")
        self._decisions.decide(execution, event, None, delivery.envelope.message_id)

    def _began(self, delivery: Delivery) -> None:
        execution, attempt = parse_correlation(delivery.envelope.correlation_id)
        self._decisions.decide(execution, StepStarted(attempt), None, delivery.envelope.message_id)

    def _beat(self, delivery: Delivery) -> None:
        execution, attempt = parse_correlation(delivery.envelope.correlation_id)
        live = self.engine.residents.get(execution)
        node = None if live is None else live.tree.by_number(attempt.node)
        if live is None or node is None or node.machine is not STEP:
            self.engine.counters["late heartbeats"] += 1
            return
        live.heard_of(node, self.engine.clock.now_ms())
        live.progress[node.path] = protocol.read_progress(delivery.envelope)
        self.engine.wake(live)

    def _refused(self, delivery: Delivery) -> None:
        """Send an attempt again later: the worker that got it does not know the endpoint."""
        execution, attempt = parse_correlation(delivery.envelope.correlation_id)
        live = self.engine.residents.get(execution)
        node = None if live is None else live.tree.by_number(attempt.node)
        command = None if live is None or node is None else attempt_again(live, node)
        if command is None or live is None or node is None:
            return
        self.engine.counters["refused"] += 1
        self.engine.dispatcher.send_later(command, live.program.definition(node).target)
