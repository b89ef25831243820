"""The sweeper: sends everything again that is out, after the broker has lost what it had.

Theory of operation
-------------------
The store notes for each partition to which incarnation of the broker everything was sent. When a
partition is opened, or another incarnation is found, the two are compared: if they differ, the
partition's executions that have an attempt out are walked, in pages, and these are sent again. The
next page follows when the broker has everything of the one before, so that little is on its way at
any time and other work goes on. When it is through, the new incarnation is noted. An owner that
dies or loses the partition before leaves the whole sweep to the next one.

What only waits, for a retry or a person, is not looked at, however much of it there is. Whoever
has an attempt out is due to send it again within `LONGEST_SILENCE_MS`, and its row says so (see
`row_wake_ms`): so the rows that wake by then are all that matters. Some of them have nothing out.
"""

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from flow.errors import StoreUnavailable
from flow.runtime.orchestrator.commands import attempt_again
from flow.runtime.orchestrator.engine import Engine, note_arrival
from flow.runtime.orchestrator.inbox import Sweep
from flow.runtime.orchestrator.lifeline import Lifeline
from flow.runtime.orchestrator.live import LONGEST_SILENCE_MS

__all__ = ["Sweeper"]

_log = logging.getLogger("flow.sweeper")

PAGE: Final = 50
"""So many executions are loaded at once: others wait for so long."""
AHEAD: Final = 40
"""So many pages of ids are read at once: each reading looks at all rows that wake soon."""
REACH_MS: Final = 2 * LONGEST_SILENCE_MS
"""Rows that wake within so long are looked at. The second half is for clocks that were set back."""
RETRY_S: Final = 1.0


@dataclass(slots=True, eq=False)
class _Walk:
    """A sweep that is under way.

    Args:
        partition: Which partition.
        term: When it was opened; a partition that was opened anew is swept anew.
        incarnation: To which incarnation everything is sent.
        out: How many commands of the present page the broker does not have yet.
        executions: How many were looked at.
        ahead: Ids that were read and not looked at yet, in order.
    """

    partition: int
    term: int
    incarnation: str
    out: int = 0
    executions: int = 0
    ahead: deque[str] = field(default_factory=deque[str])


class Sweeper:
    """Sweeps partitions, one after the other.

    Args:
        engine: The orchestrator's state.
        lifeline: Notes what is done.

    Attributes:
        incarnation: The broker's present incarnation, as far as this process knows.
    """

    def __init__(self, engine: Engine, lifeline: Lifeline) -> None:
        """Begin with an unknown broker."""
        self.incarnation = ""
        self._engine = engine
        self._lifeline = lifeline
        self._waiting: deque[_Walk] = deque()
        self._present: _Walk | None = None

    @property
    def is_sweeping(self) -> bool:
        """Whether something is being sent again."""
        return self._present is not None

    def found(self, incarnation: str) -> None:
        """Take note of the broker's present incarnation, and sweep what was sent to another one.

        Args:
            incarnation: Its id.
        """
        self.incarnation = incarnation
        self.check()

    def check(self) -> None:
        """Sweep what has to be: partitions were opened or lost, or the broker is another one."""
        holdings = self._engine.holdings
        self._waiting.clear()
        if self._present is not None and not self._is_valid(self._present):
            self._present = None
        for partition, lease in self._engine.leases.items():
            term = holdings.term(partition)
            is_present = self._present is not None and self._present.partition == partition
            if term and not is_present and lease.incarnation != self.incarnation:
                self._waiting.append(_Walk(partition, term, self.incarnation))
        self._next()

    async def step(self, item: Sweep) -> None:
        """Send the next page again.

        Args:
            item: Where to go on; it may have been overtaken by events.
        """
        walk = self._present
        if walk is None or (walk.partition, walk.term) != (item.partition, item.term):
            return
        try:
            await self._step(walk, item.after)
        except StoreUnavailable as error:
            _log.warning("a sweep has to wait: %s", error)
            self._engine.trouble.note(error)
            self._later(item)

    async def _step(self, walk: _Walk, after: str) -> None:
        engine = self._engine
        names = await self._page(walk, after)
        if not names:
            await self._finish(walk)
            return
        generation = engine.residents.generation
        for live in await engine.residents.ensure(names):
            note_arrival(engine, live)
        if not self._is_valid(walk):
            self.check()
        elif generation != engine.residents.generation:
            engine.inbox.put(Sweep(walk.partition, walk.term, after))
        else:
            self._send(walk, names)
            engine.residents.evict()

    async def _page(self, walk: _Walk, after: str) -> list[str]:
        """Return the next ids after one. All that were out when they were read are among them."""
        ahead, clock = walk.ahead, self._engine.clock
        while ahead and ahead[0] <= after:
            ahead.popleft()
        if not ahead:
            until, limit = clock.now_ms() + REACH_MS, PAGE * AHEAD
            ahead.extend(await self._engine.store.active(walk.partition, until, after, limit))
        return list(islice(ahead, PAGE))

    def _send(self, walk: _Walk, names: list[str]) -> None:
        """Send a page again, as soon as everything that was decided about it is durable."""
        engine = self._engine
        lives = [live for name in names if (live := engine.residents.get(name)) is not None]
        again = [
            attempt_again(live, node)
            for live in lives
            for node in live.tree.walk()
            # What waits for its endpoint is not at the broker, and is sent as soon as it can be.
            if node.path not in live.waiting
        ]
        commands = [command for command in again if command is not None]
        walk.executions += len(names)
        # One more, so that it cannot be through before the last of them is on its way.
        walk.out = len(commands) + 1
        told = self._told(walk, names[-1])
        for command in commands:
            command.told = told
            # It has to stay in memory until then.
            command.live.pins += 1

        def send() -> None:
            for command in commands:
                command.live.pins -= 1
            engine.counters["swept"] += len(commands)
            engine.dispatcher.send(commands)
            told()

        # An attempt among them may be one that is just being committed, or will be.
        engine.committer.batch.after(send, walk.partition)
        engine.committer.notify()

    def _told(self, walk: _Walk, last: str) -> Callable[[], None]:
        def told() -> None:
            walk.out -= 1
            if walk.out == 0 and walk is self._present:
                self._engine.inbox.put(Sweep(walk.partition, walk.term, last))

        return told

    async def _finish(self, walk: _Walk) -> None:
        await self._lifeline.note_incarnation(walk.partition, walk.incarnation)
        _log.info("partition %d is swept: %d executions", walk.partition, walk.executions)
        self._present = None
        self.check()

    def _is_valid(self, walk: _Walk) -> bool:
        is_open = self._engine.holdings.term(walk.partition) == walk.term
        return is_open and walk.incarnation == self.incarnation

    def _next(self) -> None:
        if self._present is None and self._waiting:
            self._present = walk = self._waiting.popleft()
            self._engine.inbox.put(Sweep(walk.partition, walk.term, ""))

    def _later(self, item: Sweep) -> None:
        clock = self._engine.clock
        wait = RETRY_S * (0.5 + self._engine.chance.random())
        clock.call_at(clock.monotonic() + wait, lambda: self._engine.inbox.put(item))
