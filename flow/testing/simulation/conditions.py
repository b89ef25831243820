"""How the broker of a simulation is at the moment."""

from dataclasses import dataclass, field
from typing import Protocol

from flow.ports import Delivery
from flow.testing.simulation.failpoints import Failpoints
from flow.testing.simulation.faults import BrokerFaults
from flow.testing.simulation.processes import SimulatedProcess

__all__ = ["BrokerConditions", "Connected"]

RETURNS_MAX = 5
"""How often one message is made to get lost on its way to a consumer at most."""


class Connected(Protocol):
    """The broker's end of a connection, which hears of what happens to the broker."""

    def end(self, reason: str) -> None:
        """End the connection."""
        ...

    def tell_blocked(self) -> None:
        """Tell the process whether the broker takes messages."""
        ...

    def cancel_all(self, queue: str) -> None:
        """End all consumers of a queue."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class BrokerConditions:
    """How the broker is. All connections of a cluster look at it; it may change at any time.

    Args:
        faults: What goes wrong by itself.
        is_up: Whether there is a broker.
        blocked: Why it takes no messages, or an empty string.
        failpoints: Points at which processes die, or None.
        returned: How often each message was made to get lost.
        ends: The broker's ends of all connections.
    """

    faults: BrokerFaults = field(default_factory=BrokerFaults)
    is_up: bool = True
    blocked: str = ""
    failpoints: Failpoints | None = None
    returned: dict[tuple[str, str, bytes], int] = field(
        default_factory=dict[tuple[str, str, bytes], int], repr=False
    )
    ends: dict[Connected, None] = field(default_factory=dict[Connected, None], repr=False)

    def stop(self) -> None:
        """Be away: every connection ends, and nobody can connect. Queues stay as they are."""
        self.is_up = False
        for end in list(self.ends):
            end.end("the broker was stopped")

    def start(self) -> None:
        """Be there again."""
        self.is_up = True

    def block(self, reason: str) -> None:
        """Take no messages, or take them again.

        Args:
            reason: Why, or an empty string.
        """
        self.blocked = reason
        for end in list(self.ends):
            end.tell_blocked()

    def cancel(self, queue: str) -> None:
        """End every consumer of a queue, as a broker does whose queue was deleted.

        Args:
            queue: Its name.
        """
        for end in list(self.ends):
            end.cancel_all(queue)

    def reach(self, process: SimulatedProcess, point: str) -> None:
        """Pass a failpoint, or die there.

        Args:
            process: The process that passes it.
            point: Which one.
        """
        if self.failpoints is not None:
            self.failpoints.reach(process, point)

    def may_return(self, delivery: Delivery) -> bool:
        """Return whether a message may get lost once more, and count it.

        Args:
            delivery: The message.
        """
        envelope = delivery.envelope
        key = (envelope.message_id, envelope.correlation_id, envelope.body)
        count = self.returned.get(key, 0) + 1
        self.returned[key] = count
        return count <= RETURNS_MAX
