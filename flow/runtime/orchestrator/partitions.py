"""Partitions: what an orchestrator does as partitions come to it and leave it.

Theory of operation
-------------------
A partition that is taken is recovered first, then opened: its executions are decided about, and
its queues are consumed. One that is handed over goes the other way: nothing more is received,
what was decided is written, everything is forgotten, and then its lease is given back. One that is
lost is forgotten at once.
"""

import logging
from collections.abc import Collection, Sequence
from typing import Final

from flow.errors import StoreUnavailable
from flow.ports import BrokerEvent, Renewal
from flow.runtime.orchestrator.admission import Admission
from flow.runtime.orchestrator.engine import Engine
from flow.runtime.orchestrator.gate import Gate
from flow.runtime.orchestrator.inbox import (
    HOUSEKEEPING,
    Handover,
    Item,
    Lost,
    Recover,
    Sweep,
)
from flow.runtime.orchestrator.lifeline import Lifeline
from flow.runtime.orchestrator.members import LEASES, REVISION, Members
from flow.runtime.orchestrator.recovery import Recovery
from flow.runtime.orchestrator.revisions import Revisions
from flow.runtime.orchestrator.subscriptions import Subscriptions
from flow.runtime.orchestrator.sweeper import Sweeper

__all__ = ["Partitions"]

_log = logging.getLogger("flow.partitions")

RETRY_S: Final = 1.0
JUMP_MS: Final = 500
"""If the store's clock jumps by more than this, all alarms are set anew."""


class Partitions:
    """Takes partitions, and lets them go.

    Args:
        engine: The orchestrator's state.
        subscriptions: The queues that are consumed.
        gate: Where starts wait.
        members: The other orchestrators.

    Attributes:
        admission: Says which items can be decided about now.
        recovery: Brings partitions into memory.
        lifeline: Holds the leases.
        sweeper: Sends everything again after the broker has lost it.
        revisions: Keeps copies of what is in the store up to date.
    """

    def __init__(
        self,
        engine: Engine,
        subscriptions: Subscriptions,
        gate: Gate,
        members: Members,
    ) -> None:
        """Begin without a partition."""
        self._engine = engine
        self._subscriptions = subscriptions
        self._gate = gate
        self._members = members
        self.lifeline = Lifeline(
            engine.store,
            engine.clock,
            engine.owner,
            engine.partitions,
            engine.holdings,
            self,
        )
        self.sweeper = Sweeper(engine, self.lifeline)
        self.revisions = Revisions(engine.clock, engine.chance)
        self.recovery = Recovery(engine, self.lifeline)
        self.admission = Admission(engine, subscriptions)
        members.on(LEASES, lambda news: self.lifeline.look(is_wanted=bool(news.get("wanted"))))
        members.on(REVISION, lambda _news: self.revisions.hear())

    # ------------------------------------------------------------- what the lifeline tells

    def taken(self, partition: int) -> None:
        """Recover a partition: it is ours from now on."""
        self._engine.inbox.put(Recover((partition,)))

    def lost(self, partitions: Sequence[int]) -> None:
        """Forget partitions: they are ours no longer."""
        self._engine.lose(partitions)

    def unwanted(self, partitions: Sequence[int]) -> None:
        """Hand partitions over to others."""
        self._engine.inbox.put(Handover(tuple(partitions)))

    def wanting(self) -> None:
        """Ask the others for partitions."""
        self._members.tell(LEASES, wanted=True)

    def renewed(self, renewal: Renewal, asked_s: float) -> None:
        """Take over what the store has told along with a renewal."""
        engine = self._engine
        if abs(engine.clock.set(renewal.now_ms, asked_s)) > JUMP_MS:
            engine.timers.adjust()
        self.revisions.note(renewal.revision)

    def troubled(self, error: StoreUnavailable | None) -> float:
        """Note that the store could not be asked, or could (None); return a random number."""
        self._engine.trouble.note(error)
        return self._engine.chance.random()

    # ---------------------------------------------------------------------- housekeeping

    async def keep_house(self, items: Sequence[Item]) -> Sequence[Item]:
        """Do what changes who owns what, and return the other items.

        Args:
            items: What came.
        """
        chores = [item for item in items if type(item) in HOUSEKEEPING]
        if not chores:
            return items
        for item in chores:
            match item:
                case Recover():
                    await self._recover(item)
                case Lost(partitions=partitions):
                    await self._let_go(partitions)
                case Handover(partitions=partitions):
                    await self._hand_over(partitions)
                case Sweep():
                    await self.sweeper.step(item)
                case _:
                    pass
        return [item for item in items if type(item) not in HOUSEKEEPING]

    async def _recover(self, item: Recover) -> None:
        engine = self._engine
        try:
            opened = await self.recovery.recover(item)
        except StoreUnavailable as error:
            _log.debug("recovery has to wait: %s", error)
            engine.trouble.note(error)
            engine.reset([each for each in item.partitions if not engine.holdings.is_open(each)])
            self._recover_later(item)
            opened = [each for each in item.partitions if engine.holdings.is_open(each)]
        else:
            engine.trouble.note(None)
        await self._subscriptions.open(opened)
        self.sweeper.check()
        self.admission.readmit()

    def _recover_later(self, item: Recover) -> None:
        engine = self._engine
        wait = RETRY_S * (0.5 + 0.5 * engine.chance.random())
        engine.clock.call_at(engine.clock.monotonic() + wait, lambda: engine.inbox.put(item))

    async def _let_go(self, partitions: Collection[int]) -> None:
        """Receive nothing more for partitions that are ours no longer."""
        gone = [each for each in partitions if each not in self._engine.leases]
        await self._subscriptions.close(gone)
        self._engine.inbox.put_back(self._gate.take(gone))
        self.sweeper.check()
        self.admission.readmit()

    async def _hand_over(self, partitions: Collection[int]) -> None:
        engine = self._engine
        leaving = [each for each in partitions if each in engine.leases]
        await self._subscriptions.close(leaving)
        engine.holdings.close(leaving)
        engine.committer.notify()
        await engine.committer.drained()
        engine.reset(leaving)
        try:
            await self.lifeline.give_back(leaving)
        except StoreUnavailable as error:
            _log.warning("partitions %s are not given back, and run out: %s", leaving, error)
        await self._let_go(leaving)
        self._members.tell(LEASES)

    # ------------------------------------------------------------------------ the broker

    def hear(self, event: BrokerEvent) -> None:
        """Forget what arrived over a connection that is lost: it comes again.

        Args:
            event: What happened to the connection.
        """
        if event is BrokerEvent.LOST:
            self._gate.clear()
            self.admission.forget_strays()

    async def leave(self) -> None:
        """Give everything back at once. Everything was written and forgotten before.

        Raises:
            StoreUnavailable: The store cannot be asked; the leases run out by themselves.
        """
        await self.lifeline.leave()
        self._members.tell(LEASES)
