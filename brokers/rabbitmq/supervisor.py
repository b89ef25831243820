"""Keeps the connection up: made once by its user, and then again and again for ever.

Theory of operation
-------------------
The connection is a `Pair` of links: one to publish and one to receive, because a broker that runs
out of memory stops whoever publishes, and must not stop those who take messages off it. A pair has
a number, its generation. When one of its links is lost, the other one is closed too: what used
them both would otherwise be half alive.

A new pair becomes *the* pair only after everything on it was restored, so that nobody meets one on
which queues are missing. Attempts are spread by full jitter: a broker that has just come back is
not met by everybody at once.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from brokers.rabbitmq.link import Dial, Link, connect
from brokers.rabbitmq.patience import Patience
from brokers.rabbitmq.publishing import Publishing
from brokers.rabbitmq.tasks import Tasks
from brokers.rabbitmq.url import CONSUMING_HEARTBEAT_S
from flow.clock import sleep
from flow.errors import BrokerUnavailable, FlowError
from flow.ports import BrokerEvent, BrokerHealth, Chance, Clock

__all__ = ["Pair", "Supervisor", "backoff_s", "named"]

_log = logging.getLogger("flow.rabbitmq")

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 10.0
NOT_OPEN: Final = "the connection is not open"
DOUBLINGS_MAX: Final = 10


def backoff_s(attempt: int, chance: float) -> float:
    """Return how long to wait before an attempt: anything up to a limit that doubles.

    Args:
        attempt: How many attempts have failed since the connection was lost.
        chance: A random number, 0 <= chance < 1.
    """
    return chance * min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt, DOUBLINGS_MAX))


@dataclass(frozen=True, slots=True)
class Pair:
    """The two links that make a connection.

    Args:
        publishing: What publishes, over a link of its own.
        publisher: That link.
        consumer: The link that receives and declares.
    """

    publishing: Publishing
    publisher: Link
    consumer: Link

    @property
    def is_up(self) -> bool:
        """Whether both links are."""
        return self.publisher.is_up and self.consumer.is_up

    async def close(self) -> None:
        """Close both links."""
        await asyncio.gather(self.publisher.close(), self.consumer.close())


class Supervisor:
    """Keeps a pair of links up.

    Args:
        dial: How a link is made.
        clock: Time.
        chance: Jitter, and ids for messages.
        restore: Declares and consumes on a new pair what was on the last one. It raises a
            `FlowError` if that fails.

    Attributes:
        tasks: The owner of all tasks of the connection.
        can_publish: Set while the broker takes messages.
    """

    def __init__(
        self,
        dial: Dial,
        clock: Clock,
        chance: Chance,
        restore: Callable[[Pair], Awaitable[None]],
    ) -> None:
        """Begin without a connection."""
        self.tasks = Tasks()
        self.can_publish = asyncio.Event()
        self._farewells = Tasks()
        self._dial = dial
        self._clock = clock
        self._chance = chance
        self._restore = restore
        self._url = str(dial.address)
        self._pair: Pair | None = None
        self._is_wanted = False
        self._generation = 0
        self._trouble = NOT_OPEN
        self._patience = Patience()
        self._watchers: dict[object, Callable[[BrokerEvent], None]] = {}

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        pair = self._pair
        blocked = pair.publisher.blocked if pair is not None else ""
        trouble = "" if pair is not None else self._trouble
        return BrokerHealth(pair is not None, self._generation, blocked, trouble)

    @property
    def is_wanted(self) -> bool:
        """Whether it was opened and not closed."""
        return self._is_wanted

    def pair(self) -> Pair:
        """Return the connection.

        Raises:
            BrokerUnavailable: There is none at the moment.
        """
        pair = self._pair
        if pair is None:
            raise BrokerUnavailable(self._url, self._trouble)
        return pair

    def is_current(self, link: Link) -> bool:
        """Return whether *link* belongs to the connection of now, and is up."""
        return self._pair is not None and self._pair.consumer is link and link.is_up

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection; return what ends that."""
        key = object()
        self._watchers[key] = notify

        def unwatch() -> None:
            self._watchers.pop(key, None)

        return unwatch

    async def open(self) -> None:
        """Connect for the first time.

        Raises:
            BrokerUnavailable: That is not possible.
        """
        if self._is_wanted:
            return
        self._is_wanted = True
        try:
            self._adopt(await self._connect())
        except BaseException:
            self._is_wanted = False
            await self._farewells.join()
            raise

    async def close(self) -> None:
        """Disconnect, and do not connect again."""
        self._is_wanted = False
        pair, self._pair = self._pair, None
        self._trouble = NOT_OPEN
        self.can_publish.clear()
        try:
            if pair is not None:
                await pair.close()
        finally:
            await self.tasks.stop()
            await self._farewells.join()

    async def _connect(self) -> Pair:
        """Return a new pair that nothing is on yet."""
        dial = self._dial
        publisher = await connect(replace(dial, name=named(dial.name, "publishes")))
        try:
            consumer = await connect(
                replace(
                    dial,
                    name=named(dial.name, "receives"),
                    heartbeat_s=min(dial.heartbeat_s, CONSUMING_HEARTBEAT_S),
                )
            )
        except BaseException:
            self.discard(publisher)
            raise
        publishing = Publishing(publisher, self._chance.new_id, self._patience)
        return Pair(publishing, publisher, consumer)

    def _adopt(self, pair: Pair) -> None:
        """Make a pair the connection.

        Raises:
            BrokerUnavailable: It was lost in the meantime.
        """
        if not pair.is_up:
            self.discard(pair)
            trouble = pair.publisher.trouble or pair.consumer.trouble
            raise BrokerUnavailable(self._url, trouble)
        self._pair = pair
        self._generation += 1
        self._trouble = ""
        for link in (pair.publisher, pair.consumer):
            link.on_lost = self._lost
        pair.publisher.on_blocked = self._blocked
        if not pair.publisher.blocked:
            self.can_publish.set()
        else:
            _log.warning("%s takes no messages: %s", self._url, pair.publisher.blocked)

    def _lost(self, link: Link, reason: str) -> None:
        pair = self._pair
        if pair is None or link not in (pair.publisher, pair.consumer):
            return
        self._pair = None
        self._trouble = reason
        self.can_publish.clear()
        _log.warning("the connection to %s was lost: %s", self._url, reason)
        self.discard(pair)
        self.tasks.start(self._reconnect(), "rabbitmq: reconnect")
        self._notify(BrokerEvent.LOST)

    def _blocked(self, link: Link) -> None:
        if self._pair is not None:
            self._pair.publishing.hurry(is_blocked=bool(link.blocked))
        if link.blocked:
            self.can_publish.clear()
            _log.warning("%s takes no messages: %s", self._url, link.blocked)
            self._notify(BrokerEvent.BLOCKED)
        else:
            self.can_publish.set()
            _log.warning("%s takes messages again", self._url)
            self._notify(BrokerEvent.UNBLOCKED)

    async def _reconnect(self) -> None:
        attempt = 0
        while self._is_wanted:
            await sleep(self._clock, backoff_s(attempt, self._chance.random()))
            attempt += 1
            try:
                await self._renew()
            except FlowError as error:
                reason = error.reason if isinstance(error, BrokerUnavailable) else str(error)
                if reason != self._trouble:
                    _log.warning("cannot connect to %s again yet: %s", self._url, reason)
                self._trouble = reason
            else:
                _log.warning("connected to %s again", self._url)
                self._notify(BrokerEvent.CONNECTED)
                return

    async def _renew(self) -> None:
        pair = await self._connect()
        try:
            await self._restore(pair)
        except BaseException:
            self.discard(pair)
            raise
        self._adopt(pair)

    def discard(self, what: Pair | Link) -> None:
        """Close in the background what is of no use, so that no cancellation interrupts it.

        Args:
            what: A link, or a pair of them.
        """
        self._farewells.start(what.close(), "rabbitmq: close a connection")

    def _notify(self, event: BrokerEvent) -> None:
        for notify in list(self._watchers.values()):
            try:
                notify(event)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a watcher of the broker raised", "exception": error}
                )


def named(name: str, role: str) -> str:
    """Return what one connection of several is called.

    Args:
        name: What all of them are called, or an empty string.
        role: What this one is for.
    """
    return f"{name} ({role})" if name else f"flow ({role})"
