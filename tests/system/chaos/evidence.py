"""What a chaos run leaves behind, as values: who did what when, and what the store says.

Times are milliseconds since 1970, all of one machine.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from tests.system.chaos.programs import NAMESPACE, Shape

__all__ = [
    "Command",
    "Effect",
    "Evidence",
    "Fault",
    "Life",
    "Row",
    "Sample",
    "Start",
    "load_effects",
    "load_lives",
    "load_store",
    "save",
]

ROWS: Final = (
    "SELECT id, workflow, status, created_ms, ended_ms, incident"
    f' FROM "flow_{NAMESPACE}".execution ORDER BY number'
)
RECORDS: Final = f'SELECT id, record FROM "flow_{NAMESPACE}".history ORDER BY id, seq'
BOOKINGS: Final = "SELECT key, token FROM booking"
WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """An execution that a client wanted.

    Args:
        execution: Its id.
        workflow: Of which workflow.
        refusals: How many first attempts are refused as planned.
        fails: Whether it fails as planned.
        asked_ms: When it was asked for.
        accepted_ms: When that was answered, or None.
        refusal: What it was refused with, or an empty string.
    """

    execution: str
    workflow: str
    refusals: int = 0
    fails: bool = False
    asked_ms: int = 0
    accepted_ms: int | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """Something else that a client wanted of an execution.

    Args:
        execution: Its id.
        verb: `suspend`, `resume` or `abort`.
        reason: The reason that was given, different for each.
        asked_ms: When it was asked for.
        answered_ms: When it was obeyed, as the answer said; None without such an answer.
        refusal: What it was refused with, or an empty string.
    """

    execution: str
    verb: str
    reason: str
    asked_ms: int = 0
    answered_ms: int | None = None
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Effect:
    """A line that a handler wrote.

    Args:
        kind: `began`, `done`, or `refused` (as planned).
        execution: The execution's id.
        path: The step's path.
        attempt: The number of the attempt.
        key: The idempotency key.
        pid: The process.
        at_ms: When.
        token: What it returned, if it is done.
        seen: The tokens that it got, by step.
    """

    kind: str
    execution: str
    path: str
    attempt: int = 1
    key: str = ""
    pid: int = 0
    at_ms: int = 0
    token: str = ""
    seen: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Life:
    """A process that takes part.

    Args:
        pid: Its id.
        role: `worker` or `orchestrator`.
        owner: The name of an orchestrator in the store.
        at_ms: Since when.
    """

    pid: int
    role: str
    owner: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that was broken.

    Args:
        kind: Such as `kill orchestrator` or `cut to broker, one way`.
        target: Which process or server.
        at_ms: When it was broken.
        until_ms: When it was mended: the server answers, the way is open, the process goes on.
            The same as *at_ms* for a kill.
        pid: The process, or 0.
    """

    kind: str
    target: str
    at_ms: int
    until_ms: int
    pid: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """An execution as the store lists it."""

    workflow: str
    status: str
    created_ms: int = 0
    ended_ms: int | None = None
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Who held which partition at a moment: those whose leases had not run out."""

    at_ms: int
    owners: Mapping[int, str]


@dataclass(slots=True, kw_only=True)
class Evidence:
    """All that is known about a run.

    Args:
        shapes: The workflows, by id.
        starts: What clients wanted to start.
        commands: What else they wanted.
        effects: What handlers wrote.
        rows: What the store lists, by id.
        records: Journals, by execution, in order.
        bookings: The tokens in the database of the effects that happen exactly once, by key.
        lives: The processes that took part.
        faults: What was broken.
        samples: Who held the partitions, in order of time.
        crashes: Processes that ended by themselves although they took part, and how.
        gave_up: How many processes ended by themselves before they took part.
        queues: What the broker said of its queues in the end, if something was left to do.
        began_ms: When the faults began.
        healed_ms: When everything was mended.
        ended_ms: When nothing was left to do, or the patience ended.
    """

    shapes: Mapping[str, Shape]
    starts: Sequence[Start] = ()
    commands: Sequence[Command] = ()
    effects: Sequence[Effect] = ()
    rows: Mapping[str, Row] = field(default_factory=dict[str, Row])
    records: Mapping[str, Sequence[Mapping[str, Any]]] = field(
        default_factory=dict[str, Sequence[Mapping[str, Any]]]
    )
    bookings: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    lives: Sequence[Life] = ()
    faults: Sequence[Fault] = ()
    samples: Sequence[Sample] = ()
    crashes: Sequence[str] = ()
    gave_up: int = 0
    queues: str = ""
    began_ms: int = 0
    healed_ms: int = 0
    ended_ms: int = 0


def _whole_lines(path: Path) -> Iterable[dict[str, Any]]:
    """Return the lines of a file; its last one may have been cut off by the end of its writer."""
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def load_effects(folder: Path) -> list[Effect]:
    """Return what all handlers wrote, in order of time.

    Args:
        folder: The folder of their files.
    """
    found = [Effect(**line) for path in folder.glob("*.jsonl") for line in _whole_lines(path)]
    return sorted(found, key=lambda effect: effect.at_ms)


def load_lives(path: Path) -> list[Life]:
    """Return the processes that took part.

    Args:
        path: The file in which they have said so.
    """
    return [Life(**line) for line in _whole_lines(path)] if path.exists() else []


async def load_store(evidence: Evidence, url: str) -> None:
    """Add what the store says, read without any code of the product.

    Args:
        evidence: What is known so far.
        url: The database.
    """
    connection = await asyncpg.connect(url, timeout=WITHIN_S)
    try:
        rows = await connection.fetch(ROWS, timeout=WITHIN_S)
        records = await connection.fetch(RECORDS, timeout=WITHIN_S)
        bookings = await connection.fetch(BOOKINGS, timeout=WITHIN_S)
    finally:
        await connection.close(timeout=WITHIN_S)
    evidence.rows = {
        row["id"]: Row(
            row["workflow"], row["status"], row["created_ms"], row["ended_ms"], row["incident"]
        )
        for row in rows
    }
    journals: dict[str, list[Mapping[str, Any]]] = {}
    for row in records:
        journals.setdefault(row["id"], []).append(json.loads(row["record"]))
    evidence.records = journals
    booked: dict[str, list[str]] = {}
    for row in bookings:
        booked.setdefault(row["key"], []).append(row["token"])
    evidence.bookings = booked


def save(evidence: Evidence, folder: Path) -> None:
    """Write evidence into files of a folder, for people who look for a cause.

    Args:
        evidence: What is known about a run.
        folder: Where to.
    """
    lists: dict[str, Sequence[Start | Command | Fault | Sample]] = {
        "starts": evidence.starts,
        "commands": evidence.commands,
        "faults": evidence.faults,
        "samples": evidence.samples,
    }
    for name, values in lists.items():
        lines = [f"{json.dumps(asdict(value))}\n" for value in values]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    with (folder / "journals.jsonl").open("w") as file:
        for name, row in evidence.rows.items():
            records = evidence.records.get(name, ())
            document = {"execution": name, **asdict(row), "records": records}
            file.write(f"{json.dumps(document)}\n")
    (folder / "queues.txt").write_text(evidence.queues)
