"""Names on the broker: every exchange and queue of a namespace, as pure data.

All names begin with the namespace, so that several can share a broker.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final
from zlib import crc32

from flow.names import service_of
from flow.ports import Binding, Exchange, Queue, Topology

__all__ = ["BUNDLED", "Addresses", "partition_of"]


def partition_of(execution: str, partitions: int) -> int:
    """Return the partition that an execution belongs to, for ever.

    Args:
        execution: The execution's id.
        partitions: How many partitions the namespace has.
    """
    return crc32(execution.encode()) % partitions


BUNDLED: Final = "bundled-"
"""How the ids of clients begin that know bundles."""

_BROKERS_REPLY_QUEUES: Final = ("amq.gen-", "amq.rabbitmq.reply-to.")
"""What RabbitMQ calls queues that it names itself, and those of its direct reply-to."""


@dataclass(frozen=True)
class _Names:
    """What the exchanges and queues of a namespace are called; each name is made once."""

    namespace: str

    @cached_property
    def start(self) -> str:
        """The exchange for starts; the routing key is the partition's number."""
        return f"{self.namespace}.start"

    @cached_property
    def mailbox(self) -> str:
        """The exchange for replies and control; the routing key is the partition's number."""
        return f"{self.namespace}.mailbox"

    @cached_property
    def control(self) -> str:
        """The exchange, and the queue, for whoever does not know the partition."""
        return f"{self.namespace}.control"

    @cached_property
    def steps(self) -> str:
        """The exchange for step requests; the routing key is the endpoint."""
        return f"{self.namespace}.steps"

    @cached_property
    def topics(self) -> str:
        """The topic exchange that publish steps publish to."""
        return f"{self.namespace}.topics"

    @cached_property
    def cancel(self) -> str:
        """The fanout exchange that tells workers which attempts are not wanted any more."""
        return f"{self.namespace}.cancel"

    @cached_property
    def trigger(self) -> str:
        """The topic exchange, and the queue, by which plain clients start workflows.

        The routing key is the workflow's id.
        """
        return f"{self.namespace}.trigger"

    @cached_property
    def announce(self) -> str:
        """The exchange, and the queue, by which services announce their steps."""
        return f"{self.namespace}.announce"

    @cached_property
    def events(self) -> str:
        """The topic exchange that tells how executions go; routing key `status.workflow`."""
        return f"{self.namespace}.events"

    @cached_property
    def members(self) -> str:
        """The fanout exchange by which orchestrators tell each other news."""
        return f"{self.namespace}.members"

    @cached_property
    def reply(self) -> str:
        """The exchange for answers of workers to calls; the routing key is the client's id.

        With it, a worker needs no right to publish to the default exchange, and so to any queue.
        """
        return f"{self.namespace}.reply"

    @cached_property
    def dead(self) -> str:
        """The exchange, and the queue, for messages that nobody can use."""
        return f"{self.namespace}.dead"

    def incarnation(self, number: str) -> str:
        """The exchange that exists for as long as the broker has not lost everything."""
        return f"{self.namespace}.incarnation.{number}"

    def mailbox_queue(self, partition: int) -> str:
        """The queue of replies and control for a partition."""
        return f"{self.mailbox}.{partition}"

    def start_queue(self, partition: int) -> str:
        """The queue of starts for a partition."""
        return f"{self.start}.{partition}"

    def service_queue(self, service: str) -> str:
        """The queue of step requests for a service."""
        return f"{self.steps}.{service}"

    def reply_queue(self, client: str) -> str:
        """The queue that a client's answers go to."""
        return f"{self.reply}.{client}"

    def member_queue(self, owner: str) -> str:
        """The queue of news, and of answers to what it asks itself, of an orchestrator."""
        return f"{self.members}.{owner}"

    def subscriber_queue(self, endpoint: str) -> str:
        """The queue of events for a handler that subscribes to topics."""
        return f"{self.topics}.{endpoint}"

    def cancel_queue(self, worker: str) -> str:
        """The queue of cancellations for a worker."""
        return f"{self.cancel}.{worker}"


@dataclass(frozen=True)
class Addresses(_Names):
    """The exchanges and queues of one namespace.

    Args:
        namespace: Its name.
    """

    def may_answer(self, reply_to: str) -> bool:
        """Return whether an answer may be published to a queue that a message names.

        Whoever writes to us could name any queue, a mailbox or a service's for example. So only
        queues that are made for answers are answered to.

        Args:
            reply_to: The queue's name; not empty.
        """
        return reply_to.startswith(self._for_answers)

    @cached_property
    def _for_answers(self) -> tuple[str, ...]:
        """How the names of queues begin that are made for answers."""
        return (self.reply_queue(""), self.member_queue(""), *_BROKERS_REPLY_QUEUES)

    def reads_bundles(self, exchange: str, routing_key: str) -> bool:
        """Return whether bundles are known where an exchange and a routing key lead to.

        Nobody but orchestrators reads mailboxes and starts. Any program may have a queue for
        answers; those of ours say by their names that they know bundles.

        Args:
            exchange: The exchange.
            routing_key: What it routes by.
        """
        if exchange in (self.mailbox, self.start):
            return True
        if exchange == self.reply:
            return routing_key.startswith(BUNDLED)
        return exchange == "" and routing_key.startswith(self.reply_queue(BUNDLED))

    def route_to(self, reply_to: str) -> tuple[str, str]:
        """Return the exchange and the routing key by which a worker's reply reaches a queue.

        The exchanges for replies are enough for everybody who declares what `client` says. Only
        a queue with another name is reached through the default exchange, by its name.

        Args:
            reply_to: The queue's name.
        """
        for exchange in (self.mailbox, self.reply):
            if reply_to.startswith(f"{exchange}."):
                return exchange, reply_to.removeprefix(f"{exchange}.")
        return "", reply_to

    def exchanges(self) -> Topology:
        """Return what everybody may declare: the exchanges, and the queue of the dead."""
        return Topology(
            exchanges=(
                Exchange(self.start, "direct"),
                Exchange(self.mailbox, "direct"),
                Exchange(self.control, "direct"),
                Exchange(self.steps, "direct"),
                Exchange(self.topics, "topic"),
                Exchange(self.cancel, "fanout"),
                Exchange(self.trigger, "topic"),
                Exchange(self.announce, "direct"),
                Exchange(self.events, "topic"),
                Exchange(self.members, "fanout"),
                Exchange(self.reply, "direct"),
                Exchange(self.dead, "fanout"),
            ),
            queues=(Queue(self.dead),),
            bindings=(Binding(self.dead, self.dead),),
        )

    def orchestrator(self, partitions: int) -> Topology:
        """Return what orchestrators need: the queues of every partition, and of control.

        Args:
            partitions: How many partitions the namespace has.
        """
        shared = (self.control, self.trigger, self.announce)
        queues = [Queue(name, dead_letter=self.dead) for name in shared]
        bindings = [
            Binding(self.control, self.control),
            Binding(self.trigger, self.trigger, "#"),
            Binding(self.announce, self.announce),
        ]
        for partition in range(partitions):
            start, mailbox = self.start_queue(partition), self.mailbox_queue(partition)
            queues += [
                Queue(start, dead_letter=self.dead),
                Queue(mailbox, dead_letter=self.dead),
            ]
            bindings += [
                Binding(start, self.start, str(partition)),
                Binding(mailbox, self.mailbox, str(partition)),
            ]
        return Topology(queues=tuple(queues), bindings=tuple(bindings))

    def worker(self, worker: str, endpoints: tuple[str, ...]) -> Topology:
        """Return what a worker needs: the queues of its services, and one for cancellations.

        Args:
            worker: The worker's id.
            endpoints: What it serves.
        """
        services = dict.fromkeys(service_of(endpoint) for endpoint in endpoints)
        cancel = self.cancel_queue(worker)
        return Topology(
            queues=(
                *(Queue(self.service_queue(name), dead_letter=self.dead) for name in services),
                Queue(cancel, exclusive=True),
            ),
            bindings=(
                *(
                    Binding(self.service_queue(service_of(endpoint)), self.steps, endpoint)
                    for endpoint in endpoints
                ),
                Binding(cancel, self.cancel),
            ),
        )

    def subscriber(self, endpoint: str, topics: tuple[str, ...]) -> Topology:
        """Return what a handler that subscribes to topics needs: a queue for all its processes.

        Args:
            endpoint: The handler's name.
            topics: Patterns of topics.
        """
        queue = self.subscriber_queue(endpoint)
        return Topology(
            queues=(Queue(queue, dead_letter=self.dead),),
            bindings=tuple(Binding(queue, self.topics, topic) for topic in topics),
        )

    def client(self, client: str) -> Topology:
        """Return what a client needs: a queue for its answers.

        Args:
            client: The client's id.
        """
        queue = self.reply_queue(client)
        return Topology(
            queues=(Queue(queue, exclusive=True),),
            bindings=(Binding(queue, self.reply, client),),
        )
