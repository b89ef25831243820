"""The worker: receives requests, has handlers answer them, and settles the requests.

Theory of operation
-------------------
A request is in the worker's hands from its delivery until it is settled, and the broker keeps it
for as long. It is acked after the broker has confirmed the reply, and not before (but see the
performer for long steps): whatever happens in between, the request comes again, to this worker
or to another.

So requests come twice. One that is being worked on, or was answered a short while ago, is not
worked on again. One that was cancelled is acked, now and for an hour to come; what is known of it
is told, because its step may have to be undone.

Each service's queue hands out at most `concurrency` unsettled requests, and at most `concurrency`
attempts are made at a time in all. An attempt holds its turn until its reply is confirmed, so that
a broker that takes no replies gets no new work done, and nothing piles up here.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from flow import codec
from flow.clock import cancel_after
from flow.errors import ConfigurationError, CorruptRecord, UnknownEndpoint, listed
from flow.names import service_of
from flow.ports import Broker, BrokerEvent, Delivery, Envelope
from flow.runtime.addresses import Addresses
from flow.runtime.protocol import DENIED, PERMIT, REFUSED, REQUEST, StepRequest
from flow.runtime.publisher import Publisher
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.worker.answered import key_of
from flow.runtime.worker.attempts import Hand
from flow.runtime.worker.cancellations import Cancellation, Cancellations
from flow.runtime.worker.intake import Intake, Source
from flow.runtime.worker.outcomes import VALIDATE, not_usable
from flow.runtime.worker.performer import Performer
from flow.runtime.worker.stepping import run_apart
from flow.runtime.worker.subscriber import Subscriber

__all__ = ["Worker", "WorkerSnapshot"]

_log = logging.getLogger("flow.worker")

CANCEL_PREFETCH: Final = 200
CLEANUP_S: Final = 5.0
"""Seconds that cancelled handlers have to clean up when the worker ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSnapshot:
    """What a worker does at a moment, and what it has done so far.

    Args:
        is_open: Whether it receives requests.
        running: Attempts that have begun and are not settled.
        waiting: Requests that wait for their turn.
        answered: Attempts whose reply was confirmed.
        unanswered: Attempts whose reply nobody was there to read.
        joined: Requests that came while the same one was worked on.
        repeated: Requests that were answered before and got the same reply again.
        cancelled: Requests that were not wanted any more, before or while they ran.
        refused: Requests for endpoints that this worker does not have.
        rejected: Messages that nobody here can use, and were dead-lettered or answered so.
        denied: Requests that somebody else has the permit for.
        released: Long attempts that were given up because the worker ended.
    """

    is_open: bool = False
    running: int = 0
    waiting: int = 0
    answered: int = 0
    unanswered: int = 0
    joined: int = 0
    repeated: int = 0
    cancelled: int = 0
    refused: int = 0
    rejected: int = 0
    denied: int = 0
    released: int = 0


class Worker:
    """Serves endpoints.

    Args:
        broker: The broker, open.
        publisher: Publishes replies; it has to run until the worker has ended.
        addresses: The names of the namespace.
        endpoints: What is served, by name.
        ports: What is needed of the machine.
        settings: How much it takes on.

    Raises:
        ConfigurationError: An endpoint needs an inbox, and there is none.
    """

    def __init__(
        self,
        broker: Broker,
        publisher: Publisher,
        addresses: Addresses,
        endpoints: Mapping[str, Endpoint],
        ports: WorkerPorts,
        settings: WorkerSettings | None = None,
    ) -> None:
        """Prepare; nothing is received before `run`."""
        _expect_inbox(endpoints.values(), ports)
        self._settings = settings = settings or WorkerSettings()
        self._broker = broker
        self._endpoints = {name: each for name, each in endpoints.items() if not each.topics}
        self._ports = ports
        self._new_id = ports.chance.new_id
        self._home = f"{addresses.namespace}."
        worker = ports.chance.new_id()
        subscribers = [each for each in endpoints.values() if each.topics]
        self._intake = self._make_intake(broker, addresses, worker, subscribers)
        self._performer = Performer(worker, addresses.namespace, publisher, ports, settings)
        self._subscriber = Subscriber(self._performer, ports)
        self._cancellations = Cancellations(
            ports.clock, settings.cancelled_items, settings.cancelled_for_s
        )
        self._performer.on_settled = self._look_quiet
        self._tasks = self._performer.tasks
        self._counters = self._performer.counters
        # What has come in and is not served yet, and by whom; and what to give back once closed.
        self._new: deque[tuple[Delivery, Endpoint | None]] = deque()
        self._is_serving = False
        self._late: list[Delivery] = []
        self._in_hand = 0
        self._is_draining = False
        self._is_closed = False
        self._is_running = False
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()
        self._is_drained = asyncio.Event()
        self._has_ended = asyncio.Event()

    def _make_intake(
        self, broker: Broker, addresses: Addresses, worker: str, subscribers: Sequence[Endpoint]
    ) -> Intake:
        names, concurrency = tuple(self._endpoints), self._settings.concurrency
        topology = [addresses.exchanges(), addresses.worker(worker, names)]
        cancel = addresses.cancel_queue(worker)
        sources = [Source(cancel, CANCEL_PREFETCH, self._receive_cancel, until_end=True)]
        for service in dict.fromkeys(map(service_of, names)):
            queue = addresses.service_queue(service)
            sources.append(Source(queue, concurrency, self._receive))
        for endpoint in subscribers:
            queue = addresses.subscriber_queue(endpoint.name)
            topology.append(addresses.subscriber(endpoint.name, endpoint.topics))
            sources.append(Source(queue, concurrency, self._receiver(endpoint)))
        ports = self._ports
        return Intake(broker, ports.clock, ports.chance, tuple(topology), tuple(sources))

    # ------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Serve until it is drained or cancelled. Requests that are unsettled then go back.

        Raises:
            ConfigurationError: Something on the broker is declared differently.
        """
        self._is_running = True
        unwatch = self._broker.watch(self._hear)
        try:
            async with TaskGroup() as loops:
                loops.start(self._performer.watchdog.run(), "watchdog")
                loops.start(self._intake.run(), "intake")
                async with self._tasks:
                    await self._wait_drained()
        finally:
            unwatch()
            # A task that was cancelled before it began could not do it itself.
            self._give_back([delivery for delivery, _ in self._new])
            self._performer.give_back()
            self._is_quiet.set()
            self._has_ended.set()

    async def drain(self) -> None:
        """Receive nothing more, let handlers end, and return when everything is settled.

        Requests that wait for their turn go back at once, and whatever is left after `drain_s`
        is cancelled, may clean up for a few seconds, and goes back too. Of a long attempt, whose
        request is no more, the sender is told.
        """
        await self._close()
        self._performer.drop_waiting()
        await self._wait_quiet(self._settings.drain_s)
        self._performer.abandon()
        await self._wait_quiet(CLEANUP_S)
        self._is_drained.set()
        if self._is_running:
            await self._has_ended.wait()

    async def wait_open(self) -> None:
        """Wait until requests are being received."""
        await self._intake.is_open.wait()

    def snapshot(self) -> WorkerSnapshot:
        """Return what the worker does, and has done so far."""
        return WorkerSnapshot(
            is_open=self._intake.is_open.is_set() and self._broker.health.is_connected,
            running=self._performer.running,
            waiting=self._performer.waiting,
            **asdict(self._counters),
        )

    # ------------------------------------------------------------------- what is received

    def _hear(self, event: BrokerEvent) -> None:
        if event is BrokerEvent.LOST:
            # What waits for its turn comes again, here or elsewhere; what runs is joined by it.
            self._performer.drop_waiting()

    def _receiver(self, endpoint: Endpoint) -> Callable[[Delivery], None]:
        return lambda delivery: self._receive(delivery, endpoint)

    def _receive(self, delivery: Delivery, subscriber: Endpoint | None = None) -> None:
        if self._is_draining:
            self._give_back([delivery])
            return
        if not self._in_hand:
            self._is_quiet.clear()
        self._in_hand += 1
        self._new.append((delivery, subscriber))
        if not self._is_serving:
            self._is_serving = True
            self._serve_on()

    def _receive_cancel(self, delivery: Delivery) -> None:
        delivery.ack()
        kind = delivery.envelope.type
        if kind in {PERMIT, DENIED}:
            self._performer.permits.answer(delivery.envelope, is_granted=kind == PERMIT)
            return
        try:
            cancellation = Cancellation.read(delivery.envelope)
        except CorruptRecord as error:
            _log.warning("%s", error)
            return
        self._cancellations.remember(cancellation)
        self._performer.cancel(cancellation)

    def _serve_on(self) -> None:
        """Have a task serve what has come in, if there is anything left."""
        self._is_serving = bool(self._new)
        if self._is_serving:
            self._tasks.start(self._serve_new(), "requests")

    async def _serve_new(self) -> None:
        """Serve what has come in, one after the other, until one of them waits.

        Most handlers of a busy flow wait for nothing, and a task is dearer than they are. As soon
        as one waits, this task is its own, and another one serves the rest.
        """
        task, has_waited = asyncio.current_task(), False
        try:
            # Who has cancelled the task in vain must not interrupt somebody else.
            while self._new and not has_waited and not (task and task.cancelling()):
                serving = self._serve(*self._new.popleft())
                has_waited = await run_apart(serving, self._serve_on)
        finally:
            if not has_waited:
                self._serve_on()

    async def _serve(self, delivery: Delivery, subscriber: Endpoint | None) -> None:
        hand = Hand(delivery)
        try:
            if self._is_draining:
                self._give_back(hand.take())
            elif subscriber is None:
                await self._handle(delivery, hand)
            else:
                await self._subscriber.take(hand, delivery.envelope, subscriber)
        except Exception:  # noqa: BLE001 - nobody else would look at it
            # Not the handler's: a fault of ours, which must neither stop us nor come again.
            _log.exception("cannot serve the request %s", delivery.envelope.correlation_id)
            self._counters.rejected += 1
            hand.reject()
        except BaseException:
            hand.requeue()
            raise
        finally:
            self._in_hand -= 1
            self._look_quiet()

    async def _handle(self, delivery: Delivery, hand: Hand) -> None:
        envelope = delivery.envelope
        if not _is_sane(envelope, self._home):
            self._counters.rejected += 1
            reason = "it is no request, or wants its reply elsewhere"
            self._performer.reject(hand, envelope, reason)
            return
        try:
            request = StepRequest.read(envelope, delivery.routing_key)
        except CorruptRecord as error:
            corrupt = not_usable(error, VALIDATE).envelope(self._new_id(), envelope.correlation_id)
            self._counters.rejected += 1
            await self._performer.decline(hand, envelope, corrupt, str(error))
            return
        key = key_of(envelope, request.endpoint)
        if self._cancellations.cover(request):
            await self._performer.answer(hand, request, None, key)
            return
        endpoint = self._endpoints.get(request.endpoint)
        if endpoint is None:
            self._counters.refused += 1
            unknown = UnknownEndpoint(request.endpoint, list(self._endpoints))
            refusal = _refusal(unknown, request, self._new_id())
            await self._performer.decline(hand, envelope, refusal, str(unknown))
            return
        await self._performer.answer(hand, request, endpoint, key)

    # -------------------------------------------------------------------------- ending

    def _give_back(self, deliveries: Iterable[Delivery]) -> None:
        if not self._is_closed:
            # While we still consume, the broker would only bring them here again.
            self._late += deliveries
            return
        for delivery in deliveries:
            delivery.requeue()

    async def _close(self) -> None:
        self._is_draining = True
        await self._intake.close()
        self._is_closed = True
        late, self._late = self._late, []
        self._give_back(late)

    def _look_quiet(self) -> None:
        if not self._in_hand and not self._performer.replying:
            self._is_quiet.set()

    async def _wait_quiet(self, seconds: float) -> None:
        with cancel_after(self._ports.clock, seconds):
            await self._is_quiet.wait()

    async def _wait_drained(self) -> None:
        try:
            await self._is_drained.wait()
        finally:
            await self._close()
            await self._intake.end()


def _expect_inbox(endpoints: Iterable[Endpoint], ports: WorkerPorts) -> None:
    names = [endpoint.name for endpoint in endpoints if endpoint.exactly_once]
    if names and ports.inbox is None:
        reason = "exactly_once=True needs an inbox; give the flow one: inbox='postgresql://…'"
        raise ConfigurationError(f"the worker of {listed(names)}", reason)


def _is_sane(envelope: Envelope, home: str) -> bool:
    """Return whether it may be a request, and wants its reply in our namespace or nowhere."""
    return (envelope.type == REQUEST or not envelope.type) and (
        not envelope.reply_to or envelope.reply_to.startswith(home)
    )


def _refusal(error: UnknownEndpoint, request: StepRequest, message_id: str) -> Envelope:
    """Return the message that another worker may know the endpoint: no failure of the step."""
    body = codec.dumps(codec.encode_error(error))
    headers = {"flow-endpoint": request.endpoint}
    return Envelope(REFUSED, body, message_id, request.correlation, "", headers)
