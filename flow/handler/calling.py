"""The handler: turns a request's body into arguments, and a result into a response's body."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypedDict, cast

from pydantic import PydanticInvalidForJsonSchema, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaWarningKind

from flow import codec
from flow.context import StepContext
from flow.errors import InvalidInput, TooLarge
from flow.handler.values import plain_body, plain_results, problems, to_json, type_name
from flow.message import Message, check_headers, user_headers
from flow.names import REQUEST_LIMIT

__all__ = ["Arguments", "Handler", "Reading", "Schema", "Writing", "schema"]

_NO_HEADERS: Final[Mapping[str, str]] = {}


class Arguments(NamedTuple):
    """What a function is called with.

    Args:
        args: By position.
        kwargs: By name.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Reading(NamedTuple):
    """How a body becomes arguments.

    Args:
        adapter: Reads the body: into the one value, or into an object with a field for every
            parameter. None if no parameter takes anything from the body.
        single: The parameter whose value the body is, or an empty string.
        contexts: The parameters that take the context.
        messages: The parameters that take the whole message.
        positional: The parameters that can only be given by position, in order.
        plain: The types of JSON values that the one value may have as it is: to validate them
            would change nothing.
    """

    adapter: TypeAdapter[Any] | None
    single: str
    contexts: tuple[str, ...]
    messages: tuple[str, ...]
    positional: tuple[str, ...]
    plain: frozenset[type] = frozenset()


class Writing(NamedTuple):
    """How a result becomes a body.

    Args:
        returns: The declared type.
        adapter: Checks and writes results.
    """

    returns: Any
    adapter: TypeAdapter[Any]


class Schema(TypedDict):
    """What JSON a handler takes and returns, as JSON schemas; None where there is none."""

    input: dict[str, Any] | None
    output: dict[str, Any] | None


class Handler:
    """A function that can be called with a body and answers with one; made by `bind`.

    Args:
        function: The function.
        name: What it is called in errors.
        is_async: Whether what it returns has to be awaited.
        reading: How a body becomes its arguments.
        writing: How its result becomes a body.

    Attributes:
        wants_context: Whether a parameter takes the context.
    """

    __slots__ = (
        "_input",
        "_plain_results",
        "_result",
        "function",
        "is_async",
        "name",
        "reading",
        "wants_context",
        "writing",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        *,
        is_async: bool,
        reading: Reading,
        writing: Writing,
    ) -> None:
        """Keep what `bind` has found out."""
        self.function = function
        self.name = name
        self.is_async = is_async
        self.reading = reading
        self.writing = writing
        self._input = f"the input of {name}"
        self._result = f"the result of {name}"
        self._plain_results = plain_results(writing.returns)
        self.wants_context = bool(reading.contexts)

    def arguments(
        self,
        body: bytes,
        headers: Mapping[str, str],
        context: StepContext | None,
    ) -> Arguments:
        """Return what to call the function with.

        Args:
            body: The JSON text of the request.
            headers: All headers of the request; the function sees those of users.
            context: The attempt; needed only if `wants_context`.

        Raises:
            InvalidInput: The body is not JSON, or not what the parameters are annotated with;
                the error names the first problems, with the field of each.
            TooLarge: The body has more than REQUEST_LIMIT bytes.
        """
        reading = self.reading
        values = {} if reading.adapter is None else self._read(body, reading.adapter)
        for name in reading.contexts:
            values[name] = context
        if reading.messages:
            message = Message(user_headers(headers), body)
            for name in reading.messages:
                values[name] = message
        if not reading.positional:
            return Arguments((), values)
        return Arguments(tuple(values.pop(name) for name in reading.positional), values)

    def encode(self, result: object) -> tuple[bytes, Mapping[str, str]]:
        """Return the body and the headers of the response.

        A result is written as its declared type: what a subclass adds is left out. A Message is
        sent as it is.

        Args:
            result: What the function returned.

        Raises:
            InvalidInput: It is not of the declared type, or JSON has no form for it.
            InvalidName: A Message has a header that users cannot set.
            TooLarge: It has more than BODY_LIMIT bytes, or the headers are too large.
        """
        # Most results are plain. They are written in one step, by a third of the way below.
        if type(result) in self._plain_results and (body := plain_body(result)) is not None:
            return body, _NO_HEADERS
        if isinstance(result, Message):
            return codec.check_body(result.body, self._result), check_headers(result.headers)
        returns, adapter = self.writing
        if returns is Any:
            return to_json(adapter, result, self._result), _NO_HEADERS
        if returns is Message:
            kind = type(result).__name__
            raise InvalidInput(self._result, f"{_declared(returns)}it is of type {kind}")
        try:
            value = adapter.validator.validate_python(result)
        except ValidationError as error:
            raise InvalidInput(self._result, _declared(returns) + problems(error)) from error
        return to_json(adapter, value, self._result), _NO_HEADERS

    def _read(self, body: bytes, adapter: TypeAdapter[Any]) -> dict[str, Any]:
        if not isinstance(body, bytes):
            raise InvalidInput(self._input, f"its body is of type {type(body).__name__}, not bytes")
        if len(body) > REQUEST_LIMIT:
            raise TooLarge(self._input, len(body), REQUEST_LIMIT)
        # Pydantic takes NaN, and numbers beyond all bounds, for JSON. The codec does not.
        value: Any = codec.loads(body, self._input)
        single = self.reading.single
        if type(value) in self.reading.plain:
            return {single: value}
        try:
            value = adapter.validator.validate_json(body)
        except ValidationError as error:
            raise InvalidInput(self._input, problems(error, single)) from error
        if single:
            return {single: value}
        return cast("dict[str, Any]", vars(value))


def _declared(returns: object) -> str:
    return f"it is declared as {type_name(returns)}, but "


class _Generator(GenerateJsonSchema):
    """Leaves out what it cannot express, such as odd defaults, without a word."""

    ignored_warning_kinds: "set[JsonSchemaWarningKind]" = {  # noqa: RUF012 - pydantic's own form
        "non-serializable-default",
        "skipped-choice",
    }


def schema(handler: Handler) -> Schema:
    """Return what JSON a handler takes and returns.

    Args:
        handler: The handler.

    Returns:
        The JSON schemas. One is None where the handler takes nothing from the body or returns a
        Message, and where the type has no JSON schema.
    """
    returns, writer = handler.writing
    return {
        "input": _schema_of(handler.reading.adapter, "validation"),
        "output": None if returns is Message else _schema_of(writer, "serialization"),
    }


def _schema_of(adapter: TypeAdapter[Any] | None, mode: JsonSchemaMode) -> dict[str, Any] | None:
    if adapter is None:
        return None
    try:
        return adapter.json_schema(schema_generator=_Generator, mode=mode)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return None
