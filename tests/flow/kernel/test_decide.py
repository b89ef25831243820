"""Tests of `flow.kernel.decide`: starts, and what all events have in common."""

from __future__ import annotations

from typing import Any

import pytest

from flow.errors import FlowError, NodeExists
from flow.kernel.decide import Accepted, Dropped, Moment, decide
from flow.kernel.events import ExecutionStarted
from flow.kernel.execution import INPUT
from flow.status import Status
from tests.flow.programs.driver import Run, planned, step


def one(**options: Any) -> Run:
    """Return a started execution of a single step."""
    return Run(planned(step("a", **options))).start()


def test_a_start_is_kept_and_sends() -> None:
    """A start keeps its input, runs, and asks for the first attempts."""
    run = Run(planned(step("a"), step("b", "a")))
    event = ExecutionStarted("shop", "hash", b"1", {"h": "1"}, {"o": 1}, {}, {"l": "2"})
    assert run.decide(event) == Accepted(Status.RUNNING)
    kept = run.tree.node("input").read(INPUT)
    assert (kept.workflow, kept.body, kept.headers) == ("shop", b"1", {"h": "1"})
    assert (kept.definition, kept.options, kept.labels) == ("hash", {"o": 1}, {"l": "2"})
    assert [path for path, _ in run.sent()] == ["steps/a"]


def test_a_second_start_is_dropped() -> None:
    """A start that is delivered twice changes nothing."""
    run = one()
    assert run.decide(ExecutionStarted("shop", "hash", b"2")) == Dropped("it has begun already")
    assert run.last is not None
    assert not run.last.changes


def test_a_chain_runs_to_its_end() -> None:
    """Each success sends what waited for it, and the last one ends the execution."""
    run = Run(planned(step("a"), step("b", "a"))).start()
    assert run.succeed("steps/a") == Accepted(Status.RUNNING)
    assert run.out == ["steps/b"]
    assert run.succeed("steps/b") == Accepted(Status.SUCCESS)
    assert run.data.ended_ms == run.now_ms
    assert run.last is not None
    assert run.last.changes


def test_a_decision_that_fails_changes_nothing() -> None:
    """An event that breaks a rule raises, and the tree is as it was."""
    run = Run(planned(step("a")))
    before = run.tree.snapshot()
    event = ExecutionStarted("shop", "hash", b"1", results={"a": b"1", "nobody": b"1"})
    with pytest.raises(KeyError):
        decide(run.tree, run.program, event, Moment(1))
    assert run.tree.snapshot() == before
    assert not run.tree.take()
    assert issubclass(NodeExists, FlowError)
