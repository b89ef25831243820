"""News of attempts that are under way: that they have begun, and that they go on."""

import asyncio
import logging
from collections.abc import Callable

from flow.errors import BrokerUnavailable, UnavailableError
from flow.ports import Chance, Envelope, Publication, Settlement
from flow.runtime.protocol import HEARTBEAT, STARTED, StepRequest
from flow.runtime.publisher import Publisher

__all__ = ["News", "note"]

_log = logging.getLogger("flow.worker")


class News:
    """Tells whoever waits for a reply how far it is. Nothing depends on it.

    Args:
        publisher: Publishes messages.
        chance: Message ids.
        route: From a queue's name to the exchange and routing key that lead to it.
    """

    def __init__(
        self, publisher: Publisher, chance: Chance, route: Callable[[str], tuple[str, str]]
    ) -> None:
        """Keep what is needed to tell."""
        self._publisher = publisher
        self._chance = chance
        self._route = route

    async def started(self, request: StepRequest) -> None:
        """Tell that the attempt begins, and wait for the broker's confirm, but for no more.

        Args:
            request: The request.
        """
        try:
            await self._publisher.publish(self._publication(request, STARTED, b"null"))
        except UnavailableError as error:
            # Whoever waits for it asks again. That the broker is away is told once.
            level = logging.DEBUG if isinstance(error, BrokerUnavailable) else logging.WARNING
            _log.log(level, "%s: cannot tell that it has started: %s", request.correlation, error)

    def heartbeat(self, request: StepRequest, body: bytes) -> None:
        """Tell that the attempt goes on. It never waits.

        Args:
            request: The request.
            body: The progress (JSON).
        """
        try:
            future = self._publisher.send(self._publication(request, HEARTBEAT, body))
        except UnavailableError as error:
            _log.debug("%s: a heartbeat was dropped: %s", request.correlation, error)
            return
        future.add_done_callback(_look_at)

    def _publication(self, request: StepRequest, kind: str, body: bytes) -> Publication:
        envelope = note(kind, request, self._chance.new_id(), body)
        return Publication(*self._route(request.reply_to), envelope, mandatory=False)


def note(kind: str, request: StepRequest, message_id: str, body: bytes = b"null") -> Envelope:
    """Return a message about an attempt that is no reply.

    Args:
        kind: Its type.
        request: The request of the attempt.
        message_id: Fresh for this publication.
        body: What else it says (JSON).
    """
    return Envelope(kind, body, message_id, request.correlation)


def _look_at(future: asyncio.Future[Settlement]) -> None:
    """Look at how a publication ended, so that its error is not reported as unseen."""
    if not future.cancelled():
        future.exception()
