"""The root of all errors, and how their texts are made."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

from flow.failure import Failure

SHOWN: Final = 20
"""How many offenders an error's text writes out. Its fields hold them all."""


class FlowError(Exception):
    """The root of every error that flowmq raises on purpose."""


def failure_of(error: FlowError) -> Failure:
    """Return an error of ours as a value that travels and is kept.

    Args:
        error: The error.
    """
    return Failure(f"flow.errors.{type(error).__name__}", str(error), fields=dict(vars(error)))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name closest to *name*, or nothing.

    Args:
        name: What somebody wrote.
        known: The names that would have been right.
    """
    close = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names: Iterable[str], limit: int = SHOWN) -> str:
    """Return *names* quoted and separated by commas, at most *limit* of them.

    Args:
        names: What to list.
        limit: How many to write out before the rest is only counted.
    """
    every = list(names)
    text = ", ".join(repr(name) for name in every[:limit])
    return text if len(every) <= limit else f"{text} and {len(every) - limit} more"
