"""Publishes: several channels, confirms for everything, and one settlement for each message.

Theory of operation
-------------------
*Lanes.* A channel that the broker closes takes with it what was not confirmed yet, so a few of
them share the work. What is published in one call goes through one lane, in order.

*Returns.* The library knows which message was returned by its id. Two messages with one id on
their way at the same time could swap their outcomes, so the second one gets another id on the
wire; its own travels in a header and is put back by the receiver.

*Closed channels.* The broker closes a channel because of one message, and what else was on its way
there is lost or not, nobody knows. It is sent again through another lane, without the message that
was to blame. Who receives may see a message twice; nobody is told what is not so.

*Missing exchanges.* To publish to an exchange that does not exist closes the channel. An exchange
is looked up when it is used for the first time on a connection, and so that happens only if it
vanishes later.

*Blocked.* A broker that takes no messages does not confirm those that it was sent either. Calls
that are under way then get little time more, and their time back if it takes messages again.

*Silence.* A connection on which nothing is confirmed, call after call, is given up (`patience`).

*Giving up.* When a call is cancelled or takes too long, its messages may still be confirmed or
returned some day. Its lane is closed then, so that no late answer meets a new message.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final

import aiormq
from aiormq.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from brokers.rabbitmq.convert import properties_of
from brokers.rabbitmq.declaring import has_exchange
from brokers.rabbitmq.errors import LOST, is_own_cancellation, reason_of
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.patience import Patience
from flow.errors import BrokerUnavailable, ConfigurationError, TooLarge
from flow.ports import PartlyPublished, Publication, Settlement, check_publication

__all__ = ["BLOCKED_S", "Publishing"]

LANES: Final = 4
WINDOW: Final = 1000
"""Messages of one call that may be unconfirmed at the same time."""
BLOCKED_S: Final = 2.0
"""Seconds that a call waits for a broker that takes no messages."""
FRAME_BYTES: Final = 128 * 1024
"""Bytes of the largest frame of a broker that sets no limit."""
FRAME_OVERHEAD_BYTES: Final = 64
"""Bytes of a frame with headers besides them."""
ROUNDS: Final = 8
"""How often a call is tried again because of an exchange that has vanished."""

_MISSING: Final = re.compile(r"no exchange '(.*)' in vhost")
_REFUSED: Final = re.compile(r"access to (?:exchange '(.*)' in vhost|default exchange)")
_TOO_LARGE: Final = re.compile(r"is larger than (?:configured )?max size (\d+)")

_Outcome = Settlement | Exception


class Refused(Exception):
    """The broker has closed the channel, because of this message or of another one.

    Args:
        reason: What it said.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lane:
    """A channel to publish on.

    Args:
        link: Its connection.
        channel: The channel.
        new_id: Makes ids.
    """

    def __init__(self, link: Link, channel: aiormq.Channel, new_id: Callable[[], str]) -> None:
        self.channel = channel
        self.load = 0
        self.is_retired = False
        self._closed_for: str | None = None
        self._new_id = new_id
        self._ids: set[str] = set()
        self._sending: dict[asyncio.Future[list[None]], None] = {}
        link.warn(channel, self._closed)

    @property
    def is_open(self) -> bool:
        """Whether it can be published on."""
        return not self.is_retired and self._closed_for is None and not self.channel.is_closed

    async def publish(
        self, publications: Sequence[Publication], outcomes: list[_Outcome | None]
    ) -> None:
        """Publish, and write down what became of each publication.

        Args:
            publications: What to publish.
            outcomes: As many places, in which it is written as soon as it is known; an error if
                it never will be. Right even if this is cancelled.
        """
        self.load += len(publications)
        ids = [self._take_id(each.envelope.message_id) for each in publications]
        sending = asyncio.gather(
            *(self._send(publications, number, ids[number], outcomes) for number in range(len(ids)))
        )
        self._sending[sending] = None
        try:
            await sending
        except asyncio.CancelledError:
            if is_own_cancellation():
                raise
        finally:
            self.load -= len(publications)
            self._ids.difference_update(ids)
            self._sending.pop(sending, None)
        unknown = Refused(self._closed_for) if self._closed_for is not None else ConnectionError()
        outcomes[:] = [unknown if outcome is None else outcome for outcome in outcomes]

    async def _send(
        self,
        publications: Sequence[Publication],
        number: int,
        wire_id: str,
        outcomes: list[_Outcome | None],
    ) -> None:
        publication = publications[number]
        try:
            confirm = await self.channel.basic_publish(
                publication.envelope.body,
                exchange=publication.exchange,
                routing_key=publication.routing_key,
                properties=properties_of(publication.envelope, wire_id),
                mandatory=publication.mandatory,
                # Only the last one waits until the socket has room again, and all others with it.
                wait=number == len(publications) - 1,
            )
        except PublishError:
            outcomes[number] = Settlement.UNROUTABLE
        except DeliveryError:
            outcomes[number] = Settlement.REFUSED
        except Exception as error:  # noqa: BLE001 - the library raises many, even this class itself
            outcomes[number] = error
        except asyncio.CancelledError:
            if is_own_cancellation():
                raise
        else:
            is_ack = isinstance(confirm, Basic.Ack)
            outcomes[number] = Settlement.CONFIRMED if is_ack else Settlement.REFUSED

    def _take_id(self, wanted: str) -> str:
        wire_id = wanted if wanted and wanted not in self._ids else self._new_id()
        self._ids.add(wire_id)
        return wire_id

    def _closed(self, reason: str) -> None:
        """Send nothing more: the broker has closed the channel."""
        self._closed_for = reason
        for sending in list(self._sending):
            sending.cancel()


class Publishing:
    """Publishes over one link.

    Args:
        link: The connection.
        new_id: Makes ids for messages.
        patience: How long it may confirm nothing.
    """

    def __init__(
        self, link: Link, new_id: Callable[[], str], patience: Patience | None = None
    ) -> None:
        self._link = link
        self._patience = patience or Patience()
        self._patience.pardon()
        self._new_id = new_id
        self._lanes: list[Lane | None] = [None] * LANES
        self._opening = [asyncio.Lock() for _ in range(LANES)]
        self._known = {""}
        self._size_max = 0
        self._scopes: dict[asyncio.Timeout, float | None] = {}

    def know(self, exchange: str) -> None:
        """Take note that an exchange exists."""
        self._known.add(exchange)

    async def publish(
        self, publications: Sequence[Publication], deadline_s: float
    ) -> list[Settlement]:
        """Publish, and return one settlement for each publication.

        Args:
            publications: What to publish.
            deadline_s: Seconds that it may take.

        Raises:
            BrokerUnavailable: The outcome of all is unknown.
            PartlyPublished: The outcome of some is unknown.
            ConfigurationError: One of them may not be published. Others may have been.
            InvalidInput: One of them cannot be sent. None was published.
            TooLarge: One of them is too large. Others may have been published.
        """
        frame_max = self._link.raw.connection_tune.frame_max or FRAME_BYTES
        for publication in publications:
            size = check_publication(publication) + FRAME_OVERHEAD_BYTES
            if size > frame_max:
                raise TooLarge("the headers of a message", size, frame_max)
            self._check_size(publication)
        found: dict[int, Settlement] = {}
        self._patience.begin(asyncio.get_running_loop().time())
        try:
            await self._settle_in_time(publications, found, deadline_s)
        except BrokerUnavailable as error:
            if not found:
                self._lose_patience()
                raise
            settlements = [found.get(number) for number in range(len(publications))]
            raise PartlyPublished(error.url, error.reason, settlements) from error
        finally:
            if found:
                self._patience.end()
        return [found[number] for number in range(len(publications))]

    async def _settle_in_time(
        self, publications: Sequence[Publication], found: dict[int, Settlement], deadline_s: float
    ) -> None:
        with self._link.deadline(deadline_s) as scope:
            try:
                async with scope:
                    self._scopes[scope] = scope.when()
                    await self._settle_all(publications, found)
            except TimeoutError as error:
                raise BrokerUnavailable(self._link.url, self._silence(deadline_s)) from error
            finally:
                self._scopes.pop(scope, None)

    async def _settle_all(
        self, publications: Sequence[Publication], found: dict[int, Settlement]
    ) -> None:
        """Publish, and write down what is found out."""
        numbers = range(len(publications))
        for start in range(0, len(publications), WINDOW):
            await self._settle(publications, numbers[start : start + WINDOW], found)

    def _silence(self, deadline_s: float) -> str:
        """Return why there was no confirm."""
        link = self._link
        if not link.is_up:
            return link.trouble or LOST
        if link.blocked:
            return f"it is blocked: {link.blocked}"
        return f"no confirm in {deadline_s:g} s"

    def _lose_patience(self) -> None:
        """Give the connection up if it has confirmed nothing for too long."""
        link = self._link
        now = asyncio.get_running_loop().time()
        if link.is_up and not link.blocked and self._patience.is_over(now):
            link.give_up("nothing that was published on it was confirmed")

    def hurry(self, *, is_blocked: bool) -> None:
        """Give calls that are under way little time, or give them back what they had.

        Args:
            is_blocked: Whether the broker takes no messages.
        """
        self._patience.pardon()
        soon = asyncio.get_running_loop().time() + BLOCKED_S
        for scope, deadline in self._scopes.items():
            if not scope.expired():
                early = is_blocked and (deadline is None or soon < deadline)
                scope.reschedule(soon if early else deadline)

    async def _settle(
        self, publications: Sequence[Publication], numbers: range, found: dict[int, Settlement]
    ) -> None:
        """Publish as many as may be unconfirmed; again without what turns out to lead nowhere."""
        window = publications[numbers.start : numbers.stop]
        for _ in range(ROUNDS):
            await self._look_up(window)
            open_ones: list[int] = []
            for number in numbers:
                if publications[number].exchange not in self._known:
                    found[number] = Settlement.UNROUTABLE
                elif number not in found:
                    open_ones.append(number)
            if not open_ones:
                return
            error = await self._attempt(publications, open_ones, found)
            if error is None:
                return
            self._learn(error, window)
        raise BrokerUnavailable(self._link.url, "exchanges vanish while they are used")

    async def _look_up(self, publications: Sequence[Publication]) -> None:
        unknown = {each.exchange: None for each in publications if each.exchange not in self._known}
        for exchange in unknown:
            if await has_exchange(self._link, exchange):
                self._known.add(exchange)

    async def _attempt(
        self, publications: Sequence[Publication], numbers: list[int], found: dict[int, Settlement]
    ) -> Exception | None:
        """Publish some, write down their settlements, and return the first error."""
        lane = await self._lane()
        outcomes: list[_Outcome | None] = [None] * len(numbers)
        try:
            await lane.publish([publications[number] for number in numbers], outcomes)
        except BaseException:
            lane.is_retired = True
            self._lanes = [None if each is lane else each for each in self._lanes]
            raise
        finally:
            self._close_if_done(lane)
            pairs = zip(numbers, outcomes, strict=True)
            found |= {number: each for number, each in pairs if isinstance(each, Settlement)}
        return next((each for each in outcomes if isinstance(each, Exception)), None)

    async def _lane(self) -> Lane:
        """Return the lane with the least to do, opening it if it is not up."""
        loads = [lane.load if lane is not None else 0 for lane in self._lanes]
        number = loads.index(min(loads))
        async with self._opening[number]:
            lane = self._lanes[number]
            if lane is None or not lane.is_open:
                channel = await self._link.channel(confirms=True)
                lane = self._lanes[number] = Lane(self._link, channel, self._new_id)
            return lane

    def _close_if_done(self, lane: Lane) -> None:
        """Close a lane that was given up, once the other calls on it have their answers."""
        if lane.is_retired and not lane.load and self._link.is_up and not lane.channel.is_closed:
            self._link.abandon(lane.channel)

    def _check_size(self, publication: Publication) -> None:
        size = len(publication.envelope.body)
        if self._size_max and size > self._size_max:
            raise TooLarge("a message", size, self._size_max)

    def _learn(self, error: Exception, publications: Sequence[Publication]) -> None:
        """Draw the conclusion from what closed a channel; return if it is worth another round.

        It may be the fault of another call on the same lane.

        Raises:
            BrokerUnavailable: The outcome is unknown.
            ConfigurationError: The broker does not want one of the publications.
            TooLarge: One of them is too large.
        """
        if not isinstance(error, Refused):
            raise BrokerUnavailable(self._link.url, reason_of(error)) from error
        if missing := _MISSING.search(error.reason):
            self._known.discard(missing[1])
        elif sizes := _TOO_LARGE.search(error.reason):
            self._size_max = int(sizes[1])
            for publication in publications:
                self._check_size(publication)
        else:
            refused = _REFUSED.search(error.reason)
            exchanges = {each.exchange for each in publications}
            if refused is None or (refused[1] or "") in exchanges:
                raise ConfigurationError("a publication", error.reason) from error
