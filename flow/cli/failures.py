"""How errors end a command: one line, and an exit code from one table."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from flow.errors import (
    ConfigurationError,
    FlowError,
    InvalidInput,
    InvalidName,
    InvalidOption,
    TooLarge,
    UnavailableError,
    UnknownEndpoint,
    UnknownExecution,
    UnknownStep,
    UnknownWorkflow,
)

__all__ = ["Exit", "ProgramBroken", "exit_code", "one_line"]


class Exit(IntEnum):
    """The exit codes of every command."""

    OK = 0
    FAILED = 1
    """It was refused, or what was waited for failed."""
    USAGE = 2
    """What was typed is wrong."""
    NOT_FOUND = 3
    """There is no such execution, workflow or step."""
    UNAVAILABLE = 4
    """The store or the broker is away, locked, or too slow."""
    INTERRUPTED = 130
    """Ctrl-C."""


# The first line that fits counts; everything else is FAILED.
_CODES: Final[tuple[tuple[type[FlowError], Exit], ...]] = (
    (UnknownExecution, Exit.NOT_FOUND),
    (UnknownWorkflow, Exit.NOT_FOUND),
    (UnknownStep, Exit.NOT_FOUND),
    (UnknownEndpoint, Exit.NOT_FOUND),
    (UnavailableError, Exit.UNAVAILABLE),
    (ConfigurationError, Exit.USAGE),
    (InvalidName, Exit.USAGE),
    (InvalidOption, Exit.USAGE),
    (InvalidInput, Exit.USAGE),
    (TooLarge, Exit.USAGE),
)


@dataclass(eq=False)
class ProgramBroken(FlowError):
    """A user's program cannot be loaded."""

    program: str
    where: str
    problem: str

    def __str__(self) -> str:
        """Name the program, the file and line, and what is wrong there."""
        place = f"{self.where}: " if self.where else ""
        return f"cannot load {self.program}: {place}{self.problem}"


def exit_code(error: Exception) -> Exit:
    """Return the code that a command ends with.

    Args:
        error: What ended it.
    """
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    return Exit.FAILED


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters, which could fool a terminal.

    Args:
        text: Any text.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(shown.split())
