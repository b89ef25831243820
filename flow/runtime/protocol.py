"""The messages on the wire: what each type holds, and how it is read and written.

Everything that crosses the broker between orchestrators, workers and clients is made and read
here, so that this file and `docs/protocol.md` say the same.

    step.request    orchestrator -> worker   body: the step's input
    step.reply      worker -> mailbox        body: the result, or a failure; `flow-outcome`
    step.started    worker -> mailbox        an attempt has begun (where somebody waits for it), or
                                             asks for its permit: `flow-permit`, `flow-worker`
    step.heartbeat  worker -> mailbox        body: progress, or null
    step.refused    worker -> mailbox        this worker does not know the endpoint
    step.released   worker -> mailbox        a worker that ends gives up a long attempt
    step.permit     orchestrator -> worker   `flow-permit` may run the handler, and nobody else
    step.denied     orchestrator -> worker   `flow-permit` must not run the handler, now or later
    step.cancel     orchestrator -> workers  the attempt's result is not wanted any more
    step.announce   worker -> orchestrator   body: the step that a service declares; answered
    topic           orchestrator -> all who subscribe; `flow-key` is the same for every copy
    request.*       client -> orchestrator   body: an object of arguments
    answer          orchestrator -> client   body: the answer, or an error; `flow-outcome`

A trigger has no type: its routing key is the workflow, its body the input, and `flow-id` (or the
message id) the execution's id; `flow-wait`, `flow-labels`. What nobody can use goes to the dead as
it came, with `flow-error` and `flow-reason`.
"""

from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final, NamedTuple, cast

from flow import codec
from flow.errors import CorruptRecord, FlowError, failure_of
from flow.failure import Failure
from flow.kept import Kept
from flow.kernel.events import Attempt
from flow.message import user_headers
from flow.names import BODY_LIMIT, check_name
from flow.ports import Envelope
from flow.runtime import keeping
from flow.runtime.keeping import kept_of, with_kept
from flow.step import StepDefinition, StepKind

__all__ = [
    "Answer",
    "Outcome",
    "Request",
    "StepReply",
    "StepRequest",
    "beat_of",
    "correlation_of",
    "parse_correlation",
    "request_headers",
]

REQUEST: Final = "step.request"
REPLY: Final = "step.reply"
STARTED: Final = "step.started"
HEARTBEAT: Final = "step.heartbeat"
REFUSED: Final = "step.refused"
RELEASED: Final = "step.released"
PERMIT: Final = "step.permit"
DENIED: Final = "step.denied"
ANNOUNCE: Final = "step.announce"
TOPIC: Final = "topic"
CANCEL: Final = "step.cancel"
ANSWER: Final = "answer"
REQUEST_PREFIX: Final = "request."

PERMIT_HEADER: Final = "flow-permit"
WORKER_HEADER: Final = "flow-worker"
ACTOR_HEADER: Final = "flow-actor"
ID_HEADER: Final = "flow-id"
WAIT_HEADER: Final = "flow-wait"
LABELS_HEADER: Final = "flow-labels"
ERROR_HEADER: Final = "flow-error"
REASON_HEADER: Final = "flow-reason"
AGAIN_HEADER: Final = "flow-again"
BEGAN_HEADER: Final = "flow-began"

PROGRESS_LIMIT: Final = 4_096
"""Bytes that a heartbeat may tell."""

DEFAULT_BEAT_MS: Final = 30_000
LONG_MS: Final = 600_000
"""A step that may run longer than this is a long one, even if it does not say so."""

_CORRELATION_PARTS: Final = 4
_NO_HEADERS: Final[Mapping[str, str]] = {}


class Outcome(Enum):
    """How an attempt or a request ended, as the header `flow-outcome` says it."""

    SUCCESS = "success"
    FAILURE = "failure"
    SKIP = "skip"
    CANCELLED = "cancelled"


_CUT_SHORT: Final = frozenset({Outcome.FAILURE, Outcome.CANCELLED})
"""Outcomes of attempts that did not get to their end: nobody sees what they have shared."""


def correlation_of(execution: str, attempt: Attempt) -> str:
    """Return the correlation id of an attempt: at most 255 bytes.

    Args:
        execution: The execution's id.
        attempt: The attempt.
    """
    return f"{execution}/{attempt.epoch}/{attempt.node}/{attempt.number}"


def parse_correlation(text: str) -> tuple[str, Attempt]:
    """Return the execution's id and the attempt that a correlation id names.

    Args:
        text: What came back.

    Raises:
        CorruptRecord: It is not a correlation id of ours.
    """
    parts = text.rsplit("/", _CORRELATION_PARTS - 1)
    try:
        execution, epoch, node, number = parts
        check_name("execution", execution)
        return execution, Attempt(int(node), int(epoch), int(number))
    except (ValueError, FlowError) as error:
        raise CorruptRecord("the correlation id", repr(text[:300])) from error


def beat_of(definition: StepDefinition) -> int | None:
    """Return a third of how long the worker of a long step may be silent, None for all others.

    Args:
        definition: The step.
    """
    if definition.heartbeat_ms is not None or definition.kind is not StepKind.CALL:
        return definition.heartbeat_ms
    is_long = definition.at_most_once or definition.timeout_ms > LONG_MS
    return DEFAULT_BEAT_MS if is_long else None


def request_headers(definition: StepDefinition) -> dict[str, str]:
    """Return what a step's definition says in the headers of its requests; see `StepRequest`.

    Args:
        definition: The step.
    """
    headers = {"flow-endpoint": definition.target, "flow-timeout": str(definition.timeout_ms)}
    beat = beat_of(definition)
    if definition.start_within_ms is not None:
        headers["flow-tell-start"] = "1"
    if beat is not None:
        headers["flow-heartbeat"] = str(beat)
    if definition.at_most_once:
        headers["flow-at-most-once"] = "1"
    return headers


# Named tuples, here and below: one is made for every message, and a frozen dataclass costs four
# times as much.
class StepRequest(NamedTuple):
    """What a worker is asked to do.

    Args:
        endpoint: `service.method`.
        body: The input (JSON).
        correlation: Ties the reply to the request.
        reply_to: The queue that the reply goes to.
        headers: The user's metadata.
        execution: The execution's id; empty for a plain call.
        path: The step's path; empty for a plain call.
        attempt: The number of the attempt.
        timeout_ms: How long the handler may run.
        tell_start: Whether somebody waits for `step.started`.
        heartbeat_ms: For a long step: three times so long its worker may be silent. The request
            may be acked as soon as `step.started` is confirmed.
        at_most_once: Whether the handler may run only with a permit.
        is_again: Whether it was sent before.
        state: What earlier attempts of the step have kept, as a JSON object; empty for nothing.
        shared: What the steps before have shared, likewise.
    """

    endpoint: str
    body: bytes
    correlation: str
    reply_to: str
    headers: Mapping[str, str] = _NO_HEADERS
    execution: str = ""
    path: str = ""
    attempt: int = 1
    timeout_ms: int = 60_000
    tell_start: bool = False
    heartbeat_ms: int | None = None
    at_most_once: bool = False
    is_again: bool = False
    state: str = ""
    shared: str = ""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of the step, and for no other step."""
        return f"{self.execution}:{self.path}" if self.execution else self.correlation

    def envelope(self, message_id: str) -> Envelope:
        """Return the request as it travels.

        Args:
            message_id: Fresh for this publication.
        """
        headers = dict(self.headers)
        headers["flow-endpoint"] = self.endpoint
        headers["flow-timeout"] = str(self.timeout_ms)
        if self.execution:
            headers["flow-execution"] = self.execution
            headers["flow-path"] = self.path
            headers["flow-attempt"] = str(self.attempt)
        if self.tell_start:
            headers["flow-tell-start"] = "1"
        if self.heartbeat_ms is not None:
            headers["flow-heartbeat"] = str(self.heartbeat_ms)
        if self.at_most_once:
            headers["flow-at-most-once"] = "1"
        if self.is_again:
            headers[AGAIN_HEADER] = "1"
        if self.state:
            headers[keeping.STATE_HEADER] = self.state
        if self.shared:
            headers[keeping.SHARED_HEADER] = self.shared
        return Envelope(REQUEST, self.body, message_id, self.correlation, self.reply_to, headers)

    @classmethod
    def read(cls, envelope: Envelope, routing_key: str) -> "StepRequest":
        """Return the request that arrived.

        Args:
            envelope: What arrived.
            routing_key: The endpoint, where the header does not say it.

        Raises:
            CorruptRecord: A header makes no sense.
        """
        headers = envelope.headers
        beat = headers.get("flow-heartbeat")
        at_most_once = "flow-at-most-once" in headers
        if at_most_once and not envelope.reply_to:
            raise CorruptRecord("the step request", "nobody can be asked for the permit it needs")
        try:
            # By their places: with names it takes twice as long, for every request.
            return cls(
                headers.get("flow-endpoint", routing_key),
                envelope.body,
                envelope.correlation_id,
                envelope.reply_to,
                user_headers(headers),
                headers.get("flow-execution", ""),
                headers.get("flow-path", ""),
                _positive(headers.get("flow-attempt", "1")),
                _positive(headers.get("flow-timeout", "60000")),
                "flow-tell-start" in headers,
                None if beat is None else _positive(beat),
                at_most_once,
                AGAIN_HEADER in headers,
                headers.get(keeping.STATE_HEADER, ""),
                headers.get(keeping.SHARED_HEADER, ""),
            )
        except ValueError as error:
            raise CorruptRecord("the step request", str(error)) from error


class StepReply(NamedTuple):
    """How an attempt ended.

    Args:
        outcome: How.
        body: The result (JSON) of a success.
        headers: The response's metadata.
        failure: Why it failed.
        retryable: Whether another attempt could go better.
        retry_after_ms: How long to wait for it, if the handler said so.
        asked_to_retry: Whether the handler itself asked for another attempt.
        reason: Why it was skipped.
        began: Whether the handler may have started: said of what was cancelled or skipped.
        kept: What it has left behind, or None.
    """

    outcome: Outcome
    body: bytes = b"null"
    headers: Mapping[str, str] = _NO_HEADERS
    failure: Failure | None = None
    retryable: bool = True
    retry_after_ms: int | None = None
    asked_to_retry: bool = False
    reason: str = ""
    began: bool = True
    kept: Kept | None = None

    def envelope(self, message_id: str, correlation: str) -> Envelope:
        """Return the reply as it travels.

        Args:
            message_id: Fresh for this publication.
            correlation: The request's.
        """
        if self.outcome is Outcome.SUCCESS:
            # Whoever reads it takes a reply that says nothing of its outcome for a success.
            kept_too = with_kept(self.headers, self.kept)
            return Envelope(REPLY, self.body, message_id, correlation, "", kept_too)
        headers = {**with_kept(self.headers, self.kept), "flow-outcome": self.outcome._value_}
        body = self.body
        if self.failure is not None:
            body = codec.dumps(codec.encode_failure(self.failure))
        elif self.outcome is Outcome.SKIP:
            body = codec.dumps(self.reason)
        if not self.retryable:
            headers["flow-retryable"] = "0"
        if self.retry_after_ms is not None:
            headers["flow-retry-after"] = str(self.retry_after_ms)
        if self.asked_to_retry:
            headers["flow-asked-to-retry"] = "1"
        if self.outcome is Outcome.CANCELLED or (self.outcome is Outcome.SKIP and not self.began):
            headers[BEGAN_HEADER] = "1" if self.began else "0"
        return Envelope(REPLY, body, message_id, correlation, "", headers)

    @classmethod
    def read(cls, envelope: Envelope) -> "StepReply":
        """Return the reply that arrived. A reply without `flow-outcome` is a success.

        A result that may not be a body (it is too large, or not JSON) is a failure that no other
        attempt can mend.

        Args:
            envelope: What arrived.
        """
        headers = envelope.headers
        metadata = user_headers(headers)
        try:
            told = headers.get("flow-outcome", "success")
            # By value only where need be: that takes four calls, and nearly all are this.
            outcome = Outcome.SUCCESS if told == "success" else Outcome(told)
            body = codec.check_body(envelope.body, "the step's result", BODY_LIMIT)
            after = headers.get("flow-retry-after")
            retry_after = None if after is None else max(0, int(after))
            kept = kept_of(headers)
            if kept is not None and outcome in _CUT_SHORT:
                kept = kept._replace(shared={})
        except (ValueError, FlowError) as error:
            return cls(
                outcome=Outcome.FAILURE,
                headers=metadata,
                failure=failure_of_error(error),
                retryable=False,
            )
        if outcome is Outcome.SUCCESS:
            return cls(outcome, body, metadata, kept=kept)
        # Whoever does not say it may have begun.
        began = headers.get(BEGAN_HEADER) != "0"
        if outcome is Outcome.CANCELLED:
            return cls(outcome, headers=metadata, began=began, kept=kept)
        if outcome is Outcome.SKIP:
            reason = str(codec.loads(body))[:4096]
            return cls(outcome, headers=metadata, reason=reason, began=began, kept=kept)
        return cls(
            outcome=outcome,
            headers=metadata,
            failure=codec.decode_failure(codec.loads(body)),
            retryable=headers.get("flow-retryable") != "0",
            retry_after_ms=retry_after,
            asked_to_retry="flow-asked-to-retry" in headers,
            kept=kept,
        )


class Request(NamedTuple):
    """What a client asks of an orchestrator.

    Args:
        verb: What to do, such as `start`, `suspend` or `list`.
        arguments: A JSON object.
        execution: The execution that it is about, or an empty string.
        correlation: Ties the answer to the request; the same when it is asked again.
        reply_to: The queue that the answer goes to.
        actor: Who asks, for the history.
    """

    verb: str
    arguments: Mapping[str, Any]
    execution: str = ""
    correlation: str = ""
    reply_to: str = ""
    actor: str = ""

    def envelope(self, message_id: str) -> Envelope:
        """Return the request as it travels.

        Args:
            message_id: Fresh for this publication.
        """
        headers = {"flow-actor": self.actor} if self.actor else {}
        if self.execution:
            headers["flow-execution"] = self.execution
        body = codec.dumps(self.arguments)
        kind = f"{REQUEST_PREFIX}{self.verb}"
        return Envelope(kind, body, message_id, self.correlation, self.reply_to, headers)

    @classmethod
    def read(cls, envelope: Envelope) -> "Request":
        """Return the request that arrived.

        Args:
            envelope: What arrived.

        Raises:
            CorruptRecord: Its body is not an object.
            InvalidInput: Its body is not JSON.
        """
        arguments: Any = codec.loads(envelope.body, "the request's body")
        if not isinstance(arguments, dict):
            raise CorruptRecord("the request's body", "it is not an object")
        return cls(
            verb=envelope.type.removeprefix(REQUEST_PREFIX),
            arguments=cast("dict[str, Any]", arguments),
            execution=envelope.headers.get("flow-execution", ""),
            correlation=envelope.correlation_id,
            reply_to=envelope.reply_to,
            actor=envelope.headers.get("flow-actor", ""),
        )


class Answer(NamedTuple):
    """What an orchestrator answers: a JSON value, or one of our errors."""

    value: Any = None
    error: FlowError | None = None

    def envelope(self, message_id: str, correlation: str) -> Envelope:
        """Return the answer as it travels.

        Args:
            message_id: Fresh for this publication.
            correlation: The request's.
        """
        if self.error is None:
            outcome, body = Outcome.SUCCESS, codec.dumps(self.value)
        else:
            outcome, body = Outcome.FAILURE, codec.dumps(codec.encode_error(self.error))
        headers = {"flow-outcome": outcome._value_}
        return Envelope(ANSWER, body, message_id, correlation, "", headers)

    @classmethod
    def read(cls, envelope: Envelope) -> "Answer":
        """Return the answer that arrived.

        Args:
            envelope: What arrived.

        Raises:
            CorruptRecord: It should be an error, and is none.
            InvalidInput: Its body is not JSON.
        """
        value: Any = codec.loads(envelope.body, "the answer")
        if envelope.headers.get("flow-outcome") != Outcome.FAILURE.value:
            return cls(value)
        if not isinstance(value, dict):
            raise CorruptRecord("the answer", "it is no error")
        return cls(error=codec.decode_error(cast("dict[str, Any]", value)))


def read_progress(envelope: Envelope) -> Any:
    """Return the progress that a heartbeat tells.

    Args:
        envelope: What arrived.

    Raises:
        InvalidInput: Its body is not JSON.
        TooLarge: Its body is too large to be progress.
    """
    return codec.loads(codec.check_body(envelope.body, "the progress", PROGRESS_LIMIT))


def failure_of_error(error: Exception) -> Failure:
    """Return one of our errors as a failure.

    Args:
        error: The error.
    """
    if isinstance(error, FlowError):
        return failure_of(error)
    return Failure(f"{type(error).__module__}.{type(error).__qualname__}", str(error))


@lru_cache(maxsize=1024)
def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is not positive")
    return number
