"""What a command prints: text for people, or JSON for programs; errors apart from results."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

from rich.console import Console
from rich.text import Text

from flow.cli.failures import one_line
from flow.errors import FlowError

__all__ = ["Output", "aligned", "status_text"]

_GAP: Final = "  "
_STYLES: Final[Mapping[str, str]] = {
    "SUCCESS": "green",
    "FAILURE": "bold red",
    "ABORTED": "red",
    "ABORTING": "red",
    "RUNNING": "cyan",
    "RETRYING": "yellow",
    "SUSPENDED": "yellow",
    "SUSPENDING": "yellow",
    "COMPENSATED": "magenta",
    "COMPENSATING": "magenta",
    "PENDING": "dim",
    "SKIPPED": "dim",
}


class Output:
    """Prints for one command.

    Args:
        is_json: Whether programs read it.
    """

    def __init__(self, *, is_json: bool = False) -> None:
        """Print to what is standard output and standard error at this moment."""
        self.is_json = is_json
        self.out = _console(sys.stdout)
        self._notes = _console(sys.stderr)

    def lines(self, lines: Iterable[Text | str]) -> None:
        """Print lines for people.

        Args:
            lines: Each without its end.
        """
        for line in lines:
            self.out.print(line)

    def data(self, value: Any) -> None:
        """Print a value for programs: one line of JSON.

        Args:
            value: A JSON value.
        """
        from flow import codec

        sys.stdout.write(codec.dumps(value).decode() + "\n")
        sys.stdout.flush()

    def result(self, value: Any) -> None:
        """Print a JSON value for people.

        Args:
            value: The value.
        """
        from flow.codec.json import pretty

        sys.stdout.write(pretty(value) + "\n")
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something beside the result.

        Args:
            text: One line.
        """
        if self.is_json:
            self._write_json({"note": text})
        else:
            self._notes.print(Text(text))

    def aside(self, lines: Iterable[Text | str]) -> None:
        """Print lines for people beside the result.

        Args:
            lines: Each without its end.
        """
        for line in lines:
            self._notes.print(line)

    def error(self, error: FlowError, prefix: str = "") -> None:
        """Print an error: one line, or one JSON object.

        Args:
            error: The error.
            prefix: What it is about, if the error does not say.
        """
        from flow import codec

        document = codec.encode_error(error)
        self.problem(document["type"], prefix + str(error), document["fields"])

    def problem(self, kind: str, message: str, fields: Mapping[str, Any] | None = None) -> None:
        """Print what is wrong: one line, or one JSON object.

        Args:
            kind: What kind of error it is, for programs.
            message: What to say.
            fields: What the error is about, for programs.
        """
        if self.is_json:
            document = {"type": kind, "message": message, "fields": dict(fields or {})}
            self._write_json({"error": document})
        else:
            self._notes.print(Text.assemble(("error: ", "bold red"), one_line(message)))

    def _write_json(self, value: Any) -> None:
        from flow import codec

        sys.stderr.write(codec.dumps(value).decode() + "\n")
        sys.stderr.flush()


def aligned(rows: Sequence[Sequence[Text | str]], header: Sequence[str] = ()) -> list[Text]:
    """Return rows as lines whose columns stand below each other, with nothing at their ends.

    Args:
        rows: The cells.
        header: The names of the columns.
    """
    head: list[Text | str] = [Text(name, "dim") for name in header]
    table = [[_text(cell) for cell in row] for row in ([head] if head else []) + [*map(list, rows)]]
    widths = [max(cell.cell_len for cell in column) for column in zip(*table, strict=True)]
    lines: list[Text] = []
    for row in table:
        line = Text()
        for cell, width in zip(row, widths, strict=True):
            line.append_text(cell).append(" " * (width - cell.cell_len) + _GAP)
        line.rstrip()
        lines.append(line)
    return lines


def status_text(status: str) -> Text:
    """Return a status in its colour.

    Args:
        status: Its name.
    """
    return Text(status, _STYLES.get(status, ""))


def _text(cell: Text | str) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def _console(file: TextIO) -> Console:
    # Lines are never cut or broken: a terminal breaks them itself, and a pipe wants them whole.
    return Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
