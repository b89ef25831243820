"""What loads in other processes become in the table."""

import sys
from collections.abc import Iterator

import pytest

from benchmarks.processes import Children
from benchmarks.runs import CPU, Contender, Load, Run, in_turn
from benchmarks.servers import LocalServers
from benchmarks.suite import Session

# It answers every load with made-up figures: a rate of 50, a p99 that tells how much it was asked
# for, and waits that tell how often it was asked.
PROGRAM = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for number, line in enumerate(sys.stdin):
    load = json.loads(line)
    told = {"p50_ms": load["at_once"], "p99_ms": load["count"], "seconds": load["count"] / 50}
    print(json.dumps({**told, "waits_ms": [float(number)] * load["count"]}), flush=True)
"""


@pytest.fixture
def children() -> Iterator[Children]:
    """Give processes that end with the test."""
    with Children() as found:
        yield found


def run_of(children: Children, group: str, scale: float = 1.0, number: int = 1) -> Run:
    """Return the run of a program that has just been started, in a round of that number."""
    child = children.start(group, [sys.executable, "-c", PROGRAM])
    session = Session(LocalServers(), scale=scale, round=number)
    return Run(child, {group: [child.pid]}, session, "calls/s")


def test_a_load_becomes_a_row(children: Children) -> None:
    """A row has the figures of the load, what it cost, and who it is compared with."""
    run = run_of(children, "client")
    many, one = run.loads("ours", [Load(2_000, 500), Load(40, 1)], ["floor", "peer"])
    assert many.name == "ours, 500 at once"
    assert many.against == ("floor, 500 at once", "peer, 500 at once")
    assert many.compared == ("calls/s", CPU)
    assert (many.values["calls/s"], many.values["p99 ms"]) == (50.0, 2_000)
    assert many.values[CPU] == pytest.approx(many.cores["client"] / 50.0 * 1e3)
    assert one.name == "ours, one at a time"
    assert one.compared == ("p50 ms",)


def test_a_trial_is_smaller(children: Children) -> None:
    """At a small scale fewer calls are made, never less than ten, nor more at once than calls."""
    run = run_of(children, "client", scale=0.01)
    many, one = run.loads("ours", [Load(5_000, 5_000), Load(300, 1)])
    assert (many.values["p99 ms"], many.values["p50 ms"]) == (50, 50)
    assert (one.values["p99 ms"], one.values["p50 ms"]) == (10, 1)


def test_a_load_in_parts_is_measured_as_one(children: Children) -> None:
    """The percentiles of a load in parts are those of all its waits, as its rate is."""
    run = run_of(children, "client")
    (row,) = run.loads("ours", [Load(90, 1, parts=3)])
    # The warm-up was the first one that it was asked for.
    assert (row.values["p50 ms"], row.values["p99 ms"]) == (2.0, 3.0)
    assert row.values["calls/s"] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("number", "expected"), [(1, "ours theirs theirs ours"), (2, "theirs ours ours theirs")]
)
def test_contenders_take_turns(
    children: Children, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    """Each part is run by all in turn, another one begins each time, and each round the other."""
    ours = run_of(children, "ours", number=number)
    theirs = run_of(children, "theirs", number=number)
    ran: list[str] = []
    part = Run.part

    def noted(run: Run, load: Load, times: int = 1) -> object:
        ran.append("ours" if run is ours else "theirs")
        return part(run, load, times)

    monkeypatch.setattr(Run, "part", noted)
    contenders = [Contender("ours", ours, ("theirs",)), Contender("theirs", theirs)]
    rows = list(in_turn(contenders, [Load(40, 1, parts=2)]))
    assert " ".join(ran) == expected
    assert [row.name for row in rows] == ["ours, one at a time", "theirs, one at a time"]
    assert rows[0].against == ("theirs, one at a time",)


def test_who_is_fast_is_asked_for_more(children: Children) -> None:
    """A contender may be asked for several times as many calls, but for those one at a time."""
    floor = Contender("floor", run_of(children, "floor"), times=3)
    many, one = in_turn([floor], [Load(100, 50), Load(100, 1)])
    assert (many.values["p99 ms"], one.values["p99 ms"]) == (300, 100)
