"""The client end of the socket: a connection to a hub in another process of the machine.

The server answers in the order of the questions, so what waits for an answer stands in a queue,
and one timer watches the oldest: if it has waited too long, the connection is given up and with
it everything that waits. Connecting again is up to the owner, who is told.
"""

import asyncio
import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from brokers.memory.broker import NOT_OPEN, Watchers
from brokers.memory.frames import (
    VERSION,
    Answer,
    Cancel,
    Consume,
    Declare,
    Deliver,
    Find,
    Frame,
    Goodbye,
    Hello,
    Refusal,
    Settle,
    Verdict,
    Welcome,
    encode,
    encode_publications,
)
from brokers.memory.link import Link
from brokers.memory.server import SETTLEMENTS, check_path
from flow.errors import BrokerUnavailable, ConfigurationError, CorruptRecord
from flow.ports import (
    BrokerEvent,
    BrokerHealth,
    Delivery,
    Envelope,
    Finding,
    Level,
    Publication,
    Settlement,
    Subscription,
    Topology,
    check_publication,
)

__all__ = ["SocketBroker"]

WINDOW: Final = 8
"""Frames of one call of `publish` that may wait for their answers at the same time."""
VERDICTS_MAX: Final = 4096
"""Settlements that are sent before the turn of the event loop is over."""

_Question = tuple[asyncio.Future[Frame], float]


class SocketDelivery:
    """A message that came through the socket; satisfies `flow.ports.Delivery`."""

    __slots__ = ("_conversation", "_tag", "envelope", "redelivered", "routing_key")

    def __init__(self, conversation: "Conversation", frame: Deliver) -> None:
        self.envelope: Envelope = frame.envelope
        self.routing_key: str = frame.routing_key
        self.redelivered: bool = frame.redelivered
        self._tag = frame.tag
        self._conversation: Conversation | None = conversation

    def ack(self) -> None:
        """Tell the broker that the message is done with."""
        self._settle(Verdict.ACK)

    def requeue(self) -> None:
        """Give the message back, to be delivered again."""
        self._settle(Verdict.REQUEUE)

    def reject(self) -> None:
        """Send the message to the queue's dead-letter exchange."""
        self._settle(Verdict.REJECT)

    def _settle(self, verdict: Verdict) -> None:
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            conversation.settle(self._tag, verdict)


class Conversation:
    """One connection, from its hello to its end. `reason` says why it is not open.

    Args:
        url: Where the server is, for errors.
        deadline_s: Seconds that any answer may take.
        on_lost: Called when the connection is lost after it was welcome.
    """

    def __init__(self, url: str, deadline_s: float, on_lost: Callable[[], None] | None) -> None:
        self._url = url
        self._deadline_s = deadline_s
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._link: Link | None = None
        self._ended = asyncio.Event()
        self._is_welcome = False
        self._is_leaving = False
        self.reason = NOT_OPEN
        self._questions: deque[_Question] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self._receivers: dict[int, Callable[[Delivery], None]] = {}
        self._consumers = 0
        self._verdicts: list[tuple[int, Verdict]] = []

    @property
    def is_open(self) -> bool:
        """Whether the server may be asked."""
        return self._link is not None and self._link.is_open and not self._is_leaving

    def opened(self, link: Link) -> None:
        """Take note that the link is up."""
        self._link = link

    def received(self, frame: Frame) -> None:
        """Take an answer or a delivery.

        Raises:
            CorruptRecord: It is neither.
        """
        if isinstance(frame, Deliver):
            self._take(frame)
        elif isinstance(frame, Answer | Refusal | Welcome) and self._questions:
            answer, _ = self._questions.popleft()
            if not answer.done():
                answer.set_result(frame)
        else:
            raise CorruptRecord("a server's frame", f"{type(frame).__name__} answers nothing")

    def stalled(self, is_stalled: bool) -> None:  # noqa: FBT001 - see LinkOwner
        """Do nothing: whoever publishes waits for answers anyway, and so sends no more."""

    def closed(self, reason: str) -> None:
        """Let everybody who waits know that there will be no answer."""
        self.reason = reason
        if self._watch is not None:
            self._watch.cancel()
        while self._questions:
            answer, _ = self._questions.popleft()
            if not answer.done():
                answer.set_exception(BrokerUnavailable(self._url, reason))
        self._receivers.clear()
        self._ended.set()
        if self._is_welcome and not self._is_leaving and self._on_lost is not None:
            self._on_lost()

    async def greet(self) -> None:
        """Say hello.

        Raises:
            BrokerUnavailable: There is no answer, or none that makes sense.
            ConfigurationError: The server speaks another version.
        """
        answer = await self._ask(encode(Hello()))
        if not isinstance(answer, Welcome):
            raise BrokerUnavailable(self._url, "the server did not answer the hello")
        if answer.version != VERSION:
            raise ConfigurationError(
                f"the broker {self._url}",
                f"it speaks version {answer.version} of the protocol and this program "
                f"version {VERSION}; use the same flowmq on both sides",
            )
        self._is_welcome = True

    async def ask(self, data: bytes) -> bytes:
        """Ask the server something, and return the values of its answer.

        Args:
            data: A whole frame.

        Raises:
            BrokerUnavailable: The connection is closed, or was lost before the answer came.
            ConfigurationError: The server refuses.
        """
        return _values(await self._ask(data))

    async def publish(self, publications: Sequence[Publication]) -> list[Settlement]:
        """Publish, and return one settlement for each publication.

        Raises:
            BrokerUnavailable: The outcome of some or all is unknown.
        """
        frames = list(encode_publications(publications))
        codes: list[int] = []
        for start in range(0, len(frames), WINDOW):
            questions = [self._ask(frame) for frame in frames[start : start + WINDOW]]
            for answer in await asyncio.gather(*questions):
                codes += _values(answer)
        if len(codes) != len(publications) or max(codes, default=0) >= len(SETTLEMENTS):
            raise BrokerUnavailable(self._url, "the server's answer does not fit the question")
        return [SETTLEMENTS[code] for code in codes]

    async def consume(self, queue: str, prefetch: int, receive: Callable[[Delivery], None]) -> int:
        """Start to receive from *queue*; return the number of the consumer.

        Raises:
            BrokerUnavailable: The connection is closed, or was lost before the answer came.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        self._consumers += 1
        number = self._consumers
        data = encode(Consume(number, queue, max(prefetch, 0)))
        self._receivers[number] = receive
        try:
            await self.ask(data)
        except ConfigurationError:
            self._receivers.pop(number, None)
            raise
        except asyncio.CancelledError:
            # Nobody will ever cancel this consumer but us.
            self._receivers.pop(number, None)
            if self.is_open:
                self._ask(encode(Cancel(number))).add_done_callback(_ignore)
            raise
        return number

    async def cancel(self, number: int) -> None:
        """Stop to receive for a consumer. On a closed connection it has stopped already."""
        if not self.is_open or number not in self._receivers:
            return
        try:
            await self.ask(encode(Cancel(number)))
        except BrokerUnavailable:
            # With the connection, the consumer is gone: what was asked for has happened.
            return
        self._receivers.pop(number, None)

    async def leave(self) -> None:
        """Close the connection, and wait until the server has taken back what was unsettled."""
        if self._link is None:
            return
        try:
            # Without an answer, the server takes it back when it notices that we are gone.
            with contextlib.suppress(BrokerUnavailable):
                goodbye = self._ask(encode(Goodbye()))
                self._is_leaving = True
                await goodbye
        finally:
            self.drop()
        await self._ended.wait()

    def drop(self) -> None:
        """Close the connection at once."""
        self._is_leaving = True
        if self._link is not None and not self._ended.is_set():
            self._link.abort(NOT_OPEN)

    def settle(self, tag: int, verdict: Verdict) -> None:
        """Settle a delivery, soon."""
        if not self.is_open:
            return
        if not self._verdicts:
            self._loop.call_soon(self._send_verdicts)
        self._verdicts.append((tag, verdict))
        if len(self._verdicts) >= VERDICTS_MAX:
            self._send_verdicts()

    def _ask(self, data: bytes) -> asyncio.Future[Frame]:
        link = self._link
        if link is None or not self.is_open:
            raise BrokerUnavailable(self._url, self.reason)
        # What was settled before the question is settled before it on the other side too.
        self._send_verdicts()
        answer: asyncio.Future[Frame] = self._loop.create_future()
        due = self._loop.time() + self._deadline_s
        self._questions.append((answer, due))
        if self._watch is None:
            self._watch = self._loop.call_at(due, self._check)
        link.send(data)
        return answer

    def _check(self) -> None:
        """Give up the connection if the oldest question has waited too long."""
        self._watch = None
        if not self._questions or self._link is None:
            return
        due = self._questions[0][1]
        if due <= self._loop.time():
            self._link.abort(f"no answer within {self._deadline_s:g} s")
        else:
            self._watch = self._loop.call_at(due, self._check)

    def _take(self, frame: Deliver) -> None:
        if self._is_leaving:
            return
        delivery = SocketDelivery(self, frame)
        receive = self._receivers.get(frame.consumer)
        if receive is None:
            delivery.requeue()
            return
        try:
            receive(delivery)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever the user's code raises
            delivery.requeue()
            self._loop.call_exception_handler(
                {"message": "a receiver raised; the message goes back", "exception": error}
            )

    def _send_verdicts(self) -> None:
        if self._verdicts and self._link is not None:
            verdicts, self._verdicts = self._verdicts, []
            self._link.send(encode(Settle(tuple(verdicts))))


class SocketSubscription:
    """A running consumer; satisfies `flow.ports.Subscription`."""

    __slots__ = ("_conversation", "_number")

    def __init__(self, conversation: Conversation, number: int) -> None:
        self._conversation = conversation
        self._number = number

    async def cancel(self) -> None:
        """Stop receiving. What was received and not settled stays ours to settle."""
        await self._conversation.cancel(self._number)


class SocketBroker:
    """One connection to a hub in another process; satisfies `flow.ports.Broker`.

    Args:
        path: The server's socket.
        url: What `url` says; by default `unix://` and the path.
        deadline_s: Seconds that connecting, or any answer, may take.
        on_close: Called when the connection is lost, not by `close`. `open` connects again.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        url: str = "",
        deadline_s: float = 10.0,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._path = os.fspath(path)
        self._url = url or f"unix://{self._path}"
        self._deadline_s = deadline_s
        self._on_close = on_close
        self._conversation: Conversation | None = None
        self._watchers = Watchers()
        self._generation = 0

    @property
    def url(self) -> str:
        """Where the broker is."""
        return self._url

    @property
    def health(self) -> BrokerHealth:
        """How the connection is at the moment."""
        conversation = self._conversation
        if conversation is None:
            return BrokerHealth(is_connected=False, generation=self._generation, trouble=NOT_OPEN)
        trouble = "" if conversation.is_open else conversation.reason
        return BrokerHealth(conversation.is_open, self._generation, trouble=trouble)

    def watch(self, notify: Callable[[BrokerEvent], None]) -> Callable[[], None]:
        """Tell *notify* when the connection is lost, until what is returned is called."""
        return self._watchers.add(notify)

    async def examine(self) -> Sequence[Finding]:
        """Return what a person should know about the broker.

        Raises:
            BrokerUnavailable: The connection is not open, or was lost.
        """
        await self.has_exchange("")
        detail = f"in another process, version {VERSION} of the protocol"
        return [Finding(Level.FINE, "broker", detail)]

    async def open(self) -> None:
        """Connect. Does nothing on a connection that is open.

        Raises:
            BrokerUnavailable: Nobody answers.
            ConfigurationError: The path is too long, or the server speaks another version.
        """
        if self._conversation is not None and self._conversation.is_open:
            return
        check_path(self._path)
        conversation = Conversation(self._url, self._deadline_s, self._lost)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._deadline_s):
                await loop.create_unix_connection(lambda: Link(conversation, loop), self._path)
        except TimeoutError as error:
            reason = f"no answer within {self._deadline_s:g} s"
            raise BrokerUnavailable(self._url, reason) from error
        except OSError as error:
            raise BrokerUnavailable(self._url, str(error)) from error
        try:
            await conversation.greet()
        except BaseException:
            conversation.drop()
            raise
        self._conversation = conversation
        self._generation += 1

    async def close(self) -> None:
        """Disconnect. Unsettled deliveries go back to their queues. May be called twice."""
        conversation, self._conversation = self._conversation, None
        if conversation is not None:
            await conversation.leave()

    async def declare(self, topology: Topology, *, keep: bool = True) -> None:
        """Make sure that exchanges, queues and bindings exist.

        Args:
            topology: What has to exist.
            keep: It makes no difference: a connection that is lost is not made again.

        Raises:
            BrokerUnavailable: The connection is not open, or was lost.
            ConfigurationError: Something exists with other properties, or a binding leads
                nowhere.
        """
        await self._open_conversation().ask(encode(Declare(topology)))

    async def has_exchange(self, name: str) -> bool:
        """Return whether an exchange exists.

        Raises:
            BrokerUnavailable: The connection is not open, or was lost.
        """
        return await self._open_conversation().ask(encode(Find(name))) == b"\1"

    async def publish(self, publications: Sequence[Publication]) -> Sequence[Settlement]:
        """Publish, and return one settlement for each publication.

        Raises:
            BrokerUnavailable: The connection is not open, or the outcome of some is unknown.
            InvalidInput: One of them is not within the limits. Nothing was published.
            TooLarge: One of them is larger than a frame may be. Nothing was published.
        """
        conversation = self._open_conversation()
        for publication in publications:
            check_publication(publication)
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
            receive: Called on the event loop for each delivery. It must not wait, and must not
                raise: if it does, the message goes back.

        Raises:
            BrokerUnavailable: The connection is not open, or was lost.
            ConfigurationError: There is no such queue, or *prefetch* is less than 1.
        """
        conversation = self._open_conversation()
        number = await conversation.consume(queue, prefetch, receive)
        return SocketSubscription(conversation, number)

    def _lost(self) -> None:
        if self._on_close is not None:
            self._on_close()
        self._watchers.tell(BrokerEvent.LOST)

    def _open_conversation(self) -> Conversation:
        conversation = self._conversation
        if conversation is None:
            raise BrokerUnavailable(self._url, NOT_OPEN)
        return conversation


def _values(frame: Frame) -> bytes:
    if isinstance(frame, Refusal):
        raise ConfigurationError(frame.what, frame.reason)
    return frame.values if isinstance(frame, Answer) else b""


def _ignore(answer: asyncio.Future[Frame]) -> None:
    """Look at an outcome that nobody waits for, so that it is not reported as forgotten."""
    if not answer.cancelled():
        answer.exception()
