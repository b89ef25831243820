"""Reports and state bags of a predecessor: what it says can be said in ours, and said back.

Its words are translated here and nowhere else: a workflow and its steps are one kind of thing
(`isWorkflow`), `execute` is a run, `rollback` an undo, which stands inside of what it takes back,
and an error is a text.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from flow import codec
from flow.codec.moments import decode_moment, encode_moment
from flow.failure import Failure
from flow.report import Action, Report, StepReport
from flow.status import Status
from flow.workflow import OnError, OnUndoError

FOLDER: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "saga" / "serialization"
ABSENT: Final = "the fixtures of the predecessor are not beside the project"

STATUSES: Final = {
    "success": Status.SUCCESS,
    "failed": Status.FAILURE,
    "skipped": Status.SKIPPED,
}
WORDS: Final = {status: word for word, status in STATUSES.items()} | {Status.COMPENSATED: "failed"}
ACTIONS: Final[dict[str, Action]] = {"execute": "run", "rollback": "undo", "prepare": "prepare"}
ACTION_WORDS: Final = {action: word for word, action in ACTIONS.items()}
ON_ERROR: Final[dict[str, OnError]] = {
    "stop": "stop",
    "continue": "continue",
    "rollback": "compensate",
}
ON_ERROR_WORDS: Final = {mode: word for word, mode in ON_ERROR.items()}
ON_UNDO_ERROR: Final[dict[str, OnUndoError]] = {"stop": "stop", "continue": "continue"}

Document = dict[str, Any]


def fixtures(kind: str) -> list[Any]:
    """Return the fixtures of a kind as parameters; one that skips if there are none."""
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    found = [each for each in documents if each["kind"] == kind]
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=ABSENT), id="absent")]
    return [pytest.param(each["json"], id=each["name"]) for each in found]


# ---------------------------------------------------------------------- from theirs to ours


def report_of(theirs: Document) -> Report:
    """Return a workflow's report in our words."""
    undone = [step["rollback"]["status"] for step in theirs["steps"] if "rollback" in step]
    is_clean = bool(undone) and "failed" not in undone and theirs["status"] == "failed"
    entries = [entry_of(step, step["id"]) for step in theirs["steps"]]
    undos = [entry_of(s["rollback"], s["id"]) for s in theirs["steps"] if "rollback" in s]
    return Report(
        workflow=theirs["id"],
        execution="fixture",
        status=Status.COMPENSATED if is_clean else STATUSES[theirs["status"]],
        started_ms=moment_of(theirs, "startTime"),
        ended_ms=moment_of(theirs, "endTime"),
        on_error=ON_ERROR[theirs["executionMode"]],
        on_undo_error=ON_UNDO_ERROR[theirs["rollbackMode"]],
        failure=failure_of(theirs),
        steps=tuple(entries + sorted(undos, key=lambda entry: entry.started_ms or 0)),
    )


def entry_of(theirs: Document, id: str) -> StepReport:
    """Return the report of a run or an undo in our words."""
    return StepReport(
        step=id,
        action=ACTIONS[theirs["action"]],
        status=STATUSES[theirs["status"]],
        started_ms=moment_of(theirs, "startTime"),
        ended_ms=moment_of(theirs, "endTime"),
        attempts=1,
        failure=failure_of(theirs),
        report=report_of(theirs) if theirs["isWorkflow"] else None,
    )


def moment_of(theirs: Document, key: str) -> int | None:
    """Return a time in milliseconds."""
    return decode_moment(theirs[key], key) if key in theirs else None


def failure_of(theirs: Document) -> Failure | None:
    """Return an error text as a failure."""
    return Failure("Error", theirs["error"]) if "error" in theirs else None


# ---------------------------------------------------------------------- from ours to theirs


def theirs_of(report: Report) -> Document:
    """Return our report of a workflow in their words."""
    undos = {entry.step: said_of(entry) for entry in report.steps if entry.action == "undo"}
    steps: list[Document] = []
    for entry in report.steps:
        if entry.action == "undo":
            continue
        inside = {} if entry.report is None else theirs_of(entry.report)
        undo = {"rollback": undos[entry.step]} if entry.step in undos else {}
        steps.append({**inside, "id": entry.step, **said_of(entry), **undo})
    return {
        "id": report.workflow,
        "isWorkflow": True,
        "action": "execute",
        "status": WORDS[report.status],
        **timed_of(report),
        "executionMode": ON_ERROR_WORDS[report.on_error],
        "rollbackMode": report.on_undo_error,
        "steps": steps,
    }


def said_of(entry: StepReport) -> Document:
    """Return our entry of a step in their words."""
    return {
        "isWorkflow": entry.report is not None,
        "action": ACTION_WORDS[entry.action],
        "status": WORDS[entry.status],
        **timed_of(entry),
    }


def timed_of(ours: Report | StepReport) -> Document:
    """Return when something was, and how it failed, in their words."""
    times = (("startTime", ours.started_ms), ("endTime", ours.ended_ms))
    said = {key: encode_moment(at_ms, key) for key, at_ms in times if at_ms is not None}
    return said if ours.failure is None else {**said, "error": ours.failure.message}


# ------------------------------------------------------------------------------------ tests

FORMS: Final[dict[str, Callable[[Report], Report]]] = {
    "dict": lambda report: Report.from_dict(report.to_dict()),
    "json": lambda report: Report.from_json(report.to_json()),
    "yaml": lambda report: Report.from_yaml(report.to_yaml()),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("fixture", fixtures("report"))
def test_a_report_comes_back(fixture: Document, form: str) -> None:
    """A fixture is the same after the way through our report and each of its forms."""
    assert theirs_of(FORMS[form](report_of(fixture))) == fixture


@pytest.mark.parametrize("fixture", fixtures("report"))
def test_a_report_is_understood(fixture: Document) -> None:
    """A workflow that failed and was rolled back is one that was compensated, in order."""
    report = report_of(fixture)
    told = [(entry.step, entry.action, entry.status.value) for entry in report.steps]
    assert report.status is Status.COMPENSATED
    assert told == [("s1", "run", "SUCCESS"), ("s2", "run", "FAILURE"), ("s1", "undo", "SUCCESS")]
    assert (report.on_error, report.on_undo_error) == ("compensate", "continue")


def test_a_nested_report_comes_back() -> None:
    """What no fixture has is translated both ways too: a sub-workflow, a skip, a failed undo."""
    times = {"startTime": "2026-06-17T10:30:00Z", "endTime": "2026-06-17T10:30:00.5Z"}
    run = {"isWorkflow": False, "action": "execute", "status": "success", **times}
    undo = {"isWorkflow": False, "action": "rollback", "status": "failed", **times, "error": "no"}
    modes = {"executionMode": "rollback", "rollbackMode": "stop"}
    whole = {"isWorkflow": True, "action": "execute", "status": "failed", **times, **modes}
    leaf: Document = {"id": "leaf", **run, "rollback": undo}
    inner: Document = {"id": "inner", **whole, "steps": [leaf]}
    skipped: Document = {"id": "skipped", **run, "status": "skipped"}
    outer: Document = {"id": "outer", **whole, "error": "it failed", "steps": [inner, skipped]}
    for form in FORMS.values():
        assert theirs_of(form(report_of(outer))) == outer
    assert [depth for depth, _ in report_of(outer).walk()] == [0, 1, 1, 0]


def described(item: tuple[str, object]) -> tuple[str, str, object]:
    """Return a key and a value with the value's type, for 1 and 1.0 are equal."""
    key, value = item
    return key, type(value).__name__, value


@pytest.mark.parametrize("fixture", fixtures("statebag"))
def test_a_state_bag_comes_back(fixture: Document) -> None:
    """A state bag survives our JSON: of values alone, for the bag itself is not built yet."""
    again = codec.loads(codec.dumps(fixture))
    assert again == fixture
    assert again.keys() == {"local", "global"}
    for name, values in fixture.items():
        assert list(map(described, again[name].items())) == list(map(described, values.items()))
