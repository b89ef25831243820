"""Names on the broker: every exchange and queue of a namespace, as pure data.

All names begin with the namespace, so that several can share a broker.
"""

from dataclasses import dataclass
from zlib import crc32

from flow.names import service_of
from flow.ports import Binding, Exchange, Queue, Topology

__all__ = ["Addresses", "partition_of"]


def partition_of(execution: str, partitions: int) -> int:
    """Return the partition that an execution belongs to, for ever.

    Args:
        execution: The execution's id.
        partitions: How many partitions the namespace has.
    """
    return crc32(execution.encode()) % partitions


@dataclass(frozen=True, slots=True)
class Addresses:
    """The exchanges and queues of one namespace.

    Args:
        namespace: Its name.
    """

    namespace: str

    @property
    def start(self) -> str:
        """The exchange for starts; the routing key is the partition's number."""
        return f"{self.namespace}.start"

    @property
    def mailbox(self) -> str:
        """The exchange for replies and control; the routing key is the partition's number."""
        return f"{self.namespace}.mailbox"

    @property
    def control(self) -> str:
        """The exchange, and the queue, for whoever does not know the partition."""
        return f"{self.namespace}.control"

    @property
    def steps(self) -> str:
        """The exchange for step requests; the routing key is the endpoint."""
        return f"{self.namespace}.steps"

    @property
    def topics(self) -> str:
        """The topic exchange that publish steps publish to."""
        return f"{self.namespace}.topics"

    @property
    def cancel(self) -> str:
        """The fanout exchange that tells workers which attempts are not wanted any more."""
        return f"{self.namespace}.cancel"

    @property
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
        return f"{self.namespace}.reply.{client}"

    def cancel_queue(self, worker: str) -> str:
        """The queue of cancellations for a worker."""
        return f"{self.cancel}.{worker}"

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
        queues = [Queue(self.control, dead_letter=self.dead)]
        bindings = [Binding(self.control, self.control)]
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

    def client(self, client: str) -> Topology:
        """Return what a client needs: a queue for its answers.

        Args:
            client: The client's id.
        """
        return Topology(queues=(Queue(self.reply_queue(client), exclusive=True),))
