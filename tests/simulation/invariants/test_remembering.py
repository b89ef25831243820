"""Tests of `invariants.remembering`: each sees its violation, planted."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from flow.runtime.orchestrator.batch import Batch
from tests.simulation.invariants.remembering import PATIENCE_S
from tests.simulation.planting import EPOCH, ID, NOW_MS, Plant, root, step

LATE_MS = NOW_MS + 600_000


def owner(plant: Plant, times: dict[str, int], *, is_in: bool = False) -> asyncio.Event:
    """Let the owner of partition 0 live, which has only these alarms; return whether it is idle."""
    idle, written = asyncio.Event(), asyncio.Event()
    idle.set()
    written.set()
    engine = SimpleNamespace(
        inbox=SimpleNamespace(_finished=idle),
        committer=SimpleNamespace(batch=Batch(), _idle=written),
        residents=SimpleNamespace(_live={ID: _live()} if is_in else {}, parked={}),
        holdings=SimpleNamespace(is_open={0}.__contains__),
        timers=SimpleNamespace(time=times.get),
        leases={},
    )
    member = SimpleNamespace(
        app=SimpleNamespace(host=SimpleNamespace(engine=engine, worker=None)),
        process=plant.worker,
    )
    plant.world.cluster.members["one"] = member
    return idle


def _live() -> Any:
    return SimpleNamespace(partition=0, seq=0)


def names_later(plant: Plant) -> set[str]:
    """Return what is objected to by an owner that has had time enough."""
    found = plant.names()
    plant.clock_s += PATIENCE_S
    return found | plant.names()


@pytest.mark.parametrize("times", [{}, {"@0": LATE_MS}, {"@1": NOW_MS}, {"e2": NOW_MS}])
def test_an_owner_without_an_alarm_is_seen(times: dict[str, int]) -> None:
    """An owner that wakes nobody for what the store has due, or too late, is a violation."""
    plant = Plant()
    plant.begin()
    owner(plant, times)
    assert names_later(plant) == {"owners remember what is due"}


@pytest.mark.parametrize("times", [{"@0": NOW_MS}, {ID: LATE_MS}])
def test_an_owner_with_an_alarm_is_right(times: dict[str, int]) -> None:
    """An alarm for the execution, or an early one for its partition, is enough."""
    plant = Plant()
    plant.begin()
    owner(plant, times)
    assert names_later(plant) == set()


def test_what_is_in_memory_needs_an_alarm_of_its_own() -> None:
    """The alarm of the partition does not wake what is in memory."""
    plant = Plant()
    plant.begin()
    owner(plant, {"@0": NOW_MS}, is_in=True)
    assert names_later(plant) == {"owners remember what is due"}


def test_an_owner_that_is_busy_is_right() -> None:
    """While something is in the inbox an alarm may just have rung."""
    plant = Plant()
    plant.begin()
    owner(plant, {}).clear()
    assert names_later(plant) == set()


def waiter(state: str, updated: int) -> list[Any]:
    """Return a waiter, as a record has it."""
    data = {"reply_to": "world.reply.1", "correlation": "c"}
    return ["waiters/w", "waiter@1", state, data, 96, updated]


def test_a_waiter_that_is_not_told_is_seen() -> None:
    """An execution that ends while somebody in its tree waits on is a violation."""
    plant = Plant()
    plant.begin()
    plant.record(waiter("PENDING", 96))
    assert plant.names() == set()
    plant.record(root("SUCCESS", 97, ended_ms=NOW_MS), step("a", "SUCCESS", 97, output="x"))
    assert "waiters are told" in plant.names()


def test_a_waiter_without_an_answer_is_seen() -> None:
    """A waiter that counts as told without an answer in the outbox is a violation."""
    plant = Plant()
    plant.begin()
    ended = [root("SUCCESS", 97, ended_ms=NOW_MS), step("a", "SUCCESS", 97, output="x")]
    plant.record(*ended, waiter("SUCCESS", 98))
    assert "waiters are told" in plant.names()


def test_what_was_cancelled_and_begins_is_seen() -> None:
    """A handler that begins in a worker that was told of its cancellation is a violation."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.world.simulation.note("ack", f"step.cancel {ID}/{EPOCH}/4/2", "worker")
    plant.world.simulation.note("ack", f"step.cancel {ID}/{EPOCH}/4/1", "other")
    plant.call("a")
    assert plant.names() == set()
    plant.world.simulation.note("ack", f"step.cancel {ID}/{EPOCH}/4/1", "worker")
    plant.call("a")
    assert plant.names() == {"cancelled is remembered"}


def test_a_worker_that_begins_anew_remembers_nothing() -> None:
    """A process that could not take part is another one when it tries again."""
    plant = Plant()
    plant.begin()
    plant.send("a")
    plant.world.simulation.note("ack", f"step.cancel {ID}/{EPOCH}/4/1", "worker")
    plant.world.simulation.note("not ready", "the broker is away", "worker")
    plant.call("a")
    assert plant.names() == set()
