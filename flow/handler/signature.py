"""What a function's signature says: its parameters, with their types worked out."""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from flow.errors import BindingError

__all__ = ["Parameter", "Signature", "alternatives", "is_async", "metadata", "read_signature"]

MISSING: Final = inspect.Parameter.empty

_VARIADIC: Final = {
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.VAR_KEYWORD: "**",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a handler.

    Args:
        name: Its name.
        annotation: Its type, with `Annotated` left in place; Any if it has none.
        default: Its default, or `MISSING`.
        positional: Whether it can only be given by position.
    """

    name: str
    annotation: Any
    default: Any
    positional: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes and returns.

    Args:
        name: What the function is called.
        parameters: Its parameters, without those that a `functools.partial` has filled.
        returns: What it returns; Any if it does not say.
        names: The local names that its annotations can refer to.
    """

    name: str
    parameters: tuple[Parameter, ...]
    returns: Any
    names: Mapping[str, Any]


def read_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function, a bound method, a partial or a callable object.

    Args:
        function: The function.

    Raises:
        BindingError: It cannot be a handler, or its annotations cannot be worked out.
    """
    name = _name_of(function)
    _expect_handler(function, name)
    declared = _inspect(function, name)
    target = _annotated(function)
    names = _names_around(target)
    hints = _hints(target, name, names)
    filled: Mapping[str, Any] = function.keywords if isinstance(function, partial) else {}
    parameters: list[Parameter] = []
    for item in declared.parameters.values():
        if item.kind in _VARIADIC:
            stars = _VARIADIC[item.kind]
            reason = "takes any number of values, of which none has a name: write them out"
            raise BindingError(name, f"{stars}{item.name}", reason)
        if item.name not in filled:
            positional = item.kind is inspect.Parameter.POSITIONAL_ONLY
            annotation = hints.get(item.name, Any)
            parameters.append(Parameter(item.name, annotation, item.default, positional))
    _expect_bound(name, target, declared)
    return Signature(name, tuple(parameters), hints.get("return", Any), names)


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether what a call returns has to be awaited.

    A wrapper made with `functools.wraps` around a coroutine function counts as one.

    Args:
        function: The function.
    """
    target = _annotated(function)
    return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(
        inspect.unwrap(target),
    )


def metadata(annotation: object) -> tuple[Any, ...]:
    """Return what stands beside a type in `Annotated`, also where that is optional.

    Args:
        annotation: A type, as it stands in an annotation.
    """
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[1:]
    return tuple(
        item
        for inner in _members(annotation)
        if get_origin(inner) is Annotated
        for item in get_args(inner)[1:]
    )


def alternatives(annotation: object) -> tuple[object, ...]:
    """Return the types that a value may have, None left out.

    Args:
        annotation: A type, as it stands in an annotation.
    """
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return tuple(item for item in _members(bare) if item is not type(None)) or (bare,)


def _members(annotation: object) -> tuple[object, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else ()


def _name_of(function: object) -> str:
    if isinstance(function, partial):
        return _name_of(cast("partial[Any]", function).func)
    return str(getattr(function, "__name__", type(function).__name__))


def _annotated(function: object) -> Any:
    """Return the function that has the annotations: inside a partial, or of a callable object."""
    if isinstance(function, partial):
        return _annotated(cast("partial[Any]", function).func)
    return function if inspect.isroutine(function) else type(function).__call__


def _expect_handler(function: object, name: str) -> None:
    if not callable(function):
        raise BindingError(name, "(all)", f"cannot be seen: {function!r} cannot be called")
    if inspect.isclass(function):
        reason = "cannot be filled: it is a class; give an object or a function instead"
        raise BindingError(name, "(all)", reason)
    target = _annotated(function)
    if inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        reason = "stands for what is returned: a handler returns one result, and does not yield"
        raise BindingError(name, "return", reason)


def _expect_bound(name: str, target: object, declared: inspect.Signature) -> None:
    """Refuse a method that was taken from its class and not from an object."""
    first = next(iter(declared.parameters.values()), None)
    is_member = "." in str(getattr(target, "__qualname__", "")).rpartition("<locals>.")[2]
    if first is None or first.name not in {"self", "cls"} or not is_member:
        return
    reason = "is the object of a method: bind the method of an object, not that of its class"
    raise BindingError(name, first.name, reason)


def _inspect(function: Callable[..., Any], name: str) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError) as error:
        reason = "cannot be seen: Python knows no signature of it; wrap it in a function"
        raise BindingError(name, "(all)", reason) from error


def _hints(target: Any, name: str, names: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(target, localns=dict(names) or None, include_extras=True)
    except NameError as error:
        parameter, written = _culprit(target, str(error.name))
        reason = (
            f"has the annotation {written!r}, but {error.name!r} is not known there: import or "
            "define it before the function, and not only for type checkers"
        )
        raise BindingError(name, parameter, reason) from error
    except (SyntaxError, TypeError, AttributeError) as error:
        raise BindingError(name, "(all)", f"cannot be read: {error}") from error


def _culprit(target: Any, missing: str) -> tuple[str, str]:
    """Return the parameter whose annotation has the name that is missing, and the annotation."""
    written: Mapping[str, object] = getattr(target, "__annotations__", {})
    for parameter, annotation in written.items():
        if missing in str(annotation):
            return parameter, str(annotation)
    return "(all)", missing


def _names_around(target: Any) -> dict[str, Any]:
    """Return the local names of the functions around one that is being defined.

    A string annotation may name a class that exists only there. The functions around are those
    on the stack whose constants hold the code of what is inside, perhaps that of a class between.
    """
    wanted = getattr(inspect.unwrap(target), "__code__", None)
    if wanted is None or "<locals>" not in str(getattr(target, "__qualname__", "")):
        return {}
    names: dict[str, Any] = {}
    frame = inspect.currentframe()
    while frame is not None:
        if _holds(frame.f_code, wanted):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _holds(code: types.CodeType, wanted: object) -> bool:
    inside = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return any(inner is wanted or _holds(inner, wanted) for inner in inside)
