"""Asking: a question is sent again, the same, until it is answered or its deadline has passed.

Theory of operation
-------------------
A confirm of the broker is not an answer: whoever took the question may die with it, the broker may
lose it, the answer may find its queue gone. So whoever asks asks again: after a few seconds, then
after twice as long each time, and at once when the connection is another one. Every question keeps
its correlation id, and whoever answers is idempotent, so that asking twice does not do twice.
"""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from copy import copy
from typing import Any, Final

from flow.errors import (
    BrokerUnavailable,
    CorruptRecord,
    DeadlineExceeded,
    FlowError,
    Overloaded,
)
from flow.ports import BrokerEvent, Chance, Clock, Delivery, Publication, Settlement
from flow.runtime.bundles import BUNDLE, unpacked
from flow.runtime.protocol import Answer, Request
from flow.runtime.publisher import Publisher

__all__ = ["ANSWER_WITHIN_S", "Asker", "Awaited"]

ANSWER_WITHIN_S: Final = 30.0
"""Seconds within which a question has to be answered, unless it waits for an execution."""
ASK_AGAIN_S: Final = 5.0
"""Seconds after which a question is sent again for the first time; then after twice as long."""
LONGEST_PAUSE_S: Final = 10.0
"""The longest time between two sendings of a question."""
LONGEST_WAIT_S: Final = 60.0
"""The longest time between two sendings of a question that waits for an execution."""
FIND_S: Final = 0.1
"""Seconds until somebody who is not there yet is looked for again; then twice as long."""
LONGEST_SEARCH_S: Final = 2.0
"""The longest time between two looks for somebody who is not there."""


class Awaited:
    """An answer that somebody waits for.

    Attributes:
        correlation: What ties the answer to the question.
    """

    __slots__ = ("_answer", "_error", "_is_nudged", "_wake", "correlation")

    def __init__(self, correlation: str) -> None:
        """Begin without an answer."""
        self.correlation = correlation
        self._answer: Delivery | None = None
        self._error: FlowError | None = None
        self._is_nudged = False
        self._wake: asyncio.Future[None] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the answer is there, or cannot come any more."""
        return self._answer is not None or self._error is not None

    def take(self) -> Delivery | None:
        """Return the answer, or None while there is none.

        Raises:
            FlowError: It cannot come any more.
        """
        if self._error is not None:
            # Each gets one of its own, because raising it adds to it.
            raise copy(self._error)
        return self._answer

    def settle(self, answer: Delivery) -> None:
        """Give the answer; only the first one counts."""
        if not self.is_settled:
            self._answer = answer
        self._ring()

    def fail(self, error: FlowError) -> None:
        """Say that no answer can come any more."""
        if not self.is_settled:
            self._error = error
        self._ring()

    def nudge(self) -> None:
        """End the pause at once, so that the question is sent again."""
        self._is_nudged = True
        self._ring()

    async def wait(self, clock: Clock, until: float) -> Delivery | None:
        """Wait for the answer.

        Args:
            clock: The time.
            until: Seconds, on the clock's monotonic scale.

        Returns:
            The answer, or None if there was none in time.

        Raises:
            FlowError: It cannot come any more.
        """
        while not self.is_settled and clock.monotonic() < until:
            await self.rest(clock, until)
        return self.take()

    async def rest(self, clock: Clock, until: float) -> None:
        """Wait for the answer, for a nudge, or for a time, whichever comes first.

        Args:
            clock: The time.
            until: Seconds, on the clock's monotonic scale.
        """
        is_nudged, self._is_nudged = self._is_nudged, False
        if is_nudged or self.is_settled or clock.monotonic() >= until:
            return
        self._wake = asyncio.get_running_loop().create_future()
        alarm = clock.call_at(until, self._ring)
        try:
            await self._wake
        finally:
            alarm.cancel()
            self._wake = None
        self._is_nudged = False

    def _ring(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)


class Asker:
    """Asks, and waits for answers, which arrive in one queue.

    Whoever makes one hands it what arrives in that queue (`receive`), and what happens to the
    connection (`broker.watch(asker.hear)`).

    Args:
        publisher: Publishes the questions.
        clock: The time.
        chance: Ids, and jitter.
        reply_to: The queue that answers go to.

    Attributes:
        late: How many answers came that nobody waited for any more.
    """

    def __init__(self, publisher: Publisher, clock: Clock, chance: Chance, reply_to: str) -> None:
        """Begin with nothing asked."""
        self.late = 0
        self.reply_to = reply_to
        self._publisher = publisher
        self._clock = clock
        self._chance = chance
        self._awaited: dict[str, Awaited] = {}
        self._gone: FlowError | None = None

    def __len__(self) -> int:
        """Return how many answers are waited for."""
        return len(self._awaited)

    # ------------------------------------------------------------- what comes from outside

    def receive(self, delivery: Delivery) -> None:
        """Take an answer, or a bundle of them; what nobody waits for is counted and dropped.

        Args:
            delivery: What arrived.
        """
        if delivery.envelope.type != BUNDLE:
            self._take(delivery)
            return
        try:
            answers = unpacked(delivery)
        except CorruptRecord:
            # It is an answer to nothing.
            answers = (delivery,)
        for answer in answers:
            self._take(answer)

    def _take(self, delivery: Delivery) -> None:
        delivery.ack()
        awaited = self._awaited.get(delivery.envelope.correlation_id)
        if awaited is None or awaited.is_settled:
            self.late += 1
            return
        awaited.settle(delivery)

    def hear(self, event: BrokerEvent) -> None:
        """Ask again at once when the connection is another one: who knows what was lost.

        Args:
            event: What happened to the connection.
        """
        if event is BrokerEvent.CONNECTED:
            self._gone = None
            for awaited in self._awaited.values():
                awaited.nudge()

    def lose(self, error: FlowError, *, for_good: bool = False) -> None:
        """Fail everybody who waits, because no answer can come any more.

        Args:
            error: Why.
            for_good: Whether nobody who asks from now on would get an answer either.
        """
        if for_good:
            self._gone = error
        for awaited in self._awaited.values():
            awaited.fail(error)

    # ----------------------------------------------------------------------------- asking

    async def ask(
        self,
        request: Request,
        exchange: str,
        key: str,
        within_s: float | None = ANSWER_WITHIN_S,
    ) -> Any:
        """Ask an orchestrator, and return what it answers.

        Args:
            request: What to ask. Where the answer goes to and its correlation id are put in.
            exchange: Where it is published.
            key: With which routing key.
            within_s: Seconds within which it has to be answered; None to wait for as long as it
                takes.

        Raises:
            FlowError: What the orchestrator refused with.
            DeadlineExceeded: Nobody answered in time.
            BrokerUnavailable: Nobody could be asked in time, or the publisher has stopped.
        """

        def publication(correlation: str) -> Publication:
            asked = request._replace(correlation=correlation, reply_to=self.reply_to)
            return Publication(exchange, key, asked.envelope(self._chance.new_id()))

        what = f"the request {request.verb!r}"
        if request.execution:
            what += f" for execution {request.execution!r}"
        delivery = await self.ask_until_answered(publication, what, within_s)
        answer = Answer.read(delivery.envelope)
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def ask_until_answered(
        self,
        publication: Callable[[str], Publication],
        what: str,
        within_s: float | None = ANSWER_WITHIN_S,
    ) -> Delivery:
        """Publish a question until an answer to it comes.

        Args:
            publication: Returns what to publish, for the correlation id that it is given. It is
                called for every sending, and each has a message id of its own.
            what: What is asked, for the error.
            within_s: Seconds within which it has to be answered; None for as long as it takes.

        Returns:
            The answer, which is acknowledged already.

        Raises:
            DeadlineExceeded: Nobody answered in time.
            BrokerUnavailable: Nobody could be asked in time, because the connection is away, or
                nobody can be asked any more, because the publisher has stopped.
        """
        deadline = None if within_s is None else self._clock.monotonic() + within_s
        longest_s = LONGEST_WAIT_S if within_s is None else LONGEST_PAUSE_S
        again, search = ASK_AGAIN_S, FIND_S
        with self.expect(self._chance.new_id()) as awaited:
            while (answer := awaited.take()) is None:
                sent = await self._send(publication(awaited.correlation))
                if sent is Settlement.CONFIRMED:
                    pause, again, search = again, min(again * 2, longest_s), FIND_S
                else:
                    pause, search = search, min(search * 2, LONGEST_SEARCH_S)
                await awaited.rest(self._clock, self._until(pause, deadline))
                is_late = deadline is not None and self._clock.monotonic() >= deadline
                if is_late and not awaited.is_settled:
                    raise _late(sent, what, within_s or 0.0)
            return answer

    @contextmanager
    def expect(self, correlation: str) -> Generator[Awaited]:
        """Wait for the answer to something that whoever calls publishes himself.

        Args:
            correlation: What the answer is tied to it by.
        """
        awaited = self._awaited[correlation] = Awaited(correlation)
        if self._gone is not None:
            awaited.fail(self._gone)
        try:
            yield awaited
        finally:
            del self._awaited[correlation]

    async def _send(self, publication: Publication) -> Settlement | FlowError:
        """Return what has become of a sending."""
        try:
            return await self._publisher.send(publication)
        except (Overloaded, BrokerUnavailable) as error:
            # A connection comes back, and a crowd gets smaller. A publisher stops for good.
            if self._publisher.has_stopped:
                raise
            return error

    def _until(self, pause: float, deadline: float | None) -> float:
        # Never sooner than half of it, so that a crowd does not spin.
        again = self._clock.monotonic() + pause * (0.5 + 0.5 * self._chance.random())
        return again if deadline is None else min(again, deadline)


def _late(sent: Settlement | FlowError, what: str, within_s: float) -> FlowError:
    """Return why there is no answer: nobody was asked, or nobody has answered."""
    if isinstance(sent, FlowError):
        return copy(sent)
    hint = "is an orchestrator running? What was asked for may still happen"
    return DeadlineExceeded(what, within_s, hint)
