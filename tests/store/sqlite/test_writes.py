"""What a commit costs. What it does is conformance."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from flow.ports import Commit, CommitResult, Lease
from flow.status import Status
from store.recent import Recent
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
    writes.commit(connection, Recent(), commit)
    connection.set_trace_callback(None)
    words = ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE")
    lines = (statement.splitlines() for statement in statements)
    first = (next(line for line in each if not line.startswith("--")) for each in lines)
    return [line.strip() for line in first if line.startswith(words)]


def test_progress_is_two_small_rows(connection: sqlite3.Connection, lease: Lease) -> None:
    """A commit that only goes on with an execution writes no index of its row."""
    writes.commit(connection, Recent(), Commit((lease,), (write(row("a")),)))
    later = row("a")._replace(updated_ms=9_999)
    statements = traced(connection, Commit((lease,), (write(later, 2),)))
    assert [statement.split(" (")[0] for statement in statements] == [
        "BEGIN IMMEDIATE",
        "UPDATE progress SET updated_ms = 9999, seq = 2, snapshot = 1 WHERE execution = 1",
        "INSERT INTO journal",
        "COMMIT",
    ]


def test_equal_labels_are_not_rewritten(connection: sqlite3.Connection, lease: Lease) -> None:
    """Labels are written when they change, and not with every change of their row."""
    labelled = row("a")._replace(labels={"team": "red"})
    writes.commit(connection, Recent(), Commit((lease,), (write(labelled),)))
    changed = labelled._replace(incident="look")
    statements = traced(connection, Commit((lease,), (write(changed, 2),)))
    assert not [statement for statement in statements if " label " in statement]
    relabelled = changed._replace(labels={})
    statements = traced(connection, Commit((lease,), (write(relabelled, 3),)))
    assert len([statement for statement in statements if " label " in statement]) == 1


def test_conflict_writes_no_page(connection: sqlite3.Connection, lease: Lease) -> None:
    """Conflicts are found before anything is written."""
    statements = traced(connection, Commit((lease,), (write(row("a"), 2),), (waiting(1),)))
    assert statements == ["BEGIN IMMEDIATE", "COMMIT"]


def test_what_was_written_is_not_read_again(connection: sqlite3.Connection, lease: Lease) -> None:
    """Who goes on with what it has just written looks nothing up but the fence."""
    recent, statements = Recent(), list[str]()
    writes.commit(connection, recent, Commit((lease,), (write(row("a")),)))
    connection.set_trace_callback(statements.append)
    writes.commit(connection, recent, Commit((lease,), (write(row("a"), 2),)))
    assert [each.split()[-1] for each in statements if each.startswith("SELECT")] == ["partition"]


def test_failed_commit_is_not_remembered(connection: sqlite3.Connection, lease: Lease) -> None:
    """What was rolled back is not taken for written, and its number is given out again."""
    recent = Recent()
    for name in ("a", "b"):
        writes.commit(connection, recent, Commit((lease,), (write(row(name)),)))
    unfit = (write(row("a"), 2), write(row("c")))
    with pytest.raises(OverflowError):
        writes.commit(connection, recent, Commit((lease,), unfit, (waiting(2**63),)))
    fit = (write(row("a"), 2), write(row("d")))
    assert writes.commit(connection, recent, Commit((lease,), fit)) == CommitResult()
    found = connection.execute("SELECT number FROM execution WHERE id = 'd'").fetchone()
    assert found == (3,)


def test_woken_execution_is_read_again(connection: sqlite3.Connection, lease: Lease) -> None:
    """A time that was moved on its own is not taken for the one that was written before."""
    recent, early = Recent(), row("a")._replace(wake_ms=5)
    writes.commit(connection, recent, Commit((lease,), (write(early),)))
    writes.commit(connection, recent, Commit((lease,), wakes=(("a", 9),)))
    writes.commit(connection, recent, Commit((lease,), (write(early, 2),)))
    assert connection.execute("SELECT wake_ms FROM progress").fetchone() == (5,)


def test_end_leaves_the_order_of_lists_alone(connection: sqlite3.Connection, lease: Lease) -> None:
    """An end writes only columns that change, so that other indexes are not written."""
    recent = Recent()
    writes.commit(connection, recent, Commit((lease,), (write(row("a")),)))
    ended = row("a")._replace(status=Status.SUCCESS, ended_ms=9)
    statements = traced(connection, Commit((lease,), (write(ended, 2),)))
    updates = [each for each in statements if each.startswith("UPDATE execution")]
    assert [each.partition(" WHERE")[0] for each in updates] == [
        "UPDATE execution SET status = 'SUCCESS', ended_ms = 9, incident = ''"
    ]


def test_deleting_leaves_no_rows(connection: sqlite3.Connection, lease: Lease) -> None:
    """After a delete no table has a row of the execution."""
    labelled = row("a")._replace(labels={"team": "red"}, wake_ms=1)
    writes.commit(connection, Recent(), Commit((lease,), (write(labelled),), (waiting(1),)))
    writes.commit(connection, Recent(), Commit((lease,), (write(labelled, 2),)))
    assert writes.commit(connection, Recent(), Commit((lease,), deletes=("a",))) == CommitResult()
    for table in ("execution", "progress", "journal", "label", "outbox"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
