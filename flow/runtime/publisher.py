"""The publisher: whatever waits goes to the broker in one call.

A message that is sent while the broker is busy with others waits for the next call, so that calls
become larger as the load grows. A few calls, the lanes, may be under way at the same time, so that
a message does not have to wait for the confirms of all those before it.

A destination may swallow messages without a word, such as a queue without a leader, while all
others confirm. Whatever is for such a destination goes through a lane of its own from then on, so
that the others do not have to wait with it for the end of the deadline. One that was quiet for a
while is forgotten.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flow.clock import cancel_after
from flow.errors import BrokerUnavailable, FlowError, Overloaded
from flow.ports import Broker, Clock, PartlyPublished, Publication, Settlement
from flow.runtime.bundles import Bundler
from flow.runtime.tasks import TaskGroup
from flow.runtime.trouble import Trouble, TroubleNote, TroubleTexts

__all__ = ["Publisher", "PublisherSettings", "Told"]

_log = logging.getLogger("flow.publisher")

Told = Callable[[Settlement | None, Exception | None], None]
"""Is told once what has become of a message: its settlement, or why there is none."""

_OVERHEAD_BYTES: Final = 512
"""What a message counts for besides its body: its names and headers, roughly."""
_PATIENCE_S: Final = 3.0
"""Seconds for which nothing may be published before that is told."""
_OUTAGE: Final = TroubleTexts("flow.publisher", "the broker confirms again", _PATIENCE_S)
_SWALLOWING: Final = TroubleTexts("flow.publisher", "all destinations confirm again")
_SUSPECTS_MAX: Final = 1_000
_SUSPECT_S: Final = 60.0
"""Seconds after which a destination that nothing was sent to is as good as any other."""


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


class _Waiting:
    """A message that waits, or is on its way; its size is 0 once it was told what became of it."""

    __slots__ = ("publication", "size", "told")

    def __init__(self, publication: Publication, size: int, told: Told) -> None:
        self.publication = publication
        self.size = size
        self.told = told


class _Line:
    """What waits for some lanes, and those of them that wait for it."""

    __slots__ = ("_idle", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[_Waiting] = deque()
        self._idle: deque[asyncio.Future[None]] = deque()

    def put(self, each: _Waiting) -> None:
        """Have a message wait for a lane."""
        if self._idle and not self._waiting:
            # The lane that is woken takes all that comes until its turn.
            self._wake_one()
        self._waiting.append(each)

    async def take(self, limit: int) -> list[_Waiting]:
        """Return what waits, once there is something: as much of it as one call may have."""
        while not self._waiting:
            work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(work)
            await work
        waiting = self._waiting
        if len(waiting) <= limit:
            self._waiting = deque()
            return list(waiting)
        batch = [waiting.popleft() for _ in range(limit)]
        self._wake_one()
        return batch

    def clear(self) -> list[_Waiting]:
        """Return all that waits, and forget it."""
        waiting, self._waiting = list(self._waiting), deque()
        return waiting

    def _wake_one(self) -> None:
        while self._idle:
            work = self._idle.popleft()
            if not work.done():
                work.set_result(None)
                return


class _Suspects:
    """The destinations that do not confirm while others do.

    Args:
        url: Where the broker is, without secrets.
        clock: The time.

    Attributes:
        are_any: Whether there is any. Each message asks that, and nearly always there is none.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._trouble = Trouble(clock, _SWALLOWING)
        self._last: dict[tuple[str, str], float] = {}
        self.are_any = False

    def __contains__(self, publication: Publication) -> bool:
        """Return whether a message is for one of them."""
        return self.are_any and _destination_of(publication) in self._last

    @property
    def present(self) -> TroubleNote:
        """What is wrong with them at the moment."""
        self._forget()
        return self._trouble.present

    def note(self, swallowed: Sequence[Publication], settled: Sequence[Publication]) -> None:
        """Take note of how a call ended of which the outcome is known in parts, or all."""
        for each in settled:
            self._last.pop(_destination_of(each), None)
        now = self._clock.monotonic()
        for each in swallowed:
            destination = _destination_of(each)
            if len(self._last) < _SUSPECTS_MAX or destination in self._last:
                self._last[destination] = now
        if swallowed:
            exchange, key = _destination_of(swallowed[0])
            what = f"what is published to {key!r} through {exchange!r}"
            reason = f"it does not confirm {what} ({len(self._last)} such destinations)"
            self._trouble.note(BrokerUnavailable(self._url, reason))
        self._forget()

    def _forget(self) -> None:
        oldest = self._clock.monotonic() - _SUSPECT_S
        for destination in [each for each, last in self._last.items() if last < oldest]:
            del self._last[destination]
        self.are_any = bool(self._last)
        if not self._last:
            self._trouble.note(None)


def _destination_of(publication: Publication) -> tuple[str, str]:
    return publication.exchange, publication.routing_key


class Publisher:
    """Publishes what it is given, in the order in which it was given.

    Messages that are in different calls may overtake each other.

    Args:
        broker: The broker.
        clock: The time.
        settings: How much it holds, and how long it waits.
        bundler: Puts what waits together into bundles; None to publish each message by itself.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        settings: PublisherSettings | None = None,
        bundler: Bundler | None = None,
    ) -> None:
        """Begin with nothing to publish. What is sent before `run` waits for it."""
        self._broker = broker
        self._clock = clock
        self._settings = settings or PublisherSettings()
        self._bundler = bundler
        self._line = _Line()
        self._slow_line = _Line()
        self._suspects = _Suspects(broker.url, clock)
        self._outage = Trouble(clock, _OUTAGE)
        self._confirmed_at = clock.monotonic()
        self._group: TaskGroup | None = None
        self._has_slow_lane = False
        self._items = 0
        self._bytes = 0
        self._has_stopped = False

    def __len__(self) -> int:
        """Return how many messages are unsettled."""
        return self._items

    @property
    def has_stopped(self) -> bool:
        """Whether it publishes nothing more, so that there is no use in trying again."""
        return self._has_stopped

    @property
    def trouble(self) -> TroubleNote:
        """What is wrong with publishing at the moment, if it has lasted for some seconds."""
        outage = self._outage.present
        return outage if outage.reason else self._suspects.present

    async def run(self) -> None:
        """Publish until it is cancelled; what then is unsettled fails."""
        self._has_stopped = False
        try:
            async with TaskGroup() as group:
                self._group = group
                lanes = [
                    group.start(self._run_lane(self._line), f"publisher {number}")
                    for number in range(self._settings.lanes)
                ]
                await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED)
                # In silence, messages would wait for ever once the last lane is gone.
                raise RuntimeError("a lane of the publisher has ended")
        finally:
            self._group, self._has_slow_lane = None, False
            self._has_stopped = True
            self._fail([*self._line.clear(), *self._slow_line.clear()], self._stopped())

    def post(self, publication: Publication, told: Told) -> None:
        """Publish soon. It never waits.

        Args:
            publication: What to publish.
            told: Is told what becomes of it: a settlement, or BrokerUnavailable if that is not
                known. It must not raise.

        Raises:
            Overloaded: Too much is unsettled already.
        """
        settings = self._settings
        size = len(publication.envelope.body) + _OVERHEAD_BYTES
        if self._items >= settings.items_max or self._bytes + size > settings.bytes_max:
            raise Overloaded("the queue of the publisher", settings.items_max)
        if self._has_stopped:
            told(None, self._stopped())
            return
        self._items += 1
        self._bytes += size
        is_slow = self._suspects.are_any and publication in self._suspects
        line = self._slow_line if is_slow else self._line
        line.put(_Waiting(publication, size, told))

    def send(self, publication: Publication) -> asyncio.Future[Settlement]:
        """Publish soon. It never waits.

        Args:
            publication: What to publish.

        Returns:
            What becomes of it: a settlement, or BrokerUnavailable if that is not known.

        Raises:
            Overloaded: Too much is unsettled already.
        """
        settled: asyncio.Future[Settlement] = asyncio.get_running_loop().create_future()

        def told(outcome: Settlement | None, error: Exception | None) -> None:
            if settled.done():
                return
            if error is not None:
                settled.set_exception(error)
            elif outcome is not None:
                settled.set_result(outcome)

        self.post(publication, told)
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

    async def _run_lane(self, line: _Line) -> None:
        while True:
            batch = await line.take(self._settings.batch_max)
            try:
                await self._publish(batch)
            except BaseException:
                # Whatever the lane was cancelled in the middle of is unsettled.
                self._fail(batch, self._stopped())
                raise

    async def _publish(self, batch: Sequence[_Waiting]) -> None:
        began = self._clock.monotonic()
        publications = [each.publication for each in batch]
        packed = None
        if self._bundler is not None and len(batch) > 1:
            packed = self._bundler.pack(publications)
        try:
            settlements = await self._call(publications if packed is None else packed.publications)
        except PartlyPublished as error:
            outcomes = error.settlements if packed is None else packed.of_each(error.settlements)
            self._settle(batch, outcomes)
            self._fail(batch, error)
        except BrokerUnavailable as error:
            self._note_outage(batch, error, began)
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
            self._settle(batch, settlements if packed is None else packed.of_each(settlements))

    async def _call(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        deadline_s = self._settings.deadline_s
        try:
            with cancel_after(self._clock, deadline_s):
                return await self._broker.publish(publications)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # An adapter has let something of its library through. It must not end the lane.
            raise BrokerUnavailable(self._broker.url, "the call was cancelled") from error
        raise BrokerUnavailable(self._broker.url, f"it did not confirm within {deadline_s:g} s")

    def _settle(self, batch: Sequence[_Waiting], outcomes: Sequence[Settlement | None]) -> None:
        """Tell those of whom it is known what became of their messages."""
        self._confirmed_at = self._clock.monotonic()
        self._outage.note(None)
        if self._suspects.are_any or None in outcomes:
            self._note_swallowed(batch, outcomes)
        for each, outcome in zip(batch, outcomes, strict=True):
            if outcome is not None:
                self._tell(each, outcome, None)

    def _note_swallowed(
        self, batch: Sequence[_Waiting], outcomes: Sequence[Settlement | None]
    ) -> None:
        """Take note of the destinations that have not confirmed, and of those that have."""
        pairs = list(zip(batch, outcomes, strict=True))
        unknown = [each.publication for each, outcome in pairs if outcome is None]
        health = self._broker.health
        if not health.is_connected or health.blocked:
            # Then that is the reason, and not where they go.
            unknown = []
        known = [each.publication for each, outcome in pairs if outcome is not None]
        self._suspects.note(unknown, known)
        if unknown:
            self._start_slow_lane()

    def _note_outage(self, batch: Sequence[_Waiting], error: FlowError, began: float) -> None:
        """Take note that nothing was published, unless that is known of this destination."""
        if not all(each.publication in self._suspects for each in batch):
            self._outage.note(error, max(began, self._confirmed_at))
            return
        self._suspects.note([each.publication for each in batch], [])

    def _start_slow_lane(self) -> None:
        """Start the lane for destinations that do not confirm, when there is the first one."""
        if self._group is not None and not self._has_slow_lane:
            self._has_slow_lane = True
            self._group.start(self._run_lane(self._slow_line), "publisher, slow")

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        for each in batch:
            if each.size:
                self._tell(each, None, _own(error))

    def _tell(self, each: _Waiting, outcome: Settlement | None, error: Exception | None) -> None:
        self._items -= 1
        self._bytes -= each.size
        each.size = 0
        try:
            each.told(outcome, error)
        except Exception:  # noqa: BLE001 - the others, and what comes later, must not suffer
            _log.exception("whoever has sent a message failed to hear what became of it")

    def _stopped(self) -> BrokerUnavailable:
        return BrokerUnavailable(self._broker.url, "the publisher has stopped")


def _own(error: Exception) -> Exception:
    """Return the error for one of several who wait; a shared one would collect their tracebacks."""
    if isinstance(error, BrokerUnavailable):
        copy = BrokerUnavailable(error.url, error.reason)
        copy.__cause__ = error
        return copy
    return error
