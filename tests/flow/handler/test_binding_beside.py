"""Tests of `handler.binding`: functions that stand beside a step's: its prepare hook, its undo."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest

from flow import codec
from flow.context import StepContext, UndoContext
from flow.errors import BindingError
from flow.handler import Binding, Output, bind, bind_prepare, bind_undo
from flow.message import Message
from tests.flow.handler.samples import Hold, Order, complaint

ORDER = {"total": 5}
HOLD = {"id": "h1"}


def charge(order: Order, reserve: Hold, hotel: Annotated[str, Output("book-hotel")]) -> None:
    """Run, with the input and two outputs."""


def pay(order: Order) -> None:
    """Run, with the input alone."""


COMPOSED = bind(charge, requires=["reserve", "ship"])
SINGLE = bind(pay, requires=["reserve"])


def given(function: Any, run: Binding, body: object) -> dict[str, Any]:
    """Return what a hook is called with."""
    handler = bind_prepare(function, run)
    args, kwargs = handler.arguments(codec.dumps(body), {}, StepContext(endpoint="a.b"))
    assert args == ()
    return kwargs


def test_each_parameter_takes_what_the_run_takes() -> None:
    """Outputs are found by the names of steps, and the input under whatever name."""
    body = {"order": ORDER, "reserve": HOLD, "hotel": "h"}

    def same(order: Order, reserve: Hold, hotel: Annotated[str, Output("book-hotel")]) -> None: ...

    def few(bill: Order, room: Annotated[str, Output("book-hotel")]) -> None: ...

    def one(reserve: Hold) -> None: ...

    def contexts(order: Order, context: StepContext, message: Message) -> None: ...

    order, hold = Order(total=5), Hold(id="h1")
    assert given(same, COMPOSED, body) == {"order": order, "reserve": hold, "hotel": "h"}
    assert given(few, COMPOSED, body) == {"bill": order, "room": "h"}
    assert given(one, COMPOSED, body) == {"reserve": hold}
    assert given(contexts, COMPOSED, body)["order"] == order
    assert given(lambda: None, COMPOSED, body) == {}


def test_the_only_parameter_takes_all_of_it() -> None:
    """Where the run takes one value, that is what the hook gets, under whatever name."""

    def look(bill: Order) -> None: ...

    assert given(look, SINGLE, ORDER) == {"bill": Order(total=5)}


def test_an_input_of_its_own_is_one_body() -> None:
    """Of a step with `input=` the fields are taken by their names, or all of it at once."""

    def run(hold: Hold, total: int) -> None: ...

    def whole(value: dict[str, Any]) -> None: ...

    def field(total: int) -> None: ...

    def fields(total: int, hold: Hold, late: bool = True) -> None: ...  # noqa: FBT001, FBT002

    body = {"hold": HOLD, "total": 5}
    assert given(whole, bind(run), body) == {"value": body}
    assert given(field, bind(run), body) == {"total": 5}
    assert "parameter 'late' has no source" in complaint(lambda: given(fields, bind(run), body))


def test_a_run_without_parameters() -> None:
    """A run that takes the raw message gets the input, and one that takes nothing gets none."""

    def raw(message: Message) -> None: ...

    def nothing() -> None: ...

    def look(order: Order) -> None: ...

    assert given(look, bind(raw, requires=()), ORDER) == {"order": Order(total=5)}
    assert given(look, bind(nothing), ORDER) == {"order": Order(total=5)}
    assert complaint(lambda: given(look, bind(nothing, requires=()), None)) == (
        "BindingError: look(): parameter 'order' takes the input, which nothing() does not take"
    )


def test_null_stands_for_a_default() -> None:
    """A default is taken where the run gets null, as in the run itself."""

    def run(order: Order, reserve: Hold) -> None: ...

    def look(bill: Order | None = None, reserve: str = "none") -> None: ...

    binding = bind(run, requires=["reserve"])
    body = {"order": None, "reserve": None}
    assert given(look, binding, body) == {"bill": None, "reserve": "none"}


def _not_taken(ship: Hold) -> None: ...


def _twice(a: Order, b: Order) -> None: ...


def _misspelt(order: Order, reserv: Hold) -> None: ...


def _odd(order: asyncio.Event) -> None: ...


def _undo(undo: UndoContext[int]) -> None: ...


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_not_taken, "'ship' takes the output of 'ship', which charge[(][)] does not take"),
        (_twice, "'b' has no source: 'a' takes the input already"),
        (_misspelt, "'reserv' has no source.*did you mean 'reserve'"),
        (_odd, "'order' has a type that cannot be read"),
        (_undo, "'undo' has nothing to take back"),
    ],
)
def test_a_parameter_without_a_source_is_refused(function: Any, said: str) -> None:
    """Where the hook is declared it is said which parameter has no source."""
    with pytest.raises(BindingError, match=said):
        bind_prepare(function, COMPOSED)


def test_only_an_undo_has_an_undo_context() -> None:
    """A function that is no undo has nothing to take back."""

    def run(order: Order, undo: UndoContext[Hold]) -> None: ...

    assert complaint(lambda: bind(run, requires=())) == (
        "BindingError: run(): parameter 'undo' has nothing to take back: only a function decorated "
        "with `@step.undo` has that"
    )


def test_what_an_undo_says_of_the_output_has_to_make_sense() -> None:
    """A type that JSON has no form for is refused where it stands, and so are two of them."""

    def odd(undo: UndoContext[asyncio.Event]) -> None: ...

    def two(undo: UndoContext[int], more: UndoContext[str]) -> None: ...

    def same(undo: UndoContext[int], more: UndoContext[int], bare: Any) -> None: ...

    assert "parameter 'undo' speaks of an output that cannot be read from JSON: Event" in complaint(
        lambda: bind_undo(odd, SINGLE)
    )
    assert "parameter 'more' says something else" in complaint(lambda: bind_undo(two, SINGLE))
    same.__annotations__["bare"] = UndoContext
    assert bind_undo(same, SINGLE).wants_context


def test_a_hook_is_called_by_its_owner_in_errors() -> None:
    """The errors of a hook name it as whoever binds it says."""

    def look(order: Order) -> None: ...

    handler = bind_prepare(look, SINGLE, owner="shop.pay (look)")
    said = complaint(lambda: handler.arguments(b"{}", {}, None))
    assert said == "InvalidInput: the input of shop.pay (look): order.total is missing"
