"""Declares, and looks up, what has to exist.

Whatever the broker refuses costs the channel that it was asked on. So each question has a channel
of its own, which does not outlive it.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import aiormq
from aiormq.exceptions import ChannelAccessRefused, ChannelClosed, ChannelNotFoundEntity

from brokers.rabbitmq.errors import REFUSALS, text_of
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.topology import check, queue_declaration
from flow.errors import BrokerUnavailable, ConfigurationError
from flow.ports import Binding, Exchange, Queue, Topology

__all__ = ["declare", "has_exchange"]

LOOKUP: Final = "to look up an exchange"

_Question = Callable[[aiormq.Channel], Awaitable[Any]]


async def declare(link: Link, topology: Topology) -> None:
    """Make sure that exchanges, queues and bindings exist, in this order.

    Whoever may not declare what others own only makes sure that it is there.

    Args:
        link: The connection, which exclusive queues will belong to.
        topology: What has to exist.

    Raises:
        BrokerUnavailable: The connection was lost, or there was no answer; or something is not
            there yet, and others have to declare it.
        ConfigurationError: Something exists with other properties, or may not be declared. What
            comes before it has been declared.
    """
    check(topology)
    asking = _Asking(link)
    try:
        for exchange in topology.exchanges:
            await asking.exchange(exchange)
        for queue in topology.queues:
            await asking.queue(queue)
        for binding in topology.bindings:
            await asking.bind(binding)
    finally:
        asking.end()


async def has_exchange(link: Link, name: str) -> bool:
    """Return whether an exchange exists.

    Args:
        link: The connection.
        name: The exchange.

    Raises:
        BrokerUnavailable: The connection was lost, or there was no answer.
        ConfigurationError: It may not be looked up.
    """
    if not name:
        return True
    channel = await link.channel()
    try:
        question = channel.exchange_declare(name, passive=True)
        await link.ask(question, LOOKUP)
    except ChannelNotFoundEntity:
        return False
    except REFUSALS as error:
        raise ConfigurationError(f"exchange {name!r}", text_of(error)) from error
    finally:
        link.drop(channel)
    return True


class _Asking:
    """Asks on one channel after the other: a refusal costs the channel that it came on.

    Args:
        link: The connection.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: aiormq.Channel | None = None
        self._may_declare_exchanges = True
        self._foreign: set[str] = set()

    async def exchange(self, exchange: Exchange) -> None:
        """Declare an exchange, or look it up."""
        name, kind = exchange.name, exchange.kind
        what = f"exchange {name!r}"
        if self._may_declare_exchanges:
            # Each refusal is a line in the broker's log, so the first one is believed.
            self._may_declare_exchanges = await self._may(
                what, lambda on: on.exchange_declare(name, exchange_type=kind, durable=True)
            )
        if not self._may_declare_exchanges:
            await self._look_up(what, lambda on: on.exchange_declare(name, passive=True))

    async def queue(self, queue: Queue) -> None:
        """Declare a queue; or look it up, unless it would be one's own."""
        wanted = queue_declaration(queue)
        what = f"queue {queue.name!r}"

        def declaring(on: aiormq.Channel) -> Awaitable[Any]:
            return on.queue_declare(
                wanted.name,
                durable=wanted.durable,
                exclusive=wanted.exclusive,
                arguments={**wanted.arguments},
            )

        if queue.exclusive:
            await self._must(what, declaring)
        elif not await self._may(what, declaring):
            await self._look_up(what, lambda on: on.queue_declare(wanted.name, passive=True))
            self._foreign.add(queue.name)

    async def bind(self, binding: Binding) -> None:
        """Bind a queue, unless others own it: whoever declares a queue also binds it."""
        if binding.queue in self._foreign:
            return
        queue, exchange, key = binding.queue, binding.exchange, binding.routing_key
        what = f"binding of queue {queue!r} to {exchange!r}"
        await self._must(what, lambda on: on.queue_bind(queue, exchange, key))

    def end(self) -> None:
        """Ask no more on the channel of now."""
        if self._channel is not None:
            self._link.drop(self._channel)
            self._channel = None

    async def _look_up(self, what: str, question: _Question) -> None:
        """Make sure that others have declared something."""
        try:
            await self._ask(what, question)
        except ChannelNotFoundEntity as error:
            reason = f"{what} is not there yet, and this user may not declare it"
            raise BrokerUnavailable(self._link.url, reason) from error
        except ChannelClosed as error:
            raise ConfigurationError(what, text_of(error)) from error

    async def _may(self, what: str, question: _Question) -> bool:
        """Ask; return whether it is permitted."""
        try:
            await self._ask(what, question)
        except ChannelAccessRefused:
            return False
        except ChannelClosed as error:
            raise ConfigurationError(what, text_of(error)) from error
        return True

    async def _must(self, what: str, question: _Question) -> None:
        """Ask what has to be permitted."""
        try:
            await self._ask(what, question)
        except ChannelClosed as error:
            raise ConfigurationError(what, text_of(error)) from error

    async def _ask(self, what: str, question: _Question) -> None:
        """Ask; after a refusal, the next question gets another channel."""
        if self._channel is None:
            self._channel = await self._link.channel()
        try:
            await self._link.ask(question(self._channel), f"to declare {what}")
        except ChannelClosed:
            self.end()
            raise
