"""Plants a bug: edits the source of one function of the product, for as long as a block lasts.

The code of the function is replaced, and the function stays the same object, so that the bug is
met by everybody who has imported the function, or holds it in a table. What an edit replaces has
to stand in the function exactly once: when the product has changed, the mutant says that it is
stale instead of doing nothing.
"""

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType
from typing import Any

__all__ = ["Change", "Edit", "Override", "StaleMutantError", "edit"]


class StaleMutantError(Exception):
    """The product does not hold any more what a mutant replaces."""


@dataclass(frozen=True)
class Edit:
    """A function whose source says something else.

    Args:
        function: The function.
        changes: What stands in its source exactly once, with its indentation if it has several
            lines, and what stands there instead.
        names: What its module does not know, and the other source needs.
    """

    function: Callable[..., Any]
    changes: tuple[tuple[str, str], ...]
    names: Mapping[str, object] = field(default_factory=dict[str, object])

    @contextmanager
    def planted(self) -> Generator[None]:
        """Have the function do the other thing inside the block.

        Raises:
            StaleMutantError: Its source does not hold what is to be replaced.
        """
        function = self.function
        if not isinstance(function, FunctionType):
            raise StaleMutantError(f"{function!r} is not a plain function")
        before, around = function.__code__, function.__globals__
        function.__code__ = _edited(function, self.changes)
        new = {name: value for name, value in self.names.items() if name not in around}
        around.update(new)
        try:
            yield
        finally:
            function.__code__ = before
            for name in new:
                del around[name]


@dataclass(frozen=True)
class Override:
    """A method of a class that is another one.

    Args:
        owner: The class, which defines the method itself.
        name: The method's name.
        make: Gets the method, and returns what stands in its place.
    """

    owner: type
    name: str
    make: Callable[[Callable[..., Any]], Callable[..., Any]]

    @contextmanager
    def planted(self) -> Generator[None]:
        """Let the class have the other method inside the block.

        Raises:
            StaleMutantError: The class has no such method.
        """
        before = vars(self.owner).get(self.name)
        if before is None:
            raise StaleMutantError(f"{self.owner.__qualname__} has no method {self.name}")
        setattr(self.owner, self.name, self.make(before))
        try:
            yield
        finally:
            setattr(self.owner, self.name, before)


Change = Edit | Override


def edit(function: Callable[..., Any], *changes: tuple[str, str], **names: object) -> Edit:
    """Return an edit. The source is read now, because the file may change while the code runs.

    Args:
        function: The function.
        changes: What stands in its source exactly once, and what stands there instead.
        names: What its module does not know, and the other source needs.
    """
    _source(function)
    return Edit(function, changes, names)


@cache
def _source(function: Callable[..., Any]) -> str:
    return inspect.getsource(function)


def _edited(function: FunctionType, changes: tuple[tuple[str, str], ...]) -> CodeType:
    name = f"{function.__module__}.{function.__qualname__}"
    source = _source(function)
    for old, new in changes:
        if source.count(old) != 1:
            message = f"{name} holds {old!r} {source.count(old)} times, and not once"
            raise StaleMutantError(message)
        source = source.replace(old, new)
    text = textwrap.dedent(source)
    # A file of its own, so that tracebacks show what runs and coverage is not confused by it.
    file = f"<mutant of {name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    return _code(compile(ast.parse(text), file, "exec"), function)


def _code(module: CodeType, function: FunctionType) -> CodeType:
    """Return the code of the function that a compiled module defines."""
    for constant in module.co_consts:
        if isinstance(constant, CodeType) and constant.co_name == function.__name__:
            if constant.co_freevars != function.__code__.co_freevars:
                raise StaleMutantError(f"{function.__qualname__} uses variables around it")
            return constant.replace(co_qualname=function.__code__.co_qualname)
    raise StaleMutantError(f"the edited source of {function.__qualname__} has no function")
