"""A turn: one decision in the making, with what goes into it and what is said about the event.

`decide` makes a turn for each event; its handlers and the programs work on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol

from flow.errors import FlowError, IncompatibleType
from flow.kernel.execution import EXECUTION, QUIET, ExecutionData, execution_clock
from flow.kernel.tree import Node, Tree
from flow.status import Status
from flow.step import StepDefinition

__all__ = [
    "Accepted",
    "Dropped",
    "Moment",
    "Program",
    "Refused",
    "Turn",
    "Verdict",
    "go_on",
]


# A member of an enum that is looked up takes as long as three calls; this is asked in every turn.
_RUNNING: Final = Status.RUNNING


class Moment(NamedTuple):
    """When a decision is made, and the chance that goes into it.

    Args:
        now_ms: The store's wall time.
        random: A random number, 0 <= random < 1, for the jitter of a retry.
    """

    now_ms: int
    random: float = 0.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event took effect, or had taken effect before. `status` is the execution's by now."""

    status: Status


@dataclass(frozen=True, slots=True)
class Dropped:
    """The event comes too late or twice. It is acknowledged and counted, and changes nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What was asked for is not possible. Whoever asked gets the error."""

    error: FlowError


Verdict = Accepted | Dropped | Refused


_ACCEPTED: Final[dict[Enum, Accepted]] = {status: Accepted(status) for status in Status}
_ADVANCING: Final = frozenset({Status.RUNNING, Status.COMPENSATING})


class Turn:
    """One decision in the making: the tree, and the moment as the execution sees it."""

    __slots__ = ("now_ms", "random", "root", "tree")

    def __init__(self, tree: Tree, moment: Moment) -> None:
        """Begin to decide about *tree* at *moment*."""
        self.tree = tree
        self.root = root = tree.root
        if root.machine is not EXECUTION:
            raise IncompatibleType("", EXECUTION.name, root.machine.name)
        self.now_ms, self.random = moment

    @property
    def execution(self) -> ExecutionData:
        """The root's data."""
        data: ExecutionData = self.root.data
        return data

    @property
    def status(self) -> Status:
        """Where the execution stands."""
        state = self.root.state
        assert isinstance(state, Status), "the root is an execution"
        return state

    @property
    def clock_ms(self) -> int:
        """The execution time."""
        return execution_clock(self.execution, self.now_ms)

    @property
    def running(self) -> bool:
        """Whether new attempts of steps may be made."""
        return self.root.state is _RUNNING

    @property
    def advancing(self) -> bool:
        """Whether new attempts of steps or of undos may be made."""
        return self.root.state in _ADVANCING

    @property
    def accepted(self) -> Accepted:
        """The verdict on an event that took effect."""
        return _ACCEPTED[self.root.state]


class Compensation(Protocol):
    """What undoes the steps of one execution."""

    def settled(self, turn: Turn, step: Node) -> None:
        """Take note that it is known what became of a step that was ended by force."""
        ...

    def give_up_on(self, turn: Turn, step: Node) -> None:
        """Leave a step to a person, because nothing is known of it that its undo waits for."""
        ...


class Sharing(Protocol):
    """What knows which steps have shared values."""

    def conflict(self, node: Node, shared: Mapping[str, bytes]) -> FlowError | None:
        """Return why a step must not share values (JSON, by name), or None."""
        ...

    def note(self, node: Node) -> None:
        """Take note that a step has shared values."""
        ...


class Program(Protocol):
    """What drives a tree: it knows the workflow. The kernel knows only the machines."""

    @property
    def attempts_out(self) -> int:
        """How many attempts are out."""
        ...

    @property
    def timeout_ms(self) -> int | None:
        """How long the execution may take."""
        ...

    @property
    def compensation(self) -> Compensation:
        """What undoes its steps."""
        ...

    @property
    def sharing(self) -> Sharing:
        """What its steps have shared."""
        ...

    def begin(self, turn: Turn, results: Mapping[str, bytes]) -> None:
        """Prepare everything for the first `advance`."""
        ...

    def advance(self, turn: Turn) -> None:
        """Make every attempt that can be made now, and end what is done."""
        ...

    def definition(self, node: Node) -> StepDefinition:
        """Return the definition of the step that a node is."""
        ...

    def may_retry(self, node: Node) -> bool:
        """Return whether another attempt of a step still makes sense for the whole."""
        ...

    def dispatch(self, turn: Turn, node: Node) -> None:
        """Make the next attempt of a step that waited for it."""
        ...

    def landed(self, turn: Turn, node: Node, was: Enum) -> None:
        """Take note that an attempt ended by which the step left the status *was*."""
        ...

    def expire(self, turn: Turn, node: Node) -> None:
        """End an execution or a sub-workflow whose deadline has passed."""
        ...

    def interrupt(self, turn: Turn) -> None:
        """Abort everything that is out or waiting."""
        ...

    def compensate(
        self, turn: Turn, steps: Sequence[str] | None = None, *, again: bool = False
    ) -> None:
        """Prepare the undos of what has run; the execution is COMPENSATING.

        Args:
            turn: The decision in the making.
            steps: The ids of steps; only they and what depends on them are undone. None for all,
                empty for nothing but what was to be undone before.
            again: Whether undos that failed are tried again.
        """
        ...

    def unknown(self, steps: Sequence[str]) -> FlowError | None:
        """Return why steps cannot be found, or None."""
        ...

    def unrepeatable(self, turn: Turn) -> Sequence[str]:
        """Return the paths of failed steps that would have to run again, and must not."""
        ...

    def revive(self, turn: Turn) -> None:
        """Prepare everything to try again what has failed."""
        ...


def go_on(turn: Turn, program: Program) -> Accepted:
    """Do all that can be done now, and return the verdict on the event behind it.

    Args:
        turn: The decision in the making.
        program: What drives it.
    """
    if turn.advancing:
        program.advance(turn)
    elif turn.root.state is Status.SUSPENDING and not program.attempts_out:
        turn.root.apply(QUIET, None)
    return turn.accepted
