"""A connection to RabbitMQ."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from brokers.rabbitmq import declaring, examining
from brokers.rabbitmq.consuming import Consumer
from brokers.rabbitmq.link import CLOSE_S, Dial, Link
from brokers.rabbitmq.publishing import BLOCKED_S
from brokers.rabbitmq.quarantine import Quarantine
from brokers.rabbitmq.supervisor import Pair, Supervisor, backoff_s, named
from brokers.rabbitmq.tls import context_for
from brokers.rabbitmq.topology import Kept
from brokers.rabbitmq.url import HEARTBEAT_S, parse
from brokers.rabbitmq.watchdog import Gauge, Watchdog
from flow.clock import SystemChance, SystemClock, sleep
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import (
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Finding,
    Publication,
    Settlement,
    Subscription,
    Topology,
)

__all__ = ["RabbitBroker"]

PUBLISH_S: Final = 8.0
"""Seconds that a call of `publish` may take. Less than those who publish wait, for only the adapter
knows what was confirmed by then."""


DELETED_S: Final = 0.5
"""Seconds for which a queue that was deleted stays so. RabbitMQ 3.10 does not tell a consumer that
its quorum queue is gone if it is there again by then, and may leave it without messages."""


class RabbitSubscription:
    """A running consumer; satisfies `flow.ports.Subscription`.

    Args:
        consumer: The consumer.
        forget: Called with it once it is cancelled.
    """

    __slots__ = ("_consumer", "_forget")

    def __init__(self, consumer: Consumer, forget: Callable[[Consumer], None]) -> None:
        self._consumer = consumer
        self._forget = forget

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        await self._consumer.cancel()
        self._forget(self._consumer)


class RabbitBroker:
    """A connection to RabbitMQ, made again whenever it is lost; satisfies `flow.ports.Broker`.

    Args:
        url: The server, such as `amqps://user:password@host/vhost?cafile=ca.pem`.
        name: What the broker's list of connections calls it.

    Raises:
        ConfigurationError: The URL is wrong, or would switch off the check of certificates.
    """

    def __init__(self, url: str, *, name: str = "") -> None:
        self._address = parse(url)
        dial = Dial(self._address, context_for(self._address), name, HEARTBEAT_S)
        self._url = str(self._address)
        self._clock = SystemClock()
        self._chance = SystemChance()
        self._kept = Kept()
        self._consumers: dict[Consumer, None] = {}
        self._reviving: set[Consumer] = set()
        self._supervisor = Supervisor(dial, self._clock, self._chance, self._restore)
        self._quarantine = Quarantine(
            replace(dial, name=named(name, "tries")),
            self._clock,
            self._chance,
            self._supervisor.discard,
        )
        gauge = Gauge(lambda: self._supervisor.pair().consumer)
        self._watchdog = Watchdog[Consumer](
            self._supervisor.tasks, self._clock, self._chance, gauge.read, self._restart
        )

    @property
    def url(self) -> str:
        """Where the broker is, without secrets."""
        return self._url

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        health = self._supervisor.health
        return health if health.trouble else replace(health, trouble=self._quarantine.trouble)

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell of everything that happens to the connection from now on.

        Args:
            notify: Called on the event loop. It must not wait, and must not raise.

        Returns:
            What ends it.
        """
        return self._supervisor.watch(notify)

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know: version, permissions, features, alarms.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
        """
        pair = self._supervisor.pair()
        found = await examining.examine(self._address, pair, self._chance.new_id())
        return [*found, *self._quarantine.findings]

    async def open(self) -> None:
        """Connect. Does nothing on a connection that is open, or being made again.

        Raises:
            BrokerUnavailable: Nobody is there, or does not let us in.
        """
        await self._supervisor.open()

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        consumers, self._consumers = list(self._consumers), {}
        self._kept.clear()
        self._watchdog.unwatch_all()
        self._quarantine.forget()
        try:
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(consumer.finish() for consumer in consumers))
        except TimeoutError:
            # They go back when the connection is closed, which is next.
            pass
        finally:
            await self._supervisor.close()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Args:
            topology: What has to exist.
            keep: Whether it is declared again whenever the connection is another one.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: Something exists with other properties, or may not be declared.
        """
        pair = self._supervisor.pair()
        await declaring.declare(pair.consumer, topology)
        for exchange in topology.exchanges:
            pair.publishing.know(exchange.name)
        if keep:
            self._kept.add(topology)

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists. How a wiped broker is noticed.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
        """
        return await declaring.has_exchange(self._supervisor.pair().consumer, name)

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and wait until the broker has settled each one.

        Returns:
            One settlement for each publication, in their order.

        Raises:
            BrokerUnavailable: There is no connection, the broker takes no messages, or the
                outcome of some or all is unknown.
            ConfigurationError: One of them may not be published. Others may have been.
            InvalidInput: One of them cannot be sent. None was published.
            TooLarge: One of them is larger than the broker takes. Others may have been published.
        """
        pair = self._supervisor.pair()
        if not publications:
            return []
        if pair.publisher.blocked:
            await self._unblocked(pair.publisher)
        return await pair.publishing.publish(publications, PUBLISH_S)

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
            receive: Called on the event loop for each delivery. It must not wait, and must not
                raise: if it does, the message goes back.

        Raises:
            BrokerUnavailable: There is no connection, or it was lost.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        link = self._supervisor.pair().consumer
        if prefetch < 1:
            raise ConfigurationError(f"prefetch of queue {queue!r}", "it must be at least 1")
        if self._quarantine.holds(queue):
            await self._quarantine.admit(queue)
            link = self._supervisor.pair().consumer
        consumer = Consumer(queue, prefetch, receive, self._supervisor.tasks, self._again)
        await self._start(consumer, link)
        self._consumers[consumer] = None
        self._watchdog.watch(consumer)
        if not self._supervisor.is_current(link):
            # Lost at this very moment: whoever restores the others did not know of this one.
            self._again(consumer)
        return RabbitSubscription(consumer, self._forget)

    async def _unblocked(self, link: Link) -> None:
        try:
            async with asyncio.timeout(BLOCKED_S):
                await self._supervisor.can_publish.wait()
        except TimeoutError as error:
            reason = f"it is blocked: {link.blocked}"
            raise BrokerUnavailable(self._url, reason) from error

    async def _restore(self, pair: Pair) -> None:
        """Declare and consume on a new connection what was on the last one."""
        topology = self._kept.whole()
        await declaring.declare(pair.consumer, topology)
        for exchange in topology.exchanges:
            pair.publishing.know(exchange.name)
        is_slow = False
        for consumer in list(self._consumers):
            if is_slow or self._quarantine.holds(consumer.queue):
                self._again(consumer)
                continue
            try:
                await self._start(consumer, pair.consumer)
            except (BrokerUnavailable, ConfigurationError) as error:
                if not pair.is_up:
                    raise
                # Its queue is not there yet, or does not answer. Nobody must wait for it, and the
                # next one may not answer either: the rest start side by side, and not here.
                is_slow = isinstance(error, BrokerUnavailable)
                self._again(consumer)

    async def _start(self, consumer: Consumer, link: Link) -> None:
        """Start a consumer; if that costs the connection, its queue becomes a suspect."""
        try:
            await consumer.start(link)
        except BrokerUnavailable:
            self._quarantine.suspect(consumer.queue, link)
            raise

    async def _restart(self, consumer: Consumer) -> None:
        """Start a consumer again that the broker has forgotten, once its queue was tried."""
        self._quarantine.doubt(consumer.queue)
        await consumer.restart()

    def _again(self, consumer: Consumer) -> None:
        """Start a consumer again that has ended by itself, as soon as that is possible."""
        if consumer not in self._reviving:
            self._reviving.add(consumer)
            self._supervisor.tasks.start(
                self._revive(consumer), f"rabbitmq: revive the consumer of {consumer.queue}"
            )

    async def _revive(self, consumer: Consumer) -> None:
        attempt = 0
        try:
            await sleep(self._clock, DELETED_S)
            while consumer in self._consumers and not consumer.is_running:
                pause_s = backoff_s(attempt, self._chance.random())
                await sleep(self._clock, max(pause_s, self._quarantine.wait_s(consumer.queue)))
                attempt += 1
                # Without a connection, or without the queue, the next attempt is a later one.
                with contextlib.suppress(BrokerUnavailable, ConfigurationError):
                    await self._quarantine.admit(consumer.queue)
                    link = self._supervisor.pair().consumer
                    await declaring.declare(link, self._kept.around(consumer.queue))
                    await self._start(consumer, link)
        finally:
            self._reviving.discard(consumer)

    def _forget(self, consumer: Consumer) -> None:
        self._consumers.pop(consumer, None)
        self._watchdog.unwatch(consumer)
