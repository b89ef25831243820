"""Recovery: what a new owner of a partition does before it decides about it.

It sends again what the outbox still holds, and loads what is due. What merely waits costs nothing.
If the broker has lost everything, the sweep does the rest, while other work goes on.
"""

import logging
from collections.abc import Sequence
from typing import Final

from flow.errors import DataError
from flow.ports import OutboxRow
from flow.runtime.orchestrator.commands import command_of
from flow.runtime.orchestrator.engine import Engine, note_arrival
from flow.runtime.orchestrator.inbox import Recover, Woken
from flow.runtime.orchestrator.lifeline import Lifeline
from flow.runtime.orchestrator.live import LiveExecution

__all__ = ["Recovery"]

_log = logging.getLogger("flow.recovery")

PAGE: Final = 500


class Recovery:
    """Brings partitions into memory, as far as that is needed.

    Args:
        engine: The orchestrator's state.
        lifeline: Takes leases once more.
    """

    def __init__(self, engine: Engine, lifeline: Lifeline) -> None:
        """Share the orchestrator's state."""
        self._engine = engine
        self._lifeline = lifeline

    async def recover(self, item: Recover) -> list[int]:
        """Recover partitions, and decide about them from now on.

        Args:
            item: Which partitions.

        Returns:
            Those that are open now.

        Raises:
            StoreUnavailable: The store cannot be asked; those that were recovered are open.
        """
        engine = self._engine
        # Whoever pauses a workflow relies on it that they are read after the leases are taken.
        await engine.pauses.load()
        if item.again:
            await self._lifeline.take_again()
        opened: list[int] = []
        for partition in item.partitions:
            if engine.holdings.holds(partition) and not engine.holdings.is_open(partition):
                await self._recover(partition)
            if engine.holdings.is_open(partition):
                opened.append(partition)
        return opened

    async def _recover(self, partition: int) -> None:
        engine = self._engine
        lease, closings = engine.leases[partition], engine.holdings.closings(partition)
        after = 0
        while rows := await engine.store.outbox(partition, after, PAGE):
            after = rows[-1].number
            engine.holdings.numbered(partition, after)
            await self._send_again(rows)
        await self.look(partition)
        if engine.holdings.has(lease) and engine.holdings.closings(partition) == closings:
            engine.holdings.open(partition)

    async def _send_again(self, rows: Sequence[OutboxRow]) -> None:
        engine = self._engine
        if not await self._load(rows[0].partition, [row.execution for row in rows]):
            return
        for row in rows:
            live = engine.residents.get(row.execution)
            if live is not None:
                self._send(row, live)
            elif row.execution in engine.residents.parked:
                # A person may repair the execution; what it has to send is kept until then.
                engine.counters["parked rows"] += 1
                _log.warning("a command of execution %s waits for its repair", row.execution)
            else:
                engine.settle(row.partition, row.number)

    def _send(self, row: OutboxRow, live: LiveExecution) -> None:
        try:
            command = command_of(row, live)
        except DataError as error:
            # A newer version may have written it, and will take it up.
            self._engine.counters["unknown rows"] += 1
            _log.error("a command of execution %s is not sent: %s", row.execution, error)
            return
        self._engine.dispatcher.send([command])

    async def _load(self, partition: int, names: list[str]) -> bool:
        """Load executions; return whether the partition is ours still."""
        residents = self._engine.residents
        generation = None
        while generation != residents.generation:
            # Nobody comes in while somebody is forgotten, whoever that is.
            generation = residents.generation
            for live in await residents.ensure(names):
                note_arrival(self._engine, live)
        return self._engine.holdings.holds(partition)

    async def look(self, partition: int) -> None:
        """Wake the executions of a partition that are due, and set the alarm for the next.

        Args:
            partition: Which.

        Raises:
            StoreUnavailable: The store cannot be asked.
        """
        engine = self._engine
        due = await engine.store.due(partition, engine.clock.now_ms(), PAGE)
        if due.executions:
            engine.inbox.put(Woken(due.executions))
        engine.wake_partition(partition, due.next_ms)
