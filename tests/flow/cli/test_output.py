"""What commands print with."""

import json

import pytest
from rich.text import Text

from flow.cli.output import Output, aligned, status_text
from flow.errors import UnknownExecution


def test_columns_stand_below_each_other() -> None:
    """Columns are as wide as their widest cell, and no line ends in blanks."""
    lines = aligned([("a", Text("long"), ""), ("wide", "b", "c")], ("ONE", "TWO", ""))
    assert [line.plain for line in lines] == ["ONE   TWO", "a     long", "wide  b     c"]


def test_no_rows_are_no_lines() -> None:
    """A table of nothing is nothing."""
    assert aligned([]) == []


def test_results_and_notes_are_apart(capsys: pytest.CaptureFixture[str]) -> None:
    """Results go to standard output, everything else to standard error."""
    output = Output()
    output.lines(["a line that is [bold]kept[/bold] as it is :smile:"])
    output.result({"a": 1})
    output.note("a note")
    output.aside(["aside"])
    output.error(UnknownExecution("x"), "one: ")
    shown = capsys.readouterr()
    assert shown.out == 'a line that is [bold]kept[/bold] as it is :smile:\n{\n  "a": 1\n}\n'
    assert shown.err == "a note\naside\nerror: one: there is no execution 'x'\n"


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With JSON everything is one line of it."""
    output = Output(is_json=True)
    output.data([1])
    output.note("a note")
    output.problem("Odd", "what")
    shown = capsys.readouterr()
    assert shown.out == "[1]\n"
    assert [json.loads(line) for line in shown.err.splitlines()] == [
        {"note": "a note"},
        {"error": {"type": "Odd", "message": "what", "fields": {}}},
    ]


def test_a_status_has_a_colour() -> None:
    """A status keeps its name, known or not."""
    assert status_text("SUCCESS").style == "green"
    assert status_text("NEW").plain == "NEW"
