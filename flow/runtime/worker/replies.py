"""Replies: published until the broker has confirmed them, so that the request can be acked.

A queue that a reply goes to may not exist: the broker was wiped, and its owner will declare it
again; or its owner is gone for good. Nobody can tell, so we wait for a while. After that, replies
to the same queue are tried once: requests of a dead client must not use up the worker.
"""

import logging
from collections.abc import Callable
from typing import Final

from flow.clock import sleep
from flow.errors import BrokerUnavailable, FlowError
from flow.ports import Chance, Clock, Envelope, Publication, Settlement
from flow.runtime.publisher import Publisher
from flow.runtime.tasks import TaskGroup

__all__ = ["Replies"]

_log = logging.getLogger("flow.worker")

FIRST_BACKOFF_S: Final = 0.1
LONGEST_BACKOFF_S: Final = 10.0
_SHORTEST_BACKOFF_S: Final = 0.01
_GONE_MAX: Final = 1_000
_ROUTES_MAX: Final = 1_000


class Replies:
    """Publishes replies.

    Args:
        publisher: Publishes messages.
        clock: Time.
        chance: Message ids, and jitter.
        tasks: Where replies that are not confirmed at once are tried again.
        unroutable_s: Seconds to wait for a queue that does not exist.
        route: From a queue's name to the exchange and routing key that lead to it.
    """

    def __init__(
        self,
        publisher: Publisher,
        clock: Clock,
        chance: Chance,
        tasks: TaskGroup,
        unroutable_s: float,
        route: Callable[[str], tuple[str, str]],
    ) -> None:
        """Begin without a queue that is known to be gone."""
        self._publisher = publisher
        self._clock = clock
        self._chance = chance
        self._tasks = tasks
        self._unroutable_s = unroutable_s
        self._route = route
        self._gone: dict[str, None] = {}
        self._routes: dict[str, tuple[str, str]] = {}

    def post(
        self, queue: str, reply: Envelope, told: Callable[[bool], None], *, forever: bool = False
    ) -> None:
        """Publish a reply until the broker has confirmed it, without anybody who waits for it.

        Args:
            queue: Where it goes to, or an empty string if nobody wants it.
            reply: The reply.
            told: Called once, perhaps at once, with what `deliver` returns; never if the tasks
                end before. It must not raise.
            forever: As for `deliver`.
        """
        if not queue:
            told(True)
            return

        def settled(settlement: Settlement | None, error: Exception | None) -> None:
            if settlement is Settlement.CONFIRMED:
                if self._gone:
                    self._gone.pop(queue, None)
                told(True)
                return
            if error is not None:
                _note(reply, error)
            insisting = self._insist_and_tell(queue, reply, settlement, told, forever=forever)
            self._tasks.start(insisting, "reply")

        exchange, key = self._routes.get(queue) or self._find_route(queue)
        try:
            self._publisher.post(Publication(exchange, key, reply), settled)
        except FlowError as error:
            settled(None, error)

    async def deliver(self, queue: str, reply: Envelope, *, forever: bool = False) -> bool:
        """Publish a reply until the broker has confirmed it.

        Args:
            queue: Where it goes to, or an empty string if nobody wants it.
            reply: The reply.
            forever: Whether to wait for the queue for as long as it takes, because nobody would
                ask for the reply again.

        Returns:
            Whether it was confirmed. If not, nobody is there to read it.
        """
        if not queue:
            return True
        settlement = await self._try(queue, reply)
        if settlement is Settlement.CONFIRMED:
            if self._gone:
                self._gone.pop(queue, None)
            return True
        return await self._insist(queue, reply, settlement, forever=forever)

    async def _insist_and_tell(
        self,
        queue: str,
        reply: Envelope,
        settlement: Settlement | None,
        told: Callable[[bool], None],
        *,
        forever: bool,
    ) -> None:
        told(await self._insist(queue, reply, settlement, forever=forever))

    async def _insist(
        self, queue: str, reply: Envelope, settlement: Settlement | None, *, forever: bool
    ) -> bool:
        tries, missing_since = 0, None
        while settlement is not Settlement.CONFIRMED:
            now = self._clock.monotonic()
            if forever or settlement is not Settlement.UNROUTABLE:
                missing_since = None
            elif missing_since is None:
                missing_since = now
            if missing_since is not None and self._is_gone(queue, now - missing_since):
                return False
            await sleep(self._clock, self._backoff(tries))
            tries += 1
            # Returned messages are matched by their ids, so each publication has one of its own.
            again = reply._replace(message_id=self._chance.new_id())
            settlement = await self._try(queue, again)
        self._gone.pop(queue, None)
        return True

    async def _try(self, queue: str, reply: Envelope) -> Settlement | None:
        exchange, key = self._routes.get(queue) or self._find_route(queue)
        try:
            return await self._publisher.send(Publication(exchange, key, reply))
        except FlowError as error:
            _note(reply, error)
            return None

    def _find_route(self, queue: str) -> tuple[str, str]:
        # Clients come and go; orchestrators, whom nearly all replies are for, are few.
        if len(self._routes) >= _ROUTES_MAX:
            self._routes.clear()
        route = self._routes[queue] = self._route(queue)
        return route

    def _is_gone(self, queue: str, missing_s: float) -> bool:
        if queue in self._gone:
            return True
        if missing_s < self._unroutable_s:
            return False
        _log.warning("the queue %r of whoever waits for replies does not exist", queue)
        self._gone[queue] = None
        if len(self._gone) > _GONE_MAX:
            del self._gone[next(iter(self._gone))]
        return True

    def _backoff(self, tries: int) -> float:
        limit = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(tries, 10))
        return max(_SHORTEST_BACKOFF_S, limit * self._chance.random())


def _note(reply: Envelope, error: Exception) -> None:
    # That the broker is away is told once, and not for each message.
    level = logging.DEBUG if isinstance(error, BrokerUnavailable) else logging.WARNING
    _log.log(level, "the reply to %s is not confirmed: %s", reply.correlation_id, error)
