"""Definitions, steps, pauses and the broker's incarnation: what belongs to no partition."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from flow.errors import StoreUnavailable
from flow.ports import DefinitionRecord, StepRecord
from store.postgres.sessions import Connection, Pool
from store.postgres.statements import QUERIES

_TRIES: Final = 5
"""Each time somebody else was first. The next look sees what they have done."""


class CatalogueStore:
    """The part of `flow.ports.Store` that is about the catalogue."""

    url: str

    @property
    def _pool(self) -> Pool:
        raise NotImplementedError

    async def save_definition(self, record: DefinitionRecord) -> None:
        """Keep a definition as the current one of its id. See `flow.ports.Store`."""
        row = (record.hash, record.id, record.version, record.body, record.saved_ms)
        await self._pool.run(
            lambda connection: connection.execute(QUERIES["save_definition"], *row)
        )

    async def definitions(self, id: str = "", hash: str = "") -> Sequence[DefinitionRecord]:
        """Return definitions by hash, by id, or all current. See `flow.ports.Store`."""
        name = "definition_by_hash" if hash else "definitions"
        rows = await self._pool.run(lambda connection: connection.fetch(QUERIES[name], hash or id))
        return [DefinitionRecord(*row) for row in rows]

    async def remove_definition(self, id: str) -> bool:
        """Make *id* have no current definition. See `flow.ports.Store`."""
        return await self._remove("remove_definition", id)

    async def save_step(self, record: StepRecord) -> StepRecord:
        """Keep a step of the catalogue, unless another service has it. See `flow.ports.Store`."""
        stands = await self._pool.run(partial(_save_step, record=record))
        if stands is None:
            raise StoreUnavailable(self.url, f"step {record.id!r} changes all the time")
        return stands

    async def steps(self) -> Sequence[StepRecord]:
        """Return the steps of the catalogue, by id. See `flow.ports.Store`."""
        rows = await self._pool.run(lambda connection: connection.fetch(QUERIES["steps"]))
        return [StepRecord(*row) for row in rows]

    async def remove_step(self, id: str) -> bool:
        """Forget a step of the catalogue. See `flow.ports.Store`."""
        return await self._remove("remove_step", id)

    async def pause(self, workflow: str, command: str) -> None:
        """Note that a workflow is paused, or that it is not. See `flow.ports.Store`."""
        statement = QUERIES["pause" if command else "unpause"]
        row = (workflow, command) if command else (workflow,)
        await self._pool.run(lambda connection: connection.execute(statement, *row))

    async def pauses(self) -> Mapping[str, str]:
        """Return the paused workflows. See `flow.ports.Store`."""
        rows = await self._pool.run(lambda connection: connection.fetch(QUERIES["pauses"]))
        return {row["workflow"]: row["command"] for row in rows}

    async def revision(self) -> int:
        """Return the number that changes with the catalogue. See `flow.ports.Store`."""
        number = await self._pool.run(
            lambda connection: connection.fetchval(QUERIES["read_revision"])
        )
        return int(number)

    async def incarnate(self, expected: str, new: str) -> str:
        """Compare and swap the broker's incarnation. See `flow.ports.Store`."""
        return await self._pool.run(partial(_incarnate, expected=expected, new=new))

    async def _remove(self, statement: str, id: str) -> bool:
        gone = await self._pool.run(lambda connection: connection.fetchval(QUERIES[statement], id))
        return bool(gone)


async def _save_step(connection: Connection, record: StepRecord) -> StepRecord | None:
    row = (record.id, record.service, record.hash, record.body, record.announced_ms)
    for _ in range(_TRIES):
        stands = await connection.fetchrow(QUERIES["save_step"], *row)
        if stands is not None:
            return StepRecord(*stands)
    return None


async def _incarnate(connection: Connection, expected: str, new: str) -> str:
    await connection.execute(QUERIES["swap_incarnation"], expected, new)
    return str(await connection.fetchval(QUERIES["read_meta"], "incarnation"))
