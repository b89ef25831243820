"""The history of an execution: its journal, folded by hand, and what is wrong with it.

Nothing is believed because the runtime says so: records are read as plain JSON.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.system.chaos.programs import Shape

__all__ = ["History", "Wrong"]

HELD: Final = frozenset({"SUSPENDING", "SUSPENDED"})
DOOMED: Final = frozenset({"ABORTING", "ABORTED"})
SATISFYING: Final = frozenset({"SUCCESS", "SKIPPED"})
ROOT: Final = ""


@dataclass(frozen=True, slots=True)
class Wrong:
    """Something that must not be.

    Args:
        rule: Which rule is broken; a row of the report.
        what: Who breaks it, and how.
    """

    rule: str
    what: str


@dataclass(slots=True)
class History:
    """An execution as its journal has it.

    Args:
        execution: Its id.
        states: The present state of each node, by path.
        outputs: The token that each step has returned, by path.
        attempts: How many attempts of each step were committed, by path.
        sent_ms: When each attempt was committed, by path and number.
        told: How often it says that a step has succeeded, by path.
        commands: The commands that it has obeyed: kind and reason.
        wrong: What is wrong with it.
    """

    execution: str
    states: dict[str, str] = field(default_factory=dict[str, str])
    outputs: dict[str, str] = field(default_factory=dict[str, str])
    attempts: Counter[str] = field(default_factory=Counter[str])
    sent_ms: dict[tuple[str, int], int] = field(default_factory=dict[tuple[str, int], int])
    told: Counter[str] = field(default_factory=Counter[str])
    commands: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    wrong: list[Wrong] = field(default_factory=list[Wrong])

    @property
    def status(self) -> str:
        """Where the execution stands."""
        return self.states.get(ROOT, "")

    @classmethod
    def of(cls, execution: str, records: Sequence[Mapping[str, Any]], shape: Shape) -> "History":
        """Return the history that records tell.

        Args:
            execution: The execution's id.
            records: All of them, in order.
            shape: Its workflow.
        """
        history = cls(execution)
        numbers = [record["seq"] for record in records]
        if numbers != list(range(1, len(numbers) + 1)):
            history._blame("journals with gaps", f"has the records {numbers}")
        for record in records:
            history._add(record, shape)
        for path, times in history.told.items():
            if times > 1:
                history._blame("results recorded twice", f"{path}: told {times} times")
        return history

    def _blame(self, rule: str, what: str) -> None:
        self.wrong.append(Wrong(rule, f"{self.execution} {what}"))

    def _add(self, record: Mapping[str, Any], shape: Shape) -> None:
        for kind, _id, _actor, reason in record["causes"]:
            if kind == "StepSucceeded":
                self.told[reason.split(" ")[0]] += 1
            elif kind.endswith("Requested"):
                self.commands.add((kind, reason))
        # Whoever resumes may suspend again before the same commit.
        resumes = any(cause[0] == "ResumeRequested" for cause in record["causes"])
        before = "" if resumes and self.status in HELD else self.status
        nodes = [node for node in record["nodes"] if node[1] is not None]
        for node in record["nodes"]:
            if node[1] is None and node[0] in self.outputs:
                self._blame("results recorded twice", f"{node[0]} has lost its result")
        self.states.update({node[0]: node[2] for node in nodes})
        for path, machine, state, data, *_ in nodes:
            if machine.startswith("step@"):
                self._add_result(path, state, data)
                self._add_attempt(path, data, before, shape)

    def _add_result(self, path: str, state: str, data: Mapping[str, Any]) -> None:
        known = self.outputs.get(path)
        if state != "SUCCESS":
            if known is not None:
                self._blame("results recorded twice", f"{path} had succeeded, and is {state} now")
            return
        output: Mapping[str, str] = data.get("output") or {}
        token = output.get("token", "")
        if known is not None and known != token:
            self._blame("results recorded twice", f"{path}: {known}, then {token}")
        self.outputs[path] = token

    def _add_attempt(self, path: str, data: Mapping[str, Any], before: str, shape: Shape) -> None:
        number = data.get("attempt", 0)
        if number <= self.attempts[path]:
            return
        self.attempts[path] = number
        self.sent_ms[path, number] = data.get("sent_ms") or 0
        what = f"{path}: attempt {number} committed"
        if before in DOOMED:
            self._blame("attempts after an abort", f"{what} while {before}")
        elif before in HELD:
            self._blame("attempts while suspended", f"{what} while {before}")
        missing = list(_missing(self.states, shape.requires.get(path, ())))
        if missing:
            self._blame("steps before what they require", f"{what} before {missing}")


def _missing(states: Mapping[str, str], paths: Iterable[str]) -> Iterable[str]:
    return (path for path in paths if states.get(path) not in SATISFYING)
