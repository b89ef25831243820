"""Asking a person."""

import io

import pytest

from flow.cli.asking import is_sure
from flow.errors import ConfigurationError


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "answer"), [("y\n", True), ("YES\n", True), ("no\n", False), ("", False)]
)
def test_only_a_yes_is_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, answer: object
) -> None:
    """The question is on standard error, and everything but a yes is a no."""
    monkeypatch.setattr("sys.stdin", _Terminal(typed))
    assert is_sure("abort", "Abort 12 executions") is answer
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "Abort 12 executions? [y/N] ")


def test_nobody_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal nobody is asked: --yes has to be said."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(ConfigurationError, match="say --yes if you are sure"):
        is_sure("abort", "Abort 12 executions")
