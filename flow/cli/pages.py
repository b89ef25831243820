"""Documents as pages for people: the list, one execution as a tree, its history, steps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from flow import codec
from flow.cli.failures import one_line
from flow.cli.output import aligned, status_text
from flow.cli.times import ago, moment, took
from flow.clock import HybridClock
from flow.status import ENDED, Status
from flow.step import DEFAULT_TIMEOUT, StepDefinition, StepKind
from flow.workflow import WorkflowDefinition

__all__ = ["changes", "execution_list", "execution_page", "headline", "history_page", "steps_page"]

_BODY_SHOWN: Final = 300
_ENDED: Final = frozenset(status.value for status in ENDED)
_DONE: Final = frozenset({Status.SUCCESS.value, Status.SKIPPED.value})
_TO_MS: Final = 1_000
_REASONS: Final = {"skip": "left out by --skip", "start_at": "before --start-at"}
"""What the start options that keep steps from running are called on the command line."""

Document = Mapping[str, Any]


def execution_list(rows: Sequence[Document], now_ms: int) -> list[Text]:
    """Return executions as a table.

    Args:
        rows: What `list` answered.
        now_ms: The present.
    """
    table = [
        (
            row["id"],
            row["workflow"],
            status_text(row["status"]),
            ago(row["created_ms"], now_ms),
            took((row["ended_ms"] or now_ms) - row["created_ms"]),
            Text(one_line(row["incident"]), "red"),
        )
        for row in rows
    ]
    return aligned(table, ("ID", "WORKFLOW", "STATUS", "STARTED", "TOOK", ""))


def headline(view: Document, now_ms: int) -> Text:
    """Return an execution in one line.

    Args:
        view: What `show` answered.
        now_ms: The present.
    """
    begun = view["started_ms"]
    times = f"started {ago(begun, now_ms)}"
    if view["ended_ms"] is None:
        times += f", running for {took(now_ms - begun)}"
    else:
        times += f", took {took(view['ended_ms'] - begun)}"
    return Text.assemble(
        (view["id"], "bold"), f"  {view['workflow']}  ", status_text(view["status"]), f"  {times}"
    )


def execution_page(view: Document, now_ms: int, told: str = "") -> list[Text]:
    """Return an execution with all its steps as a tree.

    Args:
        view: What `show` answered.
        now_ms: The present.
        told: What is said elsewhere, and is left out here: why it failed.
    """
    lines = [headline(view, now_ms), *_tree(view, now_ms, told)]
    facts: list[tuple[str, Text | str]] = []
    if view["labels"]:
        facts.append(("labels", ", ".join(f"{k}={v}" for k, v in view["labels"].items())))
    facts.append(("input", _body(view["input"])))
    if view["status"] == Status.SUCCESS.value:
        facts.append(("output", _body(view["output"])))
    if view["failure"] and not told:
        facts.append(("failure", Text(_failure(view["failure"]), "red")))
    if view["incident"]:
        facts.append(("incident", Text(one_line(view["incident"]), "red")))
    return [*lines, *aligned([(Text(name, "dim"), value) for name, value in facts])]


def history_page(records: Sequence[Document]) -> list[Text]:
    """Return the history of an execution, a line for each thing that happened.

    Args:
        records: What `history` answered.
    """
    rows: list[tuple[str, ...]] = []
    for record in records:
        at_ms, _ = HybridClock.parse(record["hlc"])
        for kind, _, actor, reason in record["causes"]:
            by = f"by {actor}" if actor else ""
            rows.append((str(record["seq"]), moment(at_ms), kind, one_line(f"{reason} {by}")))
    return aligned(rows)


def steps_page(definitions: Sequence[WorkflowDefinition]) -> list[Text]:
    """Return the steps of workflows as a table.

    Args:
        definitions: The workflows.
    """
    rows = [
        (step.id, definition.id, step.target, ", ".join(step.requires), policy(step))
        for definition in definitions
        for step in definition.steps
    ]
    return aligned(rows, ("STEP", "WORKFLOW", "TARGET", "REQUIRES", "POLICY"))


def policy(step: StepDefinition) -> str:
    """Return what differs from the defaults in how a step is carried out.

    Args:
        step: The step.
    """
    parts: list[str] = [] if step.kind is StepKind.CALL else [step.kind.value]
    if step.retry is not None:
        parts.append(f"{step.retry.max_attempts} attempts")
    if step.timeout_ms != int(DEFAULT_TIMEOUT * _TO_MS):
        parts.append(f"timeout {took(step.timeout_ms)}")
    if step.start_within_ms is not None:
        parts.append(f"start within {took(step.start_within_ms)}")
    if step.fallback:
        parts.append(f"fallback {step.fallback}")
    if step.optional:
        parts.append("optional")
    if step.concurrency is not None:
        parts.append(f"{step.concurrency} at once")
    return ", ".join(parts)


def changes(before: Document | None, view: Document, now_ms: int) -> list[Text]:
    """Return a line for each step, and for the whole, whose status has changed; and a new incident.

    Args:
        before: What `show` answered the time before, or None.
        view: What it answered now.
        now_ms: The present.
    """
    old = {} if before is None else dict(_statuses(before))
    rows: list[tuple[Text | str, ...]] = []
    for name, step in _all_steps(view["steps"], ""):
        if old.get(name, Status.PENDING.value) != step["status"]:
            details = Text("  ").join(_details(step, view, now_ms))
            rows.append((moment(now_ms)[11:19], name, status_text(step["status"]), details))
    if old.get("") != view["status"]:
        since = took((view["ended_ms"] or now_ms) - view["started_ms"])
        rows.append((moment(now_ms)[11:19], view["id"], status_text(view["status"]), since))
    if view["incident"] and (before is None or before["incident"] != view["incident"]):
        incident = Text(one_line(view["incident"]), "red")
        rows.append((moment(now_ms)[11:19], view["id"], Text("incident", "red"), incident))
    return aligned(rows) if rows else []


def _statuses(view: Document) -> Iterator[tuple[str, str]]:
    yield "", view["status"]
    for name, step in _all_steps(view["steps"], ""):
        yield name, step["status"]


def _all_steps(steps: Sequence[Document], prefix: str) -> Iterator[tuple[str, Document]]:
    for step in steps:
        name = prefix + step.get("hook", step["id"])
        yield name, step
        yield from _all_steps(_below(step), f"{name}/")


def _below(step: Document) -> Sequence[Document]:
    """Return what is shown below a step: the steps inside, and its undo."""
    undo = step.get("undo")
    inner = step.get("steps", ())
    return inner if undo is None else [*inner, {**undo, "id": "undo"}]


# ---------------------------------------------------------------------------------- the tree


def _tree(view: Document, now_ms: int, told: str) -> list[Text]:
    rows: list[tuple[Text | str, ...]] = []
    for guide, step, siblings in _branches(view["steps"], ""):
        name = Text.assemble((guide, "dim"), step["id"])
        if "hook" in step:
            name.append(f" ({step['hook']})", "dim")
        details = Text("  ").join(_details(step, {**view, "steps": siblings}, now_ms, told))
        rows.append((name, status_text(step["status"]), details))
    return aligned(rows) if rows else []


def _branches(
    steps: Sequence[Document], guide: str
) -> Iterator[tuple[str, Document, Sequence[Document]]]:
    for number, step in enumerate(steps, start=1):
        is_last = number == len(steps)
        yield f"{guide}{'└─' if is_last else '├─'} ", step, steps
        yield from _branches(_below(step), f"{guide}{'   ' if is_last else '│  '}")


def _details(step: Document, view: Document, now_ms: int, told: str = "") -> Iterator[Text]:
    """Yield what there is to say about a step beside its status."""
    status = step["status"]
    if status in _ENDED and step.get("ended_ms") and step.get("sent_ms"):
        yield Text(took(step["ended_ms"] - step["sent_ms"]))
    if status == Status.RUNNING.value and step.get("sent_ms"):
        yield Text(f"for {took(now_ms - step['sent_ms'])}")
    if step["attempt"] > 1:
        yield Text(f"attempt {step['attempt']}")
    if step.get("due_ms"):
        yield Text(f"again in {took(step['due_ms'] - now_ms)}")
    if "waiting_for" in step:
        yield Text(f"waits: nobody serves {step['waiting_for']}", "yellow")
    elif status == Status.PENDING.value:
        yield Text(_waits_for(step, view), "dim")
    if step.get("progress") is not None:
        yield Text(f"progress {_body(step['progress'])}")
    yield from _reason(step, told)


def _reason(step: Document, told: str) -> Iterator[Text]:
    """Yield why a step failed or did not run, unless that is told elsewhere."""
    if step.get("failure"):
        failure = _failure(step["failure"])
        if failure not in told:
            yield Text(failure, "red")
    elif step.get("reason"):
        yield Text(_REASONS.get(step["reason"], one_line(step["reason"])), "dim")


def _waits_for(step: Document, view: Document) -> str:
    if view["status"] in _ENDED:
        return "not run"
    open_steps = {other["id"] for other in view["steps"] if other["status"] not in _DONE}
    missing = [name for name in step.get("requires", ()) if name in open_steps]
    return f"waits for {', '.join(missing)}" if missing else ""


def _failure(document: Document) -> str:
    return one_line(str(codec.decode_failure(document)))


def _body(value: Any) -> str:
    text = codec.dumps(value).decode()
    return text if len(text) <= _BODY_SHOWN else f"{text[:_BODY_SHOWN]}… ({len(text):,} characters)"
