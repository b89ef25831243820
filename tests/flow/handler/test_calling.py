"""Handlers: bodies become arguments, results become bodies, and what does not fit is told."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from math import inf, nan
from typing import Annotated, Any, Final

import pytest
from hypothesis import example, given, strategies as st
from pydantic import BaseModel, Field, field_serializer, field_validator
from typing_extensions import TypedDict

from flow.context import StepContext
from flow.errors import InvalidInput, InvalidName, TooLarge
from flow.handler import Handler, bind, decode_result, encode_value, schema
from flow.message import Message
from flow.names import BODY_LIMIT, REQUEST_LIMIT
from tests.flow.handler.samples import Hold, Order, Receipt, complaint

NO_LINES: list[str] = []


class Address(TypedDict):
    """An address, as a TypedDict."""

    city: str


class Aliased(BaseModel):
    """A model whose field has another name in JSON."""

    order_id: str = Field(alias="orderId")


class Checked(BaseModel):
    """A model with a rule of its own."""

    total: int

    @field_validator("total")
    @classmethod
    def positive(cls, value: int) -> int:
        """Refuse what is not positive."""
        if value <= 0:
            raise ValueError("must be positive")
        return value


class Explosive(BaseModel):
    """A model that cannot be written."""

    total: int

    @field_serializer("total")
    def explode(self, value: int) -> int:
        """Fail."""
        raise ValueError(f"no {value} today")


def handler_of(annotation: Any, returns: Any = Any, default: Any = ...) -> Handler:
    """Return the handler of a function `charge` with one parameter of a type."""

    def charge(order: Any) -> None: ...

    charge.__annotations__ = {"order": annotation, "return": returns}
    if default is not ...:
        charge.__defaults__ = (default,)
    return bind(charge, owner="payments.charge").handler


def read(annotation: Any, body: bytes) -> Any:
    """Return what a parameter of a type becomes."""
    return handler_of(annotation).arguments(body, {}, None).kwargs["order"]


def write(returns: Any, result: object) -> bytes:
    """Return what a result of a declared type becomes."""
    return handler_of(Any, returns).encode(result)[0]


@pytest.mark.parametrize(
    ("annotation", "body", "value"),
    [
        (Any, b'{"total": [1, null]}', {"total": [1, None]}),
        (Order, b'{"total": "5"}', Order(total=5)),
        (Receipt, b'{"amount": 5}', Receipt(5.0)),
        (Address, b'{"city": "Oslo"}', {"city": "Oslo"}),
        (Aliased, b'{"orderId": "a"}', Aliased(orderId="a")),
        (list[Order], b'[{"total": 1}]', [Order(total=1)]),
        (dict[str, Hold], b'{"x": {"id": "h"}}', {"x": Hold(id="h")}),
        (int | None, b"null", None),
        (Order | Hold, b'{"id": "h"}', Hold(id="h")),
        (date, b'"2024-02-29"', date(2024, 2, 29)),
        (datetime, b'"2024-02-29T12:00:00Z"', datetime(2024, 2, 29, 12, tzinfo=UTC)),
        (tuple[int, str], b'[1, "a"]', (1, "a")),
    ],
)
def test_bodies_are_read_by_type(annotation: Any, body: bytes, value: object) -> None:
    """The body becomes a value of the parameter's type, as pydantic reads JSON."""
    assert read(annotation, body) == value


def test_parameters_are_filled_by_name() -> None:
    """Several parameters are fields of the body, and the context and the message join them."""

    def charge(
        order: Order, hold: Hold, context: StepContext, raw: Message, note: str = "none"
    ) -> None: ...

    handler = bind(charge).handler
    body = b'{"order": {"total": 1}, "hold": {"id": "h"}, "more": 1}'
    context = StepContext(endpoint="payments.charge")
    headers = {"tenant": "a", "flow-hop": "1", "x-death": "2"}
    args, kwargs = handler.arguments(body, headers, context)
    assert handler.wants_context
    assert args == ()
    assert kwargs == {
        "order": Order(total=1),
        "hold": Hold(id="h"),
        "context": context,
        "raw": Message({"tenant": "a"}, body),
        "note": "none",
    }


def test_a_body_that_nobody_wants_is_not_looked_at() -> None:
    """A handler without data is called whatever the body is."""

    def ping() -> None: ...

    assert bind(ping).handler.arguments(b"not JSON", {}, None) == ((), {})


@pytest.mark.parametrize(
    ("body", "value"), [(b"null", 7), (b" null ", 7), (b"3", 3), (b'"4"', 4), (b"0", 0)]
)
def test_null_is_no_input_where_there_is_a_default(body: bytes, value: int) -> None:
    """A default stands for an input that was not given."""
    handler = handler_of(int, default=7)
    assert handler.arguments(body, {}, None).kwargs == {"order": value}


def test_null_is_no_output_where_there_is_a_default() -> None:
    """In a step, each parameter with a default takes it when its source is null."""

    def ship(
        order: Order | None = None, hold: str = "none", lines: list[str] = NO_LINES
    ) -> None: ...

    handler = bind(ship, requires=["hold", "lines"]).handler
    body = b'{"order": null, "hold": null, "lines": null}'
    expected: dict[str, Any] = {"order": None, "hold": "none", "lines": []}
    assert handler.arguments(body, {}, None).kwargs == expected


def test_null_is_a_value_among_the_fields_of_an_endpoint() -> None:
    """In an endpoint with several parameters a default stands only for a missing field."""

    def search(text: str, limit: int | None = 100) -> None: ...

    handler = bind(search).handler
    assert handler.arguments(b'{"text": "a"}', {}, None).kwargs["limit"] == 100
    assert handler.arguments(b'{"text": "a", "limit": null}', {}, None).kwargs["limit"] is None


WRONG_INPUTS: list[tuple[Any, bytes, str]] = [
    (
        Order,
        b'{"total": "five"}',
        (
            "order.total should be a valid integer, unable to parse string as an integer (it is "
            "'five')"
        ),
    ),
    (Order, b"{}", "order.total is missing"),
    (Order, b"[1]", "order should be an object (it is an array)"),
    (Order, b"null", "order should be an object (it is null)"),
    (int, b'{"a": 1}', "order should be a valid integer (it is an object)"),
    (str, b"true", "order should be a valid string (it is true)"),
    (Checked, b'{"total": -1}', "order.total: must be positive (it is -1)"),
    (
        list[Order],
        b'[{"total": 1}, {"total": null}]',
        "order[1].total should be a valid integer (it is null)",
    ),
    (
        list[int],
        b"[null, null, null, null, null, null, null]",
        (
            "order[0] should be a valid integer (it is null); order[1] should be a valid integer "
            "(it is null); order[2] should be a valid integer (it is null); order[3] should be a "
            "valid integer (it is null); order[4] should be a valid integer (it is null); and 2 "
            "more"
        ),
    ),
    (
        date,
        b'"the twenty-ninth of February in the year 2024"',
        (
            "order should be a valid date or datetime, invalid character in year (it is 'the "
            "twenty-ninth of February in the yea…)"
        ),
    ),
    (
        Any,
        b"{'total': 1}",
        (
            "it is not valid JSON: unexpected character, expected a string key: line 1 column 2 "
            "(char 1)"
        ),
    ),
    (
        Any,
        b"",
        "it is not valid JSON: Input is a zero-length, empty document: line 1 column 1 (char 0)",
    ),
]


@pytest.mark.parametrize(("annotation", "body", "text"), WRONG_INPUTS)
def test_a_wrong_input_is_told_field_by_field(annotation: Any, body: bytes, text: str) -> None:
    """The error names the handler, the fields and what is wrong with each."""
    error = f"InvalidInput: the input of payments.charge: {text}"
    assert complaint(lambda: read(annotation, body)) == error


def test_a_wrong_input_of_several_parameters_is_told() -> None:
    """The path of a problem begins with the parameter."""

    def charge(order: Order, hold: Hold) -> None: ...

    handler = bind(charge, requires=["hold"]).handler
    body = b'{"order": {"total": []}, "hold": {}}'
    assert complaint(lambda: handler.arguments(body, {}, None)) == (
        "InvalidInput: the input of charge(): order.total should be a valid integer (it is an "
        "array); hold.id is missing"
    )
    assert complaint(lambda: handler.arguments(b"[]", {}, None)) == (
        "InvalidInput: the input of charge(): it should be an object (it is an array)"
    )


@pytest.mark.parametrize("body", [b"NaN", b"[Infinity]", b"-Infinity", b"1e400", b'"\\ud800"'])
@pytest.mark.parametrize("annotation", [Any, float, list[float], str])
def test_what_is_not_json_is_not_read(annotation: Any, body: bytes) -> None:
    """What pydantic would take for JSON, but nobody else does, is refused for every type."""
    with pytest.raises(InvalidInput, match="it is not valid JSON"):
        read(annotation, body)


def test_a_body_is_bytes() -> None:
    """A body that is not bytes is refused with words, and not by accident."""
    body: Any = {"total": 1}
    assert complaint(lambda: read(Order, body)) == (
        "InvalidInput: the input of payments.charge: its body is of type dict, not bytes"
    )


def test_a_request_has_a_limit() -> None:
    """A body that is too large is refused before it is parsed."""
    with pytest.raises(TooLarge) as caught:
        read(Any, b"[" * (REQUEST_LIMIT + 1))
    assert (caught.value.what, caught.value.limit) == (
        "the input of payments.charge",
        REQUEST_LIMIT,
    )


@pytest.mark.parametrize("body", [b"[" * 300 + b"]" * 300, b"[" * 5000])
def test_a_deep_body_is_refused(body: bytes) -> None:
    """Nesting without end is an error, and not a crash."""
    with pytest.raises(InvalidInput):
        read(list[Any], body)


@pytest.mark.parametrize(
    ("returns", "result", "text"),
    [
        (Any, {"a": (1, None)}, b'{"a":[1,null]}'),
        (Any, Order(total=1), b'{"total":1,"lines":[]}'),
        (Any, [Receipt(1.5)], b'[{"amount":1.5,"note":null}]'),
        (Order, Order(total=1), b'{"total":1,"lines":[]}'),
        (Order, {"total": 1}, b'{"total":1,"lines":[]}'),
        (Receipt, Receipt(1.5), b'{"amount":1.5,"note":null}'),
        (Address, {"city": "Oslo"}, b'{"city":"Oslo"}'),
        (Aliased, Aliased(orderId="a"), b'{"orderId":"a"}'),
        (date, date(2024, 2, 29), b'"2024-02-29"'),
        (type(None), None, b"null"),
        (object, [1], b"[1]"),
        (float, 1, b"1.0"),
    ],
)
def test_results_are_written_by_type(returns: Any, result: object, text: bytes) -> None:
    """A result is written as its declared type, under the names by which it is read again."""
    assert write(returns, result) == text


@pytest.mark.parametrize("returns", [Any, Message, Order, Message | None])
def test_a_message_is_sent_as_it_is(returns: Any) -> None:
    """A handler that returns a Message says what goes back, whatever it declares."""
    message = Message({"tenant": "a"}, b"[1, 2]")
    assert handler_of(Any, returns).encode(message) == (b"[1, 2]", {"tenant": "a"})


def not_a_number() -> Receipt:
    """Return a receipt over an impossible amount."""
    return Receipt(nan)


def mutated() -> Order:
    """Return an order that was made unfit behind the model's back."""
    order = Order(total=1)
    object.__setattr__(order, "__dict__", {"total": "many", "lines": []})
    return order


WRONG_RESULTS: list[tuple[Any, Callable[[], object], str]] = [
    (Order, lambda: {"total": "x"}, "it is declared as Order, but total should be a valid integer"),
    (Order, lambda: None, "it is declared as Order, but it should be a valid dictionary or "),
    (type(None), lambda: 5, "it is declared as None, but it should be None (it is 5)"),
    (
        list[Order],
        lambda: [dict[str, Any]()],
        "it is declared as list[Order], but [0].total is missing",
    ),
    (Message, lambda: {"a": 1}, "it is declared as Message, but it is of type dict"),
    (Message, lambda: None, "it is declared as Message, but it is of type NoneType"),
    (float, lambda: nan, "it is NaN, which JSON has no form for"),
    (Any, lambda: {"a": [1, -inf]}, "a[1] is infinite, which JSON has no form for"),
    (Receipt, not_a_number, "amount is NaN, which JSON has no form for"),
    (Any, lambda: [not_a_number()], "[0].amount is NaN, which JSON has no form for"),
    (Any, object, "it cannot be written as JSON: Unable to serialize unknown type: <class 'obj"),
    (
        Any,
        lambda: "\ud800",
        "it cannot be written as JSON: UnicodeEncodeError: 'utf-8' codec can't",
    ),
    (Any, lambda: b"\xff", "it cannot be written as JSON: "),
    (Order, mutated, "it cannot be written as JSON: Pydantic serializer warnings: "),
    (Explosive, lambda: Explosive(total=1), "it cannot be written as JSON: Error calling function"),
    (int, lambda: 2**64, "the integer 18446744073709551616 does not fit into 64 bits"),
    (Any, lambda: Message(body=b"{"), "it is not valid JSON: "),
    (Any, lambda: Message(body=b"NaN"), "it is not valid JSON: "),
]


@pytest.mark.parametrize(("returns", "result", "text"), WRONG_RESULTS)
def test_a_wrong_result_is_told(returns: Any, result: Callable[[], object], text: str) -> None:
    """A result that is not what was declared, or not JSON, is refused, and never made to fit."""
    error = f"InvalidInput: the result of payments.charge: {text}"
    assert complaint(lambda: write(returns, result())).startswith(error)


def test_a_circle_is_refused() -> None:
    """A result that contains itself is an error, and not a crash."""
    circle: list[Any] = []
    circle.append(circle)
    assert "Circular reference detected" in complaint(lambda: write(Any, circle))


@pytest.mark.parametrize("result", ["x" * BODY_LIMIT, Message(body=b'"' + b"x" * BODY_LIMIT)])
def test_a_result_has_a_limit(result: object) -> None:
    """A result that is too large is refused, and the limit is told."""
    with pytest.raises(
        TooLarge, match=r"the result of payments.charge has 262,14\d bytes; at most"
    ):
        write(Any, result)


@pytest.mark.parametrize("headers", [{"flow-id": "1"}, {"a b": "1"}])
def test_headers_of_the_system_are_refused(headers: Mapping[str, str]) -> None:
    """A handler cannot send headers that would steer the message."""
    with pytest.raises(InvalidName):
        handler_of(Any).encode(Message(headers))


def test_schemas_are_told() -> None:
    """The JSON a handler takes and returns can be shown as JSON schemas."""

    def charge(order: int, reserve: Address) -> Hold:
        raise NotImplementedError

    found = schema(bind(charge, requires=["reserve"]).handler)
    assert found["input"] is not None
    assert found["output"] is not None
    assert found["input"]["required"] == ["order", "reserve"]
    assert found["output"]["properties"] == {"id": {"title": "Id", "type": "string"}}


def test_a_schema_that_does_not_exist_is_none() -> None:
    """Where there is no data, and where pydantic has no schema, there is none."""

    def odd(order: Callable[[], int]) -> Message:
        raise NotImplementedError

    def ping() -> None: ...

    assert schema(bind(odd).handler) == {"input": None, "output": None}
    assert schema(bind(ping).handler)["input"] is None


PLAIN_TYPES: Final = (int, float, str, bool, None, Any)
ANNOTATED: Final[Any] = Annotated
NUMBERS: Final = st.integers(-(2**70), 2**70) | st.floats() | st.just(-(2**63)) | st.just(2**64)
VALUES: Final = st.recursive(
    NUMBERS | st.booleans() | st.none() | st.text(st.characters()) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
BODIES: Final = VALUES.map(lambda value: json.dumps(value).encode()) | st.sampled_from(
    [b" 1 ", b"1e2", b"1e400", b"-0", b"-0.0", b"05", b'"5"', b'"true"', b'"\\/"', b"", b"nul"]
)


def takes(annotation: Any) -> Handler:
    """Return a handler that takes, and returns, values of a type."""

    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": annotation, "return": annotation}
    return bind(function, owner="it").handler


def outcome(call: Callable[[], Any]) -> tuple[str, str]:
    """Return what a call returns, with its type, or the error that it raises."""
    try:
        result = call()
    except (InvalidInput, TooLarge) as error:
        text = str(error).replace("Annotated[", "").replace(", 'long']", "")
        return type(error).__name__, text.replace("NoneType", "None")
    return type(result).__name__, repr(result)


PAIRS: Final = [(takes(kind), takes(ANNOTATED[kind, "long"])) for kind in PLAIN_TYPES]


@given(body=BODIES, result=VALUES)
@example(b"18446744073709551616", 2**64)
@example(b"NaN", nan)
def test_plain_values_are_read_and_written_as_all_others(body: bytes, result: object) -> None:
    """What is not validated because it is plain comes out as if it were, and so do the errors."""

    def outcomes(handler: Handler) -> list[tuple[str, str]]:
        return [
            outcome(lambda: handler.arguments(body, {}, None).kwargs["value"]),
            outcome(lambda: handler.encode(result)),
        ]

    for short, long in PAIRS:
        assert outcomes(short) == outcomes(long)


@given(body=BODIES, value=VALUES)
@example(b"18446744073709551616", 2**64)
@example(b"NaN", nan)
def test_plain_values_of_clients_are_read_and_written_as_all_others(
    body: bytes, value: object
) -> None:
    """The same holds for the results that a client reads, and for the inputs that it writes."""

    def read(returns: Any) -> tuple[str, str]:
        return outcome(lambda: decode_result(returns, body))

    for kind in (int, float, str, bool, type(None)):
        assert read(kind) == read(ANNOTATED[kind, "long"])
    written = outcome(lambda: PAIRS[-1][1].encode(value)[0])
    found = outcome(lambda: encode_value(value, "the result of it"))
    # Of whatever type a result is declared to be, the error says so; an input has no such type.
    assert found == (written[0], written[1].replace("it is declared as Any, but ", ""))
