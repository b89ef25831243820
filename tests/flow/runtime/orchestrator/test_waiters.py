"""Tests of `orchestrator.waiters`: who hears of what."""

from __future__ import annotations

from functools import partial

from flow.runtime.orchestrator.waiters import Waiters


def test_whoever_waits_for_a_change_hears_of_it_once() -> None:
    """A change notifies those who wait for it, in order, and not those who wait for the end."""
    waiters = Waiters()
    heard: list[str] = []
    waiters.wait_for_change("e", "a", lambda: heard.append("a"))
    waiters.wait_for_change("e", "b", lambda: heard.append("b"))
    waiters.wait_for_end("e", "c", lambda: heard.append("c"))
    waiters.changed("other", ended=True)
    waiters.changed("e", ended=False)
    waiters.changed("e", ended=False)
    assert heard == ["a", "b"]
    assert len(waiters) == 1


def test_the_end_notifies_everybody() -> None:
    """The end of an execution is a change too, and nobody waits after it."""
    waiters = Waiters()
    heard: list[str] = []
    waiters.wait_for_change("e", "a", lambda: heard.append("a"))
    waiters.wait_for_end("e", "c", lambda: heard.append("c"))
    waiters.changed("e", ended=True)
    assert heard == ["a", "c"]
    assert len(waiters) == 0


def test_asking_again_replaces() -> None:
    """Whoever asks again is notified once."""
    waiters = Waiters()
    heard: list[int] = []
    for number in range(3):
        waiters.wait_for_end("e", "a", partial(heard.append, number))
    waiters.changed("e", ended=True)
    assert heard == [2]


def test_the_number_of_waiters_is_bounded() -> None:
    """When too many wait for one execution, those that asked first are forgotten."""
    waiters = Waiters(limit=2)
    heard: list[int] = []
    for number in range(5):
        waiters.wait_for_end("e", str(number), partial(heard.append, number))
    waiters.changed("e", ended=True)
    assert heard == [3, 4]


def test_who_waits_for_what_is_elsewhere_is_forgotten() -> None:
    """Nobody is kept who waits for an execution that is somebody else's; the others are."""
    waiters = Waiters()
    heard: list[str] = []
    waiters.wait_for_end("ours", "a", lambda: heard.append("a"))
    waiters.wait_for_end("theirs", "b", lambda: heard.append("b"))
    waiters.forget(lambda name: name == "theirs")
    for name in ("ours", "theirs"):
        waiters.changed(name, ended=True)
    assert heard == ["a"]
