"""Every read is led by an index, however large the tables grow. What they answer is conformance."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flow.ports import ExecutionQuery
from flow.status import Status
from store.sqlite import reads, schema
from store.sqlite.statements import QUERIES

PAGE: dict[str, Any] = {"partition": 1, "before_ms": 1, "before_number": 1, "limit": 1}
FILTER: dict[str, Any] = {"workflow": "w", "incidents": 1, "statuses": "[]", **PAGE}


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open an empty database."""
    with closing(schema.open_writer(tmp_path / "flow.db")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("name", "index", "parameters"),
    [
        ("due", "progress_due", (0, 0, 1)),
        ("due_next", "progress_due", (0, 0, 0)),
        ("history", "journal_key", ("a", 0, 1)),
        ("list_newest", "execution_newest", PAGE),
        ("list_by_status", "execution_status", {"status": "RUNNING", **PAGE}),
        ("list_by_workflow", "execution_workflow", {"status": "RUNNING", **FILTER}),
        ("list_by_incident", "execution_incident", FILTER),
        ("list_by_label", "", {"name": "n", "value": "v", "labels": "{}", **FILTER}),
        ("outbox", "", (0, 0, 1)),
        ("page_mark", "sqlite_autoindex_execution_1", ("a",)),
    ],
)
def test_index_leads(
    connection: sqlite3.Connection,
    name: str,
    index: str,
    parameters: tuple[Any, ...] | dict[str, Any],
) -> None:
    """The plan begins with the index that was made for it, scans no table and sorts nothing."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", parameters)
    plan = [row[3] for row in rows]
    assert f"INDEX {index} (" in plan[0] if index else "USING PRIMARY KEY (" in plan[0]
    tables = ("execution", "progress", "journal", "label", "outbox")
    assert not [step for step in plan if step.startswith(tuple(f"SCAN {each}" for each in tables))]
    assert not [step for step in plan if "TEMP B-TREE" in step]


def test_active_looks_at_what_wakes_soon(connection: sqlite3.Connection) -> None:
    """The ids that wake soon are found by their wake times, and only these are sorted."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {QUERIES['active']}", (0, 0, "", 1))
    first, second, *others = [row[3] for row in rows]
    index = "USING COVERING INDEX progress_due (partition=? AND wake_ms>? AND wake_ms<?)"
    assert first == f"SEARCH progress {index}"
    assert second == "SEARCH execution USING INTEGER PRIMARY KEY (rowid=?)"
    assert others == ["USE TEMP B-TREE FOR ORDER BY"]


@pytest.mark.parametrize("name", ["load_executions", "load_records", "read_known"])
def test_ids_lead(connection: sqlite3.Connection, name: str) -> None:
    """What is asked for by ids is looked up by them."""
    rows = connection.execute(f"EXPLAIN QUERY PLAN {QUERIES[name]}", ("[]",))
    assert "INDEX sqlite_autoindex_execution_1 (id=?)" in rows.fetchone()[3]


def test_list_of_statuses_is_merged(connection: sqlite3.Connection) -> None:
    """A list of several statuses asks the index for each of them once."""
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    query = ExecutionQuery(statuses=(Status.RUNNING, Status.SUCCESS, Status.RUNNING))
    assert reads.list_executions(connection, query) == []
    assert len([each for each in statements if "WHERE status =" in each]) == 2
