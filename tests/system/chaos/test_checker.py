"""The checker names whatever is planted, and blames nobody for what may happen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.system.chaos import programs
from tests.system.chaos.checker import RULES, check
from tests.system.chaos.evidence import Command, Effect, Evidence, Row, Start
from tests.system.chaos.history import History

NAME = "chain-000001"
STEPS = tuple(f"steps/{name}" for name in ("first", "flaky", "once", "booked", "thread", "last"))
Causes = tuple[tuple[str, str], ...]
SHAPES = programs.shape_of(programs.orchestrating())


def token(path: str) -> str:
    """Return the token of a step."""
    return f"token of {path}"


def node(path: str, state: str, attempt: int = 1, sent_ms: int = 0) -> list[Any]:
    """Return a step as it stands in a record."""
    data: dict[str, Any] = {"attempt": attempt, "sent_ms": sent_ms}
    if state == "SUCCESS":
        data["output"] = {"token": token(path)}
    return [path, "step@1", state, data, 0, 0]


def root(state: str) -> list[Any]:
    """Return the execution as it stands in a record."""
    return ["", "execution@1", state, {}, 0, 0]


def a_record(seq: int, *nodes: list[Any], causes: Causes = ()) -> dict[str, Any]:
    """Return a record."""
    return {
        "seq": seq,
        "causes": [[kind, "", "", reason] for kind, reason in causes],
        "nodes": list(nodes),
    }


def records() -> list[dict[str, Any]]:
    """Return the journal of an execution that has ended well."""
    made = [a_record(1, root("RUNNING"), node(STEPS[0], "RUNNING", sent_ms=100))]
    for number, path in enumerate(STEPS[:-1], start=1):
        following = node(STEPS[number], "RUNNING", sent_ms=100 * (number + 1))
        told = (("StepSucceeded", f"{path} attempt 1"),)
        made.append(a_record(number + 1, node(path, "SUCCESS"), following, causes=told))
    told = (("StepSucceeded", f"{STEPS[-1]} attempt 1"),)
    made.append(a_record(7, node(STEPS[-1], "SUCCESS"), root("SUCCESS"), causes=told))
    return made


def effects() -> list[Effect]:
    """Return the effects of the same."""
    made: list[Effect] = []
    for number, path in enumerate(STEPS):
        before = STEPS[number - 1] if number else ""
        seen = {before.removeprefix("steps/"): token(before)} if before else {}
        began = Effect("began", NAME, path, key=f"{NAME}:{path}", pid=number, seen=seen)
        made += [began, replace(began, kind="done", token=token(path))]
    return made


def clean() -> Evidence:
    """Return the evidence of a run in which nothing is wrong."""
    return Evidence(
        shapes=SHAPES,
        starts=[Start(NAME, "chain", accepted_ms=1)],
        effects=effects(),
        rows={NAME: Row("chain", "SUCCESS", ended_ms=9)},
        records={NAME: records()},
        bookings={f"{NAME}:steps/booked": [token("steps/booked")]},
    )


def aborted() -> Evidence:
    """Return the evidence of an execution that was aborted in the middle."""
    evidence = clean()
    ending = a_record(
        3,
        root("ABORTED"),
        [*node("steps/flaky", "ABORTED")],
        causes=(("AbortRequested", "command 0"),),
    )
    evidence.records = {NAME: [*records()[:2], ending]}
    evidence.effects = effects()[:3]
    evidence.rows = {NAME: Row("chain", "ABORTED", ended_ms=9)}
    evidence.bookings = {}
    evidence.commands = [Command(NAME, "abort", "command 0", answered_ms=300)]
    return evidence


def held(*more: dict[str, Any]) -> Evidence:
    """Return the evidence of an execution that is suspended, and of what comes then."""
    evidence = clean()
    holding = a_record(3, root("SUSPENDING"), causes=(("SuspendRequested", "command 0"),))
    evidence.records = {NAME: [*records()[:2], holding, *more]}
    evidence.effects = effects()[:3]
    evidence.rows = {NAME: Row("chain", "RUNNING")}
    evidence.bookings = {}
    return evidence


def with_row(**changes: Any) -> Evidence:
    """Return evidence in which the store lists the execution otherwise."""
    evidence = clean()
    evidence.rows = {NAME: replace(evidence.rows[NAME], **changes)}
    return evidence


def with_records(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> Evidence:
    """Return evidence with another journal."""
    evidence = clean()
    evidence.records = {NAME: change(records())}
    return evidence


def with_effects(*more: Effect, without: str = "") -> Evidence:
    """Return evidence with other effects."""
    evidence = clean()
    kept = [each for each in effects() if (each.kind, each.path) != ("done", without)]
    evidence.effects = [*kept, *more]
    return evidence


def lost_start() -> Evidence:
    """An accepted start that the store does not know."""
    evidence = clean()
    evidence.starts = [*evidence.starts, Start("fan-000002", "fan", accepted_ms=1)]
    return evidence


def changed_result() -> Evidence:
    """A result that another one replaces."""
    other = node("steps/first", "SUCCESS")
    other[3] = {**other[3], "output": {"token": "another"}}
    return with_records(lambda made: [*made, a_record(8, other)])


def told_twice() -> Evidence:
    """A success that is taken twice."""
    causes = (("StepSucceeded", "steps/first attempt 1"),)
    return with_records(lambda made: [*made, a_record(8, causes=causes)])


def lost_result() -> Evidence:
    """A step that runs again although it has succeeded."""
    again = a_record(8, node("steps/first", "RUNNING", 2))
    return with_records(lambda made: [*made, again])


def too_early() -> Evidence:
    """A step that goes out before the one that it requires."""
    early = a_record(1, root("RUNNING"), node("steps/flaky", "RUNNING"))
    return with_records(lambda made: [early, *made[1:]])


def unfounded() -> Evidence:
    """A step that has seen what was never recorded."""
    key = f"{NAME}:steps/last"
    return with_effects(Effect("began", NAME, "steps/last", key=key, seen={"thread": "another"}))


def dispatched_after_abort() -> Evidence:
    """An attempt that was committed after the answer to an abort, by the clock."""
    evidence = aborted()
    evidence.records[NAME][1]["nodes"][1][3]["sent_ms"] = 3_000
    return evidence


def after_abort() -> Evidence:
    """An attempt that was committed after an abort, by the order of the journal."""
    evidence = aborted()
    late = a_record(4, node("steps/flaky", "RUNNING", 2))
    evidence.records = {NAME: [*evidence.records[NAME], late]}
    return evidence


def undone_abort() -> Evidence:
    """An abort that was answered, and an execution that went on."""
    evidence = clean()
    evidence.commands = [Command(NAME, "abort", "command 0", answered_ms=300)]
    return evidence


def lost_suspend() -> Evidence:
    """A suspend that was answered, and is not in the journal."""
    evidence = clean()
    evidence.commands = [Command(NAME, "suspend", "command 0", answered_ms=300)]
    return evidence


def booked(*tokens: str) -> Evidence:
    """Other bookings than one."""
    evidence = clean()
    evidence.bookings = {f"{NAME}:steps/booked": list(tokens)} if tokens else {}
    return evidence


def failed_as_planned(*, fails: bool) -> Evidence:
    """A failure."""
    evidence = clean()
    ending = a_record(3, root("FAILURE"), node("steps/flaky", "FAILURE"))
    evidence.records = {NAME: [*records()[:2], ending]}
    evidence.effects = effects()[:3]
    evidence.rows = {NAME: Row("chain", "FAILURE", ended_ms=9)}
    evidence.bookings = {}
    evidence.starts = [Start(NAME, "chain", fails=fails, accepted_ms=1)]
    return evidence


def attempts(refusals: int) -> Evidence:
    """A second attempt of the flaky step."""
    evidence = with_records(
        lambda made: (
            [*made[:2], a_record(3, node("steps/flaky", "RUNNING", 2))]
            + [{**each, "seq": each["seq"] + 1} for each in made[2:]]
        )
    )
    evidence.starts = [Start(NAME, "chain", refusals=refusals, accepted_ms=1)]
    return evidence


def refused() -> Evidence:
    """A start that is refused."""
    evidence = clean()
    evidence.starts = [*evidence.starts, Start("fan-000002", "fan", refusal="ExecutionConflict")]
    return evidence


def crashed() -> Evidence:
    """A process that ends by itself."""
    evidence = clean()
    evidence.crashes = ["worker-1-004 ended with 1"]
    return evidence


def effect(path: str, attempt: int = 1, key: str = "") -> Effect:
    """Return one more beginning of a step."""
    return Effect("began", NAME, path, attempt, key=key or f"{NAME}:{path}")


PLANTED = {
    "accepted starts lost": [lost_start],
    "unfinished": [lambda: with_row(status="RUNNING"), held],
    "results recorded twice": [changed_result, told_twice, lost_result],
    "effects lost": [lambda: with_effects(without="steps/last")],
    "steps before what they require": [too_early, unfounded],
    "attempts while suspended": [lambda: held(a_record(4, node("steps/flaky", "RUNNING", 2)))],
    "attempts after an abort": [after_abort],
    "dispatched after abort ack": [dispatched_after_abort],
    "acknowledged commands lost": [undone_abort, lost_suspend],
    "effects of no committed attempt": [
        lambda: with_effects(effect("steps/last", attempt=2)),
        lambda: with_effects(Effect("began", "chain-000009", "steps/first")),
    ],
    "at most once run twice": [lambda: with_effects(effect("steps/once"))],
    "exactly once not once": [
        booked,
        lambda: booked("another"),
        lambda: booked(token("steps/booked"), token("steps/booked")),
    ],
    "innocent failures": [
        lambda: failed_as_planned(fails=False),
        lambda: attempts(refusals=0),
    ],
    "wrong idempotency keys": [
        lambda: with_effects(effect("steps/last", key="another")),
        lambda: with_effects(effect("steps/last", key=f"{NAME}:steps/first")),
    ],
    "journals with gaps": [
        lambda: with_records(lambda made: [*made[:3], *made[4:]]),
        lambda: with_row(status="ABORTED"),
    ],
    "unexpected refusals": [refused],
    "processes that crashed": [crashed],
}
ALLOWED = [
    clean,
    aborted,
    lambda: attempts(refusals=1),
    lambda: failed_as_planned(fails=True),
    lambda: with_effects(effect("steps/last")),
]


def test_every_rule_is_planted() -> None:
    """There is planted evidence for each rule of the report."""
    assert set(PLANTED) == set(RULES)


@pytest.mark.parametrize(
    ("rule", "plant"), [(rule, plant) for rule, plants in PLANTED.items() for plant in plants]
)
def test_what_is_planted_is_named(rule: str, plant: Callable[[], Evidence]) -> None:
    """Evidence of something wrong makes the report name its rule."""
    finding = check(plant())
    assert not finding.is_clean
    assert finding.wrong[rule]


@pytest.mark.parametrize("make", ALLOWED)
def test_nobody_is_blamed_for_what_may_happen(make: Callable[[], Evidence]) -> None:
    """A clean run, an abort, planned refusals and repeated effects break no rule."""
    finding = check(make())
    assert finding.is_clean, finding.wrong


@pytest.mark.parametrize("state", ["RUNNING", "SUSPENDING"])
def test_a_resume_in_the_same_record_is_no_fault(state: str) -> None:
    """A record that resumes and makes an attempt makes none while suspended, whatever follows."""
    causes = (("ResumeRequested", "command 1"), ("SuspendRequested", "command 2"))
    going_on = a_record(4, root(state), node("steps/flaky", "RUNNING", 2), causes=causes)
    history = History.of(NAME, held(going_on).records[NAME], SHAPES["chain"])
    assert history.wrong == []


def test_effects_are_counted() -> None:
    """Steps that were done once and more often are counted apart."""
    more = replace(effects()[1], pid=99)
    finding = check(with_effects(more))
    assert (finding.once, finding.repeated, finding.booked) == (4, 1, 1)


def test_shapes_follow_sub_workflows() -> None:
    """A step inside a sub-workflow requires what the sub-workflow requires, or its siblings."""
    shape = SHAPES["nested"]
    assert shape.requires["steps/inside/steps/left"] == ("steps/before",)
    assert shape.requires["steps/inside/steps/right"] == ("steps/inside/steps/left",)
    assert shape.requires["steps/after"] == ("steps/inside",)
    assert shape.flaky == {"steps/inside/steps/right"}
