"""Journal records: what is read is what was written, and what is no record is told."""

from dataclasses import dataclass
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given, strategies as st

from flow.codec import Cause, Record, decode_record, dumps, encode_record, loads
from flow.codec.documents import encode_failure
from flow.errors import CorruptRecord, InvalidInput, NotRegistered, UnsupportedVersion
from flow.failure import Failure
from flow.kernel.decide import MACHINES
from flow.kernel.execution import (
    COMMAND,
    EXECUTION,
    INPUT,
    SUB_WORKFLOW,
    CommandData,
    ExecutionData,
    InputData,
)
from flow.kernel.machine import MachineType, NodeSnapshot, Registry
from flow.kernel.steps import STEP, StepData
from flow.status import Status
from tests.flow.codec.strategies import FAILURES, LABELS, NAMES, TEXTS, VALUES

MOMENTS = st.none() | st.integers(0, 2**53)
COUNTS = st.integers(0, 1000)
BODIES = VALUES.map(dumps)
EXECUTIONS = st.builds(
    ExecutionData,
    started_ms=st.integers(0, 2**53),
    ended_ms=MOMENTS,
    deadline_ms=MOMENTS,
    epoch=COUNTS,
    offset_ms=st.integers(-1000, 1000),
    stopped_ms=MOMENTS,
    outcome=TEXTS,
    failure=st.none() | FAILURES,
    incident=TEXTS,
)
DATA: dict[MachineType[Any, Any], st.SearchStrategy[Any]] = {
    STEP: st.builds(
        StepData,
        attempt=COUNTS,
        spent=COUNTS,
        epoch=COUNTS,
        sent_ms=MOMENTS,
        started_ms=MOMENTS,
        due_ms=MOMENTS,
        ended_ms=MOMENTS,
        output=st.none() | BODIES,
        headers=LABELS,
        failure=st.none() | FAILURES,
        reason=TEXTS,
    ),
    INPUT: st.builds(
        InputData,
        workflow=NAMES,
        definition=TEXTS,
        body=BODIES,
        headers=LABELS,
        options=st.dictionaries(NAMES, VALUES, max_size=2),
        labels=LABELS,
    ),
    EXECUTION: EXECUTIONS,
    SUB_WORKFLOW: EXECUTIONS,
    COMMAND: st.builds(CommandData, verb=TEXTS, status=TEXTS),
}


@st.composite
def snapshots(draw: st.DrawFn) -> NodeSnapshot:
    """Return a node that was written, or deleted."""
    path = draw(TEXTS)
    if draw(st.booleans()):
        return NodeSnapshot(path, None, updated=draw(COUNTS))
    machine = draw(st.sampled_from([*DATA]))
    state, data = draw(st.sampled_from(Status)), draw(DATA[machine])
    return NodeSnapshot(path, machine, state, data, draw(COUNTS), draw(COUNTS))


RECORDS = st.builds(
    Record,
    execution=NAMES,
    seq=st.integers(1, 2**53),
    stamp=TEXTS,
    causes=st.lists(st.builds(Cause, TEXTS, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
    nodes=st.lists(snapshots(), max_size=4).map(tuple),
)


@given(RECORDS)
def test_records_come_back(record: Record) -> None:
    """A record is the same after a trip, bodies and failures included."""
    assert decode_record(encode_record(record), MACHINES) == record


@dataclass(frozen=True, slots=True)
class Weight:
    """Data of somebody else's machine, which is a dataclass and holds a number of any kind."""

    kilograms: float = 0.0
    label: str = ""


SCALES = MachineType("scales", 1, Status, Weight)


def test_data_may_be_a_dataclass() -> None:
    """The data of other machines may be dataclasses; only what is not at its default is written."""
    node = NodeSnapshot("scales", SCALES, Status.RUNNING, Weight(2.5), 1, 2)
    text = encode_record(Record("e", 1, "s", (), (node,)))
    assert loads(text)["nodes"] == [["scales", "scales@1", "RUNNING", {"kilograms": 2.5}, 1, 2]]
    assert decode_record(text, Registry().register(SCALES)).nodes == (node,)


@pytest.mark.parametrize(
    ("machine", "data"),
    [
        (SCALES, Weight(nan)),
        (STEP, StepData(failure=Failure("Error", "no", fields={"weight": inf}))),
        (INPUT, InputData("w", "hash", b"null", options={"weight": [nan]})),
    ],
)
def test_what_json_has_no_form_for_is_refused(machine: MachineType[Any, Any], data: object) -> None:
    """No NaN becomes null on its way into the journal, wherever it can stand."""
    node = NodeSnapshot("a", machine, Status.RUNNING, data, 1, 2)
    with pytest.raises(InvalidInput, match="which JSON has no form for"):
        encode_record(Record("e", 1, "s", (), (node,)))


def test_the_text_is_golden() -> None:
    """Stored records have this form, and bodies can be read in them."""
    failure = Failure("builtins.ValueError", "no")
    step = StepData(attempt=2, output=b'{"a": 1}', failure=failure)
    record = Record(
        "order-1",
        3,
        "0001",
        (Cause("StepSucceeded", "m1"),),
        (
            NodeSnapshot("steps/a", STEP, Status.SUCCESS, step, 4, 9),
            NodeSnapshot("steps/b", None, updated=9),
        ),
    )
    text = encode_record(record)
    assert loads(text) == {
        "execution": "order-1",
        "seq": 3,
        "hlc": "0001",
        "causes": [["StepSucceeded", "m1", "", ""]],
        "nodes": [
            [
                "steps/a",
                "step@1",
                "SUCCESS",
                {"attempt": 2, "output": {"a": 1}, "failure": encode_failure(failure)},
                4,
                9,
            ],
            ["steps/b", None, 9],
        ],
    }
    assert b'"output":{"a": 1}' in text


def test_what_is_equal_to_its_default_is_left_out() -> None:
    """A field is not written because it is another object than its default."""
    step = StepData(attempt=1, headers={}, reason="".join([]), output=b"1")
    node = NodeSnapshot("steps/a", STEP, Status.SUCCESS, step, 1, 2)
    (entry,) = loads(encode_record(Record("e", 1, "s", (), (node,))))["nodes"]
    assert entry[3] == {"attempt": 1, "output": 1}


@pytest.mark.parametrize("body", [b"null", b"0", b"false", b'""', b"[]"])
def test_an_empty_result_is_a_result(body: bytes) -> None:
    """A result of null is not the same as none."""
    node = NodeSnapshot("steps/a", STEP, Status.SUCCESS, StepData(output=body))
    found = decode_record(encode_record(Record("e", 1, "", (), (node,))), MACHINES)
    assert found.nodes[0].data.output == body


def record_of(*nodes: Any) -> bytes:
    """Return a record with nodes of any form."""
    return dumps({"execution": "e", "seq": 1, "hlc": "", "causes": [], "nodes": nodes})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"null",
        b"[]",
        b"{}",
        b'{"execution": "e", "seq": 1, "hlc": "", "causes": 5, "nodes": []}',
        b'{"execution": "e", "seq": 1, "hlc": "", "causes": [[]], "nodes": []}',
        record_of(5),
        record_of([]),
        record_of(["steps/a", 5, "SUCCESS", {}, 1, 1]),
        record_of(["steps/a", "step@x", "SUCCESS", {}, 1, 1]),
        record_of(["steps/a", "step@0", "SUCCESS", {}, 1, 1]),
        record_of(["steps/a", "step@1", "DANCING", {}, 1, 1]),
        record_of(["steps/a", "step@1", "SUCCESS", 5, 1, 1]),
        record_of(["steps/a", "step@1", "SUCCESS", {}]),
        record_of(["input", "input@1", "SUCCESS", {}, 1, 1]),
    ],
)
def test_what_is_no_record_is_told(text: bytes) -> None:
    """Stored text that is not a record is corrupt, whatever is wrong with it."""
    with pytest.raises(CorruptRecord):
        decode_record(text, MACHINES)


@pytest.mark.parametrize("name", ["dance@1", "step"])
def test_an_unknown_type_is_told(name: str) -> None:
    """A node of a type that is not registered is not guessed at."""
    with pytest.raises(NotRegistered):
        decode_record(record_of(["a", name, "SUCCESS", {}, 1, 1]), MACHINES)


def test_a_newer_version_is_told() -> None:
    """A node of a newer version is not read with old eyes."""
    with pytest.raises(UnsupportedVersion):
        decode_record(record_of(["steps/a", "step@2", "SUCCESS", {}, 1, 1]), MACHINES)


def test_older_versions_are_brought_up_to_date() -> None:
    """Data of an older version goes through every upcaster on the way."""

    def rename(old: dict[str, Any]) -> dict[str, Any]:
        return {"verb": old["word"]}

    def add_status(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "status": "RUNNING"}

    newer = MachineType("command", 3, Status, CommandData, upcasters={1: rename, 2: add_status})
    text = record_of(["commands/a", "command@1", "SUCCESS", {"word": "abort"}, 1, 1])
    found = decode_record(text, Registry().register(newer))
    assert found.nodes[0].data == CommandData("abort", "RUNNING")
