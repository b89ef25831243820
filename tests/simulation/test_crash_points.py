"""Tests of a small flow whose processes crash at every point, and at some of the pairs."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import pytest

from flow.runtime.orchestrator.lifeline import Lifeline
from flow.testing.simulation.failpoints import POINTS, Passed
from tests.simulation.crash_plans import ONCE
from tests.simulation.crash_points import main, sweep
from tests.simulation.crash_run import CrashRun, crash
from tests.simulation.mutants.catalogue import MUTANTS
from tests.simulation.mutants.patching import edit

ITEMS = 8
EVERY = 127
"""Which part of the pairs is run here: all of them are run by `make crash-points`."""


@lru_cache(maxsize=1)
def without_crash() -> CrashRun:
    """Return the run in which nobody crashes."""
    return crash()


def first_of(point: str) -> int:
    """Return the number of the first point of a kind that is passed without a crash."""
    return [each.point for each in without_crash().passed].index(point)


def process_at(name: str, run: CrashRun, start: int = 0) -> int:
    """Return the number of the first point from *start* on that a process passes."""
    return [each.process for each in run.passed].index(name, start)


def what_happened_in(run: CrashRun, process: str) -> list[str]:
    """Return the kinds of things that happened in a process."""
    return [line.what for line in run.trace if line.process == process]


def names_of(run: CrashRun) -> set[str]:
    """Return the names of the promises that a run breaks."""
    return {violation.name for violation in run.violations}


def found_at(point: str) -> set[str]:
    """Return what is broken by single crashes at points of a kind, and not without a crash."""
    run = crash()
    numbers = [number for number, each in enumerate(run.passed) if each.point == point]
    return set[str]().union(*(names_of(crash(number)) for number in numbers)) - names_of(run)


@pytest.mark.long
@pytest.mark.parametrize("item", range(ITEMS))
def test_no_crash_breaks_a_promise(item: int) -> None:
    """Wherever one process crashes, and in some of the cases where two do, every promise holds."""
    for first in range(item, len(without_crash().passed), ITEMS):
        swept = sweep(first, EVERY)
        assert not swept.violations, "\n".join(swept.failed)


def test_everything_is_as_it_should_be_without_a_crash() -> None:
    """Without a crash the flow ends well, and nobody has to look at anything."""
    assert not without_crash().violations
    assert not without_crash().has_incident


def test_all_kinds_of_processes_pass_points() -> None:
    """Both orchestrators, both workers and the client pass points, each several."""
    counts = Counter(each.process for each in without_crash().passed)
    assert set(counts) == {
        *("orchestrator-0", "orchestrator-1", "worker-0", "worker-1"),
        "client-0",
    }
    assert min(counts.values()) > 1


@pytest.mark.parametrize("point", POINTS)
def test_each_kind_of_point_is_crashed_at(point: str) -> None:
    """Points of every kind are passed, and whoever passes one crashes there and is replaced."""
    number = first_of(point)
    crashed = without_crash().passed[number]
    run = crash(number)
    assert crashed.point == point
    assert run.crashes == (crashed,)
    assert what_happened_in(run, crashed.process)[-1] == "kill"
    assert what_happened_in(run, f"{crashed.process}#2")[0] == "start"


def test_what_was_passed_before_a_crash_is_the_same_without_it() -> None:
    """A number means the same point in all runs up to the crash, or nothing would be exhaustive."""
    passed, number = without_crash().passed, len(without_crash().passed) // 2
    assert crash(number).passed[: number + 1] == passed[: number + 1]


def test_a_second_crash_is_at_a_point_that_follows_the_first() -> None:
    """The second number counts on in the sequence that the first crash has led to."""
    first = first_of("commit.done")
    after = crash(first)
    second = len(after.passed) - 5
    assert crash(first, second).crashes == (after.passed[first], after.passed[second])


def test_a_crash_runs_the_same_way_twice() -> None:
    """The same crashes give the same trace and the same choices, also a second time."""
    assert crash(17, 42).hash == crash(17, 42).hash


def test_a_point_that_is_not_there_is_told() -> None:
    """A crash that does not come about is no proof of anything, and counts as a violation."""
    run = crash(1_000_000)
    assert [violation.name for violation in run.violations] == ["crashed as planned"]


def test_a_crash_between_permit_and_reply_is_an_incident() -> None:
    """Whoever dies while running a step that runs at most once leaves it to a person."""
    passed = without_crash().passed
    runs = [crash(number) for number, each in enumerate(passed) if _is_before_reply(each)]
    assert any(run.has_incident for run in runs), ONCE
    assert not any(run.violations for run in runs)


def _is_before_reply(passed: Passed) -> bool:
    return passed.point == "publish.before" and passed.process.startswith("worker")


@pytest.mark.parametrize(
    ("name", "point", "broken"),
    [
        ("ack_before_commit", "ack.after", "a needless incident"),
        ("outbox_not_sent_again", "commit.done", "unfinished"),
    ],
)
def test_a_bug_is_found_by_single_crashes(name: str, point: str, broken: str) -> None:
    """What a deliberate bug does only when somebody crashes is found by crashing once."""
    with MUTANTS[name].planted():
        assert broken in found_at(point)


def test_a_storm_of_news_is_found_by_crashing_both_orchestrators() -> None:
    """Two who wait for leases and keep each other awake end well, and are found nevertheless."""
    first = process_at("orchestrator-0", without_crash())
    second = process_at("orchestrator-1", crash(first), first + 1)
    asking = edit(Lifeline._cycle, ("and not is_asked ", ""))
    assert not crash(first, second).violations
    with asking.planted():
        assert "nothing goes round in circles" in names_of(crash(first, second))


def test_a_replay_tells_how_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    """The command that replays crashes prints all that happened, and its outcome last of all."""
    assert main(["--at", "17,42", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("kill" in line for line in lines)
    assert lines[-1].endswith(" points, 1 runs, 0 violations")


def test_a_violation_is_told_with_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever finds something is told how to see it again, and the exit code is 1."""
    with MUTANTS["publish_before_commit"].planted():
        assert main(["--at", "17"]) == 1
    printed = capsys.readouterr().out
    assert "published before it was committed" in printed
    assert "python -m tests.simulation.crash_points --at 17 --trace" in printed
