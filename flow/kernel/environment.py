"""How code outside a transition gets at a tree: with the time, and through checked references."""

from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum

from flow.errors import StaleReference
from flow.kernel.machine import Ref, Task
from flow.kernel.tree import Node, Tree

__all__ = ["Access", "Environment"]


class Access(Enum):
    """What a reference is opened for."""

    READ = "read"
    WRITE = "write"


class Environment:
    """A tree at a moment in time.

    Args:
        tree: The tree.
        now_ms: The moment, in milliseconds.
    """

    __slots__ = ("_now_ms", "tree")

    def __init__(self, tree: Tree, now_ms: int) -> None:
        """Look at *tree* at the moment *now_ms*."""
        self.tree = tree
        self._now_ms = now_ms

    def now(self) -> int:
        """Return the moment, in milliseconds."""
        return self._now_ms

    def validate(self, ref: Ref, task: Task | None = None) -> Node:
        """Return the node that *ref* refers to, if it has not moved on.

        Args:
            ref: The reference.
            task: The task that it was handed out with; it then decides what moving on means.

        Raises:
            StaleReference: The node is gone, is another one by now, or has moved on; or the
                reference comes from a future that this tree has not seen.
        """
        node = self.tree.find(ref.path)
        if max(ref.created, ref.updated) > self.tree.number:
            raise StaleReference(ref.path, "it is ahead of this tree")
        if node is None:
            raise StaleReference(ref.path, "the node is gone")
        if node.created != ref.created:
            raise StaleReference(ref.path, "the node was deleted and made again")
        if task is not None and not task.validate(ref, node):
            raise StaleReference(ref.path, "the task is not wanted any more")
        if task is None and ref.updated not in (0, node.updated):
            raise StaleReference(ref.path, "the node has changed")
        return node

    @contextmanager
    def access(self, ref: Ref, access: Access, task: Task | None = None) -> Generator[Node]:
        """Open the node that *ref* refers to.

        Args:
            ref: The reference; it is validated first.
            access: READ, in which every write raises ReadOnlyAccess, even if a transaction is
                open; or WRITE, in which an exception that leaves the block undoes all that
                happened inside.
            task: The task that it was handed out with; see `validate`.

        Raises:
            StaleReference: The node has moved on.
        """
        node = self.validate(ref, task)
        tree = self.tree
        with tree.reading() if access is Access.READ else tree.transaction():
            yield node

    def execute(self, ref: Ref, task: Task) -> None:
        """Carry out a task with the executor that is registered for its type.

        Args:
            ref: The reference that it was handed out with.
            task: The task.

        Raises:
            NotRegistered: Its type has no executor.
            StaleReference: The node does not want it any more.
        """
        executor = self.tree.registry.executor(type(task))
        self.validate(ref, task)
        executor(self, ref, task)
