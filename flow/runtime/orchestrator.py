"""The orchestrator: owns partitions, decides about their executions, and has it carried out.

Theory of operation
-------------------
Everything that can happen to an execution arrives in one inbox: messages from the start queues,
mailboxes and the control queue, timers that are due, and what came out of dispatching. One loop
takes items from it, brings the executions that they name into memory, and decides. What comes of
it is gathered in a batch. The committer writes one batch at a time; only then are messages
acknowledged, answers sent, and commands published.

So a message that was acknowledged is in the store, and a command that was published follows from
what is in the store. If a commit fails, or a lease is lost, everything in memory is forgotten and
loaded again: what was not acknowledged comes again by itself.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from flow.clock import sleep
from flow.errors import FlowError, InvalidInput, RequestError, StoreUnavailable
from flow.names import REQUEST_LIMIT
from flow.ports import Delivery, Publication
from flow.runtime import protocol
from flow.runtime.addresses import partition_of
from flow.runtime.decisions import Decisions
from flow.runtime.engine import Engine
from flow.runtime.gate import Gate
from flow.runtime.inbox import Happened, Item, Received, Recover, Resolved, Woken
from flow.runtime.mailbox import Mailbox
from flow.runtime.protocol import Answer, Request, parse_correlation
from flow.runtime.recovery import Recovery
from flow.runtime.requests import Requests
from flow.runtime.starts import Start, earlier_results
from flow.runtime.subscriptions import Consume, Subscriptions
from flow.runtime.tasks import TaskGroup

__all__ = ["Orchestrator"]

_log = logging.getLogger("flow.orchestrator")

RETRY_S: Final = 1.0
"""After so many seconds a store that was away is asked again."""
OPEN_BATCH: Final = 5_000
"""So many executions may be in the batch that waits; then deciding waits for the store."""


class Orchestrator:
    """Owns partitions and decides about their executions.

    Args:
        engine: Its state.
        consume: Starts to receive from a queue of the broker.
    """

    def __init__(
        self,
        engine: Engine,
        consume: Consume,
    ) -> None:
        """Prepare; nothing runs before `run`."""
        self.engine = engine
        self.recovery = Recovery(engine)
        self._requests = Requests(engine)
        self._readers = TaskGroup()
        self._gate = Gate(engine.dispatcher, engine.inbox, engine.settings.unsettled)
        self._subscriptions = Subscriptions(
            consume,
            engine.addresses,
            engine.settings.prefetch,
            self._receive,
        )
        self._decisions = Decisions(engine)
        self._mailbox = Mailbox(self._decisions)

    async def run(self, ready: asyncio.Event) -> None:
        """Decide until cancelled.

        Args:
            ready: Set once the partitions are recovered and their queues are consumed.
        """
        engine = self.engine
        async with self._readers:
            await engine.lifeline.acquire()
            if not engine.leases:
                ready.set()
            await self._subscriptions.open_control()
            try:
                await self._decide_on(ready)
            finally:
                await self.stop_consuming()

    async def _decide_on(self, ready: asyncio.Event) -> None:
        engine = self.engine
        while True:
            items = await engine.inbox.take(1 if engine.careful else engine.settings.batch)
            await self._turn(items)
            if engine.careful:
                engine.careful -= 1
                await engine.committer.drained()
            engine.inbox.finish()
            if not engine.inbox:
                ready.set()
            # Others get a turn, the committer first of all, however full the inbox is.
            await asyncio.sleep(0)

    async def stop_consuming(self) -> None:
        """Take no more messages."""
        await self._subscriptions.close()

    def _receive(self, delivery: Delivery) -> None:
        self.engine.inbox.put(Received(delivery))

    # ------------------------------------------------------------------------ the loop

    async def _turn(self, items: Sequence[Item]) -> None:
        engine = self.engine
        items = self._gate.sift(items)
        for item in items:
            if isinstance(item, Recover):
                await self._recover(item)
        if not await self._are_in(items):
            engine.inbox.put_back(items)
            return
        for item in items:
            self._handle(item)
        engine.committer.notify()
        if len(engine.committer.batch.touches) > OPEN_BATCH:
            await engine.committer.drained()
        engine.residents.evict()

    async def _are_in(self, items: Sequence[Item]) -> bool:
        """Bring the executions that items name into memory, and return whether they are there.

        They are not if the store is away, or if everything was forgotten in the meantime.
        """
        engine = self.engine
        generation = engine.residents.generation
        try:
            await self._bring_in(items)
        except StoreUnavailable as error:
            _log.warning("executions cannot be loaded, which is tried again: %s", error)
            await sleep(engine.clock, RETRY_S)
            return False
        return generation == engine.residents.generation

    async def _bring_in(self, items: Sequence[Item]) -> None:
        """Load the executions that items name, in one go."""
        engine = self.engine
        names: list[str] = []
        for item in items:
            match item:
                case Received(delivery=delivery):
                    names += _executions_of(delivery)
                case Happened(execution=execution):
                    names.append(execution)
                case Resolved(request=request):
                    names.append(request.execution)
                case Woken(names=woken):
                    await self._look(woken)
                    names += [name for name in woken if not name.startswith("@")]
                case _:
                    pass
        # What is just being deleted is in the store still, and must not come back.
        wanted = [name for name in names if name not in engine.deleting]
        for live in await engine.residents.ensure(wanted):
            engine.wake(live)

    async def _look(self, names: Sequence[str]) -> None:
        for name in names:
            if name.startswith("@"):
                await self.recovery.look(int(name[1:]))

    def _handle(self, item: Item) -> None:
        match item:
            case Received(delivery=delivery):
                self._guard(delivery, lambda: self._take(delivery))
            case Resolved(delivery=delivery):
                self._guard(delivery, lambda: self._start_resolved(item))
            case Happened():
                self._decisions.happened(item.execution, item.event, item.settles)
            case Woken(names=names):
                for name in names:
                    self._decisions.wake(name)
            case _:
                pass

    def _guard(self, delivery: Delivery, action: Callable[[], None]) -> None:
        """Do something with a message; one that is poison never stops the others."""
        try:
            action()
        except FlowError as error:
            self._undeliverable(delivery, error)
        except Exception:  # noqa: BLE001 - whatever it is, the other messages have to go on
            _log.exception("a message of type %r cannot be handled", delivery.envelope.type)
            self.engine.counters["poison"] += 1
            self._undeliverable(delivery, RequestError("the orchestrator failed; its log says how"))

    def _undeliverable(self, delivery: Delivery, error: FlowError) -> None:
        self.engine.counters[type(error).__name__] += 1
        envelope = delivery.envelope
        if not envelope.type.startswith(protocol.REQUEST_PREFIX):
            _log.warning("a message of type %r is not understood: %s", envelope.type, error)
            delivery.reject()
            return
        request = Request(
            verb="",
            arguments={},
            correlation=envelope.correlation_id,
            reply_to=envelope.reply_to,
        )
        self._requests.answer_after_commit(request, Answer(error=error))
        self._acknowledge(delivery)

    def _acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge a message once everything that was decided so far is durable."""
        self.engine.committer.batch.deliveries.append(delivery)

    # ------------------------------------------------------------------------ messages

    def _take(self, delivery: Delivery) -> None:
        envelope = delivery.envelope
        if envelope.type.startswith(protocol.REQUEST_PREFIX):
            self._take_request(delivery)
            return
        self._mailbox.take(delivery)
        self._acknowledge(delivery)

    def _take_request(self, delivery: Delivery) -> None:
        if len(delivery.envelope.body) > 2 * REQUEST_LIMIT:
            raise InvalidInput("the request", "its body is too large")
        request = Request.read(delivery.envelope)
        reader = self._requests.reading.get(request.verb)
        if reader is not None:
            self._readers.start(self._read(delivery, request), f"request {request.verb}")
            return
        handler = self._requests.about_one.get(request.verb)
        if handler is None:
            raise InvalidInput("the request", f"there is no verb {request.verb!r}")
        if partition_of(request.execution, self.engine.partitions) not in self.engine.leases:
            self._forward(delivery, request.execution)
            return
        earlier = request.arguments.get("results_from")
        is_known = self.engine.residents.get(request.execution) is not None
        if request.verb == "start" and earlier and not is_known:
            self._readers.start(self._resolve(delivery, request), "results of an execution")
            return
        handler(request)
        self._acknowledge(delivery)

    def _forward(self, delivery: Delivery, execution: str) -> None:
        """Pass a message on to the mailbox of the execution's partition."""
        partition = partition_of(execution, self.engine.partitions)
        key = str(partition)
        publication = Publication(self.engine.addresses.mailbox, key, delivery.envelope)
        self.engine.publisher.send(publication).add_done_callback(
            lambda settled: (
                delivery.requeue()
                if settled.cancelled() or settled.exception() is not None
                else delivery.ack()
            ),
        )

    async def _read(self, delivery: Delivery, request: Request) -> None:
        try:
            answer = Answer(await self._requests.reading[request.verb](request))
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it
            answer = Answer(error=_told(error, request))
        self._requests.answer(request, answer)
        delivery.ack()

    async def _resolve(self, delivery: Delivery, request: Request) -> None:
        """Take results from an earlier execution, and come back to the start with them."""
        try:
            wanted = Start.read(request)
            earlier = str(request.arguments["results_from"])
            results = await earlier_results(self.engine, earlier, wanted.workflow, wanted.options)
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it
            self._requests.answer(request, Answer(error=_told(error, request)))
            delivery.ack()
            return
        self.engine.inbox.put(Resolved(delivery, request, results))

    def _start_resolved(self, item: Resolved) -> None:
        wanted = Start.read(item.request)
        results = {**item.results, **wanted.results}
        self._requests.start(item.request, wanted.with_results(results))
        self._acknowledge(item.delivery)

    # ---------------------------------------------------------------------- partitions

    async def _recover(self, item: Recover) -> None:
        await self.recovery.recover(item)
        leases = self.engine.leases
        await self._subscriptions.keep(leases)
        await self._subscriptions.open(each for each in item.partitions if each in leases)


def _told(error: Exception, request: Request) -> FlowError:
    """Return what whoever asked is told of an error; one that is not ours is logged."""
    if isinstance(error, FlowError):
        return error
    _log.error("the request %r cannot be answered", request.verb, exc_info=error)
    return RequestError(f"the request failed: {error!r}")


def _executions_of(delivery: Delivery) -> list[str]:
    """Return the execution that a message is about, if it says so in a way that makes sense."""
    envelope = delivery.envelope
    if envelope.type.startswith(protocol.REQUEST_PREFIX):
        named = envelope.headers.get("flow-execution", "")
        return [named] if named else []
    try:
        return [parse_correlation(envelope.correlation_id)[0]]
    except FlowError:
        # The handler says what is wrong with it.
        return []
