"""Planted sagas: histories in which `b` has failed, and what ran is taken back.

They go on from those of `planting`. A test adds what must not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from flow.ports import OutboxRow
from tests.simulation.planting import CREATED, EPOCH, ID, LEASE, NOW_MS, Entry, Plant, root, step

__all__ = ["FAILURE", "NEXT", "SagaPlant", "told_of_a", "undo"]

NEXT: Final = EPOCH + 1
"""The run epoch of undos."""
FAILURE: Final = {"type": "builtins.RuntimeError", "message": "no"}


def undo(name: str, state: str, updated: int, attempt: int = 1, **data: Any) -> Entry:
    """Return an undo, as a record has it."""
    return step(f"{name}/undo", state, updated, attempt, **{"epoch": NEXT, **data})


def told_of_a(**changes: Any) -> dict[str, Any]:
    """Return what the undo of `a` is told of its run."""
    told = {"input": 5, "status": "SUCCESS", "output": "x", "failure": None, "attempts": 1}
    return {**told, "run_key": f"{ID}:steps/a", **changes}


class SagaPlant(Plant):
    """Evidence of a saga in the making."""

    def fail_b(self, *others: Entry, rows: Sequence[OutboxRow] = (), **changes: Any) -> None:
        """Have `b` fail, and what ran undone: the undo of `b` goes out.

        Args:
            others: What else the record has.
            rows: The outbox rows for that.
            changes: What is other in `b`.
        """
        self.send("b")
        self.call("b", "failure", body="x")
        told = [("StepFailed", "m3", "steps/b attempt 1: no")]
        data: dict[str, Any] = {
            "ended_ms": NOW_MS,
            "spent": 1,
            "began": True,
            "failure": FAILURE,
            **changes,
        }
        nodes = [
            step("b", "FAILURE", 42, **data),
            self.root("COMPENSATING"),
            undo("a", "PENDING", 101, attempt=0),
            undo("b", "RUNNING", 111),
            *others,
        ]
        out = sorted([*rows, self.undo_row("b")], key=lambda row: row.number)
        self.commit(self.write(nodes, told), rows=out, settled=[LEASE + 2])

    def fail_once(self, **options: Any) -> None:
        """Commit a history that is right until the undo of `b` is out."""
        self.begin(options=options)
        self.ledger.accepted(ID)
        self.succeed_a()
        self.fail_b()

    def root(self, state: str, updated: int = 140, **data: Any) -> Entry:
        """Return the root of what is undone, as a record has it."""
        return root(state, updated, **{"epoch": NEXT, "failure": FAILURE, **data})

    def undo_row(self, name: str) -> OutboxRow:
        """Return an outbox row for the undo of a step."""
        return self.row(f"{name}/undo", epoch=NEXT)

    def undo_b(self, *others: Entry) -> None:
        """Have the undo of `b` succeed, and that of `a` go out."""
        self.land("b", "x")
        done = undo("b", "SUCCESS", 112, output="undone", ended_ms=NOW_MS)
        told = [("StepSucceeded", "m4", "steps/b/undo attempt 1")]
        write = self.write([done, undo("a", "RUNNING", 102), *others], told)
        self.commit(write, rows=[self.undo_row("a")], settled=[LEASE + 3])

    def undo_a(self, *others: Entry) -> None:
        """Have the undo of `a` succeed, and the execution end by that."""
        self.land("a", told_of_a())
        done = undo("a", "SUCCESS", 103, output="undone", ended_ms=NOW_MS)
        told = [("StepSucceeded", "m5", "steps/a/undo attempt 1")]
        ended = self.root("COMPENSATED", 141, ended_ms=NOW_MS)
        self.commit(self.write([done, ended, *others], told), settled=[LEASE + 4])

    def land(self, name: str, body: Any) -> None:
        """Send the undo of a step, and have its handler succeed."""
        created = CREATED[f"{name}/undo"]
        self.publish("step.request", f"{ID}/{NEXT}/{created}/1")
        self.call(f"{name}/undo", "success", "undone", body=body)

    def compensated(self) -> None:
        """Commit a whole saga in which nothing is wrong."""
        self.fail_once()
        self.undo_b()
        self.undo_a()
        self.ledger.answered(ID, "COMPENSATED")
