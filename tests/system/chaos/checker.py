"""The checker: from the evidence of a run to what is wrong with it. Pure.

`RULES` are the rows of the report that have to be zero. What a run may do, and how often it did
it (effects that happened twice, for example), is counted, and wrong for nobody.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from tests.system.chaos.evidence import Command, Effect, Evidence
from tests.system.chaos.history import History, Wrong
from tests.system.chaos.programs import Shape

__all__ = ["RULES", "Finding", "check"]

RULES: Final = (
    "accepted starts lost",
    "unfinished",
    "results recorded twice",
    "effects lost",
    "steps before what they require",
    "attempts while suspended",
    "attempts after an abort",
    "dispatched after abort ack",
    "acknowledged commands lost",
    "effects of no committed attempt",
    "at most once run twice",
    "exactly once not once",
    "innocent failures",
    "wrong idempotency keys",
    "journals with gaps",
    "unexpected refusals",
    "processes that crashed",
)
KINDS: Final = {
    "suspend": "SuspendRequested",
    "resume": "ResumeRequested",
    "abort": "AbortRequested",
}
SKEW_MS: Final = 2_500
"""Orchestrators go by the database's clock, which they know to half of what an answer takes."""
OPEN: Final = frozenset({"PENDING", "RUNNING", "SUSPENDING", "SUSPENDED", "ABORTING"})

Step = tuple[str, str]


@dataclass(slots=True)
class Finding:
    """What came out.

    Args:
        wrong: What must not be, by rule; each rule is there.
        statuses: How many executions have which status.
        once: How many effects happened once.
        repeated: How many steps had their effect more than once.
        incidents: How many executions waited for a person.
        after_abort: How many handlers began after an abort was answered: their attempts were
            committed before, so that this is allowed.
        booked: How many effects happened in a transaction.
    """

    wrong: dict[str, list[str]] = field(
        default_factory=lambda: {rule: list[str]() for rule in RULES}
    )
    statuses: Counter[str] = field(default_factory=Counter[str])
    once: int = 0
    repeated: int = 0
    incidents: int = 0
    after_abort: int = 0
    booked: int = 0

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.wrong.values())

    def add(self, wrongs: Iterable[Wrong]) -> None:
        """Blame somebody."""
        for wrong in wrongs:
            self.wrong[wrong.rule].append(wrong.what)


class _Book:
    """The evidence, so ordered that each rule is a few lines."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.starts = {start.execution: start for start in evidence.starts}
        self.histories: dict[str, History] = {}
        for name, row in evidence.rows.items():
            shape = evidence.shapes[row.workflow]
            self.histories[name] = History.of(name, evidence.records.get(name, ()), shape)
        self.began: dict[Step, list[Effect]] = defaultdict(list)
        self.done: dict[Step, list[Effect]] = defaultdict(list)
        for effect in evidence.effects:
            step = (effect.execution, effect.path)
            if effect.kind == "began":
                self.began[step].append(effect)
            elif effect.kind == "done":
                self.done[step].append(effect)

    def shape(self, execution: str) -> Shape:
        return self.evidence.shapes[self.evidence.rows[execution].workflow]

    def steps(self) -> Iterator[tuple[History, str]]:
        for history in self.histories.values():
            for path in history.attempts:
                yield history, path


def check(evidence: Evidence) -> Finding:
    """Return what is wrong with a run, and what it did.

    Args:
        evidence: All that is known about it.
    """
    book = _Book(evidence)
    finding = Finding()
    finding.add(chain.from_iterable(history.wrong for history in book.histories.values()))
    finding.add(chain.from_iterable(rule(book) for rule in _CHECKS))
    finding.statuses = Counter(row.status for row in evidence.rows.values())
    counts = Counter(len(effects) for step, effects in book.done.items() if not _booked(book, step))
    finding.once = counts[1]
    finding.repeated = sum(counts.values()) - counts[1]
    finding.incidents = sum(1 for row in evidence.rows.values() if row.incident)
    finding.after_abort = len(list(_begun_after_abort(book)))
    finding.booked = len(evidence.bookings)
    return finding


def _booked(book: _Book, step: Step) -> bool:
    return step[0] in book.evidence.rows and step[1] in book.shape(step[0]).booked


# --------------------------------------------------------------------------------- executions


def _lost_starts(book: _Book) -> Iterator[Wrong]:
    for start in book.starts.values():
        if start.accepted_ms is not None and start.execution not in book.evidence.rows:
            yield Wrong("accepted starts lost", f"{start.execution} accepted {start.accepted_ms}")


def _unfinished(book: _Book) -> Iterator[Wrong]:
    for name, row in book.evidence.rows.items():
        if row.status in OPEN:
            history = book.histories[name]
            states = {
                path: state for path, state in history.states.items() if path.startswith("steps/")
            }
            yield Wrong("unfinished", f"{name} is {row.status} {row.incident}: {states}")
        elif row.status != book.histories[name].status:
            # The row and the journal are written together.
            told = book.histories[name].status
            yield Wrong("journals with gaps", f"{name} is {row.status}, its journal says {told}")


def _innocent_failures(book: _Book) -> Iterator[Wrong]:
    for name, row in book.evidence.rows.items():
        start = book.starts.get(name)
        if row.status == "FAILURE" and not (start and start.fails):
            yield Wrong("innocent failures", f"{name} is FAILURE, which was not planned")
        if row.status == "ABORTED" and not _was_aborted(book.histories[name]):
            yield Wrong("innocent failures", f"{name} is ABORTED, which nobody wanted")
    for history, path in book.steps():
        start = book.starts.get(history.execution)
        if start is None or path in book.shape(history.execution).booked:
            # A handler whose transaction is lost fails, and is tried again.
            continue
        is_flaky = path in book.shape(history.execution).flaky
        allowed = 1 + (start.refusals if is_flaky else 0)
        if history.attempts[path] > allowed:
            what = f"{path} took {history.attempts[path]} attempts, and {allowed} were planned"
            yield Wrong("innocent failures", f"{history.execution} {what}")


def _was_aborted(history: History) -> bool:
    return any(kind == KINDS["abort"] for kind, _ in history.commands)


def _refusals(book: _Book) -> Iterator[Wrong]:
    for start in book.starts.values():
        if start.refusal:
            yield Wrong("unexpected refusals", f"{start.execution}: {start.refusal}")
    for command in book.evidence.commands:
        if command.refusal:
            what = f"{command.execution} {command.verb}: {command.refusal}"
            yield Wrong("unexpected refusals", what)


def _crashes(book: _Book) -> Iterator[Wrong]:
    for crash in book.evidence.crashes:
        yield Wrong("processes that crashed", crash)


# ----------------------------------------------------------------------------------- commands


def _lost_commands(book: _Book) -> Iterator[Wrong]:
    for command in book.evidence.commands:
        history = book.histories.get(command.execution)
        if command.answered_ms is None:
            continue
        what = f"{command.execution} {command.verb} answered {command.answered_ms}"
        if history is None or not _is_recorded(command, history):
            yield Wrong("acknowledged commands lost", what)
        elif command.verb == "abort" and history.status not in {"ABORTING", "ABORTED"}:
            yield Wrong("acknowledged commands lost", f"{what}, and it is {history.status}")


def _is_recorded(command: Command, history: History) -> bool:
    """Return whether a command is in the journal.

    An abort of what was aborted before is answered too, and changes nothing: the client asks again,
    with another reason, when nobody has answered.
    """
    if command.verb == "abort":
        return _was_aborted(history)
    return (KINDS[command.verb], command.reason) in history.commands


def _aborts(book: _Book) -> Mapping[str, int]:
    """Return when the abort of each execution was answered first."""
    answered: dict[str, int] = {}
    for command in book.evidence.commands:
        if command.verb == "abort" and command.answered_ms is not None:
            known = answered.get(command.execution, command.answered_ms)
            answered[command.execution] = min(known, command.answered_ms)
    return answered


def _dispatched_after_abort(book: _Book) -> Iterator[Wrong]:
    for name, answered_ms in _aborts(book).items():
        history = book.histories.get(name)
        for (path, number), sent_ms in history.sent_ms.items() if history else ():
            if sent_ms > answered_ms + SKEW_MS:
                what = f"{name} {path}: attempt {number}, {sent_ms - answered_ms} ms after it"
                yield Wrong("dispatched after abort ack", what)


def _begun_after_abort(book: _Book) -> Iterator[Effect]:
    aborts = _aborts(book)
    for (name, _path), effects in book.began.items():
        yield from (each for each in effects if each.at_ms > aborts.get(name, each.at_ms))


# ------------------------------------------------------------------------------------ effects


def _lost_effects(book: _Book) -> Iterator[Wrong]:
    for history in book.histories.values():
        for path, token in history.outputs.items():
            done = book.done.get((history.execution, path), [])
            if _booked(book, (history.execution, path)):
                # What it told before its transaction was committed proves nothing.
                continue
            if token not in {effect.token for effect in done}:
                what = f"{history.execution} {path}: {token} is recorded, and nobody did it"
                yield Wrong("effects lost", what)


def _uncommitted_effects(book: _Book) -> Iterator[Wrong]:
    for (name, path), effects in book.began.items():
        history = book.histories.get(name)
        for effect in effects:
            if history is None or (path, effect.attempt) not in history.sent_ms:
                what = f"{name} {path}: attempt {effect.attempt} ran, and was never committed"
                yield Wrong("effects of no committed attempt", what)


def _unfounded_effects(book: _Book) -> Iterator[Wrong]:
    """Whoever went on, went on from the result that was recorded."""
    for (name, path), effects in book.began.items():
        history = book.histories.get(name)
        if history is None:
            continue
        prefix = path.rpartition("/")[0]
        seen = {pair for effect in effects for pair in effect.seen.items()}
        for step, token in sorted(seen):
            recorded = _recorded(history, f"{prefix}/{step}")
            if recorded != token:
                what = f"{name} {path} has seen {token} of {step}, recorded is {recorded}"
                yield Wrong("steps before what they require", what)


def _recorded(history: History, path: str) -> str | None:
    """Return the token of a step, or of a sub-workflow, which is that of its last step."""
    if path in history.outputs:
        return history.outputs[path]
    return history.outputs.get(f"{path}/steps/right")


def _run_twice(book: _Book) -> Iterator[Wrong]:
    for (name, path), effects in book.began.items():
        if name in book.evidence.rows and path in book.shape(name).once and len(effects) > 1:
            by = [effect.pid for effect in effects]
            yield Wrong("at most once run twice", f"{name} {path} by the processes {by}")


def _not_once(book: _Book) -> Iterator[Wrong]:
    expected: dict[str, str] = {}
    for history in book.histories.values():
        for path in book.shape(history.execution).booked & history.outputs.keys():
            expected[f"{history.execution}:{path}"] = history.outputs[path]
    for key, tokens in book.evidence.bookings.items():
        if len(tokens) > 1:
            yield Wrong("exactly once not once", f"{key} was booked as {tokens}")
    for key, token in expected.items():
        if list(book.evidence.bookings.get(key, ())) != [token]:
            booked = book.evidence.bookings.get(key, ())
            yield Wrong(
                "exactly once not once", f"{key} is recorded as {token}, booked as {booked}"
            )


def _wrong_keys(book: _Book) -> Iterator[Wrong]:
    owners: dict[str, Step] = {}
    for step, effects in book.began.items():
        keys = {effect.key for effect in effects}
        if len(keys) > 1:
            yield Wrong("wrong idempotency keys", f"{step[0]} {step[1]} has several: {keys}")
        for key in keys:
            other = owners.setdefault(key, step)
            if other != step:
                yield Wrong("wrong idempotency keys", f"{key} is that of {step} and of {other}")


_CHECKS: Final = (
    _lost_starts,
    _unfinished,
    _innocent_failures,
    _refusals,
    _crashes,
    _lost_commands,
    _dispatched_after_abort,
    _lost_effects,
    _uncommitted_effects,
    _unfounded_effects,
    _run_twice,
    _not_once,
    _wrong_keys,
)
