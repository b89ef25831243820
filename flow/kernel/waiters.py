"""The machine of a waiter: somebody who has to be told how the execution ends, whatever happens.

Theory of operation
-------------------
    PENDING -> SUCCESS              (the execution has ended: the answer has to be sent)
    SUCCESS -> SUCCESS              (asked once more after the end: the answer is sent once more)
    SUCCESS -> PENDING              (the execution has failed, and goes on again)

So who waits is told of each end. An answer that was not sent before the execution went on is not
sent any more: it would tell of an end that is none.

Waiters are children of the root, so that they survive whoever knows them. Those who ask again by
themselves need none of this, and the runtime keeps them in memory.

The answer itself is not kept: it is put together from the tree when it is sent.
"""

from typing import Final, NamedTuple

from flow.errors import TooMany
from flow.kernel.commands import SendAnswer
from flow.kernel.machine import MachineType, Task, Transition
from flow.kernel.tree import Node
from flow.status import ENDED, Status

__all__ = ["WAITER", "WAITERS_MAX", "WaiterData", "answer", "wait", "wait_again"]

WAITERS_MAX: Final = 1_000
"""How many waiters an execution may have in its life."""


class WaiterData(NamedTuple):
    """Who waits.

    Args:
        reply_to: The queue that the answer goes to.
        correlation: What ties the answer to the question.
    """

    reply_to: str
    correlation: str


def _send(_data: WaiterData) -> tuple[Task, ...]:
    return (SendAnswer(),)


def _keep(data: WaiterData, _event: None) -> WaiterData:
    return data


ANSWER: Final = Transition(
    "answer",
    frozenset({Status.PENDING, Status.SUCCESS}),
    Status.SUCCESS,
    _keep,
)
WAIT_AGAIN: Final = Transition(
    "wait",
    frozenset({Status.PENDING, Status.SUCCESS}),
    Status.PENDING,
    _keep,
)

WAITER: Final = MachineType("waiter", 1, Status, WaiterData, {Status.SUCCESS: _send})


def wait(root: Node, name: str, data: WaiterData) -> TooMany | None:
    """Let somebody wait for the end; whoever comes after it is answered at once.

    Args:
        root: The execution.
        name: The same for the same waiter, and for no other.
        data: Who waits.

    Returns:
        Why they cannot, or None.
    """
    waiters = root.collection("waiters", WAITER)
    node, has_ended = waiters.find(name), root.state in ENDED
    if node is not None:
        if has_ended:
            node.apply(ANSWER, None)
    elif len(waiters) >= WAITERS_MAX:
        return TooMany("waiters for one execution", WAITERS_MAX)
    else:
        waiters.add(name, Status.SUCCESS if has_ended else Status.PENDING, data)
    return None


def answer(root: Node) -> None:
    """Have everybody answered who waits, because the execution has ended.

    Args:
        root: The execution.
    """
    for node in root.collection("waiters", WAITER):
        node.apply(ANSWER, None)


def wait_again(root: Node) -> None:
    """Have everybody wait once more who was told, or was to be: the execution goes on.

    Args:
        root: The execution.
    """
    for node in root.collection("waiters", WAITER):
        node.apply(WAIT_AGAIN, None)
