"""Checks command lines of `flow` that stand in files, without running them."""

import inspect
from collections.abc import Sequence

from flow.cli.program import program

__all__ = ["check"]


def check(words: Sequence[str]) -> None:
    """Fail unless `flow` understands a command line.

    Args:
        words: What follows `flow`.
    """
    command, bound, _ = program().parse_args(list(words))
    assert isinstance(inspect.signature(command).bind(*bound.args, **bound.kwargs), type(bound))
