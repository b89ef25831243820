"""Tests of `flow.functions`: steps and services made from functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import pytest

from flow import Flow, Message, Output, RetryPolicy, StepContext, StepFunction
from flow.errors import BindingError, DuplicateDefinition, InvalidName, InvalidOption
from flow.step import Step
from flow.template import Composed, FromInput, FromStep
from flow.testing import FlowHarness


@dataclass
class Order:
    """What is bought."""

    total: int


def make() -> Flow:
    """Return a flow."""
    return Flow("shop", broker="memory://", store="memory://")


async def test_a_step_is_still_the_function() -> None:
    """A decorated function can be called as before, without a broker."""
    app = make()

    @app.step
    async def reserve(order: Order) -> str:
        """Reserve it."""
        return f"hold {order.total}"

    @app.step(requires=[reserve], retry=RetryPolicy(max_attempts=5))
    def charge(order: Order, reserve: str) -> str:
        return f"{reserve} paid"

    assert await reserve(Order(5)) == "hold 5"
    assert charge(Order(5), "hold") == "hold paid"
    assert isinstance(charge, StepFunction)
    assert (reserve.id, reserve.target) == ("reserve", "shop.reserve")
    assert (reserve.__name__, reserve.__doc__) == ("reserve", "Reserve it.")
    assert charge.requires == ("reserve",)


def test_parameters_say_what_is_needed() -> None:
    """Parameters named after required steps take their outputs, and the rest takes the input."""
    app = make()

    @app.step
    def reserve(order: Order) -> str:
        return ""

    @app.step(requires=[reserve])
    def charge(
        order: Order,
        reserve: str,
        hotel: Annotated[str, Output("book-hotel")],
        context: StepContext,
    ) -> None: ...

    definition = charge.definition()
    assert definition.input == Composed(
        (
            ("order", FromInput()),
            ("reserve", FromStep("reserve")),
            ("hotel", FromStep("book-hotel")),
        ),
    )
    assert definition.requires == ("reserve", "book-hotel")


def test_an_input_of_its_own_is_one_body() -> None:
    """With `input=` the function takes that, and nothing is read from its parameters' names."""
    app = make()

    @app.step
    def reserve(order: Order) -> str:
        return ""

    @app.step(input={"hold": reserve.output})
    def charge(hold: str) -> None: ...

    definition = charge.definition()
    assert definition.input == Composed((("hold", FromStep("reserve")),))
    assert definition.requires == ("reserve",)


def test_a_parameter_without_a_source_is_refused() -> None:
    """A misspelt step is refused where it is declared, with the nearest name, and nothing stays."""
    app = make()

    @app.step
    def reserve(order: Order) -> str:
        return ""

    with pytest.raises(BindingError, match="did you mean 'reserve'"):

        @app.step(requires=[reserve])
        def charge(order: Order, reserv: str) -> None: ...

    assert list(app.functions.steps) == ["reserve"]
    assert list(app.functions.endpoints) == ["shop.reserve"]


def test_twice_is_refused() -> None:
    """A second step of the same id, or a second function for an endpoint, is refused."""
    app = make()

    @app.step
    def reserve(order: Order) -> str:
        return ""

    with pytest.raises(DuplicateDefinition, match="steps declared more than once: 'reserve'"):
        app.step(_function("reserve"))
    with pytest.raises(DuplicateDefinition, match="endpoints declared more than once"):
        app.step(id="other")(_function("reserve"))
    # What was refused has left nothing behind.
    assert list(app.functions.steps) == ["reserve"]


def test_a_service_has_endpoints_and_steps() -> None:
    """Endpoints are served under their service, and its steps can be used by workflows too."""
    app = make()
    payments = app.service("payments")

    @payments.endpoint
    def refund(order: Order) -> int:
        return order.total

    @payments.step
    def charge(order: Order) -> int:
        return order.total

    @payments.step(timeout=5)
    def check(order: Order) -> int:
        return order.total

    assert refund(Order(3)) == 3
    assert list(app.functions.endpoints) == [
        "payments.refund",
        "payments.charge",
        "payments.check",
    ]
    assert list(app.functions.steps) == ["charge", "check"]
    assert check.definition().timeout_ms == 5_000
    with pytest.raises(DuplicateDefinition):
        payments.endpoint(refund)
    with pytest.raises(InvalidName):
        app.service("pay.ments")
    with pytest.raises(InvalidName):
        payments.endpoint(_function("<lambda>"))


def _function(name: str) -> Any:
    def function(order: Order) -> str:
        return ""

    function.__name__ = name
    return function


def test_an_endpoint_may_have_options() -> None:
    """With and without brackets a function is served, and stays the plain function."""
    app = make()
    service = app.service("pay")

    @service.endpoint
    async def plain(amount: int) -> int:
        return amount

    @service.endpoint(exactly_once=True)
    async def charge(amount: int) -> int:
        return amount + 1

    @app.step(exactly_once=True, timeout=5)
    async def book(amount: int) -> int:
        return amount

    assert plain.__name__ == "plain"
    endpoints = app.functions.endpoints
    once = {name: endpoint.exactly_once for name, endpoint in endpoints.items()}
    assert once == {"pay.plain": False, "pay.charge": True, "shop.book": True}
    assert book.definition().timeout_ms == 5_000


def test_exactly_once_is_for_coroutines() -> None:
    """A plain function runs in a thread, where the transaction's connection is of no use."""
    app = make()

    def charge(amount: int) -> int:
        return amount

    with pytest.raises(InvalidOption, match="async def"):
        app.service("pay").endpoint(exactly_once=True)(charge)
    with pytest.raises(InvalidOption, match="async def"):
        app.step(exactly_once=True)(charge)
    with pytest.raises(InvalidOption, match="exactly_once"):
        app.step(exactly_one=True)(charge)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]


async def test_a_subscriber_is_a_function() -> None:
    """It stays callable, is no endpoint that can be asked for, and keeps its options."""
    app = make()

    @app.service("mail").subscribe("orders.*", "stock.#", retry=RetryPolicy(max_attempts=7))
    async def note(message: Message) -> bytes:
        return message.body

    assert await note(Message(body=b"1")) == b"1"
    endpoint = app.functions.endpoints["mail.note"]
    assert (endpoint.topics, endpoint.retry.max_attempts) == (("orders.*", "stock.#"), 7)
    assert app.functions.steps == {}


@pytest.mark.parametrize(
    "topics", [(), ("",), ("a..b",), ("a*",), ("a.b#",), ("ü",), ("a " * 150,)]
)
def test_patterns_of_topics_are_checked(topics: tuple[str, ...]) -> None:
    """A pattern that could match nothing, or none at all, is refused where it is written."""
    with pytest.raises((InvalidName, InvalidOption)):
        make().service("mail").subscribe(*topics)
    with pytest.raises(InvalidOption, match="timeout"):
        make().service("mail").subscribe("a", timeout=0)


async def test_subscribers_in_a_flow() -> None:
    """What a step publishes reaches functions of other services, with one key for all copies."""
    app = make()
    keys: list[str] = []

    @app.service("mail").subscribe("orders.*")
    async def note(order: dict[str, int], context: StepContext) -> None:
        keys.append(context.idempotency_key)
        if len(keys) == 1:
            raise ConnectionError(order)

    workflow = app.workflow("w", Step.publish("orders.paid"))
    async with FlowHarness(app) as test:
        await workflow.run({"total": 5}, id="e-1")
        await test.advance(5)
        assert keys == ["e-1:steps/orders.paid"] * 2
        assert [call.attempt for call in test.calls("mail.note")] == [1, 2]
