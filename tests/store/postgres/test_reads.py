"""Every read is led by an index, at a size where it matters. What they answer is conformance."""

import json
from typing import Any

import pytest

from flow.ports import ExecutionQuery
from flow.status import Status
from store.postgres import PostgresStore
from store.postgres.sessions import SETTINGS
from store.postgres.statements import QUERIES
from tests.conformance.store import put, row, take, write
from tests.store.postgres.conftest import Sql

ROWS = 100_000
FILL = """
INSERT INTO execution
SELECT n, 'e-' || n, n % 4, 'w' || n % 10, 'd', (ARRAY['RUNNING', 'SUCCESS', 'FAILURE'])[n % 3 + 1],
    n / 10, CASE n % 90 WHEN 0 THEN NULL ELSE n END, CASE n % 1000 WHEN 0 THEN 'look' ELSE '' END,
    '{"team": "red"}', ''
FROM generate_series(1, $1::integer) n;
"""
FILL_PROGRESS = """
INSERT INTO progress
SELECT n, n % 4, n, CASE n % 50 WHEN 0 THEN n END, 1, 1 FROM generate_series(1, $1::integer) n
"""
FILL_LABELS = """
INSERT INTO label SELECT 'team', 'red', n / 10, n FROM generate_series(1, $1::integer) n
"""
LAST = 2**63 - 1
PAGE = (LAST, LAST, 50, None)
STATUSES = ["RUNNING", "FAILURE"]
LABELLED = (*PAGE, STATUSES, "", "team", "red", False, '{"team": "red"}')
CASES: list[tuple[str, tuple[object, ...], str]] = [
    ("active", (0, 5_000, "e-5", 50), "progress_due"),
    ("due", (0, 50), "progress_due"),
    ("history", ("e-5", 0, 50), "journal_pkey"),
    ("outbox", (0, 0, 50), "outbox_pkey"),
    ("load", (["e-5", "e-6"],), "execution_id_key"),
    ("page_mark", ("e-5",), "execution_id_key"),
    ("list_newest", PAGE, "execution_newest"),
    ("list_newest", (LAST, LAST, 50, 3), "execution_newest"),
    ("list_by_status", (*PAGE, "FAILURE"), "execution_"),
    ("list_by_status", (*PAGE, "ABORTED"), "execution_status"),
    ("list_by_workflow", (*PAGE, "RUNNING", "w3"), "execution_"),
    ("list_by_workflow", (*PAGE, "RUNNING", "nothing"), "execution_workflow"),
    ("list_by_incident", (*PAGE, STATUSES, ""), "execution_incident"),
    ("list_by_label", LABELLED, "label_pkey"),
]


async def settled(sql: Sql) -> None:
    """Set a connection as those of the store are."""
    for name, value in SETTINGS.items():
        await sql.execute("SELECT set_config($1, $2, false)", name, value)


def walk(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all nodes of a plan."""
    return [plan, *(node for child in plan.get("Plans", ()) for node in walk(child))]


async def test_indexes_lead(store: PostgresStore, sql: Sql) -> None:
    """At 100,000 rows every read follows an index, and touches few rows, statistics or not."""
    for fill in (FILL, FILL_PROGRESS, FILL_LABELS):
        await sql.execute(fill, ROWS)
    await settled(sql)
    for has_statistics in (False, True):
        if has_statistics:
            await sql.execute("ANALYZE")
        for name, parameters, index in CASES:
            statement = f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES[name]}"
            plan = json.loads(await sql.fetchval(statement, *parameters))[0]["Plan"]
            nodes = walk(plan)
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], (name, plan)
            assert [node for node in nodes if node.get("Index Name", "").startswith(index)], name
            read = sum(
                node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes
            )
            assert read < 5_000, (name, plan)


async def test_list_of_statuses_is_merged(store: PostgresStore) -> None:
    """An execution that changes its status while pages are read is listed once."""
    leases = await take(store, 0)
    await put(store, leases, *(write(row(each)) for each in "abc"))
    query = ExecutionQuery(statuses=(Status.RUNNING, Status.SUCCESS, Status.RUNNING), limit=2)
    assert [each.id for each in await store.list(query)] == ["c", "b"]


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_records_are_in_order(store: PostgresStore, limit: int) -> None:
    """Records come in the order of their numbers, however they lie in the table."""
    leases = await take(store, 0)
    for seq in range(1, 6):
        await put(store, leases, write(row("a"), seq, b"%d" % seq))
    records = [each.record for each in await store.history("a", 0, limit)]
    assert records == [b"%d" % seq for seq in range(1, limit + 1)]
