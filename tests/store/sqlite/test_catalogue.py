"""What the catalogue costs in a file; what it does is conformance."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from flow.ports import DefinitionRecord, StepRecord
from store.sqlite import catalogue, schema
from tests.conformance.store import NAMESPACE

STEP = StepRecord("ship", "shop", "h1", b"{}", 1)
RECORD = DefinitionRecord("checkout", "h1", "", b"1", 1)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database with a namespace."""
    path = tmp_path / "flow.db"
    with closing(schema.open_writer(path)) as opened:
        schema.settle_namespace(opened, path, NAMESPACE)
        yield opened


def test_nothing_new_writes_nothing(connection: sqlite3.Connection) -> None:
    """What every start of a process announces once more changes no page."""
    catalogue.save_definition(connection, RECORD)
    catalogue.save_step(connection, STEP)
    catalogue.pause(connection, "checkout", "c1")
    before = connection.total_changes
    catalogue.save_definition(connection, RECORD)
    catalogue.save_step(connection, replace(STEP, announced_ms=9))
    catalogue.pause(connection, "checkout", "c1")
    catalogue.pause(connection, "refund", "")
    assert not catalogue.remove_step(connection, "unknown")
    assert connection.total_changes == before
    assert catalogue.revision(connection) == 3


def test_change_and_revision_are_one_transaction(connection: sqlite3.Connection) -> None:
    """When the revision cannot be written, the change is undone."""
    connection.execute("DROP TABLE revision")
    with pytest.raises(sqlite3.OperationalError):
        catalogue.save_step(connection, STEP)
    assert catalogue.steps(connection) == []


async def test_part_alone_is_no_store() -> None:
    """Whoever takes the part has to say where the connections are."""
    part = catalogue.CatalogueStore()
    with pytest.raises(NotImplementedError):
        await part.revision()
    with pytest.raises(NotImplementedError):
        await part.remove_step("ship")
