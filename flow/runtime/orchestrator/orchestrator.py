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
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow.clock import sleep
from flow.errors import FlowError, InvalidInput, RequestError, StoreUnavailable, UnavailableError
from flow.names import REQUEST_LIMIT
from flow.ports import Delivery, Publication
from flow.runtime import protocol
from flow.runtime.asking import Asker
from flow.runtime.orchestrator.answering import Answering
from flow.runtime.orchestrator.decisions import Decisions
from flow.runtime.orchestrator.engine import Engine, note_arrival
from flow.runtime.orchestrator.gate import Gate
from flow.runtime.orchestrator.inbox import (
    Happened,
    Item,
    Received,
    Resolved,
    Source,
    Unparked,
    Woken,
)
from flow.runtime.orchestrator.mailbox import Mailbox
from flow.runtime.orchestrator.members import PRUNED, Members
from flow.runtime.orchestrator.partitions import Partitions
from flow.runtime.orchestrator.reading import Reading, told
from flow.runtime.orchestrator.requests import Requests
from flow.runtime.orchestrator.starts import Start, earlier_results
from flow.runtime.orchestrator.subscriptions import Consume, Subscriptions
from flow.runtime.orchestrator.triggers import Triggers
from flow.runtime.protocol import Answer, Request
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
        members: The other orchestrators.

    Attributes:
        asker: Asks the owners of other partitions.
    """

    def __init__(self, engine: Engine, consume: Consume, members: Members) -> None:
        """Prepare; nothing runs before `run`."""
        self.engine = engine
        self.asker = Asker(engine.publisher, engine.clock, engine.chance, members.queue)
        members.on_answer(self.asker.receive)
        members.on(PRUNED, self._forget_pruned)
        self._answering = Answering(
            engine.publisher,
            engine.addresses,
            engine.clock,
            engine.chance,
        )
        self._requests = Requests(
            engine,
            self._answering,
            self.asker,
            members,
        )
        self._triggers = Triggers(engine, self._answering)
        self._readers = TaskGroup()
        self._reading = Reading(self._requests, self._readers)
        self._gate = Gate(engine.dispatcher, engine.inbox, engine.settings.unsettled)
        self._subscriptions = Subscriptions(
            consume,
            engine.addresses,
            engine.settings.prefetch,
            engine.inbox.put,
            engine.clock,
            engine.chance,
        )
        self.partitions = Partitions(engine, self._subscriptions, self._gate, members)
        self._decisions = Decisions(engine)
        self._mailbox = Mailbox(self._decisions)

    async def run(self, ready: asyncio.Event) -> None:
        """Decide until cancelled.

        Args:
            ready: Set once the partitions are recovered and their queues are consumed.

        Raises:
            StoreUnavailable: The store is away at the start. Later it is waited for.
        """
        async with self._readers:
            self._readers.start(self._subscriptions.run(), "subscriptions")
            await self.partitions.lifeline.join()
            await self._subscriptions.open_shared()
            try:
                await self._decide_on(ready)
            finally:
                await self.stop_consuming()

    async def _decide_on(self, ready: asyncio.Event) -> None:
        engine = self.engine
        while True:
            if engine.inbox.is_calm and engine.holdings.all_open:
                ready.set()
            await self._turn(await _next_items(engine))
            if engine.careful:
                engine.careful -= 1
                await engine.committer.drained()
            engine.inbox.finish()
            # Others get a turn, the committer first of all, however full the inbox is.
            await asyncio.sleep(0)

    def _forget_pruned(self, news: Mapping[str, Any]) -> None:
        before_ms = news.get("before_ms")
        if isinstance(before_ms, int):
            self.engine.residents.forget_ended(before_ms)

    async def stop_consuming(self) -> None:
        """Take no more messages."""
        await self._subscriptions.end()

    # ------------------------------------------------------------------------ the loop

    async def _turn(self, items: Sequence[Item]) -> None:
        engine, admission = self.engine, self.partitions.admission
        items = admission.admit(await self.partitions.keep_house(self._gate.sift(items)))
        looked_at, missing = _looked_at(items), self._missing(items)
        if looked_at or missing:
            if not await self._bring_in(looked_at, missing):
                engine.inbox.put_back(items)
                return
            # What was lost while they were loaded has to be left alone.
            items = admission.admit(items)
        for item in items:
            self._handle(item)
        engine.committer.notify()
        if len(engine.committer.batch.touches) > OPEN_BATCH:
            await engine.committer.drained()
        engine.residents.evict()

    async def _bring_in(self, partitions: Sequence[int], names: Sequence[str]) -> bool:
        """Look what is due in partitions, and bring executions into memory, all in one go.

        Returns:
            Whether they are there. They are not if the store is away, or if somebody was forgotten
            in the meantime.
        """
        engine = self.engine
        generation = engine.residents.generation
        try:
            for partition in partitions:
                await self.partitions.recovery.look(partition)
            for live in await engine.residents.ensure(names):
                note_arrival(engine, live)
        except StoreUnavailable as error:
            _log.warning("executions cannot be loaded, which is tried again: %s", error)
            engine.trouble.note(error)
            await sleep(engine.clock, RETRY_S * (0.5 + 0.5 * engine.chance.random()))
            return False
        return generation == engine.residents.generation

    def _missing(self, items: Sequence[Item]) -> list[str]:
        """Return the executions that items name and that are not in memory, and may be."""
        engine, names = self.engine, list[str]()
        for item in items:
            if isinstance(item, Received):
                # Nearly all are messages, and about one execution.
                names.append(item.execution)
            else:
                names += _names_of(item)
        # What is just being deleted is in the store still, and must not come back. What is somebody
        # else's is not ours to load.
        return [
            name
            for name in engine.residents.absent(names)
            if name
            and name not in engine.deleting
            and engine.holdings.is_open(engine.partition_of(name))
        ]

    def _handle(self, item: Item) -> None:
        """Do what an item asks for; one that is poison never stops the others."""
        match item:
            case Received() | Resolved():
                try:
                    self._take(item) if isinstance(item, Received) else self._start_resolved(item)
                except FlowError as error:
                    self._undeliverable(item, error)
                except Exception:  # noqa: BLE001 - whatever it is, the others have to go on
                    kind = item.delivery.envelope.type
                    _log.exception("a message of type %r cannot be handled", kind)
                    self.engine.counters["poison"] += 1
                    reason = "the orchestrator failed; its log says how"
                    self._undeliverable(item, RequestError(reason))
            case Happened():
                self._decisions.happened(item.execution, item.event, item.settles)
            case Unparked(command=command):
                name, residents = command.execution, self.engine.residents
                is_broken = name in residents.parked
                self.engine.dispatcher.unpark(command, residents.get(name), is_broken=is_broken)
            case Woken(names=names):
                for name in names:
                    self._decisions.wake(name)
            case _:
                pass

    def _undeliverable(self, item: Received | Resolved, error: FlowError) -> None:
        self.engine.counters[type(error).__name__] += 1
        delivery, envelope = item.delivery, item.delivery.envelope
        is_request = envelope.type.startswith(protocol.REQUEST_PREFIX)
        if not is_request or not self._answering.can_answer(envelope.reply_to):
            self._answering.bury(delivery, error)
            return
        request = Request(
            verb="",
            arguments={},
            correlation=envelope.correlation_id,
            reply_to=envelope.reply_to,
        )
        self._requests.answer_after_commit(request, Answer(error=error))
        self._acknowledge(item)

    def _acknowledge(self, item: Received | Resolved) -> None:
        """Acknowledge a message once everything that was decided so far is durable."""
        delivery, partition = item.delivery, item.home
        self.engine.committer.batch.deliver(delivery, partition)

    # ------------------------------------------------------------------------ messages

    def _take(self, item: Received) -> None:
        delivery, home = item.delivery, item.home
        if item.source is Source.TRIGGER:
            self._triggers.take(delivery)
        elif item.source is Source.ANNOUNCE:
            taking = self.engine.catalogue.take(delivery, self._answering)
            self._readers.start(taking, "announcement")
        elif delivery.envelope.type.startswith(protocol.REQUEST_PREFIX):
            self._take_request(item)
        elif home is not None and home not in self.engine.leases:
            self._forward(delivery, home)
        else:
            self._mailbox.take(item)
            self._acknowledge(item)

    def _take_request(self, item: Received) -> None:
        delivery = item.delivery
        if len(delivery.envelope.body) > 2 * REQUEST_LIMIT:
            raise InvalidInput("the request", "its body is too large")
        self._answering.check(delivery.envelope.reply_to)
        request = Request.read(delivery.envelope)
        home = item.home
        if home is None or request.verb not in self._requests.about_one:
            home = self._requests.home(request)
        if home is not None and home not in self.engine.leases:
            self._forward(delivery, home)
            return
        if request.verb in self._requests.reading:
            self._reading.begin(delivery, request)
            return
        is_known = self.engine.residents.get(request.execution) is not None
        if request.verb == "start" and not is_known and _may_be_news(self.engine, item, request):
            self._readers.start(self._look_again(item), "a workflow that others may have saved")
            return
        earlier = request.arguments.get("results_from")
        if request.verb == "start" and earlier and not is_known:
            self._readers.start(self._resolve(item, request), "results of an execution")
            return
        self._requests.about_one[request.verb](request)
        self._acknowledge(item)

    async def _look_again(self, item: Received) -> None:
        """Read what others have saved, and come back to a start."""
        try:
            await self.partitions.revisions.refresh()
        except UnavailableError as error:
            _log.warning("it cannot be told whether there is such a workflow: %s", error)
            await sleep(self.engine.clock, RETRY_S * (0.5 + self.engine.chance.random()))
            item.delivery.requeue()
            return
        item.is_second = True
        self.engine.inbox.put(item)

    def _forward(self, delivery: Delivery, partition: int) -> None:
        """Pass a message on to the mailbox of a partition."""
        mailbox = self.engine.addresses.mailbox
        self._answering.pass_on(delivery, Publication(mailbox, str(partition), delivery.envelope))

    async def _resolve(self, item: Received, request: Request) -> None:
        """Take results from an earlier execution, and come back to the start with them."""
        try:
            wanted = Start.read(request)
            earlier = str(request.arguments["results_from"])
            results = await earlier_results(self.engine, earlier, wanted.workflow, wanted.options)
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it
            self._requests.answer(request, Answer(error=told(error, request)))
            item.delivery.ack()
            return
        self.engine.inbox.put(Resolved(item.delivery, request, results, item.home))

    def _start_resolved(self, item: Resolved) -> None:
        wanted = Start.read(item.request)
        results = {**item.results, **wanted.results}
        self._requests.start(item.request, wanted.with_results(results))
        self._acknowledge(item)


def _names_of(item: Item) -> Sequence[str]:
    """Return the executions that an item names; it is no message."""
    match item:
        case Happened(execution=execution):
            return (execution,)
        case Unparked(command=command):
            return (command.execution,)
        case Resolved(request=request):
            return (request.execution,)
        case Woken(names=names):
            return [name for name in names if not name.startswith("@")]
        case _:
            return ()


def _looked_at(items: Sequence[Item]) -> list[int]:
    """Return the partitions in which it has to be looked what is due."""
    woken = [item for item in items if isinstance(item, Woken)]
    return [int(name[1:]) for item in woken for name in item.names if name.startswith("@")]


def _may_be_news(engine: Engine, item: Received, request: Request) -> bool:
    """Return whether another orchestrator may have saved a start's workflow just now."""
    if item.is_second or engine.store.exclusive:
        return False
    return not engine.definitions.hash_of(str(request.arguments.get("workflow")))


async def _next_items(engine: Engine) -> Sequence[Item]:
    """Wait for the items of the next turn, and return them."""
    if not engine.careful:
        return await engine.inbox.take(engine.settings.batch)
    (item,) = await engine.inbox.take(1)
    if isinstance(item, Woken) and len(item.names) > 1:
        # Only what is decided alone is known to be the culprit.
        engine.inbox.put_back([Woken(item.names[1:])])
        item = Woken(item.names[:1])
    return [item]
