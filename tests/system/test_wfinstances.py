"""Real scientific workflows run to their end, whoever is killed on the way."""

import logging
from typing import Any

import pytest

from flow import Flow
from flow.status import Status
from tests.system import effects, journal, wfinstances
from tests.system.processes import Crew
from tests.system.programs.science import EXECUTION, Laboratory

pytestmark = [
    pytest.mark.system,
    pytest.mark.long,
    pytest.mark.skipif(bool(wfinstances.missing_folder()), reason=wfinstances.missing_folder()),
]

_log = logging.getLogger("tests.system")

SIGKILLED = -9


def check_order(graph: wfinstances.Graph, done: list[dict[str, Any]]) -> None:
    """Every task ran after its parents: the first time after their first time."""
    first: dict[str, int] = {}
    for number, effect in enumerate(done):
        first.setdefault(effect["task"], number)
    for task, parents in graph.parents.items():
        assert all(first[parent] < first[task] for parent in parents), task


def check_results(graph: wfinstances.Graph, found: journal.Journal, done: list[Any]) -> None:
    """Each result was recorded once, and whoever used it has used that one."""
    once = {f"steps/{task}": 1 for task in graph.parents}
    assert found.status is Status.SUCCESS
    assert found.told == once
    assert found.recorded == once
    tokens = {task: output["token"] for task, output in found.outputs.items()}
    assert tokens.keys() == graph.parents.keys()
    assert {(effect["task"], effect["token"]) for effect in done} >= set(tokens.items())
    check_durable(graph, found, done)


def check_durable(graph: wfinstances.Graph, found: journal.Journal, done: list[Any]) -> None:
    """No task ran before the results that it got were recorded for good."""
    tokens = {task: output["token"] for task, output in found.outputs.items()}
    for effect in done:
        parents = graph.parents[effect["task"]]
        assert effect["seen"] == {parent: tokens.get(parent) for parent in parents}, effect


def check_kept(known: dict[str, Any], found: journal.Journal, later: list[Any]) -> None:
    """Results that were recorded are as they were, and no task that has one ran again."""
    assert known.items() <= {**found.outputs}.items(), "a result that was recorded has changed"
    assert not [effect for effect in later if effect["task"] in known]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", wfinstances.names())
async def test_each_task_runs_once(name: str, crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real graph runs to SUCCESS, each task once, after its parents, in levels as expected."""
    monkeypatch.setenv("FLOW_TEST_EFFECTS", str(crew.effects))
    graph = wfinstances.load(name)
    app = Flow("science", store=crew.store)
    workflow = wfinstances.define(app, graph)
    app.service("science").endpoint(Laboratory(graph, 0).run)
    levels = [{step.id for step in level} for level in workflow.steps()]
    assert levels == graph.levels()
    async with app:
        execution = await workflow.execute(id=EXECUTION)
        await execution.result()
        assert set((await execution.steps()).values()) == {Status.SUCCESS}
    done = effects.load(crew.effects)
    assert sorted(effect["task"] for effect in done) == sorted(graph.parents)
    check_order(graph, done)
    found = await journal.read(crew.database, "science", [EXECUTION])
    check_results(graph, found[EXECUTION], done)
    _log.info("%s: %d tasks, %d effects", name, len(graph.parents), len(done))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", wfinstances.names())
async def test_three_kills_lose_nothing(name: str, crew: Crew) -> None:
    """A process that is killed three times on the way loses no result, and records none twice."""
    graph = wfinstances.load(name)
    known: dict[str, Any] = {}
    before = 0
    for quarter in (1, 2, 3):
        child = crew.start("science", name, str(max(1, len(graph.parents) * quarter // 4)))
        assert await child.ended() == SIGKILLED, child.output
        found = (await journal.read(crew.database, "science", [EXECUTION]))[EXECUTION]
        assert found.status is Status.RUNNING
        done = effects.load(crew.effects)
        check_kept(known, found, done[before:])
        check_durable(graph, found, done)
        known, before = found.outputs, len(done)
    child = crew.start("science", name, "0")
    assert await child.ended() == 0, child.output
    done = effects.load(crew.effects)
    found = (await journal.read(crew.database, "science", [EXECUTION]))[EXECUTION]
    check_kept(known, found, done[before:])
    check_order(graph, done)
    check_results(graph, found, done)
    again = effects.repeated(effect["task"] for effect in done)
    counts = len(graph.parents), len(done), len(again)
    _log.info("%s: %d tasks, %d effects, %d tasks ran again", name, *counts)
