"""Observers: hear of all that servers do, keep the model up to date, and ask the invariants.

    watch(world)                    before anything starts
    invariants.check_now(world)     now and then
    invariants.check_end(world)     when nothing is left to be done

They stand at the servers and not at the processes: what they hear is what was done, whatever became
of whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from flow.codec import decode_definition
from flow.errors import CorruptRecord
from flow.ports import CommitResult, DefinitionRecord, Lease, Publication, Settlement
from flow.runtime.bundles import BUNDLE, messages_of
from flow.runtime.protocol import ANSWER
from flow.testing.simulation.processes import SimulatedProcess
from tests.simulation.invariants.base import Evidence, Invariant, Published, Read, Violation
from tests.simulation.invariants.every import ALL
from tests.simulation.ledger import Entry, Ledger

__all__ = ["Observer", "Watched", "watch"]

_READS: Final = frozenset({"load", "outbox", "due"})


class Watched(Protocol):
    """A run, as far as the observers need it."""

    @property
    def simulation(self) -> Any:
        """The simulation."""
        ...

    @property
    def cluster(self) -> Any:
        """The cluster, with `store.observers` and `servers`."""
        ...

    @property
    def scenario(self) -> Any:
        """The scenario."""
        ...

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        ...


def watch(world: Watched) -> Observer:
    """Begin to observe a run; nothing of it may have started.

    Args:
        world: The run.

    Returns:
        The observer. The ledger keeps it too, for `invariants.check_now` and `check_end`.
    """
    observer = Observer(world)
    world.cluster.store.observers.append(observer.called)
    hub = world.cluster.servers.hub
    hub.publish = observer.at_hub(hub.publish)
    world.simulation.note = observer.at_trace(world.simulation.note)
    return observer


class Observer:
    """Hears of everything, and passes it on to the invariants that want to hear of it.

    Args:
        world: The run.

    Attributes:
        evidence: What was gathered.
        invariants: All invariants.
    """

    def __init__(self, world: Watched) -> None:
        """Begin with no evidence."""
        self.evidence = evidence = Evidence(world, world.ledger)
        self.invariants = [each(evidence) for each in ALL]
        self._acquired = [each.acquired for each in self._that("acquired")]
        self._committed = [each.committed for each in self._that("committed")]
        self._read = [each.read for each in self._that("read")]
        self._heard = [each.heard for each in self._that("heard")]
        self._published = [each.published for each in self._that("published")]
        self._acked = [each.acked for each in self._that("acked")]
        self._began_anew = [each.began_anew for each in self._that("began_anew")]
        self._now = [each.now for each in self._that("now")]
        self._end = [each.end for each in self._that("end")]
        world.ledger.listeners.append(self.heard)
        world.ledger.observer = self

    def _that(self, method: str) -> Sequence[Invariant]:
        base = getattr(Invariant, method)
        return [each for each in self.invariants if getattr(type(each), method) is not base]

    def check(self, *, is_end: bool) -> list[Violation]:
        """Have the invariants look at everything, and return what was found since the last call.

        Args:
            is_end: Whether nothing is left to be done.
        """
        for look in self._end if is_end else self._now:
            look()
        return self.evidence.take()

    # ---------------------------------------------------------------------- the store

    def called(
        self, method: str, process: SimulatedProcess, args: tuple[Any, ...], result: Any
    ) -> None:
        """Hear that the store has done something.

        Args:
            method: What.
            process: Who has asked for it.
            args: With which arguments.
            result: What it answered, or the error that it raised.
        """
        if isinstance(result, BaseException):
            return
        evidence = self.evidence
        skew_ms = abs(evidence.world.cluster.clock.skew_ms)
        evidence.largest_skew_ms = max(evidence.largest_skew_ms, skew_ms)
        match method:
            case "commit":
                self._commit(process, args, result)
            case "acquire" if result is not None:
                self._acquire(process, result)
            case "save_definition":
                self._define(args[0])
            case "prune":
                self._prune()
            case _ if method in _READS:
                read = Read(process, method, args, result)
                for tell in self._read:
                    tell(read)
            case _:
                pass

    def _commit(
        self, process: SimulatedProcess, args: tuple[Any, ...], result: CommitResult
    ) -> None:
        if result.conflicts:
            return
        evidence = self.evidence
        now = evidence.now_s()
        commit = evidence.model.apply(now, process.name, args[0], result.lost)
        for tell in self._committed:
            tell(commit)

    def _acquire(self, process: SimulatedProcess, lease: Lease) -> None:
        leases = self.evidence.model.leases
        before, leases[lease.partition] = leases.get(lease.partition), lease
        for tell in self._acquired:
            tell(process, lease, before)

    def _define(self, record: DefinitionRecord) -> None:
        definitions = self.evidence.model.definitions
        if record.hash not in definitions:
            try:
                definitions[record.hash] = decode_definition(record.body)
            except CorruptRecord as error:
                self.evidence.report("definition readable", str(error))

    def _prune(self) -> None:
        """Forget what the database has not any more; who may be pruned is another matter."""
        database, model = self.evidence.world.cluster.servers.database, self.evidence.model
        for name in [name for name in model.executions if database.row(name) is None]:
            model.forget(name)

    # --------------------------------------------------------------- the broker, ledger

    def at_hub(
        self, publish: Callable[[Publication], Settlement]
    ) -> Callable[[Publication], Settlement]:
        """Return a function that publishes, and has it heard.

        Args:
            publish: Publishes.
        """

        def heard(publication: Publication) -> Settlement:
            settlement = publish(publication)
            self.took(publication, settlement)
            return settlement

        return heard

    def took(self, publication: Publication, settlement: Settlement) -> None:
        """Hear that the broker was given a message.

        Args:
            publication: The message.
            settlement: What it did with it.
        """
        envelope, evidence = publication.envelope, self.evidence
        if envelope.type == BUNDLE:
            for each in messages_of(envelope):
                self.took(publication._replace(envelope=each), settlement)
            return
        queue = publication.routing_key if envelope.type == ANSWER else ""
        key = (envelope.type, envelope.correlation_id, queue)
        known = evidence.published.get(key)
        # A confirm is worth more than what became of another copy later. But that the queue of
        # an answer is gone is news: an answer that is sent once more has nobody who waits.
        is_gone = bool(queue) and settlement is Settlement.UNROUTABLE
        if settlement is Settlement.CONFIRMED or is_gone or not (known and known.is_confirmed):
            evidence.published[key] = Published(settlement, evidence.now_s())
        for tell in self._published:
            tell(publication, settlement)

    def at_trace(self, note: Callable[[str, str, str], None]) -> Callable[..., None]:
        """Return a function that adds a line to the trace, and has it heard.

        Args:
            note: Adds a line.
        """

        def heard(what: str, detail: str = "", process: str = "") -> None:
            note(what, detail, process)
            if what == "ack":
                kind, _, correlation = detail.partition(" ")
                for tell in self._acked:
                    tell(process, kind, correlation)
            elif what == "not ready":
                for begin_anew in self._began_anew:
                    begin_anew(process)

        return heard

    def heard(self, entry: Entry) -> None:
        """Hear of an entry of the ledger.

        Args:
            entry: The entry.
        """
        for tell in self._heard:
            tell(entry)
