"""Signatures: what may be a handler, and how its annotations are worked out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict

from flow.errors import BindingError
from flow.handler import bind
from tests.flow.handler.samples import Order, complaint

if TYPE_CHECKING:
    from tests.flow.handler.samples import Hold


class Payments:
    """A service as an object."""

    async def charge(self, order: Order) -> int:
        """Charge an order."""
        return order.total

    @staticmethod
    def refund(order: Order) -> int:
        """Refund an order."""
        return -order.total

    def __call__(self, order: Order, factor: int = 2) -> int:
        """Multiply an order."""
        return order.total * factor


async def charge(order: Order, factor: int) -> int:
    """Charge a multiple of an order."""
    return order.total * factor


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function, carelessly: the wrapper of a coroutine function is none."""

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def unannotated(order: Any) -> Any:
    """Return what came."""
    return order


# The checkers let nobody write a function without annotations.
unannotated.__annotations__.clear()


def call(function: Callable[..., Any], body: bytes) -> Any:
    """Call a function with a body, through its handler."""
    args, kwargs = bind(function).handler.arguments(body, {}, None)
    return function(*args, **kwargs)


@pytest.mark.parametrize(
    ("function", "body", "result"),
    [
        (Payments.refund, b'{"total": 3}', -3),
        (Payments(), b'{"order": {"total": 3}}', 6),
        (partial(Payments(), factor=4), b'{"total": 3}', 12),
        (partial(partial(Payments()), factor=5), b'{"total": 3}', 15),
        (logged(Payments.refund), b'{"total": 3}', -3),
        (unannotated, b'{"total": 3}', {"total": 3}),
    ],
)
def test_callables_are_bound(function: Callable[..., Any], body: bytes, result: object) -> None:
    """Functions, objects, partials and wrappers can be handlers."""
    assert call(function, body) == result


async def test_coroutine_functions_are_known_through_wrappers() -> None:
    """What has to be awaited is known for methods, partials and wrapped functions."""
    assert bind(Payments().charge).handler.is_async
    assert bind(partial(charge, factor=2)).handler.is_async
    assert bind(logged(charge)).handler.is_async
    assert not bind(Payments()).handler.is_async
    assert await call(partial(charge, factor=2), b'{"total": 3}') == 6
    assert await call(logged(charge), b'{"order": {"total": 3}, "factor": 3}') == 9


def test_positional_parameters_are_given_by_position() -> None:
    """A parameter that has no name for callers is still bound by its own."""

    def scale(order: Order, factor: int, /, *, offset: int = 1) -> int:
        return order.total * factor + offset

    assert call(scale, b'{"order": {"total": 3}, "factor": 4}') == 13


def test_local_classes_are_found() -> None:
    """An annotation that is a string may name classes of the function around it."""

    class Item(BaseModel):
        sku: str

    @dataclass
    class Cart:
        items: list[Item]

    class Extra(TypedDict):
        cart: Cart

    def first(cart: Cart, extra: Extra | None = None) -> Item:
        return cart.items[0]

    assert call(first, b'{"cart": {"items": [{"sku": "a"}]}}') == Item(sku="a")
    assert bind(first).returns is Item


def test_local_classes_are_found_from_methods() -> None:
    """A local class can have handlers that name other local classes."""

    class Item(BaseModel):
        sku: str

    class Shop:
        def sku(self, item: Item) -> str:
            return item.sku

    assert call(Shop().sku, b'{"sku": "a"}') == "a"


def test_the_nearest_local_name_is_meant() -> None:
    """Of classes of the same name the one that is nearer to the function is taken."""

    class Item(BaseModel):
        outer: int

    def inner() -> Callable[..., Any]:
        class Item(BaseModel):
            inner: int

        def take(item: Item) -> int:
            return item.inner

        bind(take)
        return take if call(take, b'{"inner": 1}') == 1 else print

    assert call(inner, b"null")(Item(outer=1).model_copy(update={"inner": 5})) == 5


def variadic(*orders: Order) -> None:
    """Take parameters: variadic."""


def variadic_names(**orders: Order) -> None:
    """Take parameters: variadic names."""


def generator(order: Order) -> Iterator[int]:
    """Yield instead of returning."""
    yield order.total


async def asynchronous_generator(order: Order) -> AsyncIterator[int]:
    """Yield instead of returning."""
    yield order.total


def for_checkers_only(hold: Hold) -> None:
    """Take parameters: for checkers only."""


NOT_HANDLERS: list[tuple[Any, str]] = [
    (5, "int(): parameter '(all)' cannot be seen: 5 cannot be called"),
    (
        Order,
        (
            "Order(): parameter '(all)' cannot be filled: it is a class; give an object or a "
            "function instead"
        ),
    ),
    (
        iter,
        (
            "iter(): parameter '(all)' cannot be seen: Python knows no signature of it; wrap it in "
            "a function"
        ),
    ),
    (
        variadic,
        (
            "variadic(): parameter '*orders' takes any number of values, of which none has a name: "
            "write them out"
        ),
    ),
    (
        variadic_names,
        (
            "variadic_names(): parameter '**orders' takes any number of values, of which none has "
            "a name: write them out"
        ),
    ),
    (
        generator,
        (
            "generator(): parameter 'return' stands for what is returned: a handler returns one "
            "result, and does not yield"
        ),
    ),
    (
        asynchronous_generator,
        (
            "asynchronous_generator(): parameter 'return' stands for what is returned: a handler "
            "returns one result, and does not yield"
        ),
    ),
    (
        Payments.charge,
        (
            "charge(): parameter 'self' is the object of a method: bind the method of an object, "
            "not that of its class"
        ),
    ),
    (
        for_checkers_only,
        (
            "for_checkers_only(): parameter 'hold' has the annotation 'Hold', but 'Hold' is not "
            "known there: import or define it before the function, and not only for type checkers"
        ),
    ),
]


@pytest.mark.parametrize(("candidate", "text"), NOT_HANDLERS)
def test_what_cannot_be_a_handler_is_refused(candidate: Any, text: str) -> None:
    """What cannot be called with named data is refused, and told why."""
    assert complaint(lambda: bind(candidate)) == f"BindingError: {text}"


def test_an_annotation_that_is_no_type_is_refused() -> None:
    """A string that is not Python is refused like a name that is not known."""

    def charge(order: int) -> None: ...

    charge.__annotations__["order"] = "list["
    with pytest.raises(BindingError, match=r"charge\(\): parameter '\(all\)' cannot be read: "):
        bind(charge)


def test_a_class_that_is_not_complete_is_refused() -> None:
    """A model that refers to a class which does not exist is refused, with that class's name."""

    class Incomplete(BaseModel):
        other: Nowhere  # type: ignore[name-defined] # noqa: F821 # pyright: ignore[reportUndefinedVariable, reportUnknownVariableType]

    def charge(order: Incomplete) -> None: ...

    text = complaint(lambda: bind(charge))
    assert "parameter 'order' has a type that cannot be read from JSON: Incomplete (" in text
    assert "Nowhere" in text
