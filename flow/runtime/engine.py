"""What the parts of an orchestrator share: the state that decisions are made on.

The orchestrator decides, in one loop and nowhere else; `Engine.apply` is the one place where an
event meets an execution. What comes of it is gathered in the committer's batch.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flow import codec
from flow.codec import Cause
from flow.errors import FlowError, Overloaded
from flow.kernel.decide import Accepted, Decision, Moment, Verdict, decide
from flow.kernel.events import Event
from flow.ports import Broker, Chance, Clock, CommitResult, Lease, Publication, Settlement, Store
from flow.programs.steps import StepsProgram
from flow.runtime.addresses import Addresses
from flow.runtime.batch import Batch, Sealed
from flow.runtime.committer import Committer
from flow.runtime.definitions import Definitions
from flow.runtime.dispatcher import Dispatcher, commands_of
from flow.runtime.inbox import Happened, Inbox, Recover, Woken
from flow.runtime.lifeline import Lifeline
from flow.runtime.live import LiveExecution
from flow.runtime.publisher import Publisher
from flow.runtime.residents import Residents
from flow.runtime.timers import Timers
from flow.runtime.waiters import Waiters
from flow.status import ENDED

__all__ = ["Engine", "EngineSettings", "Ports"]

_log = logging.getLogger("flow.engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """How much an orchestrator takes on.

    Args:
        live_bytes: How much memory live executions may take, roughly.
        unsettled: How many commands may be on their way before starts have to wait.
        batch: How many events are decided before others get a turn.
        prefetch: How many messages are taken from a queue before they are settled.
    """

    live_bytes: int = 256 * 1024 * 1024
    unsettled: int = 20_000
    batch: int = 512
    prefetch: int = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The outside world of an orchestrator."""

    broker: Broker
    store: Store
    clock: Clock
    chance: Chance


class Engine:
    """The state of one orchestrator; see the module.

    Args:
        ports: The outside world.
        addresses: The names of the namespace.
        owner: Who holds the leases.
        partitions: How many there are.
        settings: How much it takes on.

    Attributes:
        counters: How often what was dropped, for health and tests.
        deleting: Executions whose deletion is not durable yet.
        careful: So many more items are decided and written one by one.
    """

    def __init__(
        self,
        ports: Ports,
        addresses: Addresses,
        owner: str,
        partitions: int,
        settings: EngineSettings,
    ) -> None:
        """Put the parts together; nothing runs yet."""
        clock, chance = ports.clock, ports.chance
        self.clock = clock
        self.chance = chance
        self.store = ports.store
        self.addresses = addresses
        self.partitions = partitions
        self.settings = settings
        self.counters: Counter[str] = Counter()
        self.deleting: set[str] = set()
        self.careful = 0
        self.inbox = Inbox()
        self.waiters = Waiters()
        self.publisher = Publisher(ports.broker, clock)
        self.definitions = Definitions(ports.store, clock)
        self.committer = Committer(ports.store, self, clock)
        self.dispatcher = Dispatcher(self.publisher, addresses, clock, chance, self)
        self.timers = Timers(clock, lambda names: self.inbox.put(Woken(names)))
        self.lifeline = Lifeline(ports.store, clock, owner, partitions, self._leases_changed)
        self.residents = Residents(
            ports.store,
            self.definitions,
            clock,
            settings.live_bytes,
            self._leaving,
        )
        self._numbers: dict[int, int] = {}

    # ------------------------------------------------------------------------ deciding

    def apply(self, live: LiveExecution, event: Event, cause: Cause) -> Verdict:
        """Decide about an event, and gather what comes of it in the present batch.

        Args:
            live: The execution.
            event: What happened.
            cause: Why, for the history.

        Raises:
            FlowError: The event broke a rule; the execution is as it was before.
        """
        moment = Moment(self.clock.now_ms(), self.chance.random())
        had_ended = live.status in ENDED
        try:
            decision = decide(live.tree, live.program, event, moment)
        except Exception:
            # The tree undid itself; what the program had counted by then is made anew.
            plan = live.program.plan
            live.program = StepsProgram.attach(plan, codec.assemble, live.tree)
            raise
        if decision.changes:
            self._gather(live, decision, cause, moment.now_ms)
        elif not isinstance(decision.verdict, Accepted):
            self.counters[type(decision.verdict).__name__] += 1
        if had_ended and live.status not in ENDED:
            live.rearm(moment.now_ms)
        self.wake(live)
        return decision.verdict

    def wake(self, live: LiveExecution) -> None:
        """Set the alarm for what is due next in an execution."""
        self.timers.set(live.id, None if live.status in ENDED else live.wake_ms())

    def _gather(
        self,
        live: LiveExecution,
        decision: Decision,
        cause: Cause,
        now_ms: int,
    ) -> None:
        touch = self.committer.batch.touch(live)
        touch.causes.append(cause)
        touch.nodes.extend(decision.changes.nodes)
        touch.outputs.extend(decision.changes.outputs)
        live.watch(decision.changes.outputs, now_ms)

    def post(self, publication: Publication) -> None:
        """Publish something that nobody waits for here; whoever misses it asks again.

        Args:
            publication: What to publish.
        """
        try:
            self.publisher.send(publication).add_done_callback(_note_failure)
        except Overloaded as error:
            self.counters["answers lost"] += 1
            _log.warning("an answer was not sent: %s", error)

    # ------------------------------------------------- for the committer and the dispatcher

    @property
    def leases(self) -> Mapping[int, Lease]:
        """The leases that are held, by partition."""
        return self.lifeline.leases

    def next_number(self, partition: int) -> int:
        """Return the next outbox number of a partition."""
        number = self._numbers.get(partition, 0) + 1
        self._numbers[partition] = number
        return number

    def numbered(self, partition: int, number: int) -> None:
        """Note that an outbox row of this number is there already."""
        self._numbers[partition] = max(number, self._numbers.get(partition, 0))

    def committed(self, sealed: Sealed) -> None:
        """Carry out the commands of a batch that is durable, and tell those who waited."""
        self.dispatcher.send(commands_of(sealed.commands))
        for write in sealed.commit.writes:
            summary = write.summary
            self.waiters.changed(summary.id, ended=summary.status in ENDED)

    def lost(self, batch: Batch, result: CommitResult | None) -> None:
        """Forget what was decided on what may not be true, and load it again.

        Args:
            batch: The batch that was not written, or nobody knows.
            result: Why, or None if nobody knows.
        """
        self.counters["lost batches"] += 1
        present, self.committer.batch = self.committer.batch, Batch()
        if result is not None:
            # Whoever decided on would only be refused again, until the next renewal tells.
            self.lifeline.drop(result.lost)
        self.forget()
        batch.discard()
        present.discard()
        again = result is None or bool(result.conflicts)
        self.inbox.put(Recover(tuple(self.leases), again=again))

    def poisoned(self, batch: Batch, error: FlowError) -> None:
        """Deal with a batch that holds something the store cannot.

        If it came from one message, that message is poison and goes to the dead. If it came
        from no message and is about one execution, that execution is parked. If not, everything
        is given back and decided again one by one for a while, so that the culprit is found and
        the others are not held up by it.

        Args:
            batch: The batch, of which nothing was written.
            error: What the store said.
        """
        self.counters["poison"] += 1
        _log.error("a batch of %d cannot be written: %s", len(batch.touches), error)
        messages, names = len(batch.deliveries), list(batch.touches)
        if messages == 1 and len(names) <= 1:
            batch.deliveries.pop().reject()
        self.careful = 2 * max(messages, len(names))
        self.lost(batch, CommitResult())
        if not messages and len(names) == 1:
            self.residents.parked[names[0]] = error

    def forget(self) -> None:
        """Forget every live execution, and all that is on its way."""
        self.dispatcher.forget()
        self.residents.clear()
        self.deleting.clear()
        self.timers.clear()

    def happened(self, execution: str, event: Event, settles: tuple[int, int] | None) -> None:
        """Decide about an event that came out of dispatching; settle its row with it."""
        self.inbox.put(Happened(execution, event, settles))

    def settle(self, partition: int, number: int) -> None:
        """Delete an outbox row along with the next commit."""
        self.committer.settle(partition, number)

    def _leaving(self, live: LiveExecution) -> None:
        """Remember that somebody of a partition will be due whom only the store knows."""
        self.timers.set(live.id, None)
        self.wake_partition(live.partition, live.wake_ms())

    def wake_partition(self, partition: int, wake_ms: int | None) -> None:
        """Look into the store for what is due, no later than at a time.

        Args:
            partition: Which.
            wake_ms: When, or None for no need.
        """
        name = f"@{partition}"
        present = self.timers.time(name)
        if wake_ms is not None and (present is None or wake_ms < present):
            self.timers.set(name, wake_ms)

    def _leases_changed(self, taken: Sequence[int], lost: Sequence[int]) -> None:
        if lost:
            self.lost(Batch(), CommitResult(lost=frozenset(lost)))
        elif taken:
            self.inbox.put(Recover(tuple(taken)))


def _note_failure(settled: asyncio.Future[Settlement]) -> None:
    if not settled.cancelled() and settled.exception() is not None:
        _log.warning("an answer was not sent: %s", settled.exception())
