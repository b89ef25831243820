"""Residents: the executions that are in memory, the least recently used ones going first."""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from flow import codec
from flow.clock import HybridClock
from flow.errors import CorruptRecord, FlowError, UnavailableError
from flow.kernel.decide import MACHINES
from flow.kernel.execution import INPUT
from flow.kernel.tree import Tree
from flow.ports import Clock, Store, StoredExecution, Tombstone
from flow.programs.steps import StepsProgram
from flow.runtime.orchestrator.definitions import Definitions
from flow.runtime.orchestrator.live import LiveExecution
from flow.status import ENDED

__all__ = ["Residents", "restore"]

_log = logging.getLogger("flow.residents")

ENDED_KEPT: Final = 500
"""So many that have ended stay in memory, for whoever asks late. More would only give the garbage
collector something to walk: it took a third of the time of a busy orchestrator that kept all."""


async def restore(stored: StoredExecution, definitions: Definitions) -> LiveExecution:
    """Return an execution as its records describe it.

    Args:
        stored: What the store has.
        definitions: Knows the definition that it runs on.

    Raises:
        DataError: A record or the definition cannot be used.
        StateMachineError: A record holds a machine type that this program does not know.
    """
    records = [codec.decode_record(record, MACHINES) for record in stored.records]
    tree = Tree.load(MACHINES, (node for record in records for node in record.nodes))
    known = await definitions.by_hash(stored.summary.definition)
    plan = definitions.plan(known, tree.node("input").read(INPUT).options)
    program = StepsProgram.attach(plan, codec.assemble, tree)
    live = LiveExecution(stored.summary.id, stored.summary.partition, tree, program)
    live.seq = stored.seq
    live.has_copies = True
    live.stamp = records[-1].stamp
    HybridClock.parse(live.stamp)
    live.summary = stored.summary
    live.size += sum(len(record) for record in stored.records)
    return live


class Residents:
    """The executions in memory.

    Args:
        store: Where the others are.
        definitions: Knows their workflows.
        clock: The time.
        limit: How many bytes they may take, roughly.
        leaving: Called with each execution that goes.
        partition_of: Returns the partition of an execution.

    Attributes:
        parked: Why executions cannot be loaded, by id. They need a person.
        pruned: What is kept of executions that were asked for and were pruned, by id.
        generation: How often somebody was forgotten because it may not be true any more.
        waiting: Whose steps wait for endpoints that nobody serves, as the dispatcher knows it.
        holds: Tells whether a partition is held. Of others nobody is brought in: when they are
            taken, what is in memory would be older than what their last owner has written.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        clock: Clock,
        limit: int,
        leaving: Callable[[LiveExecution], None],
        partition_of: Callable[[str], int],
    ) -> None:
        """Begin with nobody in memory."""
        self.parked: dict[str, FlowError] = {}
        self.pruned: dict[str, Tombstone] = {}
        self.generation = 0
        self._store = store
        self._definitions = definitions
        self._clock = clock
        self._limit = limit
        self._leaving = leaving
        self.waiting: Mapping[str, dict[str, str]] = {}
        self.holds: Callable[[int], bool] = _every
        self._partition_of = partition_of
        self._live: OrderedDict[str, LiveExecution] = OrderedDict()
        self._ended: deque[str] = deque()

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._live)

    def get(self, id: str) -> LiveExecution | None:
        """Return an execution if it is in memory, and note that it was used."""
        live = self._live.get(id)
        if live is not None:
            self._live.move_to_end(id)
        return live

    def absent(self, ids: Iterable[str]) -> list[str]:
        """Return those who are not in memory.

        Args:
            ids: Whom to look for.
        """
        live = self._live
        return [each for each in ids if each not in live]

    def check(self, id: str) -> None:
        """Make sure that an execution is not one that cannot be loaded.

        Args:
            id: The execution's id.

        Raises:
            CorruptRecord: It is, and this is why.
        """
        error = self.parked.get(id)
        if error is not None:
            raise CorruptRecord(f"execution {id!r}", f"it cannot be loaded: {error}")

    def add(self, live: LiveExecution) -> None:
        """Keep an execution in memory."""
        self._live[live.id] = live

    def remove(self, id: str) -> None:
        """Forget an execution, for it is gone from the store."""
        self._live.pop(id, None)

    def forget_ended(self, before_ms: int) -> None:
        """Forget those who ended before a time: they may have been pruned.

        Args:
            before_ms: The time.
        """
        for name, live in list(self._live.items()):
            ended_ms = live.data.ended_ms
            if ended_ms is not None and ended_ms < before_ms and not live.pins:
                del self._live[name]

    def has(self, live: LiveExecution) -> bool:
        """Return whether this very one is in memory, and not another one of the same id.

        Args:
            live: An execution, as somebody kept it.
        """
        return self._live.get(live.id) is live

    def forget(self, partitions: Collection[int]) -> list[str]:
        """Forget those who belong to some partitions.

        Args:
            partitions: Which.

        Returns:
            The ids of those who were in memory.
        """
        gone = [name for name, live in self._live.items() if live.partition in partitions]
        for name in gone:
            del self._live[name]
        self.parked = {
            name: error
            for name, error in self.parked.items()
            if self._partition_of(name) not in partitions
        }
        self.generation += 1
        return gone

    def clear(self) -> None:
        """Forget everybody: what is in memory may not be true."""
        self._live.clear()
        self._ended.clear()
        self.parked.clear()
        self.generation += 1

    async def ensure(self, ids: Iterable[str]) -> list[LiveExecution]:
        """Bring executions into memory; those that do not exist or are not ours are passed over.

        Args:
            ids: Which.

        Returns:
            Those that came in just now. If somebody was forgotten meanwhile, nobody did.

        Raises:
            StoreUnavailable: The store cannot be asked; nobody came in.
        """
        missing = [
            name
            for name in dict.fromkeys(ids)
            if name not in self._live
            and name not in self.parked
            and self.holds(self._partition_of(name))
        ]
        if not missing:
            return []
        # Whoever is asked for is looked up each time: a tombstone does not stand for ever.
        self.pruned.clear()
        generation = self.generation
        restored: list[LiveExecution] = []
        for name, stored in (await self._store.load(missing)).items():
            if isinstance(stored, Tombstone):
                self.pruned[name] = stored
                continue
            live = await self._restore(name, stored)
            if live is not None:
                restored.append(live)
        if generation != self.generation:
            return []
        self._live.update((live.id, live) for live in restored)
        return restored

    def note_end(self, id: str) -> None:
        """Take note that an execution has ended: it leaves the memory after some others.

        Args:
            id: The execution's id.
        """
        self._ended.append(id)

    def evict(self) -> None:
        """Let go those that have ended, and the least recently used ones if the rest is large."""
        for _ in range(len(self._ended) - ENDED_KEPT):
            self._retire(self._ended.popleft())
        if not self._crowded():
            return
        total = sum(live.size for live in self._live.values())
        for name in list(self._live):
            if total <= self._limit:
                return
            live = self._live[name]
            if not live.pins and not live.is_listening:
                total -= live.size
                del self._live[name]
                self._leaving(live)

    def _retire(self, id: str) -> None:
        live = self._live.get(id)
        if live is None or live.status not in ENDED:
            return
        if live.pins:
            self._ended.append(id)
            return
        del self._live[id]
        if live.alarm_ms is not None:
            self._leaving(live)
        # All that is in cycles of an execution; the garbage collector took a twelfth of the time.
        live.tree.dissolve()

    def _crowded(self) -> bool:
        # Nothing is counted before there are so many that they could be too much at all.
        return len(self._live) * 2_000 > self._limit // 8

    async def _restore(self, id: str, stored: StoredExecution) -> LiveExecution | None:
        now, wake = self._clock.now_ms(), stored.summary.wake_ms
        try:
            live = await restore(stored, self._definitions)
            # What came due while it was not in memory has not been done yet.
            live.rearm(now, 0 if wake is None else max(0, now - wake + 1))
        except UnavailableError:
            # Nothing is wrong with the execution.
            raise
        except FlowError as error:
            _log.error("execution %s is parked: %s", id, error)
            self.parked[id] = error
            return None
        except Exception as error:  # noqa: BLE001 - see below
            # Whatever is wrong with its records, it must not stop one owner after the other.
            _log.exception("execution %s is parked", id)
            self.parked[id] = CorruptRecord(f"execution {id!r}", repr(error))
            return None
        live.waiting = self.waiting.get(id, live.waiting)
        return live


def _every(_: int) -> bool:
    return True
