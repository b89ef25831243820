"""A scenario: everything that a run is made of, as a value that follows from a seed.

What happens in a run follows from the scenario and the code alone. A scenario can be made smaller
(`keep`), and the run of what is left is as repeatable as the whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeVar

from flow.testing.simulation.faults import Faults
from flow.workflow import OnError, OnUndoError
from tests.simulation.programs import Program

__all__ = ["Control", "Fault", "FaultKind", "Kept", "Scenario", "Sizes", "Start", "Verb", "Way"]

T = TypeVar("T")

Way = Literal["execute", "run", "trigger", "trigger and wait"]
"""How an execution is started: by a client that only starts it, by one that waits for its end, or
by a plain AMQP message, the answer to which comes at once or at the end."""

Verb = Literal[
    "suspend",
    "stop",
    "resume",
    "abort",
    "retry",
    "pause",
    "unpause",
    "suspend all",
    "resume all",
    "compensate",
    "undo",
    "undo step",
    "resolve",
]
"""What people ask for. `stop` suspends and stops the clock; `retry` resumes what has failed;
`compensate` aborts and takes back what ran; `resolve` deals with one undo that has failed."""

FaultKind = Literal[
    "crash",
    "crash point",
    "pause",
    "cut",
    "jump",
    "store clock",
    "wipe",
    "purge",
    "broker outage",
    "broker blocked",
    "store outage",
    "leave",
    "join",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """An execution, and how it is started.

    Args:
        id: Its id.
        program: The number of the program that it executes.
        at_s: When it is started.
        way: How it is started.
        clients: The numbers of the clients that do it. Two of the same number: one does it twice.
        skip: Steps that are not run.
        optional: Steps whose failure does no harm.
        on_error: What happens when a step has failed for good, or an empty string.
        on_undo_error: Whether undos go on when one has failed, or an empty string.
    """

    id: str
    program: int
    at_s: float
    way: Way
    clients: tuple[int, ...]
    skip: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    on_error: OnError | Literal[""] = ""
    on_undo_error: OnUndoError | Literal[""] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Something that a client asks for while things run.

    Args:
        at_s: When.
        verb: What.
        target: The execution's id, or for a pause the workflow's, or nothing for all executions.
        client: The number of the client.
        step: The step that it is about, if it is about one.
    """

    at_s: float
    verb: Verb
    target: str
    client: int
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong at a certain time.

    Args:
        at_s: When it begins.
        kind: What.
        targets: The names of the processes that it hits; for a purge those of queues.
        duration_s: How long it lasts: until a crashed process is there again, for example.
        servers: Which servers a cut is about: `broker`, `store` or both.
        ways: Which ways a cut is about: `there`, `back` or both.
        amount_ms: By how much a clock jumps.
        point: The point at which a process crashes as soon as it passes it.
    """

    at_s: float
    kind: FaultKind
    targets: tuple[str, ...] = ()
    duration_s: float = 0.0
    servers: tuple[str, ...] = ()
    ways: tuple[str, ...] = ()
    amount_ms: int = 0
    point: str = ""

    def __str__(self) -> str:
        """Return what it is, for people."""
        parts = [f"{self.at_s:.3f} s: {self.kind}", *self.targets]
        parts += [f"at {self.point}"] if self.point else []
        parts += [f"for {self.duration_s:.3f} s"] if self.duration_s else []
        parts += [f"of {' and '.join(self.servers)}"] if self.servers else []
        parts += [" and ".join(self.ways)] if self.ways else []
        parts += [f"by {self.amount_ms} ms"] if self.amount_ms else []
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Which parts of a scenario are kept, by their places in the whole one; None for all.

    Args:
        executions: The executions.
        faults: The faults.
        controls: The controls.
        is_calm: Whether the faults that happen by chance are left out.
    """

    executions: tuple[int, ...] | None = None
    faults: tuple[int, ...] | None = None
    controls: tuple[int, ...] | None = None
    is_calm: bool = False

    def options(self) -> Iterator[str]:
        """Go through the options of the command line that keep just this."""
        for name in ("executions", "faults", "controls"):
            kept: tuple[int, ...] | None = getattr(self, name)
            if kept is not None:
                yield f"--{name} {','.join(map(str, kept)) or 'none'}"
        if self.is_calm:
            yield "--calm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much processes take on. Small numbers reach what otherwise takes a million executions.

    Args:
        live_bytes: How much memory live executions may take in an orchestrator.
        unsettled: How many commands may be on their way before starts have to wait.
        batch: How many events are decided before others get a turn.
        prefetch: How many messages an orchestrator takes from a queue before they are settled.
        page: How many executions are read from the store at once in recoveries and sweeps.
        snapshot_every: After how many records the whole tree is written.
        concurrency: How many handlers run at the same time in a worker.
    """

    live_bytes: int = 256 * 1024 * 1024
    unsettled: int = 20_000
    batch: int = 512
    prefetch: int = 1_000
    page: int = 200
    snapshot_every: int = 256
    concurrency: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a run is made of.

    Args:
        seed: What it was made of, and what all chances of the run follow from.
        orchestrators: How many orchestrators there are in the beginning.
        workers: How many workers.
        clients: How many clients.
        does_all: Whether the orchestrators work as well.
        specialists: Whether all workers but the first serve one service only.
        sizes: How much processes take on.
        partitions: How many partitions the namespace has.
        disorder: How often it is not the oldest callback that runs next.
        step_s: How many virtual seconds a callback takes at most.
        chances: What goes wrong by chance.
        fault_s: When the last fault is over.
        programs: What is executed.
        executions: The executions.
        controls: What clients ask for.
        faults: What goes wrong.
        kept: Which parts of the whole scenario this is.
    """

    seed: int
    orchestrators: int
    workers: int
    clients: int
    does_all: bool
    specialists: bool
    sizes: Sizes
    partitions: int
    disorder: float
    step_s: float
    chances: Faults
    fault_s: float
    programs: tuple[Program, ...]
    executions: tuple[Start, ...]
    controls: tuple[Control, ...]
    faults: tuple[Fault, ...]
    kept: Kept = field(default_factory=Kept)

    def keep(self, kept: Kept) -> Scenario:
        """Return a part of the scenario. It must be a whole one.

        Controls of executions that are not there any more are left out as well.

        Args:
            kept: Which parts.
        """
        executions = _chosen(self.executions, kept.executions)
        # One of a workflow that nobody executes is there from the beginning, and stays.
        gone = self._targets(self.executions) - self._targets(executions)
        controls = _chosen(self.controls, kept.controls)
        return replace(
            self,
            executions=executions,
            controls=tuple(each for each in controls if each.target not in gone),
            faults=_chosen(self.faults, kept.faults),
            chances=Faults() if kept.is_calm else self.chances,
            kept=kept,
        )

    def _targets(self, executions: Sequence[Start]) -> set[str]:
        workflows = {self.programs[start.program].id for start in executions}
        return workflows | {start.id for start in executions}

    def program_of(self, execution: str) -> Program:
        """Return what an execution executes.

        Args:
            execution: Its id.
        """
        return self.programs[self.start_of(execution).program]

    def start_of(self, execution: str) -> Start:
        """Return how an execution is started.

        Args:
            execution: Its id.
        """
        return next(start for start in self.executions if start.id == execution)

    def seed_of(self, execution: str) -> str:
        """Return what the handlers of an execution follow from.

        Args:
            execution: Its id.
        """
        return f"{self.seed} {execution}"

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return asdict(self)

    def command(self) -> str:
        """Return the command that runs it again."""
        return " ".join(["python -m tests.simulation --seed", str(self.seed), *self.kept.options()])


def _chosen(items: tuple[T, ...], places: Collection[int] | None) -> tuple[T, ...]:
    if places is None:
        return items
    return tuple(item for place, item in enumerate(items) if place in places)
