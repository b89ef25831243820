"""Tests of `flow.cli.process`: the garbage collector and the event loop of our own processes."""

import asyncio
import gc
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flow import Flow
from flow.cli.process import LOOPS, new_loop, play, tune_collector
from flow.errors import ConfigurationError

uvloop = pytest.importorskip("uvloop")


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """Leave the collector of the tests' process as it was."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


async def its_loop() -> str:
    """Return the package of the loop that runs."""
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.parametrize(("wanted", "found"), [("", "uvloop"), *zip(LOOPS, LOOPS, strict=True)])
def test_the_loop_can_be_chosen(monkeypatch: pytest.MonkeyPatch, wanted: str, found: str) -> None:
    """The fast loop is taken where it is installed, unless FLOW_LOOP says otherwise."""
    monkeypatch.setenv("FLOW_LOOP", wanted)
    assert play(its_loop) == found


def test_without_the_fast_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the fast loop is not installed, Python's own is taken; who insists is told."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert new_loop("") is None
    with pytest.raises(ConfigurationError, match=r"FLOW_LOOP=uvloop.*not installed"):
        new_loop("uvloop")


def test_an_unknown_loop() -> None:
    """A misspelled loop is refused, and not another one taken."""
    with pytest.raises(ConfigurationError, match=r"FLOW_LOOP=uv: it is one of asyncio, uvloop"):
        new_loop("uv")


def test_the_collector_still_finds_garbage() -> None:
    """What was there is looked at no more; what comes is, though less often."""
    tune_collector()
    assert gc.get_freeze_count() > 0
    assert gc.get_threshold()[0] > 700
    assert gc.isenabled()
    circle: list[object] = []
    circle.append(circle)
    del circle
    assert gc.collect() >= 1


async def test_a_library_call_changes_nothing_of_the_process() -> None:
    """Who enters a flow owns the process: its collector stays as it is."""
    before = (gc.get_threshold(), gc.get_freeze_count())
    async with Flow("shop", broker="memory:", store="memory:"):
        assert (gc.get_threshold(), gc.get_freeze_count()) == before


@pytest.mark.parametrize("loop", LOOPS)
def test_a_signal_drains_under_every_loop(tmp_path: Path, loop: str) -> None:
    """`flow serve` says that it is ready, and SIGTERM ends it in order, whichever loop it has."""
    (tmp_path / "shop.py").write_text(
        "from flow import Flow\napp = Flow('shop')\n\n@app.step\nasync def hold(x: int) -> int:\n"
        "    return x\n\nw = app.workflow('w', hold)\n"
    )
    root = str(Path(importlib.import_module("flow").__file__ or "").parents[1])
    environment = {**os.environ, "FLOW_LOOP": loop, "PYTHONPATH": root}
    command = [sys.executable, "-m", "flow", "serve", "shop.py:app", "--json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        ready = child.stdout.readline()
        child.terminate()
        rest, trouble = child.communicate(timeout=60)
    assert ready
    assert child.returncode == 0, (rest, trouble)
