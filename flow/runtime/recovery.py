"""Recovery: what a new owner of partitions does before it takes part.

It sends again what the outbox still holds, loads what is due, and, if the broker has lost
everything, walks through all executions that have not ended and sends again what is out. What
merely waits costs nothing.
"""

import logging
from collections.abc import Sequence
from typing import Final

from flow.clock import sleep
from flow.errors import StoreUnavailable
from flow.ports import OutboxRow
from flow.runtime.dispatcher import attempt_again, command_of
from flow.runtime.engine import Engine
from flow.runtime.inbox import Recover, Woken

__all__ = ["Recovery"]

_log = logging.getLogger("flow.recovery")

PAGE: Final = 500
RETRY_S: Final = 1.0


class Recovery:
    """Brings partitions into memory, as far as that is needed.

    Args:
        engine: The orchestrator's state.
    """

    def __init__(self, engine: Engine) -> None:
        """Begin without a known loss."""
        self._engine = engine
        self.sweep = False

    async def recover(self, item: Recover) -> None:
        """Recover partitions; try for as long as it takes.

        Args:
            item: Which partitions.
        """
        engine = self._engine
        while True:
            try:
                await self._recover_all(item)
            except StoreUnavailable as error:
                _log.warning("recovery has to wait: %s", error)
                engine.forget()
                # That was everybody, not only who belongs to these partitions.
                item = Recover(tuple(engine.leases), again=item.again)
                await sleep(engine.clock, RETRY_S)
            else:
                self.sweep = False
                return

    async def _recover_all(self, item: Recover) -> None:
        if item.again:
            await self._engine.lifeline.take_again()
        for partition in item.partitions:
            if partition in self._engine.leases:
                await self._recover(partition)

    async def _recover(self, partition: int) -> None:
        engine = self._engine
        after = 0
        while rows := await engine.store.outbox(partition, after, PAGE):
            after = rows[-1].number
            engine.numbered(partition, after)
            await self._send_again(rows)
        if self.sweep:
            await self._sweep(partition)
        await self.look(partition)

    async def _send_again(self, rows: Sequence[OutboxRow]) -> None:
        engine = self._engine
        await self._load([row.execution for row in rows])
        for row in rows:
            live = engine.residents.get(row.execution)
            if live is None:
                engine.settle(row.partition, row.number)
            else:
                engine.dispatcher.send([command_of(row, live)])

    async def _sweep(self, partition: int) -> None:
        """Send again every attempt that is out: the broker has forgotten them all."""
        engine = self._engine
        after = ""
        while names := await engine.store.active(partition, after, PAGE):
            after = names[-1]
            await self._load(list(names))
            for name in names:
                live = engine.residents.get(name)
                if live is not None:
                    again = [attempt_again(live, node) for node in live.tree.walk()]
                    engine.dispatcher.send([command for command in again if command])
            engine.residents.evict()

    async def _load(self, names: list[str]) -> None:
        for live in await self._engine.residents.ensure(names):
            self._engine.wake(live)

    async def look(self, partition: int) -> None:
        """Wake the executions of a partition that are due, and set the alarm for the next.

        Args:
            partition: Which.
        """
        engine = self._engine
        due = await engine.store.due(partition, engine.clock.now_ms(), PAGE)
        if due.executions:
            engine.inbox.put(Woken(due.executions))
        engine.wake_partition(partition, due.next_ms)
