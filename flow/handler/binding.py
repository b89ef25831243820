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
* A prepare hook and an undo stand beside a step's function, and get what it gets: their data
  parameters take what the function's parameters of the same source take. Only an undo can have a
  parameter annotated `UndoContext`, or `UndoContext[Booking]`.
* `null` stands for "there is none": a parameter with a default takes it then. In an endpoint with
  several data parameters `null` is a value like others, and a default stands for a missing field.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, Final, Never, NoReturn, get_args, get_origin

from pydantic import Field, TypeAdapter, ValidatorFunctionWrapHandler, WrapValidator

from flow.context import StepContext, UndoContext
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
from flow.handler.undoing import UndoHandler
from flow.handler.values import UnsuitableType, adapter_of, plain_values
from flow.message import Message
from flow.names import check_name
from flow.step import Step
from flow.template import Composed, FromInput, FromStep, Literal, Template

__all__ = ["Binding", "Output", "bind", "bind_prepare", "bind_undo", "wants_run"]

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
        sources: The parameters that take data, each with the id of the step whose output it
            takes; an empty string for the input.
        known: The ids of the steps that parameters may be named after; None if the body is one
            input, whose fields they are.
    """

    template: Template | None
    requires: tuple[str, ...]
    returns: Any
    handler: Handler
    sources: tuple[tuple[str, str], ...] = ()
    known: tuple[str, ...] | None = None

    @property
    def takes_whole_body(self) -> bool:
        """Whether what it gets is one value, and not an object with a field for each parameter."""
        return len(self.sources) == 1 or (
            not self.sources and (self.known is None or bool(self.handler.reading.messages))
        )


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
    _refuse_undo_contexts(signature)
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
    sources = tuple((item.parameter.name, item.step) for item in data)
    known = None if ids is None else tuple(ids)
    return Binding(template, tuple(taken), returns, handler, sources, known)


def bind_prepare(function: Callable[..., Any], run: Binding, *, owner: str = "") -> Handler:
    """Find out where the arguments of a step's prepare hook come from.

    Args:
        function: The hook.
        run: The step's function.
        owner: What the hook is called when its input is wrong.

    Raises:
        BindingError: A parameter has no source, or a type that cannot be read from JSON.
    """
    signature = read_signature(function)
    _refuse_undo_contexts(signature)
    return _beside(function, signature, run, owner, {})


def bind_undo(function: Callable[..., Any], run: Binding, *, owner: str = "") -> UndoHandler:
    """Find out where the arguments of a step's undo come from.

    Args:
        function: The undo.
        run: The step's function.
        owner: What the undo is called when its input or its result is wrong.

    Raises:
        BindingError: A parameter has no source, or a type that cannot be read from JSON.
    """
    signature = read_signature(function)
    wanted = _undo_contexts(signature)
    handler = _beside(function, signature, run, owner, wanted)
    said = [kind for kind in wanted.values() if kind is not MISSING]
    returns = said[0] if said else run.returns
    if any(kind != returns for kind in said):
        reason = "says something else of the run's output than another parameter does"
        raise BindingError(signature.name, list(wanted)[-1], reason)
    return UndoHandler(handler, returns, _output_reader(signature, wanted, returns))


def wants_run(function: Callable[..., Any]) -> bool:
    """Return whether a function has a parameter that takes an UndoContext.

    Args:
        function: The function.

    Raises:
        BindingError: It cannot be a handler.
    """
    return bool(_undo_contexts(read_signature(function)))


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
    places: Mapping[str, str] | None = None,
) -> TypeAdapter[Any] | None:
    """Return what reads the body: the one value, or an object with a field for each."""
    parameters = [item.parameter for item in data]
    adapters = [_adapter(signature, item) for item in parameters]
    places = places or {}
    if not parameters:
        return None
    if len(parameters) == 1 and not places.get(parameters[0].name):
        parameter = parameters[0]
        if parameter.default is MISSING:
            return adapters[0]
        return adapter_of(_or_default(parameter), signature.names)
    fields = [_field(item, places.get(item.name, ""), by_name=by_name) for item in parameters]
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


def _field(parameter: Parameter, place: str, *, by_name: bool) -> tuple[str, Any, Any]:
    default = parameter.default
    kind = parameter.annotation
    if default is not MISSING and not by_name:
        kind = _or_default(parameter)
    if place not in {"", parameter.name}:
        # What the run calls it, whose body it is.
        kind = _ANNOTATED[kind, Field(validation_alias=place)]
    if default is MISSING:
        return parameter.name, kind, field()
    # A factory, because a default may be a list or a dict, which dataclasses refuse.
    return parameter.name, kind, field(default_factory=lambda: default)


def _or_default(parameter: Parameter) -> Any:
    """Return the parameter's type, with null standing for its default."""
    default = parameter.default

    def keep(value: Any, inner: ValidatorFunctionWrapHandler) -> Any:
        return default if value is None else inner(value)

    return _ANNOTATED[parameter.annotation, WrapValidator(keep)]


# --------------------------------------------------------------- beside a step's function


def _undo_contexts(signature: Signature) -> dict[str, Any]:
    """Return the parameters that take an UndoContext, and what they say of the run's output."""
    found: dict[str, Any] = {}
    for item in signature.parameters:
        kinds = alternatives(item.annotation)
        if len(kinds) == 1 and UndoContext in {kinds[0], get_origin(kinds[0])}:
            found[item.name] = next(iter(get_args(kinds[0])), MISSING)
    return found


def _refuse_undo_contexts(signature: Signature) -> None:
    for name in _undo_contexts(signature):
        reason = "has nothing to take back: only a function decorated with `@step.undo` has that"
        raise BindingError(signature.name, name, reason)


def _output_reader(
    signature: Signature, wanted: Iterable[str], returns: object
) -> TypeAdapter[Any] | None:
    """Return what reads the run's output, or None if nobody wants it as a type of its own."""
    name = next(iter(wanted), "")
    if not name or returns is Any or returns is Message:
        return None
    try:
        return adapter_of(returns, signature.names)
    except UnsuitableType as error:
        reason = f"speaks of an output that cannot be read from JSON: {error}; {_ADVICE}"
        raise BindingError(signature.name, name, reason) from error


def _beside(
    function: Callable[..., Any],
    signature: Signature,
    run: Binding,
    owner: str,
    undo_contexts: Iterable[str],
) -> Handler:
    """Return the handler of a function that gets what another one gets."""
    contexts = (*_taking(signature, StepContext), *undo_contexts)
    messages = _taking(signature, Message)
    special = {*contexts, *messages}
    _check_special(signature, special, run.known)
    plain = [item for item in signature.parameters if item.name not in special]
    data = [_Data(item, _step_of(signature.name, item, run.known)) for item in plain]
    places = {item.parameter.name: _place(signature.name, item, data, run) for item in data}
    whole = data[0].parameter.name if len(data) == 1 and not places[data[0].parameter.name] else ""
    adapter = _reader(signature, data, by_name=run.known is None, places=places)
    positional = tuple(item.name for item in signature.parameters if item.positional)
    returns = type(None) if signature.returns in {Never, NoReturn} else signature.returns
    return Handler(
        function,
        owner or f"{signature.name}()",
        is_async=is_async(function),
        reading=Reading(
            adapter, whole, contexts, messages, positional, _plain(data) if whole else frozenset()
        ),
        writing=Writing(returns, _writer(signature, returns)),
    )


def _place(function: str, item: _Data, data: Sequence[_Data], run: Binding) -> str:
    """Return the field that a parameter takes of what the run gets; empty for all of it."""
    name, runner = item.parameter.name, run.handler.name
    if run.known is None:
        # One input. It is taken as a whole, or its fields by their names.
        names = [each for each, _ in run.sources]
        if name in names and not run.takes_whole_body:
            return name
        if len(data) == 1:
            return ""
        reason = f"has no source: {runner} takes {listed(names) or 'no such field'}"
        raise BindingError(function, name, reason, names)
    same = [each for each, step in run.sources if step == item.step]
    alike = [each.parameter.name for each in data if each.step == item.step]
    if not item.step and alike[0] != name:
        reason = f"has no source: {alike[0]!r} takes the input already"
        raise BindingError(function, name, reason, list(run.known))
    if not run.sources and run.takes_whole_body and not item.step:
        return ""
    if not same:
        what = f"the output of {item.step!r}" if item.step else "the input"
        reason = f"takes {what}, which {runner} does not take"
        raise BindingError(function, name, reason)
    return "" if run.takes_whole_body else same[0]
