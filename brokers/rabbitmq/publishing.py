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

from brokers.rabbitmq.deadlines import Deadlines
from brokers.rabbitmq.declaring import has_exchange
from brokers.rabbitmq.errors import LOST, reason_of
from brokers.rabbitmq.lane import Lane, LibraryLane, Outcome, Refused
from brokers.rabbitmq.link import Link
from brokers.rabbitmq.native_lane import NativeLane
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
        self._events = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._events)
        link.on_expire = self._deadlines.expire

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
        self._check(publications)
        found: list[Settlement | None] = [None] * len(publications)
        now = self._events.time()
        self._patience.begin(now)
        try:
            lane = self._ready_lane(publications)
            if lane is None or not await self._at_once(lane, publications, found, now + deadline_s):
                await self._at_length(publications, found, now + deadline_s)
        except (BrokerUnavailable, TimeoutError) as error:
            raise self._unknown(error, found, deadline_s) from error
        finally:
            if any(found):
                self._patience.end()
        return [settlement for settlement in found if settlement is not None]

    def _check(self, publications: Sequence[Publication]) -> None:
        """Make sure that all of them can be sent."""
        frame_max = self._link.raw.connection_tune.frame_max or FRAME_BYTES
        for publication in publications:
            size = check_publication(publication) + FRAME_OVERHEAD_BYTES
            if size > frame_max:
                raise TooLarge("the headers of a message", size, frame_max)
            self._check_size(publication)

    def _ready_lane(self, publications: Sequence[Publication]) -> NativeLane | None:
        """Return the lane with the least to do, if all can be sent there without another word."""
        if len(publications) > WINDOW:
            return None
        for publication in publications:
            if publication.exchange not in self._known:
                return None
        lane = min(self._lanes, key=_load_of)
        return lane if isinstance(lane, NativeLane) and lane.is_open else None

    async def _at_once(
        self,
        lane: NativeLane,
        publications: Sequence[Publication],
        found: list[Settlement | None],
        until: float,
    ) -> bool:
        """Publish, and wait for nothing but the confirms; return whether everything is settled.

        Nearly every call goes this way. It does with one call what `_settle` does with many.
        """
        call = lane.begin(publications, found)
        self._deadlines.add(call, until)
        try:
            await call.future
        finally:
            self._deadlines.discard(call)
            lane.finish(call)
            if not call.is_settled:
                self._retire(lane)
            self._close_if_done(lane)
        if call.is_settled:
            return call.count == len(publications)
        if not lane.has_ended:
            raise TimeoutError
        self._learn(lane.trouble, publications)
        return False

    async def _at_length(
        self, publications: Sequence[Publication], found: list[Settlement | None], until: float
    ) -> None:
        """Publish what is not settled yet, with as many questions and rounds as it takes."""
        with self._link.deadline(until - self._events.time()) as scope:
            async with scope:
                self._scopes[scope] = scope.when()
                try:
                    await self._settle_all(publications, found)
                finally:
                    self._scopes.pop(scope)

    def _unknown(
        self,
        error: BrokerUnavailable | TimeoutError,
        found: list[Settlement | None],
        deadline_s: float,
    ) -> BrokerUnavailable:
        """Return what is said of a call, some or all of whose outcomes are unknown."""
        url, reason = self._link.url, _silence(self._link, deadline_s)
        if isinstance(error, BrokerUnavailable):
            url, reason = error.url, error.reason
        if any(found):
            return PartlyPublished(url, reason, found)
        self._lose_patience()
        return BrokerUnavailable(url, reason)

    async def _settle_all(
        self, publications: Sequence[Publication], found: list[Settlement | None]
    ) -> None:
        """Publish, and write down what is found out."""
        numbers = range(len(publications))
        for start in range(0, len(publications), WINDOW):
            await self._settle(publications, numbers[start : start + WINDOW], found)

    def _lose_patience(self) -> None:
        """Give the connection up if it has confirmed nothing for too long."""
        link = self._link
        now = self._events.time()
        if link.is_up and not link.blocked and self._patience.is_over(now):
            link.give_up("nothing that was published on it was confirmed")

    def hurry(self, *, is_blocked: bool) -> None:
        """Give calls that are under way little time, or give them back what they had.

        Args:
            is_blocked: Whether the broker takes no messages.
        """
        self._patience.pardon()
        soon = self._events.time() + BLOCKED_S
        if is_blocked:
            self._deadlines.hurry(soon)
        else:
            self._deadlines.relax()
        for scope, deadline in self._scopes.items():
            if not scope.expired():
                early = is_blocked and (deadline is None or soon < deadline)
                scope.reschedule(soon if early else deadline)

    async def _settle(
        self, publications: Sequence[Publication], numbers: range, found: list[Settlement | None]
    ) -> None:
        """Publish as many as may be unconfirmed; again without what turns out to lead nowhere."""
        window = publications[numbers.start : numbers.stop]
        for _ in range(ROUNDS):
            await self._look_up(window)
            open_ones: list[int] = []
            for number in numbers:
                if publications[number].exchange not in self._known:
                    found[number] = Settlement.UNROUTABLE
                elif found[number] is None:
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
        self,
        publications: Sequence[Publication],
        numbers: list[int],
        found: list[Settlement | None],
    ) -> Exception | None:
        """Publish some, write down their settlements, and return the first error."""
        lane = await self._lane()
        outcomes: list[Outcome | None] = [None] * len(numbers)
        try:
            await lane.publish([publications[number] for number in numbers], outcomes)
        except BaseException:
            self._retire(lane)
            raise
        finally:
            self._close_if_done(lane)
            for number, outcome in zip(numbers, outcomes, strict=True):
                if isinstance(outcome, Settlement):
                    found[number] = outcome
        return next((each for each in outcomes if isinstance(each, Exception)), None)

    async def _lane(self) -> Lane:
        """Return the lane with the least to do, opening it if it is not up."""
        loads = [lane.load if lane is not None else 0 for lane in self._lanes]
        number = loads.index(min(loads))
        async with self._opening[number]:
            lane = self._lanes[number]
            if lane is None or not lane.is_open:
                lane = self._lanes[number] = await self._open_lane()
            return lane

    async def _open_lane(self) -> Lane:
        link = self._link
        channel = await link.channel(confirms=True)
        if link.multiplexer is None:
            return LibraryLane(link, channel, self._new_id)
        return NativeLane(link.multiplexer, channel, self._new_id)

    def _retire(self, lane: Lane) -> None:
        """Publish nothing more on a lane: somebody has given up a message that is on its way."""
        lane.is_retired = True
        self._lanes = [None if each is lane else each for each in self._lanes]

    def _close_if_done(self, lane: Lane) -> None:
        """Close a lane that was given up, once the other calls on it have their answers."""
        if lane.is_retired and not lane.load and self._link.is_up and not lane.has_ended:
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


def _load_of(lane: Lane | None) -> int:
    return 0 if lane is None else lane.load


def _silence(link: Link, deadline_s: float) -> str:
    """Return why there was no confirm."""
    if not link.is_up:
        return link.trouble or LOST
    if link.blocked:
        return f"it is blocked: {link.blocked}"
    return f"no confirm in {deadline_s:g} s"
