"""What a load in another process becomes in the table."""

import sys

import pytest

from benchmarks.processes import Children
from benchmarks.runs import CPU, Load, Run
from benchmarks.servers import LocalServers
from benchmarks.suite import Session

# It answers every load with made-up figures, and tells in its p99 how much it was asked for.
PROGRAM = """
import json, sys
print(json.dumps({"ready": True}), flush=True)
for line in sys.stdin:
    load = json.loads(line)
    told = {"per_s": 50.0, "p50_ms": load["at_once"], "p99_ms": load["count"], "seconds": 2.0}
    print(json.dumps(told), flush=True)
"""


def test_a_load_becomes_a_row() -> None:
    """A row has the figures of the load, what it cost, and who it is compared with."""
    with Children() as children:
        child = children.start("client", [sys.executable, "-c", PROGRAM])
        run = Run(child, children.groups, Session(LocalServers()), "calls/s")
        many, one = run.loads("ours", [Load(2_000, 500), Load(40, 1)], ["floor", "peer"])
    assert many.name == "ours, 500 at once"
    assert many.against == ("floor, 500 at once", "peer, 500 at once")
    assert many.compared == ("calls/s", CPU)
    assert (many.values["calls/s"], many.values["p99 ms"]) == (50.0, 2_000)
    assert many.values[CPU] == pytest.approx(many.cores["client"] / 50.0 * 1e3)
    assert one.name == "ours, one at a time"
    assert one.compared == ("p50 ms",)


def test_a_trial_is_smaller() -> None:
    """At a small scale fewer calls are made, never less than ten, nor more at once than calls."""
    with Children() as children:
        child = children.start("client", [sys.executable, "-c", PROGRAM])
        run = Run(child, children.groups, Session(LocalServers(), scale=0.01))
        many, one = run.loads("ours", [Load(5_000, 5_000), Load(300, 1)])
    assert (many.values["p99 ms"], many.values["p50 ms"]) == (50, 50)
    assert (one.values["p99 ms"], one.values["p50 ms"]) == (10, 1)
