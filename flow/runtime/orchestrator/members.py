"""Members: the news that orchestrators tell each other.

News only make things quicker. The truth is in the store, and everybody reads it with the next
renewal of its leases, so that news which get lost cost a few seconds at most.

    news.leases      the sender has freed partitions, or (`"wanted": true`) wants some
    news.revision    the sender has changed definitions, steps of the catalogue, or pauses
    news.pruned      the sender has deleted executions that ended before `before_ms`
"""

import logging
from collections.abc import Callable
from typing import Any, Final, cast

from flow import codec
from flow.errors import InvalidInput
from flow.ports import Binding, Chance, Delivery, Envelope, Publication, Queue, Topology
from flow.runtime.addresses import Addresses

__all__ = ["LEASES", "PRUNED", "REVISION", "Members"]

_log = logging.getLogger("flow.members")

LEASES: Final = "news.leases"
REVISION: Final = "news.revision"
PRUNED: Final = "news.pruned"


class Members:
    """Tells the other orchestrators news, and hears theirs.

    The same queue gets the answers to what this orchestrator asks.

    Args:
        addresses: The names of the namespace.
        owner: This orchestrator.
        chance: Message ids.
        post: Publishes without waiting.
        alone: Whether there can be no others; then nothing is told.
    """

    def __init__(
        self,
        addresses: Addresses,
        owner: str,
        chance: Chance,
        post: Callable[[Publication], None],
        *,
        alone: bool,
    ) -> None:
        """Begin without anybody who listens."""
        self.queue = addresses.member_queue(owner)
        self._addresses = addresses
        self._owner = owner
        self._chance = chance
        self._post = post
        self._is_alone = alone
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {}
        self._answers: Callable[[Delivery], None] = _ignore

    def topology(self) -> Topology:
        """Return what it needs: its queue, and to hear what the others tell."""
        queue = Queue(self.queue, exclusive=True)
        binding = Binding(self.queue, self._addresses.members)
        return Topology(queues=(queue,), bindings=() if self._is_alone else (binding,))

    def on(self, type: str, handler: Callable[[dict[str, Any]], None]) -> None:
        """Call something with news of a type.

        Args:
            type: The type.
            handler: Called with what the news says. It must not wait.
        """
        self._handlers[type] = handler

    def on_answer(self, handler: Callable[[Delivery], None]) -> None:
        """Hand over whatever is no news: answers to what this orchestrator asked.

        Args:
            handler: Called with each message, which it does not have to acknowledge.
        """
        self._answers = handler

    def tell(self, type: str, **news: object) -> None:
        """Tell all others news, without waiting.

        Args:
            type: The type.
            news: What there is to say.
        """
        if not self._is_alone:
            self._post(self.publication(type, **news))

    def publication(self, type: str, **news: object) -> Publication:
        """Return news as they are published.

        Args:
            type: The type.
            news: What there is to say.
        """
        body = codec.dumps({**news, "owner": self._owner})
        envelope = Envelope(type, body, self._chance.new_id())
        return Publication(self._addresses.members, "", envelope, mandatory=False)

    def receive(self, delivery: Delivery) -> None:
        """Take a message from the queue.

        Args:
            delivery: The message.
        """
        delivery.ack()
        handler = self._handlers.get(delivery.envelope.type)
        if handler is None:
            self._answers(delivery)
            return
        try:
            document: Any = codec.loads(delivery.envelope.body, "the news")
        except InvalidInput as error:
            _log.warning("news that nobody can read: %s", error)
            return
        news = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        if news.get("owner") != self._owner:
            handler(news)


def _ignore(_delivery: Delivery) -> None:
    """Nobody has asked anything."""
