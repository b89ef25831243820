"""The client: asks orchestrators, waits for answers, and calls endpoints directly.

A request is sent again, with the same id, until it is answered or its deadline has passed; see
`flow.runtime.asking`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from flow.errors import BrokerUnavailable, CallFailed, DeadlineExceeded, FlowError, UnknownEndpoint
from flow.ports import Broker, Chance, Clock, Publication, Settlement, Subscription
from flow.runtime.addresses import BUNDLED, Addresses, partition_of
from flow.runtime.asking import ANSWER_WITHIN_S, Asker
from flow.runtime.protocol import Outcome, Request, StepReply, StepRequest
from flow.runtime.publisher import Publisher

__all__ = ["Client"]


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
        self._id = f"{BUNDLED}{chance.new_id()}"
        self._asker = Asker(publisher, clock, chance, addresses.reply_queue(self._id))
        self._subscription: Subscription | None = None
        self._unwatch: Callable[[], None] | None = None
        self._partitions = 0

    async def open(self) -> None:
        """Begin to receive answers."""
        await self._broker.declare(self._addresses.exchanges())
        await self._broker.declare(self._addresses.client(self._id))
        receive = self._asker.receive
        self._subscription = await self._broker.consume(self._asker.reply_to, 1_000, receive)
        self._unwatch = self._broker.watch(self._asker.hear)

    async def close(self) -> None:
        """Receive no more answers; whoever still waits gets BrokerUnavailable."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self._subscription is not None:
            await self._subscription.cancel()
            self._subscription = None
        closed = BrokerUnavailable(self._broker.url, "the client was closed")
        self._asker.lose(closed, for_good=True)

    def lose(self, error: FlowError) -> None:
        """Fail everybody who waits, because no answer can come any more.

        Args:
            error: Why.
        """
        self._asker.lose(error)

    def lose_connection(self) -> None:
        """Fail everybody who waits, and whoever asks from now on: the connection is lost."""
        lost = BrokerUnavailable(self._broker.url, "the connection was lost")
        self._asker.lose(lost, for_good=True)

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
            verb: What to do; see `flow.runtime.orchestrator.requests`.
            arguments: A JSON object.
            execution: The execution that it is about, or an empty string.
            within_s: Seconds within which it has to be answered; None to wait for as long as an
                execution takes.

        Raises:
            FlowError: What the orchestrator refused with.
            DeadlineExceeded: Nobody answered in time.
        """
        request = Request(verb=verb, arguments=arguments, execution=execution, actor=self.actor)
        exchange, key = await self._route(verb, execution)
        return await self._asker.ask(request, exchange, key, within_s)

    async def _route(self, verb: str, execution: str) -> tuple[str, str]:
        """Return the exchange and the routing key that lead to the execution's owner."""
        addresses = self._addresses
        if not execution or verb == "history":
            return addresses.control, ""
        if not self._partitions:
            self._partitions = int((await self.ask("namespace", {}))["partitions"])
        partition = str(partition_of(execution, self._partitions))
        exchange = addresses.start if verb == "start" else addresses.mailbox
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
            reply_to=self._asker.reply_to,
            headers=headers,
            timeout_ms=round(timeout_s * 1000),
        )
        until = self.clock.monotonic() + timeout_s
        envelope = request.envelope(self.chance.new_id())
        with self._asker.expect(correlation) as answered:
            publication = Publication(self._addresses.steps, endpoint, envelope)
            if await self._publisher.send(publication) is Settlement.UNROUTABLE:
                raise UnknownEndpoint(endpoint)
            delivery = await answered.wait(self.clock, until)
        if delivery is None:
            hint = "the handler may still be at it"
            raise DeadlineExceeded(f"the call of {endpoint}", timeout_s, hint)
        reply = StepReply.read(delivery.envelope)
        if reply.outcome is Outcome.FAILURE and reply.failure is not None:
            failure = reply.failure
            raise CallFailed(endpoint, failure.type, failure.message, failure.traceback)
        return reply
