"""Options that commands share, and values of options taken apart."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Group, Parameter

from flow import codec
from flow.cli.output import Output
from flow.errors import ConfigurationError, InvalidInput, InvalidOption, TooLarge
from flow.names import BODY_LIMIT
from flow.status import Status

__all__ = [
    "Flag",
    "Ids",
    "Many",
    "Place",
    "Program",
    "Text",
    "Where",
    "counts",
    "input_body",
    "output_of",
    "pairs",
    "statuses",
    "values",
]

_COMMON: Final = Group("Which flow, and how to print", sort_key=10)
_CHUNK: Final = 1024 * 1024
_STDIN_LIMIT: Final = 64 * 1024 * 1024

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""A switch that is only ever turned on."""

Ids = Annotated[str, Parameter(name="ID")]
"""Ids of executions."""

Program = Annotated[str, Parameter(name="FILE:APP", env_var="FLOW_APP", show_default=False)]
"""Where a program's flow is."""

Text = Annotated[str, Parameter(show_default=False)]
"""A text that may be left out."""

Many = Annotated[tuple[str, ...], Parameter(negative="", consume_multiple=True, show_default=False)]
"""Texts of an option that may be given more than once."""


@dataclass(frozen=True, kw_only=True)
class _AppOption:
    app: Annotated[str, Parameter(env_var="FLOW_APP", show_default=False)] = ""


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a flow's broker and store are, and how a command prints.

    Args:
        name: The flow's name, if neither its program nor its store tells.
        store: The store's URL, or FLOW_STORE; by default the one file .flow/*.db.
        broker: The broker's URL, or FLOW_BROKER.
        json: Print JSON, for programs.
        debug: Show the traceback of an error, as FLOW_DEBUG=1 does.
    """

    name: Text = ""
    store: Text = ""
    broker: Text = ""
    json: Flag = False
    debug: Flag = False


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True, kw_only=True)
class Where(Place, _AppOption):
    """Which flow a command is about, and how it prints.

    What is not given comes from the environment, or from the file flow.toml of this folder or of
    one above it.

    Args:
        app: The program: FILE:APP, such as shop.py:app.
        name: The flow's name, or FLOW_NAME, if its store does not tell.
        store: The store's URL, or FLOW_STORE; by default the one file .flow/*.db.
        broker: The broker's URL, or FLOW_BROKER.
        json: Print JSON, for programs.
        debug: Show the traceback of an error, as FLOW_DEBUG=1 does.
    """


def output_of(where: Place | None) -> Output:
    """Return what to print with.

    Args:
        where: The options that commands share.
    """
    return Output(is_json=where is not None and where.json)


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Return the names and values of an option that is given as NAME=VALUE.

    Args:
        option: The option's name.
        texts: What was given, once for each pair.

    Raises:
        ConfigurationError: One has no `=`, or no name.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigurationError(f"{option} {text}", "it is written NAME=VALUE")
        found[name] = value
    return found


def counts(option: str, texts: Sequence[str]) -> dict[str, int]:
    """Return the names and numbers of an option that is given as NAME=NUMBER.

    Args:
        option: The option's name.
        texts: What was given, once for each pair.

    Raises:
        ConfigurationError: One is not a name and a number of at least 1.
    """
    found: dict[str, int] = {}
    for name, value in pairs(option, texts).items():
        if not (value.isascii() and value.isdecimal() and int(value)):
            rule = "it is written STEP=NUMBER, and the number is at least 1"
            raise ConfigurationError(f"{option} {name}={value}", rule)
        found[name] = int(value)
    return found


def statuses(option: str, texts: Sequence[str]) -> list[str]:
    """Return the statuses that an option names, as they are written in full.

    Args:
        option: The option's name.
        texts: What was given.

    Raises:
        ConfigurationError: A name is unknown, or means more than one status.
    """
    found: list[str] = []
    for text in texts:
        try:
            found.append(Status.parse(text).value)
        except InvalidOption as error:
            raise ConfigurationError(f"{option} {text}", error.rule) from error
    return found


def values(option: str, texts: Sequence[str]) -> Mapping[str, Any]:
    """Return the names and values of an option that is given as NAME=JSON.

    Args:
        option: The option's name.
        texts: What was given, once for each pair.

    Raises:
        ConfigurationError: One has no `=`, or no name.
        InvalidInput: A value is not JSON.
    """
    given = pairs(option, texts)
    return {name: codec.loads(text, f"{option} {name}") for name, text in given.items()}


def input_body(text: str) -> bytes:
    """Return the input of an execution.

    Args:
        text: JSON, `@` and a file, `-` for standard input, or nothing for null.

    Raises:
        InvalidInput: It is not JSON, or the file cannot be read.
        TooLarge: It has more bytes than an input may have.
    """
    if text == "-":
        return codec.check_body(_standard_input(), "standard input")
    if text.startswith("@"):
        return codec.check_body(_file(Path(text[1:])), text[1:])
    return codec.check_body(text.encode(errors="replace") or b"null", "--input")


def _file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > BODY_LIMIT:
            raise TooLarge(str(path), size, BODY_LIMIT)
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"--input @{path}", str(error.strerror)) from error


def _standard_input() -> bytes:
    source = sys.stdin.buffer
    body = source.read(BODY_LIMIT + 1)
    size = len(body)
    # What is too large is only counted, and not even that without an end.
    while size > BODY_LIMIT and size < _STDIN_LIMIT and (more := source.read(_CHUNK)):
        size += len(more)
    if size > BODY_LIMIT:
        raise TooLarge("standard input", size, BODY_LIMIT)
    return body
