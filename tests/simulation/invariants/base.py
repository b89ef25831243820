"""What all invariants have: a name, the evidence they look at, and a way to say what is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple

from flow.ports import Lease, Publication, Settlement
from flow.testing.simulation.processes import SimulatedProcess
from tests.simulation.folding import Committed, Model
from tests.simulation.ledger import Entry, Ledger

__all__ = ["Evidence", "Invariant", "Published", "Read", "Violation"]

TOLD_PER_NAME: Final = 5
"""So many violations of one name are told; the others would say the same."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold.

    Args:
        name: The invariant's.
        text: What was seen.
    """

    name: str
    text: str

    def __str__(self) -> str:
        """Return it as it is printed."""
        return f"{self.name}: {self.text}"


@dataclass(frozen=True, slots=True)
class Read:
    """Something that a process has read from the store.

    Args:
        process: The process.
        method: The store's method.
        args: With which arguments.
        result: What the store answered.
    """

    process: SimulatedProcess
    method: str
    args: tuple[Any, ...]
    result: Any


class Published(NamedTuple):
    """What became of a message when it was published last, or was confirmed last."""

    settlement: Settlement
    at_s: float

    @property
    def is_confirmed(self) -> bool:
        """Whether the broker has taken it."""
        return self.settlement is Settlement.CONFIRMED


@dataclass
class Evidence:
    """What invariants look at, and where they say what is wrong.

    Args:
        world: The run: `simulation`, `cluster`, `scenario` and `ledger`.
        ledger: What handlers and clients saw.
        model: What the store holds, by the observer's own fold.
        published: What the broker was given: by type, correlation id and, for answers, queue.
        largest_skew_ms: By how much the store's clock was wrong at most, in any of its calls.
    """

    world: Any
    ledger: Ledger
    model: Model = field(default_factory=Model)
    published: dict[tuple[str, str, str], Published] = field(
        default_factory=dict[tuple[str, str, str], Published]
    )
    largest_skew_ms: int = 0
    found: list[Violation] = field(default_factory=list[Violation])
    counts: Counter[str] = field(default_factory=Counter[str])

    def now_s(self) -> float:
        """Return the virtual time in seconds."""
        now: float = self.world.simulation.loop.time()
        return now

    def report(self, name: str, text: str) -> None:
        """Say that an invariant does not hold.

        Args:
            name: The invariant's name.
            text: What was seen.
        """
        self.counts[name] += 1
        if self.counts[name] <= TOLD_PER_NAME:
            self.found.append(Violation(name, f"at {self.now_s():.3f} s {text}"))

    def take(self) -> list[Violation]:
        """Return what was found since the last call."""
        found, self.found = self.found, []
        return found


class Invariant:
    """Something that must hold. Subclasses override what they want to hear of.

    Args:
        evidence: What is looked at.
    """

    name: ClassVar[str] = ""

    def __init__(self, evidence: Evidence) -> None:
        """Look at *evidence*."""
        self.evidence = evidence
        self.model = evidence.model
        self.ledger = evidence.ledger

    def broken(self, text: str) -> None:
        """Say that it does not hold.

        Args:
            text: What was seen.
        """
        self.evidence.report(self.name, text)

    def acquired(self, process: SimulatedProcess, lease: Lease, before: Lease | None) -> None:
        """Hear that a lease was given out.

        Args:
            process: To whom.
            lease: The lease.
            before: The lease of the same partition that was given out before it.
        """

    def committed(self, commit: Committed) -> None:
        """Hear that a commit was applied, which the model knows already.

        Args:
            commit: The commit.
        """

    def read(self, read: Read) -> None:
        """Hear that a process has read something from the store.

        Args:
            read: What.
        """

    def heard(self, entry: Entry) -> None:
        """Hear of an entry of the ledger.

        Args:
            entry: The entry.
        """

    def published(self, publication: Publication, settlement: Settlement) -> None:
        """Hear that the broker was given a message.

        Args:
            publication: The message.
            settlement: What it did with it.
        """

    def began_anew(self, process: str) -> None:
        """Hear that a process begins anew: it could not take part, and remembers nothing.

        Args:
            process: The process.
        """

    def acked(self, process: str, kind: str, correlation: str) -> None:
        """Hear that a process acknowledges a message.

        Args:
            process: The process.
            kind: The type of the message.
            correlation: Its correlation id.
        """

    def now(self) -> None:
        """Look at everything, in the middle of a run."""

    def end(self) -> None:
        """Look at everything, when nothing is left to be done."""
