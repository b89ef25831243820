"""Planted evidence: runs that never happened, to see that each invariant sees its violation.

A plant begins with a history in which nothing is wrong. A test adds what must not be, and asks
which invariants object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from flow import StepContext, codec
from flow.ports import (
    Commit,
    CommitResult,
    DefinitionRecord,
    Envelope,
    ExecutionSummary,
    ExecutionWrite,
    Lease,
    OutboxRow,
    Publication,
    Settlement,
)
from flow.status import Status
from flow.step import StepDefinition, StepKind
from flow.template import FromRun, FromStep
from flow.testing.simulation.processes import OUTSIDE, SimulatedProcess
from flow.workflow import WorkflowDefinition
from tests.simulation.ledger import Ledger
from tests.simulation.observers import Observer, watch

__all__ = ["EPOCH", "ID", "NOW_MS", "Plant", "command", "inner", "root", "step"]

ID: Final = "e1"
HASH: Final = "0" * 32
NOW_MS: Final = 1_700_000_000_000
EPOCH: Final = 1_000
LEASE: Final = 1 << 32

CREATED: Final = {
    "a": 4,
    "b": 40,
    "once": 60,
    "sub/steps/deep": 80,
    "a/undo": 100,
    "b/undo": 110,
    "sub/steps/deep/undo": 120,
}
"""The transition at which each step was made, and each undo."""

Entry = list[Any]
Causes = Sequence[tuple[str, str, str]]


def definition() -> WorkflowDefinition:
    """Return the workflow of all plants: `b` requires `a`; `once` runs at most once.

    The undo of `a` gets all of its run, and those of `b` and `deep` get what their runs got.
    """
    call, nested = StepKind.CALL, StepKind.WORKFLOW
    undo = StepDefinition(id="undo", kind=call, target="work.undo")
    inside = StepDefinition(id="deep", kind=call, target="work.deep", undo=undo)
    return WorkflowDefinition(
        id="planted",
        steps=(
            StepDefinition(id="a", kind=call, target="work.a", undo=undo._replace(input=FromRun())),
            StepDefinition(
                id="b", kind=call, target="work.b", requires=("a",), input=FromStep("a"), undo=undo
            ),
            StepDefinition(id="once", kind=call, target="work.once", at_most_once=True),
            StepDefinition(
                id="sub",
                kind=nested,
                target="inner",
                workflow=WorkflowDefinition(id="inner", steps=(inside,)),
            ),
        ),
    )


def root(state: str, updated: int = 2, **data: Any) -> Entry:
    """Return the root of an execution, as a record has it."""
    return ["", "execution@1", state, {"epoch": EPOCH, **data}, 1, updated]


def step(name: str, state: str, updated: int, attempt: int = 1, **data: Any) -> Entry:
    """Return a step, as a record has it; a step is as old as its name."""
    created = CREATED.get(name, 90)
    full = {"attempt": attempt, "epoch": EPOCH, "sent_ms": NOW_MS, **data} if attempt else data
    return [f"steps/{name}", "step@1", state, full, created, updated]


def inner(state: str, updated: int, **data: Any) -> Entry:
    """Return the sub-workflow, as a record has it."""
    return ["steps/sub", "sub-workflow@1", state, data, 70, updated]


def command(verb: str, number: int) -> Entry:
    """Return a command that was obeyed, as a record has it."""
    data = {"verb": verb, "status": "RUNNING"}
    return [f"commands/{verb}{number}", "command@1", "SUCCESS", data, number, number]


class Plant:
    """Evidence in the making.

    Attributes:
        process: The process that commits.
        missing: Executions that the database has lost.
        settlement: What the broker does with messages.
        worker: The process that runs handlers.
        observer: The observer.
        ledger: The ledger.
        world: What is observed.
    """

    def __init__(self) -> None:
        """Begin with a lease of partition 0, and with nothing committed."""
        self.clock_s = 0.0
        self.loop = SimpleNamespace(time=lambda: self.clock_s, errors=[])
        self.process = OUTSIDE.copy().run(SimulatedProcess, "one", lambda _: None)
        self.worker = OUTSIDE.copy().run(SimulatedProcess, "worker", lambda _: None)
        self.ledger = Ledger(lambda: self.clock_s)
        self.queues: list[Any] = []
        self.settlement = Settlement.CONFIRMED
        self.hub = SimpleNamespace(publish=self._settle, stats=self._stats)
        self.missing: set[str] = set()
        self.clock = SimpleNamespace(now_ms=self._now_ms, skew_ms=0)
        self.world: Any = self._world()
        self.observer: Observer = watch(self.world)
        body = codec.encode_definition(definition())
        record = DefinitionRecord("planted", HASH, "", body, NOW_MS)
        self.observer.called("save_definition", self.process, (record,), None)
        self._number = 0
        self._stamp = 0
        self._seqs: dict[str, int] = {}
        self.acquire(1)

    def _world(self) -> Any:
        """Return a run as far as anybody looks at it."""
        processes = {"one": self.process, "worker": self.worker}
        database = SimpleNamespace(rows=self._stored, row=partial(_row, self.missing))
        program = SimpleNamespace(may_fail=_never, undo_may_fail=_never)
        return SimpleNamespace(
            simulation=SimpleNamespace(note=_ignore, loop=self.loop, processes=processes),
            cluster=SimpleNamespace(
                store=SimpleNamespace(observers=[]),
                servers=SimpleNamespace(hub=self.hub, database=database),
                members={},
                clock=self.clock,
            ),
            scenario=SimpleNamespace(
                seed_of=str,
                program_of=lambda _id: program,  # pyright: ignore[reportUnknownLambdaType]
                start_of=str,
            ),
            ledger=self.ledger,
        )

    def _settle(self, _publication: Publication) -> Settlement:
        return self.settlement

    def _stats(self) -> Any:
        return SimpleNamespace(queues=self.queues)

    def _now_ms(self) -> int:
        return NOW_MS + int(self.clock_s * 1000)

    def names(self, *, at_the_end: bool = False) -> set[str]:
        """Return the names of the invariants that object.

        Args:
            at_the_end: Whether nothing is left to be done.
        """
        return {each.name for each in self.observer.check(is_end=at_the_end)}

    def _stored(self) -> list[Any]:
        """Return what the database holds: everything that was committed, if it is as it should."""
        return [
            SimpleNamespace(
                summary=each.summary,
                records=[SimpleNamespace(record=record) for record in each.records],
            )
            for each in self.observer.evidence.model.executions.values()
            if each.id not in self.missing
        ]

    # ----------------------------------------------------------------------- the store

    def acquire(self, epoch: int, process: SimulatedProcess | None = None) -> Lease:
        """Give out a lease of partition 0."""
        who = process or self.process
        lease = Lease(0, who.name, epoch)
        self.observer.called("acquire", who, (0, who.name, 15_000), lease)
        return lease

    def write(
        self, nodes: Sequence[Entry], causes: Causes = (), id: str = ID, **changes: Any
    ) -> ExecutionWrite:
        """Return what writes a record: by default the next one, with a row that fits it.

        Args:
            nodes: The nodes of the record.
            causes: Each a type, an id and a reason.
            id: The execution.
            changes: What is other in the row, or `seq` and `stamp` of the record.
        """
        self._stamp += 1
        seq = changes.pop("seq", self._seqs.get(id, 0) + 1)
        stamp = changes.pop("stamp", f"{self._stamp:016x}")
        self._seqs[id] = seq
        known = self.observer.evidence.model.executions.get(id)
        top = next((each for each in nodes if each[0] == ""), None)
        state = top[2] if top else (known.root.state if known else "RUNNING")
        data: Mapping[str, Any] = top[3] if top else (known.root.data if known else {})
        document = {
            "execution": id,
            "seq": seq,
            "hlc": stamp,
            "causes": [[kind, message, "", reason] for kind, message, reason in causes],
            "nodes": list(nodes),
        }
        values: dict[str, Any] = {
            "workflow": "planted",
            "definition": HASH,
            "status": Status[state],
            "ended_ms": data.get("ended_ms"),
            "wake_ms": None if data.get("ended_ms") else NOW_MS,
            "incident": data.get("incident", ""),
            **changes,
        }
        summary = ExecutionSummary(
            id=id, partition=0, created_ms=NOW_MS, updated_ms=NOW_MS, **values
        )
        return ExecutionWrite(summary, seq, codec.dumps(document), is_snapshot=seq == 1)

    def commit(
        self,
        *writes: ExecutionWrite,
        rows: Sequence[OutboxRow] = (),
        settled: Sequence[int] = (),
        lease: Lease | None = None,
        wakes: Sequence[tuple[str, int | None]] = (),
    ) -> None:
        """Have the store apply a commit under a lease, the present one by default."""
        present = lease or self.observer.evidence.model.leases[0]
        gone = tuple((0, number) for number in settled)
        commit = Commit((present,), writes, tuple(rows), gone, wakes=tuple(wakes))
        self.observer.called("commit", self.process, (commit,), CommitResult())

    def record(self, *nodes: Entry, causes: Causes = (), **changes: Any) -> None:
        """Commit a record without a command."""
        self.commit(self.write(nodes, causes, **changes))

    def row(
        self,
        name: str,
        attempt: int = 1,
        task: str = "RunStep",
        id: str = ID,
        *,
        epoch: int = EPOCH,
    ) -> OutboxRow:
        """Return an outbox row for an attempt of a step."""
        self._number = max(self._number, LEASE) + 1
        path, _, _, _, created, _ = step(name, "RUNNING", 0)
        document = {"task": task, "path": path, "node": created}
        document |= {"attempt": attempt, "epoch": epoch}
        return OutboxRow(0, self._number, id, codec.dumps(document))

    def send(self, name: str, attempt: int = 1, kind: str = "step.request") -> None:
        """Have the broker take the message of an attempt."""
        created = step(name, "RUNNING", 0)[4]
        self.publish(kind, f"{ID}/{EPOCH}/{created}/{attempt}")

    def publish(self, kind: str, correlation: str = "", **headers: str) -> None:
        """Have the broker take a message."""
        envelope = Envelope(kind, b"null", "m", correlation, "", headers)
        self.hub.publish(Publication("world.steps", "work.a", envelope))

    def acked(self, kind: str, correlation: str) -> None:
        """Have a message acknowledged."""
        self.world.simulation.note("ack", f"{kind} {correlation}", "one")

    # --------------------------------------------------------------- a history that is right

    def begin(self, id: str = ID, options: Mapping[str, Any] | None = None, **changes: Any) -> None:
        """Commit a start: `a` is out for the first time."""
        self.ledger.asked(id)
        entered: dict[str, Any] = {"workflow": "planted", "definition": HASH, "body": 5}
        entered |= {"options": options} if options else {}
        nodes = [
            root("RUNNING"),
            ["input", "input@1", "SUCCESS", entered, 3, 3],
            step("a", "RUNNING", 5),
        ]
        write = self.write(nodes, [("ExecutionStarted", "m1", "")], id, **changes)
        self.commit(write, rows=[self.row("a", id=id)])

    def call(self, name: str, outcome: str = "", output: Any = None, **seen: Any) -> None:
        """Have a handler begin, and end unless there is no outcome."""
        path = f"steps/{name}"
        context = StepContext(
            endpoint=f"work.{name.rpartition('/')[2]}",
            execution_id=seen.get("id", ID),
            path=path,
            attempt=seen.get("attempt", 1),
            idempotency_key=seen.get("key", f"{ID}:{path}"),
        )
        began = self.ledger.began("worker", context, seen.get("body", 5))
        if outcome:
            self.ledger.ended(began, outcome, output)

    def succeed_a(self) -> None:
        """Send `a`, have it succeed, commit that, and make an attempt of `b`."""
        self.send("a")
        self.call("a", "success", "x")
        told = [("StepSucceeded", "m2", "steps/a attempt 1")]
        done = step("a", "SUCCESS", 6, output="x", ended_ms=NOW_MS)
        write = self.write([done, step("b", "RUNNING", 41)], told)
        self.commit(write, rows=[self.row("b")], settled=[LEASE + 1])

    def end(self, *, is_complete: bool = True) -> None:
        """Have `b` succeed, and the execution with it; all other steps were skipped by then."""
        self.send("b")
        self.call("b", "success", "y", body="x")
        told = [("StepSucceeded", "m3", "steps/b attempt 1")]
        done = step("b", "SUCCESS", 42, output="y", ended_ms=NOW_MS)
        nodes = [done, root("SUCCESS", 95, ended_ms=NOW_MS)]
        if is_complete:
            nodes += [step("once", "SKIPPED", 61, attempt=0), inner("SUCCESS", 71)]
        write = self.write(nodes, told)
        self.commit(write, settled=[LEASE + 2])

    def all_right(self) -> None:
        """Commit a whole history in which nothing is wrong."""
        self.begin()
        self.ledger.accepted(ID)
        self.succeed_a()
        self.end()
        self.ledger.answered(ID, "SUCCESS")


def _row(missing: set[str], name: str) -> str | None:
    return None if name in missing else name


def _never(*_args: Any, **_options: Any) -> bool:
    return False


def _ignore(_what: str, _detail: str, _process: str) -> None:
    """Keep no trace."""
