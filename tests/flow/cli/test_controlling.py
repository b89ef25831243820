"""`flow suspend`, `flow resume`, `flow abort` and `flow delete`."""

import io
import json
from pathlib import Path

import pytest

from flow.cli import controlling
from tests.flow.cli.console import expect_golden, flow, transcript


def test_an_execution_is_led_through_its_life(shop: Path) -> None:
    """Each verb prints the id and the status, and is in the history with its reason."""
    flow("start", "checkout", "--app", "shop.py:app", "--id", "order-1")
    commands = [
        ("suspend", "order-1", "--clock", "stop", "--reason", "stock-taking"),
        ("resume", "order-1"),
        ("abort", "order-1", "--reason", "not wanted"),
        ("history", "order-1"),
        ("delete", "order-1", "--yes"),
    ]
    text = "".join(transcript(flow(*command), *command) for command in commands)
    expect_golden("page-control", text)


def test_all_ids_are_tried(store: Path) -> None:
    """What fails for one id is told, and the others are done all the same."""
    ended = flow("delete", "order-9", "order-1", "order-2", "--yes")
    assert (ended.code, ended.out) == (3, "order-1  deleted\norder-2  deleted\n")
    assert ended.err == "error: there is no execution 'order-9'\n"
    assert flow("show", "order-1").code == 3


def test_answers_for_programs(store: Path) -> None:
    """With --json the answers are one list, and each error is an object."""
    ended = flow("delete", "order-9", "order-1", "--yes", "--json")
    assert json.loads(ended.out) == [{"execution": "order-1", "deleted": "order-1"}]
    assert json.loads(ended.err)["error"]["type"] == "UnknownExecution"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("no\n", 1), ("", 1)])
def test_deleting_asks_on_a_terminal(
    store: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """A person is asked before anything is deleted; only a yes is one."""
    monkeypatch.setattr("sys.stdin", _Terminal(typed))
    assert controlling.delete("order-1") == code
    assert (flow("show", "order-1").code == 3) is (code == 0)


def test_a_filter_reaches_the_executions(shop: Path) -> None:
    """All executions that match are suspended, resumed and aborted, and only those."""
    for number in range(3):
        flow("start", "checkout", "--app", "shop.py:app", "--id", f"order-{number}")
    flow("start", "notice", "--app", "shop.py:app", "--id", "notice-1")
    suspended = flow("suspend", "--workflow", "checkout")
    assert (suspended.code, suspended.out) == (0, "3 of 3 executions suspended\n")
    assert flow("resume", "--workflow", "checkout").out == "3 of 3 executions resumed\n"
    aborted = json.loads(flow("abort", "--workflow", "checkout", "--yes", "--json").out)
    assert (aborted["matched"], aborted["done"]) == (3, 3)
    assert flow("abort", "--workflow", "checkout").err == "no executions match\n"
    ended = json.loads(flow("list", "--status", "aborted", "--json").out)
    assert {row["workflow"] for row in ended} == {"checkout"}
