"""The mailbox: what workers say about attempts.

Replies, starts and requests for permits are events, and are decided about. Heartbeats, refusals
and releases only change what memory knows: when to send an attempt again.
"""

from collections.abc import Callable

from flow.errors import CorruptRecord, InvalidInput, failure_of
from flow.kernel.decide import Accepted, Refused
from flow.kernel.events import (
    Attempt,
    Event,
    PermitRequested,
    StepCancelled,
    StepFailed,
    StepHeard,
    StepKept,
    StepSilent,
    StepSkipped,
    StepStarted,
    StepSucceeded,
)
from flow.kernel.steps import STEP
from flow.kernel.tree import Node
from flow.names import check_name
from flow.ports import Envelope, Publication
from flow.runtime import protocol
from flow.runtime.bundles import BUNDLE
from flow.runtime.orchestrator.commands import attempt_again, attempt_of
from flow.runtime.orchestrator.decisions import Decisions
from flow.runtime.orchestrator.inbox import Received
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.protocol import Outcome, StepReply, parse_correlation
from flow.status import Status

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
        self._handlers: dict[str, Callable[[Envelope, str, Attempt], None]] = {
            protocol.REPLY: self._replied,
            protocol.STARTED: self._began,
            protocol.HEARTBEAT: self._beat,
            protocol.REFUSED: self._refused,
            protocol.RELEASED: self._released,
        }

    def take(self, item: Received) -> None:
        """Decide about a message.

        Args:
            item: The message. A plain worker may leave its type out: it is a reply then.

        Raises:
            DataError: It is not understood.
        """
        envelope, execution, attempt = item.delivery.envelope, item.execution, item.attempt
        if attempt is None:
            if envelope.type == BUNDLE:
                raise CorruptRecord("the bundle", "it is none, or is inside of another one")
            # Read once more for the error, which says what is wrong with it.
            execution, attempt = parse_correlation(envelope.correlation_id)
        self._handlers.get(envelope.type, self._replied)(envelope, execution, attempt)

    def _replied(self, envelope: Envelope, execution: str, attempt: Attempt) -> None:
        reply = StepReply.read(envelope)
        event = self._event_of(execution, attempt, reply)
        if reply.kept is not None:
            kept = StepKept(attempt, reply.kept)
            verdict = self._decisions.decide(execution, kept, None, envelope.message_id)
            if isinstance(verdict, Refused):
                # What it shares contradicts what others share, and so it has failed.
                event = StepFailed(attempt, failure_of(verdict.error), retryable=False)
        self._decisions.decide(execution, event, None, envelope.message_id)
        if self.engine.dispatcher.refusals:
            self._note_served(execution, attempt)

    def _event_of(self, execution: str, attempt: Attempt, reply: StepReply) -> Event:
        """Return what a reply tells."""
        if reply.outcome is Outcome.SUCCESS:
            return StepSucceeded(attempt, reply.body, reply.headers)
        if reply.outcome is Outcome.SKIP:
            return StepSkipped(attempt, reply.reason, reply.began)
        if reply.outcome is Outcome.CANCELLED:
            live = self.engine.residents.get(execution)
            # Whoever never began with a copy cannot know of another one, sent again since then.
            has_copies = live is None or live.has_copies
            return StepCancelled(attempt, began=reply.began or has_copies)
        if reply.failure is None:
            raise InvalidInput("the reply", "it is a failure without a reason")
        return StepFailed(
            attempt,
            reply.failure,
            reply.retryable,
            reply.retry_after_ms,
            reply.asked_to_retry,
        )

    def _note_served(self, execution: str, attempt: Attempt) -> None:
        """Send what was refused for an endpoint: somebody has answered for it."""
        live = self.engine.residents.get(execution)
        node = None if live is None else live.tree.by_number(attempt.node)
        if live is not None and node is not None and node.machine is STEP:
            self.engine.dispatcher.served(live.program.definition(node).target)

    def _began(self, envelope: Envelope, execution: str, attempt: Attempt) -> None:
        if protocol.PERMIT_HEADER in envelope.headers:
            self._asked(envelope, execution, attempt)
        else:
            self._decisions.decide(execution, StepStarted(attempt), None, envelope.message_id)
        self._hear(execution, attempt)

    def _asked(self, envelope: Envelope, execution: str, attempt: Attempt) -> None:
        """Tell a worker whether it may run the handler, once it is durable that it may."""
        engine = self.engine
        permit = check_name("permit", envelope.headers[protocol.PERMIT_HEADER])
        worker = check_name("worker", envelope.headers.get(protocol.WORKER_HEADER, ""))
        event = PermitRequested(attempt, permit, worker)
        verdict = self._decisions.decide(execution, event, None, envelope.message_id)
        if verdict is None and execution in engine.residents.parked:
            # Nobody knows. The worker asks again.
            return
        kind = protocol.PERMIT if isinstance(verdict, Accepted) else protocol.DENIED
        engine.counters[kind] += 1
        answer = Envelope(
            kind,
            b"null",
            engine.chance.new_id(),
            envelope.correlation_id,
            "",
            {protocol.PERMIT_HEADER: permit},
        )
        queue = engine.addresses.cancel_queue(worker)
        publication = Publication("", queue, answer, mandatory=False)
        engine.committer.batch.after(lambda: engine.post(publication))

    def _beat(self, envelope: Envelope, execution: str, attempt: Attempt) -> None:
        progress = protocol.read_progress(envelope)
        found = self._hear(execution, attempt)
        if found is None:
            self.engine.counters["late heartbeats"] += 1
            return
        live, node = found
        if node.read(STEP).silent_ms is not None:
            event = StepHeard(attempt)
            self._decisions.decide(execution, event, None, envelope.message_id)
        if progress is not None:
            live.progress[node.path] = progress

    def _refused(self, _: Envelope, execution: str, attempt: Attempt) -> None:
        """Send an attempt again later: the worker that got it does not know the endpoint."""
        found = self._present(execution, attempt)
        command = None if found is None else attempt_again(*found)
        if found is None or command is None:
            return
        endpoint = found[0].program.definition(found[1]).target
        if self.engine.dispatcher.refused(command, endpoint):
            self.engine.counters["refused"] += 1

    def _released(self, envelope: Envelope, execution: str, attempt: Attempt) -> None:
        """Send an attempt again at once, unless it must not: its worker ends before it does."""
        found = self._present(execution, attempt)
        if found is None:
            return
        self.engine.counters["released"] += 1
        command = attempt_again(*found)
        if command is not None:
            self.engine.dispatcher.send([command])
            return
        event = StepSilent(attempt)
        self._decisions.decide(execution, event, None, envelope.message_id)

    def _hear(self, execution: str, attempt: Attempt) -> tuple[LiveExecution, Node] | None:
        """Note that the worker of an attempt is alive, and return its execution and its step."""
        found = self._present(execution, attempt)
        if found is not None:
            live, node = found
            live.heard_of(node, self.engine.clock.now_ms())
            self.engine.wake(live)
        return found

    def _present(self, execution: str, attempt: Attempt) -> tuple[LiveExecution, Node] | None:
        """Return an execution and a step whose present attempt this is, if it is out."""
        live = self.engine.residents.get(execution)
        node = None if live is None else live.tree.by_number(attempt.node)
        if live is None or node is None or node.machine is not STEP:
            return None
        is_out = node.state is Status.RUNNING and attempt_of(node) == attempt
        return (live, node) if is_out else None
