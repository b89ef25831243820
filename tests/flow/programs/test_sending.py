"""Tests of `flow.programs.sending`: order, window, sub-workflows and hooks."""

from __future__ import annotations

import pytest

from flow.kernel.commands import StartDue
from flow.programs import sending
from flow.status import Status
from tests.flow.programs.driver import Run, inner, planned, step


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make the window two attempts wide."""
    monkeypatch.setattr(sending, "DISPATCH_WINDOW", 2)
    return 2


def test_the_window_is_kept_full(window: int) -> None:
    """No more than the window is out, and whatever ends lets the next one go, in order."""
    run = Run(planned(*(step(f"s{number}") for number in range(5)))).start()
    for number in range(5):
        assert run.out == [f"steps/s{each}" for each in range(number, min(number + window, 5))]
        run.succeed(f"steps/s{number}")
    assert run.status is Status.SUCCESS


@pytest.mark.usefixtures("window")
def test_sub_workflows_are_begun_one_after_the_other() -> None:
    """A sub-workflow is not begun before there is room for a step of it; deeper ones go first."""
    subs = (inner(f"s{number}", step("x"), step("y", "x")) for number in range(4))
    run = Run(planned(*subs)).start()
    assert list(run.states) == ["steps/s0", "steps/s0/steps/x", "steps/s1", "steps/s1/steps/x"]
    run.succeed("steps/s1/steps/x")
    assert run.out == ["steps/s0/steps/x", "steps/s1/steps/y"]
    run.succeed("steps/s1/steps/y")
    assert run.out == ["steps/s0/steps/x", "steps/s2/steps/x"]


@pytest.mark.usefixtures("window")
@pytest.mark.parametrize("reload", [False, True])
def test_hooks_keep_to_the_window(*, reload: bool) -> None:
    """Hooks wait for room like steps, also after a reload, and the workflow waits for them."""
    hooks = {"on_success": step("cheer"), "on_end": step("tell")}
    run = Run(planned(inner("s", step("x"), hooks=hooks), step("a"))).start()
    run.succeed("steps/s/steps/x")
    assert run.out == ["steps/a", "steps/s/hooks/on_success"]
    if reload:
        run.reload()
    run.succeed("steps/s/hooks/on_success")
    assert run.out == ["steps/a", "steps/s/hooks/on_end"]
    run.succeed("steps/s/hooks/on_end")
    assert run.states["steps/s"] == "SUCCESS"


@pytest.mark.usefixtures("window")
def test_unsent_hooks_are_left_out_when_all_fails() -> None:
    """If the workflow around it fails, a sub-workflow whose outcome is known ends without hooks."""
    hooks = {"on_success": step("cheer"), "on_end": step("tell")}
    run = Run(planned(inner("s", step("x"), hooks=hooks), step("a"))).start()
    run.succeed("steps/s/steps/x")
    run.fail("steps/a")
    run.succeed("steps/s/hooks/on_success")
    assert "steps/s/hooks/on_end" not in run.states
    assert run.states["steps/s"] == "SUCCESS"
    assert run.status is Status.FAILURE


def test_a_time_to_begin_counts_from_the_sending() -> None:
    """`start_within` makes a deadline for each attempt."""
    run = Run(planned(step("a", start_within_ms=2_000))).start()
    assert [one.task for one in run.timers()] == [StartDue(deadline_ms=3_000)]
