"""Tests of `flow.kernel.changelog`: what is collected, and the way back."""

from __future__ import annotations

import pytest

from flow.kernel.changelog import ChangeLog
from tests.flow.kernel.tree_model import Accident, Wait, fail


def note(log: ChangeLog, path: str, undone: list[str]) -> None:
    """Count a transition and remember a node that asks for a timer."""
    log.number += 1
    log.undo.append((undone.append, path))
    log.written.setdefault(path, log.number)
    log.ask(path, 1, [Wait(deadline_ms=log.number)])


def collected(log: ChangeLog) -> tuple[object, ...]:
    """Return what a log has collected."""
    deleted = [(entry.path, entry.updated) for entry in log.deleted]
    return log.number, deleted, list(log.written), [output.ref.updated for output in log.outputs]


def test_a_log_collects_in_order() -> None:
    """A node is written once however often it changes; tasks and deletions come one by one."""
    log = ChangeLog()
    with log:
        for path in "bab":
            note(log, path, [])
        log.number += 1
        log.note_deletion("c", list)
    assert collected(log) == (4, [("c", 4)], ["b", "a"], [1, 2, 3])


def test_a_log_goes_back_the_way_it_came() -> None:
    """A failed block undoes its own part, newest first, and what was collected is as before."""
    log, undone = ChangeLog(), list[str]()
    with log:
        note(log, "a", undone)
        before = collected(log)

        def write() -> None:
            note(log, "b", undone)
            log.number += 1
            log.note_deletion("c", undone.append, "c")
            log.forget()
            note(log, "d", undone)

        with pytest.raises(Accident), log:
            fail(Accident(), write)
        assert collected(log) == before
    assert undone == ["d", "c", "b"]
    with pytest.raises(Accident), log:
        raise Accident
    assert collected(log) == before


def test_a_log_is_writable_inside_a_block_only() -> None:
    """Writing needs an open block, and no reading that seals it."""
    log = ChangeLog()
    seen = [log.writable]
    with log:
        seen.append(log.writable)
        log.seal()
        with log:
            seen.append(log.writable)
        seen.append(log.writable)
        log.unseal()
        seen.append(log.writable)
    log.seal()
    log.unseal()
    assert [*seen, log.writable] == [False, True, False, False, True, False]


def test_a_log_forgets_what_was_taken() -> None:
    """After a take only the number remains."""
    log = ChangeLog()
    with log:
        note(log, "a", [])
    log.forget()
    assert collected(log) == (1, [], [], [])


def test_logs_share_nothing_that_is_written() -> None:
    """What logs hold between their blocks is the same for all of them, and stays empty."""
    rested, log = ChangeLog(), ChangeLog()
    for _ in range(2):
        with log:
            note(log, "a", [])
            log.number += 1
            log.note_deletion("b", list)
        assert collected(rested) == (0, [], [], [])
        log.forget()
    for each in (log, rested, ChangeLog()):
        assert (each.deleted, each.written, each.outputs, each.undo) == ([], {}, [], [])
