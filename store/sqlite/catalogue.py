"""Definitions, steps, pauses and the broker's incarnation: what belongs to no partition.

Each function is one transaction. Those that change something run on the writer's thread; whatever
others keep copies of bumps the revision along with the change.
"""

import sqlite3
from collections.abc import Mapping, Sequence

from flow.ports import DefinitionRecord, StepRecord
from store.sqlite.schema import transaction
from store.sqlite.statements import QUERIES
from store.sqlite.writer import ConnectionThread

_INCARNATION = "incarnation"


class CatalogueStore:
    """The part of `flow.ports.Store` that is about the catalogue."""

    @property
    def _write(self) -> ConnectionThread:
        raise NotImplementedError

    @property
    def _read(self) -> ConnectionThread:
        raise NotImplementedError

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition as the current one of its id. See `flow.ports.Store`."""
        await self._write.run(save_definition, record)

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions by hash, by id, or all current. See `flow.ports.Store`."""
        return await self._read.run(definitions, id, hash)

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. See `flow.ports.Store`."""
        return await self._write.run(remove_definition, id)

    async def save_step(self, record: StepRecord) -> StepRecord:
        """Keep a step of the catalogue, unless another service has it. See `flow.ports.Store`."""
        return await self._write.run(save_step, record)

    async def steps(self) -> Sequence[StepRecord]:
        """Return the steps of the catalogue, by id. See `flow.ports.Store`."""
        return await self._read.run(steps)

    async def remove_step(self, id: str) -> bool:
        """Forget a step of the catalogue. See `flow.ports.Store`."""
        return await self._write.run(remove_step, id)

    async def pause(self, workflow: str, command: str) -> None:
        """Note that a workflow is paused, or that it is not. See `flow.ports.Store`."""
        await self._write.run(pause, workflow, command)

    async def pauses(self) -> Mapping[str, str]:
        """Return the paused workflows. See `flow.ports.Store`."""
        return await self._read.run(pauses)

    async def revision(self) -> int:
        """Return the number that changes with the catalogue. See `flow.ports.Store`."""
        return await self._read.run(revision)

    async def incarnate(self, expected: str, new: str) -> str:
        """Compare and swap the broker's incarnation. See `flow.ports.Store`."""
        return await self._write.run(incarnate, expected, new)


def save_definition(connection: sqlite3.Connection, record: DefinitionRecord) -> None:
    """Keep a definition, and make it the current one of its id.

    Args:
        connection: The writer's.
        record: The definition.
    """
    row = (record.hash, record.id, record.version, record.body, record.saved_ms)
    with transaction(connection, "begin_write"):
        current = connection.execute(QUERIES["read_current"], (record.id,)).fetchone()
        if current != (record.hash,):
            connection.execute(QUERIES["save_definition"], row)
            connection.execute(QUERIES["point_definition"], (record.id, record.hash))
            connection.execute(QUERIES["bump_revision"])


def definitions(connection: sqlite3.Connection, id: str, hash: str) -> Sequence[DefinitionRecord]:
    """Return the definition of *hash*; else the current one of *id*; else all current.

    Args:
        connection: The reader's.
        id: A workflow's id, or an empty string.
        hash: The hash of a definition, or an empty string.
    """
    if hash:
        rows = connection.execute(QUERIES["definition_by_hash"], (hash,))
    elif id:
        rows = connection.execute(QUERIES["definition_by_id"], (id,))
    else:
        rows = connection.execute(QUERIES["definitions"])
    return [DefinitionRecord(*row) for row in rows]


def remove_definition(connection: sqlite3.Connection, id: str) -> bool:
    """Make *id* have no current definition, and return whether it had one.

    Args:
        connection: The writer's.
        id: A workflow's id.
    """
    return _delete(connection, "unpoint_definition", id)


def save_step(connection: sqlite3.Connection, record: StepRecord) -> StepRecord:
    """Keep a step unless another service has announced it; return the one that stands.

    Args:
        connection: The writer's.
        record: The step.
    """
    with transaction(connection, "begin_write"):
        row = connection.execute(QUERIES["read_step"], (record.id,)).fetchone()
        stands = StepRecord(*row) if row else None
        if stands and (stands.service != record.service or stands.hash == record.hash):
            return stands
        new = (record.id, record.service, record.hash, record.body, record.announced_ms)
        connection.execute(QUERIES["write_step"], new)
        connection.execute(QUERIES["bump_revision"])
    return record


def steps(connection: sqlite3.Connection) -> Sequence[StepRecord]:
    """Return the steps of the catalogue, by id.

    Args:
        connection: The reader's.
    """
    return [StepRecord(*row) for row in connection.execute(QUERIES["steps"])]


def remove_step(connection: sqlite3.Connection, id: str) -> bool:
    """Forget a step, and return whether it was there.

    Args:
        connection: The writer's.
        id: The step's id.
    """
    return _delete(connection, "delete_step", id)


def pause(connection: sqlite3.Connection, workflow: str, command: str) -> None:
    """Note that a workflow is paused, or that it is not.

    Args:
        connection: The writer's.
        workflow: The workflow's id.
        command: The id of the command that pauses it; empty to end the pause.
    """
    with transaction(connection, "begin_write"):
        row = connection.execute(QUERIES["read_pause"], (workflow,)).fetchone()
        if (row[0] if row else "") == command:
            return
        if command:
            connection.execute(QUERIES["write_pause"], (workflow, command))
        else:
            connection.execute(QUERIES["delete_pause"], (workflow,))
        connection.execute(QUERIES["bump_revision"])


def pauses(connection: sqlite3.Connection) -> Mapping[str, str]:
    """Return the paused workflows with the ids of the commands that paused them.

    Args:
        connection: The reader's.
    """
    rows: list[tuple[str, str]] = connection.execute(QUERIES["pauses"]).fetchall()
    return dict(rows)


def revision(connection: sqlite3.Connection) -> int:
    """Return the number that changes with definitions, steps and pauses.

    Args:
        connection: Any connection.
    """
    return int(connection.execute(QUERIES["read_revision"]).fetchone()[0])


def incarnate(connection: sqlite3.Connection, expected: str, new: str) -> str:
    """Replace the broker's incarnation if it is *expected*; return the one that stands.

    Args:
        connection: The writer's.
        expected: The one that the caller knows; an empty string at the very beginning.
        new: The one to put in its place.
    """
    with transaction(connection, "begin_write"):
        row = connection.execute(QUERIES["read_meta"], (_INCARNATION,)).fetchone()
        stands: str = row[0] if row else ""
        if stands == expected:
            connection.execute(QUERIES["write_meta"], (_INCARNATION, new))
            stands = new
    return stands


def _delete(connection: sqlite3.Connection, statement: str, id: str) -> bool:
    with transaction(connection, "begin_write"):
        was_there = connection.execute(QUERIES[statement], (id,)).rowcount > 0
        if was_there:
            connection.execute(QUERIES["bump_revision"])
    return was_there
