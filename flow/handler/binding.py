"""Binding: where the value of each parameter of a handler comes from.

The rules
---------
* A parameter annotated `StepContext` takes the context. One annotated `Message` takes the whole
  request, raw. Both may be optional.
* Every other parameter takes data. In a step (`requires` is given) one that is named after a
  required step, or is `Annotated[…, Output("step-id")]`, takes that step's output; '-' and '.' in
  an id are '_' in a name. At most one remains, and takes the execution's input.
* In an endpoint (`requires` is None) all of them belong to the input: one is the input, several
  are fields of it by name.
* With one data parameter the body is its value; with several the body is an object with a field
  for each; with none the body is not looked at.
* `null` stands for "there is none": a parameter with a default takes it then. In an endpoint with
  several data parameters `null` is a value like others, and a default stands for a missing field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, Final, Never, NoReturn

from pydantic import TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator

from flow.context import StepContext
from flow.errors import BindingError, listed, nearest
from flow.handler.calling import Handler, Reading, Writing
from flow.handler.signature import (
    MISSING,
    Parameter,
    Signature,
    alternatives,
    is_async,
    metadata,
    read_signature,
)
from flow.handler.values import UnsuitableType, adapter_of, plain_values
from flow.message import Message
from flow.names import check_name
from flow.step import Composed, FromInput, FromStep, Literal, Step, Template

__all__ = ["Binding", "Output", "bind"]

_ANNOTATED: Final[Any] = Annotated
_ADVICE: Final = "use a pydantic model, a dataclass, a TypedDict or a builtin type"


@dataclass(frozen=True, slots=True)
class Output:
    """Says in an annotation that a parameter takes a step's output.

    `hotel: Annotated[Booking, Output("book-hotel")]`. The step is required by that alone.

    Args:
        step: The step, or its id.
    """

    step: Step[Any] | str

    @property
    def id(self) -> str:
        """The step's id.

        Raises:
            InvalidName: It cannot be the id of a step.
        """
        return check_name("step", self.step if isinstance(self.step, str) else self.step.id)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a function's signature means.

    Args:
        template: What the step's input is made of; None for the execution's input as it is.
        requires: The ids of the steps whose outputs the function takes, in order.
        returns: The type of its result; Any if it does not say.
        handler: Calls the function with bodies.
    """

    template: Template | None
    requires: tuple[str, ...]
    returns: Any
    handler: Handler


@dataclass(frozen=True, slots=True)
class _Data:
    """A parameter that takes data, and the step that it comes from: empty for the input."""

    parameter: Parameter
    step: str


def bind(
    function: Callable[..., Any],
    *,
    requires: "Sequence[Step[Any] | str] | None" = None,
    owner: str = "",
) -> Binding:
    """Find out where a function's arguments come from, and how its result is written.

    Everything is built here, once, so that a wrong annotation is found where it stands.

    Args:
        function: A function (async or not), a bound method, a partial or a callable object.
        requires: The steps (or their ids) whose outputs its parameters may be named after; None
            for an endpoint, or a step with an input of its own: all data is one input then.
        owner: What the handler is called when its input or its result is wrong, such as
            `payments.charge`; by default the function's name.

    Raises:
        BindingError: A parameter has no source, or a type that cannot be read from JSON.
        InvalidName: An Output names what cannot be a step.
    """
    signature = read_signature(function)
    contexts = _taking(signature, StepContext)
    messages = _taking(signature, Message)
    ids = None if requires is None else [_id_of(step) for step in requires]
    special = {*contexts, *messages}
    _check_special(signature, special, ids)
    plain = [item for item in signature.parameters if item.name not in special]
    data = _sources(signature.name, plain, ids)
    positional = tuple(item.name for item in signature.parameters if item.positional)
    single = data[0].parameter.name if len(data) == 1 else ""
    adapter = _reader(signature, data, by_name=ids is None)
    returns = type(None) if signature.returns in {Never, NoReturn} else signature.returns
    handler = Handler(
        function,
        owner or f"{signature.name}()",
        is_async=is_async(function),
        reading=Reading(adapter, single, contexts, messages, positional, _plain(data)),
        writing=Writing(returns, _writer(signature, returns)),
    )
    template = None if ids is None or (messages and not data) else _template(data)
    taken = dict.fromkeys(item.step for item in data if item.step)
    return Binding(template, tuple(taken), returns, handler)


def _id_of(step: "Step[Any] | str") -> str:
    return step if isinstance(step, str) else step.id


def _taking(signature: Signature, kind: type) -> tuple[str, ...]:
    names = [item.name for item in signature.parameters if alternatives(item.annotation) == (kind,)]
    return tuple(names)


def _check_special(signature: Signature, special: set[str], ids: Sequence[str] | None) -> None:
    """Refuse a context or a message that looks as if it were to take an output."""
    for item in signature.parameters:
        if item.name not in special:
            continue
        named = _step_named(signature.name, item.name, ids or ())
        if named or _marked(signature.name, item):
            kind = alternatives(item.annotation)[0]
            reason = f"cannot take a step's output: a {getattr(kind, '__name__', kind)} is no data"
            raise BindingError(signature.name, item.name, reason)


def _sources(
    function: str,
    parameters: Sequence[Parameter],
    ids: Sequence[str] | None,
) -> list[_Data]:
    """Return the parameters that take data, with where it comes from."""
    data = [_Data(item, _step_of(function, item, ids)) for item in parameters]
    remaining = [item.parameter.name for item in data if not item.step]
    if ids is not None and len(remaining) > 1:
        _refuse(function, remaining, ids)
    return data


def _step_of(function: str, parameter: Parameter, ids: Sequence[str] | None) -> str:
    marked = _marked(function, parameter)
    if marked and ids is None:
        reason = f"takes the output of {marked!r}, but only a step without `input=` can do that"
        raise BindingError(function, parameter.name, reason)
    return marked or _step_named(function, parameter.name, ids or ())


def _marked(function: str, parameter: Parameter) -> str:
    """Return the id of the step that an `Output` in the annotation names, or nothing."""
    marks = [item for item in metadata(parameter.annotation) if isinstance(item, Output)]
    bare = any(item is Output for item in metadata(parameter.annotation))
    if bare or len(marks) > 1:
        raise BindingError(function, parameter.name, 'needs one step: Output("step-id")')
    return marks[0].id if marks else ""


def _step_named(function: str, name: str, ids: Sequence[str]) -> str:
    """Return the id of the required step that a parameter is named after, or nothing."""
    if name in ids:
        return name
    found = [step for step in dict.fromkeys(ids) if _as_name(step) == name]
    if len(found) > 1:
        reason = f"may mean each of {listed(found)}: say which with Annotated[…, Output(…)]"
        raise BindingError(function, name, reason)
    return found[0] if found else ""


def _as_name(step: str) -> str:
    return step.replace("-", "_").replace(".", "_")


def _refuse(function: str, remaining: Sequence[str], ids: Sequence[str]) -> NoReturn:
    """Refuse a parameter without a source: the one that looks most like a misspelt step."""
    names = [_as_name(step) for step in ids]
    misspelt = [name for name in remaining if nearest(name, names)]
    offender = misspelt[0] if misspelt else remaining[1]
    other = next(name for name in remaining if name != offender)
    required = f"none of the required steps ({listed(ids)})" if ids else "no required step"
    reason = f"has no source: {other!r} takes the input already, and {required} has this name"
    raise BindingError(function, offender, reason, names)


def _template(data: Sequence[_Data]) -> Template | None:
    if not data:
        # The handler does not look at its input, so none needs to be sent.
        return Literal(None)
    if len(data) == 1:
        return FromStep(data[0].step) if data[0].step else None
    return Composed(
        tuple(
            (item.parameter.name, FromStep(item.step) if item.step else FromInput())
            for item in data
        ),
    )


def _reader(
    signature: Signature,
    data: Sequence[_Data],
    *,
    by_name: bool,
) -> TypeAdapter[Any] | None:
    """Return what reads the body: the one value, or an object with a field for each."""
    parameters = [item.parameter for item in data]
    adapters = [_adapter(signature, item) for item in parameters]
    if not parameters:
        return None
    if len(parameters) == 1:
        parameter = parameters[0]
        if parameter.default is MISSING:
            return adapters[0]
        return adapter_of(_or_default(parameter), signature.names)
    fields = [_field(item, by_name=by_name) for item in parameters]
    together = make_dataclass(signature.name.strip("<>"), fields, kw_only=True)
    return adapter_of(together, signature.names)


def _plain(data: Sequence[_Data]) -> frozenset[type]:
    """Return the types of JSON values that the one parameter takes as they are."""
    if len(data) != 1 or data[0].parameter.default is not MISSING:
        return frozenset()
    return plain_values(data[0].parameter.annotation)


def _adapter(signature: Signature, parameter: Parameter) -> TypeAdapter[Any]:
    try:
        return adapter_of(parameter.annotation, signature.names)
    except UnsuitableType as error:
        reason = f"has a type that cannot be read from JSON: {error}; {_ADVICE}"
        raise BindingError(signature.name, parameter.name, reason) from error


def _writer(signature: Signature, returns: object) -> TypeAdapter[Any]:
    try:
        return adapter_of(Any if returns is Message else returns, signature.names)
    except UnsuitableType as error:
        kind = "stands for what is returned, whose type cannot be written as JSON"
        reason = f"{kind}: {error}; {_ADVICE}"
        raise BindingError(signature.name, "return", reason) from error


def _field(parameter: Parameter, *, by_name: bool) -> tuple[str, Any, Any]:
    default = parameter.default
    if default is MISSING:
        return parameter.name, parameter.annotation, field()
    kind = parameter.annotation if by_name else _or_default(parameter)
    # A factory, because a default may be a list or a dict, which dataclasses refuse.
    return parameter.name, kind, field(default_factory=lambda: default)


def _or_default(parameter: Parameter) -> Any:
    """Return the parameter's type, with null standing for its default."""
    default = parameter.default

    def keep(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        return default if value is None else inner(value)

    return _ANNOTATED[parameter.annotation, WrapValidator(keep)]
