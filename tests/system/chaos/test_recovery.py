"""Times of recovery are measured as their definitions say."""

from __future__ import annotations

from tests.system.chaos import programs
from tests.system.chaos.evidence import Effect, Evidence, Fault, Life, Row, Sample
from tests.system.chaos.recovery import Recovery, recoveries

SHAPES = programs.shape_of(programs.orchestrating())
KILL = Fault("kill orchestrator", "orchestrator-0", 1_000, 1_000, pid=1)


def found(evidence: Evidence) -> dict[str, Recovery]:
    """Return all times by name."""
    return {each.name: each for each in recoveries(evidence)}


def owners(*faults: Fault) -> Evidence:
    """Return evidence of a takeover in two steps."""
    return Evidence(
        shapes=SHAPES,
        lives=[Life(1, "orchestrator", "one", 0), Life(2, "orchestrator", "two", 0)],
        samples=[
            Sample(900, {0: "one", 1: "one", 2: "two"}),
            Sample(15_000, {0: "one", 2: "two"}),
            Sample(16_000, {0: "two", 2: "two"}),
            Sample(17_000, {0: "two", 1: "two", 2: "two"}),
        ],
        faults=[KILL, *faults],
        ended_ms=60_000,
    )


def test_a_takeover_ends_with_the_last_partition() -> None:
    """A takeover takes until the last partition of the killed one has another owner."""
    times = found(owners())
    assert times["takeover"].times_ms == [16_000]
    assert times["takeover, undisturbed"].times_ms == [16_000]


def test_a_disturbed_takeover_is_told_apart() -> None:
    """A takeover during which the database was away counts, but not as undisturbed."""
    times = found(owners(Fault("kill database", "database", 5_000, 6_000)))
    assert times["takeover"].times_ms == [16_000]
    assert times["takeover, undisturbed"].times_ms == []


def test_who_held_nothing_is_not_taken_over() -> None:
    """The kill of an orchestrator without partitions is no takeover; one without end is open."""
    evidence = owners(Fault("kill orchestrator", "orchestrator-1", 17_500, 17_500, pid=2))
    takeovers = found(evidence)["takeover"]
    assert (takeovers.times_ms, takeovers.open) == ([16_000], 1)


def interrupted(*more: Effect) -> Evidence:
    """Return evidence of a worker that was killed in the middle of one step of two."""
    return Evidence(
        shapes=SHAPES,
        rows={"fan-1": Row("fan", "SUCCESS")},
        effects=[
            Effect("began", "fan-1", "steps/split", pid=5, at_ms=800),
            Effect("done", "fan-1", "steps/split", pid=5, at_ms=850),
            Effect("began", "fan-1", "steps/join", pid=5, at_ms=900),
            *more,
        ],
        faults=[Fault("kill worker", "worker-0", 1_000, 1_000, pid=5)],
    )


def test_rework_begins_elsewhere() -> None:
    """What a killed worker was in the middle of is rework from when it begins again."""
    again = Effect("began", "fan-1", "steps/join", pid=6, at_ms=1_400)
    assert found(interrupted(again))["rework"].times_ms == [400]
    assert found(interrupted())["rework"].open == 1


def test_what_is_done_needs_no_rework() -> None:
    """A step that somebody else had done before is no rework."""
    before = Effect("done", "fan-1", "steps/join", pid=6, at_ms=700)
    rework = found(interrupted(before))["rework"]
    assert (rework.times_ms, rework.open) == ([], 0)


def test_service_begins_after_the_server() -> None:
    """Service is back with the first handler that begins after the server answers."""
    evidence = interrupted(Effect("began", "fan-1", "steps/join", pid=6, at_ms=5_300))
    evidence.faults = [Fault("kill broker", "broker", 2_000, 5_000)]
    assert found(evidence)["service after broker"].times_ms == [300]


def test_percentiles_are_nearest_ranks() -> None:
    """A percentile is a time that was measured."""
    times = Recovery("any", list(range(1, 101)))
    assert [times.percentile(share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert Recovery("none", []).percentile(0.5) == 0
