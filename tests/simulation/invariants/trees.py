"""Trees: what an orchestrator has in memory is what the fold of the journal says."""

from __future__ import annotations

from typing import Any

from flow import codec
from flow.codec import Record
from tests.simulation.folding import Node, Recorded, fold
from tests.simulation.invariants.base import Evidence, Invariant
from tests.simulation.invariants.quiescence import engines

__all__ = ["DatabaseIsTheModel", "JournalIsTheTree"]


class JournalIsTheTree(Invariant):
    """The tree in the memory of an owner is the fold of the journal, whenever nothing is under way.

    Something is under way while a batch has changes of the execution, or one is being written.
    """

    name = "journal is the tree"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with nothing compared."""
        super().__init__(evidence)
        self._compared: dict[tuple[str, str], tuple[Any, int]] = {}

    def now(self) -> None:
        """Compare the trees of which nothing is under way."""
        for process, engine in engines(self.evidence.world):
            touched = engine.committer.batch.touches
            for name, live in engine.residents._live.items():
                recorded = self.model.executions.get(name)
                if recorded is None or name in touched or live.seq != recorded.seq:
                    continue
                if self._is_owner(engine, live.partition):
                    self._compare(process, live, recorded)

    def end(self) -> None:
        """Compare all trees."""
        for process, engine in engines(self.evidence.world):
            for name, live in engine.residents._live.items():
                recorded = self.model.executions.get(name)
                if not self._is_owner(engine, live.partition):
                    self.broken(f"{process} keeps {name}, whose partition is not its own")
                elif recorded is None or live.seq != recorded.seq:
                    seq = None if recorded is None else recorded.seq
                    self.broken(f"{process} has {name} at record {live.seq}, and there are {seq}")
                else:
                    self._compare(process, live, recorded)

    def _is_owner(self, engine: Any, partition: int) -> bool:
        mine, present = engine.leases.get(partition), self.model.leases.get(partition)
        return mine is not None and present is not None and mine.epoch == present.epoch

    def _compare(self, process: str, live: Any, recorded: Recorded) -> None:
        key = (process, live.id)
        compared = self._compared.get(key)
        if compared is not None and compared[0] is live and compared[1] == recorded.seq:
            return
        self._compared[key] = (live, recorded.seq)
        nodes = _nodes_of(live)
        if nodes != recorded.nodes:
            differing = [
                f"{path!r}: {nodes.get(path)} and not {recorded.nodes.get(path)}"
                for path in {**nodes, **recorded.nodes}
                if nodes.get(path) != recorded.nodes.get(path)
            ]
            self.broken(f"{process} has {live.id} at record {recorded.seq} with {differing[0]}")
        elif live.tree.number != recorded.number:
            numbers = f"{live.tree.number} transitions, and the journal {recorded.number}"
            self.broken(f"{process} counts in {live.id} {numbers}")


class DatabaseIsTheModel(Invariant):
    """The database holds what was committed, and nothing else."""

    name = "database is what was committed"

    def end(self) -> None:
        """Compare the journals and the outbox of the database with the observer's own."""
        database = self.evidence.world.cluster.servers.database
        stored = {row.summary.id: [each.record for each in row.records] for row in database.rows()}
        committed = {name: each.records for name, each in self.model.executions.items()}
        for name in {**stored, **committed}:
            if stored.get(name) != committed.get(name):
                counts = (len(stored.get(name, ())), len(committed.get(name, ())))
                self.broken(f"{name}: {counts[0]} records in the database, {counts[1]} committed")


def _nodes_of(live: Any) -> dict[str, Node]:
    """Return a live tree as a journal would have it."""
    record = Record(live.id, 1, "", (), live.tree.snapshot())
    nodes: dict[str, Node] = {}
    fold(nodes, codec.loads(codec.encode_record(record))["nodes"])
    return nodes
