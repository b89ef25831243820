"""The worker: receives requests, has handlers answer them, and settles the requests.

Theory of operation
-------------------
A request is in the worker's hands from its delivery until it is settled, and the broker keeps it
for as long. It is acked after the broker has confirmed the reply, and never before: whatever
happens in between, the request comes again, to this worker or to another.

So requests come twice. A request that is being worked on is not worked on again: the second
delivery is settled together with the first. One that was answered a short while ago gets the same
reply once more. One that was cancelled is acked, now and for an hour to come. All this is memory
of this process and spares work; correctness rests on whoever reads the replies.

Each service's queue hands out at most `concurrency` unsettled requests, and at most `concurrency`
attempts are made at a time in all. An attempt holds its turn until its reply is confirmed, so that
a broker that takes no replies gets no new work done, and nothing piles up here.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Final

from flow import codec
from flow.clock import cancel_after
from flow.errors import CorruptRecord, UnknownEndpoint, listed
from flow.names import service_of
from flow.ports import Broker, Delivery, Envelope
from flow.runtime.addresses import Addresses
from flow.runtime.answered import Answered, RequestKey, key_of
from flow.runtime.attempts import Attempt, Ending, Hand
from flow.runtime.cancellations import Cancellation, Cancellations
from flow.runtime.intake import Intake, Source
from flow.runtime.news import News
from flow.runtime.outcomes import not_usable
from flow.runtime.protocol import REFUSED, REQUEST, StepReply, StepRequest
from flow.runtime.publisher import Publisher
from flow.runtime.replies import Replies
from flow.runtime.service import Endpoint, WorkerPorts, WorkerSettings
from flow.runtime.tasks import TaskGroup
from flow.runtime.watchdog import Watchdog

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
        rejected: Messages that are no requests, and were dead-lettered or answered so.
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


@dataclass(slots=True)
class _Counters:
    answered: int = 0
    unanswered: int = 0
    joined: int = 0
    repeated: int = 0
    cancelled: int = 0
    refused: int = 0
    rejected: int = 0


class Worker:
    """Serves endpoints.

    Args:
        broker: The broker, open.
        publisher: Publishes replies; it has to run until the worker has ended.
        addresses: The names of the namespace.
        endpoints: What is served, by name.
        ports: What is needed of the machine.
        settings: How much it takes on.
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
        self._settings = settings = settings or WorkerSettings()
        self._endpoints = dict(endpoints)
        self._ports = ports
        self._new_id = ports.chance.new_id
        self._home = f"{addresses.namespace}."
        worker, names = ports.chance.new_id(), tuple(self._endpoints)
        cancel = Source(
            addresses.cancel_queue(worker), CANCEL_PREFETCH, self._receive_cancel, until_end=True
        )
        requests = [
            Source(addresses.service_queue(service), settings.concurrency, self._receive)
            for service in dict.fromkeys(map(service_of, names))
        ]
        topology = (addresses.exchanges(), addresses.worker(worker, names))
        self._intake = Intake(broker, ports.clock, ports.chance, topology, (cancel, *requests))
        self._news = News(publisher, ports.chance)
        self._replies = Replies(publisher, ports.clock, ports.chance, settings.unroutable_s)
        self._answered = Answered(settings.answered_items, settings.answered_bytes)
        self._cancellations = Cancellations(
            ports.clock, settings.cancelled_items, settings.cancelled_for_s
        )
        self._watchdog = Watchdog(ports.clock, settings.loop_lag_s)
        self._turns = asyncio.Semaphore(settings.concurrency)
        self._tasks = TaskGroup()
        self._counters = _Counters()
        self._attempts: dict[object, Attempt] = {}
        # Deliveries whose task has not begun, by identity; and those to give back once closed.
        self._new: dict[int, Delivery] = {}
        self._late: list[Delivery] = []
        self._in_hand = 0
        self._is_draining = False
        self._is_closed = False
        self._is_running = False
        self._is_quiet = asyncio.Event()
        self._is_quiet.set()
        self._is_drained = asyncio.Event()
        self._has_ended = asyncio.Event()

    # ------------------------------------------------------------------------- the loop

    async def run(self) -> None:
        """Serve until it is drained or cancelled. Requests that are unsettled then go back.

        Raises:
            ConfigurationError: Something on the broker is declared differently.
        """
        self._is_running = True
        try:
            async with TaskGroup() as loops:
                loops.start(self._watchdog.run(), "watchdog")
                loops.start(self._intake.run(), "intake")
                async with self._tasks:
                    await self._wait_drained()
        finally:
            # Tasks that were cancelled before they began could not do it themselves.
            self._give_back(self._new.values())
            self._is_quiet.set()
            self._has_ended.set()

    async def drain(self) -> None:
        """Receive nothing more, let handlers end, and return when everything is settled.

        Requests that wait for their turn go back at once, and whatever is left after `drain_s`
        is cancelled, may clean up for a few seconds, and goes back too.
        """
        await self._close()
        self._drop_waiting()
        await self._wait_quiet(self._settings.drain_s)
        if self._attempts:
            names = listed(dict.fromkeys(attempt.name for attempt in self._attempts.values()))
            _log.warning("gave back %d requests unanswered: %s", len(self._attempts), names)
        for attempt in list(self._attempts.values()):
            attempt.abandon()
        await self._wait_quiet(CLEANUP_S)
        self._is_drained.set()
        if self._is_running:
            await self._has_ended.wait()

    def reconnect(self) -> None:
        """Declare and consume everything again, because the connection is another one.

        The broker has given out the requests of the old one again.
        """
        self._drop_waiting()
        self._intake.reconnect()

    async def wait_open(self) -> None:
        """Wait until requests are being received."""
        await self._intake.is_open.wait()

    def snapshot(self) -> WorkerSnapshot:
        """Return what the worker does, and has done so far."""
        running = sum(attempt.has_begun for attempt in self._attempts.values())
        return WorkerSnapshot(
            is_open=self._intake.is_open.is_set(),
            running=running,
            waiting=len(self._attempts) - running,
            **asdict(self._counters),
        )

    # ------------------------------------------------------------------- what is received

    def _receive(self, delivery: Delivery) -> None:
        if self._is_draining:
            self._give_back([delivery])
            return
        self._in_hand += 1
        self._is_quiet.clear()
        self._new[id(delivery)] = delivery
        self._tasks.start(self._serve(delivery), "request")

    def _receive_cancel(self, delivery: Delivery) -> None:
        delivery.ack()
        try:
            cancellation = Cancellation.read(delivery.envelope)
        except CorruptRecord as error:
            _log.warning("%s", error)
            return
        self._cancellations.remember(cancellation)
        for attempt in list(self._attempts.values()):
            if cancellation.covers(attempt.request):
                attempt.cancel()

    async def _serve(self, delivery: Delivery) -> None:
        del self._new[id(delivery)]
        hand = Hand(delivery)
        try:
            await self._handle(delivery, hand)
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
            if not self._in_hand:
                self._is_quiet.set()

    async def _handle(self, delivery: Delivery, hand: Hand) -> None:
        envelope = delivery.envelope
        if self._is_draining:
            self._give_back(hand.take())
            return
        if not _is_sane(envelope, self._home):
            self._counters.rejected += 1
            self._reject(hand, envelope, "it is no request, or wants its reply elsewhere")
            return
        try:
            request = StepRequest.read(envelope, delivery.routing_key)
        except CorruptRecord as error:
            corrupt = not_usable(error).envelope(self._new_id(), envelope.correlation_id)
            self._counters.rejected += 1
            await self._decline(hand, envelope, corrupt, str(error))
            return
        if self._cancellations.cover(request):
            self._counters.cancelled += 1
            hand.ack()
            return
        endpoint = self._endpoints.get(request.endpoint)
        if endpoint is None:
            self._counters.refused += 1
            unknown = UnknownEndpoint(request.endpoint, list(self._endpoints))
            refusal = _refusal(unknown, request, self._new_id())
            await self._decline(hand, envelope, refusal, str(unknown))
            return
        await self._answer(hand, request, endpoint, key_of(envelope, request.endpoint))

    # ----------------------------------------------------------------- what becomes of it

    async def _answer(
        self, hand: Hand, request: StepRequest, endpoint: Endpoint, key: RequestKey | None
    ) -> None:
        running = self._attempts.get(key)
        if running is not None:
            self._counters.joined += 1
            for delivery in hand.take():
                running.hand.join(delivery)
            return
        saved = self._answered.get(key) if key else None
        if saved is not None:
            self._counters.repeated += 1
            again = replace(saved, message_id=self._new_id())
            await self._replies.deliver(request.reply_to, again)
            hand.ack()
            return
        attempt = Attempt(request, endpoint, hand, self._ports, self._news.heartbeat)
        name = key or attempt
        self._attempts[name] = attempt
        try:
            await self._attempt(attempt, key)
        finally:
            del self._attempts[name]
            if attempt.has_begun:
                self._turns.release()

    async def _attempt(self, attempt: Attempt, key: RequestKey | None) -> None:
        reply: StepReply | None = None
        with attempt.scope:
            await self._turns.acquire()
            attempt.has_begun = True
            if attempt.request.tell_start and attempt.request.reply_to:
                await self._news.started(attempt.request)
            self._watchdog.enter(attempt.name)
            try:
                reply = await attempt.run()
            finally:
                self._watchdog.leave(attempt.name)
        match attempt.result(reply):
            case Ending.CANCELLED:
                self._counters.cancelled += 1
                attempt.hand.ack()
            case Ending.ABANDONED:
                attempt.hand.requeue()
            case StepReply() as result:
                await self._reply(attempt, key, result)
                attempt.hand.ack()

    async def _reply(self, attempt: Attempt, key: RequestKey | None, reply: StepReply) -> None:
        request = attempt.request
        envelope = reply.envelope(self._new_id(), request.correlation)
        if await self._replies.deliver(request.reply_to, envelope):
            self._counters.answered += 1
        else:
            self._counters.unanswered += 1
        if key:
            self._answered.put(key, envelope)

    async def _decline(self, hand: Hand, envelope: Envelope, reply: Envelope, reason: str) -> None:
        """Tell whoever waits, and if nobody does the person who looks after the dead letters."""
        if not envelope.reply_to:
            self._reject(hand, envelope, reason)
            return
        await self._replies.deliver(envelope.reply_to, reply)
        hand.ack()

    def _reject(self, hand: Hand, envelope: Envelope, reason: str) -> None:
        _log.warning("dead-lettered the message %s: %s", envelope.message_id, reason)
        hand.reject()

    # -------------------------------------------------------------------------- ending

    def _drop_waiting(self) -> None:
        for attempt in list(self._attempts.values()):
            if not attempt.has_begun:
                attempt.abandon()

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

    async def _wait_quiet(self, seconds: float) -> None:
        with cancel_after(self._ports.clock, seconds):
            await self._is_quiet.wait()

    async def _wait_drained(self) -> None:
        try:
            await self._is_drained.wait()
        finally:
            await self._close()
            await self._intake.end()


def _is_sane(envelope: Envelope, home: str) -> bool:
    """Return whether it may be a request, and wants its reply in our namespace or nowhere."""
    return envelope.type in {REQUEST, ""} and (
        not envelope.reply_to or envelope.reply_to.startswith(home)
    )


def _refusal(error: UnknownEndpoint, request: StepRequest, message_id: str) -> Envelope:
    """Return the message that another worker may know the endpoint: no failure of the step."""
    body = codec.dumps(codec.encode_error(error))
    headers = {"flow-endpoint": request.endpoint}
    return Envelope(REFUSED, body, message_id, request.correlation, "", headers)
