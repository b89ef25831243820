"""Asks a person for a yes before something that is hard to undo."""

import sys

from flow.errors import ConfigurationError

__all__ = ["is_sure"]


def is_sure(command: str, question: str) -> bool:
    """Return whether a person says yes.

    Args:
        command: What was typed, for the error.
        question: What is asked, without the question mark.

    Raises:
        ConfigurationError: Nobody is there to be asked.
    """
    if not sys.stdin.isatty():
        raise ConfigurationError(command, "there is nobody to ask; say --yes if you are sure")
    sys.stderr.write(f"{question}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
