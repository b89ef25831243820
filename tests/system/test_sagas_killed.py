"""Sagas in processes that are killed in the middle of a run or of an undo."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio
import os
import signal
import sys

from flow import ExecutionCompensated, Fail, Flow, UndoContext

app = Flow("travel")
deadly = sys.argv[1] if sys.argv[1:] else ""


def do(what: str) -> None:
    print(what, flush=True)
    if what == deadly:
        os.kill(os.getpid(), signal.SIGKILL)


@app.step
async def flight(city: str) -> str:
    do("book flight")
    return city


@flight.undo
async def cancel_flight(city: str, undo: UndoContext[str]) -> None:
    do("cancel flight")


@app.step(requires=[flight])
async def hotel(city: str) -> str:
    do("book hotel")
    return city


@hotel.undo
async def cancel_hotel(city: str, undo: UndoContext[str]) -> None:
    do("cancel hotel")


@app.step(requires=[hotel])
async def car(city: str) -> str:
    do("book car")
    raise Fail("no car")


trip = app.workflow("trip", flight, hotel, car, on_error="compensate")


async def main() -> None:
    async with app:
        try:
            await trip.run("Oslo", id="trip-1")
        except ExecutionCompensated:
            print("compensated", flush=True)


asyncio.run(main())
"""
DONE = ["book flight", "book hotel", "book car", "cancel hotel", "cancel flight"]


@pytest.mark.system
@pytest.mark.parametrize("deadly", DONE)
def test_a_killed_saga_goes_on_where_it_was(tmp_path: Path, deadly: str) -> None:
    """Killed anywhere, it repeats only what was not recorded, and goes on in its direction."""
    program = tmp_path / "trip.py"
    program.write_text(PROGRAM)
    first = _run(program, deadly)
    assert first.returncode == -signal.SIGKILL
    second = _run(program)
    assert (second.returncode, second.stderr) == (0, "")
    at = DONE.index(deadly)
    assert first.stdout.splitlines() == DONE[: at + 1]
    assert second.stdout.splitlines() == [*DONE[at:], "compensated"]


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=program.parent,
        env={name: value for name, value in os.environ.items() if not name.startswith("FLOW_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
