"""`flow undo`, `flow resolve`, `flow abort --compensate`, and what is shown of what was undone."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flow import ExecutionFailed, Flow, Report
from flow.cli.loading import load, locate
from tests.flow.cli.console import expect_golden, flow, transcript

TRIP = '''\
"""A trip: what can be undone, and what cannot."""

from flow import Flow, Step

app = Flow("trip")


@app.step
async def flight(order: dict) -> str:
    return "LH 1"


@flight.undo
async def cancel_flight(order: dict) -> None:
    if order.get("stuck"):
        raise ValueError("the airline does not answer")


@app.step(requires=[flight])
async def hotel(order: dict) -> str:
    return "Ritz"


@app.step(requires=[hotel], undo="trip.cancel_car")
async def car(order: dict) -> str:
    if order.get("full"):
        raise ValueError("no car left")
    return "red"


@app.endpoint
async def cancel_car(order: dict) -> None:
    pass


trip = app.workflow("trip", flight, hotel, car, output=car)
tour = app.workflow("tour", Step.sub_workflow(trip, id="there"), on_error="compensate")
'''


@pytest.fixture
def trips(shop: Path) -> Path:
    """Return the present folder, in which trips have ended: undone, stuck, and well."""
    (shop / "trip.py").write_text(TRIP)
    (shop / "shop.py").unlink()
    asyncio.run(_live(load(locate("trip.py:app"))))
    return shop


async def _live(app: Flow) -> None:
    async with app:
        tour: Any = app.defined["tour"]
        trip: Any = app.defined["trip"]
        for id_, order in (("undone-1", {}), ("stuck-1", {"stuck": True})):
            with pytest.raises(ExecutionFailed):
                await trip.run({**order, "full": True}, id=id_, on_error="compensate")
        with pytest.raises(ExecutionFailed):
            await tour.run({"stuck": True, "full": True}, id="tour-1")
        await trip.run({}, id="well-1")


def narrow(text: str) -> str:
    """Return a text whose columns do not depend on how long something took."""
    return re.sub(r" {2,}nothing to undo", "  nothing to undo", text)


PAGES: list[tuple[str, tuple[str, ...]]] = [
    ("show-undone", ("show", "undone-1")),
    ("show-stuck", ("show", "stuck-1")),
    ("show-stuck-inside", ("show", "tour-1")),
    ("list-incidents", ("list", "--incidents")),
    ("list-compensated", ("list", "--status", "compensated")),
    ("report", ("report", "stuck-1")),
    ("report-inside", ("report", "tour-1")),
    ("history-undone", ("history", "undone-1")),
]


def test_pages(trips: Path) -> None:
    """What is printed about what was undone, or could not be, is as in the golden files."""
    for name, arguments in PAGES:
        ended = flow(*arguments)
        assert ended.code == 0
        expect_golden(f"page-{name}", narrow(transcript(ended, *arguments)))


def test_a_report_for_programs(trips: Path) -> None:
    """A report can be had as JSON and as YAML, not as both, and is read back from either."""
    document = flow("report", "stuck-1", "--json").out
    text = flow("report", "stuck-1", "--yaml").out
    assert Report.from_json(document) == Report.from_yaml(text)
    both = flow("report", "stuck-1", "--json", "--yaml")
    assert (both.code, "choose one of the two" in both.err) == (2, True)


def test_a_person_deals_with_it(trips: Path) -> None:
    """What could not be undone is resolved with a reason, which the report then tells."""
    commands = [
        ("resolve", "stuck-1", "hotel", "--reason", "phoned"),
        ("resolve", "stuck-1", "flight", "--reason", "phoned"),
        ("resolve", "tour-1", "there/flight", "--reason", "phoned"),
        ("report", "stuck-1"),
        ("history", "stuck-1"),
        ("list", "--incidents"),
    ]
    text = "".join(transcript(flow(*command), *command) for command in commands)
    expect_golden("page-resolve", narrow(text))


def test_what_is_undone_waits_for_a_process(trips: Path) -> None:
    """Without a process that runs the flow what is to be undone is noted, and nothing more."""
    ended = flow("undo", "well-1", "--step", "car", "--reason", "too red")
    assert (ended.code, ended.out) == (0, "well-1  COMPENSATING\n")
    assert "no process runs this flow" in ended.err
    assert flow("undo", "undone-1").out == "undone-1  COMPENSATED\n"
    assert flow("undo", "well-1", "--step", "cart").code == 3
    refused = flow("undo", "--incidents", "--step", "car")
    assert (refused.code, "ids of executions" in refused.err) == (2, True)
    flow("start", "trip", "--app", "trip.py:app", "--id", "new-1", "--on-error", "compensate")
    view = json.loads(flow("show", "new-1", "--json").out)
    assert view["options"] == {"on_error": "compensate"}
    assert flow("abort", "new-1", "--compensate").out == "new-1  COMPENSATING\n"


def test_many_are_undone_by_a_filter(trips: Path) -> None:
    """By default a filter means those that failed or were aborted, and never a success."""
    ended = flow("undo", "--workflow", "trip")
    assert (ended.code, ended.out) == (0, "1 of 1 execution undone, or being so\n")
    rows = json.loads(flow("list", "--status", "compensating", "--json").out)
    assert [row["id"] for row in rows] == ["stuck-1"]


async def test_waiting_for_what_is_undone(shop: Path) -> None:
    """With --wait what was taken back is told with its page, an error and a code."""
    (shop / "trip.py").write_text(TRIP)
    (shop / "shop.py").unlink()
    command = ("start", "trip", "--input", '{"full": true}', "--on-error", "compensate", "--wait")
    async with load(locate("trip.py:app")):
        ended = await asyncio.to_thread(flow, *command, "--id", "trip-1")
    assert ended.code == 1
    assert "COMPENSATED" in ended.err
    last = ended.err.splitlines()[-1]
    assert last == (
        "error: execution 'trip-1' was compensated: step 'car': ValueError: no car left"
    )
