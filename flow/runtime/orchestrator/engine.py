"""What the parts of an orchestrator share: the state that decisions are made on.

The orchestrator decides, in one loop and nowhere else; `Engine.apply` is the one place where an
event meets an execution. What comes of it is gathered in the committer's batch.
"""

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from flow import codec
from flow.clock import StoreClock
from flow.codec import Cause
from flow.errors import BrokerUnavailable, FlowError, Overloaded
from flow.kernel.decide import Accepted, Moment, Verdict, decide
from flow.kernel.events import Event
from flow.kernel.machine import new_tuple
from flow.ports import Broker, Chance, Clock, Lease, Publication, Settlement, Store
from flow.programs.steps import StepsProgram
from flow.runtime.addresses import Addresses, partition_of
from flow.runtime.bundles import Bundler
from flow.runtime.orchestrator.batch import Batch, Sealed
from flow.runtime.orchestrator.catalogue import Catalogue
from flow.runtime.orchestrator.committer import Committer
from flow.runtime.orchestrator.definitions import Definitions
from flow.runtime.orchestrator.dispatcher import Dispatcher
from flow.runtime.orchestrator.inbox import Happened, Inbox, Lost, Recover, Unparked, Woken
from flow.runtime.orchestrator.leases import Leases
from flow.runtime.orchestrator.live import LiveExecution
from flow.runtime.orchestrator.parking import Parked
from flow.runtime.orchestrator.pauses import Pauses
from flow.runtime.orchestrator.residents import Residents
from flow.runtime.orchestrator.timers import Timers
from flow.runtime.orchestrator.waiters import Waiters
from flow.runtime.publisher import Publisher
from flow.runtime.trouble import Trouble
from flow.status import ENDED

__all__ = ["Engine", "EngineSettings", "Ports", "note_arrival"]

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
        clock: The time, by the store's clock.
        owner: Who holds the leases.
        holdings: The partitions that are held.
        leases: Their leases, by partition.
        trouble: What is wrong with the store.
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
        clock, chance = StoreClock(ports.clock), ports.chance
        self.clock = clock
        self.owner = owner
        self.holdings = Leases(clock)
        self.leases: Mapping[int, Lease] = self.holdings.present
        self.trouble = Trouble(clock)
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
        bundler = Bundler(addresses.reads_bundles, chance.new_id)
        self.publisher = Publisher(ports.broker, clock, bundler=bundler)
        self.definitions = Definitions(ports.store, clock)
        self.pauses = Pauses(ports.store)
        self.catalogue = Catalogue(ports.store, self.definitions, clock)
        self.committer = Committer(ports.store, self, clock, self.holdings, self.trouble)
        self.dispatcher = Dispatcher(self.publisher, addresses, clock, chance, self)
        self.timers = Timers(clock, lambda names: self.inbox.put(Woken(names)))
        self.residents = Residents(
            ports.store,
            self.definitions,
            clock,
            settings.live_bytes,
            self._leaving,
            self.partition_of,
        )
        self.residents.waiting = self.dispatcher.waiting
        self.residents.holds = self.holdings.holds

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
        now_ms, status = self.clock.now_ms(), live.status
        try:
            moment = new_tuple(Moment, (now_ms, self.chance.random()))
            changes, verdict = decide(live.tree, live.program, event, moment)
        except Exception:
            # The tree undid itself; what the program had counted by then is made anew.
            plan = live.program.plan
            live.program = StepsProgram.attach(plan, codec.assemble, live.tree)
            raise
        if changes.nodes or changes.outputs:
            self.committer.batch.touch(live, cause, changes)
            live.watch(changes.outputs, now_ms)
        elif not isinstance(verdict, Accepted):
            self.counters[type(verdict).__name__] += 1
        if live.status is not status:
            if status in ENDED:
                live.rearm(now_ms)
            live.set_alarm()
        self.timers.set(live.id, live.alarm_ms)
        return verdict

    def wake(self, live: LiveExecution) -> None:
        """Set the alarm for what is due next in an execution."""
        self.timers.set(live.id, live.alarm_ms)

    def post(self, publication: Publication) -> None:
        """Publish something that nobody waits for here; whoever misses it asks again.

        Args:
            publication: What to publish.
        """
        try:
            self.publisher.post(publication, _note_failure)
        except Overloaded as error:
            self.counters["answers lost"] += 1
            _log.warning("an answer was not sent: %s", error)

    # ------------------------------------------------- for the committer and the dispatcher

    def partition_of(self, execution: str) -> int:
        """Return the partition that an execution belongs to.

        Args:
            execution: Its id.
        """
        return partition_of(execution, self.partitions)

    def is_ours(self, live: LiveExecution) -> bool:
        """Return whether an execution is in memory, and its partition ours, recovered or not.

        Args:
            live: The execution, as somebody kept it.
        """
        return self.residents.has(live) and self.holdings.holds(live.partition)

    def unpark(self, command: Parked) -> None:
        """Have a command tried again that waited for its endpoint; its execution is needed.

        Args:
            command: The command.
        """
        self.inbox.put(Unparked(command))

    def committed(self, sealed: Sealed, lost: Collection[int]) -> None:
        """Carry out the commands of a batch that is durable, and tell those who waited.

        What was forgotten while the batch was written is left to recovery, which finds it in the
        store: its tree is not what is in memory now, and its partition may be somebody else's.
        """
        self.dispatcher.send(sealed.commands)
        waiters, residents = self.waiters, self.residents
        for write in sealed.commit.writes:
            summary = write.summary
            if summary.partition not in lost:
                has_ended = summary.status in ENDED
                waiters.changed(summary.id, ended=has_ended)
                if has_ended:
                    residents.note_end(summary.id)

    def refused(self, leases: Sequence[Lease], partitions: Collection[int]) -> None:
        """Forget partitions of which nothing was written, because of a lease that does not stand.

        Args:
            leases: The leases that the commit was written under.
            partitions: Those of their partitions whose lease was refused.
        """
        refused = [lease for lease in leases if lease.partition in partitions]
        lost = [lease.partition for lease in refused if self.holdings.has(lease)]
        # We have taken these anew ourselves; what is in memory may not be what is in the store.
        # Those that are being recovered are read after that, and are right.
        ours = [
            lease.partition
            for lease in refused
            if self.holdings.term(lease.partition) and lease.partition not in lost
        ]
        _log.warning("partitions %s are somebody else's, and %s were taken anew", lost, ours)
        if lost:
            self.lose(lost)
        if ours:
            self.reset(ours)
            self.inbox.put(Recover(tuple(ours)))

    def lose(self, partitions: Collection[int]) -> None:
        """Forget everything of some partitions; the others go on.

        Args:
            partitions: Which.
        """
        self.counters["lost partitions"] += len(partitions)
        self.holdings.drop(partitions)
        self.reset(partitions)
        self.inbox.put(Lost(tuple(partitions)))

    def reset(self, partitions: Collection[int]) -> None:
        """Forget what is in memory of some partitions, not that they are ours.

        Args:
            partitions: Which.
        """
        self.holdings.close(partitions)
        self.committer.batch.drop(partitions)
        for name in self.residents.forget(partitions):
            self.timers.set(name, None)
        for partition in partitions:
            self.timers.set(f"@{partition}", None)
        self.deleting -= {name for name in self.deleting if self.partition_of(name) in partitions}
        self.dispatcher.lose(partitions, self.partition_of)
        self.waiters.forget(lambda name: self.partition_of(name) in partitions)

    def failed(self, batch: Batch, *, again: bool) -> None:
        """Forget what was decided on what may not be true, and load it again.

        Args:
            batch: The batch that was not written, or nobody knows.
            again: Whether the leases have to be taken once more, because nobody knows what was
                written last.
        """
        self.counters["lost batches"] += 1
        present, self.committer.batch = self.committer.batch, Batch()
        self.forget()
        batch.discard()
        present.discard()
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
            batch.deliveries.pop()[1].reject()
        self.careful = 2 * max(messages, len(names))
        # Else those that were set aside before would come back, one in place of the other.
        parked = dict(self.residents.parked)
        self.failed(batch, again=False)
        if not messages and len(names) == 1:
            parked[names[0]] = error
        self.residents.parked |= parked

    def forget(self) -> None:
        """Forget every live execution, and all that is on its way."""
        self.holdings.close(tuple(self.leases))
        self.dispatcher.forget()
        self.residents.clear()
        self.deleting.clear()
        self.timers.clear()

    def happened(self, execution: str, event: Event, settles: tuple[int, int] | None) -> None:
        """Decide about an event that came out of dispatching; settle its row with it."""
        self.inbox.put(Happened(execution, event, settles))

    def settle(self, partition: int, number: int) -> None:
        """Delete an outbox row along with the next commit, if it is ours to delete."""
        if partition in self.leases:
            self.committer.settle(partition, number)

    def _leaving(self, live: LiveExecution) -> None:
        """Remember that somebody of a partition will be due whom only the store knows."""
        self.timers.set(live.id, None)
        self.wake_partition(live.partition, live.wake_ms())
        row = live.summary
        if row is not None and row.status not in ENDED and row.wake_ms != live.wake_ms():
            # Else it would be loaded again sooner than it has to be.
            self.committer.batch.wakes[live.id] = (live.partition, live.wake_ms())

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


def note_arrival(engine: Engine, live: LiveExecution) -> None:
    """Take note that an execution was brought into memory.

    Args:
        engine: The orchestrator's state.
        live: The execution, as the store has it.
    """
    engine.committer.witness(live.stamp)
    engine.wake(live)
    if live.status in ENDED:
        # It may have ended by a commit of which nobody knew that it was done.
        engine.waiters.changed(live.id, ended=True)
        engine.residents.note_end(live.id)


def _note_failure(_: Settlement | None, error: Exception | None) -> None:
    if error is not None:
        # That the broker is away is told once, and not for each message.
        level = logging.DEBUG if isinstance(error, BrokerUnavailable) else logging.WARNING
        _log.log(level, "an answer was not sent: %s", error)
