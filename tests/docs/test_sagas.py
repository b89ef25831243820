"""The page about sagas, and its example, do what they say."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flow import ExecutionCompensated, ExecutionFailed, Fail, Flow, Step
from flow.template import FromRun
from flow.testing import FlowHarness

ROOT = Path(__file__).parents[2]
BLOCKS: list[str] = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "sagas.md").read_text(), re.DOTALL
)


def _page() -> dict[str, Any]:
    """Return what the page's program declares."""
    names: dict[str, Any] = {"__name__": "sagas"}
    exec(compile(BLOCKS[0], "sagas.md", "exec"), names)
    return names


async def test_the_program_of_the_page_books_and_cancels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its undo finds what the run has returned and kept."""
    names = _page()
    app: Flow = names["app"]
    fail: Step[Any] = Step.call("travel.fail", requires=[names["book_hotel"]])
    workflow = app.workflow("trip", names["book_hotel"], fail, on_error="compensate")
    async with FlowHarness(app) as test:
        test.stub("travel.fail", Fail("no car"))
        with pytest.raises(ExecutionCompensated):
            await workflow.run("Oslo")
    assert capsys.readouterr().out == "cancelled the hotel in Oslo for Friday\n"


async def test_a_hook_in_front_keeps_the_handler_from_running(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where the hook fails, the step has not begun, and there is nothing to undo."""
    names = _page()
    app: Flow = names["app"]
    workflow = app.workflow("trip", names["book_hotel"], on_error="compensate")
    async with FlowHarness(app):
        execution = await workflow.execute("Atlantis")
        with pytest.raises(ExecutionFailed, match="there are no hotels"):
            await execution.result()
        report = await execution.report()
    assert [entry.action for entry in report.steps] == ["prepare"]
    assert capsys.readouterr().out == ""


def test_the_other_undos_of_the_page_are_what_it_says() -> None:
    """An endpoint gets what the run got, and a mapping may refer to the run."""
    names = _page()
    refund = names["charge"].definition().undo
    assert (refund.target, refund.input) == ("payments.refund", None)
    sorry = names["notify"].definition().undo
    assert dict(sorry.input.fields)["sorry"] == FromRun(("output", "id"))


@pytest.mark.system
def test_the_example_shows_forward_failure_compensation_and_report(tmp_path: Path) -> None:
    """The trip is booked, fails, is taken back, and its report tells all of it."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "trip" / "trip.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:5] == [
        "booked a flight to Oslo",
        "booked a hotel in Oslo",
        "no car to cancel for ada: Fail: no car left in Oslo",
        "cancelled hotel-ada of ada",
        "cancelled flight-ada of ada",
    ]
    assert lines[5].endswith("was compensated: step 'book_car': Fail: no car left in Oslo")
    assert [line.split() for line in lines[6:]] == [
        ["run", "book_flight", "SUCCESS"],
        ["run", "book_hotel", "SUCCESS"],
        ["run", "book_car", "FAILURE"],
        ["undo", "book_car", "SUCCESS"],
        ["undo", "book_hotel", "SUCCESS"],
        ["undo", "book_flight", "SUCCESS"],
    ]
