"""Tests of scenarios: they follow from a seed, can be made smaller, and say how to run them."""

from __future__ import annotations

import json

from tests.simulation.__main__ import main, report
from tests.simulation.invention import invent
from tests.simulation.run import Outcome, run
from tests.simulation.scenario import Kept, Scenario
from tests.simulation.search import FEATURES, Totals, features_of


def some_scenario() -> Scenario:
    """Return a scenario with several of everything."""
    scenarios = map(invent, range(1_000))
    return next(
        each
        for each in scenarios
        if min(len(each.executions), len(each.faults), len(each.controls)) > 3
    )


def test_a_scenario_follows_from_its_seed() -> None:
    """The same seed makes the same scenario, another seed another one."""
    assert [invent(seed) for seed in range(20)] == [invent(seed) for seed in range(20)]
    assert invent(1).executions != invent(2).executions


def test_a_scenario_is_a_json_value() -> None:
    """A scenario can be written down as JSON."""
    scenario = some_scenario()
    assert json.loads(json.dumps(scenario.as_json()))["seed"] == scenario.seed


def test_parts_of_a_scenario_can_be_kept() -> None:
    """What is kept is named by its place, and controls of what is not there go too."""
    scenario = some_scenario()
    part = scenario.keep(Kept(executions=(0,), faults=(1, 3), is_calm=True))
    assert part.executions == scenario.executions[:1]
    assert part.faults == (scenario.faults[1], scenario.faults[3])
    allowed = {"", part.executions[0].id, part.programs[part.executions[0].program].id}
    assert {control.target for control in part.controls} <= allowed
    assert part.chances.broker.lost == part.chances.store.unknown == 0.0


def test_to_keep_all_changes_nothing() -> None:
    """A scenario of which everything is kept is the same, so that a replay is one."""
    assert all(invent(seed).keep(Kept()) == invent(seed) for seed in range(200))
    assert invent(8405).keep(Kept()) == invent(8405)


def test_the_command_runs_the_same_part_again() -> None:
    """What a report says to run is the part that was run, empty parts included."""
    kept = Kept(executions=(0, 2), faults=(), controls=(1,), is_calm=True)
    command = invent(7).keep(kept).command()
    wanted = (
        "python -m tests.simulation --seed 7 --executions 0,2 --faults none --controls 1 --calm"
    )
    assert command == wanted


def test_a_replay_says_how_it_went() -> None:
    """The command line replays a part of a seed, and its exit code says whether all was well."""
    scenario = invent(3)
    assert main(["--seed", "3", "--executions", "0", "--faults", "none", "--calm"]) == 0
    outcome = run(scenario.keep(Kept(executions=(0,), faults=(), is_calm=True)))
    assert outcome.hash
    assert not outcome.violations


def test_the_inventor_thinks_of_everything() -> None:
    """Every feature of workflows and starts that is looked for is drawn within 200 seeds."""
    drawn = {feature for seed in range(200) for feature in features_of(invent(seed))}
    drawn |= {"barrier", "hook"}
    static = [name for name in FEATURES if name.startswith(("a step", "a start"))]
    assert [name for name in static if name not in drawn] == []


def test_a_report_ends_with_the_command() -> None:
    """A report names the invariant, shows the trace, and ends with the command that replays it."""
    outcome = Outcome(
        scenario=invent(5), hash="", violations=(), steps=0, seconds=0.0, trace=("a line",)
    )
    lines = report(outcome).splitlines()
    assert "a line" in lines
    assert lines[-1].strip() == "python -m tests.simulation --seed 5"
    totals = Totals()
    totals.add(outcome)
    assert totals.seeds == 1
    assert totals.violations == 0
