"""Tests of `orchestrator.residents`: a record of a newer program, in two kinds of store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from flow import Flow
from flow.errors import CorruptRecord
from flow.kernel.steps import STEP
from flow.ports import Clock, JournalRecord, Store
from flow.runtime.orchestrator.engine import Engine
from flow.status import Status
from flow.testing import NEVER, FlowHarness
from store.memory import MemoryDatabase, MemoryStore
from store.sqlite import SqliteStore
from tests.flow.runtime.worlds import chain

KNOWN = f'"{STEP.name}@{STEP.version}"'.encode()
OTHERS = 24
"""Enough that each of the eight partitions has some."""


class InMemory:
    """The records of the store that keeps everything in memory."""

    def __init__(self, _folder: Path) -> None:
        self.database = MemoryDatabase()

    def open(self, clock: Clock) -> Store:
        """Make the store."""
        return MemoryStore(clock.now_ms, self.database)

    def exchange(self, execution: str, old: bytes, new: bytes) -> int:
        """Write a machine type in place of another one; return in how many records."""
        row = self.database.row(execution)
        assert row is not None
        before, row.records[:] = (
            list(row.records),
            [
                JournalRecord(each.seq, each.record.replace(old, new), each.is_snapshot)
                for each in row.records
            ],
        )
        return sum(one != other for one, other in zip(before, row.records, strict=True))


class InSqlite:
    """The records of a SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "flow.db"

    def open(self, clock: Clock) -> Store:
        """Make the store."""
        return SqliteStore(self.file, clock.now_ms)

    def exchange(self, execution: str, old: bytes, new: bytes) -> int:
        """Write a machine type in place of another one; return in how many records."""
        with closing(sqlite3.connect(self.file)) as database, database:
            changed = database.execute(
                "UPDATE journal"
                " SET record = CAST(replace(CAST(record AS TEXT), ?, ?) AS BLOB)"
                " WHERE instr(record, ?)"
                " AND execution = (SELECT number FROM execution WHERE id = ?)",
                (old.decode(), new.decode(), old, execution),
            )
            return changed.rowcount


Records = InMemory | InSqlite


@pytest.fixture(params=[InMemory, InSqlite])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Records:
    """The records of a store, to be tampered with."""
    make: Callable[[Path], Records] = request.param
    return make(tmp_path)


def engine_of(app: Flow) -> Engine:
    """Return the engine of a flow that runs."""
    assert app.host is not None
    assert app.host.engine is not None
    return app.host.engine


@pytest.mark.parametrize(
    ("unknown", "reason"),
    [
        (b'"tomorrow@1"', "machine type 'tomorrow' is not registered"),
        (b'"step@99"', "machine type 'step'.*version 99"),
    ],
)
async def test_an_unknown_machine_type_parks_one_execution(
    records: Records, unknown: bytes, reason: str
) -> None:
    """It waits for a person and tells why; all others end, and so does it after its repair."""
    app, workflow = chain()
    async with FlowHarness(app, store=records.open) as test:
        for number, answer in enumerate([1, NEVER, 3], 1):
            test.stub(f"work.s{number}", answer)
        names = ["bad", *(f"e{number}" for number in range(OTHERS))]
        await asyncio.gather(*(workflow.execute(id=name) for name in names))
        await test.settle()
        engine = engine_of(app)
        assert {engine.partition_of(name) for name in names[1:]} == set(range(8))
        test.crash()
        assert records.exchange("bad", KNOWN, unknown) > 0
        test.stub("work.s2", 2)
        await test.restart()
        bad, *others = (app.executions.get(name) for name in names)
        assert [await each.result() for each in others] == [3] * OTHERS
        with pytest.raises(CorruptRecord, match=f"'bad'.*{reason}"):
            await bad.describe()
        # Its alarms come and its worker answers, and nothing is decided about it.
        await test.advance(3_600)
        engine = engine_of(app)
        assert list(engine.residents.parked) == ["bad"]
        assert app.host is not None
        orchestrator = app.host.health().orchestrator
        assert orchestrator is not None
        assert orchestrator.parked == 1
        rows = {row["id"]: row["status"] for row in await app.executions.list()}
        assert [name for name in names if rows[name] == Status.RUNNING.value] == ["bad"]
        test.crash()
        assert records.exchange("bad", unknown, KNOWN) > 0
        await test.restart()
        assert await bad.result() == 3
        assert engine_of(app).residents.parked == {}
