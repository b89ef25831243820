"""Checks of options that type checkers see and Python does not."""

from collections.abc import Mapping
from math import isfinite

from flow.errors import InvalidOption, nearest

__all__ = ["check_options", "check_seconds"]


def check_options(owner: str, options: Mapping[str, object], allowed: type) -> None:
    """Refuse options that do not exist; type checkers see them, but Python does not.

    Args:
        owner: Whose options they are, for the error.
        options: What was given.
        allowed: The TypedDict that lists what may be given.

    Raises:
        InvalidOption: Some do not exist; all of them are named, with the nearest names.
    """
    if options.keys() <= allowed.__annotations__.keys():
        return
    known = list(allowed.__annotations__)
    unknown = [name for name in options if name not in known]
    others = "".join(f", nor {name!r}{nearest(name, known)}" for name in unknown[1:])
    rule = f"there is no option {unknown[0]!r}{nearest(unknown[0], known)}{others}"
    raise InvalidOption(owner, unknown[0], repr(options[unknown[0]])[:100], rule)


def check_seconds(owner: str, option: str, seconds: object) -> None:
    """Refuse what is not a time span of more than 0 seconds.

    Args:
        owner: Whose option it is, for the error.
        option: Its name.
        seconds: What was given.

    Raises:
        InvalidOption: It is no number, or not a positive one.
    """
    number = seconds if isinstance(seconds, int | float) else 0.0
    if isinstance(seconds, bool) or not (isfinite(number) and number > 0):
        raise InvalidOption(owner, option, repr(seconds), "it is more than 0 seconds")
