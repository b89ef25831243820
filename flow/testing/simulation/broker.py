"""A connection of a simulated process to a broker, over a network on which everything goes wrong.

Theory of operation
-------------------
`SimulatedBroker` is what the process has: it connects, connects again whenever the connection was
lost, declares and consumes again what was declared and consumed, and tells its watchers. Each of
its connections is a `Conversation` with a `BrokerEnd`, which has a connection to the real broker
of its own. Whether the process is paused, dead or cut off, the broker's end goes on by itself.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final

from flow.errors import BrokerUnavailable, FlowError
from flow.ports import (
    Broker,
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Finding,
    Publication,
    Settlement,
    Subscription,
    Topology,
    check_publication,
)
from flow.testing.simulation.conditions import BrokerConditions
from flow.testing.simulation.conversation import Conversation, SimulatedSubscription
from flow.testing.simulation.line import URL
from flow.testing.simulation.loop import SimulatedLoop
from flow.testing.simulation.network import Link
from flow.testing.simulation.processes import SimulatedProcess
from flow.testing.simulation.subscribing import Kept, Subscriptions, pause
from flow.testing.simulation.tasks import Tasks

__all__ = ["BrokerConditions", "SimulatedBroker"]

NOT_OPEN: Final = "the connection is not open"


class SimulatedBroker:
    """A connection of a simulated process; satisfies `flow.ports.Broker`.

    Args:
        connect: Makes a connection to the real broker.
        process: Whose connection it is.
        link: The way to the broker.
        loop: The loop.
        conditions: How the broker is.
        note: Told what happens: the kind of thing, and the rest.
    """

    def __init__(
        self,
        connect: Callable[[], Broker],
        process: SimulatedProcess,
        link: Link,
        loop: SimulatedLoop,
        conditions: BrokerConditions,
        note: Callable[[str, str], None],
    ) -> None:
        """Begin without a connection."""
        self._connect = connect
        self._process = process
        self._link = link
        self._loop = loop
        self._conditions = conditions
        self._note = note
        self._tasks = Tasks(loop)
        self._kept = Kept()
        self._subscriptions = Subscriptions(link, self._tasks, self._kept, self._open_conversation)
        self._conversation: Conversation | None = None
        self._candidate: Conversation | None = None
        self._is_wanted = False
        self._generation = 0
        self._trouble = NOT_OPEN
        self._watchers: dict[object, Callable[[BrokerEvent], None]] = {}

    @property
    def url(self) -> str:
        """Where the broker is."""
        return URL

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        conversation = self._conversation
        if conversation is None:
            return BrokerHealth(False, self._generation, trouble=self._trouble)
        return BrokerHealth(True, self._generation, conversation.reason)

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection from now on.

        Args:
            notify: Called in the process. It must not wait, and must not raise.

        Returns:
            What ends it.
        """
        key = object()
        self._watchers[key] = notify

        def unwatch() -> None:
            self._watchers.pop(key, None)

        return unwatch

    async def examine(self) -> Sequence[Finding]:
        """Return what the real broker says of itself.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
        """
        findings: Sequence[Finding] = await self._open_conversation().ask(
            lambda inner: inner.examine()
        )
        return findings

    async def open(self) -> None:
        """Connect. Does nothing on a connection that is open, or being made again.

        Raises:
            BrokerUnavailable: There is no broker, or no way to it.
        """
        if self._is_wanted:
            return
        self._is_wanted = True
        try:
            await self._renew()
        except BaseException:
            self._is_wanted = False
            raise
        self._tell_of_block()

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        if self._loop.is_burying:
            return
        self._is_wanted = False
        self._tasks.stop()
        self._kept.clear()
        self._subscriptions.clear()
        self._trouble = NOT_OPEN
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            # Without an answer, the broker takes everything back when it notices.
            with contextlib.suppress(BrokerUnavailable):
                await conversation.leave()

    def die(self) -> None:
        """Have the broker notice that the process was killed: its sockets are closed."""
        for conversation in (self._conversation, self._candidate):
            if conversation is not None:
                conversation.die()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Args:
            topology: What has to exist.
            keep: Whether it is declared again whenever the connection is another one.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: Something exists with other properties, or a binding leads
                nowhere.
        """
        await self._open_conversation().ask(lambda inner: inner.declare(topology, keep=False))
        if keep:
            self._kept.add(topology)

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
        """
        return bool(await self._open_conversation().ask(lambda inner: inner.has_exchange(name)))

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and wait until the broker has settled each one.

        Returns:
            One settlement for each publication, in their order.

        Raises:
            BrokerUnavailable: There is no connection, the broker takes no messages, or the
                outcome of some or all is unknown.
            InvalidInput: One of them is not within the limits. Nothing was published.
            TooLarge: The headers of one of them are too large. Nothing was published.
        """
        conversation = self._open_conversation()
        if conversation.reason:
            raise BrokerUnavailable(URL, f"it is blocked: {conversation.reason}")
        for publication in publications:
            check_publication(publication)
        if not publications:
            return []
        return await conversation.publish(publications)

    async def consume(
        self,
        queue: str,
        prefetch: int,
        receive: Callable[[Delivery], None],
    ) -> Subscription:
        """Start to receive from *queue*, at most *prefetch* unsettled messages at a time.

        Args:
            queue: The queue's name. It must exist.
            prefetch: At least 1.
            receive: Called in the process for each delivery. It must not wait, and must not
                raise: if it does, the message goes back.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        return await self._subscriptions.consume(queue, prefetch, receive)

    # ----------------------------------------------------------- told by the conversation

    def lost(self, conversation: Conversation) -> None:
        """Take note that a connection is lost, and make another one.

        Args:
            conversation: The connection.
        """
        if conversation is not self._conversation:
            return
        self._conversation = None
        self._trouble = conversation.trouble
        self._note("lost", conversation.trouble)
        self._tasks.start(self._reconnect(), "broker: reconnect", self._process.context)
        self._notify(BrokerEvent.LOST)

    def blocked(self, conversation: Conversation) -> None:
        """Tell whether the broker takes messages.

        Args:
            conversation: The connection that was told.
        """
        if conversation is self._conversation:
            event = BrokerEvent.BLOCKED if conversation.reason else BrokerEvent.UNBLOCKED
            self._note(event.value, conversation.reason)
            self._notify(event)

    def ended(self, subscription: SimulatedSubscription) -> None:
        """Consume again what the broker has ended, after a while.

        Args:
            subscription: What was consumed.
        """
        self._subscriptions.revive(subscription)

    # ------------------------------------------------------------------------- connecting

    async def _renew(self) -> None:
        """Make a connection with all that was on the last one, and make it the connection."""
        conversation = Conversation(self._connect, self._link, self._conditions, self._note, self)
        self._candidate = conversation
        waiting: Sequence[SimulatedSubscription] = ()
        try:
            await conversation.open()
            topology, subscriptions = self._kept.whole(), self._subscriptions.all
            if subscriptions or topology != Topology():
                waiting = await conversation.restore(topology, subscriptions)
            conversation.check_open()
        except BaseException:
            conversation.hang_up("it could not be used")
            raise
        finally:
            if self._candidate is conversation:
                self._candidate = None
        self._conversation = conversation
        self._generation += 1
        self._trouble = ""
        self._note("connected", f"{self._generation}")
        for subscription in waiting:
            self._subscriptions.revive(subscription)

    async def _reconnect(self) -> None:
        attempt = 0
        while self._is_wanted:
            await pause(self._link, attempt)
            attempt += 1
            try:
                await self._renew()
            except FlowError as error:
                self._trouble = error.reason if isinstance(error, BrokerUnavailable) else str(error)
                continue
            self._notify(BrokerEvent.CONNECTED)
            self._tell_of_block()
            return

    # ---------------------------------------------------------------------------- helpers

    def _open_conversation(self) -> Conversation:
        if self._conversation is None:
            raise BrokerUnavailable(URL, self._trouble)
        return self._conversation

    def _tell_of_block(self) -> None:
        conversation = self._conversation
        if conversation is not None and conversation.reason:
            self.blocked(conversation)

    def _notify(self, event: BrokerEvent) -> None:
        for notify in list(self._watchers.values()):
            try:
                notify(event)
            except Exception as error:  # noqa: BLE001 - whatever the user's code raises
                self._loop.call_exception_handler(
                    {"message": "a watcher of the broker raised", "exception": error}
                )
