"""Tests of sagas whose processes crash at every point, and at some of the pairs."""

from __future__ import annotations

import pytest

from tests.simulation.crash_plans import ENDS, KINDS, CrashKind
from tests.simulation.crash_points import main, sweep
from tests.simulation.crash_run import crash
from tests.simulation.mutants.catalogue import MUTANTS

ITEMS = 4
EVERY = 499
"""Which part of the pairs is run here: `make crash-points` runs those of the flow that succeeds,
and `python -m tests.simulation.crash_points --kind saga` those of a saga."""
SAGAS: tuple[CrashKind, ...] = ("saga", "abort")


@pytest.mark.long
@pytest.mark.parametrize("item", range(ITEMS))
@pytest.mark.parametrize("kind", SAGAS)
def test_no_crash_breaks_a_promise_of_a_saga(kind: CrashKind, item: int) -> None:
    """Wherever a process crashes, and in some cases where two do, everything is undone once."""
    for first in range(item, len(crash(kind=kind).passed), ITEMS):
        swept = sweep(first, EVERY, kind)
        assert not swept.violations, "\n".join(swept.failed)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_is_as_it_should_be_without_a_crash(kind: CrashKind) -> None:
    """Without a crash each flow ends as it should, and nobody has to look at anything."""
    run = crash(kind=kind)
    assert not run.violations
    assert not run.has_incident
    assert run.kind == kind


@pytest.mark.parametrize(("kind", "calls"), [("saga", 6), ("abort", 4)])
def test_sagas_undo_what_ran(kind: CrashKind, calls: int) -> None:
    """A saga undoes all that has begun, one undo of it with its second attempt."""
    trace = crash(kind=kind).trace
    undos = [line for line in trace if line.what == "deliver" and _is_undo(line.detail)]
    assert len(undos) == calls
    assert ENDS[kind].name == "COMPENSATED"


def _is_undo(detail: str) -> bool:
    return detail.startswith("step.request ") and detail.endswith(".beta")


def test_a_crash_of_a_saga_runs_the_same_way_twice() -> None:
    """The same crashes of the same kind give the same trace and the same choices."""
    assert crash(60, kind="saga").hash == crash(60, kind="saga").hash
    assert crash(60, kind="saga").hash != crash(60, kind="abort").hash


@pytest.mark.parametrize("name", ["undone_in_wrong_order", "began_forgotten", "settling_skipped"])
def test_a_bug_of_sagas_is_found_without_a_crash(name: str) -> None:
    """What a deliberate bug of sagas does is found in one of the two sagas, even if all is calm."""
    with MUTANTS[name].planted():
        assert any(crash(kind=kind).violations for kind in SAGAS)


def test_a_replay_of_a_saga_names_its_kind(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that replays a crash of a saga says which flow was run."""
    with MUTANTS["undo_told_another_key"].planted():
        assert main(["--kind", "saga", "--at", "17"]) == 1
    printed = capsys.readouterr().out
    assert "inputs are what is recorded" in printed
    assert "crash_points --kind saga --at 17 --trace" in printed
