"""YAML text in and out, restricted to what JSON has too. The only user of PyYAML.

It is imported when there is something to write or to read: it takes longer to import than the
rest of the codec, and only reports are written in YAML.
"""

# JSON values have no static type, so what is taken out of them is unknown to the checker.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from flow.errors import InvalidInput

__all__ = ["read_yaml", "write_yaml"]

_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"
_DEEPEST: Final = 200
"""Levels of nesting: more than the deepest report has."""


def write_yaml(value: object) -> str:
    """Return a value as YAML, with the keys as they come.

    Args:
        value: None, booleans, finite numbers, strings, lists, and dicts with string keys.

    Raises:
        InvalidInput: It holds something else.
    """
    import yaml

    # It wraps a library where there is one. Its own Python is ten times slower, and writes some
    # line breaks of Unicode as if they were blanks; so it has to escape all that is not ASCII.
    has_library = yaml.__with_libyaml__
    kind = yaml.CSafeDumper if has_library else yaml.SafeDumper
    try:
        text: str = yaml.dump(value, Dumper=kind, sort_keys=False, allow_unicode=has_library)
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidInput("the value", f"it cannot be written as YAML: {error}") from error
    return text


def read_yaml(text: bytes | str, what: str) -> Any:
    """Return the value that YAML text stands for. What looks like a time remains text.

    Args:
        text: The text.
        what: What it is, for the error.

    Raises:
        InvalidInput: It is not YAML, it is nested too deeply, or it refers to parts of itself, by
            which a short text could stand for an endless value.
    """
    import yaml

    kind = _loader(with_library=yaml.__with_libyaml__)
    try:
        _check_events(yaml.parse(text, Loader=kind), what)
        return yaml.load(text, Loader=kind)  # noqa: S506 - it is a safe one
    except yaml.YAMLError as error:
        raise InvalidInput(what, f"it is not valid YAML: {error}") from error
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # That is what it raises at a scalar that does not fit its tag, such as `!!bool perhaps`.
        raise InvalidInput(what, f"it is not valid YAML: {error!r}") from error


def _check_events(events: Iterable[Any], what: str) -> None:
    """Refuse aliases and deep nesting before anything is made of the text."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise InvalidInput(what, "it has an alias (*name): write out what it stands for")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise InvalidInput(what, f"it is nested more than {_DEEPEST} levels deep")


@cache
def _loader(*, with_library: bool) -> Any:
    """Return the safe loader, but for times: JSON has none, and so they are texts here."""
    import yaml

    base = yaml.CSafeLoader if with_library else yaml.SafeLoader
    resolvers = {
        first: [(tag, form) for tag, form in rules if tag != _TIMESTAMP]
        for first, rules in base.yaml_implicit_resolvers.items()
    }
    return type("_Loader", (base,), {"yaml_implicit_resolvers": resolvers})
