"""Tests of `flow.runtime.protocol`: what is written is read again, and garbage is told apart."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow import codec
from flow.errors import CorruptRecord, FlowError, UnknownExecution
from flow.failure import Failure
from flow.kept import Kept
from flow.kernel.events import Attempt
from flow.names import BODY_LIMIT
from flow.ports import Envelope
from flow.runtime.protocol import (
    Answer,
    Outcome,
    Request,
    StepReply,
    StepRequest,
    beat_of,
    correlation_of,
    failure_of_error,
    parse_correlation,
    request_headers,
)
from flow.step import Step

texts = st.text(st.characters(codec="utf-8"), max_size=40)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
numbers = st.integers(min_value=1, max_value=2**40)
headers = st.dictionaries(st.from_regex(r"[a-ce-wyz][a-z-]{0,10}", fullmatch=True), texts).map(
    lambda found: {name: value for name, value in found.items() if name not in {"cc", "bcc"}}
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
bodies = values.map(codec.dumps)
system_headers = st.sampled_from(
    [
        "flow-outcome",
        "flow-retry-after",
        "flow-attempt",
        "flow-timeout",
        "flow-endpoint",
        "flow-retryable",
        "flow-execution",
        "flow-asked-to-retry",
    ]
)
garbage = st.builds(
    Envelope,
    type=texts,
    body=st.binary(max_size=60) | bodies,
    correlation_id=texts,
    headers=st.dictionaries(
        system_headers | texts,
        texts | st.sampled_from(["failure", "skip", "success", "1e9", "-1", "0", "\uff19"]),
    ),
)


@given(
    st.builds(
        StepRequest,
        endpoint=texts,
        body=bodies,
        correlation=texts,
        reply_to=texts,
        headers=headers,
        execution=names,
        path=texts,
        attempt=numbers,
        timeout_ms=numbers,
        tell_start=st.booleans(),
        heartbeat_ms=st.none() | numbers,
        at_most_once=st.just(value=False),
    )
)
def test_a_step_request_is_read_as_it_was_written(request: StepRequest) -> None:
    """Nothing of a request is lost on the way, and it does not depend on the routing key."""
    assert StepRequest.read(request.envelope("m1"), "other.key") == request
    assert request.idempotency_key == f"{request.execution}:{request.path}"


@pytest.mark.parametrize(
    "options",
    [{}, {"start_within": 30, "heartbeat": 20}, {"at_most_once": True}, {"timeout": 3_600}],
)
def test_what_a_definition_asks_for_is_in_the_request(options: dict[str, Any]) -> None:
    """A worker reads from the headers of a definition what the definition says."""
    definition = Step.call("a.b", **options).definition()
    headers = request_headers(definition)
    read = StepRequest.read(Envelope("", b"1", "m1", "c1", "q", headers), "other.key")
    assert read == StepRequest(
        endpoint="a.b",
        body=b"1",
        correlation="c1",
        reply_to="q",
        headers={},
        timeout_ms=definition.timeout_ms,
        tell_start="start_within" in options,
        heartbeat_ms=beat_of(definition),
        at_most_once="at_most_once" in options,
    )


def test_a_plain_call_is_a_request_without_an_execution() -> None:
    """A request that names nothing takes its endpoint from the routing key."""
    request = StepRequest.read(Envelope("", b"1", "m1", "c1", "shop.reply.c"), "pay.charge")
    assert (request.endpoint, request.execution, request.attempt) == ("pay.charge", "", 1)
    assert request.idempotency_key == "c1"
    assert StepRequest.read(request.envelope("m2"), "x") == request


def test_headers_that_steer_are_kept_from_handlers() -> None:
    """What belongs to the system is stripped from what users see, however it is spelt."""
    odd = {"CC": "q", "Flow-Outcome": "x", "x-death": "1", "lang": "en"}
    request = StepRequest.read(Envelope("", b"1", headers=odd), "pay.charge")
    assert request.headers == {"lang": "en"}


@pytest.mark.parametrize(
    ("options", "beat"),
    [
        ({}, None),
        ({"timeout": 600}, None),
        ({"timeout": 600.001}, 30_000),
        ({"heartbeat": 5}, 5_000),
        ({"heartbeat": 5, "timeout": 9_999}, 5_000),
        ({"at_most_once": True}, 30_000),
        ({"at_most_once": True, "heartbeat": 1}, 1_000),
    ],
)
def test_which_steps_are_long(options: dict[str, Any], beat: int | None) -> None:
    """A step is long if it says so, if it may run for more than ten minutes, or at most once."""
    assert beat_of(Step.call("a.b", **options).definition()) == beat


def test_a_publication_is_never_long() -> None:
    """However long its timeout, no handler runs for it."""
    assert beat_of(Step.publish("a.b", timeout=86_400).definition()) is None


def test_a_permit_needs_somebody_to_ask() -> None:
    """A request that needs a permit and has no queue for answers is refused; others are read."""
    asked = StepRequest(endpoint="a.b", body=b"1", correlation="c", reply_to="q", at_most_once=True)
    assert StepRequest.read(asked.envelope("m1"), "a.b") == asked
    with pytest.raises(CorruptRecord, match="permit"):
        StepRequest.read(asked._replace(reply_to="").envelope("m1"), "a.b")


@given(
    st.sampled_from(["flow-attempt", "flow-timeout", "flow-heartbeat"]),
    st.sampled_from(["", "x", "0", "-5"]),
)
def test_numbers_that_make_no_sense_are_corrupt(name: str, text: str) -> None:
    """An attempt or a time that is not a positive number is refused."""
    with pytest.raises(CorruptRecord, match="the step request"):
        StepRequest.read(Envelope("", b"1", headers={name: text}), "pay.charge")


failures = st.builds(
    Failure,
    type=texts.filter(bool),
    message=texts,
    traceback=texts,
    step=texts,
    fields=st.dictionaries(texts, values, max_size=3),
)
# A named tuple's defaults are not left alone by hypothesis: what does not travel is said here.
nothing = {
    "failure": st.none(),
    "retryable": st.just(value=True),
    "retry_after_ms": st.none(),
    "asked_to_retry": st.just(value=False),
}
fields = st.dictionaries(texts.filter(bool), st.just(b'{"a":[9007199254740993,null]}'), max_size=3)
keeps = st.none() | st.builds(Kept, fields, fields, fields).filter(any)
# What an attempt has shared counts only if it got to its end.
partial_keeps = st.none() | st.builds(Kept, fields, st.just({}), fields).filter(any)
successes = st.builds(
    StepReply,
    outcome=st.just(Outcome.SUCCESS),
    body=bodies,
    headers=headers,
    reason=st.just(""),
    began=st.just(value=True),
    kept=keeps,
    **nothing,
)
skips = st.builds(
    StepReply,
    outcome=st.just(Outcome.SKIP),
    body=st.just(b"null"),
    headers=headers,
    reason=texts,
    began=st.booleans(),
    kept=keeps,
    **nothing,
)
cancellations = st.builds(
    StepReply,
    outcome=st.just(Outcome.CANCELLED),
    body=st.just(b"null"),
    headers=headers,
    reason=st.just(""),
    began=st.booleans(),
    kept=partial_keeps,
    **nothing,
)
replies = (
    successes
    | skips
    | cancellations
    | st.builds(
        StepReply,
        outcome=st.just(Outcome.FAILURE),
        body=st.just(b"null"),
        reason=st.just(""),
        headers=headers,
        failure=failures,
        retryable=st.booleans(),
        retry_after_ms=st.none() | numbers,
        asked_to_retry=st.booleans(),
        began=st.just(value=True),
        kept=partial_keeps,
    )
)


@given(replies, texts)
def test_a_step_reply_is_read_as_it_was_written(reply: StepReply, correlation: str) -> None:
    """Nothing of a reply is lost on the way."""
    envelope = reply.envelope("m1", correlation)
    assert envelope.correlation_id == correlation
    assert StepReply.read(envelope) == reply


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.CANCELLED])
def test_nobody_sees_what_was_shared_half_way(outcome: Outcome) -> None:
    """What an attempt has shared is left out if it failed or was cancelled; its state is not."""
    kept = Kept({"a": b"1"}, {"b": b"2"}, {"c": b"3"})
    reply = StepReply(outcome, failure=Failure("t", "m"), kept=kept)
    read = StepReply.read(reply.envelope("m1", "c"))
    assert (read.outcome, read.kept) == (outcome, kept._replace(shared={}))


def test_a_reply_of_a_plain_worker_is_a_success() -> None:
    """A worker in any language need only send the result back."""
    assert StepReply.read(Envelope("", b"[1]")) == StepReply(outcome=Outcome.SUCCESS, body=b"[1]")


def test_a_success_says_nothing_of_itself() -> None:
    """The reply of a handler that succeeded has the headers of its user, and no other."""
    reply = StepReply(outcome=Outcome.SUCCESS, body=b"1", headers={"tenant": "a"})
    assert reply.envelope("m", "c").headers == {"tenant": "a"}
    skip = StepReply(outcome=Outcome.SKIP, reason="closed")
    assert skip.envelope("m", "c").headers == {"flow-outcome": "skip"}


def test_who_asks_is_told_only_if_it_is_known() -> None:
    """A request without an actor and an execution has no headers."""
    assert Request("list", {}).envelope("m").headers == {}
    assert Request("list", {}, actor="me").envelope("m").headers == {"flow-actor": "me"}


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[" * 100 + b"]" * 100, b" " * BODY_LIMIT + b"1"])
def test_a_result_that_may_not_be_one_is_a_failure(body: bytes) -> None:
    """What cannot be recorded fails the step for good, and never raises."""
    reply = StepReply.read(Envelope("step.reply", body))
    assert (reply.outcome, reply.retryable) == (Outcome.FAILURE, False)
    assert reply.failure is not None


@given(garbage)
def test_garbage_raises_typed_errors_only(envelope: Envelope) -> None:
    """Whatever arrives, reading it succeeds or raises one of our errors."""
    assert isinstance(StepReply.read(envelope), StepReply)
    for read in (lambda: StepRequest.read(envelope, "k"), lambda: Request.read(envelope)):
        with contextlib.suppress(FlowError):
            read()
    with contextlib.suppress(FlowError):
        Answer.read(envelope)
    with contextlib.suppress(FlowError):
        parse_correlation(envelope.correlation_id)


@given(names, st.builds(Attempt, node=numbers, epoch=numbers, number=numbers))
def test_correlation_ids_are_taken_apart_again(execution: str, attempt: Attempt) -> None:
    """A correlation id names the execution and the attempt."""
    assert parse_correlation(correlation_of(execution, attempt)) == (execution, attempt)


@given(texts)
def test_other_correlation_ids_are_corrupt(text: str) -> None:
    """A correlation id that we did not make raises a typed error."""
    with pytest.raises(CorruptRecord, match="the correlation id"):
        parse_correlation(f"{text}/x")


@given(
    st.builds(
        Request,
        verb=names,
        arguments=st.dictionaries(texts, values, max_size=3),
        execution=texts,
        correlation=texts,
        reply_to=texts,
        actor=texts,
    )
)
def test_a_request_is_read_as_it_was_written(request: Request) -> None:
    """Nothing of a request is lost on the way."""
    assert Request.read(request.envelope("m1")) == request


@given(values)
def test_an_answer_is_read_as_it_was_written(value: Any) -> None:
    """A value comes back as it was sent."""
    envelope = Answer(value).envelope("m1", "c1")
    assert (Answer.read(envelope), envelope.correlation_id) == (Answer(value), "c1")


def test_an_error_is_the_same_error_on_the_other_side() -> None:
    """One of our errors crosses the wire with its type and fields."""
    answer = Answer.read(Answer(error=UnknownExecution("order-1")).envelope("m1", "c1"))
    assert isinstance(answer.error, UnknownExecution)
    assert answer.error.execution == "order-1"


def test_an_answer_that_should_be_an_error_and_is_none_is_corrupt() -> None:
    """A failure without an object is not understood, and says so."""
    with pytest.raises(CorruptRecord, match="it is no error"):
        Answer.read(Envelope("answer", b"5", headers={"flow-outcome": "failure"}))


def test_errors_become_failures() -> None:
    """Our errors keep their fields, and others their type and text."""
    assert failure_of_error(UnknownExecution("x")).fields == {"execution": "x"}
    assert failure_of_error(ValueError("no")) == Failure("builtins.ValueError", "no")
