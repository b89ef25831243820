"""What happened to a tree since its changes were last taken, and the way back.

Whatever is collected carries the number of its transition, and numbers only grow: to go back to a
number is to cut off what has a higher one. What was done in place is undone step by step.
"""

from collections.abc import Iterable
from typing import Any, Final

from flow.kernel.machine import NodeSnapshot, Output, Ref, Task, new_tuple

__all__ = ["ChangeLog"]

# What a log holds outside of its blocks, where nothing is written: the same for all of them. Each
# list of its own that lives as long as an execution costs the garbage collector 2 µs, and here
# would be five.
_NONE_DELETED: Final[list[NodeSnapshot]] = []
_NONE_WRITTEN: Final[dict[Any, int]] = {}
_NO_OUTPUTS: Final[list[Output]] = []
_NO_STEPS: Final[list[tuple[Any, ...]]] = []


class ChangeLog:
    """What happened to a tree since the last `take`, and the way back; as a context, a transaction.

    Attributes:
        number: How many transitions there were.
        deleted: The deletions, with their numbers.
        written: The nodes that were written, with the number of the first time.
        outputs: What the transitions asked for.
        undo: The way back: functions, each with its arguments behind it.
        writable: Whether a block is open, and no reading around it or inside.
    """

    __slots__ = ("_mark", "_seals", "deleted", "number", "outputs", "undo", "writable", "written")

    def __init__(self) -> None:
        """Begin with nothing."""
        self.number = 0
        # The first three only grow, at their ends.
        self.deleted: list[NodeSnapshot] = _NONE_DELETED
        self.written: dict[Any, int] = _NONE_WRITTEN
        self.outputs: list[Output] = _NO_OUTPUTS
        self.undo: list[tuple[Any, ...]] = _NO_STEPS
        self.writable = False
        # Where the present block began, and the mark of the block around it; empty outside.
        self._mark: tuple[Any, ...] = ()
        self._seals = 0

    def __enter__(self) -> None:
        if not self._mark:
            self.undo = []
            if self.written is _NONE_WRITTEN:
                self.deleted, self.written, self.outputs = [], {}, []
        self._mark = (len(self.undo), self.number, self._mark)
        self.writable = not self._seals

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        steps, number, self._mark = self._mark
        if kind is not None:
            self.go_back(steps, number)
        if not self._mark:
            self.undo = _NO_STEPS
            self.writable = False

    def seal(self) -> None:
        """Let nothing be written until `unseal`, not in blocks that are opened meanwhile either."""
        self._seals += 1
        self.writable = False

    def unseal(self) -> None:
        """Undo one `seal`."""
        self._seals -= 1
        self.writable = not self._seals and bool(self._mark)

    def go_back(self, steps: int, number: int) -> None:
        """Undo what happened since there were so many steps in `undo`, and *number* transitions."""
        while len(self.undo) > steps:
            act, *arguments = self.undo.pop()
            act(*arguments)
        self.number = number
        while self.deleted and self.deleted[-1].updated > number:
            self.deleted.pop()
        while self.written and next(reversed(self.written.values())) > number:
            self.written.popitem()
        while self.outputs and self.outputs[-1].ref.updated > number:
            self.outputs.pop()

    def ask(self, path: str, created: int, tasks: Iterable[Task]) -> None:
        """Remember what the present transition asks for, about the node of this path and number."""
        ref = new_tuple(Ref, (path, created, self.number))
        for task in tasks:
            self.outputs.append(new_tuple(Output, (ref, task)))

    def note_deletion(self, path: str, *undo: Any) -> None:
        """Remember a node as deleted by the present transition, and how to undo it."""
        self.undo.append(undo)
        self.deleted.append(NodeSnapshot(path, None, updated=self.number))

    def forget(self) -> None:
        """Begin anew after a `take`, which a transaction around it undoes like all else."""
        if self._mark:
            self.undo.append((self._remember, self.deleted, self.written, self.outputs))
            self.deleted, self.written, self.outputs = [], {}, []
        else:
            self.deleted, self.written = _NONE_DELETED, _NONE_WRITTEN
            self.outputs = _NO_OUTPUTS

    def _remember(
        self, deleted: list[NodeSnapshot], written: dict[Any, int], outputs: list[Output]
    ) -> None:
        self.deleted, self.written, self.outputs = deleted, written, outputs
