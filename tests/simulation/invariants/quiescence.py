"""Quiescence: when all is done nobody waits, nothing is on its way, and nothing goes in circles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from tests.simulation.folding import ENDED
from tests.simulation.invariants.base import Evidence, Invariant, Read
from tests.simulation.invariants.inputs import locate
from tests.simulation.ledger import Began

__all__ = [
    "BackAtTheBaseline",
    "NoLivelock",
    "NothingInQueues",
    "NothingOutAtWorkers",
    "WaitersAreServed",
    "engines",
]

LOADS_MAX: Final = 40
"""So often, in a while, may a process load an execution of which nothing new was written."""
LOADS_FOR_A_MESSAGE: Final = 3
"""So many more for each message that it has settled meanwhile, if it can keep nothing in memory."""
WINDOW_S: Final = 10.0
"""How long that while is, in virtual seconds."""


def engines(world: Any) -> Iterator[tuple[str, Any]]:
    """Go through the orchestrators that run, with the names of their processes.

    Args:
        world: The run.
    """
    for member in world.cluster.members.values():
        host = None if member.app is None else member.app.host
        if host is not None and host.engine is not None and member.process.is_running:
            yield member.process.name, host.engine


class WaitersAreServed(Invariant):
    """Whoever waits for an answer, and lives, has got one."""

    name = "waiters are served"

    def end(self) -> None:
        """Look for those who wait still."""
        processes = self.evidence.world.simulation.processes
        for waiting in self.ledger.waiting:
            process = processes.get(waiting.process)
            is_gone = process is None or process.is_dead
            if not waiting.is_served and not is_gone:
                since = f"since {waiting.since_s:.3f} s"
                self.broken(f"{waiting.process} waits for {waiting.what}, {since}")


class NothingInQueues(Invariant):
    """Nothing waits in any queue, and nothing was handed out and not settled.

    Dead letters are another matter. A request whose handler still runs within its time, although
    nobody wants the result any more, is settled when it ends: a cancellation may get lost.
    """

    name = "nothing in queues"

    def end(self) -> None:
        """Look into all queues."""
        running = Counter(call.endpoint.partition(".")[0] for call in running_calls(self.evidence))
        for queue in self.evidence.world.cluster.servers.hub.stats().queues:
            allowed = running[queue.name.rpartition(".steps.")[2]]
            is_left = queue.ready or queue.unsettled > allowed
            if is_left and not queue.name.endswith(".dead"):
                held = f"{queue.ready} wait and {queue.unsettled} are not settled"
                self.broken(f"{queue.name}: {held}, for {queue.consumers} consumers")


class NoLivelock(Invariant):
    """No process loads an execution again and again of which nothing new was written."""

    name = "no livelock"

    def __init__(self, evidence: Evidence) -> None:
        """Begin with no load."""
        super().__init__(evidence)
        self._loads: Counter[tuple[str, str, int]] = Counter()
        self._acks: Counter[str] = Counter()
        self._since_s = 0.0

    def acked(self, process: str, kind: str, correlation: str) -> None:
        """Take note that a process gets on: it may have loaded something for this message."""
        self._acks[process] += 1

    def read(self, read: Read) -> None:
        """Count loads."""
        if read.method != "load":
            return
        if self.evidence.now_s() - self._since_s > WINDOW_S:
            # With little memory each question and each sweep is a load. That is slow, and ends.
            self._since_s = self.evidence.now_s()
            self._loads.clear()
            self._acks.clear()
        process = read.process.name
        for name in read.result:
            execution = self.model.executions.get(name)
            if execution is None:
                continue
            key = (process, name, execution.seq)
            self._loads[key] += 1
            if self._loads[key] == LOADS_MAX + LOADS_FOR_A_MESSAGE * self._acks[process]:
                text = f"{self._loads[key]} times, and it stays at record {execution.seq}"
                self.broken(f"{process} has loaded {name} {text}")


class BackAtTheBaseline(Invariant):
    """An orchestrator that has nothing to do holds nothing but what it keeps for speed."""

    name = "back at the baseline"

    def end(self) -> None:
        """Look into all orchestrators."""
        for name, engine in engines(self.evidence.world):
            counts = self._counts(engine)
            if left := {what: count for what, count in counts.items() if count}:
                self.broken(f"{name}: {', '.join(f'{each} {left[each]}' for each in left)}")

    def _counts(self, engine: Any) -> dict[str, int]:
        batch, residents = engine.committer.batch, engine.residents
        lives = list(residents._live.values())
        return {
            "in the inbox": len(engine.inbox),
            "in a batch": len(batch.touches) + len(batch.deliveries) + len(batch.settled),
            "commands unsettled": engine.dispatcher.unsettled,
            "commands parked": len(engine.dispatcher._parking) + len(engine.dispatcher.refusals),
            "steps that wait for endpoints": len(engine.dispatcher.waiting),
            "messages unsettled": len(engine.publisher),
            "somebody waits for": len(engine.waiters),
            "executions parked": len(residents.parked),
            "being deleted": len(engine.deleting),
            "pinned": sum(bool(live.pins) for live in lives),
            "timers of what has ended": sum(
                engine.timers.time(live.id) is not None
                for live in lives
                if live.status.name in ENDED
            ),
            "by a fault of ours": engine.counters["poison"],
        }


class NothingOutAtWorkers(Invariant):
    """A worker runs no handler for longer than its time, and nothing waits for its turn."""

    name = "nothing out at workers"

    def end(self) -> None:
        """Look into all workers."""
        running = Counter(call.process for call in running_calls(self.evidence))
        for member in self.evidence.world.cluster.members.values():
            host = None if member.app is None else member.app.host
            worker = None if host is None else host.worker
            if worker is None or not member.process.is_running:
                continue
            snapshot = worker.snapshot()
            if snapshot.running > running[member.process.name] or snapshot.waiting:
                held = f"{snapshot.running} handlers run and {snapshot.waiting} wait"
                self.broken(f"{member.process.name}: {held}")


def running_calls(evidence: Evidence) -> list[Began]:
    """Return the calls of handlers that run still, in processes that live and within their time.

    Args:
        evidence: What is known.
    """
    processes, ledger = evidence.world.simulation.processes, evidence.ledger
    found: list[Began] = []
    for calls in ledger.calls.values():
        for call in calls:
            process = processes.get(call.process)
            if call.number not in ledger.ends and process is not None and process.is_running:
                found.append(call)
    return [call for call in found if evidence.now_s() - call.at_s <= _time_s(evidence, call)]


def _time_s(evidence: Evidence, call: Began) -> float:
    execution = evidence.model.executions.get(call.execution)
    if execution is None:
        return 0.0
    found = locate(evidence.model.definitions, execution, call.path)
    return 0.0 if found is None else found[0].timeout_ms / 1000
