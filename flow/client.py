"""The client: asks orchestrators, waits for answers, and calls endpoints directly.

A request is sent again, with the same id, until it is answered or its deadline has passed. All
requests are idempotent, so that asking twice does not do twice.
"""

import asyncio
from collections.abc import Mapping
from copy import copy
from typing import Any, Final

from flow.clock import sleep
from flow.errors import (
    BrokerUnavailable,
    CallFailed,
    DeadlineExceeded,
    FlowError,
    Overloaded,
    UnknownEndpoint,
)
from flow.ports import Broker, Chance, Clock, Delivery, Publication, Settlement, Subscription
from flow.runtime.addresses import Addresses, partition_of
from flow.runtime.protocol import Answer, Outcome, Request, StepReply, StepRequest
from flow.runtime.publisher import Publisher

__all__ = ["Client"]


ANSWER_WITHIN_S: Final = 30.0
"""Seconds within which a request has to be answered, unless it waits for an execution."""
ASK_AGAIN_S: Final = 5.0
"""Seconds after which a request is sent again for the first time; then after twice as long."""
LONGEST_PAUSE_S: Final = 300.0
"""The longest time between two sendings of a request that waits for an execution."""
FIND_S: Final = 0.1
"""Seconds until somebody who is not there yet is looked for again."""


class Client:
    """Asks orchestrators and workers over the broker.

    Args:
        broker: The connection.
        publisher: Publishes on it.
        addresses: The names of the namespace.
        clock: The time.
        chance: Ids.
        actor: Who asks, for histories.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: Publisher,
        addresses: Addresses,
        clock: Clock,
        chance: Chance,
        actor: str = "",
    ) -> None:
        """Prepare; nothing is received before `open`."""
        self.clock = clock
        self.chance = chance
        self.actor = actor
        self._broker = broker
        self._publisher = publisher
        self._addresses = addresses
        self._id = chance.new_id()
        self._reply_to = addresses.reply_queue(self._id)
        self._waiting: dict[str, asyncio.Future[Delivery]] = {}
        self._subscription: Subscription | None = None
        self._partitions = 0

    async def open(self) -> None:
        """Begin to receive answers."""
        await self._broker.declare(self._addresses.exchanges())
        await self._broker.declare(self._addresses.client(self._id))
        self._subscription = await self._broker.consume(self._reply_to, 1_000, self._receive)

    async def close(self) -> None:
        """Receive no more answers; whoever still waits gets BrokerUnavailable."""
        if self._subscription is not None:
            await self._subscription.cancel()
            self._subscription = None
        self.lose(BrokerUnavailable(self._broker.url, "the client was closed"))

    def lose(self, error: FlowError) -> None:
        """Fail everybody who waits, because no answer can come any more.

        Args:
            error: Why.
        """
        for waiting in self._waiting.values():
            if not waiting.done():
                # Each gets one of its own, because raising it adds to it.
                waiting.set_exception(copy(error))

    def lose_connection(self) -> None:
        """Fail everybody who waits, because the connection is lost."""
        self.lose(BrokerUnavailable(self._broker.url, "the connection was lost"))

    # ------------------------------------------------------------------------- requests

    async def ask(
        self,
        verb: str,
        arguments: Mapping[str, Any],
        execution: str = "",
        within_s: float | None = ANSWER_WITHIN_S,
    ) -> Any:
        """Ask an orchestrator, and return its answer.

        Args:
            verb: What to do; see `flow.runtime.requests`.
            arguments: A JSON object.
            execution: The execution that it is about, or an empty string.
            within_s: Seconds within which it has to be answered; None to wait for as long as an
                execution takes.

        Raises:
            FlowError: What the orchestrator refused with.
            DeadlineExceeded: Nobody answered in time.
        """
        correlation = self.chance.new_id()
        request = Request(
            verb=verb,
            arguments=arguments,
            execution=execution,
            correlation=correlation,
            reply_to=self._reply_to,
            actor=self.actor,
        )
        deadline = None if within_s is None else self.clock.monotonic() + within_s
        answered = self._expect(correlation)
        try:
            delivery = await self._ask_until_answered(request, answered, deadline, within_s)
        finally:
            del self._waiting[correlation]
        answer = Answer.read(delivery.envelope)
        if answer.error is not None:
            raise answer.error
        return answer.value

    async def _ask_until_answered(
        self,
        request: Request,
        answered: asyncio.Future[Delivery],
        deadline: float | None,
        within_s: float | None,
    ) -> Delivery:
        pause = ASK_AGAIN_S
        while True:
            await self._send(request, deadline, within_s)
            again = self.clock.monotonic() + pause
            until = again if deadline is None else min(again, deadline)
            if await _done_by(self.clock, answered, until):
                return answered.result()
            if deadline is not None and self.clock.monotonic() >= deadline:
                raise self._late(request, within_s)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _send(self, request: Request, deadline: float | None, within_s: float | None) -> None:
        """Publish a request; wait for an orchestrator to be there, if none is."""
        while True:
            exchange, key = await self._route(request)
            envelope = request.envelope(self.chance.new_id())
            settlement = await self._publish(Publication(exchange, key, envelope))
            if settlement is Settlement.CONFIRMED:
                return
            if deadline is not None and self.clock.monotonic() >= deadline:
                raise self._late(request, within_s)
            await sleep(self.clock, FIND_S)

    async def _publish(self, publication: Publication) -> Settlement:
        try:
            return await self._publisher.send(publication)
        except Overloaded:
            return Settlement.REFUSED

    def _late(self, request: Request, within_s: float | None) -> DeadlineExceeded:
        what = f"the request {request.verb!r}"
        if request.execution:
            what += f" for execution {request.execution!r}"
        hint = "is an orchestrator running? What was asked for may still happen"
        return DeadlineExceeded(what, within_s or 0.0, hint)

    async def _route(self, request: Request) -> tuple[str, str]:
        """Return the exchange and the routing key that lead to the execution's owner."""
        addresses = self._addresses
        if not request.execution or request.verb == "history":
            return addresses.control, ""
        if not self._partitions:
            self._partitions = int((await self.ask("namespace", {}))["partitions"])
        partition = str(partition_of(request.execution, self._partitions))
        exchange = addresses.start if request.verb == "start" else addresses.mailbox
        return exchange, partition

    # ---------------------------------------------------------------------------- calls

    async def call(
        self,
        endpoint: str,
        body: bytes,
        headers: Mapping[str, str],
        timeout_s: float,
    ) -> StepReply:
        """Call an endpoint without a workflow: nothing is kept, and nothing is tried again.

        Args:
            endpoint: `service.method`.
            body: The input (JSON).
            headers: Metadata.
            timeout_s: Seconds within which it has to be answered.

        Raises:
            UnknownEndpoint: Nobody serves the endpoint.
            CallFailed: The handler failed.
            DeadlineExceeded: No answer came in time.
        """
        correlation = self.chance.new_id()
        request = StepRequest(
            endpoint=endpoint,
            body=body,
            correlation=correlation,
            reply_to=self._reply_to,
            headers=headers,
            timeout_ms=round(timeout_s * 1000),
        )
        until = self.clock.monotonic() + timeout_s
        envelope = request.envelope(self.chance.new_id())
        answered = self._expect(correlation)
        try:
            publication = Publication(self._addresses.steps, endpoint, envelope)
            if await self._publisher.send(publication) is Settlement.UNROUTABLE:
                raise UnknownEndpoint(endpoint)
            if not await _done_by(self.clock, answered, until):
                hint = "the handler may still be at it"
                raise DeadlineExceeded(f"the call of {endpoint}", timeout_s, hint)
            reply = StepReply.read(answered.result().envelope)
        finally:
            del self._waiting[correlation]
        if reply.outcome is Outcome.FAILURE and reply.failure is not None:
            failure = reply.failure
            raise CallFailed(endpoint, failure.type, failure.message, failure.traceback)
        return reply

    # ------------------------------------------------------------------------- receiving

    def _expect(self, correlation: str) -> asyncio.Future[Delivery]:
        answered: asyncio.Future[Delivery] = asyncio.get_running_loop().create_future()
        self._waiting[correlation] = answered
        # Whoever waits may be busy with sending when the connection is lost, and never look.
        answered.add_done_callback(_look_at)
        return answered

    def _receive(self, delivery: Delivery) -> None:
        delivery.ack()
        answered = self._waiting.get(delivery.envelope.correlation_id)
        if answered is not None and not answered.done():
            answered.set_result(delivery)


def _look_at(answered: asyncio.Future[Delivery]) -> None:
    if not answered.cancelled():
        answered.exception()


async def _done_by(clock: Clock, future: asyncio.Future[Delivery], when: float) -> bool:
    """Return whether a future is done by a time; wait for whichever comes first."""
    if future.done():
        return True
    rung = asyncio.get_running_loop().create_future()
    alarm = clock.call_at(when, lambda: None if rung.done() else rung.set_result(None))
    try:
        await asyncio.wait({future, rung}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        alarm.cancel()
        rung.cancel()
    return future.done()
