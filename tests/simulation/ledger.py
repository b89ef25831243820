"""The ledger: what handlers, clients and people saw, written down outside of every process.

Nothing of the system under test can lose it, and none of it is believed because the system says
so. A handler writes when it begins and when it ends; a client writes what it asks for and what
it was answered; the nemesis writes that it disturbs, and when all is well again.

    began = ledger.began(process, context, body)          a handler, before anything else
    ledger.ended(began, "success", output)                the same one, last of all
    ledger.asked("e1")                                    before a start is sent, however
    ledger.accepted("e1")                                 its start was answered
    wait = ledger.waits(process, "the result of e1")      before waiting for anything
    ledger.answered("e1", "SUCCESS", output)              the end was told, whoever waited for it
    ledger.served(wait)                                   whatever came of it
    ledger.wants("e1", "resume")                          before a command is sent
    ledger.controlled("e1", "resume", "RUNNING")          it was acknowledged
    ledger.disturbed()                                    something goes wrong now
    ledger.healed()                                       from now on nothing does
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flow import StepContext

__all__ = [
    "Accepted",
    "Answered",
    "Asked",
    "Began",
    "Controlled",
    "Ended",
    "Entry",
    "Healed",
    "Ledger",
    "Waiting",
    "Wanted",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """A handler has begun.

    Args:
        number: Which call of a handler it is, 1 for the first of all.
        at_s: When.
        process: The process that it runs in.
        execution: The execution's id.
        path: The path of the step.
        endpoint: What was called.
        attempt: The number of the attempt.
        key: The idempotency key.
        body: The input, decoded.
    """

    number: int
    at_s: float
    process: str
    execution: str
    path: str
    endpoint: str
    attempt: int
    key: str
    body: Any


@dataclass(frozen=True, slots=True)
class Ended:
    """A handler has ended: with `success` and an output, `skip`, `failure` or `cancelled`."""

    at_s: float
    began: Began
    outcome: str
    output: Any = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody is about to ask for the start of an execution."""

    execution: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The start of an execution was answered."""

    execution: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody was told how an execution has ended, and its output if that is known."""

    execution: str
    status: str
    output: Any = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Somebody is about to command; the target is an execution, or the workflow for a pause."""

    target: str
    verb: str


@dataclass(frozen=True, slots=True)
class Controlled:
    """A command was acknowledged, with a status if it is about one execution."""

    target: str
    verb: str
    status: str


@dataclass(frozen=True, slots=True)
class Healed:
    """From now on nothing goes wrong any more."""


Entry = Began | Ended | Asked | Accepted | Answered | Wanted | Controlled | Healed


@dataclass(slots=True, eq=False)
class Waiting:
    """Somebody waits for an answer.

    Args:
        process: The process that waits. Once it is dead, it waits no more.
        what: What for.
        since_s: Since when.
        is_served: Whether anything came of it.
    """

    process: str
    what: str
    since_s: float
    is_served: bool = False


class Ledger:
    """What handlers, clients and people saw.

    Args:
        now: Returns the virtual time in seconds.

    Attributes:
        listeners: Called with each entry, at once.
        calls: The calls of handlers, by execution and path.
        ends: How they ended, by their numbers; those of processes that died did not end.
        started: The executions that somebody has asked for, in order.
        taken: Those of them whose start was answered.
        waiting: Who waits, or waited, for an answer.
        disturbed_s: When something went wrong last.
        healed_s: Since when nothing goes wrong any more, or None.
        leaving: The processes that are on their way out in good order.
        observer: The observer of the run, if it is watched; see `tests.simulation.observers`.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Begin empty."""
        self.listeners: list[Callable[[Entry], None]] = []
        self.calls: dict[tuple[str, str], list[Began]] = {}
        self.ends: dict[int, Ended] = {}
        self.started: dict[str, None] = {}
        self.taken: dict[str, None] = {}
        self.waiting: list[Waiting] = []
        self.disturbed_s = 0.0
        self.healed_s: float | None = None
        self.leaving: set[str] = set()
        self.observer: Any = None
        self._now = now
        self._count = 0

    # ------------------------------------------------------------------------ handlers

    def began(self, process: str, context: StepContext, body: Any) -> Began:
        """Note that a handler has begun, before it does anything else.

        Args:
            process: The process that it runs in.
            context: What the handler was given.
            body: Its input, decoded.
        """
        self._count += 1
        began = Began(
            number=self._count,
            at_s=self._now(),
            process=process,
            execution=context.execution_id,
            path=context.path,
            endpoint=context.endpoint,
            attempt=context.attempt,
            key=context.idempotency_key,
            body=body,
        )
        self.calls.setdefault((began.execution, began.path), []).append(began)
        self._tell(began)
        return began

    def ended(self, began: Began, outcome: str, output: Any = None) -> None:
        """Note how a handler ends, before it returns or raises.

        Args:
            began: What `began` returned.
            outcome: `success`, `skip`, `failure` or `cancelled`.
            output: What it returns.
        """
        ended = Ended(self._now(), began, outcome, output)
        self.ends[began.number] = ended
        self._tell(ended)

    # ------------------------------------------------------------------------- clients

    def asked(self, execution: str) -> None:
        """Note that the start of an execution is asked for, before it is.

        Args:
            execution: Its id.
        """
        self.started[execution] = None
        self._tell(Asked(execution))

    def accepted(self, execution: str) -> None:
        """Note that a start was answered.

        Args:
            execution: The execution's id.
        """
        self.taken[execution] = None
        self._tell(Accepted(execution))

    def answered(self, execution: str, status: str, output: Any = None) -> None:
        """Note that somebody was told how an execution has ended.

        Args:
            execution: Its id.
            status: How.
            output: With what, if it succeeded.
        """
        self._tell(Answered(execution, status, output))

    def waits(self, process: str, what: str) -> Waiting:
        """Note that somebody waits for an answer.

        Args:
            process: Where.
            what: What for, for people.

        Returns:
            What to give to `served`.
        """
        waiting = Waiting(process, what, self._now())
        self.waiting.append(waiting)
        return waiting

    def served(self, waiting: Waiting) -> None:
        """Note that somebody waits no longer: they have an answer, or an error.

        Args:
            waiting: What `waits` returned.
        """
        waiting.is_served = True

    # ------------------------------------------------------------------------- control

    def wants(self, target: str, verb: str) -> None:
        """Note that somebody commands, before the command is sent.

        Args:
            target: The execution, or the workflow for `pause` and `unpause`.
            verb: What they want.
        """
        self._tell(Wanted(target, verb))

    def controlled(self, target: str, verb: str, status: str = "") -> None:
        """Note that a command was acknowledged; one that was refused is not noted.

        Args:
            target: The execution, or the workflow.
            verb: What was wanted.
            status: The status that was answered.
        """
        self._tell(Controlled(target, verb, status))

    # ------------------------------------------------------------------------- nemesis

    def disturbed(self) -> None:
        """Note that something goes wrong now."""
        self.disturbed_s = self._now()
        self.healed_s = None

    def healed(self) -> None:
        """Note that from now on nothing goes wrong any more."""
        self.healed_s = self._now()
        self._tell(Healed())

    def _tell(self, entry: Entry) -> None:
        for listener in self.listeners:
            listener(entry)
