"""The table of exit codes."""

import pytest

from flow.cli.failures import Exit, ProgramBroken, exit_code, one_line
from flow.errors import (
    ConfigurationError,
    DeadlineExceeded,
    NotPossible,
    StoreLocked,
    TooLarge,
    UnknownWorkflow,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotPossible("abort", "a", "SUCCESS"), Exit.FAILED),
        (RuntimeError(), Exit.FAILED),
        (ProgramBroken("shop.py:app", "", "no"), Exit.FAILED),
        (ConfigurationError("a", "b"), Exit.USAGE),
        (TooLarge("a", 2, 1), Exit.USAGE),
        (UnknownWorkflow("a"), Exit.NOT_FOUND),
        (StoreLocked("a", "b", "c"), Exit.UNAVAILABLE),
        (DeadlineExceeded("a", 1.0), Exit.UNAVAILABLE),
    ],
)
def test_every_error_has_a_code(error: Exception, code: Exit) -> None:
    """What kind of error it is decides about the exit code."""
    assert exit_code(error) is code


def test_a_broken_program_names_the_place() -> None:
    """The error names the program, and the file and line if they are known."""
    assert str(ProgramBroken("a.py:app", "a.py:3", "no")) == "cannot load a.py:app: a.py:3: no"
    assert str(ProgramBroken("a.py:app", "", "no")) == "cannot load a.py:app: no"


def test_one_line_fools_no_terminal() -> None:
    """Line breaks and control characters become single spaces."""
    assert one_line("a\n\n  b\x1b[31mc\r") == "a b [31mc"
