"""From exchanges, queues and bindings to what RabbitMQ is asked to declare. Pure data.

Theory of operation
-------------------
A queue that is not exclusive is a *quorum queue*: replicated, and confirmed only after it was
written and synced. Every argument here means the same on 3.10 and on 4.x:

* `x-delivery-limit` is always set, to a large number. Without it, 4.x drops a message after 20
  deliveries; `-1` means "unlimited" there, but "none" on 3.10; and on 3.10 a message that is given
  back keeps its place in the queue only if there is a limit.
* Dead-lettering is *at most once*, the default. The other kind needs `overflow=reject-publish` and
  makes messages pile up in their queue whenever the target is missing. What is dead-lettered was
  looked at and found useless; the truth is in the store, and nothing waits for it.
* An exclusive queue ends with its connection, so it is classic and not durable. That is the one
  kind of transient queue that 4.x still allows. Its type is named, because a virtual host may
  have another default.

Queues are never deleted and never declared otherwise: to change an argument of a queue that
exists is refused by the broker.
"""

from dataclasses import dataclass, field
from typing import Final

from flow.errors import ConfigurationError
from flow.ports import Binding, Exchange, Queue, Topology
from flow.ports.limits import NAME_BYTES

__all__ = ["Kept", "QueueDeclaration", "check", "queue_declaration"]

DELIVERY_LIMIT: Final = 100_000


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
    """What the broker is asked for.

    Args:
        name: The queue's name.
        durable: Whether it outlives a restart of the broker.
        exclusive: Whether it ends with its connection.
        arguments: What kind of queue it is.
    """

    name: str
    durable: bool
    exclusive: bool
    arguments: dict[str, str | int]


def queue_declaration(queue: Queue) -> QueueDeclaration:
    """Return how a queue is declared.

    Args:
        queue: The queue.
    """
    arguments: dict[str, str | int] = {"x-queue-type": "classic"}
    if not queue.exclusive:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}
    if queue.dead_letter:
        arguments["x-dead-letter-exchange"] = queue.dead_letter
    return QueueDeclaration(queue.name, not queue.exclusive, queue.exclusive, arguments)


def check(topology: Topology) -> None:
    """Make sure that a topology can be declared.

    Args:
        topology: What is to be declared.

    Raises:
        ConfigurationError: A name is empty or too long, or the default exchange is named.
    """
    for exchange in topology.exchanges:
        if not exchange.name:
            raise ConfigurationError("the default exchange", "it always exists; do not declare it")
        _check_length(f"exchange {exchange.name!r}", exchange.name)
    for queue in topology.queues:
        if not queue.name:
            raise ConfigurationError("a queue", "it needs a name")
        _check_length(f"queue {queue.name!r}", queue.name)
        _check_length(f"the dead-letter exchange of {queue.name!r}", queue.dead_letter)
    for binding in topology.bindings:
        if not binding.exchange:
            raise ConfigurationError(
                "the default exchange", "every queue is bound to it by its name, and only so"
            )
        for text in (binding.queue, binding.exchange, binding.routing_key):
            _check_length(f"binding of queue {binding.queue!r}", text)


def _check_length(what: str, text: str) -> None:
    size = len(text.encode(errors="replace"))
    if size > NAME_BYTES:
        raise ConfigurationError(
            what, f"a name or key has {size} bytes; at most {NAME_BYTES} are allowed"
        )


@dataclass(slots=True)
class Kept:
    """What is declared again whenever the connection is another one.

    It only grows with distinct names, so that declaring the same again costs nothing.
    """

    exchanges: dict[str, Exchange] = field(default_factory=dict[str, Exchange])
    queues: dict[str, Queue] = field(default_factory=dict[str, Queue])
    bindings: dict[Binding, None] = field(default_factory=dict[Binding, None])

    def add(self, topology: Topology) -> None:
        """Keep what was declared.

        Args:
            topology: What the broker has accepted.
        """
        self.exchanges.update((each.name, each) for each in topology.exchanges)
        self.queues.update((each.name, each) for each in topology.queues)
        self.bindings.update(dict.fromkeys(topology.bindings))

    def whole(self) -> Topology:
        """Return all of it."""
        return Topology(
            tuple(self.exchanges.values()), tuple(self.queues.values()), tuple(self.bindings)
        )

    def around(self, queue: str) -> Topology:
        """Return what belongs to one queue: itself, its bindings and their exchanges.

        Args:
            queue: Its name.
        """
        if queue not in self.queues:
            return Topology()
        bindings = tuple(each for each in self.bindings if each.queue == queue)
        names = dict.fromkeys(
            (self.queues[queue].dead_letter, *(each.exchange for each in bindings))
        )
        exchanges = tuple(self.exchanges[name] for name in names if name in self.exchanges)
        return Topology(exchanges, (self.queues[queue],), bindings)

    def clear(self) -> None:
        """Keep nothing."""
        self.exchanges.clear()
        self.queues.clear()
        self.bindings.clear()
