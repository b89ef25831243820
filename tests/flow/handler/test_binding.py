"""Binding: which parameter takes what, and what a newcomer is told when that is not clear."""

import socket
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NoReturn

import pytest

from flow.context import StepContext
from flow.errors import BindingError
from flow.handler import Output, bind
from flow.message import Message
from flow.step import Step
from flow.template import Composed, FromInput, FromStep, Literal, Template
from tests.flow.handler.samples import Hold, Order, Receipt, complaint

RESERVE = Step.call("stock.reserve", returns=Hold)
HOTEL = Step.call("travel.book", id="book-hotel.v2", returns=Hold)


def nothing() -> None:
    """Take parameters: nothing."""


def only_context(context: StepContext) -> None:
    """Take parameters: only context."""


def only_message(message: Message | None) -> None:
    """Take parameters: only message."""


def the_input(order: Order, context: StepContext | None) -> None:
    """Take parameters: the input."""


def untyped(order: Any) -> Any:
    """Take parameters: untyped."""


# The checkers let nobody write a function without annotations.
untyped.__annotations__.clear()


def the_output(reserve: Hold) -> None:
    """Take parameters: the output."""


def both(order: Order, reserve: Hold) -> None:
    """Take parameters: both."""


def marked(stay: Annotated[Hold, Output("book-hotel.v2")], other: Order) -> None:
    """Take parameters: marked."""


def marked_with_step(stay: Annotated[Hold | None, "a note", Output(HOTEL)]) -> None:
    """Take parameters: marked with step."""


def marked_inside(stay: Annotated[Hold, Output(HOTEL)] | None) -> None:
    """Take parameters: marked inside."""


def normalised(book_hotel_v2: Hold, reserve: Hold) -> None:
    """Take parameters: normalised."""


def twice(reserve: Hold, again: Annotated[Hold, Output(RESERVE)]) -> None:
    """Take parameters: twice."""


def data_and_message(reserve: Hold, raw: Message) -> None:
    """Take parameters: data and message."""


IN_A_STEP: list[tuple[Callable[..., Any], Template | None, tuple[str, ...]]] = [
    (nothing, Literal(None), ()),
    (only_context, Literal(None), ()),
    (only_message, None, ()),
    (the_input, None, ()),
    (untyped, None, ()),
    (the_output, FromStep("reserve"), ("reserve",)),
    (data_and_message, FromStep("reserve"), ("reserve",)),
    (
        both,
        Composed((("order", FromInput()), ("reserve", FromStep("reserve")))),
        ("reserve",),
    ),
    (
        marked,
        Composed((("stay", FromStep("book-hotel.v2")), ("other", FromInput()))),
        ("book-hotel.v2",),
    ),
    (marked_with_step, FromStep("book-hotel.v2"), ("book-hotel.v2",)),
    (marked_inside, FromStep("book-hotel.v2"), ("book-hotel.v2",)),
    (
        normalised,
        Composed((("book_hotel_v2", FromStep("book-hotel.v2")), ("reserve", FromStep("reserve")))),
        ("book-hotel.v2", "reserve"),
    ),
    (
        twice,
        Composed((("reserve", FromStep("reserve")), ("again", FromStep("reserve")))),
        ("reserve",),
    ),
]


@pytest.mark.parametrize(
    ("function", "template", "requires"), IN_A_STEP, ids=[row[0].__name__ for row in IN_A_STEP]
)
def test_a_steps_parameters_become_a_template(
    function: Callable[..., Any], template: Template | None, requires: tuple[str, ...]
) -> None:
    """In a step, parameters take the outputs that they name, and the one left takes the input."""
    binding = bind(function, requires=[RESERVE, "book-hotel.v2"])
    assert (binding.template, binding.requires) == (template, requires)


@pytest.mark.parametrize("function", [nothing, only_context, the_input, both])
def test_an_endpoint_takes_its_input_as_it_is(function: Callable[..., Any]) -> None:
    """Without requirements to look at, all data belongs to the one input."""
    binding = bind(function)
    assert binding.template is None
    assert binding.requires == ()


def test_the_exact_name_wins() -> None:
    """Of two steps that look the same as a name, one that is spelled so is meant."""

    def charge(a_b: int) -> None: ...

    assert bind(charge, requires=["a-b", "a_b"]).template == FromStep("a_b")


def test_the_result_has_the_type_that_is_declared() -> None:
    """The return annotation is handed on, with None as a type and Any where there is none."""

    def declared() -> Receipt:
        raise NotImplementedError

    def never() -> NoReturn:
        raise RuntimeError

    assert bind(declared).returns is Receipt
    assert bind(nothing).returns is type(None)
    assert bind(never).returns is type(None)
    assert bind(untyped).returns is Any


def test_the_owner_is_named_in_later_errors() -> None:
    """A handler goes by its endpoint where it has one, and by its function where not."""
    assert bind(nothing, owner="stock.nothing").handler.name == "stock.nothing"
    assert bind(nothing).handler.name == "nothing()"


def misspelt(order: Order, reserv: Hold) -> None:
    """Take parameters: misspelt."""


def misspelt_first(reserv: Hold, order: Order) -> None:
    """Take parameters: misspelt first."""


def too_many(order: Order, customer: str, currency: str) -> None:
    """Take parameters: too many."""


def with_default(order: Order, reserv: Hold | None = None) -> None:
    """Take parameters: with default."""


def ambiguous(a_b: int) -> None:
    """Take parameters: ambiguous."""


def bare_output(order: Annotated[Order, Output]) -> None:
    """Take parameters: bare output."""


def two_outputs(order: Annotated[Order, Output("a"), Output("b")]) -> None:
    """Take parameters: two outputs."""


def wrong_output(order: Annotated[Order, Output("no/step")]) -> None:
    """Take parameters: wrong output."""


def message_as_output(reserve: Message) -> None:
    """Take parameters: message as output."""


def context_as_output(context: Annotated[StepContext, Output("reserve")]) -> None:
    """Take parameters: context as output."""


def odd_type(connection: socket.socket) -> None:
    """Take parameters: odd type."""


def odd_type_inside(connections: dict[str, socket.socket], order: Order) -> None:
    """Take parameters: odd type inside."""


def odd_result() -> list[socket.socket]:
    """Take parameters: odd result."""
    raise NotImplementedError


def not_async() -> Awaitable[Order]:
    """Take parameters: not async."""
    raise NotImplementedError


ADVICE = "use a pydantic model, a dataclass, a TypedDict or a builtin type"
REFUSED: list[tuple[Callable[..., Any], list[str], str]] = [
    (
        misspelt,
        ["reserve", "ship"],
        (
            "BindingError: misspelt(): parameter 'reserv' has no source: 'order' takes the input "
            "already, and none of the required steps ('reserve', 'ship') has this name; did you "
            "mean 'reserve'?"
        ),
    ),
    (
        misspelt_first,
        ["reserve"],
        (
            "BindingError: misspelt_first(): parameter 'reserv' has no source: 'order' takes the "
            "input already, and none of the required steps ('reserve') has this name; did you mean "
            "'reserve'?"
        ),
    ),
    (
        with_default,
        ["reserve"],
        (
            "BindingError: with_default(): parameter 'reserv' has no source: 'order' takes the "
            "input already, and none of the required steps ('reserve') has this name; did you mean "
            "'reserve'?"
        ),
    ),
    (
        too_many,
        [],
        (
            "BindingError: too_many(): parameter 'customer' has no source: 'order' takes the input "
            "already, and no required step has this name"
        ),
    ),
    (
        ambiguous,
        ["a-b", "a.b"],
        (
            "BindingError: ambiguous(): parameter 'a_b' may mean each of 'a-b', 'a.b': say which "
            "with Annotated[…, Output(…)]"
        ),
    ),
    (
        bare_output,
        [],
        "BindingError: bare_output(): parameter 'order' needs one step: Output(\"step-id\")",
    ),
    (
        two_outputs,
        [],
        "BindingError: two_outputs(): parameter 'order' needs one step: Output(\"step-id\")",
    ),
    (
        wrong_output,
        [],
        (
            "InvalidName: step 'no/step' is not a valid name: it must start with a letter or digit "
            "and hold at most 200 letters, digits, '.', '_' and '-'"
        ),
    ),
    (
        message_as_output,
        ["reserve"],
        (
            "BindingError: message_as_output(): parameter 'reserve' cannot take a step's output: a "
            "Message is no data"
        ),
    ),
    (
        context_as_output,
        [],
        (
            "BindingError: context_as_output(): parameter 'context' cannot take a step's output: a "
            "StepContext is no data"
        ),
    ),
    (
        odd_type,
        [],
        (
            "BindingError: odd_type(): parameter 'connection' has a type that cannot be read from "
            f"JSON: socket; {ADVICE}"
        ),
    ),
    (
        odd_result,
        [],
        (
            "BindingError: odd_result(): parameter 'return' stands for what is returned, whose "
            f"type cannot be written as JSON: list[socket]; {ADVICE}"
        ),
    ),
    (
        not_async,
        [],
        (
            "BindingError: not_async(): parameter 'return' stands for what is returned, whose type "
            f"cannot be written as JSON: Awaitable[Order]; {ADVICE}"
        ),
    ),
]


@pytest.mark.parametrize(
    ("function", "requires", "text"), REFUSED, ids=[row[0].__name__ for row in REFUSED]
)
def test_a_parameter_without_a_source_is_refused(
    function: Callable[..., Any], requires: list[str], text: str
) -> None:
    """What cannot be bound is refused where it is declared, with words that help."""
    assert complaint(lambda: bind(function, requires=requires)) == text


def test_an_endpoint_takes_no_outputs() -> None:
    """Only steps have steps before them."""
    assert complaint(lambda: bind(marked)) == (
        "BindingError: marked(): parameter 'stay' takes the output of 'book-hotel.v2', but only a "
        "step without `input=` can do that"
    )


def test_the_odd_type_of_several_is_named() -> None:
    """Of several parameters the one whose type is wrong is named, with the type as written."""
    assert complaint(lambda: bind(odd_type_inside)) == (
        "BindingError: odd_type_inside(): parameter 'connections' has a type that cannot be read "
        f"from JSON: dict[str, socket]; {ADVICE}"
    )


def test_the_error_has_its_fields() -> None:
    """A program can look at the function, the parameter and the names that were possible."""
    with pytest.raises(BindingError) as caught:
        bind(misspelt, requires=["book-hotel", "reserve"])
    error = caught.value
    assert (error.function, error.parameter) == ("misspelt", "reserv")
    assert list(error.known) == ["book_hotel", "reserve"]
