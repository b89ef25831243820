"""Documents as pages."""

from typing import Any

from flow.cli.pages import changes, execution_page, policy, steps_page
from flow.retry import RetryPolicy
from flow.step import Step
from flow.workflow import WorkflowDefinition

NOW_MS = 1_795_329_721_000


def step(id: str, status: str, **more: Any) -> dict[str, Any]:
    """Return a step's document."""
    return {"id": id, "status": status, "attempt": 1, **more}


def view(status: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return an execution's document."""
    return {
        "id": "order-1",
        "workflow": "checkout",
        "status": status,
        "started_ms": NOW_MS - 61_000,
        "ended_ms": None,
        "labels": {},
        "input": None,
        "output": None,
        "failure": None,
        "incident": "",
        "steps": list(steps),
        **more,
    }


def test_a_page_tells_what_each_step_waits_for() -> None:
    """Retries, endpoints that nobody serves, requirements, progress and hooks are told."""
    page = execution_page(
        view(
            "RUNNING",
            step("a", "RETRYING", attempt=2, due_ms=NOW_MS + 3_000, failure={"type": "x.Odd"}),
            step("b", "RUNNING", sent_ms=NOW_MS - 5_000, waiting_for="shop.b", progress={"n": 1}),
            step("c", "PENDING", attempt=0, requires=["a", "b"]),
            step("d", "SUCCESS", hook="on_end", sent_ms=NOW_MS - 20, ended_ms=NOW_MS),
            incident="look\nhere",
        ),
        NOW_MS,
    )
    assert [line.plain for line in page] == [
        "order-1  checkout  RUNNING  started 1 min ago, running for 1 min 1 s",
        "├─ a           RETRYING  attempt 2  again in 3.0 s  Odd",
        '├─ b           RUNNING   for 5.0 s  waits: nobody serves shop.b  progress {"n":1}',
        "├─ c           PENDING   waits for a, b",
        "└─ d (on_end)  SUCCESS   20 ms",
        "input     null",
        "incident  look here",
    ]


def test_a_long_body_is_cut() -> None:
    """A page shows the beginning of a long input, and says how long it is."""
    page = execution_page(view("RUNNING", input="x" * 1_000), NOW_MS)
    assert page[-1].plain.endswith("… (1,002 characters)")


def test_changes_are_told_once() -> None:
    """A line is told for each status that has changed, steps of sub-workflows included."""
    first = view("RUNNING", step("a", "RUNNING", steps=[step("b", "PENDING")]))
    then = view("RUNNING", step("a", "RUNNING", steps=[step("b", "SUCCESS")]))
    assert len(changes(None, first, NOW_MS)) == 2
    assert [line.plain.split()[1:] for line in changes(first, then, NOW_MS)] == [["a/b", "SUCCESS"]]
    assert changes(then, then, NOW_MS) == []


def test_what_is_told_beside_a_status_keeps_apart() -> None:
    """A step that begins and tells how far it is has a gap between the two."""
    first = view("RUNNING", step("a", "RUNNING", sent_ms=NOW_MS - 2_000, progress={"done": 1}))
    assert changes(None, first, NOW_MS)[0].plain.endswith('for 2.0 s  progress {"done":1}')


def test_a_new_incident_is_told_once() -> None:
    """What a person has to look at is a line as soon as it is known, and never again."""
    first = view("RUNNING", step("a", "RUNNING"))
    then = view("RUNNING", step("a", "RUNNING"), incident="nothing is heard of a\nworker")
    (line,) = changes(first, then, NOW_MS)
    assert line.plain.split()[1:4] == ["order-1", "incident", "nothing"]
    assert changes(then, then, NOW_MS) == []


def test_a_policy_is_what_differs() -> None:
    """Only options that are not the default are told."""
    retry = RetryPolicy(max_attempts=4)
    full: Step[Any] = Step.call(
        "a.b",
        retry=retry,
        timeout=90,
        start_within=5,
        fallback="c",
        optional=True,
        concurrency=2,
    )
    assert policy(full.definition()) == (
        "4 attempts, timeout 1 min 30 s, start within 5.0 s, fallback c, optional, 2 at once"
    )
    assert policy(Step.call("a.b").definition()) == ""
    assert policy(Step.publish("a.b").definition()) == "publish"


def test_steps_without_requirements_leave_no_blanks() -> None:
    """A table of steps ends no line in blanks."""
    definition = WorkflowDefinition(id="one", steps=(Step.call("a.b").definition(),))
    assert steps_page([definition])[1].plain == "b     one       a.b"
