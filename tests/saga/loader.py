"""Turns the predecessor's sagas into workflows of ours, and what ours did into its words.

Nothing outside of this file knows those words: `execute` is a run, `rollback` an undo, a workflow
lists its steps in the order in which they run, and `rollback` is also what a workflow may do after
an error. There, `continue` runs the steps behind a failed one; with us, what depends on it does
not run, so that in such a workflow no step requires the one before it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from flow import Flow, Skip, Step, Workflow
from flow.report import Report, StepReport
from flow.status import Status
from flow.workflow import OnError, OnUndoError

__all__ = ["STATUSES", "Played", "fixtures", "told"]

FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "saga"
ABSENT: Final = "the fixtures of the predecessor are not beside the project"

ON_ERROR: Final[dict[str, OnError]] = {
    "stop": "stop",
    "continue": "continue",
    "rollback": "compensate",
}
ON_UNDO_ERROR: Final[dict[str, OnUndoError]] = {"stop": "stop", "continue": "continue"}
STATUSES: Final = {
    Status.SUCCESS: "success",
    Status.SKIPPED: "skipped",
    Status.FAILURE: "failed",
    Status.ABORTED: "failed",
    # There a workflow that took everything back has failed.
    Status.COMPENSATED: "failed",
}
ACTIONS: Final = {"run": "execute", "undo": "rollback", "prepare": "prepare"}

Document = dict[str, Any]


def fixtures(kind: str) -> list[Any]:
    """Return the fixtures of a folder as parameters; one that skips if there are none."""
    paths = sorted((FOLDER / kind).glob("*.json"))
    if not paths:
        return [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")]
    documents = [json.loads(path.read_text("utf-8")) for path in paths]
    return [pytest.param(each, id=each["name"]) for each in documents]


@dataclass
class Played:
    """A saga of the predecessor's as a flow, and what its handlers did.

    Args:
        app: The flow.
        ran: The steps whose handlers ran, in order.
        undone: The steps whose undos ran, in order.
        interrupt: What is called once, in the middle of `ran NAME` or of `undone NAME`, or None.
    """

    app: Flow = field(default_factory=lambda: Flow("saga", concurrency=1))
    ran: list[str] = field(default_factory=list[str])
    undone: list[str] = field(default_factory=list[str])
    interrupt: tuple[str, Callable[[], object]] | None = None

    def workflow(self, theirs: Document, on_error: str = "stop") -> Workflow[Any]:
        """Return the workflow that a document describes.

        Args:
            theirs: The document.
            on_error: What the workflow around it does after an error, in their words.
        """
        mode = theirs.get("executionMode", on_error)
        steps: list[Step[Any]] = []
        for each in theirs["steps"]:
            before = [] if mode == "continue" else steps[-1:]
            steps.append(self._step(each, before, mode))
        options: dict[str, Any] = {}
        if "executionMode" in theirs:
            options["on_error"] = ON_ERROR[mode]
        if "rollbackMode" in theirs:
            options["on_undo_error"] = ON_UNDO_ERROR[theirs["rollbackMode"]]
        return self.app.workflow(theirs["id"], *steps, **options)

    def _step(self, theirs: Document, requires: list[Step[Any]], mode: str) -> Step[Any]:
        name = theirs["id"]
        if theirs.get("steps"):
            return Step.sub_workflow(self.workflow(theirs, mode), id=name, requires=requires)
        # A step that does nothing has no endpoint to call.
        endpoint = "" if theirs["execute"] == "none" else f"saga.run_{name}"
        step = Step.call(endpoint, id=name, requires=requires, undo=f"saga.undo_{name}")
        self._serve(f"run_{name}", self.ran, name, theirs["execute"])
        self._serve(f"undo_{name}", self.undone, name, theirs.get("rollback", "success"))
        return step

    def _serve(self, method: str, done: list[str], name: str, outcome: str) -> None:
        async def handle() -> None:
            done.append(name)
            where = f"{'ran' if done is self.ran else 'undone'} {name}"
            if self.interrupt is not None and self.interrupt[0] == where:
                (_, interrupt), self.interrupt = self.interrupt, None
                interrupt()
            if outcome == "failed":
                raise RuntimeError(f"{name} was to fail")
            if outcome == "skipped":
                raise Skip("nothing to do")

        handle.__name__ = method
        self.app.endpoint(handle)


def told(report: Report) -> dict[str, Document]:
    """Return what a report tells of each step, in the predecessor's words.

    Args:
        report: The report of the whole.
    """
    found: dict[str, Document] = {}
    for entry in _entries(report):
        if entry.action == "undo":
            found[entry.step]["rollbackStatus"] = STATUSES[entry.status]
        else:
            status, action = STATUSES[entry.status], ACTIONS[entry.action]
            found[entry.step] = {"status": status, "action": action}
    return found


def _entries(report: Report) -> Iterator[StepReport]:
    for entry in report.steps:
        yield entry
        if entry.report is not None:
            yield from _entries(entry.report)
