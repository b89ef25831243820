"""Reports as values: what they say, and that every form of them says the same."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from flow.codec import dumps
from flow.errors import InvalidInput, InvalidOption
from flow.failure import Failure
from flow.report import Report, StepReport
from flow.status import Status
from tests.flow.reports import BEGIN_MS, REPORTS, trip


def small(**more: Any) -> dict[str, Any]:
    """Return the document of a report with a step, and what a test adds to the step."""
    step = {"step": "a", "action": "run", "status": "SUCCESS", **more}
    return {"workflow": "w", "execution": "e", "status": "SUCCESS", "steps": [step]}


def attached(metadata: dict[str, Any]) -> Report:
    """Return a report of a step whose handler has attached something."""
    entry = StepReport(step="a", action="run", status=Status.SUCCESS, metadata=metadata)
    return Report(workflow="w", execution="e", status=Status.SUCCESS, steps=(entry,))


# ------------------------------------------------------------------------------ round trips


@given(REPORTS)
def test_a_document_says_the_same(report: Report) -> None:
    """A report survives the way to a document and back, and the document is JSON."""
    document = report.to_dict()
    assert Report.from_dict(document) == report
    assert dumps(document)


@given(REPORTS)
def test_json_says_the_same(report: Report) -> None:
    """A report survives the way to JSON and back, indented or not."""
    assert Report.from_json(report.to_json()) == report
    assert Report.from_json(report.to_json(indent=True).encode()) == report


@given(REPORTS)
def test_yaml_says_the_same(report: Report) -> None:
    """A report survives the way to YAML and back."""
    assert Report.from_yaml(report.to_yaml()) == report


def test_every_form_of_a_trip() -> None:
    """A report that was thought out, nested and with bytes, is the same in every form."""
    report = trip()
    assert Report.from_dict(report.to_dict()) == report
    assert Report.from_json(report.to_json()) == report
    assert Report.from_yaml(report.to_yaml()) == report


def test_a_document_is_what_it_should_be() -> None:
    """Times are RFC 3339, bytes are marked, and what is empty is left out."""
    document = trip().to_dict()
    steps = document.pop("steps")
    assert document == {
        "workflow": "trip",
        "execution": "trip-7",
        "status": "FAILURE",
        "started": "2026-06-17T10:30:00.123Z",
        "ended": "2026-06-17T10:31:15.123Z",
        "on_error": "compensate",
        "on_undo_error": "continue",
        "failure": {
            "type": "shop.errors.Declined",
            "message": "no car left\nin Lisbon",
            "step": "car",
        },
        "incident": "1 undo has failed: hotel",
    }
    assert steps[0] == {
        "step": "flight",
        "action": "run",
        "status": "SUCCESS",
        "started": "2026-06-17T10:30:00.123Z",
        "ended": "2026-06-17T10:30:00.456Z",
        "attempts": 1,
        "metadata": {"ticket": {"$bytes": "JVBERg=="}, "price": 2**53 + 1, "seat": None},
    }
    assert steps[2]["report"]["steps"][1]["attempts"] == 3
    assert steps[4] == {
        "step": "flight",
        "action": "undo",
        "status": "SKIPPED",
        "attempts": 0,
        "reason": "nothing to undo",
    }


def test_null_is_not_nothing() -> None:
    """What was attached as null is there, and what was not attached is not."""
    with_null, without = attached({"null": None}), attached({})
    assert Report.from_json(with_null.to_json()).steps[0].metadata == {"null": None}
    assert Report.from_yaml(with_null.to_yaml()).steps[0].metadata == {"null": None}
    assert Report.from_json(without.to_json()).steps[0].metadata == {}
    assert Report.from_yaml(without.to_yaml()).steps[0].metadata == {}


@pytest.mark.parametrize("number", [2**53, 2**53 + 1, 2**64 - 1, -(2**63)])
def test_large_integers_survive(number: int) -> None:
    """Integers beyond 2^53 are the same in every form."""
    report = attached({"id": number, "in": [{"id": number}]})
    assert Report.from_json(report.to_json()) == report
    assert Report.from_yaml(report.to_yaml()) == report


def test_a_repeated_value_is_written_out() -> None:
    """A value that was attached twice is written twice, not referred to."""
    again = {"a": [1]}
    report = attached({"x": again, "y": [again, again]})
    assert Report.from_yaml(report.to_yaml()) == report


def test_what_newer_programs_add_is_ignored() -> None:
    """Fields that are not known are left alone, and null is as good as left out."""
    document = small(cost=3, reason=None, metadata=None, report=None, failure=None, attempts=None)
    document |= {"version": 9, "started": None, "on_error": None, "incident": None}
    assert Report.from_dict(document) == Report.from_dict(small())
    assert Report.from_dict({**document, "steps": None}).steps == ()


def test_other_time_zones_are_read() -> None:
    """A time of another zone is the same moment in UTC, in YAML without quotation marks too."""
    document = small(started="2026-06-17T12:30:00.5+02:00")
    entry = Report.from_dict(document).steps[0]
    assert entry.started == datetime(2026, 6, 17, 10, 30, 0, 500_000, tzinfo=UTC)
    text = "{workflow: w, execution: e, status: SUCCESS, started: 2026-06-17T10:30:00.123Z}"
    assert Report.from_yaml(text).started_ms == BEGIN_MS


# ----------------------------------------------------------------------------------- errors


def deep(levels: int) -> dict[str, Any]:
    """Return the document of a report in reports."""
    return small() if levels == 1 else small(report=deep(levels - 1))


WRONG: list[tuple[Any, str, str]] = [
    ([], "report", "it must be an object; it is of the type list"),
    ({}, "report.workflow", "it is missing; what is there: nothing"),
    (
        {"workflow": "w", "executoin": "e"},
        "report.execution",
        "it is missing; what is there: 'workflow', 'executoin'",
    ),
    (small() | {"workflow": 5}, "report.workflow", "it must be text; it is 5"),
    (small() | {"steps": {}}, "report.steps", "it must be a list; it is of the type dict"),
    (small() | {"steps": [5]}, "report.steps[0]", "it must be an object; it is 5"),
    (small() | {"on_error": "halt"}, "report.on_error", "one of stop, continue, compensate"),
    (
        small() | {"on_undo_error": ""},
        "report.on_undo_error",
        "one of continue, stop; it is ''",
    ),
    (small() | {"status": 10**5_000}, "report.status", "it is of the type int"),
    (small(status="SUCCES"), "report.steps[0].status", "did you mean 'SUCCESS'?"),
    (small(status="success"), "report.steps[0].status", "it must be one of PENDING, RUNNING,"),
    (
        small(action="rollback"),
        "report.steps[0].action",
        "it must be one of run, undo, prepare",
    ),
    (small(action=None), "report.steps[0].action", "it is missing"),
    (small(step=None), "report.steps[0].step", "it is missing"),
    (small(step="\ud800"), "report.steps[0].step", "no form in UTF-8"),
    (small(started=5), "report.steps[0].started", "RFC 3339"),
    (small(ended="soon"), "report.steps[0].ended", "'soon' is no moment"),
    (small(attempts=-1), "report.steps[0].attempts", "an integer of at least 0; it is -1"),
    (small(attempts=True), "report.steps[0].attempts", "at least 0; it is True"),
    (small(attempts=1.0), "report.steps[0].attempts", "at least 0; it is 1.0"),
    (small(attempts=2**64), "report.steps[0].attempts", "does not fit into 64 bits"),
    (small(reason=[]), "report.steps[0].reason", "it must be text"),
    (small(metadata=[]), "report.steps[0].metadata", "it must be an object"),
    (small(metadata={1: 2}), "report.steps[0].metadata", "its keys must be text; it is 1"),
    (
        small(metadata={"a": {"$bytes": 5}}),
        "report.steps[0].metadata['a']",
        "'$bytes' must be followed by base64 text",
    ),
    (
        small(metadata={"a": [2**64]}),
        "report.steps[0].metadata['a'][0]",
        "does not fit into 64 bits",
    ),
    (small(failure="it broke"), "report.steps[0].failure", "must be an object; it is 'it b"),
    (small(failure={}), "report.steps[0].failure.type", "it is missing"),
    (
        small(failure={"type": "E", "message": 5}),
        "report.steps[0].failure.message",
        "it must be text; it is 5",
    ),
    (
        small(failure={"type": "E", "fields": []}),
        "report.steps[0].failure.fields",
        "it must be an object",
    ),
    (
        small(failure={"type": "E", "fields": {"n": 2**64}}),
        "report.steps[0].failure['fields']['n']",
        "does not fit into 64 bits",
    ),
    (small(report={}), "report.steps[0].report.workflow", "it is missing"),
    (small(report=small(step=1)), "report.steps[0].report.steps[0].step", "must be text"),
    (deep(33), "report.steps[0].report.steps[0]", "nested more than 32 levels deep"),
]


@pytest.mark.parametrize(("document", "what", "reason"), WRONG)
def test_what_is_no_report_is_refused(document: Any, what: str, reason: str) -> None:
    """What is wrong in a document is named with its place, and with what would be right."""
    with pytest.raises(InvalidInput) as found:
        Report.from_dict(document)
    assert found.value.what.startswith(what)
    assert len(found.value.what) <= max(len(what), 60)
    assert reason in found.value.reason


def test_long_offenders_are_cut() -> None:
    """An error does not repeat a text of any length."""
    with pytest.raises(InvalidInput) as found:
        Report.from_dict(small(status="x" * 100_000))
    assert len(str(found.value)) < 400


def test_the_deepest_report_is_read() -> None:
    """Reports that are nested 32 times, with metadata as deep as may be, survive in every form."""
    value: Any = 1
    for _ in range(64):
        value = [value]
    report = attached({"deep": value})
    for _ in range(31):
        report = replace(report, steps=(replace(report.steps[0], metadata={}, report=report),))
    assert Report.from_json(report.to_json()) == report
    assert Report.from_yaml(report.to_yaml()) == report


@pytest.mark.parametrize("text", ["", "{", b"\xff", '{"a": NaN}'])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    """What is not JSON at all is refused, with what it is."""
    with pytest.raises(InvalidInput, match=r"^the report: it is not valid JSON"):
        Report.from_json(text)


def test_what_is_no_yaml_is_refused() -> None:
    """What is not YAML at all is refused, with what it is."""
    with pytest.raises(InvalidInput, match=r"^the report: it is not valid YAML"):
        Report.from_yaml("a: [")


def test_an_integer_that_does_not_fit_is_not_rounded() -> None:
    """JSON with an integer of more than 64 bits is refused: it would be read as another number."""
    text = dumps(small(metadata={"id": 0})).decode().replace('"id":0', f'"id":{2**64}')
    with pytest.raises(InvalidInput, match="the integer 18446744073709551616 does not fit"):
        Report.from_json(text)


@pytest.mark.parametrize(
    ("report", "place"),
    [
        (attached({"a": [object()]}), r"report.steps\[0\].metadata\['a'\]\[0\]: "),
        (attached({"a": {"$bytes": "aGk="}}), r"report.steps\[0\].metadata\['a'\]: "),
        (attached({"a": 2**64}), r"report.steps\[0\].metadata\['a'\]: .* fit into 64 bits"),
        (replace(attached({}), started_ms=10**18), r"report.started: "),
        (replace(attached({}), failure=Failure("E", "", fields={"a": {1}})), r"report.failure\['f"),
        (replace(attached({}), incident="\ud800"), r"report.incident: "),
    ],
)
def test_what_cannot_be_written_is_named(report: Report, place: str) -> None:
    """A value that JSON has no form for is refused with its place, whatever the form."""
    for write in (report.to_dict, report.to_json, report.to_yaml):
        with pytest.raises(InvalidInput, match=f"^{place}"):
            write()


# ---------------------------------------------------------------------------------- looking


def test_it_walks_through_everything() -> None:
    """Every entry comes in its order with its depth, what is inside after what it is inside of."""
    assert [(depth, each.action, each.step) for depth, each in trip().walk()] == [
        (0, "run", "flight"),
        (0, "run", "hotel"),
        (0, "run", "car"),
        (1, "run", "reserve"),
        (1, "run", "pay"),
        (1, "undo", "reserve"),
        (0, "undo", "hotel"),
        (0, "undo", "flight"),
    ]


def test_it_finds_an_entry() -> None:
    """An entry is found by step and action, inside of sub-workflows by its path."""
    report = trip()
    assert report.find("hotel") is report.steps[1]
    assert report.find("hotel", "undo") is report.steps[3]
    assert report.steps[2].report is not None
    assert report.find("car/reserve", "undo") is report.steps[2].report.steps[2]
    for missing in ("reserve", "flight/reserve", "car/flight", "a/b/c", "", "car/"):
        assert report.find(missing) is None
    assert report.find("car", "prepare") is None


def test_the_last_entry_counts() -> None:
    """If a step has several entries of a kind, the last one is found."""
    first = attached({}).steps[0]
    last = replace(first, attempts=2)
    report = replace(attached({}), steps=(first, last, replace(first, action="undo")))
    assert report.find("a") is last


def test_an_unknown_action_is_refused() -> None:
    """An action that does not exist is refused, rather than never found."""
    with pytest.raises(InvalidOption, match="one of run, undo, prepare; did you mean 'undo'"):
        trip().find("hotel", "undone")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_it_tells_what_failed() -> None:
    """Every entry that failed is there, wherever it stands."""
    found = [(each.step, each.action) for each in trip().failed()]
    assert found == [("pay", "run"), ("hotel", "undo")]
    assert attached({}).failed() == ()


def test_it_tells_when_and_how_long() -> None:
    """Times are moments in UTC, and a duration is known once there is an end."""
    report = trip()
    assert report.started == datetime(2026, 6, 17, 10, 30, 0, 123_000, tzinfo=UTC)
    assert report.ended == datetime(2026, 6, 17, 10, 31, 15, 123_000, tzinfo=UTC)
    assert report.duration == timedelta(seconds=75)
    assert report.steps[0].duration == timedelta(milliseconds=333)
    going_on = replace(report, ended_ms=None)
    assert (going_on.started, going_on.ended, going_on.duration) == (report.started, None, None)
    assert (report.steps[4].started, report.steps[4].duration) == (None, None)
