"""`flow suspend`, `flow resume` and `flow abort` by a filter, against a flow that only listens."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import pytest

from flow.cli import controlling
from flow.cli.controlling import UNASKED
from flow.cli.session import Mode, Session
from flow.executions import BulkResult
from tests.flow.cli.console import Ended, flow


def outcome(done: int) -> BulkResult:
    """Return what it is if everybody obeys."""
    return BulkResult(done, done, 0, {}, 0, ())


class Listener:
    """Stands in for a client and for executions, and keeps what it was asked."""

    def __init__(self, count: int, result: BulkResult | None = None) -> None:
        self.count = count
        self.result = result or outcome(count)
        self.query: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    @property
    def executions(self) -> "Listener":
        """Itself."""
        return self

    async def ask(
        self, verb: str, arguments: Any, execution: str = "", within_s: float | None = 30.0
    ) -> Any:
        """Answer `list`."""
        assert verb == "list"
        self.query = dict(arguments)
        return [{"id": f"order-{number}"} for number in range(self.count)]

    async def suspend_all(self, **filters: Any) -> BulkResult:
        """Keep a call."""
        self.calls.append(("suspend", filters))
        return self.result

    async def resume_all(self, **filters: Any) -> BulkResult:
        """Keep a call."""
        self.calls.append(("resume", filters))
        return self.result

    async def abort_all(self, **filters: Any) -> BulkResult:
        """Keep a call."""
        self.calls.append(("abort", filters))
        return self.result

    async def undo_all(self, **filters: Any) -> BulkResult:
        """Keep a call."""
        self.calls.append(("undo", filters))
        return self.result


@pytest.fixture(autouse=True)
def _no_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: object) -> None:
        return None

    monkeypatch.setattr(controlling, "find", find)


def ask(monkeypatch: pytest.MonkeyPatch, listener: Listener, *arguments: str) -> Ended:
    """Run a command whose flow is the listener."""

    @asynccontextmanager
    async def changing(*_: object) -> AsyncGenerator[Session]:
        everything: Any = listener
        yield Session(everything, Mode.JOINED, everything, everything)

    monkeypatch.setattr(controlling, "changing", changing)
    return flow(*arguments)


def test_a_filter_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the filter, and the reason, reach the flow as they were meant."""
    listener = Listener(3)
    typed = ("suspend", "--workflow", "checkout", "--status", "running", "--label", "shop=north")
    ended = ask(monkeypatch, listener, *typed, "--reason", "stock", "--clock", "stop")
    assert (ended.code, ended.out) == (0, "3 of 3 executions suspended\n")
    filters = {"workflow": "checkout", "labels": {"shop": "north"}, "incidents": False}
    assert listener.calls == [
        ("suspend", {**filters, "status": ["RUNNING"], "reason": "stock", "clock": "stop"})
    ]
    assert listener.query == {**filters, "statuses": ["RUNNING"], "limit": 10_000}


@pytest.mark.parametrize(
    ("verb", "statuses"),
    [
        ("suspend", ["PENDING", "RUNNING"]),
        ("resume", ["SUSPENDING", "SUSPENDED"]),
        ("abort", ["PENDING", "RUNNING", "SUSPENDING", "SUSPENDED"]),
        ("undo", ["FAILURE", "ABORTED"]),
    ],
)
def test_without_a_status_only_those_that_can_are_meant(
    monkeypatch: pytest.MonkeyPatch, verb: str, statuses: list[str]
) -> None:
    """What has ended, or is so already, is not matched unless its status is named."""
    listener = Listener(1)
    assert ask(monkeypatch, listener, verb, "--incidents").code == 0
    assert listener.calls[0][1]["status"] == statuses
    assert listener.calls[0][1]["incidents"] is True


@pytest.mark.parametrize(("typed", "compensate"), [((), False), (("--compensate",), True)])
def test_an_abort_may_undo(
    monkeypatch: pytest.MonkeyPatch, typed: tuple[str, ...], *, compensate: bool
) -> None:
    """Whether what ran is undone reaches the flow."""
    listener = Listener(1)
    assert ask(monkeypatch, listener, "abort", "--incidents", *typed).code == 0
    assert listener.calls[0][1]["compensate"] is compensate


def test_many_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a few are not touched without a yes, and nobody there is no yes."""
    few, many = Listener(UNASKED), Listener(UNASKED + 1)
    assert ask(monkeypatch, few, "abort", "--workflow", "checkout").code == 0
    refused = ask(monkeypatch, many, "abort", "--workflow", "checkout")
    assert (refused.code, many.calls) == (2, [])
    assert "say --yes if you are sure" in refused.err
    questions: list[str] = []

    def is_sure(_: str, question: str) -> bool:
        questions.append(question)
        return False

    monkeypatch.setattr(controlling, "is_sure", is_sure)
    declined = ask(monkeypatch, many, "abort", "--workflow", "checkout")
    assert (declined.code, declined.err, many.calls) == (1, "nothing was changed\n", [])
    assert questions == ["Abort 11 executions"]
    assert ask(monkeypatch, many, "abort", "--workflow", "checkout", "--yes").code == 0
    assert len(many.calls) == 1


def test_what_was_not_done_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executions that were refused or failed are counted; a failure is a code."""
    result = BulkResult(9, 5, 3, {"it is SUCCESS": 3}, 1, ("order-7",))
    listener = Listener(9, result)
    ended = ask(monkeypatch, listener, "resume", "--workflow", "checkout")
    assert (ended.code, ended.out) == (1, "5 of 9 executions resumed\n")
    assert ended.err.splitlines() == [
        "3 executions refused: it is SUCCESS",
        "1 execution not reached in time, such as 'order-7'; do it again",
    ]
    told = json.loads(ask(monkeypatch, listener, "resume", "--workflow", "checkout", "--json").out)
    assert told == {**asdict(result), "failed_ids": ["order-7"]}


def test_no_match_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filter that matches nothing says so, and asks for nothing."""
    listener = Listener(0)
    ended = ask(monkeypatch, listener, "abort", "--workflow", "checkout")
    assert (ended.code, ended.out, ended.err) == (0, "", "no executions match\n")
    told = ask(monkeypatch, listener, "abort", "--workflow", "checkout", "--json")
    assert json.loads(told.out)["matched"] == 0
    assert listener.calls == []


def test_it_has_to_be_clear_which_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ids nor a filter, both, and a wrong status are each refused."""
    listener = Listener(1)
    none = ask(monkeypatch, listener, "abort")
    both = ask(monkeypatch, listener, "abort", "order-1", "--workflow", "checkout")
    wrong = ask(monkeypatch, listener, "abort", "--status", "runing")
    assert [each.code for each in (none, both, wrong)] == [2, 2, 2]
    assert "no executions are named" in none.err
    assert "give ids or a filter, not both" in both.err
    assert "did you mean 'RUNNING'" in wrong.err
    assert listener.calls == []
