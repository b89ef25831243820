"""The catalogue's values: what ids lead to, and what may be announced."""

from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from flow.catalogue import Announcement, OpenDefinition, check_announcement, close, closure
from flow.errors import InvalidInput, InvalidName, MissingSteps
from flow.step import StepDefinition, StepKind
from flow.template import FromRun
from flow.workflow import WorkflowDefinition


def a_step(id: str, *requires: str, **values: Any) -> StepDefinition:
    """Return a step that calls an endpoint."""
    return StepDefinition(
        id=id, kind=StepKind.CALL, target=f"work.{id}", requires=requires, **values
    )


def by_id(*steps: StepDefinition) -> dict[str, StepDefinition]:
    """Return steps by their ids."""
    return {step.id: step for step in steps}


def an_open(*names: str, steps: tuple[StepDefinition, ...] = ()) -> OpenDefinition:
    """Return a workflow that names steps."""
    return OpenDefinition(WorkflowDefinition(id="w", steps=steps), names)


KNOWN = by_id(
    a_step("reserve"),
    a_step("charge", "reserve", fallback="invoice"),
    a_step("invoice"),
    a_step("ship", "reserve", "charge"),
    a_step("other"),
)


def test_a_name_pulls_in_what_it_requires() -> None:
    """All that a step requires is found, what stands in for a step too, and nothing else."""
    closed = close(an_open("ship"), KNOWN)
    assert [step.id for step in closed.steps] == ["charge", "invoice", "reserve", "ship"]


def test_what_is_given_is_not_looked_for() -> None:
    """A step that the program has is taken as it is, and what it requires is its own affair."""
    own = a_step("charge", "secret")
    closed = close(an_open("ship", steps=(own,)), KNOWN)
    assert [step.id for step in closed.steps] == ["charge", "reserve", "ship"]
    assert closed.steps[0] is own


def test_all_that_is_missing_is_named() -> None:
    """The error names every step that is not there, with all that need it, and not the first."""
    known = by_id(a_step("a", "x", "y"), a_step("b", "x"))
    with pytest.raises(MissingSteps) as caught:
        close(an_open("b", "a", "z"), known)
    assert caught.value.missing == {"x": ("a", "b"), "y": ("a",), "z": ()}
    assert caught.value.known == ["a", "b"]
    assert caught.value.workflow == "w"


def test_a_circle_ends() -> None:
    """Steps that require each other are each found once; to refuse them is the planner's."""
    circle = by_id(a_step("a", "b"), a_step("b", "a"))
    assert set(closure(["a"], {}, circle).found) == {"a", "b"}


@given(st.permutations(sorted(KNOWN)), st.permutations(["ship", "other"]))
def test_the_order_of_announcements_does_not_matter(order: list[str], names: list[str]) -> None:
    """The same steps close a workflow to the same definition, whenever they came."""
    known = {name: KNOWN[name] for name in order}
    assert close(an_open(*names), known) == close(an_open("ship", "other"), KNOWN)


def test_the_service_follows_from_the_endpoint() -> None:
    """A step belongs to the service whose endpoint it calls."""
    announcement = Announcement(step=a_step("ship"))
    assert announcement.service == "work"
    assert check_announcement(announcement) is announcement


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("kind", StepKind.PUBLISH),
        ("requires", "abc"),
        ("timeout_ms", 0),
        ("timeout_ms", "60"),
        ("timeout_ms", True),
        ("start_within_ms", -1),
        ("concurrency", 1.5),
        ("heartbeat_ms", 0),
        ("optional", "yes"),
        ("at_most_once", 1),
        ("fallback", None),
        ("labels", {"team": 1}),
        ("labels", ["team"]),
        ("workflow", {}),
    ],
)
def test_values_of_other_languages_are_checked(part: str, value: object) -> None:
    """An announcement may come from anywhere: a part that makes no sense is refused by name."""
    wrong: dict[str, Any] = {part: value}
    step = a_step("ship")._replace(**wrong)
    with pytest.raises(InvalidInput, match=part):
        check_announcement(Announcement(step=step))


UNDO = StepDefinition("refund", StepKind.CALL, "pay.refund", input=FromRun())


@pytest.mark.parametrize(
    "undo",
    [UNDO, UNDO._replace(kind=StepKind.PUBLISH, target="orders.undone"), None],
)
def test_a_step_may_have_an_undo(undo: StepDefinition | None) -> None:
    """What takes an announced step back is a call or a publication, with policies of its own."""
    announcement = Announcement(step=a_step("ship")._replace(undo=undo))
    assert check_announcement(announcement) is announcement


@pytest.mark.parametrize(
    "undo",
    [
        "refund",
        UNDO._replace(kind=StepKind.WORKFLOW),
        UNDO._replace(requires=("a",)),
        UNDO._replace(fallback="a"),
        UNDO._replace(optional=True),
        UNDO._replace(concurrency=1),
        UNDO._replace(undo=UNDO),
        UNDO._replace(at_most_once=True),
        UNDO._replace(timeout_ms=0),
        UNDO._replace(start_within_ms=-1),
        UNDO._replace(labels={"a": cast("str", 1)}),
    ],
)
def test_an_undo_that_makes_no_sense_is_refused(undo: object) -> None:
    """An undo is not in the graph, has none of its own, and its limits are limits."""
    with pytest.raises(InvalidInput, match="make no sense: undo"):
        check_announcement(Announcement(step=a_step("ship")._replace(undo=undo)))


@pytest.mark.parametrize("undo", [UNDO._replace(id="a b"), UNDO._replace(target="refund")])
def test_the_names_of_an_undo_are_checked(undo: StepDefinition) -> None:
    """An undo has an id and an endpoint like others."""
    with pytest.raises(InvalidName):
        check_announcement(Announcement(step=a_step("ship")._replace(undo=undo)))


def test_every_wrong_part_is_named() -> None:
    """The error names all parts that make no sense, schemas included."""
    schema: Any = "text"
    announcement = Announcement(step=a_step("ship", timeout_ms=0, optional=None), input=schema)
    with pytest.raises(InvalidInput, match="timeout_ms, optional, schemas"):
        check_announcement(announcement)


@pytest.mark.parametrize(
    "step",
    [
        a_step("ship")._replace(id="no good"),
        a_step("ship")._replace(target="ship"),
        a_step("ship", "no good"),
        a_step("ship", fallback="no good"),
    ],
)
def test_names_are_checked(step: StepDefinition) -> None:
    """An id, an endpoint, a requirement or a fallback that breaks the rules is refused."""
    with pytest.raises(InvalidName):
        check_announcement(Announcement(step=step))


def test_an_open_definition_has_the_id_of_its_workflow() -> None:
    """Whoever holds an open workflow can say what it is called."""
    assert an_open("ship").id == "w"
