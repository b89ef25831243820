"""The publisher: whatever waits goes to the broker in one call.

A message that is sent while the broker is busy with others waits for the next call, so that calls
become larger as the load grows. A few calls, the lanes, may be under way at the same time, so that
a message does not have to wait for the confirms of all those before it.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flow.clock import cancel_after
from flow.errors import BrokerUnavailable, Overloaded
from flow.ports import Broker, Clock, Publication, Settlement
from flow.runtime.tasks import TaskGroup

__all__ = ["Publisher", "PublisherSettings"]

_log = logging.getLogger("flow.publisher")

_OVERHEAD_BYTES: Final = 512
"""What a message counts for besides its body: its names and headers, roughly."""


@dataclass(frozen=True, slots=True)
class PublisherSettings:
    """How much a publisher holds, and how long it waits.

    Args:
        items_max: Messages that may be unsettled.
        bytes_max: Bytes that may be unsettled.
        batch_max: Messages in one call.
        lanes: Calls under way at the same time.
        deadline_s: Seconds until a call is given up.
    """

    items_max: int = 20_000
    bytes_max: int = 256 * 1024 * 1024
    batch_max: int = 1_000
    lanes: int = 4
    deadline_s: float = 10.0


@dataclass(slots=True, eq=False)
class _Waiting:
    publication: Publication
    size: int
    settled: asyncio.Future[Settlement]


class Publisher:
    """Publishes what it is given, in the order in which it was given.

    Messages that are in different calls may overtake each other.

    Args:
        broker: The broker.
        clock: The time.
        settings: How much it holds, and how long it waits.
    """

    def __init__(
        self, broker: Broker, clock: Clock, settings: PublisherSettings | None = None
    ) -> None:
        """Begin with nothing to publish. What is sent before `run` waits for it."""
        self._broker = broker
        self._clock = clock
        self._settings = settings or PublisherSettings()
        self._waiting: deque[_Waiting] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._items = 0
        self._bytes = 0
        self._has_stopped = False
        self._is_late = False

    def __len__(self) -> int:
        """Return how many messages are unsettled."""
        return self._items

    @property
    def has_stopped(self) -> bool:
        """Whether it publishes nothing more, so that there is no use in trying again."""
        return self._has_stopped

    async def run(self) -> None:
        """Publish until it is cancelled; what then is unsettled fails."""
        self._has_stopped = False
        try:
            async with TaskGroup() as group:
                lanes = [
                    group.start(self._run_lane(), f"publisher {number}")
                    for number in range(self._settings.lanes)
                ]
                await asyncio.wait(lanes)
        finally:
            self._has_stopped = True
            waiting, self._waiting = list(self._waiting), deque()
            self._fail(waiting, self._stopped())

    def send(self, publication: Publication) -> asyncio.Future[Settlement]:
        """Publish soon. It never waits.

        Args:
            publication: What to publish.

        Returns:
            What becomes of it: a settlement, or BrokerUnavailable if that is not known.

        Raises:
            Overloaded: Too much is unsettled already.
        """
        settings = self._settings
        size = len(publication.envelope.body) + _OVERHEAD_BYTES
        if self._items >= settings.items_max or self._bytes + size > settings.bytes_max:
            raise Overloaded("the queue of the publisher", settings.items_max)
        settled: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()
        if self._has_stopped:
            settled.set_exception(self._stopped())
            return settled
        self._items += 1
        self._bytes += size
        self._waiting.append(_Waiting(publication, size, settled))
        self._wake_one()
        return settled

    async def publish(self, publication: Publication) -> Settlement:
        """Publish, and wait for what becomes of it.

        Args:
            publication: What to publish.

        Raises:
            BrokerUnavailable: That is not known.
            Overloaded: Too much is unsettled already.
        """
        return await self.send(publication)

    async def _run_lane(self) -> None:
        while True:
            while not self._waiting:
                await self._work()
            batch = self._take()
            try:
                await self._publish(batch)
            finally:
                # Only what the lane was cancelled in the middle of is unsettled here.
                self._fail(batch, self._stopped())

    async def _work(self) -> None:
        work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(work)
        await work

    def _wake_one(self) -> None:
        while self._idle:
            work = self._idle.popleft()
            if not work.done():
                work.set_result(None)
                return

    def _take(self) -> list[_Waiting]:
        """Return what waits, as much of it as one call may have."""
        waiting, limit = self._waiting, self._settings.batch_max
        if len(waiting) <= limit:
            self._waiting = deque()
            return list(waiting)
        batch = [waiting.popleft() for _ in range(limit)]
        self._wake_one()
        return batch

    async def _publish(self, batch: Sequence[_Waiting]) -> None:
        try:
            settlements = await self._call([each.publication for each in batch])
        except BrokerUnavailable as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whoever sent it is told, whatever it is
            if len(batch) > 1:
                # One of them is wrong: each alone, so that it does not spoil the others.
                for each in batch:
                    await self._publish([each])
                return
            _log.warning("cannot publish to %r: %s", batch[0].publication.exchange, error)
            self._fail(batch, error)
        else:
            for each, settlement in zip(batch, settlements, strict=True):
                self._let_go(each)
                if not each.settled.done():
                    each.settled.set_result(settlement)

    async def _call(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        deadline_s = self._settings.deadline_s
        with cancel_after(self._clock, deadline_s):
            settlements = await self._broker.publish(publications)
            if self._is_late:
                self._is_late = False
                _log.warning("the broker %s confirms again", self._broker.url)
            return settlements
        error = BrokerUnavailable(self._broker.url, f"it did not confirm within {deadline_s:g} s")
        if not self._is_late:
            # Once for as long as it lasts. That the connection is lost, the broker tells itself.
            self._is_late = True
            _log.warning("%s", error)
        raise error

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for each in batch:
            if each.size == 0:
                continue
            self._let_go(each)
            if not each.settled.done():
                each.settled.set_exception(_own(error))

    def _let_go(self, each: _Waiting) -> None:
        self._items -= 1
        self._bytes -= each.size
        each.size = 0

    def _stopped(self) -> BrokerUnavailable:
        return BrokerUnavailable(self._broker.url, "the publisher has stopped")


def _own(error: Exception) -> Exception:
    """Return the error for one of several who wait; a shared one would collect their tracebacks."""
    if isinstance(error, BrokerUnavailable):
        copy = BrokerUnavailable(error.url, error.reason)
        copy.__cause__ = error
        return copy
    return error
