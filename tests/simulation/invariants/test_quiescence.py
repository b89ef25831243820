"""Tests of `invariants.quiescence`: each sees its violation, planted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from flow.ports import StoredExecution
from tests.simulation.invariants.quiescence import LOADS_MAX
from tests.simulation.planting import ID, Plant


def finished() -> Plant:
    """Return evidence of a whole history in which nothing is wrong."""
    plant = Plant()
    plant.all_right()
    assert plant.names(at_the_end=True) == set()
    return plant


def test_somebody_who_waits_on_is_seen() -> None:
    """Whoever waits at the end is a violation, but not if their process is gone."""
    plant = finished()
    waiting = plant.ledger.waits("worker", "an answer")
    assert plant.names(at_the_end=True) == {"waiters are served"}
    plant.ledger.served(waiting)
    assert plant.names(at_the_end=True) == set()
    plant.ledger.waits("worker", "an answer")
    plant.worker.kill()
    assert plant.names(at_the_end=True) == set()


@pytest.mark.parametrize(("ready", "unsettled"), [(1, 0), (0, 1)])
def test_a_message_that_is_left_is_seen(ready: int, unsettled: int) -> None:
    """A message that waits, or is not settled, is a violation; a dead letter is none."""
    plant = finished()
    queue = SimpleNamespace(name="world.mailbox.1", ready=ready, unsettled=unsettled, consumers=1)
    plant.queues.append(queue)
    assert plant.names(at_the_end=True) == {"nothing in queues"}
    queue.name = "world.dead"
    assert plant.names(at_the_end=True) == set()


def test_a_request_that_is_being_worked_on_is_none() -> None:
    """A request may be unsettled for as long as its handler may run, and no longer."""
    plant = finished()
    plant.call("a")
    queue = SimpleNamespace(name="world.steps.work", ready=0, unsettled=1, consumers=1)
    plant.queues.append(queue)
    assert plant.names(at_the_end=True) == set()
    queue.unsettled = 2
    assert plant.names(at_the_end=True) == {"nothing in queues"}
    queue.unsettled = 1
    plant.clock_s = 61.0
    assert plant.names(at_the_end=True) == {"nothing in queues"}


def test_a_livelock_is_seen() -> None:
    """An execution that a process loads again and again, with nothing new, is a violation."""
    plant = finished()
    recorded = plant.observer.evidence.model.executions[ID]
    stored = StoredExecution(recorded.summary, recorded.seq, tuple(recorded.records))
    for _ in range(LOADS_MAX - 1):
        plant.observer.called("load", plant.process, ([ID],), {ID: stored})
    assert plant.names() == set()
    plant.observer.called("load", plant.process, ([ID],), {ID: stored})
    assert plant.names() == {"no livelock"}


def test_loading_now_and_then_is_no_livelock() -> None:
    """Who keeps little in memory loads for each question, however often that is in the end."""
    plant = finished()
    recorded = plant.observer.evidence.model.executions[ID]
    stored = StoredExecution(recorded.summary, recorded.seq, tuple(recorded.records))
    for _ in range(2 * LOADS_MAX):
        plant.observer.called("load", plant.process, ([ID],), {ID: stored})
        plant.clock_s += 1.0
    assert plant.names() == set()


def orchestrator(plant: Plant, **left: Any) -> None:
    """Let an orchestrator live that holds nothing but what a test says."""
    batch = SimpleNamespace(touches={}, deliveries=[], settled=[])
    dispatcher = SimpleNamespace(
        unsettled=left.get("unsettled", 0), _parking=[], refusals=[], waiting={}
    )
    engine = SimpleNamespace(
        committer=SimpleNamespace(batch=batch),
        residents=SimpleNamespace(_live={}, parked={}),
        dispatcher=dispatcher,
        inbox=left.get("inbox", []),
        publisher=[],
        waiters=left.get("waiters", []),
        deleting=set(),
        counters={"poison": left.get("poison", 0)},
        leases={},
    )
    snapshot = SimpleNamespace(running=left.get("running", 0), waiting=0)
    host = SimpleNamespace(engine=engine, worker=SimpleNamespace(snapshot=lambda: snapshot))
    member = SimpleNamespace(app=SimpleNamespace(host=host), process=plant.worker)
    plant.world.cluster.members["one"] = member


@pytest.mark.parametrize(
    "left", [{"unsettled": 1}, {"inbox": [1]}, {"waiters": ["e1"]}, {"poison": 1}]
)
def test_what_an_orchestrator_keeps_is_seen(left: dict[str, Any]) -> None:
    """Anything that an orchestrator holds when all is done is a violation."""
    plant = finished()
    orchestrator(plant)
    assert plant.names(at_the_end=True) == set()
    orchestrator(plant, **left)
    assert plant.names(at_the_end=True) == {"back at the baseline"}


def test_a_handler_that_never_ends_is_seen() -> None:
    """A worker that runs a handler which should have ended is a violation."""
    plant = finished()
    orchestrator(plant, running=1)
    assert plant.names(at_the_end=True) == {"nothing out at workers"}
    plant.call("a")
    assert plant.names(at_the_end=True) == set()
