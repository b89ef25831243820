"""A turn: one decision in the making, with what goes into it and what is said about the event.

`decide` makes a turn for each event; its handlers and the programs work on it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

from flow.errors import FlowError
from flow.kernel.execution import EXECUTION, ExecutionData, execution_clock
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
]


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


class Turn:
    """One decision in the making: the tree, and the moment as the execution sees it."""

    __slots__ = ("now_ms", "random", "root", "tree")

    def __init__(self, tree: Tree, moment: Moment) -> None:
        """Begin to decide about *tree* at *moment*."""
        self.tree = tree
        self.root = tree.root
        self.root.read(EXECUTION)
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
        """Whether new attempts may be made."""
        return self.root.state is Status.RUNNING


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

    def unrepeatable(self, turn: Turn) -> Sequence[str]:
        """Return the paths of failed steps that would have to run again, and must not."""
        ...

    def revive(self, turn: Turn) -> None:
        """Prepare everything to try again what has failed."""
        ...
