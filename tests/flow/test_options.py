"""Tests of `flow.options`: what type checkers see, and Python does not."""

from typing import Any, TypedDict

import pytest

from flow import Flow, Step
from flow.errors import InvalidName, InvalidOption
from flow.options import check_options, check_seconds
from flow.testing import FlowHarness


class Options(TypedDict, total=False):
    """Some options."""

    requires: int
    timeout: float


def test_known_options_pass() -> None:
    """Options that exist are taken, and so are none."""
    check_options("x", {"requires": 1, "timeout": 2}, Options)
    check_options("x", {}, Options)
    assert set(Options.__annotations__) == {"requires", "timeout"}


def test_all_unknown_options_are_named_with_the_nearest() -> None:
    """Misspelled options are refused together, each with what was meant."""
    expected = (
        "the step: require=1 is not possible: there is no option 'require'; did you mean "
        "'requires'?, nor 'tiemout'; did you mean 'timeout'?"
    )
    with pytest.raises(InvalidOption) as caught:
        check_options("the step", {"require": 1, "timeout": 2, "tiemout": 3}, Options)
    assert str(caught.value) == expected


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5", None, True])
def test_a_time_is_a_positive_number(seconds: object) -> None:
    """What is no time span is refused, whatever its type."""
    with pytest.raises(InvalidOption, match="more than 0 seconds"):
        check_seconds("x", "timeout", seconds)


async def test_options_are_checked_wherever_they_are_given() -> None:
    """A misspelled or mistyped option of a step, a workflow or a start is never swallowed."""
    app = Flow("shop", broker="memory://", store="memory://")
    # What type checkers see is what this is about.
    unchecked: Any = app
    step_of: Any = Step
    with pytest.raises(InvalidOption, match="'timeout'"):
        step_of.call("a.b", tiemout=5)
    with pytest.raises(InvalidOption, match="'timeout'"):
        unchecked.step(tiemout=5)
    step = Step.call("a.b")
    with pytest.raises(InvalidOption, match="'on_failure'"):
        unchecked.workflow("w", step, on_failur=step)
    with pytest.raises(InvalidOption, match="a workflow is made of steps"):
        unchecked.workflow("w", [step])
    workflow: Any = app.workflow("w", step)
    async with FlowHarness(app) as test:
        test.stub(step, 1)
        with pytest.raises(InvalidOption, match="'id'"):
            await workflow.run(idd="x")
        with pytest.raises(InvalidOption, match="more than 0 seconds"):
            await workflow.run(timeout="x")
        with pytest.raises(InvalidName):
            await workflow.run(id=3)
        assert await workflow.run(optional="b", id="e-1") == {"b": 1}
