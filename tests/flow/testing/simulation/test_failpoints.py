"""Tests of `flow.testing.simulation.failpoints`: points are counted, and processes die at some."""

from __future__ import annotations

from flow.testing.simulation.failpoints import POINTS, Failpoints, Passed
from flow.testing.simulation.processes import SimulatedProcess


def process(name: str) -> SimulatedProcess:
    """Return a process in which nothing runs."""
    return SimulatedProcess(name, lambda _: None)


def test_points_are_counted_in_order() -> None:
    """Every point that a process passes is noted with its name, and nobody dies."""
    points, one, two = Failpoints(is_counting=True), process("one"), process("two")
    points.reach(one, "commit.before")
    points.reach(two, "ack.after")
    assert points.passed == [Passed("one", "commit.before"), Passed("two", "ack.after")]
    assert points.crashes == []
    assert not one.is_dead
    assert not two.is_dead


def test_processes_die_where_they_should() -> None:
    """Whoever passes a point of the given number dies there, and nobody else does."""
    points = Failpoints(frozenset({1, 3}), is_counting=True)
    one, two = process("one"), process("two")
    points.reach(one, "commit.before")
    points.reach(one, "commit.done")
    points.reach(two, "publish.before")
    assert one.is_dead
    assert not two.is_dead
    points.reach(two, "publish.done")
    assert two.is_dead
    assert points.crashes == [Passed("one", "commit.done"), Passed("two", "publish.done")]


def test_the_dead_pass_nothing() -> None:
    """What a dead process seems to do in the rest of its step is not counted."""
    points, one = Failpoints(frozenset({0}), is_counting=True), process("one")
    points.reach(one, "commit.before")
    points.reach(one, "commit.after")
    assert points.passed == [Passed("one", "commit.before")]


def test_nothing_has_a_number_before_counting_begins() -> None:
    """What is passed while nothing is counted is neither noted nor fatal."""
    points, one = Failpoints(frozenset({0})), process("one")
    points.reach(one, "commit.before")
    assert not one.is_dead
    points.is_counting = True
    points.reach(one, "commit.done")
    assert one.is_dead
    assert points.passed == [Passed("one", "commit.done")]


def test_crash_is_told_whom() -> None:
    """Whoever starts processes decides what it means that one dies."""
    told: list[SimulatedProcess] = []
    points, one = Failpoints(frozenset({0}), is_counting=True), process("one")
    points.crash = told.append
    points.reach(one, "renew.before")
    assert told == [one]


def test_points_are_told_apart() -> None:
    """No point stands in the list twice, and each says what happens and when."""
    assert len(set(POINTS)) == len(POINTS)
    assert {name.rpartition(".")[2] for name in POINTS} == {"before", "done", "after"}
