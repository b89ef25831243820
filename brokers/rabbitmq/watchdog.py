"""Notices that the broker has forgotten a consumer, and has it started again.

Theory of operation
-------------------
RabbitMQ 3.10 may lose a consumer without a word: whoever deletes a quorum queue and declares it
again at once leaves its consumers with a channel that is open, and silent for ever. From outside,
that looks like a queue that nobody sends to. So the broker is asked.

A consumer that had room for more, and got nothing since it was last looked at, is *quiet*. Every
`QUIET_S` seconds, give or take a quarter, each quiet consumer costs one small question: a passive
declaration of its queue. That is the whole cost; in between, the watchdog sleeps until the next
consumer is due, and consumers that receive are not asked for. The consumer is forgotten if its
queue is gone, or has no consumer at all, or has messages ready that did not reach it. The same has
to be so a second time, `SURE_S` seconds later, before anything is done.

There is a state that no question reveals: the queue knows the consumer and hands messages to it,
and the consumer's channel drops them. So a consumer that has got nothing for `STALE_S` seconds,
and holds nothing, is moved to another channel, which costs four questions.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import aiormq
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed

from brokers.rabbitmq.link import Link
from brokers.rabbitmq.tasks import Tasks
from flow.clock import sleep, sleep_until
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Chance, Clock

__all__ = ["Gauge", "Reading", "Watchdog", "Watched"]

_log = logging.getLogger("flow.rabbitmq")

QUIET_S: Final = 60.0
"""Seconds after which a quiet consumer is asked for, give or take a quarter."""
STALE_S: Final = 300.0
"""Seconds of silence after which an idle consumer is moved to another channel."""
SURE_S: Final = 3.0
"""Seconds between the two questions."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a queue is at a moment.

    Args:
        exists: Whether it is there.
        consumers: How many consumers it has.
        ready: How many messages wait in it, those that were delivered not counted.
    """

    exists: bool = True
    consumers: int = 0
    ready: int = 0

    @property
    def shows_neglect(self) -> bool:
        """Whether a consumer with room, that nothing reaches, is not known to the queue."""
        return not self.exists or self.consumers == 0 or self.ready > 0

    def __str__(self) -> str:
        """Return it in words."""
        if not self.exists:
            return "the queue is gone"
        return f"the queue has {self.consumers} consumers and {self.ready} messages ready"


class Watched(Protocol):
    """What a watchdog needs of a consumer."""

    @property
    def queue(self) -> str:
        """The name of its queue."""
        ...

    @property
    def received(self) -> int:
        """How many deliveries it has received so far."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether it consumes, and has fewer unsettled deliveries than it may have."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether it consumes, and has no unsettled deliveries."""
        ...

    async def refresh(self) -> None:
        """Go on on another channel. Raises BrokerUnavailable or ConfigurationError."""
        ...


_WatchedT = TypeVar("_WatchedT", bound=Watched)


@dataclass(slots=True)
class _Record:
    """What is known of a consumer.

    Args:
        received: How many deliveries it had received when it was last looked at.
        fresh: When it last showed a sign of life, or was moved; monotonic, as is `due`.
        due: When it is looked at next.
    """

    received: int
    fresh: float
    due: float


class Gauge:
    """Asks how a queue is, on a channel that is kept for that.

    Args:
        current: Returns the connection of now. Raises BrokerUnavailable if there is none.
    """

    def __init__(self, current: Callable[[], Link]) -> None:
        self._current = current
        self._link: Link | None = None
        self._channel: aiormq.Channel | None = None

    async def read(self, queue: str) -> Reading:
        """Return how a queue is.

        Args:
            queue: Its name.

        Raises:
            BrokerUnavailable: There is no connection, it was lost, or there was no answer.
            ConfigurationError: The queue may not be looked up.
        """
        link = self._current()
        channel = await self._channel_of(link)
        try:
            question = channel.queue_declare(queue, passive=True)
            found = await link.ask(question, f"to look up queue {queue!r}")
        except ChannelAccessRefused as error:
            self._give_up(link)
            raise ConfigurationError(f"queue {queue!r}", "it may not be looked up") from error
        except ChannelClosed:
            # It is not there, or belongs to somebody else by now.
            self._give_up(link)
            return Reading(exists=False)
        except BaseException:
            self._give_up(link)
            raise
        return Reading(consumers=found.consumer_count or 0, ready=found.message_count or 0)

    async def _channel_of(self, link: Link) -> aiormq.Channel:
        channel = self._channel
        if channel is None or self._link is not link or channel.is_closed:
            channel = await link.channel()
            self._channel, self._link = channel, link
        return channel

    def _give_up(self, link: Link) -> None:
        """Ask no more on the channel of now: it is closed, or an answer may still come."""
        channel, self._channel = self._channel, None
        if channel is not None:
            link.drop(channel)


class Watchdog(Generic[_WatchedT]):
    """Looks after consumers that receive nothing.

    Args:
        tasks: The owner of its task.
        clock: Time.
        chance: Jitter.
        read: Returns how a queue is. Raises BrokerUnavailable or ConfigurationError if that
            cannot be said.
        restart: Has a consumer start again.
    """

    def __init__(
        self,
        tasks: Tasks,
        clock: Clock,
        chance: Chance,
        read: Callable[[str], Awaitable[Reading]],
        restart: Callable[[_WatchedT], Awaitable[None]],
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._chance = chance
        self._read = read
        self._restart = restart
        self._records: dict[_WatchedT, _Record] = {}
        self._runs = False

    def watch(self, consumer: _WatchedT) -> None:
        """Look after a consumer from now on.

        Args:
            consumer: The consumer.
        """
        now = self._clock.monotonic()
        self._records[consumer] = _Record(consumer.received, now, self._next_due())
        if not self._runs:
            self._runs = True
            self._tasks.start(self._run(), "rabbitmq: watchdog")

    def unwatch(self, consumer: _WatchedT) -> None:
        """Look after a consumer no longer."""
        self._records.pop(consumer, None)

    def unwatch_all(self) -> None:
        """Look after nobody any more."""
        self._records.clear()

    async def _run(self) -> None:
        """Look after the consumers, for as long as there are any."""
        try:
            while self._records:
                first = min(record.due for record in self._records.values())
                await sleep_until(self._clock, first)
                await self._look_around()
        finally:
            self._runs = False

    async def _look_around(self) -> None:
        """Look at each consumer that is due."""
        now = self._clock.monotonic()
        for consumer, record in list(self._records.items()):
            if record.due <= now:
                await self._look(consumer, record)

    async def _look(self, consumer: _WatchedT, record: _Record) -> None:
        """Have a consumer started again if it is forgotten."""
        record.due = self._next_due()
        if consumer.received != record.received:
            record.received, record.fresh = consumer.received, self._clock.monotonic()
            return
        reading = await self._reading_of(consumer, record)
        if reading is None:
            return
        if not reading.shows_neglect:
            await self._freshen(consumer, record)
            return
        await sleep(self._clock, SURE_S)
        reading = await self._reading_of(consumer, record)
        if reading is not None and reading.shows_neglect:
            _log.warning("nothing reaches a consumer of %r: %s", consumer.queue, reading)
            await self._restart(consumer)

    async def _reading_of(self, consumer: _WatchedT, record: _Record) -> Reading | None:
        """Return how the queue of a quiet consumer is; None if it is not quiet, or on no answer."""
        if not self._is_quiet(consumer, record):
            return None
        try:
            reading = await self._read(consumer.queue)
        except (BrokerUnavailable, ConfigurationError) as error:
            # Without a connection there is nothing to look after; the next look is a later one.
            _log.debug("queue %r was not looked up: %s", consumer.queue, error)
            return None
        # What has arrived in the meantime answers the question.
        return reading if self._is_quiet(consumer, record) else None

    async def _freshen(self, consumer: _WatchedT, record: _Record) -> None:
        """Move a consumer that has been silent for long to another channel."""
        now = self._clock.monotonic()
        if now < record.fresh + STALE_S or not consumer.is_idle:
            return
        record.fresh = now
        try:
            await consumer.refresh()
        except (BrokerUnavailable, ConfigurationError) as error:
            # Then it goes on where it is, or has lost its connection and comes back with another.
            _log.debug("a consumer of %r stays where it is: %s", consumer.queue, error)

    def _is_quiet(self, consumer: _WatchedT, record: _Record) -> bool:
        is_watched = self._records.get(consumer) is record
        return is_watched and consumer.received == record.received and consumer.has_room

    def _next_due(self) -> float:
        return self._clock.monotonic() + QUIET_S * (0.75 + 0.5 * self._chance.random())
