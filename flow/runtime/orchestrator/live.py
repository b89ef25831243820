"""An execution in memory: its tree, its program, and its timers."""

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, NamedTuple

from flow.kernel.commands import RunStep
from flow.kernel.decide import MACHINES
from flow.kernel.events import Attempt
from flow.kernel.execution import (
    EXECUTION,
    INPUT,
    ExecutionData,
    InputData,
    execution_clock,
)
from flow.kernel.machine import Ref, new_tuple
from flow.kernel.steps import STEP, StepData
from flow.kernel.tree import Node, Output, Tree
from flow.ports import ExecutionSummary
from flow.programs.bodies import Bodies
from flow.programs.steps import StepsProgram
from flow.runtime.protocol import beat_of
from flow.status import ENDED, Status

__all__ = ["LONGEST_SILENCE_MS", "LiveExecution", "Resend", "next_resend_ms", "row_wake_ms"]

FIRST_SILENCE_MS: Final = 60_000
"""How long an attempt may be out before it is sent again."""
LONGEST_SILENCE_MS: Final = 3_600_000
"""The longest time between two sendings of the same attempt."""
_ADVANCING: Final = frozenset({Status.RUNNING, Status.COMPENSATING})
"""The statuses in which timers fire."""
SILENT_BEATS: Final = 3
"""After the time for so many heartbeats the worker of a long step counts as silent."""


class Resend(NamedTuple):
    """An attempt that is sent again when nothing was heard of it until *due_ms* (wall time).

    Args:
        due_ms: When.
        number: Fresh for each, so that nothing behind it is compared.
        path: The step's path.
        attempt: The attempt.
        is_listening: Whether a worker has it, from which something should be heard by then.
    """

    due_ms: int
    number: int
    path: str
    attempt: Attempt
    is_listening: bool = False


def next_resend_ms(sent_ms: int, now_ms: int) -> int:
    """Return when an attempt is to be sent again: 60 s after it was, then after twice as long.

    The times follow from when it was first sent, so nothing has to be remembered: a new owner
    goes on in the same rhythm.

    Args:
        sent_ms: When the attempt was committed.
        now_ms: The present; the time returned lies behind it.
    """
    due, gap = sent_ms + FIRST_SILENCE_MS, FIRST_SILENCE_MS
    while due <= now_ms:
        gap = min(gap * 2, LONGEST_SILENCE_MS)
        if gap == LONGEST_SILENCE_MS:
            return due + gap * ((now_ms - due) // gap + 1)
        due += gap
    return due


class LiveExecution:
    """An execution that is in memory, ready to decide.

    Args:
        id: Its id.
        partition: The partition that it belongs to.
        tree: Its tree.
        program: What drives it.

    Attributes:
        seq: The number of its last sealed record.
        stamp: The stamp of the last record that it was loaded from; empty if it is new.
        summary: Its row as last sealed, or None while it is new.
        size: A rough number of bytes that it takes in memory.
        pins: How many batches and publications still need it in memory.
        waiting: The endpoints that nobody serves at the moment, by the path of the step that
            waits. The dispatcher keeps it while the execution is not in memory.
        progress: What heartbeats said last, by path.
        has_copies: Whether an attempt of it may have been sent twice: it was loaded, or one was
            sent again. Then a worker that never began with its copy knows nothing of the others.
        alarm_ms: A lower bound of when something is due next (wall time), or None. It moves ahead
            when what is new is due sooner, and otherwise only with `set_alarm`: most of what is
            watched is over long before it is due, and nobody has to be told of each step.
    """

    __slots__ = (
        "_input",
        "_numbers",
        "_resends",
        "_timers",
        "alarm_ms",
        "has_copies",
        "id",
        "partition",
        "pins",
        "program",
        "progress",
        "seq",
        "size",
        "stamp",
        "summary",
        "tree",
        "waiting",
    )

    def __init__(self, id: str, partition: int, tree: Tree, program: StepsProgram) -> None:
        """Keep an execution that was started or loaded."""
        self.id = id
        self.partition = partition
        self.tree = tree
        self.program = program
        self.seq = 0
        self.stamp = ""
        self.summary: ExecutionSummary | None = None
        self.size = 2_000
        self.pins = 0
        self.waiting: dict[str, str] = {}
        self.progress: dict[str, Any] = {}
        self.has_copies = False
        self.alarm_ms: int | None = None
        self._input: InputData | None = None
        self._timers: list[tuple[int, int, Output]] = []
        self._resends: list[Resend] = []
        self._numbers = count(1)

    @classmethod
    def new(cls, id: str, partition: int, program: StepsProgram) -> "LiveExecution":
        """Return an execution that has not begun.

        Args:
            id: Its id.
            partition: The partition that it belongs to.
            program: What drives it.
        """
        tree = Tree.create(MACHINES, EXECUTION, Status.PENDING, ExecutionData())
        return cls(id, partition, tree, program)

    @property
    def data(self) -> ExecutionData:
        """The root's data."""
        data: ExecutionData = self.tree.root.data
        return data

    @property
    def input(self) -> InputData:
        """What it was started with. That never changes."""
        if self._input is None:
            self._input = self.tree.node("input").read(INPUT)
        return self._input

    @property
    def status(self) -> Status:
        """Where it stands."""
        # Neither looked up by value nor cast, which is a call: it is asked for 19 times in an
        # execution of three steps.
        state: Any = self.tree.root.state
        status: Status = state
        return status

    @property
    def bodies(self) -> Bodies:
        """The bodies that it has gathered."""
        return Bodies(self.tree, self.program.plan)

    # -------------------------------------------------------------------------- timers

    def watch(self, outputs: Sequence[Output], now_ms: int) -> None:
        """Keep the timers that transitions (or a load) asked for.

        Args:
            outputs: Tasks with their references.
            now_ms: The present.
        """
        for output in outputs:
            task = output.task
            if output.task.deadline_ms is not None:
                heappush(self._timers, (output.task.deadline_ms, next(self._numbers), output))
                self._advance_alarm(self._wall(output.task.deadline_ms))
            elif isinstance(task, RunStep):
                self._watch_silence(output.ref, task, now_ms)

    def due(self, now_ms: int) -> Iterator[Output]:
        """Take out the timers that are due, one after the other.

        Nothing is due while the execution does not run; a resume catches up.

        Args:
            now_ms: The present.
        """
        while (
            self._timers
            and self.status in _ADVANCING
            and self._timers[0][0] <= execution_clock(self.data, now_ms)
        ):
            yield heappop(self._timers)[2]

    def silent(self, now_ms: int) -> Iterator[Node]:
        """Take out the steps of whose attempt nothing is heard, and set the next time.

        It has to be sent again, unless somebody has the permit to run it.

        Args:
            now_ms: The present.
        """
        while self._resends and self._resends[0].due_ms <= now_ms:
            resend = heappop(self._resends)
            node = self._still_out(resend.path, resend.attempt)
            if node is not None:
                data = node.read(STEP)
                if not data.permit:
                    self._push_resend(node.path, resend.attempt, data.sent_ms, now_ms)
                yield node

    @property
    def is_listening(self) -> bool:
        """Whether something should be heard of a long step soon. Only memory knows by when."""
        return any(resend.is_listening for resend in self._resends)

    def heard_of(self, node: Node, now_ms: int) -> None:
        """Put the next sending off, because a worker is alive and at it.

        Args:
            node: The step.
            now_ms: The present.
        """
        data = node.read(STEP)
        attempt = Attempt(node.created, data.epoch, data.attempt)
        self._resends = [entry for entry in self._resends if entry.attempt != attempt]
        self._resends.sort()
        self._listen(node, attempt, now_ms)
        # At once, so that no false alarm moves the row on: a new owner has to look here first.
        self.set_alarm()

    def wake_ms(self) -> int | None:
        """Return when something is due next (wall time), or None."""
        times: list[int] = []
        while self._timers and not _is_wanted(self.tree, self._timers[0][2]):
            heappop(self._timers)
        while self._resends:
            first = self._resends[0]
            if self._still_out(first.path, first.attempt) is not None:
                break
            heappop(self._resends)
        if self._timers and self.status in _ADVANCING:
            times.append(self._wall(self._timers[0][0]))
        if self._resends:
            times.append(self._resends[0].due_ms)
        return min(times, default=None)

    def set_alarm(self) -> None:
        """Find out by when something is due: what was watched may be over, or was put off."""
        if self.status in ENDED:
            # Nothing is watched any more; a resume begins with a `rearm`.
            self._timers.clear()
            self._resends.clear()
            self.alarm_ms = None
        else:
            self.alarm_ms = self.wake_ms()

    def rearm(self, now_ms: int, missed_ms: int = 0) -> None:
        """Ask the tree for its timers again, as after a load or a resume.

        Args:
            now_ms: The present.
            missed_ms: For so long nobody did what came due; that is due now.
        """
        self._timers.clear()
        self._resends.clear()
        self.watch(self.tree.regenerate(), now_ms - missed_ms)
        # But nobody could be heard either.
        self._resends = [
            each._replace(due_ms=each.due_ms + missed_ms) if each.is_listening else each
            for each in self._resends
        ]
        self._resends.sort()
        self.set_alarm()

    # ----------------------------------------------------------------------- privately

    def _wall(self, deadline_ms: int) -> int:
        return deadline_ms + self.data.offset_ms

    def _watch_silence(self, ref: Ref, task: RunStep, now_ms: int) -> None:
        attempt = new_tuple(Attempt, (ref.created, task.epoch, task.attempt))
        node = self._still_out(ref.path, attempt)
        if node is None:
            return
        data: StepData = node.data
        if data.silent_ms is not None:
            return
        if data.started_ms is None or beat_of(self.program.definition(node)) is None:
            self._push_resend(node.path, attempt, data.sent_ms, now_ms)
        else:
            # Whatever was heard before nobody knows any more; it gets its whole time anew.
            self._listen(node, attempt, now_ms)

    def _listen(self, node: Node, attempt: Attempt, now_ms: int) -> None:
        beat = beat_of(self.program.definition(node))
        due = now_ms + (FIRST_SILENCE_MS if beat is None else SILENT_BEATS * beat)
        is_long = beat is not None
        heappush(self._resends, Resend(due, next(self._numbers), node.path, attempt, is_long))
        self._advance_alarm(due)

    def _push_resend(self, path: str, attempt: Attempt, sent_ms: int | None, now_ms: int) -> None:
        sent_ms = sent_ms or now_ms
        due = sent_ms + FIRST_SILENCE_MS
        if due <= now_ms:
            due = next_resend_ms(sent_ms, now_ms)
        values = (due, next(self._numbers), path, attempt, False)
        heappush(self._resends, new_tuple(Resend, values))
        self._advance_alarm(due)

    def _advance_alarm(self, due_ms: int) -> None:
        if self.alarm_ms is None or due_ms < self.alarm_ms:
            self.alarm_ms = due_ms

    def _still_out(self, path: str, attempt: Attempt) -> Node | None:
        node = self.tree.find(path)
        if node is None or node.machine is not STEP or node.state is not Status.RUNNING:
            return None
        data: StepData = node.data
        present = (node.created, data.epoch, data.attempt)
        return node if present == attempt else None


def row_wake_ms(live: LiveExecution, now_ms: int) -> int | None:
    """Return the wake time that is written to an execution's row now.

    While an attempt is out that may be sent again, it is at most `LONGEST_SILENCE_MS` ahead: so a
    sweep finds what is out by the index of wake times. Only heartbeats may be further apart; then
    the row is looked at sooner than it has to be, and written again.

    Args:
        live: The execution.
        now_ms: The present.
    """
    wake_ms, latest = live.alarm_ms, now_ms + LONGEST_SILENCE_MS
    if wake_ms is None or wake_ms <= latest or not live.is_listening:
        return wake_ms
    return latest


def _is_wanted(tree: Tree, output: Output) -> bool:
    node = tree.find(output.ref.path)
    return (
        node is not None
        and node.created == output.ref.created
        and output.task.validate(output.ref, node)
    )
