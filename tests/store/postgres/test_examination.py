"""What is told about a server, good and bad."""

from collections.abc import Mapping
from typing import Any

import pytest

from flow.ports import Level
from store.postgres import PostgresStore
from store.postgres.examination import durability, findings, rights
from tests.conformance.store import NAMESPACE
from tests.servers.postgres import PostgresServer
from tests.store.postgres.conftest import Sql

GOOD: Mapping[str, Any] = {
    "version": "15.8",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "standbys": "",
    "max_connections": 100,
    "connections": 10,
    "is_standby": False,
    "pid": 7,
    "now_ms": 1_000_000,
    "size": 1 << 20,
    "schema": "flow_shop",
}


def bad(row: Mapping[str, Any], now_ms: int = 1_000_000, pid: int = 7) -> dict[str, Level]:
    """Return the subjects that are not fine."""
    found = findings(row, now_ms, pid)
    return {each.subject: each.level for each in found if each.level is not Level.FINE}


def test_good_server_is_fine() -> None:
    """Nothing is wrong with a server that is set up well."""
    assert bad(GOOD) == {}
    assert bad({**GOOD, "synchronous_commit": "remote_apply", "standbys": "*"}) == {}
    assert bad({**GOOD, "synchronous_commit": "local"}) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"fsync": "off"},
        {"full_page_writes": "off"},
        {"synchronous_commit": "off"},
        {"synchronous_commit": "local", "standbys": "*"},
        {"is_standby": True},
    ],
)
def test_weak_durability_is_a_problem(change: dict[str, Any]) -> None:
    """Whatever may lose what was acknowledged is a problem, and there is advice."""
    row = {**GOOD, **change}
    assert bad(row) == {"durability": Level.PROBLEM}
    assert durability(row).advice


def test_circumstances_are_warned_of() -> None:
    """A pooler, a clock that differs, and a lack of connections are warned of."""
    assert bad(GOOD, pid=8) == {"connection": Level.WARNING}
    assert bad(GOOD, now_ms=1_006_000) == {"clock": Level.WARNING}
    assert bad({**GOOD, "connections": 90}) == {"connections": Level.WARNING}


def test_missing_rights_are_named() -> None:
    """Tables that cannot be used are named."""
    assert rights([]).level is Level.FINE
    assert rights(["journal"]).level is Level.PROBLEM
    assert "journal" in rights(["journal"]).detail


async def test_real_server_is_described(store: PostgresStore, sql: Sql) -> None:
    """A real server is described by what it says, and is fine."""
    found = {each.subject: each for each in await store.examine()}
    assert found["PostgreSQL version"].detail == await sql.fetchval(
        "SELECT current_setting('server_version')"
    )
    assert "fsync is on" in found["durability"].detail
    assert "flow_suite" in found["size"].detail
    assert {each.level for each in found.values()} == {Level.FINE}


async def test_unsafe_server_is_found(own_postgres: PostgresServer) -> None:
    """A real server without full page writes is a problem."""
    store = PostgresStore(await own_postgres.new_database())
    await own_postgres.execute("ALTER SYSTEM SET full_page_writes = off")
    await own_postgres.execute("SELECT pg_reload_conf()")
    await store.open(NAMESPACE)
    found = {each.subject: each.level for each in await store.examine()}
    assert found["durability"] is Level.PROBLEM
    await store.close()
