"""What a commit costs. What it does is conformance."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flow.ports import Commit, CommitResult, Lease
from store.sqlite import leases, schema, writes
from tests.conformance.store import NAMESPACE, row, waiting, write


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database with a namespace."""
    path = tmp_path / "flow.db"
    with closing(schema.open_writer(path)) as opened:
        schema.settle_namespace(opened, path, NAMESPACE)
        yield opened


@pytest.fixture
def lease(connection: sqlite3.Connection) -> Lease:
    """Hold partition 0."""
    taken = leases.acquire(connection, 0, "one", 0, 1_000)
    assert taken
    return taken


def traced(connection: sqlite3.Connection, commit: Commit) -> list[str]:
    """Return the first words of the statements that a commit executes."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    writes.commit(connection, commit)
    connection.set_trace_callback(None)
    words = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")
    lines = (statement.splitlines() for statement in statements)
    first = (next(line for line in each if not line.startswith("--")) for each in lines)
    return [line.strip() for line in first if line.startswith(words)]


def test_progress_is_two_small_rows(connection: sqlite3.Connection, lease: Lease) -> None:
    """A commit that only goes on with an execution writes no index of its row."""
    writes.commit(connection, Commit((lease,), (write(row("a")),)))
    later = replace(row("a"), updated_ms=9_999)
    statements = traced(connection, Commit((lease,), (write(later, 2),)))
    assert [statement.split(" (")[0] for statement in statements] == [
        "BEGIN IMMEDIATE",
        "UPDATE progress SET updated_ms = 9999, seq = 2, snapshot = 1 WHERE execution = 1",
        "INSERT INTO journal",
        "COMMIT",
    ]


def test_equal_labels_are_not_rewritten(connection: sqlite3.Connection, lease: Lease) -> None:
    """Labels are written when they change, and not with every change of their row."""
    labelled = replace(row("a"), labels={"team": "red"})
    writes.commit(connection, Commit((lease,), (write(labelled),)))
    changed = replace(labelled, incident="look")
    statements = traced(connection, Commit((lease,), (write(changed, 2),)))
    assert not [statement for statement in statements if " label " in statement]
    relabelled = replace(changed, labels={})
    statements = traced(connection, Commit((lease,), (write(relabelled, 3),)))
    assert len([statement for statement in statements if " label " in statement]) == 1


def test_conflict_writes_no_page(connection: sqlite3.Connection, lease: Lease) -> None:
    """Conflicts are found before anything is written."""
    statements = traced(connection, Commit((lease,), (write(row("a"), 2),), (waiting(1),)))
    assert statements == ["BEGIN IMMEDIATE", "COMMIT"]


def test_deleting_leaves_no_rows(connection: sqlite3.Connection, lease: Lease) -> None:
    """After a delete no table has a row of the execution."""
    labelled = replace(row("a"), labels={"team": "red"}, wake_ms=1)
    writes.commit(connection, Commit((lease,), (write(labelled),), (waiting(1),)))
    writes.commit(connection, Commit((lease,), (write(labelled, 2),)))
    assert writes.commit(connection, Commit((lease,), deletes=("a",))) == CommitResult()
    for table in ("execution", "progress", "journal", "label", "outbox"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
