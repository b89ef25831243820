"""Failures: what is told of an exception, and what is not."""

import asyncio
from typing import Any

import pytest

from flow.errors import FlowError, InvalidInput, RequestError, TooLarge, UnknownStep
from flow.failure import Failure
from flow.handler import bind, encode_value, failure_of
from flow.names import MESSAGE_LIMIT, TRACEBACK_LIMIT
from flow.verdict import Fail
from tests.flow.handler.samples import Order


class CardRefused(Exception):
    """A user's own error."""


class Silent(Exception):
    """An error that cannot even be shown."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("not today")


class Odd(FlowError):
    """One of ours by descent, but a user's."""


WORKER = """
def run(function, *arguments):
    try:
        function(*arguments)
    except ValueError as error:
        return failure_of(error)
"""


def failure(error: BaseException) -> Failure:
    """Raise an error in a handler and return what is told of it."""

    def charge() -> None:
        raise error

    try:
        charge()
    except BaseException as caught:  # noqa: BLE001 - any error may be raised here
        return failure_of(caught)
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("no"), "builtins.ValueError", "no"),
        (CardRefused("no"), f"{__name__}.CardRefused", "no"),
        (Fail("no"), "flow.verdict.Fail", "no"),
        (asyncio.CancelledError(), "asyncio.exceptions.CancelledError", ""),
        (InvalidInput("the body", "no"), "flow.errors.InvalidInput", "the body: no"),
        (RequestError("no"), "flow.errors.RequestError", "no"),
        (Odd("no"), f"{__name__}.Odd", "no"),
        (Silent(), f"{__name__}.Silent", "(the text of the Silent cannot be shown)"),
        (OSError("name \udcff"), "builtins.OSError", "name \\udcff"),
    ],
)
def test_type_and_message_are_told(error: BaseException, kind: str, message: str) -> None:
    """A failure has the qualified type and the text of the error, whatever these are."""
    found = failure(error)
    assert (found.type, found.message) == (kind, message)
    assert encode_value(found)


def test_fields_are_told() -> None:
    """The fields of our errors travel with the failure."""
    found = failure(UnknownStep("a", "workflow 'w'", ("b",)))
    assert found.fields == {"step": "a", "where": "workflow 'w'", "known": ("b",)}


@pytest.mark.parametrize("value", [object(), "x" * 10_000])
def test_fields_that_cannot_travel_are_left_out(value: Any) -> None:
    """Fields that are no JSON, or too large, are not worth the failure of a failure."""
    assert failure(TooLarge("the body", 1, 1, (value,))).fields == {}


def test_the_traceback_begins_at_the_handler() -> None:
    """Who called the handler is left out, and what the handler called is not."""

    def charge(order: Order) -> int:
        return int("five") + order.total

    # A function that believes to be one of ours, as the worker is that calls handlers.
    namespace: dict[str, Any] = {"__name__": "flow.runtime.worker.worker", "failure_of": failure_of}
    exec(WORKER, namespace)
    lines = namespace["run"](charge, Order(total=1)).traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith("in charge")
    assert lines[2].strip() == 'return int("five") + order.total'
    assert lines[-1] == "ValueError: invalid literal for int() with base 10: 'five'"


def test_plumbing_is_left_out() -> None:
    """An error that comes from our side of a handler has no traceback that helps."""

    def charge(order: Order) -> None: ...

    handler = bind(charge).handler
    with pytest.raises(InvalidInput) as caught:
        handler.arguments(b"{}", {}, None)
    ours = caught.value.with_traceback(caught.tb.tb_next)
    assert failure_of(ours).traceback == ""


def test_an_error_that_was_not_raised_has_no_traceback() -> None:
    """An error that was only made is told without a traceback."""
    assert failure_of(ValueError("never")) == Failure("builtins.ValueError", "never")


def test_long_texts_are_cut() -> None:
    """The beginning of a message is kept, and the end of a traceback."""
    found = failure(ValueError("a" * 100_000 + "b"))
    assert found.message == "a" * MESSAGE_LIMIT
    assert len(found.traceback) == TRACEBACK_LIMIT
    assert found.traceback.endswith("ab\n")


def test_causes_are_told() -> None:
    """What led to an error is part of its traceback."""

    def charge() -> None:
        cards: dict[str, str] = {}
        try:
            cards.pop("card")
        except KeyError as error:
            raise CardRefused("no card") from error

    with pytest.raises(CardRefused) as caught:
        charge()
    text = failure_of(caught.value).traceback
    assert "KeyError: 'card'" in text
    assert "The above exception was the direct cause" in text
